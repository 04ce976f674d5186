"""Scores as a person reads them."""

from __future__ import annotations

from typing import Any

_SHOWN = {
    "classification": ("auroc", "auprc", "accuracy", "expected_calibration_error"),
    "regression": ("pearson", "spearman", "r_squared"),
}
NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "brier": "Brier score",
    "expected_calibration_error": "calibration error",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "r_squared": "R²",
}


def format_score(scores: dict[str, Any], name: str) -> str:
    """`0.9431 (0.9321–0.9530)`, or a dash for an undefined score."""
    value = scores.get(name)
    if value is None:
        return "–"
    low, high = scores.get(f"{name}_low"), scores.get(f"{name}_high")
    return f"{value:.4f}" if low is None else f"{value:.4f} ({low:.4f}–{high:.4f})"


def format_metrics(metrics: dict[str, Any]) -> str:
    """What does a run's metrics.json say, as lines for a terminal?"""
    lines = [f"{metrics['n_labels']} labelled genes, seed {metrics['seed']}"]
    for part in ("validation", "test"):
        scores = metrics[part]
        shown = [f"{NAMES[n]} {format_score(scores, n)}" for n in _SHOWN[metrics["task"]]]
        lines.append(f"{part} ({scores['n_genes']} genes): " + ", ".join(shown))
        for name, cell in scores.get("cell_types", {}).items():
            first = _SHOWN[metrics["task"]][0]
            lines.append(f"  {name}: {NAMES[first]} {format_score(cell, first)}")
        lines += [f"  {what}: {why}" for what, why in scores.get("undefined", {}).items()]
    return "\n".join(lines)
