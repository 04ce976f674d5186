"""The parts of the simulation: places of genes, factors, counts, weights, neighbors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simplechrome.simulation.genome import (
    BETWEEN_CHROMOSOMES,
    CHROMOSOME_SHARES,
    FACTORS,
    LEAD,
    Genome,
    draw_factors,
    place_genes,
)
from simplechrome.simulation.model import MARKS, count_reads, neighbor_level, planted_weights

H3K4ME3, H3K9ME3 = 3, 4


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def test_planted_stretch_weighs_the_same_in_bins_of_any_size() -> None:
    for bin_size in (25, 100, 400, 20_000):
        offset = np.arange(-20_000, 20_000, bin_size) + bin_size / 2
        total = planted_weights(offset, bin_size, MARKS).sum(axis=0)
        assert total[H3K4ME3] == pytest.approx(1.95)
        assert total[H3K9ME3] == pytest.approx(-0.45)


def test_neighbors_of_three_genes_placed_by_hand() -> None:
    # Two genes 5 kb apart and a third 15 kb further on; the same place on another chromosome.
    tss = np.array([1000, 6000, 21_000, 6000])
    place = tss + np.array([0, 0, 0, 1]) * BETWEEN_CHROMOSOMES
    genome = Genome(np.array(["chr1"] * 3 + ["chr2"]), tss, np.ones(4, int), place)
    mean, number = neighbor_level(genome, np.array([1.0, 2.0, 4.0, 8.0]), (5_000, 20_000))
    # 0 and 1: exactly 5 kb, inside. 1 and 2: 15 kb, inside. 0 and 2: exactly 20 kb, outside.
    assert number.tolist() == [1, 2, 1, 0]
    assert mean.tolist() == [2.0, 2.5, 2.0, 0.0]


@settings(max_examples=30, deadline=None)
@given(n_genes=st.integers(2, 400), bin_size=st.integers(1, 500), seed=st.integers(0, 99))
def test_genes_lie_in_order_on_the_grid_of_bins(n_genes: int, bin_size: int, seed: int) -> None:
    genome = place_genes(n_genes, bin_size, seed)
    assert genome.tss.size == n_genes
    assert (np.diff(genome.place) > 0).all()
    assert set(genome.chrom) <= set(CHROMOSOME_SHARES)
    remainder = np.where(genome.direction > 0, 0, bin_size - 1)
    assert (genome.tss % bin_size == remainder).all()
    assert genome.tss.min() >= LEAD


def test_genes_crowd_as_real_ones_do() -> None:
    genome = place_genes(20_000, 100, seed=0)
    gap = np.diff(genome.place)
    nearest = np.minimum(np.append(gap, 10**9), np.insert(gap, 0, 10**9))
    assert (nearest < 10_000).mean() == pytest.approx(0.28, abs=0.03)
    assert np.median(gap) == pytest.approx(57_000, rel=0.1)
    assert (genome.chrom == "chr1").mean() == pytest.approx(0.103, abs=0.003)


def test_factors_are_standard_normal_and_shared_as_stated() -> None:
    genome = place_genes(20_000, 100, seed=0)
    one, two = draw_factors(genome, 0, seed=0), draw_factors(genome, 1, seed=0)
    names = [factor.name for factor in FACTORS]
    for k, name in enumerate(names):
        if name not in ("heterochromatin", "background"):  # few independent regions
            assert one[:, k].mean() == pytest.approx(0, abs=0.15)
            assert one[:, k].std() == pytest.approx(1, abs=0.05)
        assert correlation(one[:, k], two[:, k]) == pytest.approx(
            FACTORS[k].constant_share, abs=0.12
        )
    activity = one[:, names.index("activity")]
    assert correlation(activity[1:], activity[:-1]) > 0.15


def test_counts_vary_more_than_poisson_counts() -> None:
    expected = np.full(40_000, 5.0, dtype=np.float32)
    reads = count_reads(expected, "H3K4me3", 100, np.random.default_rng(0))[1:].astype(float)
    assert reads.mean() == pytest.approx(5, rel=0.02)
    assert reads.var() / reads.mean() == pytest.approx(1.376, rel=0.03)
    # 9 % of the reads lie across the bin's end and count in the next one too. Covariance / mean:
    # .09 + .45 × .09 × .91 = .127; variance / mean: 1 + .45 × (.91² + .09²) = 1.376; ratio .092.
    assert correlation(reads[1:], reads[:-1]) == pytest.approx(0.092, abs=0.02)
