"""Expression tables, wide or long, to one number per gene and cell type."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from numpy.typing import NDArray

from simplechrome.errors import ConfigError, InputFormatError, UnknownGeneError, first_names
from simplechrome.sources.delimited import (
    GENE_ID_COLUMNS,
    DelimitedTable,
    normalize_header,
    parse_delimited,
    tidy_gene_ids,
)
from simplechrome.sources.text import open_text

logger = logging.getLogger(__name__)

_VALUE_COLUMNS = ("expression", "rpkm", "tpm", "fpkm", "value")
# In a wide table the first column holds the ids whatever its name; these names help to separate a
# trailing delimiter from row names without a header.
_INDEX_COLUMNS = frozenset(
    {*GENE_ID_COLUMNS, "", "id", "name", "gene_name", "symbol", "gene_symbol", "ensembl", "geneid"}
)
_NUMERIC_NAME = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def read_expression(
    path: str | Path, *, cell_types: Sequence[str] | None = None, strip_version: bool = False
) -> pd.DataFrame:
    """Return the expression of each gene in each cell type.

    Two layouts, recognized by the header, plain or packed (gzip, bzip2, xz), with tab, comma,
    semicolon or space:

    - wide: gene ids in the first column, one column per cell type. Rows that end in a delimiter
      which the header lacks, and row names without a header (R's write.table), are understood;
      where these two look the same, that is an error;
    - long: columns gene_id (or gene, ensembl_gene_id, ensembl_id), cell_type, and one of
      expression, rpkm, tpm, fpkm, value, in any case and order.

    Of several values for the same gene (and cell type) the first is kept, with a warning where
    they differ.

    Parameters
    ----------
    path
        Values are RPKM, TPM or the like: not logarithms, never negative.
    cell_types
        Those to read, in this order; all by default. Other columns of a wide table may then
        hold anything.
    strip_version
        Take the version off Ensembl ids: ENSG00000000003.14 becomes ENSG00000000003.

    Returns
    -------
    (gene_id, cell_type) float32, indexed by gene_id (unique), in file order; NaN where missing.

    Raises
    ------
    InputFormatError
        If the file is damaged or ambiguous, or a value is not a number, negative or infinite.
    UnknownGeneError
        If it lacks a cell type that was asked for.
    ConfigError
        If `cell_types` is empty.
    """
    path = Path(path)
    # A single name is a sequence too, of letters.
    one = [cell_types] if isinstance(cell_types, str) else cell_types
    wanted = None if one is None else list(dict.fromkeys(one))
    if wanted == []:
        raise ConfigError("cell_types is empty.", "give at least one name, or None for all")
    with open_text(path) as stream:
        table = parse_delimited(stream, path.name, _INDEX_COLUMNS)
    headers = [normalize_header(column) for column in table.columns]
    if "cell_type" in headers:
        return _read_long(table, headers, wanted, strip_version)
    return _read_wide(table, wanted, strip_version)


def _choose(available: list[str], wanted: list[str] | None, name: str) -> list[str]:
    if wanted is None:
        return available
    absent = [cell_type for cell_type in wanted if cell_type not in available]
    if absent:
        raise UnknownGeneError(
            f"{name} lacks the cell type{'s' * (len(absent) > 1)} {', '.join(absent)}: it has "
            f"{first_names(available, 60)}.",
            "correct the names, or take another table",
        )
    return wanted


def _check_cell_type_names(table: DelimitedTable) -> list[str]:
    names = table.columns[1:]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    is_named = normalize_header(table.columns[0]) in _INDEX_COLUMNS
    fault = ""
    if not names:
        fault = f"has one column only, {table.columns[0]!r}"
    elif not is_named and all(_NUMERIC_NAME.fullmatch(name) for name in names):
        fault = f"has no header: its first line is {first_names(table.columns, 4)}"
    elif "" in names:
        fault = f"has no name for column {names.index('') + 2}"
    elif repeated:
        fault = f"has cell types more than once in the header: {first_names(repeated)}"
    if fault:
        raise InputFormatError(
            f"{table.name} {fault}.",
            "give it gene ids and a column per cell type, with a header line that names gene_id "
            "and each cell type once",
        )
    return names


def _check_values(values: NDArray[np.float32], table: DelimitedTable, positions: list[int]) -> None:
    wrong = (values < 0) | np.isinf(values)
    if not wrong.any():
        return
    row, column = (int(index) for index in np.argwhere(wrong)[0])
    position = positions[column]
    is_negative = bool(values[row, column] < 0) and not np.isinf(values[row, column])
    raise InputFormatError(
        f"{table.place(row)}: column {table.columns[position]!r} holds "
        f"{table.field(row, position)!r}, which is {'negative' if is_negative else 'not finite'} "
        f"(one of {int(wrong.sum())} such values).",
        "give RPKM, TPM or the like, not logarithms"
        if is_negative
        else "give finite numbers; NA or nothing where missing",
    )


def _gene_ids(column: Any, table: DelimitedTable, strip_version: bool) -> list[str]:
    gene_ids: list[str] = column.to_pylist()
    if "" in gene_ids:
        raise InputFormatError(
            f"{table.place(gene_ids.index(''))} has no gene id.", "give every line an id"
        )
    return tidy_gene_ids(gene_ids, table.name, strip_version=strip_version)


def _report_duplicates(name: str, what: str, repeated: list[str], n_differing: int) -> None:
    """Log what was dropped: a warning if values differed."""
    logger.log(
        logging.WARNING if n_differing else logging.INFO,
        "%s: %d %s occur more than once (%s); the first of each is kept; "
        "%d of them have the same values everywhere, %d do not",
        *(name, len(repeated), what, first_names(repeated, 3)),
        *(len(repeated) - n_differing, n_differing),
    )


def _keep_first(
    keys: NDArray[np.int64], values: NDArray[np.float32]
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
    """Find the rows that come first under their key, and the keys that repeat.

    Of keys (row,) and values (row, column): (row,) True for the first under each key; keys that
    repeat; those of them whose rows differ, where NaN equals NaN.
    """
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    is_first = np.zeros(len(keys), dtype=bool)
    is_first[first] = True
    later = np.flatnonzero(~is_first)
    one, other = values[later], values[first[group[later]]]
    differs = ~((one == other) | (np.isnan(one) & np.isnan(other))).all(axis=1)
    order = np.sort(first[np.unique(group[later])])  # by first appearance
    return is_first, keys[order], np.unique(keys[later[differs]])


def _read_wide(
    table: DelimitedTable, wanted: list[str] | None, strip_version: bool
) -> pd.DataFrame:
    names = _check_cell_type_names(table)
    chosen = _choose(names, wanted, table.name)
    position_of = {name: position for position, name in enumerate(names, start=1)}
    positions = [position_of[name] for name in chosen]
    (ids,), values = table.read([0], positions)
    _check_values(values, table, positions)
    codes, genes = pd.factorize(np.array(_gene_ids(ids, table, strip_version), dtype=object))
    if len(genes) < len(codes):
        is_first, repeated, differing = _keep_first(codes.astype(np.int64), values)
        _report_duplicates(table.name, "gene ids", list(genes[repeated]), len(differing))
        values = values[is_first]  # in the order of `genes`: both are by first appearance
    return _frame(values, genes, chosen)


def _read_long(
    table: DelimitedTable, headers: list[str], wanted: list[str] | None, strip_version: bool
) -> pd.DataFrame:
    gene_columns = [header for header in GENE_ID_COLUMNS if header in headers]
    value_columns = [header for header in headers if header in _VALUE_COLUMNS]
    used = [*gene_columns[:1], "cell_type", *value_columns]
    if not gene_columns or len(value_columns) != 1 or any(headers.count(name) > 1 for name in used):
        raise InputFormatError(
            f"{table.name} has a column cell_type, but is not a long table: its columns are "
            f"{first_names(table.columns, 12)}.",
            f"give it gene_id, cell_type and exactly one of {', '.join(_VALUE_COLUMNS)}",
        )
    positions = [headers.index(name) for name in used]
    (ids, types), values = table.read(positions[:2], positions[2:])
    _check_values(values, table, positions[2:])
    empty = np.flatnonzero(pc.equal(types, "").to_numpy())
    if empty.size:
        raise InputFormatError(
            f"{table.place(int(empty[0]))} has no cell type.", "give every line one"
        )
    genes_of_rows, genes = pd.factorize(
        np.array(_gene_ids(ids, table, strip_version), dtype=object)
    )
    types_of_rows, cell_types = pd.factorize(np.array(types.to_pylist(), dtype=object))
    keys = genes_of_rows.astype(np.int64) * len(cell_types) + types_of_rows
    is_first, repeated, differing = _keep_first(keys, values)
    if repeated.size:
        pairs = [
            f"{genes[key // len(cell_types)]} in {cell_types[key % len(cell_types)]}"
            for key in repeated.tolist()
        ]
        _report_duplicates(table.name, "pairs of gene and cell type", pairs, len(differing))
    matrix = np.full((len(genes), len(cell_types)), np.nan, dtype=np.float32)
    matrix.flat[keys[is_first]] = values[is_first, 0]
    chosen = _choose(list(cell_types), wanted, table.name)
    return _frame(matrix[:, pd.Index(cell_types).get_indexer(chosen)], genes, chosen)


def _frame(values: NDArray[np.float32], genes: Any, cell_types: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        values,
        index=pd.Index(genes, name="gene_id"),
        columns=pd.Index(cell_types, name="cell_type"),
        copy=False,
    )
