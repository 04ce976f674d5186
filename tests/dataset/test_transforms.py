"""What a model sees in place of reads: statistics of training windows and present marks only."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from simplechrome.dataset.transforms.signal import FUNCTIONS, SignalTransform
from simplechrome.errors import ConfigError, InputFormatError, ModelMismatchError

MakeDataset = Callable[..., xr.Dataset]


def column(make_dataset: MakeDataset, *values: float, **changed: Any) -> xr.Dataset:
    """One gene per value, one bin, one mark."""
    return make_dataset(np.array(values)[None, :, None, None], **changed)


def test_standardized_values_by_hand(make_dataset: MakeDataset) -> None:
    # 1, 2, 3: mean 2, standard deviation sqrt(2 / 3).
    dataset = column(make_dataset, 1, 2, 3)
    transform = SignalTransform("none").fit(dataset)
    assert transform.mean_.tolist() == [2]
    assert transform.scale_ == pytest.approx([np.sqrt(2 / 3)])
    values, present = transform.transform(dataset)
    assert values.ravel() == pytest.approx([-np.sqrt(1.5), 0, np.sqrt(1.5)])
    assert values.dtype == np.float32
    assert present.all()


@pytest.mark.parametrize(
    ("function", "expected"),
    # log 1, log 2, log 4; arcsinh(0), arcsinh(1) = log(1 + sqrt 2), arcsinh(3) = log(3 + sqrt 10)
    [
        ("log1p", [0, 0.693147, 1.386294]),
        ("asinh", [0, 0.881374, 1.818446]),
        ("sqrt", [0, 1, 1.732051]),
        ("none", [0, 1, 3]),
        ("maximum", [-1, -1 / 3, 1]),  # 2 x / 3 - 1
    ],
)
def test_functions_by_hand(make_dataset: MakeDataset, function: str, expected: list[float]) -> None:
    for dtype in (np.uint16, np.float32):
        dataset = column(make_dataset, *np.array([0, 1, 3], dtype))
        transform = SignalTransform(function, standardize=False).fit(dataset)
        values = transform.transform(dataset).values
        assert values.ravel() == pytest.approx(expected, abs=1e-6)


def test_statistics_are_of_the_training_genes_only(make_dataset: MakeDataset) -> None:
    dataset = column(make_dataset, 1, 2, 3, 1000)
    transform = SignalTransform("none").fit(dataset.isel(gene=[0, 1, 2]))
    assert transform.mean_.tolist() == [2]
    values = transform.transform(dataset).values
    assert values.ravel()[3] == pytest.approx(998 / np.sqrt(2 / 3))
    assert transform.mean_.tolist() == [2]


def test_statistics_are_of_present_marks_only(make_dataset: MakeDataset) -> None:
    # Mark 1 is missing in B, and unobserved for the last gene of A: 1 and 3 remain, mean 2.
    signal = np.zeros((2, 3, 1, 2), np.uint16)
    signal[0, :, 0, 0] = [1, 3, 50]
    signal[1, :, 0, 0] = 77
    signal[:, :, 0, 1] = [[1, 2, 3], [4, 5, 6]]
    observed = np.ones((2, 3, 2))
    observed[0, 2, 0] = 0
    dataset = make_dataset(
        signal, mark_present=np.array([[True, True], [False, True]]), observed=observed
    )
    transform = SignalTransform("none").fit(dataset)
    assert transform.mean_.tolist() == [2, 3.5]
    assert transform.scale_ == pytest.approx([1, np.sqrt(35 / 12)])  # variance of 1 to 6
    values, present = transform.transform(dataset)
    assert values[0, :, 0, 0].tolist() == [-1, 1, 0]  # 0, the training mean, where missing
    assert values[1, :, 0, 0].tolist() == [0, 0, 0]
    assert present[..., 0].tolist() == [[True, True, False], [False] * 3]


def test_a_mark_that_is_nowhere_present_does_no_harm(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(mark_present=np.array([[True, False], [True, False]]))
    values, present = SignalTransform().fit(dataset).transform(dataset)
    assert np.isfinite(values).all()
    assert (values[..., 1] == 0).all()
    assert not present[..., 1].any()


def test_each_mark_is_scaled_by_its_own_maximum(make_dataset: MakeDataset) -> None:
    # 2 x / 4 - 1 and 2 x / 10 - 1; the third mark has no reads at all and stays at -1.
    signal = np.array([[[[1, 10, 0]], [[4, 5, 0]]]], np.uint16)
    dataset = make_dataset(signal, marks=["a", "b", "c"])
    values = SignalTransform("maximum").fit(dataset).transform(dataset).values
    assert values.reshape(2, 3).tolist() == [[-0.5, 1, -1], [1, 0, -1]]


def test_marks_below_one_are_scaled_by_their_maximum_too(make_dataset: MakeDataset) -> None:
    # 2 x / 0.5 - 1: a maximum below 1 is no reason to divide by 1.
    dataset = column(make_dataset, 0, 0.125, 0.25, 0.5)
    values = SignalTransform("maximum").fit(dataset).transform(dataset).values
    assert values.ravel().tolist() == [-1, -0.5, 0, 1]


def test_the_maximum_is_that_of_the_training_genes_only(make_dataset: MakeDataset) -> None:
    dataset = column(make_dataset, 1, 4, 10)
    transform = SignalTransform("maximum").fit(dataset.isel(gene=[0, 1]))
    assert transform.transform(dataset).values.ravel().tolist() == [-0.5, 1, 4]  # not cut off at 1


def test_a_missing_mark_is_its_training_mean_when_scaled_by_the_maximum(
    make_dataset: MakeDataset,
) -> None:
    # Present are 1 and 4: maximum 4, scaled -.5 and 1, mean .25. The unobserved 100 does not count.
    observed = np.array([[[1], [1], [0]]])
    dataset = column(make_dataset, 1, 4, 100, observed=observed)
    values, present = SignalTransform("maximum").fit(dataset).transform(dataset)
    assert values.ravel().tolist() == [-0.5, 1, 0.25]
    assert present.ravel().tolist() == [True, True, False]


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if name != "maximum"])
@pytest.mark.parametrize("value", [0, 0.1, 3, 12_345])
def test_a_mark_that_never_varies_stays_small(
    make_dataset: MakeDataset, function: str, value: float
) -> None:
    # Rounding leaves a deviation of some 1e-8; dividing by it would blow up another window.
    train = make_dataset(np.full((1, 1001, 7, 1), value))
    transform = SignalTransform(function).fit(train)
    assert transform.scale_.tolist() == [1]
    other = make_dataset(np.full((1, 1, 7, 1), value + 1))
    assert np.abs(transform.transform(other).values).max() <= 1.001
    assert np.abs(transform.transform(train).values).max() < 1e-3


@given(hnp.arrays(np.uint16, (2, 3, 4, 2), elements=st.integers(0, 65_535)))
@settings(max_examples=25, deadline=None)
def test_the_table_of_counts_equals_direct_computation(
    make_dataset: MakeDataset, counts: np.ndarray
) -> None:
    reads = make_dataset(counts)
    floats = make_dataset(counts.astype(np.float32))
    assert reads["signal"].dtype == np.uint16
    for function in FUNCTIONS:
        transform = SignalTransform(function).fit(reads)
        by_table = transform.transform(reads).values
        assert by_table == pytest.approx(transform.transform(floats).values, rel=1e-5, abs=1e-5)


@given(
    hnp.arrays(np.float32, (2, 3, 4, 2), elements=st.floats(0, 1000, width=16)),
    st.sampled_from(FUNCTIONS),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_inverse_undoes_and_nothing_is_changed_in_place(
    make_dataset: MakeDataset, signal: np.ndarray, function: str, standardize: bool
) -> None:
    dataset = make_dataset(signal)
    before = dataset.copy(deep=True)
    transform = SignalTransform(function, standardize).fit(dataset)
    values, _ = transform.transform(dataset)
    kept = values.copy()
    back = transform.inverse(values)
    assert back == pytest.approx(signal, rel=1e-3, abs=0.02)
    assert back.dtype == np.float32
    assert (values == kept).all()
    values[:] = -1
    assert dataset.identical(before)


def test_values_below_zero_are_refused_where_they_have_no_logarithm(
    make_dataset: MakeDataset,
) -> None:
    dataset = column(make_dataset, -0.5, 1)
    for function in ("log1p", "sqrt", "maximum"):
        with pytest.raises(InputFormatError, match=rf"-0\.5, and {function} needs(.|\n)*asinh"):
            SignalTransform(function).fit(dataset)
    assert SignalTransform("asinh").fit(dataset).transform(dataset).values.shape == (1, 2, 1, 1)


@pytest.mark.parametrize("marks", [["H3K27me3", "H3K4me3"], ["H3K4me3", "H3K9ac"]])
def test_other_marks_or_another_order_are_refused(
    make_dataset: MakeDataset, marks: list[str]
) -> None:
    transform = SignalTransform().fit(make_dataset())
    with pytest.raises(ModelMismatchError) as caught:
        transform.transform(make_dataset(marks=marks))
    assert f"marks are {', '.join(marks)}; the transform was fitted on H3K4me3, H3K27me3" in str(
        caught.value
    )


def test_an_unknown_function_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'log2'(.|\n)*log1p, asinh, sqrt, none, maximum"):
        SignalTransform("log2")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_saved_transform_gives_the_same_numbers(make_dataset: MakeDataset, function: str) -> None:
    dataset = make_dataset(mark_present=np.array([[True, False], [True, True]]))
    fitted = SignalTransform(function).fit(dataset)
    state = json.loads(json.dumps(fitted.to_dict()))
    if function != "maximum":  # saved before there was a fill
        del state["fill"]
    restored = SignalTransform.from_dict(state)
    assert (restored.transform(dataset).values == fitted.transform(dataset).values).all()
