"""What every encoder can do: fit, transform, inverse_transform, save, load."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from simplechrome.dataset.transforms.signal import SignalTransform
from simplechrome.dataset.transforms.tracks import TrackTransform
from simplechrome.errors import ModelMismatchError
from simplechrome.training.model_files import class_of, read_model, restoring, write_model


class Encoder(BaseEstimator):
    """A map from windows to latents, learned without labels.

    See `simplechrome.register_encoder` for its use by name.

    Attributes
    ----------
    name
        In options and files.
    random
        Whether latents depend on a seed.
    gives_latents
        Whether it returns latents, which log means can join; not the window or summaries of it.
    uses_labels
        Whether `fit` can use labels (`semi_supervised`).
    marks_
        Those that it was fitted on, in their order.
    bin_start_ : (bin,)
        Of the windows that it was fitted on, in bp.
    units_
        Of their signal.
    transform_
        How the signal is seen.
    measured_
        Tracks (cell type, mark) whose depth it was told by `with_tracks`.
    """

    name: ClassVar[str] = ""
    random: ClassVar[bool] = False
    gives_latents: ClassVar[bool] = True
    uses_labels: ClassVar[bool] = False

    marks_: list[str]
    bin_start_: np.ndarray
    units_: str
    transform_: SignalTransform | TrackTransform
    measured_: frozenset[tuple[str, str]] = frozenset()

    @abstractmethod
    def fit(
        self, dataset: xr.Dataset, y: object = None, *, validation: xr.Dataset | None = None
    ) -> Self:
        """Learn from windows; no encoder but `ConsensusEncoder` looks at labels.

        Parameters
        ----------
        dataset
            The training genes.
        y
            Labels of these genes, see `ConsensusEncoder.fit`; ignored by all others.
        validation
            Genes that decide when to stop, for encoders that train in epochs.
        """

    def require_windows(self, dataset: xr.Dataset) -> None:
        """Are the windows of these data those that the encoder was fitted on?

        Raises
        ------
        ModelMismatchError
            If they have other bins.
        """
        starts = dataset["bin_start"].values
        if not np.array_equal(starts, self.bin_start_):
            raise ModelMismatchError(
                "The data's windows are not those of the model.",
                found=f"{starts.size} bins from {starts[0]} bp"
                f" in steps of {dataset.attrs['bin_size']}",
                expected=f"{self.bin_start_.size} bins from {self.bin_start_[0]} bp"
                f" in steps of {np.diff(self.bin_start_[:2]).sum()}",
                remedy="build the dataset with the model's window and --bin-size",
            )

    @abstractmethod
    def transform(self, dataset: xr.Dataset) -> xr.DataArray:
        """What are the latents of these windows?

        Returns
        -------
        (cell_type, gene, latent) float32, on the natural scale: each direction as long as its
        share in the window, the first with standard deviation 1 over the training windows.

        Raises
        ------
        ModelMismatchError
            If bins differ, or no mark is the model's.
        """

    def with_tracks(self, dataset: xr.Dataset) -> Self:
        """The same encoder, told of the tracks of new cell types by their windows.

        An encoder that sees every track on one scale has nothing to learn from them.
        """
        return self

    def transform_labelled(self, dataset: xr.Dataset, y: object) -> xr.DataArray:
        """Latents for a predictor to learn from; see `ConsensusEncoder.transform_labelled`."""
        return self.transform(dataset)

    def fit_transform(
        self, dataset: xr.Dataset, y: object = None, *, validation: xr.Dataset | None = None
    ) -> xr.DataArray:
        """Learn from windows and return their latents."""
        return self.fit(dataset, y, validation=validation).transform(dataset)

    @abstractmethod
    def inverse_transform(self, latents: xr.DataArray) -> xr.DataArray:
        """Which windows do these latents stand for?

        Parameters
        ----------
        latents : (cell_type, gene, latent)

        Returns
        -------
        (cell_type, gene, bin, mark), in the units of the signal.
        """

    @property
    @abstractmethod
    def n_latent_(self) -> int:
        """How many numbers a window becomes."""

    @abstractmethod
    def _describe(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """All that a saved encoder consists of: plain JSON, and arrays."""

    @classmethod
    @abstractmethod
    def _rebuild(cls, description: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        """Make the encoder that `_describe` described."""

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Keep the encoder in a folder, without pickle."""
        check_is_fitted(self)
        write_model(folder, type(self).__name__, *self._describe(), overwrite=overwrite)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read an encoder of this class from a folder.

        Raises
        ------
        ModelFormatError, ModelMismatchError
            If the folder is not a saved model, or one of another class.
        """
        description, arrays = read_model(folder)
        class_of(folder, description, {cls.__name__: cls})
        with restoring(folder):
            return cls._rebuild(description, arrays)
