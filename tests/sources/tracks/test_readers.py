"""Formats of tracks: which one a file is in, and those registered from outside."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from track_files import write_bam, write_bigwig

from simplechrome.errors import ConfigError, InputFormatError, MissingInputError
from simplechrome.sources.tracks.readers import (
    TRACK_READERS,
    ReadingOptions,
    TrackReader,
    bin_track,
    kind_of,
    register_track_reader,
    track_chromosomes,
)
from simplechrome.sources.tracks.sheet import read_sheet
from simplechrome.sources.tracks.windows import BinnedTrack, Windows


def test_binary_files_are_recognized_by_their_first_bytes(tmp_path: Path) -> None:
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
        ("x.bedGraph", "chr1\t0\t10\t1\t+\n", "bedgraph"),  # whose reader names the line
        ("x.tagAlign", "chr1\t0\t10\tN\t1000\t-\n", "reads"),
        ("x.txt", "# made by\ntrack type=bedGraph\nchr1\t0\t10\t1\n", "bedgraph"),
        ("fragments.tsv", "chr1\t0\t10\tAAAC\t2\n", "reads"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_text_is_recognized_by_its_first_line(
    tmp_path: Path, name: str, text: str, kind: str, packed: bool
) -> None:
    path = tmp_path / (name + ".gz" if packed else name)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    assert kind_of(str(path)) == kind


@pytest.mark.parametrize(
    ("content", "message"),
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
def test_other_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputFormatError) as caught:
        kind_of(str(tmp_path / "x"))
    assert message in str(caught.value)


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


def _toy_bin(path, windows, options, sizes, progress):  # type: ignore[no-untyped-def]
    shape = len(windows), windows.n_bins
    return BinnedTrack(np.full(shape, 7.0), np.ones(shape[0], np.float32), 1.0, "mean_signal")


def test_format_can_be_registered_from_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TRACK_READERS, "_loaded", dict(TRACK_READERS._loaded))
    toy = TrackReader(
        "toy",
        "toy track",
        (".toy",),
        recognizes=lambda head: 2 * head.startswith(b"TOY"),
        bin=_toy_bin,
        chromosomes=lambda path, options: {"chr1": 100},
    )
    assert register_track_reader(toy) is toy
    path = tmp_path / "a.data"
    path.write_bytes(b"TOY\0")
    assert kind_of(str(path)) == "toy"
    assert track_chromosomes(str(path), "toy", ReadingOptions()) == {"chr1": 100}
    windows = Windows(np.array(["chr1"], object), np.array([0]), np.array([False]), 2, 10)
    assert bin_track(str(path), "toy", windows, ReadingOptions()).values.tolist() == [[7, 7]]
    (tmp_path / "sheet.tsv").write_text("cell_type\tmark\tpath\tformat\nX\tM\ta.data\ttoy\n")
    assert read_sheet(tmp_path / "sheet.tsv")[0].kind == "toy"
    with pytest.raises(ConfigError, match="track format called 'bam' already"):
        register_track_reader(replace(toy, kind="bam"))
