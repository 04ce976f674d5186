"""PyTorch's layers in a graph, where windows are (row, bin, channel)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from simplechrome.export.graph import Graph, LSTMWeights, Node


def numbers(tensor: torch.Tensor) -> np.ndarray:
    """What does the tensor hold?"""
    return np.asarray(tensor.detach().cpu().numpy())


def linear(graph: Graph, x: Node, layer: nn.Linear) -> Node:
    """Apply a linear layer along the last dimension."""
    bias = None if layer.bias is None else numbers(layer.bias)
    return graph.dense(x, numbers(layer.weight).T, bias)


def flatten_linear(graph: Graph, x: Node, layer: nn.Linear, bins: int) -> Node:
    """(row, bin, channel) through a layer that was fitted on (row, channel × bin)."""
    weight = numbers(layer.weight)
    channels = weight.shape[1] // bins
    kernel = weight.reshape(-1, channels, bins).transpose(2, 1, 0).reshape(bins * channels, -1)
    return graph.dense(graph.reshape(x, (bins * channels,)), kernel, numbers(layer.bias))


def convolution(graph: Graph, x: Node, layer: nn.Conv2d | nn.Conv1d) -> Node:
    """Convolve along the bins; two-dimensional layers have a height of 1."""
    weight = numbers(layer.weight).reshape(*layer.weight.shape[:2], -1)  # (out, in, width)
    return graph.convolve(
        x,
        weight.transpose(2, 1, 0),
        np.zeros(len(weight)) if layer.bias is None else numbers(layer.bias),
        stride=layer.stride[-1],
        padding=int(layer.padding[-1]),
    )


def in_turn(graph: Graph, x: Node, layers: Iterable[nn.Module]) -> Node:
    """Apply layers one after the other; those that only train do nothing."""
    for layer in layers:
        if isinstance(layer, nn.Linear):
            x = linear(graph, x, layer)
        elif isinstance(layer, nn.Conv2d):
            x = convolution(graph, x, layer)
        elif isinstance(layer, nn.LeakyReLU):
            x = graph.leaky_relu(x, layer.negative_slope)
        elif isinstance(layer, nn.ReLU):
            x = graph.function(x, "relu")
    return x


def bins_after(bins: int, layers: Iterable[nn.Module]) -> int:
    """How many bins do these convolutions leave?"""
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
            name: numbers(getattr(layer, f"{name}_l0{suffix}"))
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        bias = of["bias_ih"] + of["bias_hh"]
        directions.append(LSTMWeights(of["weight_ih"].T, of["weight_hh"].T, bias))
    return graph.lstm(x, *directions)
