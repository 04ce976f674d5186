"""Principal components of windows of which no cell type has all marks."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from simplechrome.dataset.transforms import Windows

_NOISE_SHARE = 0.02
"""Of the mean variance of a bin, added to what is seen before what is not seen is told from it."""


class Composite:
    """Covariance of windows, put together from cell types that each have some of the marks.

    The block of two marks is the mean of their covariances over the cell types that have both, so
    that a mark that two cell types have counts for as much as one that fifty have. Two marks that
    no cell type has together are taken as uncorrelated. What is not positive in the whole is
    raised to next to nothing.

    Attributes
    ----------
    covariance_ : (feature, feature)
        Features are bin by mark, marks fastest.
    vectors_ : (feature, feature)
        Principal axes, the longest first.
    variance_ : (feature,)
    """

    covariance_: np.ndarray
    vectors_: np.ndarray
    variance_: np.ndarray

    def fit(self, cell_types: Iterable[Windows], bins: int, marks: int) -> Composite:
        """Learn from one cell type after the other: centered windows, 0 for what is missing."""
        features = bins * marks
        total = np.zeros((features, features))
        counted = np.zeros((marks, marks))
        for windows in cell_types:
            rows = windows.values.reshape(-1, features)
            present = windows.present.reshape(len(rows), marks).astype(np.float64)
            both = present.T @ present
            product = sum_of_products(rows)
            total += product / np.tile(np.maximum(both, 1), (bins, bins))
            counted += both > 0
        covariance = total / np.tile(np.maximum(counted, 1), (bins, bins))
        variance, vectors = np.linalg.eigh(covariance)
        variance = np.maximum(variance, 1e-5 * max(variance[-1], 1e-12))
        # The sign of an eigenvector is arbitrary; make the largest loading positive.
        vectors = vectors[:, ::-1]
        largest = np.abs(vectors).argmax(axis=0)
        vectors *= np.sign(vectors[largest, np.arange(features)])
        return self._take(vectors, variance[::-1])

    @classmethod
    def from_axes(cls, vectors: np.ndarray, variance: np.ndarray) -> Composite:
        """The covariance with these axes."""
        return cls()._take(vectors, variance)

    def _take(self, vectors: np.ndarray, variance: np.ndarray) -> Composite:
        self.vectors_, self.variance_ = vectors, variance
        self.covariance_ = (vectors * variance) @ vectors.T
        return self

    def map_to(self, n_components: int, present: np.ndarray, bins: int) -> np.ndarray:
        """(feature, component): which combination of what is seen is expected of each component?

        With all marks, the components themselves; else their conditional mean for a normal
        distribution, 0 in the rows of what is missing.

        Parameters
        ----------
        n_components
            How many, the longest first.
        present : (mark,)
        bins
            Of a window.
        """
        components = self.vectors_[:, :n_components]
        if present.all():
            return components
        seen = np.tile(present, bins)
        map_ = np.zeros_like(components)
        if seen.any():
            map_[seen] = np.linalg.solve(self._noisy(seen), self.covariance_[seen] @ components)
        return map_

    def _noisy(self, seen: np.ndarray) -> np.ndarray:
        """Covariance of what is seen, made safe to divide by."""
        part = self.covariance_[np.ix_(seen, seen)].copy()
        part[np.diag_indices_from(part)] += (
            _NOISE_SHARE * max(float(np.trace(part)), 1e-12) / len(part)
        )
        return part


def sum_of_products(rows: np.ndarray) -> np.ndarray:
    """(feature, feature) rows' × rows, in blocks: float64 sums of float32 products."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for block in np.array_split(rows, max(1, len(rows) // 4096)):
        total += block.T @ block
    return total
