"""A multilayer perceptron on latents or on the flat window, and its form for differences."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import nn

from simplechrome.predictors.network import NetworkPredictor
from simplechrome.work.settings import Count, Dropout, Positive


def _network(widths: tuple[int, ...], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 1), nn.Flatten(0))


def _initialize_he_normal(network: nn.Sequential) -> None:
    """Set He's normal weights before a ReLU, Glorot's uniform ones before the output, no biases."""
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    for layer in linear:
        nn.init.zeros_(layer.bias)
    for layer in linear[:-1]:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.xavier_uniform_(linear[-1].weight)


@dataclass(eq=False, repr=False, kw_only=True)
class MLPPredictor(NetworkPredictor):
    """A multilayer perceptron of ReLU layers with dropout, stopped by held-out labels.

    The perceptron of the SimpleChrome paper is
    `MLPPredictor(dropout=0, epochs=5, early_stopping=False, batch_size=32, learning_rate=1e-3,
    weight_decay=0, clip_gradients=False, initialization="he_normal")`.

    Parameters
    ----------
    hidden
        Widths of the hidden layers.
    dropout
        Fraction of units set to 0 in training.
    initialization
        Of the weights: `uniform` is PyTorch's own; `he_normal` has variance 2 / inputs in the
        hidden layers, as Keras's initializer of that name, Glorot's uniform weights before the
        output, and biases of 0.
    epochs, early_stopping, patience, batch_size and others
        See `NetworkPredictor`.

    References
    ----------
    Cheng, Murtaza & Wang, arXiv 2012.08671: widths 256 and 128. He et al., arXiv 1502.01852.
    """

    name = "mlp"
    title = "an MLP"
    prefers_cpu = True
    exporter = "simplechrome.export.predictors:perceptron"

    hidden: tuple[Count, ...] = (256, 128)
    dropout: Dropout = 0.3
    initialization: Literal["uniform", "he_normal"] = "uniform"
    learning_rate: Positive = 5e-4

    def _make_module(self) -> nn.Module:
        module = _network((self.n_features_in_, *self.hidden), self.dropout)
        if self.initialization == "he_normal":
            _initialize_he_normal(module)
        return module


class _Antisymmetric(nn.Module):
    """g(a, b) - g(b, a), for any network g."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, dim=1)
        swapped = torch.cat([second, first], dim=1)
        values: torch.Tensor = self.network(x) - self.network(swapped)
        return values


class DifferenceMLP(MLPPredictor):
    """A perceptron of two cell types' latents, minus the same with the two swapped.

    Its prediction is negated when they are swapped, to rounding; where both windows are the same,
    it is 0. Unlike a linear map of the difference, it sees where a change starts from: a promoter
    that gains a mark it had means less than one that gets it. For arguments and attributes see
    `MLPPredictor`; the task is `regression`, of log fold change.
    """

    def _make_module(self) -> nn.Module:
        return _Antisymmetric(super()._make_module())

    def _center_of(self, y: np.ndarray) -> float:
        return 0.0  # what is added to both orders would not change its sign
