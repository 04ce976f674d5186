"""The operations that every export format knows: each model is written once, in these."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple

import numpy as np

Node = Any
"""A result in the graph; what it is is the format's own business."""
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
    """A model as it is written down, operation by operation.

    Shapes leave out the row, which is always first and of any number. Weights become float32.
    """

    @abstractmethod
    def input(self, name: str, shape: tuple[int, ...]) -> Node:
        """What is fed under this name, float32."""

    @abstractmethod
    def output(self, name: str, node: Node, shape: tuple[int, ...]) -> None:
        """Let the node come out under this name."""

    @abstractmethod
    def widen(self, x: Node) -> Node:
        """The same numbers, from here on with all digits that the format's trees want."""

    @abstractmethod
    def narrow(self, x: Node) -> Node:
        """The same numbers in single precision again."""

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
        """Which x has matrix @ x = right? (row, k, k) positive definite, (row, k) to (row, k)."""

    @abstractmethod
    def trees(self, x: Node, trees: list[Tree], base: float) -> Node:
        """(row, feature) to (row, 1): base + the sum of all trees.

        Raises
        ------
        ConfigError
            If the format has no trees.
        """
