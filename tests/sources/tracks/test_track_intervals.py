"""bedGraph and BED-like files: overlaps with each bin, to the base, whatever the file's order."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import numpy as np
import pyBigWig
import pysam
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simplechrome.errors import ConfigError, InputFormatError
from simplechrome.sources.tracks import intervals
from simplechrome.sources.tracks.alignments import bin_alignments
from simplechrome.sources.tracks.bigwig import bin_bigwig
from simplechrome.sources.tracks.intervals import bin_bedgraph, bin_read_intervals
from simplechrome.sources.tracks.reads import ReadRule
from simplechrome.sources.tracks.windows import Windows

# Bins of 10 from 100 on: 10 bases of 2; 5 bases of 4 and 5 without data.
TEXT = "chr1\t100\t110\t2\nchr1\t110\t115\t4\nchr1\t990\t1000\t1\n"


def around(*places: tuple[str, int], n_bins: int = 2, bin_size: int = 10) -> Windows:
    chrom = np.array([name for name, _ in places], object)
    start = np.array([place for _, place in places], np.int64)
    return Windows(chrom, start, np.zeros(len(places), bool), n_bins, bin_size)


def write(folder: Path, text: str | bytes, name: str = "t.bedGraph") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.fixture(params=[1 << 23, 24])
def _chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one chunk, and in many: what a chunk's border cuts must not matter."""
    monkeypatch.setattr(intervals, "_CHUNK", request.param)


@pytest.mark.usefixtures("_chunks")
@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.removesuffix("\n"),
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\t", " "),
        TEXT.replace("\t", "  "),
        "\ufeff" + TEXT,
        "browser position chr1\ntrack type=bedGraph\n#chrom\tstart\tend\tvalue\n" + TEXT,
        TEXT.replace("chr1\t990", "\n# in between\ntrack\tname=x\n\nchr1\t990"),
        "".join(reversed(TEXT.splitlines(keepends=True))),
        TEXT.replace("\t4\n", "\t4.0e0 \n"),
    ],
    ids=[
        "plain", "no last end of line", "crlf", "spaces", "many spaces", "byte order mark",
        "header", "lines between", "backwards", "blank behind",
    ],
)  # fmt: skip
def test_mean_is_weighted_by_overlap(tmp_path: Path, text: str) -> None:
    found = bin_bedgraph(write(tmp_path, text), around(("chr1", 100), ("chr1", 95)), gaps="missing")
    # 95-105: 5 bases of 2. 105-115: 5 of 2 and 5 of 4.
    assert found.values.tolist() == [[2, 2], [1, 3]]
    assert found.observed.tolist() == [0.75, 0.75]
    assert found.units == "mean_signal"
    # 10 * 2 + 5 * 4 + 10 * 1
    assert found.depth == 50.0


def test_observed_is_what_lies_on_the_chromosome_as_far_as_known(tmp_path: Path) -> None:
    places = around(("chr1", -5), ("chr1", 985), ("chr1", 995), ("chr2", 0), ("", 0))
    path = write(tmp_path, TEXT)
    assert bin_bedgraph(path, places, gaps="zero").observed.tolist() == [0.75, 1, 1, 0, 0]
    known = bin_bedgraph(path, places, gaps="zero", sizes={"chr1": 1000})
    assert known.observed.tolist() == [0.75, 0.75, 0.25, 0, 0]


def test_what_lies_behind_a_chromosomes_end_is_dropped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, TEXT + "chr1\t1000\t1010\t7\n")
    found = bin_bedgraph(path, around(("chr1", 985)), sizes={"chr1": 995}, gaps="missing")
    # 990-995 is 1, the rest lies behind the end.
    assert found.values.tolist() == [[0.5, 0]]
    assert found.observed.tolist() == [0.25]
    assert found.depth == 45.0
    (message,) = [text for text in caplog.messages if "reach over" in text]
    assert "2 intervals" in message
    assert "chr1:990-1000, where the chromosome has 995 bases" in message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr1\t20\t30", "line 3 .*3 columns"),
        ("chr1\t20\t30\t1\t+", "line 3 .*5 columns"),
        ("chr1\t20\t30\tgene", "line 3 .*text in columns 2 to 4"),
        ("chr1\t20.5\t30\t1", "line 3 .*text in columns 2 to 4"),
        ("chr1\t30\t30\t1", "line 3 .*start 30 and end 30"),
        ("chr1\t-1\t30\t1", "line 3 .*start -1 and end 30"),
        ("chr1\t20\t30\tnan", "line 3 .*value nan"),
        ("chr1\t20\t30\tinf", "line 3 .*value inf"),
        ("chr1\t20\t99999999999\t1", "line 3 .*end 99999999999"),
    ],
)
@pytest.mark.usefixtures("_chunks")
def test_bad_lines_are_named_by_number(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path, f"# a comment\nchr1\t0\t10\t1\n{line}\nchr1\t40\t50\t1\n")
    with pytest.raises(InputFormatError, match=r"t\.bedGraph, " + message):
        bin_bedgraph(path, around(("chr1", 0)))


@pytest.mark.parametrize(
    ("chunk", "found"), [(1 << 23, "chr1:0-10 and chr1:9-12 in lines 2 and 4"), (16, "chr1:9")]
)
def test_overlaps_are_named_by_line_or_by_place_where_lines_are_far_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, found: str
) -> None:
    monkeypatch.setattr(intervals, "_CHUNK", chunk)
    path = write(tmp_path, "# x\nchr1\t0\t10\t1\nchr2\t0\t5\t1\nchr1\t9\t12\t1\n")
    with pytest.raises(InputFormatError, match=f"two values.*{found}"):
        bin_bedgraph(path, around(("chr9", 0), ("chr1", 0)))


def test_a_file_without_intervals_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputFormatError, match="holds no intervals"):
        bin_bedgraph(write(tmp_path, "track type=bedGraph\n\n# none\n"), around(("chr1", 0)))
    with pytest.raises(InputFormatError, match="is empty"):
        bin_bedgraph(write(tmp_path, ""), around(("chr1", 0)))


def test_a_line_without_end_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "_CHUNK", 100)
    monkeypatch.setattr(intervals, "_LONGEST_LINE", 200)
    path = write(tmp_path, TEXT.replace("\n", "\r") * 10)
    with pytest.raises(InputFormatError, match="line 1 has more than 200 bytes"):
        bin_bedgraph(path, around(("chr1", 0)))


def test_an_interval_may_cover_many_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "_PAIRS_AT_ONCE", 7)
    places = around(*[("chr1", 3 * start) for start in range(100)], n_bins=5)
    found = bin_bedgraph(write(tmp_path, "chr1\t0\t1000\t1.5\n"), places)
    assert (found.values == 1.5).all()
    assert (found.observed == 1).all()


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_progress_follows_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: type[bytes]
) -> None:
    monkeypatch.setattr(intervals, "_CHUNK", 1 << 18)
    text = "".join(f"chr1\t{i}\t{i + 1}\t{hash(str(i)) % 997}\n" for i in range(60_000))
    path = tmp_path / "long"
    path.write_bytes(pack(text.encode()))
    seen: list[float] = []
    bin_bedgraph(path, around(("chr1", 0)), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert 0 < seen[0] < 0.9


@given(data=st.data())
@settings(max_examples=40)
def test_same_numbers_as_a_bigwig_and_as_the_average_over_bases(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sizes = {"chr1": 300, "chrB": 200}
    signal = {name: np.full(size, np.nan) for name, size in sizes.items()}
    drawn = []
    for name, size in sizes.items():
        edges = sorted(data.draw(st.sets(st.integers(0, size), max_size=30)))
        for start, end in itertools.pairwise(edges):
            value = data.draw(st.none() | st.floats(-1e4, 1e4, width=32))
            if value is not None:
                drawn.append((name, start, end, value))
                signal[name][start:end] = value
    if not drawn:
        return
    folder = tmp_path_factory.mktemp("both")
    file = pyBigWig.open(str(folder / "t.bw"), "w")
    file.addHeader(list(sizes.items()))
    for name, start, end, value in drawn:
        file.addEntries([name], [start], ends=[end], values=[value])
    file.close()
    shuffled = data.draw(st.permutations(drawn))
    text = "".join("\t".join(map(str, each)) + "\n" for each in shuffled)
    path = write(folder, text)
    bin_size, n_bins = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 6))
    places = data.draw(
        st.lists(
            st.tuples(st.sampled_from(sorted(sizes)), st.integers(-100, 400)),
            min_size=1,
            max_size=8,
        )
    )
    wanted = around(*places, n_bins=n_bins, bin_size=bin_size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "_CHUNK", data.draw(st.sampled_from([30, 1 << 20])))
        patch.setattr(intervals, "_PAIRS_AT_ONCE", data.draw(st.sampled_from([1, 1 << 20])))
        found = bin_bedgraph(path, wanted, gaps="missing", sizes=sizes)
    same = bin_bigwig(folder / "t.bw", wanted, gaps="missing")
    np.testing.assert_allclose(found.values, same.values, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found.observed, same.observed)
    # The header adds up value × bases, each product rounded to single precision.
    total = sum(abs(value) * (end - start) for _, start, end, value in drawn)
    tolerance = np.finfo(np.float32).eps * total
    assert abs(found.depth - same.depth) <= tolerance
    for row, (name, start) in enumerate(places):
        padded = np.pad(signal[name], 200 + wanted.width, constant_values=np.nan)
        bases = padded[200 + wanted.width + start :][: wanted.width]
        bases = np.pad(bases, (0, wanted.width - len(bases)), constant_values=np.nan)
        expected = np.nan_to_num(bases).reshape(n_bins, bin_size).mean(axis=1)
        np.testing.assert_allclose(found.values[row], expected, rtol=0, atol=1e-6)
        assert found.observed[row] == np.float32(np.isfinite(bases).mean())


# Bases of the window from 1000: bins [1000, 1010), [1010, 1020), [1020, 1030).
TWO_READS = "chr1\t995\t1005\tr0\t0\t+\nchr1\t1009\t1025\tr1\t0\t-\n"


AT_1000 = around(("chr1", 1000), n_bins=3)


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


def test_reads_on_unknown_chromosomes_are_not_observed(tmp_path: Path) -> None:
    path = write(tmp_path, TWO_READS + "chr2\t5\t9\tr2\t0\t+\n")
    places = around(
        ("chr1", 1000), ("chr2", 1000), ("chr3", 1000), ("", 1000), ("chr1", -15), n_bins=3
    )
    track = bin_read_intervals(path, places, ReadRule())
    assert track.values.sum(axis=1).tolist() == [4, 0, 0, 0, 0]
    assert track.observed.tolist() == [1, 1, 0, 0, 0.5]
    assert track.depth == 3


def test_known_lengths_bound_the_chromosome(tmp_path: Path) -> None:
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


FIVE_PRIME = ReadRule("five-prime")


@pytest.mark.parametrize(
    ("text", "message", "rule"),
    [
        (TWO_READS + "chr1\t5\n", r"t\.bedGraph, line 3 .*2 columns: 'chr1\\t5'", ReadRule()),
        (TWO_READS + "\n#\nchr1\tfive\t9\n", "line 5 .*text in columns 2 and 3", ReadRule()),
        (TWO_READS + "chr1\t9\t9\tr\t0\t+\n", "line 3 .*start 9 and end 9", ReadRule()),
        ("chr1\t-5\t9\n", "line 1 .*start -5", ReadRule()),
        ("chr1\t5\t99999999999\n", "line 1 .*end 99999999999", ReadRule()),
        ("chr1,5,9\n", "line 1 .*1 columns", ReadRule()),
        (b"chr1\t5\t\xff\n", "line 1 .*text in columns 2 and 3", ReadRule()),
        ("chr1\t5\t9007199254740993.0\n", "line 1 .*text in columns 2 and 3", ReadRule()),
        ("chr1\t5\t9\n", "line 1.*'nothing' in column 6(.|\n)*overlap", FIVE_PRIME),
        ("chr1\t5\t9\tAAAC-1\t7\n", "line 1.*'nothing' in column 6", FIVE_PRIME),
        (TWO_READS.replace("-", "."), r"line 2.*'\.' in column 6", FIVE_PRIME),
        (TWO_READS + "chr1\t5\t9\n", "line 3.*'nothing' in column 6", FIVE_PRIME),
    ],
)
def test_line_that_is_no_read_or_lacks_its_strand_is_named(
    tmp_path: Path, text: str | bytes, message: str, rule: ReadRule
) -> None:
    with pytest.raises(InputFormatError, match=message):
        bin_read_intervals(write(tmp_path, text), AT_1000, rule)


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
    monkeypatch.setattr(intervals, "_CHUNK", 200)
    monkeypatch.setattr(intervals, "_READS_AT_ONCE", 5)
    lines = [f"{name}\t{start}\t{start + n}\tr\t0\t{sign}\n" for name, start, n, sign in reads]
    track = bin_read_intervals(
        write(tmp_path, "".join(lines)), around(*places, n_bins=4, bin_size=130), rule
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
    places = around(*(("chr21", start) for start in starts), n_bins=100, bin_size=100)
    by_bam = bin_alignments(bam, places, rule)
    by_lines = bin_read_intervals(tag_align, places, rule, sizes=sizes)
    np.testing.assert_array_equal(by_lines.values, by_bam.values)
    np.testing.assert_array_equal(by_lines.observed, by_bam.observed)
    assert by_lines.depth == by_bam.depth == 74_534
