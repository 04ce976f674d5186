"""Which counts, labels and splits does the published DeepChrome layout hold?

The layout: `CELL_TYPE/classification/{train,valid,test}.csv` below any prefix, in a folder or in
a `.tar` or `.tar.gz` that is read in place. The rows are gene, bin, one count per mark, label;
without a header line the marks are the five published ones in their published order.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv

from simplechrome.errors import ConfigError, InputFormatError, MissingInputError, SimpleChromeError
from simplechrome.sources.arrays import LARGEST_COUNT, count_dtype
from simplechrome.sources.deepchrome_files import (
    SPLITS,
    CellTypeFiles,
    SplitFile,
    cell_type_names,
    files_by_cell_type,
)
from simplechrome.sources.delimited import GENE_ID_COLUMNS, normalize_header
from simplechrome.sources.provenance import Source, fingerprint

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


logger = logging.getLogger(__name__)

ONE_SIDED = 0.85
"""From this share of one class on, a constant guess looks like a good model."""


class CellTypeCounts(NamedTuple):
    """One cell type of the DeepChrome layout.

    gene_id : (gene,) full Ensembl ids, in the order of the files: train, valid, test
    counts : (gene, bin, mark) reads, uint16, or float32 where one is above 65,535; C order
    label : (gene,) int8, 1 high, 0 low
    split : (gene,) "train", "valid" or "test"
    sources : name, bytes and sha256 of each CSV
    """

    cell_type: str
    gene_id: np.ndarray
    counts: np.ndarray
    marks: tuple[str, ...]
    label: np.ndarray
    split: np.ndarray
    sources: list[Source]


class Reading(NamedTuple):
    """One cell type on the way through a folder or archive.

    counts : None where the files are those that were read before
    passed : share of the folder or archive that has been gone through, up to 1
    """

    cell_type: str
    counts: CellTypeCounts | None
    passed: float


def list_cell_types(path: str | Path) -> list[str]:
    """Which cell types lie in this folder or archive?

    Parameters
    ----------
    path
        A folder (of cell types, of one cell type, or `classification` itself), .tar or .tar.gz.

    Returns
    -------
    Sorted names. No CSV is opened; an archive is run through once.

    Raises
    ------
    MissingInputError
        If nothing is there.
    InputFormatError
        If it holds no cell type, one twice, or is a damaged archive.
    """
    return cell_type_names(Path(path))


def read_deepchrome(
    path: str | Path,
    cell_types: Sequence[str] | None = None,
    *,
    splits: Sequence[str] = SPLITS,
    on_bad_cell_type: Literal["stop", "skip"] = "stop",
) -> Iterator[CellTypeCounts]:
    """What are the counts, labels and splits of each cell type?

    One cell type is in memory at a time. A folder gives them in the order of `cell_types`, or
    sorted; an archive in its own order, since it is read once and nothing is extracted.

    A gene has as many bins as most genes of its file, and all files of a cell type agree. Its
    rows must be together and count the bins from 1 on: rows out of order are refused rather
    than sorted, for they are a sign that more went wrong.

    Parameters
    ----------
    path
        A folder (of cell types, of one cell type, or `classification` itself), .tar or .tar.gz.
    cell_types
        Names of the cell types to read; all by default.
    splits
        The files that each cell type must have. To read a layout without a validation file,
        say `splits=("train", "test")`; a missing file is never passed over in silence.
    on_bad_cell_type
        "stop" raises at the first cell type that cannot be used. "skip" logs a warning with the
        reason and goes on; if none can be used, it raises all the same.

    Yields
    ------
    CellTypeCounts, genes in the order of the files: train, valid, test.

    Raises
    ------
    InputFormatError
        If a file is empty or malformed (the message names the line), two files of a cell type
        disagree in marks, bins or genes, or the archive is damaged.
    MissingInputError
        If `path` or a split's file is not there.
    UnknownGeneError
        If a name in `cell_types` is not there; for an archive known only at its end.
    ConfigError
        If an argument makes no sense.

    Notes
    -----
    Labels of (nearly) one class are reported by `logging`, for a cell type and for a split.

    References
    ----------
    Singh et al., Bioinformatics 2016 (DeepChrome), the layout's origin.
    """
    readings = read_changed(path, {}, cell_types, splits=splits, on_bad_cell_type=on_bad_cell_type)
    return (reading.counts for reading in readings if reading.counts is not None)


def read_changed(
    path: str | Path,
    known: Mapping[str, Sequence[Mapping[str, Any]]],
    cell_types: Sequence[str] | None = None,
    *,
    splits: Sequence[str] = SPLITS,
    on_bad_cell_type: Literal["stop", "skip"] = "stop",
) -> Iterator[Reading]:
    """Which cell types are there, and what do those hold that were not read before?

    Files that were read before are only compared by their checksums, which takes a tenth of the
    time. All else is as for `read_deepchrome`.

    Parameters
    ----------
    known
        Cell types that were read before, each with its `sources` (see `CellTypeCounts`).

    Yields
    ------
    Reading, one for each cell type that can be used.

    Raises
    ------
    InputFormatError, MissingInputError, UnknownGeneError, ConfigError
        See `read_deepchrome`.
    """
    wanted = [cell_types] if isinstance(cell_types, str) else cell_types
    if wanted is not None and len(wanted) == 0:
        raise ConfigError("cell_types is empty.", expected="one name or more, or None for all")
    if on_bad_cell_type not in ("stop", "skip"):
        raise ConfigError(
            "on_bad_cell_type has an unknown value.",
            found=repr(on_bad_cell_type),
            expected="'stop' or 'skip'",
        )
    if not splits or isinstance(splits, str) or not set(splits) <= set(SPLITS):
        raise ConfigError(
            "splits names files that the layout does not have.",
            found=repr(splits),
            expected=f"one or more of {', '.join(SPLITS)}, as a tuple",
        )
    in_order = tuple(split for split in SPLITS if split in splits)
    unique = None if wanted is None else list(dict.fromkeys(wanted))
    return _read(Path(path), known, unique, in_order, skip=on_bad_cell_type == "skip")


def _read(
    path: Path,
    known: Mapping[str, Sequence[Mapping[str, Any]]],
    wanted: list[str] | None,
    splits: tuple[str, ...],
    *,
    skip: bool,
) -> Iterator[Reading]:
    n_read = 0
    reasons: list[SimpleChromeError] = []
    for files in files_by_cell_type(path, splits, wanted):
        before = known.get(files.cell_type)
        try:
            unchanged = before is not None and _sources(files, splits) == list(before)
            counts = None if unchanged else _read_cell_type(files, splits)
        except (InputFormatError, MissingInputError) as error:
            if not skip:
                raise
            logger.warning("Cell type %s is skipped. %s", files.cell_type, error)
            reasons.append(error)
            continue
        n_read += 1
        if counts is not None:
            if before is not None:
                logger.warning(
                    "%s: its files have changed since they were read, and were read anew",
                    files.cell_type,
                )
            _report_balance(counts)
        yield Reading(files.cell_type, counts, files.passed)
        del files, counts  # Otherwise two cell types are in memory while the next is read.
    if n_read == 0:
        raise InputFormatError(
            f"None of the {len(reasons)} cell types in {path.name} can be used.",
            found="; ".join(reason.problem for reason in reasons[:3])
            + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""),
            expected="at least one cell type without faults",
        )


def _sources(files: CellTypeFiles, splits: tuple[str, ...]) -> list[Source]:
    """The files' fingerprints, one file in memory at a time."""
    return [
        fingerprint(file.name, file.read())
        for file in (files.files.get(split) for split in splits)
        if file is not None
    ]


def _read_cell_type(files: CellTypeFiles, splits: tuple[str, ...]) -> CellTypeCounts:
    """Parse and join the files of one cell type, in the order of `splits`."""
    absent = [split for split in splits if split not in files.files]
    if absent:
        present = [file.name for file in files.files.values()]
        raise MissingInputError(
            f"{files.cell_type} lacks {', '.join(f'{split}.csv' for split in absent)}.",
            found=", ".join(present) or "none of its files",
            expected=", ".join(f"{files.cell_type}/classification/{split}.csv" for split in splits),
            cause="the download or extraction was interrupted",
            remedy="fetch it again; if the layout is meant to be so, name the files that are "
            f"there in `splits`, as in splits={tuple(s for s in splits if s not in absent)!r}"
            if present
            else "fetch it again",
        )
    parts: list[SplitCounts] = []
    sources: list[Source] = []
    for split in splits:
        file = files.files[split]
        data = file.read()
        sources.append(fingerprint(file.name, data))
        parts.append(parse_counts(data, file.name))
    in_order = [files.files[split] for split in splits]
    parts = _agreeing(parts, in_order)
    gene_id = [name for part in parts for name in part.gene_id]
    if len(set(gene_id)) < len(gene_id):
        raise _shared_genes(parts, in_order)
    return CellTypeCounts(
        cell_type=files.cell_type,
        gene_id=np.array(gene_id),
        counts=np.concatenate([part.counts for part in parts]),
        marks=parts[0].marks,
        label=np.concatenate([part.label for part in parts]),
        split=np.repeat(splits, [len(part.gene_id) for part in parts]),
        sources=sources,
    )


def _agreeing(parts: list[SplitCounts], files: list[SplitFile]) -> list[SplitCounts]:
    """The parts with the first one's order of marks, if marks and bins are the same."""
    first = parts[0]
    for part, file in zip(parts, files, strict=True):
        if set(part.marks) != set(first.marks):
            raise InputFormatError(
                f"{file.name} has other marks than {files[0].name}.",
                found=", ".join(part.marks),
                expected=", ".join(first.marks),
                cause="the files come from different sources, or one lacks its header line",
            )
        if part.counts.shape[1] != first.counts.shape[1]:
            raise InputFormatError(
                f"{file.name} has another number of bins per gene than {files[0].name}.",
                found=f"{part.counts.shape[1]} bins",
                expected=f"{first.counts.shape[1]} bins",
                cause="the files come from different sources, or one is cut off",
            )
    return [
        part
        if part.marks == first.marks
        else part._replace(
            counts=np.ascontiguousarray(
                part.counts[:, :, [part.marks.index(mark) for mark in first.marks]]
            ),
            marks=first.marks,
        )
        for part in parts
    ]


def _shared_genes(parts: list[SplitCounts], files: list[SplitFile]) -> InputFormatError:
    """The error for genes that lie in two files."""
    owner: dict[str, int] = {}
    shared: list[tuple[str, int, int]] = []
    for index, part in enumerate(parts):
        for name in part.gene_id:
            if owner.setdefault(name, index) != index:
                shared.append((name, owner[name], index))
    name, *both = shared[0]
    places = []
    for index in both:
        data = files[index].read()
        line = line_of_gene(data, read_columns(data, files[index].name), name)
        places.append(f"{files[index].name}, line {line}")
    return InputFormatError(
        f"{places[1]}: gene {name} is in two splits.",
        found=f"also in {places[0]}"
        + (f"; {len(shared) - 1:,} more genes are in two splits" if len(shared) > 1 else ""),
        expected="each gene in one split, so that nothing is tested on what was trained on",
        cause="the splits were drawn per file or per row, not per gene",
    )


def _report_balance(counts: CellTypeCounts) -> None:
    """Say how many genes are high, and warn where a constant guess would do well."""
    high = float(counts.label.mean())
    shares = {
        str(split): float(counts.label[counts.split == split].mean())
        for split in dict.fromkeys(counts.split.tolist())
    }
    listed = ", ".join(f"{split} {share:.0%}" for split, share in shares.items())
    logger.info(
        "%s: %s genes, %.0f %% labelled high (%s)",
        counts.cell_type,
        f"{counts.label.size:,}",
        100 * high,
        listed,
    )
    if max(high, 1 - high) >= ONE_SIDED:
        where = counts.cell_type
    else:
        where = ", ".join(s for s, share in shares.items() if max(share, 1 - share) >= ONE_SIDED)
        where = f"{counts.cell_type} ({where})" if where else ""
    if where:
        logger.warning(
            "%s: nearly all labels are of one class (high: %s). A constant guess reaches that "
            "accuracy: go by AUROC and AUPRC, or make labels from an expression table.",
            where,
            listed,
        )


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
