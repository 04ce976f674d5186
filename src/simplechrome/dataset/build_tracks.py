"""The user's own tracks to a stored dataset, exact to the read, whatever their number.

Each file is binned by itself and kept; then cell types are put together one after the other, so
that the memory needed is that of one. Meanwhile, for `mine.zarr`:

    mine.zarr.unfinished/
        tracks/1f0c….npz  a file that was read
        joined/           the dataset, once it is whole; then the tracks go, and it moves up
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

import simplechrome
from simplechrome.atomic import whole_folder
from simplechrome.dataset.assemble import Annotation, annotate
from simplechrome.dataset.build import from_arrays, match_expression
from simplechrome.dataset.build_on_disk import (
    JOINED,
    checksum,
    describe_build,
    is_finished_build,
    is_joined,
    move_up,
    progress_bar,
)
from simplechrome.dataset.combine_tracks import (
    per_million,
    plainest,
    pool_replicates,
    subtract_control,
)
from simplechrome.dataset.labels import check_rule
from simplechrome.dataset.merge import LARGE, merge_outlines, outline, place
from simplechrome.dataset.store import GrowingStore, is_dataset, require_dataset_only
from simplechrome.dataset.track_options import TrackOptions, make_track_options
from simplechrome.dataset.track_parts import Part, bin_parts, plan_parts, read_observed, read_part
from simplechrome.dataset.track_plan import Plan, make_plan, require_placed
from simplechrome.errors import InputFormatError
from simplechrome.sources.expression import read_expression
from simplechrome.sources.tracks.windows import BinnedTrack
from simplechrome.unfinished import long_work

log = logging.getLogger(__name__)

TRACKS = "tracks"


def build_tracks_on_disk(
    sheet: str | Path,
    output: str | Path,
    *,
    genes: str | Path,
    expression: str | Path | None = None,
    chrom_aliases: str | Path | None = None,
    blacklist: str | Path | None = None,
    jobs: int = 1,
    resume: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """How do tracks (bigWig, BAM, CRAM, BED, bedGraph) become a stored dataset?

    Everything that can be checked before a track is read is checked then. Bins hold the mean of a
    signal track's per-base values, where bases without data count as 0, or the number of reads
    that count there by `ReadRule`; windows on the minus strand are turned. Replicates, rows of the
    sheet with the same cell type and mark, are joined as `pool_replicates` says.

    Parameters
    ----------
    sheet
        See `read_sheet`.
    output
        A folder, by custom ending in `.zarr`. It holds what it held before, or the whole dataset.
    genes, expression
        Files; see `read_genes` and `read_expression`.
    chrom_aliases
        Table of other names of chromosomes; see `read_aliases`.
    blacklist
        BED of regions; genes whose windows touch one are left out.
    jobs
        Processes that read tracks at the same time.
    resume
        Go on with a build that was stopped: tracks that were read are not read again unless their
        files have changed since. Options and files must be those of the first call. Where nothing
        was begun, begin; where it is finished, do nothing and say so.
    overwrite
        Replace a dataset that is there. Without `resume`, an unfinished build too.
    options
        Those of `TrackOptions`.

    Returns
    -------
    `output`.

    Raises
    ------
    InputFormatError, MissingInputError
        If a file is not there, or not what it should be.
    GenomeMismatchError
        If chromosomes have other names or lengths in one input than in another.
    ConfigError
        If an option makes no sense, or what is to be resumed was begun with others.
    OutputExistsError, OutputError
        See `build_deepchrome_on_disk`.
    """
    chosen = make_track_options(options)
    check_rule(chosen.label_rule)
    target = Path(output).resolve() if Path(output).is_symlink() else Path(output)
    if is_finished_build(target, resume=resume, overwrite=overwrite):
        return Path(output)
    plan = make_plan(sheet, genes, chosen, chrom_aliases=chrom_aliases, blacklist=blacklist)
    levels = None
    if expression is not None:
        levels = read_expression(expression, strip_version=chosen.strip_version)
        cell_types = list(dict.fromkeys(sample.cell_type for sample in plan.samples))
        match_expression(levels, plan.genes["gene_id"].to_numpy(object), cell_types)
    request = {
        "simplechrome": simplechrome.__version__,
        "samples": [sample._asdict() | {"line": 0} for sample in plan.samples],
        "genes sha256": checksum(genes),
        "expression sha256": checksum(expression),
        "aliases sha256": checksum(chrom_aliases),
        "blacklist sha256": checksum(blacklist),
        **chosen.model_dump(mode="json"),
    }
    annotation = Annotation(plan.genes, levels, chosen.label_rule, False, chosen.expression_units)
    with long_work(
        target,
        request,
        resume=resume,
        overwrite=overwrite,
        describe=describe_tracks,
        require_ours=require_dataset_only,
        worth_keeping=lambda begun: is_joined(begun, TRACKS) or any((begun / TRACKS).glob("*.npz")),
    ) as work:
        if not is_joined(work.folder, TRACKS):
            (work.folder / TRACKS).mkdir(exist_ok=True)
            parts = plan_parts(plan, chosen.reading, work.folder / TRACKS)
            with progress_bar("Reading") as bar:
                bin_parts(list(parts.values()), jobs, lambda done: bar.update(done - bar.n))
            _join(_Material(plan, parts, chosen), annotation, work.folder / JOINED)
        move_up(work.folder, TRACKS)
    return Path(output)


def describe_tracks(folder: Path) -> str:
    """What is in this folder, a finished or unfinished dataset, in a few words?"""
    if (folder / TRACKS).is_dir() and not (folder / JOINED).is_dir() and not is_dataset(folder):
        return f"{len(list((folder / TRACKS).glob('*.npz')))} tracks that are read"
    return describe_build(folder)


class _Material(NamedTuple):
    """All tracks, binned."""

    plan: Plan
    parts: Mapping[str, Part]
    options: TrackOptions

    @property
    def cell_types(self) -> list[str]:
        return list(dict.fromkeys(sample.cell_type for sample in self.plan.samples))

    def marks(self, cell_type: str) -> list[str]:
        samples = self.plan.samples
        return list(dict.fromkeys(s.mark for s in samples if s.cell_type == cell_type))

    def mark(self, cell_type: str, mark: str) -> tuple[BinnedTrack, list[dict[str, Any]]]:
        """The signal of a mark, its replicates joined, and the files it comes from."""
        name = f"{cell_type} {mark}"
        samples = [s for s in self.plan.samples if (s.cell_type, s.mark) == (cell_type, mark)]
        tracks, sources = self._read([sample.path for sample in samples], name, mark, "track")
        track = pool_replicates(tracks, [sample.scale for sample in samples])
        controls = list(dict.fromkeys(sample.control for sample in samples if sample.control))
        if self.options.subtract_control and controls:
            others, their_sources = self._read(controls, name, mark, "control")
            control = pool_replicates(others, [1.0] * len(others))
            track = subtract_control(track, control, name)
            sources += their_sources
        elif self.options.subtract_control:
            log.warning("%s has no control, and nothing is subtracted from it", name)
        if self.options.normalize == "cpm":
            track = per_million(track, name)
        if self.options.units and track.units == "mean_signal":
            track = track._replace(units=self.options.units)
        if not track.values.any():
            log.warning("%s is empty: no window holds any signal", name)
        return track, sources

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


def _join(material: _Material, annotation: Annotation, joined: Path) -> None:
    """Store what the tracks become together, one cell type after the other."""
    rows = material.kept_rows()
    names = material.cell_types
    merged = merge_outlines([outline(material.dataset(name, rows)) for name in names])
    merged = annotate(merged, annotation).assign_attrs(build=_record(material, rows))
    with whole_folder(joined) as temporary, progress_bar("Joining") as bar:
        store = GrowingStore(merged, temporary, LARGE)
        for row, name in enumerate(names):
            arrays = {n: np.zeros(merged[n].shape[1:], merged[n].dtype) for n in LARGE}
            place(material.dataset(name, rows), 0, merged, *arrays.values())
            store.fill(row, arrays)
            bar.update((row + 1) / len(names) - bar.n)


def _record(material: _Material, rows: np.ndarray) -> dict[str, Any]:
    """How the dataset was made, for whoever opens it."""
    unobserved = len(material.plan.genes) - len(rows)
    return {
        "command": "build tracks",
        "simplechrome": simplechrome.__version__,
        "genes_left_out": {**material.plan.left_out, "observed too little": unobserved},
        **material.options.model_dump(mode="json"),
    }
