"""Data of a run, checked once: cell types, marks, genes, their split and the labels drawn."""

from __future__ import annotations

import logging

import numpy as np
import xarray as xr

from simplechrome.config.run import SplitConfig
from simplechrome.dataset import splits

log = logging.getLogger(__name__)


def assign_genes(dataset: xr.Dataset, config: SplitConfig, seed: int) -> np.ndarray:
    """Return the part of the configured split that each gene is in, (gene,).

    See `simplechrome.dataset.splits`.
    """
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
