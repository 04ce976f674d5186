"""Each encoder in a graph: counts and present marks to latents, the transform included.

Functions below are named as `exporter` in the classes of encoders.
"""

from __future__ import annotations

import pkgutil
from itertools import product
from typing import Any

import numpy as np

from simplechrome.dataset.transforms.tracks import PSEUDO_SHARE, SMOOTHING
from simplechrome.errors import ConfigError
from simplechrome.export.graph import (
    Function,
    Graph,
    Node,
    bins_after,
    convolution_layer,
    flatten_linear,
    layers_in_turn,
    linear_layer,
)
from simplechrome.latent.consensus.encoder import COMPONENT_LENGTH, SHARED_LENGTH
from simplechrome.latent.consensus.shared_components import MOST, PAIRED
from simplechrome.latent.encoder import Encoder

_FUNCTIONS: dict[str, Function] = {"log1p": "log1p", "asinh": "asinh", "sqrt": "sqrt"}
_MOST_MARKS = 6  # of a consensus encoder: sets of marks double with each


def encode(graph: Graph, encoder: Encoder, signal: Node, present: Node) -> Node:
    """Add an encoder to the graph; return its latents (or the transformed window).

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
        If the encoder's class has no form in this format.
    """
    place = vars(type(encoder)).get("exporter")  # not inherited: a subclass may differ
    if not place:
        raise ConfigError(
            f"The encoder {type(encoder).__name__} cannot be exported.",
            "fit an encoder that can, as consensus or pca; or name an `exporter` in its class",
        )
    node: Node = pkgutil.resolve_name(place)(graph, encoder, signal, present)
    return node


def _transform(graph: Graph, transform: Any, signal: Node, present: Node) -> Node:
    """Apply `SignalTransform.transform` to (row, bin, mark)."""
    marks = len(transform.marks_)
    mask = graph.reshape(present, (1, marks))
    # First of all: the values of missing marks may be anything.
    values = graph.keep(signal, mask)
    if transform.function in _FUNCTIONS:
        values = graph.function(values, _FUNCTIONS[transform.function])
    if transform.mean_.any() or (transform.scale_ != 1).any():
        values = graph.standardize(values, transform.mean_, transform.scale_)
    values = graph.multiply(values, mask)
    if not transform.fill_.any():
        return values
    return graph.add(values, graph.scale(mask, -transform.fill_, transform.fill_))


def raw_window(graph: Graph, encoder: Any, signal: Node, present: Node) -> Node:
    """Add the transformed window."""
    return _transform(graph, encoder.transform_, signal, present)


def log_means(graph: Graph, encoder: Any, signal: Node, present: Node) -> Node:
    """Add log means of the marks."""
    values = _transform(graph, encoder.transform_, signal, present)
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


def pca(graph: Graph, encoder: Any, signal: Node, present: Node) -> Node:
    """Add principal components."""
    values = _transform(graph, encoder.transform_, signal, present)
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


def vae(graph: Graph, encoder: Any, signal: Node, present: Node) -> Node:
    """Add the encoding half of a variational autoencoder."""
    values = _transform(graph, encoder.transform_, signal, present)
    module, bins, marks = encoder.module_, encoder.bin_start_.size, len(encoder.marks_)
    features = convolution_layer(graph, values, module.first)
    absent = linear_layer(graph, graph.scale(present, -1.0, 1.0), module.missing)
    features = graph.add(features, graph.reshape(absent, (1, module.first.out_channels)))
    features = layers_in_turn(graph, features, module.convolutions)
    bins_left = bins_after(bins, [module.first, *module.convolutions])
    features = flatten_linear(graph, features, module.narrow[0], bins_left)
    features = layers_in_turn(graph, features, module.narrow[1:])
    correction = linear_layer(graph, features, module.posterior_mean)
    whole = linear_layer(graph, graph.reshape(values, (bins * marks,)), module.linear_in)
    return _scale_latents(graph, encoder, graph.add(whole, correction))


def paper_vae(graph: Graph, encoder: Any, signal: Node, present: Node) -> Node:
    """Add the encoding half of the paper's autoencoder."""
    values = _transform(graph, encoder.transform_, signal, present)
    module = encoder.module_
    features = layers_in_turn(graph, values, module.down)
    bins_left = bins_after(encoder.bin_start_.size, module.down)
    both = flatten_linear(graph, features, module.posterior, bins_left)
    means = np.eye(2 * module.n_latent, module.n_latent)  # without the log variances
    return _scale_latents(graph, encoder, graph.dense(both, means))


def _scale_latents(graph: Graph, encoder: Any, means: Node) -> Node:
    return graph.dense(means, encoder.map_, -encoder.center_ @ encoder.map_)


def with_log_means(graph: Graph, encoder: Any, signal: Node, present: Node) -> Node:
    """Add latents and log means, concatenated."""
    parts = (encoder.encoder_, encoder.log_means_)
    return graph.concatenate([encode(graph, part, signal, present) for part in parts], axis=1)


def consensus(graph: Graph, encoder: Any, signal: Node, present: Node) -> Node:
    """Add a consensus encoder: a linear map for each set of marks, and what follows it.

    The graph has no cell types: each track is on the mean scale of its mark, as those of cell
    types that are new to the encoder.

    Raises
    ------
    ConfigError
        If there are too many marks to list every set of them.
    """
    bins, marks = encoder.bin_start_.size, len(encoder.marks_)
    if marks > _MOST_MARKS:
        raise ConfigError(
            f"A consensus encoder of {marks} marks cannot be exported, only one of {_MOST_MARKS} "
            "or fewer: each set of present marks has weights of its own.",
            "fit with some of the marks (--mark), or with --encoder vae",
        )
    values = _track_transform(graph, encoder, signal, present)
    patterns = [np.asarray(pattern) for pattern in product((False, True), repeat=marks)]
    chosen = _which(graph, present, patterns)
    n = max(encoder.n_components_, len(encoder.direction_.weights))
    scale = np.sqrt(encoder.pooled_.variance_[0])
    maps = [encoder.pooled_.map_to(n, pattern, bins) / scale for pattern in patterns]
    flat = graph.reshape(values, (bins * marks,))
    every = graph.dense(flat, np.concatenate(maps, axis=1))
    components = _choose(graph, every, chosen, n, len(patterns))
    weights = np.zeros((n, 1))
    weights[: len(encoder.direction_.weights), 0] = encoder.direction_.weights
    activity = graph.dense(components, weights, np.array([-encoder.direction_.center]))
    kept = np.eye(n, encoder.n_components_)
    own = graph.dense(components, kept)
    parts = [activity]
    if encoder.n_shared_:
        shared = _shared(graph, encoder, own, patterns)
        parts.append(_choose(graph, shared, chosen, encoder.n_shared_, len(patterns)))
    latents = graph.concatenate([*parts, graph.scale(own, COMPONENT_LENGTH)], axis=1)
    if encoder.label_weights_ is None:
        return latents
    first = graph.dense(latents, encoder.label_weights_[:, np.newaxis])
    return graph.concatenate([first, latents], axis=1)


def _track_transform(graph: Graph, encoder: Any, signal: Node, present: Node) -> Node:
    """Apply `TrackTransform.transform` to (row, bin, mark)."""
    from scipy.ndimage import gaussian_filter1d

    bins, marks = encoder.bin_start_.size, len(encoder.marks_)
    scales = [encoder.transform_.scale_of("", mark) for mark in encoder.marks_]
    mask = graph.reshape(present, (1, marks))
    values = graph.keep(signal, mask)
    kernel = gaussian_filter1d(np.eye(bins), SMOOTHING, axis=1, mode="nearest")
    rate = graph.transpose(graph.dense(graph.transpose(values), kernel))
    pseudo = np.asarray([PSEUDO_SHARE * level for level, _, _ in scales])
    rate = graph.scale(rate, 1 / np.where(pseudo > 0, pseudo, 1.0))
    levels = graph.reshape(graph.function(rate, "log1p"), (bins * marks,))
    profile = np.stack([profile for _, profile, _ in scales], axis=1).ravel()
    spread = np.tile([spread for _, _, spread in scales], bins)
    seen = graph.reshape(graph.standardize(levels, profile, spread), (bins, marks))
    return graph.multiply(seen, mask)


def _which(graph: Graph, present: Node, patterns: list[np.ndarray]) -> Node:
    """(row, pattern): 1 for the set of present marks, 0 for all others."""
    signs = np.stack([np.where(pattern, 1.0, -1.0) for pattern in patterns], axis=1)
    # The number of marks that agree with the pattern, less all but one: 1 where all do, else <= 0.
    bias = np.asarray([(~pattern).sum() - (len(pattern) - 1.0) for pattern in patterns])
    return graph.function(graph.dense(present, signs, bias), "clip")


def _choose(graph: Graph, values: Node, chosen: Node, width: int, count: int) -> Node:
    """(row, pattern × width) to (row, width), those of the present pattern."""
    repeated = graph.dense(chosen, np.repeat(np.eye(count), width, axis=1))
    return graph.dense(graph.multiply(values, repeated), np.tile(np.eye(width), (count, 1)))


def _shared(graph: Graph, encoder: Any, own: Node, patterns: list[np.ndarray]) -> Node:
    """(row, pattern × shared): shared components by the map of each set of marks."""
    scale = encoder.shared_.maps[()].scale
    z = graph.scale(own, 1 / scale)
    first, second = np.triu_indices(min(PAIRED, len(scale)))
    unit = np.eye(len(scale))
    products = graph.multiply(graph.dense(z, unit[:, first]), graph.dense(z, unit[:, second]))
    # The graph clips to between 0 and 1.
    fractions = graph.function(graph.scale(products, 0.5 / MOST, 0.5), "clip")
    clipped = graph.scale(fractions, 2 * MOST, -MOST)
    features = graph.concatenate([z, clipped], axis=1)
    axes = encoder.shared_.axes * SHARED_LENGTH
    maps = [encoder.shared_.of(pattern) for pattern in patterns]
    kernel = np.concatenate([map_.weights_ @ axes for map_ in maps], axis=1)
    return graph.dense(features, kernel, np.concatenate([m.intercept_ @ axes for m in maps]))
