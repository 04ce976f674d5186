"""The encoder that asks what marks and cell types agree upon."""

from __future__ import annotations

import logging
from copy import copy, deepcopy
from typing import Annotated, Any, Self

import numpy as np
import xarray as xr
from pydantic import Field

from simplechrome.dataset.transforms.signal import Windows
from simplechrome.dataset.transforms.tracks import TrackTransform
from simplechrome.errors import ConfigError, InputFormatError
from simplechrome.latent.consensus.activity import SPLIT_ON, ActivityDirection
from simplechrome.latent.consensus.covariance import Composite, sum_of_products
from simplechrome.latent.consensus.imputation import MarkImputation, leave_out
from simplechrome.latent.consensus.shared_components import (
    SharedComponentMap,
    Track,
    shared_coordinates,
)
from simplechrome.latent.consensus.supervised_axis import FOLDS, LabelledRows
from simplechrome.latent.window_encoder import WindowEncoder

log = logging.getLogger(__name__)

_FEWEST_MEASURED = 100  # windows
_MAX_SHARED = 6  # coordinates that tracks agree upon; mean activity comes on top
# Standard deviation of the first latent of each kind. A ridge penalty leans on activity first.
SHARED_LENGTH, COMPONENT_LENGTH = 0.85, 1.2
# Of the direction that labels point out, over their number: with few a head is to lean on it, with
# many it finds a better one by itself.
_LENGTH_OF_LABELS, _LONGEST = 100.0, 5.0


class ConsensusEncoder(WindowEncoder):
    """What a window says of its gene's activity, of the same gene elsewhere, and of itself.

    Learned without labels, from all cell types of the dataset, whatever marks each of them has,
    and in closed form but for one small search; there is nothing random in it. Signal is seen as
    the logarithm of its local rate (`TrackTransform`). Latents, the first with standard deviation
    1 over the training windows:

    `activity`
        The direction among the principal components along which the genes of every cell type
        fall into two equal halves (`bimodal_direction`). By itself, without any label, it orders
        genes by expression about as well as a hundred labelled genes make PCA do.
    `shared_1` …
        What the window tells of that which all marks and all cell types say of the gene
        (`shared_coordinates`), by a quadratic map of the components.
    `pc_1` …
        Principal components, from covariances that need no cell type to have all marks
        (`Composite`).

    Windows with missing marks get what is expected of them given the marks that are there.

    Given labels (`fit(dataset, labels)`), the first latent is another, `labelled`: the direction
    that they point out, and activity where they are few (`LabelledRows`). The fewer they are, the
    longer it is: five times as long as activity with 20 labels, as long with 100.

    Parameters
    ----------
    n_latent
        How many without `labelled`, or as many as windows have numbers: one for activity, up to 7
        that are agreed upon (a quarter of the rest at most), and components.

    Attributes
    ----------
    composite_
        Covariance of all marks.
    direction_
        The direction of activity among the components.
    shared_ : `SharedComponentMap`
        How what is agreed upon is told; None with a single track.
    moment_ : (latent, latent)
        Mean product of the latents, but `labelled`, over the training windows.
    label_weights_ : (latent,)
        Of the direction that labels point out; None without any.
    imputations_ : mark to `MarkImputation`
        How each mark is told from the others; see `simplechrome.impute`.

    References
    ----------
    docs/explanation/encoder.md, where every choice and its experiment is written down.
    """

    transform_: TrackTransform
    _transform_class = TrackTransform

    name = "consensus"
    uses_labels = True

    def __init__(self, n_latent: Annotated[int, Field(ge=2)] = 38) -> None:
        self.n_latent = n_latent

    @property
    def n_latent_(self) -> int:
        """The argument, where windows have as many numbers; one more where labels were shown."""
        return self._n_plain + (self.label_weights_ is not None)

    @property
    def _n_plain(self) -> int:
        """Latents that need no label."""
        return 1 + self.n_shared_ + self.n_components_

    def _make_transform(self) -> TrackTransform:
        return TrackTransform()

    def with_tracks(self, dataset: xr.Dataset) -> Self:
        """The same encoder, which also knows the depth and antibody of these cell types' tracks.

        Level, profile and spread of each track that is new are measured on these windows; nothing
        else is learned from them. Tracks of fewer than 100 windows stay on the mean scale of their
        mark.
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
        """Learn from windows; validation genes are not looked at.

        Parameters
        ----------
        dataset
            The training genes.
        y : (cell_type, gene)
            Labels of these genes, 1 and 0, -1 unknown; or levels, NaN unknown. None: none are
            used.
        validation
            Ignored: there is nothing to stop.

        Raises
        ------
        InputFormatError
            If the labels are not of these cell types and genes.
        """
        self.label_weights_ = None
        super().fit(dataset, None)
        if y is not None:
            self.label_weights_ = self._follow(dataset, np.asarray(y))
        return self

    def with_labels(self, dataset: xr.Dataset, y: object) -> Self:
        """The same encoder with the latent `labelled`, from the labels of these genes.

        All else stays as it was fitted. Parameters and errors are those of `fit`.
        """
        encoder = copy(self)
        encoder.label_weights_ = self._follow(dataset, np.asarray(y))
        return encoder

    def fit_transform(
        self, dataset: xr.Dataset, y: object = None, *, validation: xr.Dataset | None = None
    ) -> xr.DataArray:
        """Learn from windows, and from labels if there are any, and return the latents.

        With labels see `transform_labelled`.
        """
        self.fit(dataset, y)
        return self.transform(dataset) if y is None else self.transform_labelled(dataset, y)

    def transform_labelled(self, dataset: xr.Dataset, y: object) -> xr.DataArray:
        """The latents of the genes whose labels were shown, for a predictor to learn from.

        Not those that `transform` gives of the same windows: the latent `labelled` of each of
        these genes comes from the labels of the other four fifths of the genes, so that what is
        learned from it next does not take what was learned by heart for what holds.

        Parameters
        ----------
        dataset, y
            As in `fit`.
        """
        latents = self.transform(dataset)
        windows = self.transform_windows(dataset)
        shared = LabelledRows.of(windows, np.asarray(y), self._plain)
        for fold in range(FOLDS):
            weights = self._long(shared, without=fold)
            for row, genes in shared.of_fold(fold):
                part = windows.values[row, genes], windows.present[row, genes]
                latents.values[row, genes, 0] = self._plain(*part) @ weights
        return latents

    def _follow(self, dataset: xr.Dataset, y: np.ndarray) -> np.ndarray:
        """(latent,) weights of the direction among the latents that the labels point out."""
        windows = self.transform_windows(dataset)
        if y.shape != windows.values.shape[:2]:
            raise InputFormatError(
                "The labels are not of these cell types and genes.",
                found=f"labels of shape {y.shape}",
                expected=f"(cell_type, gene) = {windows.values.shape[:2]}",
            )
        shared = LabelledRows.of(windows, y, self._plain)
        return self._long(shared)

    def _long(self, shared: LabelledRows, without: int | None = None) -> np.ndarray:
        """(latent,) weights of the direction that labels point out, as a latent of its length."""
        weights = shared.direction(n_latent=self._n_plain, without=without)
        spread = float(weights @ self.moment_ @ weights) ** 0.5
        wanted = min(_LENGTH_OF_LABELS / max(len(shared.target), 1), _LONGEST)
        return weights * wanted / max(spread, 1e-12)

    def _fit(self, windows: Windows, validation: Windows | None) -> None:
        every = (Windows(*pair) for pair in zip(*windows, strict=True))
        # Of some marks chosen from many, a cell type may have none.
        cell_types = [cell for cell in every if cell.present.any(axis=1).sum() > 1]
        features = windows.values.shape[2] * windows.values.shape[3]
        tracks = self._find_tracks(cell_types)
        self._settle_sizes(features, n_tracks=len(tracks))
        bins, marks = windows.values.shape[2:]
        self.composite_ = Composite().fit(cell_types, bins, marks)
        seen: list[np.ndarray] = [np.any(cell.present, axis=1) for cell in cell_types]
        components = [self._components(cell.values, cell.present) for cell in cell_types]
        rows = [part[some] for part, some in zip(components, seen, strict=True)]
        shared = shared_coordinates(tracks, _MAX_SHARED) if len(tracks) > 1 else None
        found = ActivityDirection.find(rows, seen, shared)
        self.direction_ = found.oriented(cell_types, components, self.marks_)
        self.shared_ = self._find_shared(cell_types, components, shared)
        self.moment_ = self._second_moment(cell_types, components)
        left_out = leave_out(cell_types)
        measured = {track.mark for track in tracks}
        self.imputations_ = {
            mark: MarkImputation(column).fit(cell_types, self.composite_, left_out)
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
                "There are too few windows with data.",
                found="no mark of any cell type is observed in two windows",
                expected="two or more",
                remedy="look at the data with `simplechrome inspect`",
            )
        return tracks

    def _settle_sizes(self, features: int, n_tracks: int) -> None:
        if self.n_latent < 2 or features < 2:
            raise ConfigError(
                "The consensus encoder cannot make so few latents.",
                found=f"n_latent = {self.n_latent}, windows of {features} numbers",
                expected="2 or more of both",
                remedy="n_latent=38 (--n-latent 38), the default"
                if features > 1
                else "--encoder log_means, which takes a window of one number as it is",
            )
        n_latent = min(self.n_latent, features)
        if n_latent < self.n_latent:
            log.info("Windows have %d numbers, so that %d latents are made", features, n_latent)
        # With one track there is nobody to agree with.
        most = _MAX_SHARED + 1 if n_tracks > 1 else 0
        self.n_shared_ = min(most, 2 * n_tracks, (n_latent - 1) // 4)
        self.n_components_ = n_latent - 1 - self.n_shared_

    def _components(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        """(row, component) on the natural scale of (row, bin, mark) and (row, mark)."""
        rows, bins, marks = values.shape
        flat = values.reshape(rows, bins * marks)
        n = max(self.n_components_, min(SPLIT_ON, flat.shape[1]))
        components = np.empty((rows, n), np.float32)
        patterns, which = np.unique(present, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            members = np.flatnonzero(which.ravel() == number)
            map_ = self.composite_.map_to(n, pattern, bins).astype(np.float32)
            components[members] = flat[members] @ map_
        return components / np.float32(np.sqrt(self.composite_.variance_[0]))

    def _find_shared(
        self,
        cell_types: list[Windows],
        components: list[np.ndarray],
        shared: np.ndarray | None,
    ) -> SharedComponentMap | None:
        """Learn to tell what is agreed upon, and mean activity, from single windows."""
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
        latents = self._plain(values, present)
        if self.label_weights_ is None:
            return latents
        first = (latents @ self.label_weights_).astype(np.float32)
        return np.concatenate([first[:, np.newaxis], latents], axis=1)

    def _plain(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        """(row, latent), those that need no label."""
        return self._of_components(self._components(values, present), present)

    def _of_components(self, components: np.ndarray, present: np.ndarray) -> np.ndarray:
        own = components[:, : self.n_components_]
        latents = np.empty((len(components), self._n_plain), np.float32)
        latents[:, 0] = self.direction_(components)
        if self.shared_ is not None:
            shared = self.shared_(own, present)
            latents[:, 1 : 1 + self.n_shared_] = SHARED_LENGTH * shared
        latents[:, 1 + self.n_shared_ :] = COMPONENT_LENGTH * own
        return latents

    def _second_moment(self, cell_types: list[Windows], components: list[np.ndarray]) -> np.ndarray:
        """(latent, latent): mean product of latents over the windows with data."""
        total, count = np.zeros((self._n_plain,) * 2), 0
        for cell, part in zip(cell_types, components, strict=True):
            some = cell.present.any(axis=1)
            total += sum_of_products(self._of_components(part[some], cell.present[some]))
            count += int(some.sum())
        return total / max(count, 1)

    def _decode(self, latents: np.ndarray) -> np.ndarray:
        components = latents[:, -self.n_components_ :] / COMPONENT_LENGTH
        scale = np.sqrt(self.composite_.variance_[0])
        rows = components * scale @ self.composite_.vectors_[:, : self.n_components_].T
        return rows.reshape(len(latents), self.bin_start_.size, len(self.marks_))

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        numbers: dict[str, Any] = {
            "n_shared": self.n_shared_,
            "n_components": self.n_components_,
            "activity_center": self.direction_.center,
            "maps": [],
            "imputations": {},
        }
        arrays = {
            "vectors": self.composite_.vectors_,
            "variance": self.composite_.variance_,
            "together": self.composite_.together_,
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

    def _restore(self, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.n_shared_ = numbers["n_shared"]
        self.label_weights_ = arrays.get("label_weights")
        self.n_components_ = numbers["n_components"]
        self.moment_ = arrays["moment"]
        weights, center = arrays["activity_weights"], numbers["activity_center"]
        self.direction_ = ActivityDirection(weights, center)
        self.composite_ = Composite.from_axes(
            arrays["vectors"], arrays["variance"], arrays["together"]
        )
        sets = numbers["maps"]
        self.shared_ = SharedComponentMap.rebuild(sets, arrays) if sets else None
        self.imputations_ = {
            mark: MarkImputation.rebuild(description, _part(arrays, f"impute_{mark}."))
            for mark, description in numbers["imputations"].items()
        }


def _part(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
