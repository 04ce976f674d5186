"""Genes with their neighbors, as predictors take them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from scipy.sparse import csr_array

from simplechrome.dataset.neighbors.graph import NeighborGraph
from simplechrome.errors import InputFormatError, MissingExpressionError, first_names
from simplechrome.predictors.rows import PAIR, pair_coords

_KB = 1_000.0
_FAR = np.log1p(1e8 / _KB)  # the logarithm of a large chromosome's length, to bring features to 1


@dataclass(frozen=True)
class NeighborhoodFeatures:
    """Genes and their neighbors, with latents: features for predictors that use neighbors.

    Attributes
    ----------
    latents : (cell_type, gene, latent)
        As `encoder.transform` gives them, of all genes: windows carry no labels, and a training
        gene's neighbor may be a test gene.
    graph
        Neighbors of these genes.
    width
        bp that a window spans; windows of genes that are nearer overlap.
    rows : (row,)
        Positions of the genes that are fitted or predicted; None for all. See `isel`.
    expression : (cell_type, gene, 2)
        Expression of genes as neighbors, see `make_neighborhood_features`: the standardized level,
        and 1; both 0 for genes without a usable value. None if expression is not used.
    """

    latents: xr.DataArray
    graph: NeighborGraph
    width: float
    rows: np.ndarray | None = None
    expression: np.ndarray | None = None

    @property
    def own(self) -> xr.DataArray:
        """Latents of the genes that are fitted or predicted, (cell_type, row, latent)."""
        return self.latents if self.rows is None else self.latents.isel(gene=self.rows)

    @property
    def positions(self) -> np.ndarray:
        """Positions of these genes among all, (row,)."""
        return np.arange(self.latents.sizes["gene"]) if self.rows is None else self.rows

    def isel(
        self, *, gene: Any = slice(None), cell_type: Any = slice(None)
    ) -> NeighborhoodFeatures:
        """Return a subset of the genes, by position; their neighbors are of all genes."""
        some = self.latents.isel(cell_type=cell_type)
        expression = None if self.expression is None else self.expression[cell_type]
        return replace(self, latents=some, rows=self.positions[gene], expression=expression)


def make_neighborhood_features(
    latents: xr.DataArray,
    graph: NeighborGraph,
    dataset: xr.Dataset,
    expression: np.ndarray | None = None,
) -> NeighborhoodFeatures:
    """Return latents with the neighbors of their genes.

    Parameters
    ----------
    latents : (cell_type, gene, latent)
        Of the dataset, all genes.
    graph
        Of these or of other genes.
    dataset
        For the width of windows.
    expression : (cell_type, gene)
        Levels or labels of neighbors, used as well as their latents. Only of genes that are
        learned from: NaN for all that are to be predicted or scored. No gene sees its own.

    Raises
    ------
    InputFormatError
        If latents are not (cell_type, gene, latent), or of other genes than the dataset.
    MissingExpressionError
        If nothing is known of the expression in a cell type.
    """
    if latents.dims[:2] != PAIR or latents.ndim != 3:
        raise InputFormatError(
            "Latents are (cell_type, gene, latent); these are "
            f"({', '.join(map(str, latents.dims))}).",
            "pass what encoder.transform returns",
        )
    ids = dataset["gene_id"].values
    if not np.array_equal(latents["gene_id"].values, ids):
        raise InputFormatError(
            f"The latents of {latents.sizes['gene']} genes are not of the dataset's {ids.size} "
            "genes, in its order.",
            "transform the whole dataset",
        )
    width = float(dataset.sizes["bin"] * dataset.attrs["bin_size"])
    expression = (
        None
        if expression is None
        else _expression_features(expression, latents["cell_type"].values)
    )
    return NeighborhoodFeatures(latents, graph.on(ids), width, expression=expression)


def _expression_features(expression: np.ndarray, cell_types: np.ndarray) -> np.ndarray:
    """(cell_type, gene) → (cell_type, gene, 2), see `NeighborhoodFeatures`."""
    known = np.isfinite(expression)
    silent = [str(name) for name in cell_types[~known.any(axis=1)]]
    if silent:
        raise MissingExpressionError(
            "The neighbors' expression is used, but no gene that was learned from has a label or a "
            f"level in {first_names(silent)}.",
            "build the dataset with --expression, or fit without --neighbor-expression: on the "
            "neighbors' signal alone",
        )
    mean = np.nanmean(expression, axis=1, keepdims=True)
    spread = np.nanstd(expression, axis=1, keepdims=True)
    level = (expression - mean) / np.where(spread > 0, spread, 1)
    return np.stack([np.where(known, level, 0), known], axis=-1).astype(np.float32)


def edge_features(graph: NeighborGraph, width: float) -> np.ndarray:
    """Return what a model sees of an edge, besides the two genes.

    Returns
    -------
    (edge, feature) float32, each about -1 to 1: log distance, signed (negative is upstream) and
    not; 1 on another chromosome; fraction of the windows that overlaps; orientation; weight, within
    each kind on a logarithmic scale of 0 to 1; rank, on a logarithmic scale; 1 for its kind.
    """
    known = np.isfinite(graph.distance)
    away = np.where(known, np.abs(graph.distance), 0)
    far = np.where(known, np.log1p(away / _KB) / _FAR, 1)
    side = np.where(known, np.sign(np.nan_to_num(graph.distance)), 0)
    weight = np.zeros(graph.n_edges)
    for kind in range(len(graph.kinds)):
        of_kind = graph.kind == kind
        level = np.log1p(np.maximum(graph.weight[of_kind], 0).astype(np.float64))
        weight[of_kind] = level / max(float(level.max(initial=0)), 1e-9)
    columns = [
        side * far,
        far,
        ~known,
        np.where(known, np.maximum(1 - away / width, 0), 0),
        graph.orientation,
        weight,
        np.log1p(graph.rank) / np.log(100),
        *(graph.kind == kind for kind in range(len(graph.kinds))),
    ]
    return np.stack([np.asarray(c, np.float32) for c in columns], axis=1)


def neighbor_means(neighborhood: NeighborhoodFeatures) -> xr.DataArray:
    """Return each gene's own latents and the mean of its neighbors'.

    The weights of edges weigh the mean; a gene without neighbors has 0, the mean of all genes of
    training.

    Returns
    -------
    (cell_type, gene, latent): own latents, then `KIND_neighbors_` and the same of the neighbors,
    of each kind. Where expression is used, then the mean of the neighbors' expression, and the
    fraction of the weight of those that have one.
    """
    latents, graph = neighborhood.latents, neighborhood.graph
    values = latents.values
    parts, names = [values], [str(name) for name in latents["latent"].values]
    own = list(names)
    for kind, name in enumerate(graph.kinds):
        of_kind = graph.keep(graph.kind == kind)
        gene, weight = of_kind.gene, of_kind.weight.astype(np.float64)
        total = np.bincount(gene, weight, minlength=values.shape[1])
        share = weight / np.where(total > 0, total, 1)[gene]
        mean = csr_array((share, of_kind.neighbor, of_kind.offsets), shape=(values.shape[1],) * 2)
        parts.append(np.stack([mean @ each for each in values]).astype(values.dtype))
        names += [f"{name}_neighbors_{each}" for each in own]
        if neighborhood.expression is not None:
            level, known = np.moveaxis(
                np.stack([mean @ each for each in neighborhood.expression]), -1, 0
            )
            level = level / np.where(known > 0, known, 1)
            parts.append(np.stack([level, known], axis=-1).astype(values.dtype))
            names += [f"{name}_neighbors_expression", f"{name}_neighbors_that_tell"]
    joined = xr.DataArray(
        np.concatenate(parts, axis=-1),
        dims=latents.dims,
        coords=pair_coords(latents) | {"latent": names},
        name="latent",
    )
    return joined if neighborhood.rows is None else joined.isel(gene=neighborhood.rows)
