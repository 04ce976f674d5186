"""Genes whose fragments touch, by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from simplechrome.dataset.neighbors.contact import contact_neighbors, expected_scores
from simplechrome.errors import GenomeMismatchError, InputFormatError
from simplechrome.sources.relations import COLUMNS

MakePlaced = Callable[..., xr.Dataset]


@pytest.fixture
def dataset(place: MakePlaced) -> xr.Dataset:
    return place(
        ("a", "chr1", 10_000, "+"),
        ("b", "chr1", 110_000, "-"),
        ("c", "chr1", 112_500, "+"),
        ("d", "chr2", 10_000, "+"),
    )


def contacts(*rows: tuple[object, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS)


def test_genes_of_touching_fragments_are_neighbors(dataset: xr.Dataset) -> None:
    table = contacts(
        ("chr1", 9_000, 11_000, "chr1", 109_000, 111_000, 1.0),  # a with b
        ("chr1", 110_500, 113_500, "chr1", 9_500, 10_001, 1.0),  # b and c, within reach, with a
        ("chr1", 0, 5_000, "chr1", 110_000, 111_000, 1.0),  # no gene within 1 kb of the first
        ("chr1", 9_000, 11_000, "chr2", 9_000, 11_000, 1.0),  # between chromosomes
    )
    graph = contact_neighbors(dataset, table)
    assert (graph.to_frame()["gene_id"] + graph.to_frame()["neighbor_id"]).tolist() == [
        *("ab", "ac", "ba", "ca")
    ]
    # All scores are 1: over the power law, which is 1 at 5 kb. a–b by the second contact, whose
    # middles are 102,249.5 bp apart: 20.4499; by the first it were 100,000 / 5,000 = 20.
    assert graph.weight.tolist() == pytest.approx([20.4499] * 4)
    distance = graph.to_frame().set_index(["gene_id", "neighbor_id"])["distance"]
    assert distance["b", "a"] == 100_000  # downstream on the minus strand
    assert contact_neighbors(dataset, table, 1).degree.tolist() == [1, 1, 1, 0]


def test_names_of_chromosomes_are_translated(dataset: xr.Dataset) -> None:
    table = contacts(("1", 9_000, 11_000, "1", 109_000, 111_000, 3.0))
    assert contact_neighbors(dataset, table).n_edges == 2
    with pytest.raises(GenomeMismatchError):
        contact_neighbors(dataset, table, chrom_style="exact")


def test_contacts_without_genes_are_refused(dataset: xr.Dataset) -> None:
    table = contacts(("chr1", 0, 100, "chr1", 200, 300, 1.0))
    with pytest.raises(InputFormatError, match="joins two genes"):
        contact_neighbors(dataset, table, name="loops.bedpe")


def test_expected_scores_follow_the_power_law_of_the_data() -> None:
    distance = np.geomspace(10_000, 1_000_000, 40)
    score = 7 * (distance / 10_000) ** -0.75
    assert expected_scores(distance, score) == pytest.approx(score)
    # Twice as much as expected at one place hardly moves the line.
    more = score.copy()
    more[20] *= 2
    assert more[20] / expected_scores(distance, more)[20] == pytest.approx(2, rel=0.03)
