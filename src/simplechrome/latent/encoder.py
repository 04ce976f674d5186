"""What encoders have in common: fit, transform, inverse_transform, save, load."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from simplechrome.dataset.transforms.signal import SignalTransform, TransformFunction, Windows
from simplechrome.dataset.transforms.tracks import TrackTransform
from simplechrome.errors import ModelMismatchError
from simplechrome.training.model_files import read_model, restoring, write_model

log = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]


class Encoder(BaseEstimator):
    """A map from windows to latents, learned without labels.

    See `simplechrome.register_encoder` for its use by name.

    Attributes
    ----------
    name
        In options and files.
    title
        In the sentences of reports.
    color
        In figures, on a light and on a dark page; None for one that is free.
    random
        Whether latents depend on a seed.
    gives_latents
        Whether it returns latents, which log means can join; not the window or summaries of it.
    uses_labels
        Whether `fit` can use labels (`supervised_axis`).
    exporter
        `module:function` that adds it to a graph for ONNX and Keras: (graph, encoder, signal,
        present) to a node (row, latent). A subclass does not inherit it, as it may compute
        something else.
    marks_
        Those that it was fitted on, in their order.
    bin_start_ : (bin,)
        Of the windows that it was fitted on, in bp.
    units_
        Of their signal.
    transform_
        Brings signal to the scale on which the encoder works.
    measured_
        Tracks (cell type, mark) whose depth `adapt_to` has measured.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    color: ClassVar[tuple[str, str] | None] = None
    random: ClassVar[bool] = False
    gives_latents: ClassVar[bool] = True
    uses_labels: ClassVar[bool] = False
    exporter: ClassVar[str] = ""

    marks_: list[str]
    bin_start_: np.ndarray
    units_: str
    transform_: SignalTransform | TrackTransform
    measured_: frozenset[tuple[str, str]] = frozenset()

    @abstractmethod
    def fit(
        self, dataset: xr.Dataset, y: object = None, *, validation: xr.Dataset | None = None
    ) -> Self:
        """Learn from windows of the training genes.

        Only `ConsensusEncoder` uses labels `y`; encoders that train in epochs decide by the
        `validation` genes when to stop.
        """

    def require_windows(self, dataset: xr.Dataset) -> None:
        """Raise ModelMismatchError if the windows have other bins than those of the model."""
        starts, own = dataset["bin_start"].values, self.bin_start_
        if not np.array_equal(starts, own):
            raise ModelMismatchError(
                f"The data's windows have {starts.size} bins from {starts[0]} bp in steps of "
                f"{dataset.attrs['bin_size']}, those of the model {own.size} bins from {own[0]} bp "
                f"in steps of {np.diff(own[:2]).sum()}.",
                "build the dataset with the model's window and --bin-size",
            )

    @abstractmethod
    def transform(self, dataset: xr.Dataset) -> xr.DataArray:
        """Return the latents of these windows.

        Returns
        -------
        (cell_type, gene, latent) float32, variance-scaled: the variance of each latent is in
        proportion to what it accounts for in the window, and the first has standard deviation 1
        over the training windows.

        Raises
        ------
        ModelMismatchError
            If bins differ, or no mark is the model's.
        """

    def adapt_to(self, dataset: xr.Dataset) -> Self:
        """Return the encoder normalized to the tracks of new cell types.

        An encoder that has one scale for all tracks has nothing to measure on them.
        """
        return self

    def transform_out_of_fold(self, dataset: xr.Dataset, y: object) -> xr.DataArray:
        """Return latents to train a predictor on; see `ConsensusEncoder`."""
        return self.transform(dataset)

    def fit_transform(
        self, dataset: xr.Dataset, y: object = None, *, validation: xr.Dataset | None = None
    ) -> xr.DataArray:
        """Learn from windows and return their latents."""
        return self.fit(dataset, y, validation=validation).transform(dataset)

    @abstractmethod
    def inverse_transform(self, latents: xr.DataArray) -> xr.DataArray:
        """Return the windows of (cell_type, gene, latent) latents.

        Returns
        -------
        (cell_type, gene, bin, mark), in the units of the signal.
        """

    @property
    @abstractmethod
    def n_latent_(self) -> int:
        """Number of latents of a window."""

    @abstractmethod
    def _describe(self) -> tuple[dict[str, Any], Arrays]:
        """All that a saved encoder consists of: plain JSON, and arrays."""

    @classmethod
    @abstractmethod
    def _rebuild(cls, description: Mapping[str, Any], arrays: Arrays) -> Self:
        """Make the encoder that `_describe` described."""

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the encoder to a folder, without pickle."""
        check_is_fitted(self)
        write_model(folder, type(self).__name__, *self._describe(), overwrite=overwrite)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read an encoder of this class from a folder; ModelMismatchError if it is of another."""
        description, arrays = read_model(folder, cls)
        with restoring(folder):
            return cls._rebuild(description, arrays)


def require_same_case(dataset: xr.Dataset, marks: Sequence[str]) -> None:
    """Raise ModelMismatchError if a mark differs from one of the model in case only."""
    known = {mark.lower(): mark for mark in marks}
    have = [str(mark) for mark in dataset["mark"].values]
    meant = {m: known[m.lower()] for m in have if m not in marks and m.lower() in known}
    if meant:
        raise ModelMismatchError(
            f"The data's {', '.join(meant)} differ only in case from the model's "
            f"{', '.join(meant.values())}.",
            "write marks as the model does in the sample sheet, and build the dataset again",
        )


def align_marks(dataset: xr.Dataset, marks: list[str]) -> xr.Dataset:
    """Return the dataset with exactly these marks, in this order.

    Other marks are dropped; marks that the dataset lacks become missing marks. Both are
    logged. A dataset with none of them raises ModelMismatchError.
    """
    have = [str(mark) for mark in dataset["mark"].values]
    if have == marks:
        return dataset
    if not set(have) & set(marks):
        raise ModelMismatchError(
            f"The data have none of the model's marks ({', '.join(marks)}), but {', '.join(have)}.",
            "rename the marks of the dataset: names are compared letter by letter",
        )
    extra = [mark for mark in have if mark not in marks]
    missing = [mark for mark in marks if mark not in have]
    if extra:
        log.info("The model does not know %s: ignored", ", ".join(extra))
    if missing:
        log.warning("The data lack %s: treated as not assayed", ", ".join(missing))
    at = [have.index(mark) if mark in have else -1 for mark in marks]
    there = np.asarray([position >= 0 for position in at])
    aligned = dataset.isel(mark=at).assign_coords(mark=np.asarray(marks, dtype=object))
    if not there.all():
        mask = xr.DataArray(there, dims="mark")
        aligned = aligned.assign(
            signal=aligned["signal"] * mask.astype(aligned["signal"].dtype),
            mark_present=aligned["mark_present"] & mask,
            observed=aligned["observed"] * mask.astype(np.float32),
        )
    return aligned


def mark_patterns(present: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield each set of marks in (row, mark), as (mark,) bool, with the rows that have it."""
    patterns, which = np.unique(present, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        yield pattern, np.flatnonzero(which.ravel() == number)


def part_of(arrays: Arrays, prefix: str) -> Arrays:
    """Return the arrays whose names begin with a prefix, without it."""
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}


class WindowEncoder(Encoder):
    """An encoder of transformed windows, one at a time.

    A subclass is a dataclass of its options, or stores its arguments in `__init__`, and implements
    `_fit`, `_encode`, `_decode` on transformed windows. What it learned is named in `_numbers` and
    `_arrays`, or returned and taken back by `_state` and `_restore`.
    """

    _latent_prefix: ClassVar[str] = "latent"
    _transform_class: ClassVar[type[SignalTransform] | type[TrackTransform]] = SignalTransform
    _numbers: ClassVar[tuple[str, ...]] = ()
    _arrays: ClassVar[tuple[str, ...]] = ()

    n_latent: int

    def _make_transform(self) -> SignalTransform | TrackTransform:
        return SignalTransform(getattr(self, "transform_function", "log1p"))

    def fit(
        self, dataset: xr.Dataset, y: object = None, *, validation: xr.Dataset | None = None
    ) -> Self:
        """Learn from windows; see `Encoder.fit`."""
        self.marks_ = [str(mark) for mark in dataset["mark"].values]
        self.bin_start_ = dataset["bin_start"].values.astype(np.int32)
        self.units_ = str(dataset["signal"].attrs.get("units", ""))
        self.transform_ = self._make_transform().fit(dataset)
        held_out = None if validation is None else self.transform_windows(validation)
        self._fit(self.transform_.transform(dataset), held_out)
        return self

    def transform_windows(self, dataset: xr.Dataset) -> Windows:
        """Return the windows of any dataset with the model's marks, on the model's scale."""
        check_is_fitted(self)
        self.require_windows(dataset)
        return self.transform_.transform(align_marks(dataset, self.marks_))

    def transform(self, dataset: xr.Dataset) -> xr.DataArray:
        """Return the latents of these windows; see `Encoder.transform`."""
        windows = self.transform_windows(dataset)
        cells, genes = windows.values.shape[:2]
        flat = windows.values.reshape(cells * genes, *windows.values.shape[2:])
        latents = self._encode(flat, windows.present.reshape(cells * genes, -1))
        keep = [name for name, c in dataset.coords.items() if c.dims in (("cell_type",), ("gene",))]
        return xr.DataArray(
            latents.reshape(cells, genes, *latents.shape[1:]),
            dims=("cell_type", "gene", *self._latent_dims()),
            coords={name: dataset.coords[name] for name in keep}
            | self._latent_coords()
            | self._gene_coords(windows.present),
            name="latent",
        )

    def inverse_transform(self, latents: xr.DataArray) -> xr.DataArray:
        """Return the windows of these latents; see `Encoder.inverse_transform`."""
        check_is_fitted(self)
        values = latents.transpose("cell_type", "gene", ...).values
        flat = values.reshape(-1, *values.shape[2:])
        windows = self.transform_.inverse(self._decode(flat))
        coords = latents.coords.items()
        kept = {name: c for name, c in coords if not {"latent", "bin", "mark"} & {*c.dims}}
        marks = np.asarray(self.marks_, dtype=object)
        return xr.DataArray(
            windows.reshape(*values.shape[:2], *windows.shape[1:]),
            dims=("cell_type", "gene", "bin", "mark"),
            coords=kept | {"mark": marks, "bin_start": ("bin", self.bin_start_)},
            name="signal",
            attrs={"units": self.units_},
        )

    def _latent_dims(self) -> tuple[str, ...]:
        return ("latent",)

    def _latent_coords(self) -> dict[str, Any]:
        names = [f"{self._latent_prefix}_{k}" for k in range(1, self.n_latent_ + 1)]
        return {"latent": np.asarray(names, dtype=object)}

    def _gene_coords(self, present: np.ndarray) -> dict[str, Any]:
        """More coordinates of the genes, from (cell_type, gene, mark) presence."""
        return {}

    @property
    def n_latent_(self) -> int:
        """The argument `n_latent`."""
        return self.n_latent

    def _fit(self, windows: Windows, validation: Windows | None) -> None:
        """Learn from transformed windows."""

    @abstractmethod
    def _encode(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        """(row, bin, mark), (row, mark) → (row, latent)."""

    @abstractmethod
    def _decode(self, latents: np.ndarray) -> np.ndarray:
        """(row, latent) → (row, bin, mark), transformed."""

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        """What was learned: plain JSON, and arrays."""
        numbers = {name: getattr(self, f"{name}_") for name in self._numbers}
        return numbers, {name: getattr(self, f"{name}_") for name in self._arrays}

    def _restore(self, numbers: dict[str, Any], arrays: Arrays) -> None:
        """Take back what `_state` returned."""
        for names, values in ((self._numbers, numbers), (self._arrays, arrays)):
            for name in names:
                setattr(self, f"{name}_", values[name])

    def _describe(self) -> tuple[dict[str, Any], Arrays]:
        numbers, arrays = self._state()
        return {
            "arguments": self.get_params(deep=False),
            "marks": self.marks_,
            "bin_start": self.bin_start_.tolist(),
            "units": self.units_,
            "transform": self.transform_.to_dict(),
            "fitted": numbers,
        }, arrays

    @classmethod
    def _rebuild(cls, description: Mapping[str, Any], arrays: Arrays) -> Self:
        encoder = cls(**description["arguments"])
        encoder.marks_ = list(description["marks"])
        encoder.bin_start_ = np.asarray(description["bin_start"], np.int32)
        encoder.units_ = description["units"]
        encoder.transform_ = cls._transform_class.from_dict(description["transform"])
        encoder._restore(description["fitted"], arrays)
        return encoder


@dataclass(eq=False, repr=False)
class RawWindow(WindowEncoder):
    """No compression: the transformed window itself, with one mean and scale per mark.

    Windows come with the coordinate `present` (cell_type, gene, mark): where it is False the mark
    is missing, and its values are the mark's training mean.

    Parameters
    ----------
    transform_function
        See `SignalTransform`.
    """

    name = "none"
    title = "the window itself"
    gives_latents = False
    color = ("#6b7a8f", "#a4b5c8")
    exporter = "simplechrome.export.encoders:raw_window"

    transform_function: TransformFunction = "log1p"

    @property
    def n_latent_(self) -> int:
        """Bins times marks."""
        return len(self.marks_) * self.bin_start_.size

    def _latent_dims(self) -> tuple[str, ...]:
        return ("bin", "mark")

    def _latent_coords(self) -> dict[str, Any]:
        marks = np.asarray(self.marks_, dtype=object)
        return {"mark": marks, "bin_start": ("bin", self.bin_start_)}

    def _gene_coords(self, present: np.ndarray) -> dict[str, Any]:
        return {"present": (("cell_type", "gene", "mark"), present)}

    def _encode(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        return values

    def _decode(self, latents: np.ndarray) -> np.ndarray:
        return latents
