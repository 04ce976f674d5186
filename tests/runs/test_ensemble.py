"""Ensembles: what members say together, and how they are kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from simplechrome import LinearPredictor, MLPPredictor
from simplechrome.errors import ModelFormatError
from simplechrome.runs.ensemble import (
    Ensemble,
    fit_ensemble,
    load_ensemble,
    member_seed,
    save_ensemble,
    values_of,
)

X = np.array([[-1.0], [0.0], [1.0], [2.0]])


def line(slope: float, task: str = "classification") -> LinearPredictor:
    """Log odds, or level: slope × x."""
    predictor = LinearPredictor(task, Cs=(1.0,)).fit(X, np.array([0, 0, 1, 1]))
    predictor.coef_, predictor.intercept_ = np.array([slope]), 0.0
    return predictor


def test_log_odds_of_members_are_averaged() -> None:
    # Slopes 1 and 3: log odds 2 × x.
    ensemble = Ensemble([line(1), line(3)])
    np.testing.assert_allclose(ensemble.decision_function(X), [-2, 0, 2, 4])
    np.testing.assert_allclose(ensemble.values_of_members(X)[:, 2], [1, 3])
    high = 1 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(ensemble.predict_proba(X)[2], [1 - high, high])
    assert ensemble.predict(X).tolist() == [0, 0, 1, 1]


def test_levels_of_members_are_averaged() -> None:
    ensemble = Ensemble([line(1, "regression"), line(3, "regression")])
    np.testing.assert_allclose(ensemble.predict(X), [-2, 0, 2, 4])


def features(n: int = 40) -> tuple[xr.DataArray, xr.DataArray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, n, 3))
    y = (x[..., 0] > 0).astype(np.int8)
    return xr.DataArray(x, dims=("cell_type", "gene", "latent")), xr.DataArray(
        y, dims=("cell_type", "gene")
    )


def make(seed: int) -> MLPPredictor:
    return MLPPredictor(hidden=(4,), epochs=2, early_stopping=False, random_state=seed, threads=1)


def test_first_member_is_what_is_fitted_without_an_ensemble() -> None:
    x, y = features()
    alone, several = fit_ensemble(make, 1, 5, (x, y)), fit_ensemble(make, 3, 5, (x, y))
    assert isinstance(alone, MLPPredictor)
    assert isinstance(several, Ensemble)
    values = values_of(several, x)
    assert values.shape == (3, 1, 40)
    np.testing.assert_array_equal(values[0], values_of(alone, x)[0])
    assert not np.array_equal(values[0], values[1])
    assert [member_seed(5, number) for number in (1, 2)] == [5, 10_005]


def test_members_survive_saving_and_a_smaller_ensemble_leaves_none_behind(tmp_path: Path) -> None:
    x, y = features()
    three = fit_ensemble(make, 3, 0, (x, y))
    save_ensemble(three, tmp_path)
    np.testing.assert_array_equal(values_of(load_ensemble(tmp_path), x), values_of(three, x))
    save_ensemble(fit_ensemble(make, 1, 0, (x, y)), tmp_path)
    assert isinstance(load_ensemble(tmp_path), MLPPredictor)
    assert [path.name for path in tmp_path.iterdir()] == ["predictor"]


def test_missing_member_is_said(tmp_path: Path) -> None:
    save_ensemble(fit_ensemble(make, 3, 0, features()), tmp_path)
    shutil.rmtree(tmp_path / "ensemble" / "2")
    with pytest.raises(ModelFormatError, match="holds 3 instead of the members 2, 3"):
        load_ensemble(tmp_path)
