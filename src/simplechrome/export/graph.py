"""The operations that every export format knows, and PyTorch's layers in these operations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn

Node = Any
"""A result in the graph; its type is that of the format."""
Function = Literal["log1p", "asinh", "sqrt", "relu", "sigmoid", "clip"]


class LSTMWeights(NamedTuple):
    """One direction of an LSTM, gates in the order input, forget, candidate, output.

    kernel : (input, 4 × hidden)
    recurrent : (hidden, 4 × hidden)
    bias : (4 × hidden,)
    """

    kernel: np.ndarray
    recurrent: np.ndarray
    bias: np.ndarray


class Tree(NamedTuple):
    """One regression tree. A row goes left where its feature is at most the threshold.

    feature, left, right : (node,) int
    threshold, value : (node,) float32
    is_leaf, missing_left : (node,) bool
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    is_leaf: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray


class Graph(ABC):
    """A model under construction, operation by operation.

    Shapes omit the row, which is always first and of any number. Weights become float32.
    """

    @abstractmethod
    def input(self, name: str, shape: tuple[int, ...]) -> Node:
        """Add an input of this name, float32."""

    @abstractmethod
    def output(self, name: str, node: Node, shape: tuple[int, ...]) -> None:
        """Make the node an output of this name."""

    @abstractmethod
    def widen(self, x: Node) -> Node:
        """Return the same numbers, from here on in the precision that the format's trees need."""

    @abstractmethod
    def narrow(self, x: Node) -> Node:
        """Return the same numbers in single precision again."""

    @abstractmethod
    def scale(self, x: Node, factor: Any, offset: Any = 0.0) -> Node:
        """Numbers, or arrays along the last dimension: x · factor + offset."""

    @abstractmethod
    def standardize(self, x: Node, mean: np.ndarray, deviation: np.ndarray) -> Node:
        """Along the last dimension: (x - mean) / deviation."""

    @abstractmethod
    def function(self, x: Node, name: Function) -> Node:
        """Each number's function; `clip` is to between 0 and 1."""

    @abstractmethod
    def leaky_relu(self, x: Node, slope: float) -> Node:
        """x, or below 0 slope · x."""

    @abstractmethod
    def keep(self, x: Node, mask: Node, otherwise: float = 0.0) -> Node:
        """x where the mask is above 0, else the number, whatever x is there (NaN too)."""

    @abstractmethod
    def add(self, a: Node, b: Node) -> Node:
        """a + b, dimensions of size 1 repeated."""

    @abstractmethod
    def multiply(self, a: Node, b: Node) -> Node:
        """a · b, dimensions of size 1 repeated."""

    @abstractmethod
    def dense(self, x: Node, kernel: np.ndarray, bias: np.ndarray | None = None) -> Node:
        """Along the last dimension: x @ (in, out) + (out,)."""

    @abstractmethod
    def convolve(
        self, x: Node, kernel: np.ndarray, bias: np.ndarray, stride: int = 1, padding: int = 0
    ) -> Node:
        """(row, bin, in) by (width, in, out) to (row, bin, out); zeros on both sides."""

    @abstractmethod
    def max_pool(self, x: Node, size: int) -> Node:
        """(row, bin, channel): the maximum of each `size` bins in turn, without a rest."""

    @abstractmethod
    def reshape(self, x: Node, shape: tuple[int, ...]) -> Node:
        """The same numbers in another shape."""

    @abstractmethod
    def transpose(self, x: Node) -> Node:
        """(row, a, b) to (row, b, a)."""

    @abstractmethod
    def concatenate(self, nodes: list[Node], axis: int) -> Node:
        """One after the other along an axis; the row is axis 0."""

    @abstractmethod
    def softmax(self, x: Node) -> Node:
        """(row, step, 1): sums to 1 over the steps."""

    @abstractmethod
    def weighted_sum(self, weights: Node, values: Node) -> Node:
        """(row, step, 1), (row, step, width) to (row, width)."""

    @abstractmethod
    def lstm(self, x: Node, forward: LSTMWeights, backward: LSTMWeights) -> Node:
        """(row, step, input) to (row, step, 2 × hidden): both directions side by side."""

    @abstractmethod
    def solve(self, matrix: Node, right: Node, size: int) -> Node:
        """Solve matrix @ x = right: (row, k, k) positive definite, (row, k) to (row, k)."""

    @abstractmethod
    def trees(self, x: Node, trees: list[Tree], base: float) -> Node:
        """(row, feature) to (row, 1): base + the sum of all trees.

        Raises
        ------
        ConfigError
            If the format has no trees.
        """


def array_of(tensor: torch.Tensor) -> np.ndarray:
    """Return the values of a tensor."""
    return np.asarray(tensor.detach().cpu().numpy())


def linear_layer(graph: Graph, x: Node, layer: nn.Linear) -> Node:
    """Apply a linear layer along the last dimension."""
    bias = None if layer.bias is None else array_of(layer.bias)
    return graph.dense(x, array_of(layer.weight).T, bias)


def flatten_linear(graph: Graph, x: Node, layer: nn.Linear, bins: int) -> Node:
    """(row, bin, channel) through a layer that was fitted on (row, channel × bin)."""
    weight = array_of(layer.weight)
    channels = weight.shape[1] // bins
    kernel = weight.reshape(-1, channels, bins).transpose(2, 1, 0).reshape(bins * channels, -1)
    return graph.dense(graph.reshape(x, (bins * channels,)), kernel, array_of(layer.bias))


def convolution_layer(graph: Graph, x: Node, layer: nn.Conv2d | nn.Conv1d) -> Node:
    """Convolve along the bins; two-dimensional layers have a height of 1."""
    weight = array_of(layer.weight).reshape(*layer.weight.shape[:2], -1)  # (out, in, width)
    return graph.convolve(
        x,
        weight.transpose(2, 1, 0),
        np.zeros(len(weight)) if layer.bias is None else array_of(layer.bias),
        stride=layer.stride[-1],
        padding=int(layer.padding[-1]),
    )


def layers_in_turn(graph: Graph, x: Node, layers: Iterable[nn.Module]) -> Node:
    """Apply layers one after the other; those that only train do nothing."""
    from torch import nn

    for layer in layers:
        if isinstance(layer, nn.Linear):
            x = linear_layer(graph, x, layer)
        elif isinstance(layer, nn.Conv2d):
            x = convolution_layer(graph, x, layer)
        elif isinstance(layer, nn.LeakyReLU):
            x = graph.leaky_relu(x, layer.negative_slope)
        elif isinstance(layer, nn.ReLU):
            x = graph.function(x, "relu")
    return x


def bins_after(bins: int, layers: Iterable[nn.Module]) -> int:
    """Return the number of bins after these convolutions."""
    from torch import nn

    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            unused = layer.kernel_size[-1] - 2 * int(layer.padding[-1])
            bins = (bins - unused) // layer.stride[-1] + 1
    return bins


def bidirectional(graph: Graph, x: Node, layer: nn.LSTM) -> Node:
    """(row, step, input) to (row, step, 2 × hidden), one layer, both directions."""
    directions = []
    for suffix in ("", "_reverse"):
        of = {
            name: array_of(getattr(layer, f"{name}_l0{suffix}"))
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        bias = of["bias_ih"] + of["bias_hh"]
        directions.append(LSTMWeights(of["weight_ih"].T, of["weight_hh"].T, bias))
    return graph.lstm(x, *directions)
