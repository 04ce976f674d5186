"""Is this a BAM or CRAM file that can be read by region?"""

from __future__ import annotations

import gzip
import logging
import os
import shutil
from pathlib import Path

import pysam
import pytest
from small_alignments import SIZES, Read, windows, write_alignments

from simplechrome.errors import InputFormatError, MissingInputError, SimpleChromeError
from simplechrome.sources.tracks.alignments import alignment_chromosomes, bin_alignments, has_index
from simplechrome.sources.tracks.read_rule import ReadRule

KINDS = pytest.mark.parametrize("kind", ["bam", "cram"])


@KINDS
def test_chromosomes_are_those_of_the_header(tmp_path: Path, kind: str) -> None:
    path = write_alignments(tmp_path / f"a.{kind}", [Read(0)], index=False)
    assert alignment_chromosomes(path) == SIZES
    assert not has_index(path)


def test_index_is_found_under_either_name(tmp_path: Path) -> None:
    path = write_alignments(tmp_path / "a.bam", [Read(0)])
    assert has_index(path)
    Path(f"{path}.bai").rename(tmp_path / "a.bai")
    assert has_index(path)
    assert bin_alignments(path, windows(0), ReadRule()).depth == 1
    (tmp_path / "a.bai").unlink()
    pysam.index("-c", str(path))
    assert has_index(path)
    assert bin_alignments(path, windows(0), ReadRule()).values.sum() == 1


def refusal(path: Path, kind: type[SimpleChromeError]) -> str:
    with pytest.raises(kind) as caught:
        bin_alignments(path, windows(0), ReadRule())
    return str(caught.value)


@KINDS
def test_missing_index_says_how_to_make_one(tmp_path: Path, kind: str) -> None:
    path = write_alignments(tmp_path / f"a.{kind}", [Read(0)], index=False)
    said = refusal(path, MissingInputError)
    assert "has no index" in said
    assert f"samtools index {path}" in said
    assert "samtools sort" not in said


def test_unsorted_file_says_how_to_sort_it(tmp_path: Path) -> None:
    path = write_alignments(tmp_path / "a.bam", [Read(50), Read(0)], index=False, order="unsorted")
    said = refusal(path, MissingInputError)
    assert "SO:unsorted" in said
    assert "samtools sort -o SORTED.bam" in said


def test_unsorted_file_with_a_foreign_index_is_refused(tmp_path: Path) -> None:
    path = write_alignments(tmp_path / "a.bam", [Read(0), Read(8)])
    write_alignments(path, [Read(8), Read(0)], index=False)
    assert "not sorted by position" in refusal(path, InputFormatError)


def test_damaged_index_is_refused(tmp_path: Path) -> None:
    path = write_alignments(tmp_path / "a.bam", [Read(0)])
    Path(f"{path}.bai").write_text("no index")
    assert "index of a.bam cannot be read" in refusal(path, InputFormatError)


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
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"chr1\t0\t10\n", "neither BAM nor CRAM"),
        (b"@SQ\tSN:chr1\tLN:100\n", "which is text"),
        (gzip.compress(b"chr1\t0\t10\n", mtime=0), "neither BAM nor CRAM"),
        (
            gzip.compress(
                b"@SQ\tSN:chr1\tLN:100\nr\t0\tchr1\t5\t9\t2M\t*\t0\t0\tAC\tII\n", mtime=0
            ),
            "SAM",
        ),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.bam"
    path.write_bytes(content)
    assert said in refusal(path, InputFormatError)


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none.bam", MissingInputError)
    assert "is a folder" in refusal(tmp_path, MissingInputError)


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
