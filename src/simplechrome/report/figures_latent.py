"""Figures of what latents stand for."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from simplechrome.report.style import (
    FAINT,
    FULL_WIDTH,
    INK,
    MUTED,
    mark_colors,
    new_figure,
    short_name,
    styled,
)

_COLUMNS = 3


@styled
def traversal_figure(change: xr.DataArray, bin_size: int) -> Figure:
    """How does the window change when each latent rises by one standard deviation?

    Parameters
    ----------
    change : (latent, bin, mark)
        See `LatentReading`.
    bin_size
        In bp.

    Returns
    -------
    One panel per latent, with a line per mark, all on one scale.
    """
    names = [short_name(name) for name in change["latent"].values]
    marks = [str(mark) for mark in change["mark"].values]
    kilobases = (change["bin_start"].values + bin_size / 2) / 1_000
    columns = min(_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure = new_figure(FULL_WIDTH, 1.6 * rows + 0.6)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    largest = float(np.nanmax(np.abs(change.values), initial=0.0)) or 1.0
    colors = mark_colors(marks)
    for panel, name, values in zip(panels, names, change.values, strict=False):
        panel.axhline(0, color=FAINT, linewidth=0.8)
        panel.axvline(0, color=FAINT, linewidth=0.8)
        for column, color in enumerate(colors):
            panel.plot(kilobases, values[:, column], color=color, linewidth=1.3)
        panel.set_title(name, color=INK)
        panel.set_ylim(-1.08 * largest, 1.08 * largest)
    for panel in panels[len(names) :]:
        panel.remove()
    figure.supxlabel("kb from the TSS", color=MUTED, fontsize=9)
    figure.supylabel("change of log₂ signal", color=MUTED, fontsize=9)
    handles = [Line2D([], [], color=color) for color in colors]
    figure.legend(
        handles,
        [short_name(mark, 18) for mark in marks],
        loc="outside upper left",
        ncols=min(len(marks), 6),
    )
    return figure
