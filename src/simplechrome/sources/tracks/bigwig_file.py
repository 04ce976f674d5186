"""A bigWig, on disk or on a web server: is it one, is it whole, and what does its header say?"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import pybigtools

from simplechrome.errors import InputFormatError, MissingInputError, SimpleChromeError
from simplechrome.sources.download_http import Patience, looks_like_page
from simplechrome.sources.tracks.bigwig_index import index_fault
from simplechrome.sources.tracks.remote import RangeFile, is_url, shown_url

_BIGWIG = 0x888FFC26
_CHROMOSOME_TREE = 0x78CA8C91
_INDEX = 0x2468ACE0
_HEADER = "HHQQQHHQQIQ"  # after the signature; Kent et al. 2010, supplementary table 5
_HEADER_BYTES = 64
_ZOOM_BYTES = 24
_TREE_BYTES = 32
_INDEX_BYTES = 48
_LARGEST_BLOCK = 1 << 28
_LONGEST_NAME = 1 << 12
_PATIENCE = Patience(attempts=3, longest_wait=8.0, longest_asked=60.0)

_FOREIGN = {
    b"\xeb\xf2\x89\x87": "a bigBed, which holds regions without a signal",
    b"\x87\x89\xf2\xeb": "a bigBed, which holds regions without a signal",
    b"\x1f\x8b": "gzip data, as in a BAM or a packed text file",
    b"CRAM": "a CRAM",
    b"BAI\1": "the index of a BAM",
    b"\x89HDF": "an HDF5 file",
    b"BZh": "bzip2 data",
    b"\xfd7zXZ": "xz data",
    b"PK\3\4": "a zip archive",
    b"HIC\0": "a .hic file",
}


class BigWigSummary(NamedTuple):
    """What a bigWig's header says of all its data.

    bases_covered : bases with a value
    minimum, maximum : of the values; NaN where the header does not say
    total : value × bases, summed; NaN where the header does not say
    """

    bases_covered: int
    minimum: float
    maximum: float
    total: float


@contextmanager
def open_bigwig(path: str | Path, *, timeout: float = 30.0) -> Iterator[Any]:
    """What does this bigWig hold? A reader of pybigtools, for the body of a `with`.

    Whatever the reader raises in there, panics of its own language included, becomes an error that
    names the file.

    Raises
    ------
    MissingInputError
        If the file is not there, may not be read, or its server does not send it.
    InputFormatError
        If it is no bigWig, or a damaged one.
    """
    name = track_name(path)
    with _bytes_of(path, timeout) as stream:
        signed = _check_layout(stream, name, whole_index=not is_url(path))
        stream.seek(0)
        try:
            # The stream and not the path: the library tells the kind of a path by its suffix.
            with closing(WithoutPanicText()) as silence, silence:
                reader = pybigtools.open(stream)
            if not signed:
                _read_last_zoom(reader)
            yield reader
        except SimpleChromeError:
            raise
        except BaseException as error:
            lost = getattr(stream, "error", None)
            if lost is not None:
                raise lost from None
            if isinstance(error, pybigtools.BBIReadError) or _is_panic(error):
                raise _damaged(name, _in_words(error)) from error
            raise


class WithoutPanicText:
    """Keep what a panic of the library would print from the screen: it becomes an error of ours.

    For a short call, of which there may be thousands: whatever else is written to stderr meanwhile
    is lost.
    """

    def __init__(self) -> None:
        self._nowhere = os.open(os.devnull, os.O_WRONLY)

    def __enter__(self) -> None:
        try:
            self._kept = os.dup(2)
        except OSError:  # no stderr at all
            self._kept = -1
            return
        os.dup2(self._nowhere, 2)

    def __exit__(self, *_: object) -> None:
        if self._kept >= 0:
            os.dup2(self._kept, 2)
            os.close(self._kept)

    def close(self) -> None:
        """Give the file descriptor back."""
        os.close(self._nowhere)


def _in_words(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    if "unwrap" in text or "BadData" in text:
        return "a block of data that cannot be unpacked"
    return text


def track_name(path: str | Path) -> str:
    """How to call this track in a message?"""
    return shown_url(str(path)) if is_url(path) else Path(path).name


def bigwig_chromosomes(path: str | Path, *, timeout: float = 30.0) -> dict[str, int]:
    """Which chromosomes does a bigWig know, and how long are they?

    Raises
    ------
    MissingInputError
        If the file is not there, may not be read, or its server does not send it.
    InputFormatError
        If it is no bigWig, or a damaged one.
    """
    with open_bigwig(path, timeout=timeout) as reader:
        return dict(reader.chroms())


def bigwig_summary(path: str | Path, *, timeout: float = 30.0) -> BigWigSummary:
    """What does a bigWig's header say of all its data? Reads no data.

    Raises
    ------
    MissingInputError
        If the file is not there, may not be read, or its server does not send it.
    InputFormatError
        If it is no bigWig, or a damaged one.
    """
    with open_bigwig(path, timeout=timeout) as reader:
        return read_summary(reader)


def read_summary(reader: Any) -> BigWigSummary:
    """The same of a bigWig that is open."""
    summary = reader.info()["summary"]
    bases = int(summary["basesCovered"])
    if not bases:
        # A header without a summary, or a track without data.
        nan = float("nan")
        return BigWigSummary(0, nan, nan, nan)
    return BigWigSummary(bases, float(summary["min"]), float(summary["max"]), float(summary["sum"]))


@contextmanager
def _bytes_of(path: str | Path, timeout: float) -> Iterator[BinaryIO]:
    if is_url(path):
        with RangeFile(str(path), replace(_PATIENCE, timeout=timeout)) as remote:
            yield cast(BinaryIO, remote)
        return
    path = Path(path)
    try:
        stream = path.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise MissingInputError(
            f"{path} does not exist.",
            remedy=f"check the spelling; paths are relative to {Path.cwd()}",
        ) from error
    except IsADirectoryError as error:
        raise MissingInputError(
            f"{path} is a folder.", expected="a bigWig", remedy="name the file inside it"
        ) from error
    except (OSError, ValueError) as error:
        raise MissingInputError(f"{path} cannot be opened.", found=str(error)) from error
    with stream:
        if not stream.seekable():
            raise InputFormatError(
                f"{path} is a pipe or a device.",
                expected="a bigWig on disk, or its URL",
                cause="a bigWig is read from many places, and a pipe only from start to end",
                remedy="write it to a file first",
            )
        yield cast(BinaryIO, stream)


def _read_at(stream: BinaryIO, place: int, n_bytes: int) -> bytes:
    stream.seek(place)
    data = b""
    while len(data) < n_bytes and (more := stream.read(n_bytes - len(data))):
        data += more
    return data


def _check_layout(stream: BinaryIO, name: str, *, whole_index: bool) -> bool:
    """Is this a bigWig, and does it reach as far as its header says?

    Lengths that damage has made absurd are caught here: the library would ask for as much memory,
    and the process would end. The index is followed to its leaves only where that is quick.

    Returns
    -------
    Does it end in its signature, as a file that was written to the end does?
    """
    size = stream.seek(0, 2)
    head = _read_at(stream, 0, _HEADER_BYTES)
    order = next((each for each in "<>" if head[:4] == struct.pack(f"{each}I", _BIGWIG)), "")
    if not order:
        raise _foreign(name, head, _read_at(stream, 0, 4096))
    if len(head) < _HEADER_BYTES:
        raise _cut_off(name, size, _HEADER_BYTES)
    (_, n_zooms, tree, data, index, _, _, _, summary, block, _) = struct.unpack(
        order + _HEADER, head[4:]
    )
    zooms = _read_at(stream, _HEADER_BYTES, n_zooms * _ZOOM_BYTES)
    if len(zooms) < n_zooms * _ZOOM_BYTES:
        raise _cut_off(name, size, _HEADER_BYTES + n_zooms * _ZOOM_BYTES)
    indices = [index, *(last for *_, last in struct.iter_unpack(f"{order}IIQQ", zooms))]
    furthest = max(
        tree + _TREE_BYTES, data + 8, summary, *(each + _INDEX_BYTES for each in indices)
    )
    if furthest > size:
        raise _cut_off(name, size, furthest)

    kind, _, name_bytes, value_bytes, n_chroms, _ = struct.unpack(
        f"{order}IIIIQQ", _read_at(stream, tree, _TREE_BYTES)
    )
    if (
        kind != _CHROMOSOME_TREE
        or not 0 < name_bytes <= _LONGEST_NAME
        or value_bytes != 8
        or n_chroms * (name_bytes + value_bytes) > size
        or block > _LARGEST_BLOCK
    ):
        raise _damaged(name, "a header or a list of chromosomes that makes no sense")
    if struct.unpack(f"{order}I", _read_at(stream, index, 4))[0] != _INDEX:
        raise _damaged(name, f"no index at byte {index:,}, where the header says it is")
    if whole_index:
        fault = index_fault(partial(_read_at, stream), index, size, "<" if order == "<" else ">")
        if fault:
            raise _damaged(name, f"an index with {fault}")
    return _read_at(stream, size - 4, 4) == head[:4]


def _read_last_zoom(reader: Any) -> None:
    """Is all there, though the file does not end in its signature?

    Old programs did not write one. What lies last in the file is the index of the coarsest zoom
    level, so reading that level shows whether anything was cut off.
    """
    zooms = reader.zooms()
    for chrom in reader.chroms() if zooms else ():
        for _ in reader.zoom_records(max(zooms), chrom):
            pass


def _is_panic(error: BaseException) -> bool:
    # It derives from BaseException, and no module exports it.
    return type(error).__name__ == "PanicException"


def _foreign(name: str, head: bytes, start: bytes) -> InputFormatError:
    if not head:
        return InputFormatError(
            f"{name} is empty.",
            expected="a bigWig",
            cause="the program that wrote it failed, or a download was interrupted",
            remedy="make or fetch it again",
        )
    found = next((kind for magic, kind in _FOREIGN.items() if head.startswith(magic)), "")
    cause = "another file was meant, or its format is given wrongly"
    if looks_like_page(start):
        found, cause = "a web page", "a download that failed: the server sent a page in its place"
    elif not found and b"\0" not in start:
        line = start.split(b"\n", 1)[0][:60].decode(errors="replace")
        found = f"text that begins with {line!r}"
    return InputFormatError(
        f"{name} is not a bigWig.",
        found=found or f"a file that begins with the bytes {head[:4].hex(' ')}",
        expected="the signature of a bigWig, 26 fc 8f 88",
        cause=cause,
        remedy="name the bigWig, or say what it is in the sheet's column format",
    )


def _cut_off(name: str, size: int, needed: int) -> InputFormatError:
    return InputFormatError(
        f"{name} is cut off.",
        found=f"{size:,} bytes",
        expected=f"at least {needed:,} bytes by its own header",
        cause="an interrupted download or copy, or the program that wrote it was stopped",
        remedy="fetch or make it again",
    )


def _damaged(name: str, found: str) -> InputFormatError:
    return InputFormatError(
        f"{name} is damaged or cut off.",
        found=found,
        expected="a whole bigWig",
        cause="an interrupted download or copy, or the program that wrote it was stopped",
        remedy="fetch or make it again",
    )
