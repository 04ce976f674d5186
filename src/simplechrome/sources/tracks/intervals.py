"""Lines of intervals: bedGraph to the mean signal, and BED-like files to the reads, of each bin.

Both are read by pyarrow, some megabytes at a time. A part that it cannot read, or in which a line
is wrong, is read once more line by line, which accepts more and finds the faulty line.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from simplechrome.errors import ConfigError, InputFormatError
from simplechrome.sources.text import open_text
from simplechrome.sources.tracks.readers import ReadingOptions, TrackReader, columns_of
from simplechrome.sources.tracks.reads import ReadRule, Reads, bin_edges, count_reads
from simplechrome.sources.tracks.windows import (
    BinnedTrack,
    ChromWindows,
    Gaps,
    Progress,
    Sizes,
    Windows,
    logger,
    settle_gaps,
)

_CHUNK = 1 << 23
_LONGEST_LINE = 1 << 16
_FARTHEST = 1 << 32  # no chromosome is longer
_ENDLESS = 1 << 62
_NOT_DATA = re.compile(rb"^(?:#|track\b|browser\b)[^\n]*\n?", re.MULTILINE)
_BLANKS = re.compile(rb" +")
_VALUE, _STRAND = 3, 5  # columns, from 0

Content = Literal["signal", "reads", "stranded reads"]


class Intervals(NamedTuple):
    """Some lines of a file, in its order.

    names : chromosome names
    code : (interval,), which of the names
    start, end : (interval,), 0-based, half-open, none empty
    value : (interval,), float64: the signal; of stranded reads 1 or -1, of others 0
    """

    names: list[str]
    code: NDArray[np.int32]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    value: NDArray[np.float64]

    def take(self, rows: NDArray[Any]) -> Intervals:
        """Return some of the rows, by index or mask."""
        return Intervals(self.names, *(column[rows] for column in self[1:]))

    def by_chromosome(self) -> Iterator[tuple[str, Intervals]]:
        """Yield the intervals of each chromosome that occurs, in the order of the file."""
        order = np.argsort(self.code, kind="stable")
        cuts = np.searchsorted(self.code, np.arange(len(self.names) + 1), sorter=order)
        for name, first, last in zip(self.names, cuts[:-1], cuts[1:], strict=True):
            if last > first:
                yield name, self.take(order[first:last])


class Lines(NamedTuple):
    """A part of the file.

    first : number of its first line, counted from 1
    share : fraction of the file before its end; 0 where that is unknown
    """

    data: bytes
    first: int
    share: float
    name: str

    def records(self) -> Iterator[tuple[int, str, list[str]]]:
        """Yield number, text and fields of each line that is not a comment."""
        for number, line in enumerate(self.data.split(b"\n"), start=self.first):
            text = line.strip().decode(errors="replace")
            if text and not _NOT_DATA.match(line):
                # A name in a BED-like line may hold blanks.
                fields = [field.strip() for field in text.split("\t")]
                yield number, text, fields if len(fields) > 2 else text.split()


def read_lines(path: Path) -> Iterator[Lines]:
    """Yield the lines of a file, plain or packed, a few megabytes at a time.

    Raises what `open_text` does, and InputFormatError for a line without end.
    """
    with open_text(path) as text:
        # Bytes, which need no decoding here; damage is still reported by `open_text`.
        stream = text.buffer
        size = path.stat().st_size
        rest, first = b"", 1
        while block := stream.read(_CHUNK):
            if first == 1 and not rest:
                block = block.removeprefix(b"\xef\xbb\xbf")
            whole, newline, rest = (rest + block).rpartition(b"\n")
            if newline:
                yield Lines(whole, first, _share_read(stream, size), path.name)
                first += whole.count(b"\n") + 1
            elif len(rest) > _LONGEST_LINE:
                raise InputFormatError(
                    f"{path.name}, line {first} has more than {_LONGEST_LINE:,} bytes and does not "
                    "end in \\n or \\r\\n.",
                    "if it is text, convert it, for example with dos2unix -c mac",
                )
        if rest:
            yield Lines(rest, first, 1.0, path.name)


def _share_read(stream: Any, size: int) -> float:
    """By the place in the file itself, packed or not."""
    raw = getattr(stream, "raw", stream)
    packed = getattr(raw, "fileobj", None) or getattr(raw, "_fp", None) or raw
    try:
        return min(packed.seek(0, 1) / size, 1.0) if size else 0.0
    except OSError:  # a pipe
        return 0.0


def parse_intervals(lines: Lines, content: Content) -> Intervals:
    """Return the intervals of these lines; InputFormatError names a line that is none.

    Columns are separated by tabs, or by blanks where the part's first line has no tab. A bedGraph
    has four columns; BED-like files have three or more, and the strand in the sixth.
    """
    try:
        found = _parse_quickly(lines.data, content)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        found = None
    if found is not None:
        wrong = (found.start < 0) | (found.start >= found.end) | (found.end >= _FARTHEST)
        if not wrong.any() and np.isfinite(found.value).all():
            return found
    return _parse_slowly(lines, content)


def _parse_quickly(data: bytes, content: Content) -> Intervals | None:
    """By pyarrow; None where the first line has too few columns, or a strand is neither + nor -."""
    if b"#" in data or b"track" in data or b"browser" in data:
        data = _NOT_DATA.sub(b"", data)
    data = data.lstrip()
    first_line = data.partition(b"\n")[0]
    if b"\t" not in first_line:
        first_line, data = _BLANKS.sub(b"\t", first_line), _BLANKS.sub(b"\t", data)
    if not data:
        nothing = np.zeros(0, np.int64)
        return Intervals([], nothing.astype(np.int32), nothing, nothing, np.zeros(0))
    n_columns = first_line.count(b"\t") + 1
    text = pa.dictionary(pa.int32(), pa.string())
    types = {"0": text, "1": pa.int64(), "2": pa.int64()}
    if content == "signal":
        types[str(_VALUE)] = pa.float64()
    elif content == "stranded reads":
        types[str(_STRAND)] = text
    if n_columns <= int(max(types)) or (content == "signal" and n_columns != _VALUE + 1):
        return None
    table = csv.read_csv(
        pa.BufferReader(data),
        # One thread: a track is one process's work among others.
        read_options=csv.ReadOptions(
            column_names=[str(column) for column in range(n_columns)], use_threads=False
        ),
        parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
        convert_options=csv.ConvertOptions(
            column_types=types, include_columns=list(types), null_values=[]
        ),
    )
    table = table.unify_dictionaries().combine_chunks()
    chrom = table["0"].combine_chunks()
    value = np.zeros(table.num_rows)
    if content == "signal":
        value = table[str(_VALUE)].to_numpy()
    elif content == "stranded reads":
        strand = table[str(_STRAND)].combine_chunks()
        signs = strand.dictionary.to_pylist()
        if not set(signs) <= {"+", "-"}:
            return None
        value = np.array([1.0 if sign == "+" else -1.0 for sign in signs])[
            strand.indices.to_numpy()
        ]
    return Intervals(
        chrom.dictionary.to_pylist(),
        chrom.indices.to_numpy(),
        table["1"].to_numpy(),
        table["2"].to_numpy(),
        value,
    )


def _parse_slowly(lines: Lines, content: Content) -> Intervals:
    codes: dict[str, int] = {}
    rows = []
    for number, text, fields in lines.records():
        value, fault = 0.0, ""
        try:
            start, end = int(fields[1]), int(fields[2])
            if content == "signal":
                value = float(fields[_VALUE])
        except IndexError:
            fault = f"{len(fields)} columns"
        except ValueError:
            columns = "2 to 4" if content == "signal" else "2 and 3"
            fault = f"text in columns {columns}, where numbers belong"
        else:
            if content == "signal" and len(fields) > _VALUE + 1:
                fault = f"{len(fields)} columns"
            elif not 0 <= start < end < _FARTHEST:
                fault = f"start {start} and end {end}"
            elif not math.isfinite(value):
                fault = f"the value {value}"
        if fault:
            raise InputFormatError(
                f"{lines.name}, line {number} is not "
                f"{_A_VALUE if content == 'signal' else _A_READ}: it has {fault}: {text[:80]!r}.",
                "correct the line, or name the format of the file in the sheet's column format",
            )
        if content == "stranded reads":
            sign = fields[_STRAND] if len(fields) > _STRAND else ""
            if sign not in ("+", "-"):
                raise InputFormatError(
                    f"{lines.name}, line {number} has {sign or 'nothing'!r} in column 6 and not "
                    f"the strand + or -, without which a read has no 5' end: {text[:80]!r}.",
                    "count by overlap or, if these are whole fragments, by midpoint",
                )
            value = 1.0 if sign == "+" else -1.0
        rows.append((codes.setdefault(fields[0], len(codes)), start, end, value))
    found = zip(*rows, strict=True) if rows else ((), (), (), ())
    kinds = (np.int32, np.int64, np.int64, np.float64)
    return Intervals(list(codes), *map(np.array, found, kinds))


_A_READ = "a read in a BED-like format (chromosome, start, end; 0-based, start < end)"
_A_VALUE = (
    "an interval of a bedGraph (chromosome, start, end and a finite value; 0-based, start < end)"
)


def bin_bedgraph(
    path: str | Path,
    windows: Windows,
    *,
    gaps: Gaps = "auto",
    sizes: Sizes = None,
    progress: Progress = None,
) -> BinnedTrack:
    """Return the mean signal of each bin by a bedGraph.

    The file may be packed (gzip, bgzip, bzip2, xz) and in any order; lines that begin with `#`,
    `track` or `browser` are skipped wherever they stand. Bases without data, and those outside
    the chromosome, count as 0 in the mean. Windows on chromosomes that do not occur in the file
    are 0 and unobserved.

    Parameters
    ----------
    windows
        Under the file's own chromosome names.
    gaps
        What bases without data mean; see `settle_gaps`.
    sizes
        Signal beyond a chromosome's end is dropped with a warning. Without a length, only bases
        before a chromosome's first count as outside.

    Returns
    -------
    Units `mean_signal`; the depth is the signal of the whole file (value × bases, summed).

    Raises
    ------
    InputFormatError
        If it is not a bedGraph, damaged or empty, or if intervals overlap. Those far apart in an
        unsorted file are compared only where they touch a window.
    """
    path, sizes = Path(path), sizes or {}
    binning = _SignalBinning(windows, sizes, path.name)
    for lines in read_lines(path):
        binning.add(_sorted(parse_intervals(lines, "signal"), lines))
        if progress:
            progress(lines.share)
    if progress:
        progress(1.0)
    return binning.finish(gaps)


class _SignalBinning:
    """Sums over bins, as the intervals come.

    names : chromosomes that occur
    sums : (gene · bin,), value × bases
    covered : (gene,), bases with data
    depth : value × bases over the whole file
    """

    def __init__(self, windows: Windows, sizes: Mapping[str, int], file_name: str) -> None:
        self.names: set[str] = set()
        self.sums = np.zeros(len(windows) * windows.n_bins)
        self.covered = np.zeros(len(windows), np.int64)
        self.depth = 0.0
        self._windows, self._sizes, self._file_name = windows, sizes, file_name
        self._by_chromosome = dict(windows.by_chromosome())
        # Runs of intervals that touch a window: all that is needed to find overlaps at the end.
        self._runs: dict[str, list[NDArray[np.int64]]] = defaultdict(list)
        self._n_beyond, self._first_beyond = 0, ""

    def add(self, found: Intervals) -> None:
        """Take in intervals sorted by chromosome and start."""
        found = self._clipped(found)
        self.depth += float(np.dot(found.value, found.end - found.start))
        for name, own in found.by_chromosome():
            self.names.add(name)
            if name in self._by_chromosome:
                self._add_chromosome(self._by_chromosome[name], name, own)

    def _clipped(self, found: Intervals) -> Intervals:
        """Cut off what reaches over a chromosome's end, and remember it for the warning."""
        size = np.array([self._sizes.get(name, _ENDLESS) for name in found.names], np.int64)
        limit = size[found.code]
        beyond = np.flatnonzero(found.end > limit)
        if not beyond.size:
            return found
        first = beyond[0]
        self._n_beyond += beyond.size
        self._first_beyond = self._first_beyond or (
            f"{found.names[found.code[first]]}:{found.start[first]}-{found.end[first]}, "
            f"where the chromosome has {limit[first]:,} bases"
        )
        return found._replace(end=np.minimum(found.end, limit)).take(found.start < limit)

    def _add_chromosome(self, there: ChromWindows, name: str, own: Intervals) -> None:
        n_bins, bin_size, width = self._windows.n_bins, self._windows.bin_size, self._windows.width
        # Windows are of one width, so those that an interval touches follow each other.
        first = np.searchsorted(there.starts, own.start - width, side="right")
        n_windows = np.searchsorted(there.starts, own.end, side="left") - first
        touching = n_windows > 0
        if not touching.any():
            return
        own, first, n_windows = own.take(touching), first[touching], n_windows[touching]
        begins = np.flatnonzero(np.r_[True, own.start[1:] != own.end[:-1]])
        ends = np.r_[begins[1:], len(own.end)] - 1
        self._runs[name].append(np.stack([own.start[begins], own.end[ends]], axis=1))
        for interval, window in _pairs(first, n_windows):
            rows, origin, value = there.rows[window], there.starts[window], own.value[interval]
            left = np.maximum(own.start[interval] - origin, 0)
            right = np.minimum(own.end[interval] - origin, width)
            np.add.at(self.covered, rows, right - left)
            first_bin = left // bin_size
            for pair, column in _pairs(first_bin, (right - 1) // bin_size - first_bin + 1):
                edge = column * bin_size
                bases = np.minimum(right[pair], edge + bin_size) - np.maximum(left[pair], edge)
                np.add.at(self.sums, rows[pair] * n_bins + column, bases * value[pair])

    def finish(self, gaps: Gaps) -> BinnedTrack:
        """Check what only the whole file shows, and return the means."""
        if not self.names:
            raise InputFormatError(
                f"{self._file_name} holds no intervals, only comments, track lines or empty lines.",
                "make it again: the program that wrote it failed, or was given no data",
            )
        for name, pieces in self._runs.items():
            runs = np.concatenate(pieces)
            runs = runs[np.argsort(runs[:, 0], kind="stable")]
            wrong = np.flatnonzero(runs[1:, 0] < runs[:-1, 1])
            if wrong.size:
                place = f"{name}:{runs[wrong[0] + 1, 0]:,}"
                raise _overlap(self._file_name, f"at {place}, in lines that are far apart")
        if self._n_beyond:
            logger.warning(
                "%s: %d intervals reach over their chromosome's end, and what lies beyond it is "
                "dropped; the first: %s. Is it of another assembly?",
                *(self._file_name, self._n_beyond, self._first_beyond),
            )
        sizes = {name: self._sizes.get(name, _ENDLESS) for name in self.names}
        observed = settle_gaps(self.covered, self._windows, sizes, gaps, self._file_name)
        values = self.sums.reshape(-1, self._windows.n_bins) / self._windows.bin_size
        return BinnedTrack(values, observed, self.depth, "mean_signal")


def _sorted(found: Intervals, lines: Lines) -> Intervals:
    """By chromosome and start, and without overlaps."""
    order = np.arange(len(found.code))
    if np.any(
        (found.code[1:] < found.code[:-1])
        | ((found.code[1:] == found.code[:-1]) & (found.start[1:] < found.start[:-1]))
    ):
        order = np.lexsort((found.start, found.code))
        found = found.take(order)
    code, start, end = found.code, found.start, found.end
    wrong = np.flatnonzero((code[1:] == code[:-1]) & (start[1:] < end[:-1]))
    if wrong.size:
        pair = [wrong[0], wrong[0] + 1]
        numbers = [number for number, *_ in lines.records()]
        first, second = sorted(numbers[row] for row in order[pair])
        both = " and ".join(f"{found.names[code[each]]}:{start[each]}-{end[each]}" for each in pair)
        raise _overlap(lines.name, f"{both} in lines {first} and {second}")
    return found


def _overlap(file_name: str, found: str) -> InputFormatError:
    return InputFormatError(
        f"{file_name} has two values for the same bases: {found}.",
        "merge them, for example with bedtools merge -c 4 -o mean -d -1, or keep one track",
    )


_PAIRS_AT_ONCE = 1 << 20  # some 100 bytes each


def _pairs(
    first: NDArray[np.int64], counts: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int64]]]:
    """Pair each element with first, first + 1, …, as many as it counts; some at a time."""
    total = np.cumsum(counts)
    start = 0
    while start < len(counts):
        before = total[start - 1] if start else 0
        stop = int(np.searchsorted(total, before + _PAIRS_AT_ONCE, side="right"))
        part = slice(start, max(stop, start + 1))
        which = np.repeat(np.arange(start, part.stop), counts[part])
        nth = np.arange(len(which)) - (total - counts)[which] + before
        yield which, nth + first[which]
        start = part.stop


# So many reads are kept before they are counted: 17 bytes each, some 200 MB with sorted copies.
_READS_AT_ONCE = 4_000_000


def bin_read_intervals(
    path: str | Path,
    windows: Windows,
    rule: ReadRule,
    *,
    sizes: Sizes = None,
    progress: Progress = None,
) -> BinnedTrack:
    """Count the reads of a BED-like file in each bin of each window.

    BED, tagAlign and fragment files (chromosome, start, end, barcode, count), packed or not, in
    any order. Each line is one read: column 5, be it a score or how often a fragment was seen, is
    ignored, so that duplicates that were collapsed count once, like marked ones in a BAM. Files
    of this kind mark no duplicates, secondary alignments or failed reads: all lines count.

    Memory is bounded: reads that touch no window are dropped as they come.

    Parameters
    ----------
    windows
        Under the file's own chromosome names.
    rule
        `five-prime` needs strands; `midpoint` takes each line for a fragment.
    sizes
        Without a length, only the bases before a chromosome's first count as outside.

    Returns
    -------
    Whole numbers, in units of reads; `observed` is the fraction of a window that lies on its
    chromosome, 0 for chromosomes that do not occur in the file; `depth` is the number of lines.

    Raises
    ------
    ConfigError
        If the rule asks for a mapping quality: scores in column 5 are not one.
    InputFormatError
        If it is empty, damaged or not text, or a line is not a read or lacks the strand it needs.
    """
    path, sizes = Path(path), sizes or {}
    refuse_mapping_quality(path.name, rule)
    content: Content = "stranded reads" if rule.count == "five-prime" else "reads"
    counts = _ReadCounts(windows, rule, sizes)
    names: set[str] = set()
    n_reads = 0
    for lines in read_lines(path):
        found = parse_intervals(lines, content)
        names.update(found.names)
        n_reads += len(found.start)
        counts.add(found)
        if progress:
            progress(lines.share)
    counts.count()
    if progress:
        progress(1.0)
    observed = windows.inside({name: sizes.get(name, _ENDLESS) for name in names})
    return BinnedTrack(counts.values, observed, float(n_reads), "reads")


def refuse_mapping_quality(name: str, rule: ReadRule) -> None:
    """Raise `ConfigError` if the rule filters a BED-like file by mapping quality."""
    if rule.min_mapping_quality:
        raise ConfigError(
            f"{name} has no mapping qualities, of which {rule.min_mapping_quality} or more is "
            "asked for: the scores in column 5 of BED and tagAlign are something else.",
            "filter when the file is made (samtools view -q), or read the BAM itself",
        )


class _ReadCounts:
    """Reads per bin, as the reads come."""

    def __init__(self, windows: Windows, rule: ReadRule, sizes: Mapping[str, int]) -> None:
        self.values = np.zeros((len(windows), windows.n_bins))
        self._windows, self._rule, self._sizes = windows, rule, sizes
        self._by_chromosome = dict(windows.by_chromosome())
        reach = abs(rule.shift)  # a shifted end counts so far from the read it belongs to
        self._stretches = {
            name: windows.stretches(each, join_within=2 * reach) + np.array([-reach, reach])
            for name, each in self._by_chromosome.items()
        }
        self._waiting: dict[str, list[Reads]] = defaultdict(list)
        self._n_waiting = 0

    def add(self, found: Intervals) -> None:
        for name, own in found.by_chromosome():
            if name in self._stretches:
                begins, ends = self._stretches[name].T
                nearest = np.searchsorted(ends, own.start, side="right")
                touching = np.append(begins, _ENDLESS)[nearest] < own.end
                start, end, strand = own.start[touching], own.end[touching], own.value[touching]
                self._waiting[name].append(Reads(start, end, strand < 0))
                self._n_waiting += len(start)
        if self._n_waiting >= _READS_AT_ONCE:
            self.count()

    def count(self) -> None:
        """Count the reads that wait."""
        for name, parts in self._waiting.items():
            reads = Reads(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
            there = self._by_chromosome[name]
            edges = bin_edges(there.starts, self._windows.n_bins, self._windows.bin_size)
            size = self._sizes.get(name)
            self.values[there.rows] += count_reads(reads, self._rule, edges, size=size)
        self._waiting.clear()
        self._n_waiting = 0


def _recognizes_bedgraph(head: bytes) -> int:
    if any(line.startswith(b"track") and b"bedgraph" in line.lower() for line in head.splitlines()):
        return 2
    columns = columns_of(head)
    try:
        return int(len(columns) == _VALUE + 1 and math.isfinite(float(columns[_VALUE])))
    except ValueError:
        return 0


def _recognizes_reads(head: bytes) -> int:
    return int(bool(columns_of(head)) and not _recognizes_bedgraph(head))


def _bin_bedgraph(
    path: str, windows: Windows, options: ReadingOptions, sizes: Sizes, progress: Progress
) -> BinnedTrack:
    return bin_bedgraph(path, windows, gaps=options.gaps, sizes=sizes, progress=progress)


def _bin_reads(
    path: str, windows: Windows, options: ReadingOptions, sizes: Sizes, progress: Progress
) -> BinnedTrack:
    return bin_read_intervals(path, windows, options.rule, sizes=sizes, progress=progress)


def _check_reads(path: str, options: ReadingOptions) -> None:
    refuse_mapping_quality(Path(path).name, options.rule)


BEDGRAPH = TrackReader(
    "bedgraph", "bedGraph", (".bedgraph", ".bdg", ".bg"), _recognizes_bedgraph, _bin_bedgraph
)
READS = TrackReader(
    "reads",
    "BED-like reads (BED, tagAlign, fragments)",
    (".bed", ".tagalign", ".fragments"),
    _recognizes_reads,
    _bin_reads,
    check=_check_reads,
    counts_reads=True,
)
