"""The sample sheet: which file is which mark of which cell type?"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

from simplechrome.errors import InputFormatError, MissingInputError, did_you_mean
from simplechrome.sources.provenance import is_url
from simplechrome.sources.text.delimited import DelimitedTable, normalize_header, parse_delimited
from simplechrome.sources.text.open import open_text
from simplechrome.sources.tracks.kinds import KINDS, Kind, kind_of

logger = logging.getLogger(__name__)

REQUIRED = ("cell_type", "mark", "path")
OPTIONAL = ("format", "control", "scale")
# What others call these columns; only for advice, since a guess could be wrong.
_OTHERS = {
    "cell_type": ("celltype", "cell", "sample", "tissue", "condition", "eid", "epigenome"),
    "mark": ("antibody", "target", "factor", "assay", "histone", "modification"),
    "path": ("file", "filename", "file_name", "bam", "bigwig", "track", "url", "location"),
}
_READS = ("bed", "tagalign", "fragments")
_EXAMPLES = 5  # in a message
_LARGEST_SCALE = 1e9


class Sample(NamedTuple):
    """One row of the sheet.

    path, control : absolute path or URL; "" where there is no control
    scale : what values are multiplied with
    line : of the sheet, from 1
    """

    cell_type: str
    mark: str
    path: str
    kind: Kind
    control: str
    scale: float
    line: int


def read_sheet(path: str | Path) -> list[Sample]:
    """Which tracks shall be read?

    A table (tab, comma or semicolon) with the columns cell_type, mark and path, and if wanted
    format (bigwig, bam, cram, bedgraph or reads; told by the file where empty), control and scale.
    Rows with the same cell type and mark are replicates. A mark that a cell type has no row for is
    missing there. Relative paths are relative to the folder of the sheet.

    Raises
    ------
    MissingInputError
        If the sheet, or a file that it names, is not there; all of those are named.
    InputFormatError
        If a column is missing, a value makes no sense, or a file is of no known kind.
    """
    sheet = Path(path)
    with open_text(sheet) as lines:
        table = parse_delimited(lines, sheet.name, (), "a header and one line per track")
    at = _columns(table)
    texts, _ = table.read(list(at.values()))
    columns = dict(zip(at, (column.to_pylist() for column in texts), strict=True))
    rows = []
    for row, line in enumerate(table.line_numbers):
        value = {name: str(column[row]).strip() for name, column in columns.items()}
        rows.append(_check_row(value, f"{sheet.name}, line {line}") | {"line": str(line)})
    if not rows:
        raise InputFormatError(
            f"{sheet.name} names no tracks.", expected="one line per track below the header"
        )
    folder = sheet.resolve().parent
    for value in rows:
        for name in ("path", "control"):
            value[name] = _absolute(value[name], folder)
    _require_files(rows, sheet.name)
    samples = [
        Sample(
            value["cell_type"],
            value["mark"],
            value["path"],
            cast(Kind, value["format"]) if value["format"] else kind_of(value["path"]),
            value["control"],
            float(value["scale"] or 1),
            int(value["line"]),
        )
        for value in rows
    ]
    _check_repeats(samples, sheet.name)
    return samples


def _columns(table: DelimitedTable) -> dict[str, int]:
    headers = [normalize_header(column) for column in table.columns]
    known = (*REQUIRED, *OPTIONAL)
    missing = [name for name in REQUIRED if name not in headers]
    repeated = [name for name in known if headers.count(name) > 1]
    if missing or repeated:
        meant = [
            f"{table.columns[headers.index(other)]} may be {name}"
            for name in missing
            for other in _OTHERS[name]
            if other in headers
        ]
        problem = (
            f"{table.name} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}."
            if missing
            else f"{table.name} has the column {repeated[0]} more than once."
        )
        raise InputFormatError(
            problem,
            found="columns " + ", ".join(table.columns[:12]),
            expected="cell_type, mark, path; if wanted format, control, scale",
            remedy="rename the columns" + (f": {', '.join(meant)}" if meant else ""),
        )
    ignored = [
        column for column, header in zip(table.columns, headers, strict=True) if header not in known
    ]
    if ignored:
        logger.info("%s: columns that are not used: %s", table.name, ", ".join(ignored))
    return {name: headers.index(name) for name in known if name in headers}


def _check_row(value: dict[str, str], place: str) -> dict[str, str]:
    value = dict.fromkeys(OPTIONAL, "") | value
    for name in REQUIRED:
        if not value[name]:
            raise InputFormatError(f"{place}: {name} is empty.", expected="a value in each row")
    given = value["format"].lower()
    value["format"] = "reads" if given in _READS else given
    if value["format"] and value["format"] not in KINDS:
        raise InputFormatError(
            f"{place}: format is {value['format']!r}.",
            expected=", ".join(KINDS) + ", or nothing: the file tells",
            remedy=did_you_mean(value["format"], KINDS),
        )
    try:
        scale = float(value["scale"] or 1)
    except ValueError:
        scale = math.nan
    if not 0 < scale <= _LARGEST_SCALE:
        raise InputFormatError(
            f"{place}: scale is {value['scale']!r}.",
            expected=f"a number above 0 and up to {_LARGEST_SCALE:g}, or nothing",
        )
    return value


def _absolute(path: str, folder: Path) -> str:
    if not path or is_url(path):
        return path
    try:
        return str(folder / Path(path).expanduser())
    except RuntimeError:  # nobody has this name: a file may begin with ~
        return str(folder / path)


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:  # a name longer than any file may have
        return False


def _require_files(rows: Sequence[dict[str, str]], name: str) -> None:
    """Is every file there? All that are not are named at once."""
    absent = [
        f"{value[column]} (line {value['line']})"
        for value in rows
        for column in ("path", "control")
        if value[column] and not is_url(value[column]) and not _is_file(value[column])
    ]
    if absent:
        more = f" and {len(absent) - _EXAMPLES} more" if len(absent) > _EXAMPLES else ""
        raise MissingInputError(
            f"{len(absent)} files that {name} names are not there.",
            found=", ".join(absent[:_EXAMPLES]) + more,
            expected="files; relative paths begin in the folder of the sheet",
            remedy="correct the paths, or write absolute ones",
        )


def _check_repeats(samples: Sequence[Sample], name: str) -> None:
    by_path: dict[str, Sample] = {}
    for sample in samples:
        other = by_path.setdefault(sample.path, sample)
        if other is sample:
            continue
        if (other.cell_type, other.mark) == (sample.cell_type, sample.mark):
            raise InputFormatError(
                f"{name}, line {sample.line}: {sample.cell_type} {sample.mark} has the same file "
                f"as in line {other.line}.",
                found=sample.path,
                expected="another file for each replicate",
            )
        logger.warning(
            "%s: %s %s and %s %s are the same file, %s: copied by mistake?",
            *(name, other.cell_type, other.mark, sample.cell_type, sample.mark, sample.path),
        )
