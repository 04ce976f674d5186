"""Pairs of fragments that were seen to touch: BEDPE, tables, and matrices (.cool, .mcool)."""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simplechrome.errors import ConfigError, InputFormatError, MissingInputError
from simplechrome.sources.text.open import open_text

log = logging.getLogger(__name__)

COLUMNS = ["chrom_1", "start_1", "end_1", "chrom_2", "start_2", "end_2", "score"]
FINEST = 5_000
"""bp; of a .mcool the finest resolution from here up is read: finer ones are mostly empty."""
_AT_ONCE = 2_000_000  # entries of a matrix
_SCORES = ("score", "count", "counts", "observed", "o", "n_reads", "value", "weight")


def is_matrix(path: str | Path) -> bool:
    """Is this a contact matrix, by its name?"""
    return ".cool" in str(path) or ".mcool" in str(path)


def read_contacts(path: str | Path) -> pd.DataFrame:
    """Which pairs of fragments does this file hold?

    Parameters
    ----------
    path
        BEDPE, plain or packed: chromosome, start and end of both fragments in the first six
        columns. The score is the column of that name (or count, observed, …) where there is a
        header, otherwise the eighth, as in BEDPE, otherwise the seventh, where that is a number.

    Returns
    -------
    chrom_1, start_1, end_1, chrom_2, start_2, end_2 (0-based, half-open), score (1 where there is
    none); in file order.

    Raises
    ------
    MissingInputError
        If the file cannot be opened.
    InputFormatError
        If it is empty, or a line is no pair of fragments.
    """
    file = Path(path)
    rows: list[tuple[Any, ...]] = []
    header: list[str] = []
    column: int | None = None
    with open_text(file) as lines:
        for number, line in enumerate(lines, start=1):
            if line.isspace() or line.startswith(("track", "browser", "##")):
                continue
            fields = [f.strip() for f in (line.split("\t") if "\t" in line else line.split())]
            first = not rows
            if first and (line.startswith("#") or not _is_pair(fields)) and not header:
                header = [name.lstrip("#").lower() for name in fields]
                continue
            if line.startswith("#"):
                continue
            if not _is_pair(fields):
                raise InputFormatError(
                    f"{file.name}, line {number} is no pair of fragments.",
                    found=repr(line.rstrip("\n")[:80]),
                    expected="chromosome, start and end, twice, starts below ends",
                    cause="not a BEDPE file, or a damaged line",
                )
            if first:
                column = _score_column(header, fields)
            rows.append((*_fragment(fields[:3]), *_fragment(fields[3:6]), _score(fields, column)))
    if not rows:
        raise InputFormatError(f"{file.name} holds no contacts.", expected="BEDPE: a pair a line")
    table = pd.DataFrame(rows, columns=COLUMNS)
    if table["score"].isna().any():
        raise InputFormatError(
            f"{file.name} has scores that are no numbers.",
            found=f"{int(table['score'].isna().sum())} of {len(table)}",
            expected="a number from 0 up on every line, or no scores at all",
        )
    return table


def _is_pair(fields: Sequence[str]) -> bool:
    whole = len(fields) >= 6 and all(fields[k].isdecimal() for k in (1, 2, 4, 5))
    return whole and int(fields[1]) < int(fields[2]) and int(fields[4]) < int(fields[5])


def _fragment(fields: Sequence[str]) -> tuple[str, int, int]:
    return fields[0], int(fields[1]), int(fields[2])


def _score_column(header: Sequence[str], fields: Sequence[str]) -> int | None:
    for name in _SCORES:
        if name in header[6:]:
            return header.index(name, 6)
    for column in (7, 6):
        if len(fields) > column and not math.isnan(_score(fields, column)):
            return column
    return None


def _score(fields: Sequence[str], column: int | None) -> float:
    """1 without a column, NaN where it holds no number from 0 up."""
    if column is None:
        return 1.0
    try:
        value = float(fields[column])
    except (ValueError, IndexError):
        return math.nan
    return value if 0 <= value < math.inf else math.nan


def read_matrix(
    path: str | Path, places: pd.DataFrame, *, resolution: int | None = None
) -> pd.DataFrame:
    """How often do the bins that hold these places touch each other?

    Read in parts; the memory is that of the entries between such bins. Balanced entries where the
    matrix has weights, counts otherwise.

    Parameters
    ----------
    path
        A `.cool`, a `.mcool`, or `FILE.mcool::resolutions/5000`.
    places : columns chrom, pos
        0-based, under the matrix's own names.
    resolution
        bp per bin of a `.mcool`; by default the finest from 5,000 up.

    Returns
    -------
    As `read_contacts`; entries on the diagonal and empty ones are left out.

    Raises
    ------
    MissingInputError
        If the file or the package cooler is not there.
    InputFormatError
        If it is not such a matrix.
    ConfigError
        If it has no bins of this size.
    """
    matrix = _open_matrix(path, resolution)
    names = list(matrix.chromnames)
    bins = matrix.bins()[:]
    wanted = np.zeros(len(bins), bool)
    size = int(matrix.binsize or 0)
    for name in names:
        first, last = matrix.extent(name)
        starts = bins["start"].to_numpy()[first:last]
        here = places.loc[places["chrom"] == name, "pos"].to_numpy()
        at = np.searchsorted(starts, here, "right") - 1
        inside = (at >= 0) & (here < bins["end"].to_numpy()[first:last][at])
        wanted[first + at[inside]] = True
    weights = bins["weight"].to_numpy(float) if "weight" in bins else np.ones(len(bins))
    log.info(
        "%s: bins of %d bp, %s",
        Path(path).name,
        size,
        "balanced" if "weight" in bins else "not balanced",
    )
    parts = []
    total = int(matrix.info["nnz"])
    for start in range(0, total, _AT_ONCE):
        entries = matrix.pixels()[start : min(start + _AT_ONCE, total)]
        one, other = entries["bin1_id"].to_numpy(), entries["bin2_id"].to_numpy()
        score = entries["count"].to_numpy(float) * weights[one] * weights[other]
        keep = wanted[one] & wanted[other] & (one != other) & (score > 0)
        parts.append(pd.DataFrame({"one": one[keep], "other": other[keep], "score": score[keep]}))
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if found.empty:
        raise InputFormatError(
            f"{path} holds no contacts between the bins of the genes.",
            found=f"{total} entries in all",
            expected="entries between bins that hold a TSS",
        )
    ends: dict[str, np.ndarray] = {}
    for end, key in ((1, "one"), (2, "other")):
        rows = bins.iloc[found[key].to_numpy()]
        ends |= {
            f"chrom_{end}": rows["chrom"].astype(str).to_numpy(),
            f"start_{end}": rows["start"].to_numpy(),
            f"end_{end}": rows["end"].to_numpy(),
        }
    return pd.DataFrame({**ends, "score": found["score"]})[COLUMNS]


def matrix_chromosomes(path: str | Path, *, resolution: int | None = None) -> list[str]:
    """Which chromosomes has a contact matrix? Errors as in `read_matrix`."""
    return [str(name) for name in _open_matrix(path, resolution).chromnames]


def _open_matrix(path: str | Path, resolution: int | None) -> Any:
    try:
        cooler = importlib.import_module("cooler")
    except ImportError:
        raise MissingInputError(
            f"{path} cannot be read without the package cooler.",
            remedy="pip install 'simplechrome[contact]'",
        ) from None
    text = str(path)
    file, _, inside = text.partition("::")
    if not Path(file).is_file():
        raise MissingInputError(f"There is no file {file}.", remedy="check the path")
    try:
        groups = {g.lstrip("/"): g for g in cooler.fileops.list_coolers(file)}
        if inside:
            return cooler.Cooler(text)
        sizes = {int(g.rpartition("/")[2]): g for g in groups if g.rpartition("/")[2].isdecimal()}
        if not sizes:
            return cooler.Cooler(file)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputFormatError(
            f"{path} is no contact matrix.",
            found=f"{type(error).__name__}: {error}",
            expected="a .cool or .mcool file",
            cause="a damaged or incomplete copy, or another format",
        ) from error
    default = min((size for size in sizes if size >= FINEST), default=max(sizes))
    chosen = default if resolution is None else resolution
    if chosen not in sizes:
        raise ConfigError(
            f"{path} has no bins of {chosen} bp.",
            found=", ".join(map(str, sorted(sizes))),
            expected="one of these with --resolution",
        )
    return cooler.Cooler(f"{file}::{sizes[chosen]}")
