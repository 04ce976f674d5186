"""All tracks, binned, and what becomes of them together: marks, cell types, a dataset."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from simplechrome.dataset.building.arrays import from_arrays
from simplechrome.dataset.building.track_options import TrackOptions
from simplechrome.dataset.building.track_parts import Part, read_observed, read_part
from simplechrome.dataset.building.track_plan import Plan, require_placed
from simplechrome.errors import ConfigError, InputFormatError
from simplechrome.sources.tracks.sheet import Sample
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


class Material(NamedTuple):
    """All tracks, binned."""

    plan: Plan
    parts: Mapping[str, Part]
    options: TrackOptions

    @property
    def cell_types(self) -> list[str]:
        """In the order of the sheet."""
        return list(dict.fromkeys(sample.cell_type for sample in self.plan.samples))

    def marks(self, cell_type: str) -> list[str]:
        """Of one cell type, in the order of the sheet."""
        samples = self.plan.samples
        return list(dict.fromkeys(s.mark for s in samples if s.cell_type == cell_type))

    def mark(self, cell_type: str, mark: str) -> tuple[BinnedTrack, list[dict[str, Any]]]:
        """The signal of a mark, its replicates joined, and the files it comes from."""
        name = f"{cell_type} {mark}"
        samples = self._samples(cell_type, mark)
        tracks, sources = self._read([sample.path for sample in samples], name, mark, "track")
        for source, sample in zip(sources, samples, strict=True):
            source |= {"scale": sample.scale} if sample.scale != 1 else {}
        track = pool_replicates(tracks, [sample.scale for sample in samples])
        controls = self._controls(samples)
        if controls:
            others, their_sources = self._read(controls, name, mark, "control")
            control = pool_replicates(others, [1.0] * len(others))
            track = subtract_control(track, control, name)
            sources += their_sources
        if self.options.normalize == "cpm":
            track = per_million(track, name)
        if self.options.units and track.units == "mean_signal":
            track = track._replace(units=self.options.units)
        return track, sources

    def _samples(self, cell_type: str, mark: str) -> list[Sample]:
        return [s for s in self.plan.samples if (s.cell_type, s.mark) == (cell_type, mark)]

    def _controls(self, samples: Sequence[Sample]) -> list[str]:
        used = self.options.subtract_control
        return list(dict.fromkeys(s.control for s in samples if used and s.control))

    def paths(self) -> list[str]:
        """The files, in the order of the dataset's sources."""
        found: list[str] = []
        for cell_type in self.cell_types:
            for mark in self.marks(cell_type):
                samples = self._samples(cell_type, mark)
                found += [*(sample.path for sample in samples), *self._controls(samples)]
        return found

    def say_what_is_odd(self, dataset: xr.Dataset) -> None:
        """Which tracks of this cell type hold nothing, or lack what was to be subtracted?"""
        (cell_type,) = dataset["cell_type"].values
        for column, mark in enumerate(dataset["mark"].values):
            name = f"{cell_type} {mark}"
            if not dataset["signal"].values[..., column].any():
                log.warning("%s is empty: no window holds any signal", name)
            lacks = not self._controls(self._samples(cell_type, mark))
            if self.options.subtract_control and lacks:
                log.warning("%s has no control, and nothing is subtracted from it", name)

    def _read(
        self, paths: list[str], name: str, mark: str, role: str
    ) -> tuple[list[BinnedTrack], list[dict[str, Any]]]:
        tracks, sources = [], []
        for path in paths:
            track, source = read_part(self.parts[path])
            require_placed(self.plan, track.observed, path)
            tracks.append(track)
            sources.append({**source, "role": f"{role} of {name}"})
        return tracks, sources

    def dataset(self, cell_type: str, rows: np.ndarray) -> xr.Dataset:
        """A cell type as a dataset of its own, of these genes."""
        windows, marks = self.plan.windows, self.marks(cell_type)
        found = [self.mark(cell_type, mark) for mark in marks]
        units = list(dict.fromkeys(track.units for track, _ in found))
        if len(units) > 1:
            raise InputFormatError(
                f"The marks of {cell_type} are of different kinds.",
                found=", ".join(f"{m}: {t.units}" for m, (t, _) in zip(marks, found, strict=True)),
                expected="one kind in a dataset: reads, or signal",
                remedy="build them from one kind of file: BAM of all, or bigWig of all",
            )
        signal = np.stack(
            [plainest(windows.along_genes(t.values)[rows], t.units) for t, _ in found], axis=-1
        )
        return from_arrays(
            signal[None],
            marks=marks,
            gene_ids=self.plan.genes["gene_id"].to_numpy(object)[rows],
            cell_types=[cell_type],
            bin_size=windows.bin_size,
            units=units[0],
            observed=np.stack([t.observed[rows] for t, _ in found], axis=-1)[None],
            depth=np.array([[t.depth for t, _ in found]]),
            sources=[source for _, sources in found for source in sources],
            assembly=self.plan.assembly,
        )

    def kept_rows(self) -> np.ndarray:
        """Genes that enough of is observed, in the mean over all tracks."""
        shares = [read_observed(self.parts[sample.path]) for sample in self.plan.samples]
        share = np.mean(shares, axis=0)
        never = int((share == 0).sum())
        keep = share >= self.options.drop_unobserved
        if self.options.drop_unobserved > 0:
            log.info(
                "%d of %d genes are left out: less than %g of their windows is observed",
                *(int((~keep).sum()), keep.size, self.options.drop_unobserved),
            )
        elif never:
            log.warning(
                "%d of %d genes have no data in any track: they are kept, and masked "
                "(--drop-unobserved 0.5 leaves out those less than half observed)",
                *(never, keep.size),
            )
        if not keep.any():
            raise InputFormatError(
                "No gene is left.",
                found=f"at most {share.max():.2g} of a window is observed",
                expected=f"{self.options.drop_unobserved:g} or more, by --drop-unobserved",
                remedy="ask for less, or check that tracks and genes are of one genome",
            )
        return np.flatnonzero(keep)
