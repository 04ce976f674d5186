"""Imputation of a mark from other marks and from the same genes of other cell types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from simplechrome.dataset.transforms.signal import Windows
from simplechrome.latent.consensus.covariance import PooledCovariance, sum_of_products
from simplechrome.latent.encoder import mark_patterns

_FOLDS = 5


class Fold(NamedTuple):
    """Held-out cell types, and the covariance of marks in all others.

    held : positions of the cell types that are held out
    """

    held: list[int]
    pooled: PooledCovariance


def cross_validation_folds(cell_types: Sequence[Windows]) -> list[Fold]:
    """Hold out cell types one by one, or a fifth of them at a time; no fold of a single one.

    Those that have a rare mark in common are in different folds as far as possible.
    """
    if len(cell_types) < 2:
        return []
    bins, marks = cell_types[0].values.shape[1:]
    found = []
    for held in assign_folds(np.asarray([cell.present.any(axis=0) for cell in cell_types])):
        rest = [cell for k, cell in enumerate(cell_types) if k not in held]
        found.append(Fold(held, PooledCovariance().fit(rest, bins, marks)))
    return found


def assign_folds(has: np.ndarray) -> list[list[int]]:
    """Return the cell types of each fold, from (cell_type, mark): whether it has the mark."""
    folds: list[list[int]] = [[] for _ in range(min(_FOLDS, len(has)))]
    rarity = 1 / np.maximum(has.sum(axis=0), 1)
    # Those with the rarest marks choose first.
    for row in np.argsort(-(has * rarity).max(axis=1), kind="stable").tolist():
        crowd = [float((has[fold].sum(axis=0) * has[row]) @ rarity) for fold in folds]
        chosen = min(range(len(folds)), key=lambda k: (crowd[k], len(folds[k])))
        folds[chosen].append(row)
    return [sorted(fold) for fold in folds if fold]


_AXES = 20  # principal axes of a mark's window that are predicted; more are noise
_TRUSTED = 3  # cell types that must have two marks before one is predicted from the other
_RIDGE = 0.1  # of the mean square of what is regressed on
_SAMPLED = 1_000  # genes per cell type whose errors make the interval
_NUMBERS = (1, 3, 9, 27)  # of other cell types that a mark is imputed from
_LEVELS = 12  # intervals of predicted values, each with errors of its own
PROBABILITIES = np.linspace(0.01, 0.99, 99)
"""Of the error quantiles that are kept."""

_T = TypeVar("_T")
Decode = Callable[[np.ndarray], np.ndarray]


class ImputedSignal(NamedTuple):
    """Imputed windows of one mark, in the units of the signal.

    mean, low, high : (gene, bin)
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


class _HeldOut(NamedTuple):
    """A mark in some genes of a held-out cell type, and its prediction: (gene, bin) both."""

    truth: np.ndarray
    predicted: np.ndarray


class _Coordinates(NamedTuple):
    """Windows of a cell type on the axes of a mark, (gene, axis), and (gene,) its presence."""

    values: np.ndarray
    present: np.ndarray


class ImputationModel(NamedTuple):
    """Weights for imputing a mark from n other cell types, and their errors when held out.

    weights : (own axis, axis), of the conditional mean given the cell type's own marks
    edges : (level - 1,), between intervals of predicted values
    errors : (level, probability), quantiles of truth minus prediction, in transformed signal
    correlation : (cell_type,), of truth and prediction in each held-out cell type, over genes and
        bins, beyond the mark's mean profile; empty where none could be held out
    """

    weights: np.ndarray
    edges: np.ndarray
    errors: np.ndarray
    correlation: np.ndarray

    @classmethod
    def of(
        cls, weights: np.ndarray, tried: Sequence[_HeldOut], *, elsewhere: bool = True
    ) -> ImputationModel:
        """Return the model with these weights and the errors of predictions, one a cell type.

        Where the cell types were not held out (`elsewhere`), correlations mean nothing.
        """
        predicted = np.concatenate([trial.predicted.ravel() for trial in tried])
        truth = np.concatenate([trial.truth.ravel() for trial in tried])
        correlation = [_correlation(*trial) for trial in tried] if elsewhere else []
        return cls(
            weights, *_quantiles(predicted, truth - predicted), np.asarray(correlation, np.float32)
        )


class MarkImputation:
    """Predicts one mark from the others, and from the same genes of other cell types.

    The prediction is n / (n + 1) of the mean of the gene's windows of this mark in n other cell
    types, plus what the marks of its own cell type predict beyond that; the latter alone where no
    other cell type has the mark. Both are linear, on the mark's principal axes. The own marks enter
    by the conditional mean under the encoder's `PooledCovariance`, given the marks that three cell
    types or more have together with this one (where there are any): correlations of two marks
    differ between cell types, and those of a single one may mislead.

    Intervals are quantiles of the errors in held-out cell types, by predicted level and by number
    of other cell types that have the mark: the mean of one has larger errors than that of twenty.

    Attributes
    ----------
    axes_ : (bin, axis)
    trusted_ : (mark,)
        Whether it is predicted from this mark.
    models_ : number of other cell types to `ImputationModel`
        0 (own marks alone), 1, 3, 9 …, up to all but one.

    References
    ----------
    Ernst & Kellis, Nature Biotechnology 2015 (ChromImpute: other marks of the same cell type, and
    the same mark in other cell types). docs/explanation/imputation.md.
    """

    axes_: np.ndarray
    trusted_: np.ndarray

    def __init__(self, mark: int) -> None:
        self.mark = mark
        self.models_: dict[int, ImputationModel] = {}

    def fit(
        self, cell_types: Sequence[Windows], pooled: PooledCovariance, folds: Sequence[Fold] = ()
    ) -> MarkImputation:
        """Learn from the cell types that have the mark: the same genes in each.

        Errors are measured in the held-out cell types of the folds.
        """
        donors = [k for k, cell in enumerate(cell_types) if cell.present[:, self.mark].sum() > 1]
        with_mark = [cell_types[k] for k in donors]
        self._fit_axes(with_mark, pooled)
        weights = self._fit_weights(with_mark, pooled)
        tried = self._cross_validate(cell_types, donors, folds, list(weights))
        if tried[0]:
            self.models_ = {n: ImputationModel.of(weights[n], tried[n]) for n in weights}
            return self
        # No cell type could be held out: take the errors on the training cell types.
        for n, of_own in weights.items():
            every = [self._predict(with_mark, k, n, of_own, pooled) for k in range(len(with_mark))]
            self.models_[n] = ImputationModel.of(of_own, every, elsewhere=False)
        return self

    def _cross_validate(
        self,
        cell_types: Sequence[Windows],
        donors: list[int],
        folds: Sequence[Fold],
        numbers: list[int],
    ) -> dict[int, list[_HeldOut]]:
        """Predict the mark of each held-out donor from its other marks and n other cell types."""
        with_mark = [cell_types[k] for k in donors]
        tried: dict[int, list[_HeldOut]] = {n: [] for n in numbers}
        for held, pooled in folds:
            rest = [cell_types[k] for k in donors if k not in held]
            if not rest:
                continue
            other = MarkImputation(self.mark)
            other._fit_axes(rest, pooled)
            rows = _sample(np.any([cell.present[:, self.mark] for cell in rest], axis=0))
            weights = other._fit_weights([_of_genes(cell, rows) for cell in rest], pooled)
            for row in (donors.index(k) for k in held if k in donors):
                for n in numbers:
                    known = weights[max(m for m in weights if m <= n)]
                    tried[n].append(other._predict(with_mark, row, n, known, pooled))
        return tried

    def _fit_axes(self, with_mark: Sequence[Windows], pooled: PooledCovariance) -> None:
        """Find the axes of the mark, and the marks from which it is predicted."""
        covariance = np.zeros((with_mark[0].values.shape[1],) * 2)
        for cell in with_mark:
            some = cell.present[:, self.mark]
            covariance += sum_of_products(cell.values[:, :, self.mark][some]) / some.sum()
        self.axes_ = np.linalg.eigh(covariance)[1][:, ::-1][:, :_AXES].astype(np.float32)
        together = pooled.together_[self.mark].copy()
        together[self.mark] = 0
        self.trusted_ = together >= min(_TRUSTED, max(int(together.max()), 1))

    def _fit_weights(
        self, with_mark: Sequence[Windows], pooled: PooledCovariance
    ) -> dict[int, np.ndarray]:
        """Return the weights of own marks, for each number of other cell types."""
        counts = [n for n in sorted({0, *_NUMBERS, len(with_mark) - 1}) if n < len(with_mark)]
        coordinates = [self._coordinates(cell) for cell in with_mark]
        xx: list[np.ndarray] = []
        xy: dict[int, list[np.ndarray]] = {n: [] for n in counts}
        for row, (cell, here) in enumerate(zip(with_mark, coordinates, strict=True)):
            size = max(int(here.present.sum()), 1)
            own = self.expect(cell, pooled)[here.present]
            xx.append(own.T @ own / size)
            for n in counts:
                others = _mean_coordinates(_others(coordinates, row, n))
                beyond = here.values - _weight_of(n) * others
                xy[n].append(own.T @ beyond[here.present] / size)
        weights = {n: _ridge(xx, xy[n]) for n in counts}
        # With a single cell type nothing can be regressed: half of the conditional mean is taken.
        return weights if len(with_mark) > 1 else {n: _weight_of(1) * weights[0] for n in (0, 1)}

    def _coordinates(self, cell: Windows) -> _Coordinates:
        return _Coordinates(cell.values[:, :, self.mark] @ self.axes_, cell.present[:, self.mark])

    def of_others(self, cells: Sequence[Windows]) -> np.ndarray:
        """Return (gene, axis) mean coordinates of each gene in these cell types; 0 of none."""
        return _mean_coordinates([self._coordinates(cell) for cell in cells])

    def _predict(
        self,
        with_mark: Sequence[Windows],
        row: int,
        n: int,
        weights: np.ndarray,
        pooled: PooledCovariance,
    ) -> _HeldOut:
        """Predict the mark of one cell type from its other marks and n other cell types."""
        rows = _sample(with_mark[row].present[:, self.mark])
        cell = _of_genes(with_mark[row], rows)
        others = [_of_genes(other, rows) for other in _others(with_mark, row, n)]
        predicted = self.expect(cell, pooled) @ weights + _weight_of(n) * self.of_others(others)
        return _HeldOut(cell.values[:, :, self.mark], predicted @ self.axes_.T)

    def expect(self, cell: Windows, pooled: PooledCovariance) -> np.ndarray:
        """Return (gene, axis) conditional means of this mark given the others of the cell type."""
        bins, marks = cell.values.shape[1:]
        directions = np.zeros((bins * marks, self.axes_.shape[1]))
        directions[self.mark :: marks] = self.axes_
        expected = np.zeros((len(cell.values), self.axes_.shape[1]), np.float32)
        flat = cell.values.reshape(len(cell.values), -1)
        usable = cell.present & self.trusted_
        for pattern, members in mark_patterns(usable):
            map_ = pooled.expect(directions, pattern, bins).astype(np.float32)
            expected[members] = flat[members] @ map_
        return expected

    def impute(
        self,
        expected: np.ndarray,
        of_others: np.ndarray,
        n_others: int,
        decode: Decode,
        coverage: float,
    ) -> ImputedSignal:
        """Return the signal of this mark in these windows, with intervals.

        Parameters
        ----------
        expected, of_others : (gene, axis)
            See the methods.
        n_others
            Number of other cell types that have the mark.
        decode
            From transformed signal (gene, bin) to signal.
        coverage
            Fraction of bins whose signal lies in the interval.
        """
        n = self.trained_with(n_others)
        model = self.models_[n]
        predicted = (expected @ model.weights + _weight_of(n) * of_others) @ self.axes_.T
        level = np.searchsorted(model.edges, predicted)
        ends = [
            decode(predicted + _at(model.errors, probability)[level])
            for probability in ((1 - coverage) / 2, (1 + coverage) / 2)
        ]
        # The mean of the signal is not the signal of the mean: the scale is logarithmic.
        mean = np.zeros_like(predicted)
        drawn = model.errors[:, 4::10].T
        for quantile in drawn:
            mean += decode(predicted + quantile[level]) / len(drawn)
        return ImputedSignal(mean, *ends)

    def trained_with(self, n_others: int) -> int:
        """Return the key of the model for so many other cell types."""
        return max(n for n in self.models_ if n <= n_others)

    def describe(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return all that it consists of: plain JSON, and arrays."""
        arrays = {"axes": self.axes_, "trusted": self.trusted_}
        for name, model in self.models_.items():
            arrays |= {f"{name}.{part}": value for part, value in model._asdict().items()}
        return {"mark": self.mark, "ways": [str(n) for n in self.models_]}, arrays

    @classmethod
    def rebuild(cls, description: dict[str, Any], arrays: dict[str, np.ndarray]) -> MarkImputation:
        """Return the imputation that `describe` described."""
        imputation = cls(description["mark"])
        imputation.axes_, imputation.trusted_ = arrays["axes"], arrays["trusted"]
        imputation.models_ = {
            int(name): ImputationModel(*(arrays[f"{name}.{p}"] for p in ImputationModel._fields))
            for name in description["ways"]
        }
        return imputation


def _others(with_mark: Sequence[_T], row: int, n: int) -> list[_T]:
    """Return n of the cell types besides one, in a shuffled order."""
    order = np.random.default_rng(0).permutation(len(with_mark)).tolist()
    return [with_mark[k] for k in order if k != row][:n]


def _weight_of(n_others: int) -> float:
    """Return the weight of the mean of n other cell types."""
    return n_others / (n_others + 1)


def _sample(present: np.ndarray) -> np.ndarray:
    """Return positions of about a thousand of the genes in which the mark is observed."""
    rows = np.flatnonzero(present)
    return rows[:: max(1, len(rows) // _SAMPLED)]


def _of_genes(cell: Windows, rows: np.ndarray) -> Windows:
    return Windows(cell.values[rows], cell.present[rows])


def _mean_coordinates(coordinates: Sequence[_Coordinates]) -> np.ndarray:
    """(gene, axis) mean of these cell types; (1, 1) and 0 of none."""
    if not coordinates:
        return np.zeros((1, 1), np.float32)
    total = np.sum([cell.values for cell in coordinates], axis=0)
    counted = np.sum([cell.present for cell in coordinates], axis=0)
    means: np.ndarray = total / np.maximum(counted, 1)[:, np.newaxis]
    return means


def _ridge(xx: Sequence[np.ndarray], xy: Sequence[np.ndarray]) -> np.ndarray:
    """(feature, target) weights from (feature, feature) and (feature, target) of each part."""
    product = np.asarray(np.mean(xx, axis=0, dtype=np.float64))
    price = _RIDGE * float(np.trace(product)) / len(product)
    # With nothing to regress on, weights of 0 in place of a division by 0.
    product[np.diag_indices_from(product)] += max(price, 1e-9)
    weights: np.ndarray = np.linalg.solve(product, np.mean(xy, axis=0, dtype=np.float64))
    return weights.astype(np.float32)


def _quantiles(predicted: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return edges between levels of predictions, and quantiles of the errors of each level."""
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, _LEVELS + 1)[1:-1]))
    level = np.searchsorted(edges, predicted)
    every = np.quantile(errors, PROBABILITIES)
    table = [
        np.quantile(errors[level == k], PROBABILITIES) if (level == k).any() else every
        for k in range(len(edges) + 1)
    ]
    return edges.astype(np.float32), np.asarray(table, np.float32)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson over all of both; 0 where one of them is constant."""
    a, b = one - one.mean(), other - other.mean()
    size = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return float((a * b).sum()) / size if size > 0 else 0.0


def _at(errors: np.ndarray, probability: float) -> np.ndarray:
    """Return (level,) quantiles, interpolated between those that are kept."""
    return np.asarray([np.interp(probability, PROBABILITIES, row) for row in errors], np.float32)
