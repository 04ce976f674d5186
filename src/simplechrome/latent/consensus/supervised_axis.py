"""Which direction among latents do labels point out, if an unlabelled one is to be believed?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from simplechrome.dataset.transforms.signal import Windows

FOLDS = 5
"""Of labelled genes; each is told what it is by the labels of the others."""
RIDGE, FEW = 0.01, 100
"""Price of leaving the first direction: the one with many labels, and the number of labels at
which it is 1 more; see docs/explanation/encoder.md."""


def label_direction(latents: np.ndarray, target: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Along which direction do the targets rise, when in doubt along `start`?

    Least squares: the best multiple of `start`, and a correction with a ridge penalty that falls
    as the number of labels rises. It is fixed beforehand, since twenty labels cannot choose it.

    Parameters
    ----------
    latents : (row, latent)
        Of the labelled windows.
    target : (row,)
        Centered: 1 and -1, or levels.
    start : (latent,)
        The direction that is known without labels.

    Returns
    -------
    (latent,)
    """
    x, n = latents.astype(np.float64), len(target)
    along = x @ start
    slope = float(along @ target) / max(float(along @ along), 1e-12)
    rest = target - slope * along
    product = x.T @ x / n
    product[np.diag_indices_from(product)] += RIDGE + FEW / n
    correction = np.linalg.solve(product, x.T @ rest / n)
    direction: np.ndarray = slope * start + correction
    return direction


class LabelledRows(NamedTuple):
    """Latents and targets of the windows whose label is known.

    latents : (row, latent)
    target : (row,), 1 and -1, or levels in standard deviations of their cell type
    cell_type, gene, fold : (row,), positions, and the fifth of the genes that it is in
    """

    latents: np.ndarray
    target: np.ndarray
    cell_type: np.ndarray
    gene: np.ndarray
    fold: np.ndarray

    @classmethod
    def of(
        cls,
        windows: Windows,
        y: np.ndarray,
        encode: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ) -> LabelledRows:
        """The rows of (cell_type, gene) labels (-1 unknown), or levels (NaN unknown)."""
        whole = y.dtype.kind in "iub"
        known = (y >= 0 if whole else np.isfinite(y)) & windows.present.any(axis=2)
        target = np.where(known, y, 0).astype(np.float64)
        if whole:
            target = 2 * target - 1
        else:
            count = np.maximum(known.sum(axis=1, keepdims=True), 1)
            target -= (target * known).sum(axis=1, keepdims=True) / count
            spread = np.sqrt((target**2 * known).sum(axis=1, keepdims=True) / count)
            target /= np.maximum(spread, 1e-12)
        parts = [
            encode(windows.values[row, known[row]], windows.present[row, known[row]])
            for row in range(len(y))
        ]
        cell_type, gene = np.nonzero(known)
        labelled = np.flatnonzero(known.any(axis=0))
        fold_of = np.zeros(y.shape[1], np.int64)
        shuffled = np.random.default_rng(0).permutation(labelled)
        fold_of[shuffled] = np.arange(len(shuffled)) % FOLDS
        return cls(np.concatenate(parts), target[known], cell_type, gene, fold_of[gene])

    def direction(self, n_latent: int, without: int | None = None) -> np.ndarray:
        """(latent,) weights, from all rows or from those of the other folds; see above."""
        start = np.eye(n_latent)[0]
        some = np.ones(len(self.fold), bool) if without is None else self.fold != without
        return (
            label_direction(self.latents[some], self.target[some], start) if some.any() else start
        )

    def of_fold(self, fold: int) -> Iterator[tuple[int, np.ndarray]]:
        """Cell type and genes of the rows of a fold."""
        for row in np.unique(self.cell_type):
            yield int(row), self.gene[(self.cell_type == row) & (self.fold == fold)]
