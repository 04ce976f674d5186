"""Which reads count, and in which bins: the rule, and exact counts for all bins at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from simplechrome.errors import ConfigError, did_you_mean

Count = Literal["overlap", "five-prime", "midpoint"]
COUNTS: tuple[Count, ...] = get_args(Count)

# Flags of the SAM format.
PAIRED, PROPER_PAIR, REVERSE = 0x1, 0x2, 0x10
_UNMAPPED, _FAILED_QUALITY, _DUPLICATE = 0x4, 0x200, 0x400
_SECONDARY, _SUPPLEMENTARY = 0x100, 0x800

_HIGHEST_SHIFT = 1_000_000
_HIGHEST_QUALITY = 254  # 255 stands for a missing quality


@dataclass(frozen=True)
class ReadRule:
    """Which reads count, and in which bins.

    A dataclass of plain values: `dataclasses.asdict` of it is what a dataset records. Reads that
    are unmapped or failed the sequencer's quality check never count.

    Parameters
    ----------
    count
        `overlap`: a read counts once in every bin that its alignment touches, from its first base
        to its last, gaps included. Published models of this kind were trained on such counts, made
        by `bedtools multicov`, hence the default.
        `five-prime`: a read counts in the one bin that holds its 5' end, moved by `shift`.
        `midpoint`: a fragment counts in the one bin that holds its middle, start + length // 2.
        In BAM and CRAM a fragment is a proper pair, represented by its leftmost mate (template
        length above 0), whose filters decide; in BED-like files it is the interval itself.

        Under `overlap` and `five-prime` each mate of a pair is a read of its own.
    shift
        Bases by which the 5' end is moved in the read's own direction, such as half a fragment's
        length; may be negative. Ends that it moves off the chromosome count nowhere.
    min_mapping_quality
        Reads below it do not count. 255, the format's mark of a missing quality, passes.
    keep_duplicates
        Count reads that are marked as PCR or optical duplicates.
    keep_secondary
        Count secondary and supplementary alignments, as `bedtools multicov` does.

    Raises
    ------
    ConfigError
        If a value is invalid, or there is a shift where nothing is shifted.

    References
    ----------
    Singh et al., Bioinformatics 2016 (DeepChrome): reads per 100 bp bin by `bedtools multicov`.
    Sequence Alignment/Map Format Specification, section 1.4.
    """

    count: Count = "overlap"
    shift: int = 0
    min_mapping_quality: int = 0
    keep_duplicates: bool = False
    keep_secondary: bool = False

    def __post_init__(self) -> None:
        if self.count not in COUNTS:
            raise ConfigError(
                f"Reads cannot be counted by {self.count!r}, only by {', '.join(COUNTS)}.",
                did_you_mean(self.count, COUNTS),
            )
        for name, low, high in (
            ("shift", -_HIGHEST_SHIFT, _HIGHEST_SHIFT),
            ("min_mapping_quality", 0, _HIGHEST_QUALITY),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ConfigError(f"{name} is {value!r}, not a whole number from {low} to {high}.")
        for name in ("keep_duplicates", "keep_secondary"):
            if type(getattr(self, name)) is not bool:
                raise ConfigError(f"{name} is {getattr(self, name)!r}, not true or false.")
        if self.shift and self.count != "five-prime":
            raise ConfigError(
                f"A shift of {self.shift} has no effect where reads count by {self.count}: only "
                "5' ends are shifted.",
                "count by five-prime, or omit the shift",
            )

    @property
    def excluded_flags(self) -> int:
        """Flags of the SAM format that keep a read from counting, as one bit mask."""
        flags = _UNMAPPED | _FAILED_QUALITY
        if not self.keep_duplicates:
            flags |= _DUPLICATE
        if not self.keep_secondary:
            flags |= _SECONDARY | _SUPPLEMENTARY
        return flags


class Reads(NamedTuple):
    """Reads or fragments on one chromosome, in any order.

    starts, ends : (read,), int64, first base and one past the last, 0-based
    backwards : (read,), bool, True on the minus strand
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    backwards: NDArray[np.bool_]


def bin_edges(window_starts: NDArray[np.int64], n_bins: int, bin_size: int) -> NDArray[np.int64]:
    """Return the borders of the bins of these windows: (window, edge), n_bins + 1 edges."""
    return window_starts[:, None] + np.arange(n_bins + 1, dtype=np.int64) * bin_size


def count_overlaps(
    starts: NDArray[np.int64], ends: NDArray[np.int64], edges: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Count the intervals that touch each bin.

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
    """Count the sorted positions (position,) in each bin of `edges`: (window, bin)."""
    return np.diff(np.searchsorted(positions, edges, side="left"), axis=1)


def count_reads(
    reads: Reads, rule: ReadRule, edges: NDArray[np.int64], *, size: int | None = None
) -> NDArray[np.int64]:
    """Count reads that passed the rule's filters (for `midpoint`, fragments): (window, bin).

    Of `edges` see `bin_edges`. 5' ends that are shifted beyond the chromosome's end count nowhere,
    where its size is known.
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
