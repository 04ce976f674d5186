"""Levels of the marks, computed by hand, and joined to the latents of other encoders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simplechrome import PCA, VAE, LogMeans, RawWindow, WithLogMeans, load_encoder
from simplechrome.dataset.splits import Split
from simplechrome.errors import ConfigError, InputFormatError
from simplechrome.latent.log_means import log_means, mark_levels

BOTH = np.array([True, True])


def test_mean_comes_before_the_logarithm() -> None:
    # Means over the two bins: (0 + 6) / 2 = 3 and (1 + 1) / 2 = 1.
    signal = np.array([[[0, 1], [6, 1]]])
    np.testing.assert_allclose(log_means(signal, BOTH), [[np.log(4), np.log(2)]])


def test_sharp_peak_counts_like_the_same_reads_spread_out() -> None:
    sharp, broad = np.zeros((1, 4, 1)), np.full((1, 4, 1), 2.0)
    sharp[0, 1] = 8
    one = np.array([True])
    assert log_means(sharp, one) == log_means(broad, one)


def test_missing_mark_is_nan_not_zero() -> None:
    levels = log_means(np.zeros((1, 3, 2)), np.array([True, False]))
    np.testing.assert_array_equal(levels, [[0, np.nan]])


@pytest.mark.parametrize("wrong", [-0.5, np.nan, np.inf])
def test_values_that_are_no_reads_are_refused(wrong: float) -> None:
    signal = np.ones((2, 3, 2))
    signal[1, 2, 0] = wrong
    with pytest.raises(InputFormatError, match="a control was subtracted"):
        log_means(signal, BOTH)


def test_uint16_sums_do_not_overflow() -> None:
    signal = np.full((1, 100, 1), 65_535, np.uint16)
    assert log_means(signal, np.array([True])).item() == pytest.approx(np.log(65_536))


@given(arrays(np.uint16, (3, 5, 2), elements=st.integers(0, 1000)), st.permutations(list(range(5))))
def test_order_of_the_bins_does_not_matter(signal: np.ndarray, order: list[int]) -> None:
    np.testing.assert_allclose(log_means(signal[:, order], BOTH), log_means(signal, BOTH))


def test_levels_are_standardized_over_the_training_genes(make_dataset: Callable) -> None:
    # Mark m0: means 0 and 3, levels 0 and log 4, of mean and deviation log 2: -1 and +1.
    # Mark m1 never varies: 0.
    train = make_dataset([[[[0, 5], [0, 5]], [[3, 5], [3, 5]]]])
    # A mean of 1 has the level log 2, the training mean; a mean of 15 lies at log 16 = 4 log 2.
    test = make_dataset([[[[1, 5], [1, 5]], [[30, 5], [0, 5]]]])
    encoder = LogMeans().fit(train)
    np.testing.assert_allclose(encoder.transform(train)[0], [[-1, 0], [1, 0]], atol=1e-6)
    np.testing.assert_allclose(encoder.transform(test)[0], [[0, 0], [3, 0]], atol=1e-6)


def test_regions_get_a_level_each(make_dataset: Callable) -> None:
    # Four bins, two regions; one mark. Upstream means 0 and 3, downstream 8 and 2.
    dataset = make_dataset(np.array([[0, 0, 8, 8], [3, 3, 4, 0]])[None, :, :, None])
    encoder = LogMeans(n_regions=2).fit(dataset)
    latents = encoder.transform(dataset)
    assert latents["latent"].values.tolist() == ["log_mean_m0_1", "log_mean_m0_2"]
    np.testing.assert_allclose(latents[0], [[-1, 1], [1, -1]], atol=1e-6)
    np.testing.assert_allclose(
        encoder.inverse_transform(latents)[0, ..., 0], [[0, 0, 8, 8], [3, 3, 2, 2]], atol=1e-5
    )


def test_regions_and_marks_keep_their_names(poisson: Callable) -> None:
    dataset = poisson(bins=5, marks=2)
    latents = LogMeans(n_regions=3).fit_transform(dataset)
    names = latents["latent"].values.tolist()
    assert names[:3] == ["log_mean_m0_1", "log_mean_m1_1", "log_mean_m0_2"]
    assert latents.shape == (1, 60, 6)


@pytest.mark.parametrize("n_regions", [0, 5])
def test_regions_must_fit_the_window(poisson: Callable, n_regions: int) -> None:
    with pytest.raises(ConfigError, match="has 4 bins") as caught:
        LogMeans(n_regions).fit(poisson(bins=4))
    assert "1 to 4" in caught.value.remedy


def test_missing_windows_do_not_move_the_mean(make_dataset: Callable) -> None:
    # The second cell type lacks the mark: its zeros must not count as levels of 0.
    signal = np.array([[[[3]], [[15]]], [[[0]], [[0]]]])
    encoder = LogMeans().fit(make_dataset(signal, mark_present=np.array([[True], [False]])))
    assert encoder.mean_ == pytest.approx([np.log(4) * 1.5])  # log 4 and log 16
    both = encoder.transform(make_dataset(signal, mark_present=np.array([[True], [False]])))
    np.testing.assert_allclose(both[..., 0], [[-1, 1], [0, 0]], atol=1e-6)


def test_mark_levels_of_a_dataset_are_nan_where_missing(make_dataset: Callable) -> None:
    present = np.array([[True, False]])
    levels = mark_levels(make_dataset([[[[0, 1], [6, 1]]]], mark_present=present))
    assert levels.dims == ("cell_type", "gene", "mark")
    np.testing.assert_allclose(levels, [[[np.log(4), np.nan]]])


def test_levels_follow_the_latents_each_on_its_own_scale(poisson: Callable) -> None:
    dataset = poisson()
    both = WithLogMeans(PCA(3)).fit_transform(dataset)
    assert both.dims == ("cell_type", "gene", "latent")
    assert list(both["latent"].values) == ["pc_1", "pc_2", "pc_3", "log_mean_m0", "log_mean_m1"]
    np.testing.assert_array_equal(both[..., :3], PCA(3).fit_transform(dataset))
    np.testing.assert_array_equal(both[..., 3:], LogMeans().fit_transform(dataset))


def test_window_comes_back_from_the_latents_alone(poisson: Callable) -> None:
    dataset = poisson()
    encoder = WithLogMeans(PCA(3)).fit(dataset)
    latents = encoder.transform(dataset)
    alone = encoder.encoder_.inverse_transform(latents[..., :3])
    xr.testing.assert_identical(encoder.inverse_transform(latents), alone)


def test_saved_and_loaded_encoder_gives_the_same(poisson: Callable, tmp_path: Path) -> None:
    dataset = poisson(cells=2)
    encoder = WithLogMeans(PCA(2), n_regions=2).fit(dataset)
    encoder.save(tmp_path / "both")
    loaded = load_encoder(tmp_path / "both")
    assert isinstance(loaded, WithLogMeans)
    assert loaded.get_params(deep=False)["n_regions"] == 2
    xr.testing.assert_identical(loaded.transform(dataset), encoder.transform(dataset))
    loaded.fit(dataset)  # its arguments came back too
    xr.testing.assert_identical(loaded.transform(dataset), encoder.transform(dataset))


def test_network_keeps_checkpoints_and_its_history(simulated: Split, tmp_path: Path) -> None:
    network = VAE(2, channels=(4,), hidden=4, epochs=2, kl_warm_up=0, threads=1)
    encoder = WithLogMeans(network)
    encoder.fit(simulated.train, validation=simulated.validation, checkpoints=tmp_path / "vae")
    assert len(encoder.history_) == 2
    assert (tmp_path / "vae" / "last.safetensors").is_file()
    again = WithLogMeans(network)
    again.fit(
        simulated.train,
        validation=simulated.validation,
        checkpoints=tmp_path / "vae",
        resume=True,
    )
    xr.testing.assert_identical(again.transform(simulated.test), encoder.transform(simulated.test))


@pytest.mark.parametrize("encoder", [LogMeans(), RawWindow(), WithLogMeans(PCA(2))])
def test_encoders_without_latents_are_refused(poisson: Callable, encoder: object) -> None:
    with pytest.raises(ConfigError, match="to latents only"):
        WithLogMeans(encoder).fit(poisson())  # type: ignore[arg-type]
