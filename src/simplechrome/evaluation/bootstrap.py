"""How sure are a score, and the difference of two scores, on one set of test genes?

Neighboring genes share chromatin, so they are not independent and must not be resampled one
by one: runs of consecutive genes are drawn together.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simplechrome.errors import (
    ConfigError,
    InputFormatError,
    MissingCoordinatesError,
    UndefinedScoreError,
)
from simplechrome.metrics import auroc, auroc_of_resamples

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


Statistic = Callable[..., float]

LARGEST_UNDEFINED_SHARE = 0.1
"""With more undefined resamples than this, those that are left are no fair sample."""

_CHUNK_ELEMENTS = 1 << 20  # of a weight matrix: 8 MB, which stays near the cache


class Interval(NamedTuple):
    """A value and the range in which it would lie for other genes of the same kind."""

    value: float
    low: float
    high: float
    level: float
    """Share of such intervals that should hold the true value, as .95."""
    n_resamples: int
    """Resamples that the interval rests on; undefined ones are not among them."""


def block_bootstrap(
    statistic: Statistic,
    *arrays: ArrayLike,
    chrom: ArrayLike | None = None,
    tss: ArrayLike | None = None,
    gene: ArrayLike | None = None,
    n_resamples: int = 1000,
    block: int = 50,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Between which values does a score lie, given that neighboring genes are alike?

    Genes are sorted by TSS within chromosomes and cut into blocks of consecutive genes; each
    chromosome's blocks are drawn with replacement among themselves, and the interval runs
    between percentiles of the resampled scores. Rows of one gene (in several cell types) are
    drawn together. Genes without a place, and all genes where `chrom` and `tss` are None, are
    drawn one by one: such an interval takes them for independent and is rather too narrow.
    So is one of tracks that cover a few regions, whose genes share all around them: pass the
    regions as `gene`, without places, and each is drawn as one.

    Parameters
    ----------
    statistic
        Called as ``statistic(*arrays)``, returns one number; `UndefinedScoreError` or NaN
        marks a resample without a value. `metrics.auroc` itself takes a fast way; any other
        function is called once per resample.
    arrays : (row, ...) each
        Usually label and score. A row is a gene, or a gene in one cell type.
    chrom : (row,), chromosome; empty if unknown
    tss : (row,), 0-based; negative or NaN if unknown
    gene : (row,)
        Ids that say which rows are the same gene. Each row is a gene if None.
    n_resamples
        Number of resamples.
    block
        Most genes in a block. Shortened, with a note to the log, where there are so few genes
        that fewer than `FEWEST_BLOCKS` blocks would be left.
    seed
        The same seed and genes give the same resamples.
    level
        Share of such intervals that should hold the true value.

    Returns
    -------
    `Interval` around the score of the arrays as they are.

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
        If `n_resamples`, `block` or `level` make no sense.

    References
    ----------
    Carlstein, Annals of Statistics 1986 (blocks that do not overlap); Efron and Tibshirani,
    An Introduction to the Bootstrap, 1993, chapter 13 (percentile interval).
    """
    _check_options(n_resamples, block, level)
    samples = (as_rows(*arrays),)
    blocks = lay_out_blocks(len(samples[0][0]), chrom, tss, gene, block)
    value = float(statistic(*samples[0]))
    values = _resampled(statistic, samples, blocks, n_resamples, seed)[0]
    return _percentile_interval(value, values, level)


class GroupResamples(NamedTuple):
    """The scores of several groups of rows, as cell types, on the same resamples of genes."""

    values: dict[str, float]
    """Group -> its score on the rows as they are."""
    resampled: dict[str, NDArray[np.float64]]
    """Group -> its score on each resample, NaN where it has none."""
    level: float

    def interval(self, group: str) -> Interval:
        """Between which values does one group's score lie? Errors as in `block_bootstrap`."""
        return _percentile_interval(self.values[group], self.resampled[group], self.level)

    def mean(self) -> Interval:
        """Between which values does the mean over groups lie?

        A resample in which any group has no score has no mean: the mean of the others would be
        one of other groups. Errors as in `block_bootstrap`.
        """
        value = float(np.mean(list(self.values.values())))
        resampled = np.mean(list(self.resampled.values()), axis=0)
        return _percentile_interval(value, resampled, self.level)


def block_bootstrap_of_groups(
    statistic: Statistic,
    *arrays: ArrayLike,
    group: ArrayLike,
    gene: ArrayLike,
    chrom: ArrayLike | None = None,
    tss: ArrayLike | None = None,
    n_resamples: int = 1000,
    block: int = 50,
    seed: int = 0,
    level: float = 0.95,
) -> GroupResamples:
    """How sure are the scores of several cell types, and their mean, on the same genes?

    Genes, not rows, are drawn, and the same blocks of genes in all groups: what is hard about a
    gene is hard in most cell types, so their scores rise and fall together, and their mean is
    less sure than that of as many independent ones.

    Parameters
    ----------
    statistic, arrays, chrom, tss, n_resamples, block, seed, level
        As in `block_bootstrap`. The statistic is computed within each group.
    group : (row,), name of the group, as the cell type, of each row
    gene : (row,), ids that say which rows are the same gene

    Raises
    ------
    UndefinedScoreError, MissingCoordinatesError, InputFormatError, ConfigError
        As in `block_bootstrap`; the score must have a value in each group.
    """
    _check_options(n_resamples, block, level)
    *rows, groups = as_rows(*arrays, group)
    blocks = lay_out_blocks(len(groups), chrom, tss, gene, block)
    values, resampled = {}, {}
    for name in dict.fromkeys(groups.tolist()):
        members = np.flatnonzero(groups == name)
        sample = tuple(array[members] for array in rows)
        # The draw depends on the seed and on all blocks, not on the rows: it is the same for
        # every group.
        own = Blocks(blocks.of_row[members], blocks.stratum)
        values[str(name)] = float(statistic(*sample))
        resampled[str(name)] = _resampled(statistic, (sample,), own, n_resamples, seed)[0]
    return GroupResamples(values, resampled, level)


def paired_block_bootstrap(
    statistic: Statistic,
    label: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *others: ArrayLike,
    chrom: ArrayLike | None = None,
    tss: ArrayLike | None = None,
    gene: ArrayLike | None = None,
    n_resamples: int = 1000,
    block: int = 50,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """By how much does the first method score above the second, on the same genes?

    Both are scored on the same resamples, so that what makes a resample easy or hard for
    both cancels. All else is as in `block_bootstrap`.

    Parameters
    ----------
    statistic
        Called as ``statistic(label, first, *others)`` and ``statistic(label, second, *others)``.
    label : (row, ...), the truth: label or expression
    first, second : (row, ...), scores or predictions of the two methods
    others : (row, ...) each, what else the statistic needs, as the cell type of each row
    chrom, tss, gene, n_resamples, block, seed, level
        As in `block_bootstrap`.

    Returns
    -------
    `Interval` of statistic(first) - statistic(second); above 0 the first scores higher.

    Raises
    ------
    UndefinedScoreError, MissingCoordinatesError, InputFormatError, ConfigError
        As in `block_bootstrap`; a resample is undefined if either score is.
    """
    _check_options(n_resamples, block, level)
    truth, one, other, *rest = as_rows(label, first, second, *others)
    samples = ((truth, one, *rest), (truth, other, *rest))
    blocks = lay_out_blocks(len(truth), chrom, tss, gene, block)
    value = float(statistic(*samples[0])) - float(statistic(*samples[1]))
    values = _resampled(statistic, samples, blocks, n_resamples, seed)
    return _percentile_interval(value, values[0] - values[1], level)


def _resampled(
    statistic: Statistic,
    samples: tuple[tuple[NDArray[Any], ...], ...],
    blocks: Blocks,
    n_resamples: int,
    seed: int,
) -> NDArray[np.float64]:
    """The statistic of every sample on the same resamples: (sample, resample), NaN if undefined."""
    random = np.random.default_rng(seed)
    values = np.full((len(samples), n_resamples), np.nan)
    size = max(1, _CHUNK_ELEMENTS // blocks.of_row.size)
    for start in range(0, n_resamples, size):
        stop = min(start + size, n_resamples)
        times = draw_blocks(blocks.stratum, stop - start, random)
        if statistic is auroc and len(samples[0]) == 2:
            weight = times.astype(np.float64)[blocks.of_row]
            for (label, score), row in zip(samples, values, strict=True):
                row[start:stop] = auroc_of_resamples(label, score, weight)
        else:
            for resample in range(start, stop):
                drawn = times[:, resample - start][blocks.of_row]
                rows = np.repeat(np.arange(drawn.size), drawn)
                for sample, row in zip(samples, values, strict=True):
                    row[resample] = _value_or_nan(statistic, sample, rows)
    return values


def _value_or_nan(statistic: Statistic, sample: tuple[NDArray[Any], ...], rows: Integers) -> float:
    try:
        return float(statistic(*(array[rows] for array in sample)))
    except UndefinedScoreError:
        return float("nan")


def _percentile_interval(value: float, values: NDArray[np.float64], level: float) -> Interval:
    if np.isnan(value):  # from a statistic that does not raise, as some of other libraries
        raise UndefinedScoreError("The score is NaN for the genes given, so it has no interval.")
    defined = values[~np.isnan(values)]
    n_undefined = values.size - defined.size
    if n_undefined > LARGEST_UNDEFINED_SHARE * values.size:
        raise UndefinedScoreError(
            "The interval has no value: too many resamples have no score.",
            found=f"{n_undefined} of {values.size} resamples undefined",
            expected=f"at most {LARGEST_UNDEFINED_SHARE:.0%}",
            cause="one class has only a few genes, and many resamples draw none of them",
            remedy="score more genes at once",
        )
    if n_undefined:
        logger.info("%d of %d resamples have no score, left out", n_undefined, values.size)
    tail = (1 - level) / 2
    low, high = np.quantile(defined, (tail, 1 - tail))
    return Interval(value, float(low), float(high), level, defined.size)


def _check_options(n_resamples: int, block: int, level: float) -> None:
    for name, number, fits, expected in (
        ("n_resamples", n_resamples, n_resamples >= 1, "1 or more; 1000 is usual"),
        ("block", block, block >= 1, "1 or more genes; 50 is usual"),
        ("level", level, 0 < level < 1, "between 0 and 1, as 0.95"),
    ):
        if not fits:
            raise ConfigError(
                f"No interval can be made with this `{name}`.",
                found=str(number),
                expected=expected,
            )
