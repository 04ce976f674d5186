"""What a dataset is: names, dimensions, dtypes and units, and its validation.

Everything else relies on `validate`.
Coordinates are 0-based and half-open; bins run in the direction of transcription.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simplechrome.errors import DatasetFormatError, first_names

if TYPE_CHECKING:
    import xarray as xr

FORMAT_VERSION = 1
"""Raised when an older program could no longer read what this one writes."""

UNKNOWN_LABEL = -1
STRANDS = ("+", "-", ".")
PUBLISHED_SPLITS = ("train", "valid", "test", "")


@dataclass(frozen=True)
class Variable:
    """A variable of the dataset."""

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
        ("cell_type", "gene", "mark"), ("float32",), "fraction of the window's bases with data"
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


def _require(condition: bool, problem: str, remedy: str = "") -> None:
    if not condition:
        raise DatasetFormatError(problem, remedy)


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_format_version(attributes: Mapping[str, object], where: str) -> None:
    """Refuse attributes of a dataset that this program cannot read.

    Raises DatasetFormatError if `format_version` is absent, no whole number, or newer than
    `FORMAT_VERSION`.
    """
    version = attributes.get("format_version")
    _require(
        _is_whole(version),
        f"{where} is not a SimpleChrome dataset: its format_version is {version!r}.",
        "make one with `simplechrome build`, or simplechrome.from_arrays",
    )
    _require(
        int(version) <= FORMAT_VERSION,  # type: ignore[call-overload]
        f"{where} was written by a newer version of SimpleChrome: its format_version is {version}, "
        f"expected {FORMAT_VERSION} or lower.",
        "pip install --upgrade simplechrome",
    )


def _check_variables(dataset: xr.Dataset, where: str) -> None:
    for name, variable in VARIABLES.items():
        wanted = f"({', '.join(variable.dims)})"
        if name not in dataset.variables:
            _require(
                not variable.required,
                f"{where} lacks the variable `{name}` {wanted}: {variable.meaning}.",
                "build it again with `simplechrome build`, or simplechrome.from_arrays",
            )
            continue
        array = dataset[name]
        _require(
            array.dims == variable.dims,
            f"{where}: `{name}` has dimensions ({', '.join(map(str, array.dims))}), expected "
            f"{wanted}.",
            f"dataset['{name}'].transpose(...) may reorder them",
        )
        _require(
            array.size > 0,
            f"{where}: `{name}` is empty: {dict(array.sizes)}; expected at least one cell type, "
            "gene, bin and mark.",
        )
        dtype = "string" if array.dtype.kind in "OUT" else array.dtype.name
        _require(
            dtype in variable.dtypes,
            f"{where}: `{name}` is of type {dtype}, expected {' or '.join(variable.dtypes)}.",
        )


def _check_values(dataset: xr.Dataset, where: str) -> None:
    for name in ("gene_id", "cell_type", "mark"):
        values, counts = np.unique(dataset[name].values.astype(str), return_counts=True)
        repeated = values[counts > 1]
        _require(
            repeated.size == 0,
            f"{where}: {repeated.size} values of `{name}` occur more than once: "
            f"{first_names(repeated)}.",
        )
    allowed = {"strand": STRANDS, "published_split": PUBLISHED_SPLITS}
    for name in allowed.keys() & set(dataset.variables):
        odd = np.setdiff1d(dataset[name].values.astype(str), allowed[str(name)])
        _require(
            odd.size == 0,
            f"{where}: `{name}` holds {first_names(map(repr, odd.tolist()))}, expected "
            f"{' or '.join(map(repr, allowed[str(name)]))}.",
        )
    starts, size = dataset["bin_start"].values, dataset.attrs["bin_size"]
    _require(
        _is_whole(size) and int(size) > 0,
        f"{where}: `bin_size` is {size!r}, expected a whole number of bp, 1 or more.",
    )
    _require(
        bool(np.all(np.diff(starts) == size)),
        f"{where}: `bin_start` ({first_names(starts, 3)}) does not run in steps of bin_size, "
        f"{size} bp.",
    )
    labels = np.unique(dataset["label"].values)
    _require(
        bool(np.isin(labels, (0, 1, UNKNOWN_LABEL)).all()),
        f"{where}: `label` holds {first_names(labels, 8)}, expected 1 (high), 0 (low) and -1 "
        "(unknown).",
    )
    places = [name for name in PLACE if name in dataset.variables]
    _require(
        len(places) in (0, len(PLACE)),
        f"{where} has only {', '.join(places)} of the genes' places, expected all or none of "
        f"{', '.join(PLACE)}.",
    )
    signal = dataset["signal"].values
    if signal.dtype.kind == "f":
        # A sum in place of isfinite().all(): no temporary of the signal's size. Infinities of
        # both signs, and NaN, survive into it.
        with np.errstate(invalid="ignore"):
            total = signal.sum(dtype=np.float64)
        if not np.isfinite(total):
            raise DatasetFormatError(
                f"{where}: {int((~np.isfinite(signal)).sum())} of {signal.size} values of `signal` "
                "are not finite.",
                "set unobserved signal to 0, with `observed` = 0",
            )


def validate(dataset: xr.Dataset, where: str = "dataset") -> xr.Dataset:
    """Return the dataset, if it is a valid one.

    Called once wherever a dataset enters (open, save, from_arrays, merge); code inside the
    package relies on it.

    Parameters
    ----------
    dataset
        See `VARIABLES` for names, dimensions and types.
    where
        The file's name, for the message.

    Raises
    ------
    DatasetFormatError
        If a variable or attribute is missing, has other dimensions or another type, or holds
        invalid values.
    """
    check_format_version(dict(dataset.attrs), where)
    _require("bin_size" in dataset.attrs, f"{where} lacks the attribute `bin_size`.")
    _check_variables(dataset, where)
    _check_values(dataset, where)
    return dataset
