"""What a dataset is: names, dimensions, dtypes and units, and the one check at the door.

This is the only file that states them; everything else asks it or relies on `validate`.
Coordinates are 0-based and half-open; bins run in the direction of transcription.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simplechrome.errors import DatasetFormatError

if TYPE_CHECKING:
    import xarray as xr

FORMAT_VERSION = 1
"""Raised when an older program could no longer read what this one writes."""

UNKNOWN_LABEL = -1
STRANDS = ("+", "-", ".")
PUBLISHED_SPLITS = ("train", "valid", "test", "")


@dataclass(frozen=True)
class Variable:
    """One variable of the dataset: its dimensions, allowed dtypes and meaning."""

    dims: tuple[str, ...]
    dtypes: tuple[str, ...]
    meaning: str
    required: bool = True


# "string" stands for any array of Python or NumPy strings.
VARIABLES: dict[str, Variable] = {
    "signal": Variable(
        ("cell_type", "gene", "bin", "mark"), ("uint16", "float32"), "value per bin; see `units`"
    ),
    "mark_present": Variable(
        ("cell_type", "mark"), ("bool",), "False where the mark was not assayed"
    ),
    "observed": Variable(
        ("cell_type", "gene", "mark"), ("float32",), "share of the window's bases with data"
    ),
    "depth": Variable(
        ("cell_type", "mark"), ("float32",), "library size or total signal; NaN if unknown"
    ),
    "expression": Variable(
        ("cell_type", "gene"), ("float32",), "RPKM or TPM; NaN where not measured"
    ),
    "label": Variable(("cell_type", "gene"), ("int8",), "1 high, 0 low, -1 unknown"),
    "imputed": Variable(
        ("cell_type", "mark"), ("bool",), "True where the signal is no measurement", required=False
    ),
    "imputed_low": Variable(
        ("cell_type", "gene", "bin", "mark"),
        ("float32",),
        "lower end of the interval of imputed signal; 0 where it was measured",
        required=False,
    ),
    "imputed_high": Variable(
        ("cell_type", "gene", "bin", "mark"),
        ("float32",),
        "upper end; see `imputed_low`",
        required=False,
    ),
    "gene_id": Variable(("gene",), ("string",), "stable identifier, unique"),
    "gene_name": Variable(("gene",), ("string",), "symbol; empty if unknown", required=False),
    "chrom": Variable(("gene",), ("string",), "chromosome", required=False),
    "tss": Variable(
        ("gene",), ("int64",), "0-based transcription start; -1 if unknown", required=False
    ),
    "strand": Variable(("gene",), ("string",), "+, - or .", required=False),
    "published_split": Variable(
        ("gene",), ("string",), "train, valid or test in the published split", required=False
    ),
    "bin_start": Variable(
        ("bin",), ("int32",), "offset from the TSS in bp, along transcription; negative: upstream"
    ),
    "cell_type": Variable(("cell_type",), ("string",), "name of the cell type, unique"),
    "mark": Variable(("mark",), ("string",), "name of the mark, unique"),
}
COORDINATES = ("gene_id", "gene_name", "chrom", "tss", "strand", "published_split", "bin_start")
PLACE = ("chrom", "tss", "strand")
"""The variables that place a gene in the genome; all or none are there."""

REQUIRED_ATTRIBUTES = ("format_version", "bin_size")


def _dtype_name(array: xr.DataArray) -> str:
    return "string" if array.dtype.kind in "OUT" else array.dtype.name


def _require(condition: bool, problem: str, *, found: str, expected: str, remedy: str = "") -> None:
    if not condition:
        raise DatasetFormatError(problem, found=found, expected=expected, remedy=remedy)


def check_format_version(attributes: Mapping[str, object], where: str) -> None:
    """Can this program read a dataset with these attributes?

    Raises
    ------
    DatasetFormatError
        If `format_version` is absent, no whole number, or newer than `FORMAT_VERSION`.
    """
    version = attributes.get("format_version")
    _require(
        isinstance(version, int | np.integer) and not isinstance(version, bool),
        f"{where} is not a SimpleChrome dataset.",
        found=f"format_version = {version!r}",
        expected=f"a whole number up to {FORMAT_VERSION}",
        remedy="make one with `simplechrome build`, or simplechrome.from_arrays",
    )
    _require(
        int(version) <= FORMAT_VERSION,  # type: ignore[call-overload]
        f"{where} was written by a newer version of SimpleChrome.",
        found=f"format_version = {version}",
        expected=f"{FORMAT_VERSION} or lower",
        remedy="pip install --upgrade simplechrome",
    )


def _check_variables(dataset: xr.Dataset, where: str) -> None:
    for name, variable in VARIABLES.items():
        if name not in dataset.variables:
            _require(
                not variable.required,
                f"{where} lacks the variable `{name}` ({variable.meaning}).",
                found="variables " + ", ".join(sorted(map(str, dataset.variables))),
                expected=f"`{name}` with dimensions ({', '.join(variable.dims)})",
                remedy="build it again with `simplechrome build`, or simplechrome.from_arrays",
            )
            continue
        array = dataset[name]
        _require(
            array.dims == variable.dims,
            f"{where}: `{name}` has wrong dimensions.",
            found=f"({', '.join(map(str, array.dims))})",
            expected=f"({', '.join(variable.dims)})",
            remedy=f"dataset['{name}'].transpose(...) may put them in order",
        )
        _require(
            array.size > 0,
            f"{where}: `{name}` is empty.",
            found=", ".join(f"{size} along {dim}" for dim, size in array.sizes.items()),
            expected="at least one cell type, gene, bin and mark",
        )
        _require(
            _dtype_name(array) in variable.dtypes,
            f"{where}: `{name}` has a wrong type.",
            found=_dtype_name(array),
            expected=" or ".join(variable.dtypes),
        )


def _check_values(dataset: xr.Dataset, where: str) -> None:
    for name in ("gene_id", "cell_type", "mark"):
        values, counts = np.unique(dataset[name].values.astype(str), return_counts=True)
        repeated = values[counts > 1]
        _require(
            repeated.size == 0,
            f"{where}: {repeated.size} values of `{name}` occur more than once.",
            found=", ".join(repeated[:5]),
            expected="each once",
        )
    for name, allowed in (("strand", STRANDS), ("published_split", PUBLISHED_SPLITS)):
        values = dataset[name].values.astype(str) if name in dataset.variables else np.empty(0, str)
        odd = np.setdiff1d(values, allowed)
        _require(
            odd.size == 0,
            f"{where}: `{name}` holds values without meaning.",
            found=", ".join(map(repr, odd[:5].tolist())),
            expected=" or ".join(map(repr, allowed)),
        )
    starts = dataset["bin_start"].values
    size = dataset.attrs["bin_size"]
    _require(
        isinstance(size, int | np.integer) and not isinstance(size, bool) and int(size) > 0,
        f"{where}: `bin_size` makes no sense.",
        found=repr(size),
        expected="a whole number of bp, 1 or more",
    )
    _require(
        bool(np.all(np.diff(starts) == size)),
        f"{where}: `bin_start` does not run in steps of bin_size.",
        found=f"{starts[:3].tolist()} …",
        expected=f"steps of {size} bp",
    )
    labels = np.unique(dataset["label"].values)
    _require(
        bool(np.isin(labels, (0, 1, UNKNOWN_LABEL)).all()),
        f"{where}: `label` holds other values than 1 (high), 0 (low), -1 (unknown).",
        found=str(labels[:8].tolist()),
        expected="-1, 0, 1",
    )
    places = [name for name in PLACE if name in dataset.variables]
    _require(
        len(places) in (0, len(PLACE)),
        f"{where}: only part of the genes' places is there.",
        found=", ".join(places),
        expected="all or none of " + ", ".join(PLACE),
    )
    signal = dataset["signal"].values
    if signal.dtype.kind == "f":
        # A sum in place of isfinite().all(): no temporary of the signal's size. Infinities of
        # both signs, and NaN, survive into it.
        with np.errstate(invalid="ignore"):
            total = signal.sum(dtype=np.float64)
        _require(
            bool(np.isfinite(total)),
            f"{where}: `signal` holds values that are not finite.",
            found=f"{int((~np.isfinite(signal)).sum())} of {signal.size}",
            expected="finite numbers; unobserved signal is 0 with `observed` = 0",
        )


def validate(dataset: xr.Dataset, where: str = "dataset") -> xr.Dataset:
    """Is this a SimpleChrome dataset?

    Called once wherever a dataset enters (open, save, from_arrays, merge); code inside the
    package relies on it.

    Parameters
    ----------
    dataset
        See `VARIABLES` for names, dimensions and types.
    where
        The file's name, for the message.

    Returns
    -------
    The same dataset.

    Raises
    ------
    DatasetFormatError
        If a variable or attribute is missing, has other dimensions or another type, or holds
        values without meaning.
    """
    check_format_version(dict(dataset.attrs), where)
    for name in REQUIRED_ATTRIBUTES:
        _require(
            name in dataset.attrs,
            f"{where} lacks the attribute `{name}`.",
            found=", ".join(map(str, dataset.attrs)),
            expected=", ".join(REQUIRED_ATTRIBUTES),
        )
    _check_variables(dataset, where)
    _check_values(dataset, where)
    return dataset
