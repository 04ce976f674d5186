"""Which neighbors moved a prediction: a table, and a figure for each gene that is asked about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import xarray as xr

from simplechrome.atomic import check_free, whole_file
from simplechrome.evaluation.neighbor_effects import level_ranks
from simplechrome.evaluation.predictions import write_table
from simplechrome.report.figures_locus import locus_figure
from simplechrome.report.style import write_svg

_SHOWN = 3


def explanation_file(output: str | Path, *, overwrite: bool = False) -> Path:
    """Where is the table that belongs to these predictions? `p_neighbors.tsv` beside `p.tsv`.

    Raises
    ------
    OutputExistsError, OutputError
        If it cannot be written.
    """
    stem = Path(output).with_suffix("")
    path = stem.with_name(f"{stem.name}_neighbors.tsv")
    check_free(path, overwrite=overwrite)
    return path


def write_explanation(table: pd.DataFrame, path: Path, dataset: xr.Dataset) -> Iterator[str]:
    """Write what moved the predictions of some genes, and a figure `…_GENE_CELL.svg` for each.

    Parameters
    ----------
    table
        As `explain_with_run` gives it.
    path
        See `explanation_file`; figures that are there are replaced.
    dataset
        Whose windows were looked at.

    Yields
    ------
    Lines for a terminal.
    """
    write_table(table, path)
    places = ["gene_id", "gene_name", "cell_type"]
    for (_, name, cell_type), own in table.groupby(places, sort=False):
        plain = re.sub(r"[^\w.+-]+", "_", f"{name}_{cell_type}")
        with whole_file(path.with_name(f"{path.stem}_{plain}.svg")) as temporary:
            levels = level_ranks(dataset, str(cell_type))
            write_svg(locus_figure(own, gene=str(name), levels=levels), temporary)
        first = ", ".join(
            f"{row.neighbor_name} {row.knock_out:+.3f}" for row in own.head(_SHOWN).itertuples()
        )
        total = float(own["all_neighbors"].iloc[0])
        yield f"{name} in {cell_type}: neighbors changed it by {total:+.3f}; most: {first}"
    yield f"{path}: {len(table)} neighbors"
