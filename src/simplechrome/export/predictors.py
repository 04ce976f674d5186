"""Each predictor in a graph: latents or the window to log odds or level."""

from __future__ import annotations

from typing import Any

import numpy as np

from simplechrome.errors import ConfigError
from simplechrome.export.graph import Graph, Node, Tree
from simplechrome.predictors.predictor import Predictor


def predict(graph: Graph, predictor: Predictor, features: Node, present: Node | None) -> Node:
    """What does the predictor say: log odds of being high, or the level?

    Parameters
    ----------
    graph
        The operations are added to it.
    predictor
        Fitted.
    features : (row, latent), or (row, bin, mark) where `sees_windows`
    present : (row, mark)
        Wanted where `sees_windows`.

    Returns
    -------
    (row, 1)

    Raises
    ------
    ConfigError
        If the predictor's class has no form in this format.
    """
    name = type(predictor).__name__
    # By name: a subclass may compute something else.
    if name in _WINDOW_PREDICTORS:
        module: Any = predictor
        value = _WINDOW_PREDICTORS[name](
            graph,
            module.module_,
            graph.keep(features, graph.reshape(present, (1, module.window_shape_[1]))),
            present,
        )
        return graph.scale(value, module.scale_, module.center_)
    if name not in _FLAT_PREDICTORS:
        raise ConfigError(
            f"The predictor {name} cannot be exported.",
            found=name,
            expected=", ".join([*_FLAT_PREDICTORS, *_WINDOW_PREDICTORS]),
        )
    return _FLAT_PREDICTORS[name](graph, predictor, features)


def sees_windows(predictor: Predictor) -> bool:
    """Does it take (row, bin, mark) and the present marks, and not one flat row?"""
    return type(predictor).__name__ in _WINDOW_PREDICTORS


def _linear(graph: Graph, predictor: Any, x: Node) -> Node:
    return graph.dense(x, predictor.coef_[:, np.newaxis], np.array([predictor.intercept_]))


def _perceptron(graph: Graph, predictor: Any, x: Node) -> Node:
    from simplechrome.export import layers

    value = layers.in_turn(graph, x, predictor.module_)
    return graph.scale(value, predictor.scale_, predictor.center_)


def _boosting(graph: Graph, predictor: Any, x: Node) -> Node:
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


def _deepchrome(graph: Graph, module: Any, values: Node, present: Node) -> Node:
    from simplechrome.export import layers

    filters = module.convolution.out_channels
    levels = graph.max_pool(layers.convolution(graph, values, module.convolution), module.pool)
    absent = layers.linear(graph, graph.scale(present, -1.0, 1.0), module.missing)
    pooled = graph.add(levels, graph.reshape(absent, (1, filters)))
    pooled = graph.function(pooled, "relu")
    flat = graph.reshape(pooled, (module.windows * filters,))
    return layers.in_turn(graph, flat, module.dense)


def _attentivechrome(graph: Graph, module: Any, values: Node, present: Node) -> Node:
    from simplechrome.export import layers

    marks = len(module.bin_lstms)
    missing = layers.numbers(module.missing)  # (mark, width)
    contexts = layers.numbers(module.bin_context)
    each = []
    for mark, lstm in enumerate(module.bin_lstms):
        only = np.eye(marks)[:, [mark]]  # this mark's column, exactly
        outputs = layers.bidirectional(graph, graph.dense(values, only), lstm)
        attention = graph.softmax(graph.dense(outputs, contexts[mark][:, np.newaxis]))
        mean = graph.weighted_sum(attention, outputs)
        is_there = graph.dense(present, only)
        absent = graph.dense(graph.scale(is_there, -1.0, 1.0), missing[[mark]])
        mean = graph.add(graph.multiply(mean, is_there), absent)
        each.append(graph.reshape(mean, (1, missing.shape[1])))
    outputs = layers.bidirectional(graph, graph.concatenate(each, axis=1), module.mark_lstm)
    scores = graph.dense(outputs, layers.numbers(module.mark_context)[:, np.newaxis])
    mask = graph.reshape(present, (marks, 1))
    # Not a large number added: TensorFlow changes the order of sums, and loses the scores in it.
    attention = graph.multiply(graph.softmax(graph.keep(scores, mask, otherwise=-1e9)), mask)
    return layers.linear(graph, graph.weighted_sum(attention, outputs), module.output)


_FLAT_PREDICTORS = {
    "LinearPredictor": _linear,
    "MLPPredictor": _perceptron,
    "BoostingPredictor": _boosting,
}
_WINDOW_PREDICTORS = {"AttentiveChrome": _attentivechrome, "DeepChrome": _deepchrome}
