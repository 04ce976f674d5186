"""The prediction of who sees nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from simplechrome.predictors.predictor import Predictor
from simplechrome.predictors.rows import Rows


class ConstantPredictor(Predictor):
    """The share of high genes, or the mean level, for every gene.

    Parameters
    ----------
    task
        `classification` or `regression`.

    Attributes
    ----------
    value_ : float
        Log odds, or level.
    """

    def __init__(self, task: str = "classification") -> None:
        self.task = task

    def _fit_rows(self, rows: Rows, validation: Rows | None) -> None:
        mean = float(np.mean(rows.y))
        self.value_ = float(np.log(mean / (1 - mean))) if self.task == "classification" else mean

    def _predict_rows(self, x: np.ndarray) -> np.ndarray:
        return np.full(len(x), self.value_)

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"value": self.value_}, {}

    def _restore(self, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.value_ = numbers["value"]
