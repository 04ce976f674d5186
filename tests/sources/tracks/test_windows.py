"""Where windows lie, to the base."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simplechrome.errors import ConfigError, InputFormatError
from simplechrome.sources.tracks.windows import (
    ChromWindows,
    Gaps,
    Windows,
    blacklisted_share,
    read_regions,
    settle_gaps,
)


def genes(*rows: tuple[str, int, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["chrom", "tss", "strand"])


def test_plus_strand_window_begins_flank_before_the_tss() -> None:
    windows = Windows.around_tss(genes(("chr1", 1000, "+"), ("chr1", 1000, ".")), flank=200)
    assert windows.start.tolist() == [800, 800]
    assert windows.backwards.tolist() == [False, False]
    assert (windows.n_bins, windows.bin_size, windows.width) == (4, 100, 400)


def test_minus_strand_window_holds_the_tss_as_first_base_of_offset_zero() -> None:
    # Read backwards, [801, 1201) has 1200 … 1001 as its first two bins and begins the third,
    # offset 0, at base 1000.
    windows = Windows.around_tss(genes(("chr1", 1000, "-")), flank=200)
    assert windows.start.tolist() == [801]
    bases = np.arange(801, 1201, dtype=float).reshape(1, 4, 100)
    turned = windows.along_genes(bases.max(axis=2))
    assert turned.tolist() == [[1200, 1100, 1000, 900]]


@pytest.mark.parametrize(("flank", "bin_size"), [(0, 100), (150, 100), (100, 0), (-100, 100)])
def test_windows_that_hold_no_whole_bins_are_refused(flank: int, bin_size: int) -> None:
    with pytest.raises(ConfigError, match="multiple of the bin size"):
        Windows.around_tss(genes(("chr1", 1000, "+")), flank=flank, bin_size=bin_size)


def test_renaming_leaves_unknown_chromosomes_without_a_name() -> None:
    windows = Windows.around_tss(genes(("chr1", 10, "+"), ("chrX", 10, "+")), flank=100)
    renamed = windows.renamed({"chr1": "1"})
    assert renamed.chrom.tolist() == ["1", ""]
    assert [name for name, _ in renamed.by_chromosome()] == ["1"]


def test_windows_of_a_chromosome_come_sorted_with_their_rows() -> None:
    windows = Windows.around_tss(
        genes(("chr2", 900, "+"), ("chr1", 500, "+"), ("chr2", 300, "-")), flank=100
    )
    found = dict(windows.by_chromosome())
    assert found["chr2"].rows.tolist() == [2, 0]
    assert found["chr2"].starts.tolist() == [201, 800]


def test_share_inside_of_the_chromosome() -> None:
    # [-50, 150) of 200: three quarters inside; [100, 300) of 200: half; chr2 is not known.
    windows = Windows.around_tss(
        genes(("chr1", 50, "+"), ("chr1", 200, "+"), ("chr2", 50, "+")), flank=100
    )
    assert windows.inside({"chr1": 200}).tolist() == [0.75, 0.5, 0.0]


@given(
    starts=st.lists(st.integers(-50, 400), min_size=1, max_size=12),
    join_within=st.integers(0, 60),
    size=st.one_of(st.none(), st.integers(1, 350)),
)
def test_stretches_hold_all_windows_and_are_apart(
    starts: list[int], join_within: int, size: int | None
) -> None:
    windows = Windows(
        np.array(["c"] * len(starts), object), np.array(starts), np.zeros(len(starts), bool), 2, 10
    )
    ordered = np.sort(np.array(starts, np.int64))
    found = windows.stretches(
        ChromWindows(np.arange(len(starts)), ordered), join_within=join_within, size=size
    )
    bases = {base for start in starts for base in range(start, start + 20)}
    wanted = {base for base in bases if base >= 0 and (size is None or base < size)}
    held = {base for start, end in found for base in range(start, end)}
    assert wanted <= held
    assert all(start < end for start, end in found)
    gaps = found[1:, 0] - found[:-1, 1]
    assert (gaps > join_within).all()
    # Between windows no more is read than was allowed.
    assert len(held) <= len(wanted) + join_within * max(0, len(starts) - 1)


@pytest.mark.parametrize(
    ("covered", "gaps", "observed"),
    [
        ([10, 18, 16, 0], "auto", [1, 1, 1, 1]),  # all with data have holes
        ([20, 20, 8, 0], "auto", [1, 1, 0.4, 0]),
        ([10, 0, 0, 0], "missing", [0.5, 0, 0, 0]),
        ([10, 0, 0, 0], "zero", [1, 1, 1, 1]),
    ],
)
def test_gaps_are_zeros_where_most_windows_have_some(
    covered: list[int], gaps: Gaps, observed: list[float]
) -> None:
    places = on_one_chromosome([0, 20, 40, 60])
    found = settle_gaps(np.array(covered), places, {"c": 80}, gaps, "t.bw")
    assert found.tolist() == pytest.approx(observed)


def on_one_chromosome(starts: list[int]) -> Windows:
    n = len(starts)
    return Windows(
        np.array(["c"] * n, object), np.array(starts, np.int64), np.zeros(n, bool), 2, 10
    )


@given(
    starts=st.lists(st.integers(-10, 90), min_size=1, max_size=5),
    regions=st.lists(st.tuples(st.integers(0, 90), st.integers(1, 30)), min_size=1, max_size=6),
)
def test_blacklisted_fraction_is_that_of_the_bases(
    starts: list[int], regions: list[tuple[int, int]]
) -> None:
    table = pd.DataFrame([("c", s, s + n) for s, n in regions], columns=["chrom", "start", "end"])
    listed = {base for s, n in regions for base in range(s, s + n)}
    expected = [sum(b in listed for b in range(s, s + 20)) / 20 for s in starts]
    np.testing.assert_allclose(
        blacklisted_share(on_one_chromosome(starts), table), expected, atol=1e-6
    )


def test_bed_is_read_past_its_comments(tmp_path: Path) -> None:
    (tmp_path / "b.bed").write_text("track name=x\n#c\nchr1\t5\t9\tnoise\nchr2 1 2\n")
    assert read_regions(tmp_path / "b.bed").to_numpy().tolist() == [
        ["chr1", 5, 9],
        ["chr2", 1, 2],
    ]


@pytest.mark.parametrize("line", ["chr1\t5", "chr1\tx\t9", "chr1\t9\t9"])
def test_line_that_is_not_a_region_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "b.bed").write_text(f"chr1\t0\t5\n{line}\n")
    with pytest.raises(InputFormatError, match=r"b\.bed, line 2 is not a region"):
        read_regions(tmp_path / "b.bed")


def test_a_file_without_regions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.bed").write_text("# nothing\n")
    with pytest.raises(InputFormatError, match="holds no regions"):
        read_regions(tmp_path / "b.bed")
