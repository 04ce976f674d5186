"""Components shared by the tracks of all marks and cell types (multi-set CCA, MAXVAR)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from simplechrome.dataset.transforms.signal import Windows
from simplechrome.latent.consensus.covariance import sum_of_products
from simplechrome.latent.encoder import mark_patterns

PER_TRACK = 2
"""Components of each track; three and more bring in noise of single tracks (encoder.md)."""
PAIRED = 12  # components whose products are features
MOST = 10.0  # standard deviations at which products of components are clipped
_RIDGE = 0.0075  # per row


class Track:
    """The first components of one track over the genes, each with variance 1; 0 where missing.

    Parameters
    ----------
    mark
    values : (gene, bin), centered
    present : (gene,)
    """

    def __init__(self, mark: str, values: np.ndarray, present: np.ndarray) -> None:
        self.mark = mark
        seen = values[present]
        variance, vectors = np.linalg.eigh(sum_of_products(seen) / max(len(seen), 1))
        kept = min(PER_TRACK, values.shape[1])
        deviation = np.sqrt(np.maximum(variance[::-1][:kept], 1e-12))
        self.components = (values @ vectors[:, ::-1][:, :kept] / deviation) * present[:, np.newaxis]


def shared_components(tracks: Sequence[Track], n: int) -> np.ndarray:
    """Return the components of each gene that most tracks share, by MAXVAR generalized CCA.

    These are the principal components of the tracks' standardized components, concatenated.
    Tracks are divided by the root of how many there are of their mark, so that a mark with many
    cell types does not outweigh one with few.

    Returns
    -------
    (gene, n or as many as there are), each with variance 1, the most shared first.

    References
    ----------
    Kettenring, Biometrika 1971 (MAXVAR).
    """
    of_mark = Counter(track.mark for track in tracks)
    joined = np.concatenate([t.components / np.sqrt(of_mark[t.mark]) for t in tracks], axis=1)
    joined = joined - joined.mean(axis=0)
    _, vectors = np.linalg.eigh(sum_of_products(joined) / len(joined))
    coordinates = joined @ vectors[:, ::-1][:, :n]
    return coordinates / np.maximum(coordinates.std(axis=0), 1e-12)


class QuadraticMap:
    """Ridge regression on components and the products of the first twelve with each other.

    Solved in closed form from sums, which `add` collects one cell type at a time.

    Parameters
    ----------
    scale : (component,), by which components are divided
    n_targets

    Attributes
    ----------
    weights_ : (feature, target)
    intercept_ : (target,)
    """

    weights_: np.ndarray
    intercept_: np.ndarray

    def __init__(self, scale: np.ndarray, n_targets: int) -> None:
        self.scale = scale
        self._pairs = np.triu_indices(min(PAIRED, len(scale)))
        size = len(scale) + len(self._pairs[0])
        self._rows = 0
        self._x, self._y = np.zeros(size), np.zeros(n_targets)
        self._xx, self._xy = np.zeros((size, size)), np.zeros((size, n_targets))

    def _features(self, components: np.ndarray) -> np.ndarray:
        z = components / self.scale
        products = z[:, self._pairs[0]] * z[:, self._pairs[1]]
        return np.concatenate([z, products.clip(-MOST, MOST)], axis=1)

    def add(self, components: np.ndarray, targets: np.ndarray) -> None:
        """Add rows: (row, component) and (row, target)."""
        x = self._features(components)
        self._rows += len(x)
        self._x += x.sum(axis=0)
        self._y += targets.sum(axis=0)
        self._xx += x.T @ x
        self._xy += x.T @ targets

    def solve(self) -> QuadraticMap:
        """Fit weights to the rows that were added; return itself."""
        center, mean = self._x / self._rows, self._y / self._rows
        xx = self._xx - self._rows * np.outer(center, center)
        xy = self._xy - self._rows * np.outer(center, mean)
        xx[np.diag_indices_from(xx)] += _RIDGE * self._rows
        self.weights_ = np.linalg.solve(xx, xy)
        self.intercept_ = mean - center @ self.weights_
        return self

    @classmethod
    def from_weights(
        cls, scale: np.ndarray, weights: np.ndarray, intercept: np.ndarray
    ) -> QuadraticMap:
        """Return the map with these weights."""
        map_ = cls(scale, len(intercept))
        map_.weights_, map_.intercept_ = weights, intercept
        return map_

    def __call__(self, components: np.ndarray) -> np.ndarray:
        """Return (row, target) of (row, component)."""
        predicted: np.ndarray = self._features(components) @ self.weights_ + self.intercept_
        return predicted


Encode = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(row, bin, mark) windows and (row, mark) presence to (row, component)."""


class SharedComponentMap:
    """Predicts the shared components of a gene from one window: a map for each set of marks.

    Attributes
    ----------
    maps
        Set of marks to its map. The empty set stands for all that no cell type has: its map was
        fitted to all windows.
    axes : (target, shared)
        Principal axes of the predictions, the first with standard deviation 1.
    """

    def __init__(self, maps: dict[tuple[bool, ...], QuadraticMap], axes: np.ndarray) -> None:
        self.maps, self.axes = maps, axes

    @classmethod
    def find(
        cls,
        cell_types: Sequence[Windows],
        components: Sequence[np.ndarray],
        activity: Sequence[np.ndarray],
        targets: np.ndarray,
        n_shared: int,
        encode: Encode,
    ) -> SharedComponentMap:
        """Fit maps from the window in any cell type to the targets of its gene.

        Parameters
        ----------
        cell_types
            The same genes in each.
        components, activity
            (gene, component) and (gene,) of each; axes rise with activity.
        targets : (gene, target)
        n_shared
            Number of axes that are kept.
        encode
            Gives components of windows of which some marks are masked.
        """
        seen = [cell.present.any(axis=1) for cell in cell_types]
        rows = [part[some] for part, some in zip(components, seen, strict=True)]
        scale = np.sqrt(np.mean([part.var(axis=0) for part in rows], axis=0))
        scale, width = np.maximum(scale, 1e-6), targets.shape[1]
        every = QuadraticMap(scale, width)
        for part, some in zip(rows, seen, strict=True):
            every.add(part, targets[some])
        found = cls({(): every.solve()}, np.eye(width))
        for marks in sorted({_key(np.any(cell.present, axis=0)) for cell in cell_types}):
            pattern, map_ = np.asarray(marks), QuadraticMap(scale, width)
            for cell in cell_types:
                whole = cell.present[:, pattern].all(axis=1)
                if whole.any():
                    masked = np.broadcast_to(pattern, (int(whole.sum()), len(pattern)))
                    predicted = encode(cell.values[whole] * pattern, masked)
                    map_.add(predicted[:, : scale.size], targets[whole])
            found.maps[marks] = map_.solve()
        present = [cell.present[some] for cell, some in zip(cell_types, seen, strict=True)]
        outputs = np.concatenate([found(*pair) for pair in zip(rows, present, strict=True)])
        variance, vectors = np.linalg.eigh(np.cov(outputs.T))
        axes = vectors[:, ::-1][:, :n_shared] / np.sqrt(max(variance[-1], 1e-12))
        # The sign of an axis is arbitrary: let it rise with activity.
        active = np.concatenate([part[some] for part, some in zip(activity, seen, strict=True)])
        falls = (active - active.mean()) @ (outputs @ axes) < 0
        return cls(found.maps, axes * np.where(falls, -1, 1))

    def __call__(self, components: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Return (row, shared) components of (row, component) and (row, mark)."""
        predicted = np.empty((len(components), len(self.axes)))
        for pattern, members in mark_patterns(present):
            predicted[members] = self.of(pattern)(components[members])
        return predicted @ self.axes

    def of(self, marks: np.ndarray) -> QuadraticMap:
        """Return the map for these marks, (mark,)."""
        return self.maps.get(_key(marks), self.maps[()])

    def state(self) -> tuple[list[list[bool]], dict[str, np.ndarray]]:
        """Return all that it consists of: sets of marks, and arrays."""
        arrays = {"axes": self.axes}
        for number, map_ in enumerate(self.maps.values()):
            arrays |= {
                f"map_{number}.scale": map_.scale,
                f"map_{number}.weights": map_.weights_,
                f"map_{number}.intercept": map_.intercept_,
            }
        return [list(marks) for marks in self.maps], arrays

    @classmethod
    def rebuild(
        cls, sets: Sequence[Sequence[bool]], arrays: dict[str, np.ndarray]
    ) -> SharedComponentMap:
        """Return the map whose `state` this is."""
        maps = {}
        for number, marks in enumerate(sets):
            parts = (arrays[f"map_{number}.{name}"] for name in ("scale", "weights", "intercept"))
            maps[tuple(marks)] = QuadraticMap.from_weights(*parts)
        return cls(maps, arrays["axes"])


def _key(pattern: np.ndarray) -> tuple[bool, ...]:
    return tuple(bool(there) for there in pattern)
