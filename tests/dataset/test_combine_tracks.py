"""Replicates, controls, library sizes: values that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from simplechrome.dataset.building.tracks import (
    per_million,
    plainest,
    pool_replicates,
    subtract_control,
)
from simplechrome.errors import InputFormatError
from simplechrome.sources.tracks.windows import BinnedTrack


def track(
    values: list[list[float]],
    *,
    observed: tuple[float, ...] = (1.0,),
    depth: float = 100.0,
    units: str = "reads",
) -> BinnedTrack:
    return BinnedTrack(np.array(values), np.array(observed, np.float32), depth, units)


def test_reads_of_replicates_are_added() -> None:
    pooled = pool_replicates([track([[1, 2]], depth=10), track([[3, 0]], depth=30)], [1, 1])
    assert pooled.values.tolist() == [[4, 2]]
    assert pooled.depth == 40
    assert pooled.units == "reads"


def test_signal_of_replicates_is_averaged_where_there_are_data() -> None:
    # The second replicate has no data in the second window: it does not count there.
    first = track([[2.0], [6.0]], observed=(1.0, 1.0), units="mean_signal")
    second = track([[4.0], [0.0]], observed=(0.5, 0.0), units="mean_signal")
    pooled = pool_replicates([first, second], [1, 1])
    assert pooled.values.tolist() == [[3.0], [6.0]]
    assert pooled.observed.tolist() == [0.75, 1.0]


def test_scales_multiply_values_and_not_libraries() -> None:
    pooled = pool_replicates([track([[2]], depth=10), track([[1]], depth=10)], [0.5, 3])
    assert pooled.values.tolist() == [[4.0]]  # 2 / 2 + 1 x 3
    assert pooled.depth == 20


def test_control_is_scaled_to_the_library_and_nothing_falls_below_zero() -> None:
    # The control is twice as deep: its reads count half. 5 - 2, and 1 - 3 becomes 0.
    left = subtract_control(track([[5, 1]], depth=50), track([[4, 6]], depth=100), "A H3K4me3")
    assert left.values.tolist() == [[3, 0]]
    assert left.depth == 50


def test_signal_control_is_taken_as_it_is() -> None:
    signal = track([[5.0]], depth=50, units="mean_signal")
    control = track([[2.0]], depth=1000, units="mean_signal")
    assert subtract_control(signal, control, "A").values.tolist() == [[3.0]]


def test_reads_per_million() -> None:
    result = per_million(track([[3]], depth=1_500_000), "A")
    assert result.values.tolist() == [[2.0]]
    assert result.units == "CPM"
    assert result.depth == 1_500_000


def test_counts_stay_whole_numbers() -> None:
    assert plainest(np.array([[1.0, 70_000.0]]), "reads").dtype == np.int64
    assert plainest(np.array([[1.5]]), "reads").dtype == np.float32
    assert plainest(np.array([[1.0]]), "mean_signal").dtype == np.float32


def test_tracks_that_cannot_be_combined_are_refused() -> None:
    reads, empty, signal = track([[5]]), track([[0]], depth=0), track([[1]], units="mean_signal")
    with pytest.raises(InputFormatError, match="reads, mean_signal"):
        pool_replicates([reads, signal], [1, 1])
    with pytest.raises(InputFormatError, match="reads and mean_signal"):
        subtract_control(reads, signal, "A")
    with pytest.raises(InputFormatError, match="control of A H3K4me3 cannot be scaled"):
        subtract_control(reads, empty, "A H3K4me3")
    with pytest.raises(InputFormatError, match="library size is 0"):
        per_million(empty, "A")
