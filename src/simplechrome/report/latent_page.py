"""What the latents of a run stand for: blocks of a page, and a page of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import xarray as xr

from simplechrome.explanation.latents import (
    LatentReading,
    matched_correlation,
    read_latents,
)
from simplechrome.report import page
from simplechrome.report.figures.latents import traversal_figure
from simplechrome.version import __version__

SHOWN = 12
"""Latents that are drawn; tables of a page of its own hold all."""


def latent_blocks(
    latents: xr.DataArray, dataset: xr.Dataset, *, shown: int = SHOWN
) -> list[page.Block]:
    """Return a figure and a table of what the first latents stand for.

    Parameters
    ----------
    latents : (cell_type, gene, latent)
    dataset
        Of the same genes.
    shown
        How many are drawn and listed.
    """
    reading = read_latents(latents, dataset)
    return _blocks(reading, int(dataset.attrs["bin_size"]), shown, shown)


def _blocks(reading: LatentReading, bin_size: int, drawn: int, listed: int) -> list[page.Block]:
    figure = page.Figure(
        traversal_figure(reading.change.isel(latent=slice(0, drawn)), bin_size),
        "How windows differ between genes that lie one standard deviation of a latent apart",
        "Slopes over the genes of each cell type, mean over cell types. Signal relative to the "
        "mean of its track: 1 is twice as much.",
        name="traversal",
    )
    return [figure, page.Table(reading_table(reading).head(listed), _TITLE, _caption(reading))]


_TITLE = "What goes with each latent"


def _caption(reading: LatentReading) -> str:
    text = "Pearson's correlation with the level of each mark and with log2(expression + 1)"
    if reading.class_sizes.empty:
        return text + ", mean over cell types."
    sizes = ", ".join(f"{name} {share:.0%}" for name, share in reading.class_sizes.items())
    return (
        f"{text}; then the mean of the latent, in standard deviations, in classes of promoters: "
        f"with H3K4me3 (active), with H3K27me3 too (bivalent), with the latter alone (Polycomb), "
        f"with none (silent): {sizes} of genes. Means over cell types."
    )


def reading_table(reading: LatentReading) -> pd.DataFrame:
    """All numbers of a reading, one row a latent."""
    table = pd.concat([reading.correlation, reading.classes], axis=1)
    table.insert(0, "deviation", reading.deviation)
    return table.rename_axis("latent").reset_index()


def write_latent_page(
    latents: xr.DataArray,
    dataset: xr.Dataset,
    path: str | Path,
    *,
    run: str,
    against: Mapping[str, xr.DataArray] | None = None,
    command: str = "",
) -> pd.DataFrame:
    """Write a page of what the latents of a run stand for; return its table.

    Parameters
    ----------
    latents : (cell_type, gene, latent)
    dataset
        Of the same genes.
    path
        Of the page; one that is there is replaced.
    run
        The run's name.
    against
        Latents of the same genes under other runs, by name, as those of other seeds.
    command
        That makes the page again.

    Returns
    -------
    What its table holds, one row a latent.
    """
    reading = read_latents(latents, dataset)
    table = reading_table(reading)
    others = against or {}
    for name, other in others.items():
        table[f"as in {name}"] = matched_correlation(latents, other).to_numpy()
    blocks = _blocks(reading, int(dataset.attrs["bin_size"]), SHOWN, len(table))
    sections = [page.Section("The latents", blocks)]
    if others:
        sections.append(page.Section("Stability", [_stability(table, list(others))]))
    report = page.Page(
        f"What the latents of {run} stand for",
        f"{dataset.sizes['gene']:,} genes in {dataset.sizes['cell_type']} cell types",
        [],
        sections,
        page.Provenance(version=__version__, command=command),
        notes=page.dataset_notes(dataset),
    )
    page.write_page(path, report)
    return table


def _stability(table: pd.DataFrame, names: Sequence[str]) -> page.Table:
    columns = [f"as in {name}" for name in names]
    mean = table[columns].mean()
    text = ", ".join(f"{name} {mean[f'as in {name}']:.3f}" for name in names)
    return page.Table(
        table[["latent", *columns]],
        "Is each latent found again by other runs?",
        "Absolute correlation with the latent of the other run that is matched with it, over all "
        f"windows; each is matched once. Means: {text}.",
    )
