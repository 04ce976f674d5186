"""Scores of predictions on one part of a split, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from simplechrome.errors import UndefinedScoreError
from simplechrome.evaluation.bootstrap import (
    Interval,
    block_bootstrap,
    block_bootstrap_of_groups,
)
from simplechrome.evaluation.calibration import PLATT_FROM
from simplechrome.metrics import METRICS, Score, collect, headline_metrics, metrics_of
from simplechrome.schema import UNKNOWN_LABEL

_UNCALIBRATED = "uncalibrated_"
_COVERAGE = {
    "coverage": "coverage",
    "share_decided": "share of single-label sets",
    "interval_width": "width of intervals",
}


class _Titles(Mapping[str, str]):
    """Titles of all scores that `score_predictions` can return, whatever is registered."""

    def _all(self) -> dict[str, str]:
        every = [METRICS.get(name) for name in METRICS.names()]
        titles = {metric.name: metric.title for metric in every}
        titles |= {
            _UNCALIBRATED + metric.name: f"{metric.title} before calibration"
            for metric in every
            if metric.needs_probability
        }
        return titles | _COVERAGE

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


NAMES: Mapping[str, str] = _Titles()
"""Title of each score, by name."""


def shown_scores(task: str) -> list[str]:
    """Return the names of the scores that are shown first, the leading one before all."""
    return [metric.name for metric in headline_metrics(task)]


def format_score(scores: dict[str, Any], name: str) -> str:
    """`0.9431 (0.9321–0.9530)`, or a dash for an undefined score."""
    value = scores.get(name)
    if value is None:
        return "–"
    low, high = scores.get(f"{name}_low"), scores.get(f"{name}_high")
    return f"{value:.4f}" if low is None else f"{value:.4f} ({low:.4f}–{high:.4f})"


def format_uncertainty(metrics: dict[str, Any]) -> str:
    """Return the calibration and nominal coverage of a run in words; empty without any."""
    how = metrics.get("uncertainty")
    if not how:
        return ""
    genes = f"{how['n_held_out']} held-out genes ({how['held_out']})"
    if metrics["task"] != "classification":
        return f"intervals from {genes}, nominal coverage {100 * how['promised_coverage']:g} %"
    if how["calibration"] == "none":
        few = how["n_held_out"] < PLATT_FROM
        reason = "too few" if few else "the model's own probabilities do as well"
        text = f"not recalibrated on {genes}: {reason}"
    else:
        method = {"platt": "a line, Platt's", "isotonic": "isotonic steps"}[how["calibration"]]
        text = f"probabilities calibrated ({method}) on {genes}"
    return f"{text}; label sets with nominal coverage {100 * how['promised_coverage']:g} %"


def format_metrics(metrics: dict[str, Any]) -> str:
    """Return a run's metrics.json as lines for a terminal."""
    lines = [f"{metrics['n_labels']} labelled genes, seed {metrics['seed']}"]
    if metrics.get("ensemble", 1) > 1:
        lines[0] += f", ensemble of {metrics['ensemble']}"
    lines += [text] if (text := format_uncertainty(metrics)) else []
    for part in ("validation", "test"):
        lines += format_part(metrics[part], metrics["task"], part)
    if "source" in metrics:
        first = shown_scores(metrics["task"])[0]
        said = format_score(metrics["source"]["test"], first)
        lines.append(f"pretrained run, without these labels: test {NAMES[first]} {said}")
    return "\n".join(lines)


def format_part(scores: dict[str, Any], task: str, part: str) -> list[str]:
    """Return the scores of one part of a split as lines for a terminal."""
    names = [*shown_scores(task), *(["coverage"] if "coverage" in scores else [])]
    shown = [f"{NAMES[n]} {format_score(scores, n)}" for n in names]
    cell_types = scores.get("cell_types", {})
    size = f"{scores['n_genes']} genes"
    if cell_types:
        size += f" in {len(cell_types)} cell types, means over these"
    lines = [f"{part} ({size}): " + ", ".join(shown)]
    first = shown_scores(task)[0]
    for name, cell in cell_types.items():
        lines.append(f"  {name}: {NAMES[first]} {format_score(cell, first)}")
    return lines + [f"  {what}: {why}" for what, why in scores.get("undefined", {}).items()]


def known_rows(predictions: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return the predictions of genes with a label, or a measured expression.

    Genes without data have no prediction, and are not among them.
    """
    if task == "classification":
        known = (predictions["label"] != UNKNOWN_LABEL) & predictions["probability"].notna()
    else:
        measured, predicted = levels_of(predictions)
        known = np.isfinite(measured) & ~np.isnan(predicted)
    return predictions[known]


def coverage_columns(rows: pd.DataFrame, task: str) -> dict[str, np.ndarray]:
    """Return what label sets or intervals cover, gene by gene, of rows with a known truth.

    Returns
    -------
    `coverage` (does it hold the truth?), and `share_decided` (is it a single label?) or
    `interval_width`, each (row,); empty for predictions without sets or intervals.
    """
    if "label_set" in rows:
        sets = rows["label_set"].to_numpy(str)
        named = np.where(rows["label"].to_numpy() == 1, "high", "low")
        decided = np.isin(sets, ("low", "high"))
        covered = (sets == "low or high") | (sets == named)
        return {"coverage": covered.astype(float), "share_decided": decided.astype(float)}
    if "interval_low" in rows:
        low, high = rows["interval_low"].to_numpy(), rows["interval_high"].to_numpy()
        level = _measured(rows)
        covered = (low <= level) & (level <= high)
        return {"coverage": covered.astype(float), "interval_width": high - low}
    return {}


def levels_of(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Measured and predicted log2(expression + 1), or changes of it: (row,) each."""
    name = "predicted_change" if "change" in rows else "predicted_log2_expression"
    return _measured(rows), rows[name].to_numpy(np.float64)


def _measured(rows: pd.DataFrame) -> np.ndarray:
    if "change" in rows:
        return rows["change"].to_numpy(np.float64)
    return np.log2(rows["expression"].to_numpy(np.float64) + 1)


def _mean(values: np.ndarray) -> float:
    if not np.isfinite(values).all():
        raise UndefinedScoreError("intervals without end have no mean width")
    return float(values.mean())


def _measures(
    rows: pd.DataFrame, task: str, with_coverage: bool
) -> dict[str, tuple[Score, tuple[np.ndarray, ...]]]:
    """Return all scores that these predictions have: function and arrays (row,), by name."""
    arrays = levels_of(rows) if task != "classification" else _labels_of(rows, "probability")
    measures: dict[str, Any] = {m.name: (m.function, arrays) for m in metrics_of(task)}
    if "uncalibrated_probability" in rows and task == "classification":
        raw = _labels_of(rows, "uncalibrated_probability")
        for metric in metrics_of(task):
            if metric.needs_probability:
                measures[_UNCALIBRATED + metric.name] = metric.function, raw
                if not with_coverage:
                    del measures[metric.name]
    if with_coverage:
        for name, values in coverage_columns(rows, task).items():
            measures[name] = _mean, (values,)
    return measures


def _labels_of(rows: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    return rows["label"].to_numpy(), rows[column].to_numpy(np.float64)


def _one_cell_type(rows: pd.DataFrame, task: str, with_coverage: bool) -> dict[str, Any]:
    scores: dict[str, Any]
    scores, undefined = collect(_measures(rows, task, with_coverage))
    if task == "classification":
        scores["share_high"] = float((rows["label"] == 1).mean())
    scores["n_genes"] = len(rows)
    return {**scores, "undefined": undefined} if undefined else scores


def _places(rows: pd.DataFrame) -> dict[str, Any]:
    if "chrom" not in rows:
        return {}
    return {"chrom": rows["chrom"].to_numpy(str), "tss": rows["tss"].to_numpy()}


def _add_interval(scores: dict[str, Any], name: str, make: Callable[[], Interval]) -> None:
    try:
        interval = make()
    except UndefinedScoreError as error:
        scores.setdefault("undefined", {})[f"{name} interval"] = error.problem
    else:
        scores[f"{name}_low"], scores[f"{name}_high"] = interval.low, interval.high


def _score_one(known: pd.DataFrame, task: str, with_coverage: bool) -> dict[str, Any]:
    """Scores of one cell type, with intervals."""
    scores, places = _one_cell_type(known, task, with_coverage), _places(known)
    for name, (function, arrays) in _measures(known, task, with_coverage).items():
        if scores[name] is not None:
            _add_interval(scores, name, partial(block_bootstrap, function, *arrays, **places))
    return scores


def _score_several(known: pd.DataFrame, task: str, with_coverage: bool) -> dict[str, Any]:
    """Scores of each cell type and their mean, with intervals from the same draws of genes."""
    cell_type = known["cell_type"].to_numpy(str)
    own = {
        str(name): _one_cell_type(rows, task, with_coverage)
        for name, rows in known.groupby("cell_type", sort=False)
    }
    result: dict[str, Any] = {}
    for name, (function, arrays) in _measures(known, task, with_coverage).items():
        defined = [cell for cell, scores in own.items() if scores[name] is not None]
        result[name] = float(np.mean([own[cell][name] for cell in defined])) if defined else None
        if not defined:
            result.setdefault("undefined", {})[name] = "it has no value in any cell type"
            continue
        chosen = np.isin(cell_type, defined)
        rows = known[chosen]
        try:
            resamples = block_bootstrap_of_groups(
                function,
                *(array[chosen] for array in arrays),
                group=rows["cell_type"].to_numpy(str),
                gene=rows["gene_id"].to_numpy(str),
                **_places(rows),
            )
        except UndefinedScoreError as error:
            result.setdefault("undefined", {})[f"{name} interval"] = error.problem
            continue
        for cell in defined:
            _add_interval(own[cell], name, partial(resamples.interval, cell))
        _add_interval(result, name, resamples.mean)
    counts = {"n_genes": known["gene_id"].nunique(), "n_pairs": len(known)}
    return {**result, **counts, "cell_types": own}


def score_predictions(
    predictions: pd.DataFrame, task: str, *, with_coverage: bool = True
) -> dict[str, Any]:
    """Score predictions by every metric of the task, with intervals.

    Parameters
    ----------
    predictions
        One row a gene and cell type, of one part of a split: gene_id, cell_type, label and
        probability (classification), expression and predicted_log2_expression (regression), or
        change and predicted_change (difference); chrom and tss, where known, so that the
        bootstrap keeps neighboring genes together.
    task
        `classification`, `regression` or `difference`.
    with_coverage
        Measure the coverage of label sets or intervals, where the predictions have them, and the
        calibration of probabilities; not for the genes that these come from.

    Returns
    -------
    Scores by name, each with its 95 % interval (`auroc_low`, `auroc_high`), and `n_genes`. Of
    several cell types: the mean over those in which the score has a value, the number of scored
    (gene, cell_type) pairs `n_pairs`, and each cell type's own scores under `cell_types`, from the
    same draws of genes. Undefined scores are None, their reason under `undefined`.
    """
    known = known_rows(predictions, task)
    if known.empty:
        return {"n_genes": 0, "undefined": {"all": "no gene of this part has a known expression"}}
    several = known["cell_type"].nunique() > 1
    score = _score_several if several else _score_one
    return score(known, task, with_coverage)
