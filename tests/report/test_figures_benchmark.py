"""Figures of a grid of models: what they show, and what they leave out."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simplechrome.report.figures.benchmark import (
    fit_time_figure,
    grid_figure,
    paired_difference_figure,
)
from simplechrome.report.figures.style import MUTED, SURFACE, palette


def summary(models: list[str], counts: tuple[int, ...] = (20, 1000)) -> pd.DataFrame:
    """Differences to raw:linear of .01 for pca, 0 for all others, each ± .005."""
    rows = [
        (*model.split(":"), n, n == max(counts), 0.9 + n / 1e5, 0.01 * model.startswith("pca"))
        for model in models
        for n in counts
    ]
    columns = ["representation", "predictor", "n_labels", "all_labels", "mean", "difference"]
    table = pd.DataFrame(rows, columns=columns)
    for name in ("mean", "difference"):
        prefix = "" if name == "mean" else "difference_"
        table[f"{prefix}low"], table[f"{prefix}high"] = table[name] - 0.005, table[name] + 0.005
    table["seconds"] = 0.5
    of_baseline = table["representation"] + ":" + table["predictor"] == "raw:linear"
    table.loc[of_baseline, ["difference", "difference_low", "difference_high"]] = np.nan
    return table


def drawn(figure: Figure) -> list[Axes]:
    """Draws it: layout problems show only then, as warnings, which are errors here."""
    figure.savefig(io.BytesIO(), format="svg")
    return [axes for axes in figure.axes if axes.get_visible()]


def test_grid_has_a_panel_per_predictor_and_the_baseline_in_each() -> None:
    table = summary(["raw:linear", "pca:linear", "raw:mlp", "raw@paper:mlp@paper"])
    panels = drawn(grid_figure(table, baseline="raw:linear"))
    assert [axes.get_title(loc="left") for axes in panels] == ["linear", "mlp"]
    for axes in panels:
        # The baseline in gray, then two models: a preset stands beside our own settings.
        assert axes.lines[0].get_color() == MUTED
        assert len(axes.lines) == 3
    assert panels[0].lines[2].get_color() == palette()["pca"].light


def test_bad_model_does_not_press_the_others_together() -> None:
    table = summary(["raw:linear", "pca:linear", "vae:linear", "vae:boosting"])
    table.loc[table["predictor"] == "boosting", ["mean", "low", "high"]] = [0.5, 0.4, 0.6]
    low, high = drawn(grid_figure(table, baseline="raw:linear"))[0].get_ylim()
    assert 0.85 < low < 0.895
    assert high > 0.915


def test_one_number_of_labels_and_no_interval_are_drawn() -> None:
    table = summary(["raw:linear", "raw:mlp"], counts=(100,))
    drawn(grid_figure(table, baseline="raw:linear"))
    drawn(grid_figure(table.assign(low=np.nan, high=np.nan), baseline="raw:linear"))
    drawn(paired_difference_figure(table, baseline="raw:linear"))
    drawn(fit_time_figure(table))


def test_many_models_fit() -> None:
    names = [
        f"{r}:{p}"
        for r in ("raw", "pca", "vae", "log_means", "pca+log_means", "vae+log_means")
        for p in ("linear", "mlp", "boosting", "deepchrome", "attentivechrome")
    ]
    table = summary(names, counts=(20, 50, 100, 200, 1000, 13_370))
    assert len(drawn(grid_figure(table, baseline="raw:linear"))) == 5
    assert len(drawn(paired_difference_figure(table, baseline="raw:linear"))) == 6
    assert len(drawn(fit_time_figure(table))) == 2


def test_filled_points_are_those_whose_interval_excludes_zero() -> None:
    table = summary(["raw:linear", "pca:linear", "vae:linear"])
    axes = drawn(paired_difference_figure(table, baseline="raw:linear"))[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["pca:linear", "vae:linear"]  # the baseline itself has no row
    faces = [line.get_markerfacecolor() for line in axes.lines if line.get_marker() == "o"]
    assert faces == [palette()["pca"].light, SURFACE]


def test_difference_outside_of_the_scale_is_an_arrow() -> None:
    table = summary(["raw:linear", "pca:linear", "vae:linear", "vae:mlp", "vae:boosting"])
    far = ["difference", "difference_low", "difference_high"]
    table.loc[table["predictor"] == "boosting", far] = [-0.4, -0.5, -0.3]
    axes = drawn(paired_difference_figure(table, baseline="raw:linear"))[0]
    (arrow,) = (line for line in axes.lines if line.get_marker() == "<")
    assert axes.get_xlim()[0] < arrow.get_xdata()[0] > -0.03
    assert [tick.get_text()[0] for tick in axes.get_xticklabels()] == ["−", "+"]


def test_difference_without_interval_is_not_significant() -> None:
    table = summary(["raw:linear", "pca:linear"]).assign(
        difference_low=np.nan, difference_high=np.nan
    )
    axes = drawn(paired_difference_figure(table, baseline="raw:linear"))[0]
    assert [line.get_markerfacecolor() for line in axes.lines if line.get_marker() == "o"] == [
        SURFACE
    ]


def test_nothing_to_compare_is_said() -> None:
    figure = paired_difference_figure(summary(["raw:linear"]), baseline="raw:linear")
    (axes,) = drawn(figure)
    assert "No other model" in axes.texts[0].get_text()
