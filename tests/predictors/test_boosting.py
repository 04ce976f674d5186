"""Boosted trees: as many as held-out labels ask for, saved without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io

from simplechrome import BoostingPredictor, load_predictor
from simplechrome.errors import ModelFormatError
from simplechrome.metrics import auroc, pearson
from simplechrome.training.model_files import read_model, write_model


def small(task: str = "classification", **options: Any) -> BoostingPredictor:
    return BoostingPredictor(task, **{"max_iter": 20, "n_folds": 3, "max_features": 1.0, **options})


def exclusive_or(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """High where exactly one of two features is positive: no linear model can tell."""
    x = np.random.default_rng(seed).standard_normal((n, 3))
    return x, ((x[:, 0] > 0) ^ (x[:, 1] > 0)).astype(int)


def test_planted_interaction_is_recovered() -> None:
    fitted = small().fit(*exclusive_or(600))
    x, y = exclusive_or(400, seed=1)
    assert auroc(y, fitted.decision_function(x)) > 0.95


def test_levels_are_predicted() -> None:
    x, high = exclusive_or(600)
    fitted = small("regression").fit(x, 3.0 * high)
    new, truth = exclusive_or(400, seed=1)
    assert pearson(3.0 * truth, fitted.predict(new)) > 0.9


def test_twenty_labels_still_make_trees() -> None:
    # With 20 labels in a leaf at least, 20 labels could not be split at all.
    x = np.linspace(-1, 1, 20)[:, np.newaxis]
    fitted = small().fit(x, (x[:, 0] > 0).astype(int))
    assert np.ptp(fitted.decision_function(x)) > 0


@pytest.mark.parametrize(("n", "learned_from"), [(90, 60), (200, 180)])
def test_held_out_part_is_a_fold_or_a_tenth(
    n: int, learned_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    grow = BoostingPredictor._grow

    def watched(self: BoostingPredictor, rows: Any, n_trees: int) -> Any:
        sizes.append(len(rows.y))
        return grow(self, rows, n_trees)

    monkeypatch.setattr(BoostingPredictor, "_grow", watched)
    small(hold_out_from=100).fit(*exclusive_or(n))
    # Three folds of 90 labels, or one tenth of 200; then all labels.
    assert sizes == [learned_from] * (3 if n == 90 else 1) + [n]


def test_number_of_trees_is_that_of_the_least_loss() -> None:
    fitted = small(max_iter=60).fit(*exclusive_or(120))
    assert fitted.loss_.shape == (60,)
    assert fitted.n_iter_ == int(np.argmin(fitted.loss_)) + 1 == fitted.model_.n_iter_
    noise = np.random.default_rng(3).integers(0, 2, 120)
    assert small(max_iter=60).fit(exclusive_or(120)[0], noise).n_iter_ < fitted.n_iter_


def test_validation_genes_choose_where_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoostingPredictor, "_inner_folds", None)
    fitted = small().fit(*exclusive_or(120), validation=exclusive_or(80, seed=1))
    assert 1 <= fitted.n_iter_ <= 20


def test_class_with_one_member_is_told(caplog: pytest.LogCaptureFixture) -> None:
    x, _ = exclusive_or(30)
    fitted = small(max_iter=18).fit(x, np.arange(30) == 0)
    assert fitted.n_iter_ == 3
    assert "Too few labels of one class" in caplog.text


def test_saved_model_of_other_types_is_not_loaded(tmp_path: Path) -> None:
    small().fit(*exclusive_or(100)).save(tmp_path / "model")
    description, arrays = read_model(tmp_path / "model")
    # A type that runs code: skops refuses what is not named.
    arrays["model"] = np.frombuffer(skops.io.dumps(Path("x")), np.uint8)
    keep = {k: v for k, v in description.items() if k not in ("class", "model_version", "versions")}
    write_model(tmp_path / "model", "BoostingPredictor", keep, arrays, overwrite=True)
    with pytest.raises(ModelFormatError, match="do not fit together"):
        load_predictor(tmp_path / "model")
