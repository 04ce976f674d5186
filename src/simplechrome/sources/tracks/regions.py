"""Regions of the genome (a blacklist), and how much of each window they cover."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simplechrome.errors import InputFormatError
from simplechrome.sources.text.open import open_text
from simplechrome.sources.tracks.windows import Windows

_DIGITS = 18  # of a place that 64 bits hold


def read_regions(path: str | Path) -> pd.DataFrame:
    """Which regions does this BED file hold?

    Parameters
    ----------
    path
        BED with three columns or more, plain or packed.

    Returns
    -------
    chrom, start, end: 0-based and half-open, in file order.

    Raises
    ------
    MissingInputError
        If the file cannot be opened.
    InputFormatError
        If it is empty, or a line is no region.
    """
    file = Path(path)
    rows: list[tuple[str, int, int]] = []
    with open_text(file) as lines:
        for number, line in enumerate(lines, start=1):
            if line.isspace() or line.startswith(("#", "track", "browser")):
                continue
            fields = line.rstrip("\n").split("\t") if "\t" in line else line.split()
            whole = len(fields) >= 3 and all(
                text.strip().isdecimal() and len(text) < _DIGITS for text in fields[1:3]
            )
            if not whole or int(fields[1]) >= int(fields[2]):
                raise InputFormatError(
                    f"{file.name}, line {number} is no region.",
                    found=repr(line.rstrip("\n")[:60]),
                    expected="chromosome, start and end, start below end",
                    cause="not a BED file, or a damaged line",
                )
            rows.append((fields[0].strip(), int(fields[1]), int(fields[2])))
    if not rows:
        raise InputFormatError(f"{file.name} holds no regions.", expected="BED: a line per region")
    return pd.DataFrame(rows, columns=["chrom", "start", "end"])


def blacklisted_share(windows: Windows, regions: pd.DataFrame) -> NDArray[np.float32]:
    """Which share of each window's bases lies in one of the regions?

    Parameters
    ----------
    windows
        Under the regions' chromosome names.
    regions
        With chrom, start and end; they may overlap each other.

    Returns
    -------
    (gene,), 0 to 1.
    """
    share = np.zeros(len(windows), np.float32)
    by_chrom = dict(list(regions.groupby("chrom", sort=False)))
    for chrom, there in windows.by_chromosome():
        if chrom not in by_chrom:
            continue
        own = by_chrom[chrom].sort_values("start")
        start, end = own["start"].to_numpy(np.int64), own["end"].to_numpy(np.int64)
        reach = np.maximum.accumulate(end)
        first = np.r_[True, start[1:] > reach[:-1]]
        start, end = start[first], reach[np.r_[first[1:], True]]  # disjoint now
        before = np.r_[0, np.cumsum(end - start)]

        def covered_up_to(
            at: NDArray[np.int64],
            start: NDArray[np.int64] = start,
            end: NDArray[np.int64] = end,
            before: NDArray[np.int64] = before,
        ) -> NDArray[np.int64]:
            n = np.searchsorted(start, at, side="right")
            inside = np.where(n > 0, np.minimum(at, end[n - 1]) - start[n - 1], 0)
            return np.where(n > 0, before[n - 1] + inside, 0)

        bases = covered_up_to(there.starts + windows.width) - covered_up_to(there.starts)
        share[there.rows] = bases / windows.width
    return share
