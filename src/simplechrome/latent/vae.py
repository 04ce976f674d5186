"""The variational autoencoder: a window's latent, learned without labels."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import torch
import xarray as xr
from pydantic import Field

from simplechrome.dataset.transforms.signal import TransformFunction, Windows
from simplechrome.errors import ConfigError, InputFormatError
from simplechrome.latent.vae_module import ELBO, VAEModule, elbo_loss
from simplechrome.latent.window_encoder import WindowEncoder
from simplechrome.training.loop import devices, make_accelerator, seeded, train
from simplechrome.training.settings import Device, Precision, TrainingSettings
from simplechrome.training.threads import cpu_threads
from simplechrome.work.settings import Count, NotNegative, Positive

log = logging.getLogger(__name__)

_ROWS_AT_ONCE = 512  # blocks whose activations stay in the cache: twice as fast as 4,096
_HELD_OUT_SHARE = 0.1


class VAE(WindowEncoder):
    """A small latent representation of each window, learned without labels.

    Linear maps that start at the principal components, corrected by convolutions over the bins; a
    Gaussian posterior and learned noise per mark; trained on the evidence lower bound with KL
    warm-up for at most `epochs`, or until the validation genes' bound stops rising. Latents are
    posterior **means**. They are returned on the natural scale: the best linear account of
    the decoder says how far the window moves per unit of each latent; latents are scaled by
    that, rotated to principal axes and divided by the first deviation. So a ridge penalty leans
    on directions that matter in the window, as it does for `PCA`, and the first dimensions carry
    most.

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
    random = True
    # Whether held-out windows decide the epoch, and so have to be held out.
    _stops_early: ClassVar[bool] = True

    def __init__(
        self,
        n_latent: Count = 10,
        *,
        channels: tuple[int, ...] = (32, 64),
        hidden: Count = 64,
        kernel: Count = 5,
        kl_weight: NotNegative = 1.0,
        kl_warm_up: Annotated[int, Field(ge=0)] = 5,
        epochs: Count = 12,
        patience: Count = 6,
        batch_size: Count = 256,
        learning_rate: Positive = 1e-3,
        weight_decay: NotNegative = 1e-4,
        transform_function: TransformFunction = "log1p",
        random_state: int = 0,
        device: Device = "auto",
        precision: Precision = "float32",
        threads: int | None = None,
    ) -> None:
        self.n_latent = n_latent
        self.channels = channels
        self.hidden = hidden
        self.kernel = kernel
        self.kl_weight = kl_weight
        self.kl_warm_up = kl_warm_up
        self.epochs = epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.transform_function = transform_function
        self.random_state = random_state
        self.device = device
        self.precision = precision
        self.threads = threads

    @property
    def n_latent_(self) -> int:
        """The argument."""
        return self.n_latent

    def fit(
        self,
        dataset: xr.Dataset,
        y: object = None,
        *,
        validation: xr.Dataset | None = None,
        checkpoints: str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Learn from windows; labels are not looked at.

        Parameters
        ----------
        dataset
            The training genes.
        y
            Ignored.
        validation
            Genes whose evidence lower bound decides when to stop. Without them a tenth of the
            training genes, drawn by `random_state`, is held out for that.
        checkpoints
            Folder for the best weights and the state of the training, written after each epoch.
        resume
            Go on from there, if anything is there. On the same machine, with the same number of
            threads, the encoder is bit for bit that of an undisturbed fit.

        Raises
        ------
        TrainingError
            If the loss is not finite.
        InputFormatError
            If fewer than two training windows, or no validation window, hold any data.
        ModelMismatchError, ModelFormatError
            If what is to be resumed is another training, or damaged.
        """
        self._checkpoints, self._resume = checkpoints, resume
        super().fit(dataset, y, validation=validation)
        del self._checkpoints, self._resume
        return self

    def _settings(self) -> TrainingSettings:
        return TrainingSettings(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            patience=self.patience,
            # A short training must still end with some best epoch.
            warm_up=min(self.kl_warm_up, self.epochs - 1),
            schedule="cosine",
            seed=self.random_state,
            device=self.device,
            precision=self.precision,
            threads=self.threads,
        )

    def _make_module(self) -> Any:
        """A module with `encode`, `decode` and `log_noise_variance`, as `ELBO` needs them."""
        sizes = (self.n_latent, self.hidden, *self.channels)
        if self.kernel % 2 == 0 or min(sizes) < 1 or not self.channels:
            raise ConfigError(
                "The VAE's sizes make no sense.",
                found=f"n_latent {self.n_latent}, channels {self.channels}, "
                f"hidden {self.hidden}, kernel {self.kernel}",
                expected="numbers from 1 up, at least one channel, and an odd kernel",
            )
        module = VAEModule(
            self.bin_start_.size,
            len(self.marks_),
            self.n_latent,
            tuple(self.channels),
            self.hidden,
            self.kernel,
        )
        # A quarter faster in training than PyTorch's own order of weights.
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return module

    def _fit(self, windows: Windows, validation: Windows | None) -> None:
        rows = _usable_rows(windows, least=2)
        held_out = None
        if self._stops_early:
            if validation is None:
                rows, held_out = _hold_out(rows, self.random_state)
            else:
                held_out = _usable_rows(validation)
        settings = self._settings()
        with seeded(self.random_state, self.threads):
            elbo = ELBO(self._make_module())
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

    def _initialize(self, module: Any, values: torch.Tensor) -> None:
        """Set the weights that training begins with, from the training windows."""
        module.start_at_components(values)

    @torch.inference_mode()
    def _measure_latents(self, values: torch.Tensor, present: torch.Tensor) -> None:
        """Find the linear map from the network's latents to those on the natural scale.

        Least squares of the decoded windows on the latents, by sums over blocks of rows.
        """
        k = self.n_latent
        sums: dict[str, Any] = {"z": 0.0, "zz": 0.0, "zx": 0.0, "x": 0.0, "kl": 0.0}
        for start in range(0, len(values), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            mean, log_variance = self.module_.encode(values[rows], present[rows])
            z = mean.double().numpy()
            x = self.module_.decode(mean).flatten(1).double().numpy()
            kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
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
        u, singular, _ = np.linalg.svd(slope, full_matrices=False)
        # Directions that do not move the window at all must stay invertible.
        moved = np.zeros(k)
        moved[: singular.size] = singular
        scaling = np.maximum(moved, 1e-4 * max(moved[0], 1e-12))
        basis = np.linalg.svd(slope, full_matrices=True)[0] if u.shape[1] < k else u
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
        """What is the evidence lower bound per gene of these windows?

        Returns
        -------
        nats per gene, with one draw of the noise by `random_state`; higher is better.
        """
        rows = _usable_rows(self.transform_windows(dataset))
        with seeded(self.random_state), torch.inference_mode():
            blocks = zip(*(tensor.split(_ROWS_AT_ONCE) for tensor in rows), strict=True)
            total = sum(
                float(ELBO(self.module_)(*block, self.kl_weight)["loss"]) * len(block[0])
                for block in blocks
            )
        return -total / len(rows[0])

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        weights = {f"module.{name}": v.numpy() for name, v in self.module_.state_dict().items()}
        arrays = {
            "center": self.center_,
            "map": self.map_,
            "activity": self.activity_,
            "kl": self.kl_,
        }
        return {"best_epoch": self.best_epoch_, "history": self.history_}, weights | arrays

    def _restore(self, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.best_epoch_, self.history_ = numbers["best_epoch"], numbers["history"]
        self.center_, self.map_ = arrays["center"], arrays["map"]
        self.activity_, self.kl_ = arrays["activity"], arrays["kl"]
        self.module_ = self._make_module()
        weights = {
            name.removeprefix("module."): torch.from_numpy(value)
            for name, value in arrays.items()
            if name.startswith("module.")
        }
        self.module_.load_state_dict(weights)
        self.module_.eval()


def _usable_rows(windows: Windows, least: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of all cell types, (row, bin, mark) and (row, mark), without those that hold nothing."""
    values = windows.values.reshape(-1, *windows.values.shape[2:])
    present = windows.present.reshape(len(values), -1)
    some = present.any(axis=1)
    if some.sum() < least:
        raise InputFormatError(
            "There are too few windows with data.",
            found=f"{some.sum()} of {some.size} windows in which any mark is observed",
            expected=f"at least {least}",
            remedy="look at the data with `simplechrome inspect`",
        )
    if not some.all():
        values, present = values[some], present[some]
    return torch.from_numpy(np.ascontiguousarray(values)), torch.from_numpy(present)


def _hold_out(
    rows: tuple[torch.Tensor, ...], seed: int
) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    n = len(rows[0])
    order = torch.from_numpy(np.random.default_rng(seed).permutation(n))
    held_out = max(1, round(n * _HELD_OUT_SHARE))
    parts = [(rows[0][index], rows[1][index]) for index in (order[held_out:], order[:held_out])]
    return parts[0], parts[1]
