"""Logistic and ridge regression, against closed forms and scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge

from simplechrome import PCA, LinearPredictor, from_arrays, load_predictor
from simplechrome.errors import ModelMismatchError
from simplechrome.metrics import auroc
from simplechrome.predictors import linear


def toy(n: int = 60, features: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features whose first decides the class, with noise."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, features))
    return x, (x[:, 0] + 0.5 * rng.standard_normal(n) > 0).astype(int)


def test_ridge_by_hand() -> None:
    # XᵀX = 2, penalty 1 / C = 2, Xᵀ(y - 1) = 2: a slope of 2 / (2 + 2), through the means (5, 1).
    head = LinearPredictor("regression", Cs=(0.5,)).fit(
        np.array([[4.0], [6.0]]), np.array([0.0, 2.0])
    )
    assert head.coef_ == pytest.approx([0.5])
    assert head.intercept_ == pytest.approx(1 - 0.5 * 5)
    assert head.predict(np.array([[7.0]])) == pytest.approx([2.0])


@pytest.mark.parametrize("shape", [(40, 5), (8, 30)])
def test_ridge_agrees_with_scikit_learn(shape: tuple[int, int]) -> None:
    x, _ = toy(*shape)
    y = x @ np.arange(shape[1]) + 3
    head = LinearPredictor("regression", Cs=(0.3,)).fit(x, y)
    reference = Ridge(alpha=1 / 0.3).fit(x, y)
    np.testing.assert_allclose(head.coef_, reference.coef_, rtol=1e-6)
    assert head.intercept_ == pytest.approx(reference.intercept_)


@pytest.mark.parametrize("shape", [(60, 5), (12, 40)])
def test_logistic_regression_agrees_with_scikit_learn(shape: tuple[int, int]) -> None:
    """With fewer rows than features the reduced problem has the solution of the whole one."""
    x, y = toy(*shape)
    x += 2  # centering must not change the solution
    head = LinearPredictor(Cs=(0.3,)).fit(x, y)
    reference = LogisticRegression(C=0.3, tol=1e-10, max_iter=10_000).fit(x, y)
    np.testing.assert_allclose(head.coef_, reference.coef_[0], atol=1e-5)
    assert head.intercept_ == pytest.approx(reference.intercept_[0], abs=1e-4)
    np.testing.assert_allclose(head.predict_proba(x), reference.predict_proba(x), atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(4, 10), st.integers(11, 30), st.sampled_from([1e-4, 0.1, 10.0]), st.integers(0, 99)
)
def test_duplicated_features_share_their_coefficient(
    n: int, features: int, C: float, seed: int
) -> None:
    """A singular problem, reduced to the span of its rows."""
    x, y = toy(n, features, seed)
    if np.unique(y).size < 2:
        return
    head = LinearPredictor(Cs=(C,)).fit(np.hstack([x, x]), y)
    np.testing.assert_allclose(head.coef_[:features], head.coef_[features:], atol=1e-8)


def test_features_that_never_vary_give_the_share_of_the_classes() -> None:
    x, y = np.ones((6, 9)), np.array([0, 1, 0, 1, 0, 1])
    for features in (x, x[:, :2]):
        head = LinearPredictor(Cs=(0.1, 1.0)).fit(features, y)
        np.testing.assert_allclose(head.predict_proba(features), 0.5, atol=1e-6)


def penalties_with_known_losses(
    monkeypatch: pytest.MonkeyPatch, prediction_of: dict[float, float]
) -> None:
    class Known:
        def __init__(self, *_: object, **__: object) -> None: ...

        def solve(self, inverse_penalty: float, **_: float) -> tuple[np.ndarray, float]:
            return np.zeros(1), prediction_of[inverse_penalty]

    monkeypatch.setattr(linear, "_Fold", Known)


HELD_OUT = np.zeros((3, 1)), np.array([0.0, 0.0, 3.0])


def test_strongest_penalty_within_one_standard_error_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Predictions 2, 1.5 and 1 of the values 0, 0, 3: squared errors (4, 4, 1), (2.25 three times),
    # (1, 1, 4): means 3, 2.25 and 2. Deviation of the best √2, standard error √2 / √3 = .82.
    # 2.25 lies within 2.82, 3 does not.
    penalties_with_known_losses(monkeypatch, {0.1: 2.0, 1.0: 1.5, 10.0: 1.0})
    head = LinearPredictor("regression", Cs=(10.0, 0.1, 1.0))
    head.fit(np.zeros((2, 1)), np.array([0.0, 1.0]), validation=HELD_OUT)
    assert head.loss_ == pytest.approx([3, 2.25, 2])
    assert head.C_ == 1.0


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_order_is_of_the_strong_penalty_and_scale_of_the_best(task: str) -> None:
    x, high = toy(40, features=12, seed=3)
    y = high if task == "classification" else x[:, 0] + 0.5 * high
    both = LinearPredictor(task).fit(x, y)
    assert both.C_of_scale_ > both.C_
    strong, best = (LinearPredictor(task, Cs=[C]).fit(x, y) for C in (both.C_, both.C_of_scale_))

    def values(predictor: LinearPredictor) -> np.ndarray:
        return x @ predictor.coef_ + predictor.intercept_

    # The line through (strong, best) of the labelled rows, by least squares.
    slope, shift = np.polyfit(values(strong), values(best), 1)
    assert slope > 1
    np.testing.assert_allclose(values(both), slope * values(strong) + shift, rtol=1e-6)


def test_weaker_penalties_are_not_tried_once_the_loss_has_risen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The best prediction, 1, comes with the second penalty.
    predictions = [3.0, 1.0, -1.0, -2.0, -3.0, 1.0]
    known = dict(zip([0.01, 0.1, 1.0, 10.0, 100.0, 1000.0], predictions, strict=True))
    penalties_with_known_losses(monkeypatch, known)
    head = LinearPredictor("regression", Cs=tuple(known))
    head.fit(np.zeros((2, 1)), np.array([0.0, 1.0]), validation=HELD_OUT)
    assert np.isnan(head.loss_).tolist() == [False] * 5 + [True]
    assert head.C_ == 0.1


def test_noise_gets_a_strong_penalty_and_signal_a_weak_one() -> None:
    x, y = toy(200)
    noise = np.random.default_rng(1).permutation(y)
    assert LinearPredictor().fit(x, noise).C_ <= 1e-4
    assert LinearPredictor().fit(x, y).C_ >= 1e-2


@pytest.mark.parametrize("genes", [2, 3])
def test_regression_on_two_or_three_genes_takes_the_default_penalty(genes: int) -> None:
    """They make no two folds of which one could be scored."""
    head = LinearPredictor("regression").fit(np.eye(genes), np.arange(float(genes)))
    assert head.default_C == head.C_
    assert np.isfinite(head.predict(np.eye(genes))).all()


def test_class_with_a_single_member_gets_the_default_penalty(
    caplog: pytest.LogCaptureFixture,
) -> None:
    x, _ = toy(6)
    head = LinearPredictor(default_C=0.25).fit(x, np.array([0, 0, 0, 0, 0, 1]))
    assert head.C_ == 0.25
    assert "Too few labels of one class" in caplog.text
    two = LinearPredictor(Cs=(0.1, 1.0)).fit(x, np.array([0, 0, 0, 0, 1, 1]))  # two folds
    assert np.isfinite(two.loss_).all()


def test_three_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="Only binary"):
        LinearPredictor().fit(np.zeros((3, 1)), np.array([0, 1, 2]))


def test_minus_one_is_an_ordinary_class_of_a_plain_array() -> None:
    x, y = toy()
    head = LinearPredictor().fit(x, 2 * y - 1)
    assert head.classes_.tolist() == [-1, 1]
    assert set(head.predict(x)) == {-1, 1}


def test_labelled_in_labelled_out(labelled: Callable) -> None:
    x, y = toy(60)
    features = labelled(x.reshape(2, 30, 5))
    head = LinearPredictor(Cs=(1.0,)).fit(features, labelled(y.reshape(2, 30)))
    np.testing.assert_allclose(head.coef_, LinearPredictor(Cs=(1.0,)).fit(x, y).coef_)
    probability, chosen = head.predict_proba(features), head.predict(features)
    assert isinstance(probability, xr.DataArray)
    assert probability.dims == ("cell_type", "gene", "label")
    assert probability["label"].values.tolist() == [0, 1]
    assert chosen.dims == head.decision_function(features).dims == ("cell_type", "gene")
    np.testing.assert_array_equal(chosen["gene_id"], features["gene_id"])
    np.testing.assert_array_equal(chosen["cell_type"], features["cell_type"])
    np.testing.assert_array_equal(chosen, probability.sel(label=1) > 0.5)


def test_probabilities_add_up_and_do_not_overflow() -> None:
    head = LinearPredictor(Cs=(1.0,)).fit(*toy())
    far = np.zeros((2, 5))
    far[:, 0] = -1e6, 1e6
    np.testing.assert_array_equal(head.predict_proba(far), [[1, 0], [0, 1]])
    np.testing.assert_allclose(head.predict_proba(toy()[0]).sum(axis=1), 1)


def test_other_features_are_refused_by_name(labelled: Callable) -> None:
    x, y = toy(30)
    head = LinearPredictor(Cs=(1.0,)).fit(labelled(x[None]), labelled(y[None]))
    renamed = labelled(x[None]).assign_coords(latent=list("abcde"))
    with pytest.raises(ModelMismatchError, match=r"\(a, b, c, d, …\) are not .*\(pc_1, pc_2"):
        head.predict(renamed)
    with pytest.raises(ModelMismatchError, match=r"3 features .* are not the 5"):
        head.predict(labelled(x[None, :, :3]))


def test_regression_has_no_probabilities() -> None:
    head = LinearPredictor("regression", Cs=(1.0,)).fit(np.eye(4), np.arange(4.0))
    assert not hasattr(head, "predict_proba")
    assert not hasattr(head, "decision_function")


def test_score_does_not_count_genes_without_a_label(labelled: Callable) -> None:
    # The slope is positive: 1, 0, 1 are called right; the gene without a label does not count.
    x = labelled([[[2.0], [-2.0], [1.0], [5.0]]])
    head = LinearPredictor(Cs=(1.0,)).fit(x, labelled([[1, 0, 1, -1]]))
    assert head.score(x, labelled([[1, 0, 1, -1]])) == 1
    assert head.score(x, labelled([[1, 0, 0, -1]])) == pytest.approx(2 / 3)
    levels = LinearPredictor("regression", Cs=(1e9,)).fit(x, labelled([[2.0, -2, 1, np.nan]]))
    assert levels.score(x, labelled([[2.0, -2, 1, np.nan]])) == pytest.approx(1)


def test_planted_effect_is_recovered() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 3))
    log_odds = x @ [2.0, -1.0, 0.0] + 0.5
    y = (rng.random(4000) < 1 / (1 + np.exp(-log_odds))).astype(int)
    head = LinearPredictor(Cs=(100.0,)).fit(x, y)
    np.testing.assert_allclose(head.coef_, [2, -1, 0], atol=0.15)  # standard errors about .05
    assert head.intercept_ == pytest.approx(0.5, abs=0.15)


def test_permuted_labels_give_half_on_average() -> None:
    """A single run may lie anywhere; the mean may not."""
    x, y = toy(260)
    head = LinearPredictor(Cs=(1.0,))
    assert auroc(y[60:], head.fit(x[:60], y[:60]).decision_function(x[60:])) > 0.9
    rng = np.random.default_rng(0)
    scores = [
        auroc(y[60:], head.fit(x[:60], rng.permutation(y[:60])).decision_function(x[60:]))
        for _ in range(100)
    ]
    error = np.std(scores) / 10
    assert np.mean(scores) == pytest.approx(0.5, abs=3 * error)
    assert error < 0.03


def test_classes_of_any_kind_are_saved(tmp_path: Path) -> None:
    x, y = toy()
    head = LinearPredictor(Cs=(1.0,)).fit(x, np.where(y == 1, "on", "off"))
    head.save(tmp_path / "head")
    loaded = LinearPredictor.load(tmp_path / "head")
    assert loaded.predict(x).tolist() == head.predict(x).tolist()


def test_encoder_is_no_predictor(tmp_path: Path) -> None:
    dataset: Any = from_arrays(
        np.arange(6).reshape(1, 3, 2, 1), marks=["m"], gene_ids=list("abc"), cell_types=["c"]
    )
    PCA(1).fit(dataset).save(tmp_path / "model")
    with pytest.raises(ModelMismatchError, match="the class PCA, not one of LinearPredictor, MLP"):
        load_predictor(tmp_path / "model")


@pytest.mark.parametrize(("task", "unknown"), [("classification", -1), ("regression", np.nan)])
def test_genes_without_a_label_or_expression_change_nothing(
    labelled: Callable, task: str, unknown: float
) -> None:
    x, y = toy(30)
    known = LinearPredictor(task).fit(labelled(x[None]), labelled(y[None]))
    wild = labelled(np.vstack([x, np.full((4, 5), 1e6)])[None])
    with_unknown = LinearPredictor(task).fit(wild, labelled(np.append(y, [unknown] * 4)[None]))
    np.testing.assert_array_equal(known.coef_, with_unknown.coef_)


def test_inner_folds_are_seeded(capsys: pytest.CaptureFixture[str]) -> None:
    one, same, other = (
        LinearPredictor(random_state=seed, Cs=(0.1, 1.0)).fit(*toy(25)).loss_ for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert capsys.readouterr() == ("", "")
