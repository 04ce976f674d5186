"""GTF and GFF3 annotation to one row per gene."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
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
_PLURALS = ("genes", "transcripts", "exons")

_GFF3_ATTRIBUTES = re.compile(r"\s*[\w.-]+=")
# key "value; with anything"; or key value;
_GTF_ATTRIBUTE = re.compile(r'([\w.-]+)\s+(?:"([^"]*)"|([^";]+))\s*(?:;|$)')
_GFF3_ID_PREFIX = re.compile(r"(?:gene|transcript|rna)[:-]")


class _Feature(NamedTuple):
    line: int
    gene_id: str
    gene_name: str
    chrom: str
    start: int  # 0-based
    end: int  # one past the last base
    strand: str


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


def plain_id(text: str) -> str:
    """What is an ID of GFF3 without the type that Ensembl and NCBI put before it?"""
    return _GFF3_ID_PREFIX.sub("", text, count=1) if _GFF3_ID_PREFIX.match(text) else text


def parse_coordinates(name: str, line: int, start: str, end: str) -> tuple[int, int]:
    """Where does a feature lie: 0-based, one past the last base? `InputFormatError` if unknown."""
    for label, text in (("start", start), ("end", end)):
        if not (text.isascii() and text.isdecimal() and len(text) <= 18):
            raise InputFormatError(
                f"{name}, line {line}: {label} is {text!r}.",
                expected="a whole number",
                cause="a damaged line, or fields that are not separated by tabs",
            )
    first, last = int(start), int(end)
    if not 1 <= first <= last:
        raise InputFormatError(
            f"{name}, line {line}: the feature runs from {first} to {last}.",
            expected="1 <= start <= end: GTF and GFF3 count from 1 and include the end",
        )
    return first - 1, last


def _parse_feature(name: str, line: int, text: str, level: int) -> _Feature:
    chrom, _, _, start_text, end_text, _, strand, _, attribute_text = text.split("\t", 8)
    start, end = parse_coordinates(name, line, start_text, end_text)
    if strand == "?":  # GFF3: stranded, but nobody knows which way
        strand = "."
    if strand not in ("+", "-", ".") or not chrom.strip():
        raise InputFormatError(
            f"{name}, line {line}: chromosome {chrom!r}, strand {strand!r}.",
            expected="a name, and one of + - . ?",
        )
    attributes = parse_attributes(attribute_text)
    gene_id = attributes.get("gene_id", "")
    if not gene_id and level == 0:  # the ID of a transcript or exon is its own, not its gene's
        gene_id = plain_id(attributes.get("ID", ""))
    if not gene_id:
        raise InputFormatError(
            f"{name}, line {line}: no gene id.",
            found=attribute_text[:80],
            expected='gene_id "…" in GTF; gene_id=… or, for genes, ID=… in GFF3',
        )
    keys = ("gene_name", "Name", "gene")
    gene_name = next((attributes[key] for key in keys if attributes.get(key)), "")
    return _Feature(line, gene_id, gene_name, chrom.strip(), start, end, strand)


def _merge_into_genes(features: list[_Feature], name: str) -> list[_Feature]:
    """What is the outermost extent of each gene's parts?"""
    genes: dict[str, _Feature] = {}
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


def _select_features(lines: Iterable[tuple[int, str]], name: str) -> tuple[int, list[_Feature]]:
    """Which lines say where genes are: those of the highest level that the file has?

    Lines of lower levels are only counted for fields, so that an annotation of millions of
    exons costs neither time nor memory.
    """
    best = _NO_LEVEL
    selected: list[tuple[int, str]] = []
    n_lines = 0
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
        n_lines += 1
        level = LEVELS.get(fields[2], _NO_LEVEL)
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
    return best, [_parse_feature(name, number, line, best) for number, line in selected]


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
        features = _merge_into_genes(features, name)
        logger.info(
            "%s has no gene features: its %d genes are the outermost extent of their %s",
            name,
            len(features),
            _PLURALS[level],
        )
    return pd.DataFrame(
        {
            "gene_id": [gene.gene_id for gene in features],
            "gene_name": [gene.gene_name for gene in features],
            "chrom": [gene.chrom for gene in features],
            "tss": [gene.end - 1 if gene.strand == "-" else gene.start for gene in features],
            "strand": [gene.strand for gene in features],
        }
    )
