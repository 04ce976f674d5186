"""Which assembly of which genome are these inputs of? Chromosome lengths tell."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd

from simplechrome.errors import GenomeMismatchError
from simplechrome.sources.genome.chromosomes import translate_to_ucsc

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
    "grch37": "hg19",
    "b37": "hg19",
    "hs37d5": "hg19",
    "grch38": "hg38",
    "ncbi36": "hg18",
    "t2t-chm13v2.0": "hs1",
    "chm13": "hs1",
    "ncbim37": "mm9",
    "grcm38": "mm10",
    "grcm39": "mm39",
    "rnor_6.0": "rn6",
    "mratbn7.2": "rn7",
    "grcz10": "danRer10",
    "grcz11": "danRer11",
    "bdgp5": "dm3",
    "bdgp6": "dm6",
    "wbcel235": "ce11",
    "r64-1-1": "sacCer3",
}
_MANY = 0.01
_EXAMPLES = 3


def canonical_assembly(name: str) -> str:
    """What does UCSC call this assembly? GRCh37 is hg19; names that are not known stay."""
    bare = name.strip()
    # GRCh38.p14: patches leave chromosomes as they are.
    family = bare.lower().partition(".p")[0]
    if family in _SYNONYMS:
        return _SYNONYMS[family]
    return next((known for known in _LENGTHS if known.lower() == bare.lower()), bare)


def guess_assembly(sizes: Mapping[str, int]) -> str:
    """Which assembly has chromosomes of these lengths? Empty if none that is known.

    Parameters
    ----------
    sizes
        By UCSC's or Ensembl's names.
    """
    names = translate_to_ucsc(sizes)
    lengths = {names[name]: size for name, size in sizes.items()}
    for assembly, known in _LENGTHS.items():
        shared = [name for name in known if name in lengths]
        if shared and all(lengths[name] == known[name] for name in shared):
            return assembly
    return ""


def check_assembly(stated: str, sizes_by_file: Mapping[str, Mapping[str, int]]) -> str:
    """Which assembly are all these files of?

    Parameters
    ----------
    stated
        What the user says; empty if nothing.
    sizes_by_file
        Lengths of chromosomes, by file, under the same names in all of them.

    Returns
    -------
    What was stated, or else what the lengths say; empty if neither says anything.

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
                    f"{chrom} has another length in {file} than in {other}.",
                    found=f"{size:,} bases{_named(sizes)} and {before:,} bases"
                    f"{_named(sizes_by_file[other])}",
                    expected="tracks of one assembly",
                    cause="tracks that were made on two assemblies",
                    remedy="lift one of them over (CrossMap, liftOver), or map its reads again",
                )
    guessed = guess_assembly({chrom: size for chrom, (size, _) in met.items()})
    wanted = canonical_assembly(stated)
    have, should = _ucsc(met), _LENGTHS.get(wanted, {})
    wrong = next((name for name in should if have.get(name, should[name]) != should[name]), None)
    if wrong or (should and guessed and wanted != guessed):
        chrom = wrong or next(name for name in _LENGTHS[guessed] if name in have)
        raise GenomeMismatchError(
            f"The tracks are not of {stated}.",
            found=f"{chrom} of {have[chrom]:,} bases" + (f", as in {guessed}" if guessed else ""),
            expected=f"{should[chrom]:,} bases" if chrom in should else f"chromosomes of {wanted}",
            remedy=f"pass --assembly {guessed}, with genes of {guessed}, or name other tracks"
            if guessed
            else "name the assembly that the tracks were made on, with its genes",
        )
    if not stated and guessed:
        log.info("The tracks' chromosomes have the lengths of %s", guessed)
    return stated or guessed


def _ucsc(met: Mapping[str, tuple[int, str]]) -> dict[str, int]:
    names = translate_to_ucsc(met)
    return {names[name]: size for name, (size, _) in met.items()}


def _named(sizes: Mapping[str, int]) -> str:
    guessed = guess_assembly(sizes)
    return f" ({guessed})" if guessed else ""


def check_fit(genes: pd.DataFrame, sizes: Mapping[str, int], *, genes_in: str) -> None:
    """Do the genes lie on chromosomes of these lengths? A few behind the end are warned of.

    Parameters
    ----------
    genes
        With chrom and tss.
    sizes
        By the genes' chromosome names.
    genes_in
        The file's name, for the message.

    Raises
    ------
    GenomeMismatchError
        If more than one in a hundred begins behind the end of its chromosome.
    """
    ends = genes["chrom"].map(dict(sizes)).to_numpy(np.float64)
    behind = np.flatnonzero(genes["tss"].to_numpy() >= np.where(np.isnan(ends), np.inf, ends))
    if not behind.size:
        return
    examples = ", ".join(
        f"{genes['gene_id'].iloc[k]} at {genes['chrom'].iloc[k]}:{genes['tss'].iloc[k]:,}"
        for k in behind[:_EXAMPLES]
    )
    if behind.size > _MANY * np.isfinite(ends).sum():
        raise GenomeMismatchError(
            f"{behind.size} of {len(genes)} genes of {genes_in} begin behind the end of their "
            "chromosome.",
            found=examples,
            expected="genes of the tracks' assembly" + _named(sizes),
            cause="an annotation of another assembly",
            remedy="take the annotation of the tracks' assembly",
        )
    log.warning(
        "%d genes of %s begin behind the end of their chromosome (%s): they are masked",
        *(behind.size, genes_in, examples),
    )
