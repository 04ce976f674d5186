"""Files to a dataset: the readers of `sources`, one after the other, and what joins them."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd
import xarray as xr

from simplechrome.dataset.building.arrays import add_expression, add_genes, check_rule, from_arrays
from simplechrome.dataset.building.merge import merge
from simplechrome.errors import ConfigError, InputFormatError
from simplechrome.sources.arrays import read_arrays
from simplechrome.sources.deepchrome import CellTypeCounts, read_deepchrome
from simplechrome.sources.expression import read_expression
from simplechrome.sources.genome.genes import read_genes

log = logging.getLogger(__name__)

ChromStyle = Literal["auto", "exact"]
OnBad = Literal["stop", "skip"]


def _join(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    return parts[0] if len(parts) == 1 else merge(parts)


class Annotation(NamedTuple):
    """Tables that place genes and label them, read before the signal: a wrong one costs least."""

    genes: pd.DataFrame | None
    expression: pd.DataFrame | None
    label_rule: str
    relabel: bool
    expression_units: str


def read_annotation(
    genes: str | Path | None,
    expression: str | Path | None,
    *,
    label_rule: str,
    relabel: bool,
    chrom_style: ChromStyle,
    expression_units: str,
    bin_size: int,
) -> Annotation:
    """What will place and label the genes? Options are checked first.

    Raises
    ------
    ConfigError
        If an option makes no sense.
    MissingInputError, InputFormatError
        See `read_genes` and `read_expression`.
    """
    check_rule(label_rule)
    if bin_size < 1:
        raise ConfigError(
            "The bin size makes no sense.", found=str(bin_size), expected="1 bp or more"
        )
    if relabel and expression is None:
        raise ConfigError(
            "Labels can be made anew only from expression.", remedy="pass --expression FILE"
        )
    if genes is None:
        log.warning(
            "Without a gene table (--genes) the genes have no place: they can be split only as "
            "published or at random, and have no neighbors"
        )
    return Annotation(
        None if genes is None else read_genes(genes, chrom_style=chrom_style),
        None if expression is None else read_expression(expression),
        label_rule,
        relabel,
        expression_units,
    )


def annotate(dataset: xr.Dataset, annotation: Annotation) -> xr.Dataset:
    """What is a dataset with its genes placed and labelled? See `add_genes`, `add_expression`."""
    if annotation.genes is not None:
        dataset = add_genes(dataset, annotation.genes)
    if annotation.expression is not None:
        dataset = add_expression(
            dataset,
            annotation.expression,
            rule=annotation.label_rule,
            relabel=annotation.relabel,
            units=annotation.expression_units,
        )
    return dataset


def cell_type_dataset(
    counts: CellTypeCounts, *, bin_size: int, assembly: str, note: str
) -> xr.Dataset:
    """What is one cell type of the DeepChrome layout as a dataset?"""
    return from_arrays(
        counts.counts[None],
        marks=counts.marks,
        gene_ids=counts.gene_id,
        cell_types=[counts.cell_type],
        bin_size=bin_size,
        label=counts.label[None],
        published_split=counts.split,
        sources=[dict(source) for source in counts.sources],
        assembly=assembly,
        note=note,
    )


def with_usual_windows(parts: Sequence[xr.Dataset], on_bad_cell_type: OnBad) -> list[xr.Dataset]:
    """Which cell types have as many bins as most? Others cannot be joined with them.

    Parameters
    ----------
    parts
        One dataset, or outline of one, for each cell type.
    on_bad_cell_type
        What to do about the others: `stop`, or `skip` with a warning.

    Raises
    ------
    InputFormatError
        If one is not as the others, and `on_bad_cell_type` is `stop`.
    """
    usual = statistics.mode(part.sizes["bin"] for part in parts)
    kept = []
    for part in parts:
        if part.sizes["bin"] == usual:
            kept.append(part)
            continue
        name = part["cell_type"].values[0]
        error = InputFormatError(
            f"{name} has another number of bins per gene than most cell types.",
            found=f"{part.sizes['bin']} bins",
            expected=f"{usual} bins, as in "
            + next(str(p["cell_type"].values[0]) for p in parts if p.sizes["bin"] == usual),
            cause="its files come from another source, or are cut off",
            remedy="pass --on-bad-cell-type skip (on_bad_cell_type='skip') to leave it out, or "
            "name the cell types that are wanted",
        )
        if on_bad_cell_type == "stop":
            raise error
        log.warning("Cell type %s is skipped. %s", name, error)
    return kept


def build_from_deepchrome(
    path: str | Path,
    *,
    cell_types: Sequence[str] | None = None,
    genes: str | Path | None = None,
    expression: str | Path | None = None,
    label_rule: str = "median",
    relabel: bool = False,
    on_bad_cell_type: OnBad = "stop",
    chrom_style: ChromStyle = "auto",
    assembly: str = "",
    expression_units: str = "RPKM",
    bin_size: int = 100,
    note: str = "",
) -> xr.Dataset:
    """How does the published DeepChrome layout become a dataset?

    All of it is in memory in the end, 20 MB for each cell type;
    `build_deepchrome_on_disk` stores the same with one cell
    type in memory.

    Parameters
    ----------
    path
        A folder or archive; see `simplechrome.sources.deepchrome.read_deepchrome`.
    cell_types
        Those to read; all by default.
    genes, expression
        Files; see `read_genes` and `read_expression`.
    label_rule, relabel
        Labels of the CSVs are kept unless `relabel` is True; see `add_expression`.
    on_bad_cell_type
        `stop`, or `skip` with a warning.
    chrom_style
        `auto` translates Ensembl chromosome names to UCSC's; `exact` does not.
    assembly, expression_units, bin_size, note
        For the record; the layout itself does not say them.
    """
    annotation = read_annotation(
        genes,
        expression,
        label_rule=label_rule,
        relabel=relabel,
        chrom_style=chrom_style,
        expression_units=expression_units,
        bin_size=bin_size,
    )
    parts = [
        cell_type_dataset(counts, bin_size=bin_size, assembly=assembly, note=note)
        for counts in read_deepchrome(path, cell_types, on_bad_cell_type=on_bad_cell_type)
    ]
    return annotate(_join(with_usual_windows(parts, on_bad_cell_type)), annotation)


def build_from_npz(
    paths: Iterable[str | Path],
    *,
    genes: str | Path | None = None,
    expression: str | Path | None = None,
    label_rule: str = "median",
    chrom_style: ChromStyle = "auto",
    assembly: str = "",
    expression_units: str = "RPKM",
    bin_size: int = 100,
    note: str = "",
) -> xr.Dataset:
    """How do `.npz` files, one per cell type, become a dataset?

    The cell type is the file's name without its ending. Parameters are those of
    `build_from_deepchrome`; files are described at `simplechrome.sources.arrays.read_arrays`.
    """
    annotation = read_annotation(
        genes,
        expression,
        label_rule=label_rule,
        relabel=False,
        chrom_style=chrom_style,
        expression_units=expression_units,
        bin_size=bin_size,
    )
    parts = [
        from_arrays(
            counts.counts[None],
            marks=counts.marks,
            gene_ids=counts.gene_id,
            cell_types=[counts.cell_type],
            bin_size=bin_size,
            sources=[dict(source) for source in counts.sources],
            assembly=assembly,
            note=note,
        )
        for counts in map(read_arrays, paths)
    ]
    return annotate(_join(parts), annotation)
