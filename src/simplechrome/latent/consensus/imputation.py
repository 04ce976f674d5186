"""What would a mark look like where nobody measured it?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from simplechrome.dataset.transforms.signal import Windows
from simplechrome.latent.consensus.covariance import Composite, sum_of_products

_FOLDS = 5


class LeftOut(NamedTuple):
    """Some cell types, and the covariance of marks in all others.

    held : positions of the cell types that are left out
    """

    held: list[int]
    composite: Composite


def leave_out(cell_types: Sequence[Windows]) -> list[LeftOut]:
    """Leave cell types out of the covariance: one by one, or a fifth of them at a time.

    Those that have a mark in common are left out apart from each other, as far as that goes.

    Parameters
    ----------
    cell_types
        The same genes in each, centered, 0 for what is missing.

    Returns
    -------
    Nothing where there is one cell type.
    """
    if len(cell_types) < 2:
        return []
    bins, marks = cell_types[0].values.shape[1:]
    found = []
    for held in _folds(np.asarray([cell.present.any(axis=0) for cell in cell_types])):
        rest = [cell for k, cell in enumerate(cell_types) if k not in held]
        found.append(LeftOut(held, Composite().fit(rest, bins, marks)))
    return found


def _folds(has: np.ndarray) -> list[list[int]]:
    """Positions in each fold, of (cell_type, mark): has it this mark?"""
    folds: list[list[int]] = [[] for _ in range(min(_FOLDS, len(has)))]
    rarity = 1 / np.maximum(has.sum(axis=0), 1)
    # Those with the rarest marks choose first.
    for row in np.argsort(-(has * rarity).max(axis=1), kind="stable").tolist():
        crowd = [float((has[fold].sum(axis=0) * has[row]) @ rarity) for fold in folds]
        chosen = min(range(len(folds)), key=lambda k: (crowd[k], len(folds[k])))
        folds[chosen].append(row)
    return [sorted(fold) for fold in folds if fold]


_AXES = 20  # principal axes of a mark's window that are told; more are noise
_TRUSTED = 3  # cell types that must have two marks before the one is told from the other
_RIDGE = 0.1  # of the mean square of what is regressed on
_SAMPLED = 1_000  # genes per cell type whose errors make the interval
_NUMBERS = (1, 3, 9, 27)  # of other cell types that a mark is told from
_STRETCHES = 12  # of predicted values, each with errors of its own
PROBABILITIES = np.linspace(0.01, 0.99, 99)
"""Of the errors that are kept."""

_T = TypeVar("_T")
Decode = Callable[[np.ndarray], np.ndarray]


class ImputedSignal(NamedTuple):
    """Imputed windows of one mark, in the units of the signal.

    mean, low, high : (gene, bin)
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


class _Trial(NamedTuple):
    """What a mark was in some genes, and what was told of it: (gene, bin) both."""

    truth: np.ndarray
    predicted: np.ndarray


class _Place(NamedTuple):
    """Where the windows of a cell type lie: (gene, axis), and (gene,) is the mark there?"""

    coordinates: np.ndarray
    there: np.ndarray


class ImputationModel:
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
        the mark's mean profile. Empty where there was none to leave out.
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

    @classmethod
    def of(
        cls, weights: np.ndarray, tried: Sequence[_Trial], *, elsewhere: bool = True
    ) -> ImputationModel:
        """These weights, with the errors that were made with them, or with ones like them.

        Parameters
        ----------
        weights : (own axis, axis)
        tried
            In one cell type each.
        elsewhere
            Was nothing learned in these cell types?
        """
        predicted = np.concatenate([trial.predicted.ravel() for trial in tried])
        truth = np.concatenate([trial.truth.ravel() for trial in tried])
        correlation = [_correlation(*trial) for trial in tried] if elsewhere else []
        return cls(
            weights, *_quantiles(predicted, truth - predicted), np.asarray(correlation, np.float32)
        )


class MarkImputation:
    """How is one mark told from the others, and from the same genes of other cell types?

    n / (n + 1) of the mean of the gene's windows under this mark in n other cell types, plus what
    the marks of its own cell type lead to expect beyond that; where no other cell type has the
    mark, the latter alone. Both are linear, on the mark's principal axes. What own marks lead to
    expect is the conditional mean under the encoder's `Composite`, from marks that three cell types
    or more have together with this one (where there are any): how two marks go together differs
    between cell types, and what one of them shows may mislead.

    Intervals are quantiles of the errors made in cell types of which nothing was known but their
    other marks, separately for low and high predictions, and for the number of other cell types
    that the mark is told from: the mean of one is further off than that of twenty.

    Attributes
    ----------
    axes_ : (bin, axis)
    trusted_ : (mark,)
        From which others it is told.
    ways_ : number of other cell types to `ImputationModel`
        0, its own marks alone, and 1, 3, 9 …, as far as there are, and all but one.

    References
    ----------
    Ernst & Kellis, Nature Biotechnology 2015 (ChromImpute: other marks of the same cell type, and
    the same mark in other cell types). docs/explanation/imputation.md.
    """

    axes_: np.ndarray
    trusted_: np.ndarray
    ways_: dict[int, ImputationModel]

    def __init__(self, mark: int) -> None:
        self.mark = mark
        self.ways_ = {}

    def fit(
        self,
        cell_types: Sequence[Windows],
        composite: Composite,
        left_out: Sequence[LeftOut] = (),
    ) -> MarkImputation:
        """Learn from the cell types that have the mark: the same genes in each.

        Parameters
        ----------
        cell_types
            All of them.
        composite
            Covariance of the marks.
        left_out
            The same without some of the cell types each, which the errors are found in.
        """
        donors = [k for k, cell in enumerate(cell_types) if cell.present[:, self.mark].sum() > 1]
        having = [cell_types[k] for k in donors]
        self._settle(having, composite)
        weights = self._weigh(having, composite)
        tried = self._leave_out(cell_types, donors, left_out, list(weights))
        if tried[0]:
            self.ways_ = {n: ImputationModel.of(weights[n], tried[n]) for n in weights}
            return self
        # The errors made where it was learned: there is nothing else.
        for n, of_own in weights.items():
            every = [self._try(having, k, n, of_own, composite) for k in range(len(having))]
            self.ways_[n] = ImputationModel.of(of_own, every, elsewhere=False)
        return self

    def _leave_out(
        self,
        cell_types: Sequence[Windows],
        donors: list[int],
        left_out: Sequence[LeftOut],
        numbers: list[int],
    ) -> dict[int, list[_Trial]]:
        """Tell the mark of each donor in which nothing was learned, from n other cell types."""
        having = [cell_types[k] for k in donors]
        tried: dict[int, list[_Trial]] = {n: [] for n in numbers}
        for held, composite in left_out:
            rest = [cell_types[k] for k in donors if k not in held]
            if not rest:
                continue
            other = MarkImputation(self.mark)
            other._settle(rest, composite)
            rows = _sample(np.any([cell.present[:, self.mark] for cell in rest], axis=0))
            weights = other._weigh([_of_genes(cell, rows) for cell in rest], composite)
            for row in (donors.index(k) for k in held if k in donors):
                for n in numbers:
                    known = weights[max(m for m in weights if m <= n)]
                    tried[n].append(other._try(having, row, n, known, composite))
        return tried

    def _settle(self, having: Sequence[Windows], composite: Composite) -> None:
        """Axes of the mark, and the marks from which it is told."""
        covariance = np.zeros((having[0].values.shape[1],) * 2)
        for cell in having:
            some = cell.present[:, self.mark]
            covariance += sum_of_products(cell.values[:, :, self.mark][some]) / some.sum()
        self.axes_ = np.linalg.eigh(covariance)[1][:, ::-1][:, :_AXES].astype(np.float32)
        together = composite.together_[self.mark].copy()
        together[self.mark] = 0
        self.trusted_ = together >= min(_TRUSTED, max(int(together.max()), 1))

    def _weigh(self, having: Sequence[Windows], composite: Composite) -> dict[int, np.ndarray]:
        """Weights of what own marks lead to expect, for each number of other cell types."""
        counts = [n for n in sorted({0, *_NUMBERS, len(having) - 1}) if n < len(having)]
        places = [self._place(cell) for cell in having]
        xx: list[np.ndarray] = []
        xy: dict[int, list[np.ndarray]] = {n: [] for n in counts}
        for row, (cell, place) in enumerate(zip(having, places, strict=True)):
            size = max(int(place.there.sum()), 1)
            own = self.expect(cell, composite)[place.there]
            xx.append(own.T @ own / size)
            for n in counts:
                beyond = place.coordinates - _trust(n) * _mean_place(_others(places, row, n))
                xy[n].append(own.T @ beyond[place.there] / size)
        weights = {n: _ridge(xx, xy[n]) for n in counts}
        # What a single cell type shows is as good a guess as its mean: half of it is believed.
        return weights if len(having) > 1 else {n: _trust(1) * weights[0] for n in (0, 1)}

    def _place(self, cell: Windows) -> _Place:
        return _Place(cell.values[:, :, self.mark] @ self.axes_, cell.present[:, self.mark])

    def of_others(self, cells: Sequence[Windows]) -> np.ndarray:
        """(gene, axis): the mean coordinates of each gene in these cell types; 0 of none."""
        return _mean_place([self._place(cell) for cell in cells])

    def _try(
        self,
        having: Sequence[Windows],
        row: int,
        n: int,
        weights: np.ndarray,
        composite: Composite,
    ) -> _Trial:
        """Tell the mark of one cell type from its other marks and n other cell types."""
        rows = _sample(having[row].present[:, self.mark])
        cell = _of_genes(having[row], rows)
        others = [_of_genes(other, rows) for other in _others(having, row, n)]
        predicted = self.expect(cell, composite) @ weights + _trust(n) * self.of_others(others)
        return _Trial(cell.values[:, :, self.mark], predicted @ self.axes_.T)

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

    def impute(
        self,
        expected: np.ndarray,
        of_others: np.ndarray,
        n_others: int,
        decode: Decode,
        coverage: float,
    ) -> ImputedSignal:
        """What is this mark in these windows?

        Parameters
        ----------
        expected : (gene, axis)
            See `expect`.
        of_others : (gene, axis)
            See there.
        n_others
            How many other cell types have the mark.
        decode
            From transformed signal (gene, bin) to signal.
        coverage
            Share of bins whose signal the interval shall hold.
        """
        n = self.tried_with(n_others)
        way = self.ways_[n]
        predicted = (expected @ way.weights + _trust(n) * of_others) @ self.axes_.T
        stretch = np.searchsorted(way.edges, predicted)
        tails = [
            _at(way.errors, probability)[stretch]
            for probability in ((1 - coverage) / 2, (1 + coverage) / 2)
        ]
        # The mean of the signal is not the signal of the mean: the scale is logarithmic.
        mean = np.zeros_like(predicted)
        drawn = way.errors[:, 4::10]
        for quantile in range(drawn.shape[1]):
            mean += decode(predicted + drawn[:, quantile][stretch]) / drawn.shape[1]
        return ImputedSignal(mean, decode(predicted + tails[0]), decode(predicted + tails[1]))

    def tried_with(self, n_others: int) -> int:
        """Key of the way in which the mark is told where so many other cell types have it."""
        return max(n for n in self.ways_ if n <= n_others)

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
        return {"mark": self.mark, "ways": [str(n) for n in self.ways_]}, arrays

    @classmethod
    def rebuild(cls, description: dict[str, Any], arrays: dict[str, np.ndarray]) -> MarkImputation:
        """The one that `describe` described."""
        imputation = cls(description["mark"])
        imputation.axes_, imputation.trusted_ = arrays["axes"], arrays["trusted"]
        parts = ("weights", "edges", "errors", "correlation")
        imputation.ways_ = {
            int(name): ImputationModel(*(arrays[f"{name}.{part}"] for part in parts))
            for name in description["ways"]
        }
        return imputation


def _others(having: Sequence[_T], row: int, n: int) -> list[_T]:
    """n of the cell types besides one, in an order that has nothing to do with theirs."""
    order = np.random.default_rng(0).permutation(len(having)).tolist()
    return [having[k] for k in order if k != row][:n]


def _trust(n_others: int) -> float:
    """How much of the mean of n other cell types is expected of another?"""
    return n_others / (n_others + 1)


def _sample(there: np.ndarray) -> np.ndarray:
    """Positions of a thousand of the genes that are there."""
    rows = np.flatnonzero(there)
    return rows[:: max(1, len(rows) // _SAMPLED)]


def _of_genes(cell: Windows, rows: np.ndarray) -> Windows:
    return Windows(cell.values[rows], cell.present[rows])


def _mean_place(places: Sequence[_Place]) -> np.ndarray:
    """(gene, axis) mean of these cell types; (1, 1) and 0 of none."""
    if not places:
        return np.zeros((1, 1), np.float32)
    total = np.sum([place.coordinates for place in places], axis=0)
    counted = np.sum([place.there for place in places], axis=0)
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
