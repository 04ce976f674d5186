"""Figures of predicted expression: every known gene counts, and errors are shown by level."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from simplechrome.errors import InputFormatError
from simplechrome.report.figures.scores import residual_figure, scatter_expression_figure
from simplechrome.report.figures.style import FULL_WIDTH, HALF_WIDTH, inline_svg


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def test_scatter_counts_every_known_gene_and_states_r_with_its_interval() -> None:
    observed = [0.0, 1.0, 2.0, 3.0, np.nan]
    predicted = [1.0, 2.0, 3.0, 4.0, 5.0]
    figure = scatter_expression_figure(observed, predicted)
    assert "r = 1.000, 4 genes" in texts(figure)
    hexagons: Any = figure.axes[0].collections[0]
    assert len(hexagons.get_offsets()) == 4
    inline_svg(figure, "figure", "")
    figure = scatter_expression_figure(observed, predicted, interval=(0.9, 1.0))
    assert "r = 1.000 (0.900–1.000), 4 genes" in texts(figure)


def test_scatter_of_constants_and_nothing() -> None:
    assert "r undefined, 2 genes" in texts(scatter_expression_figure([1, 2], [3, 3]))
    assert any("not known" in text for text in texts(scatter_expression_figure([np.nan], [1])))
    with pytest.raises(InputFormatError, match="not of the same genes"):
        scatter_expression_figure([1, 2], [1])


def test_residuals_are_the_median_of_each_bin_by_measured_expression() -> None:
    # Two bins of three genes: measured 0, 1, 2 and 4, 5, 6. Predicted less measured is
    # 1, 2, 6 (median 2) and -1, 0, -5 (median -1), given in another order.
    measured = np.array([5, 0, 4, 1, 6, 2.0, np.nan])
    predicted = measured + np.array([0, 1, -1, 2, -5, 6, 9])
    figure = residual_figure({"E012": (measured, predicted)}, n_bins=2)
    line = figure.axes[0].lines[-1]
    assert line.get_xdata() == pytest.approx([1, 5])
    assert line.get_ydata() == pytest.approx([2, -1])
    # The middle half between the quartiles of three: half-way to the median.
    band = figure.axes[0].collections[0].get_datalim(figure.axes[0].transData)
    assert (band.y0, band.y1) == pytest.approx((-3, 4))
    assert "2 bins of 3 genes" in texts(figure)
    assert figure.get_size_inches()[0] == HALF_WIDTH
    inline_svg(figure, "figure", "")


def test_residuals_of_genes_with_the_same_expression_share_a_bin() -> None:
    figure = residual_figure({"a": ([0, 0, 0, 0], [1, 2, 3, 4])})
    assert "1 bin of 4 genes" in texts(figure)
    assert figure.axes[0].lines[-1].get_ydata() == pytest.approx([2.5])


@pytest.mark.parametrize("n", [2, 7])
def test_residuals_of_several_cell_types_are_lines_with_names(n: int) -> None:
    levels = {f"E{k:03d}": (np.arange(20.0), np.arange(20.0) + k) for k in range(n)}
    figure = residual_figure(levels, wide=True)
    assert set(levels) <= set(texts(figure))
    assert len(figure.axes[0].collections) == 0
    assert figure.get_size_inches()[0] == FULL_WIDTH
    inline_svg(figure, "figure", "")


def test_residuals_of_nothing_say_so_and_of_other_genes_are_refused() -> None:
    assert any("No residuals" in text for text in texts(residual_figure({})))
    assert any("No residuals" in text for text in texts(residual_figure({"a": ([np.nan], [1])})))
    with pytest.raises(InputFormatError, match="not of the same genes"):
        residual_figure({"a": ([1, 2], [1])})
