"""Simulated datasets and finished runs that the tests of evaluation share."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from simulated_dataset import simulated_dataset

from simplechrome.config.run import make_config
from simplechrome.evaluation.bootstrap import block_bootstrap
from simplechrome.runs.fit import Run, fit_run


@pytest.fixture(scope="session")
def dataset() -> xr.Dataset:
    """Three hundred simulated genes, two cell types, the second without two of five marks."""
    return simulated_dataset(
        300, 2, missing_marks={"SIM002": ["H3K4me1", "H3K9me3"]}, note="simulated"
    )


@pytest.fixture(scope="session")
def one(dataset: xr.Dataset) -> xr.Dataset:
    """Its first cell type."""
    return dataset.isel(cell_type=[0])


@pytest.fixture(scope="session")
def run(one: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run: PCA and a linear head, 60 labels."""
    folder: Path = tmp_path_factory.mktemp("runs") / "pca"
    config = make_config({"encoder": {"name": "pca", "n_latent": 4}, "labels": 60, "seed": 2})
    finished = fit_run(one, config, folder)
    assert np.isfinite(finished.predictions["probability"]).all()
    return finished


@pytest.fixture(autouse=True)
def _short_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty resamples in place of thousands: an interval is wanted here, not a good one."""
    short = partial(block_bootstrap, n_resamples=30)
    monkeypatch.setattr("simplechrome.evaluation.scores.block_bootstrap", short)
