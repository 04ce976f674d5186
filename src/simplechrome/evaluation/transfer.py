"""Are the data that a model is asked about like those that it was fitted on?"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import xarray as xr

if TYPE_CHECKING:
    from simplechrome.latent.encoder import Encoder

log = logging.getLogger(__name__)

LARGE_SHIFT = 0.25
"""In standard deviations of a mark's bins in training; beyond it the depth or antibody differs."""


def warn_of_transfer(dataset: xr.Dataset, encoder: Encoder) -> None:
    """Which cell types lack a mark of the model, or have other levels of it than in training?

    Says so in the log, a line per cell type: a model moved between tracks of different depth ranks
    genes, but its probabilities are off.

    Parameters
    ----------
    dataset
        What is to be encoded or predicted.
    encoder
        Fitted.
    """
    have = [str(mark) for mark in dataset["mark"].values]
    windows = encoder.transform_windows(dataset)  # says which marks no cell type has
    for row, cell_type in enumerate(dataset["cell_type"].values):
        present = dict(zip(have, dataset["mark_present"].values[row], strict=True))
        missing = [mark for mark in encoder.marks_ if not present.get(mark, True)]
        if missing:
            log.warning(
                "%s lacks %s: treated as not assayed; predictions for it are less sure",
                *(cell_type, ", ".join(missing)),
            )
        if not encoder.transform_.standardize:
            continue
        far = []
        for column, mark in enumerate(encoder.marks_):
            seen = windows.present[row, :, column]
            shift = float(windows.values[row, seen, :, column].mean()) if seen.any() else 0.0
            if abs(shift) > LARGE_SHIFT:
                far.append(f"{mark} {shift:+.2f}")
        if far:
            log.warning(
                "%s differs in level from the training windows, in standard deviations of a bin: "
                "%s. Its ranks can be trusted more than its probabilities",
                *(cell_type, ", ".join(far)),
            )
