"""High or low, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from simplechrome.dataset.building.arrays import label_expression
from simplechrome.errors import ConfigError

NAN = np.nan


def labels(values: list[float], rule: str = "median") -> list[int]:
    return label_expression(np.array([values], np.float32), rule)[0].tolist()


def test_above_the_median_is_high() -> None:
    assert labels([1, 2, 3, 4]) == [0, 0, 1, 1]  # median 2.5


def test_a_gene_at_the_median_is_low() -> None:
    assert labels([3, 1, 2]) == [1, 0, 0]  # median 2
    assert labels([0, 0, 0, 5]) == [0, 0, 0, 1]  # median 0: most genes are silent
    assert labels([7, 7, 7]) == [0, 0, 0]


def test_unmeasured_genes_are_unknown_and_do_not_move_the_median() -> None:
    assert labels([NAN, 1, NAN, 2, 3]) == [-1, 0, -1, 0, 1]  # median of 1, 2, 3
    assert labels([NAN, NAN]) == [-1, -1]
    assert labels([np.inf, 1, 2]) == [-1, 0, 1]


def test_each_cell_type_has_its_own_median() -> None:
    expression = np.array([[1, 2, 3], [30, 20, 10], [NAN, NAN, NAN]], np.float32)
    assert label_expression(expression).tolist() == [[0, 0, 1], [1, 0, 0], [-1, -1, -1]]


def test_the_median_is_not_rounded_to_float32() -> None:
    # Between two neighboring float32 numbers there is a median, but no float32.
    low = np.float32(1)
    for _ in range(4):
        high = np.nextafter(low, np.float32(2))
        assert label_expression(np.array([[low, high]])).tolist() == [[0, 1]]
        low = high


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("mean", [0, 0, 0, 1]),  # mean of 1, 2, 3, 10 is 4
        ("quantile:0.75", [0, 0, 0, 1]),  # 3 + 0.25 x 7 = 4.75
        ("quantile:0.1", [0, 1, 1, 1]),  # 1.3
        ("threshold:2", [0, 0, 1, 1]),
        ("threshold:-1", [1, 1, 1, 1]),
        ("tertiles", [0, 0, -1, 1]),  # thirds end at 2 and 3; up to 2 is low, above 3 high
    ],
)
def test_other_rules(rule: str, expected: list[int]) -> None:
    assert labels([1, 2, 3, 10], rule) == expected


def test_a_threshold_is_as_exact_as_the_values() -> None:
    # 0.1 is 0.100000001 in float32, and is not above a threshold of 0.1 all the same.
    assert labels([0.1, 0.2], "threshold:0.1") == [0, 1]
    assert label_expression(np.array([[1, 2]]), "threshold:1.5").tolist() == [[0, 1]]


@pytest.mark.parametrize(
    "rule",
    [
        *("", "medain", "median:3", "tertiles:2"),
        *("quantile", "quantile:0", "quantile:1", "quantile:nan"),
        *("threshold:nan", "threshold:", "threshold:high"),
    ],
)
def test_other_words_are_no_rules(rule: str) -> None:
    with pytest.raises(ConfigError, match="expected: median, mean, tertiles, quantile:Q"):
        label_expression(np.full((1, 2), NAN), rule)


@given(
    hnp.arrays(
        np.float32,
        st.integers(1, 30),
        elements=st.floats(0, 1e4, width=32) | st.just(NAN) | st.just(0.0),
    )
)
def test_the_median_rule_is_half_high_at_most_and_keeps_order(values: np.ndarray) -> None:
    before = values.copy()
    label = label_expression(values[None])[0]
    assert np.array_equal(values, before, equal_nan=True)
    assert ((label == -1) == np.isnan(values)).all()
    high, low = values[label == 1], values[label == 0]
    assert high.size <= low.size
    if high.size:
        assert high.min() > low.max()
