"""How many reads fall into each bin? Exact, for all bins at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simplechrome.sources.tracks.read_rule import ReadRule


class Reads(NamedTuple):
    """Reads or fragments on one chromosome, in any order.

    starts, ends : (read,), int64, first base and one past the last, 0-based
    backwards : (read,), bool, True on the minus strand
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    backwards: NDArray[np.bool_]


def bin_edges(window_starts: NDArray[np.int64], n_bins: int, bin_size: int) -> NDArray[np.int64]:
    """Where does each bin of these windows begin and end? (window, edge), n_bins + 1 edges."""
    return window_starts[:, None] + np.arange(n_bins + 1, dtype=np.int64) * bin_size


def count_overlaps(
    starts: NDArray[np.int64], ends: NDArray[np.int64], edges: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many intervals touch each bin?

    Those that begin before the bin's end, less those that have ended by its start: two binary
    searches per bin however many intervals there are.

    Parameters
    ----------
    starts, ends : (interval,), each sorted by itself; no interval is empty
    edges : (window, edge), see `bin_edges`; windows may overlap each other

    Returns
    -------
    (window, bin), counts.
    """
    begun = np.searchsorted(starts, edges[:, 1:], side="left")
    ended = np.searchsorted(ends, edges[:, :-1], side="right")
    return begun - ended


def count_positions(positions: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many positions lie in each bin?

    Parameters
    ----------
    positions : (position,), sorted
    edges : (window, edge), see `bin_edges`; windows may overlap each other

    Returns
    -------
    (window, bin), counts.
    """
    return np.diff(np.searchsorted(positions, edges, side="left"), axis=1)


def count_reads(
    reads: Reads, rule: ReadRule, edges: NDArray[np.int64], *, size: int | None = None
) -> NDArray[np.int64]:
    """How many of these reads does each bin hold under the rule?

    Parameters
    ----------
    reads
        Those that passed the rule's filters; for `midpoint`, whole fragments.
    edges : (window, edge), see `bin_edges`
    size
        The chromosome's length, where it is known: 5' ends shifted beyond it count nowhere.

    Returns
    -------
    (window, bin), counts.
    """
    starts, ends, backwards = reads
    if rule.count == "overlap":
        return count_overlaps(np.sort(starts), np.sort(ends), edges)
    if rule.count == "midpoint":
        return count_positions(np.sort(starts + (ends - starts) // 2), edges)
    positions = np.where(backwards, ends - 1 - rule.shift, starts + rule.shift)
    positions.sort()
    on_chromosome = slice(
        np.searchsorted(positions, 0), None if size is None else np.searchsorted(positions, size)
    )
    return count_positions(positions[on_chromosome], edges)
