"""True neighbors on the chromosome, by hand and against brute force."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import simplechrome
from simplechrome.dataset.neighbors.genomic import (
    expected_contact,
    genomic_neighbors,
    power_law_neighbors,
    require_places,
)
from simplechrome.dataset.neighbors.graph import NeighborGraph
from simplechrome.errors import ConfigError, MissingCoordinatesError
from simplechrome.sources.genome.genes import read_genes

MakePlaced = Callable[..., xr.Dataset]


def padded(graph: NeighborGraph, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions (its own where a gene has no further neighbor), distances and mask, (gene, n)."""
    genes = graph.gene_id.size
    position = np.repeat(np.arange(genes)[:, np.newaxis], n, axis=1)
    distance, mask = np.zeros((genes, n)), np.zeros((genes, n), bool)
    slot = np.arange(graph.n_edges) - graph.offsets[graph.gene]
    at = graph.gene[slot < n], slot[slot < n]
    position[at], distance[at], mask[at] = graph.neighbor[slot < n], graph.distance[slot < n], True
    return position, distance, mask


def test_three_genes_on_both_strands_by_hand(place: MakePlaced) -> None:
    # a at 100 >>, b at 400 <<, c at 1000 >>, in another order in the dataset; d is elsewhere.
    dataset = place(
        ("c", "chr1", 1000, "+"),
        ("a", "chr1", 100, "+"),
        ("d", "chr2", 150, "+"),
        ("b", "chr1", 400, "-"),
    )
    position, distance, mask = padded(genomic_neighbors(dataset, 2), 2)
    ids = dataset["gene_id"].values[position]
    assert ids.tolist() == [["b", "a"], ["b", "c"], ["d", "d"], ["a", "c"]]
    # b reads to the left: a at 300 bp less is downstream of it, c upstream.
    assert distance.tolist() == [[-600, -900], [300, 900], [0, 0], [300, -600]]
    assert mask.tolist() == [[True, True], [True, True], [False, False], [True, True]]


def test_beyond_the_last_gene_of_a_chromosome_is_masked(place: MakePlaced) -> None:
    dataset = place(("a", "chr1", 100, "+"), ("b", "chr1", 300, "."))
    position, distance, mask = padded(genomic_neighbors(dataset, 3), 3)
    assert mask.tolist() == [[True, False, False]] * 2
    assert position.tolist() == [[1, 0, 0], [0, 1, 1]]  # its own where masked
    assert distance.tolist() == [[200, 0, 0], [-200, 0, 0]]


def test_at_the_end_of_a_chromosome_all_neighbors_are_on_one_side(place: MakePlaced) -> None:
    dataset = place(*((f"g{tss}", "chr1", tss, "+") for tss in (0, 10, 20, 30, 40)))
    _, distance, _ = padded(genomic_neighbors(dataset, 3), 3)
    assert distance[0].tolist() == [10, 20, 30]
    assert distance[4].tolist() == [-10, -20, -30]
    # In the middle, of two at 10 bp the one with the smaller coordinate comes first.
    assert distance[2].tolist() == [-10, 10, -20]


@pytest.mark.parametrize(("strand", "distance"), [("+", -10), (".", -10), ("-", 10)])
def test_a_tie_is_won_by_the_smaller_coordinate(
    place: MakePlaced, strand: str, distance: int
) -> None:
    genes = [("right", "chr1", 20, "+"), ("own", "chr1", 10, strand), ("left", "chr1", 0, "+")]
    assert padded(genomic_neighbors(place(*genes), 2), 2)[1][1].tolist() == [distance, -distance]


def test_genes_that_start_together_are_neighbors_at_distance_0(place: MakePlaced) -> None:
    dataset = place(("a", "chr1", 5, "+"), ("b", "chr1", 5, "-"), ("c", "chr1", 6, "+"))
    position, distance, mask = padded(genomic_neighbors(dataset, 2), 2)
    assert position[:2].tolist() == [[1, 2], [0, 2]]
    assert sorted(position[2].tolist()) == [0, 1]
    assert distance.tolist() == [[0, 1], [0, -1], [-1, -1]]
    assert mask.all()


def test_genes_without_a_place_have_no_neighbors_and_are_none(place: MakePlaced) -> None:
    dataset = place(
        ("a", "chr1", 5, "+"),
        ("lost", "", -1, "."),
        ("lost too", "", -1, "."),
        ("half lost", "chr1", -1, "+"),
        ("b", "chr1", 9, "+"),
    )
    position, _, mask = padded(genomic_neighbors(dataset, 2), 2)
    assert mask.tolist() == [[True, False], *[[False] * 2] * 3, [True, False]]
    assert position.tolist() == [[4, 0], [1, 1], [2, 2], [3, 3], [0, 4]]


GENE = st.tuples(st.sampled_from(["chr1", "chr2", ""]), st.integers(-1, 12), st.sampled_from("+-."))


@given(st.lists(GENE, min_size=1, max_size=12), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_neighbors_equal_those_of_brute_force(
    place: MakePlaced, genes: list[tuple[str, int, str]], n: int
) -> None:
    dataset = place(*((f"g{k}", *gene) for k, gene in enumerate(genes)))
    position, distance, mask = padded(genomic_neighbors(dataset, n), n)
    for own, (chrom, tss, strand) in enumerate(genes):
        near = sorted(
            (abs(other[1] - tss), other[1])
            for k, other in enumerate(genes)
            if k != own and chrom and tss >= 0 and other[0] == chrom and other[1] >= 0
        )[:n]
        sign = -1 if strand == "-" else 1
        expected = [(place - tss) * sign for _, place in near]
        there = mask[own]
        assert there.tolist() == [True] * len(near) + [False] * (n - len(near))
        assert distance[own].tolist() == expected + [0] * (n - len(near))
        chosen = position[own, there].tolist()
        assert [genes[k][1] for k in chosen] == [place for _, place in near]
        assert len({own, *chosen}) == len(near) + 1
        assert (position[own, ~there] == own).all()


@pytest.mark.real_data
def test_every_neighbor_of_real_genes_lies_on_the_same_chromosome(shared_data: Path) -> None:
    genes = read_genes(shared_data / "genes_hg19.tsv.gz")
    dataset = simplechrome.from_arrays(
        np.zeros((1, len(genes), 1, 1), np.uint16),
        marks=["m"],
        gene_ids=genes["gene_id"],
        cell_types=["A"],
        genes=genes,
    )
    position, distance, mask = padded(genomic_neighbors(dataset, 20), 20)
    chrom, tss = dataset["chrom"].values, dataset["tss"].values
    assert (chrom[:, None] == chrom[position])[mask].all()
    apart = np.abs(tss[:, None] - tss[position])
    assert (apart == np.abs(distance))[mask].all()


def test_without_places_the_error_names_the_option() -> None:
    dataset = simplechrome.from_arrays(
        np.zeros((1, 1, 1, 1)), marks=["m"], gene_ids=["a"], cell_types=["A"]
    )
    for ask in (require_places, lambda d: genomic_neighbors(d, 3)):
        with pytest.raises(MissingCoordinatesError, match=r"--genes FILE, or from_arrays"):
            ask(dataset)


def test_a_negative_number_of_neighbors_is_refused(place: MakePlaced) -> None:
    with pytest.raises(ConfigError, match="number of neighbors is -1"):
        genomic_neighbors(place(("a", "chr1", 1, "+")), -1)
    with pytest.raises(ConfigError, match="Neither a number nor a distance"):
        genomic_neighbors(place(("a", "chr1", 1, "+")))


def test_genes_face_the_same_or_opposite_ways(place: MakePlaced) -> None:
    genes = [("a", "chr1", 0, "+"), ("b", "chr1", 10, "-"), ("c", "chr1", 20, ".")]
    table = genomic_neighbors(place(*genes), 2).to_frame()
    facing = dict(zip(table["gene_id"] + table["neighbor_id"], table["orientation"], strict=True))
    assert facing == {"ab": -1, "ac": 1, "ba": -1, "bc": -1, "ca": 1, "cb": -1}


def test_all_within_a_distance(place: MakePlaced) -> None:
    # a at 0, b at 10, c at 25, d at 26: within 15 bp of b lie a (10) and c (15), not d (16).
    genes = [(name, "chr1", tss, "+") for name, tss in zip("abcd", (0, 10, 25, 26), strict=True)]
    graph = genomic_neighbors(place(*genes), within=15)
    assert graph.degree.tolist() == [1, 2, 2, 1]
    edges = graph.to_frame().groupby("gene_id")["neighbor_id"].agg("".join)
    assert edges.to_dict() == {"a": "b", "b": "ac", "c": "db", "d": "c"}
    assert genomic_neighbors(place(*genes), 1, within=15).degree.tolist() == [1, 1, 1, 1]
    assert genomic_neighbors(place(*genes), within=0).n_edges == 0


def test_expected_contact_falls_with_distance(place: MakePlaced) -> None:
    assert expected_contact(np.array([0, 5_000, -10_000, 50_000])).tolist() == [1, 1, 0.5, 0.1]
    dataset = place(("a", "chr1", 0, "+"), ("b", "chr1", 20_000, "+"))
    graph = power_law_neighbors(dataset, 1)
    assert graph.kinds == ("contact",)
    assert graph.weight.tolist() == [0.25, 0.25]
