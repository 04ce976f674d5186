"""Neighbors that moved the predictions of genes, by attention and by knock-out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from simplechrome.dataset.lookup import find_gene
from simplechrome.dataset.neighbors.graph import BANDS, BEYOND, NeighborGraph
from simplechrome.errors import ConfigError
from simplechrome.predictors.neighborhood_features import NeighborhoodFeatures
from simplechrome.predictors.predictor import Predictor
from simplechrome.runs.adapt import adapt_run
from simplechrome.runs.ensemble import Ensemble
from simplechrome.runs.load import learned_genes, load_run
from simplechrome.runs.predictions import neighborhood_of
from simplechrome.runs.prepare import require_graph

ELSEWHERE = "another chromosome"


def explain_with_run(
    folder: str | Path,
    dataset: xr.Dataset,
    genes: Sequence[str],
    graph: NeighborGraph | None,
    *,
    depth_scaling: bool = True,
    match_distribution: bool = False,
) -> pd.DataFrame:
    """Return how much each neighbor moved a run's predictions of some genes.

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
        If a gene is not in the dataset.
    """
    models = load_run(folder)
    require_graph(models.config, graph)
    if models.config.predictor.name != "neighborhood" or graph is None:
        raise ConfigError(
            f"The predictor {models.config.predictor.name} of this run does not attend to "
            "neighbors, so that their effects are unknown.",
            "fit a run with --predictor neighborhood --neighbors genomic",
        )
    ids = dataset["gene_id"].values
    wanted = [str(ids[find_gene(dataset, gene)]) for gene in genes]
    models, (adapted, _) = adapt_run(models, dataset, depth_scaling, match_distribution)
    latents, learned = models.encoder.transform(adapted), learned_genes(models, adapted)
    features = neighborhood_of(latents, adapted, models.config, graph, learned)
    return neighbor_effects(models.predictor, features, wanted, dataset)


def neighbor_effects(
    predictor: Predictor | Ensemble,
    features: NeighborhoodFeatures,
    genes: Sequence[str],
    dataset: xr.Dataset,
) -> pd.DataFrame:
    """Return how much each neighbor moved the predictions of some genes.

    Parameters
    ----------
    predictor
        A `NeighborhoodPredictor`, or an ensemble of these.
    features
        Of all genes.
    genes
        Ids of the genes to explain.
    dataset
        With the names of all genes.

    Returns
    -------
    See `NeighborhoodPredictor.explain`, with gene_name and neighbor_name; of an ensemble the means
    over its members.
    """
    members: Any = predictor.members if isinstance(predictor, Ensemble) else (predictor,)
    tables = [member.explain(features, list(genes)) for member in members]
    keys = ["gene_id", "cell_type", "neighbor_id", "kind"]
    table: pd.DataFrame = tables[0]
    for name in ("attention", "knock_out", "all_neighbors"):
        if len(tables) > 1:
            each = [t.set_index(keys)[name].reindex(table.set_index(keys).index) for t in tables]
            table[name] = np.mean(each, axis=0)
    ids = dataset["gene_id"].values
    names = dataset["gene_name"].values if "gene_name" in dataset.coords else ids
    by_id = dict(zip(ids, names, strict=True))
    table.insert(1, "gene_name", table["gene_id"].map(by_id))
    table.insert(4, "neighbor_name", table["neighbor_id"].map(by_id))
    return table


def level_ranks(dataset: xr.Dataset, cell_type: str) -> pd.DataFrame:
    """Return the rank of each gene by the level of each mark, as a fraction of all genes.

    Returns
    -------
    (gene_id, mark): the fraction of genes whose window has no more of the mark; without the marks
    that the cell type lacks.
    """
    one = dataset.sel(cell_type=cell_type)
    present = one["mark_present"].values
    means = one["signal"].values.mean(axis=1, dtype=np.float64)[:, present]
    table = pd.DataFrame(means, dataset["gene_id"].values, dataset["mark"].values[present])
    return table.rank(pct=True, method="max")


def effects_by_distance(effects: pd.DataFrame) -> pd.DataFrame:
    """Return attention and effect of the neighbors by their distance.

    Parameters
    ----------
    effects
        As `neighbor_effects` returns them.

    Returns
    -------
    One row a kind and band of distance: kind, distance, neighbors (their number), attention (the
    mean weight of a neighbor), effect (root mean square of the knock-out).
    """
    away = effects["distance"].abs().to_numpy(float)
    edges = [0, *(high for _, _, high in BANDS), np.inf]
    names = [*(name for name, _, _ in BANDS), BEYOND]
    places = np.array([*names, ELSEWHERE], dtype=object)
    place = np.where(
        np.isfinite(away), np.searchsorted(edges, away, side="right") - 1, places.size - 1
    )
    band = pd.Categorical(places[place], categories=places.tolist(), ordered=True)
    table = pd.DataFrame(
        {
            "kind": effects["kind"].to_numpy(),
            "distance": band,
            "attention": effects["attention"].to_numpy(),
            "effect": effects["knock_out"].to_numpy() ** 2,
        }
    )
    grouped = table.groupby(["kind", "distance"], observed=True, sort=True)
    means = grouped.mean()
    means["effect"] = np.sqrt(means["effect"])
    means.insert(0, "neighbors", grouped.size())
    return means.reset_index().astype({"distance": str})
