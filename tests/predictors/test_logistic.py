"""The solver behind the linear head, against arithmetic and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from simplechrome.predictors.logistic import Line, solve_logistic


def make(rows: int, features: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, features))
    y = (x[:, 0] + random.logistic(size=rows) > 0.3).astype(int)
    y[:2] = 0, 1
    return x - x.mean(axis=0), y


def test_two_points_by_hand() -> None:
    """Rows at -1 and 1: the weight w holds w = 2 C / (1 + exp(w)), the intercept is 0."""
    (w,), intercept = solve_logistic(np.array([[-1.0], [1.0]]), np.array([0, 1]), 0.5)
    assert intercept == pytest.approx(0, abs=1e-9)
    assert w == pytest.approx(2 * 0.5 / (1 + np.exp(w)), abs=1e-7)


@given(
    rows=st.integers(5, 60),
    features=st.integers(1, 12),
    penalty=st.sampled_from([1e-5, 1e-3, 0.1, 1.0, 10.0]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_the_sum_of_losses_and_penalty_is_least(
    rows: int, features: int, penalty: float, seed: int
) -> None:
    x, y = make(rows, features, seed)
    weights, intercept = solve_logistic(x, y, penalty)
    residual = expit(x @ weights + intercept) - y
    # Nothing pulls at the weights, nor at the intercept.
    assert np.abs(penalty * x.T @ residual + weights).max() < 1e-5 * max(1, penalty * rows)
    assert abs(residual.sum()) < 1e-5 * rows


@pytest.mark.parametrize("penalty", [1e-4, 0.01, 1.0, 100.0])
def test_agrees_with_scikit_learn(penalty: float) -> None:
    x, y = make(300, 20)
    model = LogisticRegression(C=penalty, solver="newton-cholesky", tol=1e-10).fit(x, y)
    weights, intercept = solve_logistic(x, y, penalty)
    np.testing.assert_allclose(weights, model.coef_[0], atol=1e-6)
    assert intercept == pytest.approx(model.intercept_[0], abs=1e-6)


@pytest.mark.parametrize("size", [0.1, 10.0, 1e4])
def test_the_start_does_not_matter(size: float) -> None:
    x, y = make(100, 5)
    plain = solve_logistic(x, y, 1.0)
    random = np.random.default_rng(1)
    start = Line(size * random.normal(size=5), size)
    weights, intercept = solve_logistic(x, y, 1.0, start=start)
    np.testing.assert_allclose(weights, plain.weights, atol=1e-6)
    assert intercept == pytest.approx(plain.intercept, abs=1e-6)


def test_separable_labels_have_a_finite_solution() -> None:
    x = np.linspace(-1, 1, 20)[:, np.newaxis]
    (w,), intercept = solve_logistic(x, (x[:, 0] > 0).astype(int), 1e4)
    assert 10 < w < 1e4
    assert intercept == pytest.approx(0, abs=1e-3)
