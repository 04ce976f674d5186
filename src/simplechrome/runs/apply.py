"""What the models of a run say about other data."""

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
from simplechrome.dataset.lookup import find_gene
from simplechrome.dataset.neighbors.graph import NeighborGraph
from simplechrome.errors import ConfigError
from simplechrome.evaluation.scores import coverage_columns, known_rows
from simplechrome.evaluation.uncertainty import Uncertainty
from simplechrome.pretrained import locate_run
from simplechrome.runs.adapt import Adapted
from simplechrome.runs.features import features_of, neighborhood_of, require_graph
from simplechrome.runs.load import (
    NEW,
    Models,
    adapt_run,
    learned_genes,
    load_run,
    sides_of,
    warn_of_other_genome,
)
from simplechrome.runs.neighbor_effects import neighbor_effects
from simplechrome.runs.predictions import latent_table, predict_genes

log = logging.getLogger(__name__)

CHANGED = "signal_changed"
"""Column of tables: what depth scaling or matching did to the signal; there where it did any."""


def predict_with_run(
    folder: str | Path,
    dataset: xr.Dataset,
    *,
    graph: NeighborGraph | None = None,
    pair: Sequence[str] | None = None,
    depth_scaling: bool = True,
    match_distribution: bool = False,
) -> pd.DataFrame:
    """What does a run's model predict for every gene of a dataset?

    Cell types that lack a mark, or whose levels are far from those of training, are named in the
    log, as are those that probabilities were not calibrated on; where the dataset has labels or
    expression, so is the share of genes that lie inside of their sets or intervals.

    The column `split` says on which side each gene was when the model was fitted, whatever cell
    type it is now predicted in: only `test` and `new` genes are fair to score.

    Parameters
    ----------
    folder
        Of the run.
    dataset
        All genes rather than a selection: their levels are compared with those of training.
    graph
        Neighbors of its genes, for a run that looks at these.
    pair
        For a run that predicts a difference: the two cell types of these data; those that the run
        was fitted on by default.
    depth_scaling
        Bring each mark of each cell type to the depth of training; see `adapt_signal`.
    match_distribution
        Give each mark the distribution of training instead, for signal in other units.

    Returns
    -------
    See `predict_genes`. Where signal was scaled or matched, the last column, `signal_changed`,
    says so.

    Raises
    ------
    ModelMismatchError
        If the windows are not the model's, or no mark is; or if the signal has other units than
        the model's and `match_distribution` is False.
    ModelFormatError
        If distributions are to be matched, and the run does not know those of its training.
    """
    models = load_run(folder)
    require_graph(models.config, graph)
    if pair is not None:
        models = _of_pair(models, pair)
    if models.config.pair is not None:
        dataset = choose_cell_types(dataset, models.config.pair)
    dataset = without_unobserved(dataset)
    folder = locate_run(folder)
    models, adapted = adapt_run(folder, models, dataset, depth_scaling, match_distribution)
    dataset = adapted.dataset
    split = sides_of(models.split, dataset["gene_id"].values)
    warn_of_other_genome(folder, dataset, split)
    latents = models.encoder.transform(dataset)
    learned = learned_genes(models, dataset)
    features = features_of(latents, dataset, models.config, graph, learned, models.source)
    asked = dataset if models.config.pair is None else pair_dataset(dataset, models.config.pair)
    _warn_of_promises(asked, folder, models.uncertainty, models.config.pair)
    table = predict_genes(asked, features, models.predictor, split, models.uncertainty)
    if models.uncertainty is not None:
        _say_coverage(table, models.uncertainty)
    if models.config.pair is not None:  # its columns are of one cell type, the table of two
        return table
    return _say_changes(table, adapted)


def _of_pair(models: Models, pair: Sequence[str]) -> Models:
    """The models, to be asked about another pair of cell types."""
    if models.config.pair is None or len(pair) != 2:
        raise ConfigError(
            "This run is not asked about a pair of cell types."
            if models.config.pair is None
            else "A difference needs two cell types.",
            found=f"--pair {','.join(pair)}",
            expected=f"no --pair: the task is {models.config.task}"
            if models.config.pair is None
            else "--pair A,B",
        )
    return models._replace(config=models.config.model_copy(update={"pair": tuple(pair)}))


def explain_with_run(
    folder: str | Path,
    dataset: xr.Dataset,
    genes: Sequence[str],
    graph: NeighborGraph | None,
    *,
    depth_scaling: bool = True,
    match_distribution: bool = False,
) -> pd.DataFrame:
    """Which neighbors moved the run's predictions of these genes, and by how much?

    Parameters
    ----------
    folder
        Of a run with the predictor `neighborhood`.
    dataset, graph, depth_scaling, match_distribution
        See `predict_with_run`.
    genes
        Ids, or names that only one gene has.

    Returns
    -------
    See `neighbor_effects`.

    Raises
    ------
    ConfigError
        If the run's predictor does not attend to neighbors.
    UnknownGeneError
        If a gene is not there.
    """
    models = load_run(folder)
    require_graph(models.config, graph)
    if models.config.predictor.name != "neighborhood" or graph is None:
        raise ConfigError(
            "This run cannot say which neighbors moved a prediction.",
            found=f"the predictor {models.config.predictor.name}",
            expected="the predictor neighborhood, which attends to each",
            remedy="fit one with --predictor neighborhood --neighbors …",
        )
    ids = dataset["gene_id"].values
    wanted = [str(ids[find_gene(dataset, gene)]) for gene in genes]
    models, (adapted, _) = adapt_run(folder, models, dataset, depth_scaling, match_distribution)
    latents = models.encoder.transform(adapted)
    around = neighborhood_of(latents, adapted, models.config, graph, learned_genes(models, adapted))
    return neighbor_effects(models.predictor, around, wanted, dataset)


def _say_changes(table: pd.DataFrame, adapted: Adapted) -> pd.DataFrame:
    if any(adapted.changes):
        table[CHANGED] = np.repeat(adapted.changes, adapted.dataset.sizes["gene"])
    return table


def _warn_of_promises(
    dataset: xr.Dataset,
    folder: str | Path,
    uncertainty: Uncertainty | None,
    pair: Sequence[str] | None,
) -> None:
    """Where do calibration and coverage not hold?"""
    if uncertainty is None:
        log.warning(
            "%s has no calibration.json (an older run, or one that was cut short): predictions are "
            "uncalibrated, without sets or intervals; fit it again to have them",
            folder,
        )
        return
    cells = [str(name) for name in dataset["cell_type"].values]
    # What is promised of a pair is promised of the pair swapped.
    swapped = [] if pair is None or name_pair(pair[::-1]) not in uncertainty.cell_types else cells
    others = [name for name in cells if name not in {*uncertainty.cell_types, *swapped}]
    if others:
        named = ", ".join(others[:5]) + (", …" if len(others) > 5 else "")
        log.warning(
            "%d of %d cell types were not in the run (%s): calibration and coverage are promised "
            "only for data like those that it was fitted on, with tracks of the same depth",
            *(len(others), len(cells), named),
        )


def fair_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Which predictions can be scored: of known expression, of genes that the run never saw?"""
    known = known_rows(table, task_of(table))
    return known[known["split"].isin(("test", NEW))]


def task_of(table: pd.DataFrame) -> str:
    """`classification`, `regression` or `difference`: what do these predictions speak of?"""
    if "probability" in table:
        return "classification"
    return "difference" if "predicted_change" in table else "regression"


def _say_coverage(table: pd.DataFrame, uncertainty: Uncertainty) -> None:
    """How many genes that can be scored lie inside of their sets or intervals?"""
    fair = fair_rows(table)
    if not fair.empty:
        covered = coverage_columns(fair, uncertainty.task)["coverage"]
        log.info(
            "%.1f %% of %d test and new genes lie inside of their %s (promised: %g %%)",
            *(100 * covered.mean(), len(fair)),
            "label sets" if uncertainty.task == "classification" else "intervals",
            100 * uncertainty.coverage,
        )


def latents_with_run(
    folder: str | Path,
    dataset: xr.Dataset,
    *,
    depth_scaling: bool = True,
    match_distribution: bool = False,
) -> xr.DataArray:
    """What are the latents of these windows under a run's encoder? (cell_type, gene, latent).

    Parameters are those of `predict_with_run`.

    Raises
    ------
    ConfigError
        If the run's predictor looks at windows themselves.
    ModelMismatchError
        See `predict_with_run`.
    """
    models = load_run(folder)
    if models.config.encoder.name == "none":
        raise ConfigError(
            "This run has no latents.",
            found=f"{folder} with the encoder none",
            expected="a run with an encoder",
        )
    models, (adapted, _) = adapt_run(folder, models, dataset, depth_scaling, match_distribution)
    return models.encoder.transform(adapted)


def encode_with_run(
    folder: str | Path,
    dataset: xr.Dataset,
    *,
    depth_scaling: bool = True,
    match_distribution: bool = False,
) -> pd.DataFrame:
    """What are a dataset's latents under a run's encoder?

    Cell types that lack a mark, or whose levels are far from those of training, are named in the
    log. Parameters and errors are those of `predict_with_run`.

    Returns
    -------
    See `latent_table`. Where signal was scaled or matched, the last column, `signal_changed`, says
    so.
    """
    models, adapted = adapt_run(
        folder, load_run(folder), dataset, depth_scaling, match_distribution
    )
    return _say_changes(latent_table(adapted.dataset, models.encoder), adapted)
