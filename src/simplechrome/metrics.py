"""Scores of predictions, and the registry of metrics that all tables and reports read.

Functions take one-dimensional arrays, one value per gene. A score that is not defined for these
genes raises `UndefinedScoreError` instead of returning NaN. Most have a second form, by block:
a bootstrap draws blocks of genes, so a resample is given by how often it holds each block. All
that such a score needs is counted once per block, and the resamples are products of matrices with
some fifty rows: a thousand resamples take as long as a few scores of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from simplechrome.errors import ConfigError, InputFormatError, UndefinedScoreError
from simplechrome.work.registry import Registry

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Score = Callable[..., float]
ByBlock = Callable[..., Floats]
"""(*arrays (gene,), block of each gene (gene,), how often each resample holds each block
(block, resample)) -> (resample,); NaN where a resample has no score."""

TASKS = ("classification", "regression", "difference")


@dataclass(frozen=True)
class Metric:
    """A score, and all that tables, summaries and reports need to know about it.

    Parameters
    ----------
    name
        In files and options, as `auroc`.
    title
        In tables and figures, as `AUROC`.
    tasks
        Tasks that it is computed for, of `TASKS`.
    function
        (truth, prediction), each (gene,), -> number. Labels (1 or 0) and probabilities in
        classification; log2(expression + 1) or its change, measured and predicted, in the others.
        `UndefinedScoreError` or NaN where it is not defined.
    by_block
        The same for all resamples of a bootstrap at once, see `ByBlock`. Without it the function
        is called for each resample.
    by_block_exact
        False if the form by block approximates that of resampled genes; only benchmarks use it
        then.
    bounds
        Smallest and largest value.
    larger_is_better
        False for errors.
    chance
        Its value for predictions that carry no information; None if that depends on the genes.
    needs_probability
        It judges the scale of probabilities: it is also computed before calibration.
    headline
        Tasks in which it is among the few scores shown first. The first metric is the leading one.
    phrase
        In sentences, as `an AUROC`; the title if empty.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    function: Score
    by_block: ByBlock | None = None
    by_block_exact: bool = True
    bounds: tuple[float, float] = (0.0, 1.0)
    larger_is_better: bool = True
    chance: float | None = None
    needs_probability: bool = False
    headline: tuple[str, ...] = ()
    phrase: str = ""


METRICS: Registry[Metric] = Registry(
    "metric",
    {
        name: f"simplechrome.metrics:{name.upper()}"
        for name in (
            *("auroc", "auprc", "accuracy", "balanced_accuracy", "brier"),
            *("expected_calibration_error", "pearson", "spearman", "r_squared", "sign_auroc"),
        )
    },
    "simplechrome.metrics",
)


def register_metric(metric: Metric) -> Metric:
    """Add a metric: `fit`, `predict`, `benchmark` and all reports compute it from then on.

    Raises `ConfigError` if its name is taken, or a task is unknown.
    """
    if not metric.tasks or set(metric.tasks) - set(TASKS):
        raise ConfigError(
            f"The metric {metric.name} is for the tasks {', '.join(metric.tasks) or 'none'}.",
            f"choose from {', '.join(TASKS)}",
        )
    return METRICS.register(metric.name, metric)


def metrics_of(task: str) -> list[Metric]:
    """Return the metrics that are computed for a task, the leading one first."""
    return [metric for metric in map(METRICS.get, METRICS.names()) if task in metric.tasks]


def headline_metrics(task: str) -> list[Metric]:
    """Return the metrics of a task that are shown first."""
    return [metric for metric in metrics_of(task) if task in metric.headline]


def collect(
    measures: Mapping[str, tuple[Score, tuple[Any, ...]]],
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Compute scores by name from (function, arrays): values, and why some are not defined."""
    scores: dict[str, float | None] = {}
    undefined: dict[str, str] = {}
    for name, (function, arrays) in measures.items():
        try:
            value = float(function(*arrays))
        except UndefinedScoreError as error:
            scores[name], undefined[name] = None, error.problem
        else:
            scores[name] = None if np.isnan(value) else value
            if np.isnan(value):
                undefined[name] = f"The {name} is NaN for these genes."
    return scores, undefined


# ------------------------------------------------------------------------------ checks


def require_genes(name: str, values: Floats) -> None:
    """Raise `UndefinedScoreError` if there are no genes to score."""
    if values.size == 0:
        raise UndefinedScoreError(
            f"The {name} has no value: there are no genes to score.",
            "choose a split, cell types or filters that leave genes with a known label or level",
        )


def _require_both_classes(name: str, label: Floats) -> None:
    require_genes(name, label)
    if label.min() == label.max():
        raise UndefinedScoreError(
            f"The {name} has no value: all {label.size} genes are "
            + ("high (label 1)." if label[0] else "low (label 0)."),
            "score more genes at once; `simplechrome inspect` shows the class balance",
        )


def _require_variation(name: str, **sides: Floats) -> None:
    for side, values in sides.items():
        require_genes(name, values)
        if values.min() == values.max():
            raise UndefinedScoreError(
                f"The {name} has no value: `{side}` is {values[0]:g} for all {values.size} genes.",
                "score more genes at once, or fit a model whose predictions differ between genes",
            )


def checked_scores(**arrays: ArrayLike) -> tuple[Floats, ...]:
    """Return arrays as floats, after checks by name: `label` is 0 or 1, `probability` 0 to 1.

    Raises `InputFormatError` if one is not a one-dimensional array of finite numbers in the range
    that its name implies, or their lengths differ.
    """
    numbers = {name: _finite_numbers(name, values) for name, values in arrays.items()}
    if len({array.size for array in numbers.values()}) > 1:
        sizes = ", ".join(f"`{name}` {array.size}" for name, array in numbers.items())
        raise InputFormatError(
            f"Arrays that belong together have different lengths: {sizes}.",
            "pass one value per gene in each",
        )
    label, probability = numbers.get("label"), numbers.get("probability")
    if label is not None and (strange := label[(label != 0) & (label != 1)]).size:
        values = ", ".join(f"{value:g}" for value in np.unique(strange)[:5])
        raise InputFormatError(
            f"`label` holds {strange.size} values that are not 1 (high) or 0 (low): {values}.",
            "drop genes of unknown label (-1) first: keep = label >= 0",
        )
    if probability is not None and ((probability < 0) | (probability > 1)).any():
        raise InputFormatError(
            f"`probability` holds values from {probability.min():g} to {probability.max():g}, "
            "not from 0 to 1.",
            "pass probabilities, not logits",
        )
    return tuple(numbers.values())


def _finite_numbers(name: str, values: ArrayLike) -> Floats:
    array = np.asarray(values)
    if array.ndim != 1:
        two_columns = "of predict_proba's two columns pass the second: probability[:, 1]"
        raise InputFormatError(
            f"`{name}` has shape {array.shape}, but one value per gene is expected.",
            two_columns if array.shape[1:] == (2,) else "pass a one-dimensional array",
        )
    try:
        array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputFormatError(
            f"`{name}` does not hold numbers: {error}.", "pass one number per gene"
        ) from error
    finite = np.isfinite(array)
    if not finite.all():
        first = int(np.argmin(finite))
        raise InputFormatError(
            f"`{name}` holds {np.count_nonzero(~finite)} values that are not finite, the first "
            f"({array[first]}) at position {first}.",
            "drop genes without a measurement or prediction before scoring",
        )
    return array


# ----------------------------------------------------------------- scores of one set of genes


def auroc(label: ArrayLike, score: ArrayLike) -> float:
    """Return the fraction of (high, low) pairs of genes in which the high one scores higher.

    A tie counts one half; .5 is chance (Hanley and McNeil, Radiology 1982).

    Parameters
    ----------
    label : (gene,), 1 high, 0 low
    score : (gene,), larger means more likely high; any scale

    Raises
    ------
    InputFormatError
        If lengths differ, a label is neither 0 nor 1 or a score is not finite.
    UndefinedScoreError
        If there is only one class.
    """
    labels, scores = checked_scores(label=label, score=score)
    _require_both_classes("AUROC", labels)
    n_high = labels.sum()
    won = rankdata(scores)[labels == 1].sum() - n_high * (n_high + 1) / 2
    return float(won / (n_high * (labels.size - n_high)))


def auprc(label: ArrayLike, score: ArrayLike) -> float:
    """Return the average precision: precision at each distinct score, weighted by recall gained.

    Genes that tie enter together, so their order does not matter (Davis and Goadrich, ICML 2006).
    Chance is the fraction of high genes. Parameters and errors are those of `auroc`.
    """
    from sklearn.metrics import average_precision_score  # half a second that few need

    labels, scores = checked_scores(label=label, score=score)
    _require_both_classes("AUPRC", labels)
    return float(average_precision_score(labels, scores))


def accuracy(label: ArrayLike, probability: ArrayLike, threshold: float = 0.5) -> float:
    """Return the fraction of genes whose class is predicted correctly.

    A gene is predicted high where its probability is *above* the threshold, as in scikit-learn's
    `predict`.

    Parameters
    ----------
    label : (gene,), 1 high, 0 low
    probability : (gene,), of being high, 0 to 1
    threshold : 0 to 1

    Raises
    ------
    InputFormatError
        If lengths differ, a label is neither 0 nor 1 or a probability lies outside 0 to 1.
    ConfigError
        If the threshold lies outside 0 to 1.
    UndefinedScoreError
        If there are no genes.
    """
    labels, correct = _correct(label, probability, threshold)
    require_genes("accuracy", labels)
    return float(correct.mean())


def balanced_accuracy(label: ArrayLike, probability: ArrayLike, threshold: float = 0.5) -> float:
    """Return the mean of sensitivity and specificity; .5 is chance.

    Parameters and errors are those of `accuracy`; undefined if there is only one class.
    """
    labels, correct = _correct(label, probability, threshold)
    _require_both_classes("balanced accuracy", labels)
    return float((correct[labels == 1].mean() + correct[labels == 0].mean()) / 2)


def _correct(
    label: ArrayLike, probability: ArrayLike, threshold: float
) -> tuple[Floats, NDArray[np.bool_]]:
    labels, probabilities = checked_scores(label=label, probability=probability)
    if not 0 <= threshold <= 1:
        raise ConfigError(f"The threshold {threshold} is not between 0 and 1.")
    return labels, (probabilities > threshold) == (labels == 1)


def brier(label: ArrayLike, probability: ArrayLike) -> float:
    """Return the mean squared difference of probability and label.

    From 0 (perfect) to 1; a constant .5 gives .25 (Brier, Monthly Weather Review 1950).
    Parameters and errors are those of `accuracy`.
    """
    labels, probabilities = checked_scores(label=label, probability=probability)
    require_genes("Brier score", labels)
    return float(np.mean((probabilities - labels) ** 2))


def expected_calibration_error(label: ArrayLike, probability: ArrayLike, n_bins: int = 15) -> float:
    """Return the mean absolute difference of predicted probability and observed fraction.

    Genes are ranked by probability and cut into `n_bins` bins of equal mass (Naeini et al., AAAI
    2015; Nixon et al., CVPR workshops 2019); each bin's mean probability is compared with its
    fraction of high genes. Genes with the same probability share their mean rank and so always
    fall into one bin: the order of genes does not matter, and a constant prediction makes a
    single bin. With fewer genes than bins the error means little. Parameters and errors are those
    of `accuracy`.
    """
    labels, probabilities = checked_scores(label=label, probability=probability)
    if n_bins < 1:
        raise ConfigError(f"n_bins = {n_bins}, but the calibration error needs 1 or more bins.")
    require_genes("expected calibration error", labels)
    # Whole numbers throughout: in floats a gene on the edge of a bin may fall to either side.
    doubled = (2 * rankdata(probabilities)).astype(np.int64)
    bin_of_gene = n_bins * (doubled - 1) // (2 * labels.size)
    gap = np.bincount(bin_of_gene, weights=probabilities - labels)
    return float(np.abs(gap).sum() / labels.size)


def pearson(expression: ArrayLike, predicted: ArrayLike) -> float:
    """Return Pearson's correlation of measured and predicted expression, -1 to 1.

    Parameters
    ----------
    expression : (gene,), measured, as log2(RPKM + 1)
    predicted : (gene,), same scale

    Raises
    ------
    InputFormatError
        If lengths differ or a value is not finite.
    UndefinedScoreError
        If there are no genes, or all values of one side are the same.
    """
    measured, values = checked_scores(expression=expression, predicted=predicted)
    _require_variation("Pearson correlation", expression=measured, predicted=values)
    return _correlation(measured, values)


def spearman(expression: ArrayLike, predicted: ArrayLike) -> float:
    """Return Spearman's correlation: Pearson's of the ranks, where ties share their mean rank.

    Parameters and errors are those of `pearson`.
    """
    measured, values = checked_scores(expression=expression, predicted=predicted)
    _require_variation("Spearman correlation", expression=measured, predicted=values)
    return _correlation(2 * rankdata(measured), 2 * rankdata(values))


def r_squared(expression: ArrayLike, predicted: ArrayLike) -> float:
    """Return the fraction of the variance of expression that the predictions explain.

    1 - SSE / SST, with SST around the mean of the genes scored: negative for predictions
    worse than that mean, and not the square of a correlation. Parameters and errors are those
    of `pearson`, but a constant prediction has a value here.
    """
    measured, values = checked_scores(expression=expression, predicted=predicted)
    _require_variation("R squared", expression=measured)
    deviation = measured - measured.mean()
    scale = np.abs(deviation).max()  # keeps the squares of tiny or huge units inside the floats
    deviation, residual = deviation / scale, (measured - values) / scale
    return float(1 - (residual @ residual) / (deviation @ deviation))


def sign_auroc(change: ArrayLike, predicted: ArrayLike) -> float:
    """Return the AUROC of predicted changes for rising against falling genes.

    Genes that do not change are not counted. Errors are those of `pearson` and `auroc`.
    """
    measured, values = checked_scores(change=change, predicted=predicted)
    moves = measured != 0
    return auroc((measured[moves] > 0).astype(np.int8), values[moves])


def _correlation(first: Floats, second: Floats) -> float:
    first, second = first - first.mean(), second - second.mean()
    # Scaled before squaring, so that tiny or huge units neither vanish nor overflow.
    first, second = first / np.abs(first).max(), second / np.abs(second).max()
    value = (first @ second) / np.sqrt((first @ first) * (second @ second))
    return float(np.clip(value, -1, 1))  # rounding may step over the end


def score_classification(label: ArrayLike, probability: ArrayLike) -> dict[str, Any]:
    """Return all scores of predicted probabilities.

    Returns
    -------
    Every metric of the task by name, `share_high` (fraction of genes with label 1) and `n_genes`.
    A score that is not defined is None, and a further key `undefined` holds {score: reason}.
    Parameters and errors are those of `accuracy`.
    """
    labels, probabilities = checked_scores(label=label, probability=probability)
    return _score_all("classification", labels, probabilities, share_high=_mean_label)


def score_regression(expression: ArrayLike, predicted: ArrayLike) -> dict[str, Any]:
    """Return all scores of predicted expression, and `n_genes`, as `score_classification` does.

    Parameters are those of `pearson`.
    """
    measured, values = checked_scores(expression=expression, predicted=predicted)
    return _score_all("regression", measured, values)


def _score_all(task: str, *arrays: Floats, **more: Score) -> dict[str, Any]:
    functions = {metric.name: metric.function for metric in metrics_of(task)} | more
    scores, undefined = collect({name: (score, arrays) for name, score in functions.items()})
    scores["n_genes"] = int(arrays[0].size)
    return {**scores, "undefined": undefined} if undefined else scores


def _mean_label(label: Floats, _: Floats) -> float:
    require_genes("fraction of high genes", label)
    return float(label.mean())


# -------------------------------------------------------- scores of many resamples, by block


def _sums(values: Floats, block: Integers, times: Floats) -> Floats:
    """Sums over the genes of each resample: (gene, value) -> (value, resample)."""
    sums = [np.bincount(block, column, minlength=len(times)) for column in values.T]
    return np.stack(sums) @ times


def _one_hot(block: Integers, n_blocks: int) -> NDArray[np.float32]:
    """(gene, block) in f32: counts stay exact up to 16 million genes."""
    held = np.zeros((block.size, n_blocks), dtype=np.float32)
    held[np.arange(block.size), block] = 1
    return held


def _ratio(part: Floats, whole: Floats, where: Any = True) -> Floats:
    defined = (whole > 0) & where
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=defined)


def _auroc_by_block(label: Floats, score: Floats, block: Integers, times: Floats) -> Floats:
    """Pairs of a high and a low gene are won by pairs of blocks: a quadratic form of blocks."""
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
    return _ratio(won, 2 * size * (below[-1].astype(np.float64) @ times))


def _auprc_by_block(label: Floats, score: Floats, block: Integers, times: Floats) -> Floats:
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
    return _ratio(total, n_high, where=n > n_high)


def _accuracy_by_block(label: Floats, score: Floats, block: Integers, times: Floats) -> Floats:
    correct = (score > 0.5) == (label == 1)
    return _ratio(*_sums(np.stack([correct, np.ones(correct.size)], axis=1), block, times))


def _balanced_accuracy_by_block(label: Floats, score: Floats, *by_block: Any) -> Floats:
    block, times = by_block
    classes = [label == which for which in (0, 1)]
    of_class = [_accuracy_by_block(label[c], score[c], block[c], times) for c in classes]
    return np.asarray(np.mean(of_class, axis=0))


def _brier_by_block(label: Floats, score: Floats, block: Integers, times: Floats) -> Floats:
    values = np.stack([np.square(score - label), np.ones(label.size)], axis=1)
    return _ratio(*_sums(values, block, times))


def _calibration_error_by_block(
    label: Floats, probability: Floats, block: Integers, times: Floats, n_bins: int = 15
) -> Floats:
    """Bins are those of all genes: resampled errors exceed that of the genes as they are."""
    rank = rankdata(probability)  # ties share their mean, and so a bin
    bins = ((rank - 0.5) * n_bins / rank.size).astype(int)
    gap = np.zeros((rank.size, n_bins))
    gap[np.arange(rank.size), bins] = probability - label
    error = np.abs(_sums(gap, block, times)).sum(axis=0)
    return _ratio(error, np.bincount(block, minlength=len(times)) @ times)


def _pearson_by_block(level: Floats, predicted: Floats, block: Integers, times: Floats) -> Floats:
    x, y = level - level.mean(), predicted - predicted.mean()
    moments = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    n, sx, sy, sxx, syy, sxy = _sums(moments, block, times)
    of_x, of_y = n * sxx - sx**2, n * syy - sy**2
    # The difference of two equal numbers is not 0 to the last digit.
    varies = (of_x > 1e-12 * n * sxx) & (of_y > 1e-12 * n * syy)
    spread = np.sqrt(np.maximum(of_x, 0)) * np.sqrt(np.maximum(of_y, 0))
    return _ratio(n * sxy - sx * sy, spread, where=varies)


def _spearman_by_block(level: Floats, predicted: Floats, block: Integers, times: Floats) -> Floats:
    """Ranks are those among all genes, not among the resample's."""
    return _pearson_by_block(rankdata(level), rankdata(predicted), block, times)


def _r_squared_by_block(level: Floats, predicted: Floats, block: Integers, times: Floats) -> Floats:
    x = level - level.mean()
    moments = np.stack([np.ones_like(x), x, x * x, np.square(level - predicted)], axis=1)
    n, sx, sxx, error = _sums(moments, block, times)
    spread = sxx - _ratio(sx**2, n)
    return 1 - _ratio(error, spread, where=spread > 1e-12 * sxx)


# ---------------------------------------------------------------------------- the records

_OF_LABELS, _OF_LEVELS = ("classification",), ("regression", "difference")

AUROC = Metric(
    *("auroc", "AUROC", _OF_LABELS, auroc, _auroc_by_block),
    chance=0.5,
    headline=_OF_LABELS,
    phrase="an AUROC",
)
AUPRC = Metric(
    *("auprc", "AUPRC", _OF_LABELS, auprc, _auprc_by_block),
    headline=_OF_LABELS,
    phrase="an AUPRC",
)
ACCURACY = Metric(
    *("accuracy", "accuracy", _OF_LABELS, accuracy, _accuracy_by_block),
    headline=_OF_LABELS,
    phrase="an accuracy",
)
BALANCED_ACCURACY = Metric(
    *("balanced_accuracy", "balanced accuracy", _OF_LABELS, balanced_accuracy),
    _balanced_accuracy_by_block,
    chance=0.5,
)
BRIER = Metric(
    *("brier", "Brier score", _OF_LABELS, brier, _brier_by_block),
    larger_is_better=False,
    needs_probability=True,
)
EXPECTED_CALIBRATION_ERROR = Metric(
    *("expected_calibration_error", "calibration error", _OF_LABELS, expected_calibration_error),
    _calibration_error_by_block,
    by_block_exact=False,
    larger_is_better=False,
    needs_probability=True,
    headline=_OF_LABELS,
)
PEARSON = Metric(
    *("pearson", "Pearson", _OF_LEVELS, pearson, _pearson_by_block),
    bounds=(-1.0, 1.0),
    chance=0.0,
    headline=_OF_LEVELS,
    phrase="a Pearson correlation",
)
SPEARMAN = Metric(
    *("spearman", "Spearman", _OF_LEVELS, spearman, _spearman_by_block),
    by_block_exact=False,
    bounds=(-1.0, 1.0),
    chance=0.0,
    headline=_OF_LEVELS,
    phrase="a Spearman correlation",
)
R_SQUARED = Metric(
    *("r_squared", "R²", _OF_LEVELS, r_squared, _r_squared_by_block),
    bounds=(-np.inf, 1.0),
    headline=("regression",),
)
SIGN_AUROC = Metric(
    *("sign_auroc", "AUROC of the sign", ("difference",), sign_auroc),
    chance=0.5,
    headline=("difference",),
)
