"""Logistic and ridge regression, with a penalty chosen inside the labels that are given."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from simplechrome.predictors.logistic import Line, solve_logistic
from simplechrome.predictors.predictor import Predictor
from simplechrome.predictors.rows import Rows
from simplechrome.work.settings import AtLeastTwo, Positive

log = logging.getLogger(__name__)


class ConstantPredictor(Predictor):
    """The fraction of high genes, or the mean level, for every gene.

    Attributes
    ----------
    value_ : float
        Log odds, or level.
    """

    def _fit_rows(self, rows: Rows, validation: Rows | None) -> None:
        mean = float(np.mean(rows.y))
        self.value_ = float(np.log(mean / (1 - mean))) if self.task == "classification" else mean

    def _predict_rows(self, x: np.ndarray) -> np.ndarray:
        return np.full(len(x), self.value_)

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"value": self.value_}, {}

    def _restore(self, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.value_ = numbers["value"]


PENALTIES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Inverse strengths, strongest penalty first. Raw windows want .001–.01, latents .1–10."""

_RISES = 3  # steps of rising loss after which weaker penalties are not tried


class _Fold:
    """One training part: features reduced to the rows' own span, and the last solution.

    The ridge solution lies in the span of the rows, so with fewer rows than features the
    rotation to that span changes nothing but the time: 20 labels on 500 features are a 20 × 20
    problem.
    """

    def __init__(
        self, x: np.ndarray, y: np.ndarray, task: str, *, through_origin: bool = False
    ) -> None:
        self.task = task
        self.mean = np.zeros(x.shape[1]) if through_origin else x.mean(axis=0)
        self.level = 0.0 if through_origin else float(y.mean())
        centered = (x - self.mean).astype(np.float64)
        self.rotation: np.ndarray | None = None
        if x.shape[0] < x.shape[1]:
            self.rotation = np.linalg.qr(centered.T).Q
            centered = centered @ self.rotation
        self.x, self.y = centered, y
        self.last: Line | None = None
        if task == "regression":
            self.scale = float(y.std()) or 1.0
            self.gram = centered.T @ centered
            self.moment = centered.T @ ((y - self.level) / self.scale)

    def solve(self, inverse_penalty: float, tolerance: float = 1e-8) -> tuple[np.ndarray, float]:
        """Coefficients (feature,) and intercept for the original features."""
        if self.task == "classification":
            self.last = solve_logistic(
                self.x, self.y, inverse_penalty, start=self.last, tolerance=tolerance
            )
            weights, intercept = self.last
        else:
            ridge = self.gram + np.eye(len(self.gram)) / inverse_penalty
            weights = np.linalg.solve(ridge, self.moment) * self.scale
            intercept = self.level
        if self.rotation is not None:
            weights = self.rotation @ weights
        return weights, intercept - float(self.mean @ weights)


def _losses(task: str, y: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Loss of each row: negative log likelihood, or squared error."""
    if task == "classification":
        return np.logaddexp(0, np.where(y == 1, -value, value))
    return np.square(y - value)


@dataclass(eq=False, repr=False, kw_only=True)
class LinearPredictor(Predictor):
    """Logistic regression (classification) or ridge regression, with a chosen penalty.

    The penalty is found by cross-validation within the labels that are given: of all penalties
    whose mean loss lies within one standard error of the best, the strongest. It orders genes
    best, but draws predictions together; so they are stretched and shifted to what the penalty of
    the least loss predicts for the labelled genes, which changes no order. Features are centered
    but never rescaled: latents come on the natural scale, and rescaling each would make the
    penalty meaningless.

    Parameters
    ----------
    Cs
        Inverse penalties to choose from; a single one is taken as it is.
    n_folds
        Of the inner cross-validation; fewer where a class has fewer members.
    default_C
        Taken where a class has a single member, so that nothing can be cross-validated.
    random_state
        Seed of the inner folds.

    Attributes
    ----------
    coef_ : (feature,)
    intercept_ : float
    C_ : float
        The penalty that the order of the genes comes from.
    C_of_scale_ : float
        The penalty of the least loss, that the scale of the predictions comes from.
    loss_ : (penalty,)
        Mean loss of each penalty that was tried; NaN where none was.

    References
    ----------
    Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, 2nd ed., 7.10.1 (the
    rule of one standard error).
    """

    name = "linear"
    title = "the linear head"
    random = False
    exporter = "simplechrome.export.predictors:linear"
    _through_origin = False

    # Cs and default_C are scikit-learn's names.
    Cs: Annotated[tuple[Positive, ...], Field(min_length=1)] = PENALTIES
    n_folds: AtLeastTwo = 5
    default_C: Positive = 0.1
    random_state: int = 0

    def _fold(self, rows: Rows) -> _Fold:
        return _Fold(rows.x, rows.y, self.task, through_origin=self._through_origin)

    def _choose_penalties(self, rows: Rows, validation: Rows | None) -> tuple[float, float]:
        """The strongest penalty that is as good as the best, and the best."""
        penalties = sorted(float(penalty) for penalty in self.Cs)
        self.loss_ = np.full(len(penalties), np.nan)
        if len(penalties) == 1:
            return penalties[0], penalties[0]
        folds = [(rows, validation)] if validation else self._inner_folds(rows)
        if not folds:
            log.warning(
                "Too few labels of one class to choose a penalty; taking C = %g", self.default_C
            )
            return self.default_C, self.default_C
        parts = [(self._fold(inside), out) for inside, out in folds]
        errors = np.zeros(len(penalties))
        for step, penalty in enumerate(penalties):
            each = []
            for fold, held_out in parts:
                # A rough solution tells penalties apart, and is where the next one starts.
                weights, intercept = fold.solve(penalty, tolerance=1e-4)
                each.append(_losses(self.task, held_out.y, held_out.x @ weights + intercept))
            losses = np.concatenate(each)
            self.loss_[step] = losses.mean()
            errors[step] = losses.std() / np.sqrt(losses.size)
            if step - int(np.nanargmin(self.loss_)) >= _RISES:
                break
        best = int(np.nanargmin(self.loss_))
        good = np.flatnonzero(self.loss_ <= self.loss_[best] + errors[best])
        return penalties[int(good[0])], penalties[best]

    def _fit_rows(self, rows: Rows, validation: Rows | None) -> None:
        self.C_, self.C_of_scale_ = self._choose_penalties(rows, validation)
        every = self._fold(rows)
        self.coef_, self.intercept_ = every.solve(self.C_)
        if self.C_of_scale_ == self.C_:
            return
        weights, intercept = every.solve(self.C_of_scale_)
        ordered, scaled = rows.x @ self.coef_, rows.x @ weights + intercept
        deviation = ordered - ordered.mean()
        spread = float(deviation @ deviation)
        slope = float(deviation @ scaled) / spread if spread > 0 else 0.0
        if slope > 0:
            self.coef_ = slope * self.coef_
            if not self._through_origin:
                self.intercept_ = float(scaled.mean() - slope * ordered.mean())

    def _predict_rows(self, x: np.ndarray) -> np.ndarray:
        return x @ self.coef_ + self.intercept_

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        numbers = {"C": self.C_, "C_of_scale": self.C_of_scale_, "intercept": self.intercept_}
        return numbers, {"coef": self.coef_}

    def _restore(self, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.C_, self.intercept_ = numbers["C"], numbers["intercept"]
        # Absent from models saved before scale and order had penalties of their own.
        self.C_of_scale_ = numbers.get("C_of_scale", self.C_)
        self.coef_ = arrays["coef"]


class DifferenceLinear(LinearPredictor):
    """Ridge regression on the difference of two cell types' latents, through the origin.

    Swapping the cell types negates the prediction. See `LinearPredictor` for arguments and the
    choice of the penalty.
    """

    _through_origin = True

    def _fit_rows(self, rows: Rows, validation: Rows | None) -> None:
        held_out = validation and Rows(_subtract(validation.x), validation.y)
        super()._fit_rows(Rows(_subtract(rows.x), rows.y), held_out)

    def _predict_rows(self, x: np.ndarray) -> np.ndarray:
        return super()._predict_rows(_subtract(x))


def _subtract(x: np.ndarray) -> np.ndarray:
    first, second = np.split(x, 2, axis=1)  # the latents of the two cell types
    return first - second
