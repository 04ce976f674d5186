"""The transform of tracks that differ in depth and antibody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter1d

from simplechrome.dataset.transforms.signal import Windows, present_marks, require_marks
from simplechrome.errors import InputFormatError

SMOOTHING = 1.0
"""Standard deviation of the kernel, in bins."""
PSEUDO_SHARE = 0.2
"""Of a track's mean, added before the logarithm."""

Track = tuple[str, str]  # cell type, mark


class TrackTransform:
    """Signal on a log scale that does not depend on a track's depth.

    Each bin becomes log(1 + rate / (0.2 × mean of the track)), where the rate is the signal
    smoothed with a Gaussian of one bin. One read differs from none, and a hundred from fifty, in
    shallow tracks and deep ones; twice the reads give the same values. The mean profile of the
    track over the training genes is then subtracted, and the rest divided by one standard
    deviation per track, so that tracks of different cell types can be compared.

    Tracks of cell types that it was not fitted on get the mean of those of their mark.

    Attributes
    ----------
    marks_ : those that it was fitted on, in their order
    level_, scale_ : track to number
        Mean signal of a bin, and standard deviation after the logarithm.
    profile_ : track to (bin,)
        Mean after the logarithm.

    Smoothing and pseudo-count were chosen on validation chromosomes: docs/explanation/encoder.md.
    """

    function = "log_rate"
    standardize = True

    def fit(self, dataset: xr.Dataset) -> TrackTransform:
        """Fit the level, profile and scale of each track to these (training) windows.

        Raises InputFormatError if values are negative.
        """
        self.marks_ = [str(mark) for mark in dataset["mark"].values]
        self.bins_ = dataset.sizes["bin"]
        self.level_: dict[Track, float] = {}
        self.scale_: dict[Track, float] = {}
        self.profile_: dict[Track, np.ndarray] = {}
        self.add_tracks(dataset)
        return self

    def add_tracks(self, dataset: xr.Dataset, fewest: int = 1) -> list[Track]:
        """Fit tracks that are not known yet to these windows, and return them.

        Parameters
        ----------
        dataset : with the tracks
        fewest : windows with data that a track must have
        """
        new = []
        present = present_marks(dataset)
        for row, cell_type in enumerate(map(str, dataset["cell_type"].values)):
            for column, mark in enumerate(map(str, dataset["mark"].values)):
                seen = present[row, :, column]
                settled = mark not in self.marks_ or (cell_type, mark) in self.level_
                if settled or seen.sum() < fewest:
                    continue
                signal = _read(dataset, row, column)[seen]
                level = float(signal.mean(dtype=np.float64))
                values = _log_rate(signal, level)
                profile = values.mean(axis=0, dtype=np.float64)
                spread = float(np.sqrt(np.square(values - profile, dtype=np.float64).mean()))
                track = (cell_type, mark)
                self.level_[track], self.profile_[track] = level, profile
                self.scale_[track] = spread if spread > 1e-6 else 1.0
                new.append(track)
        return new

    def scale_of(self, cell_type: str, mark: str) -> tuple[float, np.ndarray, float]:
        """Return level, profile and scale of a track, or of the mark if the track is not known."""
        track = (cell_type, mark)
        tracks = [track] if track in self.level_ else [t for t in self.level_ if t[1] == mark]
        if not tracks:
            return 1.0, np.zeros(self.bins_), 1.0
        # The geometric mean: depths differ by factors.
        levels = [self.level_[t] for t in tracks if self.level_[t] > 0]
        level = float(np.exp(np.mean(np.log(levels)))) if levels else 0.0
        profile = np.mean([self.profile_[t] for t in tracks], axis=0)
        return level, profile, float(np.mean([self.scale_[t] for t in tracks]))

    def transform(self, dataset: xr.Dataset) -> Windows:
        """Return these windows, transformed; a missing mark is 0, the training mean.

        Raises ModelMismatchError if the marks are not those of the fit, in their order;
        InputFormatError if values are negative.
        """
        require_marks(dataset, self.marks_)
        present = present_marks(dataset)
        values = np.zeros(dataset["signal"].shape, np.float32)
        for row, cell_type in enumerate(map(str, dataset["cell_type"].values)):
            for column, mark in enumerate(self.marks_):
                seen = present[row, :, column]
                if seen.any():
                    level, profile, scale = self.scale_of(cell_type, mark)
                    rate = _log_rate(_read(dataset, row, column)[seen], level)
                    values[row, seen, :, column] = (rate - profile.astype(np.float32)) / scale
        return Windows(values, present)

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Return (…, bin, mark) smoothed signal of transformed values, in a track of mean depth."""
        signal = np.empty(values.shape, np.float32)
        for column, mark in enumerate(self.marks_):
            signal[..., column] = self.inverse_of(values[..., column], mark)
        return signal

    def inverse_of(self, values: np.ndarray, mark: str) -> np.ndarray:
        """Return (…, bin) signal of one mark, of (…, bin); see `inverse`."""
        level, profile, scale = self.scale_of("", mark)
        rate = np.expm1(values * scale + profile)
        signal: np.ndarray = np.maximum(rate, 0) * PSEUDO_SHARE * level
        return signal.astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted transform as plain JSON."""
        tracks = [
            dict(zip(("cell_type", "mark"), track, strict=True))
            | {"level": self.level_[track], "scale": self.scale_[track]}
            | {"profile": self.profile_[track].tolist()}
            for track in sorted(self.level_)
        ]
        return {
            "function": self.function,
            "marks": self.marks_,
            "bins": self.bins_,
            "tracks": tracks,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> TrackTransform:
        """Return the transform that `to_dict` described."""
        transform = cls()
        transform.marks_, transform.bins_ = list(state["marks"]), int(state["bins"])
        transform.level_, transform.scale_, transform.profile_ = {}, {}, {}
        for entry in state["tracks"]:
            track = (entry["cell_type"], entry["mark"])
            transform.level_[track], transform.scale_[track] = entry["level"], entry["scale"]
            transform.profile_[track] = np.asarray(entry["profile"], np.float64)
        return transform


def _read(dataset: xr.Dataset, row: int, column: int) -> np.ndarray:
    """Return the (gene, bin) signal of one track."""
    signal: np.ndarray = dataset["signal"].values[row, :, :, column]
    low = float(signal.min(initial=0))
    if low < 0:
        raise InputFormatError(
            f"The signal of {dataset['cell_type'].values[row]} {dataset['mark'].values[column]} "
            f"holds negative values, down to {low}; the encoder needs values from 0 up.",
            "use --encoder pca with the transform asinh for log ratios and signal minus a control",
        )
    return signal.astype(np.float32)


def _log_rate(signal: np.ndarray, level: float) -> np.ndarray:
    """Return (gene, bin) float32: log(1 + smoothed signal / pseudo-count)."""
    # The outermost bin repeats beyond the window: the reads there are not known.
    rate = gaussian_filter1d(signal, SMOOTHING, axis=1, mode="nearest")
    pseudo = PSEUDO_SHARE * level
    return np.log1p(rate / np.float32(pseudo)) if pseudo > 0 else rate
