"""Figures that compare models over a grid of settings. Tidy scores in, a figure out."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import NDArray

from simplechrome.errors import InputFormatError
from simplechrome.report.style import (
    FULL_WIDTH,
    label_ends,
    new_figure,
    series_lines,
    short_name,
    styled,
)

Floats = NDArray[np.float64]


@styled
def label_efficiency_figure(scores: pd.DataFrame, *, score_name: str = "AUROC") -> Figure:
    """How many labelled genes does each representation need?

    Parameters
    ----------
    scores
        One row per representation and number of labels: `representation`, `n_labels`, `mean`,
        `low`, `high` (NaN where there is no interval).
    score_name
        What `mean` is.

    Returns
    -------
    A line per representation over the number of labels (log scale), named at its end.

    Raises
    ------
    InputFormatError
        If a column is missing, there is no row, or a number of labels is below 1.
    """
    columns = ("representation", "n_labels", "mean", "low", "high")
    missing = [name for name in columns if name not in scores.columns]
    if missing or scores.empty or not (scores["n_labels"] >= 1).all():
        raise InputFormatError(
            "The scores cannot be drawn over the number of labels.",
            found=f"{len(scores)} rows with columns {', '.join(map(str, scores.columns))}",
            expected=f"rows with {', '.join(columns)}, and n_labels of 1 or more",
            cause=f"no column {', '.join(missing)}" if missing else "",
        )
    figure = new_figure(FULL_WIDTH, 3.8)
    axes = figure.subplots()
    axes.set_xscale("log")
    names = [str(name) for name in dict.fromkeys(scores["representation"])]
    lines = series_lines(names)
    last = []
    for name, marker in zip(names, itertools.cycle("osD^vPX"), strict=False):
        rows = scores[scores["representation"].astype(str) == name].sort_values("n_labels")
        n_labels, mean, low, high = (rows[column].to_numpy(float) for column in columns[1:])
        color = lines[name]["color"]
        axes.fill_between(n_labels, low, high, color=color, alpha=0.12, linewidth=0)
        if len(rows) == 1:  # a band needs two places
            axes.vlines(n_labels, low, high, color=color, alpha=0.4)
        axes.plot(n_labels, mean, marker=marker, markersize=4, label=name, **lines[name])
        known = np.flatnonzero(np.isfinite(mean))
        if known.size:
            x, y = n_labels[known[-1]], mean[known[-1]]
            last.append((f"{short_name(name)}  {y:.3f}", x, y, color))
    places = np.unique(scores["n_labels"].to_numpy(float))
    span = np.log(places[-1] / places[0]) or 1.0
    axes.set_xlim(places[0] * np.exp(-0.04 * span), places[-1] * np.exp(0.02 * span))
    axes.xaxis.set_minor_locator(NullLocator())
    ticks = _apart(places, 0.055 * span)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.set_xticklabels([f"{place:,.0f}" for place in ticks])
    axes.set_ylim(*axes.get_ylim())  # final: the labels' places depend on it
    axes.set_xlabel("labelled genes")
    axes.set_ylabel(score_name)
    axes.grid(axis="y")
    label_ends(figure, axes, last)
    return figure


def _apart(places: Floats, gap: float) -> list[float]:
    """The ticks whose labels do not touch on a log axis, the last one always among them."""
    kept = [float(places[-1])]
    for place in places[-2::-1]:
        if np.log(kept[-1] / place) >= gap:
            kept.append(float(place))
    return kept[::-1]
