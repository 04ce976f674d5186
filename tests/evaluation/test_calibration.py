"""Calibrated probabilities keep the order of genes and mean what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from simplechrome.errors import UndefinedScoreError
from simplechrome.evaluation.calibration import Calibration, fit_calibration
from simplechrome.metrics import auroc, expected_calibration_error


def logistic(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def genes(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True log odds, labels drawn by them, and a model's: half as large, and shifted by 1."""
    rng = np.random.default_rng(seed)
    truth = 3 * rng.standard_normal(n)
    return truth, (rng.random(n) < logistic(truth)).astype(int), truth / 2 + 1


def bent(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Log odds of a model that is far too sure where it is sure, which no line can mend."""
    truth, label, _ = genes(n, seed)
    return np.sign(truth) * np.abs(truth) ** 3, label


@pytest.mark.parametrize(("n", "method"), [(49, "none"), (400, "platt"), (4000, "platt")])
def test_planted_line_is_found_from_fifty_genes_on(n: int, method: str) -> None:
    _, label, given_ = genes(n)
    fitted = fit_calibration(given_, label)
    assert (fitted.method, fitted.n_genes) == (method, n)


@pytest.mark.parametrize(("n", "methods"), [(900, {"none", "platt"}), (4000, {"isotonic"})])
def test_what_no_line_mends_gets_steps_from_a_thousand_genes_on(n: int, methods: set[str]) -> None:
    values, label = bent(n)
    fitted = fit_calibration(values, label)
    assert fitted.method in methods
    assert fitted.n_genes == n


def test_good_probabilities_of_few_genes_are_left_alone() -> None:
    # A line fitted on 60 genes adds noise, and nothing is wrong here.
    chosen = []
    for seed in range(20):
        truth, label, _ = genes(60, seed)
        chosen.append(fit_calibration(truth, label).method)
    assert chosen.count("none") > 10


def test_without_calibration_it_is_the_logistic_function() -> None:
    np.testing.assert_allclose(Calibration().apply(np.array([0.0, np.log(3)])), [0.5, 0.75])


def test_planted_line_is_recovered() -> None:
    # truth = 2 × given - 2
    _, label, given_ = genes(999)
    fitted = fit_calibration(given_, label)
    assert fitted.slope == pytest.approx(2, abs=0.3)
    assert fitted.intercept == pytest.approx(-2, abs=0.4)


@pytest.mark.parametrize("n", [400, 4000])
def test_new_genes_are_calibrated(n: int) -> None:
    _, label, given_ = genes(n)
    _, new_label, new = genes(20_000, seed=1)
    before = expected_calibration_error(new_label, logistic(new))
    after = expected_calibration_error(new_label, fit_calibration(given_, label).apply(new))
    assert before > 0.1
    assert after < 0.03


def test_platts_targets_by_hand() -> None:
    # All log odds are ±3, far too sure: 30 of 40 at +3 are high and 10 of 40 at -3. Platt's targets
    # are 41/42 for a high gene and 1/42 for a low one: the mean at +3 is
    # (30 × 41/42 + 10 × 1/42) / 40.
    values = np.repeat([3.0, -3.0], 40)
    label = np.r_[np.ones(30), np.zeros(10), np.ones(10), np.zeros(30)].astype(int)
    share = (30 * 41 / 42 + 10 * 1 / 42) / 40
    fitted = fit_calibration(values, label)
    assert fitted.apply(np.array([3.0]))[0] == pytest.approx(share, abs=1e-5)
    assert fitted.intercept == pytest.approx(0, abs=1e-5)


def test_reversed_order_is_left_alone() -> None:
    _, label, given_ = genes(400)
    assert fit_calibration(-given_, label).method == "none"


def test_steps_make_no_gene_certain() -> None:
    values, label = bent(4000)
    ends = fit_calibration(values, label).apply(np.array([-1e6, 1e6]))
    assert ends[0] >= 1 / 4002 - 1e-12
    assert ends[1] <= 4001 / 4002 + 1e-12


def test_steps_do_not_tie_genes() -> None:
    values, label = bent(4000)
    new, new_label = bent(4000, seed=1)
    fitted = fit_calibration(values, label)
    assert fitted.method == "isotonic"
    assert auroc(new_label, fitted.apply(new)) == pytest.approx(auroc(new_label, new), abs=0.0005)
    inside = np.sort(new[(new > fitted.log_odds[0]) & (new < fitted.log_odds[-1])])
    assert (np.diff(fitted.apply(inside)) > 0).all()


@given(n=st.sampled_from([10, 60, 1500]), seed=st.integers(0, 99))
def test_order_is_kept_and_all_are_probabilities(n: int, seed: int) -> None:
    _, label, given_ = genes(n, seed)
    fitted = fit_calibration(given_, label)
    probability = fitted.apply(np.linspace(-20, 20, 50))
    assert (np.diff(probability) >= 0).all()
    assert ((probability >= 0) & (probability <= 1)).all()
    adapter = TypeAdapter(Calibration)
    assert adapter.validate_json(adapter.dump_json(fitted)) == fitted


def test_one_class_or_one_value_is_not_calibrated() -> None:
    assert fit_calibration(np.linspace(-1, 1, 100), np.ones(100)).method == "none"
    assert fit_calibration(np.zeros(100), np.arange(100) % 2).method == "none"


@pytest.mark.parametrize(
    ("log_odds", "found"), [([1.0], "1 log odds, 1 of"), ([1.0, np.nan], "2 log odds, 1 of")]
)
def test_unequal_lengths_and_nan_are_refused(log_odds: list[float], found: str) -> None:
    with pytest.raises(UndefinedScoreError, match=f"{found} them finite, and 2 labels"):
        fit_calibration(np.array(log_odds), np.array([1, 0]))
