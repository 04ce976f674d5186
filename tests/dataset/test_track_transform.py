"""What the consensus encoder sees: log rates, each track on its own scale."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from simplechrome import from_arrays
from simplechrome.dataset.transforms.tracks import TrackTransform
from simplechrome.errors import InputFormatError


def tracks(signal: np.ndarray, **more: object) -> xr.Dataset:
    """Cell types c0, c1 … and marks m0, m1 … of (cell_type, gene, bin, mark) signal."""
    cells, genes, _, marks = signal.shape
    names = {
        "marks": [f"m{k}" for k in range(marks)],
        "gene_ids": [f"g{k}" for k in range(genes)],
        "cell_types": [f"c{k}" for k in range(cells)],
    }
    return from_arrays(signal, **{**names, **more})


def counts(cells: int = 1, marks: int = 1, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.poisson(rng.gamma(1, 4, (cells, 30, 1, marks)), (cells, 30, 6, marks))


def test_flat_window_becomes_the_log_of_its_level_over_a_fifth_of_the_mean() -> None:
    # Levels 0 and 4: their mean is 2, a fifth of it .4; log(1 + 4 / .4) = log 11, and log 1 = 0.
    # The profile is the mean of the two, the deviation half their difference.
    signal = np.broadcast_to(np.array([0, 4])[np.newaxis, :, np.newaxis, np.newaxis], (1, 2, 5, 1))
    transform = TrackTransform().fit(tracks(signal))
    assert transform.level_["c0", "m0"] == 2
    np.testing.assert_allclose(transform.profile_["c0", "m0"], np.log(11) / 2, rtol=1e-6)
    values = transform.transform(tracks(signal)).values
    np.testing.assert_allclose(values[0, :, :, 0], [[-1] * 5, [1] * 5], rtol=1e-6)


@given(st.integers(2, 9))
def test_depth_changes_nothing(factor: int) -> None:
    signal = counts()
    once, deeper = (
        TrackTransform().fit(tracks(s)).transform(tracks(s)).values
        for s in (signal, factor * signal)
    )
    np.testing.assert_allclose(once, deeper, atol=2e-5)


def test_every_track_has_mean_zero_and_deviation_one() -> None:
    data = tracks(counts(cells=3, marks=2))
    values = TrackTransform().fit(data).transform(data).values
    np.testing.assert_allclose(values.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(values.std(axis=(1, 2)), 1, atol=1e-5)


def test_missing_marks_are_zero_whatever_stands_there() -> None:
    signal = counts(cells=2, marks=2)
    present = np.array([[True, True], [True, False]])
    data = tracks(signal, mark_present=present)
    data["signal"].values[1, :, :, 1] = 1000
    transform = TrackTransform().fit(data)
    assert ("c1", "m1") not in transform.level_
    assert (transform.transform(data).values[1, :, :, 1] == 0).all()


def test_track_of_another_cell_type_is_seen_like_the_mean_of_its_mark() -> None:
    data = tracks(counts(cells=2))
    transform = TrackTransform().fit(data)
    other = data.isel(cell_type=[0]).assign_coords(cell_type=["new"])
    values = transform.transform(other).values[0, :, :, 0]
    level = np.sqrt(transform.level_["c0", "m0"] * transform.level_["c1", "m0"])
    profile, scale = (
        np.mean([table["c0", "m0"], table["c1", "m0"]], axis=0)
        for table in (transform.profile_, transform.scale_)
    )
    own = transform.transform(data).values[0, :, :, 0]
    rate = np.expm1(own * transform.scale_["c0", "m0"] + transform.profile_["c0", "m0"])
    rate *= transform.level_["c0", "m0"] / level
    np.testing.assert_allclose(values, (np.log1p(rate) - profile) / scale, atol=1e-4)
    assert transform.add_tracks(other) == [("new", "m0")]
    np.testing.assert_allclose(transform.transform(other).values[0, :, :, 0], own, atol=1e-6)


def test_flat_windows_come_back() -> None:
    signal = np.broadcast_to(np.arange(1, 6)[np.newaxis, :, np.newaxis, np.newaxis], (1, 5, 4, 1))
    transform = TrackTransform().fit(tracks(signal))
    back = transform.inverse(transform.transform(tracks(signal)).values)
    np.testing.assert_allclose(back, signal, rtol=1e-5)


def test_json_keeps_everything() -> None:
    data = tracks(counts(cells=2, marks=2))
    transform = TrackTransform().fit(data)
    again = TrackTransform.from_dict(transform.to_dict())
    np.testing.assert_array_equal(again.transform(data).values, transform.transform(data).values)


def test_empty_track_stays_at_zero() -> None:
    data = tracks(np.zeros((1, 4, 3, 1), np.uint16))
    assert (TrackTransform().fit(data).transform(data).values == 0).all()


def test_negative_values_are_refused() -> None:
    data = tracks(np.full((1, 4, 3, 1), -1.0, np.float32), units="fold_change")
    with pytest.raises(InputFormatError, match="c0 m0 holds negative values"):
        TrackTransform().fit(data)
