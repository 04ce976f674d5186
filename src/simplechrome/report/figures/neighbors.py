"""Figures of neighbors: what they add to a score, and those of one gene."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure

from simplechrome.errors import InputFormatError
from simplechrome.report.figures.style import (
    FULL_WIDTH,
    HIGH,
    INK,
    LOW,
    MUTED,
    SURFACE,
    counted,
    mark_colors,
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
    """Draw the gain of true neighbors over none, shuffled ones, and those of other genes.

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


_NAMED = 4  # neighbors on the chromosome that are named: those with the largest effects


@styled
def locus_figure(
    effects: pd.DataFrame, *, gene: str, levels: pd.DataFrame | None = None, elsewhere: int = 12
) -> Figure:
    """Draw the neighbors of one gene: their place, marks, attention and effect.

    Parameters
    ----------
    effects
        One row a neighbor, of one gene and cell type: gene_id, neighbor_id, neighbor_name, distance
        (bp in the gene's own direction, NaN on other chromosomes), orientation (1 as the gene's, -1
        against it, 0 unknown), attention, knock_out.
    gene
        Its name.
    levels : (gene_id, mark)
        From 0 to 1, how much of each mark each gene has among all, see `level_ranks`.
    elsewhere
        Neighbors on other chromosomes that are drawn: those with the largest effects.

    Returns
    -------
    From above: each neighbor's share of the attention; by how much it raised or lowered the
    prediction; genes as arrows in the direction of transcription; and, with `levels`, a row per
    mark, darker where there is more of it. Left, the gene's chromosome by distance (where some
    lie very far, on a logarithmic scale beyond the middle one); right, other chromosomes, the
    largest effects first.

    Raises
    ------
    InputFormatError
        If there are no neighbors.
    """
    if effects.empty:
        raise InputFormatError(f"{gene} has no neighbors to draw.")
    known = np.isfinite(effects["distance"].to_numpy(float))
    far = effects[~known]
    far = far.iloc[np.argsort(-np.abs(far["knock_out"].to_numpy()))[:elsewhere]]
    parts = [part for part in (effects[known], far) if len(part)]
    marks = [] if levels is None else list(levels.columns)
    heights = [1.0, 1.0, 0.45, *([0.16 * len(marks)] if marks else [])]
    figure = new_figure(FULL_WIDTH, 1.0 + 1.2 * sum(heights))
    panels = figure.subplots(
        *(len(heights), len(parts)),
        sharex="col",
        sharey="row",
        squeeze=False,
        height_ratios=heights,
        width_ratios=[1.0 if part is far else 1.4 for part in parts],
    )
    for column, part in enumerate(parts):
        attention, effect, genes, *strip = panels[:, column]
        ranks = part is far
        place = np.arange(len(part)) if ranks else part["distance"].to_numpy(float) / 1000
        _stems(attention, place, part["attention"], part["knock_out"])
        _stems(effect, place, part["knock_out"], part["knock_out"])
        _arrows(genes, place, part, gene=None if ranks else gene)
        if strip and levels is not None:
            _strip(strip[0], place, part["neighbor_id"], levels)
            if not ranks:
                _strip(strip[0], np.zeros(1), effects["gene_id"].iloc[:1], levels)
        last = panels[-1, column]
        if ranks:
            names = part["neighbor_name"].astype(str)
            last.set_xticks(place, names, rotation=45, ha="right", fontsize=7)
            last.set_xlim(-0.7, len(part) - 0.3)
            attention.set_title(f"on other chromosomes, {len(part)} of {int((~known).sum())}")
        else:
            _scale_by_distance(last, place)
            attention.set_title(f"on the chromosome of {gene}, {len(part)}")
    panels[0, 0].set_ylabel("attention")
    panels[1, 0].set_ylabel("effect")
    panels[2, 0].set_yticks([])
    panels[2, 0].set_ylabel("genes")
    if marks:
        panels[3, 0].set_yticks(range(len(marks)), marks, fontsize=7)
        panels[3, 0].set_ylim(len(marks) - 0.5, -0.5)
    return figure


def _stems(axes: Axes, place: np.ndarray, values: pd.Series, effect: pd.Series) -> None:
    colors = np.where(effect.to_numpy(float) > 0, HIGH, LOW)
    heights = values.to_numpy(float)
    axes.vlines(place, 0, heights, color=colors, linewidth=1.2)
    axes.scatter(place, heights, s=10, color=colors, linewidths=0)
    axes.axhline(0, color=MUTED, linewidth=0.8)


def _arrows(axes: Axes, place: np.ndarray, part: pd.DataFrame, gene: str | None) -> None:
    """Genes in the direction in which they are transcribed, the gene's own to the right."""
    facing = part["orientation"].to_numpy(float)
    for way, marker in ((1, ">"), (-1, "<"), (0, "s")):
        rows = facing == way
        axes.plot(place[rows], np.zeros(rows.sum()), marker, color=MUTED, markersize=4)
    axes.set_ylim(-1, 1)
    axes.grid(visible=False)
    for side in ("bottom", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="x", length=0)
    if gene is None:
        return
    axes.plot(0, 0, ">", color=INK, markersize=7)
    most = np.argsort(-np.abs(part["knock_out"].to_numpy(float)), kind="stable")[:_NAMED]
    # Names of near neighbors would lie upon each other: every second one stands below.
    for turn, row in enumerate(sorted(most, key=lambda k: float(place[k]))):
        name, height = str(part["neighbor_name"].iloc[row]), 0.62 * (1 - 2 * (turn % 2))
        axes.text(place[row], height, name, ha="center", va="center", fontsize=6.5)


def _strip(axes: Axes, place: np.ndarray, gene_ids: pd.Series, levels: pd.DataFrame) -> None:
    """A row per mark, a tick per gene."""
    found = levels.reindex(gene_ids.to_numpy())
    marks = [str(mark) for mark in levels.columns]
    for row, (mark, color) in enumerate(zip(marks, mark_colors(marks), strict=True)):
        shades = LinearSegmentedColormap.from_list(mark, [to_rgba(SURFACE), to_rgba(color)])
        axes.vlines(
            place, row - 0.42, row + 0.42, color=shades(found[mark].to_numpy(float)), linewidth=3
        )
    axes.grid(visible=False)


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
