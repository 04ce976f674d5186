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
from typing import TextIO, cast

from simplechrome.errors import InputFormatError, MissingInputError

_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
_FOREIGN = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\x28\xb5\x2f\xfd": "Zstandard compression",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"PAR1": "a parquet file",
}
_MAGIC_LENGTH = 6
_DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError)


def _open_binary(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise MissingInputError(
            f"{path} does not exist.",
            remedy=f"check the spelling; paths are relative to {Path.cwd()}",
        ) from error
    except IsADirectoryError as error:
        raise MissingInputError(
            f"{path} is a folder.", expected="a file", remedy="name the file inside it"
        ) from error
    except (OSError, ValueError) as error:
        raise MissingInputError(f"{path} cannot be opened.", found=str(error)) from error


def _kind(magic: bytes, kinds: dict[bytes, str]) -> str:
    return next((kind for start, kind in kinds.items() if magic.startswith(start)), "")


def _decompressed(raw: io.BufferedReader, compression: str) -> io.BufferedReader:
    if compression == "gzip":
        stream: object = gzip.GzipFile(fileobj=raw, mode="rb")
    elif compression == "bzip2":
        stream = bz2.BZ2File(raw)
    elif compression == "xz":
        stream = lzma.LZMAFile(raw)  # noqa: SIM115 (closed with the stream around it)
    else:
        return raw
    return io.BufferedReader(cast(io.RawIOBase, stream), buffer_size=1 << 16)


def _refuse_foreign_content(head: bytes, name: str) -> None:
    if not head:
        raise InputFormatError(
            f"{name} is empty.",
            expected="lines of text",
            cause="the program that wrote it failed, or a download was interrupted",
            remedy="make or fetch it again",
        )
    kind = _kind(head, _FOREIGN) or ("bytes that are no text" if b"\0" in head else "")
    if kind:
        raise InputFormatError(
            f"{name} is not plain UTF-8 text.",
            found=kind,
            expected="plain text, or text packed with gzip, bzip2 or xz",
            remedy="save or export it as tab-separated UTF-8 text",
        )


def _first_undecodable_line(path: Path) -> str:
    """Where is the first byte that is not UTF-8?

    Read a second time, and only for the message; a pipe can't be, and stays without a line.
    """
    unknown_place = "a byte that is not UTF-8"
    if not path.is_file():
        return unknown_place
    with path.open("rb") as raw, suppress(*_DAMAGE):  # damage behind the byte is another matter
        compression = _kind(raw.peek(_MAGIC_LENGTH), _COMPRESSIONS)
        for number, line in enumerate(_decompressed(raw, compression), start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f"byte 0x{line[error.start]:02x} in line {number}"
    return unknown_place


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """What text does this file hold?

    Compression (gzip, bzip2, xz) is told by content, not by name. Lines end in `\\n` for the
    reader, however they end in the file; a byte order mark is dropped. Damage that shows only
    while the body of the `with` reads is raised as an error from there.

    Parameters
    ----------
    path
        File or pipe; it is read once, from start to end.

    Raises
    ------
    MissingInputError
        If the file is not there, is a folder or cannot be opened.
    InputFormatError
        If it is empty, cut off, damaged, or no UTF-8 text.
    """
    with _open_binary(path) as raw:
        compression = ""
        try:
            compression = _kind(raw.peek(_MAGIC_LENGTH), _COMPRESSIONS)
            stream = _decompressed(raw, compression)
            _refuse_foreign_content(stream.peek(1), path.name)
            # Universal newlines: \r\n and \r become \n.
            with io.TextIOWrapper(stream, encoding="utf-8-sig", newline=None) as text:
                yield text
        except UnicodeDecodeError as error:
            raise InputFormatError(
                f"{path.name} is not UTF-8 text.",
                found=_first_undecodable_line(path),
                expected="UTF-8",
                cause="saved by a program that uses another encoding, or damaged",
                remedy="iconv -f latin1 -t utf-8 FILE > NEW_FILE, if it is Latin-1",
            ) from error
        except EOFError as error:
            raise InputFormatError(
                f"{path.name} is cut off.",
                found=f"{compression} data that stop before their end",
                cause="an interrupted download or copy",
                remedy="fetch it again",
            ) from error
        except _DAMAGE as error:
            raise InputFormatError(
                f"{path.name} cannot be read to its end.",
                found=str(error),
                cause=f"damaged {compression} data" if compression else "a failing disk or network",
                remedy="fetch it again",
            ) from error
