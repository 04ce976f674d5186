"""Which of a gene's transcripts says where it starts? GTF and GFF3, by a rule."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

import pandas as pd

from simplechrome.errors import ConfigError, InputFormatError, did_you_mean
from simplechrome.sources.annotation import (
    LEVELS,
    parse_attributes,
    parse_coordinates,
    plain_id,
)

log = logging.getLogger(__name__)

TSSRule = Literal["gene", "canonical", "longest", "most-upstream"]
TSS_RULES: tuple[TSSRule, ...] = get_args(TSSRule)

_NAMES = ("gene_name", "Name", "gene")
_BIOTYPES = ("gene_biotype", "gene_type", "biotype", "gbkey")
# The first that any transcript of a gene has decides.
_CANONICAL = ("Ensembl_canonical", "MANE_Select", "appris_principal_1", "appris_principal", "CCDS")
_GTF_TAG = re.compile(r'\btag "([^"]*)"')
_GFF3_TAG = re.compile(r"\btag=([^;]*)")
_EXAMPLES = 8


def check_tss_rule(rule: str) -> None:
    """Is there such a rule? `ConfigError` if not."""
    if rule not in TSS_RULES:
        raise ConfigError(
            "There is no such rule for the start of a gene.",
            found=repr(rule),
            expected=" or ".join(TSS_RULES),
            remedy=did_you_mean(rule, TSS_RULES),
        )


@dataclass
class _Transcript:
    name: str
    start: int  # 0-based
    end: int  # one past the last base
    tags: frozenset[str]
    exons: int = 0  # bases in exons

    def tss(self, strand: str) -> int:
        return self.end - 1 if strand == "-" else self.start


@dataclass
class _Gene:
    gene_id: str
    name: str
    chrom: str
    strand: str
    start: int
    end: int
    biotype: str
    transcripts: list[_Transcript] = field(default_factory=list)


def parse_transcripts(
    lines: Iterable[tuple[int, str]], name: str, *, rule: TSSRule, protein_coding: bool
) -> pd.DataFrame:
    """Where does each gene start, by one of its transcripts?

    Parameters
    ----------
    lines
        Line number, from 1, and line, of GTF or GFF3 with gene features.
    name
        The file's name, for messages.
    rule
        `gene`: the start of the gene, which is that of its outermost transcript.
        `canonical`: of the transcript with the tag Ensembl_canonical, or else MANE_Select,
        appris_principal_1, appris_principal or CCDS; a gene without any keeps its own start, and
        is counted.
        `longest`: of the transcript with the most bases in exons (with the longest span, where
        the file has no exons of the gene).
        `most-upstream`: of the transcript that starts first in the gene's direction.
        Ties go to the transcript whose id sorts first.
    protein_coding
        Only genes with this biotype (gene_biotype, gene_type or biotype).

    Returns
    -------
    gene_id, gene_name, chrom, tss, strand; a row per gene, in file order.

    Raises
    ------
    InputFormatError
        If the file has no genes, or not what the rule asks for.
    """
    genes = _read_genes(lines, name)
    if not genes:
        raise InputFormatError(
            f"{name} has no gene features.",
            expected="features of type gene, and of their transcripts",
            remedy="take the annotation with genes, or use --tss gene",
        )
    if protein_coding:
        genes = _only_protein_coding(genes, name)
    if rule != "gene" and not any(gene.transcripts for gene in genes):
        raise InputFormatError(
            f"{name} has no transcripts.",
            found=f"{len(genes)} genes alone",
            expected="features of type transcript or mRNA that belong to the genes",
            remedy="take the full annotation, or use --tss gene",
        )
    if rule == "canonical":
        _require_canonical(genes, name)
    starts = {gene.gene_id: _start(gene, rule) for gene in genes}
    own = [gene.gene_id for gene in genes if starts[gene.gene_id] is None]
    if own:
        log.warning(
            "%s: %d of %d genes have no %s transcript (%s); they start where the gene does",
            name,
            len(own),
            len(genes),
            rule,
            ", ".join(own[:3]),
        )
    moved = sum(starts[gene.gene_id] not in (None, _gene_start(gene)) for gene in genes)
    log.info("%s: %d of %d genes start elsewhere by the rule %r", name, moved, len(genes), rule)
    tss = [
        _gene_start(gene) if (start := starts[gene.gene_id]) is None else start for gene in genes
    ]
    return pd.DataFrame(
        {
            "gene_id": [gene.gene_id for gene in genes],
            "gene_name": [gene.name for gene in genes],
            "chrom": [gene.chrom for gene in genes],
            "tss": tss,
            "strand": [gene.strand for gene in genes],
        }
    )


def _gene_start(gene: _Gene) -> int:
    return gene.end - 1 if gene.strand == "-" else gene.start


def _start(gene: _Gene, rule: TSSRule) -> int | None:
    transcripts = sorted(gene.transcripts, key=lambda each: each.name)
    if rule == "gene":
        return _gene_start(gene)
    if not transcripts:
        return None
    if rule == "longest":
        with_exons = any(each.exons for each in transcripts)
        return max(
            transcripts, key=lambda each: each.exons if with_exons else each.end - each.start
        ).tss(gene.strand)
    if rule == "most-upstream":
        starts = [each.tss(gene.strand) for each in transcripts]
        return max(starts) if gene.strand == "-" else min(starts)
    for tag in _CANONICAL:
        for each in transcripts:
            if tag in each.tags:
                return each.tss(gene.strand)
    return None


def _read_genes(lines: Iterable[tuple[int, str]], name: str) -> list[_Gene]:
    """All genes with their transcripts, and how many bases of these are exons."""
    genes: dict[str, _Gene] = {}
    transcripts: dict[str, _Transcript] = {}
    for number, line in lines:
        if line.startswith("#"):
            if line.startswith("##FASTA"):
                break
            continue
        fields = line.rstrip("\n").split("\t")
        if len(fields) < 9:
            if line.isspace() or not line:
                continue
            raise InputFormatError(
                f"{name}, line {number} has {len(fields)} tab-separated fields.",
                found=repr(line.rstrip("\n")[:60]),
                expected="9, as GTF and GFF3 have",
                cause="a damaged or cut-off file",
            )
        kind = fields[2]
        is_gene, is_exon = LEVELS.get(kind) == 0, kind == "exon"
        # In GFF3 a transcript has many types (lnc_RNA, …) and is told by its parent.
        if not (is_gene or is_exon or "ranscript" in kind or kind.endswith("RNA")):
            continue
        attributes = parse_attributes(fields[8])
        start, end = parse_coordinates(name, number, fields[3], fields[4])
        parent = plain_id(attributes.get("Parent", ""))
        if is_gene:
            gene_id = attributes.get("gene_id") or plain_id(attributes.get("ID", ""))
            biotype = next((attributes[key] for key in _BIOTYPES if key in attributes), "")
            title = next((attributes[key] for key in _NAMES if key in attributes), "")
            strand = fields[6] if fields[6] in ("+", "-") else "."
            gene = _Gene(gene_id, title, fields[0], strand, start, end, biotype)
            genes.setdefault(gene_id, gene)
            genes.setdefault(plain_id(attributes.get("ID", gene_id)), gene)
        elif is_exon:
            own = attributes.get("transcript_id") or parent
            if own in transcripts or parent in transcripts:
                transcripts[own if own in transcripts else parent].exons += end - start
        else:
            owner = genes.get(attributes.get("gene_id", "")) or genes.get(parent)
            title = attributes.get("transcript_id") or plain_id(attributes.get("ID", ""))
            if owner is not None:
                transcript = _Transcript(title, start, end, _tags(fields[8]))
                owner.transcripts.append(transcript)
                transcripts[title] = transcript
                transcripts.setdefault(plain_id(attributes.get("ID", title)), transcript)
    return list({id(gene): gene for gene in genes.values()}.values())


def _tags(text: str) -> frozenset[str]:
    """A tag may stand several times in GTF; in GFF3 tags are separated by commas."""
    tags = set(_GTF_TAG.findall(text))
    for match in _GFF3_TAG.findall(text):
        tags.update(part.strip() for part in match.split(","))
    return frozenset(tag.replace(" ", "_") for tag in tags)


def _only_protein_coding(genes: list[_Gene], name: str) -> list[_Gene]:
    kinds = Counter(gene.biotype for gene in genes)
    if set(kinds) <= {"", "Gene"}:
        raise InputFormatError(
            f"{name} does not say which genes code for proteins.",
            expected="gene_biotype, gene_type or biotype on each gene",
            remedy="leave --protein-coding out, or take Ensembl's or GENCODE's annotation",
        )
    kept = [gene for gene in genes if gene.biotype == "protein_coding"]
    if not kept:
        raise InputFormatError(
            f"{name} has no gene that codes for a protein.",
            found=", ".join(f"{kind or 'no biotype'}: {n}" for kind, n in kinds.most_common(5)),
            expected="genes of the biotype protein_coding",
        )
    log.info("%s: %d of %d genes code for proteins", name, len(kept), len(genes))
    return kept


def _require_canonical(genes: list[_Gene], name: str) -> None:
    tags = Counter(tag for gene in genes for each in gene.transcripts for tag in each.tags)
    if not any(tag in tags for tag in _CANONICAL):
        raise InputFormatError(
            f"{name} does not say which transcripts are canonical.",
            found="tags " + ", ".join(tag for tag, _ in tags.most_common(_EXAMPLES))
            if tags
            else "no tags",
            expected="one of the tags " + ", ".join(_CANONICAL),
            remedy="take a newer annotation, or --tss longest or most-upstream",
        )
