"""The section on the signal: where the marks lie, and how deep the tracks are."""

from __future__ import annotations

import numpy as np
import xarray as xr

from simplechrome.dataset.inspect import say_lost_genes
from simplechrome.dataset.transforms.signal import present_marks
from simplechrome.report import page
from simplechrome.report.figures.signal import (
    difference_figure,
    mean_profile_figure,
    quality_figure,
)
from simplechrome.report.scores_section import CELL_TYPES_DRAWN
from simplechrome.schema import UNKNOWN_LABEL


def mean_profiles(dataset: xr.Dataset, cell_type: int) -> tuple[np.ndarray, list[str]]:
    """Return the mean signal per bin and mark of high and of low genes.

    Returns
    -------
    (class, bin, mark), NaN for missing marks, and the names of the classes; all genes are one
    class where there are no labels.
    """
    one = dataset.isel(cell_type=[cell_type])
    signal, label, present = one["signal"].values[0], one["label"].values[0], present_marks(one)[0]
    classes = {"high": label == 1, "low": label == 0}
    if not (label != UNKNOWN_LABEL).any():
        classes = {"all genes": np.ones(label.size, bool)}
    profiles = np.full((len(classes), signal.shape[1], signal.shape[2]), np.nan)
    for row, members in enumerate(classes.values()):
        for mark in range(signal.shape[2]):
            seen = members & present[:, mark]
            if seen.any():
                profiles[row, :, mark] = signal[seen, :, mark].mean(axis=0, dtype=np.float64)
    return profiles, list(classes)


def relative_difference(profiles: np.ndarray, classes: list[str]) -> np.ndarray:
    """Return the difference of high and low genes, relative to the mark's largest mean.

    Parameters
    ----------
    profiles : (class, bin, mark)
    classes
        Names of the classes.

    Returns
    -------
    (bin, mark), the difference of the means as a fraction of the mark's largest mean in the window,
    -1 to 1 for signal that is nowhere negative; NaN where either class is unknown.
    """
    if classes != ["high", "low"]:
        return np.full(profiles.shape[1:], np.nan)
    largest = np.abs(profiles).max(axis=(0, 1))
    return (profiles[0] - profiles[1]) / np.where(largest > 0, largest, 1)


def _profile(
    dataset: xr.Dataset, name: str, profiles: np.ndarray, classes: list[str]
) -> page.Figure:
    units = str(dataset["signal"].attrs.get("units", ""))
    shown = f"{' and '.join(classes)} genes" if classes[1:] else "all genes"
    return page.Figure(
        mean_profile_figure(
            profiles,
            dataset["bin_start"].values,
            [str(mark) for mark in dataset["mark"].values],
            classes,
            units,
            int(dataset.attrs["bin_size"]),
        ),
        f"{name}: where each mark lies in {shown}",
        f"Mean {_plain(units)} per bin of {dataset.attrs['bin_size']} bp, from upstream (left) "
        "to downstream of the TSS (right), over all genes of the class.",
        name=f"profile_{name}",
    )


def _plain(units: str) -> str:
    return "signal" if units in ("", "mean_signal") else units


def _levels(dataset: xr.Dataset) -> page.Figure:
    """Mean level of each mark in each cell type."""
    present = present_marks(dataset)
    level = np.full((dataset.sizes["cell_type"], dataset.sizes["mark"]), np.nan)
    for cell_type, mark in np.ndindex(level.shape):
        seen = present[cell_type, :, mark]
        if seen.any():
            signal = dataset["signal"].isel(cell_type=cell_type, mark=mark).values
            level[cell_type, mark] = signal[seen].mean(dtype=np.float64)
    return page.Figure(
        quality_figure(
            level,
            np.isfinite(level),
            [str(name) for name in dataset["cell_type"].values],
            [str(mark) for mark in dataset["mark"].values],
            units=str(dataset["signal"].attrs.get("units", "")),
        ),
        "How deep each track is, and which marks are missing",
        "Mean over the windows of all genes. A mark that is much deeper in one cell type than in "
        "the others makes the probabilities of a common model too high or too low there.",
        name="levels",
    )


def signal_section(dataset: xr.Dataset) -> page.Section:
    """Return the section on the tracks around high and low genes."""
    names = [str(name) for name in dataset["cell_type"].values]
    many = len(names) > CELL_TYPES_DRAWN
    found = [mean_profiles(dataset, k) for k in range(len(names))]
    blocks: list[page.Block] = [page.Text(text) for text in say_lost_genes(dataset)]
    if len(names) > 1:
        blocks.append(_levels(dataset))
    if many and any(classes == ["high", "low"] for _, classes in found):
        blocks.append(
            page.Figure(
                difference_figure(
                    np.array([relative_difference(*each) for each in found]),
                    dataset["bin_start"].values,
                    names,
                    [str(mark) for mark in dataset["mark"].values],
                    int(dataset.attrs["bin_size"]),
                ),
                "Where high and low genes differ, in every cell type",
                "Mean of high less mean of low genes, relative to the mark's largest mean in "
                "that cell type; one row per cell type, from upstream (left) to downstream of the "
                "TSS (right).",
                name="differences",
            )
        )
    if many:
        blocks.append(
            page.Text(
                f"The profiles that follow are of the first {CELL_TYPES_DRAWN} of {len(names)} "
                f"cell types; those of the other {len(names) - CELL_TYPES_DRAWN} are not drawn."
            )
        )
    blocks += [
        _profile(dataset, name, *each)
        for name, each in list(zip(names, found, strict=True))[:CELL_TYPES_DRAWN]
    ]
    return page.Section("The signal", blocks)
