"""Neighbors in function: co-expressed, in the same gene sets, or listed in pairs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from scipy import sparse

from simplechrome.dataset.neighbors.genomic import symmetric_graph, weighted_graph
from simplechrome.dataset.neighbors.graph import NeighborGraph, require_number
from simplechrome.errors import ConfigError, InputFormatError, MissingExpressionError, first_names

log = logging.getLogger(__name__)

COEXPRESSION, LISTED, SETS = "coexpression", "listed", "sets"
FEWEST_CELL_TYPES = 5
"""Below which correlations between genes are chance."""
LARGEST_SET = 500
"""Genes in a set, beyond which sharing it means little."""
_AT_ONCE = 2_000  # genes whose correlations with all others are in memory


def coexpression_neighbors(
    dataset: xr.Dataset, expression: pd.DataFrame, n: int = 50, *, leave_out: Sequence[str]
) -> NeighborGraph:
    """Return genes whose expression correlates over other cell types.

    Parameters
    ----------
    dataset : whose genes are meant
    expression : (gene_id, cell_type)
        RPKM or TPM, as `read_expression` gives it.
    n : neighbors per gene
    leave_out : the cell types whose expression is to be predicted, which correlations must not use:
        they would carry the label of a test gene. Named even where the table does not hold them.

    Returns edges of the kind `coexpression`, weighted by Pearson's correlation of log2(expression +
    1) over the other cell types. Genes that do not vary, or that the table does not hold, have no
    neighbors; correlations of 0 and below are no neighbors.

    Raises ConfigError if `leave_out` is empty, or `n` is negative; MissingExpressionError if too
    few cell types remain, or no gene is in the table.
    """
    if not leave_out:
        raise ConfigError(
            "leave_out is empty: co-expression must not use the cell types to be predicted.",
            "name them",
        )
    require_number(n)
    left = [name for name in expression.columns if str(name) not in set(leave_out)]
    ids = dataset["gene_id"].values
    held = pd.Index(ids).isin(expression.index)
    if len(left) < FEWEST_CELL_TYPES or not held.any():
        raise MissingExpressionError(
            f"Co-expression needs {FEWEST_CELL_TYPES} cell types besides {', '.join(leave_out)} "
            f"and genes of the dataset: found {len(left)} cell types, and {int(held.sum())} of "
            f"{ids.size} genes.",
            "pass the expression of many cell types (--expression)",
        )
    level = np.log2(expression[left].reindex(ids).to_numpy(np.float64) + 1)
    level = np.where(np.isfinite(level), level, np.nan)
    # A gap counts as the gene's own mean.
    mean = np.zeros((ids.size, 1))
    known = np.isfinite(level).any(axis=1)
    mean[known] = np.nanmean(level[known], axis=1, keepdims=True)
    centered = np.nan_to_num(level - mean)
    length = np.linalg.norm(centered, axis=1, keepdims=True)
    varies = length[:, 0] > 1e-6
    unit = np.where(varies[:, np.newaxis], centered / np.where(length > 0, length, 1), 0)
    gene, neighbor, weight = _most_alike(unit.astype(np.float32), n)
    log.info(
        "co-expression over %d cell types: %d edges, %d of %d genes have none",
        *(len(left), gene.size, ids.size - np.unique(gene).size, ids.size),
    )
    return weighted_graph(dataset, gene, neighbor, weight, COEXPRESSION)


def _most_alike(unit: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return edges to the n rows with the largest positive product of unit vectors."""
    genes, wanted = len(unit), min(n, len(unit) - 1)
    if wanted < 1:
        return np.empty(0, int), np.empty(0, int), np.empty(0)
    parts = []
    for start in range(0, genes, _AT_ONCE):
        alike = unit[start : start + _AT_ONCE] @ unit.T
        rows = np.arange(len(alike))
        alike[rows, start + rows] = -1  # not itself
        best = np.argpartition(-alike, wanted - 1, axis=1)[:, :wanted]
        weight = np.take_along_axis(alike, best, axis=1)
        positive = weight > 0
        gene = np.broadcast_to((start + rows)[:, np.newaxis], best.shape)
        parts.append((gene[positive], best[positive], weight[positive]))
    gene, neighbor, weight = (np.concatenate([part[k] for part in parts]) for k in range(3))
    return gene, neighbor, weight


def listed_neighbors(dataset: xr.Dataset, pairs: pd.DataFrame, n: int | None = 50) -> NeighborGraph:
    """Return genes of the same pair in a list, as of interacting proteins.

    Parameters
    ----------
    dataset : whose genes are meant, by gene_id or by a gene_name that only one gene has
    pairs : columns one, other, weight
        As `read_pairs` gives them. Each pair holds both ways; of repeated ones the largest weight
        counts.
    n : at most so many per gene, largest weights first; all if None

    Returns edges of the kind `listed`.

    Raises InputFormatError if no pair leads from a gene of the dataset to another.
    """
    one, other = find_genes(dataset, pairs["one"]), find_genes(dataset, pairs["other"])
    known = (one >= 0) & (other >= 0) & (one != other)
    if not known.any():
        raise InputFormatError(
            "No pair of the list joins two genes of the dataset: found "
            + ", ".join(f"{a} – {b}" for a, b in pairs[["one", "other"]].head(3).to_numpy())
            + f", expected ids such as {first_names(dataset['gene_id'].values, 3)}, or gene names.",
            "translate ids of proteins or of another annotation to those of the gene table",
        )
    log.info("%d of %d pairs join two genes of the dataset", int(known.sum()), known.size)
    weight = pairs["weight"].to_numpy(float)[known]
    graph = symmetric_graph(dataset, one[known], other[known], weight, LISTED)
    return graph if n is None else graph.first(n)


def set_neighbors(
    dataset: xr.Dataset,
    sets: Mapping[str, Sequence[str]],
    n: int | None = 50,
    *,
    largest: int = LARGEST_SET,
) -> NeighborGraph:
    """Return genes of the same sets, as pathways.

    Parameters
    ----------
    dataset : whose genes are meant, by gene_id or by a gene_name that only one gene has
    sets : name → members, as `read_gene_sets` gives them
    n : at most so many per gene, largest weights first; all if None
    largest : sets of more genes of the dataset are skipped, and counted

    Returns edges of the kind `sets`. Each set that two genes share adds 1 / (its genes − 1) to the
    weight: what is common to few counts most.

    Raises InputFormatError if no set holds two genes of the dataset.
    """
    members = [np.unique(find_genes(dataset, list(names))) for names in sets.values()]
    members = [rows[rows >= 0] for rows in members]
    usable = [rows for rows in members if 2 <= rows.size <= largest]
    too_large = sum(rows.size > largest for rows in members)
    if too_large:
        log.info("%d sets of more than %d genes are skipped", too_large, largest)
    if not usable:
        raise InputFormatError(
            f"No gene set holds 2 to {largest} genes of the dataset: found {len(sets)} sets, "
            f"{too_large} of them larger.",
            "use gene_id or gene_name of the dataset's annotation",
        )
    rows = np.concatenate(usable)
    columns = np.repeat(np.arange(len(usable)), [each.size for each in usable])
    shape = (dataset.sizes["gene"], len(usable))
    member = sparse.csr_array((np.ones(rows.size), (rows, columns)), shape=shape)
    share = sparse.dia_array(
        ([[1 / (each.size - 1) for each in usable]], [0]), shape=(len(usable),) * 2
    )
    together = (member @ share @ member.T).tocoo()
    other = together.row != together.col
    gene, neighbor, weight = (x[other] for x in (together.row, together.col, together.data))
    graph = weighted_graph(dataset, gene, neighbor, weight, SETS)
    return graph if n is None else graph.first(n)


def find_genes(dataset: xr.Dataset, names: Sequence[str] | pd.Series) -> np.ndarray:
    """Return the row of each name: a gene_id, an id without its version, a unique gene_name.

    Returns (name,) int64, -1 where no gene, or more than one, has it.
    """
    asked = pd.Index(np.asarray(names, dtype=object).astype(str))
    ids = pd.Index(dataset["gene_id"].values.astype(str))
    found = ids.get_indexer(asked)
    plain = asked.str.replace(r"\.\d+$", "", regex=True)
    found = np.where(found < 0, ids.get_indexer(plain), found)
    if "gene_name" in dataset.coords:
        symbols = dataset["gene_name"].values.astype(str)
        unique, first, counts = np.unique(symbols, return_index=True, return_counts=True)
        sole = (counts == 1) & (unique != "")
        at = pd.Index(unique[sole]).get_indexer(asked)
        by_name = np.where(at >= 0, first[sole][at] if sole.any() else -1, -1)
        found = np.where(found < 0, by_name, found)
    return np.asarray(found, np.int64)
