"""What neighbors change in a gene's prediction: found where it is planted, nothing elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from simplechrome.dataset.neighbors.graph import NeighborGraph, make_graph
from simplechrome.errors import ConfigError, InputFormatError, ModelMismatchError, UnknownGeneError
from simplechrome.metrics import auroc, pearson
from simplechrome.predictors.neighborhood import NeighborhoodPredictor
from simplechrome.predictors.neighborhood_features import (
    NeighborhoodFeatures,
    edge_features,
    make_neighborhood_features,
    neighbor_means,
)
from simplechrome.predictors.registry import load_predictor

GENES, NEAR = 900, 2_000  # only neighbors up to NEAR bp away act


def ring(n: int = GENES, reach: int = 3) -> NeighborGraph:
    """Genes in a circle, 1 kb apart, with `reach` neighbors on either side; the last has none."""
    steps = np.array([step for step in range(-reach, reach + 1) if step])
    gene = np.repeat(np.arange(n - 1), steps.size)
    return make_graph(
        [f"g{k:04}" for k in range(n)],
        gene,
        neighbor=(gene + np.tile(steps, n - 1)) % (n - 1),
        kind=np.zeros(gene.size, int),
        distance=np.tile(steps * 1_000.0, n - 1),
        orientation=np.ones(gene.size),
        weight=np.ones(gene.size),
        rank=np.tile(np.abs(steps) - 1, n - 1),
        kinds=("genomic",),
    )


def make_latents(graph: NeighborGraph, cells: int = 1) -> xr.DataArray:
    random = np.random.default_rng(0)
    return xr.DataArray(
        random.normal(size=(cells, graph.gene_id.size, 3)).astype(np.float32),
        dims=("cell_type", "gene", "latent"),
        coords={
            "cell_type": [f"C{k}" for k in range(cells)],
            "gene_id": ("gene", graph.gene_id),
            "latent": ["a", "b", "c"],
        },
    )


class Planted:
    """Log odds: own latent a, and the mean of latent b of the neighbors up to NEAR bp away."""

    def __init__(self, effect: float, cells: int = 1) -> None:
        graph = ring()
        latents = make_latents(graph, cells)
        self.around = NeighborhoodFeatures(latents, graph, 500.0)
        near = graph.between(0, NEAR + 1)
        mean = np.zeros(latents.shape[:2])
        np.add.at(mean, (slice(None), near.gene), latents.values[:, near.neighbor, 1])
        mean /= np.maximum(near.degree, 1)
        random = np.random.default_rng(1)
        self.level = latents.values[..., 0] + effect * 2 * mean
        odds = 2 * self.level + random.logistic(size=mean.shape)
        label = xr.DataArray(
            (odds > 0).astype(np.int8), dims=("cell_type", "gene"), coords=latents[..., 0].coords
        ).drop_vars("latent")
        part = np.arange(GENES) % 3
        self.train, self.validation, self.test = (
            label.where(part == k, -1).astype(np.int8) for k in range(3)
        )

    def score(self, values: xr.DataArray) -> float:
        known = self.test.values >= 0
        return auroc(self.test.values[known], values.values[known])


@pytest.fixture(scope="module")
def planted() -> Planted:
    return Planted(1.0)


@pytest.fixture(scope="module")
def fitted(planted: Planted) -> NeighborhoodPredictor:
    return NeighborhoodPredictor(epochs=25, learning_rate=2e-2).fit(
        planted.around, planted.train, validation=(planted.around, planted.validation)
    )


def test_a_planted_effect_is_found(planted: Planted, fitted: NeighborhoodPredictor) -> None:
    alone = planted.score(fitted.own_.decision_function(planted.around.latents))
    together = planted.score(fitted.decision_function(planted.around))
    assert together > alone + 0.05
    assert fitted.epochs_ > 0


def test_the_right_neighbors_are_named(planted: Planted, fitted: NeighborhoodPredictor) -> None:
    genes = [f"g{k:04}" for k in range(0, 300, 3)]
    table = fitted.explain(planted.around, genes)
    assert list(table.columns[:4]) == ["gene_id", "cell_type", "neighbor_id", "kind"]
    near = table["distance"].abs() <= NEAR
    assert table[near]["knock_out"].abs().mean() > 2 * table[~near]["knock_out"].abs().mean()


def test_a_knock_out_is_the_prediction_without_the_neighbor(
    planted: Planted, fitted: NeighborhoodPredictor
) -> None:
    graph = planted.around.graph
    table = fitted.explain(planted.around, ["g0010"]).set_index("neighbor_id")
    whole = fitted.decision_function(planted.around)[0, 10]
    assert np.abs(np.diff(np.abs(table["knock_out"]))).min() >= 0
    for neighbor in ("g0009", "g0013"):
        row = np.flatnonzero(graph.gene_id == neighbor)[0]
        cut = graph.keep(~((graph.gene == 10) & (graph.neighbor == row)))
        # Features are scaled within the graph; here all weights are 1, so nothing shifts.
        without = fitted.decision_function(replace(planted.around, graph=cut))[0, 10]
        assert table.loc[neighbor, "knock_out"] == pytest.approx(float(whole - without), abs=1e-5)
    none = graph.keep(graph.gene != 10)
    without = fitted.decision_function(replace(planted.around, graph=none))[0, 10]
    assert table["all_neighbors"].to_numpy() == pytest.approx(float(whole - without), abs=1e-5)
    assert table["attention"].between(0, 1).all()
    assert table["attention"].sum() <= 1
    with pytest.raises(UnknownGeneError, match="no gene 'g10'"):
        fitted.explain(planted.around, ["g10"])


def test_without_neighbors_a_gene_has_its_own_prediction(
    planted: Planted, fitted: NeighborhoodPredictor
) -> None:
    alone = fitted.own_.decision_function(planted.around.latents)
    together = fitted.decision_function(planted.around)
    assert float(together[0, -1]) == pytest.approx(float(alone[0, -1]), abs=1e-6)
    assert np.abs(together - alone).values[0, :-1].min() > 0
    nobody = planted.around.graph.keep(np.zeros(planted.around.graph.n_edges, bool))
    empty = fitted.decision_function(replace(planted.around, graph=nobody))
    np.testing.assert_allclose(empty.values, alone.values, atol=1e-5)


def test_labels_of_others_do_not_matter_and_their_windows_do(
    planted: Planted, fitted: NeighborhoodPredictor
) -> None:
    """Test labels are -1 in what it is given; a neighbor's window may be a test gene's."""
    assert set(np.unique(planted.train.values[:, np.arange(GENES) % 3 != 0])) == {-1}
    changed = planted.around.latents.copy(deep=True)
    changed[:, 11] += 3  # 11 is a test gene, 10 and 12 are not
    moved = fitted.decision_function(replace(planted.around, latents=changed))
    assert float(moved[0, 10]) != float(fitted.decision_function(planted.around)[0, 10])
    assert float(moved[0, 20]) == float(fitted.decision_function(planted.around)[0, 20])


def test_a_saved_predictor_is_the_same(
    planted: Planted, fitted: NeighborhoodPredictor, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "model")
    loaded = load_predictor(tmp_path / "model")
    np.testing.assert_array_equal(
        loaded.predict_proba(planted.around).values, fitted.predict_proba(planted.around).values
    )
    assert loaded.predict(planted.around).dims == ("cell_type", "gene")


@pytest.mark.parametrize("own", ["mlp", "boosting"])
def test_any_predictor_may_speak_for_the_gene_itself(
    planted: Planted, own: str, tmp_path: Path
) -> None:
    model = NeighborhoodPredictor(own=own, epochs=2).fit(  # type: ignore[arg-type]
        planted.around, planted.train, validation=(planted.around, planted.validation)
    )
    model.save(tmp_path / own)
    loaded = load_predictor(tmp_path / own)
    np.testing.assert_array_equal(
        loaded.decision_function(planted.around), model.decision_function(planted.around)
    )


def test_with_few_labels_cross_validation_chooses(planted: Planted) -> None:
    few = planted.train.copy()
    few[:, 120:] = -1
    model = NeighborhoodPredictor(epochs=4).fit(planted.around, few)
    assert 0 <= model.epochs_ <= 4
    assert np.isfinite(model.decision_function(planted.around)).all()


def test_levels_of_several_cell_types() -> None:
    planted = Planted(1.0, cells=2)
    level = xr.DataArray(planted.level, dims=("cell_type", "gene"))
    train, validation = (level.where(np.arange(GENES) % 3 == k) for k in (0, 1))
    model = NeighborhoodPredictor("regression", epochs=15, learning_rate=2e-2).fit(
        planted.around, train, validation=(planted.around, validation)
    )
    test = np.arange(GENES) % 3 == 2
    alone = model.own_.predict(planted.around.latents).values[:, test]
    together = model.predict(planted.around).values[:, test]
    for cell in range(2):
        truth = planted.level[cell, test]
        assert pearson(truth, together[cell]) > pearson(truth, alone[cell]) + 0.05


def test_features_of_edges_by_hand() -> None:
    graph = ring(4, 1).keep(np.arange(6) < 2)  # the edges of g0: upstream g2, downstream g1
    graph = replace(graph, distance=np.array([-999.0, np.nan]), orientation=np.array([-1, 0]))
    signed, far, elsewhere, overlap, facing, weight, rank, kind = edge_features(graph, 4_000).T
    log = np.log1p(0.999) / np.log1p(1e5)
    assert [*signed, *far] == pytest.approx([-log, 0, log, 1])
    assert overlap.tolist() == pytest.approx([1 - 999 / 4000, 0])
    assert [*elsewhere, *facing, *weight, *rank, *kind] == [0, 1, -1, 0, 1, 1, 0, 0, 1, 1]


def test_mean_of_neighbors_by_hand() -> None:
    graph = replace(ring(4, 1), weight=np.array([1, 3, 1, 1, 1, 1], np.float32))
    latents = make_latents(graph)
    means = neighbor_means(NeighborhoodFeatures(latents, graph, 500.0))
    a = latents.values[0, :, 0]
    assert means["latent"].values.tolist() == [
        *("a", "b", "c"),
        *("genomic_neighbors_a", "genomic_neighbors_b", "genomic_neighbors_c"),
    ]
    # g0: upstream g2 of weight 1, downstream g1 of weight 3; g3 has no neighbors.
    expected = [(a[2] + 3 * a[1]) / 4, (a[0] + a[2]) / 2, (a[1] + a[0]) / 2, 0]
    assert means.values[0, :, 3] == pytest.approx(np.array(expected))


def test_features_without_neighbors_are_refused(
    planted: Planted, fitted: NeighborhoodPredictor
) -> None:
    with pytest.raises(ConfigError, match="needs NeighborhoodFeatures, not"):
        NeighborhoodPredictor().fit(planted.around.latents, planted.train)
    with pytest.raises(ConfigError, match="`own` is invalid"):
        NeighborhoodPredictor(own="svm").fit(planted.around, planted.train)  # type: ignore[arg-type]
    other = replace(planted.around.graph, kinds=("contact",))
    with pytest.raises(ModelMismatchError, match=r"of the kinds .* are not those"):
        fitted.predict(replace(planted.around, graph=other))
    dataset = xr.Dataset(
        coords={"gene_id": ("gene", planted.around.graph.gene_id), "bin": np.arange(10)},
        attrs={"bin_size": 100},
    )
    made = make_neighborhood_features(planted.around.latents, planted.around.graph, dataset)
    assert made.width == 1_000
    with pytest.raises(InputFormatError, match="900 genes are not of the dataset's 2"):
        make_neighborhood_features(
            planted.around.latents, planted.around.graph, dataset.isel(gene=[1, 0])
        )
    with pytest.raises(InputFormatError, match="these are"):
        make_neighborhood_features(planted.around.latents[0], planted.around.graph, dataset)


def test_hundreds_of_neighbors_need_memory_of_edges_only() -> None:
    n = 2_000
    graph = make_graph(
        [f"g{k}" for k in range(n)],
        np.zeros(n - 1, int),
        neighbor=np.arange(1, n),
        kind=np.zeros(n - 1, int),
        distance=np.arange(1, n) * 1000.0,
        orientation=np.ones(n - 1),
        weight=np.ones(n - 1),
        rank=np.arange(n - 1),
        kinds=("genomic",),
    )
    latents = make_latents(graph)
    label = pd.Series(latents.values[0, :, 0] > 0).astype(np.int8).to_numpy()[np.newaxis]
    label[:, 200:] = -1
    model = NeighborhoodPredictor(epochs=1).fit(NeighborhoodFeatures(latents, graph, 1e4), label)
    assert np.isfinite(model.decision_function(NeighborhoodFeatures(latents, graph, 1e4))).all()


def test_some_genes_among_all_neighbors(planted: Planted, fitted: NeighborhoodPredictor) -> None:
    some = planted.around.isel(gene=np.array([5, 2]))
    assert some.own["gene_id"].values.tolist() == ["g0005", "g0002"]
    assert some.isel(gene=[1]).positions.tolist() == [2]
    whole = fitted.decision_function(planted.around).values[:, [5, 2]]
    np.testing.assert_allclose(fitted.decision_function(some).values, whole, atol=1e-6)
    np.testing.assert_array_equal(
        neighbor_means(some).values, neighbor_means(planted.around).values[:, [5, 2]]
    )
    pair, validation = (
        (planted.around.isel(gene=known), label.isel(gene=known))
        for label in (planted.train, planted.validation)
        for known in [np.flatnonzero(label.values[0] >= 0)]
    )
    again = NeighborhoodPredictor(epochs=3).fit(*pair, validation=validation)
    masked = NeighborhoodPredictor(epochs=3).fit(
        planted.around, planted.train, validation=(planted.around, planted.validation)
    )
    np.testing.assert_allclose(
        again.decision_function(planted.around), masked.decision_function(planted.around), atol=1e-5
    )
