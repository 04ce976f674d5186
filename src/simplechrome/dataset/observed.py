"""Genes that no track has data of: they stay in the dataset, and in nothing that is counted."""

from __future__ import annotations

import logging

import numpy as np
import xarray as xr

from simplechrome.dataset.transforms import present_marks
from simplechrome.schema import UNKNOWN_LABEL

log = logging.getLogger(__name__)


def has_data(dataset: xr.Dataset) -> np.ndarray:
    """(cell_type, gene) bool: has any mark data in the window?"""
    return np.asarray(present_marks(dataset).any(axis=2))


def without_unobserved(dataset: xr.Dataset) -> xr.Dataset:
    """The same dataset, in which genes without data are of unknown label and expression.

    Of their windows nothing can be learned, and what is predicted for them is the same for all.
    How many there are is said in the log.
    """
    seen = has_data(dataset)
    known = (dataset["label"].values != UNKNOWN_LABEL) | np.isfinite(dataset["expression"].values)
    lost = known & ~seen
    if not lost.any():
        return dataset
    genes = int(lost.any(axis=0).sum())
    log.warning(
        "%d of %d genes have no data%s: they are neither learned from nor scored",
        *(genes, dataset.sizes["gene"]),
        "" if lost.shape[0] == 1 else " in one cell type or more",
    )
    label, expression = dataset["label"], dataset["expression"]
    return dataset.assign(
        label=label.copy(data=np.where(seen, label.values, UNKNOWN_LABEL).astype(np.int8)),
        expression=expression.copy(
            data=np.where(seen, expression.values, np.nan).astype(np.float32)
        ),
    )
