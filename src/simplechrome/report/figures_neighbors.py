"""Figures of what neighbors add to a prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simplechrome.errors import InputFormatError
from simplechrome.report.style import (
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
        told = held.low > 0 or held.high < 0
        face = color if told else SURFACE
        axes.plot(held.difference, place, marker, color=color, markersize=4, markerfacecolor=face)
    axes.grid(axis="x")


@styled
def locus_figure(effects: pd.DataFrame, *, gene: str, named: int = 12) -> Figure:
    """Which neighbors moved the prediction of one gene, and where do they lie?

    Parameters
    ----------
    effects
        One row a neighbor, of one gene and cell type: neighbor_name, distance (bp in the gene's own
        direction, NaN on other chromosomes), attention, knock_out.
    gene
        Its name.
    named
        Neighbors on other chromosomes that are drawn: those with the largest effects.

    Returns
    -------
    Above, each neighbor's share of the attention; below, by how much it raised or lowered the
    prediction. Left, neighbors on the gene's chromosome by distance (where some lie very far, on a
    logarithmic scale beyond the middle one); right, those on others, the largest effects first.

    Raises
    ------
    InputFormatError
        If there are no neighbors.
    """
    if effects.empty:
        raise InputFormatError(f"{gene} has no neighbors.", expected="one or more")
    known = np.isfinite(effects["distance"].to_numpy(float))
    far = effects[~known]
    far = far.iloc[np.argsort(-np.abs(far["knock_out"].to_numpy()))[:named]]
    parts = [part for part in (effects[known], far) if len(part)]
    ratios = [1.4 if part is not far else 1.0 for part in parts]
    figure = new_figure(FULL_WIDTH, 3.6)
    panels = figure.subplots(
        2, len(parts), sharex="col", sharey="row", squeeze=False, width_ratios=ratios
    )
    for column, part in enumerate(parts):
        above, below = panels[:, column]
        ranks = part is far
        place = np.arange(len(part)) if ranks else part["distance"].to_numpy(float) / 1000
        _stems(above, place, part["attention"], part["knock_out"])
        _stems(below, place, part["knock_out"], part["knock_out"])
        if ranks:
            names = part["neighbor_name"].astype(str)
            below.set_xticks(place, names, rotation=45, ha="right", fontsize=7)
            above.set_title(f"on other chromosomes, {len(part)} of {int((~known).sum())}")
        else:
            _scale_by_distance(below, place)
            above.set_title(f"on the chromosome of {gene}, {len(part)}")
    panels[0, 0].set_ylabel("attention")
    panels[1, 0].set_ylabel("effect")
    return figure


def _stems(axes: Axes, place: np.ndarray, values: pd.Series, effect: pd.Series) -> None:
    colors = np.where(effect.to_numpy(float) > 0, HIGH, LOW)
    heights = values.to_numpy(float)
    axes.vlines(place, 0, heights, color=colors, linewidth=1.2)
    axes.scatter(place, heights, s=10, color=colors, linewidths=0)
    axes.axhline(0, color=MUTED, linewidth=0.8)


def _scale_by_distance(axes: Axes, kilobases: np.ndarray) -> None:
    away = np.abs(kilobases)
    reach, middle = float(away.max(initial=1.0)), max(float(np.median(away)), 1.0)
    axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=":")
    marked = [reach]
    if reach > 10 * middle:
        axes.set_xscale("symlog", linthresh=middle)
        marked.append(middle)
        axes.set_xlim(-1.5 * reach, 1.5 * reach)
    else:
        axes.set_xlim(-1.05 * reach, 1.05 * reach)
    ticks = [(0.0, "TSS")]
    for kb in marked:
        ticks += [(-kb, f"−{kb:,.0f}"), (kb, f"+{kb:,.0f}" + (" kb" if kb == reach else ""))]
    axes.set_xticks(*zip(*ticks, strict=True))
    axes.minorticks_off()
