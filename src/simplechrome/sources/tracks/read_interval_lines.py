"""Lines of a BED-like file to reads, with a line number for whatever is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from simplechrome.errors import InputFormatError
from simplechrome.sources.tracks.bedgraph_lines import Lines, read_lines

_STRAND = 5  # its column, from 0
_FARTHEST = 1 << 32  # no chromosome is longer
_NOT_DATA = re.compile(rb"^(?:#|track\b|browser\b)[^\n]*\n?", re.MULTILINE)
_BLANKS = re.compile(rb" +")


class ReadIntervals(NamedTuple):
    """Some lines of a BED-like file, in the order of the file.

    names : chromosome names
    code : (read,), which of the names
    starts, ends : (read,), 0-based, half-open, none empty
    backwards : (read,), True on the minus strand; False for all where strands were not asked for
    """

    names: list[str]
    code: NDArray[np.int32]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    backwards: NDArray[np.bool_]


def read_interval_lines(path: Path, *, stranded: bool) -> Iterator[tuple[ReadIntervals, float]]:
    """Which reads does a BED-like file hold, some megabytes of it at a time?

    Columns are separated by tabs, or by blanks where a part's first line has no tab. Lines that
    begin with `#`, `track` or `browser` are passed over wherever they stand.

    Parameters
    ----------
    stranded
        The strand, column 6, is asked for.

    Returns
    -------
    Reads, and which share of the file has been read by their end.

    Raises
    ------
    MissingInputError
        If the file is not there or can't be opened.
    InputFormatError
        If it is empty, damaged or no text, or a line is no read.
    """
    for lines in read_lines(path):
        try:
            found = _parse(lines.data, stranded)
        except (pa.ArrowInvalid, UnicodeDecodeError):
            found = None
        if found is None or _any_wrong(found):
            found = _parse_slowly(lines, stranded)
        yield found, lines.share


def _any_wrong(found: ReadIntervals) -> bool:
    wrong = (found.starts < 0) | (found.starts >= found.ends) | (found.ends >= _FARTHEST)
    return bool(wrong.any())


def _parse(data: bytes, stranded: bool) -> ReadIntervals | None:
    """By pyarrow; None where a strand is missing or is none."""
    if b"#" in data or b"track" in data or b"browser" in data:
        data = _NOT_DATA.sub(b"", data)
    data = data.lstrip()
    first_line = data.split(b"\n", 1)[0]
    if b"\t" not in first_line:
        data = _BLANKS.sub(b"\t", data)
    n_columns = len(first_line.split(b"\t" if b"\t" in first_line else None))
    if not n_columns:
        empty = np.zeros(0, np.int64)
        return ReadIntervals([], empty.astype(np.int32), empty, empty, empty.astype(bool))
    if n_columns < 3 or (stranded and n_columns <= _STRAND):
        return None
    text = pa.dictionary(pa.int32(), pa.string())
    types = {"f0": text, "f1": pa.int64(), "f2": pa.int64()}
    if stranded:
        types[f"f{_STRAND}"] = text
    table = csv.read_csv(
        pa.BufferReader(data),
        # One thread: a track is one process's work among others.
        read_options=csv.ReadOptions(autogenerate_column_names=True, use_threads=False),
        parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
        convert_options=csv.ConvertOptions(
            column_types=types, include_columns=list(types), null_values=[]
        ),
    )
    table = table.unify_dictionaries().combine_chunks()
    chrom = table["f0"].combine_chunks()
    backwards = np.zeros(table.num_rows, bool)
    if stranded:
        strand = table[f"f{_STRAND}"].combine_chunks()
        signs = strand.dictionary.to_pylist()
        if not set(signs) <= {"+", "-"}:
            return None
        backwards = np.array([sign == "-" for sign in signs])[strand.indices.to_numpy()]
    return ReadIntervals(
        chrom.dictionary.to_pylist(),
        chrom.indices.to_numpy(),
        table["f1"].to_numpy(),
        table["f2"].to_numpy(),
        backwards,
    )


def _parse_slowly(lines: Lines, stranded: bool) -> ReadIntervals:
    """Line by line: to find the line that is wrong, or to read what the fast way can't."""
    codes: dict[str, int] = {}
    rows = []
    for number, line in enumerate(lines.data.split(b"\n"), start=lines.first):
        if not line.strip() or _NOT_DATA.match(line):
            continue
        text = line.strip(b"\r").decode(errors="replace")
        fields = [field.strip() for field in text.split("\t")] if "\t" in text else text.split()
        if len(fields) < 3:
            _refuse(lines.name, number, text, f"{len(fields)} columns")
        if stranded and len(fields) <= _STRAND:
            _refuse_unstranded(lines.name, number, text, f"{len(fields)} columns")
        try:
            start, end = int(fields[1]), int(fields[2])
        except ValueError:
            _refuse(lines.name, number, text, "columns 2 and 3 are not both whole numbers")
        if not 0 <= start < end < _FARTHEST:
            _refuse(lines.name, number, text, f"start {start}, end {end}")
        sign = fields[_STRAND] if stranded else ""
        if stranded and sign not in ("+", "-"):
            _refuse_unstranded(lines.name, number, text, f"{sign!r} in column 6")
        rows.append((codes.setdefault(fields[0], len(codes)), start, end, sign == "-"))
    code, starts, ends, backwards = zip(*rows, strict=True) if rows else ((), (), (), ())
    return ReadIntervals(
        list(codes),
        np.array(code, np.int32),
        np.array(starts, np.int64),
        np.array(ends, np.int64),
        np.array(backwards, bool),
    )


def _refuse(name: str, number: int, text: str, found: str) -> NoReturn:
    raise InputFormatError(
        f"{name}, line {number} is not a read in a BED-like format.",
        found=f"{found}: {text[:80]!r}",
        expected="chromosome, start, end (0-based, half-open, start < end), separated by tabs",
        cause="another format, coordinates that count from 1, or a line cut off or damaged",
        remedy="mend or remove the line, or say what the file is in the sheet's column format",
    )


def _refuse_unstranded(name: str, number: int, text: str, found: str) -> NoReturn:
    raise InputFormatError(
        f"{name}, line {number}: a read without a strand has no 5' end.",
        found=f"{found}: {text[:80]!r}",
        expected="+ or - in column 6, as in BED6 and tagAlign",
        cause="a file of fragments or peaks, or BED with fewer columns",
        remedy="count by overlap or, if these are whole fragments, by midpoint",
    )
