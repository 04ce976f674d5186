"""Figures of what was learned: training and latents. Arrays in, a figure out.

Nothing here touches pyplot or the caller's settings. `page.Figure` sets a figure on a page;
`figure.savefig` works as usual.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from simplechrome.errors import InputFormatError
from simplechrome.report.figures.style import (
    ACCENT,
    CLASS_COLORS,
    EXPRESSION_COLORS,
    FAINT,
    FULL_WIDTH,
    INK,
    MUTED,
    SURFACE,
    check_shapes,
    counted,
    mark_colors,
    message_figure,
    new_figure,
    short_name,
    styled,
)

_COLUMNS = 3


@styled
def traversal_figure(change: xr.DataArray, bin_size: int) -> Figure:
    """Draw the change of the window when each latent rises by one standard deviation.

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


Floats = NDArray[np.float64]


@styled
def loss_figure(history: pd.DataFrame) -> Figure:
    """Draw the loss by epoch, with the epoch that was kept.

    Parameters
    ----------
    history
        One row per epoch: `epoch`, `train_loss`, `validation_loss`; with `reconstruction` and
        `kl` (of a VAE) the two parts of its loss get panels of their own.

    Returns
    -------
    The curves; a line marks the epoch with the lowest validation loss (the lowest training
    loss where no epoch was validated). Where the first epochs dwarf all others, the axis
    follows the others and the curve comes in from above.
    """
    parts = [name for name in ("reconstruction", "kl") if name in history.columns]
    figure = new_figure(FULL_WIDTH if parts else 5.2, 3.0)
    axes, *others = figure.subplots(
        1, 1 + len(parts), width_ratios=[2] + [1] * len(parts), squeeze=False
    )[0]
    epoch = history["epoch"].to_numpy(float)
    curves = {
        "training": (history["train_loss"].to_numpy(float), MUTED),
        "validation": (history["validation_loss"].to_numpy(float), ACCENT),
    }
    for name, (loss, color) in curves.items():
        if np.isfinite(loss).any():
            _curve(axes, epoch, loss, color, label=name)
    _epoch_axis(axes, epoch)
    _loss_limits(axes, [loss for loss, _ in curves.values()])
    judged = next((loss for loss, _ in reversed(curves.values()) if np.isfinite(loss).any()), None)
    if judged is not None:
        best = int(np.nanargmin(judged))
        axes.axvline(epoch[best], color=INK, linewidth=0.8, dashes=(2, 2), zorder=1)
        axes.plot(epoch[best], judged[best], "o", color=INK, markersize=4, zorder=4)
        axes.set_title(f"best: epoch {epoch[best]:.0f}, loss {judged[best]:.4g}", color=INK)
    axes.legend(loc="upper right")
    axes.set_ylabel("loss per gene")
    for panel, name in zip(others, parts, strict=True):
        _curve(panel, epoch, history[name].to_numpy(float), MUTED, label=name)
        _epoch_axis(panel, epoch, n_ticks=3)
        _loss_limits(panel, [history[name].to_numpy(float)])
        panel.set_title({"reconstruction": "reconstruction", "kl": "KL"}[name], color=INK)
    return figure


def _curve(axes: Axes, x: Floats, y: Floats, color: str, label: str) -> None:
    # A single epoch is a point: a line through it would not show.
    alone = np.isfinite(y).sum() == 1
    axes.plot(x, y, color=color, label=label, marker="o" if alone else "", markersize=4)


def _epoch_axis(axes: Axes, epoch: Floats, n_ticks: int = 6) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(n_ticks, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlim(epoch.min() - 0.5, epoch.max() + 0.5)
    axes.grid(axis="y")


def _loss_limits(axes: Axes, losses: Sequence[Floats]) -> None:
    """Limits that show the epochs in which something is still decided."""
    values = np.concatenate([loss[np.isfinite(loss)] for loss in losses])
    settled = np.concatenate([loss[len(loss) // 5 + 1 :] for loss in losses])
    settled = settled[np.isfinite(settled)]
    if values.size == 0 or settled.size < 4:
        return
    low, high = settled.min(), settled.max()
    if values.max() - low > 3 * (high - low) > 0:
        axes.set_ylim(low - 0.08 * (high - low), high + 0.5 * (high - low))


@styled
def latent_map_figure(
    latents: ArrayLike,
    expression: ArrayLike,
    label: ArrayLike | None = None,
    *,
    dims: tuple[int, int] | None = None,
    latent_names: Sequence[str] = (),
    activity: ArrayLike | None = None,
    activity_name: str = "activity",
    units: str = "RPKM",
) -> Figure:
    """Draw genes in the plane of two latents, colored by expression.

    Parameters
    ----------
    latents : (gene, latent)
    expression : (gene,), RPKM or TPM, >= 0; NaN where not measured (gray, underneath)
    label : (gene,), 1 high, 0 low, -1 unknown
        If given, the median of each class is marked. Colors the genes where no expression is
        measured at all.
    dims
        Which two latents; by default the first two that are known for any gene.
    latent_names
        Names of all latents; by default `latent 1`, `latent 2`, …
    activity : (latent,)
        If given, a second panel compares all latents by it.
    activity_name
        What `activity` is, as its axis is to be labelled.
    units
        Of `expression`.

    Returns
    -------
    Axis limits leave out the most extreme .1 % of genes on each side, and say how many that
    were. A single latent is spread at random along the other axis.

    Raises
    ------
    InputFormatError
        If shapes disagree or `dims` names a latent that is not there.
    """
    points = np.asarray(latents, dtype=float)
    log_expression = np.log2(np.asarray(expression, dtype=float).clip(min=0) + 1)
    classes = None if label is None else np.asarray(label)
    if points.ndim != 2 or any(
        len(other) != len(points) for other in (log_expression, classes) if other is not None
    ):
        raise InputFormatError(
            f"Latents {points.shape}, expression {log_expression.shape}"
            + ("" if classes is None else f" and label {classes.shape}")
            + " are not of the same genes: (gene, latent) and (gene,) expected."
        )
    n_latents = points.shape[1]
    pair = _pair_to_show(points) if dims is None else dims
    if any(not 0 <= dim < n_latents for dim in pair):
        raise InputFormatError(
            f"dims = {pair} names a latent that does not exist: 0 to {n_latents - 1} expected."
        )
    names = [short_name(name) for name in latent_names] or [
        f"latent {i + 1}" for i in range(n_latents)
    ]
    random = np.random.default_rng(0)
    plane = np.column_stack(
        [points[:, pair[0]], points[:, pair[1]] if n_latents > 1 else random.random(len(points))]
    )
    known = np.isfinite(plane).all(axis=1)
    if not known.any():
        return message_figure("No map: none of the genes has latents.", FULL_WIDTH)
    figure = new_figure(FULL_WIDTH if activity is not None else 5.6, 4.4)
    axes, *others = figure.subplots(
        1,
        2 if activity is not None else 1,
        width_ratios=[3.4, 1][: 1 + (activity is not None)],
        squeeze=False,
    )[0]
    _scatter_genes(
        figure,
        axes,
        plane[known],
        log_expression[known],
        None if classes is None else classes[known],
        units,
    )
    axes.set_xlabel(names[pair[0]])
    if n_latents > 1:
        axes.set_ylabel(names[pair[1]])
    else:
        axes.set(yticks=[], ylabel="(spread at random)")
    if activity is not None:
        _activity_panel(others[0], np.asarray(activity, dtype=float), names, pair, activity_name)
    return figure


def _pair_to_show(points: Floats) -> tuple[int, int]:
    known = np.flatnonzero(np.isfinite(points).any(axis=0))
    first, second, *_ = [*known, *np.delete(np.arange(points.shape[1]), known), 0, 0]
    return int(first), int(second)


def _scatter_genes(
    figure: Figure,
    axes: Axes,
    plane: Floats,
    log_expression: Floats,
    label: NDArray[np.int_] | None,
    units: str,
) -> None:
    n_genes = len(plane)
    measured = np.isfinite(log_expression)
    alpha = float(np.clip(0.55 * (20_000 / n_genes) ** 0.35, 0.08, 0.8))
    colors = np.tile(to_rgba(FAINT), (n_genes, 1))
    if measured.any():
        most = max(float(np.quantile(log_expression[measured], 0.97)), 1.0)
        scale = ScalarMappable(Normalize(0, most), EXPRESSION_COLORS)
        colors[measured] = scale.to_rgba(log_expression[measured], alpha=alpha)
        _expression_bar(figure, axes, scale, f"log₂({short_name(units) or 'expression'} + 1)")
    elif label is not None:
        for value, name in enumerate(("low", "high")):
            colors[label == value] = to_rgba(CLASS_COLORS[name], alpha)
        measured = label >= 0
    # At random: in the order of the file, genes of one kind would hide the others.
    order = np.random.default_rng(0).permutation(n_genes)
    order = np.concatenate([order[~measured[order]], order[measured[order]]])
    size = float(np.clip(30_000 / n_genes, 3.5, 22))  # square points
    x, y = plane[order].T
    axes.scatter(x, y, color=colors[order], s=size, linewidths=0, rasterized=True)
    low, high = np.quantile(plane, [0.001, 0.999], axis=0)
    margin = np.where(high > low, 0.06 * (high - low), 0.5)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
    outside = int(((plane < low - margin) | (plane > high + margin)).any(axis=1).sum())
    remarks = []
    if not measured.all():
        remarks.append(
            f"gray: {counted(n_genes - int(measured.sum()), 'window')} without expression"
        )
    if outside:
        remarks.append(f"{counted(outside, 'window')} outside the frame")
    axes.set_title("; ".join(remarks), color=MUTED, loc="right", fontsize=8)
    for value, name in enumerate(("low", "high")):
        if label is not None and (label == value).any():
            x, y = np.median(plane[label == value], axis=0)
            axes.plot(x, y, "o", color=CLASS_COLORS[name], markeredgecolor=SURFACE, markersize=8)
            axes.annotate(
                name,
                (x, y),
                xytext=(0, 9),
                textcoords="offset points",
                ha="center",
                color=INK,
                bbox={
                    "boxstyle": "round,pad=0.2",
                    "facecolor": SURFACE,
                    "alpha": 0.85,
                    "linewidth": 0,
                },
            )


def _expression_bar(figure: Figure, axes: Axes, scale: ScalarMappable, name: str) -> None:
    bar = figure.colorbar(
        scale,
        ax=axes,
        location="top",
        shrink=0.5,
        aspect=32,
        anchor=(0, 0),
        pad=0.03,
        extend="max",
        extendfrac=0.04,
        ticks=MaxNLocator(5, integer=True),
    )
    bar.solids.set(rasterized=True, edgecolor="face")  # type: ignore[union-attr]
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    bar.set_label(name, loc="left")


def _activity_panel(
    axes: Axes, activity: Floats, names: Sequence[str], pair: tuple[int, int], name: str
) -> None:
    check_shapes({"latent": len(names)}, activity=activity)
    colors = [ACCENT if i in pair else MUTED for i in range(len(names))]
    place = np.arange(len(names))
    axes.barh(place, np.nan_to_num(activity), height=0.7, color=colors)
    axes.set_ylim(len(names) - 0.5, -0.5)
    every = -(-len(names) // 24)  # more names than 24 would run into each other
    axes.set_yticks(place[::every], [names[i].removeprefix("latent ") for i in place[::every]])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.set_title("latents" if names[0].startswith("latent ") else "", color=MUTED)
    axes.set_xlabel(name)
