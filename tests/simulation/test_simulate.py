"""Simulated data: planted effects are where the truth says, and nowhere else."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.csv as pa_csv
import pytest

from simplechrome.errors import ConfigError
from simplechrome.simulation.model import MARKS
from simplechrome.simulation.simulate import Simulation, simulate

H3K27ME3, H3K36ME3, H3K4ME1, H3K4ME3, H3K9ME3 = range(5)


@pytest.fixture(scope="module")
def made() -> Simulation:
    return simulate(3000, seed=1, neighbor_effect=0.0)


def log_rpkm(simulation: Simulation, cell_type: int = 0) -> np.ndarray:
    return np.log2(simulation.expression[cell_type] + 1)


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def equal(one: Simulation, two: Simulation) -> bool:
    return np.array_equal(one.signal, two.signal) and np.array_equal(one.expression, two.expression)


# Names, shapes, types


def test_dimensions_and_types_are_those_of_the_dataset(made: Simulation) -> None:
    assert made.signal.shape == (1, 3000, 100, 5)
    assert made.signal.dtype == np.uint16
    assert made.mark_present.shape == made.depth.shape == (1, 5)
    assert made.expression.shape == (1, 3000)
    assert made.expression.dtype == np.float32
    assert made.truth.factors.shape == (1, 3000, len(made.truth.factor_names))
    assert made.truth.weights.shape == (100, 5)
    assert list(made.genes.columns) == [
        "gene_id", "gene_name", "chrom", "tss", "strand", "published_split",
    ]  # fmt: skip


def test_genes_come_in_order_of_their_ids_and_splits_are_thirds_of_it(made: Simulation) -> None:
    assert made.genes["gene_id"].is_monotonic_increasing
    assert made.genes["gene_id"].is_unique
    chrom = made.genes["chrom"].to_numpy()
    assert (chrom[1:] == chrom[:-1]).mean() < 0.1  # not the order of the genome
    assert made.genes["published_split"].tolist() == (
        ["train"] * 1000 + ["valid"] * 1000 + ["test"] * 1000
    )


def test_published_split_is_out_of_balance_as_the_real_one(made: Simulation) -> None:
    high = made.expression[0] > np.median(made.expression[0])
    share = pd.Series(high).groupby(made.genes["published_split"].to_numpy()).mean()
    assert share["train"] > 0.55
    assert share["test"] < 0.45


def test_expression_is_bimodal_and_often_zero() -> None:
    expression = log_rpkm(simulate(3000, seed=5))
    assert (expression == 0).mean() > 0.03  # real: .09
    low, dip, high = (
        ((expression >= a) & (expression < b)).mean() for a, b in ((0, 0.8), (0.8, 1.6), (3, 3.8))
    )
    assert dip < low
    assert dip < high


# Seeds


def test_same_seed_gives_the_same_data() -> None:
    one, other = simulate(200, seed=4), simulate(200, seed=5)
    assert equal(one, simulate(200, seed=4))
    assert not np.array_equal(one.signal, other.signal)
    assert not one.genes.equals(other.genes)


def test_more_cell_types_leave_the_first_ones_alone() -> None:
    two, three = simulate(200, 2), simulate(200, 3)
    assert np.array_equal(two.signal, three.signal[:2])
    assert np.array_equal(two.expression, three.expression[:2])


def test_effects_on_expression_leave_the_windows_alone() -> None:
    plain = simulate(200)
    for other in (simulate(200, neighbor_effect=0.1), simulate(200, signal_effect=0.0)):
        assert np.array_equal(plain.signal, other.signal)
        assert plain.genes.equals(other.genes)
        assert not np.array_equal(plain.expression, other.expression)


def test_fewer_marks_are_columns_of_all_marks() -> None:
    every, two = simulate(200), simulate(200, marks=("H3K4me3", "H3K27me3"))
    assert two.marks == ("H3K4me3", "H3K27me3")
    assert np.array_equal(two.signal, every.signal[..., [H3K4ME3, H3K27ME3]])
    # What is not assayed still acts.
    assert np.array_equal(two.expression, every.expression)


# Planted effects


def test_weights_lie_on_the_planted_bins() -> None:
    weights = simulate(30).truth.weights
    # Offsets 0 to 700 bp are bins 50 to 56; -1,500 is bin 35, 3,000 begins bin 80.
    assert (weights[35:80, H3K4ME3] > 0).all()
    assert (weights[:35, H3K4ME3] == 0).all()
    assert (weights[80:, H3K4ME3] == 0).all()
    # .25 + .75 + .50 + .45, each spread over its stretch
    assert weights[:, H3K4ME3].sum() == pytest.approx(1.95)
    assert (weights[57:100, H3K36ME3] > 0).all()
    assert (weights[:57, H3K36ME3] == 0).all()
    assert weights[:, H3K27ME3].min() < 0
    assert weights[:, H3K27ME3].max() == 0


def test_marks_have_the_sign_that_biology_gives_them(made: Simulation) -> None:
    level = np.log1p(made.signal[0].mean(axis=1))
    expression = log_rpkm(made)
    r = [correlation(expression, level[:, m]) for m in range(5)]
    assert r[H3K27ME3] < -0.1
    assert r[H3K36ME3] > 0.4
    assert r[H3K4ME1] > 0.2
    assert r[H3K4ME3] > 0.6


def test_profiles_have_the_known_shapes(made: Simulation) -> None:
    expression = log_rpkm(made)
    high = made.signal[0, expression > np.quantile(expression, 2 / 3)].mean(axis=0)
    # H3K4me3: two peaks, the downstream one higher, and a dip between them
    assert high[52:56, H3K4ME3].mean() > high[44:47, H3K4ME3].mean()
    assert high[44:47, H3K4ME3].mean() > 8 * high[:20, H3K4ME3].mean()
    assert high[48:50, H3K4ME3].mean() < high[52:56, H3K4ME3].mean() * 0.8
    # H3K4me1 flanks the start, H3K36me3 rises into the gene
    assert high[49:51, H3K4ME1].mean() < 0.4 * high[58:64, H3K4ME1].mean()
    assert high[80:, H3K36ME3].mean() > 2 * high[:20, H3K36ME3].mean()
    # H3K27me3 is broad over silent genes
    low = made.signal[0, expression < np.median(expression), :, H3K27ME3].mean(axis=0)
    assert low[20:80].mean() > 1.3 * low[:10].mean()
    assert low.max() < 6 * low.min()


def test_own_contribution_explains_most_of_expression(made: Simulation) -> None:
    assert correlation(made.truth.own_contribution[0], log_rpkm(made)) > 0.8


def test_without_signal_effect_windows_say_nothing(made: Simulation) -> None:
    cut = simulate(3000, seed=1, neighbor_effect=0.0, signal_effect=0.0)
    assert not cut.truth.own_contribution.any()
    level = np.log1p(cut.signal[0].mean(axis=1))
    for m in range(5):
        # standard error of a correlation: 1 / sqrt(3000) = .018
        assert abs(correlation(log_rpkm(cut), level[:, m])) < 0.06
    # and expression is distributed as before
    quantiles = np.linspace(0.1, 0.9, 5)
    assert np.quantile(log_rpkm(cut), quantiles) == pytest.approx(
        np.quantile(log_rpkm(made), quantiles), abs=0.35
    )


def neighbors_by_hand(simulation: Simulation, gene: int) -> np.ndarray:
    near, far = simulation.truth.neighbor_band
    table = simulation.genes
    distance = (table["tss"] - table["tss"].iloc[gene]).abs()
    same = table["chrom"] == table["chrom"].iloc[gene]
    return np.flatnonzero(same & (distance >= near) & (distance < far))


def slope_on_neighbors(simulation: Simulation) -> tuple[float, float]:
    """Effect of the neighbors' mean level on the residual of expression, and its error."""
    own = simulation.truth.own_contribution[0].astype(float)
    around = [neighbors_by_hand(simulation, gene) for gene in range(0, own.size, 2)]
    chosen = np.array([gene * 2 for gene, near in enumerate(around) if near.size])
    level = np.array([own[near].mean() for near in around if near.size])
    x = np.c_[np.ones(chosen.size), own[chosen], own[chosen] ** 2, level]
    y = log_rpkm(simulation)[chosen]
    coefficients, residual, *_ = np.linalg.lstsq(x, y, rcond=None)
    variance = residual[0] / (len(y) - x.shape[1])
    return coefficients[3], float(np.sqrt(variance * np.linalg.inv(x.T @ x)[3, 3]))


def test_planted_neighbor_effect_is_measurable_and_absent_when_set_to_0() -> None:
    none, error = slope_on_neighbors(simulate(2500, seed=2, neighbor_effect=0.0))
    assert abs(none) < 3.5 * error
    some, error = slope_on_neighbors(simulate(2500, seed=2, neighbor_effect=0.1))
    assert some > 8 * error


def test_neighbor_contribution_has_the_stated_share_and_nothing_of_the_own_level() -> None:
    truth = simulate(2500, seed=2, neighbor_effect=0.1).truth
    has = truth.n_neighbors > 0
    contribution = truth.neighbor_contribution[0].astype(float)
    # .1 of a score variance of 8
    assert contribution[has].var() == pytest.approx(0.8, rel=1e-4)
    assert not contribution[~has].any()
    assert correlation(contribution[has], truth.own_contribution[0][has]) == pytest.approx(
        0, abs=1e-4
    )


def test_number_of_neighbors_is_that_counted_by_hand(made: Simulation) -> None:
    for gene in range(0, 3000, 250):
        assert made.truth.n_neighbors[gene] == neighbors_by_hand(made, gene).size


def test_neighbors_resemble_each_other_even_without_an_effect(made: Simulation) -> None:
    order = made.genes.sort_values(["chrom", "tss"]).index.to_numpy()
    chrom, expression = made.genes["chrom"].to_numpy()[order], log_rpkm(made)[order]

    def with_neighbor(lag: int) -> float:
        same = chrom[lag:] == chrom[:-lag]
        return correlation(expression[lag:][same], expression[:-lag][same])

    assert 0.12 < with_neighbor(1) < 0.33  # E012: .21
    assert abs(with_neighbor(10)) < 0.15  # E012: .04


# Missing marks


def test_missing_marks_are_empty_and_masked() -> None:
    complete = simulate(200, 2)
    assert complete.cell_types == ("SIM001", "SIM002")
    assert complete.genes["gene_name"].str.fullmatch(r"SIM\d+").all()
    made = simulate(200, 2, missing_marks={"SIM002": ["H3K4me1", "H3K9me3"]})
    assert made.mark_present.tolist() == [[True] * 5, [True, True, False, True, False]]
    assert not made.signal[1, :, :, [H3K4ME1, H3K9ME3]].any()
    assert np.isnan(made.depth[1]).tolist() == [False, False, True, False, True]
    # All else is as it would have been.
    assert np.array_equal(made.signal[0], complete.signal[0])
    assert np.array_equal(made.signal[1, ..., H3K4ME3], complete.signal[1, ..., H3K4ME3])
    assert np.array_equal(made.expression, complete.expression)


def test_share_of_missing_tracks_leaves_each_cell_type_one() -> None:
    present = simulate(5, 60, missing_marks=0.6).mark_present
    assert present.any(axis=1).all()
    assert present.mean() == pytest.approx(0.4, abs=0.08)
    assert simulate(5, 20, missing_marks=0.99).mark_present.sum(axis=1).tolist() == [1] * 20


# Options without meaning


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"n_genes": 1}, "n_genes"),
        ({"n_genes": 2.5}, "n_genes"),
        ({"n_genes": 1_000_000}, "from 2 to 999,999"),
        ({"n_cell_types": 0}, "n_cell_types"),
        ({"seed": -1}, "seed"),
        ({"n_bins": 0}, "n_bins"),
        ({"bin_size": True}, "bin_size"),
        ({"marks": ("H3K4me3", "H3K27ac")}, "H3K27ac"),
        ({"marks": ()}, "marks are empty"),
        ({"marks": ("H3K4me3", "H3K4me3")}, "each once"),
        ({"missing_marks": 1.0}, "fraction of tracks"),
        ({"missing_marks": {"E012": ["H3K4me3"]}}, "'E012'"),
        ({"missing_marks": {"SIM001": ["H3K27ac"]}}, "'H3K27ac'"),
        ({"missing_marks": {"SIM001": MARKS}}, "no mark in SIM001"),
        ({"signal_effect": 1.5}, "signal_effect"),
        ({"signal_effect": float("nan")}, "signal_effect"),
        ({"neighbor_effect": 0.5}, "from 0 to 0.2"),
        ({"neighbor_band": (20_000, 10_000)}, "neighbor_band"),
        ({"neighbor_band": (0, 10_000)}, "above 0"),
    ],
)
def test_invalid_options_are_refused_by_name(options: dict, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        simulate(**{"n_genes": 10, **options})


# Windows and tracks


def test_overlapping_windows_hold_the_same_reads(made: Simulation) -> None:
    table = made.genes.reset_index().sort_values(["chrom", "tss"])
    following = table.shift(-1)
    close = (table["chrom"] == following["chrom"]) & (following["tss"] - table["tss"] < 5_000)
    divergent = close & (table["strand"] == "-") & (following["strand"] == "+")
    pairs = zip(table["index"][divergent], following["index"][divergent].astype(int), strict=True)
    n_pairs = 0
    for minus, plus in pairs:
        # On a grid of 100 bp, with the minus start in bin m and the plus start in bin p, the
        # minus window holds bins m + 50 down to m - 49, the plus window bins p - 50 to p + 49.
        m, p = (made.genes["tss"][gene] // 100 for gene in (minus, plus))
        along_genome = made.signal[0, minus, ::-1]
        first, last = max(m - 49, p - 50), min(m + 50, p + 49)
        assert np.array_equal(
            along_genome[first - (m - 49) : last - (m - 49) + 1],
            made.signal[0, plus, first - (p - 50) : last - (p - 50) + 1],
        )
        n_pairs += 1
    assert n_pairs > 50


@pytest.mark.parametrize(("n_bins", "bin_size"), [(400, 25), (50, 200), (400, 100), (7, 100)])
def test_other_windows_hold_the_same_amounts_per_base(n_bins: int, bin_size: int) -> None:
    usual = simulate(400, seed=3)
    other = simulate(400, seed=3, n_bins=n_bins, bin_size=bin_size)
    assert other.signal.shape == (1, 400, n_bins, 5)
    upstream = n_bins // 2
    around = max(1, 300 // bin_size)  # 300 bp to both sides of the start
    near = other.signal[0, :, upstream - around : upstream + around, H3K4ME3].mean() / bin_size
    assert near == pytest.approx(usual.signal[0, :, 47:53, H3K4ME3].mean() / 100, rel=0.35)


def test_tracks_differ_in_depth_and_depth_tells_it() -> None:
    made = simulate(400, 6, seed=3)
    assert made.depth[0].tolist() == [15_000_000] * 5
    background = made.signal[..., H3K9ME3].mean(axis=(1, 2))
    assert correlation(np.log(background), np.log(made.depth[:, H3K9ME3])) > 0.8
    assert made.depth[1:, H3K9ME3].std() > 1_000_000


def test_genes_keep_much_of_their_expression_in_other_cell_types() -> None:
    made = simulate(1500, 2, seed=3)
    assert 0.55 < correlation(log_rpkm(made, 0), log_rpkm(made, 1)) < 0.85  # Roadmap: .71
    assert not np.array_equal(made.expression[0], made.expression[1])


@pytest.mark.real_data
def test_amounts_of_reads_are_near_those_of_e012(shared_data: Path) -> None:
    with tarfile.open(shared_data / "deepchrome_layout_E012.tar.gz") as archive:
        file = archive.extractfile("data/E012/classification/valid.csv")
        assert file is not None
        options = pa_csv.ReadOptions(autogenerate_column_names=True)
        table = pa_csv.read_csv(io.BytesIO(file.read()), read_options=options).to_pandas()
    real = table.iloc[:, 2:7].to_numpy().reshape(-1, 100, 5)
    made = simulate(3000, seed=1).signal[0]
    assert made.mean(axis=(0, 1)) == pytest.approx(real.mean(axis=(0, 1)), rel=0.3)
    assert (made == 0).mean(axis=(0, 1)) == pytest.approx((real == 0).mean(axis=(0, 1)), abs=0.12)
