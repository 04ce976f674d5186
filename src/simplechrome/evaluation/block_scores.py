"""Scores of many resamples of the same genes at once, from what each block of genes adds to them.

A bootstrap draws blocks, so a resample is known by how often it holds each block. All that a score
needs is counted by block once, and the resamples are products of matrices with some fifty rows:
a thousand resamples take as long as a few scores of their own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from simplechrome.evaluation.bootstrap import Integers

Floats = NDArray[np.floating]
BlockScore = Callable[[Floats, Floats, Integers, Floats], Floats]
"""(target (gene,), prediction (gene,), block of each gene (gene,), how often each resample holds
each block (block, resample)) → (resample,); NaN where a resample has no score."""

CALIBRATION_BINS = 15


def _by_block(values: Floats, block: Integers, times: Floats) -> Floats:
    """Sums over the genes of each resample: (gene, value) → (value, resample)."""
    sums = [np.bincount(block, column, minlength=len(times)) for column in values.T]
    return np.stack(sums) @ times


def _one_hot(block: Integers, n_blocks: int) -> Floats:
    """(gene, block) in f32: counts stay exact up to 16 million genes."""
    held = np.zeros((block.size, n_blocks), dtype=np.float32)
    held[np.arange(block.size), block] = 1
    return held


def auroc(label: Floats, score: Floats, block: Integers, times: Floats) -> Floats:
    """See `simplechrome.metrics.auroc`.

    Pairs of a high and a low gene are won by pairs of blocks, so a resample's share is a quadratic
    form of its blocks.
    """
    high = label == 1
    order = np.flatnonzero(~high)[np.argsort(score[~high], kind="stable")]
    below = np.zeros((order.size + 1, len(times)), dtype=np.float32)
    np.cumsum(_one_hot(block[order], len(times)), axis=0, out=below[1:])
    # Low genes under each high gene, and those up to it; their mean counts a tie one half.
    under = np.searchsorted(score[order], score[high], side="left")
    up_to = np.searchsorted(score[order], score[high], side="right")
    won_twice = _one_hot(block[high], len(times)).T @ (below[under] + below[up_to])
    won = np.einsum("ij,ij->j", times, won_twice.astype(np.float64) @ times)
    size = np.bincount(block[high], minlength=len(times)) @ times
    return _share(won, 2 * size * (below[-1].astype(np.float64) @ times))


def auprc(label: Floats, score: Floats, block: Integers, times: Floats) -> Floats:
    """See `simplechrome.metrics.auprc`."""
    order = np.argsort(-score, kind="stable")
    ranked, high = score[order], label[order] == 1
    last_of_tie = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), ranked.size - 1)
    held = _one_hot(block[order], len(times))
    found = np.cumsum(held * high[:, np.newaxis], axis=0)[last_of_tie]
    seen = np.cumsum(held, axis=0)[last_of_tie]
    # Where no high gene enters, nothing is gained.
    gains = np.flatnonzero(np.diff(found.sum(axis=1), prepend=0))
    counts = times.astype(np.float32)
    found_drawn, seen_drawn = found[gains] @ counts, seen[gains] @ counts
    gained = np.diff(found_drawn, axis=0, prepend=0)
    precision = np.divide(found_drawn, seen_drawn, out=gained * 0, where=seen_drawn > 0)
    total = np.einsum("ij,ij->j", gained, precision, dtype=np.float64)
    n_high, n = (part[-1].astype(np.float64) @ times for part in (found, seen))
    return _share(total, n_high, where=n > n_high)


def accuracy(label: Floats, probability: Floats, block: Integers, times: Floats) -> Floats:
    """See `simplechrome.metrics.accuracy`."""
    right = (probability > 0.5) == (label == 1)
    n_right, n = _by_block(np.stack([right, np.ones(right.size)], axis=1), block, times)
    return _share(n_right, n)


def balanced_accuracy(label: Floats, probability: Floats, block: Integers, times: Floats) -> Floats:
    """See `simplechrome.metrics.balanced_accuracy`."""
    sides = [label == side for side in (0, 1)]
    of_class = [accuracy(label[at], probability[at], block[at], times) for at in sides]
    return np.mean(of_class, axis=0)


def brier(label: Floats, probability: Floats, block: Integers, times: Floats) -> Floats:
    """See `simplechrome.metrics.brier`."""
    values = np.stack([np.square(probability - label), np.ones(label.size)], axis=1)
    return _share(*_by_block(values, block, times))


def expected_calibration_error(
    label: Floats, probability: Floats, block: Integers, times: Floats
) -> Floats:
    """See `simplechrome.metrics.expected_calibration_error`; bins are those of all genes.

    A resample differs from its own calibration by chance too, so resampled errors are larger than
    that of the genes as they are.
    """
    rank = rankdata(probability)  # ties share their mean, and so a bin
    bins = ((rank - 0.5) * CALIBRATION_BINS / rank.size).astype(int)
    gap = np.zeros((rank.size, CALIBRATION_BINS))
    gap[np.arange(rank.size), bins] = probability - label
    error = np.abs(_by_block(gap, block, times)).sum(axis=0)
    return _share(error, np.bincount(block, minlength=len(times)) @ times)


def pearson(expression: Floats, predicted: Floats, block: Integers, times: Floats) -> Floats:
    """See `simplechrome.metrics.pearson`."""
    x, y = expression - expression.mean(), predicted - predicted.mean()
    moments = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    n, sx, sy, sxx, syy, sxy = _by_block(moments, block, times)
    of_x, of_y = n * sxx - sx**2, n * syy - sy**2
    # The difference of two equal numbers is not 0 to the last digit.
    varies = (of_x > 1e-12 * n * sxx) & (of_y > 1e-12 * n * syy)
    spread = np.sqrt(np.maximum(of_x, 0)) * np.sqrt(np.maximum(of_y, 0))
    return _share(n * sxy - sx * sy, spread, where=varies)


def spearman(expression: Floats, predicted: Floats, block: Integers, times: Floats) -> Floats:
    """See `simplechrome.metrics.spearman`; ranks are those among all genes, not the resample's."""
    return pearson(rankdata(expression), rankdata(predicted), block, times)


def r_squared(expression: Floats, predicted: Floats, block: Integers, times: Floats) -> Floats:
    """See `simplechrome.metrics.r_squared`."""
    x = expression - expression.mean()
    moments = np.stack([np.ones_like(x), x, x * x, np.square(expression - predicted)], axis=1)
    n, sx, sxx, error = _by_block(moments, block, times)
    spread = sxx - _share(sx**2, n)
    return 1 - _share(error, spread, where=spread > 1e-12 * sxx)


CLASSIFICATION: dict[str, BlockScore] = {
    "auroc": auroc,
    "auprc": auprc,
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "brier": brier,
    "expected_calibration_error": expected_calibration_error,
}
REGRESSION: dict[str, BlockScore] = {
    "pearson": pearson,
    "spearman": spearman,
    "r_squared": r_squared,
}


def block_scores(task: str) -> dict[str, BlockScore]:
    """Which scores are counted for a task, by name?"""
    return CLASSIFICATION if task == "classification" else REGRESSION


def _share(part: Floats, whole: Floats, where: NDArray[np.bool_] | None = None) -> Floats:
    defined = whole > 0 if where is None else (whole > 0) & where
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=defined)
