"""One run: prepare the data, fit encoder and predictor, score them once, and write a folder."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import xarray as xr

from simplechrome.config.models import make_encoder, make_predictor
from simplechrome.config.options import merge_options
from simplechrome.config.run import RunConfig, read_config, write_config
from simplechrome.dataset.choose import choose_marks, has_data
from simplechrome.dataset.neighbors.graph import NeighborGraph
from simplechrome.dataset.neighbors.stored import open_neighbors, require_left_out
from simplechrome.dataset.store import open_dataset
from simplechrome.errors import ConfigError
from simplechrome.evaluation.scores import score_predictions
from simplechrome.evaluation.uncertainty import (
    Uncertainty,
    describe_uncertainty,
    fit_uncertainty,
    write_uncertainty,
)
from simplechrome.latent.encoder import Encoder
from simplechrome.predictors.predictor import Predictor
from simplechrome.runs.adapt import profile_signal, write_levels, write_signal_profile
from simplechrome.runs.ensemble import Ensemble, checkpoint_options, fit_and_hold_out, save_ensemble
from simplechrome.runs.folder import (
    RunFolder,
    begun_config,
    describe_environment,
    describe_run,
    require_outside,
)
from simplechrome.runs.load import Models, load_run
from simplechrome.runs.predictions import features_of, predict_genes, target_of, write_table
from simplechrome.runs.prepare import DATASET_CHECKSUM, SOURCE_CHECKSUM, PreparedData, prepare
from simplechrome.schema import UNKNOWN_LABEL
from simplechrome.work.files import write_json
from simplechrome.work.unfinished import differences, long_work, settle, unfinished_folder

log = logging.getLogger(__name__)

EXCLUDED = "excluded"


class Run(NamedTuple):
    """A finished run.

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


class Fitted(NamedTuple):
    """Models of a run, with predictions and scores of all its genes."""

    encoder: Encoder
    predictor: Predictor | Ensemble
    uncertainty: Uncertainty | None
    predictions: pd.DataFrame
    metrics: dict[str, Any]


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
    """Fit an encoder and a predictor, score them on held-out genes, and write a run folder.

    The encoder is fitted on the training windows (the validation windows choose when it stops),
    without labels unless the configuration names a supervised axis. The predictor is fitted on the
    labels of the training genes, or of `labels` of them; with all labels those of the validation
    genes choose epochs and trees. Probabilities are calibrated on genes that the predictor was not
    fitted on, see `fit_and_hold_out`. Test genes are scored once.

    The work is done in `FOLDER.unfinished`, which is renamed to `folder` at the end: a process that
    is killed leaves the old run or the new one.

    Parameters
    ----------
    dataset
        With expression or labels.
    folder, overwrite
        The run folder, see `RunFolder` for its files; True to replace an existing one.
    resume
        Resume an interrupted run from the checkpoints of its networks; on the same machine, with
        the same number of threads, the result is bit-identical to that of an undisturbed run. A
        finished run is returned as it is, and an absent one is begun.
    graph
        Neighbors of the dataset's genes, if the configuration names any.
    source
        `load_run(config.init_from)`, if the configuration names a run to fine-tune. Its encoder is
        used as it is, adapted to the tracks of new cell types; none of the genes that it learned
        from may be a validation or test gene here.
    finish
        Called with the run before its folder is renamed; what it writes to `run.folder` appears
        with the rest.

    Raises
    ------
    OutputExistsError
        If a finished or unfinished run exists and neither `overwrite` nor `resume` is True, or the
        folder is not a run folder.
    OutputError
        If another process works on the folder, or it cannot be written.
    ConfigError
        If options and data do not fit together, or differ from those of the run to be resumed.
    SplitError, MissingExpressionError, UndefinedScoreError, TrainingError
        See `prepare` and the models.
    """
    done = RunFolder(folder)
    if source is not None and done.path.resolve() == source.folder.resolve():
        raise ConfigError(
            f"A run cannot replace the one that it is fine-tuned from: both are {folder}.",
            "choose another output folder",
        )
    data = prepare(dataset, config, graph=graph, source=source)
    settle(done.path)
    begun = unfinished_folder(done.path).exists()
    before = done.read_metrics() if resume and not begun else None
    interrupted = False
    if before is not None:
        changed = _differences(done, data.request)
        if changed and not overwrite:
            raise ConfigError(
                f"{done.path} is finished, with other options or other data: "
                f"{'; '.join(changed[:6])}.",
                "choose another output path, or pass --overwrite as well to replace it",
            )
        interrupted = not changed and before.get("interrupted", False)
        if not changed and not interrupted:
            log.info("%s is finished: there is nothing to resume", done.path)
            models, table = load_run(done.path), pq.read_table(done.predictions).to_pandas()
            return Run(done.path, config, models.encoder, models.predictor, table, before, False)
    with long_work(
        done.path,
        data.request,
        resume=resume,
        overwrite=overwrite or interrupted,
        describe=describe_run,
        require_ours=lambda path: RunFolder(path).require_run_only(),
        # Everything but networks is fitted again in seconds.
        worth_keeping=lambda path: RunFolder(path).checkpoints.is_dir(),
    ) as work:
        run = RunFolder(work.folder)
        if interrupted and not work.resumed:
            log.info("%s was cut short by Ctrl-C: resuming from its checkpoints", done.path)
            shutil.copytree(done.checkpoints, run.checkpoints)
            shutil.copy(done.environment, run.environment)
        _write_request(data, run)
        fitted = fit(data, run)
        write(data, fitted, run)
        result = Run(run.path, config, *fitted[:2], *fitted[3:], fitted.metrics["interrupted"])
        if result.interrupted and done.path.exists() and not interrupted:
            log.warning("%s is kept; --resume --overwrite resumes its replacement", done.path)
            raise KeyboardInterrupt
        if finish is not None:
            finish(result)
    return result._replace(folder=done.path)


def fit_files(
    dataset: str | Path,
    folder: str | Path,
    *,
    config: str | Path | None = None,
    options: dict[str, Any] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    report: Callable[..., object] | None = None,
) -> Run:
    """Fit a run on a dataset on disk, by a configuration file and options.

    See `fit_run`, and `merge_options` for the options. A run that is resumed keeps the options that
    are not given again. `report` is called as `write_run_report`.
    """
    require_outside(dataset, folder)
    begun = begun_config(folder, or_finished=not overwrite) if resume else None
    resolved = merge_options(config or begun, options or {})
    data = open_dataset(dataset, resolved.cell_types)
    if resolved.marks is not None:
        data = choose_marks(data, resolved.marks, str(dataset))
    graph = None
    if resolved.neighbors:
        graph = open_neighbors(dataset, resolved.neighbors, dataset=data)
        require_left_out(dataset, resolved.neighbors, list(map(str, data["cell_type"].values)))
    return fit_run(
        *(data, resolved, folder),
        graph=graph,
        source=None if resolved.init_from is None else load_run(resolved.init_from),
        overwrite=overwrite,
        resume=resume,
        finish=report and (lambda run: report(run.folder, data, graph=graph)),
    )


def fit(data: PreparedData, run: RunFolder) -> Fitted:
    """Return the fitted models of a run with predictions and scores of all its genes.

    Networks keep their checkpoints in `run.checkpoints`, and resume from them.
    """
    config, learned = data.config, data.labelled & (data.assignment == "train")
    encoder, latents = _fit_encoder(data, run)
    pretrained = data.source and data.source.predictor
    features = features_of(latents, data.dataset, config, data.graph, learned, pretrained)
    target = target_of(data.predicted, config.task)
    genes = np.flatnonzero(learned), np.flatnonzero(data.assignment == "validation")
    train, validation = ((features.isel(gene=rows), target.isel(gene=rows)) for rows in genes)
    interrupted = getattr(encoder, "interrupted_", False)
    predictor, held_out = fit_and_hold_out(
        lambda seed: make_predictor(config.model_copy(update={"seed": seed})),
        *(config, train, validation),
        # A resumed run trains on other latents than those of an interrupted encoder.
        run=None if interrupted else run,
        interrupted=interrupted,
    )
    uncertainty = held_out and fit_uncertainty(
        *(held_out.predicted, held_out.truth, config.task),
        coverage=config.coverage,
        held_out=held_out.which,
        cell_types=data.predicted["cell_type"].values.tolist(),
    )
    parts = np.where(data.assignment == "", EXCLUDED, data.assignment)
    predictions = predict_genes(data.predicted, features, predictor, parts, uncertainty)
    if "ensemble_sd" in predictions and np.allclose(predictions["ensemble_sd"], 0, atol=1e-12):
        log.warning(
            "All members of the ensemble are equal: the predictor %s does not depend on its seed "
            "here",
            config.predictor.name,
        )
    metrics = {
        "task": config.task,
        "n_labels": len(genes[0]),
        "seed": config.seed,
        "note": data.dataset.attrs.get("note", ""),
        # Ctrl-C in a fold that was to be held out leaves the predictor whole, but uncalibrated.
        "interrupted": interrupted or getattr(predictor, "interrupted_", False) or held_out is None,
        "ensemble": len(predictor.members) if isinstance(predictor, Ensemble) else 1,
        "uncertainty": uncertainty and describe_uncertainty(uncertainty),
    }
    for part in ("validation", "test"):
        rows = predictions[predictions["split"] == part]
        circular = uncertainty is not None and uncertainty.held_out == f"{part} genes"
        metrics[part] = score_predictions(rows, config.task, with_coverage=not circular)
    if pretrained is not None:
        before = predict_genes(data.dataset, latents, pretrained, parts)
        before = before[before["split"] == "test"]
        metrics["source"] = {"test": score_predictions(before, config.task)}
    return Fitted(encoder, predictor, uncertainty, predictions, metrics)


def _fit_encoder(data: PreparedData, run: RunFolder) -> tuple[Encoder, xr.DataArray]:
    """Return the fitted (or pretrained) encoder, and the latents of all genes."""
    if data.source is not None:
        return data.source.encoder, data.source.encoder.transform(data.dataset)
    encoder = make_encoder(data.config)
    train, validation = _windows(data, "train"), _windows(data, "validation")
    labels = _labels_for_encoder(train, data) if data.config.supervised_axis else None
    states = checkpoint_options(encoder, run.checkpoints / run.encoder.name)
    encoder.fit(train, labels, validation=validation, **states)
    if hasattr(encoder, "activity_"):
        deviations = ", ".join(f"{value:.2f}" for value in encoder.activity_)
        log.info("Standard deviation of each latent over the training windows: %s", deviations)
    latents = encoder.transform(data.dataset)
    if labels is not None:
        # Latents of training genes must not contain these genes' own labels.
        shown = encoder.transform_out_of_fold(train, labels)
        at = pd.Index(data.dataset["gene_id"].values).get_indexer(shown["gene_id"].values)
        latents.values[:, at] = shown.values
    return encoder, latents


def _windows(data: PreparedData, part: str) -> xr.Dataset:
    """Return the genes of a part whose windows have data; all where none has."""
    windows = data.dataset.isel(gene=np.flatnonzero(data.assignment == part))
    seen = has_data(windows).any(axis=0)
    return windows if seen.all() or not seen.any() else windows.isel(gene=seen)


def _labels_for_encoder(train: xr.Dataset, data: PreparedData) -> np.ndarray:
    """Return labels of the training windows, (cell_type, gene); unknown where not drawn."""
    target = target_of(train, data.config.task).transpose("cell_type", "gene").values
    drawn = data.dataset["gene_id"].values[data.labelled]
    unknown = UNKNOWN_LABEL if data.config.task == "classification" else np.nan
    mine = pd.Index(train["gene_id"].values).isin(drawn)
    return np.where(mine, target, np.asarray(unknown, target.dtype))


def write(data: PreparedData, fitted: Fitted, run: RunFolder) -> None:
    """Write models, tables and scores to a run folder."""
    fitted.encoder.save(run.encoder, overwrite=True)
    save_ensemble(fitted.predictor, run.path)
    if data.source is not None:
        save_ensemble(data.source.predictor, run.source)
    if fitted.uncertainty is not None:
        write_uncertainty(fitted.uncertainty, run.path)
    write_signal_profile(profile_signal(_windows(data, "train")), run.path)
    write_levels(data.dataset, run.path)
    parts = np.where(data.assignment == "", EXCLUDED, data.assignment)
    genes = {"gene_id": data.dataset["gene_id"].values, "split": parts, "labelled": data.labelled}
    write_table(pd.DataFrame(genes), run.split)
    history = getattr(fitted.encoder, "history_", None)
    history = history or getattr(fitted.predictor, "history_", None)
    if history:
        write_table(pd.DataFrame(history), run.history)
    write_table(fitted.predictions, run.predictions, data.dataset.attrs.get("note", ""))
    write_json(fitted.metrics, run.metrics)


def _write_request(data: PreparedData, run: RunFolder) -> None:
    """Write the options and what the run is made with; the latter stays when it is resumed."""
    write_config(data.config, run.config)
    if not run.environment.is_file():
        environment = describe_environment(data.dataset, data.request[DATASET_CHECKSUM])
        if SOURCE_CHECKSUM in data.request:
            environment[SOURCE_CHECKSUM] = data.request[SOURCE_CHECKSUM]
        write_json(environment, run.environment)


def _differences(run: RunFolder, request: dict[str, Any]) -> list[str]:
    """Return how a request differs from that of a finished run, as far as this is recorded."""
    environment = run.read_environment()
    recorded = {
        "config": read_config(run.config).model_dump(mode="json", exclude_none=True),
        DATASET_CHECKSUM: environment.get("dataset", {}).get("sha256"),
        SOURCE_CHECKSUM: environment.get(SOURCE_CHECKSUM),
    }
    if recorded[DATASET_CHECKSUM] is None:
        log.warning("%s does not record the data that it was fitted on", run.path)
    recorded = {name: value for name, value in recorded.items() if value and name in request}
    return differences(recorded, {name: request[name] for name in recorded})
