"""Figures of how good predicted expression is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from simplechrome.errors import InputFormatError, UndefinedScoreError
from simplechrome.metrics import pearson
from simplechrome.report.figures.scores import LEGEND_INSIDE, bins_of_equal_mass, describe_bins
from simplechrome.report.figures.style import (
    ACCENT,
    FULL_WIDTH,
    HALF_WIDTH,
    INK,
    MUTED,
    counted,
    message_figure,
    new_figure,
    series_lines,
    short_name,
    styled,
)

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


Floats = NDArray[np.float64]


def _known(observed: ArrayLike, predicted: ArrayLike) -> tuple[Floats, Floats]:
    measured, answered = np.asarray(observed, dtype=float), np.asarray(predicted, dtype=float)
    if measured.shape != answered.shape or measured.ndim != 1:
        raise InputFormatError(
            "Observed and predicted expression are not of the same genes.",
            found=f"{measured.shape} and {answered.shape}",
            expected="(gene,) and (gene,)",
        )
    known = np.isfinite(measured) & np.isfinite(answered)
    return measured[known], answered[known]


CHANGE = "log2 fold change"
"""In place of units of expression, where the change between two cell types is shown."""


def _scale_name(units: str) -> str:
    if units == CHANGE:
        return "log₂ fold change"
    return f"log₂({short_name(units) or 'expression'} + 1)"


@styled
def scatter_expression_figure(
    observed: ArrayLike,
    predicted: ArrayLike,
    *,
    units: str = "RPKM",
    interval: tuple[float, float] | None = None,
    bounds: tuple[ArrayLike, ArrayLike] | None = None,
) -> Figure:
    """How close is predicted expression to what was measured?

    Parameters
    ----------
    observed, predicted : (gene,), both log2(expression + 1); NaN is left out
    units
        Of the expression.
    interval
        Of Pearson's r, for the title.
    bounds : (gene,) each, same scale
        Lowest and highest level that each prediction allows for, drawn as lines; infinite ones
        are left out.

    Returns
    -------
    Genes counted in hexagons: the more, the stronger the shade (logarithm). Dashed: equality.
    r is undefined where one side is constant.

    Raises
    ------
    InputFormatError
        If the two differ in length.
    """
    measured, answered = _known(observed, predicted)
    if measured.size == 0:
        return message_figure("No comparison: expression is not known for any gene.")
    figure = new_figure(HALF_WIDTH, HALF_WIDTH)
    axes = figure.subplots()
    low = min(0.0, float(min(measured.min(), answered.min())))
    high = max(1.0, float(max(measured.max(), answered.max())))
    hexagons = axes.hexbin(
        measured, answered, gridsize=42, extent=(low, high, low, high), mincnt=1, linewidths=0.1
    )
    count = np.asarray(hexagons.get_array(), dtype=float)
    # Opacity in place of a color scale: it darkens on a light page and lightens on a dark one.
    shade = 0.12 + 0.88 * np.log(count) / max(np.log(count.max()), 1e-9)
    hexagons.set_array(None)
    hexagons.set_facecolor([to_rgba(ACCENT, alpha) for alpha in shade])
    hexagons.set_edgecolor("none")
    axes.plot([low, high], [low, high], color=INK, linewidth=0.8, dashes=(3, 3))
    if bounds is not None:
        order = np.argsort(np.asarray(predicted, dtype=float))
        for side in bounds:
            ends = np.asarray(side, dtype=float)[order]
            axes.plot(
                np.where(np.isfinite(ends), ends, np.nan),
                np.asarray(predicted, dtype=float)[order],
                color=MUTED,
                linewidth=0.9,
            )
    margin = 0.02 * (high - low)
    axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
    axes.set_aspect("equal")
    axes.set_xlabel(f"measured, {_scale_name(units)}")
    axes.set_ylabel("predicted, same scale")
    try:
        agreement = f"r = {pearson(measured, answered):.3f}"
        agreement += "" if interval is None else " ({:.3f}–{:.3f})".format(*interval)
    except UndefinedScoreError:
        agreement = "r undefined"
    axes.set_title(f"{agreement}, {counted(measured.size, 'gene')}", color=INK)
    return figure


@styled
def residual_figure(
    levels: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    units: str = "RPKM",
    n_bins: int = 15,
    wide: bool = False,
) -> Figure:
    """At which levels of expression is the prediction too high or too low?

    Parameters
    ----------
    levels
        Name, as of a cell type -> (observed, predicted), each (gene,), log2(expression + 1); NaN
        is left out.
    units
        Of the expression.
    n_bins
        Bins of equal numbers of genes by observed expression, ties together.
    wide
        As wide as the page in place of half of it.

    Returns
    -------
    Median of predicted - observed against the mean observed expression of each bin; for a single
    name the band holds the middle half of the genes.

    Raises
    ------
    InputFormatError
        If the two sides of a name differ in length.
    """
    genes = {name: _known(*sides) for name, sides in levels.items()}
    genes = {name: known for name, known in genes.items() if known[0].size}
    width = FULL_WIDTH if wide else HALF_WIDTH
    if not genes:
        return message_figure("No residuals: expression is not known for any gene.", width)
    figure = new_figure(width, HALF_WIDTH)
    axes = figure.subplots()
    axes.axhline(0, color=MUTED, linewidth=0.8, dashes=(3, 3), zorder=1)
    looks = series_lines(list(genes)) if len(genes) > 1 else {next(iter(genes)): {"color": ACCENT}}
    counts = []
    for name, (measured, answered) in genes.items():
        bin_of_gene = bins_of_equal_mass(measured, n_bins)
        counts.append(np.bincount(bin_of_gene))
        at = np.bincount(bin_of_gene, measured) / counts[-1]
        parts = np.split(
            (answered - measured)[np.argsort(bin_of_gene, kind="stable")],
            np.cumsum(counts[-1])[:-1],
        )
        low, middle, high = np.array([np.quantile(part, (0.25, 0.5, 0.75)) for part in parts]).T
        if len(genes) == 1:
            axes.fill_between(at, low, high, color=ACCENT, alpha=0.18, linewidth=0)
        axes.plot(at, middle, marker="o", markersize=3, label=short_name(name, 18), **looks[name])
    if 1 < len(genes) <= LEGEND_INSIDE:
        axes.legend(loc="upper right")
    elif len(genes) > 1:
        figure.legend(loc="outside right upper" if wide else "outside lower left")
    axes.set_title(describe_bins(np.concatenate(counts)) if len(genes) == 1 else "", color=INK)
    axes.set_xlabel(f"measured, {_scale_name(units)}")
    axes.set_ylabel("predicted − measured")
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="y")
    return figure
