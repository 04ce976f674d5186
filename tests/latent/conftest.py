"""Small datasets that the tests of the encoders share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from simulated_dataset import simulated_dataset

from simplechrome import from_arrays
from simplechrome.dataset.splits import Split, split_by_chromosome

Make = Callable[..., xr.Dataset]


@pytest.fixture(scope="session")
def make_dataset() -> Make:
    """Counts in any shape to a dataset with marks m0, m1, …; without expression."""

    def make(signal: Any, **more: Any) -> xr.Dataset:
        signal = np.asarray(signal)
        cells, genes, _, marks = signal.shape
        names = {
            "marks": [f"m{k}" for k in range(marks)],
            "gene_ids": [f"g{k:03d}" for k in range(genes)],
            "cell_types": [f"c{k}" for k in range(cells)],
        }
        return from_arrays(signal, **{**names, **more})

    return make


@pytest.fixture(scope="session")
def poisson(make_dataset: Make) -> Make:
    """Windows whose level differs between genes: (cell_type, gene, bin, mark) counts."""

    def make(
        genes: int = 60, bins: int = 4, marks: int = 2, cells: int = 1, seed: int = 0, **more: Any
    ) -> xr.Dataset:
        rng = np.random.default_rng(seed)
        level = rng.gamma(1.0, 5.0, (cells, genes, 1, marks))
        return make_dataset(rng.poisson(level, (cells, genes, bins, marks)), **more)

    return make


@pytest.fixture(scope="session")
def simulated() -> Split:
    """Three hundred simulated genes, twenty bins, five marks, split by chromosome."""
    return split_by_chromosome(simulated_dataset())
