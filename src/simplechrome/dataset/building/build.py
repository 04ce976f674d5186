"""Files of counts to a stored dataset, with the memory of one cell type.

Each cell type is read and kept as a part on disk; when all are read, they are joined. Meanwhile,
for `roadmap.zarr`:

    roadmap.zarr.unfinished/
        parts/E003.zarr   a cell type that was read (of `build tracks`: a track, `1f0c….npz`)
        joined/           the dataset while it is joined; then it moves up, and the parts go

Whatever has its name is whole, so that a process killed at any moment leaves parts that the next
one can use.
"""

from __future__ import annotations

import logging
import shutil
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd
import xarray as xr
from tqdm.auto import tqdm

from simplechrome.dataset.building.arrays import add_expression, add_genes, check_rule, from_arrays
from simplechrome.dataset.building.merge import LARGE, merge_outlines, outline, place
from simplechrome.dataset.building.options import CountOptions, make_options
from simplechrome.dataset.store import (
    GrowingStore,
    is_dataset,
    open_dataset,
    require_dataset_only,
    save_dataset,
    stored_sizes,
)
from simplechrome.errors import (
    ConfigError,
    InputFormatError,
    OutputError,
    SimpleChromeError,
    first_names,
)
from simplechrome.sources.arrays import ArrayCounts, read_arrays
from simplechrome.sources.deepchrome import CellTypeCounts, read_changed
from simplechrome.sources.expression import read_expression
from simplechrome.sources.genome.genes import read_genes
from simplechrome.sources.provenance import fingerprint, read_bytes
from simplechrome.version import __version__
from simplechrome.work.files import REQUEST, whole_folder
from simplechrome.work.unfinished import long_work, refuse_existing, settle, unfinished_folder

log = logging.getLogger(__name__)

PARTS, JOINED = "parts", "joined"
OnBad = Literal["stop", "skip"]
Counts = CellTypeCounts | ArrayCounts
Readings = Iterator[tuple[str, Counts | None, float]]
"""Cell type, its counts (None where they are kept already), fraction of all input that is read."""


class Parts(NamedTuple):
    """All that a dataset is joined from.

    outline : the whole dataset, its large variables aside
    load : row of a cell type → its dataset
    """

    outline: xr.Dataset
    load: Callable[[int], xr.Dataset]


def build_deepchrome_on_disk(
    path: str | Path,
    output: str | Path,
    *,
    cell_types: Sequence[str] | None = None,
    genes: str | Path | None = None,
    expression: str | Path | None = None,
    on_bad_cell_type: OnBad = "stop",
    resume: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Store the published DeepChrome layout as a dataset, and return its path.

    Only one cell type is in memory at a time, and an interrupted build can be resumed. `output`
    holds what it held before, or the whole dataset.

    Parameters
    ----------
    path : a folder or archive; see `simplechrome.sources.deepchrome.read_deepchrome`
    output : a folder, by custom ending in `.zarr`
    cell_types : those to read; all by default
    genes, expression : files; see `read_genes` and `read_expression`. Labels of the CSVs are kept
        unless the option `relabel` is True.
    on_bad_cell_type : `stop`, or `skip` with a warning
    resume : resume an interrupted build: cell types that were read are not read again unless their
        files have changed since. Options must be those of the first call, except for
        `on_bad_cell_type`. Where nothing was begun, begin; where it is finished, do nothing.
    overwrite : replace a dataset that is there. Without `resume`, an unfinished build too.
    options : those of `CountOptions`

    Raises OutputExistsError if a finished or unfinished dataset is there and neither `overwrite`
    nor `resume` is True, or what is there is not a dataset; OutputError if another process is at
    work on it, or it cannot be written; ConfigError if an option is invalid, or the build to resume
    was begun with others; InputFormatError, MissingInputError, UnknownGeneError: see
    `read_deepchrome`, `read_genes`, `read_expression`, `add_genes`, `add_expression`.
    """
    names = [cell_types] if isinstance(cell_types, str) else cell_types
    request = {
        "input": str(Path(path).resolve()),
        "cell types": None if names is None else list(names),
    }

    def read(known: Mapping[str, Any]) -> Readings:
        return read_changed(path, known, names, on_bad_cell_type=on_bad_cell_type)

    return _build_counts(
        read, output, request, options, genes, expression, on_bad_cell_type, resume, overwrite
    )


def build_arrays_on_disk(
    paths: Iterable[str | Path],
    output: str | Path,
    *,
    genes: str | Path | None = None,
    expression: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Store `.npz` files, one per cell type, as a dataset, and return its path.

    The cell type is the file's name without its ending. Files are described at
    `simplechrome.sources.arrays.read_arrays`; all else is as for `build_deepchrome_on_disk`.

    Raises InputFormatError if there is no file, or two have one name.
    """
    files = [Path(path) for path in paths]
    repeated = {file.stem for file in files if [f.stem for f in files].count(file.stem) > 1}
    if repeated or not files:
        raise InputFormatError(
            f"More than one file is of the cell type {first_names(sorted(repeated))}."
            if files
            else "There is no file to build from.",
            "pass one file for each cell type",
        )

    def read(known: Mapping[str, Any]) -> Readings:
        for number, file in enumerate(files, start=1):
            before = known.get(file.stem)
            kept = before is not None and before == [fingerprint(file.name, read_bytes(file))]
            yield file.stem, None if kept else read_arrays(file), number / len(files)

    request = {"input": [str(file.resolve()) for file in files]}
    return _build_counts(
        read, output, request, options, genes, expression, "stop", resume, overwrite
    )


def _build_counts(
    read: Callable[[Mapping[str, Any]], Readings],
    output: str | Path,
    request: dict[str, Any],
    options: dict[str, Any],
    genes: str | Path | None,
    expression: str | Path | None,
    on_bad_cell_type: OnBad,
    resume: bool,
    overwrite: bool,
) -> Path:
    chosen = make_options(CountOptions, options)
    check_rule(chosen.label_rule)
    if chosen.relabel and expression is None:
        raise ConfigError("New labels need expression.", "pass --expression FILE")
    if is_finished_build(output, resume=resume, overwrite=overwrite):
        return Path(output)
    if genes is None:
        log.warning(
            "Without a gene table (--genes) the genes have no place: they can be split only as "
            "published or at random, and have no neighbors"
        )
    # Before the signal: a wrong table costs least here.
    places = None if genes is None else read_genes(genes, chrom_style=chosen.chrom_style)
    levels = None if expression is None else read_expression(expression)

    def parts(folder: Path) -> Parts:
        outlines = with_usual_windows(
            _read_parts(read, folder, partial(_cell_type_dataset, options=chosen)), on_bad_cell_type
        )
        names = [each["cell_type"].values[0] for each in outlines]
        merged = annotate(merge_outlines(outlines), places, levels, chosen, chosen.relabel)
        return Parts(merged, lambda row: open_dataset(_part(folder, names[row])))

    request |= {"genes sha256": checksum(genes), "expression sha256": checksum(expression)}
    request |= chosen.model_dump(mode="json")
    return build_on_disk(output, request, parts, resume=resume, overwrite=overwrite)


def annotate(
    dataset: xr.Dataset,
    genes: pd.DataFrame | None,
    expression: pd.DataFrame | None,
    options: Any,
    relabel: bool = False,
) -> xr.Dataset:
    """Return the dataset with its genes placed and labelled; see `add_genes`, `add_expression`."""
    if genes is not None:
        dataset = add_genes(dataset, genes)
    if expression is not None:
        rule, units = options.label_rule, options.expression_units
        dataset = add_expression(dataset, expression, rule=rule, relabel=relabel, units=units)
    return dataset


def build_on_disk(
    output: str | Path,
    request: Mapping[str, Any],
    read: Callable[[Path], Parts],
    *,
    resume: bool,
    overwrite: bool,
) -> Path:
    """Build a dataset from parts on disk so that it appears only when it is whole.

    Parameters
    ----------
    request : all that decides the result, as plain JSON: parts are used again only for the same
    read : reads what is not kept yet into a folder of parts, and returns what is to be joined

    Raises OutputExistsError, OutputError, ConfigError: see `build_deepchrome_on_disk`.
    """
    with long_work(
        _followed(output),
        {"simplechrome": __version__, **request},
        resume=resume,
        overwrite=overwrite,
        describe=describe_build,
        require_ours=require_dataset_only,
        worth_keeping=lambda begun: bool(_kept(begun)),
    ) as work:
        parts, joined = work.folder / PARTS, work.folder / JOINED
        # A process killed while it joined may have left some of the result.
        for entry in work.folder.iterdir():
            if entry.is_dir() and entry != parts:
                shutil.rmtree(entry)
            elif entry.is_file() and entry.name != REQUEST:
                entry.unlink()
        parts.mkdir(exist_ok=True)
        _join(read(parts), joined)
        _move_up(joined, parts)
    return Path(output)


def _followed(output: str | Path) -> Path:
    return Path(output).resolve() if Path(output).is_symlink() else Path(output)


def _kept(folder: Path) -> list[Path]:
    return sorted((folder / PARTS).glob("[!.]*"))


def is_finished_build(output: str | Path, *, resume: bool, overwrite: bool) -> bool:
    """Return whether there is nothing to resume.

    Called before tables are read; `long_work` checks again under the lock.

    Raises OutputExistsError if something is there, and neither `resume` nor `overwrite` allows for
    it; OutputError if another process is at work on it.
    """
    target = _followed(output)
    settle(target)
    if resume and not overwrite and is_dataset(target) and not unfinished_folder(target).exists():
        log.warning(
            "%s is finished: there is nothing to resume. Whether it was made of these files, with "
            "these options, is not checked; --overwrite builds it again",
            target,
        )
        return True
    if not (resume or overwrite):
        refuse_existing(target, describe_build)
    return False


def describe_build(folder: Path) -> str:
    """Return what is in this folder, a finished or unfinished dataset, in a few words."""
    if not folder.is_dir():
        return "a file"
    if parts := _kept(folder):
        kind = "tracks" if parts[0].suffix == ".npz" else "cell types"
        return f"{len(parts)} {kind} that are read"
    if is_dataset(folder):
        try:
            return f"a dataset of {stored_sizes(folder)['cell_type']} cell types"
        except SimpleChromeError:
            return "a damaged dataset"
    names = sorted(path.name for path in folder.glob("[!.]*") if path.name != PARTS)
    return first_names(names, 8) or "nothing read yet"


def checksum(path: str | Path | None) -> str | None:
    """Return the SHA-256 of a file's content; None where no file is named."""
    return None if path is None else fingerprint("", read_bytes(Path(path)))["sha256"]


def _part(folder: Path, cell_type: object) -> Path:
    # A name from an archive may hold anything, a slash or two dots too.
    return folder / f"{quote(str(cell_type), safe='')}.zarr"


def _cell_type_dataset(counts: Counts, options: CountOptions) -> xr.Dataset:
    # Arrays come without labels and split.
    labelled = counts if isinstance(counts, CellTypeCounts) else None
    return from_arrays(
        counts.counts[None],
        marks=counts.marks,
        gene_ids=counts.gene_id,
        cell_types=[counts.cell_type],
        bin_size=options.bin_size,
        label=labelled.label[None] if labelled else None,
        published_split=labelled.split if labelled else None,
        sources=[dict(source) for source in counts.sources],
        assembly=options.assembly,
        note=options.note,
    )


def _read_parts(
    read: Callable[[Mapping[str, Any]], Readings],
    folder: Path,
    make: Callable[[Counts], xr.Dataset],
) -> list[xr.Dataset]:
    """Keep each cell type as a part, and return their outlines in the order of the input."""
    known = {str(part["cell_type"].values[0]): part for part in _whole_parts(folder)}
    if known:
        log.info("%d cell types are read already", len(known))
    outlines: list[xr.Dataset] = []
    with progress_bar("Reading") as bar:
        for name, counts, passed in read({n: part.attrs["sources"] for n, part in known.items()}):
            part = known.pop(name, None)
            if counts is not None:
                dataset = make(counts)
                save_dataset(dataset, _part(folder, name), overwrite=True)
                part = outline(dataset)
                del dataset, counts  # They must not be in memory while the next are read.
            if part is not None:
                outlines.append(_sharing_names(part, outlines))
            bar.update(passed - bar.n)
    if known:
        log.warning(
            "%d cell types were read before and cannot be used any more: %s",
            *(len(known), first_names(known, 8)),
        )
    return outlines


def _whole_parts(folder: Path) -> Iterator[xr.Dataset]:
    """Yield the outlines of the parts that are as they were written; Zarr compares checksums."""
    for path in sorted(folder.glob("[!.]*.zarr")):
        try:
            yield outline(open_dataset(path))
        except SimpleChromeError as error:
            log.warning("%s is damaged, and its cell type is read again: %s", path, error)


def _sharing_names(part: xr.Dataset, before: Sequence[xr.Dataset]) -> xr.Dataset:
    """Outlines of one layout have the same thousands of names: keep them once in memory."""
    last = before[-1] if before else part
    names = [n for n in ("gene_id", "published_split") if n in part.coords and n in last.coords]
    same = [name for name in names if np.array_equal(part[name].values, last[name].values)]
    return part.assign_coords({name: ("gene", last[name].values) for name in same})


def with_usual_windows(parts: Sequence[xr.Dataset], on_bad_cell_type: OnBad) -> list[xr.Dataset]:
    """Return the cell types that have as many bins as most; others cannot be joined with them.

    Parameters
    ----------
    parts : one dataset, or outline of one, for each cell type
    on_bad_cell_type : what to do about the others: `stop`, or `skip` with a warning

    Raises InputFormatError if one is not as the others, and `on_bad_cell_type` is `stop`.
    """
    usual = statistics.mode(part.sizes["bin"] for part in parts)
    kept = [part for part in parts if part.sizes["bin"] == usual]
    for part in parts:
        if part.sizes["bin"] == usual:
            continue
        name, example = (each["cell_type"].values[0] for each in (part, kept[0]))
        error = InputFormatError(
            f"{name} has another number of bins per gene than most cell types: found "
            f"{part.sizes['bin']}, expected {usual}, as in {example}.",
            "pass --on-bad-cell-type skip (on_bad_cell_type='skip') to skip it, or name the cell "
            "types that are wanted",
        )
        if on_bad_cell_type == "stop":
            raise error
        log.warning("Cell type %s is skipped. %s", name, error)
    return kept


def _join(parts: Parts, joined: Path) -> None:
    """Store the parts as one dataset, cell type by cell type."""
    n = parts.outline.sizes["cell_type"]
    with whole_folder(joined) as temporary, progress_bar("Joining") as bar:
        store = GrowingStore(parts.outline, temporary, LARGE)
        for row in range(n):
            store.fill(row, place(parts.load(row), 0, parts.outline))
            bar.update((row + 1) / n - bar.n)


def _move_up(joined: Path, parts: Path) -> None:
    """Leave the joined dataset alone in the folder; the parts go last, as it is made of them."""
    try:
        for entry in sorted(joined.iterdir()):
            entry.replace(joined.parent / entry.name)
        joined.rmdir()
        shutil.rmtree(parts)
    except OSError as error:
        raise OutputError(
            f"{joined.parent} cannot be finished: {error.strerror or error}: {error.filename}.",
            "make sure that files can be moved and deleted there, and call again with --resume",
        ) from error


def progress_bar(what: str) -> tqdm:
    """Return a bar that runs from 0 to 1, with the time left; only on a terminal."""
    quiet = not (sys.stderr.isatty() and log.isEnabledFor(logging.INFO))
    form = "{desc}: {percentage:3.0f} % |{bar}| {elapsed}, {remaining} left"
    return tqdm(total=1.0, desc=what, bar_format=form, leave=False, disable=quiet)
