"""`simplechrome neighbors`: neighbor graphs of genes, stored with a dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import Any, TypeVar

import click

from simplechrome.cli.options import log_options, overwrite_option, together

F = TypeVar("F", bound=Callable[..., Any])


@click.group("neighbors")
def command() -> None:
    """Make neighbor graphs of a dataset's genes, and describe them.

    \b
    Examples:
      simplechrome neighbors genomic e012.zarr -n 20
      simplechrome neighbors coexpression e012.zarr --expression rpkm.tsv.gz
      simplechrome neighbors show e012.zarr
    """


def _shared(name: str, n: int | None) -> Callable[[F], F]:
    """Return the options of all graphs: dataset, number of neighbors, name."""
    return together(
        click.argument("dataset", type=click.Path()),
        click.option(
            *("-n", "number"),
            type=click.IntRange(0),
            default=n,
            show_default=True,
            help="Neighbors of a gene, at most.",
        ),
        click.option("--name", default=name, show_default=True, help="Of the graph."),
        overwrite_option,
        log_options,
    )


def _save(
    make: Callable[[Any], Any], *, dataset: str, name: str, overwrite: bool, **about: Any
) -> None:
    """Make a graph of the dataset's genes, write it, and print its description."""
    from simplechrome.dataset.neighbors.graph import format_graph
    from simplechrome.dataset.neighbors.stored import graph_file, save_graph
    from simplechrome.dataset.store import open_outline
    from simplechrome.work.files import check_free

    data = open_outline(dataset, ["signal", "observed"])  # windows are not needed
    check_free(graph_file(dataset, name), overwrite=overwrite)
    graph = make(data)
    save_graph(graph, dataset, name, about={"kind": name, **about}, overwrite=overwrite)
    click.echo(f"{dataset}, neighbors {name!r}")
    click.echo(format_graph(graph))


@command.command("genomic")
@_shared("genomic", 20)
@click.option("--within", type=click.FloatRange(0), help="bp; only genes up to so far away.")
def genomic(number: int, within: float | None, **place: Any) -> None:
    """Nearest genes on the chromosome, by distance between TSSs.

    \b
    Example:
      simplechrome neighbors genomic e012.zarr -n 20
    """
    from simplechrome.dataset.neighbors.genomic import genomic_neighbors

    def make(data: Any) -> Any:
        return genomic_neighbors(data, number, within=within)

    _save(make, n=number, within=within, **place)


@command.command("contact")
@_shared("contact", 50)
@click.option(
    "--contacts",
    type=click.Path(),
    help="BEDPE, or a .cool or .mcool matrix. Without it, contacts follow from distance alone.",
)
@click.option("--resolution", type=int, help="bp per bin of a .mcool. [default: finest from 5000]")
@click.option(
    "--reach", default=1000, show_default=True, help="bp around a TSS that are the gene's."
)
@click.option(
    "--within",
    default=1e6,
    show_default=True,
    type=click.FloatRange(0),
    help="bp; without --contacts.",
)
def contact(
    number: int,
    contacts: str | None,
    resolution: int | None,
    reach: int,
    within: float,
    **place: Any,
) -> None:
    """Genes in 3D contact, relative to what is expected at their distance.

    \b
    Examples:
      simplechrome neighbors contact e012.zarr --contacts loops.bedpe.gz
      simplechrome neighbors contact e012.zarr --contacts h1.mcool --resolution 10000
    """
    from simplechrome.dataset.neighbors.contact import neighbors_of_file
    from simplechrome.dataset.neighbors.genomic import power_law_neighbors

    def make(data: Any) -> Any:
        if contacts is None:
            return power_law_neighbors(data, number, within=within)
        return neighbors_of_file(data, contacts, number, reach=reach, resolution=resolution)

    source = contacts and PurePath(contacts).name
    _save(make, n=number, contacts=source, reach=reach, **place)


@command.command("coexpression")
@_shared("coexpression", 50)
@click.option(
    "--expression",
    required=True,
    type=click.Path(),
    help="RPKM or TPM of many cell types: genes × cell types. Plain or gz.",
)
@click.option(
    "--leave-out",
    multiple=True,
    help="Cell type that is to be predicted, held out from the correlations; may be repeated. "
    "[default: all of the dataset]",
)
def coexpression(number: int, expression: str, leave_out: tuple[str, ...], **place: Any) -> None:
    """Genes whose expression correlates over other cell types.

    \b
    Example:
      simplechrome neighbors coexpression e012.zarr --expression rpkm.tsv.gz
    """
    from simplechrome.dataset.neighbors.functional import coexpression_neighbors
    from simplechrome.sources.expression import read_expression

    def make(data: Any) -> Any:
        predicted = leave_out or tuple(map(str, data["cell_type"].values))
        return coexpression_neighbors(
            data, read_expression(expression), number, leave_out=predicted
        )

    _save(make, n=number, left_out=list(leave_out) or "all", **place)


@command.command("listed")
@_shared("listed", 50)
@click.option(
    "--pairs",
    required=True,
    type=click.Path(),
    help="Two gene ids or names and, if there, a weight on each line, as from STRING or BioGRID.",
)
def listed(number: int, pairs: str, **place: Any) -> None:
    """Pairs of genes in a file.

    \b
    Example:
      simplechrome neighbors listed e012.zarr --pairs string.tsv.gz
    """
    from simplechrome.dataset.neighbors.functional import listed_neighbors
    from simplechrome.sources.relations import read_pairs

    _save(lambda data: listed_neighbors(data, read_pairs(pairs), number), n=number, **place)


@command.command("sets")
@_shared("sets", 50)
@click.option("--gmt", required=True, type=click.Path(), help="Gene sets, as from MSigDB.")
@click.option(
    "--largest", default=500, show_default=True, help="Genes in a set; larger ones are not used."
)
def sets(number: int, gmt: str, largest: int, **place: Any) -> None:
    """Genes in the same gene sets.

    \b
    Example:
      simplechrome neighbors sets e012.zarr --gmt reactome.gmt
    """
    from simplechrome.dataset.neighbors.functional import set_neighbors
    from simplechrome.sources.relations import read_gene_sets

    def make(data: Any) -> Any:
        return set_neighbors(data, read_gene_sets(gmt), number, largest=largest)

    _save(make, n=number, largest=largest, **place)


@command.command("show")
@click.argument("dataset", type=click.Path())
@click.option("-o", "--output", type=click.Path(), help="All edges as a table (.parquet, .tsv).")
@click.option("--name", "names", multiple=True, help="Of a graph; may be repeated. [default: all]")
@overwrite_option
@log_options
def show(dataset: str, output: str | None, names: tuple[str, ...], overwrite: bool) -> None:
    """Describe the neighbor graphs of a dataset.

    \b
    Example:
      simplechrome neighbors show e012.zarr -o edges.tsv
    """
    import pandas as pd

    from simplechrome.dataset.neighbors.graph import format_graph
    from simplechrome.dataset.neighbors.stored import open_neighbors, stored_graphs
    from simplechrome.runs.predictions import check_table_path, write_table
    from simplechrome.work.files import check_free

    if output is not None:
        check_free(output, overwrite=overwrite)
        check_table_path(output)
    chosen = names or tuple(stored_graphs(dataset)) or ("",)  # none of them: the error says so
    graphs = {name: open_neighbors(dataset, name) for name in chosen}
    for name, graph in graphs.items():
        click.echo(f"{name!r}, " + format_graph(graph))
    if output is not None:
        tables = [graph.to_frame().assign(graph=name) for name, graph in graphs.items()]
        table = pd.concat(tables, ignore_index=True)
        write_table(table, output)
        click.echo(f"{output}: {len(table)} edges")
