"""Figures of how good predictions are: curves, calibration, regression."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from simplechrome.errors import InputFormatError, UndefinedScoreError
from simplechrome.metrics import auprc, auroc, expected_calibration_error, pearson
from simplechrome.report.style import (
    ACCENT,
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


@styled
def roc_figure(curves: Curves, *, intervals: Intervals | None = None) -> Figure:
    """How many high genes are found for how many low ones called high?

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

    lines, undefined = _lines(curves, auroc, lambda *genes: roc_curve(*genes)[:2])
    if not lines:
        return _no_curve("ROC", undefined)
    figure = new_figure(HALF_WIDTH, HALF_WIDTH)
    axes = _unit_square(figure, "low genes called high (share)", "high genes found (share)")
    content = _Content("AUROC", lines, undefined, intervals or {})
    _draw_curves(figure, axes, content, chance=(0, 1, 0.5), corner="lower right")
    return figure


@styled
def precision_recall_figure(curves: Curves, *, intervals: Intervals | None = None) -> Figure:
    """How pure are the genes called high, the more of the high genes are found?

    Parameters and errors are those of `roc_figure`, with the AUPRC in the legend. Dashed: the
    share of high genes, which is what chance reaches (of the first curve, if they differ).
    """
    from sklearn.metrics import precision_recall_curve

    lines, undefined = _lines(curves, auprc, lambda *genes: precision_recall_curve(*genes)[1::-1])
    if not lines:
        return _no_curve("precision-recall", undefined)
    figure = new_figure(HALF_WIDTH, HALF_WIDTH)
    axes = _unit_square(
        figure, "recall: high genes found (share)", "precision: right calls (share)"
    )
    label, probability = next(curves[name] for name in lines)
    share = float(_known(label, probability, "")[0].mean())
    content = _Content("AUPRC", lines, undefined, intervals or {})
    _draw_curves(figure, axes, content, chance=(share, share, share), corner="lower left")
    return figure


def _known(label: ArrayLike, probability: ArrayLike, name: str) -> tuple[Floats, Floats]:
    labels, probabilities = np.asarray(label, dtype=float), np.asarray(probability, dtype=float)
    if labels.shape != probabilities.shape or labels.ndim != 1:
        raise InputFormatError(
            f"Labels and probabilities of {name} are not of the same genes.",
            found=f"{labels.shape} and {probabilities.shape}",
            expected="(gene,) and (gene,)",
        )
    strange = np.setdiff1d(labels, (-1, 0, 1))
    if strange.size:
        raise InputFormatError(
            f"The labels of {name} hold other values than 1 (high), 0 (low), -1 (unknown).",
            found=", ".join(f"{value:g}" for value in strange[:5]),
            expected="-1, 0, 1",
        )
    known = (labels >= 0) & np.isfinite(probabilities)
    return labels[known], probabilities[known]


@dataclass(frozen=True)
class _Line:
    """A curve and the score that goes with it."""

    x: Floats
    y: Floats
    score: float


@dataclass(frozen=True)
class _Content:
    """What a figure of curves shows, by name."""

    score_name: str
    lines: Mapping[str, _Line]
    undefined: Mapping[str, str]
    intervals: Intervals


def _lines(
    curves: Curves,
    score: Callable[[Floats, Floats], float],
    line: Callable[[Floats, Floats], Sequence[Floats]],
) -> tuple[dict[str, _Line], dict[str, str]]:
    """The curves that exist, and for the other names the reason why there is none."""
    lines: dict[str, _Line] = {}
    undefined: dict[str, str] = {}
    for name, (label, probability) in curves.items():
        labels, probabilities = _known(label, probability, name)
        try:
            value = score(labels, probabilities)
        except UndefinedScoreError:
            undefined[name] = _why_undefined(labels)
            continue
        x, y = line(labels, probabilities)
        lines[name] = _Line(x, y, value)
    return lines, undefined


def _why_undefined(label: Floats) -> str:
    if label.size == 0:
        return "no gene has a known label"
    genes = "the only gene is" if label.size == 1 else f"all {label.size:,} genes are"
    return f"{genes} {'high' if label[0] else 'low'}"


def _no_curve(kind: str, undefined: Mapping[str, str]) -> Figure:
    reasons = list(dict.fromkeys(undefined.values()))
    if not reasons:
        return message_figure(f"No {kind} curve: no predictions were given.")
    more = " (others alike)" if len(reasons) > 1 else ""
    return message_figure(f"No {kind} curve: {reasons[0]}{more}, and it takes both classes.")


def _unit_square(figure: Figure, x_name: str, y_name: str) -> Axes:
    axes = figure.subplots()
    ticks = (0, 0.5, 1)
    axes.set(
        xlim=(-0.01, 1.01),
        ylim=(-0.01, 1.01),
        xticks=ticks,
        yticks=ticks,
        xticklabels=map(str, ticks),
        yticklabels=map(str, ticks),
        xlabel=x_name,
        ylabel=y_name,
    )
    axes.set_aspect("equal")
    axes.grid()
    return axes


def _draw_curves(
    figure: Figure,
    axes: Axes,
    content: _Content,
    *,
    chance: tuple[float, float, float],
    corner: Literal["lower left", "lower right"],
) -> None:
    """Curves and their legend; chance is (y at the left, y at the right, score)."""
    styles = series_lines([*content.lines, *content.undefined])
    for name, line in content.lines.items():
        text = f"{line.score:.3f}  {short_name(name, 18)}"
        if name in content.intervals:
            text += "  ({:.3f}–{:.3f})".format(*content.intervals[name])
        axes.plot(line.x, line.y, label=text, **styles[name])
    for name in content.undefined:
        axes.plot([], [], color="none", label=f"undefined  {short_name(name, 18)}")
    axes.plot(
        [0, 1],
        chance[:2],
        color=MUTED,
        linewidth=0.8,
        dashes=(3, 3),
        zorder=1,
        label=f"{chance[2]:.3f}  chance",
    )
    n_names = len(content.lines) + len(content.undefined)
    title = {"title": content.score_name, "alignment": "left", "title_fontsize": 8.5}
    if n_names <= 5:
        legend = axes.legend(loc=corner, frameon=True, **title)
        legend.get_frame().set(facecolor=SURFACE, alpha=0.85, linewidth=0)
    else:  # too many for the empty corner
        figure.set_size_inches(HALF_WIDTH, HALF_WIDTH + 0.3 + 0.19 * n_names)
        figure.legend(loc="outside lower left", **title)


@styled
def calibration_figure(label: ArrayLike, probability: ArrayLike, n_bins: int = 15) -> Figure:
    """Of the genes called high with a probability of .8, are 80 % high?

    Parameters
    ----------
    label : (gene,), 1 high, 0 low, -1 unknown (left out)
    probability : (gene,), of being high; NaN is left out
    n_bins
        Bins of equal mass, ties together, as in `metrics.expected_calibration_error`.

    Returns
    -------
    Share of high genes against mean probability per bin, with 95 % Wilson intervals for the
    share; below, how many genes have which probability.

    Raises
    ------
    InputFormatError
        If label and probability differ in length, a label is none of 1, 0, -1, or a
        probability lies outside 0 to 1.

    References
    ----------
    Wilson, J. Am. Stat. Assoc. 1927 (interval of a share).
    """
    labels, probabilities = _known(label, probability, "the predictions")
    if labels.size == 0:
        return message_figure("No calibration: no gene has a known label.")
    error = expected_calibration_error(labels, probabilities, n_bins)
    # Twice the mean rank is whole, so that no gene falls to the other side of an edge.
    doubled_rank = np.rint(2 * rankdata(probabilities)).astype(int)
    _, bin_of_gene = np.unique(
        n_bins * (doubled_rank - 1) // (2 * labels.size), return_inverse=True
    )
    count = np.bincount(bin_of_gene)
    mean = np.bincount(bin_of_gene, probabilities) / count
    share = np.bincount(bin_of_gene, labels) / count
    low, high = _wilson_interval(share, count)

    figure = new_figure(HALF_WIDTH, HALF_WIDTH)
    axes, below = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, dashes=(3, 3), zorder=1)
    axes.vlines(mean, low, high, color=ACCENT, linewidth=1.2, alpha=0.55)
    axes.plot(mean, share, "o", color=ACCENT, markersize=4, label="bins")
    axes.set(ylim=(-0.02, 1.02), yticks=(0, 0.5, 1), yticklabels=("0", "0.5", "1"))
    axes.set_ylabel("genes that are high (share)")
    axes.grid()
    sizes = counted(int(count.max()), "gene")
    if count.min() < count.max():
        sizes = f"{count.min():,}–{sizes}"
    axes.text(
        0.03,
        0.97,
        f"calibration error {error:.3f}\n{counted(len(count), 'bin')} of {sizes}",
        color=INK,
        fontsize=8.5,
        va="top",
        transform=axes.transAxes,
        linespacing=1.5,
    )
    for value, color in ((0, LOW), (1, HIGH)):
        below.hist(
            probabilities[labels == value], bins=np.linspace(0, 1, 31), color=color, alpha=0.55
        )
    below.set(xlim=(-0.02, 1.02), xticks=(0, 0.5, 1), xticklabels=("0", "0.5", "1"), yticks=[])
    below.set_xlabel("predicted probability of high")
    below.set_ylabel("genes")
    below.spines["left"].set_visible(False)
    return figure


def _wilson_interval(share: Floats, count: NDArray[np.int_]) -> tuple[Floats, Floats]:
    z = 1.96
    center = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return center - half, center + half


@styled
def scatter_expression_figure(
    observed: ArrayLike, predicted: ArrayLike, *, units: str = "RPKM"
) -> Figure:
    """How close is predicted expression to what was measured?

    Parameters
    ----------
    observed, predicted : (gene,), both log2(expression + 1); NaN is left out
    units
        Of the expression.

    Returns
    -------
    Genes counted in hexagons: the more, the stronger the shade (logarithm). Dashed: equality.
    r is undefined where one side is constant.

    Raises
    ------
    InputFormatError
        If the two differ in length.
    """
    measured, answered = np.asarray(observed, dtype=float), np.asarray(predicted, dtype=float)
    if measured.shape != answered.shape or measured.ndim != 1:
        raise InputFormatError(
            "Observed and predicted expression are not of the same genes.",
            found=f"{measured.shape} and {answered.shape}",
            expected="(gene,) and (gene,)",
        )
    known = np.isfinite(measured) & np.isfinite(answered)
    measured, answered = measured[known], answered[known]
    if measured.size == 0:
        return message_figure("No comparison: expression is not known for any gene.", 4.6)
    figure = new_figure(4.6, 4.4)
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
    margin = 0.02 * (high - low)
    axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
    axes.set_aspect("equal")
    axes.set_xlabel(f"measured, log₂({short_name(units) or 'expression'} + 1)")
    axes.set_ylabel("predicted, same scale")
    try:
        agreement = f"r = {pearson(measured, answered):.3f}"
    except UndefinedScoreError:
        agreement = "r undefined"
    axes.set_title(f"{agreement}, {counted(measured.size, 'gene')}", color=INK)
    return figure
