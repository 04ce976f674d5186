"""The figure of what neighbors add to a score."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simplechrome.report.figures.style import (
    FULL_WIDTH,
    HIGH,
    LOW,
    MUTED,
    SURFACE,
    counted,
    message_figure,
    new_figure,
    styled,
)

_LOOKS = {
    "own window alone": (HIGH, "o", -0.2),
    "shuffled": (LOW, "s", 0.0),
    "elsewhere": (MUTED, "D", 0.2),
}
"""Color, marker and place within the row, by what true neighbors are compared with."""


@styled
def neighbor_gain_figure(gains: pd.DataFrame, *, score_name: str = "AUROC") -> Figure:
    """How much higher does a model score with true neighbors than without, or with others?

    Parameters
    ----------
    gains
        One row a comparison: neighbors, against, n_labels, all_labels, difference, low, high; of
        one place and one predictor.
    score_name
        What is compared.

    Returns
    -------
    A column per number of labels, a row per kind of neighbors with a mark for each comparison;
    filled where the interval excludes 0. All columns share one scale.
    """
    if gains.empty:
        return message_figure("No model with neighbors was compared.", FULL_WIDTH)
    names = list(dict.fromkeys(gains["neighbors"]))
    counts = list(
        gains[["n_labels", "all_labels"]]
        .drop_duplicates()
        .sort_values(["all_labels", "n_labels"])
        .itertuples(index=False)
    )
    figure = new_figure(FULL_WIDTH, 1.3 + 0.36 * len(names))
    columns = figure.subplots(1, len(counts), sharey=True, sharex=True, squeeze=False)[0]
    for count, axes in zip(counts, columns, strict=True):
        own = (gains["n_labels"] == count.n_labels) & (gains["all_labels"] == count.all_labels)
        _draw(axes, gains[own], names)
        shown: Any = count
        axes.set_title("all labels" if shown.all_labels else counted(shown.n_labels, "label"))
    columns[0].set_yticks(range(len(names)), names)
    columns[0].set_ylim(len(names) - 0.5, -0.5)
    handles = [
        columns[0].plot([], [], marker, color=color, markersize=4, label=f"minus {name}")[0]
        for name, (color, marker, _) in _LOOKS.items()
        if name in set(gains["against"])
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), frameon=False)
    figure.supxlabel(f"difference in {score_name}", fontsize=9, color=MUTED)
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    axes.axvline(0, color=MUTED, linewidth=0.8)
    for row in rows.itertuples():
        held: Any = row
        color, marker, shift = _LOOKS[str(held.against)]
        place = names.index(str(held.neighbors)) + shift
        if np.isfinite([held.low, held.high]).all():
            axes.hlines(place, held.low, held.high, color=color, linewidth=1.2)
        significant = held.low > 0 or held.high < 0
        face = color if significant else SURFACE
        axes.plot(held.difference, place, marker, color=color, markersize=4, markerfacecolor=face)
    axes.grid(axis="x")
