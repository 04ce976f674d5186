"""Lines of text to a table: which delimiter, which columns, which line is wrong."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from simplechrome.errors import InputFormatError, first_names

logger = logging.getLogger(__name__)

GENE_ID_COLUMNS = ("gene_id", "gene", "ensembl_gene_id", "ensembl_id")
"""Headers under which a gene's identifier is looked for, the likeliest first."""

# Only Ensembl's own: a dot elsewhere may be part of the name (Y74C9A.6 in the worm). Pseudo-
# autosomal genes keep their suffix, which separates ENSG00000182378.14_PAR_Y from that on chrX.
_VERSION = re.compile(r"(ENS[A-Z]*\d{11})\.\d+")
# Semicolons go before commas, which may be decimal ones.
_DELIMITERS = {"\t": "tab", ";": "semicolon", ",": "comma", " ": "space"}
_MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "NULL", "null", "None")
_COMMENTED_HEADER = re.compile(r'#\s*"?\w[\w.-]*"?')


def normalize_header(name: str) -> str:
    """Return a header in lower case, with underscores for spaces and dots."""
    return re.sub(r"[\s.]+", "_", name.strip().lower())


def tidy_gene_ids(gene_ids: list[str], source: str, *, strip_version: bool) -> list[str]:
    """Return identifiers with or without Ensembl's version suffix.

    ENSG00000000003.14 becomes ENSG00000000003 if `strip_version`; otherwise it stays, which is
    logged, since identifiers with and without version never match each other.
    """
    if strip_version:
        return [_VERSION.sub(r"\1", gene_id, count=1) for gene_id in gene_ids]
    versioned = [gene_id for gene_id in gene_ids if _VERSION.match(gene_id)]
    if versioned:
        logger.info(
            "%s: %d of %d gene ids carry a version, such as %s; it is kept "
            "(strip_version=True removes it)",
            *(source, len(versioned), len(gene_ids), versioned[0]),
        )
    return gene_ids


@dataclass(frozen=True)
class DelimitedTable:
    """The columns and rows of a text.

    columns : one name per column that has a meaning, "" for row names that have no header; a
        column that is empty because rows end in a delimiter is not among them
    rows, line_numbers : the lines that hold data, and where they stand in the file, from 1
    n_fields : in every row, at least as many as columns
    """

    name: str
    columns: list[str]
    delimiter: str
    rows: list[str]
    line_numbers: list[int]
    n_fields: int

    def place(self, row: int) -> str:
        """Return file and line of a row."""
        return f"{self.name}, line {self.line_numbers[row]}"

    def field(self, row: int, position: int) -> str:
        """Return a field exactly as written."""
        return _fields(self.rows[row], self.delimiter)[position]

    def read(
        self, texts: Sequence[int], numbers: Sequence[int] = ()
    ) -> tuple[list[Any], NDArray[np.float32]]:
        """Return the columns at these positions, read as text and as numbers.

        Returns
        -------
        One Arrow array of strings per text column, trimmed of spaces; (row, column) numbers,
        NaN where missing.

        Raises
        ------
        InputFormatError
            If a number is invalid, or quotes are not closed.
        """
        types = dict.fromkeys(texts, pa.string()) | dict.fromkeys(numbers, pa.float32())
        data = ("\n".join(self.rows) + "\n").encode()
        try:
            table = pacsv.read_csv(
                pa.BufferReader(data),
                read_options=pacsv.ReadOptions(
                    column_names=[str(position) for position in range(self.n_fields)],
                    # A row may not be longer than a block.
                    block_size=max(1 << 20, 4 * max(map(len, self.rows)) + 4),
                ),
                parse_options=pacsv.ParseOptions(
                    delimiter=self.delimiter, ignore_empty_lines=False
                ),
                convert_options=pacsv.ConvertOptions(
                    column_types={str(position): kind for position, kind in types.items()},
                    include_columns=[str(position) for position in types],
                    null_values=list(_MISSING),
                    strings_can_be_null=False,
                ),
            )
            n_rows, reason = len(table), "a quotation mark is not closed"
        except pa.ArrowInvalid as error:
            self._raise_first_non_number(numbers)
            n_rows, reason = 0, str(error)
        if n_rows != len(self.rows):
            raise InputFormatError(
                f"{self.name} cannot be read as a table of {len(self.rows)} rows: {reason}.",
                "look for a damaged line, or a quotation mark that is not closed",
            )
        strings = [pc.utf8_trim_whitespace(table[str(position)]) for position in texts]
        values = np.empty((len(self.rows), len(numbers)), dtype=np.float32)
        for column, position in enumerate(numbers):
            values[:, column] = table[str(position)].to_numpy()
        return strings, values

    def _raise_first_non_number(self, numbers: Sequence[int]) -> None:
        for row in range(len(self.rows)):
            for position in numbers:
                text = self.field(row, position).strip()
                with suppress(ValueError):
                    _ = text in _MISSING or float(text)
                    continue
                raise InputFormatError(
                    f"{self.place(row)}: column {self.columns[position]!r} holds {text!r}, not a "
                    "number.",
                    "write decimal points, not decimal commas; NA or nothing where missing; and "
                    "remove a column of text among the numbers, or name the columns to read",
                )


def _fields(line: str, delimiter: str) -> list[str]:
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter))
    except csv.Error:  # a field beyond the limit of the csv module: a quote that never closes
        return line.split(delimiter)


def _pick_delimiter(name: str, header: str, row: str) -> str:
    """The delimiter under which header and first row have (nearly) equally many fields."""
    if "\t" in header and "\t" in row:
        return "\t"
    counts = {each: (len(_fields(header, each)), len(_fields(row, each))) for each in _DELIMITERS}
    for surplus in (0, 1):
        for delimiter, (n_header, n_row) in counts.items():
            if n_header > 1 and n_row == n_header + surplus:
                return delimiter
    # One name over two fields: R's row names, which have none. Comma, space or semicolon may
    # then be part of the number or of the id as well.
    fitting = [delimiter for delimiter, both in counts.items() if both == (1, 2)]
    if len(fitting) > 1:
        raise InputFormatError(
            f"{name}: fields may be separated by {' or '.join(_DELIMITERS[d] for d in fitting)}, "
            f"in {header[:40]!r} over {row[:40]!r}.",
            "add the missing name to the header, gene_id",
        )
    present = [delimiter for delimiter in _DELIMITERS if delimiter in row]
    return (fitting or present or ["\t"])[0]


def _is_header(comment: str, row: str) -> bool:
    """Whether the comment above the first line is the header, as in `#gene_id  chrom  tss`."""
    for delimiter in _DELIMITERS:
        names = _fields(comment, delimiter)
        if len(names) == len(_fields(row, delimiter)) > 1:
            return bool(_COMMENTED_HEADER.fullmatch(names[0]))
    return False


def _name_columns(
    name: str, header: str, rows: list[str], delimiter: str, id_columns: Collection[str]
) -> list[str]:
    """Give the fields of the rows their names.

    Rows with one field more than the header come from two habits that shift the columns
    against each other: a delimiter at the end of each row, or row names without a header of
    their own (R's write.table). The first leaves the last field of every row empty.
    """
    columns = [column.strip() for column in _fields(header, delimiter)]
    last_is_empty = all(row.endswith((delimiter, f'{delimiter}""')) for row in rows)
    if len(_fields(rows[0], delimiter)) == len(columns):
        return columns[:-1] if last_is_empty and not columns[-1] else columns
    known = [normalize_header(column) in id_columns for column in columns]
    if last_is_empty and any(known):
        return columns
    if last_is_empty or known[0]:
        raise InputFormatError(
            f"{name}: the rows have one field more than the header ({first_names(columns, 4)}), "
            + (
                "and end in a delimiter or begin with a row name, which look the same here."
                if last_is_empty
                else "and the last is not empty."
            ),
            "name the first column gene_id"
            if last_is_empty
            else "complete the header (in R: write.table(…, row.names = FALSE))",
        )
    return ["", *columns]


def _check_field_counts(table: DelimitedTable, header: str) -> None:
    n_header = len(_fields(header, table.delimiter))
    fits = table.n_fields - n_header in (0, 1)
    for number, row in enumerate(table.rows):
        count = row.count(table.delimiter) + 1
        if '"' in row:
            count = len(_fields(row, table.delimiter))
        if count != table.n_fields or not fits:
            expected = (
                f"{table.n_fields}, as the rows before" if fits else f"{n_header}, as the header"
            )
            raise InputFormatError(
                f"{table.place(number)} has {count} fields ({_DELIMITERS[table.delimiter]}-"
                f"separated), not {expected} has.",
                "correct a damaged or cut-off line, or quote a field that holds the delimiter",
            )


def parse_delimited(lines: Iterable[str], name: str, id_columns: Collection[str]) -> DelimitedTable:
    """Return the table that is written in these lines.

    Tab, comma, semicolon or space, whichever header and first row both fit; quotes as in
    CSV, but no line ends inside them. Empty lines and those that begin with # are skipped; a
    header may begin with #.

    Parameters
    ----------
    id_columns
        Normalized names that a column of gene ids may have; they help to separate the two
        reasons for rows with one field more than the header.

    Raises
    ------
    InputFormatError
        If there are no rows, or their number of fields does not fit the header.
    """
    rows: list[str] = []
    line_numbers: list[int] = []
    comment = ""
    for number, line in enumerate(lines, start=1):
        if line.startswith("#"):
            comment = comment if rows else line.rstrip("\n")
        elif not line.isspace() and line:
            rows.append(line.rstrip("\n"))
            line_numbers.append(number)
    header = ""
    if rows and _is_header(comment, rows[0]):
        header = comment.lstrip("# ")
    elif rows:
        header = rows.pop(0)
        line_numbers.pop(0)
    if not rows:
        found = f"one line, {header[:60]!r}" if header else "empty lines and comments"
        raise InputFormatError(
            f"{name} holds no data, only {found}.",
            "give it a header and rows: a program or a copy was interrupted",
        )
    delimiter = _pick_delimiter(name, header, rows[0])
    n_fields = len(_fields(rows[0], delimiter))
    table = DelimitedTable(name, [], delimiter, rows, line_numbers, n_fields)
    _check_field_counts(table, header)
    table.columns.extend(_name_columns(name, header, rows, delimiter, id_columns))
    return table
