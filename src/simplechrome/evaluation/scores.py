"""Scores of predictions on one part of a split, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from simplechrome import metrics
from simplechrome.errors import UndefinedScoreError
from simplechrome.evaluation.intervals import block_bootstrap
from simplechrome.schema import UNKNOWN_LABEL

Score = Callable[..., float]

_CLASSIFICATION: dict[str, Score] = {
    "auroc": metrics.auroc,
    "auprc": metrics.auprc,
    "accuracy": metrics.accuracy,
    "balanced_accuracy": metrics.balanced_accuracy,
    "brier": metrics.brier,
    "expected_calibration_error": metrics.expected_calibration_error,
}
_REGRESSION: dict[str, Score] = {
    "pearson": metrics.pearson,
    "spearman": metrics.spearman,
    "r_squared": metrics.r_squared,
}


def known_rows(predictions: pd.DataFrame, task: str) -> pd.DataFrame:
    """Which predictions can be scored: those of genes with a label, or a measured expression?"""
    if task == "classification":
        return predictions[predictions["label"] != UNKNOWN_LABEL]
    return predictions[np.isfinite(predictions["expression"])]


def _truth_and_prediction(rows: pd.DataFrame, task: str) -> tuple[np.ndarray, np.ndarray]:
    if task == "classification":
        return rows["label"].to_numpy(), rows["probability"].to_numpy(np.float64)
    log_expression = np.log2(rows["expression"].to_numpy(np.float64) + 1)
    return log_expression, rows["predicted_log2_expression"].to_numpy(np.float64)


def _one_cell_type(rows: pd.DataFrame, task: str) -> dict[str, Any]:
    truth, predicted = _truth_and_prediction(rows, task)
    collect = metrics.score_classification if task == "classification" else metrics.score_regression
    return dict(collect(truth, predicted))


def _with_intervals(rows: pd.DataFrame, task: str, scores: dict[str, Any]) -> dict[str, Any]:
    truth, predicted = _truth_and_prediction(rows, task)
    places: dict[str, Any] = {}
    if "chrom" in rows:
        places = {"chrom": rows["chrom"].to_numpy(str), "tss": rows["tss"].to_numpy()}
    result = dict(scores)
    functions = _CLASSIFICATION if task == "classification" else _REGRESSION
    for name, function in functions.items():
        if scores.get(name) is None:
            continue
        try:
            interval = block_bootstrap(function, truth, predicted, **places)
        except UndefinedScoreError as error:
            result.setdefault("undefined", {})[f"{name} interval"] = str(error)
            continue
        result[f"{name}_low"], result[f"{name}_high"] = interval.low, interval.high
    return result


def score_predictions(predictions: pd.DataFrame, task: str) -> dict[str, Any]:
    """How good are these predictions?

    Parameters
    ----------
    predictions
        One row a gene and cell type, of one part of a split: cell_type, label and probability
        (classification), or expression and predicted_log2_expression (regression); chrom and
        tss, where known, so that the bootstrap keeps neighboring genes together.
    task
        `classification` or `regression`.

    Returns
    -------
    Scores by name. Of one cell type: each with the 95 % interval of the block bootstrap
    (`auroc_low`, `auroc_high`). Of several: the mean over cell types, and each cell type's own
    scores, with intervals, under `cell_types`. Undefined scores are None, their reason under
    `undefined`. `n_genes` counts scored rows.
    """
    known = known_rows(predictions, task)
    if known.empty:
        return {"n_genes": 0, "undefined": {"all": "no gene of this part has a known expression"}}
    by_cell_type = {
        str(name): _with_intervals(rows, task, _one_cell_type(rows, task))
        for name, rows in known.groupby("cell_type", sort=False)
    }
    if len(by_cell_type) == 1:
        return next(iter(by_cell_type.values()))
    mean: dict[str, Any] = {}
    for name in _CLASSIFICATION if task == "classification" else _REGRESSION:
        values = [scores[name] for scores in by_cell_type.values() if scores[name] is not None]
        mean[name] = float(np.mean(values)) if values else None
    return {**mean, "n_genes": len(known), "cell_types": by_cell_type}
