"""Gradient-boosted trees on latents or on the flat window."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import skops.io
from pydantic import Field
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from simplechrome.predictors.predictor import Predictor
from simplechrome.predictors.rows import Rows
from simplechrome.work.settings import AtLeastTwo, Count, NotNegative, Positive

log = logging.getLogger(__name__)

TRUSTED = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",)
"""The one type in a saved model that skops does not know by itself: arrays of tree nodes."""


@dataclass(eq=False, repr=False, kw_only=True)
class BoostingPredictor(Predictor):
    """Histogram gradient boosting, with as many trees as held-out labels ask for.

    The number of trees is found on `validation` genes, or within the labels that are given: by
    cross-validation, or with `hold_out_from` labels or more on a tenth of them. All labels then
    grow the trees that are kept. Leaves shrink with the number of labels, so that 20 labels still
    make trees.

    Parameters
    ----------
    max_iter
        The most trees that are tried.
    learning_rate
        Fraction of each tree's prediction that is added.
    max_leaf_nodes, max_bins
        Of each tree, and of each feature's histogram, at most.
    min_samples_leaf
        Labels in a leaf, at least; a tenth of the labels where that is fewer.
    l2_regularization
        Of the leaves.
    max_features
        Fraction of the features that each split may choose from.
    n_folds, hold_out_from
        See above.
    random_state
        Seed of folds and of the features offered.

    Attributes
    ----------
    n_iter_ : int
        Trees that are kept.
    loss_ : (tree,)
        Mean held-out loss after each number of trees, from 1.

    References
    ----------
    Friedman, Annals of Statistics 2001; Ke et al., NeurIPS 2017 (histograms); scikit-learn's
    `HistGradientBoostingClassifier` and `HistGradientBoostingRegressor`.
    """

    name = "boosting"
    title = "gradient boosting"
    exporter = "simplechrome.export.predictors:boosting"

    max_iter: Count = 200
    learning_rate: Positive = 0.1
    max_leaf_nodes: AtLeastTwo = 8
    min_samples_leaf: Count = 20
    l2_regularization: NotNegative = 1.0
    max_features: Annotated[float, Field(gt=0, le=1)] = 0.1
    max_bins: Annotated[int, Field(ge=2, le=255)] = 63
    n_folds: AtLeastTwo = 5
    hold_out_from: AtLeastTwo = 1000
    random_state: int = 0

    def _grow(self, rows: Rows, n_trees: int) -> Any:
        classifies = self.task == "classification"
        kind = HistGradientBoostingClassifier if classifies else HistGradientBoostingRegressor
        model = kind(
            max_iter=n_trees,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.max_leaf_nodes,
            min_samples_leaf=max(1, min(self.min_samples_leaf, len(rows.y) // 10)),
            l2_regularization=self.l2_regularization,
            max_features=self.max_features,
            max_bins=self.max_bins,
            early_stopping=False,
            random_state=self.random_state,
        )
        return model.fit(rows.x, rows.y)

    def _losses(self, model: Any, held_out: Rows) -> np.ndarray:
        """Mean loss after each number of trees, (tree,)."""
        if self.task == "regression":
            return np.array(
                [np.square(held_out.y - value).mean() for value in model.staged_predict(held_out.x)]
            )
        sign = np.where(held_out.y == 1, -1.0, 1.0)
        stages = model.staged_decision_function(held_out.x)
        return np.array([np.logaddexp(0, sign * values.ravel()).mean() for values in stages])

    def _fit_rows(self, rows: Rows, validation: Rows | None) -> None:
        parts = [(rows, validation)] if validation else self._inner_folds(rows)
        curves = [self._losses(self._grow(inside, self.max_iter), out) for inside, out in parts]
        if curves:
            self.loss_ = np.mean(curves, axis=0)
            self.n_iter_ = int(self.loss_.argmin()) + 1
        else:
            self.loss_ = np.full(self.max_iter, np.nan)
            self.n_iter_ = max(1, self.max_iter // 6)
            log.warning(
                "Too few labels of one class to choose the number of trees; taking %d",
                self.n_iter_,
            )
        self.model_ = self._grow(rows, self.n_iter_)

    def _predict_rows(self, x: np.ndarray) -> np.ndarray:
        if self.task == "regression":
            return np.asarray(self.model_.predict(x), np.float64)
        return np.asarray(self.model_.decision_function(x), np.float64)

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        # skops writes no pickle, and reads only types that are named.
        held = np.frombuffer(skops.io.dumps(self.model_), dtype=np.uint8)
        return {"n_iter": self.n_iter_}, {"model": held, "loss": self.loss_}

    def _restore(self, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.n_iter_, self.loss_ = numbers["n_iter"], arrays["loss"]
        self.model_ = skops.io.loads(arrays["model"].tobytes(), trusted=list(TRUSTED))
