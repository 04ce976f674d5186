"""Mark levels: log means as a baseline without shapes, and joined to another encoder's latents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from inspect import signature
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from simplechrome.dataset.transforms.signal import SignalTransform, Windows, present_marks
from simplechrome.errors import ConfigError, InputFormatError
from simplechrome.latent.encoder import Arrays, Encoder, WindowEncoder, part_of
from simplechrome.latent.registry import encoder_class
from simplechrome.work.settings import Count


def log_means(signal: np.ndarray, mark_present: np.ndarray) -> np.ndarray:
    """Return the mean signal of each mark per window, on a log scale.

    The mean over bins is taken first and the logarithm after it, so that one sharp peak
    counts for as much as the same reads spread out.

    Parameters
    ----------
    signal : (gene, bin, mark), reads per bin, >= 0
    mark_present : (mark,), False where the mark was not assayed

    Returns
    -------
    (gene, mark), log(1 + reads); NaN for marks that are not present.

    Raises
    ------
    InputFormatError
        If a value is negative or not finite.

    References
    ----------
    Karlic et al., PNAS 2010, eq. 1 (log-linear model of mark levels).
    """
    means = signal.mean(axis=1, dtype=np.float64)
    if not np.isfinite(means).all() or signal.min(initial=0) < 0:
        raise InputFormatError(
            "Log means need values >= 0, and the signal has negative or not finite ones: log "
            "ratios, or a track from which a control was subtracted.",
            "build the dataset from tracks of reads or fold changes",
        )
    return np.where(mark_present, np.log1p(means), np.nan)


def mark_levels(dataset: xr.Dataset) -> xr.DataArray:
    """Return each gene's level of each mark.

    Returns
    -------
    (cell_type, gene, mark), log(1 + mean signal); NaN where the mark is missing.
    """
    present = present_marks(dataset)
    levels = [log_means(cell, np.ones(cell.shape[2], bool)) for cell in dataset["signal"].values]
    values = np.where(present, np.stack(levels), np.nan)
    return xr.DataArray(values, dims=("cell_type", "gene", "mark"), name="level")


@dataclass(eq=False, repr=False)
class LogMeans(WindowEncoder):
    """Level of each mark: log(1 + mean reads), standardized over the training genes.

    Parameters
    ----------
    n_regions
        Equal parts of the window that get a level each; 1 is the whole window.
    """

    name = "log_means"
    title = "log means of the marks"
    color = ("#bf8427", "#c4973a")
    gives_latents = False
    exporter = "simplechrome.export.encoders:log_means"
    _arrays = ("mean", "scale")

    n_regions: Count = 1

    @property
    def n_latent_(self) -> int:
        """Regions times marks."""
        return self.n_regions * len(self.marks_)

    def _latent_coords(self) -> dict[str, Any]:
        regions = [""] if self.n_regions == 1 else [f"_{k}" for k in range(1, self.n_regions + 1)]
        names = [f"log_mean_{mark}{region}" for region in regions for mark in self.marks_]
        return {"latent": np.asarray(names, dtype=object)}

    def _make_transform(self) -> SignalTransform:
        # Means are taken of reads, before any logarithm.
        return SignalTransform("none", standardize=False)

    def _edges(self) -> np.ndarray:
        bins = self.bin_start_.size
        if not 1 <= self.n_regions <= bins:
            raise ConfigError(
                f"n_regions is {self.n_regions}, and the window has {bins} bins.",
                f"choose 1 to {bins} regions",
            )
        return np.linspace(0, bins, self.n_regions + 1).round().astype(int)

    def _levels(self, values: np.ndarray) -> np.ndarray:
        """(row, bin, mark) → (row, region × mark)."""
        everywhere = np.ones(values.shape[2], bool)
        regions = (values[:, start:stop] for start, stop in pairwise(self._edges()))
        return np.concatenate([log_means(region, everywhere) for region in regions], axis=1)

    def _fit(self, windows: Windows, validation: Windows | None) -> None:
        rows = windows.values.reshape(-1, *windows.values.shape[2:])
        present = np.tile(windows.present.reshape(len(rows), -1), (1, self.n_regions))
        levels = np.where(present, self._levels(rows), np.nan)
        seen = present.any(axis=0)
        self.mean_ = np.zeros(levels.shape[1])
        self.scale_ = np.ones(levels.shape[1])
        self.mean_[seen] = np.nanmean(levels[:, seen], axis=0)
        deviation = np.nanstd(levels[:, seen], axis=0)
        self.scale_[seen] = np.where(deviation > 0, deviation, 1.0)

    def _encode(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        standardized = (self._levels(values) - self.mean_) / self.scale_
        # A missing mark gets the training mean.
        return (standardized * np.tile(present, (1, self.n_regions))).astype(np.float32)

    def _decode(self, latents: np.ndarray) -> np.ndarray:
        levels = np.expm1(latents * self.scale_ + self.mean_)
        by_region = levels.reshape(len(latents), self.n_regions, len(self.marks_))
        return np.repeat(by_region, np.diff(self._edges()), axis=1)


@dataclass(eq=False, repr=False)
class WithLogMeans(Encoder):
    """Latents, and after them each mark's log mean.

    The predictor so gets back what latents omit of a mark's level. Both keep their own scale: the
    first latent and each level have a standard deviation of 1.

    Parameters
    ----------
    encoder
        Unfitted, one with latents, as `PCA` or `VAE`.
    n_regions
        See `LogMeans`.

    Attributes
    ----------
    encoder_, log_means_
        The two, fitted.
    """

    exporter = "simplechrome.export.encoders:with_log_means"
    gives_latents = False  # none that further log means can join

    encoder: Encoder
    _: KW_ONLY
    n_regions: int = 1

    def fit(
        self,
        dataset: xr.Dataset,
        y: object = None,
        *,
        validation: xr.Dataset | None = None,
        checkpoints: str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Learn from windows; see `Encoder.fit`, and `VAE.fit` for checkpoints."""
        if not self.encoder.gives_latents:
            name = type(self.encoder).__name__
            raise ConfigError(
                f"Log means can be added to latents only, and {name} has none.",
                "choose an encoder with latents, as PCA or VAE",
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
        # What a run shows of an encoder's training.
        for name in {"history_", "interrupted_", "activity_"} & vars(inner).keys():
            setattr(self, name, getattr(inner, name))

    @property
    def n_latent_(self) -> int:
        """Latents and levels together."""
        return self.encoder_.n_latent_ + self.log_means_.n_latent_

    def transform_out_of_fold(self, dataset: xr.Dataset, y: object) -> xr.DataArray:
        """Return latents to train a predictor on; see `Encoder.transform_out_of_fold`."""
        latents = self.transform(dataset)
        own = self.encoder_.transform_out_of_fold(dataset, y)
        latents.values[..., : own.sizes["latent"]] = own.values
        return latents

    def adapt_to(self, dataset: xr.Dataset) -> Self:
        """Return the same with its encoder normalized to new tracks; see `Encoder.adapt_to`."""
        return self.of_fitted(self.encoder_.adapt_to(dataset), self.log_means_)

    def transform(self, dataset: xr.Dataset) -> xr.DataArray:
        """Return the latents and levels of these windows; see `Encoder.transform`."""
        check_is_fitted(self, "encoder_")
        latents, levels = self.encoder_.transform(dataset), self.log_means_.transform(dataset)
        both: xr.DataArray = xr.concat([latents, levels], dim="latent")
        return both.transpose("cell_type", "gene", "latent").rename("latent")

    def inverse_transform(self, latents: xr.DataArray) -> xr.DataArray:
        """Return the windows of the latents, without regard to the levels."""
        check_is_fitted(self, "encoder_")
        return self.encoder_.inverse_transform(latents[..., : self.encoder_.n_latent_])

    def _describe(self) -> tuple[dict[str, Any], Arrays]:
        parts = {"encoder": self.encoder_, "log_means": self.log_means_}
        description: dict[str, Any] = {}
        arrays: Arrays = {}
        for part, encoder in parts.items():
            own, values = encoder._describe()
            description[part] = {"class": type(encoder).__name__, **own}
            arrays |= {f"{part}.{name}": value for name, value in values.items()}
        return description, arrays

    @classmethod
    def _rebuild(cls, description: Mapping[str, Any], arrays: Arrays) -> Self:
        parts = {}
        for part in ("encoder", "log_means"):
            own = part_of(arrays, f"{part}.")
            parts[part] = encoder_class(description[part]["class"])._rebuild(description[part], own)
        return cls.of_fitted(**parts)
