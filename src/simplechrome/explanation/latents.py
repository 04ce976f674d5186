"""Interpretation of latents: the change of window and expression that goes with each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from scipy.optimize import linear_sum_assignment

from simplechrome.dataset.transforms.signal import present_marks
from simplechrome.errors import ModelMismatchError

PROMOTER, POLYCOMB = "H3K4me3", "H3K27me3"
CLASSES = ("active", "bivalent", "Polycomb", "silent")
"""By the two marks at the promoter: the first alone, both, the second alone, none."""
_NEAR = 1_000  # bp on either side of the TSS


class LatentReading(NamedTuple):
    """What varies with each latent over the genes of a cell type, mean over cell types.

    change : (latent, bin, mark), by how much log2(1 + signal / mean of the track) differs between
        genes that lie one standard deviation apart; NaN for marks that no cell type has
    deviation : (latent,), standard deviation of each
    correlation : latents by marks (of the level, log of the mean) and `expression`
        (log2(expression + 1)): Pearson's
    classes : latents by the classes of genes that any cell type has: mean of the latent, in
        its standard deviations
    class_sizes : fraction of genes in each class
    """

    change: xr.DataArray
    deviation: pd.Series
    correlation: pd.DataFrame
    classes: pd.DataFrame
    class_sizes: pd.Series


def read_latents(latents: xr.DataArray, dataset: xr.Dataset) -> LatentReading:
    """Measure how windows and expression vary with each latent.

    Measured windows are compared and nothing is decoded, so that it holds for any encoder. A latent
    that correlates with another shows the change of that one too.

    Parameters
    ----------
    latents : (cell_type, gene, latent)
    dataset
        Of the same genes.

    References
    ----------
    Bernstein et al., Cell 2006 (bivalent promoters).
    """
    names = [str(name) for name in latents["latent"].values]
    marks = [str(mark) for mark in dataset["mark"].values]
    present = present_marks(dataset)
    signal = dataset["signal"].values
    bins = signal.shape[2]
    totals = np.zeros((len(names), bins, len(marks)))
    counted = np.zeros(len(marks))
    correlation: dict[str, list[np.ndarray]] = {name: [] for name in (*marks, "expression")}
    of_class: dict[str, list[np.ndarray]] = {name: [] for name in CLASSES}
    shares = []
    for row in range(len(latents)):
        z = _standardized(latents.values[row].astype(np.float64))
        for column, mark in enumerate(marks):
            seen = present[row, :, column]
            if seen.sum() < 2:
                continue
            values = signal[row, seen, :, column].astype(np.float64)
            mean = values.mean()
            windows = np.log2(1 + values / mean) if mean > 0 else values
            totals[:, :, column] += z[seen].T @ (windows - windows.mean(axis=0)) / seen.sum()
            counted[column] += 1
            correlation[mark].append(_correlations(z[seen], np.log1p(values.mean(axis=1))))
        level = np.log2(dataset["expression"].values[row].astype(np.float64) + 1)
        known = np.isfinite(level)
        if known.sum() > 1:
            correlation["expression"].append(_correlations(z[known], level[known]))
        classes = classify_genes(dataset.isel(cell_type=[row]))
        if classes is not None:
            shares.append([float((classes == name).mean()) for name in CLASSES])
            for name in CLASSES:
                if (classes == name).any():
                    of_class[name].append(z[classes == name].mean(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        change = np.where(counted > 0, totals / counted, np.nan)
    coords = {"latent": names, "mark": marks, "bin_start": dataset["bin_start"]}
    return LatentReading(
        xr.DataArray(change, dims=("latent", "bin", "mark"), coords=coords),
        pd.Series(latents.values.std(axis=1).mean(axis=0), index=names),
        _table(correlation, names),
        _table(of_class, names),
        pd.Series(np.mean(shares, axis=0), index=list(CLASSES))
        if shares
        else pd.Series(dtype=float),
    )


def classify_genes(dataset: xr.Dataset) -> np.ndarray | None:
    """Classify the promoters of one cell type as active, bivalent, Polycomb or silent.

    Promoter marks within 1 kb of the TSS are high or low by Otsu's threshold on their log levels.

    Returns
    -------
    (gene,) names, empty where a mark is not observed; None if the cell type lacks one of the two.
    """
    marks = [str(mark) for mark in dataset["mark"].values]
    if not {PROMOTER, POLYCOMB} <= set(marks):
        return None
    there = present_marks(dataset)[0]
    start = dataset["bin_start"].values
    near = (start >= -_NEAR) & (start < _NEAR)
    high, known = {}, np.ones(dataset.sizes["gene"], bool)
    for mark in (PROMOTER, POLYCOMB):
        column = marks.index(mark)
        seen = there[:, column]
        if seen.sum() < 2 or not near.any():
            return None
        level = np.log1p(dataset["signal"].values[0, :, :, column][:, near].mean(axis=1))
        high[mark] = level > two_groups(level[seen])
        known &= seen
    index = np.where(high[PROMOTER], high[POLYCOMB] * 1, 3 - high[POLYCOMB] * 1)
    return np.where(known, np.asarray(CLASSES, dtype=object)[index], "")


def two_groups(values: np.ndarray) -> float:
    """Return the threshold that splits values into two groups with the least variance within.

    References
    ----------
    Otsu, IEEE Transactions on Systems, Man and Cybernetics 1979; here without a histogram.
    """
    ordered = np.sort(values.astype(np.float64))
    n = np.arange(1, len(ordered))
    below = np.cumsum(ordered)[:-1]
    above = ordered.sum() - below
    between = n * (len(ordered) - n) * (below / n - above / (len(ordered) - n)) ** 2
    at = int(between.argmax())
    return float(ordered[at] + ordered[at + 1]) / 2


def matched_correlation(reference: xr.DataArray, other: xr.DataArray) -> pd.Series:
    """Match the latents of two encoders, and return the absolute correlation of each pair.

    The sum of the absolute correlations is maximized; signs and order of latents are arbitrary.

    Parameters
    ----------
    reference, other : (cell_type, gene, latent)
        Of the same genes and cell types.

    Returns
    -------
    Absolute correlation, by latent of the reference; NaN for those without a partner.

    Raises
    ------
    ModelMismatchError
        If they are not of the same windows.

    References
    ----------
    Kuhn, Naval Research Logistics Quarterly 1955 (assignment).
    """
    if reference.shape[:2] != other.shape[:2]:
        raise ModelMismatchError(
            f"Latents of {other.shape[:2]} cell types and genes cannot be matched with those of "
            f"{reference.shape[:2]}.",
            "encode the same dataset with both encoders",
        )
    one, two = (
        _standardized(values.values.reshape(-1, values.shape[-1]).astype(np.float64))
        for values in (reference, other)
    )
    strength = np.abs(one.T @ two) / len(one)
    rows, columns = linear_sum_assignment(-strength)
    found = np.full(len(strength), np.nan)
    found[rows] = strength[rows, columns]
    return pd.Series(found, index=[str(name) for name in reference["latent"].values])


def _standardized(values: np.ndarray) -> np.ndarray:
    """(gene, latent) with mean 0 and deviation 1; 0 for what never varies."""
    centered = values - values.mean(axis=0)
    deviation = centered.std(axis=0)
    return centered / np.where(deviation > 1e-12, deviation, np.inf)


def _correlations(z: np.ndarray, level: np.ndarray) -> np.ndarray:
    """(latent,) Pearson of each with a level."""
    return _standardized(z).T @ _standardized(level[:, np.newaxis])[:, 0] / len(level)


def _table(columns: dict[str, list[np.ndarray]], names: list[str]) -> pd.DataFrame:
    """Means over the cell types that have a value."""
    means = {name: np.mean(parts, axis=0) for name, parts in columns.items() if parts}
    return pd.DataFrame(means, index=names)
