"""Figures show the data given, name their axes, and say what is wrong where they cannot."""

from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simplechrome.errors import InputFormatError
from simplechrome.report.figures.latents import latent_map_figure, loss_figure
from simplechrome.report.figures.scores import (
    _wilson_interval,
    calibration_figure,
    precision_recall_figure,
    roc_figure,
    scatter_expression_figure,
)
from simplechrome.report.figures.signal import (
    difference_figure,
    mean_profile_figure,
    quality_figure,
)
from simplechrome.report.figures.style import (
    CLASS_COLORS,
    FAINT,
    MUTED,
    inline_svg,
    mark_colors,
    palette,
    series_lines,
    short_name,
)

Latents = np.ndarray
MARKS = ["H3K27me3", "H3K36me3", "H3K4me1", "H3K4me3", "H3K9me3"]


def texts(figure: Figure) -> list[str]:
    """All the text that a reader sees."""
    return [
        text.get_text()
        for text in figure.findobj(matplotlib.text.Text)
        if text.get_visible() and text.get_text()
    ]


def line(axes: Axes, label: str) -> Any:
    return next(line for line in axes.lines if line.get_label() == label)


def drawn(figure: Figure) -> str:
    """Draws it: layout problems show only then, as warnings, which are errors here."""
    return inline_svg(figure, "figure", "")


# ------------------------------------------------------------------------------------ loss


def history(n_epochs: int = 4, **columns: object) -> pd.DataFrame:
    epoch = np.arange(1, n_epochs + 1)
    return pd.DataFrame(
        {"epoch": epoch, "train_loss": 10.0 - epoch, "validation_loss": 11.0 - epoch, **columns}
    )


def test_loss_figure_marks_the_epoch_with_the_lowest_validation_loss() -> None:
    figure = loss_figure(history(validation_loss=[5.0, 3.0, 4.0, 6.0]))
    (axes,) = figure.axes
    assert line(axes, "validation").get_ydata().tolist() == [5, 3, 4, 6]
    assert line(axes, "training").get_ydata().tolist() == [9, 8, 7, 6]
    assert "best: epoch 2, loss 3" in texts(figure)
    drawn(figure)


def test_loss_figure_gives_the_parts_of_a_vae_their_own_panels() -> None:
    parts = {"reconstruction": [4, 3, 2, 1], "kl": [0, 1, 2, 3]}
    figure = loss_figure(history().assign(**parts))
    assert [
        list(line(axes, name).get_ydata())
        for axes, name in zip(figure.axes[1:], parts, strict=True)
    ] == list(parts.values())
    drawn(figure)


def test_loss_of_a_single_epoch_is_a_point() -> None:
    figure = loss_figure(history(1))
    assert line(figure.axes[0], "training").get_marker() == "o"
    drawn(figure)


def test_loss_without_validation_marks_the_lowest_training_loss() -> None:
    figure = loss_figure(history(validation_loss=np.nan))
    assert "best: epoch 4, loss 6" in texts(figure)
    assert "validation" not in texts(figure)
    drawn(figure)


def test_loss_axis_follows_the_later_epochs_where_the_first_dwarf_them() -> None:
    loss = [1000.0, 14, 13, 12, 11, 10.0]
    figure = loss_figure(history(6, train_loss=loss, validation_loss=loss))
    # Epochs 3 to 6 span 10 to 13: the axis ends half of that above.
    assert figure.axes[0].get_ylim()[1] == pytest.approx(13 + 0.5 * 3)


# ------------------------------------------------------------------------------- latent map


@pytest.fixture
def latents() -> Latents:
    return np.random.default_rng(0).normal(size=(60, 3))


def points(figure: Figure) -> Any:
    return figure.axes[0].collections[0]


def test_latent_map_shows_every_gene_in_a_color_that_grows_with_expression(
    latents: Latents,
) -> None:
    expression = np.arange(60.0)
    figure = latent_map_figure(latents, expression)
    # Genes come in random order: find each again by its place.
    place = points(figure).get_offsets()
    gene = [int(np.flatnonzero((latents[:, :2] == xy).all(axis=1))[0]) for xy in place]
    assert sorted(gene) == list(range(60))
    red = points(figure).get_facecolors()[np.argsort(gene), 0]
    assert (np.diff(red) >= 0).all()
    assert red[-1] > red[0]
    assert "log₂(RPKM + 1)" in texts(figure)
    assert points(figure).get_rasterized()
    drawn(figure)


def test_latent_map_draws_genes_without_expression_in_gray_underneath(latents: Latents) -> None:
    expression = np.where(np.arange(60) < 20, np.nan, 5.0)
    figure = latent_map_figure(latents, expression)
    gray = (points(figure).get_facecolors() == matplotlib.colors.to_rgba(FAINT)).all(axis=1)
    assert gray.tolist() == [True] * 20 + [False] * 40
    assert "gray: 20 windows without expression" in texts(figure)


def test_latent_map_is_colored_by_label_where_no_expression_is_known(latents: Latents) -> None:
    label = np.repeat([1, 0, -1], 20)
    figure = latent_map_figure(latents, np.full(60, np.nan), label)
    colors = [matplotlib.colors.to_hex(color) for color in points(figure).get_facecolors()]
    assert [
        colors.count(color) for color in (CLASS_COLORS["high"], CLASS_COLORS["low"], FAINT)
    ] == [
        20,
        20,
        20,
    ]
    assert {"high", "low"} <= set(texts(figure))  # at the medians of the classes
    drawn(figure)


def test_latent_map_takes_the_first_two_latents_that_are_known(latents: Latents) -> None:
    latents[:, 0] = np.nan  # as log-means of a mark that was not assayed
    axes = latent_map_figure(latents, np.ones(60), latent_names=MARKS[:3]).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("H3K36me3", "H3K4me1")
    axes = latent_map_figure(latents, np.ones(60), dims=(2, 1)).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("latent 3", "latent 2")


def test_latent_map_compares_latents_by_activity(latents: Latents) -> None:
    figure = latent_map_figure(latents, np.ones(60), activity=[3.0, 2.0, 0.0])
    bars: Any = figure.axes[1].patches
    assert [bar.get_width() for bar in bars] == [3, 2, 0]
    drawn(figure)


def test_latent_map_of_one_latent_one_gene_or_none(latents: Latents) -> None:
    drawn(latent_map_figure(latents[:, :1], np.ones(60), activity=[1.0]))
    drawn(latent_map_figure(latents[:1], [0.0], [1]))
    figure = latent_map_figure(latents * np.nan, np.ones(60))
    assert "No map: none of the genes has latents." in texts(figure)
    drawn(figure)


def test_latent_map_leaves_out_extreme_genes_and_says_how_many(latents: Latents) -> None:
    many = np.random.default_rng(0).uniform(size=(5_000, 2))
    many[:2] = 1e6
    figure = latent_map_figure(many, np.ones(5_000))
    assert "2 windows outside the frame" in texts(figure)
    assert figure.axes[0].get_xlim()[1] < 1.2


def test_latent_map_refuses_what_does_not_fit(latents: Latents) -> None:
    with pytest.raises(InputFormatError, match="not of the same genes"):
        latent_map_figure(latents, np.ones(59))
    with pytest.raises(InputFormatError, match=r"dims = \(0, 3\)"):
        latent_map_figure(latents, np.ones(60), dims=(0, 3))
    with pytest.raises(InputFormatError, match="`activity` has shape"):
        latent_map_figure(latents, np.ones(60), activity=[1.0])


# ------------------------------------------------------------------------- profiles, quality


def profiles(n_marks: int, n_bins: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """High is 2 and low is 1 in every bin of every mark."""
    means = np.ones((2, n_bins, n_marks))
    means[0] = 2
    return means, np.arange(n_bins) * 100 - n_bins * 50


@pytest.mark.parametrize("n_marks", [1, 5, 12])
def test_mean_profile_has_one_panel_per_mark(n_marks: int) -> None:
    means, starts = profiles(n_marks)
    marks = (MARKS + [f"mark {i}" for i in range(7)])[:n_marks]
    figure = mean_profile_figure(means, starts, marks, ["high", "low"], "reads", 100)
    assert [axes.get_title(loc="left") for axes in figure.axes] == marks
    high, low = line(figure.axes[0], "high"), line(figure.axes[0], "low")
    assert (set(high.get_ydata()), set(low.get_ydata())) == ({2.0}, {1.0})
    # The first bin is [-500, -400): its center lies at -0.45 kb.
    assert high.get_xdata()[0] == pytest.approx(-0.45)
    assert (high.get_color(), low.get_color()) == (CLASS_COLORS["high"], CLASS_COLORS["low"])
    assert {"TSS", "−0.5", "+0.5 kb", "mean reads per bin"} <= set(texts(figure))
    drawn(figure)


def test_mean_profile_shades_the_band() -> None:
    means, starts = profiles(1)
    figure = mean_profile_figure(
        means, starts, ["a"], ["high", "low"], "reads", 100, band=(means - 0.25, means + 0.5)
    )
    high = figure.axes[0].collections[0].get_datalim(figure.axes[0].transData)
    assert (high.y0, high.y1) == (1.75, 2.5)


def test_mean_profile_names_a_mark_that_was_not_assayed() -> None:
    means, starts = profiles(2)
    means[:, :, 1] = np.nan
    figure = mean_profile_figure(means, starts, MARKS[:2], ["high", "low"], "mean_signal", 100)
    assert texts(figure).count("not assayed") == 1
    assert "mean signal per bin" in texts(figure)
    drawn(figure)


def test_mean_profile_of_a_single_bin_shows_points() -> None:
    means, _ = profiles(1, n_bins=1)
    figure = mean_profile_figure(means, [0], ["a"], ["high", "low"], "reads", 100)
    assert line(figure.axes[0], "high").get_marker() == "o"
    drawn(figure)


def test_mean_profile_refuses_names_that_do_not_fit() -> None:
    means, starts = profiles(2)
    with pytest.raises(InputFormatError, match=r"\(2, 10, 1\)"):
        mean_profile_figure(means, starts, ["a"], ["high", "low"], "reads", 100)


def test_units_may_be_unknown() -> None:
    means, starts = profiles(1)
    figure = mean_profile_figure(means, starts, ["a"], ["high", "low"], "", 100)
    assert "mean signal per bin" in texts(figure)
    assert "measured, log₂(expression + 1)" in texts(scatter_expression_figure([1], [1], units=""))


def test_quality_writes_levels_and_hatches_missing_marks() -> None:
    level = [[1.234, 56.78], [1234.5, 7.0]]
    present = [[True, True], [True, False]]
    figure = quality_figure(level, present, ["E012", "E028"], MARKS[:2])
    assert {"1.23", "56.8", "1,234", "E012", "H3K36me3"} <= set(texts(figure))
    assert "7.00" not in texts(figure)
    fields: Any = figure.axes[0].patches
    assert [field.get_hatch() for field in fields] == [None, None, None, "////"]
    # Shades grow with the logarithm: 1.234 < 56.78 < 1234.5.
    assert fields[0].get_alpha() < fields[1].get_alpha() < fields[2].get_alpha()
    drawn(figure)


@pytest.mark.parametrize("n_marks", [1, 20])
def test_quality_takes_any_number_of_marks(n_marks: int) -> None:
    marks = [f"mark number {i}" for i in range(n_marks)]
    level = np.zeros((3, n_marks))
    figure = quality_figure(level, level == 0, ["a", "b", "c"], marks)
    drawn(figure)
    assert texts(figure).count("0.00") == (3 * n_marks if n_marks <= 16 else 0)


def test_difference_map_has_a_row_per_cell_type_in_the_color_of_the_class_that_has_more() -> None:
    # Two cell types, four bins, two marks; the second cell type lacks the second mark.
    values = np.zeros((2, 4, 2))
    values[0, :, 0] = [0, 0.5, 1, -1]
    values[1, :, 1] = np.nan
    figure = difference_figure(values, [-200, -100, 0, 100], ["E012", "E028"], MARKS[:2], 100)
    image: Any = figure.axes[0].images[0].get_array()
    assert image.shape == (2, 4, 4)
    assert image[0, :, 3].tolist() == [0, 0.5, 1, 1]  # opacity
    high, low = (matplotlib.colors.to_rgb(CLASS_COLORS[name]) for name in ("high", "low"))
    assert image[0, [1, 3], :3].tolist() == [list(high), list(low)]
    hatched: Any = figure.axes[1].patches
    assert [(field.get_y(), field.get_hatch()) for field in hatched] == [(0.54, "////")]
    assert {"E012", "E028", "H3K27me3", "more in high genes", "not assayed"} <= set(texts(figure))
    drawn(figure)


@pytest.mark.parametrize(("cell_types", "marks"), [(1, 1), (30, 13)])
def test_difference_map_takes_any_number_of_cell_types_and_marks(
    cell_types: int, marks: int
) -> None:
    names = [f"cell type {k}" for k in range(cell_types)]
    values = np.zeros((cell_types, 5, marks))
    figure = difference_figure(
        values, np.arange(5) * 100, names, [f"m{k}" for k in range(marks)], 100
    )
    assert len(figure.axes) == marks
    drawn(figure)


def test_difference_map_refuses_names_that_do_not_fit() -> None:
    with pytest.raises(InputFormatError, match=r"\(1, 2, 1\)"):
        difference_figure(np.zeros((1, 2, 2)), [0, 100], ["E012"], ["a"], 100)


def test_quality_refuses_names_that_do_not_fit() -> None:
    with pytest.raises(InputFormatError, match=r"\(1, 2\)"):
        quality_figure([[1.0]], [[True]], ["E012"], MARKS[:2])


# ------------------------------------------------------------------------------------ scores

LABEL = np.array([1, 1, 0, 1, 0, 0])
PROBABILITY = np.array([0.9, 0.8, 0.7, 0.6, 0.2, 0.1])
# 9 pairs of a high and a low gene; only (.6, .7) is in the wrong order: AUROC 8/9 = .889.
# Precision at each high gene: 1/1, 2/2, 3/4: AUPRC (1 + 1 + .75) / 3 = .917.


def test_roc_runs_from_corner_to_corner_and_states_the_auroc_with_its_interval() -> None:
    figure = roc_figure({"PCA 10": (LABEL, PROBABILITY)}, intervals={"PCA 10": (0.7, 0.96)})
    curve: Any = figure.axes[0].lines[0]
    assert curve.get_label() == "0.889  PCA 10  (0.700–0.960)"
    assert (curve.get_xdata()[0], curve.get_ydata()[0]) == (0, 0)
    assert (curve.get_xdata()[-1], curve.get_ydata()[-1]) == (1, 1)
    x, y = curve.get_data()
    assert (np.diff(x) * (y[1:] + y[:-1]) / 2).sum() == pytest.approx(8 / 9)
    drawn(figure)


def test_precision_recall_states_the_auprc_and_the_share_of_high_genes() -> None:
    figure = precision_recall_figure({"raw": (LABEL, PROBABILITY)})
    assert {"0.917  raw", "0.500  chance"} <= set(texts(figure))
    curve: Any = figure.axes[0].lines[0]
    assert (1.0, 0.5) in zip(curve.get_xdata(), curve.get_ydata(), strict=True)  # all called high
    drawn(figure)


def test_unknown_labels_and_missing_probabilities_are_left_out() -> None:
    label, probability = np.append(LABEL, [-1, 1]), np.append(PROBABILITY, [0.99, np.nan])
    figure = roc_figure({"raw": (label, probability)})
    assert "0.889  raw" in texts(figure)


@pytest.mark.parametrize("make", [roc_figure, precision_recall_figure])
def test_one_class_gives_a_reason_in_place_of_a_curve(make: Callable[..., Figure]) -> None:
    figure = make({"raw": ([1, 1, 1], [0.1, 0.2, 0.3])})
    assert any("all 3 genes are high" in text for text in texts(figure))
    drawn(figure)
    figure = make({"raw": ([-1], [0.1])})
    assert any("no gene has a known label" in text for text in texts(figure))
    assert any("no predictions" in text for text in texts(make({})))


def test_a_curve_without_both_classes_is_listed_as_undefined_beside_others() -> None:
    figure = roc_figure({"raw": (LABEL, PROBABILITY), "VAE 10": ([0], [0.5])})
    assert {"0.889  raw", "undefined  VAE 10"} <= set(texts(figure))
    drawn(figure)


def test_many_curves_put_the_legend_below() -> None:
    curves = {f"model {i}": (LABEL, PROBABILITY) for i in range(10)}
    figure = roc_figure(curves)
    assert len(figure.legends) == 1
    drawn(figure)


def test_curves_refuse_strange_labels_and_lengths() -> None:
    with pytest.raises(InputFormatError, match="labels of raw hold 2"):
        roc_figure({"raw": ([0, 2], [0.1, 0.2])})
    with pytest.raises(InputFormatError, match="not of the same genes"):
        roc_figure({"raw": ([0, 1], [0.1])})


def test_calibration_points_are_bins_of_equal_mass() -> None:
    # Two bins of two genes: (.1, .3) with no high gene, (.6, .8) with one of two.
    curves = {"E012": ([0, 0, 1, 0], [0.1, 0.3, 0.6, 0.8])}
    figure = calibration_figure(curves, intervals={"E012": (0.1, 0.3)}, n_bins=2)
    bins = line(figure.axes[0], "bins")
    assert bins.get_xdata() == pytest.approx([0.2, 0.7])
    assert bins.get_ydata() == pytest.approx([0.0, 0.5])
    # (.2 * 2 + .2 * 2) / 4 = .2
    assert "calibration error 0.200\n95 %: 0.100–0.300\n2 bins of 2 genes" in texts(figure)
    drawn(figure)


def test_calibration_of_several_cell_types_bins_and_scores_each_for_itself() -> None:
    # One is too sure by .2, the other not sure enough by .2: pooled, the error would be 0.
    halves = np.tile([0, 1], 5)
    figure = calibration_figure({"a": (halves, [0.7] * 10), "b": (halves, [0.3] * 10)})
    assert {"0.200  a", "0.200  b", "gene and cell-type pairs"} <= set(texts(figure))
    assert [line(figure.axes[0], f"0.200  {name}").get_xdata()[0] for name in "ab"] == [
        pytest.approx(0.7),
        pytest.approx(0.3),
    ]
    drawn(figure)
    assert len(calibration_figure({f"c{k}": (halves, [0.5] * 10) for k in range(6)}).legends) == 1


def test_calibration_counts_genes_of_each_class_by_probability() -> None:
    figure = calibration_figure({"a": ([0, 0, 1], [0.05, 0.05, 0.95])})
    bars: Any = figure.axes[1].patches
    assert [bar.get_height() for bar in bars if bar.get_height()] == [2, 1]
    assert figure.axes[1].get_ylabel() == "genes"


def test_calibration_has_fifteen_bins_and_their_sizes() -> None:
    probability = np.arange(1, 101) / 101
    figure = calibration_figure({"a": (np.arange(100) % 2, probability)})
    assert len(line(figure.axes[0], "bins").get_xdata()) == 15
    assert any("15 bins of 6–7 genes" in text for text in texts(figure))  # 100 / 15 = 6.7


def test_calibration_of_constant_single_and_no_predictions() -> None:
    constant = calibration_figure({"a": ([1, 0, 1], [0.5] * 3)})
    assert any("1 bin of 3 genes" in text for text in texts(constant))
    drawn(calibration_figure({"a": ([1], [0.0])}))
    figure = calibration_figure({"a": ([-1], [0.5])})
    assert "No calibration: no gene has a known label." in texts(figure)


def test_calibration_refuses_what_is_no_probability() -> None:
    with pytest.raises(InputFormatError, match="probability"):
        calibration_figure({"a": ([0, 1], [0.5, 1.5])})


def test_wilson_interval_as_published() -> None:
    # 81 of 263 (Newcombe, Statistics in Medicine 1998, table I): .2553 to .3662.
    low, high = _wilson_interval(np.array([81 / 263]), np.array([263]))
    assert (low[0], high[0]) == pytest.approx((0.2553, 0.3662), abs=1e-4)


# ------------------------------------------------------------------------------------- style


def test_colors_belong_to_names_and_not_to_positions() -> None:
    alone, among = series_lines(["VAE 10"]), series_lines(["raw", "PCA 10", "mine", "VAE 10"])
    assert alone["VAE 10"]["color"] == among["VAE 10"]["color"] == palette()["vae"].light
    assert among["mine"]["color"] not in {palette()[known].light for known in ("raw", "pca", "vae")}
    assert series_lines(["permuted labels"])["permuted labels"]["color"] == MUTED
    assert mark_colors(["x", "H3K4me3"])[1] == mark_colors(["H3K4me3"])[0]


def test_names_that_share_a_color_differ_in_dashes() -> None:
    lines = series_lines(["VAE 10", "VAE 20", *(f"model {i}" for i in range(12))])
    assert len({(look["color"], str(look["linestyle"])) for look in lines.values()}) == 14


def test_palette_has_no_color_twice() -> None:
    # Each light shade stands for one variable of the style sheet.
    assert len({hue.light for hue in palette().values()}) == len(palette())


def test_short_name_is_one_printable_line() -> None:
    assert short_name("a\nb\x07c") == "a bc"
    assert short_name("x" * 30, 5) == "xxxx…"


def test_figures_leave_settings_alone_and_ignore_the_users() -> None:
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30}):
        before = dict(matplotlib.rcParams)
        figure = loss_figure(history())
        drawn(figure)
        assert dict(matplotlib.rcParams) == before
    assert line(figure.axes[0], "training").get_linewidth() == 1.6


def test_svg_keeps_text_follows_the_pages_colors_and_is_the_same_every_time() -> None:
    figures = [roc_figure({"VAE 10": (LABEL, PROBABILITY)}) for _ in range(2)]
    first, second = (inline_svg(figure, "a", "A <curve> & more") for figure in figures)
    assert first == second
    assert ">0.889  VAE 10</text>" in first
    assert f"var(--vae,{palette()['vae'].light})" in first
    assert 'aria-label="A &lt;curve&gt; &amp; more"' in first
    assert "http" not in first
    assert "<style" not in first


def test_svg_identifiers_begin_with_the_given_name() -> None:
    svg = inline_svg(quality_figure([[1.0]], [[False]], ["a"], ["b"]), "figure7", "")
    assert 'id="figure7-' in svg
    assert "url(#figure7-" in svg
    assert svg.count('id="') == svg.count('id="figure7-')


def test_hostile_and_foreign_names_are_drawn_as_text() -> None:
    names = ["<b>bold</b>", "$x_1$", "细胞", "$", "a\x00b"]
    svg = drawn(quality_figure(np.ones((5, 1)), np.ones((5, 1)), names, ["$\\frac$"]))
    assert "&lt;b&gt;bold&lt;/b&gt;" in svg
    assert "$x_1$" in svg
    assert "<b>" not in svg


def test_twenty_thousand_genes_make_a_small_svg() -> None:
    latents = np.random.default_rng(0).normal(size=(20_000, 2))
    assert len(drawn(latent_map_figure(latents, np.ones(20_000)))) < 1_500_000
