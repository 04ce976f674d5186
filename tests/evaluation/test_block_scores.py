"""A resample's score is that of its genes, each as often as its block was drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simplechrome import metrics
from simplechrome.errors import UndefinedScoreError
from simplechrome.evaluation.block_scores import CLASSIFICATION, REGRESSION

EXACT = [*CLASSIFICATION.items(), *REGRESSION.items()]
EXACT = [(n, f) for n, f in EXACT if n not in ("expected_calibration_error", "spearman")]


def genes(seed: int, n: int, task: str) -> tuple[np.ndarray, ...]:
    """Target, prediction, block of each gene, and how often each resample holds each block."""
    random = np.random.default_rng(seed)
    block, times = random.integers(0, 5, n), random.integers(0, 3, (5, 4)).astype(float)
    if task == "classification":
        # Few distinct probabilities, so that there are ties.
        target, predicted = random.integers(0, 2, n).astype(float), random.integers(0, 6, n) / 5
    else:
        target, predicted = random.normal(size=n), random.integers(-3, 4, n) / 2
    return target, predicted, block, times


@pytest.mark.parametrize(("name", "function"), EXACT)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 30))
@settings(max_examples=40, deadline=None)
def test_score_of_a_resample_is_that_of_its_genes(name, function, seed: int, n: int) -> None:
    task = "classification" if name in CLASSIFICATION else "regression"
    target, predicted, block, times = genes(seed, n, task)
    values = function(target, predicted, block, times)
    for resample in range(times.shape[1]):
        rows = np.repeat(np.arange(n), times[block, resample].astype(int))
        try:
            expected = getattr(metrics, name)(target[rows], predicted[rows])
        except UndefinedScoreError:
            expected = np.nan
        np.testing.assert_allclose(values[resample], expected, atol=2e-6)


@pytest.mark.parametrize("name", ["expected_calibration_error", "spearman"])
def test_all_genes_once_give_the_plain_score(name: str) -> None:
    task = "classification" if name in CLASSIFICATION else "regression"
    target, predicted, block, _ = genes(1, 200, task)
    function = (CLASSIFICATION | REGRESSION)[name]
    value = function(target, predicted, block, np.ones((5, 1)))
    assert value[0] == pytest.approx(getattr(metrics, name)(target, predicted))


def test_calibration_error_of_a_resample_by_hand() -> None:
    # Two distinct probabilities make two bins: .8 with labels 1 and 0, .2 with 0 and 0.
    label, probability = np.array([1.0, 0, 0, 0]), np.array([0.8, 0.8, 0.2, 0.2])
    # The second resample holds the first gene twice and the last twice:
    # |2 (.8 - 1)| + |2 (.2 - 0)| = .8, over four genes .2.
    times = np.array([[1, 2], [1, 0], [1, 0], [1, 2]], dtype=float)
    each = np.arange(4)
    error = CLASSIFICATION["expected_calibration_error"](label, probability, each, times)
    # The first: |.8 - 1 + .8| + |.4| = 1.0, over four genes .25.
    np.testing.assert_allclose(error, [0.25, 0.2])
