"""Scores of predictions on one part of a split, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from simplechrome import metrics
from simplechrome.errors import UndefinedScoreError
from simplechrome.evaluation.intervals import (
    Interval,
    block_bootstrap,
    block_bootstrap_of_groups,
)
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


def _functions(task: str) -> dict[str, Score]:
    return _CLASSIFICATION if task == "classification" else _REGRESSION


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


def _places(rows: pd.DataFrame) -> dict[str, Any]:
    if "chrom" not in rows:
        return {}
    return {"chrom": rows["chrom"].to_numpy(str), "tss": rows["tss"].to_numpy()}


def _add_interval(scores: dict[str, Any], name: str, make: Callable[[], Interval]) -> None:
    try:
        interval = make()
    except UndefinedScoreError as error:
        scores.setdefault("undefined", {})[f"{name} interval"] = str(error)
    else:
        scores[f"{name}_low"], scores[f"{name}_high"] = interval.low, interval.high


def _score_one(known: pd.DataFrame, task: str) -> dict[str, Any]:
    """Scores of one cell type, with intervals."""
    scores = _one_cell_type(known, task)
    arrays, places = _truth_and_prediction(known, task), _places(known)
    for name, function in _functions(task).items():
        if scores[name] is not None:
            _add_interval(scores, name, partial(block_bootstrap, function, *arrays, **places))
    return scores


def _score_several(known: pd.DataFrame, task: str) -> dict[str, Any]:
    """Scores of each cell type and their mean, with intervals from the same draws of genes."""
    cell_type = known["cell_type"].to_numpy(str)
    own = {
        str(name): _one_cell_type(rows, task)
        for name, rows in known.groupby("cell_type", sort=False)
    }
    result: dict[str, Any] = {}
    for name, function in _functions(task).items():
        defined = [cell for cell, scores in own.items() if scores[name] is not None]
        result[name] = float(np.mean([own[cell][name] for cell in defined])) if defined else None
        if not defined:
            result.setdefault("undefined", {})[name] = "it has no value in any cell type"
            continue
        rows = known[np.isin(cell_type, defined)]
        try:
            resamples = block_bootstrap_of_groups(
                function,
                *_truth_and_prediction(rows, task),
                group=rows["cell_type"].to_numpy(str),
                gene=rows["gene_id"].to_numpy(str),
                **_places(rows),
            )
        except UndefinedScoreError as error:
            result.setdefault("undefined", {})[f"{name} interval"] = str(error)
            continue
        for cell in defined:
            _add_interval(own[cell], name, partial(resamples.interval, cell))
        _add_interval(result, name, resamples.mean)
    counts = {"n_genes": known["gene_id"].nunique(), "n_pairs": len(known)}
    return {**result, **counts, "cell_types": own}


def score_predictions(predictions: pd.DataFrame, task: str) -> dict[str, Any]:
    """How good are these predictions?

    Parameters
    ----------
    predictions
        One row a gene and cell type, of one part of a split: gene_id, cell_type, label and
        probability (classification), or expression and predicted_log2_expression (regression);
        chrom and tss, where known, so that the bootstrap keeps neighboring genes together.
    task
        `classification` or `regression`.

    Returns
    -------
    Scores by name, each with the 95 % interval of the block bootstrap (`auroc_low`,
    `auroc_high`), and `n_genes` that were scored. Of several cell types: the mean over those
    in which the score has a value, the number of scored (gene, cell_type) pairs `n_pairs`, and
    each cell type's own scores under `cell_types`; all their intervals come from the same draws
    of genes. Undefined scores are None, their reason under `undefined`.
    """
    known = known_rows(predictions, task)
    if known.empty:
        return {"n_genes": 0, "undefined": {"all": "no gene of this part has a known expression"}}
    several = known["cell_type"].nunique() > 1
    return _score_several(known, task) if several else _score_one(known, task)
