"""Neighbors that act on expression are found where they act, and only there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr
from simulated_dataset import simulated_dataset

import simplechrome
from simplechrome import make_neighborhood_features, neighbor_means
from simplechrome.dataset.neighbors.genomic import genomic_neighbors
from simplechrome.dataset.neighbors.graph import NeighborGraph, shuffled_neighbors
from simplechrome.metrics import auroc

PLANTED = (10_000, 200_000)  # bp, where neighbors act


class Genome(NamedTuple):
    dataset: xr.Dataset
    latents: xr.DataArray
    graph: NeighborGraph
    test: np.ndarray

    def gain(self, graph: NeighborGraph) -> float:
        """AUROC with the mean of these neighbors, minus that of the own window."""
        label, train = self.dataset["label"], np.flatnonzero(~self.test)
        scores = []
        means = neighbor_means(make_neighborhood_features(self.latents, graph, self.dataset))
        for features in (means, self.latents):
            head = simplechrome.LinearPredictor().fit(
                features.isel(gene=train), label.isel(gene=train)
            )
            values = head.decision_function(features).values[0, self.test]
            scores.append(auroc(label.values[0, self.test], values))
        return scores[0] - scores[1]


def make_genome(effect: float) -> Genome:
    dataset = simulated_dataset(4_000, seed=2, neighbor_effect=effect, neighbor_band=PLANTED)
    test = np.isin(dataset["chrom"].values, ["chr1", "chr2", "chr8", "chr9", "chr21", "chr22"])
    latents = simplechrome.LogMeans().fit(dataset.isel(gene=~test)).transform(dataset)
    return Genome(dataset, latents, genomic_neighbors(dataset, None, within=1_000_000), test)


def attend(genome: Genome) -> simplechrome.NeighborhoodPredictor:
    """Fitted on the training genes."""
    train = np.flatnonzero(~genome.test)
    around = make_neighborhood_features(genome.latents, genome.graph, genome.dataset)
    return simplechrome.NeighborhoodPredictor(epochs=20, learning_rate=1e-2).fit(
        around.isel(gene=train), genome.dataset["label"].isel(gene=train)
    )


@pytest.fixture(scope="module")
def planted() -> Genome:
    return make_genome(0.2)


def test_true_neighbors_beat_none_and_shuffled_ones(planted: Genome) -> None:
    assert planted.gain(planted.graph) > 0.005
    assert abs(planted.gain(shuffled_neighbors(planted.graph))) < 0.002


def test_the_band_that_was_planted_brings_most(planted: Genome) -> None:
    bands = ((0, 10_000), PLANTED, (200_000, 1_000_000))
    near, right, far = (planted.gain(planted.graph.between(*band)) for band in bands)
    assert right > 0.03
    assert right > 5 * max(near, far)


def test_attention_names_the_neighbors_that_act(planted: Genome) -> None:
    around = make_neighborhood_features(planted.latents, planted.graph, planted.dataset)
    model = attend(planted)
    effects = model.explain(around, [str(g) for g in planted.dataset["gene_id"].values])
    away = effects["distance"].abs().to_numpy()
    effects["inside"] = (away >= PLANTED[0]) & (away < PLANTED[1])
    effects["size"] = effects["knock_out"].abs()
    means = effects.groupby(["gene_id", "inside"])["size"].mean().unstack().dropna()
    assert (means[True] > means[False]).mean() > 0.8


def test_where_nothing_is_planted_nothing_is_found() -> None:
    genome = make_genome(0.0)
    assert abs(genome.gain(genome.graph)) < 0.005
    assert abs(genome.gain(shuffled_neighbors(genome.graph))) < 0.005
    around = make_neighborhood_features(genome.latents, genome.graph, genome.dataset)
    model = attend(genome)
    alone = model.own_.decision_function(genome.latents).values[0, genome.test]
    together = model.decision_function(around).values[0, genome.test]
    truth = genome.dataset["label"].values[0, genome.test]
    assert abs(auroc(truth, together) - auroc(truth, alone)) < 0.005
