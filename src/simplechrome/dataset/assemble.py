"""Files to a dataset: the readers of `sources`, one after the other, and what joins them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
import xarray as xr

from simplechrome.dataset.build import add_expression, add_genes, from_arrays
from simplechrome.dataset.labels import check_rule
from simplechrome.dataset.merge import merge
from simplechrome.errors import ConfigError
from simplechrome.sources.arrays import read_arrays
from simplechrome.sources.deepchrome import read_deepchrome
from simplechrome.sources.expression import read_expression
from simplechrome.sources.genes import read_genes

log = logging.getLogger(__name__)

ChromStyle = Literal["auto", "exact"]


def _join(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    return parts[0] if len(parts) == 1 else merge(parts)


class _Annotation(NamedTuple):
    """Tables that place genes and label them, read before the signal: a wrong one costs least."""

    genes: pd.DataFrame | None
    expression: pd.DataFrame | None
    label_rule: str
    relabel: bool
    expression_units: str


def _read_annotation(
    genes: str | Path | None,
    expression: str | Path | None,
    *,
    label_rule: str,
    relabel: bool,
    chrom_style: ChromStyle,
    expression_units: str,
    bin_size: int,
) -> _Annotation:
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
    return _Annotation(
        None if genes is None else read_genes(genes, chrom_style=chrom_style),
        None if expression is None else read_expression(expression),
        label_rule,
        relabel,
        expression_units,
    )


def _annotate(dataset: xr.Dataset, annotation: _Annotation) -> xr.Dataset:
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


def build_from_deepchrome(
    path: str | Path,
    *,
    cell_types: Sequence[str] | None = None,
    genes: str | Path | None = None,
    expression: str | Path | None = None,
    label_rule: str = "median",
    relabel: bool = False,
    on_bad_cell_type: Literal["stop", "skip"] = "stop",
    chrom_style: ChromStyle = "auto",
    assembly: str = "",
    expression_units: str = "RPKM",
    bin_size: int = 100,
    note: str = "",
) -> xr.Dataset:
    """How does the published DeepChrome layout become a dataset?

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
    annotation = _read_annotation(
        genes,
        expression,
        label_rule=label_rule,
        relabel=relabel,
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
            label=counts.label[None],
            published_split=counts.split,
            sources=[dict(source) for source in counts.sources],
            assembly=assembly,
            note=note,
        )
        for counts in read_deepchrome(path, cell_types, on_bad_cell_type=on_bad_cell_type)
    ]
    return _annotate(_join(parts), annotation)


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
    annotation = _read_annotation(
        genes,
        expression,
        label_rule=label_rule,
        relabel=False,
        chrom_style=chrom_style,
        expression_units=expression_units,
        bin_size=bin_size,
    )
    parts: list[xr.Dataset] = []
    for counts in map(read_arrays, paths):
        arguments: dict[str, Any] = {"assembly": assembly, "note": note, "bin_size": bin_size}
        parts.append(
            from_arrays(
                counts.counts[None],
                marks=counts.marks,
                gene_ids=counts.gene_id,
                cell_types=[counts.cell_type],
                sources=[dict(source) for source in counts.sources],
                **arguments,
            )
        )
    return _annotate(_join(parts), annotation)
