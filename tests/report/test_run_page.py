"""The page of a run: what it shows of models, scores and data of every kind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from simplechrome import from_arrays, simulate
from simplechrome.config import make_config
from simplechrome.errors import MissingInputError, ModelFormatError
from simplechrome.evaluation.intervals import block_bootstrap
from simplechrome.evaluation.run import fit_run
from simplechrome.report import page
from simplechrome.report.run_page import mean_profiles, write_run_report


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _short_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty resamples in place of thousands: an interval is wanted here, not a good one."""
    short = partial(block_bootstrap, n_resamples=30)
    monkeypatch.setattr("simplechrome.evaluation.scores.block_bootstrap", short)


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    """Two simulated cell types, of which the second lacks a mark."""
    simulation = simulate(
        300, 2, n_bins=20, bin_size=500, seed=1, missing_marks={"SIM002": ["H3K9me3"]}
    )
    return from_arrays(
        simulation.signal,
        marks=simulation.marks,
        mark_present=simulation.mark_present,
        gene_ids=simulation.genes["gene_id"],
        cell_types=simulation.cell_types,
        bin_size=500,
        genes=simulation.genes,
        expression=simulation.expression,
        note="these data are <simulated>",
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
    assert "Predicted and measured expression" in text
    assert "Pearson" in text
    assert "The random split puts overlapping windows" in text


def test_page_of_a_vae_shows_its_training_and_each_cell_type(
    dataset: xr.Dataset, tmp_path: Path
) -> None:
    small = {"name": "vae", "n_latent": 2, "epochs": 2, "channels": [3, 3], "hidden": 4}
    text = report(dataset, tmp_path / "run", encoder=small, device="cpu")
    assert "the loss of training and validation genes by epoch" in text
    assert "test, SIM001" in text  # rows of the table of scores
    assert "test, SIM002" in text


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
