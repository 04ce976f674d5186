"""Conformal sets: their threshold by hand, their promise by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from simplechrome.errors import ConfigError
from simplechrome.evaluation.uncertainty import (
    LabelSets,
    LevelIntervals,
    conformal_threshold,
    fit_label_sets,
    fit_level_intervals,
    name_label_sets,
)


def test_threshold_by_hand() -> None:
    # Nine genes: the (9 + 1) × .9 = 9th smallest score. The tenth for .91, which is not there.
    scores = np.array([0.3, 0.1, 0.9, 0.5, 0.2, 0.4, 0.8, 0.6, 0.7])
    assert conformal_threshold(scores, 0.9) == 0.9
    assert conformal_threshold(scores, 0.5) == 0.5
    assert conformal_threshold(scores, 0.91) == math.inf


def test_ninety_nine_genes_need_ninety() -> None:
    # 100 × .9 is a little above 90 in floating point.
    assert conformal_threshold(np.arange(1, 100), 0.9) == 90


@pytest.mark.parametrize("coverage", [0.0, 1.0, 1.5, -0.1])
def test_invalid_coverage_is_refused(coverage: float) -> None:
    with pytest.raises(ConfigError, match="not a fraction above 0 and below 1"):
        conformal_threshold(np.zeros(3), coverage)


def test_sets_by_hand() -> None:
    # May be low up to log odds of 1, high from -2 on.
    sets = LabelSets(1.0, -2.0).apply(np.array([-3.0, 0.0, 1.0, 2.0]))
    assert name_label_sets(sets).tolist() == ["low", "low or high", "low or high", "high"]
    between = LabelSets(-1.0, 1.0).apply(np.array([0.0]))
    assert name_label_sets(between).tolist() == ["neither"]


def test_few_genes_share_a_threshold() -> None:
    # Log odds against the truth: -4 -3 -2 -1 .5. Of five, 80 % are held by the ⌈6 × .8⌉ = 5th: .5.
    values, label = np.array([4, 1, -0.5, -3, -2]), np.array([1, 1, 1, 0, 0])
    assert fit_label_sets(values, label, 0.8) == LabelSets(0.5, -0.5)


def test_each_class_of_many_genes_has_its_own_threshold() -> None:
    # Lows at 1 … 400, of which 90 % are held up to the ⌈401 × .9⌉ = 361st; highs at 1 … 100, of
    # which 90 % are held from the ⌈101 × .9⌉ = 91st from above: 10.
    values = np.concatenate([np.arange(1, 401), np.arange(1, 101)])
    label = np.repeat([0, 1], [400, 100])
    assert fit_label_sets(values, label, 0.9) == LabelSets(361, 10)
    # One high gene less is too few for a threshold of its own.
    fitted = fit_label_sets(values[:-1], label[:-1], 0.9)
    assert fitted.low_up_to == -fitted.high_from


def test_too_few_genes_leave_nothing_out() -> None:
    fitted = fit_label_sets(np.zeros(3), np.array([0, 1, 1]), 0.9)
    assert not fitted.leaves_out
    assert fitted.apply(np.array([-1e9, 1e9])).all()
    levels = fit_level_intervals(np.zeros(3), np.ones(3), 0.9)
    assert not levels.leaves_out
    assert [float(side[0]) for side in levels.apply(np.zeros(1))] == [0, math.inf]


def test_intervals_by_hand() -> None:
    # Distances 1 to 9: the ⌈10 × .8⌉ = 8th. No level is below 0.
    fitted = fit_level_intervals(np.arange(1.0, 10), np.zeros(9), 0.8)
    assert fitted == LevelIntervals((), (8.0,))
    low, high = fitted.apply(np.array([-9.0, 5.0, 20.0]))
    assert (low.tolist(), high.tolist()) == ([0, 0, 12], [0, 13, 28])


def test_intervals_are_wider_where_predictions_are_worse() -> None:
    # Five hundred predictions 0 to 499; those from 400 on are off by 3, the others by 1.
    predicted = np.arange(500.0)
    fitted = fit_level_intervals(predicted, predicted + np.where(predicted < 400, 1, 3), 0.9)
    assert fitted.half_width == (1, 1, 1, 1, 3)
    low, high = fitted.apply(np.array([399.0, 400.0]))
    assert (high - low).tolist() == [2, 6]


def test_equal_predictions_make_one_bin() -> None:
    fitted = fit_level_intervals(np.full(600, 2.0), np.linspace(0, 4, 600), 0.9)
    low, high = fitted.apply(np.array([1.0, 2.0, 3.0]))
    assert (high - low)[1] == pytest.approx(3.6, abs=0.02)


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_new_genes_are_covered_in_both_classes(coverage: float) -> None:
    rng = np.random.default_rng(0)
    truth = 3 * rng.standard_normal(40_000) - 1
    label = (rng.random(truth.size) < 1 / (1 + np.exp(-truth))).astype(int)
    sets = fit_label_sets(truth[:20_000], label[:20_000], coverage).apply(truth[20_000:])
    new = label[20_000:]
    inside = sets[np.arange(new.size), new]
    for value in (0, 1):
        assert inside[new == value].mean() == pytest.approx(coverage, abs=0.015)


@pytest.mark.parametrize(
    "kept", [LabelSets(), LabelSets(0.5, -1.0), LevelIntervals(), LevelIntervals((1.0,), (2, 3))]
)
def test_thresholds_survive_json(kept: LabelSets | LevelIntervals) -> None:
    adapter = TypeAdapter(type(kept))
    text = adapter.dump_json(kept)
    assert b"inf" not in text.lower()
    assert adapter.validate_json(text) == kept


@given(coverage=st.sampled_from([0.5, 0.8, 0.9]), n=st.sampled_from([50, 500]))
def test_coverage_is_what_was_promised(coverage: float, n: int) -> None:
    # Over many draws of n genes, the next gene's score is below the threshold in this share of
    # cases: exactly ⌈(n + 1) coverage⌉ / (n + 1). 4,000 draws: standard error below .008.
    rng = np.random.default_rng(0)
    scores = rng.random((4000, n))
    new = rng.random(4000)
    held = np.mean(
        [
            value <= conformal_threshold(row, coverage)
            for row, value in zip(scores, new, strict=True)
        ]
    )
    promised = math.ceil(round((n + 1) * coverage, 9)) / (n + 1)
    assert held == pytest.approx(promised, abs=0.03)
