"""Principal components against scikit-learn's, and with marks missing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import decomposition

from simplechrome import PCA, RawWindow
from simplechrome.dataset.splits import Split
from simplechrome.errors import ConfigError


def flat(latents: xr.DataArray) -> np.ndarray:
    return latents.values.reshape(latents.shape[0] * latents.shape[1], -1)


def test_components_are_those_of_scikit_learn(simulated: Split) -> None:
    window = flat(RawWindow().fit_transform(simulated.train))
    reference = decomposition.PCA(4, svd_solver="full").fit(window)
    encoder = PCA(4).fit(simulated.train)
    products = encoder.components_ @ reference.components_.T
    np.testing.assert_allclose(np.abs(products), np.eye(4), atol=1e-4)
    np.testing.assert_allclose(
        encoder.explained_variance_ratio_, reference.explained_variance_ratio_, rtol=1e-4
    )
    expected = reference.transform(window) / reference.transform(window)[:, 0].std(ddof=1)
    np.testing.assert_allclose(
        flat(encoder.transform(simulated.train)), expected * np.diag(products), atol=1e-3
    )


def test_latents_are_variance_scaled(simulated: Split) -> None:
    deviation = flat(PCA(8).fit_transform(simulated.train)).std(axis=0, ddof=1)
    assert deviation[0] == pytest.approx(1, abs=1e-5)
    assert (np.diff(deviation) <= 1e-6).all()
    assert deviation[-1] < 0.9  # each is not rescaled to 1


def test_sign_makes_the_largest_loading_positive(simulated: Split) -> None:
    components = PCA(6).fit(simulated.train).components_
    largest = np.abs(components).argmax(axis=1)
    assert (components[np.arange(6), largest] > 0).all()


def test_first_component_of_one_direction_by_hand(make_dataset: Callable) -> None:
    # Transformed and standardized, both bins are -1 and 1 together: all variance lies along
    # (1, 1) / √2, the genes at -√2 and √2. Their deviation (n - 1) is 2: -1/√2 and 1/√2.
    encoder = PCA(1)
    latents = encoder.fit_transform(make_dataset([[[[0], [0]], [[3], [3]]]]))
    np.testing.assert_allclose(encoder.components_, [[2**-0.5, 2**-0.5]], atol=1e-6)
    np.testing.assert_allclose(flat(latents)[:, 0], [-(2**-0.5), 2**-0.5], atol=1e-6)
    assert encoder.explained_variance_ratio_ == pytest.approx([1])


def test_all_components_give_the_window_back(poisson: Callable) -> None:
    dataset = poisson(bins=4, marks=2)
    encoder = PCA(8).fit(dataset)
    back = encoder.inverse_transform(encoder.transform(dataset))
    np.testing.assert_allclose(back, dataset["signal"], atol=0.02)


@pytest.mark.parametrize("strange", [0, 9, 2.5, "10", True, None])
def test_number_of_components_is_whole_and_fits_the_window(
    poisson: Callable, strange: object
) -> None:
    message = r"of 60 training windows of 8 numbers.* only a whole number from 1 to 8"
    with pytest.raises(ConfigError, match=message) as caught:
        PCA(strange).fit(poisson(bins=4, marks=2))  # type: ignore[arg-type]
    assert caught.value.remedy == "set n_latent (--n-latent) to 8"


def test_number_of_components_is_below_the_number_of_windows(poisson: Callable) -> None:
    assert PCA(np.int64(3)).fit(poisson(bins=4, marks=2)).components_.shape == (3, 8)
    with pytest.raises(ConfigError, match="of 3 training windows of 8 numbers"):
        PCA(3).fit(poisson(genes=3))
    with pytest.raises(ConfigError, match="train on two genes or more"):
        PCA(1).fit(poisson(genes=1))


def test_constant_windows_give_finite_zeros(make_dataset: Callable) -> None:
    latents = PCA(2).fit_transform(make_dataset(np.ones((1, 5, 3, 1), int)))
    np.testing.assert_array_equal(flat(latents), np.zeros((5, 2)))


PLANTED = np.array([[1.0, 1, 1, 1], [1, -1, 1, -1]]) / 2  # (factor, mark), orthonormal


def planted(make_dataset: Callable, missing: bool) -> xr.Dataset:
    """Two cell types, four marks that two factors move; the second cell type lacks two marks."""
    rng = np.random.default_rng(5)
    factors = rng.standard_normal((2, 400, 2)) * (2.0, 1.0)
    noise = 0.1 * rng.standard_normal((2, 400, 3, 4))
    signal = np.exp(2 + (factors @ PLANTED)[:, :, None] + noise).astype(np.float32)
    present = np.ones((2, 4), bool)
    present[1, 2:] = not missing
    return make_dataset(signal, mark_present=present)


def test_planted_components_are_found_with_marks_missing(make_dataset: Callable) -> None:
    """…and better than by leaving the missing marks at their mean."""
    truth = PCA(2).fit(planted(make_dataset, missing=False))
    masked = planted(make_dataset, missing=True)
    iterative = PCA(2).fit(masked)
    mean_imputed = decomposition.PCA(2).fit(flat(RawWindow().fit_transform(masked)))

    def angle(components: np.ndarray) -> float:
        """Smallest cosine between the two planes."""
        return float(np.linalg.svd(truth.components_ @ components.T)[1].min())

    assert angle(iterative.components_) > 0.98
    assert angle(iterative.components_) > angle(mean_imputed.components_) + 0.01


def test_latents_of_masked_windows_are_near_those_of_whole_ones(make_dataset: Callable) -> None:
    whole, masked = (planted(make_dataset, missing=missing) for missing in (False, True))
    encoder = PCA(2).fit(whole)
    expected, found = encoder.transform(whole)[1], encoder.transform(masked)[1]
    for k in range(2):
        assert np.corrcoef(expected[:, k], found[:, k])[0, 1] > 0.98
        assert found[:, k].values.std() == pytest.approx(float(expected[:, k].std()), rel=0.1)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.booleans(), min_size=4, max_size=4))
def test_any_pattern_of_missing_marks_gives_finite_latents(
    make_dataset: Callable, pattern: list[bool]
) -> None:
    whole = planted(make_dataset, missing=False).isel(gene=slice(0, 20))
    encoder = PCA(2).fit(whole)
    masked = whole.assign(mark_present=whole["mark_present"] & np.array(pattern))
    latents = encoder.transform(masked).values
    assert np.isfinite(latents).all()
    # Fewer marks say less: latents shrink towards the mean, and are it where none is there.
    assert np.square(latents).sum() <= 1.2 * np.square(encoder.transform(whole).values).sum()
    assert any(pattern) or (latents == 0).all()
