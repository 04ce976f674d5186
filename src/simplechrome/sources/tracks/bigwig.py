"""bigWig to the mean signal of each bin: per-base values, averaged here."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pybigtools
from numpy.typing import NDArray

from simplechrome.errors import InputFormatError, SimpleChromeError
from simplechrome.sources.provenance import is_url, unreadable
from simplechrome.sources.remote import RemoteFile, shown_url
from simplechrome.sources.text import foreign_content
from simplechrome.sources.tracks.readers import ReadingOptions, TrackReader
from simplechrome.sources.tracks.windows import (
    BinnedTrack,
    ChromWindows,
    Gaps,
    Progress,
    Sizes,
    Windows,
    settle_gaps,
)

# Decompressing a block twice costs more than filling in some bases that are not needed.
_JOIN_WITHIN = 2_000
# Bases held at once beyond a window's width, 8 bytes each.
_PIECE = 1 << 21
_STEP = 0.01
_SIGNATURES = (b"\x26\xfc\x8f\x88", b"\x88\x8f\xfc\x26")
_LARGEST_BLOCK = 1 << 28
_LONGEST_NAME = 1 << 12

_Values = NDArray[np.float64]  # (gene, bin)
_Bases = NDArray[np.int64]  # (gene,)


def bin_bigwig(
    path: str | Path,
    windows: Windows,
    *,
    gaps: Gaps = "auto",
    approximate: bool = False,
    timeout: float = 30.0,
    progress: Progress = None,
) -> BinnedTrack:
    """Return the mean signal of each bin by a bigWig.

    The mean is taken over all bases of the bin, from the value of each base. Bases without data,
    those outside the chromosome, and values that are NaN count as 0. Windows on chromosomes that
    the file does not have are 0 and unobserved.

    Parameters
    ----------
    path
        A file, or its address (http or https), on a server that sends parts of files.
    windows
        Under the file's own chromosome names.
    gaps
        What bases without data mean; see `settle_gaps`.
    approximate
        Use the file's zoom levels where they are finer than half a bin. Faster where bins are of
        kilobases, and wrong by what falls on a bin's borders; no faster where they are of 100 bp.
    timeout
        Seconds that the server may be silent.

    Returns
    -------
    Units `mean_signal`; the depth is the signal of the whole track (value × bases, summed) by the
    file's header, NaN if the header has none.

    Raises
    ------
    MissingInputError
        If the file is not there, may not be read, or its server does not send it.
    InputFormatError
        If it is not a bigWig, is damaged, or holds infinite values.

    References
    ----------
    Kent et al., Bioinformatics 2010 (the format).
    """
    values = np.zeros((len(windows), windows.n_bins))
    covered = np.zeros(len(windows), np.int64)
    with open_bigwig(path, timeout=timeout) as reader:
        sizes = reader.chroms()
        depth = _total_signal(reader)
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
    observed = settle_gaps(covered, windows, sizes, gaps, name)
    return BinnedTrack(values, observed, depth, "mean_signal")


def _windows_inside(windows: Windows, sizes: dict[str, int]) -> Iterator[tuple[str, ChromWindows]]:
    for chrom, there in windows.by_chromosome():
        touching = (there.starts < sizes.get(chrom, 0)) & (there.starts > -windows.width)
        if touching.any():
            yield chrom, ChromWindows(there.rows[touching], there.starts[touching])


def _read_exactly(
    reader: Any, chrom: str, there: ChromWindows, windows: Windows, values: _Values, covered: _Bases
) -> Iterator[int]:
    """Fill in values and bases covered; yields the number of windows in each stretch."""
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
    reader: Any, chrom: str, there: ChromWindows, windows: Windows, values: _Values, covered: _Bases
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
    if wrong.any():
        row, column = (int(each[0]) for each in np.nonzero(wrong))
        start = int(windows.start[row]) + column * windows.bin_size
        raise InputFormatError(
            f"{name} holds infinite values in {int(wrong.sum())} bins, the first at "
            f"{windows.chrom[row]}:{start:,}-{start + windows.bin_size:,}.",
            "make the track again with a pseudo-count or a limit: a logarithm of 0 or a division "
            "by 0 gave them",
        )


@contextmanager
def open_bigwig(path: str | Path, *, timeout: float = 30.0) -> Iterator[Any]:
    """Open a bigWig: yields a reader of pybigtools.

    Whatever the reader raises in the body of the `with`, panics of its own language included,
    becomes an error that names the file. Damage to the index may still abort the process.

    Raises
    ------
    MissingInputError
        If the file is not there, may not be read, or its server does not send it.
    InputFormatError
        If it is not a bigWig, or a damaged one.
    """
    name = track_name(path)
    with _bytes_of(path, timeout) as stream:
        signed = _check_header(stream, name)
        stream.seek(0)
        try:
            # The stream and not the path: the library recognizes the kind of a path by its suffix.
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
            # A panic derives from BaseException, and no module exports its class.
            if (
                isinstance(error, pybigtools.BBIReadError)
                or type(error).__name__ == "PanicException"
            ):
                raise _damaged(name, _in_words(error)) from error
            raise


class WithoutPanicText:
    """Keep what a panic of the library would print from the screen: an error replaces it.

    For a short call, of which there may be thousands: whatever else is written to stderr meanwhile
    is lost.
    """

    def __init__(self) -> None:
        self._nowhere = os.open(os.devnull, os.O_WRONLY)

    def __enter__(self) -> None:
        self._kept = -1
        with suppress(OSError):  # no stderr at all
            self._kept = os.dup(2)
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
    """Return the name of this track in messages."""
    return shown_url(str(path)) if is_url(path) else Path(path).name


def bigwig_chromosomes(path: str | Path, *, timeout: float = 30.0) -> dict[str, int]:
    """Return the lengths of a bigWig's chromosomes; raises as `open_bigwig` does."""
    with open_bigwig(path, timeout=timeout) as reader:
        return dict(reader.chroms())


def _total_signal(reader: Any) -> float:
    """Return value × bases, summed, by the header; NaN where it has none, or there are no data."""
    summary = reader.info()["summary"]
    return float(summary["sum"]) if int(summary["basesCovered"]) else float("nan")


@contextmanager
def _bytes_of(path: str | Path, timeout: float) -> Iterator[BinaryIO]:
    if is_url(path):
        with RemoteFile(str(path), timeout) as remote:
            yield cast(BinaryIO, remote)
        return
    try:
        stream = Path(path).open("rb", buffering=0)  # noqa: SIM115 (closed below)
    except (OSError, ValueError) as error:
        raise unreadable(Path(path), error) from error
    with stream:
        if not stream.seekable():
            raise InputFormatError(
                f"{path} is a pipe or a device, and a bigWig is read from many places.",
                "write it to a file first",
            )
        yield cast(BinaryIO, stream)


def _check_header(stream: BinaryIO, name: str) -> bool:
    """Refuse what is not a bigWig, and lengths for which the library would abort the process.

    Returns whether it ends in its signature, as a file that was written to the end does. See Kent
    et al., Bioinformatics 2010, supplementary tables 5 and 8.
    """
    size = stream.seek(0, 2)
    head = _read_at(stream, 0, 4096)
    if not head.startswith(_SIGNATURES):
        found, remedy = foreign_content(head)
        if head.startswith(b"\x1f\x8b"):
            found = "gzip data, such as a BAM or packed text"
        elif not found:
            found = f"text that begins with {head.decode(errors='replace')[:60]!r}"
        found = found if head else "empty"
        raise InputFormatError(
            f"{name} is not a bigWig: it is {found}.",
            remedy or "name the bigWig, or the format of the file in the sheet's column format",
        )
    order = "<" if head.startswith(_SIGNATURES[0]) else ">"
    if len(head) < 64:
        raise _damaged(name, f"it has {size} bytes only")
    (tree,) = struct.unpack_from(f"{order}Q", head, 8)
    (block,) = struct.unpack_from(f"{order}I", head, 52)
    listed = _read_at(stream, tree, 24) if tree < size else b""
    if len(listed) < 24:
        raise _damaged(name, "its list of chromosomes is beyond its end")
    _, _, name_bytes, value_bytes, n_chroms = struct.unpack(f"{order}IIIIQ", listed)
    if (
        block > _LARGEST_BLOCK
        or not 0 < name_bytes <= _LONGEST_NAME
        or n_chroms * (name_bytes + value_bytes) > size
    ):
        raise _damaged(name, "its header has invalid lengths")
    return _read_at(stream, size - 4, 4) == head[:4]


def _read_at(stream: BinaryIO, place: int, n_bytes: int) -> bytes:
    stream.seek(place)
    data = b""
    while len(data) < n_bytes and (more := stream.read(n_bytes - len(data))):
        data += more
    return data


def _read_last_zoom(reader: Any) -> None:
    """Read what lies last in the file, the coarsest zoom level, to see whether it is cut off.

    For files that do not end in their signature, which old programs did not write.
    """
    zooms = reader.zooms()
    for chrom in reader.chroms() if zooms else ():
        for _ in reader.zoom_records(max(zooms), chrom):
            pass


def _damaged(name: str, found: str) -> InputFormatError:
    return InputFormatError(
        f"{name} is damaged or cut off: {found}.",
        "fetch or make it again: a download, a copy or the program that wrote it was interrupted",
    )


def _recognizes(head: bytes) -> int:
    return 2 * head.startswith(_SIGNATURES)


def _chromosomes(path: str, options: ReadingOptions) -> dict[str, int]:
    return bigwig_chromosomes(path, timeout=options.timeout)


def _bin(
    path: str, windows: Windows, options: ReadingOptions, sizes: Sizes, progress: Progress
) -> BinnedTrack:
    return bin_bigwig(
        path,
        windows,
        gaps=options.gaps,
        approximate=options.approximate,
        timeout=options.timeout,
        progress=progress,
    )


READER = TrackReader(
    "bigwig",
    "bigWig",
    (".bw", ".bigwig"),
    _recognizes,
    _bin,
    chromosomes=_chromosomes,
    remote=True,
    may_abort=True,
)
