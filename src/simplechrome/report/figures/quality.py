"""Figures of the quality of tracks: how much of each has data, and which are alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from simplechrome.errors import InputFormatError
from simplechrome.report.figures.style import (
    FAINT,
    FULL_WIDTH,
    HIGH,
    INK,
    LOW,
    MUTED,
    mark_colors,
    new_figure,
    short_name,
    styled,
)

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
    """How much of the windows has data, and which tracks are missing?

    Parameters
    ----------
    observed : (cell_type, mark), share of all windows' bases that have data, 0 to 1
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
    expected = (len(cell_types), len(marks))
    if share.shape != expected or present.shape != expected or 0 in expected:
        raise InputFormatError(
            "Shares of data do not fit the names of cell types and marks.",
            found=f"observed {share.shape}, mark_present {present.shape}",
            expected=f"(cell_type, mark) = {expected}, none of them 0",
        )
    n_rows, n_columns = expected
    figure = new_figure(
        float(np.clip(1.3 + 1.1 * n_columns, 3.4, FULL_WIDTH)), 0.26 * n_rows + 0.75
    )
    axes = figure.subplots()
    colors = mark_colors(marks)
    for row, column in np.ndindex(expected):
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
    """Are tracks of one mark more alike than tracks of different marks?

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
    if n == 0 or values.shape != (n, n) or not {mark for _, mark in tracks} <= set(marks):
        raise InputFormatError(
            "Correlations do not fit the names of tracks.",
            found=f"{values.shape}, marks {', '.join(sorted({mark for _, mark in tracks}))}",
            expected=f"(track, track) = {(n, n)}, none of them 0; marks {', '.join(marks)}",
        )
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
