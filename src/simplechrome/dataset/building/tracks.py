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
from typing import Any

import numpy as np

from simplechrome.dataset.building.annotate import Annotation, annotate
from simplechrome.dataset.building.arrays import check_rule, match_expression
from simplechrome.dataset.building.deepchrome import (
    JOINED,
    checksum,
    clear_joined,
    describe_build,
    is_finished_build,
    is_joined,
    move_up,
    progress_bar,
)
from simplechrome.dataset.building.merge import LARGE, merge_outlines, outline, place
from simplechrome.dataset.building.track_material import Material
from simplechrome.dataset.building.track_options import make_track_options
from simplechrome.dataset.building.track_parts import bin_parts, is_unchanged, plan_parts
from simplechrome.dataset.building.track_plan import make_plan
from simplechrome.dataset.store import (
    GrowingStore,
    is_dataset,
    require_dataset_only,
    stored_attributes,
)
from simplechrome.sources.expression import read_expression
from simplechrome.version import __version__
from simplechrome.work.files import whole_folder
from simplechrome.work.unfinished import long_work

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
        "simplechrome": __version__,
        "samples": {
            f"{k} ({sample.cell_type} {sample.mark})": sample._asdict() | {"line": 0}
            for k, sample in enumerate(plan.samples, start=1)
        },
        "genes sha256": checksum(genes),
        "expression sha256": checksum(expression),
        "aliases sha256": checksum(chrom_aliases),
        "blacklist sha256": checksum(blacklist),
        # How long a server may be silent changes nothing that it sends.
        **chosen.model_dump(mode="json", exclude={"timeout"}),
    }
    tables = {
        "sample sheet": sheet,
        "genes": genes,
        "expression": expression,
        "chromosome aliases": chrom_aliases,
        "blacklist": blacklist,
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
        material = Material(plan, plan_parts(plan, chosen.reading, work.folder / TRACKS), chosen)
        if is_joined(work.folder, TRACKS) and not _is_of_these_files(work.folder, material):
            log.info("Tracks have changed since they were read: all begins anew")
            clear_joined(work.folder)
        if not is_joined(work.folder, TRACKS):
            (work.folder / TRACKS).mkdir(exist_ok=True)
            with progress_bar("Reading") as bar:
                parts = list(material.parts.values())
                bin_parts(parts, jobs, lambda done: bar.update(done - bar.n))
            _join(material, annotation, tables, work.folder / JOINED)
        move_up(work.folder, TRACKS)
    return Path(output)


def describe_tracks(folder: Path) -> str:
    """What is in this folder, a finished or unfinished dataset, in a few words?"""
    if (folder / TRACKS).is_dir() and not (folder / JOINED).is_dir() and not is_dataset(folder):
        return f"{len(list((folder / TRACKS).glob('*.npz')))} tracks that are read"
    return describe_build(folder)


def _is_of_these_files(folder: Path, material: Material) -> bool:
    """Is the joined dataset made of the files as they are now?"""
    place = folder / JOINED if (folder / JOINED).is_dir() else folder
    sources = stored_attributes(place).get("sources", [])
    paths = material.paths()
    # Of the tables the request speaks; tracks know when they were modified, or are addresses.
    tracks = [source for source in sources if "modified" in source or "sha256" not in source]
    return len(tracks) == len(paths) and all(map(is_unchanged, paths, tracks))


def _join(
    material: Material,
    annotation: Annotation,
    tables: Mapping[str, str | Path | None],
    joined: Path,
) -> None:
    """Store what the tracks become together, one cell type after the other."""
    rows = material.kept_rows()
    names = material.cell_types
    outlines = []
    for name in names:
        one = material.dataset(name, rows)
        material.say_what_is_odd(one)
        outlines.append(outline(one))
    merged = merge_outlines(outlines)
    sources = [*merged.attrs["sources"], *_describe_tables(tables)]
    merged = annotate(merged, annotation).assign_attrs(
        build=_record(material, rows), sources=sources
    )
    with whole_folder(joined) as temporary, progress_bar("Joining") as bar:
        store = GrowingStore(merged, temporary, LARGE)
        for row, name in enumerate(names):
            arrays = {n: np.zeros(merged[n].shape[1:], merged[n].dtype) for n in LARGE}
            place(material.dataset(name, rows), 0, merged, *arrays.values())
            store.fill(row, arrays)
            bar.update((row + 1) / len(names) - bar.n)


def _describe_tables(tables: Mapping[str, str | Path | None]) -> list[dict[str, Any]]:
    """Which files besides the tracks is the dataset made of?"""
    return [
        {
            "name": Path(path).name,
            "bytes": Path(path).stat().st_size,
            "sha256": checksum(path),
            "role": role,
        }
        for role, path in tables.items()
        if path is not None
    ]


def _record(material: Material, rows: np.ndarray) -> dict[str, Any]:
    """How the dataset was made, for whoever opens it."""
    unobserved = len(material.plan.genes) - len(rows)
    return {
        "command": "build tracks",
        "simplechrome": __version__,
        "assembly": material.plan.assembly,
        "genes_left_out": {**material.plan.left_out, "observed too little": unobserved},
        **material.options.model_dump(mode="json", exclude={"assembly"}),
    }
