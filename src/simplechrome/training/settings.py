"""Settings of the training loop, and the arguments of estimators that use it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from simplechrome.work.settings import Count, NotNegative, Positive

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["float32", "bfloat16"]
Schedule = Literal["constant", "cosine"]


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of one training.

    Attributes
    ----------
    epochs, patience
        At most; and those without a better validation loss before training stops.
    batch_size
        Rows per step; the last, shorter batch of an epoch is used too.
    learning_rate, weight_decay, max_gradient_norm
        Of AdamW; gradients longer than the norm are shortened to it.
    warm_up
        Epochs over which the loss may phase parts in (KL), and before which no epoch counts as
        the best.
    schedule
        `constant`, or `cosine`: the learning rate rises over the first tenth of the steps and
        falls to 0 along a cosine.
    seed
        Of weights, order and noise.
    device, threads
        `auto` takes a GPU where there is one; None leaves PyTorch's own number of CPU threads.
    precision
        `bfloat16` computes matrix products in bf16; weights and losses stay float32.
    """

    epochs: int = 30
    batch_size: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    patience: int = 6
    max_gradient_norm: float = 10.0
    warm_up: int = 0
    schedule: Schedule = "constant"
    seed: int = 0
    device: Device = "auto"
    precision: Precision = "float32"
    threads: int | None = None


@dataclass(eq=False, repr=False, kw_only=True)
class EpochSettings:
    """Arguments of an estimator that trains in epochs; see `TrainingSettings`.

    A subclass, a dataclass as well, repeats those whose defaults are others. `random_state` is
    the seed of weights, order and noise, and of folds.
    """

    epochs: Count = 40
    batch_size: Count = 64
    learning_rate: Positive = 1e-3
    random_state: int = 0
    device: Device = "cpu"
    threads: int | None = None

    def training_settings(self, **changed: Any) -> TrainingSettings:
        """Return the settings of a training: these arguments, but for what is `changed`."""
        names = [field.name for field in fields(TrainingSettings)]
        own = {name: getattr(self, name) for name in names if hasattr(self, name)}
        return TrainingSettings(**{"seed": self.random_state, **own, **changed})


@dataclass(eq=False, repr=False, kw_only=True)
class NetworkSettings(EpochSettings):
    """Arguments of an estimator that trains until a loss stops falling."""

    patience: Count = 6
    weight_decay: NotNegative = 1e-2
