"""Which genes a run holds out, as its configuration says."""

from __future__ import annotations

import logging

import numpy as np
import xarray as xr

from simplechrome.config import SplitConfig
from simplechrome.dataset import splits

log = logging.getLogger(__name__)


def assign_genes(dataset: xr.Dataset, config: SplitConfig, seed: int) -> np.ndarray:
    """On which side of the configured split is each gene? See `simplechrome.dataset.splits`."""
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
    """Say in the log what is wrong with a split that puts overlapping windows on both sides."""
    if kind == "published":
        log.warning(
            "The published split runs in order of gene number, and overlapping windows are on "
            "both sides: for comparison with published figures only"
        )
    elif kind == "random":
        log.warning("A random split puts overlapping windows on both sides: optimistic")
