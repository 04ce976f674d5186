"""Gene annotation of any common format to one table: which gene, where, which way."""

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

from simplechrome.errors import ConfigError, InputFormatError
from simplechrome.schema import PUBLISHED_SPLITS, STRANDS
from simplechrome.sources.genome.annotation import parse_annotation
from simplechrome.sources.genome.chromosomes import MatchMode, check_match_mode, translate_to_ucsc
from simplechrome.sources.genome.transcripts import TSSRule, check_tss_rule, parse_transcripts
from simplechrome.sources.text.delimited import (
    GENE_ID_COLUMNS,
    DelimitedTable,
    normalize_header,
    parse_delimited,
    tidy_gene_ids,
)
from simplechrome.sources.text.open import open_text

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
    """Which genes does this file know, and where does each start?

    The format is told by content, plain or packed (gzip, bzip2, xz):

    - a table with a header (tab, comma, semicolon or space): gene_id (or gene, ensembl_gene_id,
      ensembl_id), chrom (chr, chromosome, seqnames, seqname, contig), tss, strand, and if there
      gene_name (symbol, gene_symbol, name) and published_split (deepchrome_split). The tss is
      taken as given: 0-based;
    - BED6: 0-based and half-open; the name is the gene id, and the tss is start on the plus
      strand and on `.`, end - 1 on the minus strand;
    - GTF or GFF3: see `annotation.parse_annotation`.

    Of rows with the same gene id the first is kept, and a warning says how many there were.

    Parameters
    ----------
    path
        The file.
    chrom_style
        "auto" gives chromosomes their UCSC names (1 becomes chr1) and says so; "exact" leaves
        names as they are.
    strip_version
        Take the version off Ensembl ids: ENSG00000000003.14 becomes ENSG00000000003.
    tss, protein_coding
        Whose start, and which genes; other values than the defaults ask for GTF or GFF3. See
        `transcripts.parse_transcripts`.

    Returns
    -------
    gene_id (unique), gene_name ("" if unknown), chrom, tss (int64, 0-based), strand (+, - or
    `.`) and, where the file has it, published_split (train, valid, test or ""); in file order.

    Raises
    ------
    MissingInputError
        If the file is not there or cannot be opened.
    InputFormatError
        If it is of no known format, damaged, or holds values without meaning.
    ConfigError
        If `chrom_style` or `tss` is unknown, or asks for transcripts of a file that has none.
    """
    check_match_mode(chrom_style, "chrom_style")
    check_tss_rule(tss)
    path = Path(path)
    with open_text(path) as stream:
        head: list[str] = []
        file_format = _detect_format(head, stream, path.name)
        lines = itertools.chain(head, stream)
        by_transcript = tss != "gene" or protein_coding
        if by_transcript and file_format != "annotation":
            raise ConfigError(
                f"{path.name} knows no transcripts and no kinds of genes.",
                found="a BED file" if file_format == "bed" else "a table",
                expected="GTF or GFF3, for "
                + (f"--tss {tss}" if tss != "gene" else "")
                + (" --protein-coding" if protein_coding else ""),
                remedy="take the genome's annotation as GTF, or leave these options out",
            )
        if by_transcript:
            genes = parse_transcripts(
                enumerate(lines, start=1), path.name, rule=tss, protein_coding=protein_coding
            )
        elif file_format == "annotation":
            genes = parse_annotation(enumerate(lines, start=1), path.name)
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
    """Which format is this, by its first record, or by its name where that does not tell?

    The lines that were read are appended to `head`, so that a pipe can be read on.
    """
    for line in stream:
        head.append(line)
        if line.isspace() or line.startswith(_NOT_RECORDS):
            continue
        fields = line.split("\t")
        if (
            len(fields) >= 8
            and _is_whole(fields[3])
            and _is_whole(fields[4])
            and fields[6] in (*STRANDS, "?")
        ):
            return "annotation"
        fields = _bed_fields(line)
        if len(fields) >= 3 and _is_whole(fields[1]) and _is_whole(fields[2]):
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
        fields = _bed_fields(line)
        place = f"{name}, line {number}"
        if len(fields) < 6:
            raise InputFormatError(
                f"{place} has {len(fields)} fields.",
                found=repr(line.rstrip("\n")[:60]),
                expected="BED6 or more: chrom, start, end, name, score, strand",
                cause="a BED file without names and strands, or a cut-off line",
                remedy="export it with the gene id as name, and the strand",
            )
        chrom, start_text, end_text, gene_id, _, strand = (text.strip() for text in fields[:6])
        if not (_is_whole(start_text) and _is_whole(end_text)):
            raise InputFormatError(
                f"{place}: the gene runs from {start_text!r} to {end_text!r}.",
                expected="whole numbers, not negative",
                cause="a header line without #, or a damaged line",
            )
        start, end = int(start_text), int(end_text)
        if start >= end:
            raise InputFormatError(
                f"{place}: the gene runs from {start} to {end}.",
                expected="start < end: BED counts from 0 and excludes the end",
            )
        if strand not in STRANDS or not gene_id or not chrom:
            raise InputFormatError(
                f"{place}: chromosome {chrom!r}, name {gene_id!r}, strand {strand!r}.",
                expected="a chromosome, a gene id, and one of + - .",
            )
        rows.append((gene_id, "", chrom, end - 1 if strand == "-" else start, strand))
    if not rows:
        raise InputFormatError(f"{name} holds no genes.", expected="BED6, one line per gene")
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
                f"{table.name} has the column {header} more than once.", expected="once"
            )
        found[meaning] = headers.index(header)
    missing = [meaning for meaning in _REQUIRED if meaning not in found]
    if missing:
        columns = ", ".join(table.columns[:12]) + (", …" if len(table.columns) > 12 else "")
        raise InputFormatError(
            f"{table.name} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}.",
            found=f"columns {columns}",
            expected=f"a header with {', '.join(_REQUIRED)} (0-based tss), or BED6, GTF or GFF3",
            cause="" if found else "the first line is no header",
            remedy="add or rename the columns",
        )
    return found


def _require_all(right: Any, table: DelimitedTable, column: str, expected: str) -> None:
    """Is every row right? Otherwise name the first that is not."""
    wrong = np.flatnonzero(~np.asarray(right, dtype=bool))
    if wrong.size == 0:
        return
    row = int(wrong[0])
    position = _find_columns(table)[column]
    text = table.field(row, position)
    raise InputFormatError(
        f"{table.place(row)}: {column} is {text!r}.",
        found=f"{wrong.size} such row{'s' * (wrong.size > 1)}",
        expected=expected,
        cause="R writes 100000 as 1e+05 unless told format(…, scientific = FALSE)"
        if column == "tss" and "e+" in text.lower()
        else "",
    )


def _parse_table(lines: Iterable[str], name: str) -> pd.DataFrame:
    table = parse_delimited(
        lines, name, GENE_ID_COLUMNS, "a header and one line per gene, or BED6, GTF or GFF3"
    )
    found = _find_columns(table)
    arrays, _ = table.read(list(found.values()))
    columns = dict(zip(found, arrays, strict=True))
    for column in ("gene_id", "chrom"):
        _require_all(pc.not_equal(columns[column], ""), table, column, "a name, not nothing")
    is_whole = pc.match_substring_regex(columns["tss"], rf"^[0-9]{{1,{_MAX_DIGITS}}}$")
    _require_all(is_whole, table, "tss", "a whole number, 0 or more (0-based)")
    allowed = {"strand": STRANDS, "published_split": PUBLISHED_SPLITS}
    for column in [column for column in allowed if column in columns]:
        is_allowed = pc.is_in(columns[column], pa.array(allowed[column], pa.string()))
        _require_all(is_allowed, table, column, "one of " + " ".join(filter(None, allowed[column])))

    genes = {"gene_id": columns["gene_id"].to_pylist()}
    names = columns["gene_name"].to_pylist() if "gene_name" in columns else [""] * len(table.rows)
    genes["gene_name"] = ["" if gene_name == "NA" else gene_name for gene_name in names]
    genes["chrom"] = columns["chrom"].to_pylist()
    genes["tss"] = pc.cast(columns["tss"], pa.int64()).to_numpy()
    genes["strand"] = columns["strand"].to_pylist()
    if "published_split" in columns:
        genes["published_split"] = columns["published_split"].to_pylist()
    return pd.DataFrame(genes)


def _translate_chroms(chroms: pd.Series[str], name: str) -> pd.Series[str]:
    names = translate_to_ucsc(chroms)
    changed = {old: new for old, new in names.items() if old != new}
    if changed:
        logger.info(
            "%s: %d of %d chromosome names translated to UCSC style (%s), for %d of %d genes",
            name,
            len(changed),
            len(names),
            ", ".join(f"{old} to {new}" for old, new in itertools.islice(changed.items(), 3)),
            int(chroms.isin(list(changed)).sum()),
            len(chroms),
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
        "%d of them agree on chromosome, tss and strand, %d do not",
        name,
        len(repeated),
        ", ".join(repeated[:3]) + (", …" if len(repeated) > 3 else ""),
        int(is_repeat.sum()),
        len(repeated) - n_differing,
        n_differing,
    )
    return genes[~is_repeat].reset_index(drop=True)
