"""The paper's autoencoder: its loss by hand, its network, and what was wrong in the original."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from simplechrome import PaperVAE
from simplechrome.dataset.splits import Split
from simplechrome.latent.paper_vae import PAPER_NOISE_VARIANCE, PaperVAEModule
from simplechrome.latent.vae import ELBO
from simplechrome.training.checkpoint import epochs_done
from simplechrome.training.loop import seeded

SMALL = {"n_latent": 3, "channels": (4, 6), "epochs": 3, "learning_rate": 3e-3, "device": "cpu"}


@torch.no_grad()
def test_loss_of_one_number_by_hand() -> None:
    # All weights 0: decoded tanh(0) = 0, noise variance .0125:
    # .1² / .025 + ½ log(2π · .0125) = .4 + ½ log(.025 π). Posterior N(0, 1), the prior: no KL.
    network = PaperVAEModule(1, 1, 1, (2, 3), 5, 0.5, PAPER_NOISE_VARIANCE)
    for parameter in network.parameters():
        parameter.fill_(0.0)
    result = ELBO(network)(torch.tensor([[[0.1]]]), torch.tensor([[True]]), 1.0)
    assert result["reconstruction"].item() == pytest.approx(0.4 + 0.5 * math.log(0.025 * math.pi))
    assert result["kl"] == 0
    assert result["loss"] == result["reconstruction"]


@pytest.fixture
def network() -> tuple[PaperVAEModule, torch.Tensor, torch.Tensor]:
    """Weights that are large enough to matter, and 20 windows of 100 bins and 5 marks."""
    with seeded(0):
        network = PaperVAEModule(100, 5, 10, (4, 6), 5, 0.5, PAPER_NOISE_VARIANCE)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        return network, torch.rand(20, 100, 5) * 2 - 1, torch.ones(20, 5, dtype=torch.bool)


@torch.no_grad()
def test_loss_is_that_of_the_paper_times_20_000(network: tuple) -> None:
    vae, windows, present = network
    with seeded(1):
        found = ELBO(vae)(windows, present, 1.0)["loss"].item()
    with seeded(1):
        mean, log_variance = vae.encode(windows, present)
        noise = torch.randn_like(mean)
        decoded = vae.decode(mean + noise * (log_variance / 2).exp())
    squared_error = (windows - decoded).square().mean()
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum() / len(windows)
    # 500 bins and marks times ½ log(2π σ²) do not depend on the weights.
    constant = 250 * math.log(2 * math.pi * 0.0125)
    papers = (squared_error + 5e-5 * kl).item()
    assert found == pytest.approx(20_000 * papers + constant, rel=1e-5)


def test_the_first_convolution_runs_over_bins_with_marks_for_channels(network: tuple) -> None:
    vae, windows, _ = network
    assert tuple(vae.down[0].weight.shape) == (4, 5, 1, 5)  # filter, mark, -, bin
    image = windows[:1].permute(0, 2, 1).unsqueeze(2).requires_grad_()
    vae.down[0](image)[0, :, 0, 40].sum().backward()
    seen = image.grad[0, :, 0].abs() > 0  # (mark, bin)
    assert torch.nonzero(seen.any(dim=0)).ravel().tolist() == [38, 39, 40, 41, 42]
    assert seen[:, 38:43].all()  # every mark


def test_the_network_is_the_papers() -> None:
    vae = PaperVAEModule(100, 5, 10, (32, 64), 5, 0.5, PAPER_NOISE_VARIANCE)
    shapes = {name: tuple(weight.shape) for name, weight in vae.named_parameters()}
    weights = [shape for name, shape in shapes.items() if name.endswith("weight")]
    assert weights == [
        (32, 5, 1, 5),
        (64, 32, 1, 5),
        (20, 6400),
        (6400, 10),
        (64, 64, 1, 5),
        (32, 64, 1, 5),
        (5, 32, 1, 1),
    ]
    assert vae.up[0].weight.std().item() == pytest.approx(0.02, rel=0.05)
    # Glorot's uniform weights end at sqrt(6 / (6400 + 20)) = .0306.
    assert 0.03 < vae.posterior.weight.abs().max().item() <= 0.0306
    assert all(p.abs().max() == 0 for name, p in vae.named_parameters() if name.endswith("bias"))
    assert [layer.negative_slope for layer in (vae.down[1], vae.widen[1], vae.up[3])] == [0.5] * 3


def test_training_is_adam_at_a_constant_rate_without_decay_or_clipping() -> None:
    settings = PaperVAE()._settings()
    assert (settings.epochs, settings.batch_size, settings.learning_rate) == (5, 64, 1e-4)
    assert (settings.weight_decay, settings.max_gradient_norm) == (0, math.inf)
    assert settings.schedule == "constant"
    assert PaperVAE().noise_variance == 0.0125


@pytest.fixture(scope="module")
def fitted(simulated: Split) -> PaperVAE:
    return PaperVAE(**SMALL).fit(simulated.train)


def test_latents_are_the_posterior_means_and_no_samples(fitted: PaperVAE, simulated: Split) -> None:
    latents = fitted.transform(simulated.test)
    np.testing.assert_array_equal(latents, fitted.transform(simulated.test))
    windows = fitted.transform_windows(simulated.test)
    with torch.no_grad():
        means, _ = fitted.module_.encode(
            torch.from_numpy(windows.values[0]), torch.from_numpy(windows.present[0])
        )
        decoded = fitted.module_.decode(means).numpy()
    # As they are: no rotation, no natural scale.
    np.testing.assert_allclose(latents[0], means, atol=1e-6)
    expected = fitted.transform_.inverse(decoded)
    np.testing.assert_allclose(fitted.inverse_transform(latents)[0], expected, atol=1e-3)


def test_decoded_windows_lie_between_nothing_and_the_training_maximum(
    fitted: PaperVAE, simulated: Split
) -> None:
    back = fitted.inverse_transform(fitted.transform(simulated.train) * 100).values
    highest = simulated.train["signal"].values.max(axis=(0, 1, 2))
    assert back.min() >= -1e-3
    assert (back.max(axis=(0, 1, 2)) <= highest * 1.001).all()


def test_scaling_ignores_test_and_validation_genes(poisson: Callable) -> None:
    dataset = poisson()
    train, other = dataset.isel(gene=slice(0, 40)), dataset.isel(gene=slice(40, None)) * 1
    higher = other.assign(signal=other["signal"] * 7).assign_attrs(dataset.attrs)
    encoder = PaperVAE(**SMALL).fit(train, validation=higher)
    largest = train["signal"].values.max(axis=(0, 1, 2))
    np.testing.assert_array_equal(encoder.transform_.scale_, largest / 2)
    assert encoder.transform_windows(train).values.max() == 1
    assert encoder.transform_windows(higher).values.max() > 1


def test_validation_genes_change_nothing(poisson: Callable) -> None:
    dataset = poisson()
    with_, without = (
        PaperVAE(**SMALL).fit(dataset, validation=other) for other in (poisson(seed=1), None)
    )
    np.testing.assert_array_equal(with_.transform(dataset), without.transform(dataset))


def test_the_last_epoch_counts(fitted: PaperVAE) -> None:
    assert fitted.best_epoch_ == len(fitted.history_) == 3
    assert all(set(row) == {"epoch", "train_loss"} for row in fitted.history_)
    losses = [row["train_loss"] for row in fitted.history_]
    assert losses[-1] < losses[0]


def test_windows_are_shuffled_in_every_epoch(
    poisson: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    original = ELBO.forward

    def spy(self: ELBO, values: torch.Tensor, *more: object) -> dict:
        if self.training:
            seen.append(values.clone())
        return original(self, values, *more)

    monkeypatch.setattr(ELBO, "forward", spy)
    PaperVAE(**{**SMALL, "epochs": 2}).fit(poisson())  # 60 windows: one batch an epoch
    assert len(seen) == 2
    assert not torch.equal(*seen)
    assert torch.equal(*(torch.sort(batch.flatten()).values for batch in seen))


def test_nothing_is_learned_about_the_noise(fitted: PaperVAE) -> None:
    assert torch.equal(fitted.module_.log_noise_variance, torch.full((5,), 0.0125).log())


def test_activity_and_kl_measure_how_much_each_latent_is_used(
    fitted: PaperVAE, simulated: Split
) -> None:
    deviation = fitted.transform(simulated.train).values[0].std(axis=0)
    np.testing.assert_allclose(fitted.activity_, deviation, rtol=1e-4)
    windows = fitted.transform_windows(simulated.train)
    batch = torch.from_numpy(windows.values[0]), torch.from_numpy(windows.present[0])
    with torch.no_grad():
        kl = ELBO(fitted.module_)(*batch, 1.0)["kl"].item()
    assert fitted.kl_.sum() == pytest.approx(kl, rel=1e-4)


def test_resumed_training_ends_at_the_same_bits(poisson: Callable, tmp_path: Path) -> None:
    dataset = poisson()
    whole = PaperVAE(**SMALL).fit(dataset)

    class Stop(Exception):  # noqa: N818
        pass

    def stop_in_the_third_epoch(self: ELBO, *batch: object) -> dict:
        calls.append(1)
        if len(calls) == 3:
            raise Stop
        return original(self, *batch)

    calls: list[int] = []
    original = ELBO.forward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ELBO, "forward", stop_in_the_third_epoch)
        with pytest.raises(Stop):
            PaperVAE(**SMALL).fit(dataset, checkpoints=tmp_path)
    assert epochs_done(tmp_path) == 2
    resumed = PaperVAE(**SMALL).fit(dataset, checkpoints=tmp_path, resume=True)
    np.testing.assert_array_equal(resumed.transform(dataset), whole.transform(dataset))
