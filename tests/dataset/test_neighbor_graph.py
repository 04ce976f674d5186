"""What can be asked of a graph, by hand: four genes, two kinds of edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simplechrome.dataset.neighbors.graph import (
    NeighborGraph,
    make_graph,
    neighbors_elsewhere,
    rank_by,
    shuffled_neighbors,
    union,
)
from simplechrome.dataset.neighbors.stored import load_graph, save_graph, stored_graphs
from simplechrome.errors import (
    ConfigError,
    DatasetFormatError,
    InputFormatError,
    MissingCoordinatesError,
    MissingInputError,
    OutputExistsError,
)

IDS = np.array(["a", "b", "c", "d"], dtype=object)


def make(*edges: tuple[str, str, float], kind: str = "near") -> NeighborGraph:
    """Edges (gene, neighbor, distance), in order of rank."""
    places = {name: k for k, name in enumerate(IDS)}
    gene = np.array([places[edge[0]] for edge in edges], int)
    return make_graph(
        IDS,
        gene,
        neighbor=np.array([places[edge[1]] for edge in edges], int),
        kind=np.zeros(len(edges), int),
        distance=np.array([edge[2] for edge in edges], float),
        orientation=np.array([0 if np.isnan(edge[2]) else 1 for edge in edges]),
        weight=np.ones(len(edges)),
        rank=rank_by(gene, np.arange(len(edges))),
        kinds=(kind,),
    )


@pytest.fixture
def graph() -> NeighborGraph:
    return make(("a", "b", 10), ("a", "c", -300), ("c", "a", 300), ("b", "d", np.nan))


def edges(graph: NeighborGraph) -> list[str]:
    return (graph.to_frame()["gene_id"] + graph.to_frame()["neighbor_id"]).tolist()


def test_edges_of_a_gene_stand_together_by_rank(graph: NeighborGraph) -> None:
    assert edges(graph) == ["ab", "ac", "bd", "ca"]
    assert graph.offsets.tolist() == [0, 2, 3, 4, 4]
    assert graph.degree.tolist() == [2, 1, 1, 0]
    assert graph.rank.tolist() == [0, 1, 0, 0]


def test_choosing_edges(graph: NeighborGraph) -> None:
    assert edges(graph.first(1)) == ["ab", "bd", "ca"]
    assert edges(graph.apart(300)) == ["ac", "bd", "ca"]  # unknown distances are apart
    assert edges(graph.between(10, 300)) == ["ab"]
    # The first of those that are left: c is a's nearest beyond 100 bp.
    assert edges(graph.between(100, 400).first(1)) == ["ac", "ca"]
    assert edges(graph.keep(np.zeros(4, bool))) == []
    with pytest.raises(ConfigError, match="number of neighbors"):
        graph.first(-1)


def test_other_genes_in_another_order(graph: NeighborGraph) -> None:
    other = graph.on(["c", "new", "b", "a"])
    assert other.gene_id.tolist() == ["c", "new", "b", "a"]
    assert edges(other) == ["ca", "ab", "ac"]
    assert other.degree.tolist() == [1, 0, 0, 2]
    assert graph.on(IDS) is graph


def test_union_keeps_kinds_apart(graph: NeighborGraph) -> None:
    both = union(graph, make(("a", "b", 10), ("d", "a", 5), kind="like"))
    assert both.kinds == ("near", "like")
    assert edges(both) == ["ab", "ac", "ab", "bd", "ca", "da"]
    assert both.kind.tolist() == [0, 0, 1, 0, 0, 1]
    assert edges(both.of_kind("like")) == ["ab", "da"]
    assert edges(both.first(1)) == ["ab", "ab", "bd", "ca", "da"]
    with pytest.raises(ConfigError, match="did you mean like") as caught:
        both.of_kind("lik")
    assert "no neighbors of the kind 'lik'" in str(caught.value)
    with pytest.raises(ConfigError, match="same kind"):
        union(graph, graph)
    with pytest.raises(ConfigError, match="one graph or more"):
        union()


def test_edges_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputFormatError, match="its own neighbor"):
        make(("a", "a", 0))
    nothing = np.zeros(1)
    parts = dict.fromkeys(("kind", "distance", "orientation", "weight", "rank"), nothing)
    with pytest.raises(InputFormatError, match="neighbor that is not there"):
        make_graph(IDS, np.array([0]), neighbor=np.array([4]), kinds=("near",), **parts)


def test_shuffled_neighbors_keep_all_but_the_names() -> None:
    random = np.random.default_rng(0)
    genes = 200
    gene = np.repeat(np.arange(genes), 5)
    neighbor = (gene + random.integers(1, genes, gene.size)) % genes
    graph = make_graph(
        [f"g{k}" for k in range(genes)],
        gene,
        neighbor=neighbor,
        kind=np.zeros(gene.size, int),
        distance=random.normal(size=gene.size),
        orientation=np.ones(gene.size),
        weight=random.random(gene.size),
        rank=np.tile(np.arange(5), genes),
        kinds=("near",),
    )
    shuffled = shuffled_neighbors(graph, seed=1)
    for name in ("offsets", "kind", "distance", "orientation", "weight", "rank"):
        assert getattr(shuffled, name) is getattr(graph, name)
    assert (shuffled.neighbor != shuffled.gene).all()
    assert (shuffled.neighbor == graph.neighbor).mean() < 0.05
    assert shuffled_neighbors(graph, seed=1).neighbor.tolist() == shuffled.neighbor.tolist()
    assert shuffled_neighbors(graph, seed=2).neighbor.tolist() != shuffled.neighbor.tolist()

    chrom = np.where(np.arange(genes) < 100, "chr1", "chr2")
    chrom[7] = ""
    elsewhere = neighbors_elsewhere(graph, chrom, seed=1)
    # Every gene has the whole neighborhood of one gene of the other chromosome.
    whole = {
        tuple(graph.neighbor[graph.offsets[k] : graph.offsets[k + 1]]): k for k in range(genes)
    }
    for k in range(genes):
        own = tuple(elsewhere.neighbor[elsewhere.offsets[k] : elsewhere.offsets[k + 1]])
        if own in whole and k != 7:
            assert chrom[whole[own]] not in (chrom[k], "")
    assert np.mean([d == 5 for d in elsewhere.degree]) > 0.9  # less where a gene was in its own set
    with pytest.raises(MissingCoordinatesError, match="two chromosomes or more"):
        neighbors_elsewhere(graph, np.full(genes, "chr1"))


def test_a_graph_is_kept_beside_the_dataset(graph: NeighborGraph, tmp_path: Path) -> None:
    both = union(graph, make(("d", "a", 5), kind="like"))
    save_graph(both, tmp_path, "mixed", about={"n": 3})
    found, about = load_graph(tmp_path, "mixed")
    assert about == {"n": 3}
    assert stored_graphs(tmp_path) == ["mixed"]
    for name in ("gene_id", "offsets", "neighbor", "kind", "distance", "weight", "rank"):
        np.testing.assert_array_equal(getattr(found, name), getattr(both, name))
    assert found.kinds == both.kinds
    with pytest.raises(OutputExistsError):
        save_graph(graph, tmp_path, "mixed", about={})
    with pytest.raises(MissingInputError, match="did you mean mixed"):
        load_graph(tmp_path, "mixd")
    with pytest.raises(ConfigError, match="cannot be named"):
        load_graph(tmp_path, "../mixed")
    (tmp_path / "neighbors" / "mixed.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DatasetFormatError, match=r"mixed\.parquet cannot be read"):
        load_graph(tmp_path, "mixed")


def test_an_empty_graph_can_be_kept(tmp_path: Path) -> None:
    save_graph(make(), tmp_path, "none", about={})
    assert load_graph(tmp_path, "none")[0].on(IDS).degree.tolist() == [0, 0, 0, 0]
