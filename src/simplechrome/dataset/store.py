"""A dataset on disk: Zarr, written whole or not at all, checked on opening."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import xarray as xr
import zarr
import zarr.codecs

from simplechrome.atomic import whole_folder
from simplechrome.errors import DatasetFormatError, MissingInputError, OutputExistsError
from simplechrome.schema import VARIABLES, check_format_version, validate


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


def _foreign_entries(folder: Path) -> list[str]:
    """What in this folder did `save_dataset` not write? Overwriting would delete it."""
    names = [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")]
    try:
        attributes = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))["attributes"]
        ours = "format_version" in attributes
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    # Of a store of ours, any array may go; where that cannot be told, only names of the schema.
    return sorted(
        name
        for name in names
        if name != "zarr.json"
        and name not in VARIABLES
        and not (ours and (folder / name / "zarr.json").is_file())
    )


def save_dataset(dataset: xr.Dataset, path: str | Path, *, overwrite: bool = False) -> Path:
    """How is a dataset kept?

    Written beside `path` and renamed, so that `path` holds the whole dataset or what it held
    before.

    Parameters
    ----------
    dataset
        A valid dataset (see `simplechrome.schema`).
    path
        A folder, by custom ending in `.zarr`.
    overwrite
        Replace what is there.

    Returns
    -------
    The path.

    Raises
    ------
    DatasetFormatError
        If the dataset is not valid.
    OutputExistsError
        If `path` exists and `overwrite` is False, or what is there is not a dataset.
    OutputError
        If it cannot be written.
    """
    validate(dataset)
    held = Path(path)
    if overwrite and held.is_dir() and (foreign := _foreign_entries(held)):
        raise OutputExistsError(
            f"{held} is not a dataset and nothing else, and is not overwritten.",
            found=", ".join(foreign[:12]),
            expected="a dataset, an empty folder, or nothing",
            remedy="choose another output path",
        )
    loaded = dataset.drop_encoding()
    # Object arrays of str become Zarr's variable-length strings; fixed-width NumPy strings would
    # be stored in a type that has no specification yet, and warn.
    for name, variable in loaded.variables.items():
        if variable.dtype.kind == "U":
            loaded[name] = (variable.dims, variable.values.astype(object), variable.attrs)
    with whole_folder(path, overwrite=overwrite) as folder:
        loaded.to_zarr(
            folder,
            mode="w",
            encoding=_encoding(loaded),
            zarr_format=3,
            consolidated=False,
            # Every chunk is there, zeros too, so that a lost one can be told from one of zeros.
            write_empty_chunks=True,
        )
    return Path(path)


def _check_whole(folder: Path) -> None:
    """Is every file there? Zarr itself passes over a lost variable and fills in a lost chunk."""
    folders = [part for part in sorted(folder.iterdir()) if part.is_dir()]
    variables = [part.name for part in folders if not part.name.startswith(".")]
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


def open_dataset(path: str | Path) -> xr.Dataset:
    """What is in a stored dataset?

    Everything is read into memory: one cell type takes 0.03 s and 18 MB, and training wants one
    contiguous array.

    Raises
    ------
    MissingInputError
        If there is nothing at `path`.
    DatasetFormatError
        If it is not a dataset, is damaged, or was written by a newer version.
    """
    folder = Path(path)
    if not folder.exists():
        raise MissingInputError(
            f"There is no dataset at {folder}.",
            remedy="make one with `simplechrome build`, or check the path",
        )
    if not (folder / "zarr.json").is_file():
        raise DatasetFormatError(
            f"{folder} is not a SimpleChrome dataset.",
            found="no zarr.json in it" if folder.is_dir() else "a file",
            expected="a folder written by `simplechrome build` or save_dataset",
            remedy="make one with `simplechrome build`",
        )
    try:
        attributes = dict(zarr.open_group(folder, mode="r").attrs)
        check_format_version(attributes, str(folder))
        with warnings.catch_warnings():
            # Of a lost variable `_check_whole` says more; .DS_Store and its like do no harm.
            warnings.filterwarnings("ignore", "Object at .* is not recognized")
            _check_whole(folder)
            dataset = xr.open_zarr(
                folder, consolidated=False, chunks=None, mask_and_scale=False, decode_times=False
            ).load()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DatasetFormatError(
            f"{folder} cannot be read as a dataset.",
            found=f"{type(error).__name__}: {error}",
            cause="a damaged or incomplete copy",
            remedy="copy or build it again",
        ) from error
    return validate(_in_memory(dataset), str(folder))


def _in_memory(dataset: xr.Dataset) -> xr.Dataset:
    """Plain Python strings, and numbers as contiguous writable arrays, as torch wants them."""
    for name, variable in dataset.variables.items():
        if variable.dtype.kind in "UT":
            values = variable.values.astype(object)
        elif variable.dtype.kind == "O":
            continue
        else:
            values = np.require(variable.values, requirements=["C", "W"])
        dataset[name] = (variable.dims, values, variable.attrs)
    return dataset
