"""The consensus encoder: activity, components shared by marks and cell types, and components."""

from __future__ import annotations

import logging
from copy import copy, deepcopy
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import xarray as xr

from simplechrome.dataset.transforms.signal import Windows
from simplechrome.dataset.transforms.tracks import TrackTransform
from simplechrome.errors import ConfigError, InputFormatError
from simplechrome.latent.consensus.axes import (
    ACTIVITY_COMPONENTS,
    FOLDS,
    ActivityDirection,
    LabelledRows,
)
from simplechrome.latent.consensus.covariance import PooledCovariance, sum_of_products
from simplechrome.latent.consensus.imputation import MarkImputation, cross_validation_folds
from simplechrome.latent.consensus.shared_components import (
    SharedComponentMap,
    Track,
    shared_components,
)
from simplechrome.latent.encoder import Arrays, WindowEncoder, mark_patterns, part_of
from simplechrome.work.settings import AtLeastTwo

log = logging.getLogger(__name__)

_FEWEST_MEASURED = 100  # windows
_MAX_SHARED = 6  # shared components; mean activity comes on top
# Standard deviation of the first latent of each kind. A ridge penalty leans on activity first.
SHARED_LENGTH, COMPONENT_LENGTH = 0.85, 1.2
# Standard deviation of the supervised axis, times the number of labels: with few labels the
# predictor relies on it, with many it finds a better one by itself.
_LENGTH_OF_LABELS, _LONGEST = 100.0, 5.0


@dataclass(eq=False, repr=False)
class ConsensusEncoder(WindowEncoder):
    """Activity, components shared across marks and cell types, and principal components.

    Learned without labels, from all cell types of the dataset, whatever marks each of them has,
    in closed form but for one small search; nothing is random. Windows are transformed to the
    logarithm of their local rate (`TrackTransform`). Latents, the first with standard deviation 1
    over the training windows:

    `activity`
        The minimum-kurtosis projection of the principal components, along which the genes of
        every cell type are bimodal (`bimodal_direction`). Without any label it orders genes by
        expression about as well as PCA with a hundred labelled genes.
    `shared_1` …
        Components of the gene that all marks and cell types share (`shared_components`),
        predicted from the window by a quadratic map of its components.
    `pc_1` …
        Principal components of a covariance that is pooled over cell types, none of which needs
        all marks (`PooledCovariance`).

    Windows with missing marks get the conditional mean of their components given the marks that
    are there.

    With labels (`fit(dataset, labels)`) there is one more latent, `labelled`, in front: the
    supervised axis, near activity where labels are few (`LabelledRows`). Its standard deviation
    falls with their number: 5 with 20 labels, 1 with 100.

    Parameters
    ----------
    n_latent
        Number of latents without the supervised axis, at most bins times marks: one for activity,
        up to 7 shared ones (a quarter of the rest at most), and components.

    Attributes
    ----------
    pooled_
        Covariance of all marks.
    direction_
        The direction of activity among the components.
    shared_ : `SharedComponentMap`
        Predicts the shared latents from components; None with a single track.
    moment_ : (latent, latent)
        Mean product of the unsupervised latents over the training windows.
    label_weights_ : (latent,)
        Of the supervised axis; None without labels.
    imputations_ : mark to `MarkImputation`
        Predicts each mark from the others; see `simplechrome.impute`.

    References
    ----------
    docs/explanation/encoder.md, with the experiment behind every choice.
    """

    name = "consensus"
    title = "the consensus encoder"
    color = ("#b5306f", "#f090c4")
    uses_labels = True
    exporter = "simplechrome.export.encoders:consensus"
    _transform_class = TrackTransform
    transform_: TrackTransform = field(init=False)

    n_latent: AtLeastTwo = 38

    @property
    def n_latent_(self) -> int:
        """The argument, if windows have as many numbers; one more with labels."""
        return self._n_unsupervised + (self.label_weights_ is not None)

    @property
    def _n_unsupervised(self) -> int:
        return 1 + self.n_shared_ + self.n_components_

    def _make_transform(self) -> TrackTransform:
        return TrackTransform()

    def adapt_to(self, dataset: xr.Dataset) -> Self:
        """Return the encoder normalized to the tracks of new cell types.

        Level, profile and spread of each new track are measured on these windows; nothing else is
        learned from them. Tracks of fewer than 100 windows stay on the mean scale of their mark.
        """
        encoder = copy(self)
        encoder.transform_ = deepcopy(self.transform_)
        new = encoder.transform_.add_tracks(dataset, fewest=_FEWEST_MEASURED)
        encoder.measured_ = self.measured_ | frozenset(new)
        if new:
            log.info("Measured the depth and the mean profile of %d tracks on these data", len(new))
        return encoder

    def _latent_coords(self) -> dict[str, Any]:
        shared = [f"shared_{k}" for k in range(1, self.n_shared_ + 1)]
        components = [f"pc_{k}" for k in range(1, self.n_components_ + 1)]
        first = [] if self.label_weights_ is None else ["labelled"]
        return {"latent": np.asarray([*first, "activity", *shared, *components], dtype=object)}

    def fit(
        self, dataset: xr.Dataset, y: object = None, *, validation: xr.Dataset | None = None
    ) -> Self:
        """Learn from windows; validation genes are ignored.

        Parameters
        ----------
        dataset
            The training genes.
        y : (cell_type, gene)
            Labels of these genes, 1 and 0, -1 unknown; or levels, NaN unknown. None for the
            unsupervised encoder.

        Raises
        ------
        InputFormatError
            If the labels are not of these cell types and genes.
        """
        self.label_weights_ = None
        super().fit(dataset, None)
        if y is not None:
            self.label_weights_ = self._supervise(dataset, np.asarray(y))
        return self

    def with_labels(self, dataset: xr.Dataset, y: object) -> Self:
        """Return the encoder with the supervised axis of these genes' labels.

        All else stays as it was fitted. Parameters and errors are those of `fit`.
        """
        encoder = copy(self)
        encoder.label_weights_ = self._supervise(dataset, np.asarray(y))
        return encoder

    def fit_transform(
        self, dataset: xr.Dataset, y: object = None, *, validation: xr.Dataset | None = None
    ) -> xr.DataArray:
        """Learn from windows and labels if any; return latents, with labels out of fold."""
        self.fit(dataset, y)
        return self.transform(dataset) if y is None else self.transform_out_of_fold(dataset, y)

    def transform_out_of_fold(self, dataset: xr.Dataset, y: object) -> xr.DataArray:
        """Return latents of the genes that `fit` got labels of, to train a predictor on.

        They differ from those of `transform`: the latent `labelled` of each of these genes is out
        of fold, from the labels of the other four fifths of the genes, so that the predictor does
        not rely on memorized labels.
        """
        latents = self.transform(dataset)
        windows = self.transform_windows(dataset)
        rows = LabelledRows.of(windows, np.asarray(y), self._unsupervised)
        for fold in range(FOLDS):
            weights = self._scaled_axis(rows, without=fold)
            for row, genes in rows.of_fold(fold):
                part = windows.values[row, genes], windows.present[row, genes]
                latents.values[row, genes, 0] = self._unsupervised(*part) @ weights
        return latents

    def _supervise(self, dataset: xr.Dataset, y: np.ndarray) -> np.ndarray:
        """(latent,) weights of the supervised axis among the unsupervised latents."""
        windows = self.transform_windows(dataset)
        if y.shape != windows.values.shape[:2]:
            raise InputFormatError(
                f"Labels of shape {y.shape} are not of these cell types and genes, "
                f"{windows.values.shape[:2]}.",
                "pass labels (cell_type, gene) of the same dataset",
            )
        return self._scaled_axis(LabelledRows.of(windows, y, self._unsupervised))

    def _scaled_axis(self, rows: LabelledRows, without: int | None = None) -> np.ndarray:
        """(latent,) weights of the supervised axis, with its standard deviation."""
        weights = rows.direction(n_latent=self._n_unsupervised, without=without)
        spread = float(weights @ self.moment_ @ weights) ** 0.5
        wanted = min(_LENGTH_OF_LABELS / max(len(rows.target), 1), _LONGEST)
        return weights * wanted / max(spread, 1e-12)

    def _fit(self, windows: Windows, validation: Windows | None) -> None:
        every = (Windows(*pair) for pair in zip(*windows, strict=True))
        # Of some marks chosen from many, a cell type may have none.
        cell_types = [cell for cell in every if cell.present.any(axis=1).sum() > 1]
        bins, marks = windows.values.shape[2:]
        tracks = self._find_tracks(cell_types)
        self._settle_sizes(bins * marks, n_tracks=len(tracks))
        self.pooled_ = PooledCovariance().fit(cell_types, bins, marks)
        seen: list[np.ndarray] = [np.any(cell.present, axis=1) for cell in cell_types]
        components = [self._components(cell.values, cell.present) for cell in cell_types]
        rows = [part[some] for part, some in zip(components, seen, strict=True)]
        shared = shared_components(tracks, _MAX_SHARED) if len(tracks) > 1 else None
        found = ActivityDirection.find(rows, seen, shared)
        self.direction_ = found.oriented(cell_types, components, self.marks_)
        self.shared_ = self._find_shared(cell_types, components, shared)
        self.moment_ = self._second_moment(cell_types, components)
        folds = cross_validation_folds(cell_types)
        measured = {track.mark for track in tracks}
        self.imputations_ = {
            mark: MarkImputation(column).fit(cell_types, self.pooled_, folds)
            for column, mark in enumerate(self.marks_)
            if mark in measured
        }

    def _find_tracks(self, cell_types: list[Windows]) -> list[Track]:
        tracks = [
            Track(mark, cell.values[:, :, column], cell.present[:, column])
            for cell in cell_types
            for column, mark in enumerate(self.marks_)
            if cell.present[:, column].sum() > 1
        ]
        if not tracks:
            raise InputFormatError(
                "There are too few windows with data: no mark of any cell type is observed in two.",
                "look at the data with `simplechrome inspect`",
            )
        return tracks

    def _settle_sizes(self, features: int, n_tracks: int) -> None:
        if self.n_latent < 2 or features < 2:
            raise ConfigError(
                f"The consensus encoder needs two latents and windows of two numbers or more: "
                f"n_latent is {self.n_latent}, windows have {features}.",
                "take the default, n_latent=38 (--n-latent 38)"
                if features > 1
                else "choose --encoder log_means for windows of one number",
            )
        n_latent = min(self.n_latent, features)
        if n_latent < self.n_latent:
            log.info("Windows have %d numbers, so that %d latents are made", features, n_latent)
        # A single track has nothing to share components with.
        most = _MAX_SHARED + 1 if n_tracks > 1 else 0
        self.n_shared_ = min(most, 2 * n_tracks, (n_latent - 1) // 4)
        self.n_components_ = n_latent - 1 - self.n_shared_

    def _components(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        """(row, component), variance-scaled, of (row, bin, mark) and (row, mark)."""
        rows, bins, marks = values.shape
        flat = values.reshape(rows, bins * marks)
        n = max(self.n_components_, min(ACTIVITY_COMPONENTS, flat.shape[1]))
        components = np.empty((rows, n), np.float32)
        for pattern, members in mark_patterns(present):
            map_ = self.pooled_.map_to(n, pattern, bins).astype(np.float32)
            components[members] = flat[members] @ map_
        return components / np.float32(np.sqrt(self.pooled_.variance_[0]))

    def _find_shared(
        self,
        cell_types: list[Windows],
        components: list[np.ndarray],
        shared: np.ndarray | None,
    ) -> SharedComponentMap | None:
        """Fit the map from single windows to shared components and mean activity."""
        if not self.n_shared_ or shared is None:
            return None
        activity = [self.direction_(part) for part in components]
        mean = np.mean(activity, axis=0)
        targets = np.column_stack([mean - mean.mean(), shared])
        targets /= np.maximum(targets.std(axis=0), 1e-12)
        own = [part[:, : self.n_components_] for part in components]
        return SharedComponentMap.find(
            cell_types, own, activity, targets, self.n_shared_, self._components
        )

    def _encode(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        latents = self._unsupervised(values, present)
        if self.label_weights_ is None:
            return latents
        first = (latents @ self.label_weights_).astype(np.float32)
        return np.concatenate([first[:, np.newaxis], latents], axis=1)

    def _unsupervised(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        return self._of_components(self._components(values, present), present)

    def _of_components(self, components: np.ndarray, present: np.ndarray) -> np.ndarray:
        own = components[:, : self.n_components_]
        latents = np.empty((len(components), self._n_unsupervised), np.float32)
        latents[:, 0] = self.direction_(components)
        if self.shared_ is not None:
            shared = self.shared_(own, present)
            latents[:, 1 : 1 + self.n_shared_] = SHARED_LENGTH * shared
        latents[:, 1 + self.n_shared_ :] = COMPONENT_LENGTH * own
        return latents

    def _second_moment(self, cell_types: list[Windows], components: list[np.ndarray]) -> np.ndarray:
        """(latent, latent): mean product of latents over the windows with data."""
        total, count = np.zeros((self._n_unsupervised,) * 2), 0
        for cell, part in zip(cell_types, components, strict=True):
            some = cell.present.any(axis=1)
            total += sum_of_products(self._of_components(part[some], cell.present[some]))
            count += int(some.sum())
        return total / max(count, 1)

    def _decode(self, latents: np.ndarray) -> np.ndarray:
        components = latents[:, -self.n_components_ :] / COMPONENT_LENGTH
        scale = np.sqrt(self.pooled_.variance_[0])
        rows = components * scale @ self.pooled_.vectors_[:, : self.n_components_].T
        return rows.reshape(len(latents), self.bin_start_.size, len(self.marks_))

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        numbers: dict[str, Any] = {
            "n_shared": self.n_shared_,
            "n_components": self.n_components_,
            "activity_center": self.direction_.center,
            "maps": [],
            "imputations": {},
        }
        arrays = {
            "vectors": self.pooled_.vectors_,
            "variance": self.pooled_.variance_,
            "together": self.pooled_.together_,
            "activity_weights": self.direction_.weights,
            "moment": self.moment_,
        }
        if self.shared_ is not None:
            numbers["maps"], parts = self.shared_.state()
            arrays |= parts
        if self.label_weights_ is not None:
            arrays["label_weights"] = self.label_weights_
        for mark, imputation in self.imputations_.items():
            numbers["imputations"][mark], parts = imputation.describe()
            arrays |= {f"impute_{mark}.{name}": part for name, part in parts.items()}
        return numbers, arrays

    def _restore(self, numbers: dict[str, Any], arrays: Arrays) -> None:
        self.n_shared_ = numbers["n_shared"]
        self.label_weights_ = arrays.get("label_weights")
        self.n_components_ = numbers["n_components"]
        self.moment_ = arrays["moment"]
        self.direction_ = ActivityDirection(arrays["activity_weights"], numbers["activity_center"])
        axes = (arrays[name] for name in ("vectors", "variance", "together"))
        self.pooled_ = PooledCovariance().restore(*axes)
        sets = numbers["maps"]
        self.shared_ = SharedComponentMap.rebuild(sets, arrays) if sets else None
        self.imputations_ = {
            mark: MarkImputation.rebuild(description, part_of(arrays, f"impute_{mark}."))
            for mark, description in numbers["imputations"].items()
        }
