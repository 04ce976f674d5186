"""The sample sheet: which file is which mark of which cell type."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from simplechrome.errors import InputFormatError, MissingInputError, did_you_mean, first_names
from simplechrome.sources.delimited import DelimitedTable, normalize_header, parse_delimited
from simplechrome.sources.provenance import is_url
from simplechrome.sources.text import open_text
from simplechrome.sources.tracks.readers import TRACK_READERS, kind_of

logger = logging.getLogger(__name__)

REQUIRED = ("cell_type", "mark", "path")
OPTIONAL = ("format", "control", "scale")
# Other common names of these columns; only for advice, since a guess could be wrong.
_OTHERS = {
    "cell_type": ("celltype", "cell", "sample", "tissue", "condition", "eid", "epigenome"),
    "mark": ("antibody", "target", "factor", "assay", "histone", "modification"),
    "path": ("file", "filename", "file_name", "bam", "bigwig", "track", "url", "location"),
}
_LARGEST_SCALE = 1e9


class Sample(NamedTuple):
    """One row of the sheet.

    path, control : absolute path or URL; "" where there is no control
    kind : of track, as in `TRACK_READERS`
    scale : factor that values are multiplied with
    line : of the sheet, from 1
    """

    cell_type: str
    mark: str
    path: str
    kind: str
    control: str
    scale: float
    line: int


def read_sheet(path: str | Path) -> list[Sample]:
    """Return the tracks that a sample sheet lists.

    A table (tab, comma or semicolon) with the columns cell_type, mark and path, and optionally
    format (bigwig, bam, cram, bedgraph or reads; by the file's content where empty), control and
    scale. Rows with the same cell type and mark are replicates. A mark that a cell type has no row
    for is missing there. Relative paths are relative to the folder of the sheet.

    Raises
    ------
    MissingInputError
        If the sheet, or a file that it names, is not there; all of those are named.
    InputFormatError
        If a column is missing, a value is invalid, or a file is of no known kind.
    """
    sheet = Path(path)
    with open_text(sheet) as lines:
        table = parse_delimited(lines, sheet.name, ())
    at = _columns(table)
    texts, _ = table.read(list(at.values()))
    columns = dict(zip(at, (column.to_pylist() for column in texts), strict=True))
    folder = sheet.resolve().parent
    samples = []
    for row, line in enumerate(table.line_numbers):
        value = dict.fromkeys(OPTIONAL, "") | {name: text[row] for name, text in columns.items()}
        samples.append(_sample(value, folder, line, f"{sheet.name}, line {line}"))
    absent = [
        f"{file} (line {sample.line})"
        for sample in samples
        for file in (sample.path, sample.control)
        if file and not is_url(file) and not _is_file(file)
    ]
    if absent:
        raise MissingInputError(
            f"{len(absent)} files that {sheet.name} names do not exist: {first_names(absent)}.",
            "correct the paths: relative ones begin in the folder of the sheet",
        )
    samples = [each if each.kind else each._replace(kind=kind_of(each.path)) for each in samples]
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
        problem = f"lacks {', '.join(missing)}" if missing else f"has {repeated[0]} more than once"
        raise InputFormatError(
            f"{table.name} {problem}: its columns are {first_names(table.columns, 12)}.",
            "rename the columns" + (f": {', '.join(meant)}" if meant else ""),
        )
    ignored = [
        column for column, header in zip(table.columns, headers, strict=True) if header not in known
    ]
    if ignored:
        logger.info("%s: columns that are not used: %s", table.name, ", ".join(ignored))
    return {name: headers.index(name) for name in known if name in headers}


def _sample(value: dict[str, str], folder: Path, line: int, place: str) -> Sample:
    empty = [name for name in REQUIRED if not value[name]]
    if empty:
        raise InputFormatError(f"{place}: {empty[0]} is empty.", "give each row a value")
    try:
        scale = float(value["scale"] or 1)
    except ValueError:
        scale = math.nan
    if not 0 < scale <= _LARGEST_SCALE:
        raise InputFormatError(
            f"{place}: scale is {value['scale']!r}, not a number above 0 and up to "
            f"{_LARGEST_SCALE:g}.",
            "correct it, or leave it empty for 1",
        )
    kind = _kind(value["format"].lower(), place) if value["format"] else ""
    path, control = (_absolute(value[name], folder) for name in ("path", "control"))
    return Sample(value["cell_type"], value["mark"], path, kind, control, scale, line)


def _kind(given: str, place: str) -> str:
    """The kind of this name, or of this suffix, as bed for reads."""
    names = TRACK_READERS.names()
    if given in names:
        return given
    for name in names:
        if f".{given}" in TRACK_READERS.get(name).suffixes:
            return name
    raise InputFormatError(
        f"{place}: format is {given!r}, not one of {', '.join(names)}.",
        did_you_mean(given, names) or "leave it empty where the file's content shows it",
    )


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


def _check_repeats(samples: Sequence[Sample], name: str) -> None:
    by_path: dict[str, Sample] = {}
    for sample in samples:
        other = by_path.setdefault(sample.path, sample)
        if other is sample:
            continue
        if (other.cell_type, other.mark) == (sample.cell_type, sample.mark):
            raise InputFormatError(
                f"{name}, line {sample.line}: {sample.cell_type} {sample.mark} has the same file "
                f"as in line {other.line}, {sample.path}.",
                "name another file for each replicate",
            )
        logger.warning(
            "%s: %s %s and %s %s are the same file, %s: copied by mistake?",
            *(name, other.cell_type, other.mark, sample.cell_type, sample.mark, sample.path),
        )
