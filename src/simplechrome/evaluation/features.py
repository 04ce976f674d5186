"""What a run's predictor looks at."""

from __future__ import annotations

from typing import Any

import xarray as xr

from simplechrome.config import RunConfig
from simplechrome.dataset.neighbors.graph import NeighborGraph
from simplechrome.errors import ConfigError
from simplechrome.predictors.surroundings import make_surroundings, neighbor_means


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


def features_of(
    latents: xr.DataArray, dataset: xr.Dataset, config: RunConfig, graph: NeighborGraph | None
) -> Any:
    """What does the run's predictor look at: latents alone, or those of neighbors too?"""
    if not config.neighbors or graph is None:
        return latents
    around = make_surroundings(latents, graph, dataset)
    return around if config.predictor.name == "neighborhood" else neighbor_means(around)
