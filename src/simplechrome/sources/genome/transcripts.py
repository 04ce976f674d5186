"""Which of a gene's transcripts says where it starts? GTF and GFF3, by a rule."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache
from typing import Literal, NamedTuple, get_args

import pandas as pd

from simplechrome.errors import ConfigError, InputFormatError, did_you_mean
from simplechrome.sources.genome.annotation import (
    LEVELS,
    Feature,
    attribute,
    feature_lines,
    gene_table,
    is_gff3,
    merge_into_genes,
    parse_coordinates,
    parse_feature,
    parse_place,
    plain_id,
)

log = logging.getLogger(__name__)

TSSRule = Literal["gene", "canonical", "longest", "most-upstream"]
TSS_RULES: tuple[TSSRule, ...] = get_args(TSSRule)

# The first that any transcript of a gene has decides. GENCODE numbers its principal isoforms only
# since release 20, and Ensembl has no `basic` before release 76.
_CANONICAL: tuple[frozenset[str], ...] = (
    frozenset({"Ensembl_canonical"}),
    frozenset({"MANE_Select"}),
    frozenset({"RefSeq_Select"}),
    frozenset({"appris_principal_1"}),
    frozenset({"appris_principal"}),
    frozenset({"basic", "CCDS"}),
    frozenset({"CCDS"}),
)
_NOT_CANONICAL = len(_CANONICAL)
_CANONICAL_TAGS = "Ensembl_canonical, MANE_Select, RefSeq_Select, appris_principal_1, CCDS"
_GTF_TAG = re.compile(r'tag(?<![\w.-]tag)\s+"([^"]*)"')
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


class _Transcript(NamedTuple):
    """A transcript, and the gene that it says it belongs to.

    own_id : what its exons call it
    rank : in `_CANONICAL`
    """

    feature: Feature
    name: str
    own_id: str
    rank: int

    @property
    def span(self) -> int:
        return self.feature.end - self.feature.start


class _Annotation(NamedTuple):
    """All that a file says of starts, in whatever order its lines are.

    bases : (chromosome, transcript's own id) → bases in its exons
    tags : how many transcripts have just these
    """

    genes: list[Feature]
    transcripts: list[_Transcript]
    bases: dict[tuple[str, str], int]
    tags: Counter[frozenset[str]]


def parse_transcripts(
    lines: Iterable[tuple[int, str]], name: str, *, rule: TSSRule, protein_coding: bool
) -> pd.DataFrame:
    """Where does each gene start, by one of its transcripts?

    Parameters
    ----------
    lines
        Line number, from 1, and line, of GTF or GFF3, in any order.
    name
        The file's name, for messages.
    rule
        `gene`: the start of the gene.
        `canonical`: of the transcript with the tag Ensembl_canonical, or else MANE_Select,
        RefSeq_Select, appris_principal_1, appris_principal, basic together with CCDS, or CCDS.
        `longest`: of the transcript with the most bases in exons, or with the longest span where
        no exons of the gene are in the file.
        `most-upstream`: of the transcript that starts first in the gene's direction.
        Ties go to the transcript whose id sorts first. A gene without such a transcript keeps its
        own start, and is counted. Without gene features, a gene is the outermost extent of its
        transcripts.
    protein_coding
        Only genes with this biotype (gene_biotype, gene_type, biotype or locus_type).

    Returns
    -------
    gene_id, gene_name, chrom, tss, strand; a row per gene, in file order.

    Raises
    ------
    InputFormatError
        If the file has no genes, or not what the rule asks for.

    References
    ----------
    Ensembl, GFF/GTF file format and Canonical transcripts; Morales et al., Nature 2022 (MANE);
    Rodriguez et al., Nucleic Acids Research 2022 (APPRIS).
    """
    found = _read(lines, name, rule)
    genes = found.genes or _merge(found.transcripts, name)
    if protein_coding:
        genes = _only_protein_coding(genes, name)
    if rule == "gene":
        return gene_table(genes, [gene.tss for gene in genes])
    if not found.transcripts:
        raise InputFormatError(
            f"{name} has no transcripts.",
            found=f"{len(genes)} genes alone",
            expected="features of type transcript or mRNA that belong to the genes",
            remedy="take the full annotation, or use --tss gene",
        )
    if rule == "canonical":
        _require_canonical(found, name)
    by_gene, elsewhere = _by_gene(genes, found.transcripts)
    if elsewhere and found.genes:  # otherwise the merging has told it
        log.warning(
            "%s: %d transcripts lie on another chromosome or strand than their gene, and are left "
            "out (%s)",
            *(name, len(elsewhere), ", ".join(elsewhere[:3])),
        )
    starts = [
        _start(gene, transcripts, rule, found.bases)
        for gene, transcripts in zip(genes, by_gene, strict=True)
    ]
    _report(genes, starts, rule, name)
    return gene_table(
        genes,
        [gene.tss if start is None else start for gene, start in zip(genes, starts, strict=True)],
    )


def _is_transcript(kind: str) -> bool:
    """In GFF3 they have many types: mRNA, lnc_RNA, pseudogenic_transcript, V_gene_segment, …"""
    kind = kind.lower()
    return kind.endswith(("transcript", "rna", "gene_segment", "transcript_variant"))


def _read(lines: Iterable[tuple[int, str]], name: str, rule: TSSRule) -> _Annotation:
    """One pass over the lines, which reads of each only what the rule asks for."""
    found = _Annotation([], [], defaultdict(int), Counter())
    roles: dict[str, str] = {kind: "gene" for kind, level in LEVELS.items() if level == 0}
    roles["exon"] = "exon"
    for number, kind, line in feature_lines(lines, name):
        role = roles.get(kind)
        if role is None:
            role = roles[kind] = "transcript" if _is_transcript(kind) else "other"
        if role == "gene":
            found.genes.append(parse_feature(name, number, line.rstrip("\n"), 0))
        elif role == "transcript":
            # Where nothing but genes is asked for, transcripts stand in for missing ones.
            if rule != "gene" or not found.genes:
                _add_transcript(found, name, number, line, rule)
        elif role == "exon" and rule == "longest":
            fields = line.rstrip("\n").split("\t", 8)
            start, end = parse_coordinates(name, number, fields[3], fields[4])
            gff3 = is_gff3(fields[8])
            owner = attribute(fields[8], "Parent" if gff3 else "transcript_id", gff3=gff3)
            for own_id in owner.split(","):
                found.bases[fields[0].strip(), own_id] += end - start
    if not (found.genes or found.transcripts):
        raise InputFormatError(
            f"{name} has no genes.",
            expected="features of type gene, and of their transcripts",
            remedy="take the genome's full annotation, or use --tss gene",
        )
    return found


def _add_transcript(found: _Annotation, name: str, number: int, line: str, rule: TSSRule) -> None:
    fields = line.rstrip("\n").split("\t", 8)
    text = fields[8]
    gff3 = is_gff3(text)
    gene_id = attribute(text, "gene_id", gff3=gff3)
    if not found.genes and gene_id:
        feature = parse_feature(name, number, line.rstrip("\n"), 1)
    else:
        feature = Feature(gene_id, "", *parse_place(name, number, fields), "", "")
    if gff3:
        feature = feature._replace(own_id=attribute(text, "Parent", gff3=True))
    own_id = attribute(text, "ID" if gff3 else "transcript_id", gff3=gff3)
    tags = _tags(text, gff3=gff3) if rule == "canonical" else frozenset()
    found.tags[tags] += 1
    name_in_gff3 = attribute(text, "transcript_id", gff3=True) if gff3 else ""
    found.transcripts.append(
        _Transcript(feature, name_in_gff3 or plain_id(own_id), own_id, _rank(tags))
    )


def _tags(text: str, *, gff3: bool) -> frozenset[str]:
    """A tag may stand several times in GTF; in GFF3 tags are separated by commas."""
    tags = attribute(text, "tag", gff3=True).split(",") if gff3 else _GTF_TAG.findall(text)
    return frozenset(tag.strip().replace(" ", "_") for tag in tags if tag.strip())


@cache
def _rank(tags: frozenset[str]) -> int:
    """How canonical is a transcript with these tags? 0 is best."""
    return next((k for k, wanted in enumerate(_CANONICAL) if wanted <= tags), _NOT_CANONICAL)


def _merge(transcripts: list[_Transcript], name: str) -> list[Feature]:
    """The genes of a file without gene features."""
    parts = [each.feature for each in transcripts if each.feature.gene_id]
    if not parts:
        raise InputFormatError(
            f"{name} has no gene features, and its transcripts name no gene.",
            found=f"{len(transcripts)} transcripts",
            expected='features of type gene, or transcripts with gene_id "…"',
            remedy="take the genome's full annotation",
        )
    genes = merge_into_genes(parts, name)
    log.info(
        "%s has no gene features: its %d genes are the outermost extent of their transcripts",
        *(name, len(genes)),
    )
    return genes


def _by_gene(
    genes: list[Feature], transcripts: list[_Transcript]
) -> tuple[list[list[_Transcript]], list[str]]:
    """Which transcripts has each gene on its own chromosome and strand, and which lie elsewhere?

    The same id may stand for two genes, as in the pseudoautosomal regions of X and Y.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for row, gene in enumerate(genes):
        for key in {gene.gene_id, gene.own_id} - {""}:
            rows[key].append(row)
    result: list[list[_Transcript]] = [[] for _ in genes]
    elsewhere: list[str] = []
    for each in transcripts:
        part = each.feature
        keys = {part.gene_id, *(plain_id(parent) for parent in part.own_id.split(","))}
        owners = {row for key in keys for row in rows.get(key, ())}
        near = [
            row
            for row in owners
            if genes[row].chrom == part.chrom and genes[row].strand == part.strand
        ]
        for row in near:
            result[row].append(each)
        if owners and not near:
            elsewhere.append(each.name)
    return result, elsewhere


def _start(
    gene: Feature,
    transcripts: list[_Transcript],
    rule: TSSRule,
    bases: dict[tuple[str, str], int],
) -> int | None:
    """The start by the rule; None where no transcript of the gene fulfills it."""
    if rule == "canonical":
        transcripts = [each for each in transcripts if each.rank < _NOT_CANONICAL]
    if not transcripts:
        return None
    if rule == "canonical":
        chosen = min(transcripts, key=lambda each: (each.rank, each.name))
    elif rule == "most-upstream":
        sign = -1 if gene.strand == "-" else 1
        chosen = min(transcripts, key=lambda each: (sign * each.feature.tss, each.name))
    else:
        exonic = [bases.get((gene.chrom, each.own_id), 0) for each in transcripts]
        sizes = exonic if any(exonic) else [each.span for each in transcripts]
        _, _, chosen = min(
            (-size, each.name, each) for size, each in zip(sizes, transcripts, strict=True)
        )
    return chosen.feature.tss


def _report(genes: list[Feature], starts: list[int | None], rule: TSSRule, name: str) -> None:
    own = [gene.gene_id for gene, start in zip(genes, starts, strict=True) if start is None]
    if own:
        log.warning(
            "%s: %d of %d genes have no %s (%s); they start where the gene does",
            name,
            len(own),
            len(genes),
            "canonical transcript" if rule == "canonical" else "transcript",
            ", ".join(own[:3]),
        )
    moved = sum(start not in (None, gene.tss) for gene, start in zip(genes, starts, strict=True))
    log.info("%s: %d of %d genes start elsewhere by the rule %r", name, moved, len(genes), rule)


def _only_protein_coding(genes: list[Feature], name: str) -> list[Feature]:
    kinds = Counter(gene.biotype for gene in genes)
    if set(kinds) == {""}:
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


def _require_canonical(found: _Annotation, name: str) -> None:
    if any(each.rank < _NOT_CANONICAL for each in found.transcripts):
        return
    tags: Counter[str] = Counter()
    for several, n in found.tags.items():
        tags.update(dict.fromkeys(several, n))
    raise InputFormatError(
        f"{name} does not say which transcripts are canonical.",
        found="tags " + ", ".join(tag for tag, _ in tags.most_common(_EXAMPLES))
        if tags
        else "no tags",
        expected="one of the tags " + _CANONICAL_TAGS,
        remedy="take a newer annotation, or --tss longest or most-upstream",
    )
