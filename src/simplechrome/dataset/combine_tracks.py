"""Replicates, controls and library sizes: several binned tracks become one signal of a mark."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from simplechrome.errors import ConfigError, InputFormatError
from simplechrome.sources.tracks.windows import BinnedTrack

log = logging.getLogger(__name__)

READS = "reads"
CPM = "CPM"
_MILLION = 1e6


def pool_replicates(tracks: Sequence[BinnedTrack], scales: Sequence[float]) -> BinnedTrack:
    """What do the replicates of one mark say together?

    Reads are pooled, as if they came from one library: counts and library sizes are added. Of
    signal the mean is taken, over the replicates that have data in the window.

    Parameters
    ----------
    tracks
        One for each replicate, of the same windows and units.
    scales
        What each one's values are multiplied with first; library sizes are not.

    Raises
    ------
    InputFormatError
        If their units differ.
    """
    units = list(dict.fromkeys(track.units for track in tracks))
    if len(units) > 1:
        raise InputFormatError(
            "Replicates of one mark are of different kinds.",
            found=", ".join(units),
            expected="all of them reads, or all of them signal",
            remedy="name replicates of one kind in the sheet",
        )
    observed = np.stack([track.observed for track in tracks])
    if units[0] == READS:
        values = sum(
            track.values * scale if scale != 1 else track.values
            for track, scale in zip(tracks, scales, strict=True)
        )
        depth = float(sum(track.depth for track in tracks))
        return BinnedTrack(np.asarray(values), observed.max(axis=0), depth, READS)
    with_data = observed > 0
    n = np.maximum(with_data.sum(axis=0), 1)
    total = np.zeros_like(tracks[0].values)
    for track, scale, seen in zip(tracks, scales, with_data, strict=True):
        total += track.values * scale * seen[:, np.newaxis]
    share = (observed.sum(axis=0) / n).astype(np.float32)
    depth = float(np.mean([track.depth for track in tracks]))
    return BinnedTrack(total / n[:, np.newaxis], share, depth, units[0])


def subtract_control(track: BinnedTrack, control: BinnedTrack, name: str) -> BinnedTrack:
    """What is left of a signal above its control?

    Reads of the control are scaled to the library size of the track, signal is taken as it is.
    What would be negative becomes 0.

    Parameters
    ----------
    name
        Of the mark and cell type, for the message.

    Raises
    ------
    InputFormatError
        If their units differ, or the control has no reads.
    """
    if track.units != control.units:
        raise InputFormatError(
            f"{name} and its control are of different kinds.",
            found=f"{track.units} and {control.units}",
            expected="both reads, or both signal",
            remedy="name a control of the same kind in the sheet",
        )
    ratio = 1.0
    if track.units == READS:
        if not control.depth > 0:
            raise InputFormatError(
                f"The control of {name} cannot be scaled.",
                found=f"a library size of {control.depth:g}",
                expected="reads",
                cause="an empty file, or filters that leave no read",
                remedy="name another control in the sheet, or none",
            )
        ratio = track.depth / control.depth
    left = np.maximum(track.values - ratio * control.values, 0)
    return track._replace(values=left)


def per_million(track: BinnedTrack, name: str) -> BinnedTrack:
    """How many reads of a million lie in each bin?

    Raises
    ------
    ConfigError
        If the track holds signal, of which nobody knows the library.
    InputFormatError
        If it holds no reads.
    """
    if track.units != READS:
        raise ConfigError(
            f"{name} cannot be normalized to a million reads.",
            found=f"a track of {track.units}",
            expected="reads (BAM, CRAM, BED)",
            remedy="leave --normalize out: a bigWig or bedGraph says nothing of its library",
        )
    if not track.depth > 0:
        raise InputFormatError(
            f"{name} cannot be normalized to a million reads.",
            found=f"a library size of {track.depth:g}",
            expected="reads",
            cause="an empty file, or filters that leave no read",
        )
    return track._replace(values=track.values * (_MILLION / track.depth), units=CPM)


def plainest(values: np.ndarray, units: str) -> np.ndarray:
    """The values as whole numbers, where they are: counts take half the room of floats."""
    whole = values.astype(np.int64)
    if units == READS and np.array_equal(whole, values):
        return whole
    return values.astype(np.float32)
