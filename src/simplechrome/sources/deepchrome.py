"""Counts, labels and splits in the published DeepChrome layout.

The layout: `CELL_TYPE/classification/{train,valid,test}.csv` below any prefix, in a folder or in
a `.tar` or `.tar.gz` that is read in place. The rows are gene, bin, one count per mark, label;
without a header line the marks are the five published ones in their published order.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv

from simplechrome.errors import (
    ConfigError,
    InputFormatError,
    MissingInputError,
    SimpleChromeError,
    first_names,
)
from simplechrome.sources.arrays import LARGEST_COUNT, count_dtype
from simplechrome.sources.deepchrome_files import SPLITS, CellTypeFiles, files_by_cell_type
from simplechrome.sources.delimited import GENE_ID_COLUMNS, normalize_header
from simplechrome.sources.provenance import Source, fingerprint

logger = logging.getLogger(__name__)

ONE_SIDED = 0.85
"""From this fraction of one class on, a constant guess looks like a good model."""
PUBLISHED_MARKS = ("H3K27me3", "H3K36me3", "H3K4me1", "H3K4me3", "H3K9me3")
"""The marks' order in the published files, which have no header."""
GENE_ID = re.compile(r"[0-9]{6}|ENS[A-Z]*G[0-9]{11}(\.[0-9]+)?")
"""The last six digits of a human Ensembl id, or a full one, with or without its version."""

_BOM = b"\xef\xbb\xbf"
_ROLES = dict.fromkeys(GENE_ID_COLUMNS, "gene") | {"bin": "bin", "label": "label"}
_HEXADECIMAL = re.compile(rb"(?:^|[,\r\n])[ \t]*0[xX]")
_FIRST_LINE = re.compile(rb"[\r\n]*([^\r\n]*)")


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
    passed : fraction of the folder or archive that has been gone through
    """

    cell_type: str
    counts: CellTypeCounts | None
    passed: float


class Columns(NamedTuple):
    """The columns in the file's order, and the number of lines before the first row."""

    names: tuple[str, ...]
    skip: int
    has_header: bool


class SplitCounts(NamedTuple):
    """One CSV: gene_id (gene,), counts (gene, bin, mark), label (gene,) int8, and marks."""

    gene_id: list[str]
    counts: np.ndarray
    label: np.ndarray
    marks: tuple[str, ...]


def read_deepchrome(
    path: str | Path,
    cell_types: Sequence[str] | None = None,
    *,
    splits: Sequence[str] = SPLITS,
    on_bad_cell_type: Literal["stop", "skip"] = "stop",
) -> Iterator[CellTypeCounts]:
    """Yield the counts, labels and splits of each cell type.

    One cell type is in memory at a time. A folder gives them in the order of `cell_types`, or
    sorted; an archive in its own order, since it is read once and nothing is extracted.

    A gene has as many bins as most genes of its file, and all files of a cell type have the same
    number. Its rows must be together and count the bins from 1 on: rows out of order are refused
    rather than sorted, for they are a sign that more went wrong.

    Parameters
    ----------
    path
        A folder or archive; see `list_cell_types`.
    cell_types
        Those to read; all by default.
    splits
        The files that each cell type must have. For a layout without a validation file, pass
        `splits=("train", "test")`; a missing file is an error.
    on_bad_cell_type
        "stop" raises at the first cell type that cannot be used. "skip" logs a warning with the
        reason and continues; if none can be used, it raises all the same.

    Yields
    ------
    CellTypeCounts, genes in the order of the files: train, valid, test.

    Raises
    ------
    InputFormatError
        If a file is empty or malformed (the message names the line), two files of a cell type
        differ in marks or bins or share genes, or the archive is damaged.
    MissingInputError
        If `path` or a split's file is not there.
    UnknownGeneError
        If a name in `cell_types` is not there; for an archive known only at its end.
    ConfigError
        If an argument is invalid.

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
    """Yield the cell types that can be used, and the counts of those not read before.

    Files that were read before are only compared by their checksums, which takes a tenth of the
    time. All else is as for `read_deepchrome`.

    `known` holds cell types that were read before, each with its `sources`.
    """
    wanted = [cell_types] if isinstance(cell_types, str) else cell_types
    if wanted is not None and len(wanted) == 0:
        raise ConfigError("cell_types is empty.", "give one name or more, or None for all")
    if on_bad_cell_type not in ("stop", "skip"):
        raise ConfigError(f"on_bad_cell_type is {on_bad_cell_type!r}, not 'stop' or 'skip'.")
    if not splits or isinstance(splits, str) or not set(splits) <= set(SPLITS):
        raise ConfigError(
            f"splits is {splits!r}, not one or more of {', '.join(SPLITS)}, as a tuple."
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
                    "%s: its files have changed since they were read, and were read again",
                    files.cell_type,
                )
            _report_balance(counts)
        yield Reading(files.cell_type, counts, files.passed)
        del files, counts  # Otherwise two cell types are in memory while the next is read.
    if n_read == 0:
        problems = " ".join(reason.problem for reason in reasons[:3])
        raise InputFormatError(
            f"None of the {len(reasons)} cell types in {path.name} can be used. {problems}",
            "fetch the files again",
        )


def _sources(files: CellTypeFiles, splits: tuple[str, ...]) -> list[Source]:
    """The files' fingerprints, one file in memory at a time."""
    present = [files.files[split] for split in splits if split in files.files]
    return [fingerprint(file.name, file.read()) for file in present]


def _read_cell_type(files: CellTypeFiles, splits: tuple[str, ...]) -> CellTypeCounts:
    """Parse and join the files of one cell type, in the order of `splits`."""
    absent = [f"{split}.csv" for split in splits if split not in files.files]
    if absent:
        present = tuple(split for split in splits if split in files.files)
        without = f"; to read it without them, pass splits={present!r}" if present else ""
        raise MissingInputError(
            f"{files.cell_type} lacks {', '.join(absent)}.", f"fetch it again{without}"
        )
    in_order = [files.files[split] for split in splits]
    parts: list[SplitCounts] = []
    sources: list[Source] = []
    for file in in_order:
        data = file.read()
        sources.append(fingerprint(file.name, data))
        parts.append(parse_counts(data, file.name))
    marks = parts[0].marks
    for part, file in zip(parts, in_order, strict=True):
        if set(part.marks) != set(marks):
            raise InputFormatError(
                f"{file.name} has other marks ({', '.join(part.marks)}) than {in_order[0].name} "
                f"({', '.join(marks)}).",
                "take files of one source, each with its header line",
            )
        if part.counts.shape[1] != parts[0].counts.shape[1]:
            raise InputFormatError(
                f"{file.name} has another number of bins per gene ({part.counts.shape[1]}) than "
                f"{in_order[0].name} ({parts[0].counts.shape[1]}).",
                "take files of one source",
            )
    gene_id = [name for part in parts for name in part.gene_id]
    for (one, earlier), (other, part) in combinations(zip(in_order, parts, strict=True), 2):
        shared = sorted(set(earlier.gene_id).intersection(part.gene_id))
        if shared:
            raise InputFormatError(
                f"{other.name} and {one.name} share {len(shared):,} genes: {first_names(shared)}.",
                "draw the splits per gene, so that no model is tested on what it was trained on",
            )
    counts = [
        part.counts
        if part.marks == marks
        else np.ascontiguousarray(part.counts[:, :, [part.marks.index(mark) for mark in marks]])
        for part in parts
    ]
    return CellTypeCounts(
        cell_type=files.cell_type,
        gene_id=np.array(gene_id),
        counts=np.concatenate(counts),
        marks=marks,
        label=np.concatenate([part.label for part in parts]),
        split=np.repeat(splits, [len(part.gene_id) for part in parts]),
        sources=sources,
    )


def _report_balance(counts: CellTypeCounts) -> None:
    """Log the fraction of high genes, and warn where a constant guess would do well."""
    high = float(counts.label.mean())
    fractions = {
        str(split): float(counts.label[counts.split == split].mean())
        for split in dict.fromkeys(counts.split.tolist())
    }
    listed = ", ".join(f"{split} {fraction:.0%}" for split, fraction in fractions.items())
    logger.info(
        "%s: %s genes, %.0f %% labelled high (%s)",
        *(counts.cell_type, f"{counts.label.size:,}", 100 * high, listed),
    )
    one_sided = [split for split, f in fractions.items() if max(f, 1 - f) >= ONE_SIDED]
    whole = max(high, 1 - high) >= ONE_SIDED
    if whole or one_sided:
        logger.warning(
            "%s: nearly all labels are of one class (high: %s). A constant guess reaches that "
            "accuracy: use AUROC and AUPRC, or make labels from an expression table.",
            counts.cell_type + ("" if whole else f" ({', '.join(one_sided)})"),
            listed,
        )


def parse_counts(data: bytes, name: str) -> SplitCounts:
    """Return the counts and labels of a CSV.

    Genes are in the file's order; counts in uint16, or float32 where one is above 65,535. Empty
    lines, CRLF line ends and a byte-order mark are harmless.

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
        raise _find_fault(data, columns, name, str(error)) from None
    counts = _assemble(table)
    # Arrow would read 0x1F as 31. Looking for one byte takes a tenth of the time of a pattern.
    if counts is None or ((b"x" in data or b"X" in data) and _HEXADECIMAL.search(data)):
        raise _find_fault(data, columns, name, "rows and genes do not fit together")
    return counts


def read_columns(data: bytes, name: str) -> Columns:
    """Return the columns of a CSV and their order.

    A first line that names gene, bin or label is a header, and names the marks.
    Without one the columns are gene, bin, the five published marks and label.
    """
    if not data:
        raise InputFormatError(
            f"{name} is empty.",
            "fetch the file again, or omit this cell type: some of the published files are empty",
        )
    start = len(_BOM) if data.startswith(_BOM) else 0
    first = _FIRST_LINE.match(data, start)
    text = first[1].decode("utf-8", errors="replace") if first else ""
    names = [field.strip() for field in text.split(",")]
    names = [_ROLES.get(normalize_header(field), field) for field in names]
    if not {"gene", "bin", "label"}.intersection(names):
        return Columns(("gene", "bin", *PUBLISHED_MARKS, "label"), skip=0, has_header=False)
    lacking = {"gene", "bin", "label"} - set(names)
    if lacking or "" in names or len(set(names)) < len(names) or len(names) < 4:
        raise InputFormatError(
            f"{name}: the header line does not name each column once: "
            f"{', '.join(repr(field) for field in names)}.",
            "name gene, bin, each mark and label"
            + ("; remove a column of row numbers" if "" in names else ""),
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


def complete_gene_id(raw_id: str) -> str:
    """Return the full Ensembl id: ENSG00000000003 for `000003`; full ids stay as they are."""
    return f"ENSG00000{raw_id}" if len(raw_id) == 6 else raw_id


def _find_fault(data: bytes, columns: Columns, name: str, reason: str) -> InputFormatError:
    """Return the error for the first line at fault of a file that the fast reader refused.

    Faults of single rows come first, from the top; then those of genes.
    """
    at = [columns.names.index(key) for key in ("gene", "bin", "label")]
    rows = []
    for line, content in enumerate(data.removeprefix(_BOM).splitlines(), start=1):
        if line <= columns.skip or not content:  # Arrow skips empty lines too
            continue
        fields = content.decode("utf-8", errors="replace").split(",")
        fault, remedy = _row_fault(fields, columns)
        if fault:
            return InputFormatError(f"{name}, line {line}{fault}.", remedy)
        gene, number, label = (fields[each] for each in at)
        rows.append((line, complete_gene_id(gene), int(number), int(label)))
    if not rows:
        found = "only a header" if columns.has_header else "only empty lines"
        return InputFormatError(
            f"{name} holds no rows, {found}.", "fetch it again: it was not written to its end"
        )
    fault, n_bins = _gene_fault(rows)
    if not fault:
        return InputFormatError(f"{name} cannot be read: {reason}.")
    return InputFormatError(
        f"{name}, line {fault}.",
        f"give each gene {n_bins} rows, bins 1 to {n_bins} in order and with one label: rows are "
        "missing, duplicated or shuffled",
    )


def _row_fault(fields: list[str], columns: Columns) -> tuple[str, str]:
    """Return the problem of a row and its remedy, or "" twice."""
    if len(fields) != len(columns.names):
        found = f" has {len(fields)} columns instead of {len(columns.names)}: "
        return found + repr(",".join(fields)[:60]), (
            f"separate {', '.join(columns.names)} by commas; for other marks, put a header line "
            "on top: gene,bin,MARK,MARK,…,label"
        )
    for column, field in zip(columns.names, fields, strict=True):
        digits = field.strip(" \t")
        # Python refuses to convert very long numbers.
        value = int(digits) if len(digits) <= 18 and digits.isdecimal() else LARGEST_COUNT + 1
        if column == "gene":
            right, need = bool(GENE_ID.fullmatch(field)), "six digits (000042) or a full Ensembl id"
        elif not (digits.isascii() and digits.isdigit()):
            right, need = False, "a whole number, 0 or more, in digits"
        elif column == "label":
            right, need = value <= 1, "1 for high or 0 for low expression"
        else:
            right, need = value <= LARGEST_COUNT, f"at most {LARGEST_COUNT:,}"
        if not right:
            return f": {column} is {field[:60]!r}, not {need}", (
                "give counts of reads, not a normalized signal, in the order of the header line, "
                "or else gene, bin, the published marks, label"
            )
    return "", ""


def _gene_fault(rows: list[tuple[int, str, int, int]]) -> tuple[str, int]:
    """Return line and fault of the first gene that is not as it should be, and the bins it needs.

    A gene should have as many bins as most genes of the file (the larger number if two are equally
    common), numbered from 1 without gap, together and in order.
    """
    bins: dict[str, set[int]] = {}
    for _, gene, number, _ in rows:
        bins.setdefault(gene, set()).add(number)
    sizes = Counter(map(len, bins.values()))
    n_bins = max(sizes, key=lambda size: (sizes[size], size))
    first_line: dict[str, int] = {}
    for gene, group in groupby(rows, key=itemgetter(1)):
        own = list(group)
        head = own[0][0]
        if first_line.setdefault(gene, head) != head:
            return (
                f"{head}: gene {gene} comes a second time, first in line {first_line[gene]}",
                n_bins,
            )
        for place, (line, _, number, label) in enumerate(own, start=1):
            if number != place:
                return f"{line}: gene {gene} has bin {number} where bin {place} should be", n_bins
            if label != own[0][3]:
                return f"{line}: gene {gene} has two labels", n_bins
        if len(own) != n_bins:
            return f"{head}: gene {gene} has {len(own)} bins instead of {n_bins}", n_bins
    return "", n_bins
