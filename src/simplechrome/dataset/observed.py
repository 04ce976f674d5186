"""What of a dataset was measured: genes without data are not counted, imputed marks are named."""

from __future__ import annotations

import logging

import numpy as np
import xarray as xr

from simplechrome.dataset.transforms.signal import present_marks
from simplechrome.errors import DatasetFormatError
from simplechrome.schema import UNKNOWN_LABEL

log = logging.getLogger(__name__)


def imputed_tracks(dataset: xr.Dataset) -> list[tuple[str, str]]:
    """Which tracks, cell type and mark, are no measurement?"""
    if "imputed" not in dataset:
        return []
    cell_types, marks = dataset["cell_type"].values, dataset["mark"].values
    where = np.argwhere(dataset["imputed"].values)
    return [(str(cell_types[row]), str(marks[column])) for row, column in where]


def _some(tracks: list[tuple[str, str]]) -> str:
    named = [" ".join(track) for track in tracks[:3]]
    return ", ".join(named) + (", …" if len(tracks) > 3 else "")


def require_measured(dataset: xr.Dataset, verb: str) -> None:
    """Was all of the signal measured?

    Raises
    ------
    DatasetFormatError
        If some of it was imputed.
    """
    tracks = imputed_tracks(dataset)
    if tracks:
        raise DatasetFormatError(
            f"A dataset with imputed signal cannot be used to {verb}.",
            found=f"{len(tracks)} imputed tracks ({_some(tracks)})",
            expected="measured signal",
            cause="it was made by `simplechrome impute`",
            remedy=f"{verb} the datasets that it was made from",
        )


def warn_of_imputed(dataset: xr.Dataset) -> None:
    """Say in the log which signal is no measurement."""
    tracks = imputed_tracks(dataset)
    if tracks:
        log.warning(
            "%d tracks are imputed, not measured (%s): what is learned from them was in other "
            "tracks already",
            *(len(tracks), _some(tracks)),
        )


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
