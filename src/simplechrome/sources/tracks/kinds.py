"""What kind of track is this file? By what it holds first, by its name where that does not tell."""

from __future__ import annotations

import zlib
from itertools import islice
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from simplechrome.errors import InputFormatError, MissingInputError
from simplechrome.sources.provenance import is_url, unreadable
from simplechrome.sources.remote import PROTOCOLS
from simplechrome.sources.text.open import open_text

Kind = Literal["bigwig", "bam", "cram", "bedgraph", "reads"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_SUFFIXES: dict[str, Kind] = {
    ".bw": "bigwig",
    ".bigwig": "bigwig",
    ".bam": "bam",
    ".cram": "cram",
    ".bedgraph": "bedgraph",
    ".bdg": "bedgraph",
    ".bg": "bedgraph",
    ".bed": "reads",
    ".tagalign": "reads",
}
_BIGWIG = (b"\x26\xfc\x8f\x88", b"\x88\x8f\xfc\x26")
_FOREIGN = {
    b"\xeb\xf2\x89\x87": ("a bigBed file", "bigBedToBed turns it into BED"),
    b"\x87\x89\xf2\xeb": ("a bigBed file", "bigBedToBed turns it into BED"),
    b"\x43\x27\x41\x1a": ("a 2bit genome", "name the track, not the genome"),
    b"@HD\t": ("SAM text", "samtools sort -o FILE.bam FILE.sam && samtools index FILE.bam"),
    b"@SQ\t": ("SAM text", "samtools sort -o FILE.bam FILE.sam && samtools index FILE.bam"),
    b"PK\x03\x04": ("a zip archive", "unpack it"),
    b"<!DO": ("a web page", "the download failed: fetch the file itself"),
    b"<htm": ("a web page", "the download failed: fetch the file itself"),
    b"\x89HDF": ("an HDF5 file", "export it as bigWig"),
}
_EXPECTED = "bigWig, BAM, CRAM, bedGraph, or BED-like reads (BED, tagAlign, fragments)"
_PEEKED_LINES = 200


def kind_of(path: str) -> Kind:
    """Which kind of track is this?

    Parameters
    ----------
    path
        A file, or the http address of a bigWig.

    Raises
    ------
    MissingInputError
        If the file cannot be opened.
    InputFormatError
        If it is of no known kind.
    """
    if is_url(path):
        return _kind_of_address(path)
    file = Path(path)
    try:
        with file.open("rb") as stream:
            head = stream.read(1 << 12)
    except OSError as error:
        raise unreadable(file, error) from None
    if not head:
        raise InputFormatError(
            f"{path} is empty.",
            expected=_EXPECTED,
            cause="the program that wrote it failed, or a copy was interrupted",
        )
    if head.startswith(_BIGWIG):
        return "bigwig"
    if head.startswith(b"CRAM"):
        return "cram"
    if head.startswith(b"\x1f\x8b") and _unpacked(head).startswith(b"BAM\x01"):
        return "bam"
    for magic, (what, remedy) in _FOREIGN.items():
        if head.startswith(magic):
            raise InputFormatError(
                f"{path} is no track.", found=what, expected=_EXPECTED, remedy=remedy
            )
    return _kind_of_text(file)


def _kind_of_address(path: str) -> Kind:
    try:
        address = urlsplit(path)
    except ValueError as error:
        raise MissingInputError(f"{path} is no address.", found=str(error)) from None
    kind = _SUFFIXES.get(Path(address.path).suffix.lower())
    if address.scheme not in PROTOCOLS or kind not in ("bigwig", None):
        raise MissingInputError(
            f"{path} cannot be read from its address: only a bigWig can, by "
            f"{', '.join(PROTOCOLS[:-1])}.",
            "download it first",
        )
    return "bigwig"


def _unpacked(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, 16)
    except zlib.error:
        return b""


def _by_name(file: Path) -> Kind | None:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in (".gz", ".bgz", ".bz2", ".xz"):
        suffixes.pop()
    return _SUFFIXES.get(suffixes[-1]) if suffixes else None


def _kind_of_text(file: Path) -> Kind:
    """By the first line of data: four columns, the last a number, are bedGraph."""
    named = _by_name(file)
    with open_text(file) as lines:
        for line in islice(lines, _PEEKED_LINES):
            if line.startswith("track") and "bedgraph" in line.lower():
                return "bedgraph"
            if line.isspace() or line.startswith(("#", "track", "browser")):
                continue
            fields = line.rstrip("\n").split("\t") if "\t" in line else line.split()
            if len(fields) >= 3 and fields[1].isdigit() and fields[2].isdigit():
                if named == "bedgraph" or (named == "reads" and len(fields) == 4):
                    return named
                if len(fields) != 4:
                    return "reads"
                return "bedgraph" if _is_number(fields[3]) else "reads"
            if named in ("bedgraph", "reads"):
                return named  # whose reader names the line
            found = line.strip()[:60]
            if line.startswith("@"):
                found += " (FASTQ: reads that were never aligned)"
            raise InputFormatError(
                f"{file} is of no known kind.", found=repr(found), expected=_EXPECTED
            )
    if named in ("bedgraph", "reads"):
        return named
    raise InputFormatError(f"{file} holds no data.", expected=_EXPECTED)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
