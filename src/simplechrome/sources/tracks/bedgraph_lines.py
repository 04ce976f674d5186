"""Lines of a bedGraph to intervals, in chunks, with a line number for whatever is wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from simplechrome.errors import InputFormatError
from simplechrome.sources.text import open_text

_CHUNK = 1 << 23
_LONGEST_LINE = 1 << 16
_MAX_END = 1 << 32  # a bigWig holds no longer chromosome either
_NOT_DATA = re.compile(rb"^(?:#|track\b|browser\b)[^\n]*\n?", re.MULTILINE)
_GAPS = re.compile(rb"[ \t]+")
_COLUMNS = ("chrom", "start", "end", "value")


class Intervals(NamedTuple):
    """Some lines of a bedGraph, in the order of the file.

    names : chromosome names
    code : (interval,), which of the names
    start, end : (interval,), 0-based, half-open
    value : (interval,)
    """

    names: list[str]
    code: NDArray[np.int32]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    value: NDArray[np.float64]


class Lines(NamedTuple):
    """A part of the file.

    first : number of its first line, counted from 1
    share : how much of the file lies before its end; 0 where that isn't known
    """

    data: bytes
    first: int
    share: float
    name: str

    def number(self, row: int) -> int:
        """In which line does the interval with this number stand?"""
        return [number for number, _ in self._records()][row]

    def intervals(self) -> Intervals:
        """Which intervals do these lines hold?

        Raises
        ------
        InputFormatError
            If a line is no interval.
        """
        try:
            found = _parse(self.data)
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return self._parse_slowly()
        wrong = (found.start < 0) | (found.start >= found.end) | (found.end >= _MAX_END)
        wrong |= ~np.isfinite(found.value)
        return self._parse_slowly() if wrong.any() else found

    def _records(self) -> Iterator[tuple[int, list[bytes]]]:
        for number, line in enumerate(self.data.split(b"\n"), start=self.first):
            fields = line.split()
            if fields and not _NOT_DATA.match(line):
                yield number, fields

    def _parse_slowly(self) -> Intervals:
        """Line by line: to find the line that is wrong, or to read what the fast way can't."""
        codes: dict[str, int] = {}
        rows = []
        for number, fields in self._records():
            if len(fields) != 4:
                self._refuse(number, fields, f"{len(fields)} columns")
            chrom, *numbers = (field.decode(errors="replace") for field in fields)
            try:
                start, end, value = int(numbers[0]), int(numbers[1]), float(numbers[2])
            except ValueError:
                self._refuse(number, fields, "columns 2 to 4 are not all numbers")
            if start < 0:
                self._refuse(number, fields, f"start {start} is negative")
            if start >= end:
                self._refuse(number, fields, f"start {start} is not before end {end}")
            if end >= _MAX_END:
                self._refuse(number, fields, f"end {end} is behind any chromosome's end")
            if not math.isfinite(value):
                self._refuse(number, fields, f"the value is {numbers[2]}")
            rows.append((codes.setdefault(chrom, len(codes)), start, end, value))
        code, start_, end_, value_ = zip(*rows, strict=True) if rows else ((), (), (), ())
        return Intervals(
            list(codes),
            np.array(code, np.int32),
            np.array(start_, np.int64),
            np.array(end_, np.int64),
            np.array(value_, np.float64),
        )

    def _refuse(self, number: int, fields: list[bytes], found: str) -> NoReturn:
        line = b" ".join(fields)[:80].decode(errors="replace")
        raise InputFormatError(
            f"{self.name}, line {number} is not an interval of a bedGraph.",
            found=f"{found}: {line!r}",
            expected="chromosome, start, end (0-based, half-open, start < end) and a finite value",
            cause="another format (BED has names in column 4), or a line cut off or damaged",
            remedy="mend or remove the line, or say what the file is in the sheet's column format",
        )


def read_lines(path: Path) -> Iterator[Lines]:
    """What are the file's lines, a few megabytes at a time?

    Compression is told by content. Memory is bounded whatever the size of the file.

    Raises
    ------
    MissingInputError
        If the file is not there or cannot be opened.
    InputFormatError
        If it is empty, cut off or damaged, or no text.
    """
    with open_text(path) as text:
        # Bytes, which need no decoding here; damage is still reported by `open_text`.
        stream = text.buffer
        size = path.stat().st_size
        rest, first = b"", 1
        while block := stream.read(_CHUNK):
            if first == 1 and not rest:
                block = block.removeprefix(b"\xef\xbb\xbf")
            whole, newline, tail = (rest + block).rpartition(b"\n")
            if not newline and len(tail) > _LONGEST_LINE:
                raise InputFormatError(
                    f"{path.name}, line {first} never ends.",
                    found=f"more than {_LONGEST_LINE:,} bytes without an end of line",
                    expected="one interval in each line, which ends in \\n or \\r\\n",
                    remedy="convert it, for example with dos2unix -c mac, if it is text",
                )
            rest = tail
            if newline:
                yield Lines(whole, first, _share_read(stream, size), path.name)
                first += whole.count(b"\n") + 1
        if rest:
            yield Lines(rest, first, 1.0, path.name)


def _share_read(stream: Any, size: int) -> float:
    """By the place in the file itself, packed or not."""
    raw = getattr(stream, "raw", stream)
    packed = getattr(raw, "fileobj", None) or getattr(raw, "_fp", None) or raw
    try:
        return min(packed.tell() / size, 1.0) if size else 0.0
    except OSError:  # a pipe
        return 0.0


def _parse(data: bytes) -> Intervals:
    """By pyarrow, which knows neither comments nor several blanks between columns."""
    if b"#" in data or b"track" in data or b"browser" in data:
        data = _NOT_DATA.sub(b"", data)
    if b" " in data:
        data = _GAPS.sub(b"\t", data)
    if not data.strip():
        empty = np.zeros(0, np.int64)
        return Intervals([], empty.astype(np.int32), empty, empty, np.zeros(0))
    table = csv.read_csv(
        pa.BufferReader(data),
        read_options=csv.ReadOptions(column_names=_COLUMNS, use_threads=False),
        parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
        convert_options=csv.ConvertOptions(
            column_types={
                "chrom": pa.dictionary(pa.int32(), pa.string()),
                "start": pa.int64(),
                "end": pa.int64(),
                "value": pa.float64(),
            },
            null_values=[],
        ),
    ).combine_chunks()
    chrom = table["chrom"].unify_dictionaries().combine_chunks()
    start, end, value = (table[name].to_numpy() for name in _COLUMNS[1:])
    return Intervals(
        [str(name) for name in chrom.dictionary.to_pylist()],
        chrom.indices.to_numpy(),
        start,
        end,
        value,
    )
