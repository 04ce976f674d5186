"""Cell types left out of a covariance of marks, to see how well it tells of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from simplechrome.dataset.transforms import Windows
from simplechrome.latent.composite import Composite

_FOLDS = 5


class LeftOut(NamedTuple):
    """Some cell types, and the covariance of marks in all others.

    held : positions of the cell types that are left out
    """

    held: list[int]
    composite: Composite


def leave_out(cell_types: Sequence[Windows]) -> list[LeftOut]:
    """Leave cell types out of the covariance: one by one, or a fifth of them at a time.

    Those that have a mark in common are left out apart from each other, as far as that goes.

    Parameters
    ----------
    cell_types
        The same genes in each, centered, 0 for what is missing.

    Returns
    -------
    Nothing where there is one cell type.
    """
    if len(cell_types) < 2:
        return []
    bins, marks = cell_types[0].values.shape[1:]
    found = []
    for held in _folds(np.asarray([cell.present.any(axis=0) for cell in cell_types])):
        rest = [cell for k, cell in enumerate(cell_types) if k not in held]
        found.append(LeftOut(held, Composite().fit(rest, bins, marks)))
    return found


def _folds(has: np.ndarray) -> list[list[int]]:
    """Positions in each fold, of (cell_type, mark): has it this mark?"""
    folds: list[list[int]] = [[] for _ in range(min(_FOLDS, len(has)))]
    rarity = 1 / np.maximum(has.sum(axis=0), 1)
    # Those with the rarest marks choose first.
    for row in np.argsort(-(has * rarity).max(axis=1), kind="stable").tolist():
        crowd = [float((has[fold].sum(axis=0) * has[row]) @ rarity) for fold in folds]
        chosen = min(range(len(folds)), key=lambda k: (crowd[k], len(folds[k])))
        folds[chosen].append(row)
    return [sorted(fold) for fold in folds if fold]
