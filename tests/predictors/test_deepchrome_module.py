"""DeepChrome's network equals its equations, and its own passes equal the library's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

from simplechrome.errors import ConfigError
from simplechrome.predictors import deepchrome_module
from simplechrome.predictors.deepchrome_module import DeepChromeModule, Dropout

Inputs = tuple[torch.Tensor, torch.Tensor]


def windows(rows: int, bins: int, marks: int, dtype: torch.dtype = torch.float32) -> Inputs:
    """Values, and presence with some marks missing."""
    draw = torch.Generator().manual_seed(rows + bins + marks)
    values = torch.randn(rows, bins, marks, generator=draw, dtype=dtype)
    return values, torch.rand(rows, marks, generator=draw) > 0.3


def make(n_bins: int, n_marks: int, seed: int = 0, **options: object) -> DeepChromeModule:
    """A network in which missing marks have learned weights too."""
    torch.manual_seed(seed)
    module = DeepChromeModule(n_bins, n_marks, **options).eval()  # type: ignore[arg-type]
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
    module = DeepChromeModule(100, 5)
    # 91 positions make 18 pools of 5; 18 * 50 = 900 values go into the first hidden layer.
    shapes = [tuple(p.shape) for name, p in module.named_parameters() if "weight" in name]
    assert shapes == [(50, 5, 10), (50, 5), (625, 900), (125, 625), (1, 125)]
    assert not module.missing.weight.any()


def gradients(module: nn.Module, inputs: Inputs) -> list[torch.Tensor]:
    prediction = module(*inputs)
    weight = torch.linspace(-1, 1, len(prediction), dtype=prediction.dtype)
    return [prediction, *torch.autograd.grad((prediction * weight).sum(), [*module.parameters()])]


@settings(deadline=None, max_examples=30)
@given(
    kernel=st.integers(1, 6),
    pool=st.integers(1, 5),
    more=st.integers(0, 7),
    marks=st.integers(1, 4),
    filters=st.integers(1, 6),
    rows=st.integers(1, 12),
    block=st.sampled_from([1, 40, 10**6]),
    threads=st.sampled_from([1, 2]),
)
def test_own_passes_equal_the_librarys(
    kernel: int,
    pool: int,
    more: int,
    marks: int,
    filters: int,
    rows: int,
    block: int,
    threads: int,
) -> None:
    bins = kernel + pool - 1 + more
    module = make(bins, marks, filters=filters, kernel=kernel, pool=pool, hidden=(3,), dropout=0.0)
    module.double().train()
    inputs = windows(rows, bins, marks, torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deepchrome_module, "_BLOCK", block)
        torch.set_num_threads(threads)
        own = gradients(module, inputs)
        torch.set_num_threads(1)
        patch.setattr(deepchrome_module, "runs_by_hand", lambda values: False)
        library = gradients(module, inputs)
    for one, other in zip(own, library, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_gradients_are_those_of_small_steps() -> None:
    module = make(9, 2, filters=3, kernel=3, pool=2, hidden=(3,), dropout=0.0).double()
    inputs = windows(4, 9, 2, torch.float64)
    names = [name for name, _ in module.named_parameters()]

    def prediction(*weights: torch.Tensor) -> torch.Tensor:
        return functional_call(module, dict(zip(names, weights, strict=True)), inputs)

    assert torch.autograd.gradcheck(prediction, tuple(module.parameters()))


def test_windows_can_have_a_gradient_too() -> None:
    module = make(9, 2, filters=3, kernel=3, pool=2, hidden=()).double()
    values, present = windows(4, 9, 2, torch.float64)
    values.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: module(v, present), values)


def test_values_under_a_missing_mark_have_no_influence() -> None:
    module = make(20, 3, filters=4, kernel=4, pool=3, hidden=(3,))
    values, present = windows(30, 20, 3)
    other = torch.where(present[:, None], values, torch.nan)
    with torch.inference_mode():
        torch.testing.assert_close(module(values, present), module(other, present))
        assert not torch.equal(module(values, present), module(values, torch.ones_like(present)))


def test_dropout_leaves_out_its_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    dropout = Dropout(0.25).train()
    kept = dropout(torch.ones(200, 501))
    # 100,200 draws: the deviation of a share is sqrt(.25 * .75 / 100,200) = .0014.
    assert (kept == 0).float().mean().item() == pytest.approx(0.25, abs=0.006)
    assert kept.mean().item() == pytest.approx(1, abs=0.008)
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert torch.equal(dropout.eval()(kept), kept)
    assert torch.equal(Dropout(0).train()(kept), kept)


def test_dropout_has_the_gradient_of_what_it_kept() -> None:
    values = torch.full((50,), 2.0, requires_grad=True)
    dropped = Dropout(0.5).train()(values)
    dropped.sum().backward()
    torch.testing.assert_close(values.grad, dropped.detach() / 2)


def test_half_precision_is_near() -> None:
    module = make(23, 3, filters=7, kernel=4, pool=3, hidden=(6,))
    inputs = windows(5, 23, 3)
    with torch.inference_mode():
        exact = module(*inputs)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(module(*inputs).float(), exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"kernel": 10, "pool": 5},
            "found: 12 bins(.|\n)*at least 14(.|\n)*kernel of 8 or less, or a pool of 3",
        ),
        ({"kernel": 20, "pool": 1}, "expected: at least 20(.|\n)*kernel of 12 or less"),
        ({"kernel": 2, "pool": 13}, "at least 14(.|\n)*a pool of 11 or less"),
        ({"filters": 0}, "filters of 0"),
        ({"hidden": (4, 0)}, r"hidden\[1\] of 0"),
        ({"dropout": 1.0}, "dropout 1"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DeepChromeModule(12, 2, **options)
