"""Lists of gene pairs and gene sets, as databases of interactions and pathways give them."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from simplechrome.errors import InputFormatError
from simplechrome.sources.text.open import open_text


def read_pairs(path: str | Path) -> pd.DataFrame:
    """Which pairs of genes does this list hold?

    Parameters
    ----------
    path
        A pair a line, plain or packed: two ids or names and, if there, a weight, separated by
        tabs, commas or spaces. More columns are not read. A first line whose third field is no
        number where the next line's is one, or that begins with #, is a header.

    Returns
    -------
    one, other, weight (1 where the file has none); in file order.

    Raises
    ------
    MissingInputError
        If the file cannot be opened.
    InputFormatError
        If it is empty, a line has one field only, or a weight is no finite number.
    """
    file = Path(path)
    rows: list[tuple[str, str, float]] = []
    delimiter: str | None = None
    unread: tuple[int, list[str]] | None = None  # a first line that may be a header
    with open_text(file) as lines:
        for number, line in enumerate(lines, start=1):
            if line.isspace() or line.startswith("#"):
                continue
            if not rows and unread is None:
                delimiter = "\t" if "\t" in line else "," if "," in line else None
            fields = [field.strip().strip('"') for field in line.rstrip("\n").split(delimiter)]
            if len(fields) < 2 or not (fields[0] and fields[1]):
                raise InputFormatError(
                    f"{file.name}, line {number} is no pair.",
                    found=repr(line.rstrip("\n")[:60]),
                    expected="two genes and, if there, a weight",
                    cause="another delimiter than in the first line, or a damaged line",
                )
            if not rows and unread is None and len(fields) > 2 and _number(fields[2]) is None:
                unread = number, fields
                continue
            rows.append((fields[0], fields[1], _weight(file.name, number, fields)))
    if not rows:
        raise InputFormatError(f"{file.name} holds no pairs.", expected="a pair of genes a line")
    return pd.DataFrame(rows, columns=["one", "other", "weight"])


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _weight(name: str, line: int, fields: list[str]) -> float:
    if len(fields) < 3:
        return 1.0
    value = _number(fields[2])
    if value is None:
        raise InputFormatError(
            f"{name}, line {line}: the weight is {fields[2]!r}.",
            expected="a number in the third column, on every line",
            cause="a column of text; weights are read from the third column",
            remedy="put the weight third, or keep the first two columns alone",
        )
    return value


def read_gene_sets(path: str | Path) -> dict[str, list[str]]:
    """Which genes does each set hold?

    Parameters
    ----------
    path
        GMT, plain or packed: name, description and the genes, separated by tabs; a set a line.

    Returns
    -------
    Name → genes. Sets of the same name are joined.

    Raises
    ------
    MissingInputError
        If the file cannot be opened.
    InputFormatError
        If it is empty, or a line has less than three fields.
    """
    file = Path(path)
    sets: dict[str, list[str]] = {}
    with open_text(file) as lines:
        for number, line in enumerate(lines, start=1):
            if line.isspace():
                continue
            fields = [field.strip() for field in line.rstrip("\n").split("\t")]
            if len(fields) < 3 or not fields[0]:
                raise InputFormatError(
                    f"{file.name}, line {number} is no gene set.",
                    found=repr(line.rstrip("\n")[:60]),
                    expected="name, description and genes, separated by tabs (GMT)",
                )
            sets.setdefault(fields[0], []).extend(gene for gene in fields[2:] if gene)
    if not sets:
        raise InputFormatError(f"{file.name} holds no gene sets.", expected="GMT: a set a line")
    return sets
