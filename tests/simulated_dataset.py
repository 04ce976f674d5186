"""Small simulated datasets, as most tests want them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import xarray as xr

from simplechrome import from_arrays, simulate


def simulated_dataset(
    n_genes: int = 300,
    n_cell_types: int = 1,
    *,
    missing_marks: Mapping[str, Sequence[str]] = MappingProxyType({}),
    note: str = "",
    seed: int = 1,
    n_bins: int = 20,
    **planted: Any,
) -> xr.Dataset:
    """Cell types SIM001, … with five marks (but those missing) in bins that cover 10 kb."""
    simulation = simulate(
        *(n_genes, n_cell_types),
        n_bins=n_bins,
        bin_size=10_000 // n_bins,
        seed=seed,
        missing_marks=missing_marks,
        **planted,
    )
    return from_arrays(
        simulation.signal,
        marks=simulation.marks,
        mark_present=simulation.mark_present,
        gene_ids=simulation.genes["gene_id"],
        cell_types=simulation.cell_types,
        bin_size=10_000 // n_bins,
        genes=simulation.genes,
        expression=simulation.expression,
        published_split=simulation.genes["published_split"].to_numpy(),
        note=note,
    )
