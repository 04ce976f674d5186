"""What all predictors share: scikit-learn's contract, seeds, options, saving and resuming."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

from simplechrome import load_predictor
from simplechrome.errors import ConfigError, UndefinedScoreError
from simplechrome.predictors import network
from simplechrome.predictors.registry import PREDICTORS

TRAINING = {
    "epochs": 3, "n_folds": 2, "hold_out_from": 80, "batch_size": 16, "learning_rate": 0.03,
    "dropout": 0.3, "threads": 1,
}  # fmt: skip
SMALL: dict[str, dict[str, Any]] = {
    "linear": {"Cs": (0.1, 10.0)},
    "boosting": {"max_iter": 20, "n_folds": 2, "max_features": 0.5},
    "mlp": {**TRAINING, "hidden": (8,)},
    "deepchrome": {
        **TRAINING, "filters": 8, "kernel": 4, "pool": 3, "hidden": (8,), "min_batches": 1,
    },
    "attentivechrome": {**TRAINING, "bin_hidden": 3, "mark_hidden": 2, "min_batches": 1},
}  # fmt: skip
ALL = pytest.mark.parametrize("name", list(SMALL))
TASKS = pytest.mark.parametrize("task", ["classification", "regression"])
# 60 rows make two folds of 30; 2 batches an epoch and 6 in all each; the last training has 4 an
# epoch.
STOPS = [1, 3, 6, 9, 12, 15]


def make(name: str, task: str = "classification", **options: Any) -> Any:
    predictor: Any = PREDICTORS.get(name)
    return predictor(task, **{**SMALL[name], **options})


def windows(n: int = 60) -> tuple[xr.DataArray, xr.DataArray]:
    """(cell_type, gene, bin, mark) whose second mark decides the class; some marks are missing."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, n, 12, 2)).astype(np.float32)
    present = rng.random((1, n, 2)) > 0.2
    coords = {
        "cell_type": ["c"],
        "gene_id": ("gene", [f"g{k}" for k in range(n)]),
        "mark": ["m1", "m2"],
        "present": (("cell_type", "gene", "mark"), present),
    }
    y = (x[:, :, :6, 1].mean(axis=2) > 0).astype(int)
    dims = ("cell_type", "gene", "bin", "mark")
    return xr.DataArray(x, dims=dims, coords=coords), xr.DataArray(y, dims=dims[:2])


@TASKS
@pytest.mark.parametrize("name", ["linear", "boosting", "mlp", "deepchrome"])
def test_is_an_ordinary_scikit_learn_estimator(name: str, task: str) -> None:
    if name == "deepchrome" and task == "regression":
        pytest.skip("as the MLP; slow")
    one_class = "a single class is an error with advice, not a constant"
    failing = {"check_classifiers_one_label": one_class, "check_fit2d_1sample": one_class}
    if task == "regression":
        failing = {}
    if name in ("mlp", "deepchrome"):
        failing["check_methods_subset_invariance"] = "float32 products differ by rows"
    options: dict[str, Any] = {
        "boosting": {"max_iter": 40},
        "mlp": {"epochs": 8, "hidden": (16,), "dropout": 0.0, "hold_out_from": 20},
        "deepchrome": {
            "epochs": 8, "kernel": 1, "pool": 1, "dropout": 0.0, "hold_out_from": 20,
            "batch_size": 32,
        },
    }.get(name, {})  # fmt: skip
    estimator = make(name, task, **options)
    assert len(check_estimator(estimator, expected_failed_checks=failing, on_skip=None)) > 50


@TASKS
@ALL
def test_saved_predictor_gives_identical_predictions(name: str, task: str, tmp_path: Path) -> None:
    x, y = windows()
    fitted = make(name, task).fit(x, y.astype(float))
    fitted.save(tmp_path / "model")
    loaded: Any = load_predictor(tmp_path / "model")
    assert type(loaded) is type(fitted)
    xr.testing.assert_identical(loaded.predict(x), fitted.predict(x))
    if task == "classification":
        xr.testing.assert_identical(loaded.predict_proba(x), fitted.predict_proba(x))
    files = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert files == ["model.json", "model.safetensors"]
    again = clone(loaded).fit(x, y.astype(float))
    np.testing.assert_array_equal(again.predict(x), fitted.predict(x))


@pytest.mark.parametrize("name", ["boosting", "mlp", "deepchrome", "attentivechrome"])
def test_same_seed_gives_the_same_bits_and_another_seed_other_weights(name: str) -> None:
    x, y = windows()
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    one, again, other = (
        make(name, random_state=seed).fit(x, y).predict_proba(x) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@ALL
def test_one_class_is_a_clear_error(name: str) -> None:
    with pytest.raises(UndefinedScoreError, match="All 4 labels are of one class") as caught:
        make(name).fit(np.zeros((4, 12)), np.ones(4))
    assert "--seed" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("linear", {"Cs": ()}, "`Cs` is invalid.*at least 1 item"),
        ("linear", {"Cs": (0.0, 1.0)}, r"`Cs\.0` is invalid: found 0\.0; input should be greater"),
        ("linear", {"task": "ranking"}, "LinearPredictor: the value of `task` is invalid"),
        ("mlp", {"initialization": "zeros"}, r"found 'zeros'.*'uniform' or 'he_normal'"),
        (
            "deepchrome",
            {"kernel": 10, "pool": 5},
            "12 bins.*at least 14(.|\n)*8 or less, or",
        ),
        ("deepchrome", {"kernel": 20, "pool": 1}, "at least 20(.|\n)*kernel of 12 or less"),
        ("deepchrome", {"kernel": 2, "pool": 13}, "at least 14(.|\n)*a pool of 11 or less"),
        ("deepchrome", {"hidden": (4, 0)}, r"`hidden\.1` is invalid: found 0"),
        ("deepchrome", {"dropout": 1.0}, r"`dropout` is invalid: found 1\.0"),
        ("deepchrome", {"schedule": "linear"}, "found 'linear'.*'constant' or 'cosine'"),
        ("deepchrome", {"precision": "half"}, "found 'half'.*'float32' or 'bfloat16'"),
        ("deepchrome", {"min_batches": 0}, "`min_batches` is invalid: found 0"),
        ("attentivechrome", {"mark_hidden": -1}, "`mark_hidden` is invalid: found -1"),
    ],
)
def test_invalid_options_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PREDICTORS.get(name)(**options).fit(np.zeros((4, 12, 2)), np.array([0, 1, 0, 1]))


class Killed(BaseException):
    """Stands for the end of the process: nobody catches it."""


@pytest.mark.parametrize(
    ("name", "options", "batch"),
    [
        *(("mlp", {}, batch) for batch in STOPS),
        *(("mlp", {"hold_out_from": 50}, batch) for batch in STOPS[:4]),
        *(("mlp", {"early_stopping": False}, batch) for batch in STOPS[:4]),
        *((name, {}, n) for name in ("deepchrome", "attentivechrome") for n in (3, 9, 15)),
    ],
)
def test_fit_stopped_anywhere_ends_with_the_same_bits(
    name: str,
    options: dict[str, Any],
    batch: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, y = windows()
    expected = make(name, **options).fit(x, y)
    original, done = network.supervised_loss, 0

    def supervised_loss(task: str) -> Any:
        def loss(module: Any, rows: Any, warmth: float) -> Any:
            nonlocal done
            done += module.training
            if done == batch and module.training:
                raise Killed
            return original(task)(module, rows, warmth)

        return loss

    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        patch.setattr(network, "supervised_loss", supervised_loss)
        make(name, **options).fit(x, y, checkpoints=tmp_path)
    assert done == batch
    for _ in range(2):  # the second time nothing is left to train
        resumed = make(name, **options).fit(x, y, checkpoints=tmp_path, resume=True)
        np.testing.assert_array_equal(resumed.predict_proba(x), expected.predict_proba(x))
        assert (resumed.epochs_, resumed.history_) == (expected.epochs_, expected.history_)
