"""The change between two cell types: antisymmetric, found where planted, promised rightly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from simplechrome.config.options import merge_options
from simplechrome.config.run import make_config
from simplechrome.dataset.choose import name_pair, pair_dataset
from simplechrome.errors import ConfigError
from simplechrome.evaluation.uncertainty import fit_level_intervals
from simplechrome.predictors.linear import DifferenceLinear
from simplechrome.predictors.mlp import DifferenceMLP
from simplechrome.predictors.rows import pair_features
from simplechrome.runs.apply import predict_with_run
from simplechrome.runs.fit import Run, fit_run
from simplechrome.runs.load import load_run
from tests.simulated_dataset import simulated_dataset

PAIR = ("SIM001", "SIM002")


@pytest.fixture(scope="module")
def two() -> xr.Dataset:
    return simulated_dataset(800, 2)


@pytest.fixture(scope="module")
def change(two: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    chosen = make_config(
        {
            "task": "difference",
            "pair": PAIR,
            "encoder": {"name": "consensus", "n_latent": 8},
            "predictor": {"name": "linear"},
        }
    )
    return fit_run(two, chosen, tmp_path_factory.mktemp("change") / "run")


def test_change_is_the_log_ratio_of_expression(two: xr.Dataset) -> None:
    two = two.assign(expression=two["expression"].copy())
    two["expression"][:, 0], two["expression"][:, 1] = [3, 0], [1, 1]
    two["expression"][0, 2] = np.nan
    pair = pair_dataset(two, PAIR)
    assert pair["cell_type"].values.tolist() == ["SIM001 - SIM002"]
    # log2((3 + 1) / (0 + 1)) = 2; equal is 0, neither up nor down; unknown stays unknown.
    np.testing.assert_array_equal(pair["change"].values[0, :3], [2, 0, np.nan])
    assert pair["label"].values[0, :3].tolist() == [1, -1, -1]


def test_pair_has_the_marks_that_both_have() -> None:
    data = simulated_dataset(60, 2, missing_marks={"SIM002": ["H3K4me1"]})
    there = pair_dataset(data, PAIR)["mark_present"]
    assert there.values.tolist() == [[True, True, False, True, True]]


def test_pair_without_a_common_mark_is_refused() -> None:
    missing = {"SIM001": ["H3K4me1", "H3K4me3"], "SIM002": ["H3K27me3", "H3K36me3", "H3K9me3"]}
    with pytest.raises(ConfigError, match="no mark in common") as caught:
        pair_dataset(simulated_dataset(60, 2, missing_marks=missing), PAIR)
    assert "SIM002: H3K4me1, H3K4me3" in str(caught.value)


def test_change_of_genes_without_common_data_is_unknown(two: xr.Dataset) -> None:
    observed = two["observed"].copy()
    observed[0, 5, :2], observed[1, 5, 2:] = 0, 0
    pair = pair_dataset(two.assign(observed=observed), PAIR)
    assert np.isnan(pair["change"].values[0]).nonzero()[0].tolist() == [5]
    assert pair["label"].values[0, 5] == -1


@pytest.mark.parametrize("pair", [("SIM001", "SIM001"), ("SIM001",)])
def test_pair_is_of_two_cell_types(two: xr.Dataset, pair: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="needs two different cell types"):
        pair_dataset(two, pair)


def swapped(x: np.ndarray) -> np.ndarray:
    half = x.shape[1] // 2
    return np.concatenate([x[:, half:], x[:, :half]], axis=1)


@pytest.mark.parametrize(
    "head",
    [
        DifferenceLinear("regression"),
        DifferenceMLP("regression", hidden=(8,), epochs=3, hold_out_from=100),
    ],
    ids=["linear", "mlp"],
)
def test_swapping_the_cell_types_negates(head: DifferenceLinear | DifferenceMLP) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 6)).astype(np.float32)
    y = x[:, 0] - x[:, 3] + 0.7  # a shift that no antisymmetric map can have
    said = np.asarray(head.fit(x, y).predict(x))
    np.testing.assert_array_equal(said, -np.asarray(head.predict(swapped(x))))
    same = np.concatenate([x[:, :3], x[:, :3]], axis=1)
    np.testing.assert_array_equal(head.predict(same), 0)


def test_intervals_of_changes_reach_below_zero_and_swap_with_the_pair() -> None:
    rng = np.random.default_rng(2)
    truth = rng.standard_normal(4000) * 2
    predicted = truth + rng.standard_normal(4000)
    intervals = fit_level_intervals(predicted, truth, 0.9, signed=True)
    low, high = intervals.apply(predicted)
    assert ((low <= truth) & (truth <= high)).mean() == pytest.approx(0.9, abs=0.01)
    assert (low < 0).any()
    back = intervals.apply(-predicted)
    np.testing.assert_allclose(back[0], -high)
    np.testing.assert_allclose(back[1], -low)


def test_sides_keep_their_names(two: xr.Dataset) -> None:
    latents = xr.DataArray(
        np.arange(8.0).reshape(2, 2, 2),
        dims=("cell_type", "gene", "latent"),
        coords={"cell_type": list(PAIR), "latent": ["a", "b"], "gene_id": ("gene", ["g", "h"])},
    )
    pair = pair_features(latents.isel(cell_type=[0]), latents.isel(cell_type=[1]), name_pair(PAIR))
    assert pair["latent"].values.tolist() == ["first:a", "first:b", "second:a", "second:b"]
    assert pair.values[0, 0].tolist() == [0, 1, 4, 5]


def test_run_finds_planted_changes(change: Run) -> None:
    assert change.metrics["test"]["pearson"] > 0.3
    assert change.metrics["test"]["sign_auroc"] > 0.6
    table = change.predictions
    assert set(table["cell_type"]) == {"SIM001 - SIM002"}
    assert {"predicted_change", "interval_low", "interval_high", "change"} <= set(table.columns)
    assert "expression" not in table.columns


def test_nothing_is_found_where_signal_tells_nothing(tmp_path: Path) -> None:
    data = simulated_dataset(800, 2, signal_effect=0.0)
    values = {"task": "difference", "pair": PAIR, "encoder": {"name": "pca", "n_latent": 4}}
    run = fit_run(data, make_config({**values, "predictor": {"name": "linear"}}), tmp_path / "run")
    assert abs(run.metrics["test"]["pearson"]) < 0.25


def test_swapped_pair_is_predicted_by_the_saved_run(
    change: Run, two: xr.Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    table = predict_with_run(change.folder, two)
    np.testing.assert_allclose(
        table["predicted_change"], change.predictions["predicted_change"], rtol=1e-6
    )
    back = predict_with_run(change.folder, two, pair=PAIR[::-1])
    assert set(back["cell_type"]) == {"SIM002 - SIM001"}
    np.testing.assert_allclose(back["predicted_change"], -table["predicted_change"], rtol=1e-6)
    assert load_run(change.folder).config.pair == PAIR
    assert "were not in the run" not in caplog.text


def test_other_runs_have_no_pairs(run: Run, one: xr.Dataset) -> None:
    with pytest.raises(ConfigError, match="predicts no difference"):
        predict_with_run(run.folder, one, pair=PAIR)


def test_differences_are_told_from_latents_and_levels_where_nothing_else_is_said() -> None:
    asked = {"task": "difference", "pair": ("A", "B")}
    chosen = merge_options(None, asked)
    assert (chosen.encoder.name, chosen.add_log_means, chosen.predictor.name) == (
        *("consensus", True, "mlp"),
    )
    assert not merge_options(None, {**asked, "encoder": "consensus"}).add_log_means
    assert not merge_options(None, {}).add_log_means


def test_file_that_wants_no_levels_beside_latents_gets_none(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        'task = "difference"\npair = ["A", "B"]\nadd_log_means = false\n[predictor]\nname = "mlp"\n'
    )
    assert not merge_options(tmp_path / "run.toml", {}).add_log_means
