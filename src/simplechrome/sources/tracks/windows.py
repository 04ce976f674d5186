"""Which bases does each gene's window hold, and what did a track say about them?

Readers of tracks work in the genome's direction, left to right, under the track's own chromosome
names; `Windows.along_genes` turns the result into the direction of transcription.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simplechrome.errors import ConfigError

Gaps = Literal["auto", "zero", "missing"]
GAPS: tuple[Gaps, ...] = ("auto", "zero", "missing")

_MOSTLY_PARTIAL = 0.5


class BinnedTrack(NamedTuple):
    """What a track holds in each window, left to right on the genome.

    values : (gene, bin), float64; 0 where there are no data
    observed : (gene,), float32, the share of the window's bases that have data, 0 to 1
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
        """Where do the windows of these genes lie?

        On the plus strand, and where the strand is not known, [tss - flank, tss + flank); on the
        minus strand [tss - flank + 1, tss + flank + 1) read backwards, so that base `tss` is always
        the first of offset 0.

        Parameters
        ----------
        genes
            With chrom, tss (0-based) and strand, as `read_genes` returns them.
        flank
            Bases to either side, a multiple of `bin_size`.
        bin_size
            Bases in a bin.

        Raises
        ------
        ConfigError
            If `flank` is not a multiple of `bin_size`, or one of them is below 1.
        """
        if bin_size < 1 or flank < 1 or flank % bin_size:
            raise ConfigError(
                "The window makes no sense.",
                found=f"flank {flank}, bin size {bin_size}",
                expected="a flank that is a multiple of the bin size, both 1 or more",
                remedy="for example --flank 5000 --bin-size 100, or --flank 20000 --bin-size 200",
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
        """What are these windows on a track with other chromosome names?

        Chromosomes that `names` does not hold become "": the track knows nothing of them.
        """
        unique, codes = np.unique(self.chrom.astype(str), return_inverse=True)
        theirs = np.array([names.get(str(name), "") for name in unique], dtype=object)
        return replace(self, chrom=theirs[codes])

    def by_chromosome(self) -> Iterator[tuple[str, ChromWindows]]:
        """Which windows lie on each chromosome? Those without a chromosome are left out."""
        names = self.chrom.astype(str)
        for name in np.unique(names):
            if name:
                rows = np.flatnonzero(names == name)
                rows = rows[np.argsort(self.start[rows], kind="stable")]
                yield str(name), ChromWindows(rows, self.start[rows])

    def stretches(
        self, windows: ChromWindows, *, join_within: int = 0, size: int | None = None
    ) -> NDArray[np.int64]:
        """Which stretches of the chromosome hold all these windows?

        Parameters
        ----------
        join_within
            Windows with up to this many bases between them become one stretch.
        size
            The chromosome's length, where it is known: nothing outside is asked for.

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
        """Which share of each window's bases lies on its chromosome?

        (gene,), 0 where the chromosome is not among `sizes`.
        """
        unique, codes = np.unique(self.chrom.astype(str), return_inverse=True)
        size = np.array([sizes.get(str(name), 0) for name in unique], np.int64)[codes]
        bases = np.minimum(self.start + self.width, size) - np.maximum(self.start, 0)
        return (np.maximum(bases, 0) / self.width).astype(np.float32)

    def along_genes(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """What are values (gene, bin), left to right, in the direction of transcription?"""
        turned = values.copy()
        turned[self.backwards] = values[self.backwards, ::-1]
        return turned


def settle_gaps(
    observed: NDArray[np.float32], inside: NDArray[np.float32], gaps: Gaps
) -> tuple[NDArray[np.float32], bool]:
    """Do bases without data hold zeros that nobody wrote down, or were they never measured?

    Many programs write no zeros into a track. Such a track is full of holes: most windows that hold
    data at all have some. A track of some regions only has holes at their edges.

    Parameters
    ----------
    observed : (gene,), share of each window's bases that the track gives a value for
    inside : (gene,), share that lies on the chromosome
    gaps
        `zero` and `missing` say what it is; `auto` takes gaps as zeros where more than half of the
        windows with data have some.

    Returns
    -------
    (gene,), the share of bases that have data, and whether gaps are zeros.
    """
    if gaps == "auto":
        with_data = observed > 0
        partial = with_data & (observed < inside - 1e-6)
        zeros = bool(partial.sum() > _MOSTLY_PARTIAL * max(1, with_data.sum()))
    else:
        zeros = gaps == "zero"
    return (inside if zeros else observed), zeros
