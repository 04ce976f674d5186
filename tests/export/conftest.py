"""Small fitted models that the tests of the export share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from simulated_dataset import simulated_dataset

from simplechrome import (
    PCA,
    VAE,
    BoostingPredictor,
    ConsensusEncoder,
    LinearPredictor,
    LogMeans,
    MLPPredictor,
    PaperVAE,
    RawWindow,
    WithLogMeans,
)
from simplechrome.config.run import make_config
from simplechrome.evaluation.calibration import Calibration
from simplechrome.evaluation.uncertainty import fit_uncertainty
from simplechrome.export.run import as_inputs, run_outputs
from simplechrome.predictors.attentivechrome import AttentiveChrome
from simplechrome.predictors.deepchrome import DeepChrome
from simplechrome.runs.ensemble import Ensemble
from simplechrome.runs.fit import target_of
from simplechrome.runs.load import Models

Fit = Callable[..., Models]
_SHORT = {"epochs": 2, "random_state": 1}
_ENCODERS: dict[str, Callable[[], Any]] = {
    "vae": lambda: VAE(3, channels=(4, 6, 8), hidden=5, **_SHORT),
    "paper_vae": lambda: PaperVAE(3, channels=(4, 6), **_SHORT),
    "pca": lambda: PCA(4),
    "consensus": lambda: ConsensusEncoder(12),
    "log_means": LogMeans,
    "log_means_3": lambda: LogMeans(n_regions=3),  # 20 bins: regions of 7, 6 and 7
    "none": RawWindow,
    "asinh": lambda: RawWindow("asinh"),
    "sqrt": lambda: RawWindow("sqrt"),
    "maximum": lambda: RawWindow("maximum"),
    "pca+log_means": lambda: WithLogMeans(PCA(3)),
}
_PREDICTORS: dict[str, Callable[[str], Any]] = {
    "linear": lambda task: LinearPredictor(task, Cs=(0.1,)),
    "mlp": lambda task: MLPPredictor(task, hidden=(8, 4), early_stopping=False, **_SHORT),
    "boosting": lambda task: BoostingPredictor(task, max_iter=10),
    "deepchrome": lambda task: DeepChrome(
        task, filters=6, kernel=4, hidden=(5,), early_stopping=False, **_SHORT
    ),
    "attentivechrome": lambda task: AttentiveChrome(
        task, bin_hidden=4, mark_hidden=3, early_stopping=False, **_SHORT
    ),
}


@pytest.fixture(scope="session")
def dataset() -> xr.Dataset:
    """130 simulated genes in two cell types, the second without two of five marks."""
    return simulated_dataset(130, 2, missing_marks={"SIM002": ["H3K4me1", "H3K9me3"]})


@pytest.fixture(scope="session")
def inputs(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    """What an exported model is fed for these 260 windows; NaN where a mark is missing."""
    return as_inputs(dataset)


@pytest.fixture(scope="session")
def answers(dataset: xr.Dataset) -> Callable[[Models], dict[str, np.ndarray]]:
    """What encoder and predictor themselves say of these windows."""
    return lambda models: run_outputs(models, dataset)


@pytest.fixture(scope="session")
def fit(dataset: xr.Dataset) -> Fit:
    """Models by name, fitted once."""
    made: dict[tuple, Models] = {}

    def models(
        encoder: str = "pca",
        predictor: str = "linear",
        task: str = "classification",
        calibration: Calibration | None = None,
        members: int = 1,
    ) -> Models:
        key = encoder, predictor, task, calibration, members
        if key not in made:
            made[key] = _fit(dataset, *key)
        return made[key]

    return models


@pytest.fixture(scope="session")
def fitted_encoder() -> Callable[[str, xr.Dataset], Models]:
    """Models with this encoder and a linear predictor, fitted on other data."""
    return lambda encoder, data: _fit(data, encoder, "linear", "classification", None, 1)


def _fit(
    dataset: xr.Dataset,
    encoder: str,
    predictor: str,
    task: str,
    calibration: Calibration | None,
    members: int,
) -> Models:
    fitted = _ENCODERS[encoder]().fit(dataset)
    latents, target = fitted.transform(dataset), target_of(dataset, task)
    many = []
    for seed in range(members):
        one = _PREDICTORS[predictor](task)
        if members > 1:
            one.set_params(random_state=seed)
        many.append(one.fit(latents, target))
    together = Ensemble(many) if members > 1 else many[0]
    uncertainty = None
    if calibration is not None:
        known = np.arange(100) % 2
        uncertainty = fit_uncertainty(known * 1.0, known, "classification")
        vars(uncertainty)["calibration"] = calibration
    split, labelled = pd.Series(dtype=object), pd.Series(dtype=bool)
    return Models(make_config({}), fitted, together, split, labelled, uncertainty)
