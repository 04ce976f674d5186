"""Each operation, in each format, is what its name says."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from simplechrome.errors import ConfigError
from simplechrome.export.graph import Tree, bidirectional

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
needs_tensorflow = [
    pytest.mark.tensorflow,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorflow") is None,
        reason="needs the extra [tensorflow]: make test-tensorflow",
    ),
]
# Keras's own, not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
FORMATS = ["onnx", pytest.param("keras", marks=needs_tensorflow)]
Run = Callable[..., np.ndarray]
rng = np.random.default_rng(0)


@pytest.fixture(params=FORMATS)
def run(request: pytest.FixtureRequest) -> Run:
    """Write a graph of one operation, and what comes out of it."""

    def onnx(build: Callable[..., Any], shape: tuple[int, ...], *inputs: np.ndarray) -> np.ndarray:
        import onnxruntime

        from simplechrome.export.onnx_graph import ONNXGraph

        graph = ONNXGraph()
        names = [f"x{k}" for k in range(len(inputs))]
        nodes = [graph.input(n, x.shape[1:]) for n, x in zip(names, inputs, strict=True)]
        graph.output("y", build(graph, *nodes), shape)
        model = graph.model("test", {}, dict.fromkeys([*names, "y"], ""))
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return np.asarray(session.run(None, dict(zip(names, inputs, strict=True)))[0])

    def keras(build: Callable[..., Any], shape: tuple[int, ...], *inputs: np.ndarray) -> np.ndarray:
        from simplechrome.export.keras_graph import KerasGraph

        graph = KerasGraph()
        nodes = [graph.input(f"x{k}", x.shape[1:]) for k, x in enumerate(inputs)]
        graph.output("y", build(graph, *nodes), shape)
        model = graph.model("test")
        assert model.outputs[0].shape[1:] == shape
        return np.asarray(model({f"x{k}": x for k, x in enumerate(inputs)})["y"])

    return onnx if request.param == "onnx" else keras


def single(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32)


def test_functions(run: Run) -> None:
    x = single([[0, 1e-6, 0.5, 3, 60_000]])
    for name, expected in {
        "log1p": np.log1p(x.astype(float)),
        "asinh": np.arcsinh(x),
        "sqrt": np.sqrt(x),
        "relu": x,
        "clip": np.minimum(x, 1),
        "sigmoid": 1 / (1 + np.exp(-x.astype(float))),
    }.items():
        result = run(lambda graph, node, name=name: graph.function(node, name), (5,), x)
        np.testing.assert_allclose(result, expected, rtol=2e-6, err_msg=name)


def test_relu_and_leaky_relu_below_zero(run: Run) -> None:
    x = single([[-2, 0, 2]])
    assert run(lambda g, n: g.function(n, "relu"), (3,), x).tolist() == [[0, 0, 2]]
    assert run(lambda g, n: g.function(n, "clip"), (3,), x).tolist() == [[0, 0, 1]]
    assert run(lambda g, n: g.leaky_relu(n, 0.5), (3,), x).tolist() == [[-1, 0, 2]]


def test_what_is_masked_is_zero_even_where_it_is_not_a_number(run: Run) -> None:
    x, mask = single([[[1, np.nan], [2, np.inf]]]), single([[[1, 0]]])
    assert run(lambda g, a, b: g.keep(a, b), (2, 2), x, mask).tolist() == [[[1, 0], [2, 0]]]
    low = run(lambda g, a, b: g.keep(a, b, otherwise=-5.0), (2, 2), x, mask)
    assert low.tolist() == [[[1, -5], [2, -5]]]


def test_scale_and_standardize_go_along_the_last_dimension(run: Run) -> None:
    x = single([[[1, 2], [3, 4]]])
    scaled = run(lambda g, n: g.scale(n, [2.0, 10.0], [0.0, 1.0]), (2, 2), x)
    assert scaled.tolist() == [[[2, 21], [6, 41]]]
    means, deviations = np.array([1.0, 2.0]), np.array([2.0, 4.0])
    standardized = run(lambda g, n: g.standardize(n, means, deviations), (2, 2), x)
    assert standardized.tolist() == [[[0, 0], [1, 0.5]]]


def test_convolution_pads_both_sides_and_strides(run: Run) -> None:
    # Bins 1 2 3 4 5, kernel 1 10 100 with one zero on each side, every second bin:
    # bin 0: 0·1 + 1·10 + 2·100 = 210; bin 2: 2 + 30 + 400 = 432; bin 4: 4 + 50 + 0 = 54.
    x, kernel = single([[[1], [2], [3], [4], [5]]]), np.array([1.0, 10, 100]).reshape(3, 1, 1)
    result = run(
        lambda g, n: g.convolve(n, kernel, np.array([0.5]), stride=2, padding=1), (3, 1), x
    )
    assert result.ravel().tolist() == [210.5, 432.5, 54.5]


def test_max_pool_leaves_out_the_rest(run: Run) -> None:
    x = single([[[1, 9], [5, 2], [3, 3], [4, 8], [7, 7]]])
    assert run(lambda g, n: g.max_pool(n, 2), (2, 2), x).tolist() == [[[5, 9], [4, 8]]]


def test_attention_is_a_softmax_over_steps_and_a_weighted_sum(run: Run) -> None:
    scores = single([[[0.0], [np.log(3)]]])  # weights 1/4 and 3/4
    values = single([[[4, 0], [8, 4]]])
    result = run(lambda g, a, b: g.weighted_sum(g.softmax(a), b), (2,), scores, values)
    np.testing.assert_allclose(result, [[7, 3]], rtol=1e-6)


def test_lstm_is_pytorchs(run: Run) -> None:
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(2, 3, bidirectional=True, batch_first=True)
    x = single(rng.normal(size=(4, 5, 2)))
    with torch.inference_mode():
        expected = lstm(torch.from_numpy(x))[0].numpy()
    result = run(lambda g, n: bidirectional(g, n, lstm), (5, 6), x)
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_solve(run: Run) -> None:
    root = rng.normal(size=(6, 4, 4))
    matrix, right = (
        single(root @ root.transpose(0, 2, 1) + np.eye(4)),
        single(rng.normal(size=(6, 4))),
    )
    expected = np.linalg.solve(matrix.astype(float), right.astype(float)[..., np.newaxis])[..., 0]
    result = run(lambda g, a, b: g.solve(a, b, 4), (4,), matrix, right)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def stump(threshold: float, low: float, high: float) -> Tree:
    """Feature 1 at most the threshold: low; else high."""
    return Tree(
        feature=np.array([1, 0, 0]),
        threshold=single([threshold, 0, 0]),
        left=np.array([1, 0, 0]),
        right=np.array([2, 0, 0]),
        is_leaf=np.array([False, True, True]),
        missing_left=np.array([False, False, False]),
        value=single([0, low, high]),
    )


@pytest.mark.parametrize("run", ["onnx"], indirect=True)
def test_trees_are_added_and_a_value_at_the_threshold_goes_left(run: Run) -> None:
    x = single([[0, 1], [0, 2], [0, np.nextafter(np.float32(2), np.float32(3))], [0, 9]])
    trees = [stump(2.0, -1, 1), stump(5.0, 10, 20)]
    result = run(lambda g, n: g.trees(n, trees, 0.5), (1,), x)
    assert result.ravel().tolist() == [9.5, 9.5, 11.5, 21.5]


@pytest.mark.parametrize("run", FORMATS[1:], indirect=True)
def test_keras_has_no_trees_and_says_who_has(run: Run) -> None:
    with pytest.raises(ConfigError, match="--format onnx"):
        run(lambda g, n: g.trees(n, [stump(2.0, -1, 1)], 0.5), (1,), single([[0, 1]]))
