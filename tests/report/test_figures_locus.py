"""The figure of one gene's neighbors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from simplechrome.errors import InputFormatError
from simplechrome.report.figures.neighbors import locus_figure

EFFECTS = pd.DataFrame(
    {
        "gene_id": "g0",
        "neighbor_id": [f"g{k}" for k in range(1, 7)],
        "neighbor_name": [f"N{k}" for k in range(1, 7)],
        "distance": [-40_000.0, 10_000.0, 30_000.0, np.nan, np.nan, np.nan],
        "orientation": [1, -1, 1, 0, 0, 0],
        "attention": [0.1, 0.2, 0.1, 0.1, 0.3, 0.1],
        "knock_out": [0.5, -0.2, 0.1, 0.01, -0.9, 0.3],
    }
)
LEVELS = pd.DataFrame({"H3K4me3": np.linspace(0, 1, 7)}, index=[f"g{k}" for k in range(7)])


def test_neighbors_lie_where_they_are() -> None:
    figure = locus_figure(EFFECTS, gene="OWN", levels=LEVELS, elsewhere=2)
    axes = figure.get_axes()
    assert len(axes) == 4 * 2  # attention, effect, genes, marks; own chromosome and others
    assert axes[0].get_title("left") == "on the chromosome of OWN, 3"
    assert axes[1].get_title("left") == "on other chromosomes, 2 of 3"
    attention = axes[0].collections[1].get_offsets()
    assert np.asarray(attention).tolist() == [[-40.0, 0.1], [10.0, 0.2], [30.0, 0.1]]
    # Of the others the two with the largest effects, the largest first.
    assert [t.get_text() for t in axes[7].get_xticklabels()] == ["N5", "N6"]
    assert {t.get_text() for t in axes[4].texts} == {"N1", "N2", "N3"}
    assert [t.get_text() for t in axes[6].get_yticklabels()] == ["H3K4me3"]
    # The gene itself stands among its neighbors.
    assert len(axes[6].collections) == 2


def test_far_neighbors_stand_on_a_logarithmic_scale() -> None:
    near = EFFECTS[:3]
    assert locus_figure(near, gene="OWN").get_axes()[-1].get_xscale() == "linear"
    far = near.assign(distance=[-10_000.0, 20_000.0, 9_000_000.0])
    axes = locus_figure(far, gene="OWN").get_axes()
    assert len(axes) == 3
    assert axes[-1].get_xscale() == "symlog"
    assert "+9,000 kb" in [t.get_text() for t in axes[-1].get_xticklabels()]


def test_a_gene_without_neighbors_has_no_figure() -> None:
    with pytest.raises(InputFormatError, match="OWN has no neighbors"):
        locus_figure(EFFECTS[:0], gene="OWN")
