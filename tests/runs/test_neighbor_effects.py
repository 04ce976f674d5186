"""Effects of neighbors, gathered over members and distances."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import simplechrome
from simplechrome.dataset.neighbors.genomic import genomic_neighbors
from simplechrome.explanation.neighbor_effects import (
    effects_by_distance,
    level_ranks,
    neighbor_effects,
)
from simplechrome.predictors.neighborhood import NeighborhoodPredictor
from simplechrome.predictors.neighborhood_features import make_neighborhood_features
from simplechrome.runs.ensemble import Ensemble


def test_effects_by_distance_by_hand() -> None:
    effects = pd.DataFrame(
        {
            "kind": ["genomic", "genomic", "genomic", "sets"],
            "distance": [-9_999.0, 0.0, 10_000.0, np.nan],
            "attention": [0.1, 0.3, 0.5, 0.2],
            "knock_out": [3.0, -4.0, 1.0, -2.0],
        }
    )
    table = effects_by_distance(effects)
    assert table["distance"].tolist() == ["0–10 kb", "10–50 kb", "another chromosome"]
    assert table["neighbors"].tolist() == [2, 1, 1]
    assert table["attention"].tolist() == pytest.approx([0.2, 0.5, 0.2])
    assert table["effect"].tolist() == pytest.approx([np.sqrt(12.5), 1, 2])


def test_effects_of_an_ensemble_are_means(one: xr.Dataset) -> None:
    latents = simplechrome.LogMeans().fit(one).transform(one)
    around = make_neighborhood_features(latents, genomic_neighbors(one, 3), one)
    members = tuple(
        NeighborhoodPredictor(epochs=2, early_stopping=False, random_state=k).fit(
            around, one["label"]
        )
        for k in range(2)
    )
    genes = [str(gene) for gene in one["gene_id"].values[:4]]
    single = [neighbor_effects(member, around, genes, one) for member in members]
    both = neighbor_effects(Ensemble(members), around, genes, one)
    keys = ["gene_id", "neighbor_id"]
    wanted = (single[0].set_index(keys)["knock_out"] + single[1].set_index(keys)["knock_out"]) / 2
    found = both.set_index(keys)["knock_out"]
    np.testing.assert_allclose(found, wanted.reindex(found.index), atol=1e-7)
    assert list(both.columns[:6]) == [
        *("gene_id", "gene_name", "cell_type", "neighbor_id", "neighbor_name", "kind")
    ]


def test_levels_are_ranks_among_all_genes(dataset: xr.Dataset) -> None:
    ranks = level_ranks(dataset, "SIM002")
    assert list(ranks.columns) == [
        mark for mark in dataset["mark"].values if mark not in ("H3K4me1", "H3K9me3")
    ]
    level = dataset.sel(cell_type="SIM002", mark="H3K4me3")["signal"].values.sum(axis=1)
    assert ranks["H3K4me3"].idxmax() == dataset["gene_id"].values[level.argmax()]
    assert ranks["H3K4me3"].max() == 1
    share = (level <= level[7]).mean()
    assert ranks["H3K4me3"].iloc[7] == pytest.approx(share)
