"""Two axes among latents or components: the unsupervised one of activity, and a supervised one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from simplechrome.dataset.transforms.signal import Windows

KURTOSIS_RIDGE = 0.1
"""Penalty on weights of small components; docs/explanation/encoder.md compares values."""


def bimodal_direction(
    cell_types: Sequence[np.ndarray], start: np.ndarray, *, ridge: float = KURTOSIS_RIDGE
) -> np.ndarray:
    """Return the minimum-kurtosis projection: windows along it are bimodal in every cell type.

    Kurtosis, E u⁴ / (E u²)², is 1 for two equal points, 1.8 for a uniform, 3 for a normal
    distribution, and more for a few outliers. Its mean over the cell types is minimized, plus a
    penalty for weights on components that hardly vary. About half of the genes of a cell are
    active, so the direction that is bimodal in all cell types is that of activity.

    There may be several local minima. That nearest to `start` is found.

    Parameters
    ----------
    cell_types
        One array (gene, component) each, variance-scaled.
    start : (component,)
    ridge
        The penalty is this × |weights|² / variance of the direction.

    Returns
    -------
    (component,) weights of a direction with a mean variance of 1.

    References
    ----------
    Hyvärinen, Karhunen & Oja, Independent Component Analysis, 2001, ch. 8 (kurtosis as contrast).
    """
    centered = [x - x.mean(axis=0) for x in (part.astype(np.float64) for part in cell_types)]
    parts = [(x, x.T @ x / len(x)) for x in centered if len(x) > 1]
    pooled = np.mean([covariance for _, covariance in parts], axis=0)

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = 0.0, np.zeros_like(w)
        for x, covariance in parts:
            u, along = x @ w, covariance @ w
            variance = max(float(w @ along), 1e-300)
            kurtosis = float(np.mean(u**4)) / variance**2
            value += kurtosis / len(parts)
            fourth = 4 * (u**3 @ x) / len(u) / variance**2
            slope += (fourth - 4 * kurtosis / variance * along) / len(parts)
        along = pooled @ w
        variance = max(float(w @ along), 1e-300)
        value += ridge * float(w @ w) / variance
        slope += ridge * (2 * w / variance - 2 * float(w @ w) / variance**2 * along)
        return value, slope

    scale = np.sqrt(max(float(start @ pooled @ start), 1e-300))
    found = minimize(objective, start / scale, jac=True, method="L-BFGS-B").x
    return found / np.sqrt(max(float(found @ pooled @ found), 1e-300))


ACTIVITY_COMPONENTS = 10
"""Components among which the direction of activity is searched."""
_ACTIVE = ("H3K4me3", "H3K36me3", "H3K27ac", "H3K9ac", "H3K79me2", "H4K20me1", "H3K4me2", "H2AFZ")


class ActivityDirection(NamedTuple):
    """The axis of activity: a minimum-kurtosis projection of principal components.

    weights : (component,)
    center : its mean over the training windows
    """

    weights: np.ndarray
    center: float

    def __call__(self, components: np.ndarray) -> np.ndarray:
        """Return (row,) activity of (row, component)."""
        return components[:, : len(self.weights)] @ self.weights - self.center

    @classmethod
    def find(
        cls, rows: Sequence[np.ndarray], seen: Sequence[np.ndarray], shared: np.ndarray | None
    ) -> ActivityDirection:
        """Search it from the direction that follows the first shared component.

        Parameters
        ----------
        rows : (row, component) of each cell type
        seen : (gene,) of each, which genes these rows are
        shared : (gene, component), see `shared_components`; None with a single track
        """
        parts = [part[:, :ACTIVITY_COMPONENTS] for part in rows]
        start = np.eye(parts[0].shape[1])[0]
        if shared is not None:
            x = np.concatenate([part - part.mean(axis=0) for part in parts])
            target = np.concatenate([shared[some, 0] for some in seen])
            start = np.linalg.lstsq(x, target, rcond=None)[0]
        weights = bimodal_direction(parts, start)
        values = np.concatenate([part @ weights for part in parts])
        return cls(weights, float(values.mean()))

    def oriented(
        self, cell_types: Sequence[Windows], components: Sequence[np.ndarray], marks: Sequence[str]
    ) -> ActivityDirection:
        """Return it with the sign that rises with the marks of active genes, or else all marks."""
        known = [mark in _ACTIVE for mark in marks]
        used = np.asarray(known) if any(known) else np.ones(len(marks), bool)
        rises = 0.0
        for cell, part in zip(cell_types, components, strict=True):
            level = cell.values[:, :, used].mean(axis=1).sum(axis=1)
            rises += float(np.cov(level, self(part))[0, 1])
        return self if rises >= 0 else ActivityDirection(-self.weights, -self.center)


FOLDS = 5
"""Folds of labelled genes, each predicted from the labels of the others."""
_LABEL_RIDGE, _FEW_LABELS = 0.01, 100
"""Ridge penalty on leaving the start with many labels, and the number of labels at which it is 1
more; see docs/explanation/encoder.md."""


def supervised_axis(latents: np.ndarray, target: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return the direction along which targets rise, close to `start` where labels are few.

    Least squares: the best multiple of `start`, and a correction with a ridge penalty that falls
    as the number of labels rises. The penalty is fixed, since twenty labels cannot choose it.

    Parameters
    ----------
    latents : (row, latent), of the labelled windows
    target : (row,), centered: 1 and -1, or levels
    start : (latent,), the unsupervised direction
    """
    x, n = latents.astype(np.float64), len(target)
    along = x @ start
    slope = float(along @ target) / max(float(along @ along), 1e-12)
    rest = target - slope * along
    product = x.T @ x / n
    product[np.diag_indices_from(product)] += _LABEL_RIDGE + _FEW_LABELS / n
    correction = np.linalg.solve(product, x.T @ rest / n)
    direction: np.ndarray = slope * start + correction
    return direction


class LabelledRows(NamedTuple):
    """Latents and targets of the windows whose label is known.

    latents : (row, latent)
    target : (row,), 1 and -1, or levels in standard deviations of their cell type
    cell_type, gene, fold : (row,), positions, and the cross-validation fold of the gene
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
        """Return the rows of (cell_type, gene) labels (-1 unknown), or levels (NaN unknown)."""
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
        cells = zip(windows.values, windows.present, known, strict=True)
        parts = [encode(values[some], present[some]) for values, present, some in cells]
        cell_type, gene = np.nonzero(known)
        labelled = np.flatnonzero(known.any(axis=0))
        fold_of = np.zeros(y.shape[1], np.int64)
        shuffled = np.random.default_rng(0).permutation(labelled)
        fold_of[shuffled] = np.arange(len(shuffled)) % FOLDS
        return cls(np.concatenate(parts), target[known], cell_type, gene, fold_of[gene])

    def direction(self, n_latent: int, without: int | None = None) -> np.ndarray:
        """Return (latent,) weights of the supervised axis, from all rows or all but one fold."""
        start = np.eye(n_latent)[0]
        some = np.ones(len(self.fold), bool) if without is None else self.fold != without
        if not some.any():
            return start
        return supervised_axis(self.latents[some], self.target[some], start)

    def of_fold(self, fold: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield cell type and genes of the rows of a fold."""
        for row in np.unique(self.cell_type):
            yield int(row), self.gene[(self.cell_type == row) & (self.fold == fold)]
