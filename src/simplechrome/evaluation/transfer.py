"""Are the data that a model is asked about like those that it was fitted on?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import xarray as xr

from simplechrome.dataset.transforms import SignalTransform

if TYPE_CHECKING:
    from simplechrome.latent.encoder import Encoder

log = logging.getLogger(__name__)

LARGE_SHIFT = 0.25
"""In standard deviations of a mark's bins in training; beyond it the depth or antibody differs."""

_EXAMPLES = 5  # in a message


def warn_of_transfer(dataset: xr.Dataset, encoder: Encoder) -> None:
    """Which cell types lack a mark of the model, or have other levels of it than in training?

    Says so in the log, a line per matter: a model moved between tracks of different depth ranks
    genes, but its probabilities are off. Marks that no cell type of the dataset knows by name are
    said by the encoder itself.

    Levels are compared with the mean over all training windows. An encoder that was fitted on
    several cell types does not know the level of each, so one of these may be named too.

    Parameters
    ----------
    dataset
        What is to be encoded or predicted.
    encoder
        Fitted.
    """
    units = str(dataset["signal"].attrs.get("units", ""))
    if units and encoder.units_ and units != encoder.units_:
        log.warning(
            "The signal is in %s, and the model was fitted on %s: build the dataset from the same "
            "kind of tracks, or fit a model on this one",
            *(units, encoder.units_),
        )
    have = [str(mark) for mark in dataset["mark"].values]
    shared = [mark for mark in encoder.marks_ if mark in have]
    lacking: list[str] = []
    far: list[str] = []
    for row, cell_type in enumerate(dataset["cell_type"].values):
        # Cell type by cell type: the memory of one, however many there are.
        one = dataset.isel(cell_type=[row], mark=[have.index(mark) for mark in shared])
        shifts = _shifts(one, encoder) if shared else {}
        missing = [mark for mark in shared if mark not in shifts]
        if missing:
            lacking.append(f"{cell_type} lacks {', '.join(missing)}")
        moved = [
            f"{mark} {shift:+.2f}" for mark, shift in shifts.items() if abs(shift) > LARGE_SHIFT
        ]
        if moved and encoder.transform_.standardize:
            far.append(f"{cell_type}: {', '.join(moved)}")
    cells = dataset.sizes["cell_type"]
    if lacking:
        log.warning(
            "%d of %d cell types lack marks of the model, which are treated as not assayed (%s): "
            "their predictions are less sure; a model fitted without these marks shows by how much",
            *(len(lacking), cells, _some(lacking)),
        )
    if far:
        log.warning(
            "%d of %d cell types differ in level from the mean of the training windows, in "
            "standard deviations of a bin (%s). Trust their ranks (AUROC) more than their "
            "probabilities, unless they were trained on; or fit again with them among the data "
            "(`simplechrome merge`), which the encoder can use without labels",
            *(len(far), cells, _some(far)),
        )


def _shifts(one: xr.Dataset, encoder: Encoder) -> dict[str, float]:
    """How far the mean of each mark that one cell type has lies from the training mean."""
    fitted = encoder.transform_
    windows = SignalTransform(fitted.function, standardize=False).fit(one).transform(one)
    shifts = {}
    for column, mark in enumerate(map(str, one["mark"].values)):
        seen = windows.present[0, :, column]
        if seen.any():
            at = fitted.marks_.index(mark)
            mean = float(windows.values[0, seen, :, column].mean(dtype="float64"))
            mean_then, scale = float(fitted.mean_[at]), float(fitted.scale_[at])
            # Exactly 0 and 1 where no training window had the mark: nothing to compare with.
            shifts[mark] = 0.0 if (mean_then, scale) == (0, 1) else (mean - mean_then) / scale
    return shifts


def _some(texts: Sequence[str]) -> str:
    return "; ".join(texts[:_EXAMPLES]) + ("; …" if len(texts) > _EXAMPLES else "")
