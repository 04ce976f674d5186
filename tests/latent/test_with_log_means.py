"""Latents with the marks' levels beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from simplechrome import PCA, VAE, LogMeans, RawWindow, WithLogMeans, load_encoder
from simplechrome.dataset.splits import Split
from simplechrome.errors import ConfigError

Make = Callable[..., xr.Dataset]


def test_levels_follow_the_latents_each_on_its_own_scale(poisson: Make) -> None:
    dataset = poisson()
    both = WithLogMeans(PCA(3)).fit_transform(dataset)
    assert both.dims == ("cell_type", "gene", "latent")
    assert list(both["latent"].values) == ["pc_1", "pc_2", "pc_3", "log_mean_m0", "log_mean_m1"]
    np.testing.assert_array_equal(both[..., :3], PCA(3).fit_transform(dataset))
    np.testing.assert_array_equal(both[..., 3:], LogMeans().fit_transform(dataset))


def test_window_comes_back_from_the_latents_alone(poisson: Make) -> None:
    dataset = poisson()
    encoder = WithLogMeans(PCA(3)).fit(dataset)
    latents = encoder.transform(dataset)
    alone = encoder.encoder_.inverse_transform(latents[..., :3])
    xr.testing.assert_identical(encoder.inverse_transform(latents), alone)


def test_saved_and_loaded_encoder_gives_the_same(poisson: Make, tmp_path: Path) -> None:
    dataset = poisson(cells=2)
    encoder = WithLogMeans(PCA(2), n_regions=2).fit(dataset)
    encoder.save(tmp_path / "both")
    loaded = load_encoder(tmp_path / "both")
    assert isinstance(loaded, WithLogMeans)
    assert loaded.get_params(deep=False)["n_regions"] == 2
    xr.testing.assert_identical(loaded.transform(dataset), encoder.transform(dataset))
    loaded.fit(dataset)  # its arguments came back too
    xr.testing.assert_identical(loaded.transform(dataset), encoder.transform(dataset))


def test_network_keeps_checkpoints_and_tells_of_its_training(
    simulated: Split, tmp_path: Path
) -> None:
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
def test_encoders_without_latents_are_refused(poisson: Make, encoder: object) -> None:
    with pytest.raises(ConfigError, match="to latents only"):
        WithLogMeans(encoder).fit(poisson())  # type: ignore[arg-type]
