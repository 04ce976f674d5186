from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_benchmark import made_up_results
from scipy import stats
from sklearn import metrics as oracle

from simplechrome import metrics
from simplechrome.benchmark.summary import resample_benchmark, summarize
from simplechrome.errors import ConfigError, InputFormatError, UndefinedScoreError
from simplechrome.evaluation.bootstrap import by_rows
from simplechrome.evaluation.scores import NAMES, score_predictions

OF_LABEL_AND_PROBABILITY = (
    metrics.accuracy,
    metrics.balanced_accuracy,
    metrics.brier,
    metrics.expected_calibration_error,
)
OF_LABEL = (metrics.auroc, metrics.auprc, *OF_LABEL_AND_PROBABILITY)
OF_EXPRESSION = (metrics.pearson, metrics.spearman, metrics.r_squared)
BY_NAME = {"ids": lambda function: function.__name__}


@st.composite
def labels_and_scores(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Both classes are there, and few distinct scores, so that most examples hold ties."""
    n = draw(st.integers(2, 40))
    label = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    label[0], label[1] = 0, 1
    eighths = draw(st.lists(st.integers(0, 8), min_size=n, max_size=n))
    return np.array(label), np.array(eighths) / 8


@st.composite
def expression_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(2, 40))
    values = st.lists(st.integers(-50, 50), min_size=n, max_size=n).filter(lambda v: len({*v}) > 1)
    return np.array(draw(values)) / 10, np.array(draw(values)) / 10


# Values by hand


def test_auroc_counts_pairs_won_and_half_of_ties() -> None:
    # high .9, .5; low .5, .1: (.9>.5) (.9>.1) (.5=.5) (.5>.1) = 1 + 1 + 1/2 + 1 of 4 pairs
    assert metrics.auroc([1, 1, 0, 0], [0.9, 0.5, 0.5, 0.1]) == 3.5 / 4


def test_auprc_averages_precision_over_high_genes() -> None:
    # ranked 1 0 1: precision 1/1 at the first high gene, 2/3 at the second
    assert metrics.auprc([1, 0, 1], [0.9, 0.8, 0.7]) == pytest.approx((1 + 2 / 3) / 2)


def test_auprc_lets_ties_enter_together() -> None:
    # all tie: one step, of precision 1/4, however the genes are ordered
    assert metrics.auprc([1, 0, 0, 0], np.ones(4)) == 0.25
    assert metrics.auprc([0, 0, 0, 1], np.ones(4)) == 0.25


def test_accuracy_calls_a_gene_high_above_the_threshold_only() -> None:
    # calls at .5: 1 0 0; at .4: 1 1 0
    assert metrics.accuracy([1, 1, 0], [0.9, 0.5, 0.1]) == pytest.approx(2 / 3)
    assert metrics.accuracy([1, 1, 0], [0.9, 0.5, 0.1], threshold=0.4) == 1


def test_balanced_accuracy_is_the_mean_over_classes() -> None:
    # high: 1 of 1 right; low: 1 of 3 right
    assert metrics.balanced_accuracy([1, 0, 0, 0], [0.9, 0.8, 0.7, 0.1]) == pytest.approx(2 / 3)


def test_brier_is_the_mean_squared_distance() -> None:
    # .1² = .01, .4² = .16
    assert metrics.brier([1, 0], [0.9, 0.4]) == pytest.approx(0.085)


def test_calibration_error_compares_bins_of_equal_mass() -> None:
    # two bins of two: mean .15 against 1/2, mean .8 against 1: (.35 + .2) / 2
    error = metrics.expected_calibration_error([0, 1, 1, 1], [0.1, 0.2, 0.7, 0.9], n_bins=2)
    assert error == pytest.approx(0.275)


def test_calibration_bins_hold_the_same_number_of_genes() -> None:
    # 30 genes, 15 bins of 2; a bin of one high and one low gene that say x and x + .01 is off by
    # |x + .005 - .5|
    probability = np.arange(30) / 100
    label = np.arange(30) % 2
    expected = np.mean([abs((4 * k + 1) / 200 - 0.5) for k in range(15)])
    assert metrics.expected_calibration_error(label, probability) == pytest.approx(expected)


def test_calibration_of_a_constant_prediction_is_one_bin() -> None:
    # .25 stated, 1/4 seen
    assert metrics.expected_calibration_error([1, 0, 0, 0], np.full(4, 0.25)) == 0


def test_calibration_with_fewer_genes_than_bins_takes_each_gene_alone() -> None:
    # |.9 - 1| and |.2 - 0|
    assert metrics.expected_calibration_error([1, 0], [0.9, 0.2]) == pytest.approx(0.15)


def test_pearson_and_spearman_differ_for_a_curve() -> None:
    # ranks agree. Deviations -1, 0, 1 and -7/3, -4/3, 11/3: 6 / sqrt(2 * 62/3)
    assert metrics.spearman([1, 2, 3], [0, 1, 6]) == 1
    assert metrics.pearson([1, 2, 3], [0, 1, 6]) == pytest.approx(6 / np.sqrt(124 / 3))


def test_spearman_ties_share_their_mean_rank() -> None:
    # ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5
    assert metrics.spearman([0, 1, 1, 2], [5, 6, 7, 8]) == pytest.approx(4.5 / np.sqrt(4.5 * 5))


def test_r_squared_is_negative_below_the_mean() -> None:
    # SST = 2, SSE = 4 + 0 + 4
    assert metrics.r_squared([1, 2, 3], [3, 2, 1]) == -3
    assert metrics.r_squared([1, 2, 3], [2, 2, 2]) == 0


def test_tiny_and_huge_units_leave_scores_as_they_are() -> None:
    expression, predicted = np.array([1.0, 2, 3]), np.array([1.0, 3, 3])
    for unit in (1e-200, 1e200):
        for score in OF_EXPRESSION:
            assert score(unit * expression, unit * predicted) == pytest.approx(
                score(expression, predicted)
            )


# Against other implementations, and invariants


@given(labels_and_scores())
@settings(max_examples=80, deadline=None)
def test_classification_scores_equal_scikit_learn(pair: tuple[np.ndarray, np.ndarray]) -> None:
    label, score = pair
    called = score > 0.5
    assert metrics.auroc(label, score) == pytest.approx(oracle.roc_auc_score(label, score))
    assert metrics.auprc(label, score) == pytest.approx(
        oracle.average_precision_score(label, score)
    )
    assert metrics.accuracy(label, score) == pytest.approx(oracle.accuracy_score(label, called))
    assert metrics.balanced_accuracy(label, score) == pytest.approx(
        oracle.balanced_accuracy_score(label, called)
    )
    assert metrics.brier(label, score) == pytest.approx(oracle.brier_score_loss(label, score))


@given(expression_pairs())
@settings(max_examples=80, deadline=None)
def test_regression_scores_equal_scipy_and_scikit_learn(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    expression, predicted = pair
    assert metrics.pearson(expression, predicted) == pytest.approx(
        stats.pearsonr(expression, predicted).statistic, abs=1e-12
    )
    assert metrics.spearman(expression, predicted) == pytest.approx(
        stats.spearmanr(expression, predicted).statistic, abs=1e-12
    )
    assert metrics.r_squared(expression, predicted) == pytest.approx(
        oracle.r2_score(expression, predicted)
    )


@given(labels_and_scores(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_scores_do_not_depend_on_the_order_of_genes(
    pair: tuple[np.ndarray, np.ndarray], seed: int
) -> None:
    order = np.random.default_rng(seed).permutation(len(pair[0]))
    for score in OF_LABEL:
        shuffled = score(pair[0][order], pair[1][order])
        assert shuffled == pytest.approx(score(*pair), abs=1e-12)


@given(labels_and_scores())
@settings(max_examples=60, deadline=None)
def test_reversed_scores_mirror_auroc(pair: tuple[np.ndarray, np.ndarray]) -> None:
    label, score = pair
    assert metrics.auroc(label, -score) == pytest.approx(1 - metrics.auroc(label, score))


@given(labels_and_scores())
@settings(max_examples=60, deadline=None)
def test_calibration_error_in_one_bin_is_the_gap_of_means(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    label, probability = pair
    gap = abs(label.mean() - probability.mean())
    assert metrics.expected_calibration_error(label, probability, n_bins=1) == pytest.approx(gap)
    # Finer bins cannot hide what a coarse one shows.
    assert metrics.expected_calibration_error(label, probability) >= gap - 1e-12


# Undefined scores


@pytest.mark.parametrize(
    "score", [metrics.auroc, metrics.auprc, metrics.balanced_accuracy], **BY_NAME
)
@pytest.mark.parametrize(("label", "named"), [(1, r"high \(label 1\)"), (0, r"low \(label 0\)")])
def test_one_class_has_no_ranking_score(score, label: int, named: str) -> None:
    with pytest.raises(UndefinedScoreError, match=f"all 3 genes are {named}"):
        score(np.full(3, label), [0.1, 0.2, 0.3])


@pytest.mark.parametrize("score", [*OF_LABEL, *OF_EXPRESSION], **BY_NAME)
def test_no_genes_have_no_score(score) -> None:
    with pytest.raises(UndefinedScoreError, match="no genes to score"):
        score([], [])


@pytest.mark.parametrize("score", [metrics.pearson, metrics.spearman], **BY_NAME)
def test_constant_prediction_has_no_correlation(score) -> None:
    # .1 three times: its mean is not .1 in floats, so a variance would not come out as 0
    with pytest.raises(UndefinedScoreError, match=r"`predicted` is 0\.1 for all 3 genes"):
        score([1, 2, 3], [0.1, 0.1, 0.1])


@pytest.mark.parametrize("score", OF_EXPRESSION, **BY_NAME)
def test_constant_expression_has_no_regression_score(score) -> None:
    with pytest.raises(UndefinedScoreError, match=r"`expression` is 0\.1 for all 3 genes"):
        score([0.1, 0.1, 0.1], [1, 2, 3])


# Input that is refused


@pytest.mark.parametrize("score", [*OF_LABEL, *OF_EXPRESSION], **BY_NAME)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(score, bad: float) -> None:
    with pytest.raises(InputFormatError, match=r"1 values that are not finite.*position 2"):
        score([0, 1, 1], [0.1, 0.2, bad])
    with pytest.raises(InputFormatError, match=r"not finite[\s\S]*position 0"):
        score([bad, 1, 1], [0.1, 0.2, 0.3])


@pytest.mark.parametrize("score", [*OF_LABEL, *OF_EXPRESSION], **BY_NAME)
def test_different_lengths_are_refused(score) -> None:
    with pytest.raises(InputFormatError, match=r"different lengths[\s\S]*3[\s\S]*2"):
        score([0, 1, 1], [0.1, 0.2])


@pytest.mark.parametrize("score", OF_LABEL, **BY_NAME)
def test_unknown_labels_are_refused(score) -> None:
    with pytest.raises(InputFormatError, match=r"2 values that are not .*: -1, 0\.5"):
        score([0, 1, -1, 0.5], [0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("score", OF_LABEL_AND_PROBABILITY, **BY_NAME)
@pytest.mark.parametrize("logit", [-0.1, 1.2])
def test_logits_are_no_probabilities(score, logit: float) -> None:
    with pytest.raises(InputFormatError, match=r"`probability`[\s\S]*logits"):
        score([0, 1], [0.5, logit])


def test_two_columns_of_predict_proba_are_refused_with_the_way_out() -> None:
    with pytest.raises(InputFormatError, match=r"shape \(2, 2\)[\s\S]*probability\[:, 1\]"):
        metrics.brier([0, 1], [[0.4, 0.6], [0.2, 0.8]])


def test_text_is_no_score() -> None:
    with pytest.raises(InputFormatError, match="`score` does not hold numbers"):
        metrics.auroc([0, 1], ["low", "high"])


def test_options_without_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"1\.5"):
        metrics.accuracy([0, 1], [0.1, 0.2], threshold=1.5)
    with pytest.raises(ConfigError, match="n_bins = 0"):
        metrics.expected_calibration_error([0, 1], [0.1, 0.2], n_bins=0)


# All scores at once


def test_classification_scores_are_collected() -> None:
    label, probability = np.array([1, 1, 0]), np.array([0.9, 0.4, 0.2])
    scores = metrics.score_classification(label, probability)
    assert scores == {
        **{score.__name__: score(label, probability) for score in OF_LABEL},
        "share_high": pytest.approx(2 / 3),
        "n_genes": 3,
    }
    assert json.loads(json.dumps(scores)) == scores


def test_undefined_classification_scores_are_none_with_a_reason() -> None:
    scores = metrics.score_classification([1, 1], [0.9, 0.8])
    assert scores["auroc"] is scores["auprc"] is scores["balanced_accuracy"] is None
    assert scores["accuracy"] == scores["share_high"] == 1
    assert set(scores["undefined"]) == {"auroc", "auprc", "balanced_accuracy"}
    assert scores["undefined"]["auroc"] == (
        "The AUROC has no value: all 2 genes are high (label 1)."
    )


def test_scores_of_no_genes_are_all_none() -> None:
    scores = metrics.score_classification([], [])
    assert scores["n_genes"] == 0
    assert all(scores[name] is None for name in scores["undefined"])
    assert len(scores["undefined"]) == len(scores) - 2


def test_regression_scores_are_collected() -> None:
    scores = metrics.score_regression([1, 2, 3], [2, 2, 2])
    assert scores["pearson"] is scores["spearman"] is None
    assert scores["r_squared"] == 0
    assert scores["n_genes"] == 3
    assert set(scores["undefined"]) == {"pearson", "spearman"}
    assert "undefined" not in metrics.score_regression([1, 2, 3], [1, 2, 2])


# All resamples at once, by block


def drawn_blocks(seed: int, n: int, metric: metrics.Metric) -> tuple[np.ndarray, ...]:
    """Target, prediction, block of each gene, and how often each resample holds each block."""
    random = np.random.default_rng(seed)
    block, times = random.integers(0, 5, n), random.integers(0, 3, (5, 4)).astype(float)
    if metric.tasks == ("classification",):
        # Few distinct probabilities, so that there are ties.
        return random.integers(0, 2, n).astype(float), random.integers(0, 6, n) / 5, block, times
    return random.normal(size=n), random.integers(-3, 4, n) / 2, block, times


BLOCKED = [m for m in map(metrics.METRICS.get, metrics.METRICS.names()) if m.by_block]


@pytest.mark.parametrize("metric", BLOCKED, ids=lambda metric: metric.name)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 30))
@settings(max_examples=40, deadline=None)
def test_score_of_a_resample_is_that_of_its_genes(
    metric: metrics.Metric, seed: int, n: int
) -> None:
    target, predicted, block, times = drawn_blocks(seed, n, metric)
    if not metric.by_block_exact:
        times = np.ones_like(times)
    values = metric.by_block(target, predicted, block, times)
    expected = by_rows(metric.function)(target, predicted, block, times)
    np.testing.assert_allclose(values, expected, atol=2e-6)


def test_calibration_error_of_a_resample_by_hand() -> None:
    # Two distinct probabilities make two bins: .8 with labels 1 and 0, .2 with 0 and 0.
    label, probability = np.array([1.0, 0, 0, 0]), np.array([0.8, 0.8, 0.2, 0.2])
    # The second resample holds the first gene twice and the last twice:
    # |2 (.8 - 1)| + |2 (.2 - 0)| = .8, over four genes .2.
    times = np.array([[1, 2], [1, 0], [1, 0], [1, 2]], dtype=float)
    error = metrics.EXPECTED_CALIBRATION_ERROR.by_block(label, probability, np.arange(4), times)
    # The first: |.8 - 1 + .8| + |.4| = 1.0, over four genes .25.
    np.testing.assert_allclose(error, [0.25, 0.2])


# The registry


def test_every_metric_is_registered_under_its_own_name() -> None:
    assert all(metrics.METRICS.get(name).name == name for name in metrics.METRICS.names())
    leading = {task: metrics.metrics_of(task)[0].name for task in metrics.TASKS}
    assert leading == {"classification": "auroc", "regression": "pearson", "difference": "pearson"}
    assert all(metrics.metrics_of(task)[0] in metrics.headline_metrics(task) for task in leading)


@pytest.mark.parametrize(
    ("name", "tasks", "message"),
    [
        ("auroc", ("classification",), "a metric called 'auroc' already"),
        ("mine", ("ranking",), "for the tasks ranking"),
        ("mine", (), "for the tasks none"),
    ],
)
def test_metric_of_taken_name_or_unknown_task_is_refused(name, tasks, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        metrics.register_metric(metrics.Metric(name, "mine", tasks, metrics.auroc))


def test_plain_metric_from_outside_is_scored_with_interval_and_in_benchmarks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics.METRICS, "_loaded", {**metrics.METRICS._loaded})

    def matthews(label: np.ndarray, probability: np.ndarray) -> float:
        return float(oracle.matthews_corrcoef(label == 1, probability > 0.5))

    metrics.register_metric(
        metrics.Metric("mcc", "Matthews", ("classification",), matthews, bounds=(-1, 1))
    )
    results = made_up_results()
    resamples = resample_benchmark(results, n_resamples=20)
    [(_, scored)] = results.test_sets.items()
    label = scored.genes["target"].to_numpy()
    expected = [matthews(label, each) for each in scored.predictions]
    np.testing.assert_allclose(resamples.values["mcc"], expected, atol=1e-6)
    summary = summarize(resamples).query("metric == 'mcc'")
    assert (summary["low"] <= summary["mean"]).all()
    frame = pd.DataFrame(
        {"gene_id": scored.genes["gene_id"], "cell_type": "C0", "label": label.astype(int)}
    ).assign(probability=scored.predictions[0].astype(float))
    scores = score_predictions(frame, "classification")
    assert scores["mcc_low"] < scores["mcc"] < scores["mcc_high"]
    assert NAMES["mcc"] == "Matthews"
