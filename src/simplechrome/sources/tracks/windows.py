"""Windows around genes, what a track holds in them, and how much of them is blacklisted.

Readers of tracks work in the genome's direction, left to right, under the track's own chromosome
names; `Windows.along_genes` turns the result into the direction of transcription.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simplechrome.errors import ConfigError, InputFormatError
from simplechrome.sources.text import open_text

logger = logging.getLogger("simplechrome.sources.tracks")

Gaps = Literal["auto", "zero", "missing"]
GAPS: tuple[Gaps, ...] = get_args(Gaps)
Sizes = Mapping[str, int] | None
"""Lengths of chromosomes, for files that do not hold them."""
Progress = Callable[[float], object] | None
"""Called with the fraction of the work done."""

_MOSTLY_PARTIAL = 0.5


class BinnedTrack(NamedTuple):
    """What a track holds in each window, left to right on the genome.

    values : (gene, bin), float64; 0 where there are no data
    observed : (gene,), float32, the fraction of the window's bases that have data
    depth : library size (reads that count, of the whole file) or total signal; NaN if unknown
    units : `reads` or `mean_signal`
    """

    values: NDArray[np.float64]
    observed: NDArray[np.float32]
    depth: float
    units: str


class ChromWindows(NamedTuple):
    """The windows on one chromosome, sorted by start.

    rows : (window,), their positions among all genes
    starts : (window,), first base, 0-based; may be negative, or lie behind the chromosome's end
    """

    rows: NDArray[np.intp]
    starts: NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """Windows of equal bins around the TSS of each gene.

    chrom : (gene,), names as strings; "" where a gene cannot be placed on this track
    start : (gene,), int64, the leftmost base on the genome; may be negative
    backwards : (gene,), bool, True on the minus strand, where bins run from right to left
    n_bins, bin_size : bins in a window, bases in a bin
    """

    chrom: NDArray[np.object_]
    start: NDArray[np.int64]
    backwards: NDArray[np.bool_]
    n_bins: int
    bin_size: int

    @classmethod
    def around_tss(cls, genes: pd.DataFrame, *, flank: int = 5000, bin_size: int = 100) -> Windows:
        """Return the windows of these genes.

        On the plus strand, and where the strand is not known, [tss - flank, tss + flank); on the
        minus strand [tss - flank + 1, tss + flank + 1) read backwards, so that base `tss` is always
        the first of offset 0.

        Parameters
        ----------
        genes
            With chrom, tss (0-based) and strand, as `read_genes` returns them.
        flank, bin_size
            Bases; the flank, to either side, is a multiple of the bin size.

        Raises
        ------
        ConfigError
            If `flank` is not a multiple of `bin_size`, or one of them is below 1.
        """
        if bin_size < 1 or flank < 1 or flank % bin_size:
            raise ConfigError(
                f"Windows of flank {flank} cannot be cut into bins of {bin_size}: the flank must "
                "be a multiple of the bin size, both 1 or more.",
                "for example --flank 5000 --bin-size 100, or --flank 20000 --bin-size 200",
            )
        backwards = (genes["strand"] == "-").to_numpy()
        start = genes["tss"].to_numpy(np.int64) - flank + backwards
        chrom = genes["chrom"].to_numpy(object)
        return cls(chrom, start, backwards, 2 * flank // bin_size, bin_size)

    def __len__(self) -> int:
        return len(self.start)

    @property
    def width(self) -> int:
        """Bases in a window."""
        return self.n_bins * self.bin_size

    def renamed(self, names: Mapping[str, str]) -> Windows:
        """Return these windows on a track with other chromosome names.

        Chromosomes that `names` does not hold become "".
        """
        unique, codes = np.unique(self.chrom.astype(str), return_inverse=True)
        theirs = np.array([names.get(str(name), "") for name in unique], dtype=object)
        return replace(self, chrom=theirs[codes])

    def by_chromosome(self) -> Iterator[tuple[str, ChromWindows]]:
        """Yield the windows of each chromosome; those without one are skipped."""
        names = self.chrom.astype(str)
        for name in np.unique(names):
            if name:
                rows = np.flatnonzero(names == name)
                rows = rows[np.argsort(self.start[rows], kind="stable")]
                yield str(name), ChromWindows(rows, self.start[rows])

    def stretches(
        self, windows: ChromWindows, *, join_within: int = 0, size: int | None = None
    ) -> NDArray[np.int64]:
        """Return the stretches of the chromosome that hold all these windows.

        Parameters
        ----------
        join_within
            Windows with up to this many bases between them become one stretch.
        size
            The chromosome's length, where it is known: stretches end there.

        Returns
        -------
        (stretch, 2), start and end, sorted, disjoint, none empty.
        """
        starts, ends = windows.starts, windows.starts + self.width
        if size is not None:
            ends = np.minimum(ends, size)
        starts = np.maximum(starts, 0)
        inside = starts < ends
        starts, ends = starts[inside], ends[inside]
        if not starts.size:
            return np.empty((0, 2), np.int64)
        reach = np.maximum.accumulate(ends)
        first = np.r_[True, starts[1:] > reach[:-1] + join_within]
        return np.stack([starts[first], reach[np.r_[first[1:], True]]], axis=1)

    def inside(self, sizes: Mapping[str, int]) -> NDArray[np.float32]:
        """Return the fraction of each window's bases that lies on its chromosome.

        (gene,), 0 where the chromosome is not among `sizes`.
        """
        unique, codes = np.unique(self.chrom.astype(str), return_inverse=True)
        size = np.array([sizes.get(str(name), 0) for name in unique], np.int64)[codes]
        bases = np.minimum(self.start + self.width, size) - np.maximum(self.start, 0)
        return (np.maximum(bases, 0) / self.width).astype(np.float32)

    def along_genes(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values (gene, bin), given left to right, in the direction of transcription."""
        turned = values.copy()
        turned[self.backwards] = values[self.backwards, ::-1]
        return turned


def settle_gaps(
    covered: NDArray[np.int64], windows: Windows, sizes: Mapping[str, int], gaps: Gaps, name: str
) -> NDArray[np.float32]:
    """Return the fraction of each window that is observed, once it is clear what gaps mean.

    Many programs write no zeros into a track. Such a track is full of holes: most windows that hold
    data at all have some. A track of some regions only has holes at their edges.

    Parameters
    ----------
    covered : (gene,), bases of each window that the track gives a value for
    gaps
        `zero`: bases without data hold zeros that were not written; `missing`: they were never
        measured; `auto` takes them for zeros where more than half of the windows with data have
        some.

    Returns
    -------
    (gene,), 0 to 1.
    """
    inside = windows.inside(sizes)
    observed = np.minimum((covered / windows.width).astype(np.float32), inside)
    with_data = observed > 0
    partial = with_data & (observed < inside - 1e-6)
    zeros = gaps == "zero"
    if gaps == "auto":
        zeros = bool(partial.sum() > _MOSTLY_PARTIAL * max(1, with_data.sum()))
    if not zeros:
        return observed
    if (observed < inside).any():
        logger.info(
            "%s: bases without data are taken for zeros; %d of the %d windows with data lack some",
            *(name, int((with_data & (observed < inside)).sum()), int(with_data.sum())),
        )
    return inside


_DIGITS = 18  # of a place that 64 bits hold


def read_regions(path: str | Path) -> pd.DataFrame:
    """Return the regions of a BED file, as of a blacklist.

    Returns
    -------
    chrom, start, end: 0-based and half-open, in file order.

    Raises
    ------
    InputFormatError
        If the file is empty, or a line is not a region.
    """
    file = Path(path)
    rows: list[tuple[str, int, int]] = []
    with open_text(file) as lines:
        for number, line in enumerate(lines, start=1):
            if line.isspace() or line.startswith(("#", "track", "browser")):
                continue
            fields = line.rstrip("\n").split("\t") if "\t" in line else line.split()
            whole = len(fields) >= 3 and all(
                text.strip().isdecimal() and len(text) < _DIGITS for text in fields[1:3]
            )
            if not whole or int(fields[1]) >= int(fields[2]):
                raise InputFormatError(
                    f"{file.name}, line {number} is not a region of a BED file: "
                    f"{line.strip()[:60]!r}.",
                    "each line needs a chromosome, a start and an end above it, separated by tabs",
                )
            rows.append((fields[0].strip(), int(fields[1]), int(fields[2])))
    if not rows:
        raise InputFormatError(f"{file.name} holds no regions.", "BED has a line per region")
    return pd.DataFrame(rows, columns=["chrom", "start", "end"])


def blacklisted_share(windows: Windows, regions: pd.DataFrame) -> NDArray[np.float32]:
    """Return the fraction of each window's bases that lies in one of the regions.

    Windows and regions use the same chromosome names; regions may overlap each other.
    """
    share = np.zeros(len(windows), np.float32)
    by_chrom = dict(list(regions.groupby("chrom", sort=False)))
    for chrom, there in windows.by_chromosome():
        if chrom not in by_chrom:
            continue
        own = by_chrom[chrom].sort_values("start")
        start, end = own["start"].to_numpy(np.int64), own["end"].to_numpy(np.int64)
        reach = np.maximum.accumulate(end)
        first = np.r_[True, start[1:] > reach[:-1]]
        start, end = start[first], reach[np.r_[first[1:], True]]  # disjoint now
        # Bases covered up to a place grow by one a base inside a region, and stay outside.
        borders = np.stack([start, end], axis=1).ravel()
        up_to = np.repeat(np.cumsum(end - start), 2)
        up_to[::2] -= end - start
        places = there.starts[:, None] + [0, windows.width]
        bases = np.diff(np.interp(places, borders, up_to), axis=1)[:, 0]
        share[there.rows] = bases / windows.width
    return share
