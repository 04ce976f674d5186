"""What relates genes: lists of pairs, gene sets, and contacts (BEDPE, .cool, .mcool)."""

from __future__ import annotations

import errno
import importlib
import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simplechrome.errors import ConfigError, InputFormatError, MissingInputError
from simplechrome.sources.provenance import unreadable
from simplechrome.sources.text import open_text

log = logging.getLogger(__name__)

COLUMNS = ["chrom_1", "start_1", "end_1", "chrom_2", "start_2", "end_2", "score"]
FINEST = 5_000
"""bp; of a .mcool the finest resolution from here up is read: finer ones are mostly empty."""
_AT_ONCE = 2_000_000  # entries of a matrix
_SCORES = ("score", "count", "counts", "observed", "o", "n_reads", "value", "weight")


def read_pairs(path: str | Path) -> pd.DataFrame:
    """Return the pairs of genes in a list.

    Parameters
    ----------
    path
        A pair a line, plain or packed: two ids or names and, if there, a weight, separated by
        tabs, commas or spaces. More columns are not read. A first line whose third field is not a
        number where the next line's is one, or that begins with #, is a header.

    Returns
    -------
    one, other, weight (1 where the file has none); in file order.

    Raises
    ------
    InputFormatError
        If the file is empty, a line has one field only, or a weight is not a finite number.
    """
    file = Path(path)
    rows: list[tuple[str, str, float]] = []
    delimiter: str | None = None
    first = True
    with open_text(file) as lines:
        for number, line in enumerate(lines, start=1):
            if line.isspace() or line.startswith("#"):
                continue
            if first:
                delimiter = "\t" if "\t" in line else "," if "," in line else None
            fields = [field.strip().strip('"') for field in line.rstrip("\n").split(delimiter)]
            if len(fields) < 2 or not (fields[0] and fields[1]):
                raise InputFormatError(
                    f"{file.name}, line {number} is not a pair of genes: {line.strip()[:60]!r}.",
                    "give two genes and optionally a weight, separated as in the first line",
                )
            weight = _number(fields[2]) if len(fields) > 2 else 1.0
            if math.isfinite(weight):
                rows.append((fields[0], fields[1], weight))
            elif not first:  # a first line may be a header
                raise InputFormatError(
                    f"{file.name}, line {number}: the weight is {fields[2]!r}, not a number.",
                    "put the weight into the third column, or keep the first two columns alone",
                )
            first = False
    if not rows:
        raise InputFormatError(f"{file.name} holds no pairs.", "write a pair of genes a line")
    return pd.DataFrame(rows, columns=["one", "other", "weight"])


def _number(text: str) -> float:
    """Return a finite number, or NaN."""
    value = math.nan
    with suppress(ValueError):
        value = float(text)
    return value if math.isfinite(value) else math.nan


def read_gene_sets(path: str | Path) -> dict[str, list[str]]:
    """Return the genes of each set.

    The file is GMT, plain or packed: name, description and the genes, separated by tabs; a set a
    line. Sets of the same name are joined.

    Raises
    ------
    InputFormatError
        If the file is empty, or a line has less than three fields.
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
                    f"{file.name}, line {number} is not a gene set: {line.strip()[:60]!r}.",
                    "GMT has name, description and genes in each line, separated by tabs",
                )
            sets.setdefault(fields[0], []).extend(gene for gene in fields[2:] if gene)
    if not sets:
        raise InputFormatError(f"{file.name} holds no gene sets.", "GMT has a set a line")
    return sets


def is_matrix(path: str | Path) -> bool:
    """Return whether this is a contact matrix, by its name."""
    return ".cool" in str(path) or ".mcool" in str(path)


def read_contacts(path: str | Path) -> pd.DataFrame:
    """Return the pairs of fragments in a file.

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
    InputFormatError
        If the file is empty, or a line is not a pair of fragments.
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
            if not rows and not header and (line.startswith("#") or not _is_pair(fields)):
                header = [name.lstrip("#").lower() for name in fields]
                continue
            if line.startswith("#"):
                continue
            if not _is_pair(fields):
                raise InputFormatError(
                    f"{file.name}, line {number} is not a pair of fragments: "
                    f"{line.strip()[:80]!r}.",
                    "BEDPE has chromosome, start and end, twice, with starts below ends",
                )
            if not rows:
                column = _score_column(header, fields)
            places = [int(text) if k % 3 else text for k, text in enumerate(fields[:6])]
            rows.append((*places, _score(fields, column)))
    if not rows:
        raise InputFormatError(f"{file.name} holds no contacts.", "BEDPE has a pair a line")
    table = pd.DataFrame(rows, columns=COLUMNS)
    n_wrong = int(table["score"].isna().sum())
    if n_wrong:
        raise InputFormatError(
            f"{file.name} has {n_wrong} scores, of {len(table)}, that are not numbers from 0 up.",
            "give every line a score, or none",
        )
    return table


def _is_pair(fields: Sequence[str]) -> bool:
    whole = len(fields) >= 6 and all(fields[k].isdecimal() for k in (1, 2, 4, 5))
    return whole and int(fields[1]) < int(fields[2]) and int(fields[4]) < int(fields[5])


def _score_column(header: Sequence[str], fields: Sequence[str]) -> int | None:
    for name in _SCORES:
        if name in header[6:]:
            return header.index(name, 6)
    for column in (7, 6):
        if len(fields) > column and not math.isnan(_score(fields, column)):
            return column
    return None


def _score(fields: Sequence[str], column: int | None) -> float:
    """1 without a column, NaN where it does not hold a number from 0 up."""
    if column is None:
        return 1.0
    value = _number(fields[column]) if column < len(fields) else math.nan
    return value if value >= 0 else math.nan


def read_matrix(
    path: str | Path, places: pd.DataFrame, *, resolution: int | None = None
) -> pd.DataFrame:
    """Return the contacts between the bins of a matrix that hold these places.

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
    As `read_contacts`; entries on the diagonal and empty ones are dropped.

    Raises
    ------
    MissingInputError
        If the file or the package cooler is not there.
    InputFormatError, ConfigError
        If it is not a contact matrix, or has no bins of this size.
    """
    matrix = _open_matrix(path, resolution)
    names = list(matrix.chromnames)
    bins = matrix.bins()[:]
    wanted = np.zeros(len(bins), bool)
    for name in names:
        first, last = matrix.extent(name)
        starts = bins["start"].to_numpy()[first:last]
        here = places.loc[places["chrom"] == name, "pos"].to_numpy()
        at = np.searchsorted(starts, here, "right") - 1
        inside = (at >= 0) & (here < bins["end"].to_numpy()[first:last][at])
        wanted[first + at[inside]] = True
    weights = bins["weight"].to_numpy(float) if "weight" in bins else np.ones(len(bins))
    state = "balanced" if "weight" in bins else "not balanced"
    log.info("%s: bins of %d bp, %s", Path(path).name, int(matrix.binsize or 0), state)
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
            f"{path} holds no contacts between the bins of the genes, of {total} entries in all.",
            "check that it is of the same genome, and its bins are not too large",
        )
    bins = bins[["chrom", "start", "end"]].astype({"chrom": str})
    both = [bins.iloc[found[key].to_numpy()].reset_index(drop=True) for key in ("one", "other")]
    return pd.concat([*both, found["score"]], axis=1).set_axis(COLUMNS, axis=1)


def matrix_chromosomes(path: str | Path, *, resolution: int | None = None) -> list[str]:
    """Return the chromosomes of a contact matrix; errors as in `read_matrix`."""
    return [str(name) for name in _open_matrix(path, resolution).chromnames]


def _open_matrix(path: str | Path, resolution: int | None) -> Any:
    try:
        cooler = importlib.import_module("cooler")
    except ImportError:
        raise MissingInputError(
            f"{path} cannot be read without the package cooler.",
            "pip install 'simplechrome[contact]'",
        ) from None
    text = str(path)
    file, _, inside = text.partition("::")
    if not Path(file).is_file():
        raise unreadable(Path(file), FileNotFoundError(errno.ENOENT, "no such file"))
    try:
        groups = {g.lstrip("/"): g for g in cooler.fileops.list_coolers(file)}
        if inside:
            return cooler.Cooler(text)
        sizes = {int(g.rpartition("/")[2]): g for g in groups if g.rpartition("/")[2].isdecimal()}
        if not sizes:
            return cooler.Cooler(file)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputFormatError(
            f"{path} is not a contact matrix (.cool or .mcool): {type(error).__name__}, {error}.",
            "copy it again, or convert it to .mcool",
        ) from error
    default = min((size for size in sizes if size >= FINEST), default=max(sizes))
    chosen = default if resolution is None else resolution
    if chosen not in sizes:
        raise ConfigError(
            f"{path} has no bins of {chosen} bp, only of {', '.join(map(str, sorted(sizes)))}.",
            "choose one of these with --resolution",
        )
    return cooler.Cooler(f"{file}::{sizes[chosen]}")
