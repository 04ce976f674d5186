"""Figures that compare models over a grid of settings. Tidy scores in, a figure out."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator
from numpy.typing import NDArray

from simplechrome.benchmark.summary import MODEL
from simplechrome.report.figures.style import (
    FULL_WIDTH,
    INK,
    MUTED,
    SURFACE,
    message_figure,
    new_figure,
    series_lines,
    short_name,
    styled,
)

Floats = NDArray[np.float64]

_BAND = ("n_labels", "mean", "low", "high")
_COLUMNS = 3  # panels side by side


def _apart(places: Floats, gap: float) -> list[float]:
    """The ticks whose labels do not touch on a log axis, the last one always among them."""
    kept = [float(places[-1])]
    for place in places[-2::-1]:
        if np.log(kept[-1] / place) >= gap:
            kept.append(float(place))
    return kept[::-1]


def _line_name(representation: str, predictor: str) -> str:
    """Of a model within the panel of its predictor: `raw@paper`, `pca`."""
    _, at, preset = predictor.partition("@")
    return representation if representation.endswith(at + preset) else representation + at + preset


@styled
def grid_figure(summary: pd.DataFrame, *, baseline: str, score_name: str = "AUROC") -> Figure:
    """Draw each model's score by number of labels, a panel per predictor.

    Parameters
    ----------
    summary
        One row per model and number of labels: representation, predictor, n_labels, mean, low,
        high.
    baseline
        `representation:predictor`; drawn in gray in every panel.
    score_name
        What `mean` is.

    Returns
    -------
    A panel per predictor, a line per representation, with bands from low to high. The score's
    axis ends where it would cost the better models their room: a line may leave it below.
    """
    heads = list(dict.fromkeys(head_of(name) for name in summary["predictor"]))
    lines = series_lines(
        list(dict.fromkeys(map(_line_name, summary["representation"], summary["predictor"])))
    )
    columns = min(_COLUMNS, len(heads))
    n_rows = -(-len(heads) // columns)
    figure = new_figure(FULL_WIDTH, 0.9 + 2.3 * n_rows)
    grid = figure.subplots(n_rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in grid[len(heads) :]:
        axes.set_visible(False)
    # First: limits found from a single number of labels would have no width.
    _set_label_axes(list(grid[: len(heads)]), columns, summary["n_labels"].to_numpy(float))
    reference = _of_model(summary, baseline)
    for head, axes in zip(heads, grid, strict=False):
        own = summary[[head_of(name) == head for name in summary["predictor"]]]
        axes.plot(reference["n_labels"], reference["mean"], color=MUTED, dashes=(3, 3), lw=0.9)
        for (representation, predictor), rows in own.groupby(list(MODEL), sort=False):
            look = lines[_line_name(str(representation), str(predictor))]
            _draw_line(axes, rows.sort_values("n_labels"), look)
        axes.set_title(head)
        axes.grid(axis="y")
    grid[0].set_ylim(*_score_limits(summary))
    for axes in grid[: len(heads) : columns]:
        axes.set_ylabel(score_name)
    handles: list[Artist] = [
        Line2D([], [], marker="o", markersize=3, label=short_name(name), **look)
        for name, look in lines.items()
    ]
    handles.append(
        Line2D([], [], color=MUTED, dashes=(3, 3), linewidth=0.9, label=f"{baseline} (baseline)")
    )
    figure.legend(handles=handles, loc="outside lower left", ncols=4)
    return figure


def _of_model(summary: pd.DataFrame, model: str) -> pd.DataFrame:
    rows = summary[summary["representation"] + ":" + summary["predictor"] == model]
    return rows.sort_values("n_labels")


def head_of(predictor: str) -> str:
    """Return the kind of a predictor without its settings: `mlp` of `mlp@paper`."""
    return predictor.partition("@")[0]


def _draw_line(axes: Axes, rows: pd.DataFrame, look: dict[str, Any]) -> None:
    n_labels, mean, low, high = (rows[name].to_numpy(float) for name in _BAND)
    axes.fill_between(n_labels, low, high, color=look["color"], alpha=0.08, linewidth=0)
    if len(rows) == 1:  # a band needs two places
        axes.vlines(n_labels, low, high, color=look["color"], alpha=0.4)
    axes.plot(n_labels, mean, marker="o", markersize=3, **look)


def _score_limits(summary: pd.DataFrame) -> tuple[float, float]:
    """From below most models to above all: a bad one must not press the others together."""
    first = summary[summary["n_labels"] == summary["n_labels"].min()]
    typical, top = float(first["mean"].median()), float(summary["mean"].max())
    lows, highs = summary["low"].fillna(summary["mean"]), summary["high"].fillna(summary["mean"])
    bottom = max(float(lows.min()), typical - 1.2 * max(top - typical, 0.01))
    room = 0.04 * (float(highs.max()) - bottom) or 0.01
    return bottom - room, float(highs.max()) + room


def _set_label_axes(panels: list[Axes], columns: int, n_labels: Floats) -> None:
    places = np.unique(n_labels)
    span = np.log(places[-1] / places[0]) or 1.0
    ticks = _apart(places, 0.055 * span * columns)
    for position, axes in enumerate(panels):
        axes.set_xscale("log")
        axes.set_xlim(places[0] * np.exp(-0.06 * span), places[-1] * np.exp(0.06 * span))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.set_xticks(ticks, [f"{place:,.0f}" for place in ticks])
        if position + columns >= len(panels):  # nothing below
            axes.set_xlabel("labelled genes")
            axes.tick_params(labelbottom=True)


@styled
def paired_difference_figure(
    summary: pd.DataFrame, *, baseline: str, score_name: str = "AUROC"
) -> Figure:
    """Draw the paired difference of each model to the baseline, with its interval.

    Parameters
    ----------
    summary
        One row per model and number of labels: representation, predictor, n_labels, all_labels,
        difference, difference_low, difference_high (NaN: the row is left empty).
    baseline
        `representation:predictor` that differences are taken to.
    score_name
        What is compared.

    Returns
    -------
    A column per number of labels, a row per model; filled where the interval excludes 0. Each
    column has its own scale; what lies outside of it is an arrow.
    """
    names = summary["representation"] + ":" + summary["predictor"]
    models = [name for name in dict.fromkeys(names) if name != baseline]
    shown = summary[names != baseline]
    counts = list(
        shown[["n_labels", "all_labels"]]
        .drop_duplicates()
        .sort_values(["all_labels", "n_labels"])
        .itertuples(index=False)
    )
    if not models or shown["difference"].isna().all():
        return message_figure(f"No other model can be compared with {baseline}.", FULL_WIDTH)
    colors = {
        name: look["color"]
        for name, look in series_lines(list(dict.fromkeys(shown["representation"]))).items()
    }
    figure = new_figure(FULL_WIDTH, 0.9 + 0.19 * len(models))
    columns = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
    for count, axes in zip(counts, columns, strict=True):
        here = shown[
            (shown["n_labels"] == count.n_labels) & (shown["all_labels"] == count.all_labels)
        ]
        _draw_differences(axes, here, models, colors)
        axes.set_title("all" if count.all_labels else f"{count.n_labels:,}")
    columns[0].set_yticks(range(len(models)), [short_name(name, 32) for name in models])
    columns[0].set_ylim(len(models) - 0.4, -0.6)
    figure.supxlabel(
        f"{score_name} minus that of {baseline}, by number of labels", fontsize=9, color=MUTED
    )
    return figure


def _draw_differences(
    axes: Axes, rows: pd.DataFrame, models: list[str], colors: dict[str, str]
) -> None:
    low, high = (rows[f"difference_{end}"].to_numpy(float) for end in ("low", "high"))
    reach = np.fmax(np.abs(low), np.abs(high))
    reach = np.fmax(reach, np.abs(rows["difference"].to_numpy(float)))
    reach = reach[np.isfinite(reach)]
    limit = float(min(reach.max(), 1.6 * np.median(reach))) if reach.size else 0.0
    limit = 1.08 * limit or 0.01
    axes.axvline(0, color=MUTED, linewidth=0.8)
    for row, model, start, end in zip(
        rows.itertuples(), rows["representation"] + ":" + rows["predictor"], low, high, strict=True
    ):
        value: Any = row.difference
        if not np.isfinite(value):
            continue
        place, color = models.index(model), colors[str(row.representation)]
        significant = start > 0 or end < 0  # False where there is no interval
        axes.hlines(place, max(start, -limit), min(end, limit), color=color, linewidth=1.3)
        outside = abs(value) > limit
        marker = "o" if not outside else "<" if value < 0 else ">"
        axes.plot(
            np.clip(value, -0.97 * limit, 0.97 * limit),
            place,
            marker,
            color=color,
            markersize=4,
            markerfacecolor=color if significant else SURFACE,
        )
    axes.set_xlim(-limit, limit)
    tick = float(f"{0.6 * limit:.0e}")
    axes.set_xticks([-tick, tick], [f"−{_bare(tick)}", f"+{_bare(tick)}"])
    axes.grid(axis="x")


def _bare(value: float) -> str:
    """`.005`: without the zero in front."""
    return f"{value:.10f}".rstrip("0").removeprefix("0")


@styled
def fit_time_figure(rows: pd.DataFrame, *, score_name: str = "AUROC") -> Figure:
    """Draw scores against the time of one fit.

    Parameters
    ----------
    rows
        One row per model and number of labels: representation, predictor, n_labels, all_labels,
        mean, seconds (of one fit of the predictor).
    score_name
        What `mean` is.

    Returns
    -------
    A panel for the fewest labels and one for the most; color is the representation, shape the
    predictor.
    """
    counts = (
        rows[["n_labels", "all_labels"]].drop_duplicates().sort_values(["all_labels", "n_labels"])
    )
    ends = list(counts.itertuples(index=False))
    ends = [ends[0], ends[-1]] if len(ends) > 1 else ends
    looks = _point_looks(list(dict.fromkeys(rows["representation"])))
    markers = dict(
        zip(dict.fromkeys(rows["predictor"]), itertools.cycle("osD^vPX*<>"), strict=False)
    )
    figure = new_figure(FULL_WIDTH, 3.6)
    for count, axes in zip(ends, figure.subplots(1, len(ends), squeeze=False)[0], strict=True):
        here = rows[(rows["n_labels"] == count.n_labels) & (rows["all_labels"] == count.all_labels)]
        for row in here.itertuples():
            x: Any = row.seconds
            marker = markers[str(row.predictor)]
            axes.plot(max(x, 1e-3), row.mean, marker, **looks[str(row.representation)])
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_title("all labels" if count.all_labels else f"{count.n_labels:,} labels")
        axes.set(xlabel="seconds per fit", ylabel=score_name)
        axes.grid()
    handles = [
        *(Line2D([], [], marker="o", lw=0, label=short_name(n), **k) for n, k in looks.items()),
        *(
            Line2D([], [], color=INK, marker=m, lw=0, label=short_name(n))
            for n, m in markers.items()
        ),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=5)
    return figure


def _point_looks(names: list[str]) -> dict[str, dict[str, Any]]:
    """As `series_lines`, but with a point for a line: one that would be dashed is hollow."""
    return {
        name: {
            "color": look["color"],
            "markerfacecolor": look["color"] if look["linestyle"] == "-" else SURFACE,
            "markersize": 5,
        }
        for name, look in series_lines(names).items()
    }
