"""What would a mark look like where nobody measured it?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from simplechrome.dataset.transforms import Windows
from simplechrome.latent.composite import Composite, sum_of_products

_AXES = 20  # principal axes of a mark's window that are told; more are noise
_TRUSTED = 3  # cell types that must have two marks before the one is told from the other
_RIDGE = 0.1  # of the mean square of what is regressed on
_SAMPLED = 1_000  # genes per cell type whose errors make the interval
_STRETCHES = 12  # of predicted values, each with errors of its own
PROBABILITIES = np.linspace(0.01, 0.99, 99)
"""Of the errors that are kept."""

Decode = Callable[[np.ndarray], np.ndarray]


class Told(NamedTuple):
    """Imputed windows of one mark, in the units of the signal.

    mean, low, high : (gene, bin)
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


class _Way:
    """One way to tell a mark: weights, and how far it was off in cell types left out.

    Attributes
    ----------
    weights : (own axis, axis)
        Of what the cell type's own marks lead to expect.
    edges : (stretch - 1,)
        Between stretches of predicted values.
    errors : (stretch, probability)
        Quantiles of truth minus prediction, in transformed signal.
    correlation : (cell_type,)
        Of truth and prediction in each cell type that was left out, over genes and bins, beyond
        the mark's mean profile.
    """

    def __init__(
        self,
        weights: np.ndarray,
        edges: np.ndarray,
        errors: np.ndarray,
        correlation: np.ndarray,
    ) -> None:
        self.weights, self.edges, self.errors = weights, edges, errors
        self.correlation = correlation


class MarkImputation:
    """How is one mark told from the others, and from the same genes of other cell types?

    The mean of the gene's windows under this mark in the other cell types, plus what the marks of
    its own cell type lead to expect beyond that; where no other cell type has the mark, the latter
    alone. Both are linear, on the mark's principal axes. What own marks lead to expect is the
    conditional mean under the encoder's `Composite`, from marks that three cell types or more
    have together with this one (where there are any): how two marks go together differs between
    cell types, and what one of them shows may mislead.

    Intervals are quantiles of the errors made in cell types whose own windows had no part in the
    weights, separately for low and high predictions.

    Attributes
    ----------
    axes_ : (bin, axis)
    trusted_ : (mark,)
        From which others it is told.
    ways_ : `own` and, where two cell types or more have the mark, `others`

    References
    ----------
    Ernst & Kellis, Nature Biotechnology 2015 (ChromImpute: other marks of the same cell type, and
    the same mark in other cell types). docs/explanation/imputation.md.
    """

    axes_: np.ndarray
    trusted_: np.ndarray
    ways_: dict[str, _Way]

    def __init__(self, mark: int) -> None:
        self.mark = mark

    def fit(self, cell_types: Sequence[Windows], composite: Composite) -> MarkImputation:
        """Learn from the cell types that have the mark: the same genes in each."""
        donors = [cell for cell in cell_types if cell.present[:, self.mark].sum() > 1]
        seen = [cell.present[:, self.mark] for cell in donors]
        windows = [cell.values[:, :, self.mark] for cell in donors]
        covariance = np.mean(
            [
                sum_of_products(values[some]) / some.sum()
                for values, some in zip(windows, seen, strict=True)
            ],
            axis=0,
        )
        axes = np.linalg.eigh(covariance)[1][:, ::-1]
        self.axes_ = axes[:, :_AXES].astype(np.float32)
        together = composite.together_[self.mark].copy()
        together[self.mark] = 0
        self.trusted_ = together >= min(_TRUSTED, max(int(together.max()), 1))
        truths = [values @ self.axes_ for values in windows]
        own = [self.expect(cell, composite) for cell in donors]
        self.ways_ = {"own": self._learn(own, truths, windows, seen)}
        if len(donors) > 1:
            total, counted = np.sum(truths, axis=0), np.sum(seen, axis=0)
            of_others = [
                (total - part) / np.maximum(counted - some, 1)[:, np.newaxis]
                for part, some in zip(truths, seen, strict=True)
            ]
            self.ways_["others"] = self._learn(own, truths, windows, seen, of_others)
        return self

    def expect(self, cell: Windows, composite: Composite) -> np.ndarray:
        """(gene, axis): what do the other marks of this cell type lead to expect of this one?"""
        bins, marks = cell.values.shape[1:]
        directions = np.zeros((bins * marks, self.axes_.shape[1]))
        directions[self.mark :: marks] = self.axes_
        expected = np.zeros((len(cell.values), self.axes_.shape[1]), np.float32)
        flat = cell.values.reshape(len(cell.values), -1)
        usable = cell.present & self.trusted_
        patterns, which = np.unique(usable, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            members = np.flatnonzero(which.ravel() == number)
            map_ = composite.expect(directions, pattern, bins).astype(np.float32)
            expected[members] = flat[members] @ map_
        return expected

    def _learn(
        self,
        own: Sequence[np.ndarray],
        truths: Sequence[np.ndarray],
        windows: Sequence[np.ndarray],
        seen: Sequence[np.ndarray],
        of_others: Sequence[np.ndarray] | None = None,
    ) -> _Way:
        """Weights from all cell types, and errors in each by the weights of the rest."""
        start = of_others or [np.zeros_like(part) for part in truths]
        xx, xy = [], []
        for x, truth, base, some in zip(own, truths, start, seen, strict=True):
            xx.append(x[some].T @ x[some] / some.sum())
            xy.append(x[some].T @ (truth - base)[some] / some.sum())
        predicted, errors, correlation = [], [], []
        for left_out in range(len(own)):
            # A single cell type cannot be left out: its own errors, of thousands of windows.
            rest = [k for k in range(len(own)) if k != left_out] or [0]
            weights = _ridge([xx[k] for k in rest], [xy[k] for k in rest])
            some = np.flatnonzero(seen[left_out])
            some = some[:: max(1, len(some) // _SAMPLED)]
            told = (start[left_out][some] + own[left_out][some] @ weights) @ self.axes_.T
            truth = windows[left_out][some]
            predicted.append(told.ravel())
            errors.append((truth - told).ravel())
            correlation.append(_correlation(truth, told))
        table = _quantiles(np.concatenate(predicted), np.concatenate(errors))
        return _Way(_ridge(xx, xy), *table, np.asarray(correlation, np.float32))

    def tell(
        self,
        expected: np.ndarray,
        of_others: np.ndarray | None,
        decode: Decode,
        coverage: float,
    ) -> Told:
        """What is this mark in these windows?

        Parameters
        ----------
        expected : (gene, axis)
            See `expect`.
        of_others : (gene, axis)
            Mean coordinates of the gene in other cell types; None where none has the mark.
        decode
            From transformed signal (gene, bin) to signal.
        coverage
            Share of bins whose signal the interval shall hold.
        """
        way = self.ways_.get("others") if of_others is not None else None
        start = of_others if way is not None and of_others is not None else 0.0
        way = way or self.ways_["own"]
        told = (start + expected @ way.weights) @ self.axes_.T
        stretch = np.searchsorted(way.edges, told)
        tails = [
            _at(way.errors, probability)[stretch]
            for probability in ((1 - coverage) / 2, (1 + coverage) / 2)
        ]
        # The mean of the signal is not the signal of the mean: the scale is logarithmic.
        mean = np.zeros_like(told)
        drawn = way.errors[:, 4::10]
        for quantile in range(drawn.shape[1]):
            mean += decode(told + drawn[:, quantile][stretch]) / drawn.shape[1]
        return Told(mean, decode(told + tails[0]), decode(told + tails[1]))

    def describe(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What it consists of: plain JSON, and arrays."""
        arrays = {"axes": self.axes_, "trusted": self.trusted_}
        for name, way in self.ways_.items():
            arrays |= {
                f"{name}.weights": way.weights,
                f"{name}.edges": way.edges,
                f"{name}.errors": way.errors,
                f"{name}.correlation": way.correlation,
            }
        return {"mark": self.mark, "ways": list(self.ways_)}, arrays

    @classmethod
    def rebuild(cls, description: dict[str, Any], arrays: dict[str, np.ndarray]) -> MarkImputation:
        """The one that `describe` described."""
        imputation = cls(description["mark"])
        imputation.axes_, imputation.trusted_ = arrays["axes"], arrays["trusted"]
        parts = ("weights", "edges", "errors", "correlation")
        imputation.ways_ = {
            name: _Way(*(arrays[f"{name}.{part}"] for part in parts))
            for name in description["ways"]
        }
        return imputation


def _ridge(xx: Sequence[np.ndarray], xy: Sequence[np.ndarray]) -> np.ndarray:
    """(feature, target) weights from (feature, feature) and (feature, target) of each part."""
    product = np.asarray(np.mean(xx, axis=0, dtype=np.float64))
    price = _RIDGE * float(np.trace(product)) / len(product)
    # With nothing to regress on, weights of 0 in place of a division by 0.
    product[np.diag_indices_from(product)] += max(price, 1e-9)
    weights: np.ndarray = np.linalg.solve(product, np.mean(xy, axis=0, dtype=np.float64))
    return weights.astype(np.float32)


def _quantiles(predicted: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges between stretches of predictions, and quantiles of the errors of each."""
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, _STRETCHES + 1)[1:-1]))
    stretch = np.searchsorted(edges, predicted)
    every = np.quantile(errors, PROBABILITIES)
    table = [
        np.quantile(errors[stretch == k], PROBABILITIES) if (stretch == k).any() else every
        for k in range(len(edges) + 1)
    ]
    return edges.astype(np.float32), np.asarray(table, np.float32)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson over all of both; 0 where one of them is constant."""
    a, b = one - one.mean(), other - other.mean()
    size = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return float((a * b).sum()) / size if size > 0 else 0.0


def _at(errors: np.ndarray, probability: float) -> np.ndarray:
    """(stretch,) the quantile of each, between those that are kept."""
    return np.asarray([np.interp(probability, PROBABILITIES, row) for row in errors], np.float32)
