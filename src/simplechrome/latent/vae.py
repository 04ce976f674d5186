"""The variational autoencoder: a network's latents of windows, learned without labels."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import KW_ONLY, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import torch
import xarray as xr
from pydantic import Field
from torch import nn

from simplechrome.dataset.transforms.signal import TransformFunction, Windows
from simplechrome.errors import ConfigError, InputFormatError
from simplechrome.latent.encoder import Arrays, WindowEncoder, part_of
from simplechrome.training.loop import (
    Batch,
    Loss,
    Parts,
    cpu_threads,
    devices,
    make_accelerator,
    seeded,
    train,
)
from simplechrome.training.settings import (
    Device,
    EpochSettings,
    NetworkSettings,
    Precision,
    TrainingSettings,
)
from simplechrome.work.settings import Count, NotNegative

_SLOPE = 0.1
_ROWS_FOR_COMPONENTS = 50_000
_ROWS_AT_ONCE = 512  # blocks whose activations stay in the cache: twice as fast as 4,096
_HELD_OUT_FRACTION = 0.1


class VAEModule(nn.Module):
    """The network: linear maps with convolutional corrections to a Gaussian posterior and back.

    The linear maps start at the principal components (`start_at_components`) and the
    corrections at zero: training begins where PCA ends.

    Windows are (row, bin, mark) float32: seen as an image of height 1 with marks for channels,
    that is PyTorch's channels-last layout without a copy, in which convolutions run fastest.

    Parameters
    ----------
    channels
        Filters of each convolution; each but the first halves the bins.
    hidden
        Width of the layer between convolutions and latent, on both sides.
    kernel
        Bins that a convolution sees; odd.
    """

    def __init__(
        self,
        n_bins: int,
        n_marks: int,
        n_latent: int,
        channels: tuple[int, ...],
        hidden: int,
        kernel: int,
    ) -> None:
        super().__init__()
        self.n_bins = n_bins
        half = kernel // 2
        down: list[nn.Module] = []
        bins = n_bins
        for layer, (before, after) in enumerate(pairwise((n_marks, *channels))):
            stride = 1 if layer == 0 else 2
            bins = (bins - 1) // stride + 1
            down += [
                nn.Conv2d(before, after, (1, kernel), stride=(1, stride), padding=(0, half)),
                nn.LeakyReLU(_SLOPE),
            ]
        self.first, self.convolutions = down[0], nn.Sequential(*down[1:])
        # An input for missing marks. Its weights start at 0 and get no gradient as long as
        # nothing is missing in training: then a missing mark is simply the mean.
        self.missing = nn.Linear(n_marks, channels[0], bias=False)
        nn.init.zeros_(self.missing.weight)
        self.narrow = nn.Sequential(nn.Linear(bins * channels[-1], hidden), nn.LeakyReLU(_SLOPE))
        self.posterior_mean = nn.Linear(hidden, n_latent)
        self.posterior_log_variance = nn.Linear(hidden, n_latent)
        self.widen = nn.Sequential(
            nn.Linear(n_latent, hidden),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(hidden, bins * channels[-1]),
            nn.LeakyReLU(_SLOPE),
        )
        self.shape = (channels[-1], 1, bins)
        up: list[nn.Module] = []
        for before, after in pairwise(reversed(channels)):
            # An even kernel of stride 2 gives every output bin the same number of inputs.
            sizes: dict[str, Any] = {"kernel_size": (1, kernel + 1), "padding": (0, half)}
            up += [nn.ConvTranspose2d(before, after, stride=(1, 2), **sizes), nn.LeakyReLU(_SLOPE)]
        self.deconvolutions = nn.Sequential(*up)
        self.last = nn.Conv2d(channels[0], n_marks, (1, kernel), padding=(0, half))
        self.linear_in = nn.Linear(n_bins * n_marks, n_latent)
        self.linear_out = nn.Linear(n_latent, n_bins * n_marks)
        # Learned noise per mark: it weighs marks against each other and all against the KL.
        self.log_noise_variance = nn.Parameter(torch.zeros(n_marks))

    def encode(
        self, values: torch.Tensor, present: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(row, bin, mark), (row, mark) → posterior mean and log variance, (row, latent) each."""
        features = self.first(values.permute(0, 2, 1).unsqueeze(2))
        absent = self.missing((~present).to(values.dtype))
        features = features + absent[:, :, None, None]
        features = self.narrow(self.convolutions(features).flatten(1))
        mean = self.linear_in(values.flatten(1)) + self.posterior_mean(features)
        log_variance = self.posterior_log_variance(features)
        return mean.float(), log_variance.float().clamp(-12, 6)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(row, latent) → (row, bin, mark)."""
        features = self.widen(latents).view(-1, *self.shape)
        features = features.contiguous(memory_format=torch.channels_last)
        correction = self.last(self.deconvolutions(features)[..., : self.n_bins])
        correction = correction.squeeze(2).permute(0, 2, 1)
        return (self.linear_out(latents).view(correction.shape) + correction).float()

    @torch.no_grad()
    def start_at_components(self, values: torch.Tensor) -> None:
        """Set the linear maps to the principal components of these windows.

        Latents then have variance 1, as the prior wants them. Dimensions beyond the rank of the
        windows, (row, bin, mark), keep their random start.
        """
        rows = values[:_ROWS_FOR_COMPONENTS].flatten(1)
        center = rows.mean(dim=0)
        n_latent = self.posterior_mean.out_features
        wanted = min(n_latent + 8, *rows.shape)
        _, singular, axes = torch.pca_lowrank(rows, q=wanted, niter=4)
        deviation = singular / max(len(rows) - 1, 1) ** 0.5
        used = int((deviation[:n_latent] > 1e-4 * deviation[0]).sum())
        axes, deviation = axes[:, :used], deviation[:used]
        self.linear_in.weight[:used] = (axes / deviation).T
        self.linear_in.bias.copy_(-self.linear_in.weight @ center)
        self.linear_out.weight[:, :used] = axes * deviation
        self.linear_out.bias.copy_(center)
        left = rows - center - (rows - center) @ axes @ axes.T
        noise = left.view(-1, self.n_bins, values.shape[2]).square().mean(dim=(0, 1))
        self.log_noise_variance.copy_(noise.clamp_min(1e-4).log())
        for parameter in (*self.posterior_mean.parameters(), *self.last.parameters()):
            nn.init.zeros_(parameter)
        # A posterior that is a third as wide as the prior: the noise of the first steps must not
        # drown the components.
        self.posterior_log_variance.weight.mul_(0.1)
        nn.init.constant_(self.posterior_log_variance.bias, -2.0)


def elbo_loss(kl_weight: float = 1.0) -> Loss:
    """Return the negative evidence lower bound per gene, as a loss.

    Sums over bins and present marks (reconstruction) and over latents (KL), then the mean over
    genes: the weight of the KL against the reconstruction does not depend on the batch size.

    Parameters
    ----------
    kl_weight
        Factor of the KL (β); 1 is the evidence lower bound.

    Returns
    -------
    Its parts are `loss`, `reconstruction` and `kl`, in nats per gene.

    References
    ----------
    Kingma & Welling, arXiv 1312.6114, eq. 3 and appendix B.
    """

    def loss(module: nn.Module, batch: Batch, warmth: float) -> Parts:
        values, present = batch
        return module(values, present, kl_weight * warmth)

    return loss


def kl_of(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Return the KL divergence of each normal distribution from the standard one, nats."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


class ELBO(nn.Module):
    """A `VAEModule` whose forward pass is the loss, so that data-parallel wrappers can hold it."""

    def __init__(self, vae: VAEModule) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, values: torch.Tensor, present: torch.Tensor, kl_weight: float) -> Parts:
        """Parts of the loss; see `elbo_loss`."""
        mean, log_variance = self.vae.encode(values, present)
        noise = torch.randn_like(mean)
        decoded = self.vae.decode(mean + noise * (0.5 * log_variance).exp())
        log_noise = self.vae.log_noise_variance
        error = (values - decoded).square().sum(dim=1)  # over bins: (row, mark)
        bins = values.shape[1]
        per_mark = 0.5 * (error * (-log_noise).exp() + bins * (log_noise + math.log(2 * math.pi)))
        reconstruction = (per_mark * present).sum(dim=1).mean()
        kl = kl_of(mean, log_variance).sum(dim=1).mean()
        return {"loss": reconstruction + kl_weight * kl, "reconstruction": reconstruction, "kl": kl}


@dataclass(eq=False, repr=False, kw_only=True)
class NetworkEncoder(EpochSettings, WindowEncoder):
    """A variational autoencoder in training: what `VAE` and `PaperVAE` share.

    A subclass is a dataclass of its options and implements `_settings`, `_make_module` and
    `_measure_latents`.
    """

    random = True
    _numbers = ("best_epoch", "history")
    _arrays = ("center", "map", "activity", "kl")
    _more_sizes: ClassVar[tuple[str, ...]] = ()
    # Whether held-out windows decide the epoch, and so have to be held out.
    _stops_early: ClassVar[bool] = True

    channels: tuple[int, ...] = (32, 64)
    kernel: Count = 5
    kl_weight: NotNegative = field(init=False, default=1.0)  # not an option of all
    device: Device = "auto"
    precision: Precision = "float32"

    def fit(
        self,
        dataset: xr.Dataset,
        y: object = None,
        *,
        validation: xr.Dataset | None = None,
        checkpoints: str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Learn from windows; labels are ignored.

        Parameters
        ----------
        dataset, y
            See `Encoder.fit`.
        validation
            Genes whose evidence lower bound decides when to stop. Without them a tenth of the
            training genes, drawn by `random_state`, is held out for that.
        checkpoints
            Folder for the best weights and the state of the training, written after each epoch.
        resume
            Continue from the checkpoints, if there are any. On the same machine, with the same
            number of threads, the encoder is bit-identical to that of an uninterrupted fit.

        Raises
        ------
        TrainingError
            If the loss is not finite.
        InputFormatError
            If fewer than two training windows, or no validation window, hold any data.
        ModelMismatchError, ModelFormatError
            If the checkpoints are of another training, or damaged.
        """
        self._checkpoints, self._resume = checkpoints, resume
        super().fit(dataset, y, validation=validation)
        del self._checkpoints, self._resume
        return self

    def _fit(self, windows: Windows, validation: Windows | None) -> None:
        rows = _usable_rows(windows, least=2)
        held_out = None
        if self._stops_early:
            if validation is not None:
                held_out = _usable_rows(validation)
            else:
                drawn = np.random.default_rng(self.random_state).permutation(len(rows[0]))
                order, n = torch.from_numpy(drawn), max(1, round(len(drawn) * _HELD_OUT_FRACTION))
                rows, held_out = (
                    (rows[0][index], rows[1][index]) for index in (order[n:], order[:n])
                )
        settings = self._settings()
        with seeded(self.random_state, self.threads):
            elbo = ELBO(self._new_module())
            self._initialize(elbo.vae, rows[0])
            result = train(
                elbo,
                elbo_loss(self.kl_weight),
                rows,
                settings,
                validation=held_out,
                checkpoints=self._checkpoints,
                resume=self._resume,
                name=type(self).__name__,
            )
            self.module_ = elbo.vae
            self.history_, self.best_epoch_ = result.history, result.best_epoch
            self.interrupted_ = result.interrupted
            self._measure_latents(*rows)

    @abstractmethod
    def _settings(self) -> TrainingSettings:
        """How it is trained."""

    def _new_module(self) -> Any:
        sizes: dict[str, Any] = {
            "n_latent": self.n_latent,
            "channels": self.channels,
            "kernel": self.kernel,
        }
        sizes |= {name: getattr(self, name) for name in self._more_sizes}
        numbers = [*self.channels, *(v for name, v in sizes.items() if name != "channels")]
        if self.kernel % 2 == 0 or not self.channels or not all(size > 0 for size in numbers):
            given = ", ".join(f"{name} {value}" for name, value in sizes.items())
            raise ConfigError(
                f"The {type(self).__name__}'s sizes are invalid: {given}.",
                "choose numbers above 0, at least one channel, and an odd kernel",
            )
        # A quarter faster in training than PyTorch's own order of weights.
        return self._make_module().to(memory_format=torch.channels_last)

    @abstractmethod
    def _make_module(self) -> Any:
        """A module with `encode`, `decode` and `log_noise_variance`, as `ELBO` needs them."""

    def _initialize(self, module: Any, values: torch.Tensor) -> None:
        """Set the weights that training begins with, from the training windows."""

    @abstractmethod
    def _measure_latents(self, values: torch.Tensor, present: torch.Tensor) -> None:
        """Set `center_`, `map_`, `activity_` and `kl_` from the training windows."""

    def _encode(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        settings = self._settings()
        if settings.device not in devices():
            # A model that was trained on a GPU must encode on any machine.
            settings = replace(settings, device="auto")
        accelerator = make_accelerator(settings)
        module = self.module_.to(accelerator.device)
        means = []
        with torch.inference_mode(), cpu_threads(self.threads):
            for start in range(0, len(values), _ROWS_AT_ONCE):
                rows = slice(start, start + _ROWS_AT_ONCE)
                batch = torch.from_numpy(values[rows]), torch.from_numpy(present[rows])
                mean, _ = module.encode(*(tensor.to(accelerator.device) for tensor in batch))
                means.append(mean.cpu().numpy())
        module.to("cpu")
        latents = (np.concatenate(means).astype(np.float64) - self.center_) @ self.map_
        return latents.astype(np.float32)

    def _decode(self, latents: np.ndarray) -> np.ndarray:
        means = latents.astype(np.float64) @ np.linalg.inv(self.map_) + self.center_
        with torch.inference_mode(), cpu_threads(self.threads):
            blocks = torch.from_numpy(means.astype(np.float32)).split(_ROWS_AT_ONCE)
            return np.concatenate([self.module_.decode(block).numpy() for block in blocks])

    def elbo(self, dataset: xr.Dataset) -> float:
        """Return the evidence lower bound of these windows, nats per gene; higher is better.

        With one draw of the noise by `random_state`.
        """
        rows = _usable_rows(self.transform_windows(dataset))
        with seeded(self.random_state), torch.inference_mode():
            blocks = zip(*(tensor.split(_ROWS_AT_ONCE) for tensor in rows), strict=True)
            total = sum(
                float(ELBO(self.module_)(*block, self.kl_weight)["loss"]) * len(block[0])
                for block in blocks
            )
        return -total / len(rows[0])

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        numbers, arrays = super()._state()
        weights = {f"module.{name}": v.numpy() for name, v in self.module_.state_dict().items()}
        return numbers, weights | arrays

    def _restore(self, numbers: dict[str, Any], arrays: Arrays) -> None:
        super()._restore(numbers, arrays)
        self.module_ = self._new_module()
        weights = part_of(arrays, "module.")
        self.module_.load_state_dict({name: torch.from_numpy(v) for name, v in weights.items()})
        self.module_.eval()


@dataclass(eq=False, repr=False)
class VAE(NetworkSettings, NetworkEncoder):
    """A small latent representation of each window, learned without labels.

    Linear maps that start at the principal components, corrected by convolutions over the bins; a
    Gaussian posterior and learned noise per mark; trained on the evidence lower bound with KL
    warm-up for at most `epochs`, or until the validation genes' bound stops rising. Latents are
    posterior **means**, variance-scaled: a linear regression of decoded windows on them gives how
    far the window moves per unit of each; latents are scaled by that, rotated to principal axes
    and divided by the first standard deviation. So a ridge penalty leans on directions that
    matter in the window, as it does for `PCA`, and the first dimensions carry most.

    Parameters
    ----------
    n_latent
        Dimensions of the latent.
    channels, hidden, kernel
        See `VAEModule`.
    kl_weight
        Factor of the KL (β).
    kl_warm_up
        Epochs over which that factor rises from 0.
    epochs, patience, batch_size, learning_rate, weight_decay, device, precision, threads
        See `TrainingSettings`.
    transform_function
        See `SignalTransform`.
    random_state
        Seed of weights, order and noise.

    Attributes
    ----------
    history_
        One mapping per epoch.
    best_epoch_
        Whose weights are kept.
    activity_ : (latent,)
        Standard deviation of each latent over the training windows; the first is 1.
    kl_ : (latent,)
        Mean KL of each of the network's own latents (before rotation), nats; near 0: unused.

    References
    ----------
    Kingma & Welling, arXiv 1312.6114. Cheng, Murtaza & Wang, arXiv 2012.08671 (SimpleChrome).
    """

    name = "vae"
    title = "a variational autoencoder"
    color = ("#0b9a6d", "#7fe6bd")
    exporter = "simplechrome.export.encoders:vae"

    _more_sizes = ("hidden",)

    n_latent: Count = 10
    _: KW_ONLY
    hidden: Count = 64
    kl_weight: NotNegative = 1.0
    kl_warm_up: Annotated[int, Field(ge=0)] = 5
    epochs: Count = 12
    batch_size: Count = 256
    weight_decay: NotNegative = 1e-4
    device: Device = "auto"
    transform_function: TransformFunction = "log1p"

    def _settings(self) -> TrainingSettings:
        # A short training must still end with some best epoch.
        warm_up = min(self.kl_warm_up, self.epochs - 1)
        return self.training_settings(warm_up=warm_up, schedule="cosine")

    def _make_module(self) -> Any:
        sizes = (self.bin_start_.size, len(self.marks_), self.n_latent)
        return VAEModule(*sizes, tuple(self.channels), self.hidden, self.kernel)

    def _initialize(self, module: Any, values: torch.Tensor) -> None:
        module.start_at_components(values)

    @torch.inference_mode()
    def _measure_latents(self, values: torch.Tensor, present: torch.Tensor) -> None:
        """Find the linear map from the network's latents to variance-scaled ones.

        Least squares of the decoded windows on the latents, by sums over blocks of rows.
        """
        k = self.n_latent
        sums: dict[str, Any] = {"z": 0.0, "zz": 0.0, "zx": 0.0, "x": 0.0, "kl": 0.0}
        for start in range(0, len(values), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            mean, log_variance = self.module_.encode(values[rows], present[rows])
            z = mean.double().numpy()
            x = self.module_.decode(mean).flatten(1).double().numpy()
            kl = kl_of(mean, log_variance)
            new = {"z": z.sum(0), "zz": z.T @ z, "zx": z.T @ x, "x": x.sum(0)}
            new["kl"] = kl.double().sum(0).numpy()
            sums = {name: total + new[name] for name, total in sums.items()}
        n = len(values)
        center = sums["z"] / n
        covariance = sums["zz"] / n - np.outer(center, center)
        with_window = sums["zx"] / n - np.outer(center, sums["x"] / n)
        # A dimension that the network does not use has next to no variance; the ridge keeps its
        # slope finite.
        slope = np.linalg.solve(covariance + 1e-6 * np.eye(k), with_window)
        basis, singular, _ = np.linalg.svd(slope, full_matrices=slope.shape[1] < k)
        # Directions that do not move the window at all must stay invertible.
        moved = np.zeros(k)
        moved[: singular.size] = singular
        scaling = np.maximum(moved, 1e-4 * max(moved[0], 1e-12))
        map_ = basis * scaling
        variance, axes = np.linalg.eigh(map_.T @ covariance @ map_)
        variance, axes = np.maximum(variance[::-1], 0), axes[:, ::-1]
        map_ = map_ @ axes / (np.sqrt(variance[0]) or 1.0)
        # Signs are arbitrary; make each latent rise with the window's total.
        totals = with_window.sum(axis=1) @ map_
        map_ *= np.where(totals < 0, -1.0, 1.0)
        self.center_, self.map_ = center, map_
        self.activity_ = np.sqrt(variance / (variance[0] or 1.0))
        self.kl_ = sums["kl"] / n


def _usable_rows(windows: Windows, least: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """(row, bin, mark) and (row, mark) of all cell types, without windows that are not observed."""
    values = windows.values.reshape(-1, *windows.values.shape[2:])
    present = windows.present.reshape(len(values), -1)
    some = present.any(axis=1)
    if some.sum() < least:
        raise InputFormatError(
            f"There are too few windows with data: a mark is observed in {some.sum()} of "
            f"{some.size}, and {least} or more are needed.",
            "look at the data with `simplechrome inspect`",
        )
    if not some.all():
        values, present = values[some], present[some]
    return torch.from_numpy(np.ascontiguousarray(values)), torch.from_numpy(present)
