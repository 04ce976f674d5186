"""Confidence intervals of a score, or of the difference of two, by a bootstrap of blocks of genes.

Neighboring genes share chromatin, so they are not independent and must not be resampled one
by one: runs of consecutive genes are drawn together.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from simplechrome.errors import (
    ConfigError,
    InputFormatError,
    MissingCoordinatesError,
    UndefinedScoreError,
)
from simplechrome.metrics import METRICS, ByBlock, Floats, Integers, Score

logger = logging.getLogger(__name__)

FEWEST_BLOCKS = 20
"""With fewer blocks, percentile intervals are too narrow (k blocks: by about 1 - 1/k, and by the
tails of Student's t), so blocks are shortened before their number falls below this."""
MAX_UNDEFINED_FRACTION = 0.1
"""With more undefined resamples than this, the remaining ones are a biased sample."""
_MOST_BLOCKS = 1000  # beyond, matrices of (gene, block) cost more than scoring each resample
_CHUNK_ELEMENTS = 1 << 22  # of (block, resample): 32 MB


class Blocks(NamedTuple):
    """The block of each row, and the stratum of each block, within which it is drawn."""

    of_row: Integers
    stratum: Integers


def lay_out_blocks(
    n_rows: int,
    chrom: ArrayLike | None,
    tss: ArrayLike | None,
    gene: ArrayLike | None,
    block: int,
) -> Blocks:
    """Return which rows are drawn together; parameters and errors as in `block_bootstrap`."""
    if (chrom is None) != (tss is None):
        raise MissingCoordinatesError(
            "Only one of `chrom` and `tss` is given.",
            "pass both, or neither for blocks of single genes",
        )
    first_row, gene_of_row = np.arange(n_rows), np.arange(n_rows)
    if gene is not None:
        names = as_rows(np.empty(n_rows), gene)[1]
        _, first_row, gene_of_row = np.unique(names, return_index=True, return_inverse=True)
    if first_row.size < 2:
        raise UndefinedScoreError(
            f"An interval cannot be made from {first_row.size} genes.",
            "score 2 or more, and hundreds for a useful interval",
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
            f"{np.unique(own[scattered]).size} genes lie in more than one place: the gene of row "
            f"{row} at {names[row]}:{starts[row]:.0f} and, in row {own[row]}, at "
            f"{names[own[row]]}:{starts[own[row]]:.0f}.",
            "pass unique ids, and places in the order of the rows",
        )
    block_of_gene, stratum = cut_into_blocks(names[first_row], starts[first_row], block)
    return Blocks(block_of_gene[gene_of_row], stratum)


def cut_into_blocks(
    chrom: NDArray[Any], tss: NDArray[Any], block: int
) -> tuple[Integers, Integers]:
    """Return the block of each gene and the stratum of each block.

    Genes without a place are blocks of their own. Blocks are fixed and do not overlap: moving
    blocks would give a somewhat steadier width (Lahiri, Annals of Statistics 1999), but with fixed
    ones every gene is equally likely, and chromosomes too small for a stratum can be pooled.
    A chromosome is cut as evenly as possible, so that all resamples hold nearly the same number
    of genes.
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
    """Pool chromosomes of one block, which would be the same in every resample."""
    sizes = np.bincount(stratum)
    pooled = np.flatnonzero(sizes == 1)
    if pooled.size == 1:  # nothing to exchange it with but the next larger chromosome
        pooled = np.argsort(sizes, kind="stable")[:2]
    return np.where(np.isin(stratum, pooled), sizes.size, stratum)


def draw_blocks(stratum: Integers, n_resamples: int, random: np.random.Generator) -> Integers:
    """Return how often each resample holds each block, (block, resample)."""
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
    """Return arrays of one row each; `InputFormatError` if their lengths differ."""
    rows = tuple(np.atleast_1d(np.asarray(array)) for array in arrays)
    if len({len(array) for array in rows}) != 1:
        found = ", ".join(str(len(array)) for array in rows) or "no arrays"
        raise InputFormatError(
            f"Arrays that belong together have different numbers of rows: {found}.",
            "pass one row per gene, or per gene and cell type, in each",
        )
    return rows


def by_rows(statistic: Score) -> ByBlock:
    """Return a score's form by block that computes it for each resample, from its rows."""

    def score(*arguments: Any) -> Floats:
        *arrays, block, times = arguments
        values = np.full(times.shape[1], np.nan)
        for resample, drawn in enumerate(times.astype(np.int64).T):
            rows = np.repeat(np.arange(block.size), drawn[block])
            with suppress(UndefinedScoreError):
                values[resample] = statistic(*(array[rows] for array in arrays))
        return values

    return score


def _form_by_block(statistic: Score, n_blocks: int) -> ByBlock:
    """The fast form of a registered metric where it gives the same numbers."""
    if n_blocks <= _MOST_BLOCKS:
        for metric in map(METRICS.get, METRICS.names()):
            if metric.function is statistic and metric.by_block and metric.by_block_exact:
                return metric.by_block
    return by_rows(statistic)


class Interval(NamedTuple):
    """A value and its confidence interval.

    level : nominal coverage, as .95
    n_resamples : resamples that the interval is based on, without undefined ones
    """

    value: float
    low: float
    high: float
    level: float
    n_resamples: int


def block_bootstrap(
    statistic: Score,
    *arrays: ArrayLike,
    chrom: ArrayLike | None = None,
    tss: ArrayLike | None = None,
    gene: ArrayLike | None = None,
    n_resamples: int = 1000,
    block: int = 50,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Return a score and its confidence interval, given that neighboring genes are dependent.

    Genes are sorted by TSS within chromosomes and cut into blocks of consecutive genes; each
    chromosome's blocks are drawn with replacement among themselves (Carlstein, Annals of
    Statistics 1986), and the interval runs between percentiles of the resampled scores (Efron and
    Tibshirani 1993, chapter 13). Rows of one gene (in several cell types) are drawn together.
    Genes without a place, and all genes where `chrom` and `tss` are None, are drawn one by one:
    such an interval assumes independent genes and is rather too narrow. So is one of tracks that
    cover a few regions: pass the regions as `gene`, without places, and each is drawn as one.

    Parameters
    ----------
    statistic
        Called as ``statistic(*arrays)``, returns one number; `UndefinedScoreError` or NaN
        marks a resample without a value. Functions of registered metrics with an exact form by
        block are fast; any other is called once per resample.
    arrays : (row, ...) each
        Usually label and score. A row is a gene, or a gene in one cell type.
    chrom : (row,), chromosome; empty if unknown
    tss : (row,), 0-based; negative or NaN if unknown
    gene : (row,), ids of the rows' genes; each row is a gene if None
    n_resamples
        Number of resamples.
    block
        Largest number of genes in a block; shortened, with a note to the log, to leave
        `FEWEST_BLOCKS` blocks.
    seed
        The same seed and genes give the same resamples.
    level
        Nominal coverage of the interval.

    Raises
    ------
    UndefinedScoreError
        If the score has no value for the arrays, if more than a tenth of the resamples have
        none, or if there are fewer than two genes.
    MissingCoordinatesError
        If only one of `chrom` and `tss` is given.
    InputFormatError
        If lengths differ, or one gene's rows lie in several places.
    ConfigError
        If `n_resamples`, `block` or `level` are out of range.
    """
    rows = as_rows(*arrays)
    draw = _Draw(len(rows[0]), chrom, tss, gene, n_resamples, block, seed, level)
    return draw.interval(float(statistic(*rows)), draw.resample(statistic, rows))


def paired_block_bootstrap(
    statistic: Score,
    label: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *others: ArrayLike,
    **options: Any,
) -> Interval:
    """Return by how much the first method scores above the second, on the same genes.

    Both are scored on the same resamples, so what makes one easy or hard for both cancels.

    Parameters
    ----------
    statistic
        Called as ``statistic(label, first, *others)`` and ``statistic(label, second, *others)``.
    label : (row, ...), the truth: label or expression
    first, second : (row, ...), scores or predictions of the two methods
    others : (row, ...) each, what else the statistic needs, as the cell type of each row
    options
        chrom, tss, gene, n_resamples, block, seed and level, as in `block_bootstrap`, whose errors
        are raised too; a resample is undefined if either score is.
    """
    truth, one, other, *rest = as_rows(label, first, second, *others)
    draw = _Draw(len(truth), **options)
    samples = ((truth, one, *rest), (truth, other, *rest))
    value = float(statistic(*samples[0])) - float(statistic(*samples[1]))
    resampled = [draw.resample(statistic, sample) for sample in samples]
    return draw.interval(value, resampled[0] - resampled[1])


class GroupResamples(NamedTuple):
    """Scores of several groups of rows, as cell types, on the same resamples of genes.

    values : group -> its score on the rows as they are
    resampled : group -> its score on each resample, NaN where it has none
    """

    draw: _Draw
    values: dict[str, float]
    resampled: dict[str, Floats]

    def interval(self, group: str) -> Interval:
        """Return the interval of one group's score. Errors as in `block_bootstrap`."""
        return self.draw.interval(self.values[group], self.resampled[group])

    def mean(self) -> Interval:
        """Return the interval of the mean over groups. Errors as in `block_bootstrap`.

        A resample in which any group has no score has no mean.
        """
        value = float(np.mean(list(self.values.values())))
        return self.draw.interval(value, np.mean(list(self.resampled.values()), axis=0))


def block_bootstrap_of_groups(
    statistic: Score, *arrays: ArrayLike, group: ArrayLike, gene: ArrayLike, **options: Any
) -> GroupResamples:
    """Resample the scores of several cell types together, on the same draws of genes.

    Genes, not rows, are drawn, and the same blocks of genes in all groups: a gene that is hard in
    one cell type is hard in most, so their scores rise and fall together, and their mean is less
    certain than that of as many independent ones.

    Parameters
    ----------
    statistic, arrays
        As in `block_bootstrap`, computed within each group; the errors are the same.
    group : (row,), name of the group, as the cell type, of each row
    gene : (row,), ids of the rows' genes
    options
        chrom, tss, n_resamples, block, seed and level, as in `block_bootstrap`.
    """
    *rows, groups = as_rows(*arrays, group)
    draw = _Draw(len(groups), gene=gene, **options)
    values, resampled = {}, {}
    for name in dict.fromkeys(groups.tolist()):
        members = np.flatnonzero(groups == name)
        sample = tuple(array[members] for array in rows)
        values[str(name)] = float(statistic(*sample))
        resampled[str(name)] = draw.resample(statistic, sample, members)
    return GroupResamples(draw, values, resampled)


class _Draw:
    """Resamples of the same rows; parameters as in `block_bootstrap`."""

    def __init__(
        self,
        n_rows: int,
        chrom: ArrayLike | None = None,
        tss: ArrayLike | None = None,
        gene: ArrayLike | None = None,
        n_resamples: int = 1000,
        block: int = 50,
        seed: int = 0,
        level: float = 0.95,
    ) -> None:
        for name, number, valid, expected in (
            ("n_resamples", n_resamples, n_resamples >= 1, "pass 1 or more; 1000 is usual"),
            ("block", block, block >= 1, "pass 1 or more genes; 50 is usual"),
            ("level", level, 0 < level < 1, "pass a level between 0 and 1, as 0.95"),
        ):
            if not valid:
                raise ConfigError(f"No interval can be made with `{name}` = {number}.", expected)
        self.n_resamples, self.seed, self.level = n_resamples, seed, level
        self.blocks = lay_out_blocks(n_rows, chrom, tss, gene, block)

    def resample(
        self,
        statistic: Score,
        sample: Sequence[NDArray[Any]],
        members: Integers | slice = slice(None),
    ) -> Floats:
        """Return the score of some rows on each resample, (resample,), NaN if undefined."""
        of_row, stratum = self.blocks.of_row[members], self.blocks.stratum
        form = _form_by_block(statistic, stratum.size)
        random = np.random.default_rng(self.seed)
        size = max(1, _CHUNK_ELEMENTS // stratum.size)
        parts = []
        # Matrices of 50 rows are faster without threads, and by far where cores are shared.
        with threadpool_limits(1):
            for start in range(0, self.n_resamples, size):
                times = draw_blocks(stratum, min(size, self.n_resamples - start), random)
                parts.append(form(*sample, of_row, times.astype(np.float64)))
        return np.concatenate(parts)

    def interval(self, value: float, values: Floats) -> Interval:
        if np.isnan(value):  # from a statistic that does not raise, as some of other libraries
            raise UndefinedScoreError(
                "The score is NaN for the genes given, so it has no interval."
            )
        defined = values[~np.isnan(values)]
        n_undefined = values.size - defined.size
        if n_undefined > MAX_UNDEFINED_FRACTION * values.size:
            raise UndefinedScoreError(
                f"The interval has no value: {n_undefined} of {values.size} resamples undefined, "
                f"and at most {MAX_UNDEFINED_FRACTION:.0%} may be.",
                "score more genes at once: one class has only a few, and many resamples none",
            )
        if n_undefined:
            logger.info("%d of %d resamples have no score", n_undefined, values.size)
        tail = (1 - self.level) / 2
        low, high = np.quantile(defined, (tail, 1 - tail))
        return Interval(value, float(low), float(high), self.level, defined.size)
