"""Which neighbors moved predictions, and by how much?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from simplechrome.dataset.neighbors.graph import BANDS, BEYOND
from simplechrome.predictors.neighborhood_features import NeighborhoodFeatures
from simplechrome.predictors.predictor import Predictor
from simplechrome.runs.ensemble import Ensemble

ELSEWHERE = "another chromosome"


def neighbor_effects(
    predictor: Predictor | Ensemble,
    around: NeighborhoodFeatures,
    genes: Sequence[str],
    dataset: xr.Dataset,
) -> pd.DataFrame:
    """Which neighbors moved the predictions of these genes?

    Parameters
    ----------
    predictor
        A `NeighborhoodPredictor`, or an ensemble of these.
    around
        All genes.
    genes
        Ids of those that are asked about.
    dataset
        With the names of all genes.

    Returns
    -------
    See `NeighborhoodPredictor.explain`, with gene_name and neighbor_name; of an ensemble the means
    over its members.
    """
    members: Any = predictor.members if isinstance(predictor, Ensemble) else (predictor,)
    tables = [member.explain(around, list(genes)) for member in members]
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
    """How much of each mark has each gene, among all genes?

    Returns
    -------
    (gene_id, mark): the share of genes whose window holds no more of the mark; without the marks
    that the cell type lacks.
    """
    one = dataset.sel(cell_type=cell_type)
    present = one["mark_present"].values
    means = one["signal"].values.mean(axis=1, dtype=np.float64)[:, present]
    table = pd.DataFrame(means, dataset["gene_id"].values, dataset["mark"].values[present])
    return table.rank(pct=True, method="max")


def effects_by_distance(effects: pd.DataFrame) -> pd.DataFrame:
    """Where are the neighbors that a model looks at, and those that move its predictions?

    Parameters
    ----------
    effects
        As `neighbor_effects` gives them.

    Returns
    -------
    One row a kind and band of distance: kind, distance, neighbors (their number), attention (the
    mean share of a neighbor), effect (root mean square of the knock-out).
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
