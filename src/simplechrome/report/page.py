"""Blocks of a report, and the page made of them: one HTML file, no network, light and dark.

`simplechrome.report.markdown` renders the same blocks as text.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

import jinja2
import matplotlib.figure
import numpy as np
import pandas as pd
import xarray as xr
from markupsafe import Markup, escape

from simplechrome.errors import InputFormatError
from simplechrome.report.figures.style import HALF_WIDTH, inline_svg, palette, write_svg
from simplechrome.work.files import whole_file

N_SECTIONS_WITHOUT_CONTENTS = 4


class Text(NamedTuple):
    """Paragraphs, separated by empty lines; `backticks` set code."""

    text: str


class Items(NamedTuple):
    """A list of points; `backticks` set code."""

    texts: Sequence[str]


class Note(NamedTuple):
    """A box that a reader should not miss, such as "These data are simulated"."""

    text: str
    kind: Literal["note", "warning"] = "note"


class Figure(NamedTuple):
    """A figure: `title` says what to see in it, `caption` how to read it."""

    figure: matplotlib.figure.Figure
    title: str
    caption: str = ""
    alt: str = ""
    """What a reader hears who cannot see the figure; the title if empty."""
    name: str = ""
    """Of the file that `write_figures` makes; no file if empty."""


class Row(NamedTuple):
    """Figures side by side where the page is wide enough."""

    figures: tuple[Figure, ...]


class Table(NamedTuple):
    """A table: `title` says what to see in it, `caption` how to read it."""

    frame: pd.DataFrame
    title: str
    caption: str = ""
    formats: Mapping[str, str] = MappingProxyType({})
    """Column -> format of its numbers, as `.1%`; by default as many digits as they need."""
    best: Mapping[str, Literal["highest", "lowest"]] = MappingProxyType({})
    """Column -> which of its values is the best: set in bold; those within `margins` get a †."""
    margins: Mapping[str, Sequence[float]] = MappingProxyType({})
    """Column -> half-width of the interval of each row's paired difference to the best. Without
    margins, or with NaN among them, nothing in the column is set in bold."""
    details: Mapping[str, Sequence[str]] = MappingProxyType({})
    """Column -> text after each value, as its interval; in the text form only, for lack of room."""


Block: TypeAlias = Text | Items | Note | Figure | Row | Table


class Section(NamedTuple):
    """A heading and what stands under it."""

    title: str
    blocks: Sequence[Block]


class HeadlineNumber(NamedTuple):
    """One of the few numbers that the report comes down to."""

    label: str
    value: float | int | str | None
    """None is shown as undefined; `note` should say why."""
    interval: tuple[float, float] | None = None
    """Of 95 %."""
    note: str = ""


class Provenance(NamedTuple):
    """Where the report comes from: enough to make it again."""

    version: str
    """Of the program."""
    command: str
    config: str = ""
    """The resolved configuration, as TOML."""
    files: Sequence[tuple[str, str]] = ()
    """(name, what it is, or its size and checksum)."""
    environment: Sequence[tuple[str, str]] = ()
    """(name, value), as the seed, the device and versions of libraries."""


def shown_command(arguments: Sequence[str]) -> str:
    """Return a command line as a page shows it.

    Of absolute paths only the names are kept: a page is read on other machines. A run's
    environment.json keeps the command as it was typed.
    """

    def shortened(argument: str) -> str:
        option, equals, value = argument.rpartition("=")
        return option + equals + (PurePath(value).name if PurePath(value).is_absolute() else value)

    program, *others = arguments
    return shlex.join([PurePath(program).name, *map(shortened, others)])


class Page(NamedTuple):
    """A whole report.

    title, subtitle : plain text, as all text here: nothing in it is read as HTML
    headline : the few numbers on top; may be empty
    sections : in order; more than four get a table of contents
    footer : set at the end, configuration and files folded away
    notes : what must be read before the numbers
    date : as it is to be shown; without one, the same input gives the same bytes on any day
    """

    title: str
    subtitle: str
    headline: Sequence[HeadlineNumber]
    sections: Sequence[Section]
    footer: Provenance
    notes: Sequence[Note] = ()
    date: str = ""


def render_page(page: Page) -> str:
    """Return a report as one self-contained HTML file.

    Raises
    ------
    InputFormatError
        If a table's `formats`, `best`, `margins` or `details` do not fit its columns.
    """
    numbering = _Numbering()
    return _template().render(
        page._asdict()
        | {
            "notes": [_lay_out(note, numbering) for note in page.notes],
            "headline": [_headline_item(number) for number in page.headline],
            "sections": [
                {
                    "title": section.title,
                    "blocks": [_lay_out(block, numbering) for block in section.blocks],
                }
                for section in page.sections
            ],
            "contents": len(page.sections) > N_SECTIONS_WITHOUT_CONTENTS,
            "palette": palette(),
        }
    )


def write_page(path: str | os.PathLike[str], page: Page) -> Path:
    """Render a report (see `render_page`) and write it whole or not at all; return its path.

    A report that is already there is replaced.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    text = render_page(page)
    target = Path(path)
    with whole_file(target) as part:
        # A file name in the footer may hold bytes that are no text.
        part.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    return target


def file_name(name: str) -> str:
    """Return a name without what cannot stand in a file name, as the slash in a cell type's."""
    return re.sub(r"[^\w.+-]+", "_", name)


def figures_of(sections: Sequence[Section]) -> Iterator[Figure]:
    """Yield the figures of some sections, those in rows too."""
    for block in (block for section in sections for block in section.blocks):
        if isinstance(block, Figure):
            yield block
        elif isinstance(block, Row):
            yield from block.figures


def write_figures(sections: Sequence[Section], folder: str | Path) -> None:
    """Write the figures that have a name as SVG files, for slides and papers."""
    for figure in figures_of(sections):
        if figure.name:
            with whole_file(Path(folder) / f"{file_name(figure.name)}.svg") as temporary:
                write_svg(figure.figure, temporary)


def dataset_notes(dataset: xr.Dataset) -> list[Note]:
    """Return the note that a dataset carries, as that it is simulated, if it has one."""
    note = dataset.attrs.get("note")
    return [Note(f"{note}.", "warning")] if note else []


def source_files(sources: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return (name, size) of the files that a dataset was built from, for `Provenance`."""
    return [(str(source["name"]), f"{source.get('bytes', '?')} bytes") for source in sources]


class _Laid(NamedTuple):
    """A block as the template takes it."""

    kind: str
    content: Any


class _Numbering:
    """Counts figures and tables through the page."""

    def __init__(self) -> None:
        self.figures = 0
        self.tables = 0


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("simplechrome.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def _lay_out(block: Block, numbering: _Numbering) -> _Laid:
    match block:
        case Text():
            return _Laid("text", _paragraphs(block.text))
        case Items():
            return _Laid("items", [_inline(text) for text in block.texts])
        case Note():
            return _Laid("note", {"kind": block.kind, "text": _paragraphs(block.text)})
        case Figure():
            return _Laid("figures", [_figure(block, numbering)])
        case Row():
            return _Laid("figures", [_figure(figure, numbering) for figure in block.figures])
        case Table():
            return _Laid("table", _table(block, numbering))


def _figure(block: Figure, numbering: _Numbering) -> dict[str, Any]:
    numbering.figures += 1
    svg = inline_svg(block.figure, f"figure{numbering.figures}", block.alt or block.title)
    return {
        "number": numbering.figures,
        "title": block.title,
        "caption": block.caption,
        "svg": Markup(svg),
        "half": block.figure.get_size_inches()[0] <= HALF_WIDTH,
    }


def _paragraphs(text: str) -> Markup:
    parts = map(_inline, re.split(r"\n\s*\n", text.strip()))
    return Markup("").join(Markup("<p>") + part + Markup("</p>") for part in parts)


def _inline(text: str) -> Markup:
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(" ".join(text.split())))))


def _headline_item(number: HeadlineNumber) -> dict[str, str]:
    value = number.value
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        shown = "undefined"
    elif isinstance(value, str):
        shown = value
    else:
        shown = _number(value, ",d" if isinstance(value, int | np.integer) else ".3f")
    interval = (
        "" if number.interval is None else "–".join(_number(x, ".3f") for x in number.interval)
    )
    return {"label": number.label, "value": shown, "interval": interval, "note": number.note}


# ------------------------------------------------------------------------------- tables

_LOOKS_NUMERIC = re.compile(r"^[+\-−±<>]?\s?\.?\d")
NOTHING = "–"


class Column(NamedTuple):
    """A column of a table as it is shown.

    marks : `best` (set in bold), `level` (within the margin of the best: †) or empty, by row
    """

    name: str
    texts: list[str]
    right: bool
    marks: list[str]


def columns_of(block: Table) -> list[Column]:
    """Return the columns of a table as texts.

    Raises
    ------
    InputFormatError
        If `formats`, `best`, `margins` or `details` do not fit its columns and rows.
    """
    frame = block.frame
    named = (*block.formats, *block.best, *block.margins, *block.details)
    strange = [str(name) for name in dict.fromkeys(named) if name not in frame.columns]
    if strange:
        raise InputFormatError(
            f"The table “{block.title}” has no column {', '.join(strange)}, only "
            f"{', '.join(map(str, frame.columns))}."
        )
    columns = []
    for i, name in enumerate(frame.columns):
        column = frame.iloc[:, i]
        if pd.api.types.infer_dtype(column) in ("floating", "integer", "mixed-integer-float"):
            column = pd.to_numeric(column)  # numbers beside None are still numbers
        elif name in block.best:
            raise InputFormatError(
                f"The table “{block.title}” has no best in its column {name}, which holds no "
                "numbers."
            )
        texts = _column_texts(column, block.formats.get(name))
        known = [text for text in texts if text != NOTHING]
        right = bool(known) and all(_LOOKS_NUMERIC.match(text) for text in known)
        marks = _marks(column, texts, block.best.get(name), block.margins.get(name))
        columns.append(Column(str(name), texts, right, marks))
    return columns


def _table(block: Table, numbering: _Numbering) -> dict[str, Any]:
    numbering.tables += 1
    return {
        "number": numbering.tables,
        "title": block.title,
        "caption": block.caption,
        "columns": columns_of(block),
        "n_rows": len(block.frame),
    }


def _column_texts(column: pd.Series[Any], format_: str | None) -> list[str]:
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return [NOTHING if pd.isna(value) else str(value) for value in column]
    spec = format_ or (",d" if pd.api.types.is_integer_dtype(column) else _float_format(column))
    return [_number(value, spec) for value in column]


def _float_format(column: pd.Series[Any]) -> str:
    """One format for a whole column, so that its decimal points stand under each other."""
    sizes = column.abs().to_numpy(float, na_value=np.nan)
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if sizes.size == 0 or sizes.max() >= 1_000:
        return ",.0f"
    if sizes.max() < 0.001:
        return ".1e"
    return ".1f" if sizes.max() >= 100 else ".2f" if sizes.max() >= 10 else ".3f"


def _number(value: Any, spec: str) -> str:
    if pd.isna(value):
        return NOTHING
    return format(value, spec).replace("-", "−")


def _marks(
    column: pd.Series[Any],
    texts: list[str],
    which: Literal["highest", "lowest"] | None,
    margins: Sequence[float] | None,
) -> list[str]:
    nothing = [""] * len(texts)
    if which is None or margins is None or column.isna().all():
        return nothing
    needed = np.asarray(margins, dtype=float)
    if needed.shape != (len(texts),):
        raise InputFormatError(
            f"The column {column.name} has {needed.shape} margins for {len(texts)} rows."
        )
    if np.isnan(needed).any():
        return nothing
    values = column.to_numpy(float, na_value=np.nan)
    winner = int(np.nanargmax(values) if which == "highest" else np.nanargmin(values))
    # By text: rows that look the same are equally good to the reader.
    return [
        "best"
        if text == texts[winner]
        else "level"
        if abs(value - values[winner]) <= margin
        else ""
        for value, margin, text in zip(values, needed, texts, strict=True)
    ]
