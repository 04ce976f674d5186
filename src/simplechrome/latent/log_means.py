"""How much of each mark: the baseline that knows levels and no shapes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from simplechrome.dataset.transforms.signal import SignalTransform, Windows, present_marks
from simplechrome.errors import ConfigError, InputFormatError
from simplechrome.latent.window_encoder import WindowEncoder
from simplechrome.work.settings import Count


def log_means(signal: np.ndarray, mark_present: np.ndarray) -> np.ndarray:
    """How much of each mark lies in each window, on a log scale?

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
            "Log-means need reads.",
            found="negative or not finite values in the signal",
            expected="values >= 0",
            cause="a track of log ratios, or one from which a control was subtracted",
        )
    return np.where(mark_present, np.log1p(means), np.nan)


class LogMeans(WindowEncoder):
    """Level of each mark: log(1 + mean reads), standardized over the training genes.

    Parameters
    ----------
    n_regions
        Equal stretches of the window that get a level each; 1 is the whole window.
    """

    _latent_prefix = "log_mean"

    name = "log_means"
    gives_latents = False

    def __init__(self, n_regions: Count = 1) -> None:
        self.n_regions = n_regions

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
                "The number of regions makes no sense.",
                found=f"n_regions = {self.n_regions}",
                expected=f"1 to {bins} (the bins of the window)",
            )
        return np.linspace(0, bins, self.n_regions + 1).round().astype(int)

    def _levels(self, values: np.ndarray) -> np.ndarray:
        """(row, bin, mark) → (row, region × mark)."""
        everywhere = np.ones(values.shape[2], bool)
        edges = self._edges()
        return np.concatenate(
            [log_means(values[:, start:stop], everywhere) for start, stop in pairwise(edges)],
            axis=1,
        )

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
        # A missing mark says nothing: the training mean.
        return (standardized * np.tile(present, (1, self.n_regions))).astype(np.float32)

    def _decode(self, latents: np.ndarray) -> np.ndarray:
        levels = np.expm1(latents * self.scale_ + self.mean_)
        by_region = levels.reshape(len(latents), self.n_regions, len(self.marks_))
        return np.repeat(by_region, np.diff(self._edges()), axis=1)

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {"mean": self.mean_, "scale": self.scale_}

    def _restore(self, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.mean_, self.scale_ = arrays["mean"], arrays["scale"]


def mark_levels(dataset: xr.Dataset) -> xr.DataArray:
    """What is each gene's level of each mark?

    Returns
    -------
    (cell_type, gene, mark), log(1 + mean signal); NaN where the mark is missing.
    """
    present = present_marks(dataset)
    levels = [log_means(cell, np.ones(cell.shape[2], bool)) for cell in dataset["signal"].values]
    values = np.where(present, np.stack(levels), np.nan)
    return xr.DataArray(values, dims=("cell_type", "gene", "mark"), name="level")
