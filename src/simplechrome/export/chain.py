"""A run's models as one graph, with named inputs and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from simplechrome.evaluation.calibration import Calibration
from simplechrome.export.encoders import encode
from simplechrome.export.graph import Graph, Node
from simplechrome.export.predictors import predict
from simplechrome.latent.encoder import RawWindow
from simplechrome.runs.ensemble import Ensemble

if TYPE_CHECKING:
    from simplechrome.runs.load import Models


class Port(NamedTuple):
    """An input or an output: its shape without the row, and what it holds."""

    name: str
    shape: tuple[int, ...]
    dims: tuple[str, ...]
    meaning: str


def model_inputs(models: Models) -> list[Port]:
    """Return the inputs of the encoder, which are those of the whole model."""
    bins, marks = models.encoder.bin_start_.size, len(models.encoder.marks_)
    units = models.encoder.units_ or "the units of the dataset"
    return [
        Port(
            "signal",
            (bins, marks),
            ("row", "bin", "mark"),
            f"{units} per bin, bins in the direction of transcription; no transform",
        ),
        Port("present", (marks,), ("row", "mark"), "1 where the mark was assayed, else 0"),
    ]


def features(models: Models) -> Port:
    """Return the features that the encoder passes to the predictor."""
    encoder = models.encoder
    if isinstance(encoder, RawWindow):
        shape = (encoder.bin_start_.size, len(encoder.marks_))
        return Port("window", shape, ("row", "bin", "mark"), "the transformed window")
    meaning = "posterior means or components, on the scale that `simplechrome encode` writes"
    return Port("latent", (encoder.n_latent_,), ("row", "latent"), meaning)


def predictions(models: Models) -> list[Port]:
    """Return the outputs of the predictor."""
    one, dims = (1,), ("row", "1")
    if models.predictor.task == "regression":
        return [Port("log2_expression", one, dims, "predicted log2(expression + 1)")]
    calibration = _calibration(models)
    if calibration.method == "none":
        return [Port("probability", one, dims, "of high expression, not calibrated")]
    how = f"calibrated on {calibration.n_genes:,} genes ({calibration.method})"
    return [
        Port("probability", one, dims, f"of high expression, {how}"),
        Port("uncalibrated_probability", one, dims, "the same before the calibration"),
    ]


def predictor_inputs(models: Models) -> list[Port]:
    """Return the inputs of the predictor alone."""
    if _sees_windows(models):
        return [features(models), model_inputs(models)[1]]
    return [features(models)]


def add_encoder(graph: Graph, models: Models) -> None:
    """Add the encoder alone."""
    signal, present = _add_inputs(graph, model_inputs(models))
    out = features(models)
    graph.output(out.name, encode(graph, models.encoder, signal, present), out.shape)


def add_predictor(graph: Graph, models: Models) -> None:
    """Add the predictor alone, with its ensemble and calibration."""
    _predict(graph, models, *_add_inputs(graph, predictor_inputs(models)))


def add_chain(graph: Graph, models: Models) -> None:
    """Add both, from counts to prediction; latents are an output too."""
    signal, present = _add_inputs(graph, model_inputs(models))
    between = encode(graph, models.encoder, signal, present)
    for port in chain_outputs(models):
        if port == features(models):
            graph.output(port.name, between, port.shape)
    _predict(graph, models, between, present)


def chain_outputs(models: Models) -> list[Port]:
    """Return the outputs of both together: latents, but no transformed window, and predictions."""
    between = features(models)
    return [*([between] if between.name == "latent" else []), *predictions(models)]


def _add_inputs(graph: Graph, ports: list[Port]) -> list[Node]:
    return [graph.input(port.name, port.shape) for port in ports]


def _sees_windows(models: Models) -> bool:
    predictor = models.predictor
    members = predictor.members if isinstance(predictor, Ensemble) else (predictor,)
    return members[0].needs_windows


def _calibration(models: Models) -> Calibration:
    return Calibration() if models.uncertainty is None else models.uncertainty.calibration


def _predict(graph: Graph, models: Models, between: Node, present: Node | None = None) -> None:
    predictor = models.predictor
    members = predictor.members if isinstance(predictor, Ensemble) else (predictor,)
    port = features(models)
    if len(port.shape) > 1 and not members[0].needs_windows:
        between = graph.reshape(between, (int(np.prod(port.shape)),))
    values = [predict(graph, member, between, present) for member in members]
    value = values[0]
    if len(values) > 1:  # log odds, or levels: their mean
        value = graph.dense(
            graph.concatenate(values, axis=1), np.full((len(values), 1), 1 / len(values))
        )
    results = {"log2_expression": value}
    if predictor.task == "classification":
        results = {
            "probability": _calibrate(graph, value, _calibration(models)),
            "uncalibrated_probability": graph.function(value, "sigmoid"),
        }
    for port in predictions(models):
        graph.output(port.name, results[port.name], port.shape)


def _calibrate(graph: Graph, log_odds: Node, calibration: Calibration) -> Node:
    """Apply `Calibration.apply` to (row, 1)."""
    if calibration.method != "isotonic":
        line = graph.scale(log_odds, calibration.slope, calibration.intercept)
        return graph.function(line, "sigmoid")
    # Lines between knots: each stretch adds its rise, from 0 at its beginning to all at its end.
    knots = np.asarray(calibration.log_odds, np.float64)
    heights = np.asarray(calibration.probability)
    for k in range(1, len(knots)):
        # Two that single precision cannot tell apart would be a rise without a length.
        knots[k] = max(knots[k], knots[k - 1] + 1e-6 * max(1.0, abs(knots[k - 1])))
    if len(knots) == 1:
        return graph.scale(log_odds, 0.0, heights[0])
    along = graph.dense(log_odds, np.ones((1, len(knots) - 1)))
    along = graph.function(graph.standardize(along, knots[:-1], np.diff(knots)), "clip")
    return graph.dense(along, np.diff(heights)[:, np.newaxis], heights[:1])
