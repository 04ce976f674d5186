"""The window itself as a representation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from simplechrome import LinearPredictor, RawWindow


def test_bins_are_transformed_and_scaled_per_mark(make_dataset: Callable) -> None:
    # log1p of 0, 3, 3, 0 is 0, 2 log 2, 2 log 2, 0: mean and deviation log 2 over both bins.
    window = RawWindow().fit_transform(make_dataset([[[[0], [3]], [[3], [0]]]]))
    assert window.dims == ("cell_type", "gene", "bin", "mark")
    np.testing.assert_allclose(window[0, ..., 0], [[-1, 1], [1, -1]], atol=1e-6)


def test_names_of_marks_and_places_of_bins_are_kept(poisson: Callable) -> None:
    dataset = poisson()
    window = RawWindow().fit_transform(dataset)
    assert window["mark"].values.tolist() == ["m0", "m1"]
    np.testing.assert_array_equal(window["bin_start"], dataset["bin_start"])
    np.testing.assert_array_equal(window["gene_id"], dataset["gene_id"])


@pytest.mark.parametrize("function", ["log1p", "asinh", "sqrt", "none"])
def test_nothing_is_lost(poisson: Callable, function: str) -> None:
    dataset = poisson()
    encoder = RawWindow(function).fit(dataset)
    back = encoder.inverse_transform(encoder.transform(dataset))
    np.testing.assert_allclose(back, dataset["signal"], atol=1e-3)
    assert back.attrs["units"] == "reads"


def test_number_of_latents_is_bins_times_marks(poisson: Callable) -> None:
    assert RawWindow().fit(poisson(bins=3, marks=7)).n_latent_ == 21


def test_predictor_names_features_by_bin_and_mark(poisson: Callable) -> None:
    dataset = poisson(bins=2)
    label = (dataset["signal"].sum(("bin", "mark")) > 30).astype(np.int8)
    head = LinearPredictor(Cs=(1.0,)).fit(RawWindow().fit_transform(dataset), label)
    assert head.features_ == ["-100:m0", "-100:m1", "0:m0", "0:m1"]
