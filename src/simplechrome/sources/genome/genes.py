"""Genes of any common format (table, BED, GTF, GFF3) to one table with their starts."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from simplechrome.errors import ConfigError, InputFormatError, first_names
from simplechrome.schema import PUBLISHED_SPLITS, STRANDS
from simplechrome.sources.delimited import (
    GENE_ID_COLUMNS,
    DelimitedTable,
    normalize_header,
    parse_delimited,
    tidy_gene_ids,
)
from simplechrome.sources.genome.annotation import TSSRule, check_tss_rule, parse_annotation
from simplechrome.sources.genome.chromosomes import MatchMode, check_match_mode, translate_to_ucsc
from simplechrome.sources.text import open_text

logger = logging.getLogger(__name__)

_Format = Literal["annotation", "bed", "table"]

_SYNONYMS = {
    "gene_id": GENE_ID_COLUMNS,
    "gene_name": ("gene_name", "symbol", "gene_symbol", "name"),
    "chrom": ("chrom", "chr", "chromosome", "seqnames", "seqname", "contig"),
    "tss": ("tss",),
    "strand": ("strand",),
    "published_split": ("published_split", "deepchrome_split"),
}
_REQUIRED = ("gene_id", "chrom", "tss", "strand")
_SUFFIXES: dict[str, _Format] = {
    ".gtf": "annotation",
    ".gff": "annotation",
    ".gff3": "annotation",
    ".bed": "bed",
}
_NOT_RECORDS = ("#", "track ", "track\t", "browser ", "browser\t")
_MAX_DIGITS = 18  # all that surely fits into int64


def read_genes(
    path: str | Path,
    *,
    chrom_style: MatchMode = "auto",
    strip_version: bool = False,
    tss: TSSRule = "gene",
    protein_coding: bool = False,
) -> pd.DataFrame:
    """Return the genes in a file, and where each starts.

    The format is recognized by content, plain or packed (gzip, bzip2, xz):

    - a table with a header (tab, comma, semicolon or space): gene_id (or gene, ensembl_gene_id,
      ensembl_id), chrom (chr, chromosome, seqnames, seqname, contig), tss, strand, and if there
      gene_name (symbol, gene_symbol, name) and published_split (deepchrome_split). The tss is
      taken as given: 0-based;
    - BED6: 0-based and half-open; the name is the gene id, and the tss is start on the plus
      strand and on `.`, end - 1 on the minus strand;
    - GTF or GFF3: see `annotation.parse_annotation`.

    Of rows with the same gene id the first is kept, and a warning counts them.

    Parameters
    ----------
    chrom_style
        "auto" gives chromosomes their UCSC names (1 becomes chr1) and logs it; "exact" leaves
        names as they are.
    strip_version
        Take the version off Ensembl ids: ENSG00000000003.14 becomes ENSG00000000003.
    tss, protein_coding
        Whose start, and which genes; other values than the defaults need GTF or GFF3. See
        `annotation.parse_annotation`.

    Returns
    -------
    gene_id (unique), gene_name ("" if unknown), chrom, tss (int64, 0-based), strand (+, - or
    `.`) and, where the file has it, published_split (train, valid, test or ""); in file order.

    Raises
    ------
    InputFormatError
        If the file is of no known format, damaged, or holds invalid values.
    ConfigError
        If `chrom_style` or `tss` is unknown, or needs transcripts that the format does not have.
    """
    check_match_mode(chrom_style, "chrom_style")
    check_tss_rule(tss)
    path = Path(path)
    with open_text(path) as stream:
        head: list[str] = []
        file_format = _detect_format(head, stream, path.name)
        lines = itertools.chain(head, stream)
        if file_format == "annotation":
            genes = parse_annotation(
                enumerate(lines, start=1), path.name, rule=tss, protein_coding=protein_coding
            )
        elif tss != "gene" or protein_coding:
            raise ConfigError(
                f"{path.name} is a {file_format} file, which has no transcripts and no biotypes "
                f"for --tss {tss}{' and --protein-coding' if protein_coding else ''}.",
                "take the genome's annotation as GTF or GFF3, or omit these options",
            )
        elif file_format == "bed":
            genes = _parse_bed(enumerate(lines, start=1), path.name)
        else:
            genes = _parse_table(lines, path.name)
    genes["gene_id"] = tidy_gene_ids(
        genes["gene_id"].tolist(), path.name, strip_version=strip_version
    )
    if chrom_style == "auto":
        genes["chrom"] = _translate_chroms(genes["chrom"], path.name)
    return _drop_duplicates(genes, path.name)


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS


def _bed_fields(line: str) -> list[str]:
    line = line.rstrip("\n")
    return line.split("\t") if "\t" in line else line.split()


def _detect_format(head: list[str], stream: Iterable[str], name: str) -> _Format:
    """The format by the first record, or else by the name.

    The lines that were read are appended to `head`, so that a pipe can be read on.
    """
    for line in stream:
        head.append(line)
        if line.isspace() or line.startswith(_NOT_RECORDS):
            continue
        fields = line.split("\t")
        if len(fields) >= 8 and all(map(_is_whole, fields[3:5])) and fields[6] in (*STRANDS, "?"):
            return "annotation"
        fields = _bed_fields(line)
        if len(fields) >= 3 and all(map(_is_whole, fields[1:3])):
            return "bed"
        if "tss" in re.split(r'[\t,; "]+', line.strip().lower()):
            return "table"
        break
    plain_name = re.sub(r"\.(gz|bgz|bz2|xz)$", "", name.lower())
    return _SUFFIXES.get(Path(plain_name).suffix, "table")


def _parse_bed(lines: Iterable[tuple[int, str]], name: str) -> pd.DataFrame:
    rows: list[tuple[str, str, str, int, str]] = []
    for number, line in lines:
        if line.isspace() or line.startswith(_NOT_RECORDS):
            continue
        fields = [text.strip() for text in _bed_fields(line)]
        fault = ""
        if len(fields) < 6:
            fault = f"has {len(fields)} fields"
        elif not all(map(_is_whole, fields[1:3])) or int(fields[1]) >= int(fields[2]):
            fault = f"runs from {fields[1]!r} to {fields[2]!r}"
        elif not (fields[0] and fields[3] and fields[5] in STRANDS):
            fault = f"has chromosome {fields[0]!r}, name {fields[3]!r}, strand {fields[5]!r}"
        if fault:
            raise InputFormatError(
                f"{name}, line {number} is not a gene in BED6: it {fault}.",
                "give chrom, start, end (0-based, start < end), gene id, score and strand (+ - .)",
            )
        chrom, start, end, gene_id, _, strand = fields[:6]
        rows.append((gene_id, "", chrom, int(end) - 1 if strand == "-" else int(start), strand))
    if not rows:
        raise InputFormatError(f"{name} holds no genes.", "BED6 has one line per gene")
    return pd.DataFrame(rows, columns=["gene_id", "gene_name", "chrom", "tss", "strand"])


def _find_columns(table: DelimitedTable) -> dict[str, int]:
    headers = [normalize_header(column) for column in table.columns]
    found: dict[str, int] = {}
    for meaning, synonyms in _SYNONYMS.items():
        header = next((synonym for synonym in synonyms if synonym in headers), None)
        if header is None:
            continue
        if headers.count(header) > 1:
            raise InputFormatError(
                f"{table.name} has the column {header} more than once.", "rename or remove one"
            )
        found[meaning] = headers.index(header)
    missing = [meaning for meaning in _REQUIRED if meaning not in found]
    if missing:
        raise InputFormatError(
            f"{table.name} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}: its "
            f"first line is {first_names(table.columns, 12)}.",
            f"{'add or rename the columns' if found else 'add a header'} (a table needs "
            f"{', '.join(_REQUIRED)}; tss is 0-based), or take BED6, GTF or GFF3",
        )
    return found


def _require_all(right: Any, table: DelimitedTable, position: int, column: str, need: str) -> None:
    """Name the first row that is not right."""
    wrong = np.flatnonzero(~np.asarray(right, dtype=bool))
    if wrong.size:
        text = table.field(int(wrong[0]), position)
        by_r = column == "tss" and "e+" in text.lower()
        raise InputFormatError(
            f"{table.place(int(wrong[0]))}: {column} is {text!r}, not {need}.",
            "in R, write it with format(…, scientific = FALSE)" if by_r else "correct the line",
        )


def _parse_table(lines: Iterable[str], name: str) -> pd.DataFrame:
    table = parse_delimited(lines, name, GENE_ID_COLUMNS)
    at = _find_columns(table)
    arrays, _ = table.read(list(at.values()))
    columns = dict(zip(at, arrays, strict=True))
    for column in ("gene_id", "chrom"):
        _require_all(pc.not_equal(columns[column], ""), table, at[column], column, "a name")
    is_whole = pc.match_substring_regex(columns["tss"], rf"^[0-9]{{1,{_MAX_DIGITS}}}$")
    _require_all(is_whole, table, at["tss"], "tss", "a whole number, 0 or more (0-based)")
    for column, allowed in (("strand", STRANDS), ("published_split", PUBLISHED_SPLITS)):
        if column in columns:
            is_allowed = pc.is_in(columns[column], pa.array(allowed, pa.string()))
            need = "one of " + " ".join(filter(None, allowed))
            _require_all(is_allowed, table, at[column], column, need)
    genes = pd.DataFrame({key: columns[key].to_pylist() for key in _REQUIRED})
    genes["tss"] = pc.cast(columns["tss"], pa.int64()).to_numpy()
    names = columns["gene_name"].to_pylist() if "gene_name" in columns else [""] * len(genes)
    genes.insert(1, "gene_name", ["" if gene_name == "NA" else gene_name for gene_name in names])
    if "published_split" in columns:
        genes["published_split"] = columns["published_split"].to_pylist()
    return genes


def _translate_chroms(chroms: pd.Series[str], name: str) -> pd.Series[str]:
    names = translate_to_ucsc(chroms)
    changed = {old: new for old, new in names.items() if old != new}
    if changed:
        examples = first_names((f"{old} to {new}" for old, new in changed.items()), 3)
        logger.info(
            "%s: %d of %d chromosome names translated to UCSC style (%s), for %d of %d genes",
            *(name, len(changed), len(names), examples),
            *(int(chroms.isin(list(changed)).sum()), len(chroms)),
        )
    return chroms.map(names)


def _drop_duplicates(genes: pd.DataFrame, name: str) -> pd.DataFrame:
    is_repeat = genes["gene_id"].duplicated()
    if not is_repeat.any():
        return genes
    repeated = genes["gene_id"][is_repeat].unique()
    rows = genes[genes["gene_id"].isin(repeated)]
    n_places = rows[["gene_id", "chrom", "tss", "strand"]].drop_duplicates()["gene_id"]
    n_differing = int((n_places.value_counts() > 1).sum())
    logger.warning(
        "%s: %d gene ids occur more than once (%s); the first row of each is kept, %d dropped; "
        "%d of them have the same chromosome, tss and strand, %d do not",
        *(name, len(repeated), first_names(repeated, 3), int(is_repeat.sum())),
        *(len(repeated) - n_differing, n_differing),
    )
    return genes[~is_repeat].reset_index(drop=True)
