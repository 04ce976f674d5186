"""Neighbors in function: co-expression, lists of pairs, gene sets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from simplechrome.dataset.neighbors.functional import (
    coexpression_neighbors,
    find_genes,
    listed_neighbors,
    set_neighbors,
)
from simplechrome.dataset.neighbors.graph import NeighborGraph
from simplechrome.errors import ConfigError, InputFormatError, MissingExpressionError

MakePlaced = Callable[..., xr.Dataset]
CELLS = [f"C{k}" for k in range(6)]


@pytest.fixture
def dataset(place: MakePlaced) -> xr.Dataset:
    return place(
        ("a", "chr1", 100, "+"), ("b", "chr1", 400, "-"), ("c", "chr2", 50, "+"), ("d", "", -1, ".")
    )


def edges(graph: NeighborGraph) -> dict[str, float]:
    table = graph.to_frame()
    return dict(zip(table["gene_id"] + table["neighbor_id"], table["weight"], strict=True))


def expression(**levels: list[float]) -> pd.DataFrame:
    """log2(expression + 1) of genes in CELLS."""
    return pd.DataFrame({g: np.exp2(v) - 1 for g, v in levels.items()}, index=CELLS).T


def test_genes_that_rise_and_fall_together(dataset: xr.Dataset) -> None:
    table = expression(
        a=[0, 1, 2, 3, 4, 9],
        b=[0, 2, 4, 6, 8, 0],  # with a but for C5: r = 1
        c=[4, 3, 2, 1, 0, 9],  # against a but for C5
        d=[5, 5, 5, 5, 5, 0],  # constant but for C5
    )
    graph = coexpression_neighbors(dataset, table, 2, leave_out=["C5"])
    assert edges(graph) == {"ab": pytest.approx(1), "ba": pytest.approx(1)}
    assert graph.distance.tolist() == [300, 300]  # b is on the minus strand, a lies downstream
    assert graph.kinds == ("coexpression",)


def test_what_is_predicted_decides_nothing(dataset: xr.Dataset) -> None:
    levels = {g: np.random.default_rng(k).random(6).tolist() for k, g in enumerate("abcd")}
    one = coexpression_neighbors(dataset, expression(**levels), 2, leave_out=["C5"])
    for each in levels.values():
        each[5] = 7.0
    other = coexpression_neighbors(dataset, expression(**levels), 2, leave_out=["C5"])
    assert edges(one) == edges(other)
    with pytest.raises(ConfigError, match="leave_out is empty"):
        coexpression_neighbors(dataset, expression(**levels), leave_out=[])
    with pytest.raises(MissingExpressionError, match="found 4 cell types"):
        coexpression_neighbors(dataset, expression(**levels), leave_out=["C5", "C4"])


def test_gaps_and_unknown_genes_are_no_neighbors(dataset: xr.Dataset) -> None:
    table = expression(a=[0, 1, 2, 3, 4, 5], b=[0, 1, 2, 3, 4, 5], c=[0, 1, 2, 3, 4, 5])
    table.loc["b", "C1"] = np.nan
    graph = coexpression_neighbors(dataset, table, 3, leave_out=["new"])
    assert graph.degree.tolist() == [2, 2, 2, 0]
    assert graph.to_frame().query("gene_id == 'a'")["neighbor_id"].tolist() == ["c", "b"]


def test_listed_pairs_hold_both_ways(dataset: xr.Dataset) -> None:
    dataset["gene_name"] = ("gene", np.array(["A", "B", "X", "X"], dtype=object))
    pairs = pd.DataFrame(
        [("a", "B", 2.0), ("b", "a.3", 5.0), ("a", "a", 9.0), ("c", "X", 1.0), ("c", "A", 3.0)],
        columns=["one", "other", "weight"],
    )
    # a–b twice, the larger weight counts; X is the name of two genes; a–a is no pair.
    assert edges(listed_neighbors(dataset, pairs)) == {"ab": 5, "ac": 3, "ba": 5, "ca": 3}
    assert edges(listed_neighbors(dataset, pairs, 1)) == {"ab": 5, "ba": 5, "ca": 3}
    with pytest.raises(InputFormatError, match="No pair of the list"):
        listed_neighbors(dataset, pairs.assign(one="9606.ENSP1"))


def test_sets_shared_by_few_count_most(dataset: xr.Dataset) -> None:
    sets = {"small": ["a", "b"], "large": ["a", "b", "c", "nobody"], "alone": ["d"]}
    # a–b: 1 / (2 - 1) + 1 / (3 - 1); with c only the large set.
    expected = {"ab": 1.5, "ac": 0.5, "ba": 1.5, "bc": 0.5, "ca": 0.5, "cb": 0.5}
    assert edges(set_neighbors(dataset, sets)) == expected
    assert edges(set_neighbors(dataset, sets, largest=2)) == {"ab": 1, "ba": 1}
    with pytest.raises(InputFormatError, match="No gene set"):
        set_neighbors(dataset, sets, largest=1)


def test_genes_are_found_by_id_and_by_unique_name(dataset: xr.Dataset) -> None:
    dataset["gene_name"] = ("gene", np.array(["A", "B", "X", "X"], dtype=object))
    assert find_genes(dataset, ["a", "B", "X", "c.12", "", "no"]).tolist() == [0, 1, -1, 2, -1, -1]
