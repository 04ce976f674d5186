"""GTF and GFF3 annotation to one row per gene, and where each gene starts by a rule."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain
from typing import Literal, NamedTuple, get_args
from urllib.parse import unquote

import pandas as pd

from simplechrome.errors import ConfigError, InputFormatError, did_you_mean, first_names

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

_N_FIELDS = 9
_BEYOND = 10**18  # no genome is as long, and int64 holds it
_GENE, _TRANSCRIPT, _EXON, _OTHER = range(4)
_PLURALS = ("genes", "transcripts", "exons")
# In Ensembl's GFF3, two more types stand for what its GTF of the same release calls "gene".
_GENE_TYPES = ("gene", "ncRNA_gene", "pseudogene")
# In GFF3, transcripts have many: mRNA, lnc_RNA, pseudogenic_transcript, V_gene_segment, …
_TRANSCRIPT_ENDINGS = ("transcript", "rna", "gene_segment", "transcript_variant")

_GFF3_ATTRIBUTES = re.compile(r"\s*[\w.-]+=")
# key "value; with anything"; or key value;
_GTF_ATTRIBUTE = re.compile(r'([\w.-]+)\s+(?:"([^"]*)"|([^";]+))\s*(?:;|$)')
_GTF_TAG = re.compile(r'tag(?<![\w.-]tag)\s+"([^"]*)"')
_GFF3_ID_PREFIX = re.compile(r"^(?:gene|transcript|rna)[:-]")
_NAMES = ("gene_name", "Name", "gene")
_BIOTYPES = ("gene_biotype", "gene_type", "biotype", "locus_type")


def check_tss_rule(rule: str) -> None:
    """Raise `ConfigError` if there is no such rule for the start of a gene."""
    if rule not in TSS_RULES:
        raise ConfigError(
            f"There is no rule {rule!r} for the start of a gene, only {', '.join(TSS_RULES)}.",
            did_you_mean(rule, TSS_RULES),
        )


class _Place(NamedTuple):
    """Where a feature lies; start and end 0-based, half-open."""

    chrom: str
    start: int
    end: int
    strand: str

    @property
    def tss(self) -> int:
        """The first base in the direction of transcription; `.` is read as plus."""
        return self.end - 1 if self.strand == "-" else self.start


class _Gene(NamedTuple):
    """A gene, or a part of one that stands for it; `own_id` is what parts name as their parent."""

    gene_id: str
    gene_name: str
    place: _Place
    biotype: str
    own_id: str


class _Transcript(NamedTuple):
    """A transcript: the genes that it names, the id that exons name, its rank in `_CANONICAL`."""

    name: str
    place: _Place
    genes: frozenset[str]
    own_id: str
    rank: int


class _Annotation(NamedTuple):
    """Contents of a file that matter for the starts of genes.

    genes : of gene features, or merged from the transcripts or exons of a file without them
    bases : (chromosome, transcript's own id) → bases in its exons
    tags : number of transcripts with just these tags
    """

    genes: list[_Gene]
    has_gene_features: bool
    transcripts: list[_Transcript]
    bases: dict[tuple[str, str], int]
    tags: Counter[frozenset[str]]


def parse_annotation(
    lines: Iterable[tuple[int, str]],
    name: str,
    *,
    rule: TSSRule = "gene",
    protein_coding: bool = False,
) -> pd.DataFrame:
    """Return where each gene of a GTF or GFF3 annotation starts.

    Coordinates there are 1-based and include the end: the TSS, 0-based, is start - 1 on the
    plus strand (and on `.`), end - 1 on the minus strand. Where there are no features of type
    gene, a gene is the outermost extent of its transcripts, or else of its exons, on the
    chromosome and strand of the first of them.

    Parameters
    ----------
    lines
        Line number, from 1, and line, in any order.
    rule
        `gene`: the start of the gene.
        `canonical`: of the transcript with the tag Ensembl_canonical, or else MANE_Select,
        RefSeq_Select, appris_principal_1, appris_principal, basic together with CCDS, or CCDS.
        `longest`: of the transcript with the most bases in exons, or with the longest span where
        no exons of the gene are in the file.
        `most-upstream`: of the transcript that starts first in the gene's direction.
        Ties go to the transcript whose id sorts first. A gene without such a transcript keeps its
        own start, and a warning counts them.
    protein_coding
        Only genes with this biotype (gene_biotype, gene_type, biotype or locus_type).

    Returns
    -------
    gene_id, gene_name, chrom, tss, strand; a row per gene, in file order.

    Raises
    ------
    InputFormatError
        If a line has too few fields, or a gene no valid place or id, or the file lacks what the
        rule asks for.

    References
    ----------
    Ensembl, GFF/GTF file format and Canonical transcripts; Sequence Ontology, GFF3 1.26; Morales
    et al., Nature 2022 (MANE); Rodriguez et al., Nucleic Acids Research 2022 (APPRIS).
    """
    found = _read(lines, name, rule)
    genes = _only_protein_coding(found.genes, name) if protein_coding else found.genes
    starts = [gene.place.tss for gene in genes]
    if rule != "gene":
        starts = _starts_by_transcript(genes, found, rule, name)
    return pd.DataFrame(
        {
            "gene_id": [gene.gene_id for gene in genes],
            "gene_name": [gene.gene_name for gene in genes],
            "chrom": [gene.place.chrom for gene in genes],
            "tss": starts,
            "strand": [gene.place.strand for gene in genes],
        }
    )


@cache
def _level(kind: str) -> int:
    if kind in _GENE_TYPES:
        return _GENE
    if kind.lower().endswith(_TRANSCRIPT_ENDINGS):
        return _TRANSCRIPT
    return _EXON if kind == "exon" else _OTHER


def _read(lines: Iterable[tuple[int, str]], name: str, rule: TSSRule) -> _Annotation:
    """Read of each line only what the rule asks for: an annotation has millions."""
    transcripts: list[_Transcript] = []
    bases: dict[tuple[str, str], int] = defaultdict(int)
    tags: Counter[frozenset[str]] = Counter()
    # Genes are the features of the highest level that the file has.
    best, selected, n_features = _OTHER, list[tuple[int, str]](), 0
    for number, kind, line in _feature_lines(lines, name):
        n_features += 1
        level = _level(kind)
        if level < best:
            best, selected = level, []
        if level == best < _OTHER:
            selected.append((number, line))
        if level == _TRANSCRIPT and rule != "gene":
            transcripts.append(_parse_transcript(name, number, line, tags))
        elif level == _EXON and rule == "longest":
            fields = line.rstrip("\n").split("\t", 8)
            start, end = _parse_coordinates(name, number, fields[3], fields[4])
            for own_id in _attribute(fields[8], "Parent", "transcript_id").split(","):
                bases[fields[0].strip(), own_id] += end - start
    parts = [_parse_gene(name, number, line, best) for number, line in selected]
    genes = [part for part in parts if part.gene_id]
    if not genes:
        raise InputFormatError(
            f"{name} has no genes: none of its {n_features} features is a gene, or a transcript or "
            'exon with a gene_id "…".',
            "take the genome's full annotation",
        )
    if best != _GENE:
        if len(genes) < len(parts):
            log.warning(
                "%s: %d of %d %s name no gene_id, and are skipped",
                *(name, len(parts) - len(genes), len(parts), _PLURALS[best]),
            )
        genes = _merge(genes, name)
        log.info(
            "%s has no gene features: its %d genes are the outermost extent of their %s",
            *(name, len(genes), _PLURALS[best]),
        )
    return _Annotation(genes, best == _GENE, transcripts, bases, tags)


def _feature_lines(lines: Iterable[tuple[int, str]], name: str) -> Iterator[tuple[int, str, str]]:
    """Yield number, type and line of each feature."""
    for number, line in lines:
        if line.startswith("#"):
            if line.startswith("##FASTA"):
                break
            continue
        fields = line.split("\t", 3)
        if len(fields) < 4 or fields[3].count("\t") < _N_FIELDS - 4:
            if line.isspace() or not line:
                continue
            raise InputFormatError(
                f"{name}, line {number} has {line.count(chr(9)) + 1} tab-separated fields, not "
                f"the {_N_FIELDS} of GTF and GFF3: {line.strip()[:60]!r}.",
                "fetch the file again, if it was cut off or damaged",
            )
        yield number, fields[2], line


def _parse_coordinates(name: str, line: int, start: str, end: str) -> tuple[int, int]:
    """Return start and end, 0-based, half-open."""
    digits = start + end  # one look at both: an annotation has millions
    whole = start and end and digits.isdecimal() and digits.isascii() and len(digits) <= 36
    if not whole or not 1 <= int(start) <= int(end) < _BEYOND:
        raise InputFormatError(
            f"{name}, line {line}: the feature runs from {start!r} to {end!r}.",
            "correct the line: start and end are whole numbers that count from 1, end included",
        )
    return int(start) - 1, int(end)


def _parse_place(name: str, line: int, fields: list[str]) -> _Place:
    chrom, strand = fields[0].strip(), fields[6]
    start, end = _parse_coordinates(name, line, fields[3], fields[4])
    if strand == "?":  # GFF3: stranded, but which way is unknown
        strand = "."
    if strand not in ("+", "-", ".") or not chrom:
        raise InputFormatError(
            f"{name}, line {line}: chromosome {fields[0]!r}, strand {strand!r}.",
            "give it a chromosome, and one of the strands + - . ?",
        )
    return _Place(chrom, start, end, strand)


def _parse_gene(name: str, line: int, text: str, level: int) -> _Gene:
    fields = text.rstrip("\n").split("\t", 8)
    place = _parse_place(name, line, fields)
    attributes = _attributes(fields[8])
    gene_id, own_id = attributes.get("gene_id", ""), _plain_id(attributes.get("ID", ""))
    if level == _GENE:  # the ID of a transcript or exon is its own, not its gene's
        gene_id = gene_id or own_id
        if not gene_id:
            raise InputFormatError(
                f"{name}, line {line}: no gene id in {fields[8][:80]!r}.",
                'give it gene_id "…" in GTF; gene_id=… or ID=… in GFF3',
            )
    gene_name = next((attributes[key] for key in _NAMES if attributes.get(key)), "")
    biotype = next((attributes[key] for key in _BIOTYPES if attributes.get(key)), "")
    return _Gene(gene_id, gene_name, place, biotype, own_id)


def _parse_transcript(
    name: str, number: int, line: str, tags: Counter[frozenset[str]]
) -> _Transcript:
    fields = line.rstrip("\n").split("\t", 8)
    text = fields[8]
    gff3 = _is_gff3(text)
    # A tag may stand several times in GTF; in GFF3 tags are separated by commas.
    listed = _attribute(text, "tag", "tag").split(",") if gff3 else _GTF_TAG.findall(text)
    own_tags = frozenset(tag.strip().replace(" ", "_") for tag in listed if tag.strip())
    tags[own_tags] += 1
    own_id = _attribute(text, "ID", "transcript_id")
    genes = {_attribute(text, "gene_id", "gene_id")}
    if gff3:
        genes.update(_plain_id(parent) for parent in _attribute(text, "Parent", "").split(","))
    name_in_gff3 = _attribute(text, "transcript_id", "") if gff3 else ""
    return _Transcript(
        name_in_gff3 or _plain_id(own_id),
        _parse_place(name, number, fields),
        frozenset(genes - {""}),
        own_id,
        _rank(own_tags),
    )


def _is_gff3(text: str) -> bool:
    """Whether a last field is written as in GFF3 (key=value), and not as in GTF (key "value")."""
    return _GFF3_ATTRIBUTES.match(text) is not None


def _attributes(text: str) -> dict[str, str]:
    """The last field of a line; of repeated keys, the first."""
    found: dict[str, str] = {}
    if _is_gff3(text):
        for item in text.split(";"):
            key, _, value = item.partition("=")
            found.setdefault(key.strip(), unquote(value.strip()))
    else:
        for match in _GTF_ATTRIBUTE.finditer(text):
            key, quoted, bare = match.groups()
            found.setdefault(key, (bare if quoted is None else quoted).strip())
    return found


def _attribute(text: str, key_in_gff3: str, key_in_gtf: str) -> str:
    """One value of the last field, "" if absent: as `_attributes` has it, five times as fast."""
    if _is_gff3(text):
        found = _pattern(rf"(?:^|;)\s*{re.escape(key_in_gff3)}\s*=([^;]*)").search(text)
        return unquote(found.group(1).strip()) if found else ""
    # Other text in quotes cannot hold the key, since its value would have to be quoted too. What
    # must not stand before the key is looked for after it: a pattern is found fastest by letters.
    key = re.escape(key_in_gtf)
    found = _pattern(rf'{key}(?<![\w.-]{key})\s+"([^"]*)"').search(text)
    if found:
        return found.group(1).strip()
    return _attributes(text).get(key_in_gtf, "") if key_in_gtf in text else ""


_pattern = cache(re.compile)


def _plain_id(text: str) -> str:
    """An ID of GFF3 without the type that Ensembl and NCBI put before it."""
    return _GFF3_ID_PREFIX.sub("", text)


@cache
def _rank(tags: frozenset[str]) -> int:
    """How canonical a transcript with these tags is; 0 is best."""
    return next((k for k, wanted in enumerate(_CANONICAL) if wanted <= tags), _NOT_CANONICAL)


def _merge(parts: list[_Gene], name: str) -> list[_Gene]:
    """Return the outermost extent of each gene's parts."""
    genes: dict[str, _Gene] = {}
    elsewhere: list[str] = []
    for part in parts:
        gene = genes.setdefault(part.gene_id, part)
        here, there = gene.place, part.place
        if (there.chrom, there.strand) != (here.chrom, here.strand):
            elsewhere.append(part.gene_id)
            continue
        extent = here._replace(start=min(here.start, there.start), end=max(here.end, there.end))
        genes[part.gene_id] = gene._replace(place=extent)
    if elsewhere:
        several = list(dict.fromkeys(elsewhere))
        log.warning(
            "%s: %d genes have parts on another chromosome or strand than their first one; "
            "those %d parts are dropped (%s)",
            *(name, len(several), len(elsewhere), first_names(several, 3)),
        )
    return list(genes.values())


def _only_protein_coding(genes: list[_Gene], name: str) -> list[_Gene]:
    kept = [gene for gene in genes if gene.biotype == "protein_coding"]
    if not kept:
        counts = Counter(gene.biotype or "none" for gene in genes).most_common(5)
        raise InputFormatError(
            f"{name} has no gene of the biotype protein_coding (in {', '.join(_BIOTYPES)}), only "
            f"{', '.join(f'{kind}: {n}' for kind, n in counts)}.",
            "omit --protein-coding, or take Ensembl's or GENCODE's full annotation",
        )
    log.info("%s: %d of %d genes code for proteins", name, len(kept), len(genes))
    return kept


def _starts_by_transcript(
    genes: list[_Gene], found: _Annotation, rule: TSSRule, name: str
) -> list[int]:
    if not found.transcripts:
        raise InputFormatError(
            f"{name} has {len(genes)} genes, but no transcripts (features of type transcript or "
            "mRNA).",
            "take the full annotation, or use --tss gene",
        )
    if rule == "canonical" and all(each.rank == _NOT_CANONICAL for each in found.transcripts):
        tags = first_names(dict.fromkeys(chain(*(s for s, _ in found.tags.most_common()))), 8)
        raise InputFormatError(
            f"{name} does not show which transcripts are canonical: its tags are {tags or 'none'}.",
            "take a newer annotation, with tags such as Ensembl_canonical or CCDS, or use --tss "
            "longest or most-upstream",
        )
    by_gene, elsewhere = _by_gene(genes, found.transcripts)
    if elsewhere and found.has_gene_features:  # otherwise merging has logged it
        log.warning(
            "%s: %d transcripts lie on another chromosome or strand than their gene, and are "
            "dropped (%s)",
            *(name, len(elsewhere), first_names(elsewhere, 3)),
        )
    starts, without, n_moved = [], [], 0
    for gene, transcripts in zip(genes, by_gene, strict=True):
        start = _start(gene, transcripts, rule, found.bases)
        if start is None:
            without.append(gene.gene_id)
        n_moved += start not in (None, gene.place.tss)
        starts.append(gene.place.tss if start is None else start)
    if without:
        what = "canonical transcript" if rule == "canonical" else "transcript"
        log.warning(
            "%s: %d of %d genes have no %s (%s); they start where the gene does",
            *(name, len(without), len(genes), what, first_names(without, 3)),
        )
    log.info("%s: %d of %d genes start elsewhere by the rule %r", name, n_moved, len(genes), rule)
    return starts


def _by_gene(
    genes: list[_Gene], transcripts: list[_Transcript]
) -> tuple[list[list[_Transcript]], list[str]]:
    """Give each gene the transcripts on its chromosome and strand; name those elsewhere.

    The same id may stand for two genes, as in the pseudoautosomal regions of X and Y.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for row, gene in enumerate(genes):
        for key in {gene.gene_id, gene.own_id} - {""}:
            rows[key].append(row)
    result: list[list[_Transcript]] = [[] for _ in genes]
    elsewhere: list[str] = []
    for each in transcripts:
        owners = {row for key in each.genes for row in rows.get(key, ())}
        side = (each.place.chrom, each.place.strand)
        near = [row for row in owners if (genes[row].place.chrom, genes[row].place.strand) == side]
        for row in near:
            result[row].append(each)
        if owners and not near:
            elsewhere.append(each.name)
    return result, elsewhere


def _start(
    gene: _Gene, transcripts: list[_Transcript], rule: TSSRule, bases: dict[tuple[str, str], int]
) -> int | None:
    """The start by the rule; None where no transcript of the gene fulfills it."""
    if rule == "canonical":
        transcripts = [each for each in transcripts if each.rank < _NOT_CANONICAL]
        order = {each: each.rank for each in transcripts}
    elif rule == "most-upstream":
        sign = -1 if gene.place.strand == "-" else 1
        order = {each: sign * each.place.tss for each in transcripts}
    else:
        order = {each: -bases.get((gene.place.chrom, each.own_id), 0) for each in transcripts}
        if not any(order.values()):
            order = {each: each.place.start - each.place.end for each in transcripts}
    if not transcripts:
        return None
    return min(transcripts, key=lambda each: (order[each], each.name)).place.tss
