"""What shall be read for which genes, and can it be? All that can be known before the long work."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from simplechrome.dataset.building.track_options import TrackOptions
from simplechrome.errors import ConfigError, GenomeMismatchError, InputFormatError
from simplechrome.sources.genome.assembly import check_assembly, check_fit
from simplechrome.sources.genome.chromosomes import match_names, read_aliases, translate_to_ucsc
from simplechrome.sources.genome.genes import read_genes
from simplechrome.sources.tracks.bin_track import names_in_text, track_chromosomes
from simplechrome.sources.tracks.kinds import Kind, kind_of
from simplechrome.sources.tracks.regions import blacklisted_share, read_regions
from simplechrome.sources.tracks.sheet import Sample, read_sheet
from simplechrome.sources.tracks.windows import Windows

log = logging.getLogger(__name__)

READS: tuple[Kind, ...] = ("bam", "cram", "reads")
_EXAMPLES = 5  # in a message
_MOST_VALUES = 500_000_000  # 4 GB


class TrackFile(NamedTuple):
    """A file that is read, once, whatever it is named for.

    path : of a file, or a URL
    names : chromosome of the genes → the file's name for it
    sizes : lengths of chromosomes under the file's names; None where nobody knows them
    """

    path: str
    kind: Kind
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
    """Which tracks are to be read in which windows?

    Every track is opened, none is read. A wrong file costs least here.

    Raises
    ------
    InputFormatError, MissingInputError
        If the sheet, the genes or a track are not what they should be.
    GenomeMismatchError
        If chromosomes have other names or lengths in one input than in another.
    ConfigError
        If options contradict each other.
    """
    samples = read_sheet(sheet)
    reading = options.reading
    kinds = dict(_paths(samples, use_controls=options.subtract_control))
    _check_kinds(samples, kinds, options)
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
    table = _without(table, excluded, Path(genes).name)
    left_out = {"on excluded chromosomes": n_genes - len(table)}
    aliases = None if chrom_aliases is None else read_aliases(chrom_aliases)
    chroms = list(dict.fromkeys(table["chrom"]))
    files: dict[str, TrackFile] = {}
    for path, kind in kinds.items():
        sizes = track_chromosomes(path, kind, reading)
        if sizes is None:
            names = names_in_text(
                path,
                chroms,
                mode=options.chrom_style,
                aliases=aliases,
                wanted_in=Path(genes).name,
            )
        else:
            names = match_names(
                chroms,
                sizes,
                mode=options.chrom_style,
                aliases=aliases,
                wanted_in=Path(genes).name,
                available_in=Path(path).name,
            )
        files[path] = TrackFile(path, kind, names, sizes)
    titles = _titles(files)
    lengths = {titles[path]: _under_gene_names(file) for path, file in files.items()}
    known = {name: sizes for name, sizes in lengths.items() if sizes}
    assembly = check_assembly(options.assembly, known)
    if options.assembly and not known:
        log.warning(
            "Whether the tracks are of %s could not be checked: text files do not say how long "
            "chromosomes are",
            options.assembly,
        )
    if known:
        every = {chrom: size for sizes in known.values() for chrom, size in sizes.items()}
        check_fit(table, every, genes_in=Path(genes).name)
        files = {path: _with_sizes(file, every) for path, file in files.items()}
    _say_unmatched(table, files.values())
    if blacklist is not None:
        n_genes = len(table)
        table = _outside(table, blacklist, options, aliases)
        left_out["in blacklisted regions"] = n_genes - len(table)
    n_values = len(table) * (2 * options.flank // options.bin_size)
    if n_values > _MOST_VALUES:
        raise ConfigError(
            f"Windows of ±{options.flank:,} bp in bins of {options.bin_size} bp are too many "
            "numbers to work with.",
            found=f"{n_values:,} for each track",
            expected=f"{_MOST_VALUES:,} at most",
            remedy="pass a smaller --flank, or a larger --bin-size",
        )
    windows = Windows.around_tss(table, flank=options.flank, bin_size=options.bin_size)
    return Plan(samples, table, windows, files, assembly, left_out)


def _paths(samples: Sequence[Sample], *, use_controls: bool) -> Iterable[tuple[str, Kind]]:
    """Every file, once, with its kind."""
    kinds: dict[str, Kind] = {sample.path: sample.kind for sample in samples}
    with_control = [sample for sample in samples if sample.control]
    if use_controls:
        if not with_control:
            raise InputFormatError(
                "The sheet names no control to subtract.",
                found=f"{len(samples)} samples without one",
                expected="a column control, with the path of an input or IgG track",
                remedy="add it, or leave --subtract-control out",
            )
        for sample in with_control:
            if sample.control not in kinds:
                kind = kind_of(sample.control)
                # Of text, what the sheet says of the track tells more than a guess.
                text = {kind, sample.kind} == {"bedgraph", "reads"}
                kinds[sample.control] = sample.kind if text else kind
    elif with_control:
        log.info(
            "%d samples have a control, which is not used; --subtract-control would",
            len(with_control),
        )
    return kinds.items()


def _check_kinds(
    samples: Sequence[Sample], kinds: Mapping[str, Kind], options: TrackOptions
) -> None:
    """Can these files stand in one dataset, and be treated as the options say?"""
    named = {sample.path: f"{sample.cell_type} {sample.mark}" for sample in samples}
    reads = [path for path, kind in kinds.items() if kind in READS]
    signal = [path for path, kind in kinds.items() if kind not in READS]
    if reads and signal:
        raise InputFormatError(
            "The sheet names reads and signal: the numbers of one are not those of the other.",
            found=", ".join(
                f"{kinds[path]} {Path(path).name} ({named.get(path, 'a control')})"
                for path in (reads[0], signal[0])
            ),
            expected="one kind in a dataset: reads (BAM, CRAM, BED), or signal (bigWig, bedGraph)",
            remedy="build them from one kind of file, or as two datasets",
        )
    text = [path for path in reads if kinds[path] == "reads"]
    if text and options.min_mapping_quality:
        raise ConfigError(
            f"{Path(text[0]).name} has no mapping qualities, of which "
            f"{options.min_mapping_quality} or more is asked for.",
            cause="the scores in column 5 of BED and tagAlign are something else",
            remedy="filter when the file is made (samtools view -q), or read the BAM itself",
        )
    if signal and options.normalize == "cpm":
        raise ConfigError(
            "Signal cannot be normalized to a million reads.",
            found=f"{kinds[signal[0]]} {Path(signal[0]).name}",
            expected="reads (BAM, CRAM, BED)",
            remedy="leave --normalize out: a bigWig or bedGraph says nothing of its library",
        )


def _titles(files: Iterable[str]) -> dict[str, str]:
    """What to call each file in a message: its name, or all of its path where two have one name."""
    names = {path: Path(path).name for path in files}
    counts = Counter(names.values())
    return {path: name if counts[name] == 1 else path for path, name in names.items()}


def _without(genes: pd.DataFrame, chroms: Sequence[str], name: str) -> pd.DataFrame:
    if not chroms:
        return genes
    absent = [chrom for chrom in chroms if chrom not in set(genes["chrom"])]
    if absent:
        log.warning("No gene of %s lies on %s, which was to be excluded", name, ", ".join(absent))
    kept = genes[~genes["chrom"].isin(chroms)]
    log.info("%d genes on %s are left out", len(genes) - len(kept), ", ".join(chroms))
    return _require_genes(kept, name, "they all lie on excluded chromosomes")


def _require_genes(genes: pd.DataFrame, name: str, cause: str) -> pd.DataFrame:
    if genes.empty:
        raise InputFormatError(f"No gene of {name} is left.", expected="one or more", cause=cause)
    return genes.reset_index(drop=True)


def _under_gene_names(file: TrackFile) -> dict[str, int]:
    if file.sizes is None:
        return {}
    return {chrom: file.sizes[theirs] for chrom, theirs in file.names.items()}


def _with_sizes(file: TrackFile, sizes: Mapping[str, int]) -> TrackFile:
    """The file with the lengths of chromosomes that other files know."""
    if file.sizes is not None:
        return file
    theirs = {file.names[chrom]: size for chrom, size in sizes.items() if chrom in file.names}
    return file._replace(sizes=theirs)


def _say_unmatched(genes: pd.DataFrame, files: Iterable[TrackFile]) -> None:
    """Which genes lie on chromosomes that no track has?"""
    known = {chrom for file in files for chrom in file.names}
    lost = genes[~genes["chrom"].isin(known)]
    if lost.empty:
        return
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
    """The genes whose windows touch no region of the list."""
    regions = read_regions(blacklist)
    windows = Windows.around_tss(genes, flank=options.flank, bin_size=options.bin_size)
    names = match_names(
        regions["chrom"],
        genes["chrom"],
        mode=options.chrom_style,
        aliases=aliases,
        wanted_in=Path(blacklist).name,
        available_in="the gene table",
    )
    regions = regions.assign(chrom=regions["chrom"].map(names)).dropna(subset=["chrom"])
    touched = blacklisted_share(windows, regions) > 0
    log.info(
        "%d of %d genes are left out: their windows touch regions of %s",
        *(int(touched.sum()), len(genes), Path(blacklist).name),
    )
    return _require_genes(genes[~touched], Path(blacklist).name, "all windows touch its regions")


def require_placed(plan: Plan, observed: np.ndarray, path: str) -> None:
    """Did a text file, whose chromosomes only reading shows, know any of the genes' places?

    Raises
    ------
    GenomeMismatchError
        If it holds nothing on any of the genes' chromosomes.
    """
    if observed.any():
        return
    file = plan.files[path]
    raise GenomeMismatchError(
        f"{path} has no data in any of the {len(plan.genes)} windows.",
        expected=f"lines on chromosomes such as {', '.join(list(file.names.values())[:3])}",
        cause="other chromosome names, another genome, or a track of regions without genes",
        remedy="look at its first column; --chrom-aliases FILE translates names",
    )
