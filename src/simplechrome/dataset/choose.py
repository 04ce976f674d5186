"""What of a dataset is used: cell types, marks, pairs of cell types, genes with data."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import xarray as xr

from simplechrome.dataset.transforms.signal import present_marks
from simplechrome.errors import (
    ConfigError,
    DatasetFormatError,
    UnknownGeneError,
    did_you_mean,
    first_names,
)
from simplechrome.schema import UNKNOWN_LABEL

log = logging.getLogger(__name__)


def choose_cell_types(
    dataset: xr.Dataset, cell_types: Sequence[str], where: str = "The dataset"
) -> xr.Dataset:
    """Return the dataset with only these cell types, in this order.

    Raises UnknownGeneError if it does not hold a cell type of that name; ConfigError if
    `cell_types` is empty.
    """
    return _choose(dataset, "cell_type", cell_types, where)


def choose_marks(
    dataset: xr.Dataset, marks: Sequence[str], where: str = "The dataset"
) -> xr.Dataset:
    """Return the dataset with only these marks, in this order; see `choose_cell_types`."""
    return _choose(dataset, "mark", marks, where)


def _choose(dataset: xr.Dataset, dim: str, names: Sequence[str], where: str) -> xr.Dataset:
    wanted = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    if not wanted:
        raise ConfigError(f"{dim}s is empty.", "name one or more, or None for all")
    return dataset.isel({dim: [find_name(dataset, dim, name, where) for name in wanted]})


def find_name(dataset: xr.Dataset, dim: str, name: str, where: str = "The dataset") -> int:
    """Return the position of a cell type or mark; UnknownGeneError if there is none."""
    held = [str(each) for each in dataset[dim].values]
    if name not in held:
        raise UnknownGeneError(
            f"{where} has no {dim.replace('_', ' ')} {name!r}, only {first_names(held, 8)} "
            f"({len(held)} in all).",
            did_you_mean(name, held),
        )
    return held.index(name)


def imputed_tracks(dataset: xr.Dataset) -> list[tuple[str, str]]:
    """Return the tracks, cell type and mark, whose signal was imputed."""
    if "imputed" not in dataset:
        return []
    cell_types, marks = dataset["cell_type"].values, dataset["mark"].values
    where = np.argwhere(dataset["imputed"].values)
    return [(str(cell_types[row]), str(marks[column])) for row, column in where]


def require_measured(dataset: xr.Dataset, verb: str) -> None:
    """Raise DatasetFormatError if some of the signal was imputed."""
    if tracks := imputed_tracks(dataset):
        raise DatasetFormatError(
            f"A dataset with imputed signal cannot be used to {verb}: found {len(tracks)} imputed "
            f"tracks ({first_names(map(' '.join, tracks), 3)}).",
            f"{verb} the datasets that `simplechrome impute` made it from",
        )


def warn_of_imputed(dataset: xr.Dataset) -> None:
    """Log which signal was imputed."""
    if tracks := imputed_tracks(dataset):
        log.warning(
            "%d tracks are imputed, not measured (%s): what is learned from them was in other "
            "tracks already",
            *(len(tracks), first_names(map(" ".join, tracks), 3)),
        )


def has_data(dataset: xr.Dataset) -> np.ndarray:
    """Return (cell_type, gene) bool: whether any mark has data in the window."""
    return np.asarray(present_marks(dataset).any(axis=2))


def without_unobserved(dataset: xr.Dataset) -> xr.Dataset:
    """Return the dataset with unknown label and expression where a gene has no data.

    Nothing can be learned from such windows, and their predictions are all the same. How many
    there are is logged.
    """
    seen = has_data(dataset)
    label, expression = dataset["label"], dataset["expression"]
    lost = ((label.values != UNKNOWN_LABEL) | np.isfinite(expression.values)) & ~seen
    if not lost.any():
        return dataset
    log.warning(
        "%d of %d genes have no data%s: they are neither learned from nor scored",
        *(int(lost.any(axis=0).sum()), dataset.sizes["gene"]),
        "" if lost.shape[0] == 1 else " in one cell type or more",
    )
    known = np.where(seen, label.values, UNKNOWN_LABEL).astype(np.int8)
    levels = np.where(seen, expression.values, np.nan).astype(np.float32)
    return dataset.assign(label=label.copy(data=known), expression=expression.copy(data=levels))


def name_pair(pair: Sequence[str]) -> str:
    """Return the name of the change between two cell types."""
    return f"{pair[0]} - {pair[1]}"


def pair_dataset(dataset: xr.Dataset, pair: Sequence[str]) -> xr.Dataset:
    """Return the genes of two cell types as those of one, with the change between them.

    Parameters
    ----------
    dataset : with both cell types, and their expression where it is known
    pair : minuend and subtrahend

    Returns one `cell_type`, named `A - B`: `change` (cell_type, gene) holds log2((A + 1) / (B + 1))
    of the expression, NaN where that of either is not known or no mark has data in both; `label` is
    1 where it is above 0, 0 where it is below; marks and windows are there where both cell types
    have them. There is no signal.

    Raises ConfigError if the two are the same cell type, or have no mark in common;
    UnknownGeneError if the dataset does not hold one of them.
    """
    if len(pair) != 2 or pair[0] == pair[1]:
        raise ConfigError(
            f"A difference needs two different cell types; found {', '.join(pair)}.",
            "pass --pair A,B",
        )
    both = choose_cell_types(dataset, pair)
    shared = np.asarray(both["mark_present"].values.all(axis=0, keepdims=True))
    if not shared.any():
        found = "; ".join(
            f"{name}: {', '.join(map(str, both['mark'].values[there])) or 'none'}"
            for name, there in zip(pair, both["mark_present"].values, strict=True)
        )
        raise ConfigError(
            f"The two cell types have no mark in common ({found}).",
            "choose another pair; `simplechrome inspect` lists the marks of each",
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
