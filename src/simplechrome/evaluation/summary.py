"""Scores as a person reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from simplechrome.evaluation.calibration import PLATT_FROM

SHOWN = {
    "classification": ("auroc", "auprc", "accuracy", "expected_calibration_error"),
    "regression": ("pearson", "spearman", "r_squared"),
    "difference": ("pearson", "sign_auroc", "spearman"),
}
"""The scores that a run comes down to, by task."""
NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "brier": "Brier score",
    "expected_calibration_error": "calibration error",
    "uncalibrated_brier": "Brier score before calibration",
    "uncalibrated_expected_calibration_error": "calibration error before calibration",
    "coverage": "coverage",
    "share_decided": "share of single-label sets",
    "interval_width": "width of intervals",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "r_squared": "R²",
    "sign_auroc": "AUROC of the sign",
}


def format_score(scores: dict[str, Any], name: str) -> str:
    """`0.9431 (0.9321–0.9530)`, or a dash for an undefined score."""
    value = scores.get(name)
    if value is None:
        return "–"
    low, high = scores.get(f"{name}_low"), scores.get(f"{name}_high")
    return f"{value:.4f}" if low is None else f"{value:.4f} ({low:.4f}–{high:.4f})"


def format_uncertainty(metrics: dict[str, Any]) -> str:
    """How were probabilities calibrated, and what is promised? Empty where nothing is."""
    how = metrics.get("uncertainty")
    if not how:
        return ""
    genes = f"{how['n_held_out']} held-out genes ({how['held_out']})"
    if metrics["task"] != "classification":
        return f"intervals from {genes}: {100 * how['promised_coverage']:g} % promised"
    if how["calibration"] == "none":
        few = how["n_held_out"] < PLATT_FROM
        reason = "too few" if few else "the model's own probabilities do as well"
        said = f"not recalibrated on {genes}: {reason}"
    else:
        method = {"platt": "a line, Platt's", "isotonic": "isotonic steps"}[how["calibration"]]
        said = f"probabilities calibrated ({method}) on {genes}"
    return f"{said}; label sets promise {100 * how['promised_coverage']:g} %"


def format_metrics(metrics: dict[str, Any]) -> str:
    """What does a run's metrics.json say, as lines for a terminal?"""
    lines = [f"{metrics['n_labels']} labelled genes, seed {metrics['seed']}"]
    if metrics.get("ensemble", 1) > 1:
        lines[0] += f", ensemble of {metrics['ensemble']}"
    lines += [text] if (text := format_uncertainty(metrics)) else []
    for part in ("validation", "test"):
        lines += format_part(metrics[part], metrics["task"], part)
    if "source" in metrics:
        first = SHOWN[metrics["task"]][0]
        said = format_score(metrics["source"]["test"], first)
        lines.append(f"what it was started from, without these labels: test {NAMES[first]} {said}")
    return "\n".join(lines)


def format_part(scores: dict[str, Any], task: str, part: str) -> list[str]:
    """What do these scores say, as lines for a terminal? `part`: whose genes they are of."""
    names = [*SHOWN[task], *(["coverage"] if "coverage" in scores else [])]
    shown = [f"{NAMES[n]} {format_score(scores, n)}" for n in names]
    cell_types = scores.get("cell_types", {})
    size = f"{scores['n_genes']} genes"
    if cell_types:
        size += f" in {len(cell_types)} cell types, means over these"
    lines = [f"{part} ({size}): " + ", ".join(shown)]
    first = SHOWN[task][0]
    for name, cell in cell_types.items():
        lines.append(f"  {name}: {NAMES[first]} {format_score(cell, first)}")
    return lines + [f"  {what}: {why}" for what, why in scores.get("undefined", {}).items()]


def paired_margins(scores: pd.DataFrame) -> pd.DataFrame:
    """By how much must a representation fall below the best one before draws tell them apart?

    All representations see the same draws, so their differences are compared, not their scores:
    half the width of the 95 % interval (Student's t) of the mean difference to the best. It knows
    the luck of the draw of labels, not that of the test genes, which all draws share.

    Parameters
    ----------
    scores
        One row a score: representation, n_labels, draw, auroc; as of `label_efficiency`.

    Returns
    -------
    (representation, n_labels), 0 for the best; NaN for all representations where there are fewer
    than three draws.
    """
    from scipy.stats import t

    margins = {}
    for n_labels, rows in scores.groupby("n_labels"):
        by_draw = rows.pivot(index="draw", columns="representation", values="auroc")
        draws = len(by_draw)
        if draws < _FEWEST_DRAWS:
            margins[n_labels] = pd.Series(np.nan, index=by_draw.columns)
            continue
        below = -by_draw.sub(by_draw[by_draw.mean().idxmax()], axis=0)
        margins[n_labels] = t.ppf(0.975, draws - 1) * below.std() / draws**0.5
    return pd.DataFrame(margins)


_FEWEST_DRAWS = 3  # the deviation of two differences says next to nothing
