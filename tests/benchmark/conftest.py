"""The simulated dataset that the tests of benchmarks share."""

from __future__ import annotations

import pytest
import xarray as xr
from simulated_dataset import simulated_dataset


@pytest.fixture(scope="session")
def dataset() -> xr.Dataset:
    """Three hundred simulated genes, two cell types, the second without two of five marks."""
    return simulated_dataset(
        300, 2, missing_marks={"SIM002": ["H3K4me1", "H3K9me3"]}, note="simulated"
    )
