"""All that can be known of tracks and genes before any track is read."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from simplechrome.dataset.building.options import TrackOptions
from simplechrome.errors import ConfigError, GenomeMismatchError, InputFormatError
from simplechrome.sources.genome.chromosomes import (
    check_assembly,
    check_fit,
    match_names,
    read_aliases,
    translate_to_ucsc,
)
from simplechrome.sources.genome.genes import read_genes
from simplechrome.sources.tracks.readers import (
    TRACK_READERS,
    ReadingOptions,
    kind_of,
    names_in_text,
    track_chromosomes,
)
from simplechrome.sources.tracks.sheet import Sample, read_sheet
from simplechrome.sources.tracks.windows import Windows, blacklisted_share, read_regions
from simplechrome.work.processes import worker_processes

log = logging.getLogger(__name__)

_EXAMPLES = 5  # in a message
_MOST_VALUES = 500_000_000  # 4 GB
ISOLATE = True
"""Read formats whose library may abort on a damaged file in a process of its own."""


class TrackFile(NamedTuple):
    """A file that is read once, however often the sheet names it.

    path : of a file, or a URL
    names : chromosome of the genes → the file's name for it
    sizes : lengths of chromosomes under the file's names; None if unknown
    """

    path: str
    kind: str
    names: dict[str, str]
    sizes: dict[str, int] | None


class Plan(NamedTuple):
    """What is to be read.

    genes : those of the dataset, as `read_genes` gives them
    windows : of these genes, under the genes' chromosome names
    files : by path; samples and their controls
    left_out : reason → number of genes of the annotation that are not among `genes`
    """

    samples: list[Sample]
    genes: pd.DataFrame
    windows: Windows
    files: dict[str, TrackFile]
    assembly: str
    left_out: dict[str, int]


def make_plan(
    sheet: str | Path,
    genes: str | Path,
    options: TrackOptions,
    *,
    chrom_aliases: str | Path | None = None,
    blacklist: str | Path | None = None,
) -> Plan:
    """Return which tracks are to be read in which windows; every track is opened, none is read.

    Raises InputFormatError, MissingInputError if the sheet, the genes or a track are not what they
    should be; GenomeMismatchError if chromosomes have other names or lengths in one input than in
    another; ConfigError if options contradict each other.
    """
    samples = read_sheet(sheet)
    kinds = _kinds(samples, use_controls=options.subtract_control)
    _check_kinds(samples, kinds, options)
    genes_in = Path(genes).name
    table = read_genes(
        genes,
        chrom_style=options.chrom_style,
        strip_version=options.strip_version,
        tss=options.tss,
        protein_coding=options.protein_coding,
    )
    n_genes = len(table)
    excluded = options.exclude_chroms
    if options.chrom_style == "auto":
        excluded = tuple(translate_to_ucsc(excluded).values())
    table = _without(table, excluded, genes_in)
    left_out = {"on excluded chromosomes": n_genes - len(table)}
    aliases = None if chrom_aliases is None else read_aliases(chrom_aliases)
    chroms = list(dict.fromkeys(table["chrom"]))
    files: dict[str, TrackFile] = {}
    for path, sizes in _chromosomes(kinds, options.reading).items():
        style = options.chrom_style
        if sizes is None:
            names = names_in_text(path, chroms, mode=style, aliases=aliases, wanted_in=genes_in)
        else:
            names = match_names(
                *(chroms, sizes),
                mode=style,
                aliases=aliases,
                wanted_in=genes_in,
                available_in=Path(path).name,
            )
        files[path] = TrackFile(path, kinds[path], names, sizes)
    # Lengths by the genes' names. A file goes by its name, or all of its path if two share one.
    count = Counter(Path(path).name for path in files)
    known = {
        path if count[Path(path).name] > 1 else Path(path).name: {
            chrom: file.sizes[theirs] for chrom, theirs in file.names.items()
        }
        for path, file in files.items()
        if file.sizes is not None and file.names
    }
    assembly = check_assembly(options.assembly, known)
    if options.assembly and not known:
        log.warning(
            "Whether the tracks are of %s could not be checked: text files do not state the "
            "lengths of chromosomes",
            options.assembly,
        )
    if known:
        every = {chrom: size for sizes in known.values() for chrom, size in sizes.items()}
        check_fit(table, every, genes_in=genes_in)
        files = {path: _with_sizes(file, every) for path, file in files.items()}
    _warn_of_unmatched(table, files.values())
    if blacklist is not None:
        n_genes = len(table)
        table = _outside(table, blacklist, options, aliases)
        left_out["in blacklisted regions"] = n_genes - len(table)
    n_values = len(table) * (2 * options.flank // options.bin_size)
    if n_values > _MOST_VALUES:
        raise ConfigError(
            f"Windows of ±{options.flank:,} bp in bins of {options.bin_size} bp are {n_values:,} "
            f"values for each track; expected {_MOST_VALUES:,} at most.",
            "pass a smaller --flank, or a larger --bin-size",
        )
    windows = Windows.around_tss(table, flank=options.flank, bin_size=options.bin_size)
    return Plan(samples, table, windows, files, assembly, left_out)


def is_isolated(kind: str) -> bool:
    """Return whether tracks of this kind are opened in another process only."""
    return ISOLATE and TRACK_READERS.get(kind).may_abort


def _chromosomes(
    kinds: Mapping[str, str], options: ReadingOptions
) -> dict[str, dict[str, int] | None]:
    """Return the lengths of chromosomes by file; see `track_chromosomes`."""
    found: dict[str, dict[str, int] | None] = {}
    with worker_processes(1) as executor:  # starts with the first track that needs it
        for path, kind in kinds.items():
            open_here = TRACK_READERS.get(kind).chromosomes
            if open_here is None or not is_isolated(kind):
                found[path] = track_chromosomes(path, kind, options)
                continue
            try:
                found[path] = executor.submit(open_here, path, options).result()
            except BrokenProcessPool:
                raise InputFormatError(
                    f"{path} is damaged: the process that opened it was killed.",
                    "make or fetch it again",
                ) from None
    return found


def _kinds(samples: Sequence[Sample], *, use_controls: bool) -> dict[str, str]:
    """Return every file, once, with its kind."""
    kinds: dict[str, str] = {sample.path: sample.kind for sample in samples}
    with_control = [sample for sample in samples if sample.control]
    if use_controls and not with_control:
        raise InputFormatError(
            f"The sheet names no control to subtract for any of its {len(samples)} samples.",
            "add a column control with paths of input or IgG tracks, or omit --subtract-control",
        )
    if with_control and not use_controls:
        log.info("%d samples have an unused control; see --subtract-control", len(with_control))
    for sample in with_control if use_controls else ():
        if sample.control not in kinds:
            kind = kind_of(sample.control)
            # Of text, what the sheet states of the track is more certain than a guess.
            text = {kind, sample.kind} == {"bedgraph", "reads"}
            kinds[sample.control] = sample.kind if text else kind
    return kinds


def _check_kinds(
    samples: Sequence[Sample], kinds: Mapping[str, str], options: TrackOptions
) -> None:
    """Refuse files that cannot be in one dataset, or not be treated as the options say."""
    named = {sample.path: f"{sample.cell_type} {sample.mark}" for sample in samples}
    reads = [path for path, kind in kinds.items() if TRACK_READERS.get(kind).counts_reads]
    signal = [path for path in kinds if path not in reads]
    if reads and signal:
        found = " and ".join(
            f"{kinds[path]} {Path(path).name} ({named.get(path, 'a control')})"
            for path in (reads[0], signal[0])
        )
        raise InputFormatError(
            f"The sheet names reads and signal, whose values cannot be compared: {found}.",
            "build all from reads (BAM, CRAM, BED) or all from signal (bigWig, bedGraph), or two "
            "datasets",
        )
    for path, kind in kinds.items():
        if check := TRACK_READERS.get(kind).check:
            check(path, options.reading)
    if signal and options.normalize == "cpm":
        raise ConfigError(
            f"{kinds[signal[0]]} {Path(signal[0]).name} cannot be normalized to a million reads: "
            "signal has no library size.",
            "omit --normalize, or build from reads (BAM, CRAM, BED)",
        )


def _without(genes: pd.DataFrame, chroms: Sequence[str], name: str) -> pd.DataFrame:
    if not chroms:
        return genes
    absent = [chrom for chrom in chroms if chrom not in set(genes["chrom"])]
    if absent:
        log.warning("No gene of %s lies on %s, which was to be excluded", name, ", ".join(absent))
    kept = genes[~genes["chrom"].isin(chroms)]
    log.info("%d genes on %s are dropped", len(genes) - len(kept), ", ".join(chroms))
    return _require_genes(kept, f"all genes of {name} lie on excluded chromosomes")


def _require_genes(genes: pd.DataFrame, reason: str) -> pd.DataFrame:
    if genes.empty:
        raise InputFormatError(f"No gene remains: {reason}.", "exclude less, or use other genes")
    return genes.reset_index(drop=True)


def _with_sizes(file: TrackFile, sizes: Mapping[str, int]) -> TrackFile:
    """Return the file with the lengths of chromosomes that other files state."""
    if file.sizes is not None:
        return file
    theirs = {file.names[chrom]: size for chrom, size in sizes.items() if chrom in file.names}
    return file._replace(sizes=theirs)


def _warn_of_unmatched(genes: pd.DataFrame, files: Iterable[TrackFile]) -> None:
    known = {chrom for file in files for chrom in file.names}
    lost = genes[~genes["chrom"].isin(known)]
    if not lost.empty:
        counts = lost["chrom"].value_counts()
        log.warning(
            "%d of %d genes lie on %d chromosomes that no track has (%s): they have no data",
            *(len(lost), len(genes), len(counts)),
            ", ".join(f"{chrom}: {n}" for chrom, n in counts.head(_EXAMPLES).items()),
        )


def _outside(
    genes: pd.DataFrame,
    blacklist: str | Path,
    options: TrackOptions,
    aliases: Mapping[str, str] | None,
) -> pd.DataFrame:
    """Return the genes whose windows touch no region of the list."""
    regions, name = read_regions(blacklist), Path(blacklist).name
    windows = Windows.around_tss(genes, flank=options.flank, bin_size=options.bin_size)
    names = match_names(
        *(regions["chrom"], genes["chrom"]),
        mode=options.chrom_style,
        aliases=aliases,
        wanted_in=name,
        available_in="the gene table",
    )
    regions = regions.assign(chrom=regions["chrom"].map(names)).dropna(subset=["chrom"])
    touched = blacklisted_share(windows, regions) > 0
    log.info(
        "%d of %d genes are dropped: their windows touch regions of %s",
        *(int(touched.sum()), len(genes), name),
    )
    return _require_genes(genes[~touched], f"all windows touch regions of {name}")


def require_placed(plan: Plan, observed: np.ndarray, path: str) -> None:
    """Refuse a text file, whose chromosomes only reading shows, without data at any gene.

    Raises GenomeMismatchError if it holds nothing on any of the genes' chromosomes.
    """
    if not observed.any():
        names = ", ".join(list(plan.files[path].names.values())[:3])
        raise GenomeMismatchError(
            f"{path} has no data in any of the {len(plan.genes)} windows; expected lines on "
            f"chromosomes such as {names}.",
            "compare its first column with the genes' chromosomes and assembly; --chrom-aliases "
            "FILE translates names",
        )
