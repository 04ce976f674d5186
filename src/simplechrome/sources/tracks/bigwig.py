"""bigWig to the mean signal of each bin: per-base values, averaged here."""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, cast

import numpy as np
import pybigtools
from numpy.typing import NDArray

from simplechrome.errors import InputFormatError, MissingInputError, SimpleChromeError
from simplechrome.sources.provenance import is_url
from simplechrome.sources.remote import RemoteFile, looks_like_page, shown_url
from simplechrome.sources.tracks.windows import (
    BinnedTrack,
    ChromWindows,
    Gaps,
    Windows,
    settle_gaps,
)

_NODE = np.dtype([("leaf", "u1"), ("", "u1"), ("count", "u2")])
_PLACE = [("first_chrom", "u4"), ("start", "u4"), ("last_chrom", "u4"), ("end", "u4")]
_LEAF = np.dtype([*_PLACE, ("offset", "u8"), ("bytes", "u8")])
_BRANCH = np.dtype([*_PLACE, ("offset", "u8")])
_INDEX_HEADER_BYTES = 48


def index_fault(
    read: Callable[[int, int], bytes], index: int, size: int, order: Literal["<", ">"]
) -> str:
    """What is wrong with the index, in words? Empty if nothing.

    A library that follows a damaged length asks for as much memory, and the process ends.

    Parameters
    ----------
    read
        (place, number of bytes) → bytes.
    index
        Where in the file the index begins.
    size
        Of the file.
    order
        `<` or `>`: of the bytes.

    References
    ----------
    Kent et al., Bioinformatics 2010, supplementary tables 14 to 17.
    """
    waiting, seen = [index + _INDEX_HEADER_BYTES], set()
    while waiting:
        place = waiting.pop()
        if place in seen:
            return f"a node at byte {place:,} that leads back to itself"
        seen.add(place)
        head = read(place, _NODE.itemsize)
        if len(head) < _NODE.itemsize:
            return f"a node at byte {place:,}, beyond the end"
        node = np.frombuffer(head, _NODE.newbyteorder(order))[0]
        if node["leaf"] > 1:
            return f"a node of no known kind at byte {place:,}"
        kind = (_LEAF if node["leaf"] else _BRANCH).newbyteorder(order)
        wanted = int(node["count"]) * kind.itemsize
        body = read(place + _NODE.itemsize, wanted)
        if len(body) < wanted:
            return f"a node of {int(node['count'])} entries at byte {place:,}, cut off"
        entries = np.frombuffer(body, kind)
        offset = entries["offset"].astype(np.float64)  # sums of damaged numbers would overflow
        first, last = (
            entries["first_chrom"].astype(np.int64),
            entries["last_chrom"].astype(np.int64),
        )
        backwards = (first > last) | ((first == last) & (entries["start"] > entries["end"]))
        if backwards.any():
            return f"an entry at byte {place:,} that ends before it begins"
        if node["leaf"]:
            length = entries["bytes"].astype(np.float64)
            if ((offset + length > size) | (length > _LARGEST_BLOCK)).any():
                return f"an entry at byte {place:,} for data beyond the end of the file"
            continue
        if (offset >= size).any():
            return f"an entry at byte {place:,} for a node beyond the end of the file"
        waiting += entries["offset"].tolist()
    return ""


__all__ = ["BigWigSummary", "bigwig_chromosomes", "bigwig_summary", "bin_bigwig"]

logger = logging.getLogger(__name__)

# Decompressing a block twice costs more than filling in some bases that nobody asked for.
_JOIN_WITHIN = 2_000
# Bases held at once beyond a window's width, 8 bytes each.
_PIECE = 1 << 21
_STEP = 0.01


def bin_bigwig(
    path: str | Path,
    windows: Windows,
    *,
    gaps: Gaps = "auto",
    approximate: bool = False,
    timeout: float = 30.0,
    progress: Callable[[float], object] | None = None,
) -> BinnedTrack:
    """What is the mean signal of each bin, by a bigWig?

    The mean is taken over all bases of the bin, from the value of each base. Bases without data,
    those outside of the chromosome, and values that are NaN count as 0. Windows on chromosomes that
    the file does not know are 0 and unobserved.

    Parameters
    ----------
    path
        A file, or its address (http or https), which must be on a server that sends parts of files.
    windows
        Under the file's own chromosome names.
    gaps
        What bases without data mean; see `settle_gaps`.
    approximate
        Use the file's zoom levels where they are finer than half a bin. Faster where bins are of
        kilobases, and wrong by what falls on a bin's borders; no faster where they are of 100 bp.
    timeout
        Seconds that the server may be silent.
    progress
        Called with the share of the work done, 0 to 1.

    Returns
    -------
    Units `mean_signal`; the depth is the signal of the whole track (value × bases, summed) by the
    file's header, NaN if it does not say.

    Raises
    ------
    MissingInputError
        If the file is not there, may not be read, or its server does not send it.
    InputFormatError
        If it is no bigWig, is damaged, or holds infinite values.

    References
    ----------
    Kent et al., Bioinformatics 2010 (the format).
    """
    values = np.zeros((len(windows), windows.n_bins))
    covered = np.zeros(len(windows), np.int64)
    with open_bigwig(path, timeout=timeout) as reader:
        sizes = reader.chroms()
        depth = read_summary(reader).total
        read = _read_zoomed if approximate else _read_exactly
        done, reported = 0, 0.0
        for chrom, there in _windows_inside(windows, sizes):
            for n_windows in read(reader, chrom, there, windows, values, covered):
                done += n_windows
                if progress and done / len(windows) >= reported + _STEP:
                    reported = done / len(windows)
                    progress(reported)
    if progress:
        progress(1.0)
    name = track_name(path)
    _refuse_infinite(values, windows, name)
    inside = windows.inside(sizes)
    share = np.minimum((covered / windows.width).astype(np.float32), inside)
    observed, zeros = settle_gaps(share, inside, gaps)
    n_partial = int(((share > 0) & (share < inside)).sum())
    if zeros and (share < inside).any():
        logger.info(
            "%s: bases without data are taken for zeros; %d of the %d windows with data lack some",
            name,
            n_partial,
            int((share > 0).sum()),
        )
    return BinnedTrack(values, observed, depth, "mean_signal")


def _windows_inside(windows: Windows, sizes: dict[str, int]) -> Iterator[tuple[str, ChromWindows]]:
    for chrom, there in windows.by_chromosome():
        touching = (there.starts < sizes.get(chrom, 0)) & (there.starts > -windows.width)
        if touching.any():
            yield chrom, ChromWindows(there.rows[touching], there.starts[touching])


def _read_exactly(
    reader: Any,
    chrom: str,
    there: ChromWindows,
    windows: Windows,
    values: NDArray[np.float64],
    covered: NDArray[np.int64],
) -> Iterator[int]:
    """Fill in values and bases covered; yields how many windows each stretch has brought."""
    width = windows.width
    starts = there.starts
    apart = starts[1:] > starts[:-1] + width + _JOIN_WITHIN
    far = starts[1:] // _PIECE > starts[:-1] // _PIECE
    cuts = np.flatnonzero(apart | far) + 1
    edges = windows.bin_size * np.arange(windows.n_bins + 1)
    space = np.zeros(0)
    with closing(WithoutPanicText()) as silence:
        for first, last in zip([0, *cuts.tolist()], [*cuts.tolist(), len(starts)], strict=True):
            start = int(starts[first])
            n_bases = int(starts[last - 1]) + width - start
            if len(space) <= n_bases:
                space = np.empty(n_bases + 1)
            bases = space[:n_bases]
            # Outside of the chromosome it fills in NaN, as where there are no data.
            with silence:
                reader.values(chrom, start, start + n_bases, fillna=None, arr=bases)
            space[n_bases] = 0.0  # the last edge needs a base behind it
            at = starts[first:last, None] - start + edges
            sums = _sum_between(space[: n_bases + 1], at)
            rows = there.rows[first:last]
            covered[rows] = width
            if np.isnan(sums).any():
                absent = np.isnan(space[: n_bases + 1])
                if absent[:-1].all():
                    covered[rows] = 0
                    yield last - first
                    continue
                space[: n_bases + 1][absent] = 0.0
                sums = _sum_between(space[: n_bases + 1], at)
                covered[rows] -= _sum_between(absent, at).sum(axis=1)
            values[rows] = sums / windows.bin_size
            yield last - first


def _sum_between(bases: NDArray[Any], at: NDArray[np.int64]) -> NDArray[Any]:
    """Sums between the edges of each row.

    Of each bin's own bases, and not by the difference of two running sums: where values differ by
    many orders of magnitude, that loses the small ones.
    """
    kind = np.float64 if bases.dtype == np.float64 else np.int64
    sums = np.add.reduceat(bases, at.ravel(), dtype=kind)
    return sums.reshape(at.shape)[:, :-1]


def _read_zoomed(
    reader: Any,
    chrom: str,
    there: ChromWindows,
    windows: Windows,
    values: NDArray[np.float64],
    covered: NDArray[np.int64],
) -> Iterator[int]:
    """The same from zoom levels, where the file has one that fits."""
    n_bins, width = windows.n_bins, windows.width
    for row, start in zip(there.rows.tolist(), there.starts.tolist(), strict=True):
        place = (chrom, start, start + width)
        kind = {"bins": n_bins, "exact": False, "oob": 0.0, "fillna": None}
        reader.values(*place, summary="mean", uncovered=0.0, arr=values[row], **kind)
        if np.isnan(values[row]).any():
            # NaN is stored as data here and there, and zoom levels do not say where.
            alone = ChromWindows(np.array([row]), np.array([start]))
            yield from _read_exactly(reader, chrom, alone, windows, values, covered)
            continue
        covered[row] = round(float(reader.values(*place, summary="bases_covered", **kind).sum()))
        yield 1


def _refuse_infinite(values: NDArray[np.float64], windows: Windows, name: str) -> None:
    wrong = ~np.isfinite(values)
    if not wrong.any():
        return
    row, column = (int(each[0]) for each in np.nonzero(wrong))
    start = int(windows.start[row]) + column * windows.bin_size
    raise InputFormatError(
        f"{name} holds infinite values.",
        found=f"{int(wrong.sum())} bins with one, the first at "
        f"{windows.chrom[row]}:{start:,}-{start + windows.bin_size:,}",
        expected="finite numbers",
        cause="a logarithm of 0 or a division by 0 when the track was made",
        remedy="make the track again with a pseudo-count or a limit",
    )


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
        with RemoteFile(str(path), timeout) as remote:
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
