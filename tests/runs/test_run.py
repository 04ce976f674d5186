"""A run: what it may look at, what it leaves in its folder, and what becomes of a failure."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from simplechrome.config.run import RunConfig, make_config, read_config
from simplechrome.dataset.splits import draw_labels, split_by_chromosome
from simplechrome.errors import (
    ConfigError,
    MissingExpressionError,
    ModelFormatError,
    OutputExistsError,
    TrainingError,
    UndefinedScoreError,
    UnknownGeneError,
)
from simplechrome.runs import fit as run_module
from simplechrome.runs.apply import encode_with_run, predict_with_run
from simplechrome.runs.fit import Run, fit_run
from simplechrome.runs.load import load_run

LEVELS = {"encoder": {"name": "log_means"}}
SMALL_VAE = {
    "encoder": {"name": "vae", "n_latent": 2, "epochs": 3, "channels": [3, 3], "hidden": 4},
    "labels": 40,
    "device": "cpu",
}


def config(**changed: object) -> RunConfig:
    return make_config({**LEVELS, **changed})


def fail(*_: object, **options: object) -> None:
    raise TrainingError("broke down")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_folder_holds_what_is_needed_to_judge_and_to_predict(run: Run) -> None:
    assert sorted(path.name for path in run.folder.iterdir()) == [
        *("calibration.json", "config.toml", "encoder", "environment.json", "metrics.json"),
        *("predictions.parquet", "predictor", "signal_levels.parquet", "signal_profile.json"),
        "split.parquet",
    ]


def test_predictions_have_the_promised_columns(run: Run) -> None:
    table = pd.read_parquet(run.folder / "predictions.parquet")
    assert {
        *("gene_id", "gene_name", "chrom", "cell_type", "split"),
        *("probability", "label", "expression"),
    } <= set(table.columns)
    assert len(table) == 300
    pd.testing.assert_frame_equal(table, run.predictions, check_dtype=False)


def test_metrics_have_the_promised_keys(run: Run) -> None:
    metrics = json.loads((run.folder / "metrics.json").read_text())
    for part in ("validation", "test"):
        assert {
            *("auroc", "auroc_low", "auroc_high", "auprc", "accuracy", "balanced_accuracy"),
            *("brier", "expected_calibration_error", "n_genes"),
        } <= set(metrics[part])
    assert (metrics["task"], metrics["n_labels"], metrics["seed"]) == ("classification", 60, 2)
    assert metrics["note"] == "simulated"
    assert metrics["test"]["auroc"] > 0.8  # the simulated effect


def test_split_is_by_chromosome_and_labels_are_the_draw_of_the_seed(
    run: Run, one: xr.Dataset
) -> None:
    table = pd.read_parquet(run.folder / "split.parquet").set_index("gene_id")
    parts = split_by_chromosome(one)
    for name, part in parts._asdict().items():
        assert set(table.index[table["split"] == name]) == set(part["gene_id"].values)
    drawn = parts.train["gene_id"].values[draw_labels(parts.train, 60, seed=2)]
    assert set(table.index[table["labelled"]]) == set(drawn)


def test_configuration_of_a_run_is_whole(run: Run) -> None:
    assert read_config(run.folder / "config.toml") == run.config


@pytest.mark.parametrize(
    ("encoder", "predictor"), [("pca", "linear"), ("log_means", "mlp"), ("none", "linear")]
)
def test_labels_that_are_not_drawn_change_nothing(
    encoder: str, predictor: str, one: xr.Dataset, tmp_path: Path
) -> None:
    """Neither those of test and validation genes, nor those of the other training genes."""
    options = {
        "encoder": {"name": encoder},
        "predictor": {"name": predictor, "epochs": 3} if predictor == "mlp" else {"name": "linear"},
        "labels": 40,
    }
    split = split_by_chromosome(one)
    drawn = split.train["gene_id"].values[draw_labels(split.train, 40, 0)]
    others = ~np.isin(one["gene_id"].values, drawn)
    flipped = one.copy(deep=True)
    flipped["label"].values[:, others] = 1 - flipped["label"].values[:, others]
    flipped["expression"].values[:, others] = 3.0
    first = fit_run(one, make_config(options), tmp_path / "first").predictions
    second = fit_run(flipped, make_config(options), tmp_path / "second").predictions
    np.testing.assert_array_equal(first["probability"], second["probability"])


def test_windows_of_test_genes_do_not_train(one: xr.Dataset, tmp_path: Path) -> None:
    changed = one.copy(deep=True)
    test = np.isin(one["chrom"].values, ["chr1", "chr8", "chr21"])
    changed["signal"].values[:, test] = 999
    options = make_config({"encoder": {"name": "pca", "n_latent": 3}})
    tables = [
        fit_run(data, options, tmp_path / name).predictions
        for name, data in (("first", one), ("second", changed))
    ]
    kept = tables[0]["split"] != "test"
    np.testing.assert_array_equal(tables[0]["probability"][kept], tables[1]["probability"][kept])


def test_same_seed_gives_identical_predictions(one: xr.Dataset, tmp_path: Path) -> None:
    vae = {"name": "vae", "n_latent": 2, "epochs": 2, "channels": [3, 3], "hidden": 4}
    options = {"encoder": vae, "labels": 40, "device": "cpu"}
    one_, again, other = (
        fit_run(one, make_config({**options, "seed": seed}), tmp_path / str(k)).predictions
        for k, seed in enumerate((5, 5, 6))
    )
    pd.testing.assert_frame_equal(one_, again)
    assert not np.array_equal(one_["probability"], other["probability"])
    checkpoints = sorted(path.name for path in (tmp_path / "0/checkpoints/encoder").iterdir())
    assert checkpoints == ["best.safetensors", "last.safetensors"]
    assert len(pd.read_csv(tmp_path / "0" / "history.csv")) == 2


def test_regression_predicts_expression(one: xr.Dataset, tmp_path: Path) -> None:
    finished = fit_run(one, config(task="regression"), tmp_path / "run")
    assert {"predicted_expression", "predicted_log2_expression"} <= set(finished.predictions)
    assert "probability" not in finished.predictions
    assert finished.metrics["test"]["pearson"] > 0.4
    assert finished.metrics["test"]["pearson_low"] < finished.metrics["test"]["pearson"]


def test_number_of_labels_counts_genes_that_have_one(one: xr.Dataset, tmp_path: Path) -> None:
    some = one.copy(deep=True)
    train = np.flatnonzero(~np.isin(one["chrom"].values, ["chr1", "chr8", "chr21"]))
    some["label"].values[:, train[:50]] = -1
    finished = fit_run(some, config(), tmp_path / "run")
    split = pd.read_parquet(tmp_path / "run" / "split.parquet")
    known = (some["label"].values[0] != -1) & (split["split"] == "train").to_numpy()
    assert finished.metrics["n_labels"] == known.sum() == split["labelled"].sum()


def test_cell_types_with_uneven_marks_go_through(dataset: xr.Dataset, tmp_path: Path) -> None:
    options = {"encoder": {"name": "pca", "n_latent": 3}, "labels": 50}
    finished = fit_run(dataset, make_config(options), tmp_path / "run")
    assert list(finished.metrics["test"]["cell_types"]) == ["SIM001", "SIM002"]
    assert finished.metrics["n_labels"] == 50
    assert len(finished.predictions) == 600
    assert finished.predictions["probability"].notna().all()
    masked = dataset.copy(deep=True)
    columns = np.flatnonzero(~dataset["mark_present"].values[1])
    masked["signal"].values[1][..., columns] = 77
    np.testing.assert_array_equal(
        predict_with_run(tmp_path / "run", masked)["probability"],
        finished.predictions["probability"],
    )


def test_chosen_cell_types_alone_are_used(dataset: xr.Dataset, tmp_path: Path) -> None:
    finished = fit_run(dataset, config(cell_types=["SIM002"]), tmp_path / "run")
    alone = fit_run(dataset.isel(cell_type=[1]), config(), tmp_path / "alone")
    pd.testing.assert_frame_equal(finished.predictions, alone.predictions)
    with pytest.raises(UnknownGeneError, match="no cell type 'SIM02'") as caught:
        fit_run(dataset, config(cell_types=["SIM02"]), tmp_path / "other")
    assert "SIM002" in caught.value.remedy


def test_moved_copy_predicts_and_encodes_alone(run: Run, one: xr.Dataset, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "moved")
    table = predict_with_run(tmp_path / "moved", one)
    pd.testing.assert_frame_equal(table, run.predictions)
    latents = encode_with_run(tmp_path / "moved", one)
    assert latents.columns.tolist()[-4:] == ["pc_1", "pc_2", "pc_3", "pc_4"]


def test_split_goes_by_gene_in_other_cell_types_and_new_genes_are_new(
    run: Run, dataset: xr.Dataset
) -> None:
    other = dataset.isel(cell_type=[1], gene=[5, 4, 3])
    other = other.assign_coords(gene_id=("gene", ["unheard", *other["gene_id"].values[1:]]))
    known = run.predictions.set_index("gene_id")["split"]
    table = predict_with_run(run.folder, other)
    assert table["split"].tolist() == ["new", *known[other["gene_id"].values[1:]]]
    assert table["cell_type"].tolist() == ["SIM002"] * 3


def test_excluded_genes_are_predicted_but_not_scored(one: xr.Dataset, tmp_path: Path) -> None:
    options = config(split={"exclude_chroms": ["chrX", "chr20"]})
    finished = fit_run(one, options, tmp_path / "run")
    excluded = finished.predictions[finished.predictions["split"] == "excluded"]
    assert set(excluded["chrom"]) == {"chrX", "chr20"}
    assert excluded["probability"].notna().all()


def test_second_run_into_a_folder_is_refused_and_nothing_changes(
    run: Run, one: xr.Dataset, tmp_path: Path
) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    before = snapshot(tmp_path / "run")
    with pytest.raises(OutputExistsError, match="exists already") as caught:
        fit_run(one, config(), tmp_path / "run")
    assert "a finished run (encoder pca, predictor linear)" in str(caught.value)
    assert "--overwrite" in caught.value.remedy
    assert "--resume" in caught.value.remedy
    assert snapshot(tmp_path / "run") == before


def test_overwriting_replaces_the_whole_folder(run: Run, one: xr.Dataset, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    (tmp_path / "run" / "label_efficiency.csv").write_text("old")
    fit_run(one, config(), tmp_path / "run", overwrite=True)
    assert load_run(tmp_path / "run").config.encoder.name == "log_means"
    assert not (tmp_path / "run" / "label_efficiency.csv").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("error", [TrainingError("broke down"), KeyboardInterrupt()])
def test_failing_overwrite_keeps_the_old_run(
    run: Run, one: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    before = snapshot(tmp_path / "run")

    def fail(config: RunConfig) -> None:
        raise error

    monkeypatch.setattr(run_module, "make_predictor", fail)
    with pytest.raises(type(error)):
        fit_run(one, config(), tmp_path / "run", overwrite=True)
    assert snapshot(tmp_path / "run") == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_first_run_that_learned_nothing_leaves_nothing(one: xr.Dataset, tmp_path: Path) -> None:
    options = make_config({"encoder": {"name": "pca", "n_latent": 5000}})
    with pytest.raises(ConfigError, match="5000 latents"):
        fit_run(one, options, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("encoder", ["log_means", "vae"])
def test_first_run_that_fails_late_keeps_what_took_long(
    encoder: str, one: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = make_config(SMALL_VAE) if encoder == "vae" else config()
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "make_predictor", fail)
        with pytest.raises(TrainingError):
            fit_run(one, options, tmp_path / "run")
    left = [path.name for path in tmp_path.iterdir()]
    if encoder == "log_means":  # made again in no time
        assert left == []
        return
    assert left == ["run.unfinished"]
    with pytest.raises(ModelFormatError, match="run is not finished") as caught:
        load_run(tmp_path / "run")
    assert "checkpoints of 3 epochs of the encoder" in str(caught.value)
    assert "--resume" in caught.value.remedy
    with pytest.raises(OutputExistsError, match="begun and not finished") as refused:
        fit_run(one, options, tmp_path / "run")
    assert "checkpoints of 3 epochs of the encoder" in str(refused.value)
    fit_run(one, options, tmp_path / "run", resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("label", "labels", "error", "message"),
    [
        (1, None, UndefinedScoreError, "of one class"),
        (1, 30, UndefinedScoreError, "of one class"),
        (-1, None, MissingExpressionError, "genes has a label"),
        (-1, 30, MissingExpressionError, "30 labelled genes cannot be drawn"),
        (None, 5000, MissingExpressionError, "5000 labelled genes cannot be drawn"),
        (None, 1, UndefinedScoreError, "All 1 labels are of one class"),
    ],
)
def test_labels_that_cannot_be_learned_from_are_found_before_the_long_work(
    one: xr.Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    label: int | None,
    labels: int | None,
    error: type[Exception],
    message: str,
) -> None:
    monkeypatch.delattr(run_module, "make_encoder")  # nothing is trained
    data = one if label is None else one.assign(label=xr.full_like(one["label"], label))
    with pytest.raises(error, match=message):
        fit_run(data, config(labels=labels), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["config.toml", "encoder", "predictor", "split.parquet", "metrics.json"]
)
def test_incomplete_run_names_what_it_lacks(run: Run, tmp_path: Path, name: str) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    path = tmp_path / "run" / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ModelFormatError, match="not a finished run") as caught:
        load_run(tmp_path / "run")
    assert f"has no {name}." in caught.value.problem


def test_damaged_split_is_said(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    path = tmp_path / "run" / "split.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelFormatError, match=r"split\.parquet cannot be read"):
        load_run(tmp_path / "run")


def test_overwrite_refuses_a_project_that_has_a_config_of_its_own(
    dataset: xr.Dataset, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("precious")
    (tmp_path / "config.toml").write_text("x = 1\n")
    with pytest.raises(OutputExistsError, match="found data"):
        fit_run(dataset, make_config({"encoder": {"name": "log_means"}}), tmp_path, overwrite=True)
    assert (tmp_path / "data" / "thesis.txt").read_text() == "precious"
