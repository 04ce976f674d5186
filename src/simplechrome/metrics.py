"""How good are predictions? Pure functions on one-dimensional arrays, one value per gene.

A score that has no value for the genes given raises `UndefinedScoreError` in place of NaN.
Only `auroc_of_resamples` returns NaN, for the single resamples that have no value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simplechrome.errors import ConfigError, InputFormatError, UndefinedScoreError

Floats = NDArray[np.float64]

_RANGES = {"probability": (0.0, 1.0), "weight": (0.0, float(np.finfo(np.float64).max))}


def require_genes(name: str, values: Floats) -> None:
    """Are there genes to score? `UndefinedScoreError` if not."""
    if values.size == 0:
        raise UndefinedScoreError(
            f"The {name} has no value: there are no genes to score.",
            cause="a split, cell type or filter left no gene with a known label or expression",
        )


def require_both_classes(name: str, label: Floats) -> None:
    """Are there genes of both classes? `UndefinedScoreError` if not."""
    require_genes(name, label)
    if label.min() == label.max():
        raise UndefinedScoreError(
            f"The {name} has no value: all {label.size} genes are "
            + ("high (label 1)." if label[0] else "low (label 0)."),
            expected="genes of both classes",
            cause="too few genes, or labels by a rule that does not divide them",
            remedy="score more genes at once; `simplechrome inspect` shows the class balance",
        )


def require_variation(name: str, **sides: Floats) -> None:
    """Does each side differ between genes? `UndefinedScoreError` if not."""
    for side, values in sides.items():
        require_genes(name, values)
        if values.min() == values.max():
            raise UndefinedScoreError(
                f"The {name} has no value: `{side}` is {values[0]:g} for all {values.size} genes.",
                expected="values that differ between genes",
                cause="too few genes, or a model that learned nothing",
            )


def checked_scores(**arrays: ArrayLike) -> tuple[Floats, ...]:
    """What are these arrays as floats, finite, of one length, labels 0 or 1?"""
    numbers = {name: _finite_numbers(name, values) for name, values in arrays.items()}
    if len({array.size for array in numbers.values()}) > 1:
        raise InputFormatError(
            "Arrays that belong together have different lengths.",
            found=", ".join(f"`{name}` {array.size}" for name, array in numbers.items()),
            expected="one value per gene in each",
        )
    for name, array in numbers.items():
        require_in_range(name, array)
    if "label" in numbers:
        label = numbers["label"]
        strange = label[(label != 0) & (label != 1)]
        if strange.size:
            raise InputFormatError(
                f"`label` holds {strange.size} values that are no label.",
                found=", ".join(f"{value:g}" for value in np.unique(strange)[:5]),
                expected="1 (high) or 0 (low)",
                remedy="drop genes of unknown label (-1) first: keep = label >= 0",
            )
    return tuple(numbers.values())


def require_in_range(name: str, array: Floats) -> None:
    """Are the values finite, and in the range of what the name says? `InputFormatError` if not."""
    low, high = _RANGES.get(name, (-np.inf, np.inf))
    # Two passes and no temporary, for weights may be a large matrix; NaN fails as well.
    if array.size and not (array.min() >= low and array.max() <= high):
        raise InputFormatError(
            f"`{name}` holds values out of range.",
            found=f"{array.min():g} to {array.max():g}",
            expected="finite numbers from 0 up" if name == "weight" else "0 to 1",
            cause="scores on another scale, as logits" if name == "probability" else "",
        )


def _finite_numbers(name: str, values: ArrayLike) -> Floats:
    array = np.asarray(values)
    if array.ndim != 1:
        raise InputFormatError(
            f"`{name}` is not a one-dimensional array.",
            found=f"shape {array.shape}",
            expected="one value per gene",
            remedy="of predict_proba's two columns pass the second: probability[:, 1]"
            if array.shape[1:] == (2,)
            else "",
        )
    try:
        array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputFormatError(
            f"`{name}` does not hold numbers.", found=str(error), expected="one number per gene"
        ) from error
    finite = np.isfinite(array)
    if not finite.all():
        first = int(np.argmin(finite))
        raise InputFormatError(
            f"`{name}` holds {np.count_nonzero(~finite)} values that are not finite.",
            found=f"{array[first]} at position {first}",
            expected="finite numbers",
            remedy="drop genes without a measurement or prediction before scoring",
        )
    return array


def auroc(label: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None) -> float:
    """How often does a high gene score above a low one?

    The share of (high, low) pairs in which the high gene has the larger score; a tie counts
    one half.

    Parameters
    ----------
    label : (gene,), 1 high, 0 low
    score : (gene,), larger means more likely high; any scale
    weight : (gene,), >= 0
        A whole number counts as that many copies of the gene. One each if None.

    Returns
    -------
    AUROC, 0 to 1; .5 is chance.

    Raises
    ------
    InputFormatError
        If lengths differ, a label is neither 0 nor 1, a score is not finite or a weight is
        negative.
    UndefinedScoreError
        If only one class is there (with a weight above 0).

    References
    ----------
    Hanley and McNeil, Radiology 1982 (AUROC as the Mann-Whitney statistic).
    """
    labels, scores = checked_scores(label=label, score=score)
    weights = np.ones_like(labels)
    if weight is not None:
        labels, weights = checked_scores(label=labels, weight=weight)
    require_both_classes("AUROC", labels[weights > 0])
    return float(_auroc_per_column(labels, scores, weights[:, np.newaxis])[0])


def auroc_of_resamples(label: ArrayLike, score: ArrayLike, weight: ArrayLike) -> Floats:
    """What is the AUROC of each of many resamples of the same genes?

    The genes are sorted once for all resamples: the fast way through a bootstrap.

    Parameters
    ----------
    label, score : (gene,), as in `auroc`
    weight : (gene, resample), how often each gene was drawn, >= 0

    Returns
    -------
    (resample,), NaN where a resample holds only one class.

    Raises
    ------
    InputFormatError
        As in `auroc`, or if the shape of `weight` does not fit.
    """
    labels, scores = checked_scores(label=label, score=score)
    weights = np.asarray(weight, dtype=np.float64)
    if weights.ndim != 2 or len(weights) != labels.size:
        raise InputFormatError(
            "`weight` does not fit the genes.",
            found=f"shape {weights.shape}",
            expected=f"({labels.size}, number of resamples)",
        )
    require_in_range("weight", weights)
    return _auroc_per_column(labels, scores, weights)


def auprc(label: ArrayLike, score: ArrayLike) -> float:
    """How pure are the genes on top of the ranking, averaged over the high genes?

    Average precision: the precision at each distinct score, weighted with the recall gained
    there. Genes that tie enter together, so their order does not matter.

    Parameters
    ----------
    label : (gene,), 1 high, 0 low
    score : (gene,), larger means more likely high; any scale

    Returns
    -------
    AUPRC, 0 to 1; chance is the share of high genes.

    Raises
    ------
    InputFormatError, UndefinedScoreError
        As in `auroc`. With high genes only it would be 1 for any score, and is refused too.

    References
    ----------
    Davis and Goadrich, ICML 2006 (why the curve must not be interpolated linearly).
    """
    labels, scores = checked_scores(label=label, score=score)
    require_both_classes("AUPRC", labels)
    order = np.argsort(-scores)
    ranked = scores[order]
    last_of_tie = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), ranked.size - 1)
    found = np.cumsum(labels[order])[last_of_tie]
    gained = np.diff(found, prepend=0)
    return float(gained @ (found / (last_of_tie + 1)) / found[-1])


def accuracy(label: ArrayLike, probability: ArrayLike, threshold: float = 0.5) -> float:
    """What share of genes is called right?

    A gene is called high where its probability is *above* the threshold, as in scikit-learn's
    `predict`.

    Parameters
    ----------
    label : (gene,), 1 high, 0 low
    probability : (gene,), of being high, 0 to 1
    threshold : 0 to 1

    Returns
    -------
    Accuracy, 0 to 1.

    Raises
    ------
    InputFormatError
        If lengths differ, a label is neither 0 nor 1 or a probability lies outside 0 to 1.
    ConfigError
        If the threshold lies outside 0 to 1.
    UndefinedScoreError
        If there are no genes.
    """
    labels, right = _called_right(label, probability, threshold)
    require_genes("accuracy", labels)
    return float(right.mean())


def balanced_accuracy(label: ArrayLike, probability: ArrayLike, threshold: float = 0.5) -> float:
    """What share is called right if high and low genes count as equally many?

    The mean of the share of high genes called high and of low genes called low; .5 is chance.
    Parameters and errors are those of `accuracy`; undefined if only one class is there.
    """
    labels, right = _called_right(label, probability, threshold)
    require_both_classes("balanced accuracy", labels)
    return float((right[labels == 1].mean() + right[labels == 0].mean()) / 2)


def brier(label: ArrayLike, probability: ArrayLike) -> float:
    """How far are the probabilities from what was observed, in mean squared distance?

    From 0 (perfect) to 1; always answering .5 gives .25 (Brier, Monthly Weather Review 1950).
    Parameters and errors are those of `accuracy`.
    """
    labels, probabilities = checked_scores(label=label, probability=probability)
    require_genes("Brier score", labels)
    return float(np.mean((probabilities - labels) ** 2))


def expected_calibration_error(label: ArrayLike, probability: ArrayLike, n_bins: int = 15) -> float:
    """By how much do stated probabilities and observed shares differ, on average?

    Genes are ranked by probability and cut into bins of equal mass; each bin's mean
    probability is compared with its share of high genes. Genes with the same probability
    share their mean rank and so always fall into one bin: the order of genes does not matter,
    bins may then differ in size, and a constant prediction makes a single bin. Empty bins
    count nothing; with fewer genes than bins each distinct probability is a bin of its own,
    and the error says little.

    Parameters
    ----------
    label : (gene,), 1 high, 0 low
    probability : (gene,), of being high, 0 to 1
    n_bins : >= 1

    Returns
    -------
    Mean absolute difference over genes, 0 to 1.

    Raises
    ------
    InputFormatError, UndefinedScoreError
        As in `accuracy`.
    ConfigError
        If `n_bins` is below 1.

    References
    ----------
    Naeini et al., AAAI 2015; bins of equal mass as in Nixon et al., CVPR workshops 2019.
    """
    labels, probabilities = checked_scores(label=label, probability=probability)
    if n_bins < 1:
        raise ConfigError(
            "The calibration error needs bins.", found=f"n_bins = {n_bins}", expected="1 or more"
        )
    require_genes("expected calibration error", labels)
    # Whole numbers throughout: in floats a gene on the edge of a bin may fall to either side.
    bin_of_gene = n_bins * (_doubled_ranks(probabilities) - 1) // (2 * labels.size)
    gap = np.bincount(bin_of_gene, weights=probabilities - labels)
    return float(np.abs(gap).sum() / labels.size)


def pearson(expression: ArrayLike, predicted: ArrayLike) -> float:
    """How close to a line are measured and predicted expression?

    Parameters
    ----------
    expression : (gene,), measured, as log2(RPKM + 1)
    predicted : (gene,), same scale

    Returns
    -------
    Pearson's correlation, -1 to 1.

    Raises
    ------
    InputFormatError
        If lengths differ or a value is not finite.
    UndefinedScoreError
        If there are no genes, or all values of one side are the same.
    """
    measured, answered = checked_scores(expression=expression, predicted=predicted)
    require_variation("Pearson correlation", expression=measured, predicted=answered)
    return _correlation(measured, answered)


def spearman(expression: ArrayLike, predicted: ArrayLike) -> float:
    """How alike are the rankings of measured and predicted expression?

    Pearson's correlation of the ranks; ties share their mean rank. Parameters and errors are
    those of `pearson`.
    """
    measured, answered = checked_scores(expression=expression, predicted=predicted)
    require_variation("Spearman correlation", expression=measured, predicted=answered)
    return _correlation(_doubled_ranks(measured), _doubled_ranks(answered))


def r_squared(expression: ArrayLike, predicted: ArrayLike) -> float:
    """What share of the variance of expression do the predictions take away?

    1 - SSE / SST, with SST around the mean of the genes scored: negative for predictions
    worse than that mean, and not the square of a correlation. Parameters and errors are those
    of `pearson`, but a constant prediction has a value here.
    """
    measured, answered = checked_scores(expression=expression, predicted=predicted)
    require_variation("R squared", expression=measured)
    deviation = measured - measured.mean()
    scale = np.abs(deviation).max()  # keeps the squares of tiny or huge units inside the floats
    deviation, residual = deviation / scale, (measured - answered) / scale
    return float(1 - (residual @ residual) / (deviation @ deviation))


def score_classification(label: ArrayLike, probability: ArrayLike) -> dict[str, Any]:
    """How good are predicted probabilities, by every score at once?

    Parameters
    ----------
    label : (gene,), 1 high, 0 low
    probability : (gene,), of being high, 0 to 1

    Returns
    -------
    `auroc`, `auprc`, `accuracy`, `balanced_accuracy`, `brier`, `expected_calibration_error`,
    `share_high` (share of genes with label 1) and `n_genes`. A score without a value is None,
    and then a further key `undefined` holds {score: reason}.

    Raises
    ------
    InputFormatError
        As in `accuracy`.
    """
    labels, probabilities = checked_scores(label=label, probability=probability)
    functions: dict[str, Callable[..., float]] = {
        "auroc": auroc,
        "auprc": auprc,
        "accuracy": accuracy,
        "balanced_accuracy": balanced_accuracy,
        "brier": brier,
        "expected_calibration_error": expected_calibration_error,
        "share_high": _share_high,
    }
    return _collect(functions, labels, probabilities)


def score_regression(expression: ArrayLike, predicted: ArrayLike) -> dict[str, Any]:
    """How good is predicted expression, by every score at once?

    Returns `pearson`, `spearman`, `r_squared` and `n_genes`; None and `undefined` are as in
    `score_classification`. Parameters are those of `pearson`.
    """
    measured, answered = checked_scores(expression=expression, predicted=predicted)
    functions = {"pearson": pearson, "spearman": spearman, "r_squared": r_squared}
    return _collect(functions, measured, answered)


def _collect(functions: dict[str, Callable[..., float]], *arrays: Floats) -> dict[str, Any]:
    scores: dict[str, Any] = {}
    undefined: dict[str, str] = {}
    for name, function in functions.items():
        try:
            scores[name] = function(*arrays)
        except UndefinedScoreError as error:
            scores[name] = None
            undefined[name] = error.problem
    scores["n_genes"] = int(arrays[0].size)
    return {**scores, "undefined": undefined} if undefined else scores


def _share_high(label: Floats, _: Floats) -> float:
    require_genes("share of high genes", label)
    return float(label.mean())


def _auroc_per_column(label: Floats, score: Floats, weight: Floats) -> Floats:
    """AUROC for every column of weight (gene, resample); NaN where a class has no weight."""
    high = label == 1
    order = np.flatnonzero(~high)[np.argsort(score[~high])]
    below = np.zeros((order.size + 1, weight.shape[1]))
    np.cumsum(weight[order], axis=0, out=below[1:])
    # Low genes under each high gene, and those up to it; their mean counts a tie one half.
    under = np.searchsorted(score[order], score[high], side="left")
    up_to = np.searchsorted(score[order], score[high], side="right")
    weight_high = weight[high]
    won_twice = np.einsum("ij,ij->j", weight_high, below[under] + below[up_to])
    pairs = weight_high.sum(axis=0) * below[-1]
    return np.divide(won_twice, 2 * pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


def _called_right(
    label: ArrayLike, probability: ArrayLike, threshold: float
) -> tuple[Floats, NDArray[np.bool_]]:
    labels, probabilities = checked_scores(label=label, probability=probability)
    if not 0 <= threshold <= 1:
        raise ConfigError(
            "The threshold is no probability.", found=str(threshold), expected="0 to 1"
        )
    return labels, (probabilities > threshold) == (labels == 1)


def _doubled_ranks(values: Floats) -> NDArray[np.int64]:
    """Twice the rank from 1 up, ties sharing the mean; doubled, it is a whole number."""
    _, position, count = np.unique(values, return_inverse=True, return_counts=True)
    return (2 * np.cumsum(count) - count + 1)[position]


def _correlation(first: NDArray[Any], second: NDArray[Any]) -> float:
    first, second = first - first.mean(), second - second.mean()
    # Scaled before squaring, so that tiny or huge units neither vanish nor overflow.
    first, second = first / np.abs(first).max(), second / np.abs(second).max()
    value = (first @ second) / np.sqrt((first @ first) * (second @ second))
    return float(np.clip(value, -1, 1))  # rounding may step over the end
