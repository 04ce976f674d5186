"""Neighbors that tell their expression: what is told, by whom, and to whom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import simplechrome
from simplechrome.config.run import make_config
from simplechrome.dataset.neighbors.genomic import genomic_neighbors
from simplechrome.dataset.neighbors.graph import NeighborGraph, make_graph
from simplechrome.errors import ConfigError, MissingExpressionError, ModelMismatchError
from simplechrome.metrics import auroc
from simplechrome.predictors.neighborhood import NeighborhoodPredictor
from simplechrome.predictors.neighborhood_features import (
    NeighborhoodFeatures,
    make_neighborhood_features,
    neighbor_means,
)
from simplechrome.predictors.registry import load_predictor
from simplechrome.runs.apply import predict_with_run
from simplechrome.runs.fit import fit_run
from simplechrome.runs.predictions import features_of, neighbor_expression_features


def pairs(n: int) -> NeighborGraph:
    """Genes 0 and 1 are each other's neighbor, 2 and 3, …; gene 0 has gene 2 as well."""
    gene = np.append(np.arange(n), 0)
    neighbor = np.append(np.arange(n) ^ 1, 2)
    order = np.argsort(gene, kind="stable")
    ones = np.ones(n + 1)
    return make_graph(
        [f"g{k:04}" for k in range(n)],
        gene[order],
        neighbor=neighbor[order],
        kind=0 * gene,
        distance=ones,
        orientation=ones,
        weight=np.append(3, ones)[: n + 1],
        rank=0 * gene,
        kinds=("listed",),
    )


def make_dataset(latents: xr.DataArray) -> xr.Dataset:
    return xr.Dataset(
        coords={"gene_id": ("gene", latents["gene_id"].values), "bin": np.arange(10)},
        attrs={"bin_size": 100},
    )


def make_latents(n: int) -> xr.DataArray:
    values = np.random.default_rng(0).normal(size=(1, n, 2)).astype(np.float32)
    return xr.DataArray(
        values,
        dims=("cell_type", "gene", "latent"),
        coords={
            "cell_type": ["A"],
            "gene_id": ("gene", [f"g{k:04}" for k in range(n)]),
            "latent": ["a", "b"],
        },
    )


def test_what_neighbors_tell_by_hand() -> None:
    latents = make_latents(4)
    level = np.array([[1.0, 3.0, np.nan, np.nan]])  # mean 2, deviation 1
    around = make_neighborhood_features(latents, pairs(4), make_dataset(latents), level)
    means = neighbor_means(around)
    assert means["latent"].values.tolist()[4:] == [
        "listed_neighbors_expression",
        "listed_neighbors_that_tell",
    ]
    told, share = means.values[0, :, 4], means.values[0, :, 5]
    # Gene 0 hears gene 1 (weight 3, one deviation above the mean) and gene 2 (1), which is silent;
    # gene 1 hears gene 0; genes 2 and 3 hear each other, who tell nothing.
    assert told.tolist() == pytest.approx([1, -1, 0, 0])
    assert share.tolist() == pytest.approx([0.75, 1, 0, 0])


def test_no_gene_is_told_its_own_expression() -> None:
    latents = make_latents(6)
    level = np.arange(6.0)[np.newaxis]
    graph, dataset = pairs(6), make_dataset(latents)
    before = neighbor_means(make_neighborhood_features(latents, graph, dataset, level)).values
    alone = neighbor_means(make_neighborhood_features(latents, graph, dataset)).values
    np.testing.assert_array_equal(before[..., :4], alone)
    for gene in range(6):
        others = level.copy()
        others[0, gene] = np.nan
        after = neighbor_means(make_neighborhood_features(latents, graph, dataset, others)).values
        # What is left is standardized anew; who tells is what can be compared.
        assert after[0, gene, 5] == before[0, gene, 5]


def test_expression_of_neighbors_is_found(tmp_path: Path) -> None:
    n = 1_200
    random = np.random.default_rng(1)
    shared = np.repeat(random.normal(size=n // 2), 2)  # the two of a pair are alike
    label = (shared + 0.2 * random.normal(size=n) > 0).astype(float)[np.newaxis]
    latents = make_latents(n)  # tell nothing
    test = (np.arange(n) // 2 % 3 == 0) & (np.arange(n) % 2 == 0)
    learned = ~test
    told = np.where(learned, label, np.nan)
    around = make_neighborhood_features(latents, pairs(n), make_dataset(latents), told)
    target = np.where(learned, label, -1).astype(np.int8)
    model = NeighborhoodPredictor(epochs=12, learning_rate=2e-2).fit(around, target)
    truth = label[0, test]
    assert auroc(truth, np.asarray(model.decision_function(around))[0, test]) > 0.75
    assert auroc(truth, np.asarray(model.own_.decision_function(latents))[0, test]) < 0.6
    model.save(tmp_path / "model")
    loaded = load_predictor(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(around), model.predict_proba(around))
    with pytest.raises(ModelMismatchError, match="unlike these features"):
        model.predict(NeighborhoodFeatures(latents, pairs(n), 1_000.0))


def test_a_cell_type_without_expression_is_refused() -> None:
    latents = make_latents(4)
    with pytest.raises(MissingExpressionError, match="no gene that was learned from") as refused:
        make_neighborhood_features(
            latents, pairs(4), make_dataset(latents), np.full((1, 4), np.nan)
        )
    assert "in A" in str(refused.value)
    with pytest.raises(ConfigError, match="only with neighbor graphs"):
        make_config({"neighbor_expression": True})


def test_only_genes_that_are_learned_from_tell(one: xr.Dataset, tmp_path: Path) -> None:
    """What test and validation genes express changes no prediction; of training genes it does."""
    config = make_config(
        {
            "encoder": {"name": "log_means"},
            "neighbors": ["genomic"],
            "neighbor_expression": True,
            "labels": 60,
        }
    )
    graph = genomic_neighbors(one, 6)
    run = fit_run(one, config, tmp_path / "run", graph=graph)
    np.testing.assert_allclose(
        predict_with_run(tmp_path / "run", one, graph=graph)["probability"],
        run.predictions["probability"],
        atol=1e-6,
    )
    table = simplechrome.runs.load.load_run(tmp_path / "run")
    learned = (table.labelled & (table.split == "train")).to_numpy()
    assert learned.sum() == 60

    def predict(changed: np.ndarray) -> np.ndarray:
        label = one["label"].where(~xr.DataArray(changed, dims="gene"), 1 - one["label"])
        other = one.assign(label=label.astype(np.int8))
        return predict_with_run(tmp_path / "run", other, graph=graph)["probability"].to_numpy()

    before = predict(np.zeros(learned.size, bool))
    np.testing.assert_array_equal(predict(~learned), before)
    some = learned & (np.cumsum(learned) <= 20)
    assert np.abs(predict(some) - before).max() > 0.01


def test_features_without_neighbors_are_latents(one: xr.Dataset) -> None:
    latents = simplechrome.LogMeans().fit(one).transform(one)
    learned = np.zeros(one.sizes["gene"], bool)
    assert features_of(latents, one, make_config({}), None, learned) is latents
    learned[3] = True
    told = neighbor_expression_features(one, "classification", learned)
    assert np.flatnonzero(np.isfinite(told[0])).tolist() == [3]
