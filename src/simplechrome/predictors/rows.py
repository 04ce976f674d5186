"""Labelled arrays to rows that a model can be fitted on, and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from sklearn.model_selection import KFold, StratifiedKFold

from simplechrome.errors import InputFormatError, MissingExpressionError, UndefinedScoreError
from simplechrome.schema import UNKNOWN_LABEL

PAIR = ("cell_type", "gene")


class Rows(NamedTuple):
    """x : (row, feature …); y : (row,)."""

    x: np.ndarray
    y: np.ndarray


def feature_names(x: xr.DataArray) -> list[str]:
    """What is each feature called, in the order of the flattened row?"""
    dims = x.dims[2:]
    names = [""]
    for dim in dims:
        if dim in x.coords:
            labels = [str(label) for label in x.coords[dim].values]
        elif f"{dim}_start" in x.coords:
            labels = [str(start) for start in x.coords[f"{dim}_start"].values]
        else:
            labels = [str(k) for k in range(x.sizes[dim])]
        names = [f"{name}:{label}" if name else label for name in names for label in labels]
    return names


def flatten(x: xr.DataArray) -> np.ndarray:
    """(cell_type, gene, …) → (row, feature); rows of one cell type after the other.

    Raises
    ------
    InputFormatError
        If the first two dimensions are others.
    """
    if x.dims[:2] != PAIR or x.ndim < 3:
        raise InputFormatError(
            "Labelled features have the wrong dimensions.",
            found=f"({', '.join(map(str, x.dims))})",
            expected="(cell_type, gene, …), as encoder.transform returns them",
        )
    return x.values.reshape(x.sizes["cell_type"] * x.sizes["gene"], -1)


def known_targets(y: xr.DataArray | np.ndarray, task: str) -> np.ndarray:
    """Which rows have a label, or a finite expression?

    Parameters
    ----------
    y : (cell_type, gene)
        Labels with -1 for unknown (classification), or values with NaN for unknown.
    task
        `classification` or `regression`.

    Returns
    -------
    (row,) bool; rows of one cell type after the other.

    Raises
    ------
    MissingExpressionError
        If no row has one.
    """
    values = np.asarray(y.transpose(*PAIR) if isinstance(y, xr.DataArray) else y).reshape(-1)
    known: np.ndarray = values != UNKNOWN_LABEL if task == "classification" else np.isfinite(values)
    if not known.any():
        raise MissingExpressionError(
            "None of the genes has a label.",
            found=f"{values.size} unknown",
            expected="known labels (1, 0)" if task == "classification" else "finite expression",
            cause="the dataset was built without expression",
            remedy="build it with --expression FILE",
        )
    return known


def require_two_classes(y: np.ndarray) -> None:
    """Is there anything to tell apart?

    Raises
    ------
    UndefinedScoreError
        If all labels are of one class.
    """
    classes = np.unique(y)
    if classes.size < 2:
        raise UndefinedScoreError(
            f"All {y.size} labels are of one class; there is nothing to tell apart.",
            found=f"class {', '.join(map(str, classes))} only",
            expected="at least one gene of each class",
            cause="very few labels, or a label rule that puts all genes on one side",
            remedy="draw more labels, or another --seed",
        )


def labelled_rows(x: xr.DataArray, y: xr.DataArray | np.ndarray, task: str) -> Rows:
    """Which rows have a label (or a finite expression), and what are they?

    Parameters
    ----------
    x : (cell_type, gene, …)
    y : (cell_type, gene)
        Labels with -1 for unknown (classification), or values with NaN for unknown.
    task
        `classification` or `regression`.

    Raises
    ------
    InputFormatError
        If the two do not speak of the same genes and cell types.
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
            "Features and labels are not of the same genes and cell types.",
            found=f"labels of shape {target.shape}",
            expected=f"(cell_type, gene) = {x.shape[:2]}, with equal gene ids",
        )
    known = known_targets(target, task)
    return Rows(rows[known], np.asarray(target).reshape(-1)[known])


def inner_folds(
    rows: Rows, task: str, *, n_folds: int, hold_out_from: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Which of the labelled rows are held out to choose epochs, trees and the like?

    Classes keep their shares in each fold.

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
