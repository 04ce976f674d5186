"""Along which direction are genes on, in every cell type?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from simplechrome.dataset.transforms.signal import Windows

RIDGE = 0.1
"""Price of weights on small components; what others do is in docs/explanation/encoder.md."""


class _Part:
    """Centered components of one cell type, and their covariance."""

    def __init__(self, components: np.ndarray) -> None:
        self.x = components.astype(np.float64)
        self.x -= self.x.mean(axis=0)
        self.covariance = self.x.T @ self.x / len(self.x)


def bimodal_direction(
    cell_types: Sequence[np.ndarray], start: np.ndarray, *, ridge: float = RIDGE
) -> np.ndarray:
    """Along which direction do the windows of every cell type fall into two equal halves?

    The direction of least kurtosis, E u⁴ / (E u²)²: 1 for two equal points, 1.8 for a uniform, 3
    for a normal distribution, and more for a few far from the rest. It is the mean over the cell
    types that is made small, plus a price for weights on components that hardly vary. Half of the
    genes of a cell are on, so the direction that splits genes in halves in all cell types is that
    of activity. Directions along which few genes stand apart have more kurtosis.

    There may be several such directions. That nearest to `start` is found.

    Parameters
    ----------
    cell_types
        One array (gene, component) each, on the natural scale.
    start : (component,)
        Where to begin.
    ridge
        Price: this × |weights|² / variance of the direction.

    Returns
    -------
    (component,) weights of a direction with a mean variance of 1.

    References
    ----------
    Hyvärinen, Karhunen & Oja, Independent Component Analysis, 2001, ch. 8 (kurtosis as contrast).
    """
    parts = [_Part(components) for components in cell_types if len(components) > 1]
    pooled = np.mean([part.covariance for part in parts], axis=0)

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = 0.0, np.zeros_like(w)
        for part in parts:
            u, along = part.x @ w, part.covariance @ w
            variance = max(float(w @ along), 1e-300)
            kurtosis = float(np.mean(u**4)) / variance**2
            value += kurtosis / len(parts)
            fourth = 4 * (u**3 @ part.x) / len(u) / variance**2
            slope += (fourth - 4 * kurtosis / variance * along) / len(parts)
        along = pooled @ w
        variance = max(float(w @ along), 1e-300)
        value += ridge * float(w @ w) / variance
        slope += ridge * (2 * w / variance - 2 * float(w @ w) / variance**2 * along)
        return value, slope

    scale = np.sqrt(max(float(start @ pooled @ start), 1e-300))
    found = minimize(objective, start / scale, jac=True, method="L-BFGS-B").x
    return found / np.sqrt(max(float(found @ pooled @ found), 1e-300))


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
        cls, rows: Sequence[np.ndarray], seen: Sequence[np.ndarray], shared: np.ndarray | None
    ) -> ActivityDirection:
        """Look for it, from that which follows what all tracks agree upon.

        Parameters
        ----------
        rows : (row, component) of each cell type
        seen : (gene,) of each, which genes these rows are
        agreed : (gene, coordinate), see `shared_coordinates`; None with a single track
        """
        split_on = [part[:, :SPLIT_ON] for part in rows]
        start = np.eye(split_on[0].shape[1])[0]
        if shared is not None:
            x = np.concatenate([part - part.mean(axis=0) for part in split_on])
            target = np.concatenate([shared[some, 0] for some in seen])
            start = np.linalg.lstsq(x, target, rcond=None)[0]
        weights = bimodal_direction(split_on, start)
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
