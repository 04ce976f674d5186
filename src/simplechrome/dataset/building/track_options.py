"""All that `simplechrome build tracks` can be told besides its files."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simplechrome.errors import ConfigError, did_you_mean
from simplechrome.sources.genome.transcripts import TSSRule
from simplechrome.sources.tracks.bin_track import ReadingOptions
from simplechrome.sources.tracks.read_rule import ReadRule
from simplechrome.sources.tracks.windows import Gaps


class TrackOptions(BaseModel):
    """How windows are laid, what counts in them, and what becomes of it.

    Attributes
    ----------
    flank, bin_size
        The window is TSS ± flank, in bins of `bin_size` bp.
    tss, protein_coding, strip_version
        Which start of a gene, which genes, and under which ids; see `read_genes`.
    chrom_style
        `auto` translates between UCSC's and Ensembl's chromosome names, `exact` does not.
    assembly
        Compared with the lengths of the tracks' chromosomes; guessed from them if empty.
    exclude_chroms
        Genes on these are left out.
    drop_unobserved
        Leave genes out that have, in the mean over tracks, less than this share of their window's
        bases observed. By default they stay, and are masked where they have no data at all.
    count, shift, min_mapping_quality, keep_duplicates, keep_secondary
        Which reads count, and where; see `ReadRule`.
    gaps, approximate, timeout
        See `ReadingOptions`.
    normalize
        `cpm` divides reads by the library size in millions.
    subtract_control
        Take the sheet's controls off, scaled to the library size, down to 0 at most.
    units
        Of signal tracks, for the record: what their values are (`fold_change`, `minus_log10_p`).
    label_rule, expression_units
        See `add_expression`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    flank: int = Field(5000, ge=1, le=100_000_000)
    bin_size: int = Field(100, ge=1, le=100_000_000)
    tss: TSSRule = "gene"
    protein_coding: bool = False
    strip_version: bool = False
    chrom_style: Literal["auto", "exact"] = "auto"
    assembly: str = ""
    exclude_chroms: tuple[str, ...] = ()
    drop_unobserved: float = Field(0.0, ge=0, le=1)
    count: Literal["overlap", "five-prime", "midpoint"] = "overlap"
    shift: int = 0
    min_mapping_quality: int = Field(0, ge=0)
    keep_duplicates: bool = False
    keep_secondary: bool = False
    gaps: Gaps = "auto"
    approximate: bool = False
    timeout: float = Field(30.0, gt=0)
    normalize: Literal["none", "cpm"] = "none"
    subtract_control: bool = False
    units: str = ""
    label_rule: str = "median"
    expression_units: str = "RPKM"

    @property
    def reading(self) -> ReadingOptions:
        """What the readers of tracks have to know of this."""
        rule = ReadRule(
            count=self.count,
            shift=self.shift,
            min_mapping_quality=self.min_mapping_quality,
            keep_duplicates=self.keep_duplicates,
            keep_secondary=self.keep_secondary,
        )
        return ReadingOptions(rule, self.gaps, self.approximate, self.timeout)


def make_track_options(given: dict[str, Any]) -> TrackOptions:
    """Which options are these?

    Raises
    ------
    ConfigError
        If there is no such option, or its value makes no sense.
    """
    try:
        return TrackOptions(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        flag = "--" + name.replace("_", "-")
        raise ConfigError(
            f"There is no option {name}."
            if first["type"] == "extra_forbidden"
            else f"{flag} ({name}) has a value that makes no sense.",
            found=repr(first["input"]),
            expected=""
            if first["type"] == "extra_forbidden"
            else first["msg"][:1].lower() + first["msg"][1:],
            remedy=did_you_mean(name, TrackOptions.model_fields)
            if first["type"] == "extra_forbidden"
            else "",
        ) from None
