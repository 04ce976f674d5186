"""The user's own tracks to a stored dataset, exact to the read.

Each file is binned once and kept as a part (see `building.build`); then cell types are assembled
one after the other, so that peak memory is that of one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from simplechrome.dataset.building.arrays import check_rule, from_arrays, match_expression
from simplechrome.dataset.building.build import (
    Parts,
    annotate,
    build_on_disk,
    checksum,
    is_finished_build,
    progress_bar,
)
from simplechrome.dataset.building.merge import merge_outlines, outline
from simplechrome.dataset.building.options import TrackOptions, make_options
from simplechrome.dataset.building.track_plan import (
    Plan,
    TrackFile,
    is_isolated,
    make_plan,
    require_placed,
)
from simplechrome.errors import InputFormatError, OutputError
from simplechrome.sources.expression import read_expression
from simplechrome.sources.provenance import is_url, unreadable
from simplechrome.sources.tracks.readers import (
    TRACK_READERS,
    ReadingOptions,
    TrackReader,
    bin_track,
    register_track_reader,
)
from simplechrome.sources.tracks.windows import BinnedTrack, Windows
from simplechrome.version import __version__
from simplechrome.work.files import whole_file
from simplechrome.work.processes import LoggedLine, relay, remembered, worker_processes

log = logging.getLogger(__name__)

READS, CPM = "reads", "CPM"
_MILLION = 1e6
Source = dict[str, Any]


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
    """Store tracks (bigWig, BAM, CRAM, BED, bedGraph) as a dataset, and return its path.

    Everything that can be checked before a track is read is checked then. Bins hold the mean of a
    signal track's per-base values, where bases without data count as 0, or the number of reads
    that count there by `ReadRule`; windows on the minus strand are flipped. Replicates, rows of
    the sheet with the same cell type and mark, are pooled by `pool_replicates`.

    Parameters
    ----------
    sheet : see `read_sheet`
    output
        A folder, by custom ending in `.zarr`. It holds what it held before, or the whole dataset.
    genes, expression : files; see `read_genes` and `read_expression`
    chrom_aliases : table of other names of chromosomes; see `read_aliases`
    blacklist : BED of regions; genes whose windows touch one are dropped
    jobs : processes that read tracks at the same time
    resume, overwrite : as for `build_deepchrome_on_disk`, with tracks in place of cell types
    options : those of `TrackOptions`

    Raises InputFormatError, MissingInputError if a file is not there, or not what it should be;
    GenomeMismatchError if chromosomes have other names or lengths in one input than in another;
    ConfigError if an option is invalid, or the build to resume was begun with others;
    OutputExistsError, OutputError: see `build_deepchrome_on_disk`.
    """
    chosen = make_options(TrackOptions, options)
    check_rule(chosen.label_rule)
    if is_finished_build(output, resume=resume, overwrite=overwrite):
        return Path(output)
    plan = make_plan(sheet, genes, chosen, chrom_aliases=chrom_aliases, blacklist=blacklist)
    levels = None
    if expression is not None:
        levels = read_expression(expression, strip_version=chosen.strip_version)
        cell_types = list(dict.fromkeys(sample.cell_type for sample in plan.samples))
        match_expression(levels, plan.genes["gene_id"].to_numpy(object), cell_types)
    tables = {
        "sample sheet": sheet,
        "genes": genes,
        "expression": expression,
        "aliases": chrom_aliases,
        "blacklist": blacklist,
    }
    request = {
        "samples": {
            f"{k} ({sample.cell_type} {sample.mark})": sample._asdict() | {"line": 0}
            for k, sample in enumerate(plan.samples, start=1)
        },
        **{f"{role} sha256": checksum(path) for role, path in list(tables.items())[1:]},
        # How long a server may be silent changes nothing that it sends.
        **chosen.model_dump(mode="json", exclude={"timeout"}),
    }

    def read(folder: Path) -> Parts:
        tracks = Tracks(plan, plan_parts(plan, chosen.reading, folder), chosen)
        with progress_bar("Reading") as bar:
            bin_parts(list(tracks.parts.values()), jobs, lambda done: bar.update(done - bar.n))
        rows = tracks.kept_rows()
        outlines = []
        for name in tracks.cell_types:
            one = tracks.dataset(name, rows)
            tracks.warn_of_empty(one)
            outlines.append(outline(one))
            del one
        merged = merge_outlines(outlines)
        described = [
            *merged.attrs["sources"],
            *(
                {
                    "name": Path(path).name,
                    "bytes": Path(path).stat().st_size,
                    "sha256": checksum(path),
                    "role": "chromosome aliases" if role == "aliases" else role,
                }
                for role, path in tables.items()
                if path is not None
            ),
        ]
        dropped = {**plan.left_out, "observed too little": len(plan.genes) - len(rows)}
        record = {
            "command": "build tracks",
            "simplechrome": __version__,
            "assembly": plan.assembly,
            "genes_left_out": dropped,
            **chosen.model_dump(mode="json", exclude={"assembly"}),
        }
        merged = annotate(merged, plan.genes, levels, chosen)
        merged = merged.assign_attrs(build=record, sources=described)
        return Parts(merged, lambda row: tracks.dataset(tracks.cell_types[row], rows))

    return build_on_disk(output, request, read, resume=resume, overwrite=overwrite)


class Part(NamedTuple):
    """A track that is to be binned.

    windows : under the file's chromosome names
    kept : where the result is kept
    """

    file: TrackFile
    windows: Windows
    options: ReadingOptions
    kept: Path


def plan_parts(plan: Plan, options: ReadingOptions, folder: Path) -> dict[str, Part]:
    """Return what is to be read, by path.

    The name under which a part is kept is made of all that decides it, except the file's content.
    """
    parts = {}
    for path, file in plan.files.items():
        windows = plan.windows.renamed(file.names)
        # How long a server may be silent changes nothing that it sends.
        decisive = replace(options, timeout=0.0)
        digest = hashlib.sha256(f"{path}\n{file.kind}\n{decisive!r}\n".encode())
        digest.update(json.dumps(file.sizes, sort_keys=True).encode())
        digest.update("\0".join(map(str, windows.chrom)).encode())
        for array in (windows.start, np.array([windows.n_bins, windows.bin_size])):
            digest.update(np.ascontiguousarray(array).tobytes())
        parts[path] = Part(file, windows, options, folder / f"{digest.hexdigest()[:24]}.npz")
    return parts


def bin_parts(parts: Sequence[Part], jobs: int, progress: Callable[[float], object]) -> None:
    """Read all tracks that are not kept yet.

    Parameters
    ----------
    jobs : processes that read at the same time
    progress : called with the fraction of all work that is done

    Raises
    ------
    InputFormatError, MissingInputError
        The first that a reader raises. What was read until then is kept.
    OutputError
        If a process is killed.
    """
    waiting = [part for part in parts if not _is_kept(part)]
    if len(waiting) < len(parts):
        log.info("%d of %d tracks are read already", len(parts) - len(waiting), len(parts))
    # Time goes with bytes; a URL counts as a file of mean size.
    sizes = np.array([_size(part.file.path) for part in waiting], float)
    sizes[np.isnan(sizes)] = np.nanmean(sizes) if np.isfinite(sizes).any() else 1.0
    weights = sizes / max(sizes.sum(), 1.0)
    done = 0.0
    isolated = any(is_isolated(part.file.kind) for part in waiting)
    if min(jobs, len(waiting)) <= 1 and not isolated:
        for part, weight in zip(waiting, weights, strict=True):

            def advance(fraction: float, start: float = done, weight: float = weight) -> None:
                progress(start + fraction * weight)

            bin_part(part, advance)
            done += weight
        return
    with worker_processes(min(jobs, len(waiting))) as executor:
        futures = {
            executor.submit(_bin_elsewhere, part, TRACK_READERS.get(part.file.kind)): weight
            for part, weight in zip(waiting, weights, strict=True)
        }
        for future in as_completed(futures):
            try:
                relay(future.result())
            except BrokenProcessPool:
                raise OutputError(
                    "A process that was reading tracks was killed, most often for lack of memory "
                    "or by a damaged bigWig.",
                    "pass fewer --jobs, and --resume: tracks that were read are kept; if it is "
                    "killed again, make or fetch its track again",
                ) from None
            done += futures[future]
            progress(done)


def _bin_elsewhere(part: Part, reader: TrackReader) -> list[LoggedLine]:
    if reader.kind not in TRACK_READERS:  # registered in the main process
        register_track_reader(reader)
    with remembered() as lines:
        bin_part(part)
    return lines


def bin_part(part: Part, progress: Callable[[float], object] | None = None) -> None:
    """Read a track and keep what it holds in each window."""
    source = _identity(part.file.path)
    track = bin_track(
        *(part.file.path, part.file.kind, part.windows, part.options),
        sizes=part.file.sizes,
        progress=progress,
    )
    with np.errstate(invalid="ignore", over="ignore"):  # what does not fit is not whole
        whole, narrow = track.values.astype(np.uint32), track.values.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise InputFormatError(
            f"{part.file.path} holds values that are too large: {np.abs(track.values).max():g} in "
            "a bin; expected numbers up to 3e38."
        )
    values = whole if np.array_equal(whole, track.values) else narrow
    about = {"depth": track.depth, "units": track.units, "source": source}
    with whole_file(part.kept) as temporary, temporary.open("wb") as stream:
        np.savez(stream, values=values, observed=track.observed, about=json.dumps(about))


def read_part(part: Part) -> tuple[BinnedTrack, Source]:
    """Return what was kept of a track, and which file it was."""
    with np.load(part.kept, allow_pickle=False) as held:
        about = json.loads(str(held["about"]))
        values = held["values"].astype(np.float64)
        track = BinnedTrack(values, held["observed"], about["depth"], about["units"])
    return track, about["source"]


def _is_kept(part: Part) -> bool:
    """Return whether the track is kept, whole, and the file still the one that was read."""
    if not part.kept.exists():
        return False
    try:
        before = read_part(part)[1]  # all of it is unpacked, and its checksum compared
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s is damaged, and its track is read again: %s", part.kept, error)
        return False
    if _is_unchanged(part.file.path, before):
        return True
    log.info("%s has changed since it was read, and is read again", part.file.path)
    return False


def _is_unchanged(path: str, before: Mapping[str, Any]) -> bool:
    """Return whether a file is the one that was read. An address is not requested again."""
    if is_url(path) or _stat(path) == {name: before.get(name) for name in ("bytes", "modified")}:
        return True
    return bool(_identity(path)["sha256"] == before.get("sha256"))  # copied, or touched


def _size(path: str) -> float:
    return float("nan") if is_url(path) else float(_stat(path)["bytes"])


def _stat(path: str) -> dict[str, int]:
    try:
        status = Path(path).stat()
    except OSError as error:
        raise unreadable(Path(path), error) from None
    return {"bytes": status.st_size, "modified": status.st_mtime_ns}


def _identity(path: str) -> Source:
    """Return the name, size and checksum of a file; the address of a URL."""
    if is_url(path):
        return {"name": path}
    try:
        with Path(path).open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(Path(path), error) from None
    return {"name": Path(path).name, **_stat(path), "sha256": digest}


def pool_replicates(tracks: Sequence[BinnedTrack], scales: Sequence[float]) -> BinnedTrack:
    """Return the replicates of one mark as one track.

    Reads are pooled, as if they came from one library: counts and library sizes are added. Of
    signal the mean is taken, over the replicates that have data in the window.

    Parameters
    ----------
    tracks : one for each replicate, of the same windows and units
    scales : factors of each one's values; library sizes are not scaled

    Raises InputFormatError if their units differ.
    """
    units = list(dict.fromkeys(track.units for track in tracks))
    if len(units) > 1:
        raise InputFormatError(
            f"Replicates of one mark are of different kinds: {', '.join(units)}.",
            "name replicates of one kind in the sheet, all reads or all signal",
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
    fraction = (observed.sum(axis=0) / n).astype(np.float32)
    depth = float(np.mean([track.depth for track in tracks]))
    return BinnedTrack(total / n[:, np.newaxis], fraction, depth, units[0])


def subtract_control(track: BinnedTrack, control: BinnedTrack, name: str) -> BinnedTrack:
    """Return a track minus its control, with 0 in place of negative values.

    Reads of the control are scaled to the library size of the track; signal is not scaled.

    Parameters
    ----------
    name : of the mark and cell type, for the message

    Raises InputFormatError if their units differ, or the control has no reads.
    """
    if track.units != control.units:
        raise InputFormatError(
            f"{name} and its control are of different kinds: {track.units} and {control.units}.",
            "name a control of the same kind in the sheet",
        )
    ratio = 1.0
    if track.units == READS:
        if not control.depth > 0:
            raise InputFormatError(
                f"The control of {name} cannot be scaled: it is empty, or filters leave no read.",
                "name another control in the sheet, or none",
            )
        ratio = track.depth / control.depth
    return track._replace(values=np.maximum(track.values - ratio * control.values, 0))


def per_million(track: BinnedTrack, name: str) -> BinnedTrack:
    """Return a track of reads per million reads of its library.

    Raises InputFormatError if it holds no reads.
    """
    if not track.depth > 0:
        raise InputFormatError(
            f"{name} cannot be normalized to a million reads: its library size is 0.",
            "check the file, and filters such as --min-mapping-quality",
        )
    return track._replace(values=track.values * (_MILLION / track.depth), units=CPM)


def plainest(values: np.ndarray, units: str) -> np.ndarray:
    """Return values as whole numbers, where they are: counts take half the memory of floats."""
    whole = values.astype(np.int64)
    if units == READS and np.array_equal(whole, values):
        return whole
    return values.astype(np.float32)


class Tracks(NamedTuple):
    """All tracks, binned, and the cell types that are assembled from them."""

    plan: Plan
    parts: Mapping[str, Part]
    options: TrackOptions

    @property
    def cell_types(self) -> list[str]:
        """In the order of the sheet."""
        return list(dict.fromkeys(sample.cell_type for sample in self.plan.samples))

    def dataset(self, cell_type: str, rows: np.ndarray) -> xr.Dataset:
        """Return a cell type as a dataset of its own, of the genes in these rows."""
        windows, samples = self.plan.windows, self.plan.samples
        marks = list(dict.fromkeys(s.mark for s in samples if s.cell_type == cell_type))
        found = [self._mark(cell_type, mark) for mark in marks]
        units = list(dict.fromkeys(track.units for track, _ in found))
        if len(units) > 1:
            raise InputFormatError(
                f"The marks of {cell_type} are of different kinds: "
                + ", ".join(f"{m}: {t.units}" for m, (t, _) in zip(marks, found, strict=True))
                + ".",
                "build them from one kind of file: BAM of all, or bigWig of all",
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

    def _mark(self, cell_type: str, mark: str) -> tuple[BinnedTrack, list[Source]]:
        """Return the signal of a mark, its replicates pooled, and the files it comes from."""
        name = f"{cell_type} {mark}"
        samples = [s for s in self.plan.samples if (s.cell_type, s.mark) == (cell_type, mark)]
        tracks, sources = self._read([sample.path for sample in samples], f"track of {name}")
        for source, sample in zip(sources, samples, strict=True):
            source |= {"scale": sample.scale} if sample.scale != 1 else {}
        track = pool_replicates(tracks, [sample.scale for sample in samples])
        if controls := self._controls(cell_type, mark):
            others, their_sources = self._read(controls, f"control of {name}")
            track = subtract_control(track, pool_replicates(others, [1.0] * len(others)), name)
            sources += their_sources
        if self.options.normalize == "cpm":
            track = per_million(track, name)
        if self.options.units and track.units == "mean_signal":
            track = track._replace(units=self.options.units)
        return track, sources

    def _controls(self, cell_type: str, mark: str) -> list[str]:
        named = (s.control for s in self.plan.samples if (s.cell_type, s.mark) == (cell_type, mark))
        return list(dict.fromkeys(filter(None, named))) if self.options.subtract_control else []

    def _read(self, paths: list[str], role: str) -> tuple[list[BinnedTrack], list[Source]]:
        tracks, sources = [], []
        for path in paths:
            track, source = read_part(self.parts[path])
            require_placed(self.plan, track.observed, path)
            tracks.append(track)
            sources.append({**source, "role": role})
        return tracks, sources

    def warn_of_empty(self, dataset: xr.Dataset) -> None:
        """Log which tracks of a cell type hold nothing, or lack a control to subtract."""
        (cell_type,) = dataset["cell_type"].values
        for column, mark in enumerate(dataset["mark"].values):
            name = f"{cell_type} {mark}"
            if not dataset["signal"].values[..., column].any():
                log.warning("%s is empty: no window holds any signal", name)
            if self.options.subtract_control and not self._controls(cell_type, mark):
                log.warning("%s has no control, and nothing is subtracted from it", name)

    def kept_rows(self) -> np.ndarray:
        """Return the rows of genes that enough of is observed, in the mean over all tracks."""
        observed = [_observed(self.parts[sample.path]) for sample in self.plan.samples]
        fraction, fewest = np.mean(observed, axis=0), self.options.drop_unobserved
        keep, never = fraction >= fewest, int((fraction == 0).sum())
        if fewest > 0:
            log.info(
                "%d of %d genes are dropped: less than %g of their windows is observed",
                *(int((~keep).sum()), keep.size, fewest),
            )
        elif never:
            log.warning(
                "%d of %d genes have no data in any track: they are kept, and masked "
                "(--drop-unobserved 0.5 drops those less than half observed)",
                *(never, keep.size),
            )
        if not keep.any():
            raise InputFormatError(
                f"No gene remains: at most {fraction.max():.2g} of a window is observed, and "
                f"--drop-unobserved {fewest:g} needs more.",
                "lower it, or check that tracks and genes are of one genome",
            )
        return np.flatnonzero(keep)


def _observed(part: Part) -> np.ndarray:
    """Return (gene,), the fraction of each window that has data in the track."""
    with np.load(part.kept, allow_pickle=False) as held:
        return np.asarray(held["observed"])
