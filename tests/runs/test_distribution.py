"""Values take the distribution of others, rank for rank."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simplechrome.runs.adapt import BIN_FRACTIONS, match_values


def test_ranks_are_kept_and_values_replaced() -> None:
    # Middle ranks of four values are 1/8, 3/8, 5/8, 7/8; the other distribution runs from 0 to 80.
    values = np.array([[9.0, 1.0], [3.0, 100.0]])
    np.testing.assert_allclose(
        match_values(values, values, 80 * BIN_FRACTIONS), [[50, 10], [30, 70]]
    )


def test_equal_values_get_the_middle_of_their_ranks() -> None:
    # Three zeros hold the ranks 0 to 3/4: their middle is 3/8.
    values = np.array([0.0, 0.0, 5.0, 0.0])
    np.testing.assert_allclose(match_values(values, values, 80 * BIN_FRACTIONS), [30, 30, 70, 30])


def test_values_outside_of_the_sample_take_its_ends() -> None:
    sample = np.arange(1.0, 5.0)
    matched = match_values(np.array([-3.0, 9.0]), sample, 80 * BIN_FRACTIONS)
    np.testing.assert_allclose(matched, [0, 80])


def test_p_values_of_counts_become_counts_again() -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(1, 4, (300, 20)))
    matched = match_values(
        np.log1p(counts) ** 3, np.log1p(counts) ** 3, np.quantile(counts, BIN_FRACTIONS)
    )
    # Between two quantiles, a percent apart, a count may become its neighbor.
    assert np.abs(matched - counts)[counts < np.quantile(counts, 0.98)].max() <= 1


@given(arrays(float, (3, 5), elements=st.floats(-100, 100)))
def test_order_is_never_turned_around(values: np.ndarray) -> None:
    matched = match_values(values, values, np.sort(BIN_FRACTIONS**2)).ravel()
    order = np.argsort(values, axis=None)
    assert (np.diff(matched[order]) >= 0).all()
