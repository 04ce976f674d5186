"""One run: fit an encoder and a predictor, score them once, and keep all of it in a folder."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import xarray as xr

from simplechrome.config.models import make_encoder, make_predictor
from simplechrome.config.run import (
    RunConfig,
    make_config,
    read_config,
    write_config,
)
from simplechrome.dataset import splits
from simplechrome.dataset.choose import (
    choose_cell_types,
    choose_marks,
    has_data,
    pair_dataset,
    warn_of_imputed,
    without_unobserved,
)
from simplechrome.dataset.neighbors.graph import NeighborGraph
from simplechrome.errors import ConfigError
from simplechrome.evaluation.scores import score_predictions
from simplechrome.evaluation.uncertainty import (
    describe_uncertainty,
    fit_uncertainty,
    write_uncertainty,
)
from simplechrome.latent.encoder import Encoder
from simplechrome.predictors.predictor import Predictor
from simplechrome.predictors.rows import known_targets, require_two_classes
from simplechrome.runs.adapt import profile_signal, write_levels, write_signal_profile
from simplechrome.runs.ensemble import Ensemble, save_ensemble
from simplechrome.runs.features import features_of, require_graph, target_of
from simplechrome.runs.folder import (
    CHECKPOINTS,
    ENVIRONMENT,
    SOURCE,
    dataset_checksum,
    describe_environment,
    describe_run,
    read_metrics,
    require_run_only,
)
from simplechrome.runs.held_out import fit_and_hold_out
from simplechrome.runs.load import Models, adapt_run, load_run
from simplechrome.runs.predictions import predict_genes, write_table
from simplechrome.runs.prepare import assign_genes, warn_of_split
from simplechrome.runs.start_from import (
    models_checksum,
    require_disjoint,
    require_same_models,
)
from simplechrome.schema import UNKNOWN_LABEL
from simplechrome.work.files import write_json
from simplechrome.work.unfinished import differences, long_work, settle, unfinished_folder

log = logging.getLogger(__name__)

EXCLUDED = "excluded"
SOURCE_CHECKSUM = "source sha256"
"""Among what a run was made from: the weights of the run that it was started from."""


class Run(NamedTuple):
    """A run that is finished.

    predictions : see `predict_genes`
    metrics : test and validation scores, see `score_predictions`
    interrupted : Ctrl-C cut the training short; the best epoch until then was kept
    """

    folder: Path
    config: RunConfig
    encoder: Encoder
    predictor: Predictor | Ensemble
    predictions: pd.DataFrame
    metrics: dict[str, Any]
    interrupted: bool


def _labelled_genes(train: xr.Dataset, target: xr.DataArray, config: RunConfig) -> np.ndarray:
    """Positions of the training genes that the predictor learns from; fails before long work."""
    if config.labels is not None:
        genes = splits.draw_labels(train, config.labels, config.seed, task=config.task)
    else:
        known = known_targets(target, config.task).reshape(target.shape)
        genes = np.flatnonzero(known.any(axis=0))
    drawn = target.isel(gene=genes)
    known = known_targets(drawn, config.task)
    if config.task == "classification":
        require_two_classes(drawn.values.ravel()[known])
    return genes


def fit_run(
    dataset: xr.Dataset,
    config: RunConfig,
    folder: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    graph: NeighborGraph | None = None,
    source: Models | None = None,
    finish: Callable[[Run], object] | None = None,
) -> Run:
    """How well can expression be predicted from these tracks, and by which model?

    The encoder sees the training windows (and, to know when to stop, the validation windows),
    never labels. The predictor sees the labels of the training genes, or of the `labels` genes
    drawn from them; nothing else chooses anything, but with all labels those of the validation
    genes choose epochs and trees. Probabilities are calibrated on genes that did not fit the
    predictor, see `fit_and_hold_out`. Test genes are scored once.

    The work is done in `FOLDER.unfinished`, which becomes `folder` when all of it is there: killed
    at any moment, `folder` is what it was, or the whole run.

    Parameters
    ----------
    dataset
        With expression or labels.
    config
        All options.
    folder
        Becomes the run folder: config.toml, encoder/, predictor/, ensemble/ (its members from the
        second on), calibration.json, signal_profile.json, history.csv, split.parquet,
        environment.json, checkpoints/, predictions.parquet and metrics.json.
    overwrite
        Replace a run folder that is there.
    resume
        Go on with a run that was stopped; on the same machine, with the same number of threads,
        the result is bit for bit that of an undisturbed run. A run that is finished is returned
        as it is, one that Ctrl-C cut short is trained to its end, and one that is not there is
        begun.
    graph
        Neighbors of the dataset's genes, where the configuration names any.
    source
        What `load_run` returns of the run that the configuration names as its source. Its
        encoder is taken as it is, told of the tracks of new cell types; no gene that it learned
        from may be a validation or test gene here. What it says of genes that it learned from in
        other cell types may be better than what it says of others: see `require_disjoint`.
    finish
        Called with the run before its folder takes its name; what it writes to `run.folder`
        appears with the rest.

    Raises
    ------
    OutputExistsError
        If a finished or unfinished run is there and neither `overwrite` nor `resume` is True, or
        what is there is not a run folder.
    OutputError
        If another process is at work on the folder, or it cannot be written.
    ConfigError
        If what is to be resumed was begun with other options or other data.
    SplitError, MissingExpressionError, UndefinedScoreError, TrainingError
        See the parts.
    """
    path = Path(folder)
    if config.cell_types is not None:
        dataset = choose_cell_types(dataset, config.cell_types)
    if config.marks is not None:
        dataset = choose_marks(dataset, config.marks)
    require_graph(config, graph)
    dataset = without_unobserved(dataset)
    warn_of_imputed(dataset)
    if (config.source is None) != (source is None):
        raise ConfigError(
            "A run that starts from another needs both its path and its models.",
            found=f"source {config.source} and {'no models' if source is None else 'models'}",
            expected="config.source = path, and source=load_run(path)",
        )
    if source is not None and config.source is not None:
        require_same_models(config, source.config, path)
        source, (dataset, _) = adapt_run(
            *(config.source, source, dataset), match_distribution=config.match_distribution
        )
    warn_of_split(config.split.kind)
    assignment = assign_genes(dataset, config.split, config.seed)
    parts = splits.apply_assignment(dataset, assignment)
    asked = dataset if config.pair is None else pair_dataset(dataset, config.pair)
    learned_from = splits.apply_assignment(asked, assignment).train
    labelled = _labelled_genes(learned_from, target_of(learned_from, config.task), config)
    # NumPy compares strings pair by pair: 4 s for 18,421 genes.
    gene_ids = pd.Index(dataset["gene_id"].values)
    chosen = parts.train["gene_id"].values[labelled]
    drawn = gene_ids.isin(chosen)
    if source is not None:
        require_disjoint(source, dataset, parts, chosen, config)
    checksum = dataset_checksum(dataset)
    request = {
        "config": config.model_dump(mode="json", exclude_none=True),
        "dataset sha256": checksum,
    }
    if graph is not None:
        request["neighbors sha256"] = graph.checksum()
    if config.source is not None:
        request[SOURCE_CHECKSUM] = models_checksum(config.source)
    settle(path)
    held = read_metrics(path) if resume and not unfinished_folder(path).exists() else None
    cut_short = False
    if held is not None:
        lines = _differences_to_finished(path, request)
        if not lines and not held.get("interrupted"):
            log.info("%s is finished: there is nothing to resume", path)
            return _finished_run(path)
        if lines and not overwrite:
            raise ConfigError(
                f"{path} is finished, and was made with other options or other data.",
                found="; ".join(lines[:6]),
                expected="the same, or a new folder",
                remedy="choose another output path, or pass --overwrite as well to replace it",
            )
        cut_short = not lines
    with long_work(
        path,
        request,
        resume=resume,
        overwrite=overwrite or cut_short,
        describe=describe_run,
        require_ours=require_run_only,
        # Everything else is made in seconds.
        worth_keeping=lambda begun: (begun / CHECKPOINTS).is_dir(),
    ) as work:
        if cut_short and not work.resumed:
            log.info("%s was cut short by Ctrl-C: going on from its checkpoints", path)
            shutil.copytree(path / CHECKPOINTS, work.folder / CHECKPOINTS)
            shutil.copy(path / ENVIRONMENT, work.folder / ENVIRONMENT)
        write_config(config, work.folder / "config.toml")
        if not (work.folder / ENVIRONMENT).is_file():
            environment = describe_environment(dataset, checksum)
            if SOURCE_CHECKSUM in request:
                environment[SOURCE_CHECKSUM] = request[SOURCE_CHECKSUM]
            write_json(environment, work.folder / ENVIRONMENT)
        run = _fit(dataset, asked, config, work.folder, assignment, drawn, graph, source)
        if run.interrupted and path.exists() and not cut_short:
            # Who stops a replacement has not asked to lose what is there.
            log.warning("%s stays as it was; --resume --overwrite goes on replacing it", path)
            raise KeyboardInterrupt
        if finish is not None:
            finish(run)
    return run._replace(folder=path)


def _differences_to_finished(folder: Path, request: dict[str, Any]) -> list[str]:
    """In what does the request differ from that of a finished run?"""
    made: dict[str, Any] = {"config": read_config(folder / "config.toml").model_dump(mode="json")}
    asked: dict[str, Any] = {"config": make_config(request["config"]).model_dump(mode="json")}
    try:
        environment = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))
        made["dataset sha256"] = environment["dataset"]["sha256"]
        asked["dataset sha256"] = request["dataset sha256"]
        if SOURCE_CHECKSUM in request:
            made[SOURCE_CHECKSUM] = environment[SOURCE_CHECKSUM]
            asked[SOURCE_CHECKSUM] = request[SOURCE_CHECKSUM]
    except (OSError, ValueError, KeyError, TypeError):
        log.warning("%s does not say on which data it was fitted, or from which run", folder)
    return differences(made, asked)


def _finished_run(folder: Path) -> Run:
    models = load_run(folder)
    predictions = pq.read_table(folder / "predictions.parquet").to_pandas()
    metrics = read_metrics(folder) or {}
    return Run(folder, models.config, models.encoder, models.predictor, predictions, metrics, False)


def _fit(
    dataset: xr.Dataset,
    asked: xr.Dataset,
    config: RunConfig,
    folder: Path,
    assignment: np.ndarray,
    drawn: np.ndarray,
    graph: NeighborGraph | None,
    source: Models | None,
) -> Run:
    """Fit, predict and score; a training that has begun goes on, all else is made anew.

    `asked` is what is predicted of: the dataset, or a pair of its cell types.
    """
    parts = splits.apply_assignment(dataset, assignment)
    named = np.where(assignment == "", EXCLUDED, assignment)
    split = {"gene_id": dataset["gene_id"].values, "split": named, "labelled": drawn}
    write_table(pd.DataFrame(split), folder / "split.parquet")
    train, validation = (_with_data(part) for part in (parts.train, parts.validation))
    if source is None:
        encoder = make_encoder(config)
        encoder_labels = _labels_for_encoder(train, dataset, drawn, config)
        encoder.fit(train, encoder_labels, validation=validation, **_checkpoints(encoder, folder))
        shown = (
            None if encoder_labels is None else encoder.transform_labelled(train, encoder_labels)
        )
    else:
        shown = None
        encoder = source.encoder
        save_ensemble(source.predictor, folder / SOURCE)
    encoder.save(folder / "encoder", overwrite=True)
    write_signal_profile(profile_signal(train), folder)
    write_levels(dataset, folder)
    if hasattr(encoder, "activity_"):
        shares = ", ".join(f"{value:.2f}" for value in encoder.activity_)
        log.info("Standard deviation of each latent over the training windows: %s", shares)
    learned = drawn & (assignment == "train")
    latents = encoder.transform(dataset)
    if shown is not None:
        # What the predictor learns from must not know its own genes' labels already.
        at = pd.Index(dataset["gene_id"].values).get_indexer(shown["gene_id"].values)
        latents.values[:, at] = shown.values
    source_predictor = None if source is None else source.predictor
    features = features_of(latents, dataset, config, graph, learned, source_predictor)
    target = target_of(asked, config.task)
    rows = np.flatnonzero(learned)
    others = np.flatnonzero(assignment == "validation")
    cut = getattr(encoder, "interrupted_", False)
    predictor, held_out = fit_and_hold_out(
        lambda seed: make_predictor(config.model_copy(update={"seed": seed})),
        config,
        (features.isel(gene=rows), target.isel(gene=rows)),
        (features.isel(gene=others), target.isel(gene=others)),
        # Latents of an encoder that was cut short are not those that a resumed run trains on.
        checkpoints=None if cut else folder / CHECKPOINTS,
        interrupted=cut,
    )
    save_ensemble(predictor, folder)
    uncertainty = None
    if held_out is not None:
        uncertainty = fit_uncertainty(
            *(held_out.predicted, held_out.truth, config.task),
            coverage=config.coverage,
            held_out=held_out.which,
            cell_types=asked["cell_type"].values.tolist(),
        )
        write_uncertainty(uncertainty, folder)
    history = getattr(encoder, "history_", None) or getattr(predictor, "history_", None)
    if history:
        write_table(pd.DataFrame(history), folder / "history.csv")
    predictions = predict_genes(asked, features, predictor, named, uncertainty)
    write_table(predictions, folder / "predictions.parquet", dataset.attrs.get("note", ""))
    if "ensemble_sd" in predictions and np.allclose(predictions["ensemble_sd"], 0, atol=1e-12):
        log.warning(
            "All members of the ensemble are equal: nothing in the predictor %s depends on its "
            "seed here",
            config.predictor.name,
        )
    interrupted = any(getattr(model, "interrupted_", False) for model in (encoder, predictor))
    # Ctrl-C in a fold that was to be held out leaves the predictor whole, but uncalibrated.
    interrupted |= held_out is None
    metrics = {
        "task": config.task,
        "n_labels": len(rows),
        "seed": config.seed,
        "note": dataset.attrs.get("note", ""),
        "interrupted": interrupted,
        "ensemble": len(predictor.members) if isinstance(predictor, Ensemble) else 1,
        "uncertainty": uncertainty and describe_uncertainty(uncertainty),
    }
    for part in ("validation", "test"):
        rows_of_part = predictions[predictions["split"] == part]
        circular = uncertainty is not None and uncertainty.held_out == f"{part} genes"
        metrics[part] = score_predictions(rows_of_part, config.task, with_coverage=not circular)
    if source_predictor is not None:
        alone = predict_genes(dataset, latents, source_predictor, named)
        alone = alone[alone["split"] == "test"]
        metrics["source"] = {"test": score_predictions(alone, config.task)}
    write_json(metrics, folder / "metrics.json")
    return Run(folder, config, encoder, predictor, predictions, metrics, interrupted)


def _labels_for_encoder(
    train: xr.Dataset, dataset: xr.Dataset, drawn: np.ndarray, config: RunConfig
) -> np.ndarray | None:
    """(cell_type, gene) of the training windows, unknown but for genes that are learned from."""
    if not config.semi_supervised:
        return None
    target = target_of(train, config.task).transpose("cell_type", "gene").values
    chosen = dataset["gene_id"].values[drawn]
    unknown = UNKNOWN_LABEL if config.task == "classification" else np.nan
    mine = pd.Index(train["gene_id"].values).isin(chosen)
    return np.where(mine, target, np.asarray(unknown, target.dtype))


def _with_data(part: xr.Dataset) -> xr.Dataset:
    """The genes whose windows an encoder can learn from; all where there are none."""
    seen = has_data(part).any(axis=0)
    return part if seen.all() or not seen.any() else part.isel(gene=seen)


def _checkpoints(encoder: Encoder, folder: Path) -> dict[str, Any]:
    """Where an encoder that trains in epochs keeps its state; others know no such argument."""
    if "checkpoints" not in signature(encoder.fit).parameters:
        return {}
    return {"checkpoints": folder / CHECKPOINTS / "encoder", "resume": True}
