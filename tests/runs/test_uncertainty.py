"""Uncertainty: held out honestly, kept whole, promised only where it was learned."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from simplechrome import LinearPredictor, MLPPredictor
from simplechrome.config.run import make_config
from simplechrome.errors import ModelFormatError, TrainingError
from simplechrome.evaluation.bootstrap import block_bootstrap
from simplechrome.evaluation.scores import coverage_columns, score_predictions
from simplechrome.evaluation.uncertainty import fit_uncertainty, read_uncertainty, write_uncertainty
from simplechrome.predictors import network
from simplechrome.runs import ensemble as held_out_module
from simplechrome.runs.apply import predict_with_run
from simplechrome.runs.ensemble import (
    choose_as_whole,
    fit_and_hold_out,
    on_inner_folds,
    on_validation,
)
from simplechrome.runs.fit import Run, fit_run
from simplechrome.runs.folder import describe_run
from simplechrome.runs.load import load_run

SMALL_MLP = {"name": "mlp", "hidden": [4], "epochs": 3, "n_folds": 2}


def genes(n: int, cells: int = 1, seed: int = 0) -> tuple[xr.DataArray, xr.DataArray]:
    """Two features; the label is the sign of the first, the same in all cell types."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((cells, n, 2))
    y = np.repeat((x[:1, :, 0] > 0).astype(np.int8), cells, axis=0)
    pair = ("cell_type", "gene")
    return xr.DataArray(x, dims=(*pair, "latent")), xr.DataArray(y, dims=pair)


class Recorder(LinearPredictor):
    """Remembers the rows that it learned from."""

    def fit(self, x, y, **options):  # type: ignore[no-untyped-def]
        self.learned_ = x.values.reshape(-1, 2)
        return super().fit(x, y, **options)


def test_each_gene_is_predicted_once_and_by_who_has_not_seen_it_in_any_cell_type() -> None:
    x, y = genes(50, cells=2)
    y[1, :7] = -1
    seen: list[np.ndarray] = []

    def fit(part: tuple[xr.DataArray, xr.DataArray], folder: Path | None) -> LinearPredictor:
        predictor = Recorder(Cs=(1.0,)).fit(*part)
        seen.append(predictor.learned_)
        return predictor

    result = on_inner_folds(fit, (x, y), "classification", seed=0)
    assert result is not None
    assert result.which == "5 folds of the labels"
    assert len(result.predicted) == len(result.truth) == 2 * 50 - 7
    rows = {tuple(row) for row in x.values.reshape(-1, 2)}
    out = [rows - {tuple(row) for row in learned} for learned in seen]
    assert sum(map(len, out)) == 100
    for held in out:  # both cell types of ten genes
        assert len(held) == 20


def test_labels_of_a_fold_do_not_reach_who_predicts_it() -> None:
    x, y = genes(60)
    rng = np.random.default_rng(3)
    noise = y.copy(data=rng.permutation(y.values[0])[np.newaxis])
    result = on_inner_folds(
        lambda part, folder: MLPPredictor(
            hidden=(32,), epochs=30, early_stopping=False, random_state=0, threads=1
        ).fit(*part),
        (x, noise),
        "classification",
        seed=0,
    )
    assert result is not None
    right = ((result.predicted > 0) == result.truth).mean()
    assert right < 0.65  # a network that had seen them knows nearly all


def test_many_labels_are_held_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_out_module, "ONE_PART_FROM", 50)
    calls = []

    def fit(part: tuple[xr.DataArray, xr.DataArray], folder: Path | None) -> LinearPredictor:
        calls.append(part[0].sizes["gene"])
        return LinearPredictor(Cs=(1.0,)).fit(*part)

    result = on_inner_folds(fit, genes(50), "classification", seed=0)
    assert calls == [40]
    assert result is not None
    assert (len(result.predicted), result.which) == (10, "a fifth of the labels, held out once")


def test_single_label_of_a_class_leaves_nothing_to_hold_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    x, y = genes(12)
    y[:] = 0
    y[0, 3] = 1
    result = on_inner_folds(
        lambda *_: pytest.fail("nothing to fit"), (x, y), "classification", seed=0
    )
    assert result is not None
    assert (result.predicted.size, result.which) == (0, "none: a class has a single label")
    fitted = fit_uncertainty(*result[:2], "classification")
    assert fitted.calibration.method == "none"
    assert fitted.sets.apply(np.array([-9.0, 9.0])).all()  # type: ignore[union-attr]
    assert "are too few for" in caplog.text


def test_folds_choose_as_the_whole_does() -> None:
    assert choose_as_whole(MLPPredictor(hold_out_from=100), 100).hold_out_from == 2
    assert choose_as_whole(MLPPredictor(hold_out_from=100), 99).hold_out_from == 100


@pytest.mark.parametrize(("labels", "name"), [(None, "mlp"), (None, "linear"), (30, "mlp")])
def test_validation_genes_stop_networks_only_with_all_labels(
    labels: int | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def fit_ensemble(make, *arguments, validation=None, **options):  # type: ignore[no-untyped-def]
        given.append(validation is not None)
        return LinearPredictor(Cs=(1.0,)).fit(*arguments[2])

    monkeypatch.setattr(held_out_module, "fit_ensemble", fit_ensemble)
    config = make_config({"labels": labels, "predictor": {"name": name}})
    kind = MLPPredictor if name == "mlp" else LinearPredictor
    fit_and_hold_out(lambda seed: kind(random_state=seed), config, genes(30), genes(20, seed=1))
    assert given == ([name == "mlp"] if labels is None else [False] * 6)


@pytest.mark.parametrize("unknown", [1, 20])
def test_validation_genes_without_labels_alone_are_not_held_out(unknown: int) -> None:
    x, y = genes(20)
    predictor = LinearPredictor(Cs=(1.0,)).fit(x, y)
    some = y.copy(deep=True)
    some[0, :unknown] = -1
    held_out = on_validation(predictor, (x, some))
    np.testing.assert_array_equal(held_out.truth, y.values[0, unknown:])
    np.testing.assert_allclose(
        held_out.predicted, predictor.decision_function(x).to_numpy()[0, unknown:]
    )


def test_uncertainty_survives_its_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for task, truth in (("classification", rng.integers(0, 2, 600)), ("regression", rng.random(9))):
        fitted = fit_uncertainty(
            rng.random(truth.size), truth, task, coverage=0.95, held_out="some", cell_types=["A"]
        )
        write_uncertainty(fitted, tmp_path)
        assert read_uncertainty(tmp_path) == fitted


def test_damaged_file_is_said(run: Run, tmp_path: Path) -> None:
    for text in ("{}", "{", '{"task": "classification"}', "[1]"):
        (tmp_path / "calibration.json").write_text(text)
        with pytest.raises(ModelFormatError, match=r"calibration\.json is not the calibration"):
            read_uncertainty(tmp_path)


@pytest.mark.parametrize(
    ("part", "key"), [("sets", "low_up_to"), ("sets", "high_from"), ("calibration", "slope")]
)
def test_missing_number_of_the_file_is_named(tmp_path: Path, part: str, key: str) -> None:
    fitted = fit_uncertainty(np.arange(60.0), np.arange(60) % 2, "classification")
    write_uncertainty(fitted, tmp_path)
    written = json.loads((tmp_path / "calibration.json").read_text())
    del written[part][key]
    (tmp_path / "calibration.json").write_text(json.dumps(written))
    with pytest.raises(ModelFormatError, match=f"it lacks {part}.{key}"):
        read_uncertainty(tmp_path)


def test_coverage_by_hand() -> None:
    sets = ["low", "high", "low or high", "neither"]
    rows = pd.DataFrame({"label": [1, 1, 1, 1], "label_set": sets})
    columns = coverage_columns(rows, "classification")
    assert columns["coverage"].tolist() == [0, 1, 1, 0]
    assert columns["share_decided"].tolist() == [1, 1, 0, 0]
    # log2(1 + 1) = 1 and log2(3 + 1) = 2
    levels = pd.DataFrame(
        {"expression": [1.0, 3.0], "interval_low": [0.0, 0.0], "interval_high": [1.5, 1.5]}
    )
    columns = coverage_columns(levels, "regression")
    assert columns["coverage"].tolist() == [1, 0]
    assert columns["interval_width"].tolist() == [1.5, 1.5]


def test_endless_intervals_have_no_mean_width() -> None:
    rows = pd.DataFrame(
        {
            "cell_type": "A",
            "gene_id": ["a", "b", "c"],
            "expression": [1.0, 3.0, 7.0],
            "predicted_log2_expression": [1.0, 2.0, 2.0],
            "interval_low": 0.0,
            "interval_high": np.inf,
        }
    )
    scores = score_predictions(rows, "regression")
    assert (scores["coverage"], scores["interval_width"]) == (1, None)
    assert "without end" in scores["undefined"]["interval_width"]
    json.dumps(scores, allow_nan=False)


def test_run_says_what_was_calibrated_and_measures_coverage_where_it_can(
    run: Run, one: xr.Dataset, tmp_path: Path
) -> None:
    few = run.metrics  # 60 labels: folds of them are held out
    assert few["uncertainty"]["held_out"] == "5 folds of the labels"
    assert few["uncertainty"]["n_held_out"] == 60
    assert {"coverage", "coverage_low", "share_decided"} <= set(few["validation"])
    every = fit_run(one, make_config({"encoder": {"name": "pca", "n_latent": 4}}), tmp_path / "a")
    assert every.metrics["uncertainty"]["held_out"] == "validation genes"
    assert "coverage" not in every.metrics["validation"]  # it was made of these genes
    for scores in (few["test"], every.metrics["test"]):
        assert {"coverage", "uncalibrated_brier", "uncalibrated_expected_calibration_error"} <= set(
            scores
        )
    table = every.predictions
    assert set(table["label_set"]) <= {"low", "high", "low or high", "neither"}
    order = np.argsort(table["uncalibrated_probability"], kind="stable")
    assert (np.diff(table["probability"].to_numpy()[order]) >= 0).all()


def test_intervals_of_regression_hold_their_prediction(one: xr.Dataset, tmp_path: Path) -> None:
    options = {"encoder": {"name": "log_means"}, "task": "regression", "coverage": 0.8}
    finished = fit_run(one, make_config(options), tmp_path / "run")
    table = finished.predictions
    level = table["predicted_log2_expression"].clip(lower=0)
    assert (table["interval_low"] <= level).all()
    assert (level <= table["interval_high"]).all()
    np.testing.assert_allclose(table["expression_high"], 2 ** table["interval_high"] - 1)
    assert finished.metrics["uncertainty"]["promised_coverage"] == 0.8
    assert finished.metrics["test"]["coverage"] > 0.5
    pd.testing.assert_frame_equal(predict_with_run(tmp_path / "run", one), table)


def test_ensemble_run_predicts_elsewhere_as_it_did(one: xr.Dataset, tmp_path: Path) -> None:
    options = {"encoder": {"name": "log_means"}, "predictor": SMALL_MLP, "ensemble": 3}
    finished = fit_run(one, make_config(options), tmp_path / "run")
    assert len(load_run(tmp_path / "run").predictor.members) == 3  # type: ignore[union-attr]
    assert (finished.predictions["ensemble_sd"] > 0).all()
    assert finished.metrics["ensemble"] == 3
    pd.testing.assert_frame_equal(predict_with_run(tmp_path / "run", one), finished.predictions)
    checkpoints = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert checkpoints == ["predictor", "predictor_2", "predictor_3"]


def test_lost_member_is_said(
    one: xr.Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"encoder": {"name": "log_means"}, "predictor": SMALL_MLP, "ensemble": 2}
    fit_run(one, make_config(options), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "ensemble")
    load_run(tmp_path / "run")
    assert "holds 1 of the 2 members" in caplog.text


def test_ensemble_of_equals_is_said(
    one: xr.Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"encoder": {"name": "log_means"}, "ensemble": 2}
    options["predictor"] = {"name": "linear", "Cs": [1.0]}
    fit_run(one, make_config(options), tmp_path / "run")
    assert "All members of the ensemble are equal" in caplog.text


def test_run_without_calibration_still_predicts_and_says_so(
    run: Run, one: xr.Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(run.folder, tmp_path / "old")
    (tmp_path / "old" / "calibration.json").unlink()
    table = predict_with_run(tmp_path / "old", one)
    assert caplog.text.count("has no calibration.json") == 1
    np.testing.assert_array_equal(table["probability"], run.predictions["uncalibrated_probability"])
    assert "label_set" not in table


def test_promises_are_not_made_for_other_cell_types(
    run: Run, dataset: xr.Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="simplechrome"):
        predict_with_run(run.folder, dataset)
    assert "1 of 2 cell types were not in the run (SIM002)" in caplog.text
    assert "test and new genes lie inside their label sets (nominal: 90 %)" in caplog.text


def breaking(monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException) -> None:
    """The training of this number, over members and folds, breaks after its first epoch."""
    original, count = network.train, 0

    def train(module, loss, rows, settings, **options):  # type: ignore[no-untyped-def]
        nonlocal count
        count += 1
        if count != at:
            return original(module, loss, rows, settings, **options)
        short = dataclasses.replace(settings, epochs=1, patience=1)
        original(module, loss, rows, short, **(options | {"checkpoints": None, "resume": False}))
        raise error

    monkeypatch.setattr(network, "train", train)


def contents(folder: Path) -> dict[str, bytes]:
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    del files["environment.json"]  # says where the output was to go
    return files


# Without early stopping a member is one training: 1 and 2 are the members, 3 and 4 those of the
# first fold, and so on to 12.
TWELVE_TRAININGS = make_config(
    {
        "encoder": {"name": "log_means"},
        "predictor": SMALL_MLP | {"early_stopping": False},
        "ensemble": 2,
        "labels": 40,
        "threads": 1,
    }
)


@pytest.fixture(scope="module")
def undisturbed(one: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "simplechrome.evaluation.scores.block_bootstrap",
            partial(block_bootstrap, n_resamples=30),
        )
        fit_run(one, TWELVE_TRAININGS, folder)
    return contents(folder)


@pytest.mark.parametrize("at", [2, 5])
def test_ensemble_that_failed_in_a_member_or_a_fold_is_resumed_to_the_same_bytes(
    at: int,
    one: xr.Dataset,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        breaking(patch, at, TrainingError("broke down"))
        with pytest.raises(TrainingError):
            fit_run(one, TWELVE_TRAININGS, tmp_path / "run")
    done = describe_run(tmp_path / "run.unfinished")
    assert ("folds for calibration" in done) == (at == 5)
    fit_run(one, TWELVE_TRAININGS, tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == undisturbed


@pytest.mark.parametrize("at", [1, 5])
def test_ctrl_c_in_a_member_or_a_fold_leaves_a_run_that_predicts_and_can_be_resumed(
    at: int,
    one: xr.Dataset,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original, count = network.train, 0

    def train(*arguments, **keywords):  # type: ignore[no-untyped-def]
        nonlocal count
        count += 1
        result = original(*arguments, **keywords)
        return result._replace(interrupted=True) if count == at else result

    with monkeypatch.context() as patch:
        patch.setattr(network, "train", train)
        cut = fit_run(one, TWELVE_TRAININGS, tmp_path / "run")
    assert (cut.interrupted, cut.metrics["interrupted"]) == (True, True)
    assert cut.metrics["uncertainty"] is None
    assert cut.metrics["ensemble"] == min(at, 2)
    assert predict_with_run(tmp_path / "run", one)["probability"].between(0, 1).all()
    fit_run(one, TWELVE_TRAININGS, tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == undisturbed
