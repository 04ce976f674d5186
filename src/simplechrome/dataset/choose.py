"""Some of a dataset's cell types or marks, by name."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from simplechrome.errors import ConfigError, UnknownGeneError, did_you_mean


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
