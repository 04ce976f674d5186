"""What a run remembers of its tracks' depth, and the factor that leads to it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simplechrome import from_arrays
from simplechrome.errors import ModelFormatError
from simplechrome.runs.adapt import (
    BIN_FRACTIONS,
    LEVEL_FRACTIONS,
    depth_factor,
    profile_signal,
    profile_track,
    read_signal_profile,
    reference_track,
    write_signal_profile,
)


def ramp(factor: float = 1, n: int = 101) -> np.ndarray:
    """Windows of four equal bins, from 0 to n - 1 reads, times a factor."""
    return np.repeat(np.arange(n)[:, None], 4, axis=1) * factor


def test_levels_are_quantiles_of_window_means_and_bins_of_bins() -> None:
    signal = np.zeros((101, 4))
    signal[:, 0] = 4 * np.arange(101)  # means 0 to 100, three quarters of the bins 0
    track = profile_track(signal, 7)
    np.testing.assert_allclose(track.levels, 100 * LEVEL_FRACTIONS)
    assert track.bins[BIN_FRACTIONS.searchsorted(0.7)] == 0
    assert track.bins[-1] == 400
    assert track.depth == 7


def test_some_windows_with_very_much_do_not_change_the_factor() -> None:
    loud = ramp()
    loud[-4:] *= 1000  # their share of the mean is more than nine tenths
    assert depth_factor(profile_track(loud), profile_track(ramp())) == pytest.approx(1)


def test_track_without_signal_has_no_factor() -> None:
    assert np.isnan(depth_factor(profile_track(ramp(0)), profile_track(ramp())))


@given(st.floats(0.01, 100), st.integers(0, 60))
def test_factor_undoes_any_depth_even_where_windows_are_empty(factor: float, empty: int) -> None:
    signal = ramp()
    signal[:empty] = 0
    found = depth_factor(profile_track(signal * factor), profile_track(signal))
    assert found == pytest.approx(1 / factor)


def test_cell_type_is_compared_with_itself_and_others_with_the_mean() -> None:
    signal = np.stack([ramp(), ramp(3)])[..., None]
    data = from_arrays(
        signal,
        marks=["H3K4me3"],
        gene_ids=[f"g{k}" for k in range(101)],
        cell_types=["A", "B"],
        depth=np.array([[10.0], [30.0]]),
    )
    profile = profile_signal(data)
    own = reference_track(profile, "B", "H3K4me3")
    new = reference_track(profile, "C", "H3K4me3")
    assert own is not None
    assert new is not None
    np.testing.assert_allclose(own.levels, 300 * LEVEL_FRACTIONS)
    np.testing.assert_allclose(new.levels, 200 * LEVEL_FRACTIONS)
    assert (own.depth, new.depth) == (30, 20)
    assert reference_track(profile, "A", "H3K9me3") is None


def test_marks_and_windows_without_data_are_left_out() -> None:
    data = from_arrays(
        np.ones((1, 4, 2, 2)),
        marks=["H3K4me3", "H3K9me3"],
        gene_ids=list("abcd"),
        cell_types=["A"],
        mark_present=np.array([[True, False]]),
    )
    data["signal"].values[0, 0, :, 0] = 9
    data["observed"].values[0, 0, 0] = 0
    profile = profile_signal(data)
    assert list(profile["A"]) == ["H3K4me3"]
    assert profile["A"]["H3K4me3"].levels.max() == 1


def test_profile_comes_back_from_its_file(tmp_path: Path) -> None:
    written = {"A": {"H3K4me3": profile_track(ramp()), "H3K9me3": profile_track(ramp(1 / 3), 5)}}
    write_signal_profile(written, tmp_path)
    read = read_signal_profile(tmp_path)
    assert read is not None
    for mark, track in written["A"].items():
        np.testing.assert_allclose(read["A"][mark].levels, track.levels, rtol=1e-5)
        np.testing.assert_allclose(read["A"][mark].bins, track.bins, rtol=1e-5)
    assert np.isnan(read["A"]["H3K4me3"].depth)
    assert read["A"]["H3K9me3"].depth == 5


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"cell_types": {"A": {"H3K4me3": 1}}}',
        json.dumps({"cell_types": {"A": {"K": {"depth": None, "levels": [1], "bins": [1]}}}}),
    ],
)
def test_damaged_profile_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "signal_profile.json").write_text(text)
    with pytest.raises(ModelFormatError, match=r"signal_profile\.json cannot be read") as caught:
        read_signal_profile(tmp_path)
    assert "copy the run folder again" in caught.value.remedy
