"""Predictions and latents of other data by the models of a run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from simplechrome.dataset.choose import (
    choose_cell_types,
    name_pair,
    pair_dataset,
    without_unobserved,
)
from simplechrome.dataset.neighbors.graph import NeighborGraph
from simplechrome.errors import ConfigError, first_names
from simplechrome.evaluation.scores import coverage_columns, known_rows
from simplechrome.evaluation.uncertainty import Uncertainty
from simplechrome.runs.adapt import Adapted, adapt_run
from simplechrome.runs.load import (
    NEW,
    Models,
    learned_genes,
    load_run,
    sides_of,
    warn_of_other_genome,
)
from simplechrome.runs.predictions import features_of, latent_table, predict_genes
from simplechrome.runs.prepare import require_graph

log = logging.getLogger(__name__)

CHANGED = "signal_changed"
"""Column of tables: what depth scaling or matching did to the signal; absent if nothing."""


def predict_with_run(
    folder: str | Path,
    dataset: xr.Dataset,
    *,
    graph: NeighborGraph | None = None,
    pair: Sequence[str] | None = None,
    depth_scaling: bool = True,
    match_distribution: bool = False,
) -> pd.DataFrame:
    """Return the predictions of a run's model for every gene of a dataset.

    The column `split` is the part that each gene was in when the model was fitted, whatever cell
    type it is now predicted in: only `test` and `new` genes give unbiased scores.

    If signal was scaled or matched, the last column, `signal_changed`, records it; see
    `predict_genes` for the others. Logged are cell types that lack a mark, whose levels differ from
    training, or that probabilities were not calibrated on; and the coverage, where the dataset has
    labels or expression.

    Parameters
    ----------
    dataset
        All genes rather than a selection: their levels are compared with those of training.
    graph
        Neighbors of its genes, for a run with neighborhood features.
    pair
        For a run that predicts a difference: the two cell types of these data; those that the run
        was fitted on by default.
    depth_scaling
        Bring each mark of each cell type to the depth of training; see `adapt_signal`.
    match_distribution
        Give each mark the distribution of training instead, for signal in other units.

    Raises
    ------
    ModelMismatchError
        If the windows are not the model's, or no mark is; or if the signal has other units than
        the model's and `match_distribution` is False.
    ModelFormatError
        If distributions are to be matched, and the run does not record those of its training.
    """
    models = _for_pair(load_run(folder), pair)
    require_graph(models.config, graph)
    pair = models.config.pair
    if pair is not None:
        dataset = choose_cell_types(dataset, pair)
    dataset = without_unobserved(dataset)
    models, adapted = adapt_run(models, dataset, depth_scaling, match_distribution)
    dataset = adapted.dataset
    split = sides_of(models.split, dataset["gene_id"].values)
    warn_of_other_genome(models, dataset, split)
    latents = models.encoder.transform(dataset)
    learned = learned_genes(models, dataset)
    features = features_of(latents, dataset, models.config, graph, learned, models.source)
    predicted = dataset if pair is None else pair_dataset(dataset, pair)
    _warn_of_calibration(predicted, models)
    table = predict_genes(predicted, features, models.predictor, split, models.uncertainty)
    if models.uncertainty is not None:
        _log_coverage(table, models.uncertainty)
    # The changes are of each cell type, a table of a pair is of two.
    return table if pair is not None else _with_changes(table, adapted)


def latents_with_run(
    folder: str | Path,
    dataset: xr.Dataset,
    *,
    depth_scaling: bool = True,
    match_distribution: bool = False,
) -> xr.DataArray:
    """Return the latents of these windows under a run's encoder, (cell_type, gene, latent).

    Parameters and errors are those of `predict_with_run`.

    Raises
    ------
    ConfigError
        If the run's predictor uses the windows themselves.
    """
    models = load_run(folder)
    if models.config.encoder.name == "none":
        raise ConfigError(
            f"The run {folder} has no latents: its encoder is none.", "choose a run with an encoder"
        )
    models, (adapted, _) = adapt_run(models, dataset, depth_scaling, match_distribution)
    return models.encoder.transform(adapted)


def encode_with_run(
    folder: str | Path,
    dataset: xr.Dataset,
    *,
    depth_scaling: bool = True,
    match_distribution: bool = False,
) -> pd.DataFrame:
    """Return a dataset's latents under a run's encoder as a table; see `latent_table`.

    Parameters, errors, what is logged and the column `signal_changed` are as in
    `predict_with_run`.
    """
    models, adapted = adapt_run(load_run(folder), dataset, depth_scaling, match_distribution)
    return _with_changes(latent_table(adapted.dataset, models.encoder), adapted)


def _for_pair(models: Models, pair: Sequence[str] | None) -> Models:
    """Return the models for another pair of cell types, if one is given."""
    if pair is None:
        return models
    if models.config.pair is None:
        raise ConfigError(
            f"This run predicts no difference between cell types: its task is "
            f"{models.config.task}.",
            "omit --pair",
        )
    if len(pair) != 2:
        raise ConfigError(f"A difference needs two cell types, not {len(pair)}.", "--pair A,B")
    return models._replace(config=models.config.model_copy(update={"pair": tuple(pair)}))


def _with_changes(table: pd.DataFrame, adapted: Adapted) -> pd.DataFrame:
    if any(adapted.changes):
        table[CHANGED] = np.repeat(adapted.changes, adapted.dataset.sizes["gene"])
    return table


def _warn_of_calibration(dataset: xr.Dataset, models: Models) -> None:
    """Log where calibration and coverage do not hold."""
    uncertainty, pair = models.uncertainty, models.config.pair
    if uncertainty is None:
        log.warning(
            "%s has no calibration.json (it is of an older version, or was cut short): predictions "
            "are uncalibrated, without sets or intervals; fit it again to have them",
            models.folder,
        )
        return
    cells = [str(name) for name in dataset["cell_type"].values]
    # Coverage of a pair holds for the swapped pair.
    swapped = [] if pair is None or name_pair(pair[::-1]) not in uncertainty.cell_types else cells
    others = [name for name in cells if name not in {*uncertainty.cell_types, *swapped}]
    if others:
        log.warning(
            "%d of %d cell types were not in the run (%s): calibration and coverage hold only for "
            "data like those that it was fitted on, with tracks of the same depth",
            *(len(others), len(cells), first_names(others)),
        )


def fair_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions that can be scored: of known expression, of genes not trained on."""
    known = known_rows(table, task_of(table))
    return known[known["split"].isin(("test", NEW))]


def task_of(table: pd.DataFrame) -> str:
    """Return the task of a table of predictions: classification, regression or difference."""
    if "probability" in table:
        return "classification"
    return "difference" if "predicted_change" in table else "regression"


def _log_coverage(table: pd.DataFrame, uncertainty: Uncertainty) -> None:
    fair = fair_rows(table)
    if not fair.empty:
        covered = coverage_columns(fair, uncertainty.task)["coverage"]
        log.info(
            "Coverage: %.1f %% of %d test and new genes lie inside their %s (nominal: %g %%)",
            *(100 * covered.mean(), len(fair)),
            "label sets" if uncertainty.task == "classification" else "intervals",
            100 * uncertainty.coverage,
        )
