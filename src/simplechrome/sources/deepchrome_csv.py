"""What does one CSV of the DeepChrome layout hold? Arrow reads it; checks are whole-array.

Anything that a check refuses goes to `deepchrome_faults`, which looks for the line.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv

from simplechrome.errors import InputFormatError
from simplechrome.sources.arrays import LARGEST_COUNT, count_dtype
from simplechrome.sources.deepchrome_faults import (
    BOM,
    GENE_ID,
    Columns,
    complete_gene_id,
    find_fault,
)
from simplechrome.sources.gene_ids import GENE_ID_COLUMNS, normalize_header

PUBLISHED_MARKS = ("H3K27me3", "H3K36me3", "H3K4me1", "H3K4me3", "H3K9me3")
"""The marks' order in the published files, which have no header."""

_ROLES = dict.fromkeys(GENE_ID_COLUMNS, "gene") | {"bin": "bin", "label": "label"}
_HEXADECIMAL = re.compile(rb"(?:^|[,\r\n])[ \t]*0[xX]")
_FIRST_LINE = re.compile(rb"[\r\n]*([^\r\n]*)")


class SplitCounts(NamedTuple):
    """One CSV: gene_id (gene,), counts (gene, bin, mark), label (gene,) int8, and marks."""

    gene_id: list[str]
    counts: np.ndarray
    label: np.ndarray
    marks: tuple[str, ...]


def parse_counts(data: bytes, name: str) -> SplitCounts:
    """Which counts and labels does this CSV hold?

    Parameters
    ----------
    data
        The whole file. Empty lines, CRLF line ends and a byte-order mark are harmless.
    name
        Its name, for messages.

    Returns
    -------
    Genes in the file's order; counts in uint16, or float32 where one is above 65,535.

    Raises
    ------
    InputFormatError
        If a row or a gene is not as it should be; the message names the line.
    """
    columns = read_columns(data, name)
    types = dict.fromkeys(columns.names, pa.int32()) | {"gene": pa.dictionary(pa.int32(), "utf8")}
    try:
        table = csv.read_csv(
            pa.BufferReader(data),
            read_options=csv.ReadOptions(column_names=columns.names, skip_rows=columns.skip),
            # Numbers and ids need no quotes; with them, one stray quote could swallow lines.
            parse_options=csv.ParseOptions(quote_char=False),
            convert_options=csv.ConvertOptions(column_types=types, null_values=[]),
        )
    except pa.ArrowInvalid as error:
        raise find_fault(data, columns, name, str(error)) from None
    counts = _assemble(table)
    if counts is None or _has_hexadecimal(data):
        raise find_fault(data, columns, name, "rows and genes do not fit together")
    return counts


def _has_hexadecimal(data: bytes) -> bool:
    """Does a field begin with 0x? Arrow would read 0x1F as 31."""
    # Looking for one byte takes a tenth of the time of looking for two in a row.
    return (b"x" in data or b"X" in data) and _HEXADECIMAL.search(data) is not None


def read_columns(data: bytes, name: str) -> Columns:
    """Which columns does the file have, and in what order?

    A first line that names gene, bin or label is a header, and the marks go by its names.
    Without one the columns are gene, bin, the five published marks and label.

    Raises
    ------
    InputFormatError
        If the file is empty, or the header lacks a column or names one twice.
    """
    if not data:
        raise InputFormatError(
            f"{name} is empty.",
            found="0 bytes",
            expected="one row for each bin of each gene",
            cause="the download was interrupted; some of the published files are empty too",
            remedy="fetch the file again, or leave this cell type out",
        )
    start = len(BOM) if data.startswith(BOM) else 0
    first = _FIRST_LINE.match(data, start)
    text = first[1].decode("utf-8", errors="replace") if first else ""
    names = [field.strip() for field in text.split(",")]
    names = [_ROLES.get(normalize_header(field), field) for field in names]
    if not {"gene", "bin", "label"}.intersection(names):
        return Columns(("gene", "bin", *PUBLISHED_MARKS, "label"), skip=0, has_header=False)
    lacking = [role for role in ("gene", "bin", "label") if role not in names]
    twice = sorted({field for field in names if names.count(field) > 1})
    if lacking or twice or "" in names or len(names) < 4:
        raise InputFormatError(
            f"{name}: the header line does not name each column once.",
            found=", ".join(repr(field) for field in names),
            expected="gene, bin, one name for each mark, label",
            cause="a column of row numbers was written too" if "" in names else "",
        )
    skip = len(data[start : first.end()].splitlines()) if first else 0
    return Columns(tuple(names), skip=skip, has_header=True)


def _assemble(table: pa.Table) -> SplitCounts | None:
    """Arrays of a table whose rows are in good order; None if anything is not."""
    if table.num_rows == 0:
        return None
    ids = table["gene"].unify_dictionaries().combine_chunks()
    codes = ids.indices.to_numpy()
    starts = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1])))
    n_genes = starts.size
    n_bins, rest = divmod(codes.size, n_genes)
    if rest or not np.array_equal(starts, np.arange(n_genes) * n_bins):
        return None
    names = ids.dictionary.take(pa.array(codes[starts])).to_pylist()
    gene_id = [complete_gene_id(name) for name in names]
    if len(set(gene_id)) < n_genes or not all(map(GENE_ID.fullmatch, names)):
        return None

    def column(name: str) -> np.ndarray:
        return table[name].to_numpy().reshape(n_genes, n_bins)

    label = column("label")
    per_gene = label[:, 0]
    in_order = (
        (column("bin") == np.arange(1, n_bins + 1)).all()
        and (label == per_gene[:, None]).all()
        and ((per_gene == 0) | (per_gene == 1)).all()
    )
    marks = tuple(name for name in table.column_names if name not in ("gene", "bin", "label"))
    columns = [column(mark) for mark in marks]
    highest = max(int(values.max()) for values in columns)
    lowest = min(int(values.min()) for values in columns)
    if not in_order or lowest < 0 or highest > LARGEST_COUNT:
        return None
    counts = np.empty((n_genes, n_bins, len(marks)), dtype=count_dtype(highest))
    for index, values in enumerate(columns):
        counts[:, :, index] = values
    return SplitCounts(gene_id, counts, per_gene.astype(np.int8), marks)
