"""The evidence lower bound by hand, and the autoencoder that is trained on it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.distributions import Normal, kl_divergence

from simplechrome import PCA, VAE, PaperVAE, load_encoder
from simplechrome.dataset.splits import Split
from simplechrome.errors import ConfigError, InputFormatError, TrainingError
from simplechrome.latent.vae import ELBO, VAEModule, elbo_loss
from simplechrome.training.loop import seeded

SMALL = {"n_latent": 3, "channels": (4, 4), "hidden": 6, "epochs": 3, "device": "cpu"}


def linear_module(bins: int = 1, marks: int = 1, **values: float) -> VAEModule:
    """All weights 0 but those named: no network is left."""
    module = VAEModule(bins, marks, 1, (2,), 2, 1)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.fill_(values.get(name.replace(".", "_"), 0.0))
    return module


def parts(
    module: VAEModule, values: list, present: list | None = None, weight: float = 1.0
) -> dict:
    windows = torch.tensor(values, dtype=torch.float32)
    mask = torch.ones(len(windows), windows.shape[2], dtype=torch.bool)
    if present is not None:
        mask = torch.tensor(present)
    with torch.no_grad():
        return {name: part.item() for name, part in ELBO(module)(windows, mask, weight).items()}


def test_bound_of_one_number_by_hand() -> None:
    # Posterior N(0, 1), the prior: no KL. Decoded 0 with noise variance 1: the log density of 2
    # is -2² / 2 - log(2π) / 2.
    result = parts(linear_module(), [[[2.0]]])
    assert result["kl"] == 0
    assert result["reconstruction"] == pytest.approx(2 + 0.5 * math.log(2 * math.pi))
    assert result["loss"] == result["reconstruction"]


def test_kl_by_hand() -> None:
    # Posterior N(3, e²): ½ (3² + e² - 1 - 2).
    module = linear_module(linear_in_bias=3.0, posterior_log_variance_bias=2.0)
    assert parts(module, [[[0.0]]])["kl"] == pytest.approx(0.5 * (9 + math.e**2 - 3))


def test_noise_variance_weighs_the_error() -> None:
    # Noise variance 4: 2² / (2 · 4) + ½ log(2π · 4).
    result = parts(linear_module(log_noise_variance=math.log(4)), [[[2.0]]])
    assert result["reconstruction"] == pytest.approx(0.5 + 0.5 * math.log(8 * math.pi))


def test_bound_sums_over_bins_and_present_marks_and_averages_genes() -> None:
    # Squares of the first gene: 1 + 4 for the first mark; the second mark (9 + 9) is missing.
    # Of the second gene: 0 and 1 + 1. Each mark that is there adds two bins of log(2π) / 2.
    windows = [[[1.0, 3.0], [2.0, 3.0]], [[0.0, 1.0], [0.0, 1.0]]]
    result = parts(linear_module(2, 2), windows, [[True, False], [True, True]])
    constant = math.log(2 * math.pi)
    assert result["reconstruction"] == pytest.approx((2.5 + constant + 1 + 2 * constant) / 2)


def test_kl_weight_and_warmth_multiply_the_kl_alone() -> None:
    module = ELBO(linear_module(linear_in_bias=2.0))  # KL 2
    batch = torch.zeros(1, 1, 1), torch.ones(1, 1, dtype=torch.bool)
    with torch.no_grad():
        cold, half, full = (elbo_loss(kl_weight=3.0)(module, batch, w) for w in (0.0, 0.5, 1.0))
    assert cold["kl"] == half["kl"] == full["kl"] == 2
    assert (cold["loss"] - cold["reconstruction"]).item() == 0
    assert (half["loss"] - half["reconstruction"]).item() == pytest.approx(3)
    assert (full["loss"] - full["reconstruction"]).item() == pytest.approx(6)


@pytest.fixture
def network() -> tuple[ELBO, torch.Tensor, torch.Tensor]:
    with seeded(0):
        elbo = ELBO(VAEModule(6, 3, 4, (5, 5), 7, 3))
        torch.nn.init.normal_(elbo.vae.missing.weight)
        torch.nn.init.normal_(elbo.vae.log_noise_variance)
        windows, present = torch.randn(20, 6, 3), torch.rand(20, 3) > 0.3
    return elbo.eval(), windows * present[:, None], present


@torch.no_grad()
def test_bound_of_a_network_agrees_with_torch_distributions(network: tuple) -> None:
    elbo, windows, present = network
    with seeded(7):
        found = elbo(windows, present, 1.0)
    mean, log_variance = elbo.vae.encode(windows, present)
    posterior = Normal(mean, (0.5 * log_variance).exp())
    with seeded(7):
        decoded = elbo.vae.decode(mean + torch.randn_like(mean) * posterior.scale)
    density = Normal(decoded, (0.5 * elbo.vae.log_noise_variance).exp()).log_prob(windows)
    reconstruction = -(density.sum(dim=1) * present).sum(dim=1).mean()
    kl = kl_divergence(posterior, Normal(0.0, 1.0)).sum(dim=1).mean()
    assert found["reconstruction"].item() == pytest.approx(reconstruction.item(), rel=1e-5)
    assert found["kl"].item() == pytest.approx(kl.item(), rel=1e-5)
    assert found["loss"].item() == pytest.approx((reconstruction + kl).item(), rel=1e-5)


@torch.no_grad()
def test_bound_per_gene_does_not_depend_on_the_batch_size(
    network: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    elbo, windows, present = network
    monkeypatch.setattr(torch, "randn_like", torch.ones_like)  # the same noise for every gene

    def per_gene(size: int) -> np.ndarray:
        blocks = zip(windows.split(size), present.split(size), strict=True)
        sums = [
            [part.item() * len(block[0]) for part in elbo(*block, 1.0).values()] for block in blocks
        ]
        return np.sum(sums, axis=0) / len(windows)

    np.testing.assert_allclose(per_gene(1), per_gene(20), rtol=1e-5)
    np.testing.assert_allclose(per_gene(7), per_gene(20), rtol=1e-5)


@pytest.mark.parametrize(
    ("network", "bins", "marks", "channels"),
    [
        *((VAE, 1, 1, (3,)), (VAE, 1, 7, (3, 4)), (VAE, 2, 1, (3, 4)), (VAE, 7, 2, (3, 4, 5))),
        *((VAE, 5, 7, (3, 4)), (PaperVAE, 1, 1, (3,)), (PaperVAE, 2, 7, (3, 4, 5))),
    ],
)
def test_windows_of_any_size_go_through(
    poisson: Callable, network: type, bins: int, marks: int, channels: tuple
) -> None:
    dataset = poisson(bins=bins, marks=marks)
    encoder = network(3, channels=channels, epochs=2, device="cpu").fit(dataset)
    latents = encoder.transform(dataset)
    back = encoder.inverse_transform(latents)
    assert latents.shape == (1, 60, 3)
    assert back.shape == (1, 60, bins, marks)
    assert np.isfinite(latents.values).all()
    assert np.isfinite(back.values).all()


def test_training_begins_where_pca_ends(simulated: Split) -> None:
    pca = PCA(3).fit(simulated.train)
    windows = pca.transform_.transform(simulated.train).values[0]
    module = VAEModule(20, 5, 3, (4, 4), 6, 5)
    with seeded(0), torch.no_grad():
        module.start_at_components(torch.from_numpy(windows))
        present = torch.ones(len(windows), 5, dtype=torch.bool)
        mean, _ = module.encode(torch.from_numpy(windows), present)
        decoded = module.decode(mean).numpy()
    expected = pca._decode(pca._encode(windows, present.numpy()))
    # The randomized components differ in the third digit from the exact ones.
    assert np.square(decoded - expected).mean() < 1e-3 * np.square(windows).mean()
    np.testing.assert_allclose(mean.std(dim=0), 1, atol=1e-3)


def test_training_improves_the_bound(simulated: Split) -> None:
    first, last = (
        VAE(**{**SMALL, "epochs": epochs, "kl_warm_up": 0}).fit(
            simulated.train, validation=simulated.validation
        )
        for epochs in (1, 12)
    )
    assert last.elbo(simulated.test) > first.elbo(simulated.test)


@pytest.fixture(scope="module")
def fitted(simulated: Split) -> VAE:
    options = {**SMALL, "epochs": 6, "kl_warm_up": 2}
    return VAE(**options).fit(simulated.train, validation=simulated.validation)


def test_latents_are_variance_scaled(fitted: VAE, simulated: Split) -> None:
    deviation = fitted.transform(simulated.train).values[0].std(axis=0)
    assert deviation[0] == pytest.approx(1, abs=1e-4)
    assert (np.diff(deviation) <= 0).all()
    np.testing.assert_allclose(fitted.activity_, deviation, atol=1e-4)
    np.testing.assert_allclose(fitted.transform(simulated.train).mean("gene"), 0, atol=1e-4)


def test_latents_are_uncorrelated_over_training_windows(fitted: VAE, simulated: Split) -> None:
    correlation = np.corrcoef(fitted.transform(simulated.train).values[0].T)
    np.testing.assert_allclose(correlation, np.eye(3), atol=1e-3)


def test_latents_rise_with_the_signal(fitted: VAE, simulated: Split) -> None:
    windows = fitted.transform_.transform(simulated.train).values[0]
    decoded = fitted._decode(fitted.transform(simulated.train).values[0]).reshape(len(windows), -1)
    for latent in fitted.transform(simulated.train).values[0].T:
        assert np.cov(latent, decoded.sum(axis=1))[0, 1] >= 0


def test_scaling_is_a_linear_map_that_can_be_inverted(fitted: VAE, simulated: Split) -> None:
    windows = fitted.transform_windows(simulated.test)
    with torch.no_grad():
        means, _ = fitted.module_.encode(
            torch.from_numpy(windows.values[0]), torch.from_numpy(windows.present[0])
        )
        decoded = fitted.module_.decode(means).numpy()
    latents = fitted.transform(simulated.test)
    undone = latents.values[0].astype(np.float64) @ np.linalg.inv(fitted.map_) + fitted.center_
    np.testing.assert_allclose(undone, means, atol=1e-4)
    np.testing.assert_allclose(
        fitted.inverse_transform(latents)[0], fitted.transform_.inverse(decoded), atol=1e-2
    )


def test_best_epoch_is_that_of_the_least_validation_loss_after_the_warm_up(fitted: VAE) -> None:
    losses = [row["validation_loss"] for row in fitted.history_]
    assert fitted.best_epoch_ == 3 + int(np.argmin(losses[2:]))
    for row in fitted.history_:
        assert row["validation_loss"] == pytest.approx(row["reconstruction"] + row["kl"])


def test_kl_of_each_latent_sums_to_the_kl_of_the_bound(fitted: VAE, simulated: Split) -> None:
    again = VAE(**{**SMALL, "epochs": 6, "kl_warm_up": 2}).fit(
        simulated.train, validation=simulated.train
    )
    best = again.history_[again.best_epoch_ - 1]
    assert again.kl_.sum() == pytest.approx(best["kl"], rel=1e-4)


def weights(encoder: VAE) -> np.ndarray:
    return np.concatenate([v.numpy().ravel() for v in encoder.module_.state_dict().values()])


def test_same_seed_gives_the_same_bits_and_another_seed_other_weights(poisson: Callable) -> None:
    dataset = poisson()
    one, again, other = (VAE(**SMALL, random_state=s).fit(dataset) for s in (1, 1, 2))
    np.testing.assert_array_equal(weights(one), weights(again))
    np.testing.assert_array_equal(one.transform(dataset), again.transform(dataset))
    assert not np.array_equal(weights(one), weights(other))


def test_fitting_leaves_random_states_and_threads_as_found(poisson: Callable) -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    of_numpy = np.random.get_state()[1].copy()  # noqa: NPY002 (the global one is what is checked)
    encoder = VAE(**SMALL, threads=threads + 1).fit(poisson())
    encoder.elbo(poisson())
    encoder.transform(poisson())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert (np.random.get_state()[1] == of_numpy).all()  # noqa: NPY002


def test_validation_genes_do_not_train(poisson: Callable) -> None:
    dataset = poisson()
    one, other = (
        VAE(**{**SMALL, "epochs": 1}).fit(dataset, validation=poisson(seed=seed)) for seed in (1, 2)
    )
    np.testing.assert_array_equal(weights(one), weights(other))


def test_network_has_an_input_for_marks_missing_in_training(poisson: Callable) -> None:
    present = np.array([[True, True], [True, False]])
    dataset = poisson(cells=2, mark_present=present)
    encoder = VAE(**SMALL).fit(dataset)
    assert encoder.module_.missing.weight.abs().sum() > 0
    assert np.isfinite(encoder.transform(dataset).values).all()
    whole = VAE(**SMALL).fit(poisson(cells=2))
    assert whole.module_.missing.weight.abs().sum() == 0


def test_windows_with_nothing_observed_do_not_train_and_get_one_finite_latent(
    poisson: Callable,
) -> None:
    observed = np.ones((1, 60, 2), np.float32)
    observed[:, :5] = 0
    dataset = poisson(observed=observed)
    encoder = VAE(**SMALL).fit(dataset, validation=dataset)
    latents = encoder.transform(dataset).values[0]
    assert np.isfinite(latents).all()
    np.testing.assert_allclose(latents[:5], np.tile(latents[0], (5, 1)), atol=1e-6)
    without = VAE(**SMALL).fit(
        dataset.isel(gene=slice(5, None)), validation=dataset.isel(gene=slice(5, None))
    )
    np.testing.assert_array_equal(weights(encoder), weights(without))


@pytest.mark.parametrize("part", ["train", "validation"])
def test_nothing_observed_at_all_is_a_clear_error(poisson: Callable, part: str) -> None:
    empty = poisson(observed=np.zeros((1, 60, 2), np.float32))
    train, validation = (empty, None) if part == "train" else (poisson(), empty)
    with pytest.raises(InputFormatError, match="observed in 0 of 60"):
        VAE(**SMALL).fit(train, validation=validation)


def test_constant_windows_give_zeros(make_dataset: Callable) -> None:
    dataset = make_dataset(np.ones((1, 20, 4, 2), int))
    encoder = VAE(**SMALL).fit(dataset)
    np.testing.assert_allclose(encoder.transform(dataset), 0, atol=1e-6)
    assert np.isfinite(encoder.inverse_transform(encoder.transform(dataset)).values).all()


def test_loss_that_breaks_down_says_so(poisson: Callable) -> None:
    with pytest.raises(TrainingError, match="loss is not finite"):
        VAE(**{**SMALL, "epochs": 8}, learning_rate=1e18, kl_warm_up=0).fit(poisson())


@pytest.mark.parametrize("network", [VAE, PaperVAE])
@pytest.mark.parametrize(
    "wrong", [{"kernel": 4}, {"channels": ()}, {"channels": (0,)}, {"n_latent": 0}, {}]
)
def test_invalid_sizes_are_refused(poisson: Callable, network: type, wrong: dict) -> None:
    own = {"hidden": 0} if network is VAE else {"noise_variance": 0.0}
    with pytest.raises(ConfigError, match=f"The {network.__name__}'s sizes are invalid"):
        network(**(wrong or own)).fit(poisson())


def test_checkpoints_are_the_weights_of_the_best_epoch(poisson: Callable, tmp_path: Path) -> None:
    encoder = VAE(**SMALL).fit(poisson(), checkpoints=tmp_path)
    best = load_file(tmp_path / "best.safetensors")
    for name, value in encoder.module_.state_dict().items():
        assert torch.equal(best[f"vae.{name}"], value)


def test_bfloat16_is_close_to_float32(simulated: Split) -> None:
    bounds = [
        VAE(**SMALL, precision=precision).fit(simulated.train).elbo(simulated.test)
        for precision in ("float32", "bfloat16")
    ]
    assert bounds[1] == pytest.approx(bounds[0], rel=0.02)


def test_model_trained_on_a_gpu_encodes_where_there_is_none(
    fitted: VAE, simulated: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted.save(tmp_path / "vae")
    description = json.loads((tmp_path / "vae" / "model.json").read_text())
    description["arguments"]["device"] = "cuda"
    (tmp_path / "vae" / "model.json").write_text(json.dumps(description))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    loaded = load_encoder(tmp_path / "vae")
    np.testing.assert_array_equal(
        loaded.transform(simulated.test), fitted.transform(simulated.test)
    )
