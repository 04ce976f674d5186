"""The blocks of a report as Markdown: the same text and tables, and links to the figures."""

from __future__ import annotations

from collections.abc import Iterator

from simplechrome.report.page import (
    NOTHING,
    Block,
    Column,
    Figure,
    HeadlineNumber,
    Items,
    Note,
    Page,
    Row,
    Table,
    Text,
    columns_of,
    file_name,
)


def render_markdown(page: Page) -> str:
    """Return a report as Markdown.

    Figures with a name are linked as `figures/NAME.svg`; others are in the HTML page only.
    """
    parts = [f"# {page.title}", f"{page.subtitle}.", *map(_note, page.notes)]
    if page.headline:
        parts.append("\n".join(f"- {_headline(number)}" for number in page.headline))
    for section in page.sections:
        parts.append(f"## {section.title}")
        for block in section.blocks:
            parts += _block(block)
    if page.footer.command:
        parts += ["## To repeat it", f"```\n{page.footer.command}\n```"]
    return "\n\n".join(parts) + "\n"


def _headline(number: HeadlineNumber) -> str:
    value = f"{number.value:.4f}" if isinstance(number.value, float) else str(number.value)
    if number.interval is not None:
        value += " ({:.4f}–{:.4f})".format(*number.interval)
    return f"{number.label}: {value}" + (f"; {number.note}" if number.note else "")


def _note(note: Note) -> str:
    return f"> {'**Warning.** ' if note.kind == 'warning' else ''}{' '.join(note.text.split())}"


def _block(block: Block) -> Iterator[str]:
    match block:
        case Text():
            yield block.text
        case Items():
            yield "\n".join(f"- {text}" for text in block.texts)
        case Note():
            yield _note(block)
        case Figure():
            if block.name:
                yield f"![{block.title}](figures/{file_name(block.name)}.svg)"
                yield f"*{block.title}.*"
        case Row():
            for figure in block.figures:
                yield from _block(figure)
        case Table():
            yield f"**{block.title}**"
            yield table_as_markdown(block)
            if block.caption:
                yield block.caption


def table_as_markdown(table: Table) -> str:
    """Return a table with the best of each column in bold and its equals marked with †."""
    columns = columns_of(table)
    rows = [[_cell(table, column, row) for column in columns] for row in range(len(table.frame))]
    names = [_escape(column.name) for column in columns]
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _cell(table: Table, column: Column, row: int) -> str:
    text = _escape(column.texts[row])
    if text == NOTHING:
        return text
    if column.marks[row] == "best":
        text = f"**{text}**"
    elif column.marks[row]:
        text += " †"
    detail = table.details.get(column.name)
    return f"{text} {detail[row]}" if detail is not None and detail[row] else text


def _escape(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
