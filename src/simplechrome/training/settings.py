"""How to train: the numbers that one loop needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of one training.

    Attributes
    ----------
    epochs
        At most.
    batch_size
        Rows per step; the last, shorter batch of an epoch is used too.
    learning_rate, weight_decay
        Of AdamW.
    patience
        Epochs without a better validation loss before training stops.
    max_gradient_norm
        Gradients longer than this are shortened to it.
    warm_up
        Epochs over which the loss may phase parts in (KL), and before which no epoch counts as
        the best.
    schedule
        `constant`, or `cosine`: the learning rate rises over the first tenth of the steps and
        falls to 0 along a cosine.
    seed
        Of weights, order and noise.
    device
        `auto` takes a GPU where there is one.
    precision
        `bfloat16` computes matrix products in bf16; weights and losses stay float32.
    threads
        CPU threads; None leaves PyTorch's own number.
    """

    epochs: int = 30
    batch_size: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    patience: int = 6
    max_gradient_norm: float = 10.0
    warm_up: int = 0
    schedule: Literal["constant", "cosine"] = "constant"
    seed: int = 0
    device: Device = "auto"
    precision: Precision = "float32"
    threads: int | None = None
