"""BAM and CRAM to reads per bin, and files that are not whole."""

from __future__ import annotations

import gzip
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pysam
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_alignments import SIZES, Read, windows, write_alignments

from simplechrome.errors import InputFormatError, MissingInputError, SimpleChromeError
from simplechrome.sources.tracks import alignments
from simplechrome.sources.tracks.alignments import alignment_chromosomes, bin_alignments
from simplechrome.sources.tracks.reads import ReadRule

KINDS = pytest.mark.parametrize("kind", ["bam", "cram"])


@KINDS
def test_reads_count_in_each_bin_they_touch(tmp_path: Path, kind: str) -> None:
    # [995, 1005) touches bins 0 and 1 of the window from 990, [1012, 1022) bins 2 and none other.
    path = write_alignments(tmp_path / f"a.{kind}", [Read(995), Read(1012), Read(5_000)])
    track = bin_alignments(path, windows(990, 4_990), ReadRule())
    assert track.values.tolist() == [[1, 1, 1], [0, 1, 0]]
    assert track.values.dtype == np.float64
    assert track.observed.tolist() == [1, 1]
    assert (track.depth, track.units) == (3, "reads")


@KINDS
def test_gap_in_an_alignment_counts(tmp_path: Path, kind: str) -> None:
    # 5 bases, 15 skipped, 5 bases: [1000, 1025)
    path = write_alignments(tmp_path / f"a.{kind}", [Read(1000, cigar="5M15N5M")])
    assert bin_alignments(path, windows(1000), ReadRule()).values.tolist() == [[1, 1, 1]]


def test_clipped_bases_do_not_count(tmp_path: Path) -> None:
    path = write_alignments(tmp_path / "a.bam", [Read(1010, cigar="8S5M8S")])
    assert bin_alignments(path, windows(1000), ReadRule()).values.tolist() == [[0, 1, 0]]


@KINDS
def test_filters_decide_about_counts_and_library_size(tmp_path: Path, kind: str) -> None:
    flags = [0, 16, 4, 512, 1024, 256, 2048]  # two plain, unmapped, failed, duplicate, 2 secondary
    reads = [Read(1000, flag) for flag in flags] + [Read(1000, quality=5)]
    reads += [Read(70_000), Read(5, chrom="chr2:b"), Read(5, 1024, chrom="chr2:b")]
    path = write_alignments(tmp_path / f"a.{kind}", reads)
    for rule, count, depth in (
        (ReadRule(), 3, 5),
        (ReadRule(min_mapping_quality=6), 2, 4),
        (ReadRule(keep_duplicates=True), 4, 7),
        (ReadRule(keep_secondary=True), 5, 7),
    ):
        track = bin_alignments(path, windows(1000), rule)
        assert track.values.tolist() == [[count, 0, 0]]
        assert track.depth == depth


@KINDS
def test_shifted_ends_reach_in_from_outside_the_window(tmp_path: Path, kind: str) -> None:
    # Forward: 400 + 600 = 1000. Reverse: last base 1629, 1629 - 600 = 1029.
    path = write_alignments(tmp_path / f"a.{kind}", [Read(400), Read(1620, 16)])
    track = bin_alignments(path, windows(1000), ReadRule("five-prime", shift=600))
    assert track.values.tolist() == [[1, 0, 1]]
    # The other way: 1629 + 600 = 2229, 400 - 600 is off the chromosome.
    track = bin_alignments(path, windows(2200, -210), ReadRule("five-prime", shift=-600))
    assert track.values.tolist() == [[0, 0, 1], [0, 0, 0]]
    assert track.depth == 2


@KINDS
def test_read_that_is_fetched_for_two_windows_counts_once_in_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for name in ("_FINEST_JUMP", "_BAM_JUMP", "_CRAM_JUMP"):
        monkeypatch.setattr(alignments, name, 0)
    path = write_alignments(
        tmp_path / f"a.{kind}", [Read(1000, cigar="20M5000N20M")]
    )  # [1000, 6040)
    track = bin_alignments(path, windows(1000, 6000), ReadRule())
    assert track.values.tolist() == [[1, 1, 1], [1, 1, 1]]


@KINDS
def test_fragment_counts_once_at_its_midpoint_however_far_its_mates(
    tmp_path: Path, kind: str
) -> None:
    # [10_000, 50_000) has its middle at 30_000. Of the others, one is not proper, one a duplicate.
    reads = [
        Read(10_000, 99, template_length=40_000),
        Read(20_000, 97, template_length=20_020),
        Read(20_001, 99 | 1024, template_length=20_020),
        Read(49_990, 147, template_length=-40_000),
    ]
    path = write_alignments(tmp_path / f"a.{kind}", reads)
    track = bin_alignments(path, windows(29_990), ReadRule("midpoint"))
    assert track.values.tolist() == [[0, 1, 0]]
    assert track.depth == 1
    elsewhere = bin_alignments(path, windows(0, chrom="chr2:b"), ReadRule("midpoint"))
    assert (elsewhere.values.sum(), elsewhere.depth) == (0, 1)


def test_midpoint_of_unpaired_reads_is_refused_with_the_alternatives(tmp_path: Path) -> None:
    path = write_alignments(tmp_path / "single.bam", [Read(1000)])
    with pytest.raises(InputFormatError, match="not paired") as caught:
        bin_alignments(path, windows(1000), ReadRule("midpoint"))
    assert "chr1:1001" in caught.value.problem
    assert "five-prime" in caught.value.remedy
    assert "overlap" in caught.value.remedy


@KINDS
def test_windows_beyond_the_chromosome_and_on_unknown_ones(tmp_path: Path, kind: str) -> None:
    path = write_alignments(tmp_path / f"a.{kind}", [Read(0), Read(99_990)])
    places = windows(-15, 99_985, 200_000, -50)
    there = bin_alignments(path, places, ReadRule())
    # Bins [-15, -5), [-5, 5), [5, 15); then [99_985, 99_995), [99_995, 100_005), …
    assert there.values.tolist() == [[0, 1, 1], [1, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert there.observed.tolist() == pytest.approx([0.5, 0.5, 0, 0])
    for unknown in ("chrX", ""):
        track = bin_alignments(path, windows(0, chrom=unknown), ReadRule())
        assert track.values.sum() == track.observed.sum() == 0
        assert track.depth == 2


@KINDS
def test_empty_file_counts_zero(tmp_path: Path, kind: str) -> None:
    path = write_alignments(tmp_path / f"a.{kind}", [])
    track = bin_alignments(path, windows(0), ReadRule())
    assert track.values.sum() == track.depth == 0
    assert track.observed.tolist() == [1]


drawn_reads = st.lists(
    st.builds(
        Read,
        start=st.integers(0, 4_000),
        flag=st.sampled_from([0, 16, 1024, 256]),
        quality=st.sampled_from([0, 30]),
        cigar=st.sampled_from(["10M", "36M", "20M900N10M"]),
        template_length=st.just(0),
        chrom=st.just("chr1"),
    ),
    max_size=40,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    reads=drawn_reads,
    starts=st.lists(st.integers(-500, 5_000), min_size=1, max_size=5),
    rule=st.sampled_from(
        [
            ReadRule(),
            ReadRule(min_mapping_quality=1, keep_duplicates=True),
            ReadRule("five-prime", shift=75),
            ReadRule("five-prime", shift=-2_000),
        ]
    ),
)
def test_counts_equal_brute_force_over_all_reads(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reads: list[Read],
    starts: list[int],
    rule: ReadRule,
) -> None:
    # Many regions and batches: a read across their borders must count once.
    monkeypatch.setattr(alignments, "_READS_AT_ONCE", 3)
    monkeypatch.setattr(alignments, "_FINEST_JUMP", 50)
    monkeypatch.setattr(alignments, "_BAM_JUMP", 0)
    path = write_alignments(tmp_path / "a.bam", sorted(reads))
    track = bin_alignments(path, windows(*starts, n_bins=4, bin_size=130), rule)
    lengths = {"10M": 10, "36M": 36, "20M900N10M": 930}
    expected = np.zeros((len(starts), 4))
    for read in reads:
        if read.flag & rule.excluded_flags or read.quality < rule.min_mapping_quality:
            continue
        first, last = read.start, read.start + lengths[read.cigar] - 1
        if rule.count == "five-prime":
            first = last = last - rule.shift if read.flag & 16 else first + rule.shift
        for window, start in enumerate(starts):
            for each in range(4):
                low = start + 130 * each
                inside = 0 <= first < 100_000 or rule.count == "overlap"
                expected[window, each] += inside and first < low + 130 and last >= low
    np.testing.assert_array_equal(track.values, expected)


def test_progress_grows_to_one(tmp_path: Path) -> None:
    path = write_alignments(tmp_path / "a.bam", [Read(0), Read(5, chrom="chr2:b")])
    shares: list[float] = []
    bin_alignments(path, windows(0), ReadRule(), progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


@pytest.mark.real_data
@pytest.mark.parametrize("mark", ["H3K4me3", "H3K36me3", "H3K9me3"])
def test_shifted_ends_of_real_reads_equal_the_published_counts(
    shared_data: Path, mark: str
) -> None:
    folder = shared_data / "bam_chr21_hg19"
    contigs = np.loadtxt(folder / "contigs.bed", usecols=(1, 2), dtype=int)
    starts = np.concatenate([np.arange(first, last, 200) for first, last in contigs])
    names = (folder / "counts.txt").read_text().split("\n", 1)[0].split("\t")
    expected = np.loadtxt(folder / "counts.txt", skiprows=1, usecols=names.index(mark), dtype=float)
    bins = windows(*starts, chrom="chr21", n_bins=1, bin_size=200)
    track = bin_alignments(folder / f"{mark}.bam", bins, ReadRule("five-prime", shift=75))
    assert track.values.shape == (40_320, 1)
    np.testing.assert_array_equal(track.values[:, 0], expected)


@pytest.mark.real_data
@pytest.mark.parametrize("mark", ["H3K4me3", "H3K36me3", "H3K9me3"])
def test_overlaps_of_real_reads_equal_brute_force(shared_data: Path, mark: str) -> None:
    folder = shared_data / "bam_chr21_hg19"
    genes = [line.split() for line in (folder / "genes.bed").read_text().splitlines()]
    starts = [
        int(end) - 5000 if strand == "-" else int(start) - 5000
        for _, start, end, _, _, strand in genes
    ]
    places = windows(*starts, chrom="chr21", n_bins=100, bin_size=100)
    track = bin_alignments(folder / f"{mark}.bam", places, ReadRule())
    expected = np.zeros((len(genes), 100))
    with pysam.AlignmentFile(str(folder / f"{mark}.bam")) as file:
        spans = np.array([(each.reference_start, each.reference_end) for each in file])
    assert track.depth == len(spans)
    for window, first in enumerate(starts):
        for begin, end in spans[(spans[:, 0] < first + 10_000) & (spans[:, 1] > first)] - first:
            expected[window, max(begin // 100, 0) : (end - 1) // 100 + 1] += 1
    assert len(genes) == 384
    np.testing.assert_array_equal(track.values, expected)


@KINDS
def test_chromosomes_are_those_of_the_header(tmp_path: Path, kind: str) -> None:
    path = write_alignments(tmp_path / f"a.{kind}", [Read(0)], index=False)
    assert alignment_chromosomes(path) == SIZES


def test_index_is_found_under_either_name(tmp_path: Path) -> None:
    path = write_alignments(tmp_path / "a.bam", [Read(0)])
    Path(f"{path}.bai").rename(tmp_path / "a.bai")
    assert bin_alignments(path, windows(0), ReadRule()).depth == 1
    (tmp_path / "a.bai").unlink()
    pysam.index("-c", str(path))
    assert bin_alignments(path, windows(0), ReadRule()).values.sum() == 1


def refusal(path: Path, kind: type[SimpleChromeError]) -> str:
    with pytest.raises(kind) as caught:
        bin_alignments(path, windows(0), ReadRule())
    return str(caught.value)


@KINDS
@pytest.mark.parametrize(
    ("starts", "order", "expected", "absent"),
    [
        ((0,), "coordinate", "samtools index", "samtools sort"),
        ((50, 0), "unsorted", "SO:unsorted", "SO:coordinate"),
    ],
)
def test_missing_index_is_named_with_the_command_that_makes_one(
    tmp_path: Path, kind: str, starts: tuple[int, ...], order: str, expected: str, absent: str
) -> None:
    reads = [Read(start) for start in starts]
    path = write_alignments(tmp_path / f"a.{kind}", reads, index=False, order=order)
    message = refusal(path, MissingInputError)
    assert "has no index" in message
    assert expected in message
    assert absent not in message


def test_unsorted_file_with_a_foreign_index_is_refused(tmp_path: Path) -> None:
    path = write_alignments(tmp_path / "a.bam", [Read(0), Read(8)])
    write_alignments(path, [Read(8), Read(0)], index=False)
    assert "not sorted by position" in refusal(path, InputFormatError)


def test_damaged_index_is_refused(tmp_path: Path) -> None:
    path = write_alignments(tmp_path / "a.bam", [Read(0)])
    Path(f"{path}.bai").write_text("no index")
    assert "a.bam.bai, cannot be read" in refusal(path, InputFormatError)


def test_index_older_than_its_file_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_alignments(tmp_path / "a.bam", [Read(0)])
    os.utime(f"{path}.bai", (1, 1))
    with caplog.at_level(logging.WARNING):
        bin_alignments(path, windows(0), ReadRule())
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "a.bam.bai is older than a.bam"
    ]


@KINDS
def test_file_without_its_last_block_is_refused(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_alignments(tmp_path / f"a.{kind}", [Read(0)])
    data = path.read_bytes()
    for n_lost in (1, 28, 38, len(data) // 2):
        path.write_bytes(data[:-n_lost])
        assert "cut off" in refusal(path, InputFormatError)
    assert capfd.readouterr().err == ""  # htslib was quiet


def test_damage_inside_the_file_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_alignments(tmp_path / "a.bam", [Read(start) for start in range(0, 90_000, 3)])
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    path.write_bytes(bytes(data))
    with pytest.raises(InputFormatError, match=r"a\.bam cannot be read to its end"):
        bin_alignments(path, windows(*range(0, 90_000, 1000)), ReadRule())
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"chr1\t0\t10\n", "neither BAM nor CRAM"),
        (b"@SQ\tSN:chr1\tLN:100\n", "SAM text"),
        (gzip.compress(b"chr1\t0\t10\n", mtime=0), "neither BAM nor CRAM"),
        (
            gzip.compress(
                b"@SQ\tSN:chr1\tLN:100\nr\t0\tchr1\t5\t9\t2M\t*\t0\t0\tAC\tII\n", mtime=0
            ),
            "SAM text",
        ),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.bam"
    path.write_bytes(content)
    assert message in refusal(path, InputFormatError)


def test_reads_that_were_never_aligned_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.bam"
    with pysam.AlignmentFile(str(path), "wb", header={"HD": {"VN": "1.6"}}):
        pass
    assert "names no chromosomes" in refusal(path, InputFormatError)


def test_verbosity_of_htslib_is_put_back(tmp_path: Path) -> None:
    before = pysam.get_verbosity()
    bin_alignments(write_alignments(tmp_path / "a.bam", [Read(0)]), windows(0), ReadRule())
    refusal(tmp_path / "none.bam", MissingInputError)
    assert pysam.get_verbosity() == before


def test_path_may_have_any_characters(tmp_path: Path) -> None:
    path = write_alignments(tmp_path / "a.bam", [Read(0)])
    odd = tmp_path / "é ü -c#1.bam"
    shutil.copy(path, odd)
    shutil.copy(f"{path}.bai", f"{odd}.bai")
    assert bin_alignments(odd, windows(0), ReadRule()).depth == 1
