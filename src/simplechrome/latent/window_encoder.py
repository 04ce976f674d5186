"""What encoders share that see one transformed window at a time."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr
from sklearn.utils.validation import check_is_fitted

from simplechrome.dataset.transforms.signal import SignalTransform, Windows
from simplechrome.dataset.transforms.tracks import TrackTransform
from simplechrome.errors import ModelMismatchError
from simplechrome.latent.encoder import Encoder

log = logging.getLogger(__name__)


def require_same_case(dataset: xr.Dataset, marks: Sequence[str]) -> None:
    """Is a mark that the model lacks one that it knows, written otherwise?

    Raises
    ------
    ModelMismatchError
        If so.
    """
    known = {mark.lower(): mark for mark in marks}
    have = [str(mark) for mark in dataset["mark"].values]
    meant = {m: known[m.lower()] for m in have if m not in marks and m.lower() in known}
    if meant:
        raise ModelMismatchError(
            "Marks are written otherwise than in the model.",
            found=", ".join(meant),
            expected=", ".join(meant.values()),
            remedy="write them so in the sample sheet, and build the dataset again",
        )


def align_marks(dataset: xr.Dataset, marks: list[str]) -> xr.Dataset:
    """What is the dataset with exactly these marks, in this order?

    Marks that are not among them are left out; marks that the dataset lacks become missing
    marks. Both are said in the log.

    Raises
    ------
    ModelMismatchError
        If the dataset has none of the marks.
    """
    have = [str(mark) for mark in dataset["mark"].values]
    if have == marks:
        return dataset
    if not set(have) & set(marks):
        raise ModelMismatchError(
            "The data have none of the model's marks.",
            found=", ".join(have),
            expected=", ".join(marks),
            cause="marks are compared by name, letter by letter",
            remedy="rename the marks of the dataset",
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


class WindowEncoder(Encoder):
    """An encoder of transformed windows.

    A subclass stores its arguments in `__init__` and implements `_fit`, `_encode`, `_decode` on
    transformed windows, and `_state` / `_restore`.
    """

    _latent_prefix: ClassVar[str] = "latent"
    _transform_class: ClassVar[type[SignalTransform] | type[TrackTransform]] = SignalTransform

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
        """What does the model see of any dataset, by its own marks and scale?

        Raises
        ------
        ModelMismatchError
            If bins differ, or no mark is the model's.
        """
        check_is_fitted(self)
        self.require_windows(dataset)
        return self.transform_.transform(align_marks(dataset, self.marks_))

    def transform(self, dataset: xr.Dataset) -> xr.DataArray:
        """What are the latents of these windows? See `Encoder.transform`."""
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
        """Which windows do these latents stand for? See `Encoder.inverse_transform`."""
        check_is_fitted(self)
        values = latents.transpose("cell_type", "gene", ...).values
        flat = values.reshape(-1, *values.shape[2:])
        windows = self.transform_.inverse(self._decode(flat))
        coords = {name: c for name, c in latents.coords.items() if "latent" not in c.dims}
        coords = {n: c for n, c in coords.items() if not {"bin", "mark"} & set(map(str, c.dims))}
        return xr.DataArray(
            windows.reshape(*values.shape[:2], *windows.shape[1:]),
            dims=("cell_type", "gene", "bin", "mark"),
            coords=coords
            | {
                "mark": np.asarray(self.marks_, dtype=object),
                "bin_start": ("bin", self.bin_start_),
            },
            name="signal",
            attrs={"units": self.units_},
        )

    def _latent_dims(self) -> tuple[str, ...]:
        return ("latent",)

    def _latent_coords(self) -> dict[str, Any]:
        names = [f"{self._latent_prefix}_{k}" for k in range(1, self.n_latent_ + 1)]
        return {"latent": np.asarray(names, dtype=object)}

    def _gene_coords(self, present: np.ndarray) -> dict[str, Any]:
        """What else is to be known of each gene, from (cell_type, gene, mark) presence."""
        return {}

    @abstractmethod
    def _fit(self, windows: Windows, validation: Windows | None) -> None:
        """Learn from transformed windows."""

    @abstractmethod
    def _encode(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        """(row, bin, mark), (row, mark) → (row, latent)."""

    @abstractmethod
    def _decode(self, latents: np.ndarray) -> np.ndarray:
        """(row, latent) → (row, bin, mark), transformed."""

    @abstractmethod
    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What the subclass learned: plain JSON, and arrays."""

    @abstractmethod
    def _restore(self, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Take back what `_state` gave."""

    def _describe(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        numbers, arrays = self._state()
        description = {
            "arguments": self.get_params(deep=False),
            "marks": self.marks_,
            "bin_start": self.bin_start_.tolist(),
            "units": self.units_,
            "transform": self.transform_.to_dict(),
            "fitted": numbers,
        }
        return description, arrays

    @classmethod
    def _rebuild(cls, description: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        encoder = cls(**description["arguments"])
        encoder.marks_ = list(description["marks"])
        encoder.bin_start_ = np.asarray(description["bin_start"], np.int32)
        encoder.units_ = description["units"]
        encoder.transform_ = cls._transform_class.from_dict(description["transform"])
        encoder._restore(description["fitted"], arrays)
        return encoder
