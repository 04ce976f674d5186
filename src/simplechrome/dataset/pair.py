"""Two cell types as one: what changes from the one to the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from simplechrome.dataset.choose import choose_cell_types
from simplechrome.errors import ConfigError
from simplechrome.schema import UNKNOWN_LABEL


def name_pair(pair: Sequence[str]) -> str:
    """What is the change between two cell types called?"""
    return f"{pair[0]} - {pair[1]}"


def pair_dataset(dataset: xr.Dataset, pair: Sequence[str]) -> xr.Dataset:
    """What is there of the genes of two cell types, as one?

    Parameters
    ----------
    dataset
        With both cell types, and their expression where it is known.
    pair
        The cell type from which is subtracted, and that which is.

    Returns
    -------
    One `cell_type`, named `A - B`: `change` (cell_type, gene) holds log2((A + 1) / (B + 1)) of the
    expression, NaN where that of either is not known or no mark has data in both; `label` is 1
    where it is above 0, 0 where it is below; marks and windows are there where both cell types
    have them. There is no signal.

    Raises
    ------
    ConfigError
        If the two are the same cell type, or have no mark in common.
    UnknownGeneError
        If the dataset does not hold one of them.
    """
    if len(pair) != 2 or pair[0] == pair[1]:
        raise ConfigError(
            "A difference needs two cell types.",
            found=", ".join(pair),
            expected="two that are not the same: --pair A,B",
        )
    both = choose_cell_types(dataset, pair)
    shared = np.asarray(both["mark_present"].values.all(axis=0, keepdims=True))
    if not shared.any():
        marks = both["mark"].values
        raise ConfigError(
            "The two cell types have no mark in common.",
            found="; ".join(
                f"{name}: {', '.join(map(str, marks[there])) or 'none'}"
                for name, there in zip(pair, both["mark_present"].values, strict=True)
            ),
            expected="a mark that both have: a change is told from the same mark in both",
            remedy="choose another pair; `simplechrome inspect` lists the marks of each",
        )
    observed = both["observed"].values.min(axis=0, keepdims=True) * shared[:, np.newaxis]
    levels = np.log2(both["expression"].values.astype(np.float64) + 1)
    change = (levels[:1] - levels[1:]).astype(np.float32)
    change[~(observed > 0).any(axis=2)] = np.nan  # Of such genes all predictions would be the same.
    with np.errstate(invalid="ignore"):
        label = np.where(change > 0, 1, np.where(change < 0, 0, UNKNOWN_LABEL))
    one = both.isel(cell_type=[0]).drop_vars(["signal", "expression"])
    dims = ("cell_type", "gene")
    return one.assign_coords(cell_type=np.asarray([name_pair(pair)], dtype=object)).assign(
        change=(dims, change, {"units": "log2 fold change"}),
        label=(dims, label.astype(np.int8), {"rule": "sign of the change"}),
        mark_present=(both["mark_present"].dims, shared),
        observed=(both["observed"].dims, observed),
    )
