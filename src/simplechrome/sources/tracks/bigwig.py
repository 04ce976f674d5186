"""bigWig to the mean signal of each bin: per-base values, averaged here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simplechrome.errors import InputFormatError
from simplechrome.sources.tracks.bigwig_file import (
    BigWigSummary,
    WithoutPanicText,
    bigwig_chromosomes,
    bigwig_summary,
    open_bigwig,
    read_summary,
    track_name,
)
from simplechrome.sources.tracks.windows import (
    BinnedTrack,
    ChromWindows,
    Gaps,
    Windows,
    settle_gaps,
)

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
        done, told = 0, 0.0
        for chrom, there in _windows_inside(windows, sizes):
            for n_windows in read(reader, chrom, there, windows, values, covered):
                done += n_windows
                if progress and done / len(windows) >= told + _STEP:
                    told = done / len(windows)
                    progress(told)
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
