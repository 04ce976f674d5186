"""Scores, intervals, pairs, controls and sentences, where the answers are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_up_benchmark import made_up_results, made_up_test_set

from simplechrome import metrics
from simplechrome.benchmark.comparisons import (
    TESTED,
    TRAINED,
    Findings,
    Pair,
    compare_pairs,
    compared_pairs,
    control_table,
    find,
)
from simplechrome.benchmark.summary import (
    SCORES,
    BenchmarkResults,
    Group,
    _interval,
    compare,
    paired,
    places,
    resample_benchmark,
    score_table,
    summarize,
)
from simplechrome.evaluation.bootstrap import block_bootstrap, paired_block_bootstrap

PLACE = ("C0", "within", "C0", "chromosome")


@pytest.fixture(scope="module")
def results() -> BenchmarkResults:
    return made_up_results()


@pytest.fixture(scope="module")
def findings(results: BenchmarkResults) -> Findings:
    return find(results, "raw:linear")


def row_of(summary: pd.DataFrame, model: str, n_labels: int, metric: str = "auroc") -> pd.Series:
    wanted = summary["representation"] + ":" + summary["predictor"] == model
    wanted &= (summary["n_labels"] == n_labels) & (summary["metric"] == metric)
    (row,) = (summary.loc[k] for k in np.flatnonzero(wanted))
    return row


def test_every_score_is_a_row_and_that_of_the_plain_metric(
    results: BenchmarkResults, findings: Findings
) -> None:
    assert list(findings.scores.columns) == SCORES
    [(_, scored)] = results.test_sets.items()
    assert len(findings.scores) == len(scored.cells) * 6  # metrics
    cell, prediction = scored.cells.iloc[3], scored.predictions[3]
    key = ["representation", "predictor", "n_labels", "draw"]
    own = findings.scores[(findings.scores[key] == cell[key]).all(axis=1)]
    own = own.set_index("metric")["value"]
    for name in own.index:
        expected = getattr(metrics, name)(scored.genes["target"], prediction)
        assert own[name] == pytest.approx(expected, abs=1e-6), name


def test_one_draw_has_the_interval_of_the_block_bootstrap(
    results: BenchmarkResults, findings: Findings
) -> None:
    [(_, scored)] = results.test_sets.items()
    at = scored.cells.query("all_labels and representation == 'raw' and predictor == 'linear'")
    prediction = scored.predictions[at.index[0]].astype(float)
    genes = scored.genes
    place = {"chrom": genes["chrom"], "tss": genes["tss"]}
    expected = block_bootstrap(metrics.auroc, genes["target"], prediction, **place)
    row = row_of(findings.summary, "raw:linear", 1000)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high), abs=1e-5)
    other = scored.predictions[at.index[0] + 2].astype(float)  # vae:linear
    difference = paired_block_bootstrap(metrics.auroc, genes["target"], other, prediction, **place)
    row = row_of(findings.summary, "vae:linear", 1000)
    found = (row["difference"], row["difference_low"], row["difference_high"])
    assert found == pytest.approx(difference[:3], abs=1e-5)


def test_planted_difference_is_found_and_an_absent_one_is_not(findings: Findings) -> None:
    better = row_of(findings.summary, "vae:linear", 20)
    assert better["difference_low"] > 0
    level = row_of(findings.summary, "pca:linear", 20)
    assert level["difference_low"] < 0 < level["difference_high"]
    worse = row_of(findings.summary, "raw:mlp", 20)
    assert worse["difference_high"] < 0
    # What both share cancels: the difference is surer than either score.
    assert level["difference_high"] - level["difference_low"] < 0.3 * (level["high"] - level["low"])
    assert np.isnan(row_of(findings.summary, "raw:linear", 20)["difference"])


def test_pairs_are_the_draws_that_both_have() -> None:
    one = Group([(0, 0), (1, 1), (2, 2)], np.array([1.0, 2, 3]), np.zeros((3, 1)))
    two = Group([(1, 1), (2, 2), (3, 3)], np.array([1.0, 1, 9]), np.zeros((3, 1)))
    np.testing.assert_array_equal(paired(one, two)[0], [1, 2])
    # A model without seeds is compared with every seed of the other.
    single = Group([(0, 0)], np.array([0.5]), np.zeros((1, 1)))
    np.testing.assert_array_equal(paired(one, single)[0], [0.5, 1.5, 2.5])
    apart = Group([(7, 7), (8, 8)], np.array([1.0, 2]), np.zeros((2, 1)))
    np.testing.assert_array_equal(paired(one, apart)[0], [0.5])


def test_more_draws_make_surer_means() -> None:
    few = summarize(resample_benchmark(made_up_results()))
    own = row_of(few, "raw:linear", 20)
    assert own["n_draws"] == 5
    assert own["low"] < own["mean"] < own["high"]
    assert own["standard_deviation"] > 0


def test_few_draws_widen_intervals_as_student_t_does() -> None:
    # No luck of genes: two draws at -1 and 1, whose mean has the standard error 1, and t = 12.7.
    draws = np.array([-1.0, 1.0])
    low, high = _interval(draws, np.repeat(draws[:, np.newaxis], 4000, axis=1), 0)
    assert high == pytest.approx(12.706 / 1.96 * 1.41, rel=0.05)  # percentiles of two: -1 and 1
    assert low == pytest.approx(-high, rel=0.05)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    # Worlds of 5 draws, of which the luck of draws is most; the truth is 0.
    random = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        draws = random.normal(size=5)
        genes = 0.3 * random.normal(size=500)
        low, high = _interval(draws + 0.3 * random.normal(), draws[:, np.newaxis] + genes, 0)
        held += low < 0 < high
    assert held / 400 > 0.92


def test_one_draw_shows_no_difference_of_models() -> None:
    resamples = resample_benchmark(
        BenchmarkResults(
            "classification",
            {(*PLACE, 0): made_up_test_set({"raw:linear": 1.0, "vae:linear": 3.0}, draws=1)},
            *made_up_results()[2:],
        )
    )
    pairs = [Pair("vae:linear", "raw:linear")]
    found = compare_pairs(resamples, PLACE, "auroc", pairs)
    verdicts = {comparison.n_labels: comparison.verdict for comparison in found}
    # With 20 labels it may be the draw's luck; with all there is no draw.
    assert verdicts == {20: "no difference shown", 1000: "higher"}


def test_several_cell_types_have_a_mean_of_their_own() -> None:
    resamples = resample_benchmark(made_up_results(n_cell_types=2))
    assert places(resamples)[-1] == ("mean", "within", "mean", "chromosome")
    summary = summarize(resamples)
    auroc = summary.query("representation == 'vae' and n_labels == 20 and metric == 'auroc'")
    by_cell = auroc.set_index("cell_type")["mean"]
    assert by_cell["mean"] == pytest.approx((by_cell["C0"] + by_cell["C1"]) / 2)
    width = (auroc["high"] - auroc["low"]).to_numpy()
    assert width[2] < width[:2].max()


def test_controls_tell_a_leak_from_none(findings: Findings) -> None:
    trained = findings.controls.query("control == @TRAINED", local_dict={"TRAINED": TRAINED})
    covers = trained.set_index("representation")["covers_chance"].to_dict()
    assert covers == {"raw": True, "vae": False}
    assert trained["standard_error"].to_numpy() == pytest.approx(0.1 / 50**0.5, rel=0.4)
    tested = findings.controls.query("control == @TESTED", local_dict={"TESTED": TESTED})
    assert tested["covers_chance"].all()
    # The deviation of an AUROC by luck: sqrt((n + 1) / (12 n_high n_low)) of 200 and 200 genes.
    own = tested.query("representation == 'raw' and predictor == 'linear' and n_labels == 1000")
    assert own["standard_deviation"].item() == pytest.approx((401 / 12 / 200 / 200) ** 0.5, rel=0.1)


def test_permuted_levels_correlate_with_nothing() -> None:
    table = control_table(made_up_results("regression"))
    tested = table[table["control"] == TESTED]
    assert tested["mean"].abs().max() < 0.01
    assert "majority" not in set(tested["predictor"])  # a constant has no correlation


def test_claims_compare_latents_with_the_window() -> None:
    models = ["raw:linear", "vae:linear", "raw:mlp", "vae:mlp", "raw:deepchrome", "none:majority"]
    assert [pair[:2] for pair in compared_pairs(models)] == [
        ("vae:linear", "raw:linear"),
        ("vae:linear", "raw:deepchrome"),
        ("vae:mlp", "raw:mlp"),
        ("vae:mlp", "raw:deepchrome"),
    ]
    paper = ["raw@paper:mlp@paper", "paper_vae:mlp@paper", "raw:mlp"]
    assert compared_pairs(paper) == [Pair("paper_vae:mlp@paper", "raw@paper:mlp@paper")]


def test_sentences_can_be_quoted(findings: Findings) -> None:
    claims = {(c.first, c.second, c.n_labels): c for c in findings.claims}
    higher = claims["vae:linear", "raw:linear", 20]
    assert higher.verdict == "higher"
    assert higher.n_pairs == 5
    assert higher.sentence.startswith(
        "With 20 labels, the linear head on vae scored an AUROC "
        f"{higher.difference:.4f} higher than the linear head on the window (95 % interval +"
    )
    level = claims["pca:linear", "raw:linear", 1000]
    assert level.verdict == "no difference shown"
    assert level.sentence.startswith("With all labels")
    assert level.sentence.endswith("no difference shown.")


def test_comparison_holds_every_number_of_labels_that_both_have(
    results: BenchmarkResults,
) -> None:
    resamples = resample_benchmark(results, n_resamples=50)
    table = compare(resamples, "auroc", PLACE, "vae:linear", "raw:linear")
    assert list(table["n_labels"]) == [20, 1000]
    assert list(table["n_pairs"]) == [5, 1]
    assert compare(resamples, "auroc", PLACE, "vae:linear", "raw:boosting").empty
    elsewhere = ("C9", "within", "C9", "chromosome")
    assert compare(resamples, "auroc", elsewhere, "vae:linear", "raw:linear").empty


def test_scores_of_optimistic_splits_say_so(results: BenchmarkResults) -> None:
    [(condition, scored)] = results.test_sets.items()
    random = (*condition[:3], "random", 0)
    both = results._replace(test_sets={condition: scored, random: scored})
    table = score_table(resample_benchmark(both, n_resamples=5))
    assert table.groupby("split")["optimistic"].all().to_dict() == {
        "chromosome": False,
        "random": True,
    }
