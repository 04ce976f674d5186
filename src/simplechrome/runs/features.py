"""What a run's predictor looks at, and what it is to predict."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from simplechrome.config.run import RunConfig
from simplechrome.dataset.choose import name_pair
from simplechrome.dataset.neighbors.graph import NeighborGraph
from simplechrome.errors import ConfigError
from simplechrome.predictors.difference import pair_features
from simplechrome.predictors.neighborhood_features import (
    NeighborhoodFeatures,
    make_neighborhood_features,
    neighbor_means,
)
from simplechrome.predictors.predictor import Predictor
from simplechrome.predictors.rows import PAIR
from simplechrome.runs.ensemble import Ensemble, values_of
from simplechrome.runs.held_out import known_pairs

SOURCE_LENGTH = 2.0
"""Of what a source says, in its log odds or levels; see docs/explanation/transfer.md."""


def target_of(dataset: xr.Dataset, task: str) -> xr.DataArray:
    """What is to be predicted: the label, log2(expression + 1), or the change of a pair?"""
    if task == "classification":
        return dataset["label"]
    if task == "difference":
        return dataset["change"]
    levels: xr.DataArray = np.log2(dataset["expression"] + 1)  # type: ignore[assignment]
    return levels


def require_graph(config: RunConfig, graph: NeighborGraph | None) -> None:
    """Is it said who the neighbors are, where a run looks at any?

    Raises
    ------
    ConfigError
        If not.
    """
    if config.predictor.name == "neighborhood" and not config.neighbors:
        raise ConfigError(
            "The predictor neighborhood looks at neighbors, and none are named.",
            expected="names of the dataset's neighbor graphs",
            remedy="--neighbors genomic, made with `simplechrome neighbors genomic DATASET`",
        )
    if config.neighbors and graph is None:
        raise ConfigError(
            "The run looks at neighbors, and is not told who these are.",
            found=f"neighbors {', '.join(config.neighbors)}, and no graph",
            expected="graph=simplechrome.open_neighbors(path, names, dataset=dataset)",
        )


def neighborhood_of(
    latents: xr.DataArray,
    dataset: xr.Dataset,
    config: RunConfig,
    graph: NeighborGraph,
    learned: np.ndarray,
) -> NeighborhoodFeatures:
    """Genes with their neighbors, as the run's predictor is told of these; see `features_of`."""
    expression = (
        neighbor_expression_features(dataset, config.task, learned)
        if config.neighbor_expression
        else None
    )
    return make_neighborhood_features(latents, graph, dataset, expression)


def neighbor_expression_features(dataset: xr.Dataset, task: str, learned: np.ndarray) -> np.ndarray:
    """(cell_type, gene) labels, or levels, of the genes that are learned from; NaN for others.

    Parameters
    ----------
    dataset
        With labels, or expression.
    task
        `classification` or `regression`.
    learned : (gene,)
        True for training genes whose labels are used.
    """
    target = target_of(dataset, task).transpose(*PAIR)
    return np.where(known_pairs(target, task) & learned, target.values, np.nan)


def append_source_logit(latents: xr.DataArray, source: Predictor | Ensemble) -> xr.DataArray:
    """What does a predictor that learned elsewhere say of these genes, and their latents?

    Twice its log odds (or levels) are longer than any latent, so that a ridge penalty leans on them
    first: with few labels the answer stays that of the source, with many it gives way.

    Returns
    -------
    (cell_type, gene, latent), the first of which is `source`.
    """
    said = SOURCE_LENGTH * values_of(source, latents).mean(axis=0)
    score = xr.DataArray(
        said[..., np.newaxis].astype(np.float32),
        dims=latents.dims,
        coords={"latent": np.asarray(["source"], dtype=object)},
    )
    plain = latents.drop_vars([name for name in latents.coords if name != "latent"])
    both = xr.concat([score, plain], dim="latent")
    return both.assign_coords({n: c for n, c in latents.coords.items() if n != "latent"})


def features_of(
    latents: xr.DataArray,
    dataset: xr.Dataset,
    config: RunConfig,
    graph: NeighborGraph | None,
    learned: np.ndarray,
    source: Predictor | Ensemble | None = None,
) -> Any:
    """What does the run's predictor look at: latents alone, or those of others beside them?

    Parameters
    ----------
    latents : (cell_type, gene, latent)
    dataset
        Of these genes.
    config
        Of the run.
    graph
        Neighbors of the genes, where the run looks at any.
    learned : (gene,)
        True for genes whose labels the predictor learns from. Only these tell their neighbors
        what they express, where the run is to know that.
    source
        Predictor of the run that this one started from: what it says comes before the latents.
    """
    if config.pair is not None:
        sides = [latents.sel(cell_type=[name]) for name in config.pair]
        return pair_features(sides[0], sides[1], name_pair(config.pair))
    if source is not None:
        return append_source_logit(latents, source)
    if not config.neighbors or graph is None:
        return latents
    around = neighborhood_of(latents, dataset, config, graph, learned)
    return around if config.predictor.name == "neighborhood" else neighbor_means(around)
