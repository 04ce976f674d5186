"""Each track file, binned once and kept, so that work that was stopped need not begin anew."""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from simplechrome.dataset.building.track_plan import Plan, TrackFile
from simplechrome.errors import InputFormatError, OutputError
from simplechrome.sources.provenance import is_url, unreadable
from simplechrome.sources.tracks.bin_track import ReadingOptions, bin_track
from simplechrome.sources.tracks.windows import BinnedTrack, Windows
from simplechrome.work.files import whole_file
from simplechrome.work.processes import LoggedLine, relay, remembered, worker_processes

log = logging.getLogger(__name__)


class Part(NamedTuple):
    """A track that is to be binned.

    file : what is read
    windows : under the file's chromosome names
    kept : where the result is kept
    """

    file: TrackFile
    windows: Windows
    options: ReadingOptions
    kept: Path


def plan_parts(plan: Plan, options: ReadingOptions, folder: Path) -> dict[str, Part]:
    """What is to be read, by path, and under which name is it kept?

    The name holds all that decides the result, the file's content aside.
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
    jobs
        Processes that read at the same time.
    progress
        Called with the share of all work that is done.

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
    # Bytes are what takes the time; a URL counts as a middling file.
    sizes = np.array([_size(part.file.path) for part in waiting], float)
    sizes[np.isnan(sizes)] = np.nanmean(sizes) if np.isfinite(sizes).any() else 1.0
    weights = sizes / max(sizes.sum(), 1.0)
    if min(jobs, len(waiting)) <= 1:
        done = 0.0
        for part, weight in zip(waiting, weights, strict=True):
            bin_part(part, partial(_advance, progress, done, weight))
            done += weight
        return
    with worker_processes(min(jobs, len(waiting))) as executor:
        futures = {
            executor.submit(_bin_elsewhere, part): weight
            for part, weight in zip(waiting, weights, strict=True)
        }
        done = 0.0
        for future in as_completed(futures):
            try:
                relay(future.result())
            except BrokenProcessPool:
                raise OutputError(
                    "A process that was reading tracks was killed.",
                    expected="processes that end by themselves",
                    cause="too little memory, most often",
                    remedy="pass fewer --jobs, and --resume: tracks that were read are kept",
                ) from None
            done += futures[future]
            progress(done)


def _advance(progress: Callable[[float], object], done: float, weight: float, share: float) -> None:
    progress(done + share * weight)


def _bin_elsewhere(part: Part) -> list[LoggedLine]:
    with remembered() as lines:
        bin_part(part)
    return lines


def bin_part(part: Part, progress: Callable[[float], object] | None = None) -> None:
    """Read a track and keep what it holds in each window."""
    source = _identity(part.file.path)
    track = bin_track(
        part.file.path,
        part.file.kind,
        part.windows,
        part.options,
        sizes=part.file.sizes,
        progress=progress,
    )
    with np.errstate(invalid="ignore"):  # what does not fit is not whole
        whole = track.values.astype(np.uint32)
    with np.errstate(over="ignore"):
        narrow = track.values.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise InputFormatError(
            f"{part.file.path} holds values that are too large.",
            found=f"{np.abs(track.values).max():g} in a bin",
            expected="numbers up to 3e38",
        )
    values = whole if np.array_equal(whole, track.values) else narrow
    about = {"depth": track.depth, "units": track.units, "source": source}
    with whole_file(part.kept) as temporary, temporary.open("wb") as stream:
        np.savez(stream, values=values, observed=track.observed, about=json.dumps(about))


def read_part(part: Part) -> tuple[BinnedTrack, dict[str, Any]]:
    """What was kept of a track, and which file was it?"""
    with np.load(part.kept, allow_pickle=False) as held:
        about = json.loads(str(held["about"]))
        values = held["values"].astype(np.float64)
        track = BinnedTrack(values, held["observed"], about["depth"], about["units"])
    return track, about["source"]


def read_observed(part: Part) -> np.ndarray:
    """(gene,), the share of each window that has data in the track."""
    with np.load(part.kept, allow_pickle=False) as held:
        observed: np.ndarray = held["observed"]
    return observed


def _is_kept(part: Part) -> bool:
    """Is the track kept, and the file still the one that was read?"""
    if not part.kept.exists():
        return False
    try:
        with np.load(part.kept, allow_pickle=False) as held:
            before = json.loads(str(held["about"]))["source"]
            for name in ("values", "observed"):
                _ = held[name].shape  # unpacked, and its checksum compared
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s is damaged, and its track is read anew: %s", part.kept, error)
        return False
    if is_unchanged(part.file.path, before):
        return True
    log.info("%s has changed since it was read, and is read anew", part.file.path)
    return False


def is_unchanged(path: str, before: Mapping[str, Any]) -> bool:
    """Is this file still the one that was read? Of an address nobody asks again.

    Raises
    ------
    MissingInputError
        If it is not there any more.
    """
    if is_url(path):
        return True
    if _stat(path) == {name: before.get(name) for name in ("bytes", "modified")}:
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


def _identity(path: str) -> dict[str, Any]:
    """Which file is this? Its name, size and checksum; of a URL its address."""
    if is_url(path):
        return {"name": path}
    try:
        with Path(path).open("rb") as stream:
            checksum = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(Path(path), error) from None
    return {"name": Path(path).name, **_stat(path), "sha256": checksum}
