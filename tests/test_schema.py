"""The check at the door: what is a dataset, and what is said of one that is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from simplechrome.dataset.building.arrays import from_arrays
from simplechrome.errors import DatasetFormatError
from simplechrome.schema import FORMAT_VERSION, VARIABLES, check_format_version, validate


@pytest.fixture
def dataset() -> xr.Dataset:
    return from_arrays(
        np.ones((1, 3, 4, 2), np.float32),
        marks=["m1", "m2"],
        gene_ids=["a", "b", "c"],
        cell_types=["A"],
        label=np.array([[1, 0, -1]]),
        genes=pd.DataFrame(
            {"gene_id": ["a", "b", "c"], "chrom": "chr1", "tss": [1, 2, 3], "strand": list("+-.")}
        ),
        published_split=["train", "valid", ""],
    )


def refusal(dataset: xr.Dataset) -> str:
    with pytest.raises(DatasetFormatError) as caught:
        validate(dataset, "e012.zarr")
    assert "e012.zarr" in str(caught.value)
    return str(caught.value)


def test_every_variable_of_the_table_is_in_a_full_dataset(dataset: xr.Dataset) -> None:
    assert validate(dataset) is dataset
    of_imputation = {"imputed", "imputed_low", "imputed_high"}
    assert set(VARIABLES) - of_imputation == set(dataset.variables)
    for name in dataset.variables:
        assert dataset[name].dims == VARIABLES[str(name)].dims


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (FORMAT_VERSION + 1, "newer version of SimpleChrome"),
        (None, "not a SimpleChrome dataset"),
        ("1", "its format_version is '1'"),
        (1.0, "not a SimpleChrome dataset"),
        (True, "not a SimpleChrome dataset"),
    ],
)
def test_format_version_must_be_a_known_number(version: Any, message: str) -> None:
    with pytest.raises(DatasetFormatError, match=r"x\.zarr") as caught:
        check_format_version({"format_version": version}, "x.zarr")
    assert message in str(caught.value)
    check_format_version({"format_version": np.int64(FORMAT_VERSION)}, "x.zarr")


def test_a_newer_version_names_the_remedy(dataset: xr.Dataset) -> None:
    dataset.attrs["format_version"] = FORMAT_VERSION + 1
    message = refusal(dataset)
    assert f"its format_version is {FORMAT_VERSION + 1}" in message
    assert "pip install --upgrade" in message


@pytest.mark.parametrize("name", [n for n, v in VARIABLES.items() if v.required])
def test_a_missing_variable_is_named(dataset: xr.Dataset, name: str) -> None:
    assert f"lacks the variable `{name}`" in refusal(dataset.drop_vars(name))


@pytest.mark.parametrize("names", [["gene_name"], ["published_split"], ["chrom", "tss", "strand"]])
def test_optional_variables_may_be_absent(dataset: xr.Dataset, names: list[str]) -> None:
    validate(dataset.drop_vars(names))


def test_a_place_is_whole_or_absent(dataset: xr.Dataset) -> None:
    message = refusal(dataset.drop_vars("strand"))
    assert "only chrom, tss of the genes' places" in message


@pytest.mark.parametrize("name", ["signal", "observed", "expression", "label", "mark_present"])
def test_wrong_dimensions_are_named(dataset: xr.Dataset, name: str) -> None:
    turned = dataset.assign({name: dataset[name].T})
    message = refusal(turned)
    assert f"`{name}` has dimensions (" in message
    assert f"expected ({', '.join(VARIABLES[name].dims)})" in message


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *(("signal", "f8"), ("signal", "i4"), ("label", "i8"), ("expression", "f8")),
        *(("depth", "f8"), ("mark_present", "u1"), ("tss", "i4"), ("gene_id", None)),
    ],
)
def test_wrong_types_are_named(dataset: xr.Dataset, name: str, dtype: Any) -> None:
    array = dataset[name]
    values = np.arange(3) if dtype is None else array.values.astype(dtype)
    message = refusal(dataset.assign({name: (array.dims, values)}))
    assert f"`{name}` is of type {np.asarray(values).dtype.name}" in message
    assert f"expected {' or '.join(VARIABLES[name].dtypes)}" in message


Change = Callable[[xr.Dataset], xr.Dataset]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d.assign_coords(gene_id=("gene", np.array(["a", "b", "a"], object))),
            "1 values of `gene_id` occur more than once: a.",
        ),
        (lambda d: d.assign_coords(mark=["m", "m"]), "`mark` occur more than once"),
        (lambda d: d.assign(label=d.label + np.int8(1)), "`label` holds 0, 1, 2"),
        (lambda d: d.assign_coords(bin_start=d.bin_start[::-1]), "steps of bin_size"),
        (lambda d: d.assign_attrs(bin_size=200), "steps of bin_size, 200 bp"),
        (lambda d: d.assign_attrs(bin_size=0), "`bin_size` is 0"),
        (lambda d: d.assign_attrs(bin_size="100"), "`bin_size` is '100'"),
        (lambda d: d.assign_coords(strand=d.strand.where(d.strand != "-", "-1")), "holds '-1'"),
        (
            lambda d: d.assign_coords(published_split=("gene", ["train", "validation", "test"])),
            "`published_split` holds 'validation'",
        ),
        (lambda d: d.isel(gene=[]), "`signal` is empty: {'cell_type': 1, 'gene': 0"),
        (lambda d: d.isel(mark=[]), "`signal` is empty"),
    ],
)
def test_invalid_values_are_refused(dataset: xr.Dataset, change: Change, message: str) -> None:
    assert message in refusal(change(dataset))


@pytest.mark.parametrize("values", [(np.nan,), (np.inf,), (np.inf, -np.inf)])
def test_signal_that_is_not_finite_is_counted(
    dataset: xr.Dataset, values: tuple[float, ...]
) -> None:
    signal = dataset["signal"].values.copy()
    signal[0, 0, : len(values), 0] = values
    message = refusal(dataset.assign(signal=(dataset["signal"].dims, signal)))
    assert f"{len(values)} of 24 values of `signal`" in message  # 1 x 3 x 4 x 2


def test_bin_size_must_be_there(dataset: xr.Dataset) -> None:
    del dataset.attrs["bin_size"]
    assert "lacks the attribute `bin_size`" in refusal(dataset)
