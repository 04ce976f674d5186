"""Which line of a CSV is to blame? The slow pass, taken only over a file known to be faulty."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from simplechrome.errors import InputFormatError
from simplechrome.sources.arrays import LARGEST_COUNT

BOM = b"\xef\xbb\xbf"
GENE_ID = re.compile(r"[0-9]{6}|ENS[A-Z]*G[0-9]{11}(\.[0-9]+)?")
"""The last six digits of a human Ensembl id, or a full one, with or without its version."""


class Columns(NamedTuple):
    """The columns in the file's order, and the lines to pass over before the first row."""

    names: tuple[str, ...]
    skip: int
    has_header: bool


class _Run(NamedTuple):
    """Neighboring rows of the same gene."""

    gene_id: str
    lines: list[int]
    bins: list[int]
    labels: list[int]


class _Rows(NamedTuple):
    """All rows of a file in its order; ids as written there."""

    gene_id: list[str]
    lines: list[int]
    bins: list[int]
    labels: list[int]

    def runs(self) -> Iterator[_Run]:
        start = 0
        for gene_id, group in groupby(self.gene_id):
            end = start + sum(1 for _ in group)
            part = slice(start, end)
            yield _Run(gene_id, self.lines[part], self.bins[part], self.labels[part])
            start = end


def complete_gene_id(raw_id: str) -> str:
    """What is the full Ensembl id? `000003` is ENSG00000000003; full ids stay as they are."""
    return f"ENSG00000{raw_id}" if len(raw_id) == 6 else raw_id


def find_fault(data: bytes, columns: Columns, name: str, reason: str) -> InputFormatError:
    """What is wrong with this file, and in which line?

    Looked for in this order: faults of single rows from the top; faults of genes from the top.
    A gene should have as many bins as most genes of the file (the larger number if two are
    equally common), numbered from 1 without gap, together and in order.

    Parameters
    ----------
    data : the whole file
    reason
        What the fast reader said; it is passed on if no line can be blamed.

    Returns
    -------
    The error to raise.
    """
    gene_at, bin_at, label_at = (columns.names.index(key) for key in ("gene", "bin", "label"))
    plain = re.compile("[^,]*" + ",[0-9]{1,7}" * (len(columns.names) - 1))
    rows = _Rows([], [], [], [])
    gene_id = ""
    for line, text in _lines(data, columns):
        fields = text.split(",")
        if (
            not plain.fullmatch(text)
            or fields[label_at] not in ("0", "1")
            or fields[gene_at] != gene_id
        ):
            fault = _row_fault(fields, columns, name, line, is_first=not rows.lines)
            if fault:
                return fault
            gene_id = fields[gene_at]
        rows.gene_id.append(gene_id)
        rows.lines.append(line)
        rows.bins.append(int(fields[bin_at]))
        rows.labels.append(int(fields[label_at]))
    if not rows.lines:
        return InputFormatError(
            f"{name} holds no rows.",
            found="a header and nothing below it" if columns.has_header else "empty lines",
            expected="one row for each bin of each gene",
            cause="the writing or copying of the file was interrupted",
        )
    return _gene_fault(rows, name) or InputFormatError(f"{name} cannot be read.", found=reason)


def line_of_gene(data: bytes, columns: Columns, gene_id: str) -> int:
    """In which line does this gene, given by its full id, begin?"""
    gene_at = columns.names.index("gene")
    return next(
        line
        for line, text in _lines(data, columns)
        if complete_gene_id(text.split(",")[gene_at]) == gene_id
    )


def _lines(data: bytes, columns: Columns) -> Iterator[tuple[int, str]]:
    for line, text in enumerate(data.removeprefix(BOM).splitlines(), start=1):
        # Empty lines carry nothing; Arrow passes over them too.
        if line > columns.skip and text:
            yield line, text.decode("utf-8", errors="replace")


def _row_fault(
    fields: list[str], columns: Columns, name: str, line: int, *, is_first: bool
) -> InputFormatError | None:
    where = f"{name}, line {line}"
    if len(fields) != len(columns.names):
        return _column_fault(fields, columns, where, is_first=is_first)
    if is_first and not columns.has_header and not any(field.isdigit() for field in fields):
        return InputFormatError(
            f"{where} is neither a row of data nor a header that can be used.",
            found=_excerpt(",".join(fields)),
            expected="gene,bin,MARK,MARK,…,label, or data from the first line on",
            remedy="name these columns so, or remove the line",
        )
    for column, text in zip(columns.names, fields, strict=True):
        if column == "gene":
            if not GENE_ID.fullmatch(text):
                return _gene_id_fault(text, where)
            continue
        digits = text.strip(" \t")
        if not (digits.isascii() and digits.isdigit()):
            negative = digits[:1] == "-" and digits[1:].isdecimal()
            return InputFormatError(
                f"{where}: {column} is {'negative' if negative else 'not a whole number'}.",
                found=_excerpt(text),
                expected="0 or 1" if column == "label" else "a whole number, 0 or more, in digits",
                cause="" if negative else _number_cause(digits),
            )
        # Python refuses to convert very long numbers.
        value = int(digits) if len(digits) <= 18 else LARGEST_COUNT + 1
        if column == "label" and value > 1:
            return InputFormatError(
                f"{where}: the label is neither 0 nor 1.",
                found=_excerpt(text),
                expected="1 for high, 0 for low expression",
                cause="the columns are in another order than gene, bin, marks, label",
            )
        if value > LARGEST_COUNT:
            return InputFormatError(
                f"{where}: {column} is too large.",
                found=_excerpt(text),
                expected=f"at most {LARGEST_COUNT:,}, which float32 still holds exactly",
            )
    return None


def _column_fault(
    fields: list[str], columns: Columns, where: str, *, is_first: bool
) -> InputFormatError:
    text = ",".join(fields)
    separator = next((s for s in ("\t", ";", " ") if text.count(s) >= 2), None)
    if separator and len(fields) == 1:
        cause = f"the fields are separated by {separator!r}, not by a comma"
    elif len(fields) < len(columns.names):
        cause = "the line is cut off, or a column is missing"
    else:
        cause = "a field holds a comma, or two lines ran into one"
    return InputFormatError(
        f"{where} has {len(fields)} columns instead of {len(columns.names)}.",
        found=_excerpt(text),
        expected=", ".join(columns.names),
        cause=cause,
        remedy="for other marks, put a header line on top: gene,bin,MARK,MARK,…,label"
        if is_first and not columns.has_header
        else "",
    )


def _gene_id_fault(text: str, where: str) -> InputFormatError:
    short = text.isascii() and text.isdigit() and len(text) < 6
    return InputFormatError(
        f"{where}: the gene id is not six digits.",
        found=_excerpt(text),
        expected="000003 for ENSG00000000003, or the full Ensembl id",
        cause="a spreadsheet or a reader of numbers dropped the leading zeros"
        if short
        else "the columns are in another order, or the ids are of another kind",
        remedy=f"write {text.zfill(6)} in place of {text}" if short else "",
    )


def _number_cause(digits: str) -> str:
    if not digits:
        return "a value is missing"
    if digits.replace(".", "", 1).isdecimal():
        return "the signal was normalized; this layout holds counts of reads"
    return ""


def _gene_fault(rows: _Rows, name: str) -> InputFormatError | None:
    n_rows = Counter(rows.gene_id)
    bins_of: dict[str, set[int]] = {}
    for raw_id, bin_number in zip(rows.gene_id, rows.bins, strict=True):
        bins_of.setdefault(raw_id, set()).add(bin_number)
    sizes = Counter(map(len, bins_of.values()))
    n_bins = max(sizes, key=lambda size: (sizes[size], size))
    in_order = list(range(1, n_bins + 1))
    first_line: dict[str, int] = {}
    first_fault: InputFormatError | None = None
    faulty: set[str] = set()
    for run in rows.runs():
        gene_id = complete_gene_id(run.gene_id)
        earlier = first_line.setdefault(gene_id, run.lines[0])
        comes_again = earlier != run.lines[0]
        if comes_again or run.bins != in_order or len(set(run.labels)) > 1:
            faulty.add(gene_id)
            if first_fault is None:
                first_fault = _run_fault(
                    run,
                    n_bins,
                    name,
                    earlier_line=earlier if comes_again else None,
                    n_elsewhere=n_rows[run.gene_id] - len(run.bins),
                )
    if first_fault is not None and len(faulty) > 1:
        first_fault = InputFormatError(
            first_fault.problem,
            found=f"{first_fault.found}; {len(faulty) - 1:,} more of {len(first_line):,} genes "
            "in this file are at fault",
            expected=first_fault.expected,
            cause=first_fault.cause,
            remedy=first_fault.remedy,
        )
    return first_fault


def _run_fault(
    gene: _Run, n_bins: int, name: str, *, earlier_line: int | None, n_elsewhere: int
) -> InputFormatError:
    """What is wrong with rows that are known not to be one whole gene in order?"""
    found = f"{len(gene.bins)} rows together, lines {gene.lines[0]} to {gene.lines[-1]}"
    found += f", and {n_elsewhere} elsewhere" if n_elsewhere else ""
    expected = f"{n_bins} rows, bins 1 to {n_bins} in order, as most genes here have"
    if earlier_line is not None:
        return InputFormatError(
            f"{name}, line {gene.lines[0]}: gene {gene.gene_id} comes a second time.",
            found=f"{found}, first in line {earlier_line}",
            expected=expected,
            cause="rows were duplicated or shuffled",
            remedy="sort the rows by gene and bin, and remove the duplicates",
        )
    for number, (line, bin_number) in enumerate(zip(gene.lines, gene.bins, strict=True), start=1):
        if bin_number != number:
            is_twice = bin_number in gene.bins[: number - 1]
            is_moved = n_elsewhere > 0 or number in gene.bins[number:]
            return InputFormatError(
                f"{name}, line {line}: gene {gene.gene_id} has bin {bin_number} where bin {number} "
                "should be.",
                found=found,
                expected=expected,
                cause="rows were duplicated or shuffled"
                if is_twice or is_moved
                else "rows are missing",
            )
    if len(gene.bins) != n_bins:
        return InputFormatError(
            f"{name}, line {gene.lines[0]}: gene {gene.gene_id} has {len(gene.bins)} bins "
            f"instead of {n_bins}.",
            found=found,
            expected=expected,
            cause="rows were shuffled"
            if n_elsewhere
            else "the file is cut off, or rows are missing"
            if len(gene.bins) < n_bins
            else "rows of another window were appended",
        )
    line, label = next(
        (line, label)
        for line, label in zip(gene.lines, gene.labels, strict=True)
        if label != gene.labels[0]
    )
    return InputFormatError(
        f"{name}, line {line}: gene {gene.gene_id} has two labels.",
        found=f"{gene.labels[0]} from line {gene.lines[0]} on, {label} in line {line}",
        expected="the same label in all rows of a gene",
    )


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")
