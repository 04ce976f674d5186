"""Do the exported files say what this package says?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simplechrome.dataset.building.arrays import from_arrays
from simplechrome.errors import OutputError
from simplechrome.runs.ensemble import Ensemble
from simplechrome.runs.predictions import predict_genes

if TYPE_CHECKING:
    import xarray as xr

    from simplechrome.latent.encoder import Encoder
    from simplechrome.runs.load import Models

TOLERANCE = 1e-4
_WINDOWS, _MOST_MISSING = 20, 12
# Windows in which a latent lies within rounding of a tree's threshold, and falls on its other side.
_SHARE_OFF = {"BoostingPredictor": 0.05}
_COLUMNS = {
    "probability": "probability",
    "uncalibrated_probability": "uncalibrated_probability",
    "log2_expression": "predicted_log2_expression",
}

Arrays = dict[str, np.ndarray]


def invented_windows(encoder: Encoder) -> xr.Dataset:
    """Which windows show whether two models are the same?

    Returns
    -------
    A dataset of random levels like those of the encoder's training: in the first cell type all
    marks are there, in each of the others one is missing.
    """
    marks = len(encoder.marks_)
    cells = 1 + (min(marks, _MOST_MISSING) if marks > 1 else 0)
    rng = np.random.default_rng(0)
    shape = (cells, _WINDOWS, encoder.bin_start_.size, marks)
    levels = rng.normal(size=shape) + rng.normal(size=(*shape[:2], 1, marks))
    signal = np.clip(np.nan_to_num(encoder.transform_.inverse(levels)), 0, 10_000)
    if encoder.units_ == "reads":
        signal = np.rint(signal)
    present = np.ones((cells, marks), bool)
    present[np.arange(1, cells), np.arange(cells - 1)] = False
    return from_arrays(
        signal,
        marks=encoder.marks_,
        gene_ids=[f"window {k}" for k in range(_WINDOWS)],
        cell_types=[f"{k}" for k in range(cells)],
        bin_size=int(np.diff(encoder.bin_start_[:2]).sum()) or 1,
        bin_start=encoder.bin_start_,
        units=encoder.units_,
        mark_present=present,
    )


def as_inputs(dataset: xr.Dataset) -> Arrays:
    """What is fed to an exported model for these genes? NaN where a mark is missing."""
    signal = dataset["signal"].values.astype(np.float32)
    there = dataset["mark_present"].values[:, np.newaxis] & (dataset["observed"].values > 0)
    signal = np.where(there[:, :, np.newaxis], signal, np.float32(np.nan))
    marks = dataset.sizes["mark"]
    return {
        "signal": signal.reshape(-1, dataset.sizes["bin"], marks),
        "present": there.reshape(-1, marks).astype(np.float32),
    }


def our_answers(models: Models, dataset: xr.Dataset) -> Arrays:
    """What do encoder and predictor themselves say, under the names of the outputs?"""
    latents = models.encoder.transform(dataset)
    split = np.full(dataset.sizes["gene"], "new")
    table = predict_genes(dataset, latents, models.predictor, split, models.uncertainty)
    columns = {name: table[c].to_numpy() for name, c in _COLUMNS.items() if c in table}
    between = "window" if latents.dims[2:] == ("bin", "mark") else "latent"
    return {
        between: latents.values.reshape(-1, *latents.shape[2:]),
        **{name: values[:, np.newaxis] for name, values in columns.items()},
    }


def require_agreement(ours: Arrays, theirs: Arrays, models: Models, file: str) -> dict[str, float]:
    """How far are a file's answers from ours, at most?

    Returns
    -------
    Largest absolute difference of each output.

    Raises
    ------
    OutputError
        If one is above `TOLERANCE` (relative where an answer is above 1).
    """
    predictor = models.predictor
    member = predictor.members[0] if isinstance(predictor, Ensemble) else predictor
    largest = {}
    for name, values in theirs.items():
        difference = np.abs(values.astype(np.float64) - ours[name])
        largest[name] = float(difference.max())
        relative = difference / np.maximum(1, np.abs(ours[name]))
        row = relative.reshape(len(relative), -1).max(axis=1)
        share = _SHARE_OFF.get(type(member).__name__, 0) if name in _COLUMNS else 0
        if not np.quantile(row, 1 - share) <= TOLERANCE:
            raise OutputError(
                f"{file} does not give the numbers of the run, and is not written.",
                found=f"{name} differs by up to {difference.max():.1e}",
                expected=f"at most {TOLERANCE:g}",
                cause="a version of keras, onnx or onnxruntime that computes otherwise",
                remedy="the versions in constraints.txt; please report it",
            )
    return largest
