"""The multilayer perceptron: what it learns, when it stops, and what Ctrl-C leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simplechrome import MLPPredictor, load_predictor
from simplechrome.errors import ModelFormatError, ModelMismatchError
from simplechrome.predictors import network
from simplechrome.training.checkpoint import epochs_done

SMALL: dict[str, Any] = {"hidden": (16,), "learning_rate": 0.03, "dropout": 0.0}


def circle(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """High inside a circle: no linear head can tell."""
    x = np.random.default_rng(seed).uniform(-2, 2, (n, 2))
    return x, (np.square(x).sum(axis=1) < 1.8).astype(int)


def test_what_no_line_can_tell_is_learned() -> None:
    head = MLPPredictor(epochs=40, **SMALL).fit(*circle(), validation=circle(seed=1))
    assert head.score(*circle(seed=2)) > 0.9


def test_regression_is_in_the_units_of_the_target() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 2))
    y = 1000 + 50 * x[:, 0]
    head = MLPPredictor("regression", epochs=25, hold_out_from=200, **SMALL).fit(x, y)
    assert np.sqrt(np.square(head.predict(x) - y).mean()) < 10
    assert not hasattr(head, "predict_proba")


def test_validation_genes_choose_the_epoch() -> None:
    head = MLPPredictor(epochs=30, patience=4, **SMALL).fit(*circle(), validation=circle(seed=1))
    losses = [row["validation_loss"] for row in head.history_]
    assert head.epochs_ == int(np.argmin(losses)) + 1


def test_validation_genes_do_not_train() -> None:
    x, y = circle()
    one, other = (
        MLPPredictor(epochs=1, **SMALL).fit(x, y, validation=circle(seed=seed)) for seed in (1, 2)
    )
    np.testing.assert_array_equal(one.predict_proba(x), other.predict_proba(x))


def trainings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int | None, int]]:
    """Rows, held-out rows and epochs of each call of the training loop."""
    calls: list[tuple[int, int | None, int]] = []
    original = network.train

    def spy(module: Any, loss: Any, rows: Any, settings: Any, **more: Any) -> Any:
        held_out = more.get("validation")
        calls.append((len(rows[0]), held_out and len(held_out[0]), settings.epochs))
        return original(module, loss, rows, settings, **more)

    monkeypatch.setattr(network, "train", spy)
    return calls


def test_few_labels_choose_the_epochs_by_cross_validation_and_all_of_them_train(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = trainings(monkeypatch)
    x, y = circle(30)
    head = MLPPredictor(epochs=4, n_folds=3, **SMALL).fit(x, y)
    assert calls[:3] == [(20, 10, 4)] * 3
    assert calls[3:] == [(30, None, head.epochs_)]
    assert 1 <= head.epochs_ <= 4


def test_of_many_labels_a_tenth_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = trainings(monkeypatch)
    x, y = circle(100)
    MLPPredictor(epochs=2, hold_out_from=100, **SMALL).fit(x, y)
    assert calls == [(90, 10, 2)]


@pytest.mark.parametrize("n", [30, 100])
def test_without_early_stopping_all_labels_train_for_all_epochs(
    monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    calls = trainings(monkeypatch)
    x, y = circle(n)
    options = {"epochs": 5, "early_stopping": False, "hold_out_from": 50, "patience": 1, **SMALL}
    head = MLPPredictor(**options).fit(x, y, validation=circle(20, seed=1))
    assert calls == [(n, None, 5)]
    assert head.epochs_ == len(head.history_) == 5
    alone = MLPPredictor(**options).fit(x, y)
    np.testing.assert_array_equal(head.predict_proba(x), alone.predict_proba(x))


def settings_of(monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    """Settings of the training, and the weights that it begins with."""
    seen: list[Any] = []
    original = network.train

    def spy(module: Any, loss: Any, rows: Any, settings: Any, **more: Any) -> Any:
        seen.append((settings, [w.detach().clone() for w in module.parameters()]))
        return original(module, loss, rows, settings, **more)

    monkeypatch.setattr(network, "train", spy)
    MLPPredictor(epochs=1, early_stopping=False, **options).fit(*circle(30))
    return seen[0]


def test_gradients_are_clipped_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of(monkeypatch)[0].max_gradient_norm == 1
    assert settings_of(monkeypatch, clip_gradients=False)[0].max_gradient_norm == np.inf


def test_he_normal_weights_have_the_variance_of_two_over_inputs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, weights = settings_of(monkeypatch, hidden=(400, 300), initialization="he_normal")
    first, bias, second, _, last, _ = weights
    # Deviations sqrt(2 / 2) and sqrt(2 / 400) = .0707; a tenth of leeway for 800 draws.
    assert first.std().item() == pytest.approx(1, rel=0.1)
    assert second.std().item() == pytest.approx(0.0707, rel=0.02)
    assert bias.abs().max() == 0
    # Glorot's uniform weights end at sqrt(6 / (300 + 1)) = .1412.
    assert 0.13 < last.abs().max().item() <= 0.1412


@pytest.mark.parametrize("epochs", [2, 8])
def test_class_with_a_single_member_gets_a_quarter_of_the_epochs(
    monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    calls = trainings(monkeypatch)
    x, _ = circle(6)
    MLPPredictor(epochs=epochs, **SMALL).fit(x, np.array([0, 0, 0, 0, 0, 1]))
    assert calls == [(6, None, max(1, epochs // 4))]


def test_dropout_is_off_when_predicting() -> None:
    x, y = circle(50)
    head = MLPPredictor(epochs=1, hidden=(16,), dropout=0.5).fit(x, y)
    np.testing.assert_array_equal(head.predict_proba(x), head.predict_proba(x))


def test_labelled_arrays_are_stacked_and_unknown_labels_dropped(labelled: Callable) -> None:
    x, y = circle(60)
    y[:6] = -1
    features, label = labelled(x.reshape(2, 30, 2)), labelled(y.reshape(2, 30))
    head = MLPPredictor(epochs=2, **SMALL).fit(features, label)
    plain = MLPPredictor(epochs=2, **SMALL).fit(x[6:].astype(np.float64), y[6:])
    probability = head.predict_proba(features)
    assert probability.dims == ("cell_type", "gene", "label")
    np.testing.assert_allclose(probability.values.reshape(60, 2), plain.predict_proba(x), atol=1e-6)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    x, y = circle(30)
    for width in (3, 4):
        MLPPredictor(epochs=1, hidden=(width,)).fit(x, y).save(tmp_path / str(width))
    (tmp_path / "3" / "model.safetensors").write_bytes(
        (tmp_path / "4" / "model.safetensors").read_bytes()
    )
    with pytest.raises(ModelFormatError, match="do not fit together"):
        load_predictor(tmp_path / "3")


def interrupt(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """Ctrl-C comes in the given batch that is trained on."""
    done = 0

    def supervised_loss(task: str) -> Any:
        original = supervised(task)

        def loss(module: Any, rows: Any, warmth: float) -> Any:
            nonlocal done
            done += module.training
            if done == batch and module.training:
                raise KeyboardInterrupt
            return original(module, rows, warmth)

        return loss

    supervised = network.supervised_loss
    monkeypatch.setattr(network, "supervised_loss", supervised_loss)


# 30 genes are one batch an epoch: batch 1 is the first epoch of the first fold, batch 3 the third,
# batch 5 the first of the second fold, batch 6 the second of it.
@pytest.mark.parametrize("batch", [1, 3, 5, 6])
def test_interrupt_while_choosing_epochs_ends_the_search_and_leaves_a_predictor(
    monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    interrupt(monkeypatch, batch)
    x, y = circle(30)
    head = MLPPredictor(epochs=4, n_folds=3, **SMALL).fit(x, y)
    assert head.interrupted_
    assert np.isfinite(head.predict_proba(x)).all()
    assert 1 <= head.epochs_ <= 4


def test_interrupt_of_a_long_training_keeps_the_best_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(monkeypatch, 4)
    x, y = circle(60)
    head = MLPPredictor(epochs=9, **SMALL).fit(x, y, validation=circle(20, seed=1))
    assert head.interrupted_
    assert len(head.history_) == 3
    assert 1 <= head.epochs_ <= 3


def test_search_that_ctrl_c_cut_short_is_finished_on_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = circle(60)
    options = {"epochs": 4, "batch_size": 16, "n_folds": 2, "threads": 1, **SMALL}
    expected = MLPPredictor(**options).fit(x, y)
    with monkeypatch.context() as patch:
        interrupt(patch, 11)  # in the second fold
        cut = MLPPredictor(**options).fit(x, y, checkpoints=tmp_path)
    assert cut.interrupted_
    assert (epochs_done(tmp_path / "fold_1"), epochs_done(tmp_path / "fold_2")) == (4, 1)
    assert epochs_done(tmp_path) == 0
    resumed = MLPPredictor(**options).fit(x, y, checkpoints=tmp_path, resume=True)
    np.testing.assert_array_equal(resumed.predict_proba(x), expected.predict_proba(x))
    with pytest.raises(ModelMismatchError, match="another training"):
        MLPPredictor(**options).fit(x, 1 - y, checkpoints=tmp_path, resume=True)
