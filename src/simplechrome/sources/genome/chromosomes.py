"""How chromosomes are named: UCSC (chr1, chrM), Ensembl (1, MT), RefSeq (NC_000001.10), …"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from simplechrome.errors import ConfigError, GenomeMismatchError, InputFormatError
from simplechrome.sources.text.open import open_text

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
    """Is this a known way to treat chromosome names?

    Raises
    ------
    ConfigError
        If it is neither "auto" nor "exact".
    """
    if mode not in MATCH_MODES:
        raise ConfigError(
            f"{argument} has an unknown value.",
            found=repr(mode),
            expected=" or ".join(map(repr, MATCH_MODES)),
        )


def translate_to_ucsc(names: Iterable[str]) -> dict[str, str]:
    """What does UCSC call these chromosomes?

    Short names get their prefix (1, X, 2L, IV become chr1, chrX, chr2L, chrIV), every name of
    the mitochondrion (MT, Mito, …) becomes chrM, and Chr1 becomes chr1. All others, such as
    scaffolds and accessions (GL000191.1, NC_000001.10) and what already is UCSC, stay as they
    are. Only names are translated: in hg19, UCSC's own chrM is another sequence (NC_001807)
    than Ensembl's MT (NC_012920), so windows there may be off by a few bases.

    Returns
    -------
    One entry per distinct name, in order of first appearance.
    """
    return {name: _to_ucsc(name) for name in dict.fromkeys(names)}


def detect_style(names: Iterable[str]) -> Style:
    """Whose naming do these chromosomes follow?

    Returns
    -------
    "UCSC", "Ensembl" or "RefSeq", where all names that tell are of one kind, "mixed" where they
    are of several. GenBank accessions of scaffolds stand beside Ensembl's short names in one
    file and tell only where nothing else does. "unknown" where nothing tells.
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
    """Under which name does each chromosome of one input occur in another?

    The same name wins; then names that `aliases` call the same; with mode "auto", names that
    `translate_to_ucsc` makes equal match too.

    Parameters
    ----------
    wanted, available
        The names in the two inputs, in any order, repeats allowed.
    mode
        "auto" or "exact".
    aliases
        Name → the name that it stands for; see `read_aliases`.
    wanted_in, available_in
        What to call the two inputs in a message: file names.

    Returns
    -------
    For each distinct wanted name that was found, its name among the available ones. Names
    without a match are left out; what that means is for the caller to say.

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
    present = set(available_names)
    by_ucsc: dict[str, list[str]] = {}
    for name, ucsc in _common_names(available_names, aliases or {}).items():
        by_ucsc.setdefault(ucsc, []).append(name)

    matched: dict[str, str] = {}
    translatable = False
    for name, ucsc in _common_names(wanted_names, aliases or {}).items():
        candidates = [name] if name in present else by_ucsc.get(ucsc, [])
        if name not in present and mode == "exact":
            by_alias = (aliases or {}).get(name, name)
            aliased = [
                other for other in candidates if (aliases or {}).get(other, other) == by_alias
            ]
            translatable |= bool(candidates) and not aliased
            candidates = aliased
        if len(candidates) > 1:
            raise GenomeMismatchError(
                f"{name} of {wanted_in} matches more than one chromosome of {available_in}.",
                found=", ".join(candidates),
                expected="one name per chromosome",
                remedy=f'name it as {available_in} does, and use "exact"',
            )
        if candidates:
            matched[name] = candidates[0]
    if wanted_names and not matched:
        _raise_mismatch(wanted_names, available_names, wanted_in, available_in, translatable)
    return matched


def _common_names(names: Iterable[str], aliases: Mapping[str, str]) -> dict[str, str]:
    """What are these chromosomes called when aliases are followed, and styles translated?"""
    followed = {name: aliases.get(name, name) for name in names}
    ucsc = translate_to_ucsc(followed.values())
    return {name: ucsc[other] for name, other in followed.items()}


def read_aliases(path: str | Path) -> dict[str, str]:
    """Which names of chromosomes are the same?

    Parameters
    ----------
    path
        Tab-separated: in each line names of one chromosome, as in UCSC's chromAlias.txt or in a
        table of two columns. Lines that begin with # are passed over.

    Returns
    -------
    Each name → the first name of its line.

    Raises
    ------
    MissingInputError
        If the file cannot be opened.
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
                    f"{file.name}, line {number} has a single name.",
                    found=repr(line.strip()[:60]),
                    expected="names of one chromosome, separated by tabs",
                )
            for name in names:
                if aliases.setdefault(name, names[0]) != names[0]:
                    raise InputFormatError(
                        f"{file.name}, line {number}: {name} stands for two chromosomes.",
                        found=f"{aliases[name]} and {names[0]}",
                        expected="each name in one line",
                    )
    if not aliases:
        raise InputFormatError(f"{file.name} holds no names.", expected="a line per chromosome")
    return aliases


def _examples(names: list[str]) -> str:
    if not names:
        return "no chromosomes at all"
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    style = detect_style(names)
    return shown if style == "unknown" else f"{shown} ({style} names)"


def _raise_mismatch(
    wanted: list[str],
    available: list[str],
    wanted_in: str,
    available_in: str,
    translatable: bool,
) -> None:
    if translatable:
        cause = "the two name the same chromosomes differently"
        remedy = 'use "auto" in place of "exact": it translates between Ensembl and UCSC names'
    elif {detect_style(wanted), detect_style(available)} & {"RefSeq", "GenBank"}:
        cause = "one of the two names chromosomes by accession"
        remedy = (
            '"auto" translates between Ensembl and UCSC names; accessions need a table: pass '
            "--chrom-aliases FILE (UCSC's chromAlias.txt of the assembly has them)"
        )
    else:
        cause = "the two are of different genomes"
        remedy = "check that both inputs are of the same species and assembly"
    raise GenomeMismatchError(
        f"None of the {len(wanted)} chromosome names in {wanted_in} is in {available_in}.",
        found=f"{wanted_in} uses {_examples(wanted)}",
        expected=f"names of {available_in}: {_examples(available)}",
        cause=cause,
        remedy=remedy,
    )
