"""Counts of one cell type from a NumPy archive (.npz)."""

from __future__ import annotations

import io
import logging
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from simplechrome.errors import InputFormatError, first_names
from simplechrome.sources.provenance import Source, fingerprint, read_bytes

logger = logging.getLogger(__name__)

KEYS = ("counts", "marks", "gene_id")
LARGEST_COUNT = 2**24
"""Up to here float32 holds every whole number exactly."""


class ArrayCounts(NamedTuple):
    """One cell type from a .npz file.

    gene_id : (gene,) as in the file
    counts : (gene, bin, mark) uint16 or float32, C order
    sources : name, bytes and sha256 of the file
    """

    cell_type: str
    gene_id: np.ndarray
    counts: np.ndarray
    marks: tuple[str, ...]
    sources: list[Source]


def count_dtype(largest: int) -> type[np.uint16] | type[np.float32]:
    """Return the type that holds whole numbers up to this one, at most `LARGEST_COUNT`."""
    return np.uint16 if largest <= np.iinfo(np.uint16).max else np.float32


def read_arrays(path: str | Path) -> ArrayCounts:
    """Return the counts, marks and genes in a .npz file.

    Parameters
    ----------
    path
        A file of `numpy.savez` with `counts` (gene, bin, mark), `marks` (mark,) and `gene_id`
        (gene,). Its stem is the name of the cell type. Nothing in it is ever unpickled.

    Returns
    -------
    Whole numbers become uint16, or float32 where one is above 65,535; floats become float32.

    Raises
    ------
    MissingInputError
        If the file is not there or may not be read.
    InputFormatError
        If it is not a .npz or cut off, a key is missing, shapes differ, a value is negative, not
        finite or too large, or a gene id or mark is empty or occurs twice.
    """
    path = Path(path)
    data = read_bytes(path)
    arrays = _load(path, data)
    counts, marks, gene_id = (arrays[key] for key in KEYS)
    found = ", ".join(f"{key} {arrays[key].shape}" for key in KEYS)
    problem = ""
    if (counts.ndim, marks.ndim, gene_id.ndim) != (3, 1, 1):
        problem = "an array has a wrong number of dimensions"
    elif counts.shape != (gene_id.size, counts.shape[1], marks.size):
        problem = "the shapes of the arrays do not fit together"
    elif counts.size == 0:
        problem = "it holds no counts"
    if problem:
        raise InputFormatError(
            f"{path}: {problem} ({found}).",
            "store counts (gene, bin, mark), marks (mark,) and gene_id (gene,); numpy.transpose "
            "changes the order of dimensions",
        )
    return ArrayCounts(
        cell_type=path.stem,
        gene_id=_names(gene_id, "gene_id", path),
        counts=_compact(counts, path),
        marks=tuple(_names(marks, "marks", path).tolist()),
        sources=[fingerprint(path.name, data)],
    )


def _load(path: Path, data: bytes) -> dict[str, np.ndarray]:
    """The three arrays; nothing is unpickled."""
    how = f"write it by numpy.savez with {', '.join(KEYS)}"
    if not data.startswith(b"PK"):
        raise InputFormatError(
            f"{path} is {'not a .npz file' if data else 'empty'}: it begins with {data[:8]!r}.", how
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            present = [name.removesuffix(".npy") for name in archive.namelist()]
            # Each member is read to its end, for only there is its checksum compared; numpy.load
            # on the whole file stops before it.
            arrays = {
                key: np.load(io.BytesIO(archive.read(f"{key}.npy")), allow_pickle=False)
                for key in KEYS
                if f"{key}.npy" in archive.namelist()
            }
    # RuntimeError: zipfile's word for an unknown compression or a password.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        if "Object arrays" in str(error):
            raise InputFormatError(
                f"{path}: an array holds Python objects, which are never loaded.",
                "save text as numpy.array(names, dtype=str), counts as an integer array",
            ) from None
        reason = str(error).split(";")[0].split("\n")[0]
        raise InputFormatError(
            f"{path} is damaged: {reason}.", "fetch or write the file again"
        ) from None
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        raise InputFormatError(
            f"{path} lacks {', '.join(missing)}: it holds {', '.join(present) or 'no arrays'}.", how
        )
    others = [key for key in present if key not in KEYS]
    if others:
        logger.info("%s: %s not used", path.name, ", ".join(others))
    return arrays


def _names(array: np.ndarray, key: str, path: Path) -> np.ndarray:
    """The array as str, if no name is empty and each occurs once."""
    try:
        names = array.astype(str) if array.dtype.kind in "US" else None
    except UnicodeDecodeError:
        names = None
    if names is None:
        raise InputFormatError(
            f"{path}: {key} does not hold text but {array.dtype}.", "store an array of strings"
        )
    unique, n_times = np.unique(names, return_counts=True)
    repeated = unique[n_times > 1].tolist()
    if repeated or "" in unique:
        raise InputFormatError(
            f"{path}: {key} holds {int((names == '').sum())} empty and "
            f"{len(repeated)} repeated names ({first_names(repeated)}).",
            "give each name once",
        )
    return names


def _compact(counts: np.ndarray, path: Path) -> np.ndarray:
    """The counts as uint16 or float32 in C order, if each is a finite number from 0 up."""
    if counts.dtype.kind not in "uif":
        raise InputFormatError(
            f"{path}: counts does not hold numbers but {counts.dtype}.", "store integers or floats"
        )
    is_float = counts.dtype.kind == "f"
    n_bad = int((~np.isfinite(counts)).sum())
    if n_bad:
        raise InputFormatError(
            f"{path}: {n_bad:,} of {counts.size:,} counts are not finite.",
            "omit a mark that was not assayed; set bins without data to 0",
        )
    lowest, highest = counts.min(), counts.max()
    if lowest < 0:
        raise InputFormatError(
            f"{path}: {int((counts < 0).sum()):,} of {counts.size:,} counts are negative, down to "
            f"{lowest}.",
            "store counts or signal that was not centered, not a logarithm or a difference",
        )
    limit = float(np.finfo(np.float32).max) if is_float else LARGEST_COUNT
    if highest > limit:
        raise InputFormatError(
            f"{path}: counts holds {highest}, which float32 cannot hold.",
            f"store values of at most {limit:,}",
        )
    dtype = np.float32 if is_float else count_dtype(int(highest))
    return np.ascontiguousarray(counts, dtype=dtype)
