"""Any encoder's latents with the marks' levels beside them."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from simplechrome.errors import ConfigError
from simplechrome.latent.encoder import Encoder
from simplechrome.latent.log_means import LogMeans
from simplechrome.latent.raw_window import RawWindow
from simplechrome.latent.registry import encoder_class

_LEARNED = ("history_", "interrupted_", "activity_")
"""What networks say of their training, and a run shows."""


class WithLogMeans(Encoder):
    """Latents, and after them each mark's log mean.

    What a latent leaves out of a mark's level is so given back to the predictor. Both keep their
    own scale: the first latent and each level have a standard deviation of 1.

    Parameters
    ----------
    encoder
        Unfitted, one with latents: `PCA`, `VAE` or `PaperVAE`.
    n_regions
        See `LogMeans`.

    Attributes
    ----------
    encoder_, log_means_
        The two, fitted.
    """

    def __init__(self, encoder: Encoder, *, n_regions: int = 1) -> None:
        self.encoder = encoder
        self.n_regions = n_regions

    def fit(
        self,
        dataset: xr.Dataset,
        y: object = None,
        *,
        validation: xr.Dataset | None = None,
        checkpoints: str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Learn from windows; see `Encoder.fit`.

        Parameters
        ----------
        dataset, y, validation
            See `Encoder.fit`.
        checkpoints, resume
            For encoders that train in epochs; see `VAE.fit`.
        """
        if isinstance(self.encoder, LogMeans | RawWindow | WithLogMeans):
            raise ConfigError(
                "Log means can be added to latents only.",
                found=type(self.encoder).__name__,
                expected="an encoder with latents, as PCA or VAE",
            )
        self.encoder_: Encoder = clone(self.encoder)
        options: dict[str, Any] = {"validation": validation}
        if "checkpoints" in signature(self.encoder_.fit).parameters:
            options |= {"checkpoints": checkpoints, "resume": resume}
        self.encoder_.fit(dataset, y, **options)
        self.log_means_: Encoder = LogMeans(n_regions=self.n_regions).fit(dataset)
        self._take_over()
        return self

    @classmethod
    def of_fitted(cls, encoder: Encoder, log_means: Encoder) -> Self:
        """Join two encoders that were fitted on the same windows, the second a `LogMeans`."""
        both = cls(clone(encoder), **log_means.get_params())
        both.encoder_, both.log_means_ = encoder, log_means
        both._take_over()
        return both

    def _take_over(self) -> None:
        inner = self.encoder_
        self.marks_, self.bin_start_, self.units_ = inner.marks_, inner.bin_start_, inner.units_
        self.transform_ = inner.transform_
        for name in _LEARNED:
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))

    @property
    def n_latent_(self) -> int:
        """Latents and levels together."""
        return self.encoder_.n_latent_ + self.log_means_.n_latent_

    def transform_labelled(self, dataset: xr.Dataset, y: object) -> xr.DataArray:
        """As `transform`, for a predictor to learn from; see `Encoder.transform_labelled`."""
        latents = self.transform(dataset)
        shown = self.encoder_.transform_labelled(dataset, y)
        latents.values[..., : shown.sizes["latent"]] = shown.values
        return latents

    def with_tracks(self, dataset: xr.Dataset) -> Self:
        """The same, its encoder told of the tracks of new cell types; see `Encoder.with_tracks`."""
        return self.of_fitted(self.encoder_.with_tracks(dataset), self.log_means_)

    def transform(self, dataset: xr.Dataset) -> xr.DataArray:
        """What are the latents and levels of these windows? See `Encoder.transform`."""
        check_is_fitted(self, "encoder_")
        latents, levels = self.encoder_.transform(dataset), self.log_means_.transform(dataset)
        both: xr.DataArray = xr.concat([latents, levels], dim="latent")
        return both.transpose("cell_type", "gene", "latent").rename("latent")

    def inverse_transform(self, latents: xr.DataArray) -> xr.DataArray:
        """Which windows do these latents stand for? The encoder's alone decide.

        See `Encoder.inverse_transform`.
        """
        check_is_fitted(self, "encoder_")
        return self.encoder_.inverse_transform(latents[..., : self.encoder_.n_latent_])

    def _describe(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        parts = {"encoder": self.encoder_, "log_means": self.log_means_}
        description: dict[str, Any] = {}
        arrays: dict[str, np.ndarray] = {}
        for part, encoder in parts.items():
            own, values = encoder._describe()
            description[part] = {"class": type(encoder).__name__, **own}
            arrays |= {f"{part}.{name}": value for name, value in values.items()}
        return description, arrays

    @classmethod
    def _rebuild(cls, description: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        parts = {}
        for part in ("encoder", "log_means"):
            own = {
                name.removeprefix(f"{part}."): value
                for name, value in arrays.items()
                if name.startswith(f"{part}.")
            }
            parts[part] = encoder_class(description[part]["class"])._rebuild(description[part], own)
        return cls.of_fitted(**parts)
