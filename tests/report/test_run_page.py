"""The page of a run: what it shows of models, scores and data of every kind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from simulated_dataset import simulated_dataset

from simplechrome import from_arrays, merge, save_dataset
from simplechrome.config.run import make_config
from simplechrome.errors import MissingInputError, ModelFormatError
from simplechrome.evaluation.bootstrap import block_bootstrap, block_bootstrap_of_groups
from simplechrome.evaluation.scores import score_predictions
from simplechrome.report import page
from simplechrome.report.figures.style import message_figure
from simplechrome.report.page import write_figures
from simplechrome.report.run_page import write_run_report
from simplechrome.report.scores_section import headline, score_section
from simplechrome.report.signal_section import mean_profiles, relative_difference, signal_section
from simplechrome.runs.fit import fit_run


@pytest.fixture(autouse=True)
def _short_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty resamples in place of thousands: an interval is wanted here, not a good one."""
    for function in (block_bootstrap, block_bootstrap_of_groups):
        short = partial(function, n_resamples=30)
        monkeypatch.setattr(f"simplechrome.evaluation.scores.{function.__name__}", short)


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    """Two simulated cell types, of which the second lacks a mark."""
    return simulated_dataset(
        300, 2, missing_marks={"SIM002": ["H3K9me3"]}, note="these data are <simulated>"
    )


def report(dataset: xr.Dataset, folder: Path, **options: object) -> str:
    fit_run(dataset, make_config(options), folder)
    return write_run_report(folder, dataset).read_text(encoding="utf-8")


def test_page_of_a_classification_shows_its_scores(dataset: xr.Dataset, tmp_path: Path) -> None:
    one = dataset.isel(cell_type=[0])
    text = report(one, tmp_path / "run", encoder={"name": "pca", "n_latent": 3}, labels=50)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert f"{metrics['test']['auroc']:.3f}" in text
    for words in ("SIM001", "AUROC", "ROC", "Calibration", "The latent map", "50 labels", "seed 0"):
        assert words in text
    assert "Training:" not in text  # nothing was trained in epochs
    assert "<script src" not in text  # one file, without network
    assert "<link" not in text
    assert "these data are &lt;simulated&gt;" in text


def test_page_of_a_regression_of_one_latent(dataset: xr.Dataset, tmp_path: Path) -> None:
    text = report(
        dataset,
        tmp_path / "run",
        task="regression",
        encoder={"name": "pca", "n_latent": 1},
        split={"kind": "random"},
    )
    assert "SIM002: predicted and measured expression of test genes" in text
    assert "Residuals: at which levels" in text
    assert "Regression of log2(expression + 1): encoder pca" in text  # the subtitle
    assert "all labels, random split, seed 0" in text
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]
    assert "mean of 2 cell types" in text
    assert f"95&nbsp;%: {metrics['pearson_low']:.3f}–{metrics['pearson_high']:.3f}" in text
    one = metrics["cell_types"]["SIM001"]
    assert f"({one['pearson_low']:.3f}–{one['pearson_high']:.3f})" in text  # over its scatter
    assert "The random split puts overlapping windows" in text


def test_page_of_a_vae_shows_its_training_and_each_cell_type(
    dataset: xr.Dataset, tmp_path: Path
) -> None:
    small = {"name": "vae", "n_latent": 2, "epochs": 2, "channels": [3, 3], "hidden": 4}
    text = report(dataset, tmp_path / "run", encoder=small, device="cpu")
    assert "the loss of training and validation genes by epoch" in text
    for row in ("test, mean", "test, SIM001", "test, SIM002"):  # of the table of scores
        assert f">{row}</th>" in text
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]
    pairs = f"{metrics['n_genes']} genes in 2 cell types, {metrics['n_pairs']} gene and cell-type"
    assert pairs in text
    assert metrics["n_pairs"] == 2 * metrics["n_genes"]
    # Figure and number on top agree: the mean of the errors of the lines.
    errors = [own["expected_calibration_error"] for own in metrics["cell_types"].values()]
    for name, error in zip(("SIM001", "SIM002"), errors, strict=True):
        assert f">{error:.3f}  {name}</text>" in text
    assert f">{np.mean(errors):.3f}</dd>" in text
    assert "How deep each track is" in text


def test_page_of_an_mlp_on_raw_windows_without_held_out_labels(
    dataset: xr.Dataset, tmp_path: Path
) -> None:
    mlp = {"name": "mlp", "epochs": 2, "hidden": [4]}
    one = dataset.isel(cell_type=[1])
    fit_run(
        one,
        make_config({"encoder": {"name": "none"}, "predictor": mlp, "labels": 30}),
        tmp_path / "run",
    )
    own = page.Section("My own section", [page.Text("Some words.")])
    path = write_run_report(tmp_path / "run", one, title="My title", first_sections=[own])
    text = path.read_text(encoding="utf-8")
    assert "the loss of training genes by epoch" in text
    assert "was chosen within the labels" in text
    assert "The latent map" not in text
    assert "<title>My title" in text
    assert text.index("My own section") < text.index("Test genes")


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_page_without_any_scored_test_gene_says_so(
    dataset: xr.Dataset, tmp_path: Path, task: str
) -> None:
    test = np.isin(dataset["chrom"].values, ["chr1", "chr8", "chr21"])
    unknown = dataset.copy(deep=True)
    unknown["label"].values[:, test] = -1
    unknown["expression"].values[:, test] = np.nan
    text = report(unknown, tmp_path / "run", task=task, encoder={"name": "log_means"})
    assert "undefined" in text


@pytest.fixture(scope="module")
def finished(dataset: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    fit_run(dataset, make_config({"encoder": {"name": "log_means"}}), folder)
    return folder


@pytest.mark.parametrize(
    ("lacking", "error"),
    [
        ("metrics.json", ModelFormatError),
        ("environment.json", ModelFormatError),
        ("predictions.parquet", ModelFormatError),
        ("predictor", ModelFormatError),
        ("", MissingInputError),
    ],
)
def test_unfinished_run_is_a_clear_error(
    dataset: xr.Dataset, finished: Path, tmp_path: Path, lacking: str, error: type[Exception]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    path = run / lacking
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(error, match=r"not a finished run|no run folder"):
        write_run_report(run, dataset)
    assert not (run / "report.html").exists()


def toy(label: list[int]) -> xr.Dataset:
    # Three genes, two bins; the second mark is missing.
    signal = np.array([[[1, 9], [2, 9]], [[3, 9], [4, 9]], [[5, 9], [8, 9]]])[None]
    return from_arrays(
        signal,
        marks=["a", "b"],
        mark_present=np.array([[True, False]]),
        gene_ids=["g0", "g1", "g2"],
        cell_types=["c"],
        label=np.array([label]),
    )


def test_mean_profiles_by_hand() -> None:
    # High: genes 0 and 1, means (1 + 3) / 2 and (2 + 4) / 2. Low: gene 2.
    profiles, classes = mean_profiles(toy([1, 1, 0]), 0)
    assert classes == ["high", "low"]
    np.testing.assert_array_equal(profiles[..., 0], [[2, 3], [5, 8]])
    assert np.isnan(profiles[..., 1]).all()


def test_mean_profiles_without_labels_are_of_all_genes() -> None:
    profiles, classes = mean_profiles(toy([-1, -1, -1]), 0)
    assert classes == ["all genes"]
    np.testing.assert_allclose(profiles[0, :, 0], [3, 14 / 3])


def test_difference_of_classes_is_a_share_of_the_largest_mean_by_hand() -> None:
    # Means of high genes 2, 3 and of low ones 5, 8: the largest is 8.
    profiles, classes = mean_profiles(toy([1, 1, 0]), 0)
    difference = relative_difference(profiles, classes)
    assert difference[:, 0].tolist() == [-3 / 8, -5 / 8]
    assert np.isnan(difference[:, 1]).all()
    assert np.isnan(relative_difference(profiles[:1], ["all genes"])).all()


def eight() -> xr.Dataset:
    """Eight cell types of three genes."""
    one = toy([1, 1, 0])
    return merge([one.assign_coords(cell_type=[f"c{k}"]) for k in range(8)])


def test_cell_types_that_are_not_drawn_are_counted() -> None:
    section = signal_section(eight())
    names = [block.name for block in section.blocks if isinstance(block, page.Figure)]
    assert names == ["levels", "differences", *(f"profile_c{k}" for k in range(6))]
    said = next(block.text for block in section.blocks if isinstance(block, page.Text))
    assert "the first 6 of 8 cell types" in said
    assert "the other 2 are not drawn" in said


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_section_of_scores_counts_cell_types_that_are_not_drawn(task: str) -> None:
    rows = pd.DataFrame(
        {
            "gene_id": np.tile([f"g{k}" for k in range(4)], 8),
            "cell_type": np.repeat([f"c{k}" for k in range(8)], 4),
            "split": "test",
            "label": np.tile([0, 1, 0, 1], 8),
            "probability": np.tile([0.1, 0.9, 0.6, 0.7], 8),
            "expression": np.tile([0.0, 3, 1, 7], 8),
            "predicted_log2_expression": np.tile([0.5, 2, 1, 2.5], 8),
        }
    )
    metrics = {"task": task, "test": score_predictions(rows, task)}
    section = score_section(rows, metrics)
    text = section.blocks[0]
    assert isinstance(text, page.Text)
    assert "4 genes in 8 cell types, 32 gene and cell-type pairs" in text.text
    assert "the first 6 of them; the other 2 are in the table" in text.text
    assert headline(metrics)[0].note == "mean of 8 cell types, 4 test genes"


def test_headline_says_of_how_many_cell_types_a_mean_is() -> None:
    own = {"a": {"auroc": 0.9}, "b": {"auroc": None}}
    test = {"auroc": 0.9, "n_genes": 1200, "cell_types": own}
    number = headline({"task": "classification", "test": test})[0]
    assert number.note == "mean of 1 of 2 cell types, 1,200 test genes"
    nothing = {"n_genes": 0, "undefined": {"all": "no gene of this part"}}
    assert headline({"task": "regression", "test": nothing})[0].note == "no gene of this part"


def test_file_names_of_figures_hold_no_slash(tmp_path: Path) -> None:
    figure = page.Figure(message_figure("none"), "title", name="profile_CD4+ T/B cells")
    write_figures([page.Section("a", [page.Row((figure,))])], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["profile_CD4+_T_B_cells.svg"]


_MAKE_AGAIN = """
import sys
from simplechrome import open_dataset
from simplechrome.report.run_page import write_run_report
write_run_report(sys.argv[1], open_dataset(sys.argv[2]))
"""


def test_report_is_the_same_to_the_byte_in_another_process_and_folder(
    dataset: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/home/me/simplechrome", "fit", "/data/x.zarr", "--o=/a/b"])
    one = dataset.isel(cell_type=[0])
    fit_run(one, make_config({"encoder": {"name": "pca", "n_latent": 2}}), tmp_path / "run")
    save_dataset(one, tmp_path / "d.zarr")
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(tmp_path / "run", tmp_path / "elsewhere" / "copy")
    with matplotlib.rc_context({"svg.hashsalt": "mine", "font.size": 30}):
        write_run_report(tmp_path / "run", one)
    subprocess.run(
        [sys.executable, "-c", _MAKE_AGAIN, "copy", str(tmp_path / "d.zarr")],
        cwd=tmp_path / "elsewhere",
        env={**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"},
        check=True,
    )
    made = {
        path.relative_to(tmp_path / "run"): path.read_bytes()
        for path in (tmp_path / "run").rglob("*")
        if path.suffix in (".html", ".svg")
    }
    assert len(made) == 7  # the page; curves, calibration, latents and what they stand for, profile
    for path, content in made.items():
        assert (tmp_path / "elsewhere" / "copy" / path).read_bytes() == content
        assert b"<dc:date>" not in content
    page_text = made[Path("report.html")].decode()
    assert "simplechrome fit x.zarr --o=b" in page_text  # without the folders of this machine
    assert "/home/me" not in page_text
    assert str(tmp_path) not in page_text
