"""Some of a dataset's cell types or marks, by name."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import xarray as xr

from simplechrome.dataset.transforms.signal import present_marks
from simplechrome.errors import ConfigError, DatasetFormatError, UnknownGeneError, did_you_mean
from simplechrome.schema import UNKNOWN_LABEL

log = logging.getLogger(__name__)


def choose_cell_types(
    dataset: xr.Dataset, cell_types: Sequence[str], where: str = "The dataset"
) -> xr.Dataset:
    """What is a dataset with only these cell types, in this order?

    Raises
    ------
    UnknownGeneError
        If it does not hold a cell type of that name.
    ConfigError
        If `cell_types` is empty.
    """
    return _choose(dataset, "cell_type", cell_types, where)


def choose_marks(
    dataset: xr.Dataset, marks: Sequence[str], where: str = "The dataset"
) -> xr.Dataset:
    """What is a dataset with only these marks, in this order?

    Raises
    ------
    UnknownGeneError
        If it does not hold a mark of that name.
    ConfigError
        If `marks` is empty.
    """
    return _choose(dataset, "mark", marks, where)


def _choose(dataset: xr.Dataset, dim: str, names: Sequence[str], where: str) -> xr.Dataset:
    wanted = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    if not wanted:
        raise ConfigError(f"{dim}s is empty.", expected="one name or more, or None for all")
    held = [str(name) for name in dataset[dim].values]
    for name in wanted:
        if name not in held:
            raise UnknownGeneError(
                f"{where} has no {dim.replace('_', ' ')} {name!r}.",
                found=", ".join(held[:8]) + (f", … ({len(held)} in all)" if held[8:] else ""),
                remedy=did_you_mean(name, held),
            )
    return dataset.isel({dim: [held.index(name) for name in wanted]})


def imputed_tracks(dataset: xr.Dataset) -> list[tuple[str, str]]:
    """Which tracks, cell type and mark, are no measurement?"""
    if "imputed" not in dataset:
        return []
    cell_types, marks = dataset["cell_type"].values, dataset["mark"].values
    where = np.argwhere(dataset["imputed"].values)
    return [(str(cell_types[row]), str(marks[column])) for row, column in where]


def _some(tracks: list[tuple[str, str]]) -> str:
    named = [" ".join(track) for track in tracks[:3]]
    return ", ".join(named) + (", …" if len(tracks) > 3 else "")


def require_measured(dataset: xr.Dataset, verb: str) -> None:
    """Was all of the signal measured?

    Raises
    ------
    DatasetFormatError
        If some of it was imputed.
    """
    tracks = imputed_tracks(dataset)
    if tracks:
        raise DatasetFormatError(
            f"A dataset with imputed signal cannot be used to {verb}.",
            found=f"{len(tracks)} imputed tracks ({_some(tracks)})",
            expected="measured signal",
            cause="it was made by `simplechrome impute`",
            remedy=f"{verb} the datasets that it was made from",
        )


def warn_of_imputed(dataset: xr.Dataset) -> None:
    """Say in the log which signal is no measurement."""
    tracks = imputed_tracks(dataset)
    if tracks:
        log.warning(
            "%d tracks are imputed, not measured (%s): what is learned from them was in other "
            "tracks already",
            *(len(tracks), _some(tracks)),
        )


def has_data(dataset: xr.Dataset) -> np.ndarray:
    """(cell_type, gene) bool: has any mark data in the window?"""
    return np.asarray(present_marks(dataset).any(axis=2))


def without_unobserved(dataset: xr.Dataset) -> xr.Dataset:
    """The same dataset, in which genes without data are of unknown label and expression.

    Of their windows nothing can be learned, and what is predicted for them is the same for all.
    How many there are is said in the log.
    """
    seen = has_data(dataset)
    known = (dataset["label"].values != UNKNOWN_LABEL) | np.isfinite(dataset["expression"].values)
    lost = known & ~seen
    if not lost.any():
        return dataset
    genes = int(lost.any(axis=0).sum())
    log.warning(
        "%d of %d genes have no data%s: they are neither learned from nor scored",
        *(genes, dataset.sizes["gene"]),
        "" if lost.shape[0] == 1 else " in one cell type or more",
    )
    label, expression = dataset["label"], dataset["expression"]
    return dataset.assign(
        label=label.copy(data=np.where(seen, label.values, UNKNOWN_LABEL).astype(np.int8)),
        expression=expression.copy(
            data=np.where(seen, expression.values, np.nan).astype(np.float32)
        ),
    )


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
