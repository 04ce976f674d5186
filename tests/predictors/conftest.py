"""Labelled toy features that the tests of the predictors share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr


@pytest.fixture(scope="session")
def labelled() -> Callable[..., xr.DataArray]:
    """Values (cell_type, gene) or (cell_type, gene, latent) with names of all three."""

    def label(values: object) -> xr.DataArray:
        array = np.asarray(values)
        coords = {
            "cell_type": [f"c{k}" for k in range(array.shape[0])],
            "gene_id": ("gene", [f"g{k:03d}" for k in range(array.shape[1])]),
        }
        dims = ["cell_type", "gene", "latent"][: array.ndim]
        if array.ndim == 3:
            coords["latent"] = [f"pc_{k}" for k in range(1, array.shape[2] + 1)]
        return xr.DataArray(array, dims=dims, coords=coords)

    return label
