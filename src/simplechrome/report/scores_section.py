"""Scores of a run: numbers on top, figures of test genes, a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from simplechrome.evaluation.scores import (
    NAMES,
    format_uncertainty,
    known_rows,
    levels_of,
    shown_scores,
)
from simplechrome.report import page
from simplechrome.report.figures.scores import (
    calibration_figure,
    precision_recall_figure,
    residual_figure,
    roc_figure,
    scatter_expression_figure,
)
from simplechrome.report.figures.style import counted

CELL_TYPES_DRAWN = 6
"""Of more cell types, the first ones are drawn and the page says so; tables hold all."""

_INTERVALS = "Intervals: block bootstrap over runs of up to 50 consecutive genes."


def headline(metrics: dict[str, Any]) -> list[page.HeadlineNumber]:
    """Return the leading numbers of metrics.json."""
    test = metrics["test"]
    genes = f"{test['n_genes']:,} test gene" + ("" if test["n_genes"] == 1 else "s")
    cell_types = test.get("cell_types", {})
    numbers = []
    for name in shown_scores(metrics["task"]):
        reasons = test.get("undefined", {})
        note = genes
        if test.get(name) is None:
            note = reasons.get(name) or reasons.get("all") or "undefined"
        elif cell_types:
            defined = sum(scores.get(name) is not None for scores in cell_types.values())
            of = "" if defined == len(cell_types) else f"{defined} of "
            note = f"mean of {of}{len(cell_types)} cell types, {genes}"
        interval = (test[f"{name}_low"], test[f"{name}_high"]) if f"{name}_low" in test else None
        numbers.append(page.HeadlineNumber(NAMES[name], test.get(name), interval, note))
    return numbers


def score_section(test: pd.DataFrame, metrics: dict[str, Any], *, units: str = "") -> page.Section:
    """Return the section with figures of the predictions of test genes.

    Parameters
    ----------
    test
        Predictions of test genes, as in predictions.parquet of a run.
    metrics
        As in metrics.json of a run.
    units
        Of the expression.
    """
    known = known_rows(test, metrics["task"])
    rows = {str(name): rows for name, rows in known.groupby("cell_type", sort=False)}
    several = len(rows) > 1
    blocks: list[page.Block] = []
    if several:
        left = len(rows) - CELL_TYPES_DRAWN
        blocks.append(
            page.Text(
                f"{counted(metrics['test']['n_genes'], 'gene')} in {len(rows)} cell types, "
                f"{len(known):,} gene and cell-type pairs. Each cell type is scored for itself; "
                "the numbers on top are means over the cell types, and their intervals draw the "
                "same genes in all of them."
                + (
                    f" Drawn are the first {CELL_TYPES_DRAWN} of them; the other {left} are in the "
                    "table of all scores only."
                    if left > 0
                    else ""
                )
            )
        )
    if text := _describe_coverage(metrics):
        blocks.append(page.Text(text))
    drawn = dict(list(rows.items())[:CELL_TYPES_DRAWN])
    scores = metrics["test"].get("cell_types") or dict.fromkeys(rows, metrics["test"])
    if metrics["task"] != "classification":
        blocks += _regression(drawn, scores, units)
    else:
        blocks += _classification(drawn, scores)
    return page.Section("Test genes", blocks)


def _describe_coverage(metrics: dict[str, Any]) -> str:
    """How probabilities were calibrated, and the coverage of sets or intervals."""
    how, test = format_uncertainty(metrics), metrics["test"]
    if not how:
        return ""
    text = how[0].upper() + how[1:]
    if test.get("coverage") is None:
        return f"{text}."
    held = "sets" if metrics["task"] == "classification" else "intervals"
    text += f", and {100 * test['coverage']:.1f} %"
    if "coverage_low" in test:
        text += f" ({100 * test['coverage_low']:.1f}–{100 * test['coverage_high']:.1f})"
    text += f" of the test genes lie inside of their {held}"
    if test.get("share_decided") is not None:
        text += f"; {100 * test['share_decided']:.1f} % of the sets hold a single label"
    if test.get("interval_width") is not None:
        text += f"; mean width {test['interval_width']:.2f} on the scale of log₂(expression + 1)"
    return f"{text}."


def _intervals(scores: dict[str, Any], score: str) -> dict[str, tuple[float, float]]:
    return {
        name: (own[f"{score}_low"], own[f"{score}_high"])
        for name, own in scores.items()
        if own.get(f"{score}_low") is not None
    }


def _classification(rows: dict[str, pd.DataFrame], scores: dict[str, Any]) -> list[page.Block]:
    curves = {
        name: (own["label"].to_numpy(), own["probability"].to_numpy()) for name, own in rows.items()
    }
    calibration = "15 bins of equal numbers of genes; bars: 95 % intervals of the fractions."
    before = {
        name: (own["label"].to_numpy(), own["uncalibrated_probability"].to_numpy())
        for name, own in rows.items()
        if "uncalibrated_probability" in own
        and not np.array_equal(own["uncalibrated_probability"], own["probability"])
    }
    if len(rows) == 1 and before:
        calibration += " Hollow: the same genes before calibration."
    if len(rows) > 1:
        calibration = (
            "15 bins of equal numbers of genes in each cell type. The calibration error on top is "
            "the mean of the cell types' errors: pooled, overconfidence in one and "
            "underconfidence in another would cancel."
        )
    return [
        page.Row(
            (
                page.Figure(
                    roc_figure(curves, intervals=_intervals(scores, "auroc")),
                    "ROC: how well high genes are ranked above low ones",
                    _INTERVALS,
                    name="roc",
                ),
                page.Figure(
                    precision_recall_figure(curves, intervals=_intervals(scores, "auprc")),
                    "Precision and recall as the threshold falls",
                    name="precision_recall",
                ),
            )
        ),
        page.Figure(
            calibration_figure(
                curves,
                intervals=_intervals(scores, "expected_calibration_error"),
                before=before,
            ),
            "Calibration: of genes with this probability, how many are high?",
            f"{calibration} Right: how many genes have which probability.",
            name="calibration",
        ),
    ]


def _regression(
    rows: dict[str, pd.DataFrame], scores: dict[str, Any], units: str
) -> list[page.Block]:
    levels = {name: levels_of(own) for name, own in rows.items()}
    what = "change" if any("predicted_change" in own for own in rows.values()) else "expression"
    several = len(levels) > 1
    intervals = _intervals(scores, "pearson")
    bounds = {
        name: (own["interval_low"].to_numpy(float), own["interval_high"].to_numpy(float))
        for name, own in rows.items()
        if "interval_low" in own
    }
    note = f"r: Pearson's correlation. {_INTERVALS}"
    if bounds:
        note += " Between the gray lines: the intervals of the predictions."
    nothing = np.empty(0)
    shown = levels or {"": (nothing, nothing)}
    scatters = [
        page.Figure(
            scatter_expression_figure(
                *sides, units=units, interval=intervals.get(name), bounds=bounds.get(name)
            ),
            (f"{name}: predicted" if several else "Predicted")
            + f" and measured {what} of test genes",
            note if name == next(iter(shown)) else "",
            name=f"predicted_{what}_{name}" if several else f"predicted_{what}",
        )
        for name, sides in shown.items()
    ]
    # An odd number of half-width figures leaves room next to the last one.
    odd = len(scatters) % 2 == 1
    residuals = page.Figure(
        residual_figure(levels, units=units, wide=not odd),
        "Residuals: at which levels is the prediction too high or too low?",
        "Median" + ("" if several else " and middle half") + " of predicted less measured, in bins "
        "of equal numbers of genes. Every imperfect prediction falls from left to right: it leans "
        "towards the mean.",
        name="residuals",
    )
    if odd:
        return [page.Row((*scatters, residuals))]
    return [page.Row(tuple(scatters)), residuals]


def score_table(metrics: dict[str, Any]) -> page.Table:
    """Return the table of all scores of test and validation genes, overall and by cell type."""
    rows = []
    several = False
    for part in ("test", "validation"):
        cell_types = metrics[part].get("cell_types", {})
        several |= bool(cell_types)
        named = {f"{part}, mean" if cell_types else part: metrics[part]}
        named |= {f"{part}, {name}": scores for name, scores in cell_types.items()}
        for name, scores in named.items():
            row: dict[str, Any] = {"genes of": name, "genes": scores["n_genes"]}
            rows.append(row | {NAMES[key]: scores.get(key) for key in NAMES if key in scores})
    caption = "Test genes were scored once; nothing was chosen on them. "
    if (metrics.get("uncertainty") or {}).get("held_out") == "validation genes":
        caption += (
            "Validation genes fitted the calibration, so that their calibration error and Brier "
            "score are fair before it only, and their coverage is no measurement. "
        )
    if several:
        caption += "Means are over the cell types in which a score has a value. "
    return page.Table(
        pd.DataFrame(rows), "All scores", caption + "The intervals of all are in metrics.json."
    )
