"""Chromosome names (UCSC's chr1, Ensembl's 1, RefSeq's NC_000001.10, …) and assemblies."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from simplechrome.errors import ConfigError, GenomeMismatchError, InputFormatError, first_names
from simplechrome.sources.text import open_text

Style = Literal["UCSC", "Ensembl", "RefSeq", "GenBank", "mixed", "unknown"]
MatchMode = Literal["auto", "exact"]

MATCH_MODES: tuple[MatchMode, ...] = ("auto", "exact")

# 1, 22, 2L (fly), 2A (chimpanzee), 3D (wheat); X, Y, Z, W; I to XXXIX (yeast, worm).
_SHORT_NAME = re.compile(r"[1-9]\d?[A-DLR]?|[XYZW]|(?=[XVI])X{0,3}(?:IX|IV|V?I{0,3})")
_MITOCHONDRION = frozenset({"MT", "M", "Mt", "Mito", "MtDNA", "mitochondrion_genome"})
# Chr1, CHR1: plants and old files. Exact "chr" is already right.
_OTHER_PREFIX = re.compile(r"(?!chr)[cC][hH][rR](.+)")
_REFSEQ = re.compile(r"(?:NC|NT|NW|NG|AC)_\d+(?:\.\d+)?")
_GENBANK = re.compile(r"(?:[A-Z]\d{5}|[A-Z]{2}\d{6}|[A-Z]{4,6}\d{8,})(?:\.\d+)?")


def _bare_to_ucsc(name: str) -> str | None:
    if name in _MITOCHONDRION:
        return "chrM"
    return f"chr{name}" if _SHORT_NAME.fullmatch(name) else None


def _to_ucsc(name: str) -> str:
    prefixed = _OTHER_PREFIX.fullmatch(name)
    return _bare_to_ucsc(prefixed.group(1) if prefixed else name) or name


def check_match_mode(mode: str, argument: str) -> None:
    """Raise `ConfigError` unless the mode is known."""
    if mode not in MATCH_MODES:
        raise ConfigError(f"{argument} is {mode!r}, not {' or '.join(map(repr, MATCH_MODES))}.")


def translate_to_ucsc(names: Iterable[str]) -> dict[str, str]:
    """Return UCSC's names of these chromosomes.

    Short names get their prefix (1, X, 2L, IV become chr1, chrX, chr2L, chrIV), every name of
    the mitochondrion (MT, Mito, …) becomes chrM, and Chr1 becomes chr1. All others, such as
    scaffolds and accessions (GL000191.1, NC_000001.10) and what already is UCSC, stay as they
    are. Only names are translated: in hg19, UCSC's own chrM is another sequence (NC_001807)
    than Ensembl's MT (NC_012920), so windows there may be off by a few bases.

    There is one entry per distinct name, in order of first appearance.
    """
    return {name: _to_ucsc(name) for name in dict.fromkeys(names)}


def detect_style(names: Iterable[str]) -> Style:
    """Return whose naming these chromosomes follow.

    "UCSC", "Ensembl" or "RefSeq", where all names that are recognized are of one kind, "mixed"
    where they are of several. GenBank accessions of scaffolds occur next to Ensembl's short names
    in one file and count only where nothing else does. "unknown" where nothing is recognized.
    """
    styles: set[Style] = set()
    has_genbank = False
    for name in set(names):
        if name.startswith("chr"):
            styles.add("UCSC")
        elif _bare_to_ucsc(name):
            styles.add("Ensembl")
        elif _REFSEQ.fullmatch(name):
            styles.add("RefSeq")
        elif _GENBANK.fullmatch(name):
            has_genbank = True
    if not styles:
        return "GenBank" if has_genbank else "unknown"
    return styles.pop() if len(styles) == 1 else "mixed"


def match_names(
    wanted: Iterable[str],
    available: Iterable[str],
    *,
    mode: MatchMode = "auto",
    aliases: Mapping[str, str] | None = None,
    wanted_in: str,
    available_in: str,
) -> dict[str, str]:
    """Return the name of each chromosome of one input in another.

    The same name wins; then names that `aliases` call the same; with mode "auto", names that
    `translate_to_ucsc` makes equal match too.

    Parameters
    ----------
    wanted, available
        The names in the two inputs, in any order, repeats allowed.
    aliases
        Name → the name that it stands for; see `read_aliases`.
    wanted_in, available_in
        File names of the two inputs, for messages.

    Returns
    -------
    For each distinct wanted name that was found, its name among the available ones. Names
    without a match are absent.

    Raises
    ------
    GenomeMismatchError
        If there are wanted names and none is found, or two available names would serve alike.
    ConfigError
        If the mode is unknown.
    """
    check_match_mode(mode, "mode")
    wanted_names = list(dict.fromkeys(wanted))
    available_names = list(dict.fromkeys(available))
    aliases = aliases or {}
    by_ucsc: dict[str, list[str]] = {}
    for name, ucsc in _common_names(available_names, aliases).items():
        by_ucsc.setdefault(ucsc, []).append(name)

    matched: dict[str, str] = {}
    translatable = False
    for name, ucsc in _common_names(wanted_names, aliases).items():
        same_name = name in available_names
        candidates = [name] if same_name else by_ucsc.get(ucsc, [])
        if not same_name and mode == "exact":
            by_alias = aliases.get(name, name)
            aliased = [other for other in candidates if aliases.get(other, other) == by_alias]
            translatable |= bool(candidates) and not aliased
            candidates = aliased
        if len(candidates) > 1:
            raise GenomeMismatchError(
                f"{name} of {wanted_in} matches more than one chromosome of {available_in}: "
                f"{', '.join(candidates)}.",
                f'name it as {available_in} does, and use "exact"',
            )
        if candidates:
            matched[name] = candidates[0]
    if wanted_names and not matched:
        _raise_mismatch(wanted_names, available_names, wanted_in, available_in, translatable)
    return matched


def _common_names(names: Iterable[str], aliases: Mapping[str, str]) -> dict[str, str]:
    """Names once aliases are followed and styles translated."""
    followed = {name: aliases.get(name, name) for name in names}
    ucsc = translate_to_ucsc(followed.values())
    return {name: ucsc[other] for name, other in followed.items()}


def read_aliases(path: str | Path) -> dict[str, str]:
    """Return each name of a table → the first name of its line, which stands for all of them.

    The table is tab-separated: in each line names of one chromosome, as in UCSC's chromAlias.txt
    or in a table of two columns. Lines that begin with # are skipped.

    Raises
    ------
    InputFormatError
        If a line has a single name, or a name stands in two lines.
    """
    file = Path(path)
    aliases: dict[str, str] = {}
    with open_text(file) as lines:
        for number, line in enumerate(lines, start=1):
            if line.isspace() or line.startswith("#"):
                continue
            names = [name.strip() for name in line.split("\t") if name.strip()]
            if len(names) < 2:
                raise InputFormatError(
                    f"{file.name}, line {number} has a single name, {line.strip()[:60]!r}.",
                    "write the names of one chromosome in a line, separated by tabs",
                )
            for name in names:
                if aliases.setdefault(name, names[0]) != names[0]:
                    raise InputFormatError(
                        f"{file.name}, line {number}: {name} stands for two chromosomes, "
                        f"{aliases[name]} and {names[0]}.",
                        "write each name in one line only",
                    )
    if not aliases:
        raise InputFormatError(f"{file.name} holds no names.", "write a line per chromosome")
    return aliases


def _examples(names: list[str]) -> str:
    if not names:
        return "no chromosomes at all"
    shown = first_names(names, 3)
    style = detect_style(names)
    return shown if style == "unknown" else f"{shown} ({style} names)"


def _raise_mismatch(
    wanted: list[str], available: list[str], wanted_in: str, available_in: str, translatable: bool
) -> None:
    if translatable:
        remedy = 'use "auto" in place of "exact": it translates between Ensembl and UCSC names'
    elif {detect_style(wanted), detect_style(available)} & {"RefSeq", "GenBank"}:
        remedy = (
            '"auto" translates between Ensembl and UCSC names; accessions need a table: pass '
            "--chrom-aliases FILE (UCSC's chromAlias.txt of the assembly has them)"
        )
    else:
        remedy = "check that both inputs are of the same species and assembly"
    raise GenomeMismatchError(
        f"None of the {len(wanted)} chromosome names in {wanted_in} is in {available_in}: "
        f"{wanted_in} has {_examples(wanted)}, {available_in} has {_examples(available)}.",
        remedy,
    )


log = logging.getLogger(__name__)

# Lengths of chromosomes that differ between all assemblies of a species.
_LENGTHS: dict[str, dict[str, int]] = {
    "hg18": {"chr1": 247249719, "chr2": 242951149, "chr21": 46944323, "chrX": 154913754},
    "hg19": {"chr1": 249250621, "chr2": 243199373, "chr21": 48129895, "chrX": 155270560},
    "hg38": {"chr1": 248956422, "chr2": 242193529, "chr21": 46709983, "chrX": 156040895},
    "hs1": {"chr1": 248387328, "chr2": 242696752, "chr21": 45090682, "chrX": 154259566},
    "mm9": {"chr1": 197195432, "chr2": 181748087, "chr19": 61342430, "chrX": 166650296},
    "mm10": {"chr1": 195471971, "chr2": 182113224, "chr19": 61431566, "chrX": 171031299},
    "mm39": {"chr1": 195154279, "chr2": 181755017, "chr19": 61420004, "chrX": 169476592},
    "rn6": {"chr1": 282763074, "chr2": 266435125},
    "rn7": {"chr1": 260522016, "chr2": 249053267},
    "danRer10": {"chr1": 58871917},
    "danRer11": {"chr1": 59578282},
    "dm3": {"chr2L": 23011544, "chrX": 22422827},
    "dm6": {"chr2L": 23513712, "chrX": 23542271},
    "ce10": {"chrI": 15072423, "chrV": 20924149},
    "ce11": {"chrI": 15072434, "chrV": 20924180},
    "sacCer3": {"chrI": 230218, "chrIV": 1531933},
}
_SYNONYMS = {
    **dict.fromkeys(("grch37", "b37", "hs37d5"), "hg19"),
    **dict.fromkeys(("t2t-chm13v2.0", "chm13"), "hs1"),
    **{"grch38": "hg38", "ncbi36": "hg18", "ncbim37": "mm9", "grcm38": "mm10", "grcm39": "mm39"},
    **{"rnor_6.0": "rn6", "mratbn7.2": "rn7", "grcz10": "danRer10", "grcz11": "danRer11"},
    **{"bdgp5": "dm3", "bdgp6": "dm6", "wbcel235": "ce11", "r64-1-1": "sacCer3"},
}
_MANY = 0.01


def canonical_assembly(name: str) -> str:
    """Return UCSC's name of an assembly: hg19 for GRCh37; unknown names stay."""
    bare = name.strip()
    # GRCh38.p14: patches leave chromosomes as they are.
    family = bare.lower().partition(".p")[0]
    if family in _SYNONYMS:
        return _SYNONYMS[family]
    return next((known for known in _LENGTHS if known.lower() == bare.lower()), bare)


def guess_assembly(sizes: Mapping[str, int]) -> str:
    """Return the assembly with chromosomes of these lengths; empty if none is known."""
    names = translate_to_ucsc(sizes)
    lengths = {names[name]: size for name, size in sizes.items()}
    for assembly, known in _LENGTHS.items():
        shared = [name for name in known if name in lengths]
        if shared and all(lengths[name] == known[name] for name in shared):
            return assembly
    return ""


def check_assembly(stated: str, sizes_by_file: Mapping[str, Mapping[str, int]]) -> str:
    """Return the assembly that all these files are of.

    That is what the user stated, or else what the lengths show; empty if neither is known.
    Chromosomes go by the same names in all files.

    Raises
    ------
    GenomeMismatchError
        If files differ in the length of a chromosome, or from what was stated.
    """
    met: dict[str, tuple[int, str]] = {}
    for file, sizes in sizes_by_file.items():
        for chrom, size in sizes.items():
            before, other = met.setdefault(chrom, (size, file))
            if size != before:
                raise GenomeMismatchError(
                    f"{chrom} has {size:,} bases in {file}{_named(sizes)} and {before:,} in "
                    f"{other}{_named(sizes_by_file[other])}.",
                    "name tracks of one assembly: lift one over (CrossMap, liftOver), or map its "
                    "reads again",
                )
    guessed = guess_assembly({chrom: size for chrom, (size, _) in met.items()})
    wanted = canonical_assembly(stated)
    names = translate_to_ucsc(met)
    have = {names[name]: size for name, (size, _) in met.items()}
    should = _LENGTHS.get(wanted, {})
    wrong = next((name for name in should if have.get(name, should[name]) != should[name]), None)
    if wrong or (should and guessed and wanted != guessed):
        chrom = wrong or next(name for name in _LENGTHS[guessed] if name in have)
        length = f", not {should[chrom]:,}" if chrom in should else ""
        raise GenomeMismatchError(
            f"The tracks are not of {stated}: {chrom} has {have[chrom]:,} bases"
            f"{length}{f', as in {guessed}' if guessed else ''}.",
            f"pass --assembly {guessed}, with genes of {guessed}, or name other tracks"
            if guessed
            else "name the assembly that the tracks were made on, with its genes",
        )
    if not stated and guessed:
        log.info("The tracks' chromosomes have the lengths of %s", guessed)
    return stated or guessed


def _named(sizes: Mapping[str, int]) -> str:
    guessed = guess_assembly(sizes)
    return f" ({guessed})" if guessed else ""


def check_fit(genes: pd.DataFrame, sizes: Mapping[str, int], *, genes_in: str) -> None:
    """Check that genes lie on chromosomes of these lengths; warn of a few beyond the end.

    Raises
    ------
    GenomeMismatchError
        If more than one in a hundred begins beyond the end of its chromosome.
    """
    ends = genes["chrom"].map(dict(sizes)).to_numpy(np.float64)
    beyond = np.flatnonzero(genes["tss"].to_numpy() >= np.where(np.isnan(ends), np.inf, ends))
    if not beyond.size:
        return
    examples = first_names(
        (
            f"{genes['gene_id'].iloc[k]} at {genes['chrom'].iloc[k]}:{genes['tss'].iloc[k]:,}"
            for k in beyond
        ),
        3,
    )
    if beyond.size > _MANY * np.isfinite(ends).sum():
        raise GenomeMismatchError(
            f"{beyond.size} of {len(genes)} genes of {genes_in} begin beyond the end of their "
            f"chromosome: {examples}.",
            f"take the annotation of the tracks' assembly{_named(sizes)}",
        )
    log.warning(
        "%d genes of %s begin beyond the end of their chromosome (%s): they are masked",
        *(beyond.size, genes_in, examples),
    )
