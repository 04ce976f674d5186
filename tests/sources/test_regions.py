"""Blacklists: to the base."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simplechrome.errors import InputFormatError
from simplechrome.sources.tracks.regions import blacklisted_share, read_regions
from simplechrome.sources.tracks.windows import Windows


def windows(starts: list[int]) -> Windows:
    n = len(starts)
    return Windows(
        np.array(["c"] * n, object), np.array(starts, np.int64), np.zeros(n, bool), 2, 10
    )


@given(
    starts=st.lists(st.integers(-10, 90), min_size=1, max_size=5),
    regions=st.lists(st.tuples(st.integers(0, 90), st.integers(1, 30)), min_size=1, max_size=6),
)
def test_the_share_is_that_of_the_bases(starts: list[int], regions: list[tuple[int, int]]) -> None:
    table = pd.DataFrame([("c", s, s + n) for s, n in regions], columns=["chrom", "start", "end"])
    listed = {base for s, n in regions for base in range(s, s + n)}
    expected = [sum(b in listed for b in range(s, s + 20)) / 20 for s in starts]
    np.testing.assert_allclose(blacklisted_share(windows(starts), table), expected, atol=1e-6)


def test_regions_elsewhere_touch_nothing() -> None:
    table = pd.DataFrame([("d", 0, 100)], columns=["chrom", "start", "end"])
    assert blacklisted_share(windows([0]), table).tolist() == [0]


def test_bed_is_read_past_its_comments(tmp_path: Path) -> None:
    (tmp_path / "b.bed").write_text("track name=x\n#c\nchr1\t5\t9\tnoise\nchr2 1 2\n")
    assert read_regions(tmp_path / "b.bed").to_numpy().tolist() == [
        ["chr1", 5, 9],
        ["chr2", 1, 2],
    ]


@pytest.mark.parametrize("line", ["chr1\t5", "chr1\tx\t9", "chr1\t9\t9"])
def test_lines_that_are_no_region_are_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "b.bed").write_text(f"chr1\t0\t5\n{line}\n")
    with pytest.raises(InputFormatError, match=r"b\.bed, line 2 is no region"):
        read_regions(tmp_path / "b.bed")


def test_a_file_without_regions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.bed").write_text("# nothing\n")
    with pytest.raises(InputFormatError, match="holds no regions"):
        read_regions(tmp_path / "b.bed")
