"""One gene at a time: its own window, and those of its neighbors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from simplechrome.dataset.choose import find_name
from simplechrome.dataset.neighbors.genomic import genomic_neighbors, require_places
from simplechrome.dataset.neighbors.graph import NeighborGraph
from simplechrome.errors import UnknownGeneError, did_you_mean, first_names


class GeneData(NamedTuple):
    """One gene: window (cell_type, bin, mark) and expression (cell_type,).

    Without the dimensions for which a name was given.
    """

    window: xr.DataArray
    expression: xr.DataArray


class NeighborsData(NamedTuple):
    """One gene's neighbors, nearest or strongest first.

    windows : (cell_type, neighbor, bin, mark); 0 where masked
    mask : (neighbor,) bool, False where the chromosome holds no further gene
    gene_id : (neighbor,), empty where masked
    distance : (neighbor,) bp from TSS to TSS in the gene's own direction; negative is upstream;
        NaN on another chromosome
    """

    windows: xr.DataArray
    mask: np.ndarray
    gene_id: np.ndarray
    distance: np.ndarray


def find_gene(dataset: xr.Dataset, gene_id: str) -> int:
    """Return the position of a gene, by id or by a name that no other gene has.

    Raises UnknownGeneError if no gene, or more than one, has that name.
    """
    ids = dataset["gene_id"].values
    names = dataset["gene_name"].values if "gene_name" in dataset.coords else ids
    found = np.flatnonzero(ids == gene_id)
    if found.size == 0:
        found = np.flatnonzero(names == gene_id)
    if found.size == 1 and gene_id:
        return int(found[0])
    if found.size > 1 and gene_id:
        raise UnknownGeneError(
            f"{found.size} genes of the dataset are named {gene_id!r}: {first_names(ids[found])}.",
            "pass the gene_id",
        )
    for kind in ("cell_type", "mark"):
        if gene_id in dataset[kind].values:
            raise UnknownGeneError(
                f"The dataset has no gene {gene_id!r}; this is a {kind.replace('_', ' ')}.",
                f"name the gene first: get_gene_data(dataset, gene_id, {kind}={gene_id!r})",
            )
    raise UnknownGeneError(
        f"The dataset has no gene {gene_id!r}, but {ids.size:,} genes such as "
        f"{first_names(ids, 3)}.",
        did_you_mean(gene_id, [*ids, *names]) or "pass a gene_id, or a unique gene_name",
    )


def get_gene_data(
    dataset: xr.Dataset, gene_id: str, *, cell_type: str | None = None, mark: str | None = None
) -> GeneData:
    """Return the signal around one gene, and its expression.

    Parameters
    ----------
    gene_id : a gene_id, or a gene_name that only one gene has
    cell_type, mark : only these; all, each with its dimension, if None

    Raises UnknownGeneError if no gene, or more than one, has that name, or the cell type or mark is
    not there.
    """
    gene = dataset[["signal", "expression"]].isel(gene=find_gene(dataset, gene_id))
    for kind, name in (("cell_type", cell_type), ("mark", mark)):
        if name is not None:
            gene = gene.isel({kind: find_name(dataset, kind, name)})
    return GeneData(gene["signal"], gene["expression"])


def get_neighbors_data(
    dataset: xr.Dataset,
    gene_id: str,
    n: int = 10,
    *,
    kind: str = "",
    graph: NeighborGraph | None = None,
) -> NeighborsData:
    """Return the signal around the neighbors of one gene.

    Parameters
    ----------
    dataset : with chrom, tss and strand, or with a `graph`
    gene_id : a gene_id, or a gene_name that only one gene has
    n : at most so many neighbors, the first ones: without a graph those nearest on the chromosome,
        both sides together, by distance between TSSs.
    kind : of the graph's kinds of neighbors; all if empty
    graph : other neighbors, as `simplechrome.open_neighbors` gives them

    Raises MissingCoordinatesError if the dataset has no coordinates, and there is no graph;
    UnknownGeneError if no gene, or more than one, has that name; ConfigError if the graph has no
    such kind.
    """
    if graph is None:
        require_places(dataset)
    position = row = find_gene(dataset, gene_id)
    same = np.arange(dataset.sizes["gene"])
    if graph is None:
        same = np.flatnonzero(dataset["chrom"].values == dataset["chrom"].values[position])
        row = int(np.flatnonzero(same == position)[0])
        local = genomic_neighbors(dataset[["gene_id"]].isel(gene=same), n)
    else:
        local = graph.on(dataset["gene_id"].values)
    local = local.of_kind(kind) if kind else local
    edges = slice(local.offsets[row], min(local.offsets[row + 1], local.offsets[row] + n))
    found = same[local.neighbor[edges]]
    mask = np.arange(n) < found.size
    index = np.concatenate([found, np.full(n - found.size, position)])
    distance = np.concatenate([local.distance[edges], np.zeros(n - found.size)])
    windows = dataset["signal"].isel(gene=xr.DataArray(index, dims="neighbor"))
    windows = windows * xr.DataArray(mask, dims="neighbor").astype(windows.dtype)
    names = np.where(mask, dataset["gene_id"].values[index], "")
    return NeighborsData(windows, mask, names, distance)
