"""Labelled arrays to rows that a model can be fitted on, and folds of these rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from sklearn.model_selection import KFold, StratifiedKFold

from simplechrome.errors import (
    ConfigError,
    InputFormatError,
    MissingExpressionError,
    UndefinedScoreError,
)
from simplechrome.schema import UNKNOWN_LABEL

PAIR = ("cell_type", "gene")


class Rows(NamedTuple):
    """x : (row, feature …); y : (row,)."""

    x: np.ndarray
    y: np.ndarray

    def at(self, positions: np.ndarray) -> Rows:
        """Return the rows at these positions."""
        return Rows(self.x[positions], self.y[positions])


def feature_names(x: xr.DataArray) -> list[str]:
    """Return the name of each feature, in the order of the flattened row."""
    dims = x.dims[2:]
    names = [""]
    for dim in dims:
        # Bins have no names, but starts.
        named = next((x.coords[n].values for n in (dim, f"{dim}_start") if n in x.coords), None)
        labels = [str(label) for label in (range(x.sizes[dim]) if named is None else named)]
        names = [f"{name}:{label}" if name else label for name in names for label in labels]
    return names


def pair_coords(x: xr.DataArray) -> dict[Any, Any]:
    """Return the coordinates of cell types and of genes, to label what is predicted."""
    return {n: c for n, c in x.coords.items() if c.dims in ((PAIR[0],), (PAIR[1],))}


def pair_features(first: xr.DataArray, second: xr.DataArray, name: str) -> xr.DataArray:
    """Return the latents of each gene in two cell types, those of the first before the second's.

    Both are (cell_type, gene, latent) of the same genes, in one cell type each; `name` is that of
    the pair, which takes the place of the cell type. Windows are a ConfigError.
    """
    if first.dims[-1] != "latent" or first.ndim != 3:
        raise ConfigError(
            f"Differences are predicted from latents, not ({', '.join(map(str, first.dims))}).",
            "use an encoder with latents, as consensus, vae or pca",
        )
    names = [f"{side}:{k}" for side in ("first", "second") for k in first["latent"].values]
    return xr.DataArray(
        np.concatenate([first.values, second.values], axis=2),
        dims=first.dims,
        coords={
            **{n: c for n, c in first.coords.items() if c.dims == ("gene",)},
            "cell_type": np.asarray([name], dtype=object),
            "latent": np.asarray(names, dtype=object),
        },
        name="latent",
    )


def flatten(x: xr.DataArray) -> np.ndarray:
    """(cell_type, gene, …) → (row, feature); rows of one cell type after the other.

    Raises
    ------
    InputFormatError
        If the first two dimensions are others.
    """
    if x.dims[:2] != PAIR or x.ndim < 3:
        raise InputFormatError(
            f"Features are (cell_type, gene, …); these are ({', '.join(map(str, x.dims))}).",
            "pass what encoder.transform returns",
        )
    return x.values.reshape(x.sizes["cell_type"] * x.sizes["gene"], -1)


def known_targets(y: xr.DataArray | np.ndarray, task: str) -> np.ndarray:
    """Return which rows have a label, or a finite expression, (row,) bool, one cell type by one.

    Parameters
    ----------
    y : (cell_type, gene)
        Labels with -1 for unknown (classification), or values with NaN for unknown.
    task
        `classification` or `regression`.

    Raises
    ------
    MissingExpressionError
        If no row has one.
    """
    values = np.asarray(y.transpose(*PAIR) if isinstance(y, xr.DataArray) else y).reshape(-1)
    known: np.ndarray = values != UNKNOWN_LABEL if task == "classification" else np.isfinite(values)
    if not known.any():
        kind = "a label (1 or 0)" if task == "classification" else "a finite expression"
        raise MissingExpressionError(
            f"None of the {values.size} genes has {kind}.",
            "build the dataset with --expression FILE",
        )
    return known


def require_two_classes(y: np.ndarray) -> None:
    """Raise an UndefinedScoreError if all labels are of one class."""
    classes = np.unique(y)
    if classes.size < 2:
        only = ", ".join(map(str, classes))
        raise UndefinedScoreError(
            f"All {y.size} labels are of one class ({only}); there is nothing to separate.",
            "draw more labels, or use another --seed",
        )


def labelled_rows(x: xr.DataArray, y: xr.DataArray | np.ndarray, task: str) -> Rows:
    """Return the rows that have a label, or a finite expression, with it.

    Parameters
    ----------
    x : (cell_type, gene, …)
    y, task
        See `known_targets`.

    Raises
    ------
    InputFormatError
        If the two are not of the same genes and cell types.
    MissingExpressionError
        If no row has a label.
    """
    rows = flatten(x)
    target = y.transpose(*PAIR) if isinstance(y, xr.DataArray) else np.asarray(y)
    same = target.shape == x.shape[:2]
    if same and isinstance(target, xr.DataArray):
        for name in ("gene_id", "cell_type"):
            if name in x.coords and name in target.coords:
                same &= bool(np.array_equal(x.coords[name].values, target.coords[name].values))
    if not same:
        raise InputFormatError(
            f"Labels of shape {target.shape} are not of the genes and cell types of the features, "
            f"(cell_type, gene) = {x.shape[:2]}.",
            "take both from one dataset, in the same order",
        )
    known = known_targets(target, task)
    return Rows(rows[known], np.asarray(target).reshape(-1)[known])


def inner_folds(
    rows: Rows, task: str, *, n_folds: int, seed: int, hold_out_from: float = np.inf
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split labelled rows into parts to learn from and parts held out, to choose epochs and so on.

    Classes keep their fractions in each fold.

    Returns
    -------
    Positions to learn from and to hold out, one pair a fold: `n_folds` of them, or fewer where a
    class has fewer members; a single pair with a tenth held out from `hold_out_from` rows on;
    none where a class has a single member.
    """
    n = len(rows.y)
    large = n >= hold_out_from
    most = 10 if large else n_folds
    if task == "classification":
        folds = min(most, int(np.bincount(rows.y).min()))
        splitter: Any = StratifiedKFold
    else:
        folds, splitter = min(most, n // 2), KFold
    if folds < 2:
        return []
    parts = splitter(folds, shuffle=True, random_state=seed).split(rows.x, rows.y)
    return [next(parts)] if large else list(parts)
