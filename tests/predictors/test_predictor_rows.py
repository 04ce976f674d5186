"""Labelled arrays to rows: stacking of cell types, names of features, unknown labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simplechrome.errors import InputFormatError, MissingExpressionError, UndefinedScoreError
from simplechrome.predictors.rows import (
    feature_names,
    flatten,
    known_targets,
    labelled_rows,
    require_two_classes,
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


def test_unknown_labels_are_dropped(labelled: Callable) -> None:
    x, y = labelled([[[1], [2]], [[3], [4]]]), labelled([[1, -1], [-1, 0]])
    rows = labelled_rows(x, y, "classification")
    assert (rows.x.tolist(), rows.y.tolist()) == ([[1], [4]], [1, 0])


def test_expression_that_is_not_measured_is_dropped(labelled: Callable) -> None:
    x, y = labelled([[[1], [2], [3]]]), labelled([[0.5, np.nan, -1.0]])
    rows = labelled_rows(x, y, "regression")
    assert (rows.x.tolist(), rows.y.tolist()) == ([[1], [3]], [0.5, -1.0])


def test_labels_in_the_other_order_of_dimensions_are_turned(labelled: Callable) -> None:
    x, y = labelled([[[1], [2]], [[3], [4]]]), labelled([[1, -1], [0, 0]])
    rows = labelled_rows(x, y.transpose("gene", "cell_type"), "classification")
    assert (rows.x.ravel().tolist(), rows.y.tolist()) == ([1, 3, 4], [1, 0, 0])
    known = known_targets(y.transpose("gene", "cell_type"), "classification")
    assert known.tolist() == [True, False, True, True]


def test_labels_of_other_genes_are_refused(labelled: Callable) -> None:
    x, y = labelled([[[1], [2]]]), labelled([[1, 0]])
    turned = y.isel(gene=[1, 0])
    with pytest.raises(InputFormatError, match="not of the genes and cell types"):
        labelled_rows(x, turned, "classification")


def test_labels_of_other_cell_types_are_refused(labelled: Callable) -> None:
    x, y = labelled([[[1], [2]]]), labelled([[1, 0]]).assign_coords(cell_type=["E999"])
    with pytest.raises(InputFormatError, match="genes and cell types"):
        labelled_rows(x, y, "classification")


def test_labels_of_another_shape_are_refused(labelled: Callable) -> None:
    with pytest.raises(InputFormatError, match=r"shape \(1, 3\) .*\(1, 2\)"):
        labelled_rows(labelled([[[1], [2]]]), np.array([[1, 0, 1]]), "classification")


@pytest.mark.parametrize(("task", "value"), [("classification", -1), ("regression", np.nan)])
def test_no_label_at_all_is_a_clear_error(labelled: Callable, task: str, value: float) -> None:
    with pytest.raises(MissingExpressionError, match="None of the 2 genes has") as caught:
        labelled_rows(labelled([[[1], [2]]]), labelled([[value, value]]), task)
    assert "--expression FILE" in caught.value.remedy


def test_two_classes_are_needed() -> None:
    require_two_classes(np.array([0, 1, 0]))
    with pytest.raises(UndefinedScoreError, match=r"All 3 labels are of one class \(1\)"):
        require_two_classes(np.array([1, 1, 1]))
