"""The graph as ONNX, in operators that runtimes have had for years."""

# ruff: noqa: D102 - `Graph` documents the operations

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from simplechrome.export.graph import Function, Graph, LSTMWeights, Node, Tree

OPERATORS, TREE_OPERATORS, FILE_VERSION = 17, 3, 8
"""Versions of ONNX's operators, of those for trees, and of the file, as of 2022."""

_FUNCTIONS = {"asinh": "Asinh", "sqrt": "Sqrt", "relu": "Relu", "sigmoid": "Sigmoid"}


class ONNXGraph(Graph):
    """A graph whose nodes are names."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._wide: set[Node] = set()  # nodes in double precision
        self._has_trees = False

    def model(self, name: str, about: dict[str, str], docs: dict[str, str]) -> Any:
        """Return everything from the inputs to the outputs as `onnx.ModelProto`, checked.

        Parameters
        ----------
        name
            Of the graph.
        about
            Metadata of the file.
        docs
            What each input and output is.
        """
        for value in (*self._inputs, *self._outputs):
            value.doc_string = docs[value.name]
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._weights)
        versions = [helper.make_opsetid("", OPERATORS)]
        if self._has_trees:
            versions.append(helper.make_opsetid("ai.onnx.ml", TREE_OPERATORS))
        model = helper.make_model(
            graph, opset_imports=versions, ir_version=FILE_VERSION, producer_name="simplechrome"
        )
        helper.set_model_props(model, about)
        onnx.checker.check_model(model, full_check=True)
        return onnx.shape_inference.infer_shapes(model)

    def _do(self, operator: str, *inputs: Node, **attributes: Any) -> Node:
        name = f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        if any(each in self._wide for each in inputs):
            self._wide.add(name)
        return name

    def _like(self, x: Node, values: Any) -> Node:
        """A constant of the precision that x has."""
        return self._constant(values, np.float64 if x in self._wide else np.float32)

    def _constant(self, values: Any, dtype: Any = np.float32) -> Node:
        name = f"weight_{len(self._weights)}"
        array = np.ascontiguousarray(np.asarray(values, dtype))
        # `ascontiguousarray` makes a number an array of one; ONNX tells the two apart.
        self._weights.append(numpy_helper.from_array(array.reshape(np.shape(values)), name))
        return name

    def input(self, name: str, shape: tuple[int, ...]) -> Node:
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["row", *shape])
        self._inputs.append(value)
        return name

    def output(self, name: str, node: Node, shape: tuple[int, ...]) -> None:
        self._nodes.append(helper.make_node("Identity", [node], [name], name=name))
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["row", *shape])
        self._outputs.append(value)

    def widen(self, x: Node) -> Node:
        """Return the same numbers in double precision.

        Trees have thresholds that are values of the training genes: for them the last bit counts.
        """
        wide = self._do("Cast", x, to=TensorProto.DOUBLE)
        self._wide.add(wide)
        return wide

    def narrow(self, x: Node) -> Node:
        narrow = self._do("Cast", x, to=TensorProto.FLOAT)
        self._wide.discard(narrow)
        return narrow

    def scale(self, x: Node, factor: Any, offset: Any = 0.0) -> Node:
        if np.any(np.asarray(factor) != 1):
            x = self._do("Mul", x, self._constant(factor))
        if np.any(np.asarray(offset) != 0):
            x = self._do("Add", x, self._constant(offset))
        return x

    def standardize(self, x: Node, mean: np.ndarray, deviation: np.ndarray) -> Node:
        # The operations of the transforms and no others, for the sake of the last bit.
        centered = self._do("Sub", x, self._like(x, mean))
        return self._do("Div", centered, self._like(x, deviation))

    def function(self, x: Node, name: Function) -> Node:
        if name == "log1p":
            # ONNX has no log1p. In single precision 1 + x would round.
            wide = x if x in self._wide else self.widen(x)
            levels = self._do("Log", self._do("Add", wide, self._like(wide, 1.0)))
            return levels if x in self._wide else self.narrow(levels)
        if name == "clip":
            return self._do("Clip", x, self._constant(0.0), self._constant(1.0))
        return self._do(_FUNCTIONS[name], x)

    def leaky_relu(self, x: Node, slope: float) -> Node:
        return self._do("LeakyRelu", x, alpha=slope)

    def keep(self, x: Node, mask: Node, otherwise: float = 0.0) -> Node:
        is_there = self._do("Greater", mask, self._constant(0.0))
        return self._do("Where", is_there, x, self._constant(otherwise))

    def add(self, a: Node, b: Node) -> Node:
        return self._do("Add", a, b)

    def multiply(self, a: Node, b: Node) -> Node:
        return self._do("Mul", a, b)

    def dense(self, x: Node, kernel: np.ndarray, bias: np.ndarray | None = None) -> Node:
        product = self._do("MatMul", x, self._like(x, kernel))
        return product if bias is None else self._do("Add", product, self._like(x, bias))

    def convolve(
        self, x: Node, kernel: np.ndarray, bias: np.ndarray, stride: int = 1, padding: int = 0
    ) -> Node:
        weights = self._constant(kernel.transpose(2, 1, 0)), self._constant(bias)
        levels = self._do(
            "Conv", self.transpose(x), *weights, strides=[stride], pads=[padding, padding]
        )
        return self.transpose(levels)

    def max_pool(self, x: Node, size: int) -> Node:
        largest = self._do("MaxPool", self.transpose(x), kernel_shape=[size], strides=[size])
        return self.transpose(largest)

    def reshape(self, x: Node, shape: tuple[int, ...]) -> Node:
        return self._do("Reshape", x, self._constant((-1, *shape), np.int64))

    def transpose(self, x: Node) -> Node:
        return self._do("Transpose", x, perm=[0, 2, 1])

    def concatenate(self, nodes: list[Node], axis: int) -> Node:
        return self._do("Concat", *nodes, axis=axis)

    def softmax(self, x: Node) -> Node:
        return self._do("Softmax", x, axis=1)

    def weighted_sum(self, weights: Node, values: Node) -> Node:
        total = self._do("MatMul", self.transpose(weights), values)
        return self._do("Squeeze", total, self._constant([1], np.int64))

    def lstm(self, x: Node, forward: LSTMWeights, backward: LSTMWeights) -> Node:
        hidden = len(forward.recurrent)

        def order(weights: np.ndarray) -> np.ndarray:
            """(…, 4 × hidden) to (4 × hidden, …), gates as ONNX has them."""
            into, forget, candidate, out = np.split(weights, 4, axis=-1)
            return np.concatenate([into, out, forget, candidate], axis=-1).T

        kernels, recurrents, biases = (
            np.stack([order(part) for part in parts])
            for parts in zip(forward, backward, strict=True)
        )
        biases = np.concatenate([biases, np.zeros_like(biases)], axis=1)
        weights = [self._constant(values) for values in (kernels, recurrents, biases)]
        steps = self._do("Transpose", x, perm=[1, 0, 2])
        both = self._do("LSTM", steps, *weights, direction="bidirectional", hidden_size=hidden)
        by_row = self._do("Transpose", both, perm=[2, 0, 1, 3])  # from (step, way, row, hidden)
        return self._do("Reshape", by_row, self._constant((0, 0, 2 * hidden), np.int64))

    def solve(self, matrix: Node, right: Node, size: int) -> Node:
        """Solve matrix @ x = right: (row, k, k) positive definite, (row, k) to (row, k).

        ONNX has no solver; this is Gauss-Jordan elimination in double precision, without pivoting,
        as the matrix is positive definite.
        """
        column = self.reshape(right, (size, 1))
        parts = [self.widen(matrix), self.widen(column)]
        both = self._do("Concat", *parts, axis=2)
        for k, unit in enumerate(np.eye(size)[:, :, np.newaxis]):
            at = self._constant([k], np.int64)
            row, column = (self._do("Gather", both, at, axis=axis) for axis in (1, 2))
            row = self._do("Div", row, self._do("Gather", row, at, axis=2))
            factors = self._do("Sub", column, self._like(column, unit))
            both = self._do("Sub", both, self._do("Mul", factors, row))
        return self.narrow(self._do("Gather", both, self._constant(size, np.int64), axis=2))

    def trees(self, x: Node, trees: list[Tree], base: float) -> Node:
        self._has_trees = True
        sizes = [len(tree.feature) for tree in trees]
        number = np.repeat(np.arange(len(trees)), sizes)
        at = np.concatenate([np.arange(size) for size in sizes])
        every = Tree(*(np.concatenate(parts) for parts in zip(*trees, strict=True)))
        leaf = every.is_leaf
        return self._do(
            "TreeEnsembleRegressor",
            x,
            domain="ai.onnx.ml",
            n_targets=1,
            aggregate_function="SUM",
            post_transform="NONE",
            base_values=[base],
            nodes_treeids=number.tolist(),
            nodes_nodeids=at.tolist(),
            nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
            nodes_featureids=np.where(leaf, 0, every.feature).tolist(),
            nodes_values=np.where(leaf, 0, every.threshold).tolist(),
            nodes_truenodeids=np.where(leaf, 0, every.left).tolist(),
            nodes_falsenodeids=np.where(leaf, 0, every.right).tolist(),
            nodes_missing_value_tracks_true=(~leaf & every.missing_left).astype(int).tolist(),
            target_treeids=number[leaf].tolist(),
            target_nodeids=at[leaf].tolist(),
            target_ids=[0] * int(leaf.sum()),
            target_weights=every.value[leaf].tolist(),
        )
