"""A perceptron of two cell types that is antisymmetric by construction."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from simplechrome.predictors.mlp import MLPPredictor


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
    """A perceptron of two cell types' latents, less the same with the two swapped.

    So what it predicts is negated when they are swapped, to rounding; where both windows are the
    same, it is 0. Unlike a linear map of the difference, it knows where a change starts from:
    a promoter that gains a mark it had means less than one that gets it.

    Parameters
    ----------
    task
        `regression`, of log fold change.
    hidden, dropout, epochs, and all others
        See `MLPPredictor`.

    Attributes
    ----------
    epochs_, history_, interrupted_
        See `MLPPredictor`.
    """

    def _make_module(self) -> nn.Module:
        return _Antisymmetric(super()._make_module())

    def _center_of(self, y: np.ndarray) -> float:
        return 0.0  # what is added to both orders would not change its sign
