"""BED-like files to reads per bin."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pysam
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simplechrome.errors import ConfigError, InputFormatError, MissingInputError
from simplechrome.sources.tracks import bedgraph as bedgraph_lines
from simplechrome.sources.tracks import read_intervals
from simplechrome.sources.tracks.alignments import bin_alignments
from simplechrome.sources.tracks.read_intervals import bin_read_intervals
from simplechrome.sources.tracks.read_rule import ReadRule
from simplechrome.sources.tracks.windows import Windows

# Bases of the window from 1000: bins [1000, 1010), [1010, 1020), [1020, 1030).
TWO_READS = "chr1\t995\t1005\tr0\t0\t+\nchr1\t1009\t1025\tr1\t0\t-\n"


def windows(*places: tuple[str, int], n_bins: int = 3, bin_size: int = 10) -> Windows:
    return Windows(
        np.array([chrom for chrom, _ in places], object),
        np.array([start for _, start in places], np.int64),
        np.zeros(len(places), bool),
        n_bins,
        bin_size,
    )


AT_1000 = windows(("chr1", 1000))


def write(folder: Path, text: str | bytes, name: str = "reads.bed") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("rule", "counts"),
    [
        (ReadRule(), [2, 1, 1]),
        (ReadRule("five-prime"), [0, 0, 1]),  # bases 995 and 1024
        (ReadRule("five-prime", shift=7), [1, 1, 0]),  # 1002 and 1017
        (ReadRule("five-prime", shift=-1), [0, 0, 1]),  # 994 and 1025
        (ReadRule("midpoint"), [1, 1, 0]),  # 995 + 5 and 1009 + 8
    ],
)
def test_reads_count_by_the_rule(tmp_path: Path, rule: ReadRule, counts: list[int]) -> None:
    track = bin_read_intervals(write(tmp_path, TWO_READS), AT_1000, rule)
    assert track.values.tolist() == [counts]
    assert track.observed.tolist() == [1]
    assert (track.depth, track.units) == (2, "reads")


def test_fragments_count_once_whatever_their_count_column(tmp_path: Path) -> None:
    text = "# id=sample\n# genome=hg38\nchr1\t1000\t1012\tAAAC-1\t7\nchr1\t1000\t1012\tGGTT-1\t1\n"
    path = write(tmp_path, text, "fragments.tsv")
    track = bin_read_intervals(path, AT_1000, ReadRule("midpoint"))
    assert track.values.tolist() == [[2, 0, 0]]
    assert track.depth == 2


@pytest.mark.parametrize("packed", ["plain", "gz", "bgz", "bz2", "xz"])
def test_packing_is_told_by_content(tmp_path: Path, packed: str) -> None:
    path = write(tmp_path, TWO_READS)
    if packed == "bgz":
        pysam.tabix_compress(str(path), str(tmp_path / "packed"))
    else:
        pack: dict[str, Callable[[bytes], bytes]] = {
            "plain": bytes,
            "gz": gzip.compress,
            "bz2": bz2.compress,
            "xz": lzma.compress,
        }
        (tmp_path / "packed").write_bytes(pack[packed](TWO_READS.encode()))
    track = bin_read_intervals(tmp_path / "packed", AT_1000, ReadRule())
    assert track.values.tolist() == [[2, 1, 1]]


@pytest.mark.parametrize(
    "text",
    [
        "track name=x\nbrowser position chr1\n#chr\tstart\tend\n" + TWO_READS,
        TWO_READS.replace("\nchr1", "\n# here\ttoo\n\ntrack name=y\nchr1", 1),
        TWO_READS.replace("\n", "\r\n"),
        TWO_READS.replace("\t", "  "),
        TWO_READS.rstrip("\n"),
        "\ufeff" + TWO_READS,
        TWO_READS.replace("r0", "a name"),
        TWO_READS.replace("r0", '"quoted'),
        TWO_READS.replace("\tr0\t0\t+", ""),  # lines of 3 and of 6 columns
        TWO_READS.replace("r0\t0\t+", "r0\t0\t."),
        "".join(reversed(TWO_READS.splitlines(keepends=True))),
        "trackless\t5\t9\tx\t0\t+\n" + TWO_READS,
    ],
)
def test_lines_may_be_written_in_many_ways(tmp_path: Path, text: str) -> None:
    track = bin_read_intervals(write(tmp_path, text), AT_1000, ReadRule())
    assert track.values.tolist() == [[2, 1, 1]]


def test_unknown_chromosomes_are_unobserved(tmp_path: Path) -> None:
    path = write(tmp_path, TWO_READS + "chr2\t5\t9\tr2\t0\t+\n")
    places = windows(("chr1", 1000), ("chr2", 1000), ("chr3", 1000), ("", 1000), ("chr1", -15))
    track = bin_read_intervals(path, places, ReadRule())
    assert track.values.sum(axis=1).tolist() == [4, 0, 0, 0, 0]
    assert track.observed.tolist() == [1, 1, 0, 0, 0.5]
    assert track.depth == 3


def test_known_lengths_say_what_lies_outside(tmp_path: Path) -> None:
    path = write(tmp_path, TWO_READS)
    rule = ReadRule("five-prime", shift=-1)  # 994 and 1025
    track = bin_read_intervals(path, AT_1000, rule, sizes={"chr1": 1025})
    assert track.values.tolist() == [[0, 0, 0]]
    assert track.observed.tolist() == pytest.approx([25 / 30])


def test_file_of_remarks_counts_zero(tmp_path: Path) -> None:
    track = bin_read_intervals(write(tmp_path, "# nothing\n"), AT_1000, ReadRule())
    assert track.values.sum() == track.observed.sum() == track.depth == 0


def test_scores_are_no_mapping_qualities(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no mapping qualities") as caught:
        bin_read_intervals(write(tmp_path, TWO_READS), AT_1000, ReadRule(min_mapping_quality=10))
    assert "samtools view -q" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TWO_READS + "chr1\t5\n", r"reads\.bed, line 3 .*2 columns: 'chr1\\t5'"),
        (TWO_READS + "\n#\nchr1\tfive\t9\n", r"line 5 .*not both whole numbers"),
        (TWO_READS + "chr1\t9\t9\tr\t0\t+\n", r"line 3 .*start 9, end 9"),
        ("chr1\t-5\t9\n", r"line 1 .*start -5"),
        ("chr1\t5\t99999999999\n", r"line 1 .*end 99999999999"),
        ("chr1\n", r"line 1 .*1 columns"),
        ("chr1,5,9\n", r"line 1 .*1 columns"),
        (b"chr1\t5\t\xff\n", r"line 1 .*whole numbers"),
        ("chr1\t5\t9007199254740993.0\n", r"line 1 .*whole numbers"),
    ],
)
def test_line_that_is_no_read_is_named(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(InputFormatError, match=f"(?s){said}"):
        bin_read_intervals(write(tmp_path, text), AT_1000, ReadRule())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("chr1\t5\t9\n", "line 1.*3 columns"),
        ("chr1\t5\t9\tAAAC-1\t7\n", "line 1.*5 columns"),
        (TWO_READS.replace("-", "."), "line 2.*'.' in column 6"),
        (TWO_READS + "chr1\t5\t9\n", "line 3.*3 columns"),
    ],
)
def test_five_prime_ends_need_strands(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputFormatError, match=f"(?s){said}") as caught:
        bin_read_intervals(write(tmp_path, text), AT_1000, ReadRule("five-prime"))
    assert "overlap" in caught.value.remedy


def test_absent_empty_and_truncated_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="does not exist"):
        bin_read_intervals(tmp_path / "none.bed", AT_1000, ReadRule())
    with pytest.raises(InputFormatError, match="is empty"):
        bin_read_intervals(write(tmp_path, ""), AT_1000, ReadRule())
    packed = gzip.compress(TWO_READS.encode())
    with pytest.raises(InputFormatError, match="cut off"):
        bin_read_intervals(write(tmp_path, packed[:-9]), AT_1000, ReadRule())


def test_progress_grows_to_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bedgraph_lines, "_CHUNK", 1 << 17)
    path = write(tmp_path, TWO_READS * 20_000)
    shares: list[float] = []
    track = bin_read_intervals(path, AT_1000, ReadRule(), progress=shares.append)
    assert track.values.tolist() == [[40_000, 20_000, 20_000]]
    assert shares == sorted(shares)
    assert len(shares) > 3
    assert shares[-1] == 1


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    reads=st.lists(
        st.tuples(
            st.sampled_from(["chr1", "chr2", "chrUn"]),
            st.integers(0, 3_000),
            st.integers(1, 300),
            st.sampled_from("+-"),
        ),
        min_size=1,
        max_size=40,
    ),
    places=st.lists(
        st.tuples(st.sampled_from(["chr1", "chr2"]), st.integers(-500, 3_000)),
        min_size=1,
        max_size=5,
    ),
    rule=st.sampled_from(
        [
            ReadRule(),
            ReadRule("midpoint"),
            ReadRule("five-prime", shift=75),
            ReadRule("five-prime", shift=-400),
        ]
    ),
)
def test_counts_equal_brute_force_in_any_order(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reads: list[tuple[str, int, int, str]],
    places: list[tuple[str, int]],
    rule: ReadRule,
) -> None:
    # Small chunks and batches, so that there are several.
    monkeypatch.setattr(bedgraph_lines, "_CHUNK", 200)
    monkeypatch.setattr(read_intervals, "_READS_AT_ONCE", 5)
    lines = [f"{name}\t{start}\t{start + n}\tr\t0\t{sign}\n" for name, start, n, sign in reads]
    track = bin_read_intervals(
        write(tmp_path, "".join(lines)), windows(*places, n_bins=4, bin_size=130), rule
    )
    expected = np.zeros((len(places), 4))
    for name, start, length, sign in reads:
        first, last = start, start + length - 1
        if rule.count == "midpoint":
            first = last = start + length // 2
        if rule.count == "five-prime":
            first = last = last - rule.shift if sign == "-" else first + rule.shift
        for window, (chrom, begin) in enumerate(places):
            for each in range(4):
                low = begin + 130 * each
                touches = first < low + 130 and last >= low and first >= 0
                expected[window, each] += chrom == name and touches
    np.testing.assert_array_equal(track.values, expected)
    assert track.depth == len(reads)


@pytest.mark.real_data
@pytest.mark.parametrize("rule", [ReadRule(), ReadRule("five-prime", shift=75)])
def test_real_reads_count_as_in_their_bam(
    shared_data: Path, tmp_path: Path, rule: ReadRule
) -> None:
    bam = shared_data / "bam_chr21_hg19" / "H3K4me3.bam"
    with pysam.AlignmentFile(str(bam)) as file:
        lines = [
            f"chr21\t{read.reference_start}\t{read.reference_end}\tN\t1000\t"
            f"{'-' if read.is_reverse else '+'}\n"
            for read in file
        ]
        sizes = dict(zip(file.references, file.lengths, strict=True))
    tag_align = write(tmp_path, gzip.compress("".join(lines).encode()), "H3K4me3.tagAlign.gz")
    starts = range(40_000_123, 48_130_000, 9_000)  # overlapping windows, the last leaves chr21
    places = windows(*(("chr21", start) for start in starts), n_bins=100, bin_size=100)
    by_bam = bin_alignments(bam, places, rule)
    by_lines = bin_read_intervals(tag_align, places, rule, sizes=sizes)
    np.testing.assert_array_equal(by_lines.values, by_bam.values)
    np.testing.assert_array_equal(by_lines.observed, by_bam.observed)
    assert by_lines.depth == by_bam.depth == 74_534
