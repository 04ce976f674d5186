"""bedGraph to the mean signal of each bin: every interval, weighted by its overlap."""

from __future__ import annotations

import logging
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from simplechrome.errors import InputFormatError
from simplechrome.sources.text.open import open_text
from simplechrome.sources.tracks.windows import (
    BinnedTrack,
    ChromWindows,
    Gaps,
    Windows,
    settle_gaps,
)

_CHUNK = 1 << 23
_LONGEST_LINE = 1 << 16
_MAX_END = 1 << 32  # a bigWig holds no longer chromosome either
_NOT_DATA = re.compile(rb"^(?:#|track\b|browser\b)[^\n]*\n?", re.MULTILINE)
_GAPS = re.compile(rb"[ \t]+")
_COLUMNS = ("chrom", "start", "end", "value")


class Intervals(NamedTuple):
    """Some lines of a bedGraph, in the order of the file.

    names : chromosome names
    code : (interval,), which of the names
    start, end : (interval,), 0-based, half-open
    value : (interval,)
    """

    names: list[str]
    code: NDArray[np.int32]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    value: NDArray[np.float64]


class Lines(NamedTuple):
    """A part of the file.

    first : number of its first line, counted from 1
    share : how much of the file lies before its end; 0 where that isn't known
    """

    data: bytes
    first: int
    share: float
    name: str

    def number(self, row: int) -> int:
        """In which line does the interval with this number stand?"""
        return [number for number, _ in self._records()][row]

    def intervals(self) -> Intervals:
        """Which intervals do these lines hold?

        Raises
        ------
        InputFormatError
            If a line is no interval.
        """
        try:
            found = _parse(self.data)
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return self._parse_slowly()
        wrong = (found.start < 0) | (found.start >= found.end) | (found.end >= _MAX_END)
        wrong |= ~np.isfinite(found.value)
        return self._parse_slowly() if wrong.any() else found

    def _records(self) -> Iterator[tuple[int, list[bytes]]]:
        for number, line in enumerate(self.data.split(b"\n"), start=self.first):
            fields = line.split()
            if fields and not _NOT_DATA.match(line):
                yield number, fields

    def _parse_slowly(self) -> Intervals:
        """Line by line: to find the line that is wrong, or to read what the fast way can't."""
        codes: dict[str, int] = {}
        rows = []
        for number, fields in self._records():
            if len(fields) != 4:
                self._refuse(number, fields, f"{len(fields)} columns")
            chrom, *numbers = (field.decode(errors="replace") for field in fields)
            try:
                start, end, value = int(numbers[0]), int(numbers[1]), float(numbers[2])
            except ValueError:
                self._refuse(number, fields, "columns 2 to 4 are not all numbers")
            if start < 0:
                self._refuse(number, fields, f"start {start} is negative")
            if start >= end:
                self._refuse(number, fields, f"start {start} is not before end {end}")
            if end >= _MAX_END:
                self._refuse(number, fields, f"end {end} is behind any chromosome's end")
            if not math.isfinite(value):
                self._refuse(number, fields, f"the value is {numbers[2]}")
            rows.append((codes.setdefault(chrom, len(codes)), start, end, value))
        code, start_, end_, value_ = zip(*rows, strict=True) if rows else ((), (), (), ())
        return Intervals(
            list(codes),
            np.array(code, np.int32),
            np.array(start_, np.int64),
            np.array(end_, np.int64),
            np.array(value_, np.float64),
        )

    def _refuse(self, number: int, fields: list[bytes], found: str) -> NoReturn:
        line = b" ".join(fields)[:80].decode(errors="replace")
        raise InputFormatError(
            f"{self.name}, line {number} is not an interval of a bedGraph.",
            found=f"{found}: {line!r}",
            expected="chromosome, start, end (0-based, half-open, start < end) and a finite value",
            cause="another format (BED has names in column 4), or a line cut off or damaged",
            remedy="mend or remove the line, or say what the file is in the sheet's column format",
        )


def read_lines(path: Path) -> Iterator[Lines]:
    """What are the file's lines, a few megabytes at a time?

    Compression is told by content. Memory is bounded whatever the size of the file.

    Raises
    ------
    MissingInputError
        If the file is not there or cannot be opened.
    InputFormatError
        If it is empty, cut off or damaged, or no text.
    """
    with open_text(path) as text:
        # Bytes, which need no decoding here; damage is still reported by `open_text`.
        stream = text.buffer
        size = path.stat().st_size
        rest, first = b"", 1
        while block := stream.read(_CHUNK):
            if first == 1 and not rest:
                block = block.removeprefix(b"\xef\xbb\xbf")
            whole, newline, tail = (rest + block).rpartition(b"\n")
            if not newline and len(tail) > _LONGEST_LINE:
                raise InputFormatError(
                    f"{path.name}, line {first} never ends.",
                    found=f"more than {_LONGEST_LINE:,} bytes without an end of line",
                    expected="one interval in each line, which ends in \\n or \\r\\n",
                    remedy="convert it, for example with dos2unix -c mac, if it is text",
                )
            rest = tail
            if newline:
                yield Lines(whole, first, _share_read(stream, size), path.name)
                first += whole.count(b"\n") + 1
        if rest:
            yield Lines(rest, first, 1.0, path.name)


def _share_read(stream: Any, size: int) -> float:
    """By the place in the file itself, packed or not."""
    raw = getattr(stream, "raw", stream)
    packed = getattr(raw, "fileobj", None) or getattr(raw, "_fp", None) or raw
    try:
        return min(packed.tell() / size, 1.0) if size else 0.0
    except OSError:  # a pipe
        return 0.0


def _parse(data: bytes) -> Intervals:
    """By pyarrow, which knows neither comments nor several blanks between columns."""
    if b"#" in data or b"track" in data or b"browser" in data:
        data = _NOT_DATA.sub(b"", data)
    if b" " in data:
        data = _GAPS.sub(b"\t", data)
    if not data.strip():
        empty = np.zeros(0, np.int64)
        return Intervals([], empty.astype(np.int32), empty, empty, np.zeros(0))
    table = csv.read_csv(
        pa.BufferReader(data),
        read_options=csv.ReadOptions(column_names=_COLUMNS, use_threads=False),
        parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
        convert_options=csv.ConvertOptions(
            column_types={
                "chrom": pa.dictionary(pa.int32(), pa.string()),
                "start": pa.int64(),
                "end": pa.int64(),
                "value": pa.float64(),
            },
            null_values=[],
        ),
    ).combine_chunks()
    chrom = table["chrom"].unify_dictionaries().combine_chunks()
    start, end, value = (table[name].to_numpy() for name in _COLUMNS[1:])
    return Intervals(
        [str(name) for name in chrom.dictionary.to_pylist()],
        chrom.indices.to_numpy(),
        start,
        end,
        value,
    )


logger = logging.getLogger(__name__)

_AT_ONCE = 1 << 20  # overlaps in memory at a time, some 100 bytes each
_ENDLESS = 1 << 62


def bin_bedgraph(
    path: str | Path,
    windows: Windows,
    *,
    gaps: Gaps = "auto",
    sizes: Mapping[str, int] | None = None,
    progress: Callable[[float], object] | None = None,
) -> BinnedTrack:
    """What is the mean signal of each bin, by a bedGraph?

    The file may be packed (gzip, bgzip, bzip2, xz) and in any order; lines that begin with `#`,
    `track` or `browser` are passed over wherever they stand. Bases without data, and those outside
    of the chromosome, count as 0 in the mean. Windows on chromosomes that do not occur in the file
    are 0 and unobserved.

    Parameters
    ----------
    windows
        Under the file's own chromosome names.
    gaps
        What bases without data mean; see `settle_gaps`.
    sizes
        Lengths of chromosomes, which a bedGraph does not say. What intervals hold behind a
        chromosome's end is left out, and a warning says so. Without a length, only the bases before
        a chromosome's first count as outside.
    progress
        Called with the share of the work done, 0 to 1.

    Returns
    -------
    Units `mean_signal`; the depth is the signal of the whole file (value × bases, summed).

    Raises
    ------
    MissingInputError
        If the file is not there or cannot be opened.
    InputFormatError
        If it is no bedGraph, damaged or empty, or if intervals overlap. Those far apart in an
        unsorted file are compared only where they touch a window.
    """
    path = Path(path)
    sizes = sizes or {}
    binning = _Binning(windows, path.name)
    ends = _Ends(sizes, path.name)
    for lines in read_lines(path):
        found = _sorted(lines.intervals(), lines)
        binning.add(ends.clipped(found))
        if progress:
            progress(lines.share)
    if not binning.names:
        raise InputFormatError(
            f"{path.name} holds no intervals.",
            found="comments, track lines or empty lines only",
            expected="lines of chromosome, start, end and value",
            cause="the program that wrote it failed, or was given no data",
            remedy="make it again",
        )
    binning.refuse_overlaps()
    ends.report()
    if progress:
        progress(1.0)
    inside = windows.inside({name: sizes.get(name, _ENDLESS) for name in binning.names})
    share = np.minimum((binning.covered / windows.width).astype(np.float32), inside)
    observed, zeros = settle_gaps(share, inside, gaps)
    if zeros and (share < inside).any():
        logger.info(
            "%s: bases without data are taken for zeros; %d of the %d windows with data lack some",
            path.name,
            int(((share > 0) & (share < inside)).sum()),
            int((share > 0).sum()),
        )
    values = binning.sums.reshape(len(windows), windows.n_bins) / windows.bin_size
    return BinnedTrack(values, observed, binning.depth, "mean_signal")


class _Ends:
    """What reaches over a chromosome's end is left out, and said once."""

    def __init__(self, sizes: Mapping[str, int], file_name: str) -> None:
        self._sizes = sizes
        self._file_name = file_name
        self._n_behind = 0
        self._example = ""

    def clipped(self, found: Intervals) -> Intervals:
        size = np.array([self._sizes.get(name, _ENDLESS) for name in found.names], np.int64)
        limit = size[found.code]
        behind = np.flatnonzero(found.end > limit)
        if not behind.size:
            return found
        self._n_behind += behind.size
        first = behind[0]
        self._example = self._example or (
            f"{found.names[found.code[first]]}:{found.start[first]}-{found.end[first]}, "
            f"where the chromosome has {limit[first]:,} bases"
        )
        keep = found.start < limit
        return Intervals(
            found.names,
            found.code[keep],
            found.start[keep],
            np.minimum(found.end, limit)[keep],
            found.value[keep],
        )

    def report(self) -> None:
        if self._n_behind:
            logger.warning(
                "%s: %d intervals reach over their chromosome's end, and what lies behind it is "
                "left out; the first: %s. Is it of another assembly?",
                self._file_name,
                self._n_behind,
                self._example,
            )


class _Binning:
    """Sums over bins, as the intervals come.

    names : chromosomes that occur
    sums : (gene · bin,), value × bases
    covered : (gene,), bases with data
    depth : value × bases over the whole file
    """

    def __init__(self, windows: Windows, file_name: str) -> None:
        self.names: set[str] = set()
        self.sums = np.zeros(len(windows) * windows.n_bins)
        self.covered = np.zeros(len(windows), np.int64)
        self.depth = 0.0
        self._windows = windows
        self._by_chromosome = dict(windows.by_chromosome())
        self._file_name = file_name
        # Runs of intervals that touch a window: all that overlaps can be told from at the end.
        self._runs: dict[str, list[NDArray[np.int64]]] = defaultdict(list)

    def add(self, found: Intervals) -> None:
        """Take in intervals sorted by chromosome and start."""
        self.depth += float(np.dot(found.value, found.end - found.start))
        cuts = np.searchsorted(found.code, np.arange(len(found.names) + 1))
        for name, first, last in zip(found.names, cuts[:-1], cuts[1:], strict=True):
            if last > first:
                self.names.add(name)
            if name in self._by_chromosome:
                part = slice(first, last)
                self._add_chromosome(name, found.start[part], found.end[part], found.value[part])

    def _add_chromosome(
        self,
        name: str,
        start: NDArray[np.int64],
        end: NDArray[np.int64],
        value: NDArray[np.float64],
    ) -> None:
        there = self._by_chromosome[name]
        # Windows are of one width, so those that an interval touches follow each other.
        first = np.searchsorted(there.starts, start - self._windows.width, side="right")
        n_windows = np.searchsorted(there.starts, end, side="left") - first
        touching = n_windows > 0
        if not touching.any():
            return
        start, end, value = start[touching], end[touching], value[touching]
        first, n_windows = first[touching], n_windows[touching]
        begins = np.flatnonzero(np.r_[True, start[1:] != end[:-1]])
        ends = np.r_[begins[1:], len(end)] - 1
        self._runs[name].append(np.stack([start[begins], end[ends]], axis=1))
        for part in _parts(n_windows):
            which, window = _expanded(first[part], n_windows[part])
            self._add_pairs(there, window, start[part][which], end[part][which], value[part][which])

    def _add_pairs(
        self,
        there: ChromWindows,
        window: NDArray[np.intp],
        start: NDArray[np.int64],
        end: NDArray[np.int64],
        value: NDArray[np.float64],
    ) -> None:
        """Intervals, each with one window that it touches."""
        n_bins, bin_size = self._windows.n_bins, self._windows.bin_size
        rows = there.rows[window]
        left = np.maximum(start - there.starts[window], 0)
        right = np.minimum(end - there.starts[window], self._windows.width)
        np.add.at(self.covered, rows, right - left)
        first = left // bin_size
        n_touched = (right - 1) // bin_size - first + 1
        for part in _parts(n_touched):
            which, column = _expanded(first[part], n_touched[part])
            edge = column * bin_size
            bases = np.minimum(right[part][which], edge + bin_size) - np.maximum(
                left[part][which], edge
            )
            np.add.at(self.sums, rows[part][which] * n_bins + column, bases * value[part][which])

    def refuse_overlaps(self) -> None:
        """Does any interval overlap one that came much earlier?"""
        for name, pieces in self._runs.items():
            runs = np.concatenate(pieces)
            runs = runs[np.argsort(runs[:, 0], kind="stable")]
            wrong = np.flatnonzero(runs[1:, 0] < runs[:-1, 1])
            if wrong.size:
                place = f"{name}:{runs[wrong[0] + 1, 0]:,}"
                raise _overlap(self._file_name, f"at {place}, in lines that are far apart")


def _sorted(found: Intervals, lines: Lines) -> Intervals:
    """By chromosome and start, and without overlaps."""
    order = None
    code, start, end = found.code, found.start, found.end
    later = code[1:] > code[:-1]
    same = code[1:] == code[:-1]
    if not (later | (same & (start[1:] >= start[:-1]))).all():
        order = np.lexsort((start, code))
        code, start, end = code[order], start[order], end[order]
        same = code[1:] == code[:-1]
    wrong = np.flatnonzero(same & (start[1:] < end[:-1]))
    if wrong.size:
        pair = np.array([wrong[0], wrong[0] + 1])
        rows = pair if order is None else order[pair]
        numbers = sorted(lines.number(int(row)) for row in rows)
        both = " and ".join(f"{found.names[code[each]]}:{start[each]}-{end[each]}" for each in pair)
        raise _overlap(lines.name, f"{both} in lines {numbers[0]} and {numbers[1]}")
    value = found.value if order is None else found.value[order]
    return Intervals(found.names, code, start, end, value)


def _overlap(file_name: str, found: str) -> InputFormatError:
    return InputFormatError(
        f"{file_name} has two values for the same bases.",
        found=found,
        expected="intervals that do not overlap",
        cause="several tracks in one file, or coordinates that count from 1",
        remedy="merge them, for example with bedtools merge -c 4 -o mean -d -1, or keep one track",
    )


def _parts(counts: NDArray[np.int64]) -> Iterator[slice]:
    """Slices with so many in all that they fit into memory; of one element at least."""
    total = np.cumsum(counts)
    first = 0
    while first < len(counts):
        before = total[first - 1] if first else 0
        last = max(int(np.searchsorted(total, before + _AT_ONCE, side="right")), first + 1)
        yield slice(first, last)
        first = last


def _expanded(
    first: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Which element, and which of first, first + 1, … for each of the counted?"""
    which = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return which, np.arange(len(which)) - before[which] + first[which]
