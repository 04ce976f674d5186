"""The consensus encoder and its parts: what is planted is found, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from simplechrome import ConsensusEncoder, load_encoder
from simplechrome.dataset.transforms.signal import Windows
from simplechrome.errors import ConfigError, InputFormatError
from simplechrome.latent.consensus.axes import bimodal_direction
from simplechrome.latent.consensus.covariance import PooledCovariance
from simplechrome.latent.consensus.shared_components import QuadraticMap, Track, shared_components
from simplechrome.metrics import auroc
from tests.simulated_dataset import simulated_dataset


def test_bimodal_direction_is_found_among_larger_components() -> None:
    rng = np.random.default_rng(0)
    two_points = np.where(np.arange(2000) % 2, 1.0, -1.0) * 0.5 + 0.1 * rng.standard_normal(2000)
    x = np.column_stack([rng.standard_normal((2000, 2)) * [2, 1], two_points])
    found = bimodal_direction([x], np.array([0.1, 0.1, 1.0]))
    assert abs(np.corrcoef(x @ found, two_points)[0, 1]) > 0.99
    assert (x @ found).var() == pytest.approx(1)


def test_outliers_are_not_bimodal() -> None:
    # One in ten far off has a kurtosis of about 7, two_points 1: the start lies between the two.
    rng = np.random.default_rng(1)
    few = (np.arange(4000) % 10 == 0) * 1.0
    two_points = np.where(rng.random(4000) < 0.5, 1.0, -1.0)
    x = np.column_stack([few / few.std(), two_points]) + 0.2 * rng.standard_normal((4000, 2))
    found = bimodal_direction([x], np.array([1.0, 1.0]))
    assert abs(np.corrcoef(x @ found, two_points)[0, 1]) > 0.95


def test_all_cell_types_decide_on_the_direction() -> None:
    # In the first, both directions are two_points; only the second tells which of them is shared.
    rng = np.random.default_rng(2)
    sign = np.where(rng.random((2, 3000, 2)) < 0.5, 1.0, -1.0)
    sign[1, :, 1] = rng.standard_normal(3000)
    found = bimodal_direction(
        list(sign + 0.1 * rng.standard_normal(sign.shape)), np.array([1.0, 1.0])
    )
    assert abs(found[0]) > 5 * abs(found[1])


def test_covariance_is_put_together_from_cell_types_with_different_marks() -> None:
    # One bin, three marks. The first cell type has m0 and m1, equal; the second m1 and m2, opposed.
    x = np.array([-1.0, 1.0, -1.0, 1.0])
    first = Windows(np.stack([x, x, 0 * x], 1)[:, np.newaxis], np.array([[1, 1, 0]] * 4) > 0)
    second = Windows(np.stack([0 * x, x, -x], 1)[:, np.newaxis], np.array([[0, 1, 1]] * 4) > 0)
    pooled = PooledCovariance().fit([first, second], bins=1, marks=3)
    # m0 and m2 were never seen together, but genes with much of the one have little of the other.
    expected = np.array([[1, 1, -1], [1, 1, -1], [-1, -1, 1]])
    np.testing.assert_allclose(pooled.covariance_, expected, atol=1e-4)
    np.testing.assert_array_equal(pooled.together_, [[1, 1, 0], [1, 2, 1], [0, 1, 1]])


def test_blocks_that_contradict_each_other_are_made_a_covariance() -> None:
    # As above, but the second cell type's genes are unrelated to the first's: m0 and m2 get 0.
    x, y = np.array([-1.0, 1.0, -1.0, 1.0]), np.array([-1.0, -1.0, 1.0, 1.0])
    first = Windows(np.stack([x, x, 0 * x], 1)[:, np.newaxis], np.array([[1, 1, 0]] * 4) > 0)
    second = Windows(np.stack([0 * x, y, -y], 1)[:, np.newaxis], np.array([[0, 1, 1]] * 4) > 0)
    pooled = PooledCovariance().fit([first, second], bins=1, marks=3)
    variance, vectors = np.linalg.eigh([[1, 1, 0], [1, 1, -1], [0, -1, 1]])
    raised = (vectors * np.maximum(variance, 0)) @ vectors.T
    np.testing.assert_allclose(pooled.covariance_, raised, atol=1e-4)


def test_missing_marks_are_expected_from_those_that_are_there() -> None:
    rng = np.random.default_rng(3)
    shared = rng.standard_normal((500, 1))
    values = (shared + 0.1 * rng.standard_normal((500, 3)))[:, np.newaxis].astype(np.float32)
    windows = Windows(values, np.ones((500, 3), bool))
    pooled = PooledCovariance().fit([windows], bins=1, marks=3)
    whole = values[:, 0] @ pooled.map_to(1, np.array([True, True, True]), bins=1)
    part = values[:, 0] @ pooled.map_to(1, np.array([True, False, True]), bins=1)
    assert np.corrcoef(whole[:, 0], part[:, 0])[0, 1] > 0.99
    assert part.std() == pytest.approx(whole.std(), rel=0.05)
    assert not pooled.map_to(1, np.array([False, False, False]), bins=1).any()


def make_track(mark: str, values: np.ndarray) -> Track:
    return Track(mark, values - values.mean(axis=0), np.ones(len(values), bool))


def test_components_shared_by_tracks_are_found_below_larger_ones_of_single_tracks() -> None:
    rng = np.random.default_rng(4)
    shared = rng.standard_normal(1000)
    tracks = []
    for mark in ("m0", "m1", "m2", "m0"):
        values = (
            5 * rng.standard_normal((1000, 1)) * [1, -1, 1] + rng.standard_normal((1000, 3)) / 5
        )
        tracks.append(make_track(mark, values + shared[:, np.newaxis]))
    found = shared_components(tracks, 2)
    assert abs(np.corrcoef(found[:, 0], shared)[0, 1]) > 0.95
    np.testing.assert_allclose(found.var(axis=0), 1)


def test_products_of_components_are_learned_in_parts_as_in_one() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((4000, 3))
    y = np.column_stack([x[:, 0] * x[:, 1], x[:, 2]])
    whole, parts = QuadraticMap(np.ones(3), 2), QuadraticMap(np.ones(3), 2)
    whole.add(x, y)
    for piece in np.array_split(np.arange(4000), 3):
        parts.add(x[piece], y[piece])
    shown = whole.solve()(x)
    assert np.corrcoef(shown[:, 0], y[:, 0])[0, 1] > 0.999
    np.testing.assert_allclose(parts.solve()(x), shown, atol=1e-9)


@pytest.fixture(scope="module")
def uneven() -> xr.Dataset:
    """Three cell types, each with another set of the five marks."""
    missing = {"SIM001": ["H3K4me1"], "SIM002": ["H3K4me3", "H3K9me3"]}
    return simulated_dataset(n_genes=900, n_cell_types=3, missing_marks=missing)


@pytest.fixture(scope="module")
def fitted(uneven: xr.Dataset) -> ConsensusEncoder:
    return ConsensusEncoder(12).fit(uneven)


def test_activity_orders_genes_by_expression_without_a_label(
    uneven: xr.Dataset, fitted: ConsensusEncoder
) -> None:
    latents = fitted.transform(uneven)
    for row in range(3):
        labels = uneven["label"].values[row]
        known = labels >= 0
        activity = latents.sel(latent="activity").values[row, known]
        assert auroc(labels[known], activity) > 0.8


def test_activity_is_unrelated_to_expression_without_signal() -> None:
    data = simulated_dataset(n_genes=900, signal_effect=0.0)
    activity = ConsensusEncoder(12).fit(data).transform(data).sel(latent="activity").values[0]
    assert abs(auroc(data["label"].values[0], activity) - 0.5) < 0.08


def test_latents_have_names_and_the_first_a_deviation_of_one(
    uneven: xr.Dataset, fitted: ConsensusEncoder
) -> None:
    latents = fitted.transform(uneven)
    names = ["activity", "shared_1", "shared_2", *(f"pc_{k}" for k in range(1, 10))]
    assert latents["latent"].values.tolist() == names
    activity = latents.sel(latent="activity").values
    assert np.sqrt(activity.var(axis=1).mean()) == pytest.approx(1, abs=1e-3)


def test_window_with_a_mark_hidden_stays_close(
    uneven: xr.Dataset, fitted: ConsensusEncoder
) -> None:
    whole = uneven.isel(cell_type=[2])
    assert whole["mark_present"].values.all()
    hidden = whole.assign(mark_present=whole["mark_present"] & (whole["mark"] != "H3K4me1"))
    for name in ("activity", "pc_1"):
        before, after = (fitted.transform(d).sel(latent=name).values[0] for d in (whole, hidden))
        assert np.corrcoef(before, after)[0, 1] > 0.9


def test_fit_twice_is_the_same_bit_for_bit(uneven: xr.Dataset, fitted: ConsensusEncoder) -> None:
    again = ConsensusEncoder(12).fit(uneven)
    np.testing.assert_array_equal(again.transform(uneven), fitted.transform(uneven))


def test_saved_encoder_is_the_same(
    uneven: xr.Dataset, fitted: ConsensusEncoder, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "encoder")
    latents = fitted.transform(uneven)
    loaded = load_encoder(tmp_path / "encoder")
    np.testing.assert_array_equal(loaded.transform(uneven), latents)
    np.testing.assert_array_equal(
        loaded.inverse_transform(latents), fitted.inverse_transform(latents)
    )


def test_single_track_has_no_shared_components(uneven: xr.Dataset) -> None:
    one = uneven.isel(cell_type=[0], mark=[3])
    encoder = ConsensusEncoder(8).fit(one)
    assert encoder.transform(one)["latent"].values.tolist() == [
        "activity",
        *(f"pc_{k}" for k in range(1, 8)),
    ]


def test_single_latent_is_refused(uneven: xr.Dataset) -> None:
    with pytest.raises(ConfigError, match="n_latent is 1, windows have 100"):
        ConsensusEncoder(1).fit(uneven)


def test_small_windows_get_as_many_latents_as_they_have_numbers(
    uneven: xr.Dataset, tmp_path: Path
) -> None:
    small = uneven.isel(bin=slice(8, 12), mark=[0, 3])
    encoder = ConsensusEncoder().fit(small)
    latents = encoder.transform(small)
    assert encoder.n_latent_ == latents.sizes["latent"] == 8  # four bins of two marks
    encoder.save(tmp_path / "encoder")
    np.testing.assert_array_equal(load_encoder(tmp_path / "encoder").transform(small), latents)
    one = uneven.isel(bin=[10], mark=[3])
    with pytest.raises(ConfigError, match="log_means"):
        ConsensusEncoder().fit(one)


def test_cell_type_without_any_of_the_marks_teaches_nothing(uneven: xr.Dataset) -> None:
    one = uneven.isel(mark=[3])  # H3K4me3, which SIM002 lacks
    assert not one["mark_present"].values[1].any()
    encoder = ConsensusEncoder(8).fit(one)
    there = one.isel(cell_type=[0, 2])
    np.testing.assert_array_equal(
        encoder.transform(there), ConsensusEncoder(8).fit(there).transform(there)
    )
    assert np.isfinite(encoder.transform(one)).all()


def test_data_without_windows_are_refused(uneven: xr.Dataset) -> None:
    empty = uneven.assign(observed=uneven["observed"] * 0)
    with pytest.raises(InputFormatError, match="too few windows"):
        ConsensusEncoder(8).fit(empty)


def test_what_is_found_upon_rises_with_activity(
    uneven: xr.Dataset, fitted: ConsensusEncoder
) -> None:
    latents = fitted.transform(uneven).isel(cell_type=2)
    values = latents.sel(latent=["activity", "shared_1"]).values
    assert np.corrcoef(values.T)[0, 1] > 0


def test_labels_shape_the_first_latent_alone(uneven: xr.Dataset, fitted: ConsensusEncoder) -> None:
    shown = ConsensusEncoder(12).fit(uneven, uneven["label"])
    latents = shown.transform(uneven)
    assert latents["latent"].values[:2].tolist() == ["labelled", "activity"]
    without = fitted.transform(uneven)
    np.testing.assert_allclose(latents.values[..., 1:], without.values, atol=1e-6)
    for row in range(3):
        labels = uneven["label"].values[row]
        of_labels, of_activity = (
            auroc(labels, values.sel(latent=name).values[row])
            for values, name in ((latents, "labelled"), (without, "activity"))
        )
        assert of_labels > of_activity


def test_few_labels_leave_the_direction_where_it_was(uneven: xr.Dataset) -> None:
    one = uneven.isel(cell_type=[2])
    few = np.full((1, one.sizes["gene"]), -1, np.int8)
    few[0, :4] = [0, 1, 0, 1]
    latents = ConsensusEncoder(12).fit(one, few).transform(one)
    first, activity = (latents.sel(latent=name).values[0] for name in ("labelled", "activity"))
    assert abs(np.corrcoef(first, activity)[0, 1]) > 0.95
    assert first.std() == pytest.approx(5, rel=1e-3)


def test_unknown_labels_teach_nothing(uneven: xr.Dataset) -> None:
    unknown = np.full(uneven["label"].shape, -1, np.int8)
    latents = ConsensusEncoder(12).fit(uneven, unknown).transform(uneven)
    first, activity = (latents.sel(latent=name).values for name in ("labelled", "activity"))
    np.testing.assert_allclose(first / first.std(), activity / activity.std(), rtol=1e-4, atol=1e-5)


def test_encoder_that_saw_labels_is_saved_whole(uneven: xr.Dataset, tmp_path: Path) -> None:
    encoder = ConsensusEncoder(12).fit(uneven, np.log2(uneven["expression"] + 1))
    encoder.save(tmp_path / "encoder")
    np.testing.assert_array_equal(
        load_encoder(tmp_path / "encoder").transform(uneven), encoder.transform(uneven)
    )


def test_labels_of_other_genes_are_refused(uneven: xr.Dataset) -> None:
    with pytest.raises(InputFormatError, match="not of these cell types and genes"):
        ConsensusEncoder(12).fit(uneven, np.zeros((3, 5), np.int8))


def test_supervised_axis_of_training_genes_is_out_of_fold(uneven: xr.Dataset) -> None:
    # Random labels: memorized they are predicted, out of fold they are not.
    rng = np.random.default_rng(6)
    one = uneven.isel(cell_type=[2], gene=slice(0, 300))
    labels = rng.integers(0, 2, (1, 300)).astype(np.int8)
    encoder = ConsensusEncoder(38).fit(one, labels)
    memorized, out_of_fold = encoder.transform(one), encoder.transform_out_of_fold(one, labels)
    scores = [
        auroc(labels[0], z.sel(latent="labelled").values[0]) for z in (memorized, out_of_fold)
    ]
    assert scores[0] > 0.6
    assert abs(scores[1] - 0.5) < 0.1
    np.testing.assert_array_equal(out_of_fold.values[..., 1:], memorized.values[..., 1:])
    np.testing.assert_array_equal(ConsensusEncoder(38).fit_transform(one, labels), out_of_fold)


def test_tracks_of_a_new_cell_type_are_measured_where_they_have_windows(
    uneven: xr.Dataset, fitted: ConsensusEncoder
) -> None:
    new = uneven.isel(cell_type=[2]).assign_coords(cell_type=np.array(["new"], dtype=object))
    observed = new["observed"].copy()
    observed[:, 99:, 0] = 0  # 99 windows are too few, 100 are enough.
    observed[:, 100:, 1] = 0
    shown = fitted.adapt_to(new.assign(observed=observed))
    marks = [str(mark) for mark in new["mark"].values[1:]]
    assert sorted(shown.measured_) == sorted(("new", mark) for mark in marks)
    assert not fitted.measured_ & shown.measured_


@pytest.mark.parametrize(("labels", "length"), [(10, 5.0), (50, 2.0), (200, 0.5)])
def test_more_labels_make_a_shorter_latent(
    uneven: xr.Dataset, fitted: ConsensusEncoder, labels: int, length: float
) -> None:
    some = uneven.isel(cell_type=[0], gene=slice(0, labels))
    shown = fitted.with_labels(some, some["label"].values)
    latent = shown.transform(uneven).sel(latent="labelled").values
    assert np.sqrt(np.square(latent).mean()) == pytest.approx(length, rel=1e-3)
    assert fitted.label_weights_ is None


def test_penalty_prefers_the_larger_of_two_bimodal_components() -> None:
    rng = np.random.default_rng(7)
    sign = np.where(rng.random((2000, 2)) < 0.5, 1.0, -1.0)
    x = sign * [1, 0.1] + rng.standard_normal((2000, 2)) * [0.5, 0.01]
    for ridge, column in ((0.0, 1), (0.1, 0)):
        found = bimodal_direction([x], np.array([1.0, 20.0]), ridge=ridge)
        assert abs(np.corrcoef(x @ found, x[:, column])[0, 1]) > 0.95


def test_variance_of_redundant_marks_has_a_floor() -> None:
    x = np.random.default_rng(8).standard_normal((300, 1))
    windows = Windows(np.repeat(x, 2, axis=1)[:, np.newaxis], np.ones((300, 2), bool))
    variance = PooledCovariance().fit([windows], bins=1, marks=2).variance_
    assert variance[1] == pytest.approx(1e-5 * variance[0])


def test_components_of_a_track_have_variance_one() -> None:
    values = np.random.default_rng(9).standard_normal((5000, 4)) * [8, 4, 2, 1]
    track = make_track("m0", values)
    np.testing.assert_allclose(track.components.var(axis=0), [1, 1], rtol=1e-3)
    assert abs(np.corrcoef(track.components[:, 0], values[:, 0])[0, 1]) > 0.99


def test_quadratic_map_has_an_intercept_for_targets_that_are_not_centered() -> None:
    x = 3 + np.random.default_rng(10).standard_normal((4000, 2))
    map_ = QuadraticMap(np.ones(2), 1)
    map_.add(x, 5 + x[:, :1])
    assert map_.solve()(x).mean() == pytest.approx((5 + x[:, 0]).mean())


def test_default_encoder_has_38_variance_scaled_latents() -> None:
    data = simulated_dataset(n_genes=400, n_cell_types=2, n_bins=100)
    latents = ConsensusEncoder().fit_transform(data)
    names = [*(f"shared_{k}" for k in range(1, 8)), *(f"pc_{k}" for k in range(1, 31))]
    assert latents["latent"].values.tolist() == ["activity", *names]
    variance = latents.var("gene").mean("cell_type")
    for name, length in (("activity", 1), ("shared_1", 0.85), ("pc_1", 1.2)):
        assert float(variance.sel(latent=name)) == pytest.approx(length**2, rel=0.1)
    two_tracks = data.isel(cell_type=[0], mark=[0, 3])
    assert ConsensusEncoder().fit(two_tracks).n_shared_ == 4
