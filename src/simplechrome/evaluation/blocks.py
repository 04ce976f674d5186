"""Runs of neighboring genes that a bootstrap draws together.

Neighboring genes share chromatin, so they are not independent and must not be resampled one by
one.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simplechrome.errors import InputFormatError, MissingCoordinatesError, UndefinedScoreError

logger = logging.getLogger(__name__)

Integers = NDArray[np.int64]

FEWEST_BLOCKS = 20
"""With fewer blocks, percentile intervals are too narrow (k blocks: by about 1 - 1/k, and by the
tails of Student's t), so blocks are shortened before their number falls below this."""


class Blocks(NamedTuple):
    """Which block each row belongs to, and among which blocks each block is drawn."""

    of_row: Integers
    stratum: Integers  # of each block


def lay_out_blocks(
    n_rows: int,
    chrom: ArrayLike | None,
    tss: ArrayLike | None,
    gene: ArrayLike | None,
    block: int,
) -> Blocks:
    """Which rows are drawn together?

    Parameters
    ----------
    n_rows
        How many there are.
    chrom, tss, gene, block
        As in `block_bootstrap`.

    Raises
    ------
    UndefinedScoreError, MissingCoordinatesError, InputFormatError
        As in `block_bootstrap`.
    """
    if (chrom is None) != (tss is None):
        raise MissingCoordinatesError(
            "Only one of `chrom` and `tss` is given.",
            expected="both, or neither for blocks of single genes",
        )
    first_row, gene_of_row = np.arange(n_rows), np.arange(n_rows)
    if gene is not None:
        names = as_rows(np.empty(n_rows), gene)[1]
        _, first_row, gene_of_row = np.unique(names, return_index=True, return_inverse=True)
    if first_row.size < 2:
        raise UndefinedScoreError(
            "An interval needs genes to resample.",
            found=f"{first_row.size} genes",
            expected="2 or more, and hundreds for an interval that says something",
        )
    if chrom is None or tss is None:
        return Blocks(gene_of_row, np.zeros(first_row.size, dtype=np.int64))
    names, starts = as_rows(np.empty(n_rows), chrom, tss)[1:]
    starts = np.nan_to_num(starts.astype(np.float64), nan=-1)
    names = np.where(starts < 0, "", names.astype(str))
    starts = np.where(names == "", -1, starts)
    own = first_row[gene_of_row]
    scattered = np.flatnonzero((names != names[own]) | (starts != starts[own]))
    if scattered.size:
        row = scattered[0]
        raise InputFormatError(
            f"{np.unique(own[scattered]).size} genes lie in more than one place.",
            found=f"the gene of row {row} at {names[row]}:{starts[row]:.0f} and, in row "
            f"{own[row]}, at {names[own[row]]}:{starts[own[row]]:.0f}",
            expected="one chromosome and TSS per gene",
            cause="ids that are not unique, or places in another order than the rows",
        )
    block_of_gene, stratum = cut_into_blocks(names[first_row], starts[first_row], block)
    return Blocks(block_of_gene[gene_of_row], stratum)


def cut_into_blocks(
    chrom: NDArray[Any], tss: NDArray[Any], block: int
) -> tuple[Integers, Integers]:
    """The block of each gene and the stratum of each block; genes without a place are blocks.

    Blocks are fixed and do not overlap. Moving blocks would give a somewhat steadier width
    (Lahiri, Annals of Statistics 1999), but with fixed ones every gene is equally likely without
    joining a chromosome's two ends, and chromosomes too small for a stratum can be pooled.
    A chromosome is cut as evenly as possible, not into full blocks and a short last one, so
    that all resamples hold nearly the same number of genes.
    """
    longest = min(block, max(1, chrom.size // FEWEST_BLOCKS))
    if longest < block:
        logger.debug(
            "%d genes make fewer than %d blocks of %d: their interval rests on blocks of %d",
            *(chrom.size, FEWEST_BLOCKS, block, longest),
        )
    names, chromosome = np.unique(chrom, return_inverse=True)
    n_genes = np.bincount(chromosome)
    n_blocks = np.where(names == "", n_genes, -(-n_genes // longest))
    order = np.lexsort((tss, chromosome))
    rank = np.arange(chrom.size) - np.repeat(np.cumsum(n_genes) - n_genes, n_genes)
    before = np.cumsum(n_blocks) - n_blocks
    block_of_gene = np.empty(chrom.size, dtype=np.int64)
    block_of_gene[order] = np.repeat(before, n_genes) + rank * np.repeat(
        n_blocks, n_genes
    ) // np.repeat(n_genes, n_genes)
    return block_of_gene, _pool_single_blocks(np.repeat(np.arange(names.size), n_blocks))


def _pool_single_blocks(stratum: Integers) -> Integers:
    """Chromosomes of one block would come out the same in every resample: draw among them."""
    sizes = np.bincount(stratum)
    pooled = np.flatnonzero(sizes == 1)
    if pooled.size == 1:  # nothing to exchange it with but the next larger chromosome
        pooled = np.argsort(sizes, kind="stable")[:2]
    return np.where(np.isin(stratum, pooled), sizes.size, stratum)


def draw_blocks(stratum: Integers, n_resamples: int, random: np.random.Generator) -> Integers:
    """How often does each resample hold each block? (block, resample)"""
    by_stratum = np.argsort(stratum, kind="stable")
    sizes = np.bincount(stratum)
    first = np.cumsum(sizes) - sizes
    # One call over all blocks, resample after resample, so that the same seed gives the same
    # resamples however they are chunked.
    picked = random.integers(0, sizes[stratum], size=(n_resamples, stratum.size))
    picked = by_stratum[picked + first[stratum]]
    cell = picked * n_resamples + np.arange(n_resamples)[:, np.newaxis]
    times = np.bincount(cell.ravel(), minlength=stratum.size * n_resamples)
    return times.reshape(stratum.size, n_resamples)


def as_rows(*arrays: ArrayLike) -> tuple[NDArray[Any], ...]:
    """Make arrays of what belongs together row by row.

    Raises
    ------
    InputFormatError
        If lengths differ.
    """
    rows = tuple(np.atleast_1d(np.asarray(array)) for array in arrays)
    if len({len(array) for array in rows}) != 1:
        raise InputFormatError(
            "Arrays that belong together have different numbers of rows.",
            found=", ".join(str(len(array)) for array in rows) or "no arrays",
            expected="one row per gene, or per gene and cell type, in each",
        )
    return rows
