"""Which counts does a NumPy archive (.npz) of one cell type hold?"""

from __future__ import annotations

import io
import logging
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from simplechrome.errors import InputFormatError
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
    """Which type holds whole numbers from 0 to this one without loss, `LARGEST_COUNT` at most?"""
    return np.uint16 if largest <= np.iinfo(np.uint16).max else np.float32


def read_arrays(path: str | Path) -> ArrayCounts:
    """What are the counts, marks and genes in this .npz file?

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
        If it is no .npz or cut off, a key is missing, shapes disagree, a value is negative, not
        finite or too large, or a gene id or mark is empty or occurs twice.
    """
    path = Path(path)
    data = read_bytes(path)
    arrays = _load(path, data)
    counts, marks, gene_id = (arrays[key] for key in KEYS)
    expected = "counts (gene, bin, mark), marks (mark,), gene_id (gene,)"
    found = ", ".join(f"{key} {arrays[key].shape}" for key in KEYS)
    if (counts.ndim, marks.ndim, gene_id.ndim) != (3, 1, 1):
        raise InputFormatError(
            f"{path}: an array has a wrong number of dimensions.", found=found, expected=expected
        )
    if counts.shape != (gene_id.size, counts.shape[1], marks.size):
        raise InputFormatError(
            f"{path}: the shapes of the arrays disagree.",
            found=found,
            expected=expected,
            cause="the dimensions are in another order; numpy.transpose puts them right"
            if sorted((gene_id.size, marks.size)) == sorted((counts.shape[0], counts.shape[1]))
            or (marks.size, gene_id.size) == (counts.shape[0], counts.shape[2])
            else "",
        )
    if counts.size == 0:
        raise InputFormatError(f"{path} holds no counts.", found=found, expected=expected)
    return ArrayCounts(
        cell_type=path.stem,
        gene_id=_names(gene_id, "gene_id", path),
        counts=_compact(counts, path),
        marks=tuple(_names(marks, "marks", path).tolist()),
        sources=[fingerprint(path.name, data)],
    )


def _load(path: Path, data: bytes) -> dict[str, np.ndarray]:
    """The three arrays, or the reason why they cannot be had."""
    if not data:
        raise InputFormatError(
            f"{path} is empty.", found="0 bytes", expected=f"a .npz file with {', '.join(KEYS)}"
        )
    if not data.startswith(b"PK"):
        raise InputFormatError(
            f"{path} is not a .npz file.",
            found=f"a file that begins with {data[:8]!r}",
            expected=f"an archive of numpy.savez with {', '.join(KEYS)}",
            cause="a single array (.npy) or another format with this name",
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
        is_object = "Object arrays" in str(error)
        raise InputFormatError(
            f"{path}: an array holds Python objects, which are never loaded."
            if is_object
            else f"{path} is damaged.",
            found=str(error).split(";")[0].split("\n")[0],
            cause="ragged lists, or text stored as objects"
            if is_object
            else "the download or copy was interrupted",
            remedy="save text as numpy.array(names, dtype=str), counts as an integer array"
            if is_object
            else "fetch or write the file again",
        ) from None
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        raise InputFormatError(
            f"{path} lacks {', '.join(missing)}.",
            found=", ".join(present) or "no arrays",
            expected=", ".join(KEYS),
            remedy="numpy.savez(file, counts=…, marks=…, gene_id=…)",
        )
    others = [key for key in present if key not in KEYS]
    if others:
        logger.info("%s: %s not used", path.name, ", ".join(others))
    return arrays


def _names(array: np.ndarray, key: str, path: Path) -> np.ndarray:
    """The array as str, if it holds names that are all there and all different."""
    try:
        names = array.astype(str) if array.dtype.kind in "US" else None
    except UnicodeDecodeError:
        names = None
    if names is None:
        raise InputFormatError(
            f"{path}: {key} does not hold text.", found=f"dtype {array.dtype}", expected="strings"
        )
    unique, n_times = np.unique(names, return_counts=True)
    repeated = unique[n_times > 1].tolist()
    if repeated or "" in unique:
        raise InputFormatError(
            f"{path}: {key} holds empty names or the same name more than once.",
            found=f"{len(repeated)} repeated ({', '.join(repeated[:5])})"
            if repeated and repeated != [""]
            else f"{int((names == '').sum())} empty",
            expected="each name once",
        )
    return names


def _compact(counts: np.ndarray, path: Path) -> np.ndarray:
    """The counts as uint16 or float32 in C order, if each is a finite number from 0 up."""
    if counts.dtype.kind not in "uif":
        raise InputFormatError(
            f"{path}: counts does not hold numbers.",
            found=f"dtype {counts.dtype}",
            expected="integers or floats",
        )
    is_float = counts.dtype.kind == "f"
    if is_float and not np.isfinite(counts).all():
        raise InputFormatError(
            f"{path}: counts holds values that are not finite.",
            found=f"{int((~np.isfinite(counts)).sum()):,} of {counts.size:,}",
            expected="finite numbers",
            remedy="leave a mark out that was not assayed; set bins without data to 0",
        )
    lowest, highest = counts.min(), counts.max()
    if lowest < 0:
        raise InputFormatError(
            f"{path}: counts holds negative values.",
            found=f"{int((counts < 0).sum()):,} of {counts.size:,}, down to {lowest}",
            expected="0 or more",
            cause="the signal was centered, or is a logarithm or a difference to the input",
        )
    limit = float(np.finfo(np.float32).max) if is_float else LARGEST_COUNT
    if highest > limit:
        raise InputFormatError(
            f"{path}: counts holds a value that float32 cannot hold.",
            found=str(highest),
            expected=f"at most {limit:,}",
        )
    dtype = np.float32 if is_float else count_dtype(int(highest))
    return np.ascontiguousarray(counts, dtype=dtype)
