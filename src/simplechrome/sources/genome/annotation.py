"""GTF and GFF3 annotation to one row per gene."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple
from urllib.parse import unquote

import pandas as pd

from simplechrome.errors import InputFormatError

logger = logging.getLogger(__name__)

_N_FIELDS = 9
# Where an annotation has no gene features, the next level down says where its genes are. In
# Ensembl's GFF3, two more types stand for what its GTF of the same release calls "gene".
LEVELS = {
    "gene": 0,
    "ncRNA_gene": 0,
    "pseudogene": 0,
    "transcript": 1,
    "mRNA": 1,
    "exon": 2,
}
_NO_LEVEL = 3
_BEYOND = 10**18  # no genome is as long, and int64 holds it
_PLURALS = ("genes", "transcripts", "exons")

_GFF3_ATTRIBUTES = re.compile(r"\s*[\w.-]+=")
# key "value; with anything"; or key value;
_GTF_ATTRIBUTE = re.compile(r'([\w.-]+)\s+(?:"([^"]*)"|([^";]+))\s*(?:;|$)')
_GFF3_ID_PREFIX = re.compile(r"(?:gene|transcript|rna)[:-]")
_NAMES = ("gene_name", "Name", "gene")
_BIOTYPES = ("gene_biotype", "gene_type", "biotype", "locus_type")


class Feature(NamedTuple):
    """A gene, or a part of one that stands for it.

    start, end : 0-based, and one past the last base
    biotype : protein_coding, lncRNA, …; empty if the line does not say
    own_id : the ID that parts name as their parent, in GFF3
    """

    gene_id: str
    gene_name: str
    chrom: str
    start: int
    end: int
    strand: str
    biotype: str
    own_id: str

    @property
    def tss(self) -> int:
        """The first base in the direction of transcription; `.` is read as plus."""
        return self.end - 1 if self.strand == "-" else self.start


def parse_attributes(text: str) -> dict[str, str]:
    """What does the last field of a GTF or GFF3 line say? Of repeated keys, the first."""
    found: dict[str, str] = {}
    if _GFF3_ATTRIBUTES.match(text):
        for item in text.split(";"):
            key, _, value = item.partition("=")
            found.setdefault(key.strip(), unquote(value.strip()))
    else:
        for match in _GTF_ATTRIBUTE.finditer(text):
            key, quoted, bare = match.groups()
            found.setdefault(key, (bare if quoted is None else quoted).strip())
    return found


def is_gff3(text: str) -> bool:
    """Is this last field written as in GFF3 (key=value), and not as in GTF (key "value")?"""
    return _GFF3_ATTRIBUTES.match(text) is not None


@cache
def _patterns(key: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """How is one key found, in GFF3 and in GTF?

    In GTF other text in quotes cannot hold it, since its value would have to be quoted too. What
    must not stand before the key is asked for behind it: a pattern is found fastest by letters.
    """
    name = re.escape(key)
    return (
        re.compile(rf"(?:^|;)\s*{name}\s*=([^;]*)"),
        re.compile(rf'{name}(?<![\w.-]{name})\s+"([^"]*)"'),
    )


def attribute(text: str, key: str, *, gff3: bool) -> str:
    """What does the last field of a line say under this key? Empty if nothing.

    The same as `parse_attributes` says, some five times faster.
    """
    in_gff3, in_gtf = _patterns(key)
    if gff3:
        found = in_gff3.search(text)
        return unquote(found.group(1).strip()) if found else ""
    found = in_gtf.search(text)
    if found:
        return found.group(1).strip()
    return parse_attributes(text).get(key, "") if key in text else ""


def plain_id(text: str) -> str:
    """What is an ID of GFF3 without the type that Ensembl and NCBI put before it?"""
    return _GFF3_ID_PREFIX.sub("", text, count=1) if _GFF3_ID_PREFIX.match(text) else text


def parse_coordinates(name: str, line: int, start: str, end: str) -> tuple[int, int]:
    """Where does a feature lie: 0-based, one past the last base? `InputFormatError` if unknown."""
    digits = start + end  # one look at both: an annotation has millions
    if not (start and end and digits.isdecimal() and digits.isascii() and len(digits) <= 36):
        label, text = ("end", end) if start.isdecimal() and start.isascii() else ("start", start)
        raise InputFormatError(
            f"{name}, line {line}: {label} is {text!r}.",
            expected="a whole number",
            cause="a damaged line, or fields that are not separated by tabs",
        )
    first, last = int(start), int(end)
    if not 1 <= first <= last < _BEYOND:
        raise InputFormatError(
            f"{name}, line {line}: the feature runs from {first} to {last}.",
            expected="1 <= start <= end: GTF and GFF3 count from 1 and include the end",
        )
    return first - 1, last


def parse_place(name: str, line: int, fields: list[str]) -> tuple[str, int, int, str]:
    """On which chromosome, from where to where and on which strand lies a feature?

    Raises
    ------
    InputFormatError
        If there is no chromosome, or the coordinates or the strand make no sense.
    """
    chrom, strand = fields[0].strip(), fields[6]
    start, end = parse_coordinates(name, line, fields[3], fields[4])
    if strand == "?":  # GFF3: stranded, but nobody knows which way
        strand = "."
    if strand not in ("+", "-", ".") or not chrom:
        raise InputFormatError(
            f"{name}, line {line}: chromosome {fields[0]!r}, strand {strand!r}.",
            expected="a name, and one of + - . ?",
        )
    return chrom, start, end, strand


def parse_feature(name: str, line: int, text: str, level: int) -> Feature:
    """Which gene does this line speak of?

    Raises
    ------
    InputFormatError
        If it has no whole coordinates, no strand, or no gene id.
    """
    fields = text.split("\t", 8)
    chrom, start, end, strand = parse_place(name, line, fields)
    attributes = parse_attributes(fields[8])
    gene_id, own_id = attributes.get("gene_id", ""), plain_id(attributes.get("ID", ""))
    if not gene_id and level == 0:  # the ID of a transcript or exon is its own, not its gene's
        gene_id = own_id
    if not gene_id:
        raise InputFormatError(
            f"{name}, line {line}: no gene id.",
            found=fields[8][:80],
            expected='gene_id "…" in GTF; gene_id=… or, for genes, ID=… in GFF3',
        )
    gene_name = next((attributes[key] for key in _NAMES if attributes.get(key)), "")
    biotype = next((attributes[key] for key in _BIOTYPES if attributes.get(key)), "")
    return Feature(gene_id, gene_name, chrom, start, end, strand, biotype, own_id)


def merge_into_genes(features: list[Feature], name: str) -> list[Feature]:
    """What is the outermost extent of each gene's parts?"""
    genes: dict[str, Feature] = {}
    elsewhere: list[str] = []
    for part in features:
        gene = genes.setdefault(part.gene_id, part)
        if (part.chrom, part.strand) != (gene.chrom, gene.strand):
            elsewhere.append(part.gene_id)
            continue
        genes[part.gene_id] = gene._replace(
            start=min(gene.start, part.start), end=max(gene.end, part.end)
        )
    if elsewhere:
        genes_elsewhere = list(dict.fromkeys(elsewhere))
        logger.warning(
            "%s: %d genes have parts on another chromosome or strand than their first one; "
            "those %d parts are left out (%s)",
            name,
            len(genes_elsewhere),
            len(elsewhere),
            ", ".join(genes_elsewhere[:3]),
        )
    return list(genes.values())


def feature_lines(lines: Iterable[tuple[int, str]], name: str) -> Iterator[tuple[int, str, str]]:
    """Which lines hold features, and of which type: number, type and line?

    Parameters
    ----------
    lines
        Line number, from 1, and line.
    name
        The file's name, for messages.

    Raises
    ------
    InputFormatError
        If a line has too few fields.
    """
    for number, line in lines:
        if line.startswith("#"):
            if line.startswith("##FASTA"):
                break
            continue
        fields = line.split("\t", 3)
        if len(fields) < 4 or fields[3].count("\t") < _N_FIELDS - 4:
            if line.isspace() or not line:
                continue
            n_fields = line.count("\t") + 1
            raise InputFormatError(
                f"{name}, line {number} has {n_fields} tab-separated fields.",
                found=repr(line.rstrip("\n")[:60]),
                expected=f"{_N_FIELDS}, as GTF and GFF3 have",
                cause="a damaged or cut-off file",
            )
        yield number, fields[2], line


def _select_features(lines: Iterable[tuple[int, str]], name: str) -> tuple[int, list[Feature]]:
    """Which lines say where genes are: those of the highest level that the file has?

    Lines of lower levels are only counted for fields, so that an annotation of millions of
    exons costs neither time nor memory.
    """
    best = _NO_LEVEL
    selected: list[tuple[int, str]] = []
    n_lines = 0
    for number, kind, line in feature_lines(lines, name):
        n_lines += 1
        level = LEVELS.get(kind, _NO_LEVEL)
        if level < best:
            best, selected = level, []
        if level == best < _NO_LEVEL:
            selected.append((number, line.rstrip("\n")))
    if not selected:
        raise InputFormatError(
            f"{name} has no genes.",
            found=f"{n_lines} features, none of them a gene, transcript or exon",
            expected="features of type gene (or transcript, or exon) with a gene_id",
        )
    return best, [parse_feature(name, number, line, best) for number, line in selected]


def gene_table(genes: list[Feature], tss: list[int]) -> pd.DataFrame:
    """What is the table of these genes: gene_id, gene_name, chrom, tss, strand?"""
    return pd.DataFrame(
        {
            "gene_id": [gene.gene_id for gene in genes],
            "gene_name": [gene.gene_name for gene in genes],
            "chrom": [gene.chrom for gene in genes],
            "tss": tss,
            "strand": [gene.strand for gene in genes],
        }
    )


def parse_annotation(lines: Iterable[tuple[int, str]], name: str) -> pd.DataFrame:
    """Where does each gene of a GTF or GFF3 annotation start?

    Coordinates there are 1-based and include the end: the TSS, 0-based, is start - 1 on the
    plus strand (and on `.`), end - 1 on the minus strand. Where there are no features of type
    gene, a gene is the outermost extent of its transcripts, or else of its exons, on the
    chromosome and strand of the first of them.

    Parameters
    ----------
    lines
        Line number, from 1, and line.
    name
        The file's name, for messages.

    Returns
    -------
    gene_id, gene_name, chrom, tss, strand; a row per gene feature, in file order.

    Raises
    ------
    InputFormatError
        If a line has too few fields, or a gene no whole coordinates, strand or id.

    References
    ----------
    Ensembl, GFF/GTF file format; Sequence Ontology, GFF3 1.26.
    """
    level, features = _select_features(lines, name)
    if level > 0:
        features = merge_into_genes(features, name)
        logger.info(
            "%s has no gene features: its %d genes are the outermost extent of their %s",
            name,
            len(features),
            _PLURALS[level],
        )
    return gene_table(features, [gene.tss for gene in features])
