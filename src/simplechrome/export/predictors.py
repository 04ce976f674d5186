"""Each predictor in a graph: latents or the window to log odds or level."""

from __future__ import annotations

import pkgutil
from typing import Any

import numpy as np

from simplechrome.errors import ConfigError
from simplechrome.export.graph import (
    Graph,
    Node,
    Tree,
    array_of,
    bidirectional,
    convolution_layer,
    layers_in_turn,
    linear_layer,
)
from simplechrome.predictors.predictor import Predictor


def predict(graph: Graph, predictor: Predictor, features: Node, present: Node | None) -> Node:
    """Add a predictor to the graph; return its log odds of being high, or its level.

    Parameters
    ----------
    graph
        The operations are added to it.
    predictor
        Fitted.
    features : (row, latent), or (row, bin, mark) where the predictor needs windows
    present : (row, mark)
        Of windows.

    Returns
    -------
    (row, 1)

    Raises
    ------
    ConfigError
        If the predictor's class has no form in this format.
    """
    place = vars(type(predictor)).get("exporter")  # not inherited: a subclass may differ
    if not place:
        raise ConfigError(
            f"The predictor {type(predictor).__name__} cannot be exported.",
            "fit a predictor that can, as linear or mlp; or name an `exporter` in its class",
        )
    exporter = pkgutil.resolve_name(place)
    if not predictor.needs_windows:
        return exporter(graph, predictor, features, present)
    networks: Any = predictor
    windows = graph.keep(features, graph.reshape(present, (1, networks.window_shape_[1])))
    value = exporter(graph, networks.module_, windows, present)
    return graph.scale(value, networks.scale_, networks.center_)


def linear(graph: Graph, predictor: Any, x: Node, _: Node | None) -> Node:
    """Add a linear map."""
    return graph.dense(x, predictor.coef_[:, np.newaxis], np.array([predictor.intercept_]))


def perceptron(graph: Graph, predictor: Any, x: Node, _: Node | None) -> Node:
    """Add the layers of a multilayer perceptron."""
    value = layers_in_turn(graph, x, predictor.module_)
    return graph.scale(value, predictor.scale_, predictor.center_)


def boosting(graph: Graph, predictor: Any, x: Node, _: Node | None) -> Node:
    """Add boosted trees."""
    model = predictor.model_
    trees = [_tree(one.nodes) for (one,) in model._predictors]
    return graph.trees(x, trees, float(np.ravel(model._baseline_prediction)[0]))


def _tree(nodes: np.ndarray) -> Tree:
    threshold = nodes["num_threshold"].astype(np.float32)
    # scikit-learn compares in float64. A float32 number is at most a threshold just where it is
    # at most the largest float32 number that is.
    above = threshold.astype(np.float64) > nodes["num_threshold"]
    threshold[above] = np.nextafter(threshold[above], np.float32(-np.inf))
    return Tree(
        feature=nodes["feature_idx"],
        threshold=threshold,
        left=nodes["left"],
        right=nodes["right"],
        is_leaf=nodes["is_leaf"].astype(bool),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        value=nodes["value"].astype(np.float32),
    )


def deepchrome(graph: Graph, module: Any, values: Node, present: Node) -> Node:
    """Add the convolution of DeepChrome, pooling and hidden layers."""
    filters = module.convolution.out_channels
    levels = graph.max_pool(convolution_layer(graph, values, module.convolution), module.pool)
    absent = linear_layer(graph, graph.scale(present, -1.0, 1.0), module.missing)
    pooled = graph.add(levels, graph.reshape(absent, (1, filters)))
    pooled = graph.function(pooled, "relu")
    flat = graph.reshape(pooled, (module.windows * filters,))
    return layers_in_turn(graph, flat, module.dense)


def attentivechrome(graph: Graph, module: Any, values: Node, present: Node) -> Node:
    """Add the recurrent layers and both attentions of AttentiveChrome."""
    marks = len(module.bin_lstms)
    missing = array_of(module.missing)  # (mark, width)
    contexts = array_of(module.bin_context)
    each = []
    for mark, lstm in enumerate(module.bin_lstms):
        only = np.eye(marks)[:, [mark]]  # this mark's column, exactly
        outputs = bidirectional(graph, graph.dense(values, only), lstm)
        attention = graph.softmax(graph.dense(outputs, contexts[mark][:, np.newaxis]))
        mean = graph.weighted_sum(attention, outputs)
        is_there = graph.dense(present, only)
        absent = graph.dense(graph.scale(is_there, -1.0, 1.0), missing[[mark]])
        mean = graph.add(graph.multiply(mean, is_there), absent)
        each.append(graph.reshape(mean, (1, missing.shape[1])))
    outputs = bidirectional(graph, graph.concatenate(each, axis=1), module.mark_lstm)
    scores = graph.dense(outputs, array_of(module.mark_context)[:, np.newaxis])
    mask = graph.reshape(present, (marks, 1))
    # Not a large number added: TensorFlow changes the order of sums, and loses the scores in it.
    attention = graph.multiply(graph.softmax(graph.keep(scores, mask, otherwise=-1e9)), mask)
    return linear_layer(graph, graph.weighted_sum(attention, outputs), module.output)
