"""Which neighbors moved a prediction: a table and a figure for each gene that is asked about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import xarray as xr

from simplechrome.atomic import check_free, whole_file
from simplechrome.dataset.neighbors.graph import NeighborGraph
from simplechrome.errors import ConfigError
from simplechrome.evaluation.predictions import write_table
from simplechrome.evaluation.saved_run import explain_with_run
from simplechrome.report.figures_neighbors import locus_figure
from simplechrome.report.style import write_svg

_SHOWN = 3


def explain_neighbors(
    run: str | Path,
    dataset: xr.Dataset,
    graph: NeighborGraph | None,
    genes: Sequence[str],
    output: str | Path,
    *,
    overwrite: bool = False,
) -> Iterator[str]:
    """Write what moved the predictions of these genes, beside a table of predictions.

    Parameters
    ----------
    run, dataset, graph, genes
        See `explain_with_run`.
    output
        Of the predictions; `p.tsv` gets `p_neighbors.tsv`, and `p_GENE_CELL.svg` for each figure.

    Yields
    ------
    Lines for a terminal.

    Raises
    ------
    ConfigError, UnknownGeneError
        See `explain_with_run`.
    OutputExistsError
        If a file is there.
    """
    if graph is None:
        raise ConfigError(
            "This run looks at no neighbors.",
            expected="a run that was fitted with --predictor neighborhood --neighbors …",
        )
    stem = Path(output).with_suffix("")
    path = stem.with_name(f"{stem.name}_neighbors.tsv")
    check_free(path, overwrite=overwrite)
    table = explain_with_run(run, dataset, genes, graph)
    write_table(table, path)
    for (_, name, cell_type), own in table.groupby(
        ["gene_id", "gene_name", "cell_type"], sort=False
    ):
        plain = re.sub(r"[^\w.+-]+", "_", f"{name}_{cell_type}")
        figure = stem.with_name(f"{stem.name}_{plain}.svg")
        check_free(figure, overwrite=overwrite)
        with whole_file(figure) as temporary:
            write_svg(locus_figure(own, gene=str(name)), temporary)
        first = ", ".join(
            f"{row.neighbor_name} {row.knock_out:+.3f}" for row in own.head(_SHOWN).itertuples()
        )
        total = float(own["all_neighbors"].iloc[0])
        yield f"{name} in {cell_type}: neighbors changed it by {total:+.3f}; most: {first}"
    yield f"{path}: {len(table)} neighbors"
