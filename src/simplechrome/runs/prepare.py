"""Data of a run, checked once: cell types, marks, genes, their split and the labels drawn."""

from __future__ import annotations

import hashlib
import logging
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import xarray as xr

from simplechrome.config.run import RunConfig, SplitConfig
from simplechrome.dataset import splits
from simplechrome.dataset.choose import (
    choose_cell_types,
    choose_marks,
    pair_dataset,
    warn_of_imputed,
    without_unobserved,
)
from simplechrome.dataset.neighbors.graph import NeighborGraph
from simplechrome.errors import ConfigError, SplitError, first_names
from simplechrome.evaluation.scores import known_rows, levels_of
from simplechrome.metrics import auroc, pearson
from simplechrome.predictors.rows import known_targets, require_two_classes
from simplechrome.pretrained import locate_run
from simplechrome.runs.adapt import adapt_run
from simplechrome.runs.folder import RunFolder, dataset_checksum, require_startable
from simplechrome.runs.load import Models, sides_of, warn_of_other_genome
from simplechrome.runs.predictions import target_of
from simplechrome.training.model_files import ARRAYS

log = logging.getLogger(__name__)

DATASET_CHECKSUM, SOURCE_CHECKSUM = "dataset sha256", "source sha256"
"""In a run's request: the data, and the weights of the run that it is fine-tuned from."""
_MEMORIZED = 0.02
"""AUROC, or correlation, by which a model must score its own training genes better than others to
count as memorized: more than chromosomes differ by."""


class PreparedData(NamedTuple):
    """What a run is fitted on, checked.

    dataset : its cell types and marks, normalized to the tracks of `source` if there is one
    predicted : the dataset, or a pair of its cell types as one
    assignment : (gene,), `train`, `validation`, `test`, or empty for excluded genes
    labelled : (gene,) bool, training genes whose labels are used
    request : all that decides the result, as plain JSON
    """

    config: RunConfig
    dataset: xr.Dataset
    predicted: xr.Dataset
    assignment: np.ndarray
    labelled: np.ndarray
    graph: NeighborGraph | None
    source: Models | None
    request: dict[str, Any]


def prepare(
    dataset: xr.Dataset,
    config: RunConfig,
    *,
    graph: NeighborGraph | None = None,
    source: Models | None = None,
) -> PreparedData:
    """Return the data of a run; everything is checked here, before anything is fitted.

    See `fit_run` for the parameters.

    Raises
    ------
    ConfigError
        If options and data do not fit together.
    SplitError, MissingExpressionError, UndefinedScoreError
        If a part of the split has no gene, or its genes have no labels of both classes.
    """
    if config.cell_types is not None:
        dataset = choose_cell_types(dataset, config.cell_types)
    if config.marks is not None:
        dataset = choose_marks(dataset, config.marks)
    require_graph(config, graph)
    dataset = without_unobserved(dataset)
    warn_of_imputed(dataset)
    if (config.init_from is None) != (source is None):
        raise ConfigError(
            f"The configuration names {config.init_from or 'no run'} to fine-tune, and "
            f"{'no models are' if source is None else 'models are'} passed.",
            "set config.init_from to the path of the run, and pass source=load_run(path)",
        )
    if source is not None:
        _require_same_models(config, source.config)
        source, (dataset, _) = adapt_run(
            source, dataset, match_distribution=config.match_distribution
        )
    warn_of_split(config.split.kind)
    assignment = assign_genes(dataset, config.split, config.seed)
    predicted = dataset if config.pair is None else pair_dataset(dataset, config.pair)
    train = splits.apply_assignment(predicted, assignment).train
    drawn = train["gene_id"].values[_draw_labels(train, config)]
    if source is not None:
        _require_disjoint(source, dataset, assignment, drawn, config)
    # NumPy compares strings pair by pair: 4 s for 18,421 genes.
    labelled = pd.Index(dataset["gene_id"].values).isin(drawn)
    request: dict[str, Any] = {
        "config": config.model_dump(mode="json", exclude_none=True),
        DATASET_CHECKSUM: dataset_checksum(dataset),
    }
    if graph is not None:
        request["neighbors sha256"] = graph.checksum()
    if config.init_from is not None:
        weights = hashlib.sha256()
        for path in sorted(locate_run(config.init_from).rglob(ARRAYS)):
            weights.update(path.read_bytes())
        request[SOURCE_CHECKSUM] = weights.hexdigest()
    return PreparedData(config, dataset, predicted, assignment, labelled, graph, source, request)


def require_graph(config: RunConfig, graph: NeighborGraph | None) -> None:
    """Refuse a run with neighborhood features without a neighbor graph."""
    if config.predictor.name == "neighborhood" and not config.neighbors:
        raise ConfigError(
            "The predictor neighborhood needs neighbor graphs of the dataset, and none is named.",
            "--neighbors genomic, made with `simplechrome neighbors genomic DATASET`",
        )
    if config.neighbors and graph is None:
        raise ConfigError(
            f"The run uses the neighbor graphs {', '.join(config.neighbors)}, and none is passed.",
            "graph=simplechrome.open_neighbors(path, names, dataset=dataset)",
        )


def assign_genes(dataset: xr.Dataset, config: SplitConfig, seed: int) -> np.ndarray:
    """Return the part of the configured split that each gene is in, (gene,)."""
    match config.kind:
        case "chromosome":
            return splits.assign_by_chromosome(
                dataset, config.test_chroms, config.validation_chroms, config.exclude_chroms
            )
        case "published":
            return splits.assign_as_published(dataset)
        case "random":
            return splits.assign_at_random(
                dataset, test=config.test_share, validation=config.validation_share, seed=seed
            )
        case "fold":
            return splits.assign_by_fold(dataset, config.fold, config.n_folds)


def warn_of_split(kind: str) -> None:
    """Log a warning for splits that put overlapping windows of neighboring genes in both sets."""
    if kind == "published":
        log.warning(
            "The published split goes by gene number, so training and test windows overlap: use "
            "it only to compare with published figures"
        )
    elif kind == "random":
        log.warning("Training and test windows overlap under a random split: scores are optimistic")


def _draw_labels(train: xr.Dataset, config: RunConfig) -> np.ndarray:
    """Return the positions of the training genes whose labels the predictor learns from."""
    target = target_of(train, config.task)
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


# Fine-tuning: what must match, and which genes the pretrained run has learned from.


def _require_same_models(config: RunConfig, source: RunConfig) -> None:
    run = str(config.init_from)
    require_startable(source, run)
    for name in ("task", "encoder", "add_log_means"):
        found, expected = getattr(config, name), getattr(source, name)
        if found != expected:
            raise ConfigError(
                f"A fine-tuned run keeps the task and encoder of {run}: found {name} {found!r}, "
                f"and {expected!r} there.",
                "pass --init-from alone, which sets both; in Python take them from "
                "load_run(path).config",
            )


def _require_disjoint(
    source: Models,
    dataset: xr.Dataset,
    assignment: np.ndarray,
    drawn: np.ndarray,
    config: RunConfig,
) -> None:
    """Refuse held-out genes that the pretrained run has learned from, in any cell type."""
    run, gene_ids = str(config.init_from), dataset["gene_id"].values
    sides = sides_of(source.split, gene_ids)
    warn_of_other_genome(source, dataset, sides)
    for name, seen in (("test", ("train", "validation")), ("validation", ("train",))):
        here = assignment == name
        learned = gene_ids[here & np.isin(sides, seen)]
        if learned.size:
            raise SplitError(
                f"{run} has learned from {learned.size} of {here.sum()} {name} genes of this split "
                f"({first_names(learned, 3)}): a gene's expression in one cell type predicts it in "
                "others.",
                _split_remedy(source.config, config),
            )
    _warn_if_memorized(run, source, drawn)


def _split_remedy(source: RunConfig, config: RunConfig) -> str:
    if source.split != config.split:
        return "omit the options on the split: those of that run are used"
    if source.split.kind == "random" and source.seed != config.seed:
        return f"--seed {source.seed}, as in that run: a random split depends on it"
    return (
        "hold out whole chromosomes in both runs (--split chromosome): splits of another kind "
        "depend on which genes a dataset has"
    )


def _warn_if_memorized(run: str, source: Models, drawn: np.ndarray) -> None:
    """Log a warning if the pretrained run scores genes that are used again better than others."""
    path = RunFolder(source.folder).predictions
    learned = source.split[source.labelled & (source.split == "train")]
    again = int((sides_of(learned, drawn) == "train").sum())
    if not path.is_file() or not again:
        return
    task = source.config.task
    table = known_rows(pq.read_table(path).to_pandas(), task)
    mine = _score(table[table["gene_id"].isin(learned.index)], task)
    others = _score(table[table["split"] == "validation"], task)
    if mine - others > _MEMORIZED:
        log.warning(
            "%s scores its training genes better than others (%s %.3f and %.3f): it has memorized "
            "some of them, and %d of the %d labelled genes here are among them. Its predictions of "
            "these get too much weight, and probabilities are overconfident. A linear predictor "
            "fitted on thousands of labels does not memorize",
            *(run, "AUROC" if task == "classification" else "correlation"),
            *(mine, others, again, drawn.size),
        )


def _score(table: pd.DataFrame, task: str) -> float:
    """Return the AUROC or correlation; NaN where it is undefined."""
    if task != "classification":
        measured, predicted = levels_of(table)
        return pearson(measured, predicted) if len(table) > 1 else np.nan
    label = table["label"].to_numpy()
    return auroc(label, table["probability"].to_numpy()) if np.unique(label).size > 1 else np.nan
