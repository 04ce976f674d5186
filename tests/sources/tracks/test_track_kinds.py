"""What kind of track a file is, by what it holds."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from track_files import write_bam, write_bigwig

from simplechrome.errors import InputFormatError, MissingInputError
from simplechrome.sources.tracks.kinds import kind_of


def test_binary_files_are_told_by_their_first_bytes(tmp_path: Path) -> None:
    write_bigwig(tmp_path / "a.data", {"chr1": 100}, [("chr1", 0, 10, 1.0)])
    write_bam(tmp_path / "b.data", {"chr1": 100}, [("chr1", 0, 10, "+")], index=False)
    (tmp_path / "c.data").write_bytes(b"CRAM\x03\x00")
    found = [kind_of(str(tmp_path / f"{name}.data")) for name in "abc"]
    assert found == ["bigwig", "bam", "cram"]


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("x.txt", "chr1\t0\t10\t0.5\n", "bedgraph"),
        ("x.txt", "chr1\t0\t10\tread1\n", "reads"),
        ("x.bed", "chr1\t0\t10\t7\n", "reads"),
        ("x.txt", "chr1\t0\t10\tr\t0\t+\n", "reads"),
        ("x.tagAlign", "chr1\t0\t10\tN\t1000\t-\n", "reads"),
        ("x.txt", "# made by\ntrack type=bedGraph\nchr1\t0\t10\t1\n", "bedgraph"),
        ("fragments.tsv", "chr1\t0\t10\tAAAC\t2\n", "reads"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_text_is_told_by_its_first_line(
    tmp_path: Path, name: str, text: str, kind: str, packed: bool
) -> None:
    path = tmp_path / (name + ".gz" if packed else name)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    assert kind_of(str(path)) == kind


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xeb\xf2\x89\x87....", "bigBed"),
        (b"@SQ\tSN:chr1\tLN:10\n", "samtools sort"),
        (b"<!DOCTYPE html>", "download failed"),
        (b"@read1\nACGT\n+\nFFFF\n", "FASTQ"),
        (b"gene\tvalue\nA\t1\n", "no known kind"),
        (b"", "is empty"),
        (b"#only comments\n", "holds no data"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputFormatError) as caught:
        kind_of(str(tmp_path / "x"))
    assert said in str(caught.value)


def test_addresses() -> None:
    assert kind_of("https://example.org/a.bigWig?download=1") == "bigwig"
    assert kind_of("s3://bucket/a.bw") == "bigwig"
    with pytest.raises(MissingInputError, match="download it first"):
        kind_of("https://example.org/a.bam")
    with pytest.raises(MissingInputError, match="download it first"):
        kind_of("ftp://host/a.bw")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError):
        kind_of(str(tmp_path / "none.bw"))
