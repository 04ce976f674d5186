"""AttentiveChrome's network equals its equations."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from simplechrome.predictors.attentivechrome import AttentiveChromeModule

Inputs = tuple[torch.Tensor, torch.Tensor]


def windows(rows: int, bins: int, marks: int, dtype: torch.dtype = torch.float32) -> Inputs:
    """Values, and presence with some marks missing; the first row has none, if there are more."""
    draw = torch.Generator().manual_seed(rows + bins + marks)
    present = torch.rand(rows, marks, generator=draw) > 0.3
    present[0] = rows == 1
    return torch.randn(rows, bins, marks, generator=draw, dtype=dtype), present


def make(
    n_bins: int, n_marks: int, bin_hidden: int = 3, mark_hidden: int = 2
) -> AttentiveChromeModule:
    """A network in which missing marks have learned vectors too."""
    torch.manual_seed(0)
    module = AttentiveChromeModule(n_bins, n_marks, bin_hidden, mark_hidden, dropout=0.0).eval()
    for context in (module.missing, module.bin_context, module.mark_context):
        nn.init.normal_(context)  # as they start they hardly matter
    return module


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum()


def lstm(x: np.ndarray, state: dict[str, np.ndarray], name: str, suffix: str) -> np.ndarray:
    """(step, input) → (step, hidden): gates i, f, g, o, one step after the other."""
    w_input, w_hidden = state[f"{name}.weight_ih_l0{suffix}"], state[f"{name}.weight_hh_l0{suffix}"]
    bias = state[f"{name}.bias_ih_l0{suffix}"] + state[f"{name}.bias_hh_l0{suffix}"]
    h = c = np.zeros(w_hidden.shape[1])
    outputs = []
    for step in x:
        i, f, g, o = np.split(w_input @ step + w_hidden @ h + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.array(outputs)


def both_ways(x: np.ndarray, state: dict[str, np.ndarray], name: str) -> np.ndarray:
    backwards = lstm(x[::-1], state, name, "_reverse")[::-1]
    return np.concatenate([lstm(x, state, name, ""), backwards], axis=1)


def by_equations(
    module: AttentiveChromeModule, values: torch.Tensor, present: torch.Tensor
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The paper's equations for one gene after the other, in float64."""
    state = {name: w.double().numpy() for name, w in module.state_dict().items()}
    x, there = values.double().numpy(), present.numpy()
    rows, bins, marks = x.shape
    prediction, alpha, beta = np.zeros(rows), np.zeros((rows, marks, bins)), np.zeros((rows, marks))
    for row in range(rows):
        vectors = state["missing"].copy()
        for mark in np.flatnonzero(there[row]):
            h = both_ways(x[row, :, mark, None], state, f"bin_lstms.{mark}")
            alpha[row, mark] = softmax(h @ state["bin_context"][mark])
            vectors[mark] = alpha[row, mark] @ h
        s = both_ways(vectors, state, "mark_lstm")
        if there[row].any():
            beta[row, there[row]] = softmax((s @ state["mark_context"])[there[row]])
        gene = beta[row] @ s
        prediction[row] = (state["output.weight"] @ gene + state["output.bias"])[0]
    return prediction, alpha, beta


def test_forward_pass_is_that_of_the_equations() -> None:
    module, inputs = make(7, 3), windows(6, 7, 3)
    with torch.inference_mode():
        attended = module.attend(*inputs)
    for ours, theirs in zip(attended, by_equations(module, *inputs), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_width_of_the_paper_has_its_number_of_weights() -> None:
    # Each mark and direction: 4 gates of 32 units with 1 input, 32 states and 2 biases, 4,480;
    # twice 5 of them, 44,800, 5 contexts and 5 vectors for missing marks of 64: 45,440. Over
    # marks, twice 4 * 16 * (64 + 16 + 2) = 10,496, a context of 32, and 33 for the output.
    module = AttentiveChromeModule(100, 5, 32, 16, dropout=0.5)
    assert sum(p.numel() for p in module.parameters()) == 45_440 + 10_496 + 32 + 33
    assert not module.missing.any()


def test_row_without_marks_gets_the_bias_and_no_attention() -> None:
    module = make(5, 2)
    attended = module.attend(torch.randn(1, 5, 2), torch.zeros(1, 2, dtype=torch.bool))
    assert attended.prediction.item() == module.output.bias.item()
    assert not attended.bins.any()
    assert not attended.marks.any()


def test_values_under_a_missing_mark_have_no_influence() -> None:
    module = make(5, 3)
    values, present = windows(30, 5, 3)
    other = torch.where(present[:, None], values, torch.nan)
    with torch.inference_mode():
        one, same = module.attend(values, present), module.attend(other, present)
        for ours, theirs in zip(one, same, strict=True):
            torch.testing.assert_close(ours, theirs)
        assert not torch.equal(one.prediction, module(values, torch.ones_like(present)))
    assert not one.bins[~present].any()
    assert not one.marks[~present].any()
    torch.testing.assert_close(one.bins.sum(2), present.float())
    torch.testing.assert_close(one.marks.sum(1), present.any(1).float())


def test_cells_remember_from_the_start() -> None:
    module = AttentiveChromeModule(5, 2, bin_hidden=3, mark_hidden=2, dropout=0.0)
    for lstm, width in ((module.bin_lstms[1], 3), (module.mark_lstm, 2)):
        weights = lstm.state_dict()
        bias = weights["bias_ih_l0_reverse"] + weights["bias_hh_l0_reverse"]
        assert bias.tolist() == [0] * width + [1] * width + [0] * 2 * width
        forget = weights["weight_hh_l0"][width : 2 * width]
        torch.testing.assert_close(forget @ forget.T, torch.eye(width))
