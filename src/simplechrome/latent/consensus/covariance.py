"""Pooled covariance of windows, where no cell type need have all marks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from simplechrome.dataset.transforms.signal import Windows

_NOISE_FRACTION = 0.02
"""Of the mean variance of a bin: noise added to observed features before others are predicted."""


class PooledCovariance:
    """Covariance of windows, block by block from cell types that each have some of the marks.

    The block of two marks is the mean of their covariances over the cell types that have both, so
    that a mark that two cell types have counts for as much as one that fifty have. The block of two
    marks that no cell type has together is the covariance of each gene's mean under the one mark
    with its mean under the other, in whatever cell types have them. Eigenvalues of the whole are
    raised to a small positive floor.

    Attributes
    ----------
    covariance_ : (feature, feature)
        Features are bin by mark, marks fastest.
    vectors_ : (feature, feature)
        Principal axes, the longest first.
    variance_ : (feature,)
    together_ : (mark, mark)
        Number of cell types that have both marks.
    """

    together_: np.ndarray
    covariance_: np.ndarray
    vectors_: np.ndarray
    variance_: np.ndarray

    def fit(self, cell_types: Sequence[Windows], bins: int, marks: int) -> Self:
        """Learn from the same genes in each cell type: centered windows, 0 for what is missing."""
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
        self.together_ = counted.astype(np.int64)
        covariance = total / np.tile(np.maximum(counted, 1), (bins, bins))
        for one, other in np.argwhere(np.tril(counted == 0)):
            block = _of_gene_means(cell_types, one).T @ _of_gene_means(cell_types, other)
            block /= max(len(cell_types[0].values), 1)
            covariance[one::marks, other::marks] = block
            covariance[other::marks, one::marks] = block.T
        variance, vectors = np.linalg.eigh(covariance)
        variance = np.maximum(variance, 1e-5 * max(variance[-1], 1e-12))
        # The sign of an eigenvector is arbitrary; make the largest loading positive.
        vectors = vectors[:, ::-1]
        largest = np.abs(vectors).argmax(axis=0)
        vectors *= np.sign(vectors[largest, np.arange(features)])
        return self.restore(vectors, variance[::-1], self.together_)

    def restore(self, vectors: np.ndarray, variance: np.ndarray, together: np.ndarray) -> Self:
        """Take these principal axes; return itself."""
        self.vectors_, self.variance_, self.together_ = vectors, variance, together
        self.covariance_ = (vectors * variance) @ vectors.T
        return self

    def map_to(self, n_components: int, present: np.ndarray, bins: int) -> np.ndarray:
        """Return (feature, component) weights of the components, given the present marks.

        With all marks, the components themselves; else their conditional means, see `expect`.
        """
        components = self.vectors_[:, :n_components]
        return components if present.all() else self.expect(components, present, bins)

    def expect(self, directions: np.ndarray, present: np.ndarray, bins: int) -> np.ndarray:
        """Return (feature, direction) weights of the conditional mean along each direction.

        Given the present marks, (mark,), for a normal distribution; 0 in the rows of missing marks.
        """
        seen = np.tile(present, bins)
        map_ = np.zeros_like(directions)
        if seen.any():
            part = self.covariance_[np.ix_(seen, seen)]
            noise = _NOISE_FRACTION * max(float(np.trace(part)), 1e-12) / len(part)
            part[np.diag_indices_from(part)] += noise  # makes it invertible
            map_[seen] = np.linalg.solve(part, self.covariance_[seen] @ directions)
        return map_


def _of_gene_means(cell_types: Sequence[Windows], mark: int) -> np.ndarray:
    """(gene, bin) mean window of each gene under a mark, over the cell types that have it."""
    total = np.sum([windows.values[:, :, mark] for windows in cell_types], axis=0)
    counted = np.sum([windows.present[:, mark] for windows in cell_types], axis=0)
    means: np.ndarray = total / np.maximum(counted, 1)[:, np.newaxis]
    return means


def sum_of_products(rows: np.ndarray) -> np.ndarray:
    """Return (feature, feature) rows' × rows, in blocks: float64 sums of float32 products."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for block in np.array_split(rows, max(1, len(rows) // 4096)):
        total += block.T @ block
    return total
