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
    UndefinedScoreError,
)
from simplechrome.evaluation.blocks import Blocks, Integers, as_rows, draw_blocks, lay_out_blocks
from simplechrome.metrics import auroc, auroc_of_resamples

logger = logging.getLogger(__name__)

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
