"""How deep are the tracks that a model was fitted on, and by which factor do others differ?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from simplechrome.dataset.transforms import present_marks
from simplechrome.errors import ModelFormatError
from simplechrome.evaluation.predictions import write_table
from simplechrome.evaluation.run_folder import LEVELS_FILE, PROFILE_FILE, write_json

LEVEL_SHARES = np.linspace(0.05, 0.95, 91)
"""Of windows. Beyond both ends a few windows, or artifacts, decide."""
BIN_SHARES = np.concatenate([np.linspace(0, 0.99, 100), [0.995, 0.999, 0.9999, 1]])
"""Of bins, finer where the peaks are: a window's largest bins are a percent of all."""

_DIGITS = 6
_BETWEEN = "\t"  # cell type and mark in the name of a column


@dataclass(frozen=True)
class TrackProfile:
    """What is remembered of one track.

    Attributes
    ----------
    levels : (91,)
        Quantiles of the mean signal per bin of its windows, at `LEVEL_SHARES`.
    bins : (104,)
        Quantiles of the signal of its bins, at `BIN_SHARES`.
    depth
        Library size or total signal; NaN if unknown.
    """

    levels: np.ndarray
    bins: np.ndarray
    depth: float


SignalProfile: TypeAlias = Mapping[str, Mapping[str, TrackProfile]]
"""cell type → mark → track; marks that were not assayed are not in it."""


def profile_track(signal: np.ndarray, depth: float = np.nan) -> TrackProfile:
    """How is the signal of a track distributed?

    Parameters
    ----------
    signal : (gene, bin)
        Of the windows that have data, at least one.
    depth
        Library size, if known.
    """
    levels = np.quantile(signal.mean(axis=1, dtype=np.float64), LEVEL_SHARES)
    return TrackProfile(levels, np.quantile(signal, BIN_SHARES), float(depth))


def profile_signal(dataset: xr.Dataset) -> SignalProfile:
    """How is the signal of each track of these (training) windows distributed?"""
    present = present_marks(dataset)
    profile: dict[str, dict[str, TrackProfile]] = {}
    for row, cell_type in enumerate(dataset["cell_type"].values):
        profile[str(cell_type)] = {
            str(mark): profile_track(
                dataset["signal"].values[row, present[row, :, column], :, column],
                float(dataset["depth"].values[row, column]),
            )
            for column, mark in enumerate(dataset["mark"].values)
            if present[row, :, column].any()
        }
    return profile


def reference_track(profile: SignalProfile, cell_type: str, mark: str) -> TrackProfile | None:
    """With which track of training is this one to be compared?

    That of the same cell type; where training had no such cell type, the mean of their
    quantiles. None where no cell type of the training had the mark.
    """
    own = profile.get(cell_type, {}).get(mark)
    if own is not None:
        return own
    tracks = [marks[mark] for marks in profile.values() if mark in marks]
    if not tracks:
        return None
    return TrackProfile(
        np.mean([track.levels for track in tracks], axis=0),
        np.mean([track.bins for track in tracks], axis=0),
        float(np.mean([track.depth for track in tracks])),
    )


def depth_factor(track: TrackProfile, reference: TrackProfile) -> float:
    """With what must a track be multiplied to be as deep as another one?

    The median of the ratios of their windows' levels, quantile by quantile: a few windows with
    very much, or a cell type with more windows that have the mark, change it little, which
    cannot be said of the mean. Library sizes alone do not tell it, since the share of reads that
    lie in peaks differs from experiment to experiment.

    Returns
    -------
    NaN where one of the two holds nothing but zeros at these quantiles.

    References
    ----------
    Anders & Huber, Genome Biology 2010 (median of ratios, there over genes).
    """
    both = (track.levels > 0) & (reference.levels > 0)
    if not both.any():
        return float("nan")
    return float(np.exp(np.median(np.log(reference.levels[both] / track.levels[both]))))


def write_levels(dataset: xr.Dataset, folder: str | Path) -> None:
    """Keep the level of every gene in a run folder, as `signal_levels.parquet`.

    Where other data hold few of the training genes, tracks are compared over the genes that both
    have. Levels are of windows, and know no labels.
    """
    present = present_marks(dataset)
    columns: dict[str, Any] = {"gene_id": dataset["gene_id"].values}
    for row, cell_type in enumerate(dataset["cell_type"].values):
        level = dataset["signal"].values[row].mean(axis=1, dtype=np.float64)
        for column, mark in enumerate(dataset["mark"].values):
            if present[row, :, column].any():
                seen = present[row, :, column]
                columns[f"{cell_type}{_BETWEEN}{mark}"] = np.where(
                    seen, level[:, column], np.nan
                ).astype(np.float32)
    write_table(pd.DataFrame(columns), Path(folder) / LEVELS_FILE)


def read_levels(folder: str | Path) -> pd.DataFrame | None:
    """(gene_id, (cell_type, mark)) levels of a run's genes; None where it has no such file.

    Raises
    ------
    ModelFormatError
        If the file is damaged.
    """
    path = Path(folder) / LEVELS_FILE
    if not path.exists():
        return None
    try:
        table = pd.read_parquet(path).set_index("gene_id")
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are among these
        raise ModelFormatError(
            f"{path} cannot be read.",
            found=f"{type(error).__name__}: {error}",
            expected="the levels that `simplechrome fit` wrote",
            cause="a damaged or incomplete copy of the run folder",
            remedy="copy the folder again, or delete the file: fewer genes are then compared",
        ) from error
    table.columns = pd.MultiIndex.from_tuples([tuple(c.split(_BETWEEN)) for c in table.columns])
    return table


def reference_levels(levels: pd.DataFrame, cell_type: str, mark: str) -> pd.Series:
    """(gene_id,) level of each gene in the track that this one is to be compared with.

    See `reference_track`. Empty where no cell type of the run had the mark.
    """
    if (cell_type, mark) in levels.columns:
        return levels[cell_type, mark].dropna()
    own = [column for column in levels.columns if column[1] == mark]
    return levels[own].mean(axis=1).dropna() if own else pd.Series(dtype=float)


def spread_of_ratios(track: TrackProfile, reference: TrackProfile) -> float:
    """How many times larger is the largest ratio of their quantiles than the smallest?

    From the 10th to the 90th percentile; NaN where one of the two holds zeros only.
    """
    middle = (LEVEL_SHARES > 0.1) & (LEVEL_SHARES < 0.9)
    both = middle & (track.levels > 0) & (reference.levels > 0)
    if not both.any():
        return float("nan")
    ratios = reference.levels[both] / track.levels[both]
    return float(ratios.max() / ratios.min())


def _plain(values: np.ndarray) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values]


def write_signal_profile(profile: SignalProfile, folder: str | Path) -> None:
    """Keep it in a run folder, as `signal_profile.json`."""
    cell_types = {
        cell_type: {
            mark: {
                "depth": track.depth if np.isfinite(track.depth) else None,
                "levels": _plain(track.levels),
                "bins": _plain(track.bins),
            }
            for mark, track in marks.items()
        }
        for cell_type, marks in profile.items()
    }
    write_json({"cell_types": cell_types}, Path(folder) / PROFILE_FILE)


def read_signal_profile(folder: str | Path) -> SignalProfile | None:
    """What does a run folder say of the signal it was fitted on? None where it has no such file.

    Raises
    ------
    ModelFormatError
        If the file is damaged.
    """
    path = Path(folder) / PROFILE_FILE
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["cell_types"]
        return {
            cell_type: {mark: _read_track(track) for mark, track in marks.items()}
            for cell_type, marks in stored.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFormatError(
            f"{path} cannot be read.",
            found=f"{type(error).__name__}: {error}",
            expected="the quantiles that `simplechrome fit` wrote",
            cause="a damaged or incomplete copy of the run folder, or an edit",
            remedy="copy the folder again, or delete the file to predict without depth scaling",
        ) from error


def _read_track(stored: Mapping[str, Any]) -> TrackProfile:
    depth = stored["depth"]
    levels, bins = (np.asarray(stored[name], np.float64) for name in ("levels", "bins"))
    if levels.shape != LEVEL_SHARES.shape or bins.shape != BIN_SHARES.shape:
        raise ValueError(
            f"{levels.size} levels and {bins.size} bins instead of "
            f"{LEVEL_SHARES.size} and {BIN_SHARES.size}"
        )
    return TrackProfile(levels, bins, np.nan if depth is None else float(depth))
