"""The consensus encoder in a graph: a linear map for each set of marks, and what follows it."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from simplechrome.dataset.transforms.tracks import PSEUDO_SHARE, SMOOTHING
from simplechrome.errors import ConfigError
from simplechrome.export.graph import Graph, Node
from simplechrome.latent.consensus.encoder import COMPONENT_LENGTH, SHARED_LENGTH
from simplechrome.latent.consensus.shared_components import MOST, PAIRED

_MOST_MARKS = 6  # sets of marks double with each


def consensus(graph: Graph, encoder: Any, signal: Node, present: Node) -> Node:
    """Counts (row, bin, mark) and present marks (row, mark) to (row, latent).

    There is no cell type in the graph: each track is seen on the mean scale of its mark, as those
    of cell types that the encoder does not know.

    Raises
    ------
    ConfigError
        If there are too many marks to write down every set of them.
    """
    bins, marks = encoder.bin_start_.size, len(encoder.marks_)
    if marks > _MOST_MARKS:
        raise ConfigError(
            "A consensus encoder of so many marks cannot be exported.",
            found=f"{marks} marks",
            expected=f"at most {_MOST_MARKS}",
            cause="each set of marks that may be there has weights of its own",
            remedy="fit with some of the marks (--mark), or with --encoder vae",
        )
    values = _transform(graph, encoder, signal, present)
    patterns = [np.asarray(pattern) for pattern in product((False, True), repeat=marks)]
    chosen = _which(graph, present, patterns)
    n = max(encoder.n_components_, len(encoder.direction_.weights))
    scale = np.sqrt(encoder.composite_.variance_[0])
    maps = [encoder.composite_.map_to(n, pattern, bins) / scale for pattern in patterns]
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


def _transform(graph: Graph, encoder: Any, signal: Node, present: Node) -> Node:
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
    """(row, pattern): 1 for the set of marks that is there, 0 for all others."""
    signs = np.stack([np.where(pattern, 1.0, -1.0) for pattern in patterns], axis=1)
    # As many marks as are as the pattern says, less one: 1 where all are, else 0 or below.
    bias = np.asarray([(~pattern).sum() - (len(pattern) - 1.0) for pattern in patterns])
    return graph.function(graph.dense(present, signs, bias), "clip")


def _choose(graph: Graph, values: Node, chosen: Node, width: int, count: int) -> Node:
    """(row, pattern × width) to (row, width), those of the pattern that is there."""
    repeated = graph.dense(chosen, np.repeat(np.eye(count), width, axis=1))
    return graph.dense(graph.multiply(values, repeated), np.tile(np.eye(width), (count, 1)))


def _shared(graph: Graph, encoder: Any, own: Node, patterns: list[np.ndarray]) -> Node:
    """(row, pattern × coordinate): what is agreed upon, by the map of each set of marks."""
    scale = encoder.shared_.maps[()].scale
    z = graph.scale(own, 1 / scale)
    first, second = np.triu_indices(min(PAIRED, len(scale)))
    unit = np.eye(len(scale))
    products = graph.multiply(graph.dense(z, unit[:, first]), graph.dense(z, unit[:, second]))
    # The graph clips to between 0 and 1.
    shares = graph.function(graph.scale(products, 0.5 / MOST, 0.5), "clip")
    clipped = graph.scale(shares, 2 * MOST, -MOST)
    features = graph.concatenate([z, clipped], axis=1)
    axes = encoder.shared_.axes * SHARED_LENGTH
    maps = [encoder.shared_.of(pattern) for pattern in patterns]
    kernel = np.concatenate([map_.weights_ @ axes for map_ in maps], axis=1)
    return graph.dense(features, kernel, np.concatenate([m.intercept_ @ axes for m in maps]))
