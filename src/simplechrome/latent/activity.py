"""Along which direction are genes on, in every cell type?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simplechrome.dataset.transforms import Windows
from simplechrome.latent.halves import split_in_halves

SPLIT_ON = 10
"""Components among which it is looked for."""
_ACTIVE = ("H3K4me3", "H3K36me3", "H3K27ac", "H3K9ac", "H3K79me2", "H4K20me1", "H3K4me2", "H2AFZ")


class ActivityDirection:
    """The direction among principal components along which genes fall into two equal halves.

    Parameters
    ----------
    weights : (component,)
    center
        Its mean over the training windows.
    """

    def __init__(self, weights: np.ndarray, center: float) -> None:
        self.weights, self.center = weights, center

    def __call__(self, components: np.ndarray) -> np.ndarray:
        """(row,) activity of (row, component)."""
        return components[:, : len(self.weights)] @ self.weights - self.center

    @classmethod
    def find(
        cls, rows: Sequence[np.ndarray], seen: Sequence[np.ndarray], agreed: np.ndarray | None
    ) -> ActivityDirection:
        """Look for it, from that which follows what all tracks agree upon.

        Parameters
        ----------
        rows : (row, component) of each cell type
        seen : (gene,) of each, which genes these rows are
        agreed : (gene, coordinate), see `agreed_coordinates`; None with a single track
        """
        split_on = [part[:, :SPLIT_ON] for part in rows]
        start = np.eye(split_on[0].shape[1])[0]
        if agreed is not None:
            x = np.concatenate([part - part.mean(axis=0) for part in split_on])
            target = np.concatenate([agreed[some, 0] for some in seen])
            start = np.linalg.lstsq(x, target, rcond=None)[0]
        weights = split_in_halves(split_on, start)
        values = np.concatenate([part @ weights for part in split_on])
        return cls(weights, float(values.mean()))

    def oriented(
        self, cell_types: Sequence[Windows], components: Sequence[np.ndarray], marks: Sequence[str]
    ) -> ActivityDirection:
        """The same, rising with the marks of active genes, by name; else with all marks."""
        known = [mark in _ACTIVE for mark in marks]
        asked = np.asarray(known) if any(known) else np.ones(len(marks), bool)
        rises = 0.0
        for cell, part in zip(cell_types, components, strict=True):
            level = cell.values[:, :, asked].mean(axis=1).sum(axis=1)
            rises += float(np.cov(level, self(part))[0, 1])
        return self if rises >= 0 else ActivityDirection(-self.weights, -self.center)
