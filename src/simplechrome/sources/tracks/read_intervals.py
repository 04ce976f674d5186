"""BED-like files of reads or fragments to reads per bin."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simplechrome.errors import ConfigError
from simplechrome.sources.tracks.counting import Reads, bin_edges, count_reads
from simplechrome.sources.tracks.read_interval_lines import ReadIntervals, read_interval_lines
from simplechrome.sources.tracks.read_rule import ReadRule
from simplechrome.sources.tracks.windows import BinnedTrack, Windows

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
