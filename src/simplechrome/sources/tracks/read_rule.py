"""Which reads count, and in which bins?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from simplechrome.errors import ConfigError, did_you_mean

Count = Literal["overlap", "five-prime", "midpoint"]
COUNTS: tuple[Count, ...] = ("overlap", "five-prime", "midpoint")

# Flags of the SAM format.
PAIRED, PROPER_PAIR, REVERSE = 0x1, 0x2, 0x10
_UNMAPPED, _FAILED_QUALITY, _DUPLICATE = 0x4, 0x200, 0x400
_SECONDARY, _SUPPLEMENTARY = 0x100, 0x800

_HIGHEST_QUALITY = 254  # 255 means that there is none


@dataclass(frozen=True)
class ReadRule:
    """Which reads count, and in which bins?

    A dataclass of plain values: `dataclasses.asdict` of it is what a dataset records.

    Parameters
    ----------
    count
        `overlap`: a read counts once in every bin that its alignment touches, from its first base
        to its last, gaps included. The counts that published models of this kind were trained on
        were made so, by `bedtools multicov`, hence the default.
        `five-prime`: a read counts in the one bin that holds its 5' end, moved by `shift`.
        `midpoint`: a fragment counts in the one bin that holds its middle, start + length // 2.
        In BAM and CRAM a fragment is a proper pair, told by its leftmost mate (template length
        above 0), whose filters decide; in BED-like files it is the interval itself.

        Under `overlap` and `five-prime` each mate of a pair is a read of its own.
    shift
        Bases by which the 5' end is moved in the read's own direction, as by half a fragment's
        length; may be negative. Ends that it moves off the chromosome count nowhere.
    min_mapping_quality
        Reads below it don't count. 255, by which the format says that there is no quality, passes.
    keep_duplicates
        Count reads that are marked as PCR or optical duplicates.
    keep_secondary
        Count secondary and supplementary alignments. `bedtools multicov` does.

    Reads that are unmapped or failed the sequencer's quality check never count.

    Raises
    ------
    ConfigError
        If a value makes no sense, or there is a shift where nothing is shifted.

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
                "There is no such way to count reads.",
                found=repr(self.count),
                expected=" or ".join(COUNTS),
                remedy=did_you_mean(self.count, COUNTS),
            )
        for name, low, high in (
            ("shift", -1_000_000, 1_000_000),
            ("min_mapping_quality", 0, _HIGHEST_QUALITY),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ConfigError(
                    f"{name} makes no sense.",
                    found=repr(value),
                    expected=f"a whole number, {low} to {high}",
                )
        for name in ("keep_duplicates", "keep_secondary"):
            value = getattr(self, name)
            if type(value) is not bool:
                raise ConfigError(
                    f"{name} makes no sense.", found=repr(value), expected="true or false"
                )
        if self.shift and self.count != "five-prime":
            raise ConfigError(
                f"A shift of {self.shift} makes no sense where reads count by {self.count}.",
                cause="only 5' ends are shifted",
                remedy="count by five-prime, or leave the shift out",
            )

    @property
    def excluded_flags(self) -> int:
        """Which flags of the SAM format keep a read from counting, as one bit mask?"""
        flags = _UNMAPPED | _FAILED_QUALITY
        if not self.keep_duplicates:
            flags |= _DUPLICATE
        if not self.keep_secondary:
            flags |= _SECONDARY | _SUPPLEMENTARY
        return flags
