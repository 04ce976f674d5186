"""Plain or compressed files to lines of text, whatever their name, line ends or damage."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from simplechrome.errors import InputFormatError
from simplechrome.sources.provenance import unreadable

_COMPRESSIONS: dict[bytes, tuple[str, Any]] = {
    b"\x1f\x8b": ("gzip", gzip.open),
    b"BZh": ("bzip2", bz2.open),
    b"\xfd7zXZ\x00": ("xz", lzma.open),
}
_DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError)
_HEAD = 1 << 16

_SORT = "samtools sort -o FILE.bam FILE.sam && samtools index FILE.bam"
_PAGE = "fetch the file itself: the download failed, and the server sent a page in its place"
# What a file may be instead, by its first bytes, and what to do with it.
_FOREIGN = {
    b"PK\x03\x04": ("a zip archive or an Excel workbook", "unpack it, or export it as text"),
    b"\x28\xb5\x2f\xfd": ("Zstandard compression", "unpack it, or pack it with gzip"),
    b"\xff\xfe": ("UTF-16 text", "save it as UTF-8 text"),
    b"\xfe\xff": ("UTF-16 text", "save it as UTF-8 text"),
    b"PAR1": ("a parquet file", "export it as tab-separated text"),
    b"\x89HDF": ("an HDF5 file", "export it as text or bigWig"),
    b"HIC\0": ("a .hic file", "convert it to .mcool, for example with hic2cool"),
    b"\xeb\xf2\x89\x87": ("a bigBed file", "bigBedToBed turns it into BED"),
    b"\x87\x89\xf2\xeb": ("a bigBed file", "bigBedToBed turns it into BED"),
    b"\x26\xfc\x8f\x88": ("a bigWig file", "name the file that is meant"),
    b"\x43\x27\x41\x1a": ("a 2bit genome", "name the track, not the genome"),
    b"BAI\1": ("the index of a BAM file", "name the BAM file"),
    b"BAM\1": ("a BAM file", "name the file that is meant"),
    b"CRAM": ("a CRAM file", "name the file that is meant"),
    b"@HD\t": ("SAM text", _SORT),
    b"@SQ\t": ("SAM text", _SORT),
    b"<!DO": ("a web page", _PAGE),
    b"<!do": ("a web page", _PAGE),
    b"<htm": ("a web page", _PAGE),
}


def _compression(head: bytes) -> tuple[str, Any]:
    return next(
        (each for magic, each in _COMPRESSIONS.items() if head.startswith(magic)), ("", None)
    )


def foreign_content(head: bytes) -> tuple[str, str]:
    """Name the kind of file that begins with these bytes, and what to do with it; "" for text."""
    for magic, found in _FOREIGN.items():
        if head.startswith(magic):
            return found
    if b"\0" in head:
        return "binary data of an unknown kind", "name the file that is meant"
    return "", ""


def read_head(path: Path) -> bytes:
    """Return the first 64 KiB of a file, unpacked; of a damaged file what can be unpacked."""
    with _open_binary(path) as raw:
        head = raw.read(_HEAD)
    if not head:
        raise _empty(path.name)
    name, unpack = _compression(head)
    if name:
        with suppress(*_DAMAGE):
            return bytes(unpack(io.BytesIO(head)).read1(_HEAD))
    return head


def _open_binary(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def _empty(name: str) -> InputFormatError:
    return InputFormatError(
        f"{name} is empty.", "make or fetch it again: a program or a download was interrupted"
    )


def _first_undecodable_line(path: Path) -> str:
    """Read a second time, and only for the message; a pipe cannot be."""
    if path.is_file():
        with path.open("rb") as raw, suppress(*_DAMAGE):  # damage further on is another matter
            name, unpack = _compression(raw.peek(8))
            for number, line in enumerate(unpack(raw) if name else raw, start=1):
                try:
                    line.decode()
                except UnicodeDecodeError as error:
                    return f"byte 0x{line[error.start]:02x} in line {number}"
    return "a byte in it"


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a text file, plain or compressed (gzip, bzip2, xz, recognized by content).

    Lines end in `\\n` for the reader, however they end in the file; a byte order mark is dropped.
    Damage that shows only while the body of the `with` reads is raised as an error from there.

    The file, or pipe, is read once, from start to end.

    Raises
    ------
    MissingInputError
        If the file is not there, is a folder or cannot be opened.
    InputFormatError
        If it is empty, cut off, damaged, or not UTF-8 text.
    """
    with _open_binary(path) as raw:
        compression = ""
        try:
            compression, unpack = _compression(raw.peek(8))
            stream = io.BufferedReader(unpack(raw), buffer_size=_HEAD) if compression else raw
            head = stream.peek(1)
            if not head:
                raise _empty(path.name)
            found, remedy = foreign_content(head)
            # Text may begin like SAM or a page; whoever reads the lines knows better.
            if found and (b"\0" in head or not head.isascii() or not head.startswith((b"@", b"<"))):
                raise InputFormatError(f"{path.name} is {found}, not UTF-8 text.", remedy)
            # Universal newlines: \r\n and \r become \n.
            with io.TextIOWrapper(stream, encoding="utf-8-sig", newline=None) as text:
                yield text
        except UnicodeDecodeError as error:
            raise InputFormatError(
                f"{path.name} is not UTF-8 text: {_first_undecodable_line(path)} is not UTF-8.",
                "if it is Latin-1: iconv -f latin1 -t utf-8 FILE > NEW_FILE",
            ) from error
        except EOFError as error:
            raise InputFormatError(
                f"{path.name} is cut off: its {compression} data stop before their end.",
                "fetch it again: a download or copy was interrupted",
            ) from error
        except _DAMAGE as error:
            damage = f"damaged {compression} data" if compression else "a failing disk or network"
            raise InputFormatError(
                f"{path.name} cannot be read to its end ({damage}): {error}.", "fetch it again"
            ) from error
