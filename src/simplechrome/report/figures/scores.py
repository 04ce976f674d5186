"""Figures of how good predictions are: curves, calibration, predicted against measured levels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from simplechrome.errors import InputFormatError, UndefinedScoreError
from simplechrome.metrics import auprc, auroc, expected_calibration_error, pearson
from simplechrome.report.figures.style import (
    ACCENT,
    FULL_WIDTH,
    HALF_WIDTH,
    HIGH,
    INK,
    LOW,
    MUTED,
    SURFACE,
    counted,
    message_figure,
    new_figure,
    series_lines,
    short_name,
    styled,
)

Floats = NDArray[np.float64]
Curves = Mapping[str, tuple[ArrayLike, ArrayLike]]
"""Name of a model or representation -> (label, probability), each (gene,)."""
Intervals = Mapping[str, tuple[float, float]]

LEGEND_INSIDE = 5
"""More names than these do not fit into the empty corner of the axes."""


@styled
def roc_figure(curves: Curves, *, intervals: Intervals | None = None) -> Figure:
    """Draw ROC curves: high genes found against low genes called high.

    Parameters
    ----------
    curves
        Name -> (label, probability), each (gene,). Genes with an unknown label (-1) or
        probability (NaN) are left out.
    intervals
        Name -> (low, high) of the AUROC, for the legend.

    Returns
    -------
    One curve per name; a name with genes of one class only is listed as undefined, and where
    no curve can be drawn, the figure says why.

    Raises
    ------
    InputFormatError
        If label and probability differ in length, or a label is none of 1, 0, -1.
    """
    from sklearn.metrics import roc_curve

    sides = ("low genes called high (fraction)", "high genes found (fraction)")
    figure = _CurveFigure("ROC", "AUROC", *sides, corner="lower right")
    return figure.draw(curves, auroc, lambda *genes: roc_curve(*genes)[:2], intervals or {})


@styled
def precision_recall_figure(curves: Curves, *, intervals: Intervals | None = None) -> Figure:
    """Draw precision-recall curves.

    Parameters and errors are those of `roc_figure`, with the AUPRC in the legend. Dashed: the
    fraction of high genes, the precision of chance (of the first curve, if they differ).
    """
    from sklearn.metrics import precision_recall_curve as pr_curve

    sides = ("recall: high genes found (fraction)", "precision: correct calls (fraction)")
    figure = _CurveFigure("precision-recall", "AUPRC", *sides, corner="lower left")
    return figure.draw(curves, auprc, lambda *genes: pr_curve(*genes)[1::-1], intervals or {})


def _known(label: ArrayLike, probability: ArrayLike, name: str) -> tuple[Floats, Floats]:
    labels, probabilities = np.asarray(label, dtype=float), np.asarray(probability, dtype=float)
    if labels.shape != probabilities.shape or labels.ndim != 1:
        raise InputFormatError(
            f"Labels {labels.shape} and probabilities {probabilities.shape} of {name} are not of "
            "the same genes: (gene,) expected for both."
        )
    strange = np.setdiff1d(labels, (-1, 0, 1))
    if strange.size:
        raise InputFormatError(
            f"The labels of {name} hold {', '.join(f'{value:g}' for value in strange[:5])}; "
            "expected 1 (high), 0 (low) and -1 (unknown)."
        )
    known = (labels >= 0) & np.isfinite(probabilities)
    return labels[known], probabilities[known]


@dataclass(frozen=True)
class _CurveFigure:
    """Names of a figure of curves on the unit square, and where its legend stands."""

    kind: str
    score_name: str
    x_name: str
    y_name: str
    corner: Literal["lower left", "lower right"]

    def draw(
        self,
        curves: Curves,
        score: Callable[[Floats, Floats], float],
        line: Callable[[Floats, Floats], Sequence[Floats]],
        intervals: Intervals,
    ) -> Figure:
        """Draw a curve for each name, or the reason why there is none."""
        genes = {name: _known(*curve, name) for name, curve in curves.items()}
        scores, undefined = dict[str, float](), dict[str, str]()
        for name, known in genes.items():
            try:
                scores[name] = score(*known)
            except UndefinedScoreError:
                undefined[name] = _why_undefined(known[0])
        if not scores:
            return self._message(undefined)
        figure = new_figure(HALF_WIDTH, HALF_WIDTH)
        axes = figure.subplots()
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=self.x_name, ylabel=self.y_name)
        axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
        axes.set_yticks((0, 0.5, 1), ("0", "0.5", "1"))
        axes.set_aspect("equal")
        axes.grid()
        styles = series_lines([*scores, *undefined])
        for name, value in scores.items():
            text = f"{value:.3f}  {short_name(name, 18)}"
            if name in intervals:
                text += "  ({:.3f}–{:.3f})".format(*intervals[name])
            axes.plot(*line(*genes[name]), label=text, **styles[name])
        for name in undefined:
            axes.plot([], [], color="none", label=f"undefined  {short_name(name, 18)}")
        # Chance: the diagonal, or for precision the fraction of high genes of the first curve.
        high = float(genes[next(iter(scores))][0].mean())
        ends, chance = ((0, 1), 0.5) if self.kind == "ROC" else ((high, high), high)
        look: dict[str, Any] = {"color": MUTED, "linewidth": 0.8, "dashes": (3, 3), "zorder": 1}
        axes.plot([0, 1], ends, label=f"{chance:.3f}  chance", **look)
        title = {"title": self.score_name, "alignment": "left", "title_fontsize": 8.5}
        if len(curves) <= LEGEND_INSIDE:
            legend = axes.legend(loc=self.corner, frameon=True, **title)
            legend.get_frame().set(facecolor=SURFACE, alpha=0.85, linewidth=0)
        else:  # too many for the empty corner
            figure.set_size_inches(HALF_WIDTH, HALF_WIDTH + 0.3 + 0.19 * len(curves))
            figure.legend(loc="outside lower left", **title)
        return figure

    def _message(self, undefined: Mapping[str, str]) -> Figure:
        reasons = list(dict.fromkeys(undefined.values()))
        if not reasons:
            return message_figure(f"No {self.kind} curve: no predictions were given.")
        more = " (others alike)" if len(reasons) > 1 else ""
        text = f"No {self.kind} curve: {reasons[0]}{more}, and it takes both classes."
        return message_figure(text)


def _why_undefined(label: Floats) -> str:
    if label.size == 0:
        return "no gene has a known label"
    genes = "the only gene is" if label.size == 1 else f"all {label.size:,} genes are"
    return f"{genes} {'high' if label[0] else 'low'}"


@styled
def calibration_figure(
    curves: Curves,
    *,
    intervals: Intervals | None = None,
    before: Curves | None = None,
    n_bins: int = 15,
) -> Figure:
    """Draw calibration: the fraction of high genes by predicted probability.

    Parameters
    ----------
    curves
        Name -> (label, probability), each (gene,), as in `roc_figure`. Each is binned for
        itself: pooled, genes of two cell types whose errors are opposite would look well
        calibrated.
    intervals
        Name -> (low, high) of the calibration error, shown for a single curve.
    before
        Name -> (label, probability) before calibration, shown hollow beside a single curve.
    n_bins
        Bins of equal mass, ties together, as in `metrics.expected_calibration_error`.

    Returns
    -------
    Left, fraction of high genes against mean probability per bin, for a single curve with 95 %
    Wilson intervals for the share; right, how many genes of all curves have which probability.

    Raises
    ------
    InputFormatError
        If label and probability differ in length, a label is none of 1, 0, -1, or a
        probability lies outside 0 to 1.

    References
    ----------
    Wilson, J. Am. Stat. Assoc. 1927 (interval of a share).
    """
    genes = {name: _known(*curve, name) for name, curve in curves.items()}
    genes = {name: known for name, known in genes.items() if known[0].size}
    if not genes:
        return message_figure("No calibration: no gene has a known label.")
    figure = new_figure(FULL_WIDTH, 3.7)
    axes, histogram = figure.subplots(1, 2)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, dashes=(3, 3), zorder=1)
    errors = {
        name: expected_calibration_error(*known, n_bins=n_bins) for name, known in genes.items()
    }
    if len(genes) == 1:
        ((name, known),) = genes.items()
        sizes = _draw_bins(axes, *known, n_bins)
        error = f"{errors[name]:.3f}"
        if intervals and name in intervals:
            error += "\n95 %: {:.3f}–{:.3f}".format(*intervals[name])
        if before and name in before:
            raw = _known(*before[name], name)
            error += f"\nbefore calibration {expected_calibration_error(*raw, n_bins=n_bins):.3f}"
            mean, share, _ = _binned(*raw, n_bins)
            axes.plot(mean, share, "o", color=MUTED, markersize=4, fillstyle="none", zorder=1.5)
        axes.text(
            0.03,
            0.97,
            f"calibration error {error}\n{sizes}",
            color=INK,
            fontsize=8.5,
            va="top",
            transform=axes.transAxes,
            linespacing=1.5,
        )
    else:
        looks = series_lines(list(genes))
        for name, known in genes.items():
            mean, share, _ = _binned(*known, n_bins)
            text = f"{errors[name]:.3f}  {short_name(name, 18)}"
            axes.plot(mean, share, marker="o", markersize=3, label=text, **looks[name])
        title = {"title": "calibration error", "alignment": "left", "title_fontsize": 8.5}
        if len(genes) <= LEGEND_INSIDE:
            legend = axes.legend(loc="upper left", frameon=True, **title)
            legend.get_frame().set(facecolor=SURFACE, alpha=0.85, linewidth=0)
        else:
            figure.legend(loc="outside right upper", **title)
    ticks = {"xticks": (0, 0.5, 1), "xticklabels": ("0", "0.5", "1")}
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), **ticks)
    axes.set(yticks=(0, 0.5, 1), yticklabels=("0", "0.5", "1"))
    axes.set(xlabel="predicted probability of high", ylabel="genes that are high (fraction)")
    axes.set_box_aspect(1)
    axes.grid()
    labels, probabilities = (np.concatenate(parts) for parts in zip(*genes.values(), strict=True))
    for value, color, name in ((0, LOW, "low genes"), (1, HIGH, "high genes")):
        edges = np.linspace(0, 1, 31)
        histogram.hist(probabilities[labels == value], edges, color=color, alpha=0.55, label=name)
    histogram.set(xlim=(-0.02, 1.02), xlabel="predicted probability of high", **ticks)
    histogram.set_ylabel("genes" if len(genes) == 1 else "gene and cell-type pairs")
    histogram.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    histogram.set_box_aspect(1)
    histogram.grid(axis="y")
    histogram.legend(loc="upper center")
    return figure


def bins_of_equal_mass(values: ArrayLike, n_bins: int) -> NDArray[np.int_]:
    """Return the bin of each gene, where bins hold equally many genes.

    Genes with the same value share a bin, as in `metrics.expected_calibration_error`; bins that
    stay empty are not counted.

    Parameters
    ----------
    values : (gene,)
    n_bins : >= 1

    Returns
    -------
    (gene,), from 0 up in order of the values.
    """
    # Twice the mean rank is whole, so that no gene falls to the other side of an edge.
    doubled_rank = np.rint(2 * rankdata(np.asarray(values, dtype=float))).astype(int)
    bins = n_bins * (doubled_rank - 1) // (2 * doubled_rank.size)
    return np.unique(bins, return_inverse=True)[1]


def describe_bins(count: ArrayLike) -> str:
    """`15 bins of 182–183 genes`."""
    sizes = np.asarray(count)
    text = counted(int(sizes.max()), "gene")
    if sizes.min() < sizes.max():
        text = f"{sizes.min():,}–{text}"
    return f"{counted(len(sizes), 'bin')} of {text}"


def _binned(
    label: Floats, probability: Floats, n_bins: int
) -> tuple[Floats, Floats, NDArray[np.int_]]:
    """Mean probability, fraction of high genes, and number of genes of each bin."""
    bin_of_gene = bins_of_equal_mass(probability, n_bins)
    count = np.bincount(bin_of_gene)
    mean = np.bincount(bin_of_gene, probability) / count
    return mean, np.bincount(bin_of_gene, label) / count, count


def _draw_bins(axes: Axes, label: Floats, probability: Floats, n_bins: int) -> str:
    mean, share, count = _binned(label, probability, n_bins)
    low, high = _wilson_interval(share, count)
    axes.vlines(mean, low, high, color=ACCENT, linewidth=1.2, alpha=0.55)
    axes.plot(mean, share, "o", color=ACCENT, markersize=4, label="bins")
    return describe_bins(count)


def _wilson_interval(share: Floats, count: NDArray[np.int_]) -> tuple[Floats, Floats]:
    z = 1.96
    center = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return center - half, center + half


_BINS = 40
_ROW = 0.62  # inches


@styled
def predicted_figure(values: Mapping[str, ArrayLike], label: str, *, middle: float) -> Figure:
    """Draw a histogram of predictions for each cell type.

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
        raise InputFormatError("There are no predictions to draw.")
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


def _known_levels(observed: ArrayLike, predicted: ArrayLike) -> tuple[Floats, Floats]:
    measured, answered = np.asarray(observed, dtype=float), np.asarray(predicted, dtype=float)
    if measured.shape != answered.shape or measured.ndim != 1:
        raise InputFormatError(
            f"Observed {measured.shape} and predicted {answered.shape} expression are not of the "
            "same genes: (gene,) expected for both."
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
    """Draw predicted against measured expression.

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
    measured, answered = _known_levels(observed, predicted)
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
    """Draw predicted minus measured expression by level.

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
    genes = {name: _known_levels(*sides) for name, sides in levels.items()}
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
