"""A dataset on disk: Zarr, written whole or not at all, checked on opening."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
import zarr.codecs

from simplechrome.dataset.choose import choose_cell_types
from simplechrome.errors import (
    DatasetFormatError,
    MissingInputError,
    OutputExistsError,
    first_names,
)
from simplechrome.schema import VARIABLES, check_format_version, validate
from simplechrome.work.files import whole_folder
from simplechrome.work.unfinished import unfinished_folder

NEIGHBORS = "neighbors"
"""Folder of neighbor graphs in a dataset's own; see `simplechrome.dataset.neighbors.stored`."""


def _encoding(dataset: xr.Dataset) -> dict[str, dict]:
    """One chunk per cell type, so that any one can be read or replaced alone."""
    encoding: dict[str, dict] = {}
    # Neither Blosc nor Zstandard notices a flipped bit.
    checksum = zarr.codecs.Crc32cCodec()
    for name, variable in dataset.variables.items():
        if variable.dtype.kind in "OUT":
            strings = (zarr.codecs.ZstdCodec(level=3), checksum)
            encoding[str(name)] = {"chunks": variable.shape, "compressors": strings}
            continue
        chunks = tuple(
            1 if dim == "cell_type" else max(size, 1)
            for dim, size in zip(variable.dims, variable.shape, strict=True)
        )
        # Shuffling puts the bytes of equal weight side by side: counts are mostly small, and
        # their upper bytes all zero.
        compressor = zarr.codecs.BloscCodec(
            cname="zstd", clevel=3, shuffle="shuffle", typesize=variable.dtype.itemsize
        )
        # NaN is a value here (no expression measured), not a sign of missing chunks.
        encoding[str(name)] = {
            "chunks": chunks,
            "compressors": (compressor, checksum),
            "_FillValue": None,
        }
    return encoding


def is_dataset(folder: str | Path) -> bool:
    """Return whether this folder is a stored dataset, by its attributes."""
    return "format_version" in stored_attributes(folder)


def stored_attributes(folder: str | Path) -> dict[str, Any]:
    """Return the attributes of a stored dataset; none if it cannot be read."""
    try:
        text = (Path(folder) / "zarr.json").read_text(encoding="utf-8")
        found = json.loads(text)["attributes"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def require_dataset_only(folder: str | Path) -> None:
    """Refuse to replace a folder that holds anything else than a dataset.

    Raises OutputExistsError if it holds anything else, or is a file.
    """
    held, ours = Path(folder), is_dataset(folder)
    names = [entry.name for entry in held.iterdir()] if held.is_dir() else ["a file"]
    # Of a store of ours any array may go; elsewhere only names of the schema.
    foreign = sorted(
        name
        for name in names
        if not (name.startswith(".") or name in ("zarr.json", NEIGHBORS, *VARIABLES))
        and not (ours and (held / name / "zarr.json").is_file())
    )
    if foreign:
        raise OutputExistsError(
            f"{held} is not only a dataset ({first_names(foreign, 12)}), and is not overwritten.",
            "choose another output path",
        )


def save_dataset(dataset: xr.Dataset, path: str | Path, *, overwrite: bool = False) -> Path:
    """Store a dataset, and return its path.

    `path` holds the whole dataset or what it held before.

    Parameters
    ----------
    dataset : a valid dataset (see `simplechrome.schema`)
    path : a folder, by custom ending in `.zarr`
    overwrite : replace what is there

    Raises DatasetFormatError if the dataset is not valid; OutputExistsError if `path` exists and
    `overwrite` is False, or what is there is not a dataset; OutputError if it cannot be written.
    """
    validate(dataset)
    if overwrite and Path(path).is_dir():
        require_dataset_only(path)
    with whole_folder(path, overwrite=overwrite) as folder:
        _write(dataset, folder, _encoding(dataset))
    return Path(path)


def _write(dataset: xr.Dataset, folder: Path, encoding: Mapping[str, dict]) -> None:
    loaded = dataset.drop_encoding()
    # Object arrays of str become Zarr's variable-length strings; fixed-width NumPy strings would
    # be stored in a type that has no specification yet, and warn.
    for name, variable in loaded.variables.items():
        if variable.dtype.kind == "U":
            loaded[name] = (variable.dims, variable.values.astype(object), variable.attrs)
    loaded.to_zarr(
        folder,
        mode="w",
        encoding=encoding,
        zarr_format=3,
        consolidated=False,
        # Every chunk is there, zeros too, so that a lost one is not taken for one of zeros.
        write_empty_chunks=True,
    )


class GrowingStore:
    """A stored dataset whose large variables are never in memory as a whole.

    Byte for byte what `save_dataset` writes, once each cell type has been filled in. Until then
    chunks are missing, and `open_dataset` fails.

    Parameters
    ----------
    outline : the whole dataset. Of `later`, only shapes, types and attributes matter.
    folder : an empty folder
    later : the variables that are to be filled in
    """

    def __init__(self, outline: xr.Dataset, folder: Path, later: Sequence[str]) -> None:
        # With one cell type xarray writes all metadata; then the arrays are lengthened.
        _write(outline.isel(cell_type=[0]), folder, _encoding(outline))
        with zarr.config.set({"array.write_empty_chunks": True}):
            names = [name for name, each in outline.variables.items() if "cell_type" in each.dims]
            arrays = {str(name): zarr.open_array(folder / str(name), mode="r+") for name in names}
        for name, array in arrays.items():
            array.resize(outline[name].shape)
            if name not in later:
                array[...] = outline[name].values
        self._arrays = {name: arrays[name] for name in later}

    def fill(self, row: int, values: Mapping[str, np.ndarray]) -> None:
        """Write a cell type: its values of each large variable, without that dimension."""
        for name, array in self._arrays.items():
            array[row] = values[name]


def _check_whole(folder: Path) -> None:
    """Raise if a file is lost; Zarr skips a lost variable and fills in a lost chunk."""
    names = sorted(part.name for part in folder.iterdir() if part.is_dir())
    variables = [name for name in names if not name.startswith(".") and name != NEIGHBORS]
    for name in variables:
        if not (folder / name / "zarr.json").is_file():
            raise FileNotFoundError(f"`{name}` has no zarr.json")
    arrays = dict(zarr.open_group(folder, mode="r").arrays())
    for name in variables:
        if name not in arrays:
            raise ValueError(f"the zarr.json of `{name}` does not describe an array")
    for name, array in arrays.items():
        if array.nchunks_initialized != array.nchunks:
            raise FileNotFoundError(
                f"{array.nchunks - array.nchunks_initialized} of {array.nchunks} chunks of "
                f"`{name}` are missing"
            )


@contextmanager
def _readable(folder: Path) -> Iterator[xr.Dataset]:
    """Open a stored dataset without reading it; any failure becomes one error."""
    try:
        attributes = dict(zarr.open_group(folder, mode="r").attrs)
        check_format_version(attributes, str(folder))
        with warnings.catch_warnings():
            # Of a lost variable `_check_whole` says more; .DS_Store and its like do no harm.
            warnings.filterwarnings("ignore", "Object at .* is not recognized")
            _check_whole(folder)
            yield xr.open_zarr(
                folder, consolidated=False, chunks=None, mask_and_scale=False, decode_times=False
            )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DatasetFormatError(
            f"{folder} cannot be read as a dataset, it is damaged or incomplete "
            f"({type(error).__name__}: {error}).",
            "copy or build it again",
        ) from error


def _require_there(folder: Path) -> None:
    if not folder.exists():
        begun = unfinished_folder(folder)
        if begun.exists():
            raise MissingInputError(
                f"{folder} was begun and not finished; its parts are in {begun}.",
                "call `simplechrome build` again with --resume",
            )
        raise MissingInputError(
            f"There is no dataset at {folder}.",
            "make one with `simplechrome build`, or check the path",
        )
    if not (folder / "zarr.json").is_file():
        raise DatasetFormatError(
            f"{folder} is not a SimpleChrome dataset: "
            + ("it has no zarr.json." if folder.is_dir() else "it is a file."),
            "make one with `simplechrome build`, or save_dataset",
        )


def open_dataset(path: str | Path, cell_types: Sequence[str] | None = None) -> xr.Dataset:
    """Return a stored dataset, read into memory (one cell type takes 0.03 s and 18 MB).

    Parameters
    ----------
    path : the dataset's folder
    cell_types : names of those to read, in this order; all by default. Others are not read.

    Raises MissingInputError if there is nothing at `path`; DatasetFormatError if it is not a
    dataset, is damaged, or was written by a newer version; UnknownGeneError if it does not hold a
    cell type of that name; ConfigError if `cell_types` is empty.
    """
    folder = Path(path)
    _require_there(folder)
    with _readable(folder) as stored:
        if cell_types is not None:
            stored = choose_cell_types(stored, cell_types, str(folder))
        dataset = stored.load()
    return validate(_in_memory(dataset), str(folder))


def open_outline(path: str | Path, later: Sequence[str]) -> xr.Dataset:
    """Return a stored dataset with zeros in place of its large variables.

    Parameters
    ----------
    path : the dataset's folder
    later : the variables that are not read; their zeros take no memory

    Raises MissingInputError, DatasetFormatError: see `open_dataset`.
    """
    folder = Path(path)
    _require_there(folder)
    with _readable(folder) as stored:
        zeros = {
            name: (each.dims, np.broadcast_to(np.zeros((), each.dtype), each.shape), each.attrs)
            for name, each in ((name, stored[name]) for name in later)
        }
        small = stored.drop_vars(list(later)).load()
    return validate(_in_memory(small).assign(zeros), str(folder))


def stored_sizes(path: str | Path) -> dict[str, int]:
    """Return the numbers of cell types, genes, bins and marks of a stored dataset.

    Raises MissingInputError, DatasetFormatError: see `open_dataset`.
    """
    _require_there(Path(path))
    with _readable(Path(path)) as stored:
        return {str(dim): size for dim, size in stored.sizes.items()}


def _in_memory(dataset: xr.Dataset) -> xr.Dataset:
    """Return plain Python strings, and contiguous writable arrays of numbers, as torch needs."""
    for name, variable in dataset.variables.items():
        if variable.dtype.kind == "O":
            continue
        text, values = variable.dtype.kind in "UT", variable.values
        values = values.astype(object) if text else np.require(values, requirements=["C", "W"])
        dataset[name] = (variable.dims, values, variable.attrs)
    return dataset
