"""Each encoder in a graph: counts and present marks to latents, the transform included."""

from __future__ import annotations

from typing import Any

import numpy as np

from simplechrome.errors import ConfigError
from simplechrome.export.consensus import consensus
from simplechrome.export.graph import Function, Graph, Node
from simplechrome.latent.encoder import Encoder

_FUNCTIONS: dict[str, Function] = {"log1p": "log1p", "asinh": "asinh", "sqrt": "sqrt"}


def encode(graph: Graph, encoder: Encoder, signal: Node, present: Node) -> Node:
    """Which latents (or which transformed window) do these counts become?

    Parameters
    ----------
    graph
        The operations are added to it.
    encoder
        Fitted.
    signal : (row, bin, mark), in the dataset's units
    present : (row, mark), 1 where the mark was assayed, else 0

    Returns
    -------
    (row, latent), or (row, bin, mark) of `RawWindow`.

    Raises
    ------
    ConfigError
        If the encoder's class is not known here.
    """
    name = type(encoder).__name__
    if name == "WithLogMeans":
        parts: Any = encoder
        latents = [
            encode(graph, part, signal, present) for part in (parts.encoder_, parts.log_means_)
        ]
        return graph.concatenate(latents, axis=1)
    # By name: a subclass may compute something else.
    if name == "ConsensusEncoder":
        return consensus(graph, encoder, signal, present)
    if name not in _ENCODERS:
        raise ConfigError(
            f"The encoder {name} cannot be exported.",
            found=name,
            expected=", ".join([*_ENCODERS, "ConsensusEncoder", "WithLogMeans"]),
        )
    values = _transform(graph, encoder.transform_, signal, present)
    return _ENCODERS[name](graph, encoder, values, present)


def _transform(graph: Graph, transform: Any, signal: Node, present: Node) -> Node:
    """Apply `SignalTransform.transform` to (row, bin, mark)."""
    marks = len(transform.marks_)
    mask = graph.reshape(present, (1, marks))
    # First of all: what stands where a mark is missing may be anything.
    values = graph.keep(signal, mask)
    if transform.function in _FUNCTIONS:
        values = graph.function(values, _FUNCTIONS[transform.function])
    if transform.mean_.any() or (transform.scale_ != 1).any():
        values = graph.standardize(values, transform.mean_, transform.scale_)
    values = graph.multiply(values, mask)
    if not transform.fill_.any():
        return values
    return graph.add(values, graph.scale(mask, -transform.fill_, transform.fill_))


def _raw_window(graph: Graph, encoder: Any, values: Node, present: Node) -> Node:
    return values


def _log_means(graph: Graph, encoder: Any, values: Node, present: Node) -> Node:
    bins, marks, regions = encoder.bin_start_.size, len(encoder.marks_), encoder.n_regions
    edges = np.linspace(0, bins, regions + 1).round().astype(int)
    at = np.arange(bins)[:, np.newaxis]
    averages = (at >= edges[:-1]) & (at < edges[1:])  # (bin, region)
    by_mark = graph.widen(graph.transpose(values))
    means = graph.dense(by_mark, averages / averages.sum(axis=0))
    levels = graph.function(graph.transpose(means), "log1p")  # (row, region, mark)
    levels = graph.reshape(levels, (regions * marks,))
    levels = graph.narrow(graph.standardize(levels, encoder.mean_, encoder.scale_))
    return graph.multiply(levels, graph.concatenate([present] * regions, axis=1))


def _pca(graph: Graph, encoder: Any, values: Node, present: Node) -> Node:
    bins, marks, k = encoder.bin_start_.size, len(encoder.marks_), len(encoder.components_)
    mask = graph.reshape(present, (1, marks))
    mean = encoder.mean_.reshape(bins, marks)
    centered = graph.reshape(graph.multiply(_minus(graph, values, mean), mask), (bins * marks,))
    projected = graph.dense(centered, encoder.components_.T)
    # With missing marks: least squares on what is there, with the discarded variance as ridge.
    # Its matrix is the sum of what each present mark adds to it.
    by_mark = encoder.components_.reshape(k, bins, marks)
    products = np.einsum("kbm,lbm->mkl", by_mark, by_mark).reshape(marks, k * k)
    ridge = encoder.noise_variance_ / np.maximum(encoder.explained_variance_, 1e-12) + 1e-9
    matrix = graph.dense(present, products, np.diag(ridge).ravel())
    fitted = graph.solve(graph.reshape(matrix, (k, k)), projected, k)
    # 1 where all marks are there, else 0: the sum of the mask is then a whole number below.
    whole = graph.function(
        graph.dense(present, np.ones((marks, 1)), np.array([1.0 - marks])), "clip"
    )
    some = graph.multiply(fitted, graph.scale(whole, -1.0, 1.0))
    latents = graph.add(graph.multiply(projected, whole), some)
    return graph.scale(latents, 1 / encoder.scale_)


def _minus(graph: Graph, values: Node, mean: np.ndarray) -> Node:
    """(row, bin, mark) minus (bin, mark)."""
    flat = graph.reshape(values, (mean.size,))
    return graph.reshape(graph.scale(flat, 1.0, -mean.ravel()), mean.shape)


def _vae(graph: Graph, encoder: Any, values: Node, present: Node) -> Node:
    from simplechrome.export import layers

    module, bins, marks = encoder.module_, encoder.bin_start_.size, len(encoder.marks_)
    features = layers.convolution(graph, values, module.first)
    absent = layers.linear(graph, graph.scale(present, -1.0, 1.0), module.missing)
    features = graph.add(features, graph.reshape(absent, (1, module.first.out_channels)))
    features = layers.in_turn(graph, features, module.convolutions)
    bins_left = layers.bins_after(bins, [module.first, *module.convolutions])
    features = layers.flatten_linear(graph, features, module.narrow[0], bins_left)
    features = layers.in_turn(graph, features, module.narrow[1:])
    correction = layers.linear(graph, features, module.posterior_mean)
    whole = layers.linear(graph, graph.reshape(values, (bins * marks,)), module.linear_in)
    return _natural_scale(graph, encoder, graph.add(whole, correction))


def _paper_vae(graph: Graph, encoder: Any, values: Node, present: Node) -> Node:
    from simplechrome.export import layers

    module = encoder.module_
    features = layers.in_turn(graph, values, module.down)
    bins_left = layers.bins_after(encoder.bin_start_.size, module.down)
    both = layers.flatten_linear(graph, features, module.posterior, bins_left)
    means = np.eye(2 * module.n_latent, module.n_latent)  # the log variances are left out
    return _natural_scale(graph, encoder, graph.dense(both, means))


def _natural_scale(graph: Graph, encoder: Any, means: Node) -> Node:
    return graph.dense(means, encoder.map_, -encoder.center_ @ encoder.map_)


_ENCODERS = {
    "LogMeans": _log_means,
    "PCA": _pca,
    "PaperVAE": _paper_vae,
    "RawWindow": _raw_window,
    "VAE": _vae,
}
