"""Options of `simplechrome build`."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simplechrome.sources.genome.annotation import TSSRule
from simplechrome.sources.tracks.readers import ReadingOptions
from simplechrome.sources.tracks.reads import ReadRule
from simplechrome.sources.tracks.windows import Gaps
from simplechrome.work.settings import settings_error

Options = TypeVar("Options", bound="AnnotationOptions")


class AnnotationOptions(BaseModel):
    """How genes are placed and labelled, whatever the signal comes from.

    Attributes
    ----------
    bin_size : bp
    chrom_style : `auto` translates between UCSC's and Ensembl's chromosome names, `exact` does not
    assembly : name of the genome assembly
    label_rule, expression_units : see `add_expression`
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bin_size: int = Field(100, ge=1, le=100_000_000)
    chrom_style: Literal["auto", "exact"] = "auto"
    assembly: str = ""
    label_rule: str = "median"
    expression_units: str = "RPKM"


class CountOptions(AnnotationOptions):
    """Options of `build deepchrome` and `build arrays`; files of counts hold none of them.

    Attributes
    ----------
    relabel : replace labels that came with the data by those of the rule
    note : something that every reader of the dataset must know
    """

    relabel: bool = False
    note: str = ""


class TrackOptions(AnnotationOptions):
    """Options of `build tracks`: the windows, what counts in them, and what is done with it.

    Attributes
    ----------
    flank : the window is TSS ± flank bp
    tss, protein_coding, strip_version
        Which start of a gene, which genes, and under which ids; see `read_genes`.
    assembly : compared with the lengths of the tracks' chromosomes; guessed from them if empty
    exclude_chroms : genes on these are dropped
    drop_unobserved
        Drop genes that have, in the mean over tracks, less than this fraction of their window's
        bases observed. By default they stay, and are masked where they have no data at all.
    count, shift, min_mapping_quality, keep_duplicates, keep_secondary
        Which reads count, and where; see `ReadRule`.
    gaps, approximate, timeout : see `ReadingOptions`
    normalize : `cpm` divides reads by the library size in millions
    subtract_control
        Subtract the sheet's controls, scaled to the library size; negative values become 0.
    units
        Of signal tracks, for the record: what their values are (`fold_change`, `minus_log10_p`).
    """

    flank: int = Field(5000, ge=1, le=100_000_000)
    tss: TSSRule = "gene"
    protein_coding: bool = False
    strip_version: bool = False
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

    @property
    def reading(self) -> ReadingOptions:
        """Those that the readers of tracks need."""
        rule = ReadRule(
            *(self.count, self.shift, self.min_mapping_quality),
            *(self.keep_duplicates, self.keep_secondary),
        )
        return ReadingOptions(rule, self.gaps, self.approximate, self.timeout)


def make_options(kind: type[Options], given: dict[str, Any]) -> Options:
    """Return these options, checked.

    Raises ConfigError if there is no such option, or its value is invalid.
    """
    try:
        return kind(**given)
    except ValidationError as error:
        raise settings_error(error, kind, given=given) from None
