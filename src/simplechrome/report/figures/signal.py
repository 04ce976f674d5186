"""Figures of the signal: where each mark lies, how deep tracks are, which are alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation
from numpy.typing import ArrayLike, NDArray

from simplechrome.report.figures.style import (
    ACCENT,
    CLASS_COLORS,
    FAINT,
    FULL_WIDTH,
    HIGH,
    INK,
    LOW,
    MUTED,
    check_shapes,
    mark_colors,
    new_figure,
    series_lines,
    short_name,
    styled,
)

Floats = NDArray[np.float64]


@styled
def mean_profile_figure(
    profiles: ArrayLike,
    bin_start: ArrayLike,
    marks: Sequence[str],
    class_names: Sequence[str],
    units: str,
    bin_size: int,
    *,
    band: tuple[ArrayLike, ArrayLike] | None = None,
) -> Figure:
    """Draw the mean profile of each mark around the TSS, by class of genes.

    Parameters
    ----------
    profiles : (class, bin, mark), mean over the genes of a class; NaN where unknown
    bin_start : (bin,), offset from the TSS in bp, in the direction of transcription
    marks, class_names
        Names; the classes `high` and `low` have their own colors.
    units
        Of the signal, as the dataset's `units` attribute.
    bin_size
        In bp.
    band : (low, high), each as `profiles`
        Limits of an interval or spread to shade.

    Returns
    -------
    One panel per mark, each with its own vertical scale from 0.

    Raises
    ------
    InputFormatError
        If shapes disagree.
    """
    means = np.asarray(profiles, dtype=float)
    starts = np.asarray(bin_start, dtype=float)
    shades = [] if band is None else [np.asarray(edge, dtype=float) for edge in band]
    sizes = {"class": len(class_names), "bin": len(starts), "mark": len(marks)}
    check_shapes(sizes, profiles=means, **{f"band_{i}": edge for i, edge in enumerate(shades)})
    n = len(marks)
    n_columns = n if n <= 4 else 3 if n in (5, 6, 9) else 4
    n_rows = -(-n // n_columns)
    width = FULL_WIDTH if n_columns > 2 else 2.6 * n_columns + 0.8
    figure = new_figure(width, 1.75 * n_rows + 0.55 + (0.8 if n <= 2 else 0))
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    kilobases = (starts + bin_size / 2) / 1_000
    edges = np.array([starts[0], starts[-1] + bin_size]) / 1_000
    lines = series_lines(class_names)
    lines |= {name: {"color": CLASS_COLORS[name]} for name in class_names if name in CLASS_COLORS}
    above = ScaledTranslation(0, 3.5 / 72, figure.dpi_scale_trans)  # points over the panel
    alone = "o" if len(starts) == 1 else ""  # a line through one bin would not show
    for panel, mark, chip, i in zip(panels, marks, mark_colors(marks), range(n), strict=False):
        for j, name in enumerate(class_names):
            if shades:
                low, high = (edge[j, :, i] for edge in shades)
                panel.fill_between(
                    kilobases, low, high, color=lines[name]["color"], alpha=0.18, linewidth=0
                )
            panel.plot(
                kilobases, means[j, :, i], label=short_name(name), marker=alone, **lines[name]
            )
        _profile_axes(panel, edges)
        if not np.isfinite(means[:, :, i]).any():
            panel.set_yticks([])
            panel.text(0.5, 0.5, "not assayed", color=MUTED, ha="center", transform=panel.transAxes)
        else:
            panel.set_ylim(bottom=min(0.0, float(np.nanmin(means[:, :, i]))))
        _mark_chip(panel, chip, above)
        panel.set_title(short_name(mark, 18), color=INK, pad=8)
    for panel in panels[n:]:
        panel.remove()
    figure.supylabel(_mean_of(units), color=MUTED, fontsize=9)
    handles, texts = panels[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside upper left", ncols=len(class_names))
    return figure


def _mark_chip(axes: Axes, color: str, above: ScaledTranslation) -> None:
    """A short stroke in the mark's color over its panel."""
    axes.plot(
        [0, 0.14],
        [1, 1],
        color=color,
        linewidth=2,
        solid_capstyle="butt",
        clip_on=False,
        transform=axes.transAxes + above,
    )


def _profile_axes(axes: Axes, edges: Floats, unit: str = " kb") -> None:
    """Ticks at the window's ends and the TSS: the end labels turn inwards, off the neighbors."""
    ticks = [edges[0], edges[1]]
    texts = [f"{edge:+g}".replace("-", "−") for edge in edges]
    texts[1] += unit
    if edges[0] < 0 < edges[1]:
        ticks.insert(1, 0.0)
        texts.insert(1, "TSS")
        axes.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
    axes.set_xticks(ticks, texts)
    labels = axes.get_xticklabels()
    labels[0].set_horizontalalignment("left")
    labels[-1].set_horizontalalignment("right")
    axes.set_xlim(edges[0], edges[1])
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.grid(axis="y")


@styled
def difference_figure(
    difference: ArrayLike,
    bin_start: ArrayLike,
    cell_types: Sequence[str],
    marks: Sequence[str],
    bin_size: int,
) -> Figure:
    """Draw the difference between high and low genes by position, mark and cell type.

    The profiles of many cell types in little room.

    Parameters
    ----------
    difference : (cell_type, bin, mark), high less low genes, -1 to 1; NaN where unknown (hatched)
    bin_start : (bin,), offset from the TSS in bp, in the direction of transcription
    cell_types, marks
        Names.
    bin_size
        In bp.

    Returns
    -------
    One panel per mark, in it a row per cell type; the shade grows with the difference, its color
    is that of the class that has more.

    Raises
    ------
    InputFormatError
        If shapes disagree or there is nothing to show.
    """
    values = np.asarray(difference, dtype=float)
    starts = np.asarray(bin_start, dtype=float)
    sizes = {"cell_type": len(cell_types), "bin": len(starts), "mark": len(marks)}
    check_shapes(sizes, difference=values)
    n = len(marks)
    n_columns = min(n, 6)
    n_rows = -(-n // n_columns)
    figure = new_figure(FULL_WIDTH, n_rows * (0.16 * len(cell_types) + 0.5) + 0.45)
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).ravel()
    edges = np.array([starts[0], starts[-1] + bin_size]) / 1_000
    bottom = len(cell_types) - 0.5
    # Opacity in place of a scale through white: it is right on a light and on a dark page.
    alpha = np.nan_to_num(np.abs(values)).clip(0, 1)[..., np.newaxis]
    hue = np.where(values[..., np.newaxis] > 0, to_rgba(HIGH)[:3], to_rgba(LOW)[:3])
    image = np.concatenate([hue, alpha], axis=-1)
    above = ScaledTranslation(0, 3.5 / 72, figure.dpi_scale_trans)  # points over the panel
    for panel, mark, chip, i in zip(panels, marks, mark_colors(marks), range(n), strict=False):
        panel.imshow(
            image[:, :, i],
            aspect="auto",
            extent=(edges[0], edges[1], bottom, -0.5),
            interpolation="nearest",
        )
        for row in np.flatnonzero(~np.isfinite(values[:, :, i]).any(axis=1)):
            field = Rectangle((edges[0], row - 0.46), edges[1] - edges[0], 0.92, linewidth=0)
            field.set(fill=False, hatch="////", edgecolor=FAINT)
            panel.add_patch(field)
        _profile_axes(panel, edges, unit=" kb" if i == n - 1 else "")
        panel.grid(visible=False)
        panel.tick_params(axis="y", length=0, labelsize=7.5)
        panel.spines["left"].set_visible(False)
        _mark_chip(panel, chip, above)
        panel.set_title(short_name(mark, 14), color=INK, pad=8)
        panel.set_yticks(range(len(cell_types)), [short_name(name, 18) for name in cell_types])
        panel.set_ylim(bottom, -0.5)
    for panel in panels[n:]:
        panel.remove()
    fields = [Rectangle((0, 0), 1, 1, color=CLASS_COLORS[name]) for name in ("high", "low")]
    names = ["more in high genes", "more in low genes"]
    if not np.isfinite(values).any(axis=1).all():
        fields.append(Rectangle((0, 0), 1, 1, fill=False, hatch="////", edgecolor=FAINT))
        names.append("not assayed")
    figure.legend(fields, names, loc="outside upper left", ncols=len(names))
    return figure


@styled
def quality_figure(
    mean_level: ArrayLike,
    mark_present: ArrayLike,
    cell_types: Sequence[str],
    marks: Sequence[str],
    *,
    units: str = "reads",
) -> Figure:
    """Draw the mean level of every track, and which are missing.

    Parameters
    ----------
    mean_level : (cell_type, mark), mean signal per bin over all genes
    mark_present : (cell_type, mark), False where the mark was not assayed (hatched)
    cell_types, marks
        Names.
    units
        Of the signal.

    Returns
    -------
    A table of shaded fields; the shade grows with the logarithm. Up to 16 marks have the
    numbers written in.

    Raises
    ------
    InputFormatError
        If shapes disagree or there is nothing to show.
    """
    level = np.asarray(mean_level, dtype=float)
    present = np.asarray(mark_present, dtype=bool)
    n_rows, n_columns = len(cell_types), len(marks)
    check_shapes({"cell_type": n_rows, "mark": n_columns}, mean_level=level, mark_present=present)
    figure = new_figure(
        float(np.clip(1.3 + 0.95 * n_columns, 3.4, FULL_WIDTH)), 0.26 * n_rows + 0.85
    )
    axes = figure.subplots()
    shown = present & np.isfinite(level)
    shade = np.log1p(np.where(shown, level, 0).clip(min=0))
    shade = 0.05 + 0.5 * shade / max(float(shade.max()), 1e-9)
    for row, column in np.ndindex(n_rows, n_columns):
        field = Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, linewidth=0)
        axes.add_patch(field)
        if not shown[row, column]:
            field.set(fill=False, hatch="////", edgecolor=FAINT)
            continue
        field.set(facecolor=ACCENT, alpha=shade[row, column])
        if n_columns > 16:
            continue
        axes.text(
            column,
            row,
            _three_digits(float(level[row, column])),
            ha="center",
            va="center_baseline",
            fontsize=8.5 if n_columns <= 8 else 7.5,
        )
    axes.set(xlim=(-0.5, n_columns - 0.5), ylim=(n_rows - 0.5, -0.5))
    steep = n_columns > 6
    axes.set_xticks(
        range(n_columns),
        [short_name(mark, 14) for mark in marks],
        rotation=40 if steep else 0,
        ha="left" if steep else "center",
        rotation_mode="anchor",
    )
    axes.set_yticks(range(n_rows), [short_name(name) for name in cell_types])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelcolor=INK, pad=9)
    axes.tick_params(axis="y", pad=4)
    axes.spines[["left", "bottom"]].set_visible(False)
    for column, color in enumerate(mark_colors(marks)):
        axes.plot(
            [column - 0.48, column + 0.48],
            [-0.66, -0.66],
            color=color,
            linewidth=2,
            solid_capstyle="butt",
            clip_on=False,
        )
    remark = "hatched: not assayed" if not shown.all() else ""
    axes.set_xlabel(
        "   ".join(filter(None, [_mean_of(units), remark])),
        loc="left",
        fontsize=8.5,
        labelpad=7,
    )
    return figure


def _mean_of(units: str) -> str:
    name = short_name(units).replace("_", " ") or "signal"
    return ("" if name.startswith("mean") else "mean ") + name + " per bin"


def _three_digits(value: float) -> str:
    decimals = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{decimals}f}".replace("-", "−")


TRACKS_NAMED = 32
"""Up to here each track of a correlation figure has its name; beyond it each mark has."""
_TRACKS_WITH_NUMBERS = 15
_NARROW = 0.65  # inches of a mark's tracks, in which its name does not fit
_DARKEST = 0.85  # numbers stay legible on it


@styled
def coverage_figure(
    observed: ArrayLike,
    mark_present: ArrayLike,
    cell_types: Sequence[str],
    marks: Sequence[str],
) -> Figure:
    """Draw the fraction of the windows that has data, by track.

    Parameters
    ----------
    observed : (cell_type, mark), fraction of all windows' bases that have data, 0 to 1
    mark_present : (cell_type, mark), False where the mark was not assayed (hatched)
    cell_types, marks
        Names.

    Returns
    -------
    One row of bars per cell type, one bar per mark; a full bar is 100 %.

    Raises
    ------
    InputFormatError
        If shapes disagree or there is nothing to show.
    """
    share = np.asarray(observed, dtype=float)
    present = np.asarray(mark_present, dtype=bool)
    n_rows, n_columns = len(cell_types), len(marks)
    check_shapes({"cell_type": n_rows, "mark": n_columns}, observed=share, mark_present=present)
    figure = new_figure(
        float(np.clip(1.3 + 1.1 * n_columns, 3.4, FULL_WIDTH)), 0.26 * n_rows + 0.75
    )
    axes = figure.subplots()
    colors = mark_colors(marks)
    for row, column in np.ndindex(n_rows, n_columns):
        left = column - 0.46
        if not present[row, column]:
            axes.add_patch(
                Rectangle(
                    (left, row - 0.4), 0.92, 0.8, fill=False, hatch="////", edgecolor=FAINT, lw=0
                )
            )
            continue
        axes.add_patch(Rectangle((left, row + 0.18), 0.92, 0.12, facecolor=FAINT, linewidth=0))
        width = 0.92 * float(np.clip(share[row, column], 0, 1))
        axes.add_patch(
            Rectangle((left, row + 0.18), width, 0.12, facecolor=colors[column], linewidth=0)
        )
        if n_columns <= 12:
            text = _percent(float(share[row, column]))
            axes.text(left, row - 0.08, text, fontsize=8, va="center_baseline", ha="left")
    axes.set(xlim=(-0.5, n_columns - 0.5), ylim=(n_rows - 0.5, -0.5))
    steep = n_columns > 6
    axes.set_xticks(
        range(n_columns) if steep else np.arange(n_columns) - 0.46,
        [short_name(mark, 14) for mark in marks],
        rotation=40 if steep else 0,
        ha="left",
        rotation_mode="anchor",
    )
    axes.set_yticks(range(n_rows), [short_name(name) for name in cell_types])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelcolor=INK)
    axes.spines[["left", "bottom"]].set_visible(False)
    if not present.all():
        axes.set_xlabel("hatched: not assayed", loc="left", fontsize=8.5)
    return figure


def _percent(share: float) -> str:
    # 99.97 % is not all.
    rounded = f"{share:.0%}" if share in (0, 1) else f"{min(max(share, 0.001), 0.999):.1%}"
    return rounded.replace("%", " %")


@styled
def correlation_figure(
    correlations: ArrayLike, tracks: Sequence[tuple[str, str]], marks: Sequence[str]
) -> Figure:
    """Draw the correlations between tracks, those of a mark side by side.

    Parameters
    ----------
    correlations : (track, track), -1 to 1
    tracks
        (cell type, mark) of each.
    marks
        In the order in which their tracks are to stand.

    Returns
    -------
    A square of fields, tracks of a mark side by side and framed; the shade grows with the size of
    the correlation. Up to 15 tracks have the numbers written in.

    Raises
    ------
    InputFormatError
        If shapes disagree or there is nothing to show.
    """
    values = np.asarray(correlations, dtype=float)
    n = len(tracks)
    check_shapes({"track": n, "other track": n}, correlations=values)
    rank = {mark: k for k, mark in enumerate(marks)}
    order = sorted(range(n), key=lambda k: rank[tracks[k][1]])
    values, ordered = values[np.ix_(order, order)], [tracks[k] for k in order]
    side = float(np.clip(0.34 * n, 1.6, FULL_WIDTH - 1.6))
    figure = new_figure(side + 1.6, side + 0.75)
    axes = figure.subplots()
    axes.imshow(_shade(values), interpolation="nearest")
    if n <= _TRACKS_WITH_NUMBERS:
        for i, j in np.ndindex(n, n):
            if i != j:
                text = _two_digits(float(values[i, j]))
                axes.text(j, i, text, ha="center", va="center_baseline", fontsize=7)
    _frame_marks(axes, ordered, marks, side / n)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    fields = [Rectangle((0, 0), 1, 1, color=color, alpha=_DARKEST) for color in (HIGH, LOW)]
    figure.legend(fields, ["alike (1)", "opposite (−1)"], loc="outside lower left", ncols=2)
    return figure


def _two_digits(value: float) -> str:
    text = f"{value:.2f}"
    return "0" if float(text) == 0 else text.replace("-", "−").replace("0.", ".")


def _shade(values: np.ndarray) -> np.ndarray:
    # Opacity in place of a scale through white: it is right on a light and on a dark page.
    known = np.nan_to_num(values)
    hue = np.where(known[..., np.newaxis] > 0, to_rgba(HIGH)[:3], to_rgba(LOW)[:3])
    return np.concatenate([hue, _DARKEST * np.abs(known)[..., np.newaxis].clip(0, 1)], axis=-1)


def _frame_marks(
    axes: Axes, tracks: Sequence[tuple[str, str]], marks: Sequence[str], field: float
) -> None:
    """Names of tracks or marks, and a frame around the tracks of each mark; a field in inches."""
    n = len(tracks)
    named = n <= TRACKS_NAMED
    centers, present, narrowest = [], [], n
    for mark, color in zip(marks, mark_colors(marks), strict=True):
        rows = [k for k, (_, own) in enumerate(tracks) if own == mark]
        if not rows:
            continue
        first, size = rows[0], len(rows)
        axes.add_patch(
            Rectangle(
                (first - 0.5, first - 0.5), size, size, fill=False, edgecolor=color, linewidth=1.6
            )
        )
        centers.append(first + (size - 1) / 2)
        present.append(mark)
        narrowest = min(narrowest, size)
    steep = narrowest * field < _NARROW
    axes.set_xticks(
        centers,
        [short_name(mark, 14) for mark in present],
        color=INK,
        rotation=40 if steep else 0,
        ha="left" if steep else "center",
        rotation_mode="anchor",
    )
    axes.xaxis.tick_top()
    if named:
        axes.set_yticks(range(n), [short_name(f"{cell} {mark}", 26) for cell, mark in tracks])
    else:
        axes.set_yticks(centers, [short_name(mark, 14) for mark in present])
        axes.text(
            0,
            -0.01,
            "Within a mark, cell types are in the dataset's order.",
            transform=axes.transAxes,
            va="top",
            color=MUTED,
            fontsize=8,
        )
    axes.tick_params(axis="y", labelsize=8 if n <= _TRACKS_WITH_NUMBERS else 7)
