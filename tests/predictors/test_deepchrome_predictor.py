"""DeepChrome's network equals its equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from simplechrome.predictors.deepchrome import DeepChromeModule

Inputs = tuple[torch.Tensor, torch.Tensor]


def windows(rows: int, bins: int, marks: int, dtype: torch.dtype = torch.float32) -> Inputs:
    """Values, and presence with some marks missing."""
    draw = torch.Generator().manual_seed(rows + bins + marks)
    values = torch.randn(rows, bins, marks, generator=draw, dtype=dtype)
    return values, torch.rand(rows, marks, generator=draw) > 0.3


def make(n_bins: int, n_marks: int, **options: Any) -> DeepChromeModule:
    """A network in which missing marks have learned weights too."""
    torch.manual_seed(0)
    module = DeepChromeModule(n_bins, n_marks, **options, dropout=0.5).eval()
    nn.init.normal_(module.missing.weight)
    return module


def by_equations(module: DeepChromeModule, values: torch.Tensor, present: torch.Tensor) -> list:
    """Convolution, maximum, ReLU and dense layers, term by term in float64."""
    state = {name: w.double().numpy() for name, w in module.state_dict().items()}
    kernels, bias = state["convolution.weight"], state["convolution.bias"]
    filters, _, width = kernels.shape
    there = present.numpy()
    seen = np.where(there[:, None], values.double().numpy(), 0.0)
    dense = [(state[f"dense.{k}.weight"], state[f"dense.{k}.bias"]) for k in (1, 3, 5)]
    results = []
    for x, mark_there in zip(seen, there, strict=True):
        positions = len(x) - width + 1
        level = np.zeros((positions, filters))
        for at in range(positions):
            for f in range(filters):
                level[at, f] = bias[f] + np.sum(kernels[f].T * x[at : at + width])
                level[at, f] += state["missing.weight"][f] @ ~mark_there
        pooled = [
            np.maximum(level[start : start + module.pool].max(axis=0), 0)
            for start in range(0, positions - module.pool + 1, module.pool)
        ]
        h = np.concatenate(pooled)
        for number, (weight, offset) in enumerate(dense):
            h = weight @ h + offset
            if number < 2:
                h = np.maximum(h, 0)
        results.append(h[0])
    return results


def test_forward_pass_is_that_of_the_equations() -> None:
    # 23 bins, kernel 4: 20 positions, 6 pools of 3 and 2 positions left over.
    module = make(23, 3, filters=7, kernel=4, pool=3, hidden=(6, 5))
    inputs = windows(5, 23, 3)
    with torch.inference_mode():
        np.testing.assert_allclose(module(*inputs), by_equations(module, *inputs), atol=1e-5)


def test_layers_of_the_paper() -> None:
    module = DeepChromeModule(100, 5, 50, 10, 5, (625, 125), 0.5)
    # 91 positions make 18 pools of 5; 18 * 50 = 900 values go into the first hidden layer.
    shapes = [tuple(p.shape) for name, p in module.named_parameters() if "weight" in name]
    assert shapes == [(50, 5, 10), (50, 5), (625, 900), (125, 625), (1, 125)]
    assert not module.missing.weight.any()


def test_values_under_a_missing_mark_have_no_influence() -> None:
    module = make(20, 3, filters=4, kernel=4, pool=3, hidden=(3,))
    values, present = windows(30, 20, 3)
    other = torch.where(present[:, None], values, torch.nan)
    with torch.inference_mode():
        torch.testing.assert_close(module(values, present), module(other, present))
        assert not torch.equal(module(values, present), module(values, torch.ones_like(present)))
