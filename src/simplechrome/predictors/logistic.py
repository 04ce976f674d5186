"""Logistic regression with a ridge penalty, for hundreds of small fits in a row."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit

_MOST_STEPS = 100
_MOST_HALVINGS = 30
_SUFFICIENT = 1e-4  # share of the expected decrease that a step must bring (Armijo)


class Line(NamedTuple):
    """weights : (feature,)"""

    weights: np.ndarray
    intercept: float


def solve_logistic(
    x: np.ndarray,
    y: np.ndarray,
    inverse_penalty: float,
    *,
    start: Line | None = None,
    tolerance: float = 1e-8,
) -> Line:
    """Return the weights with the least sum of log losses and ridge penalty.

    ``C Σ log loss + ½ |weights|²``, the intercept free, as in scikit-learn's `LogisticRegression`.
    Newton's method on the whole Hessian; the problem is convex, so halving a step that goes too far
    always ends. On 100 rows of 15 features scikit-learn takes twenty times as long, nearly all of
    it for checks of its arguments; a benchmark of few labels fits little else.

    Parameters
    ----------
    x : (row, feature) float64
        Centered, or the first steps go far.
    y : (row,)
        1 or 0.
    inverse_penalty, start
        C, and the solution of a similar problem.
    tolerance
        Largest derivative of the mean loss at which to stop. Weak penalties on separable labels
        may end at the largest number of steps instead.

    References
    ----------
    Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, 2nd ed., 4.4.1.
    """
    rows, features = x.shape
    ridge = np.full(features + 1, 1 / (rows * inverse_penalty))
    ridge[-1] = 0.0
    w = np.zeros(features + 1)
    if start is not None:
        w[:-1], w[-1] = start
    else:
        share = np.clip(np.mean(y), 1e-6, 1 - 1e-6)
        w[-1] = np.log(share / (1 - share))
    design = np.concatenate([x, np.ones((rows, 1))], axis=1)
    sign = np.where(y == 1, -1.0, 1.0)

    def objective(odds: np.ndarray, w: np.ndarray) -> float:
        return float(np.logaddexp(0, sign * odds).mean() + 0.5 * (ridge * w) @ w)

    odds = design @ w
    value = objective(odds, w)
    for _ in range(_MOST_STEPS):
        probability = expit(odds)
        gradient = design.T @ (probability - y) / rows + ridge * w
        if np.abs(gradient).max() <= tolerance:
            break
        weight = probability * (1 - probability) / rows
        hessian = (design.T * weight) @ design
        # The floor keeps the free intercept solvable where all rows are separated with certainty.
        hessian[np.diag_indices_from(hessian)] += ridge + 1e-12
        step = cho_solve(cho_factor(hessian, check_finite=False), gradient, check_finite=False)
        slope, along = float(gradient @ step), design @ step
        size = 1.0
        for _ in range(_MOST_HALVINGS):
            moved = objective(odds - size * along, w - size * step)
            if moved <= value - _SUFFICIENT * size * slope:
                break
            size /= 2
        else:
            if start is not None and np.abs(gradient).max() > 1e-3:
                # So far off that nothing curves there.
                return solve_logistic(x, y, inverse_penalty, tolerance=tolerance)
            break  # as exact as these numbers can be
        w, odds, value = w - size * step, odds - size * along, moved
    return Line(w[:-1], float(w[-1]))
