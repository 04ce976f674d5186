"""One gene at a time: its own window, and those of its neighbors."""

from __future__ import annotations

import difflib
from typing import NamedTuple

import numpy as np
import xarray as xr

from simplechrome.dataset.neighbors import genomic_neighbors, require_places
from simplechrome.errors import UnknownGeneError


class GeneData(NamedTuple):
    """One gene: window (cell_type, bin, mark) and expression (cell_type)."""

    window: xr.DataArray
    expression: xr.DataArray


class NeighborsData(NamedTuple):
    """One gene's neighbors, nearest first.

    windows : (cell_type, neighbor, bin, mark); 0 where masked
    mask : (neighbor,) bool, False where the chromosome holds no further gene
    gene_id : (neighbor,), empty where masked
    distance : (neighbor,) bp from TSS to TSS in the gene's own direction; negative is upstream
    """

    windows: xr.DataArray
    mask: np.ndarray
    gene_id: np.ndarray
    distance: np.ndarray


def _position(dataset: xr.Dataset, gene_id: str) -> int:
    ids = dataset["gene_id"].values
    found = np.flatnonzero(ids == gene_id)
    if found.size == 0 and "gene_name" in dataset.coords:
        found = np.flatnonzero(dataset["gene_name"].values == gene_id)
    if found.size != 1:
        near = difflib.get_close_matches(gene_id, ids, n=3)
        raise UnknownGeneError(
            f"The dataset has no gene {gene_id!r}."
            if found.size == 0
            else f"{found.size} genes of the dataset are named {gene_id!r}.",
            found=f"{ids.size} genes such as {', '.join(near or ids[:3])}",
            expected="a gene_id, or a gene_name that only one gene has",
        )
    return int(found[0])


def get_gene_data(dataset: xr.Dataset, gene_id: str) -> GeneData:
    """What is the signal around one gene, and how much is it expressed?

    Parameters
    ----------
    dataset
        Any dataset.
    gene_id
        A gene_id, or a gene_name that only one gene has.

    Raises
    ------
    UnknownGeneError
        If no gene, or more than one, has that name.
    """
    gene = dataset.isel(gene=_position(dataset, gene_id))
    return GeneData(gene["signal"], gene["expression"])


def get_neighbors_data(dataset: xr.Dataset, gene_id: str, n: int = 10) -> NeighborsData:
    """What is the signal around the `n` genes nearest to one gene on its chromosome?

    Parameters
    ----------
    dataset
        With chrom, tss and strand.
    gene_id
        A gene_id, or a gene_name that only one gene has.
    n
        Neighbors on both sides together, by distance between TSSs.

    Raises
    ------
    MissingCoordinatesError
        If the dataset has no coordinates.
    UnknownGeneError
        If no gene, or more than one, has that name.
    """
    require_places(dataset)
    position = _position(dataset, gene_id)
    same = np.flatnonzero(dataset["chrom"].values == dataset["chrom"].values[position])
    local = genomic_neighbors(dataset[["gene_id"]].isel(gene=same), n)
    row = int(np.flatnonzero(same == position)[0])
    mask, index = local.mask[row], same[local.position[row]]
    windows = dataset["signal"].isel(gene=xr.DataArray(index, dims="neighbor"))
    windows = windows * xr.DataArray(mask, dims="neighbor").astype(windows.dtype)
    names = np.where(mask, dataset["gene_id"].values[index], "")
    return NeighborsData(windows, mask, names, local.distance[row])
