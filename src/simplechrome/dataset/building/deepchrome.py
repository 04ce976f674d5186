"""The published layout to a stored dataset, with one cell type in memory at a time.

Each cell type is read and kept as a part, a dataset of its own. When all are there they are joined
into one. Meanwhile, for `roadmap.zarr`:

    roadmap.zarr.unfinished/
        parts/E003.zarr   a cell type that was read
        parts/E003.json   checksums of its files
        joined/           the dataset, once it is whole; then the parts go, and it moves up

Whatever has its name is whole, so that a process killed at any moment leaves what the next one can
rely on.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from simplechrome.dataset.building.annotate import (
    Annotation,
    ChromStyle,
    OnBad,
    annotate,
    cell_type_dataset,
    read_annotation,
    with_usual_windows,
)
from simplechrome.dataset.building.merge import LARGE, fits, merge_outlines, outline, place
from simplechrome.dataset.store import (
    GrowingStore,
    is_dataset,
    open_dataset,
    open_outline,
    require_dataset_only,
    save_dataset,
    stored_sizes,
)
from simplechrome.errors import OutputError, SimpleChromeError
from simplechrome.sources.deepchrome import list_cell_types, read_changed
from simplechrome.sources.provenance import fingerprint, read_bytes
from simplechrome.version import __version__
from simplechrome.work.files import REQUEST, whole_file, whole_folder
from simplechrome.work.unfinished import (
    long_work,
    refuse_existing,
    settle,
    unfinished_folder,
)

log = logging.getLogger(__name__)

PARTS, JOINED = "parts", "joined"
WHOLE = ".json"
"""Ending of the file beside a part that is written when the part is whole."""


def build_deepchrome_on_disk(
    path: str | Path,
    output: str | Path,
    *,
    cell_types: Sequence[str] | None = None,
    genes: str | Path | None = None,
    expression: str | Path | None = None,
    label_rule: str = "median",
    relabel: bool = False,
    on_bad_cell_type: OnBad = "stop",
    chrom_style: ChromStyle = "auto",
    assembly: str = "",
    expression_units: str = "RPKM",
    bin_size: int = 100,
    note: str = "",
    resume: bool = False,
    overwrite: bool = False,
) -> Path:
    """How does the published DeepChrome layout become a stored dataset?

    The same dataset as `build_from_deepchrome` gives and `save_dataset` stores, byte for byte, but
    only one cell type is in memory at a time, and work that was stopped can be resumed. `output`
    holds what it held before, or the whole dataset.

    Parameters
    ----------
    path, cell_types, genes, expression, label_rule, relabel, on_bad_cell_type, chrom_style
        See `build_from_deepchrome`.
    assembly, expression_units, bin_size, note
        For the record; the layout itself does not say them.
    output
        A folder, by custom ending in `.zarr`.
    resume
        Go on with a build that was stopped: cell types that were read are not read again unless
        their files have changed since; once all are joined, none is. Options must be those of the
        first call, save for `on_bad_cell_type`. Where nothing was begun, begin; where it is
        finished, do nothing and say so.
    overwrite
        Replace a dataset that is there. Without `resume`, an unfinished build too.

    Returns
    -------
    `output`.

    Raises
    ------
    OutputExistsError
        If a finished or unfinished dataset is there and neither `overwrite` nor `resume` is True,
        or what is there is not a dataset.
    OutputError
        If another process is at work on it, or it cannot be written.
    ConfigError
        If an option makes no sense, or what is to be resumed was begun with others.
    InputFormatError, MissingInputError, UnknownGeneError
        See `read_deepchrome`, `read_genes`, `read_expression`, `add_genes`, `add_expression`.
    """
    if isinstance(cell_types, str):
        cell_types = [cell_types]
    target = Path(output).resolve() if Path(output).is_symlink() else Path(output)
    if is_finished_build(target, resume=resume, overwrite=overwrite):
        return Path(output)
    annotation = read_annotation(
        genes,
        expression,
        label_rule=label_rule,
        relabel=relabel,
        chrom_style=chrom_style,
        expression_units=expression_units,
        bin_size=bin_size,
    )
    request = {
        "simplechrome": __version__,
        "input": str(Path(path).resolve()),
        "cell types": None if cell_types is None else list(cell_types),
        "genes sha256": checksum(genes),
        "expression sha256": checksum(expression),
        "label rule": label_rule,
        "relabel": relabel,
        "chromosome style": chrom_style,
        "assembly": assembly,
        "expression units": expression_units,
        "bin size": bin_size,
        "note": note,
    }
    with long_work(
        target,
        request,
        resume=resume,
        overwrite=overwrite,
        describe=describe_build,
        require_ours=require_dataset_only,
        worth_keeping=lambda begun: (
            is_joined(begun, PARTS) or any((begun / PARTS).glob(f"*{WHOLE}"))
        ),
    ) as work:
        if is_joined(work.folder, PARTS):
            log.info("All cell types were read and joined before; their files are not read again")
        else:
            record: dict[str, Any] = {"bin_size": bin_size, "assembly": assembly, "note": note}
            parts = _read_parts(path, work.folder / PARTS, cell_types, on_bad_cell_type, record)
            kept = with_usual_windows(parts, on_bad_cell_type)
            _join(kept, work.folder / PARTS, annotation, work.folder / JOINED)
        move_up(work.folder, PARTS)
    return Path(output)


def is_finished_build(target: Path, *, resume: bool, overwrite: bool) -> bool:
    """Is there nothing to resume?

    Asked before tables are read, and again under the lock.

    Raises
    ------
    OutputExistsError
        If something is there, and neither `resume` nor `overwrite` allows for it.
    OutputError
        If another process is at work on it.
    """
    settle(target)
    if resume and not overwrite and is_dataset(target) and not unfinished_folder(target).exists():
        log.warning(
            "%s is finished: there is nothing to resume. Whether it was made of these files, with "
            "these options, is not checked; --overwrite builds it anew",
            target,
        )
        return True
    if not (resume or overwrite):
        refuse_existing(target, describe_build)
    return False


def describe_build(folder: Path) -> str:
    """What is in this folder, a finished or unfinished dataset, in a few words?"""
    if not folder.is_dir():
        return "a file"
    if is_dataset(folder):
        try:
            return f"a dataset of {stored_sizes(folder)['cell_type']} cell types"
        except SimpleChromeError:
            return "a damaged dataset"
    if (folder / JOINED).is_dir():
        return "all cell types, read and joined"
    if (folder / PARTS).is_dir():
        return f"{len(list((folder / PARTS).glob(f'*{WHOLE}')))} cell types that are read"
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    return ", ".join(names[:8]) or "nothing read yet"


def checksum(path: str | Path | None) -> str | None:
    """Of a file's content; None where no file is named."""
    return None if path is None else fingerprint("", read_bytes(Path(path)))["sha256"]


def _part(folder: Path, cell_type: object) -> Path:
    # A name from an archive may hold anything, a slash or two dots too.
    return folder / f"{quote(str(cell_type), safe='')}.zarr"


def _read_parts(
    path: str | Path,
    folder: Path,
    cell_types: Sequence[str] | None,
    on_bad_cell_type: OnBad,
    record: dict[str, Any],
) -> list[xr.Dataset]:
    """The outlines of all cell types, in the order of the layout; each is stored as a part."""
    names = _Names()
    known = {str(part["cell_type"].values[0]): names.share(part) for part in _whole_parts(folder)}
    total = _count(path, cell_types)
    if known and total is not None:
        log.info("%d of %d cell types are read already", len(known), total)
    outlines: list[xr.Dataset] = []
    changes = read_changed(
        path,
        {name: part.attrs["sources"] for name, part in known.items()},
        cell_types,
        on_bad_cell_type=on_bad_cell_type,
    )
    with progress_bar("Reading") as bar:
        for reading in changes:
            part = known.pop(reading.cell_type, None)
            if reading.counts is not None:
                dataset = cell_type_dataset(reading.counts, **record)
                _keep(dataset, _part(folder, reading.cell_type))
                part = names.share(outline(dataset))
                del dataset
            if part is not None:
                outlines.append(part)
            bar.update(reading.passed - bar.n)
            del reading  # Its counts must not be in memory while the next are read.
    if known:
        log.warning(
            "%d cell types were read before and cannot be used any more: %s",
            len(known),
            ", ".join(list(known)[:8]),
        )
    return outlines


def _keep(dataset: xr.Dataset, path: Path) -> None:
    path.with_suffix(WHOLE).unlink(missing_ok=True)  # of a part that is replaced
    save_dataset(dataset, path, overwrite=True)
    with whole_file(path.with_suffix(WHOLE)) as temporary:
        temporary.write_text(json.dumps(_checksums(path)), encoding="utf-8")


def _checksums(part: Path) -> dict[str, str]:
    files = sorted(path for path in part.rglob("*") if path.is_file())
    return {
        file.relative_to(part).as_posix(): fingerprint("", read_bytes(file))["sha256"]
        for file in files
    }


def _whole_parts(folder: Path) -> Iterator[xr.Dataset]:
    """Outlines of the parts that are as they were written.

    A kill cannot damage them, but the machine's end can. To compare checksums takes a tenth of the
    time and memory that unpacking would.
    """
    for checksums in sorted(folder.glob(f"*{WHOLE}")):
        path = checksums.with_suffix(".zarr")
        try:
            if _checksums(path) != json.loads(checksums.read_text(encoding="utf-8")):
                raise ValueError("its files are not those that were written")
            part = open_outline(path, LARGE)
        except (OSError, ValueError, SimpleChromeError) as error:
            log.warning("%s is damaged, and its cell type is read anew: %s", path, error)
            continue
        yield part


def _count(path: str | Path, cell_types: Sequence[str] | None) -> int | None:
    """How many cell types there are; an archive would have to be run through to know."""
    if cell_types is not None:
        return len(set(cell_types))
    return len(list_cell_types(path)) if Path(path).is_dir() else None


class _Names:
    """Outlines of one layout have the same thousands of names: kept once, not once for each."""

    def __init__(self) -> None:
        self._met: list[np.ndarray] = []

    def share(self, part: xr.Dataset) -> xr.Dataset:
        return part.assign_coords(
            {
                name: ("gene", self._first_equal(part[name].values))
                for name in ("gene_id", "published_split")
            }
        )

    def _first_equal(self, values: np.ndarray) -> np.ndarray:
        for other in self._met:
            if np.array_equal(values, other):
                return other
        self._met.append(values)
        return values


def _join(parts: Sequence[xr.Dataset], folder: Path, annotation: Annotation, joined: Path) -> None:
    """Store what the parts become together."""
    merged = annotate(merge_outlines(parts), annotation)
    with whole_folder(joined) as temporary, progress_bar("Joining") as bar:
        store = GrowingStore(merged, temporary, LARGE)
        for row, part in enumerate(parts):
            path = _part(folder, part["cell_type"].values[0])
            if fits(part, merged):
                store.copy(row, path)
            else:
                arrays = {n: np.zeros(merged[n].shape[1:], merged[n].dtype) for n in LARGE}
                place(open_dataset(path), 0, merged, *arrays.values())
                store.fill(row, arrays)
            bar.update((row + 1) / len(parts) - bar.n)


def is_joined(folder: Path, parts: str) -> bool:
    """Is the dataset whole, in `joined` or moved up already? `parts` holds what it is made of."""
    return (folder / JOINED).is_dir() or (is_dataset(folder) and not (folder / parts).exists())


def clear_joined(folder: Path) -> None:
    """Take a joined dataset away, so that the work begins anew. What was asked for stays."""
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != REQUEST:
            entry.unlink()


def move_up(folder: Path, parts: str) -> None:
    """Leave the joined dataset alone in the folder; the parts it is made of go.

    Raises
    ------
    OutputError
        If files there cannot be moved or deleted.
    """
    joined = folder / JOINED
    if not joined.is_dir():
        return
    try:
        if (folder / parts).exists():
            shutil.rmtree(folder / parts)
        for entry in sorted(joined.iterdir()):
            entry.replace(folder / entry.name)
        joined.rmdir()
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be finished.",
            found=f"{error.strerror or error}: {error.filename}",
            expected="a folder where files can be moved and deleted",
            remedy="call again with --resume",
        ) from error


def progress_bar(what: str) -> tqdm:
    """A bar that runs from 0 to 1, with the time left; only on a terminal."""
    quiet = not (sys.stderr.isatty() and log.isEnabledFor(logging.INFO))
    form = "{desc}: {percentage:3.0f} % |{bar}| {elapsed}, {remaining} left"
    return tqdm(total=1.0, desc=what, bar_format=form, leave=False, disable=quiet)
