"""A predictor whose training was stopped anywhere goes on to the same bits."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simplechrome import MLPPredictor
from simplechrome.errors import ModelMismatchError
from simplechrome.predictors import network
from simplechrome.training.checkpoint import epochs_done

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4))
Y = (X[:, 0] + 0.5 * RNG.standard_normal(60) > 0).astype(int)


def make(**options: Any) -> MLPPredictor:
    small = {"hidden": (3,), "epochs": 4, "batch_size": 16, "n_folds": 2, "threads": 1}
    return MLPPredictor(**{**small, **options})


class Killed(BaseException):
    """Stands for the end of the process: nobody catches it."""


def stop_at(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    original = network.supervised_loss
    done = 0

    def supervised_loss(task: str) -> Any:
        def loss(module: Any, rows: Any, warmth: float) -> Any:
            nonlocal done
            done += module.training
            if done == batch and module.training:
                raise Killed
            return original(task)(module, rows, warmth)

        return loss

    monkeypatch.setattr(network, "supervised_loss", supervised_loss)


# Two folds of 30 rows are 2 batches an epoch, 8 in all each; the last training has 4 an epoch.
@pytest.mark.parametrize("batch", [1, 3, 9, 14, 17, 20])
@pytest.mark.parametrize("options", [{}, {"hold_out_from": 50}, {"early_stopping": False}])
def test_fit_stopped_anywhere_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, options: dict
) -> None:
    expected = make(**options).fit(X, Y)
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        stop_at(patch, batch)
        make(**options).fit(X, Y, checkpoints=tmp_path)
    resumed = make(**options).fit(X, Y, checkpoints=tmp_path, resume=True)
    np.testing.assert_array_equal(resumed.predict_proba(X), expected.predict_proba(X))
    assert (resumed.epochs_, resumed.history_) == (expected.epochs_, expected.history_)
    again = make(**options).fit(X, Y, checkpoints=tmp_path, resume=True)
    np.testing.assert_array_equal(again.predict_proba(X), expected.predict_proba(X))


def test_search_that_ctrl_c_cut_short_is_finished_on_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = make().fit(X, Y)
    monkeypatch.setattr(f"{__name__}.Killed", KeyboardInterrupt)
    with monkeypatch.context() as patch:
        stop_at(patch, 11)  # in the second fold
        cut = make().fit(X, Y, checkpoints=tmp_path)
    assert cut.interrupted_
    assert (epochs_done(tmp_path / "fold_1"), epochs_done(tmp_path / "fold_2")) == (4, 1)
    assert epochs_done(tmp_path) == 0
    resumed = make().fit(X, Y, checkpoints=tmp_path, resume=True)
    np.testing.assert_array_equal(resumed.predict_proba(X), expected.predict_proba(X))


def test_checkpoint_of_other_labels_is_refused(tmp_path: Path) -> None:
    make().fit(X, Y, checkpoints=tmp_path)
    with pytest.raises(ModelMismatchError, match="another training"):
        make().fit(X, 1 - Y, checkpoints=tmp_path, resume=True)
