"""Calibration of probabilities on held-out genes: of genes at 70 %, seven in ten are high."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from simplechrome.errors import UndefinedScoreError

Method = Literal["none", "platt", "isotonic"]

PLATT_FROM, ISOTONIC_FROM = 50, 1000
"""Held-out genes from which each method is tried. Below 50 a fitted line is worse than none (with
20 labels of E012 its slope is negative in one draw of twenty); isotonic regression has many steps
to learn (Niculescu-Mizil & Caruana 2005)."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Calibration:
    """A map from log odds to probability that keeps the order of genes.

    Attributes
    ----------
    method
        `none`: the logistic function itself. `platt`: a line first. `isotonic`: steps, their
        centers joined by lines.
    n_genes
        Held-out genes, or gene and cell-type pairs, that it was fitted on.
    log_odds, probability : (knot,), of `isotonic`; both rise
    slope, intercept
        Of `platt`.
    """

    method: Method = "none"
    n_genes: int = 0
    slope: float = 1.0
    intercept: float = 0.0
    log_odds: tuple[float, ...] = ()
    probability: tuple[float, ...] = ()

    def apply(self, log_odds: np.ndarray) -> np.ndarray:
        """Return the probability of the higher class at these log odds."""
        values = np.asarray(log_odds, dtype=np.float64)
        if self.method == "isotonic":
            return np.interp(values, self.log_odds, self.probability)
        return 0.5 * (1 + np.tanh(0.5 * (self.slope * values + self.intercept)))


def fit_calibration(log_odds: np.ndarray, label: np.ndarray) -> Calibration:
    """Fit the map from log odds to probabilities.

    `none` below 50 genes; from there on the one of `none`, `platt` and, from 1,000 on, `isotonic`
    that has the smallest log loss in a cross-validation over these genes. A line that would
    reverse the order of genes is not taken.

    Parameters
    ----------
    log_odds : (gene,), of genes that the model was not fitted on
    label : (gene,), 1 or 0

    Raises
    ------
    UndefinedScoreError
        If log odds are not finite, or the two arrays have different lengths.

    References
    ----------
    Platt 1999, with his targets between 0 and 1; Zadrozny & Elkan, KDD 2002 (isotonic);
    Niculescu-Mizil & Caruana, ICML 2005 (how many genes each needs); Oron & Flournoy,
    Statistics in Biopharmaceutical Research 2017 (lines between the centers of the steps).
    """
    values, truth = np.asarray(log_odds, np.float64).ravel(), np.asarray(label).ravel()
    if values.size != truth.size or not np.isfinite(values).all():
        raise UndefinedScoreError(
            f"{values.size} log odds, {int(np.isfinite(values).sum())} of them finite, and "
            f"{truth.size} labels cannot be calibrated.",
            "pass as many labels as finite log odds",
        )
    fewest = int(min((truth == 1).sum(), (truth == 0).sum()))
    if truth.size < PLATT_FROM or fewest < 5 or np.ptp(values) == 0:
        return Calibration(n_genes=truth.size)
    # Size alone does not say which is best: on E012 a linear head with 100 labels is better off
    # as it is, a perceptron with 50 needs the line, and with 2,300 the line still beats the steps.
    methods = [_as_it_is, _platt, *([_isotonic] if truth.size >= ISOTONIC_FROM else [])]
    losses = np.zeros(len(methods))
    for inside, out in StratifiedKFold(5, shuffle=True, random_state=0).split(values, truth):
        for at, fit in enumerate(methods):
            probability = fit(values[inside], truth[inside]).apply(values[out])
            of_truth = np.where(truth[out] == 1, probability, 1 - probability)
            losses[at] -= np.log(np.maximum(of_truth, np.finfo(float).tiny)).sum()
    return methods[int(losses.argmin())](values, truth)


def _as_it_is(values: np.ndarray, truth: np.ndarray) -> Calibration:
    return Calibration(n_genes=truth.size)


def _platt(values: np.ndarray, truth: np.ndarray) -> Calibration:
    # Platt's targets: as if one more gene of each class had been seen.
    positive = int((truth == 1).sum())
    negative = truth.size - positive
    targets = np.where(truth == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))
    scale = values.std()
    both = np.concatenate([values, values])[:, np.newaxis] / scale
    model = LogisticRegression(C=1e6, tol=1e-8, solver="newton-cholesky").fit(
        both, np.repeat([1, 0], values.size), sample_weight=np.concatenate([targets, 1 - targets])
    )
    slope = float(model.coef_[0, 0] / scale)
    if slope <= 0:
        return Calibration(n_genes=truth.size)
    return Calibration("platt", truth.size, slope, float(model.intercept_[0]))


def _isotonic(values: np.ndarray, truth: np.ndarray) -> Calibration:
    # No gene is certain: of n genes at one end, none of which was low, the next may be.
    end = 1 / (truth.size + 2)
    steps = IsotonicRegression(y_min=end, y_max=1 - end).fit(values, truth).predict(values)
    heights, step = np.unique(steps, return_inverse=True)
    # Genes of one step would tie, and a step's middle is where its share was seen. Joined
    # center to center, the map rises, and AUROC stays what it was (steps lose .001 on E012).
    centers = np.bincount(step, values) / np.bincount(step)
    return Calibration(
        "isotonic",
        truth.size,
        log_odds=tuple(centers.tolist()),
        probability=tuple(heights.tolist()),
    )
