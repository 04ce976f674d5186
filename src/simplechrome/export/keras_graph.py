"""The graph as a Keras model of standard layers and Keras's own operations.

It has no code of this package, so that a saved model loads in safe mode wherever Keras is.
"""

# ruff: noqa: D102 - `Graph` documents the operations

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from simplechrome.errors import ConfigError
from simplechrome.export.graph import Function, Graph, LSTMWeights, Node, Tree

_FUNCTIONS = {"log1p": ops.log1p, "asinh": ops.arcsinh, "sqrt": ops.sqrt}
_LAST = "channels_last"  # whatever the user's own configuration of Keras says


class KerasGraph(Graph):
    """A functional model whose inputs and outputs go by name."""

    def __init__(self) -> None:
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}
        self._weights: list[tuple[Any, list[np.ndarray]]] = []

    def model(self, name: str) -> Any:
        """Return everything from the inputs to the outputs as `keras.Model`."""
        model = keras.Model(self.inputs, self.outputs, name=name)
        for layer, weights in self._weights:
            layer.set_weights([np.asarray(weight, np.float32) for weight in weights])
        return model

    def _with_weights(self, layer: Any, x: Node, *weights: np.ndarray) -> Node:
        self._weights.append((layer, list(weights)))
        return layer(x)

    def input(self, name: str, shape: tuple[int, ...]) -> Node:
        self.inputs[name] = keras.Input(shape, name=name, dtype="float32")
        return self.inputs[name]

    def output(self, name: str, node: Node, shape: tuple[int, ...]) -> None:
        self.outputs[name] = node

    def widen(self, x: Node) -> Node:
        """Return the node itself: Keras has no trees, and all else needs no more digits."""
        return x

    def narrow(self, x: Node) -> Node:
        """Return the node itself."""
        return x

    def scale(self, x: Node, factor: Any, offset: Any = 0.0) -> Node:
        return layers.Rescaling(_plain(factor), _plain(offset))(x)

    def standardize(self, x: Node, mean: np.ndarray, deviation: np.ndarray) -> Node:
        return self.scale(self.scale(x, 1.0, -np.asarray(mean)), 1 / np.asarray(deviation))

    def function(self, x: Node, name: Function) -> Node:
        if name == "clip":
            return layers.ReLU(max_value=1.0)(x)
        if name in ("relu", "sigmoid"):
            return layers.Activation(name)(x)
        return _FUNCTIONS[name](x)

    def leaky_relu(self, x: Node, slope: float) -> Node:
        return layers.LeakyReLU(negative_slope=slope)(x)

    def keep(self, x: Node, mask: Node, otherwise: float = 0.0) -> Node:
        return ops.where(ops.greater(mask, 0.0), x, otherwise)

    def add(self, a: Node, b: Node) -> Node:
        return layers.Add()([a, b])

    def multiply(self, a: Node, b: Node) -> Node:
        return layers.Multiply()([a, b])

    def dense(self, x: Node, kernel: np.ndarray, bias: np.ndarray | None = None) -> Node:
        layer = layers.Dense(kernel.shape[1], use_bias=bias is not None)
        return self._with_weights(layer, x, kernel, *([] if bias is None else [bias]))

    def convolve(
        self, x: Node, kernel: np.ndarray, bias: np.ndarray, stride: int = 1, padding: int = 0
    ) -> Node:
        if padding:
            x = layers.ZeroPadding1D(padding, data_format=_LAST)(x)
        width, _, filters = kernel.shape
        layer = layers.Conv1D(filters, width, strides=stride, data_format=_LAST)
        return self._with_weights(layer, x, kernel, bias)

    def max_pool(self, x: Node, size: int) -> Node:
        return layers.MaxPooling1D(size, data_format=_LAST)(x)

    def reshape(self, x: Node, shape: tuple[int, ...]) -> Node:
        return layers.Reshape(shape)(x)

    def transpose(self, x: Node) -> Node:
        return layers.Permute((2, 1))(x)

    def concatenate(self, nodes: list[Node], axis: int) -> Node:
        return layers.Concatenate(axis=axis)(nodes) if len(nodes) > 1 else nodes[0]

    def softmax(self, x: Node) -> Node:
        return layers.Softmax(axis=1)(x)

    def weighted_sum(self, weights: Node, values: Node) -> Node:
        return layers.Flatten(data_format=_LAST)(layers.Dot(axes=1)([weights, values]))

    def lstm(self, x: Node, forward: LSTMWeights, backward: LSTMWeights) -> Node:
        layer = layers.Bidirectional(layers.LSTM(len(forward.recurrent), return_sequences=True))
        return self._with_weights(layer, x, *forward, *backward)

    def solve(self, matrix: Node, right: Node, size: int) -> Node:
        exact = ops.solve(ops.cast(matrix, "float64"), ops.cast(right, "float64"))
        return ops.cast(exact, "float32")

    def trees(self, x: Node, trees: list[Tree], base: float) -> Node:
        """Raise: Keras has no trees."""
        raise ConfigError(
            "Keras has no layer for the trees of BoostingPredictor.",
            "export with --format onnx, which has trees",
        )


def _plain(value: Any) -> Any:
    """Lists and numbers, which Keras can keep in its JSON."""
    return np.asarray(value, np.float32).tolist()
