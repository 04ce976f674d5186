"""What all tracks agree upon, told from the principal components of one window."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from simplechrome.dataset.transforms import Windows
from simplechrome.latent.agreement import QuadraticMap

Encode = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From (row, bin, mark) windows and (row, mark) what is there, to (row, component)."""


class AgreedMaps:
    """Quadratic maps of components, one for each set of marks that a cell type has.

    Attributes
    ----------
    maps
        Set of marks to map; that of no marks was learned from all, for sets that no cell type has.
    axes : (target, agreed)
        Principal axes of what the maps tell, the first with standard deviation 1.
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
        n_agreed: int,
        encode: Encode,
    ) -> AgreedMaps:
        """Learn to tell the targets of a gene from its window in any cell type.

        Parameters
        ----------
        cell_types
            The same genes in each.
        components
            (gene, component) of each.
        activity
            (gene,) of each: axes rise with it.
        targets : (gene, target)
        n_agreed
            Axes that are kept.
        encode
            Components of windows with marks taken away.
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
                    told = encode(cell.values[whole] * pattern, masked)
                    map_.add(told[:, : scale.size], targets[whole])
            found.maps[marks] = map_.solve()
        outputs = np.concatenate(
            [
                found(part, cell.present[some])
                for part, some, cell in zip(rows, seen, cell_types, strict=True)
            ]
        )
        variance, vectors = np.linalg.eigh(np.cov(outputs.T))
        axes = vectors[:, ::-1][:, :n_agreed] / np.sqrt(max(variance[-1], 1e-12))
        # The sign of an axis is arbitrary: let what is agreed upon rise with activity.
        active = np.concatenate([part[some] for part, some in zip(activity, seen, strict=True)])
        falls = (active - active.mean()) @ (outputs @ axes) < 0
        return cls(found.maps, axes * np.where(falls, -1, 1))

    def __call__(self, components: np.ndarray, present: np.ndarray) -> np.ndarray:
        """(row, agreed) of (row, component) and (row, mark): what is agreed upon of the gene?"""
        told = np.empty((len(components), len(self.axes)))
        patterns, which = np.unique(present, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            members = np.flatnonzero(which.ravel() == number)
            told[members] = self.of(pattern)(components[members])
        return told @ self.axes

    def of(self, marks: np.ndarray) -> QuadraticMap:
        """The map for these marks, (mark,)."""
        return self.maps.get(_key(marks), self.maps[()])

    def state(self) -> tuple[list[list[bool]], dict[str, np.ndarray]]:
        """What it consists of: sets of marks, and arrays."""
        arrays = {"axes": self.axes}
        for number, map_ in enumerate(self.maps.values()):
            arrays |= {
                f"map_{number}.scale": map_.scale,
                f"map_{number}.weights": map_.weights_,
                f"map_{number}.intercept": map_.intercept_,
            }
        return [list(marks) for marks in self.maps], arrays

    @classmethod
    def rebuild(cls, sets: Sequence[Sequence[bool]], arrays: dict[str, np.ndarray]) -> AgreedMaps:
        """The one whose `state` this is."""
        maps = {
            tuple(marks): QuadraticMap.from_weights(
                *(arrays[f"map_{number}.{name}"] for name in ("scale", "weights", "intercept"))
            )
            for number, marks in enumerate(sets)
        }
        return cls(maps, arrays["axes"])


def _key(pattern: np.ndarray) -> tuple[bool, ...]:
    """A set of marks, as something that can be looked up."""
    return tuple(bool(there) for there in pattern)
