"""All tracks, binned, and what becomes of them together: marks, cell types, a dataset."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from simplechrome.dataset.build import from_arrays
from simplechrome.dataset.combine_tracks import (
    per_million,
    plainest,
    pool_replicates,
    subtract_control,
)
from simplechrome.dataset.track_options import TrackOptions
from simplechrome.dataset.track_parts import Part, read_observed, read_part
from simplechrome.dataset.track_plan import Plan, require_placed
from simplechrome.errors import InputFormatError
from simplechrome.sources.tracks.sheet import Sample
from simplechrome.sources.tracks.windows import BinnedTrack

log = logging.getLogger(__name__)


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
