"""BED-like files of reads or fragments to reads per bin."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from simplechrome.errors import ConfigError, InputFormatError
from simplechrome.sources.tracks.bedgraph import Lines, read_lines
from simplechrome.sources.tracks.counting import Reads, bin_edges, count_reads
from simplechrome.sources.tracks.read_rule import ReadRule
from simplechrome.sources.tracks.windows import BinnedTrack, Windows

_STRAND = 5  # its column, from 0
_FARTHEST = 1 << 32  # no chromosome is longer
_NOT_DATA = re.compile(rb"^(?:#|track\b|browser\b)[^\n]*\n?", re.MULTILINE)
_BLANKS = re.compile(rb" +")


class ReadIntervals(NamedTuple):
    """Some lines of a BED-like file, in the order of the file.

    names : chromosome names
    code : (read,), which of the names
    starts, ends : (read,), 0-based, half-open, none empty
    backwards : (read,), True on the minus strand; False for all where strands were not asked for
    """

    names: list[str]
    code: NDArray[np.int32]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    backwards: NDArray[np.bool_]


def read_interval_lines(path: Path, *, stranded: bool) -> Iterator[tuple[ReadIntervals, float]]:
    """Which reads does a BED-like file hold, some megabytes of it at a time?

    Columns are separated by tabs, or by blanks where a part's first line has no tab. Lines that
    begin with `#`, `track` or `browser` are passed over wherever they stand.

    Parameters
    ----------
    stranded
        The strand, column 6, is asked for.

    Returns
    -------
    Reads, and which share of the file has been read by their end.

    Raises
    ------
    MissingInputError
        If the file is not there or can't be opened.
    InputFormatError
        If it is empty, damaged or no text, or a line is no read.
    """
    for lines in read_lines(path):
        try:
            found = _parse(lines.data, stranded)
        except (pa.ArrowInvalid, UnicodeDecodeError):
            found = None
        if found is None or _any_wrong(found):
            found = _parse_slowly(lines, stranded)
        yield found, lines.share


def _any_wrong(found: ReadIntervals) -> bool:
    wrong = (found.starts < 0) | (found.starts >= found.ends) | (found.ends >= _FARTHEST)
    return bool(wrong.any())


def _parse(data: bytes, stranded: bool) -> ReadIntervals | None:
    """By pyarrow; None where a strand is missing or is none."""
    if b"#" in data or b"track" in data or b"browser" in data:
        data = _NOT_DATA.sub(b"", data)
    data = data.lstrip()
    first_line = data.split(b"\n", 1)[0]
    if b"\t" not in first_line:
        data = _BLANKS.sub(b"\t", data)
    n_columns = len(first_line.split(b"\t" if b"\t" in first_line else None))
    if not n_columns:
        empty = np.zeros(0, np.int64)
        return ReadIntervals([], empty.astype(np.int32), empty, empty, empty.astype(bool))
    if n_columns < 3 or (stranded and n_columns <= _STRAND):
        return None
    text = pa.dictionary(pa.int32(), pa.string())
    types = {"f0": text, "f1": pa.int64(), "f2": pa.int64()}
    if stranded:
        types[f"f{_STRAND}"] = text
    table = csv.read_csv(
        pa.BufferReader(data),
        # One thread: a track is one process's work among others.
        read_options=csv.ReadOptions(autogenerate_column_names=True, use_threads=False),
        parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
        convert_options=csv.ConvertOptions(
            column_types=types, include_columns=list(types), null_values=[]
        ),
    )
    table = table.unify_dictionaries().combine_chunks()
    chrom = table["f0"].combine_chunks()
    backwards = np.zeros(table.num_rows, bool)
    if stranded:
        strand = table[f"f{_STRAND}"].combine_chunks()
        signs = strand.dictionary.to_pylist()
        if not set(signs) <= {"+", "-"}:
            return None
        backwards = np.array([sign == "-" for sign in signs])[strand.indices.to_numpy()]
    return ReadIntervals(
        chrom.dictionary.to_pylist(),
        chrom.indices.to_numpy(),
        table["f1"].to_numpy(),
        table["f2"].to_numpy(),
        backwards,
    )


def _parse_slowly(lines: Lines, stranded: bool) -> ReadIntervals:
    """Line by line: to find the line that is wrong, or to read what the fast way can't."""
    codes: dict[str, int] = {}
    rows = []
    for number, line in enumerate(lines.data.split(b"\n"), start=lines.first):
        if not line.strip() or _NOT_DATA.match(line):
            continue
        text = line.strip(b"\r").decode(errors="replace")
        fields = [field.strip() for field in text.split("\t")] if "\t" in text else text.split()
        if len(fields) < 3:
            _refuse(lines.name, number, text, f"{len(fields)} columns")
        if stranded and len(fields) <= _STRAND:
            _refuse_unstranded(lines.name, number, text, f"{len(fields)} columns")
        try:
            start, end = int(fields[1]), int(fields[2])
        except ValueError:
            _refuse(lines.name, number, text, "columns 2 and 3 are not both whole numbers")
        if not 0 <= start < end < _FARTHEST:
            _refuse(lines.name, number, text, f"start {start}, end {end}")
        sign = fields[_STRAND] if stranded else ""
        if stranded and sign not in ("+", "-"):
            _refuse_unstranded(lines.name, number, text, f"{sign!r} in column 6")
        rows.append((codes.setdefault(fields[0], len(codes)), start, end, sign == "-"))
    code, starts, ends, backwards = zip(*rows, strict=True) if rows else ((), (), (), ())
    return ReadIntervals(
        list(codes),
        np.array(code, np.int32),
        np.array(starts, np.int64),
        np.array(ends, np.int64),
        np.array(backwards, bool),
    )


def _refuse(name: str, number: int, text: str, found: str) -> NoReturn:
    raise InputFormatError(
        f"{name}, line {number} is not a read in a BED-like format.",
        found=f"{found}: {text[:80]!r}",
        expected="chromosome, start, end (0-based, half-open, start < end), separated by tabs",
        cause="another format, coordinates that count from 1, or a line cut off or damaged",
        remedy="mend or remove the line, or say what the file is in the sheet's column format",
    )


def _refuse_unstranded(name: str, number: int, text: str, found: str) -> NoReturn:
    raise InputFormatError(
        f"{name}, line {number}: a read without a strand has no 5' end.",
        found=f"{found}: {text[:80]!r}",
        expected="+ or - in column 6, as in BED6 and tagAlign",
        cause="a file of fragments or peaks, or BED with fewer columns",
        remedy="count by overlap or, if these are whole fragments, by midpoint",
    )


# So many are kept before they are counted: 17 bytes each, some 200 MB with the sorted copies.
_READS_AT_ONCE = 4_000_000
_ENDLESS = 1 << 62


class _Counts:
    """Reads per bin, as the reads come."""

    def __init__(self, windows: Windows, rule: ReadRule, sizes: Mapping[str, int]) -> None:
        self.values = np.zeros((len(windows), windows.n_bins))
        self._windows = windows
        self._rule = rule
        self._sizes = sizes
        self._by_chromosome = dict(windows.by_chromosome())
        reach = abs(rule.shift)  # a shifted end counts so far from the read it belongs to
        self._stretches = {
            name: windows.stretches(each, join_within=2 * reach) + np.array([-reach, reach])
            for name, each in self._by_chromosome.items()
        }
        self._waiting: dict[str, list[Reads]] = defaultdict(list)
        self._n_waiting = 0

    def add(self, found: ReadIntervals) -> None:
        for name, reads in _by_name(found):
            if name in self._stretches:
                kept = _touching(reads, self._stretches[name])
                self._waiting[name].append(kept)
                self._n_waiting += len(kept.starts)
        if self._n_waiting >= _READS_AT_ONCE:
            self.count()

    def count(self) -> None:
        """Count what waits."""
        for name, parts in self._waiting.items():
            reads = Reads(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
            there = self._by_chromosome[name]
            edges = bin_edges(there.starts, self._windows.n_bins, self._windows.bin_size)
            size = self._sizes.get(name)
            self.values[there.rows] += count_reads(reads, self._rule, edges, size=size)
        self._waiting.clear()
        self._n_waiting = 0


def _by_name(found: ReadIntervals) -> Iterator[tuple[str, Reads]]:
    """Which reads are on each chromosome?"""
    order = np.argsort(found.code, kind="stable")
    cuts = np.searchsorted(found.code, np.arange(len(found.names) + 1), sorter=order)
    for name, first, last in zip(found.names, cuts[:-1], cuts[1:], strict=True):
        rows = order[first:last]
        yield name, Reads(found.starts[rows], found.ends[rows], found.backwards[rows])


def _touching(reads: Reads, stretches: NDArray[np.int64]) -> Reads:
    """Which reads touch one of these sorted, disjoint stretches?"""
    begins, ends = stretches.T
    nearest = np.searchsorted(ends, reads.starts, side="right")
    touch = np.append(begins, _ENDLESS)[nearest] < reads.ends
    return Reads(reads.starts[touch], reads.ends[touch], reads.backwards[touch])


def bin_read_intervals(
    path: str | Path,
    windows: Windows,
    rule: ReadRule,
    *,
    sizes: Mapping[str, int] | None = None,
    progress: Callable[[float], object] | None = None,
) -> BinnedTrack:
    """How many reads of a BED-like file are in each bin of each window?

    BED, tagAlign and fragment files (chromosome, start, end, barcode, count), packed or not, in
    any order. Each line is one read: column 5, be it a score or how often a fragment was seen, is
    ignored, so that duplicates that were collapsed count once, as the rule has it for BAM. Files
    of this kind mark no duplicates, secondary alignments or failed reads: all lines count.

    Memory is bounded: reads that touch no window are dropped as they come.

    Parameters
    ----------
    path
        A file of lines; see `read_interval_lines` for what is passed over.
    windows
        Under the file's own chromosome names.
    rule
        `five-prime` needs strands; `midpoint` takes each line for a fragment.
    sizes
        Lengths of chromosomes, which such files do not say. Without a length, only the bases before
        a chromosome's first count as outside.
    progress
        Called with the share of the work done, 0 to 1.

    Returns
    -------
    Whole numbers, in units of reads; `observed` is the share of a window that lies on its
    chromosome, 0 for chromosomes that do not occur in the file; `depth` is the number of lines.

    Raises
    ------
    ConfigError
        If the rule asks for a mapping quality: scores in column 5 are none.
    MissingInputError
        If the file is not there or can't be opened.
    InputFormatError
        If it is empty, damaged or no text, or a line is no read or lacks the strand it needs.
    """
    path = Path(path)
    if rule.min_mapping_quality:
        raise ConfigError(
            f"{path.name} has no mapping qualities, of which "
            f"{rule.min_mapping_quality} or more is asked for.",
            cause="the scores in column 5 of BED and tagAlign are something else",
            remedy="filter when the file is made (samtools view -q), or read the BAM itself",
        )
    sizes = sizes or {}
    counts = _Counts(windows, rule, sizes)
    names: set[str] = set()
    n_reads = 0
    for found, share in read_interval_lines(path, stranded=rule.count == "five-prime"):
        names.update(found.names)
        n_reads += len(found.starts)
        counts.add(found)
        if progress:
            progress(share)
    counts.count()
    if progress:
        progress(1.0)
    observed = windows.inside({name: sizes.get(name, _ENDLESS) for name in names})
    return BinnedTrack(counts.values, observed, float(n_reads), "reads")
