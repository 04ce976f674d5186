"""Lines of text to a table: which delimiter, which columns, which line is wrong."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from simplechrome.errors import InputFormatError

logger = logging.getLogger(__name__)

GENE_ID_COLUMNS = ("gene_id", "gene", "ensembl_gene_id", "ensembl_id")
"""Headers under which a gene's identifier is looked for, the likeliest first."""

# Only Ensembl's own: a dot elsewhere may be part of the name (Y74C9A.6 in the worm). Pseudo-
# autosomal genes keep their suffix, which tells ENSG00000182378.14_PAR_Y from the one on chrX.
_VERSION = re.compile(r"(ENS[A-Z]*\d{11})\.\d+")


def normalize_header(name: str) -> str:
    """What does this header say, apart from case, spaces and dots?"""
    return re.sub(r"[\s.]+", "_", name.strip().lower())


def tidy_gene_ids(gene_ids: list[str], source: str, *, strip_version: bool) -> list[str]:
    """Which identifiers are meant, with or without Ensembl's version suffix?

    ENSG00000000003.14 becomes ENSG00000000003 if `strip_version`; otherwise it stays, and a
    remark is logged, since identifiers with and without version never match each other.
    """
    if strip_version:
        return [_VERSION.sub(r"\1", gene_id, count=1) for gene_id in gene_ids]
    versioned = [gene_id for gene_id in gene_ids if _VERSION.match(gene_id)]
    if versioned:
        logger.info(
            "%s: %d of %d gene ids carry a version, such as %s; it is kept "
            "(strip_version=True removes it)",
            source,
            len(versioned),
            len(gene_ids),
            versioned[0],
        )
    return gene_ids


# Semicolons go before commas, which may be decimal ones beside them.
_DELIMITERS = {"\t": "tab", ";": "semicolon", ",": "comma", " ": "space"}
_MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "NULL", "null", "None")
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_COMMENTED_HEADER = re.compile(r'#\s*"?\w[\w.-]*"?')


@dataclass(frozen=True)
class DelimitedTable:
    """Which columns has the text, and what does each row hold?

    Attributes
    ----------
    name
        The file's name, for messages.
    columns
        One name per column that means something; a column that is empty because rows end in
        a delimiter is not among them. "" for row names that have no header.
    rows, line_numbers
        The lines that hold data, and where they stand in the file, from 1.
    n_fields
        Number of fields in every row, at least that of the columns.
    """

    name: str
    columns: list[str]
    delimiter: str
    rows: list[str]
    line_numbers: list[int]
    n_fields: int

    def place(self, row: int) -> str:
        """Where in the file does this row stand?"""
        return f"{self.name}, line {self.line_numbers[row]}"

    def field(self, row: int, position: int) -> str:
        """What exactly is written there?"""
        return _fields(self.rows[row], self.delimiter)[position]

    def read(
        self, texts: Sequence[int], numbers: Sequence[int] = ()
    ) -> tuple[list[Any], NDArray[np.float32]]:
        """What do these columns hold?

        Parameters
        ----------
        texts, numbers
            Positions of columns to read as text and as numbers.

        Returns
        -------
        One Arrow array of strings per text column, trimmed of spaces; (row, column) numbers,
        NaN where missing.

        Raises
        ------
        InputFormatError
            If a number is none, or quotes are not closed.
        """
        types = dict.fromkeys(texts, pa.string()) | dict.fromkeys(numbers, pa.float32())
        try:
            table = self._parse(types)
        except pa.ArrowInvalid as error:
            self._raise_first_non_number(numbers)
            raise InputFormatError(
                f"{self.name} cannot be read as a table.",
                found=str(error),
                cause="a damaged line, or a quotation mark that is not closed",
            ) from error
        if len(table) != len(self.rows):
            raise InputFormatError(
                f"{self.name} has a quotation mark that is not closed.",
                found=f"{len(table)} rows",
                expected=f"{len(self.rows)}, one per line",
            )
        strings = [pc.utf8_trim_whitespace(table[str(position)]) for position in texts]
        values = np.empty((len(self.rows), len(numbers)), dtype=np.float32)
        for column, position in enumerate(numbers):
            values[:, column] = table[str(position)].to_numpy()
        return strings, values

    def _parse(self, types: dict[int, Any]) -> Any:
        data = ("\n".join(self.rows) + "\n").encode()
        # A row may not be longer than a block.
        block_size = max(1 << 20, 4 * max(map(len, self.rows)) + 4)
        return pacsv.read_csv(
            pa.BufferReader(data),
            read_options=pacsv.ReadOptions(
                column_names=[str(position) for position in range(self.n_fields)],
                block_size=block_size,
            ),
            parse_options=pacsv.ParseOptions(delimiter=self.delimiter, ignore_empty_lines=False),
            convert_options=pacsv.ConvertOptions(
                column_types={str(position): kind for position, kind in types.items()},
                include_columns=[str(position) for position in types],
                null_values=list(_MISSING),
                strings_can_be_null=False,
            ),
        )

    def _raise_first_non_number(self, numbers: Sequence[int]) -> None:
        try:
            table = self._parse(dict.fromkeys(numbers, pa.string()))
        except pa.ArrowInvalid:
            return
        wrong = {}
        for position in numbers:
            column = table[str(position)]
            right = pc.or_(
                pc.match_substring_regex(column, _NUMBER),
                pc.is_in(column, pa.array(_MISSING, pa.string())),
            )
            rows = np.flatnonzero(~right.to_numpy())
            if rows.size:
                wrong[position] = rows
        if not wrong:
            return
        position = min(wrong, key=lambda position: wrong[position][0])
        row = int(wrong[position][0])
        text = self.field(row, position)
        total = sum(rows.size for rows in wrong.values())
        columns = ", ".join(repr(self.columns[position]) for position in list(wrong)[:5])
        columns = f"column{'s' * (len(wrong) > 1)} {columns}{', …' * (len(wrong) > 5)}"
        decimal_comma = re.fullmatch(r"\s*[+-]?\d+,\d+\s*", text)
        raise InputFormatError(
            f"{self.place(row)}: column {self.columns[position]!r} holds {text!r}, not a number.",
            found=f"{total} such field{'s' * (total > 1)}, in {columns}",
            expected="numbers with a decimal point; NA or nothing where missing",
            cause="decimal commas"
            if decimal_comma
            else "a column of text among the numbers"
            if 2 * len(wrong[position]) > len(self.rows)
            else "a damaged or mistyped field",
            remedy="correct the field; or remove the column, or do not ask for it",
        )


def _fields(line: str, delimiter: str) -> list[str]:
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter))
    except csv.Error:  # a field beyond the limit of the csv module: a quote that never closes
        return line.split(delimiter)


def _pick_delimiter(name: str, header: str, row: str) -> str:
    """Under which delimiter do header and first row have (nearly) equally many fields?"""
    if "\t" in header and "\t" in row:
        return "\t"
    n_header = {delimiter: len(_fields(header, delimiter)) for delimiter in _DELIMITERS}
    n_row = {delimiter: len(_fields(row, delimiter)) for delimiter in _DELIMITERS}
    for surplus in (0, 1):
        for delimiter in _DELIMITERS:
            if n_header[delimiter] > 1 and n_row[delimiter] == n_header[delimiter] + surplus:
                return delimiter
    # One name over two fields: R's row names, which have none. Comma, space or semicolon may
    # then be part of the number or of the id as well.
    fitting = [
        delimiter for delimiter in _DELIMITERS if (n_header[delimiter], n_row[delimiter]) == (1, 2)
    ]
    if len(fitting) > 1:
        raise InputFormatError(
            f"{name}: what separates the fields cannot be told.",
            found=f"{header[:40]!r} over {row[:40]!r}",
            expected="one of " + ", ".join(_DELIMITERS[delimiter] for delimiter in fitting),
            remedy="add the missing name to the header, gene_id",
        )
    present = [delimiter for delimiter in _DELIMITERS if delimiter in row]
    return (fitting or present or ["\t"])[0]


def _is_header(comment: str, row: str) -> bool:
    """Is the comment above the first line the table's header, as in `#gene_id  chrom  tss`?"""
    for delimiter in _DELIMITERS:
        names = _fields(comment, delimiter)
        if len(names) == len(_fields(row, delimiter)) > 1:
            return bool(_COMMENTED_HEADER.fullmatch(names[0]))
    return False


def _name_columns(
    name: str, header: str, rows: list[str], delimiter: str, id_columns: Collection[str]
) -> list[str]:
    """Which field of the rows does each name of the header belong to?

    Rows with one field more than the header come from two habits that shift the columns
    against each other: a delimiter at the end of each row, or row names without a header of
    their own (R's write.table). The first leaves the last field of every row empty.
    """
    columns = [column.strip() for column in _fields(header, delimiter)]
    n_fields = len(_fields(rows[0], delimiter))
    last_is_empty = all(row.endswith((delimiter, f'{delimiter}""')) for row in rows)
    if n_fields == len(columns):
        return columns[:-1] if last_is_empty and not columns[-1] else columns
    known = [normalize_header(column) in id_columns for column in columns]
    problem = f"{name}: the rows have one field more than the header."
    if last_is_empty:
        if any(known):
            return columns
        raise InputFormatError(
            problem,
            found=f"header {', '.join(columns[:4])}, …; the last field of every row is empty",
            expected="a header that names the column of gene ids",
            cause="rows that end in a delimiter, or row names without a header and an empty "
            "last column: the two cannot be told apart here",
            remedy="name the first column gene_id",
        )
    if known[0]:
        raise InputFormatError(
            problem,
            found=f"header {', '.join(columns[:4])}, … with {len(columns)} names; "
            f"{n_fields} fields per row, the last not empty",
            expected="one name per field",
            cause="a name is missing from the header, or R wrote row numbers without a header",
            remedy="complete the header (in R: write.table(…, row.names = FALSE))",
        )
    return ["", *columns]


def _check_field_counts(
    name: str, header: str, rows: list[str], line_numbers: list[int], delimiter: str
) -> int:
    counts = [
        row.count(delimiter) + 1 if '"' not in row else len(_fields(row, delimiter)) for row in rows
    ]
    n_header = len(_fields(header, delimiter))
    n_fields = counts[0]
    odd = [row for row, count in enumerate(counts) if count != n_fields]
    if n_fields - n_header not in (0, 1):
        odd = [0, *odd]
    if odd:
        expected = n_fields if odd[0] else n_header
        raise InputFormatError(
            f"{name}, line {line_numbers[odd[0]]} has {counts[odd[0]]} fields "
            f"({_DELIMITERS[delimiter]}-separated).",
            found=f"{len(odd)} such lines" if len(odd) > 1 else "one such line",
            expected=f"{expected}, as in the {'rows before' if odd[0] else 'header'}",
            cause="a damaged or cut-off file, or a delimiter inside a field without quotes",
        )
    return n_fields


def parse_delimited(
    lines: Iterable[str], name: str, id_columns: Collection[str], expected: str
) -> DelimitedTable:
    """Which table is written in these lines?

    Tab, comma, semicolon or space, told by what header and first row agree on; quotes as in
    CSV, but no line ends inside them. Empty lines and those that begin with # are skipped; a
    header may begin with #.

    Parameters
    ----------
    lines
        From the first line of the file, with or without their ends.
    name
        The file's name, for messages.
    id_columns
        Normalized names that a column of gene ids may have; they help to tell the two reasons
        for rows with one field more than the header.
    expected
        What the file should hold, for messages.

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
        raise InputFormatError(
            f"{name} holds no data.",
            found="nothing but empty lines and comments"
            if not header
            else f"one line: {header[:60]!r}",
            expected=expected,
            cause="the program that wrote it failed, or the file was cut off",
        )
    delimiter = _pick_delimiter(name, header, rows[0])
    n_fields = _check_field_counts(name, header, rows, line_numbers, delimiter)
    columns = _name_columns(name, header, rows, delimiter, id_columns)
    return DelimitedTable(name, columns, delimiter, rows, line_numbers, n_fields)
