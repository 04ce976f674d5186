"""Labelled arrays to rows: stacking of cell types, names of features, unknown labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simplechrome.errors import InputFormatError, MissingExpressionError
from simplechrome.predictors.rows import (
    feature_names,
    flatten,
    known_targets,
    labelled_rows,
)


def test_cell_types_are_stacked_one_after_the_other(labelled: Callable) -> None:
    x = labelled([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    np.testing.assert_array_equal(flatten(x), [[1, 2], [3, 4], [5, 6], [7, 8]])


@given(arrays(np.int8, st.tuples(*[st.integers(1, 4)] * 4)))
def test_flattening_keeps_every_number_in_order(values: np.ndarray) -> None:
    rows = flatten(xr.DataArray(values, dims=("cell_type", "gene", "bin", "mark")))
    np.testing.assert_array_equal(rows.ravel(), values.ravel())
    assert len(rows) == values.shape[0] * values.shape[1]


@pytest.mark.parametrize("dims", [("gene", "cell_type", "latent"), ("cell_type", "gene")])
def test_other_dimensions_are_refused(dims: tuple[str, ...]) -> None:
    with pytest.raises(InputFormatError, match="these are") as caught:
        flatten(xr.DataArray(np.zeros((2,) * len(dims)), dims=dims))
    assert f"these are ({', '.join(dims)})" in str(caught.value)


def test_features_are_named_in_the_order_of_the_row() -> None:
    x = xr.DataArray(
        np.zeros((1, 1, 2, 2)),
        dims=("cell_type", "gene", "bin", "mark"),
        coords={"bin_start": ("bin", [-100, 0]), "mark": ["a", "b"]},
    )
    assert feature_names(x) == ["-100:a", "-100:b", "0:a", "0:b"]
    assert feature_names(x.drop_vars(["mark", "bin_start"])) == ["0:0", "0:1", "1:0", "1:1"]


def test_labels_in_the_other_order_of_dimensions_are_turned(labelled: Callable) -> None:
    x, y = labelled([[[1], [2]], [[3], [4]]]), labelled([[1, -1], [0, 0]])
    rows = labelled_rows(x, y.transpose("gene", "cell_type"), "classification")
    assert (rows.x.ravel().tolist(), rows.y.tolist()) == ([1, 3, 4], [1, 0, 0])
    known = known_targets(y.transpose("gene", "cell_type"), "classification")
    assert known.tolist() == [True, False, True, True]


@pytest.mark.parametrize(("task", "value"), [("classification", -1), ("regression", np.nan)])
def test_no_label_at_all_is_a_clear_error(labelled: Callable, task: str, value: float) -> None:
    with pytest.raises(MissingExpressionError, match="None of the 2 genes has") as caught:
        labelled_rows(labelled([[[1], [2]]]), labelled([[value, value]]), task)
    assert "--expression FILE" in caught.value.remedy


@pytest.mark.parametrize(
    ("task", "y"), [("classification", [[1, -1, 0]]), ("regression", [[0.5, np.nan, -1.0]])]
)
def test_genes_without_a_target_are_dropped(labelled: Callable, task: str, y: list) -> None:
    rows = labelled_rows(labelled([[[1], [2], [3]]]), labelled(y), task)
    assert (rows.x.tolist(), rows.y.tolist()) == ([[1], [3]], [y[0][0], y[0][2]])


def test_labels_of_other_genes_or_cell_types_are_refused(labelled: Callable) -> None:
    x, y = labelled([[[1], [2]]]), labelled([[1, 0]])
    for other in (y.isel(gene=[1, 0]), y.assign_coords(cell_type=["E999"]), np.array([[1, 0, 1]])):
        with pytest.raises(InputFormatError, match=r"shape .* not of the genes and cell types"):
            labelled_rows(x, other, "classification")
