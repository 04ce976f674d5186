"""Which reads count, and how many fall into each bin."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from simplechrome.errors import ConfigError
from simplechrome.sources.tracks.reads import (
    ReadRule,
    Reads,
    bin_edges,
    count_overlaps,
    count_positions,
    count_reads,
)


def reads(*intervals: tuple[int, int, str]) -> Reads:
    starts, ends, strands = zip(*intervals, strict=True)
    return Reads(
        np.array(starts, np.int64), np.array(ends, np.int64), np.array(strands, object) == "-"
    )


def edges(*starts: int, n_bins: int = 3, bin_size: int = 10) -> NDArray[np.int64]:
    return bin_edges(np.array(starts, np.int64), n_bins, bin_size)


def test_edges_run_from_the_window_start() -> None:
    assert edges(-5, 100).tolist() == [[-5, 5, 15, 25], [100, 110, 120, 130]]


@pytest.mark.parametrize(
    ("drawn", "rule", "starts", "counts"),
    [
        # [9, 21) has its first base in bin 0, its last, 20, in bin 2.
        ([(9, 21, "+")], ReadRule(), [0], [[1, 1, 1]]),
        ([(5, 10, "+")], ReadRule(), [0], [[1, 0, 0]]),  # ends where bin 1 starts
        ([(12, 14, "+")], ReadRule(), [0, 10, 13], [[0, 1, 0], [1, 0, 0], [1, 0, 0]]),
        # Bases 5 and 24; moved by 7, 12 and 17; by -6, off the chromosome and 30.
        ([(5, 25, "+"), (5, 25, "-")], ReadRule("five-prime"), [0], [[1, 0, 1]]),
        ([(5, 25, "+"), (5, 25, "-")], ReadRule("five-prime", shift=7), [0], [[0, 2, 0]]),
        (
            [(5, 25, "+"), (5, 25, "-")],
            ReadRule("five-prime", shift=-6),
            [-10, 10],
            [[0, 0, 0], [0, 0, 1]],
        ),
        # 5 + 9 // 2 = 9 and 5 + 10 // 2 = 10
        ([(5, 14, "+"), (5, 15, "-")], ReadRule("midpoint"), [0], [[1, 1, 0]]),
    ],
)
def test_counts_by_each_rule(
    drawn: list[tuple[int, int, str]], rule: ReadRule, starts: list[int], counts: list[list[int]]
) -> None:
    assert count_reads(reads(*drawn), rule, edges(*starts)).tolist() == counts


def test_end_shifted_behind_the_chromosome_counts_nowhere() -> None:
    one = reads((5, 25, "+"))
    rule = ReadRule("five-prime", shift=10)
    assert count_reads(one, rule, edges(0), size=15).sum() == 0
    assert count_reads(one, rule, edges(0), size=16).sum() == 1


intervals = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 40)), max_size=25)
windows = st.lists(st.integers(-40, 90), min_size=1, max_size=6)


@given(intervals, windows, st.integers(1, 5), st.integers(1, 13))
def test_counts_equal_brute_force(
    drawn: list[tuple[int, int]], starts: list[int], n_bins: int, bin_size: int
) -> None:
    begins = np.sort(np.array([start for start, _ in drawn], np.int64))
    ends = np.sort(np.array([start + length for start, length in drawn], np.int64))
    where = edges(*starts, n_bins=n_bins, bin_size=bin_size)
    overlaps = count_overlaps(begins, ends, where)
    positions = count_positions(begins, where)
    for window, start in enumerate(starts):
        for each in range(n_bins):
            low = start + each * bin_size
            high = low + bin_size
            touching = sum(first < high and first + length > low for first, length in drawn)
            assert overlaps[window, each] == touching
            assert positions[window, each] == sum(low <= first < high for first, _ in drawn)


def test_default_counts_what_multicov_counts_without_duplicates() -> None:
    rule = ReadRule()
    assert (rule.count, rule.shift, rule.min_mapping_quality) == ("overlap", 0, 0)
    # unmapped 4, failed 512, duplicate 1024, secondary 256, supplementary 2048
    assert rule.excluded_flags == 4 + 512 + 1024 + 256 + 2048


def test_kept_reads_leave_the_mask() -> None:
    assert ReadRule(keep_duplicates=True).excluded_flags == 4 + 512 + 256 + 2048
    assert ReadRule(keep_secondary=True).excluded_flags == 4 + 512 + 1024
    assert ReadRule(keep_duplicates=True, keep_secondary=True).excluded_flags == 4 + 512


def test_rule_survives_json() -> None:
    rule = ReadRule("five-prime", shift=-75, min_mapping_quality=30, keep_secondary=True)
    assert ReadRule(**json.loads(json.dumps(asdict(rule)))) == rule


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": "five_prime"}, "did you mean five-prime"),
        ({"count": "overlap", "shift": 75}, "shift of 75"),
        ({"count": "five-prime", "shift": 0.5}, "shift is 0.5"),
        ({"count": "five-prime", "shift": 2_000_000}, "-1000000 to 1000000"),
        ({"min_mapping_quality": -1}, "0 to 254"),
        ({"min_mapping_quality": 255}, "0 to 254"),
        ({"min_mapping_quality": True}, "is True, not a whole number"),
        ({"keep_duplicates": "no"}, "is 'no', not true or false"),
    ],
)
def test_invalid_rule_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ReadRule(**arguments)
