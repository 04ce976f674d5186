from __future__ import annotations

import logging
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from simplechrome import metrics
from simplechrome.errors import (
    ConfigError,
    InputFormatError,
    MissingCoordinatesError,
    UndefinedScoreError,
)
from simplechrome.evaluation import bootstrap as bootstrap_module
from simplechrome.evaluation.bootstrap import (
    Interval,
    block_bootstrap,
    block_bootstrap_of_groups,
    paired_block_bootstrap,
)


def mean(values: np.ndarray) -> float:
    return float(values.mean())


def resampled_means(values: np.ndarray, n_resamples: int = 200, **places) -> list[float]:
    """Every resample's mean, as the statistic sees it."""
    seen: list[float] = []

    def recording_mean(resample: np.ndarray) -> float:
        seen.append(float(resample.mean()))
        return seen[-1]

    block_bootstrap(recording_mean, values, n_resamples=n_resamples, **places)
    return seen[1:]  # the first call is the score itself


def simulated(seed: int, n: int = 1000) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    label = random.integers(0, 2, n)
    return {
        "label": label,
        "score": 1.5 * label + random.normal(size=n),
        "chrom": np.repeat(["chr1", "chr8"], n // 2),
        "tss": np.tile(np.arange(n // 2) * 1000, 2),
    }


# Which genes move together


def test_a_block_of_neighbors_moves_as_one() -> None:
    # Blocks of 2 by TSS on two chromosomes with the same TSSs, one value per block though rows
    # are shuffled: every resample holds each value an even number of times.
    order = np.random.default_rng(0).permutation(80)
    values = (np.arange(80) // 2)[order]
    chrom = np.repeat(["chr1", "chr2"], 40)[order]
    tss = np.tile(np.arange(40) * 100, 2)[order]

    def share_of_pairs(resample: np.ndarray) -> float:
        return float(np.mean(np.bincount(resample) % 2 == 0))

    places = {"chrom": chrom, "tss": tss, "n_resamples": 100}
    interval = block_bootstrap(share_of_pairs, values, block=2, **places)
    assert interval == Interval(1.0, 1.0, 1.0, 0.95, 100)
    assert block_bootstrap(share_of_pairs, values, block=1, **places).low < 1


def test_chromosomes_are_resampled_among_themselves() -> None:
    # The value is the chromosome, so no resample may change the mean of 30 zeros and 10 ones.
    values = np.repeat([0, 1], [30, 10])
    chrom = np.where(values == 0, "chr1", "chr2")
    assert set(resampled_means(values, chrom=chrom, tss=np.arange(40), block=1)) == {0.25}


def test_without_places_genes_are_drawn_one_by_one_from_all() -> None:
    values = np.repeat([0, 1], [30, 10])
    means = resampled_means(values, n_resamples=2000)
    # binomial: variance of the mean is .25 * .75 / 40
    assert np.std(means) == pytest.approx(np.sqrt(0.25 * 0.75 / 40), rel=0.08)


def test_unplaced_genes_are_blocks_of_their_own() -> None:
    # chr1 holds 20 equal genes; the 20 without a place (empty, negative or NaN) are -1 or 1 in
    # turn, so that pairs of them would cancel. One by one their mean has variance 1 / 20, and
    # they are half of the genes.
    values = np.concatenate([np.zeros(20), np.tile([-1.0, 1.0], 10)])
    chrom = np.array(["chr1"] * 20 + [""] * 8 + ["chr1"] * 12)
    tss = np.concatenate([np.arange(28.0), np.full(6, -1), np.full(6, np.nan)])
    means = resampled_means(values, n_resamples=2000, chrom=chrom, tss=tss, block=50)
    assert np.std(means) == pytest.approx(np.sqrt(1 / 20) / 2, rel=0.08)


def test_rows_of_one_gene_move_together_in_all_cell_types() -> None:
    # One cell type holds v, the other -v: only if both rows of a gene move do all means stay 0.
    values = np.random.default_rng(0).normal(size=60)
    gene = np.array([f"ENSG{i:03d}" for i in range(60)])
    rows = {"gene": np.tile(gene, 2), "chrom": ["chr1"] * 120, "tss": np.tile(np.arange(60), 2)}
    means = resampled_means(np.concatenate([values, -values]), **rows)
    assert np.allclose(means, 0)
    places_unknown = resampled_means(np.concatenate([values, -values]), gene=rows["gene"])
    assert np.allclose(places_unknown, 0)


def test_chromosomes_of_a_single_block_are_drawn_among_each_other() -> None:
    # 25 chromosomes of 4 genes, each a block. Drawn within itself each would never change.
    chrom = np.repeat([f"chr{i}" for i in range(25)], 4)
    means = resampled_means(np.repeat(np.arange(25.0), 4), chrom=chrom, tss=np.arange(100))
    # 25 draws of 0 … 24: variance (25² - 1) / 12 / 25
    assert np.std(means) == pytest.approx(np.sqrt(52 / 25), rel=0.15)


def test_a_lone_single_block_joins_the_smallest_other_chromosome() -> None:
    # Blocks of single genes: chr1 30 equal genes, chr2 9, chrY 1 that differs: 10 exchangeable.
    values = np.concatenate([np.zeros(39), [40.0]])
    chrom = np.repeat(["chr1", "chr2", "chrY"], [30, 9, 1])
    means = np.array(resampled_means(values, 2000, chrom=chrom, tss=np.arange(40), block=1))
    # the mean is the number of times that it was drawn: binomial(10, 1/10), variance .9
    assert means.var() == pytest.approx(0.9, rel=0.12)


def test_few_genes_shorten_the_blocks_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    data = simulated(0, n=100)
    with caplog.at_level(logging.DEBUG):
        interval = block_bootstrap(
            metrics.auroc, *map(data.get, ("label", "score")), chrom=data["chrom"], tss=data["tss"]
        )
    assert "100 genes make fewer than 20 blocks of 50" in caplog.text
    assert "blocks of 5" in caplog.text
    assert interval.low < interval.value < interval.high


@given(st.lists(st.integers(1, 130), min_size=1, max_size=6), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_blocks_are_short_even_and_never_cross_a_chromosome(sizes: list[int], block: int) -> None:
    chrom = np.repeat([f"chr{i}" for i in range(len(sizes))], sizes)
    block_of_gene, _ = bootstrap_module.cut_into_blocks(chrom, np.arange(chrom.size), block)
    # genes come sorted here, so blocks are numbered upward without gaps
    assert set(np.diff(block_of_gene)) <= {0, 1}
    for name in np.unique(chrom):
        lengths = np.unique(block_of_gene[chrom == name], return_counts=True)[1]
        assert lengths.max() <= block
        assert lengths.max() - lengths.min() <= 1
    assert len(set(zip(chrom, block_of_gene, strict=True))) == block_of_gene[-1] + 1


# The fast way


@pytest.mark.parametrize("decimals", [1, 8], ids=["ties", "no ties"])
def test_fast_auroc_equals_auroc_of_each_resample(decimals: int) -> None:
    data = simulated(1)
    label, score = data["label"], data["score"].round(decimals)
    places = {"chrom": data["chrom"], "tss": data["tss"], "n_resamples": 50}
    fast = block_bootstrap(metrics.auroc, label, score, **places)
    assert fast == block_bootstrap(lambda *arrays: metrics.auroc(*arrays), label, score, **places)


def test_chunks_do_not_change_the_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    data = simulated(2)
    bootstrap = partial(
        block_bootstrap,
        metrics.auroc,
        data["label"],
        data["score"],
        n_resamples=30,
        chrom=data["chrom"],
        tss=data["tss"],
    )
    whole = bootstrap()
    monkeypatch.setattr(bootstrap_module, "_CHUNK_ELEMENTS", 7 * 20)
    assert bootstrap() == whole


# What an interval says


def test_interval_holds_the_percentiles_of_the_resamples() -> None:
    values = np.random.default_rng(0).normal(size=100)
    interval = block_bootstrap(mean, values, level=0.8, n_resamples=100)
    assert interval.value == values.mean()
    assert (interval.low, interval.high) == pytest.approx(
        tuple(np.quantile(resampled_means(values, 100), (0.1, 0.9)))
    )


def test_same_seed_same_interval_other_seed_another() -> None:
    data = simulated(3)
    bootstrap = partial(
        block_bootstrap,
        metrics.auroc,
        data["label"],
        data["score"],
        chrom=data["chrom"],
        tss=data["tss"],
        n_resamples=100,
    )
    assert bootstrap(seed=5) == bootstrap(seed=5)
    assert bootstrap(seed=5) != bootstrap(seed=6)


def test_order_of_rows_does_not_matter() -> None:
    data = simulated(4)
    order = np.random.default_rng(0).permutation(1000)
    shuffled = {name: values[order] for name, values in data.items()}
    first, second = (
        block_bootstrap(metrics.auroc, d["label"], d["score"], chrom=d["chrom"], tss=d["tss"])
        for d in (data, shuffled)
    )
    assert first == second


def test_coverage_is_near_nominal_for_independent_genes() -> None:
    # Two normals 1.5 apart: the true AUROC is Phi(1.5 / sqrt 2). Of 300 intervals 285 ± 4 should
    # hold it; percentile intervals from 20 blocks lose a little.
    truth = norm.cdf(1.5 / np.sqrt(2))
    held = 0
    for seed in range(300):
        data = simulated(seed)
        interval = block_bootstrap(
            metrics.auroc,
            data["label"],
            data["score"],
            chrom=data["chrom"],
            tss=data["tss"],
            n_resamples=200,
            seed=seed,
        )
        held += interval.low <= truth <= interval.high
    assert 0.89 <= held / 300 <= 0.98


def test_clustered_genes_need_the_wider_block_intervals() -> None:
    # Runs of 25 genes share an error of deviation 1 beside their own of 1, so the mean of n has
    # variance (25 + 1) / n in place of 2 / n: intervals should be sqrt(13) = 3.6 times as wide
    # as those from single genes, which hold the true mean 0 in a fraction of cases only.
    held_by_blocks = held_by_genes = 0
    ratios = []
    n = 2000
    for seed in range(60):
        random = np.random.default_rng(seed)
        values = np.repeat(random.normal(size=n // 25), 25) + random.normal(size=n)
        bootstrap = partial(block_bootstrap, mean, values, n_resamples=200, seed=seed)
        genes = bootstrap()
        blocks = bootstrap(chrom=np.repeat(["chr1", "chr2"], n // 2), tss=np.arange(n))
        ratios.append((blocks.high - blocks.low) / (genes.high - genes.low))
        held_by_blocks += blocks.low <= 0 <= blocks.high
        held_by_genes += genes.low <= 0 <= genes.high
    assert np.mean(ratios) == pytest.approx(np.sqrt(13), rel=0.1)
    assert held_by_blocks / 60 >= 0.85
    assert held_by_genes / 60 <= 0.6


# Paired differences


def test_paired_interval_of_identical_predictions_is_zero() -> None:
    data = simulated(5)
    for statistic in (metrics.auroc, metrics.auprc):
        interval = paired_block_bootstrap(
            statistic,
            data["label"],
            data["score"],
            data["score"].copy(),
            chrom=data["chrom"],
            tss=data["tss"],
            n_resamples=50,
        )
        assert interval == Interval(0.0, 0.0, 0.0, 0.95, 50)


def test_paired_difference_is_first_minus_second_and_narrower_than_unpaired() -> None:
    data = simulated(6)
    better = data["score"]
    worse = better + np.random.default_rng(0).normal(0, 0.3, 1000)
    options = {"chrom": data["chrom"], "tss": data["tss"], "n_resamples": 300}
    paired = paired_block_bootstrap(metrics.auroc, data["label"], better, worse, **options)
    first = block_bootstrap(metrics.auroc, data["label"], better, **options)
    second = block_bootstrap(metrics.auroc, data["label"], worse, seed=1, **options)
    assert paired.value == first.value - second.value
    assert 0 < paired.low < paired.value < paired.high
    assert paired.high - paired.low < (first.high - first.low) / 2


def test_paired_swap_mirrors_the_interval() -> None:
    data = simulated(7)
    other = data["score"] + np.random.default_rng(0).normal(size=1000)
    pair = partial(paired_block_bootstrap, metrics.auroc, data["label"], n_resamples=101)
    forth, back = pair(data["score"], other), pair(other, data["score"])
    assert (forth.value, forth.low, forth.high) == pytest.approx(
        (-back.value, -back.high, -back.low)
    )


def test_paired_statistic_gets_further_arrays() -> None:
    # Mean AUROC over cell types: each is scored for itself, genes are resampled together.
    def mean_over_cell_types(label, score, cell_type) -> float:
        scores = [
            metrics.auroc(label[cell_type == name], score[cell_type == name])
            for name in np.unique(cell_type)
        ]
        return float(np.mean(scores))

    data = simulated(8, n=200)
    cell_type = np.repeat(["E003", "E012"], 100)
    interval = paired_block_bootstrap(
        mean_over_cell_types,
        data["label"],
        data["score"],
        -data["score"],
        cell_type,
        gene=np.tile(np.arange(100), 2),
        n_resamples=20,
    )
    direct = mean_over_cell_types(data["label"], data["score"], cell_type)
    assert interval.value == pytest.approx(2 * direct - 1)


# Groups


def two_cell_types(seed: int, n: int = 400) -> dict[str, np.ndarray]:
    """Rows of both, in one order of genes and then the other."""
    data = simulated(seed, n)
    again = np.random.default_rng(seed).permutation(n)
    both = {name: np.concatenate([values, values[again]]) for name, values in data.items()}
    gene = np.arange(n).astype(str)
    noise = np.random.default_rng(seed + 1).normal(size=n)
    both["score"][n:] += noise
    return both | {"gene": np.concatenate([gene, gene[again]]), "group": np.repeat(["a", "b"], n)}


@pytest.mark.parametrize("statistic", [metrics.auroc, metrics.auprc])
def test_group_has_the_interval_that_it_has_alone(statistic: metrics.Score) -> None:
    data = two_cell_types(9)
    score = data.pop("score"), data.pop("label")
    resamples = block_bootstrap_of_groups(statistic, *score[::-1], **data, n_resamples=40)
    for name in ("a", "b"):
        own = data["group"] == name
        alone = block_bootstrap(
            statistic,
            score[1][own],
            score[0][own],
            **{place: data[place][own] for place in ("chrom", "tss", "gene")},
            n_resamples=40,
        )
        assert resamples.interval(name) == alone


def test_mean_over_groups_draws_the_same_genes_in_all() -> None:
    # One cell type holds v, the other 1 - v: with the same genes drawn the mean is always .5.
    values = np.random.default_rng(0).normal(size=60)
    genes = np.array([f"g{k}" for k in range(60)])
    resamples = block_bootstrap_of_groups(
        mean,
        np.concatenate([values, 1 - values[::-1]]),
        group=np.repeat(["a", "b"], 60),
        gene=np.concatenate([genes, genes[::-1]]),
        n_resamples=100,
    )
    interval = resamples.mean()
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.5, 0.5, 0.5))
    own = resamples.interval("a")
    assert own.low < own.value < own.high


def test_mean_over_groups_is_that_of_a_statistic_of_all_rows() -> None:
    data = two_cell_types(10)

    def mean_over_groups(label, score, group) -> float:
        return float(np.mean([metrics.auroc(label[group == n], score[group == n]) for n in "ab"]))

    places = {name: data[name] for name in ("gene", "chrom", "tss")} | {"n_resamples": 30}
    direct = block_bootstrap(
        mean_over_groups, data["label"], data["score"], data["group"], **places
    )
    resamples = block_bootstrap_of_groups(
        metrics.auroc, data["label"], data["score"], group=data["group"], **places
    )
    assert resamples.mean() == pytest.approx(direct)


def test_mean_is_undefined_where_a_group_often_is() -> None:
    label = np.concatenate([np.tile([0, 1], 25), np.repeat([1, 0], [1, 49])])
    genes = np.tile(np.arange(50), 2)
    resamples = block_bootstrap_of_groups(
        metrics.auroc, label, np.arange(100.0), group=np.repeat(["a", "b"], 50), gene=genes
    )
    assert resamples.interval("a").low < 1
    for undefined in (resamples.mean, partial(resamples.interval, "b")):
        with pytest.raises(UndefinedScoreError, match="of 1000 resamples undefined"):
            undefined()


# Undefined scores and refused input


def test_few_undefined_resamples_are_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    # A resample of 40 genes misses all 4 high ones with chance .9^40 = .015.
    label = np.repeat([1, 0], [4, 36])
    score = np.random.default_rng(0).normal(size=40)
    with caplog.at_level(logging.INFO):
        interval = block_bootstrap(metrics.auroc, label, score)
    assert 970 <= interval.n_resamples < 1000
    assert f"{1000 - interval.n_resamples} of 1000 resamples have no score" in caplog.text
    generic = block_bootstrap(lambda *arrays: metrics.auroc(*arrays), label, score)
    assert generic == interval


def test_many_undefined_resamples_leave_no_interval() -> None:
    # A single high gene is missed with chance .98^50 = .36.
    label = np.repeat([1, 0], [1, 49])
    with pytest.raises(UndefinedScoreError, match=r"of 1000 resamples undefined[\s\S]*10%"):
        block_bootstrap(metrics.auroc, label, np.arange(50.0))


def test_undefined_score_has_no_interval() -> None:
    with pytest.raises(UndefinedScoreError, match="all 30 genes are high"):
        block_bootstrap(metrics.auroc, np.ones(30), np.arange(30.0))
    with pytest.raises(UndefinedScoreError, match="NaN"):
        block_bootstrap(lambda values: float("nan"), np.arange(30.0))


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_genes_have_no_interval(n: int) -> None:
    with pytest.raises(UndefinedScoreError, match=f"from {n} genes"):
        block_bootstrap(mean, np.zeros(n))


def test_chromosome_without_tss_is_refused() -> None:
    with pytest.raises(MissingCoordinatesError, match="`chrom` and `tss`"):
        block_bootstrap(mean, np.arange(3.0), chrom=["chr1"] * 3)


@pytest.mark.parametrize("short", ["label", "chrom", "tss", "gene"])
def test_different_numbers_of_rows_are_refused(short: str) -> None:
    rows = {name: np.arange(30) for name in ("label", "chrom", "tss", "gene")}
    rows[short] = rows[short][:-1]
    with pytest.raises(InputFormatError, match=r"numbers of rows[\s\S]*(30, 29|29, 30)"):
        block_bootstrap(metrics.auroc, rows.pop("label"), np.arange(30.0), **rows)


def test_gene_in_two_places_is_refused() -> None:
    with pytest.raises(
        InputFormatError, match=r"1 genes lie in more[\s\S]*row 2 at chr2:7 [\s\S]*chr1:5"
    ):
        block_bootstrap(
            mean,
            np.arange(3.0),
            gene=["a", "b", "a"],
            chrom=["chr1", "chr1", "chr2"],
            tss=[5, 6, 7],
        )


@pytest.mark.parametrize(
    "option", [{"n_resamples": 0}, {"block": 0}, {"level": 1.0}, {"level": 95}]
)
def test_options_without_sense_are_refused(option: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"`{next(iter(option))}` = "):
        block_bootstrap(mean, np.arange(30.0), **option)
