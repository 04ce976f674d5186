"""Figures of predictions that nobody has measured: what was predicted, and how surely."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from simplechrome.errors import InputFormatError
from simplechrome.report.style import FULL_WIDTH, INK, MUTED, new_figure, short_name, styled

_BINS = 40
_ROW = 0.62  # inches


@styled
def predicted_figure(values: Mapping[str, ArrayLike], label: str, *, middle: float) -> Figure:
    """What was predicted for the genes of each cell type?

    Parameters
    ----------
    values : cell type → (gene,)
        Predictions.
    label
        What they are, for the axis.
    middle
        Where a line is drawn: what parts high from low.

    Returns
    -------
    A histogram per cell type, one below the other on a common axis, each as high as its row.

    Raises
    ------
    InputFormatError
        If there is nothing to show.
    """
    rows = {name: np.asarray(each, dtype=float) for name, each in values.items()}
    if not rows or any(each.size == 0 for each in rows.values()):
        raise InputFormatError("There are no predictions to draw.", found=f"{len(rows)} cell types")
    everything = np.concatenate(list(rows.values()))
    low, high = float(everything.min()), float(everything.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    figure = new_figure(FULL_WIDTH, _ROW * len(rows) + 0.55)
    each_axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, each) in zip(each_axes, rows.items(), strict=True):
        axes.hist(each, bins=edges, color=INK, alpha=0.75, linewidth=0)
        axes.axvline(middle, color=MUTED, linewidth=0.8)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_ylabel(short_name(name), rotation=0, ha="right", va="center")
    each_axes[-1].set_xlabel(label)
    return figure
