"""Factors that the simulation plants are told by latents, in every cell type that shows them."""

from __future__ import annotations

import numpy as np
import pytest

from simplechrome import ConsensusEncoder, from_arrays, simulate
from simplechrome.dataset.splits import split_by_chromosome

MISSING = {"SIM002": ["H3K4me1"], "SIM003": ["H3K4me3", "H3K9me3"]}


@pytest.fixture(scope="module")
def told() -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """(cell_type, factor) correlation on test genes of what a line from the latents tells.

    The second array: the same of factors that were shuffled between genes.
    """
    made = simulate(2000, 3, n_bins=20, bin_size=500, seed=4, missing_marks=MISSING)
    data = from_arrays(
        made.signal,
        marks=made.marks,
        mark_present=made.mark_present,
        gene_ids=made.genes["gene_id"],
        cell_types=made.cell_types,
        bin_size=500,
        genes=made.genes,
    )
    split = split_by_chromosome(data)
    ids = data["gene_id"].values
    train, test = (np.isin(ids, part["gene_id"].values) for part in (split.train, split.test))
    latents = ConsensusEncoder(24).fit(split.train).transform(data).values
    order = np.random.default_rng(0).permutation(len(ids))
    found = np.zeros((2, 3, len(made.truth.factor_names)))
    for which, rows in enumerate((np.arange(len(ids)), order)):
        for cell, factors in enumerate(made.truth.factors):
            x = np.column_stack([latents[cell], np.ones(len(ids))])
            y = factors[rows]
            said = x[test] @ np.linalg.lstsq(x[train], y[train], rcond=None)[0]
            for factor in range(y.shape[1]):
                found[which, cell, factor] = np.corrcoef(said[:, factor], y[test, factor])[0, 1]
    return found[0], found[1], made.truth.factor_names


@pytest.mark.parametrize(
    ("factor", "least"), [("activity", 0.65), ("polycomb", 0.45), ("elongation", 0.45)]
)
def test_planted_factors_are_recovered_in_all_cell_types(
    told: tuple[np.ndarray, np.ndarray, tuple[str, ...]], factor: str, least: float
) -> None:
    found, _, names = told
    assert (found[:, names.index(factor)] > least).all()


def test_enhancers_are_told_where_their_mark_is_there(
    told: tuple[np.ndarray, np.ndarray, tuple[str, ...]],
) -> None:
    found, _, names = told
    first, without, third = found[:, names.index("enhancer")]
    assert min(first, third) > 0.5
    assert without < 0.2  # the second cell type lacks H3K4me1


def test_shuffled_factors_are_not_found(
    told: tuple[np.ndarray, np.ndarray, tuple[str, ...]],
) -> None:
    _, shuffled, _ = told
    assert np.abs(shuffled).max() < 0.2
    assert np.abs(shuffled).mean() < 0.08
