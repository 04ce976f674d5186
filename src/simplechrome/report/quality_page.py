"""What is in a dataset, on one page: advice, a table of tracks, and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from simplechrome.dataset.inspect import describe, level_correlations
from simplechrome.dataset.transforms.signal import present_marks
from simplechrome.report import page
from simplechrome.report.figures.signal import correlation_figure, coverage_figure
from simplechrome.report.signal_section import signal_section
from simplechrome.version import __version__


def write_quality_page(
    dataset: xr.Dataset, path: str | Path, *, name: str = "dataset", command: str = ""
) -> Path:
    """Write a page on the quality of a dataset: its tracks, figures and advice.

    Parameters
    ----------
    dataset
        Any.
    path
        Of the page; one that is there is replaced.
    name
        Of the dataset, for the heading.
    command
        That makes the page again, for its end.

    Returns
    -------
    The path. The same dataset gives the same bytes.

    Raises
    ------
    OutputError
        If the page cannot be written.
    """
    description = describe(dataset)
    report = page.Page(
        f"{name}: what is in it",
        _subtitle(description),
        _headline(description),
        [
            page.Section("What to look at", _advice(description)),
            page.Section("Tracks", [_track_table(description), *_coverage(dataset)]),
            signal_section(dataset),
            *_likeness(dataset),
        ],
        page.Provenance(
            version=__version__,
            command=command,
            files=page.source_files(dataset.attrs.get("sources", ())),
        ),
        notes=page.dataset_notes(dataset),
    )
    return page.write_page(path, report)


def _subtitle(description: dict[str, Any]) -> str:
    sizes, window = description["sizes"], description["window"]
    return (
        f"{sizes['bin']} bins of {window['bin_size']} bp, {window['from']:+d} to "
        f"{window['to']:+d} bp from the TSS; units: {description['units'] or 'unknown'}; "
        f"assembly: {description['assembly'] or 'unknown'}"
    ).replace("-", "−")


def _headline(description: dict[str, Any]) -> list[page.HeadlineNumber]:
    sizes, cells = description["sizes"], description["cell_types"].values()
    tracks = sum(mark["present"] for cell in cells for mark in cell["marks"].values())
    holes = sizes["cell_type"] * sizes["mark"] - tracks
    labelled = sum(cell["genes_with_label"] > 0 for cell in cells)
    return [
        page.HeadlineNumber("genes", sizes["gene"]),
        page.HeadlineNumber("cell types", sizes["cell_type"], note=f"{labelled} with labels"),
        page.HeadlineNumber(
            "tracks", tracks, note=f"{holes} marks not assayed" if holes else "no mark is missing"
        ),
        page.HeadlineNumber("matters to look at", len(_matters(description))),
    ]


def _matters(description: dict[str, Any]) -> list[str]:
    # The note of the dataset has a box of its own.
    return [text for text in description["warnings"] if not text.startswith("Note of the dataset")]


def _advice(description: dict[str, Any]) -> list[page.Block]:
    matters = _matters(description)
    if not matters:
        return [page.Text("Nothing looks wrong.")]
    return [page.Note("\n\n".join(matters), "warning")]


def _track_table(description: dict[str, Any]) -> page.Table:
    rows = []
    for cell_type, cell in description["cell_types"].items():
        for mark, numbers in cell["marks"].items():
            if numbers["present"]:
                rows.append(
                    {
                        "cell type": cell_type,
                        "mark": mark,
                        "depth": numbers["depth"],
                        "mean": numbers["mean_per_bin"],
                        "at TSS": numbers["promoter_enrichment"],
                        "empty": numbers["share_of_empty_windows"],
                        "with data": numbers["share_observed"],
                        "AUROC": numbers["auroc_of_level"],
                        "same mark": numbers["correlation_with_same_mark"],
                    }
                )
    frame = pd.DataFrame(rows).dropna(axis="columns", how="all")
    formats = {
        **{"depth": ",.0f", "mean": ".3g", "at TSS": ".2f", "same mark": ".2f"},
        **{"empty": ".1%", "with data": ".1%", "AUROC": ".2f"},
    }
    return page.Table(
        frame,
        "Every track in numbers",
        "Mean: per bin. At TSS: the mean within 1 kb of it, as a multiple of the mean of the "
        "windows. Empty: windows without signal. With data: genes whose window has any. AUROC: "
        "of the level alone, for high against low genes; below 0.5 the mark goes with low ones. "
        "Same mark: mean rank correlation of the levels with those of the same mark in the other "
        "cell types.",
        formats={name: each for name, each in formats.items() if name in frame},
    )


def _coverage(dataset: xr.Dataset) -> list[page.Block]:
    observed = dataset["observed"].values.mean(axis=1, dtype=np.float64)
    present = present_marks(dataset).any(axis=1)
    if (observed[present] == 1).all():
        return [page.Text("Every window of every track has data on all of its bases.")]
    return [
        page.Figure(
            coverage_figure(
                observed,
                present,
                [str(name) for name in dataset["cell_type"].values],
                [str(mark) for mark in dataset["mark"].values],
            ),
            "How much of the windows has data",
            "Share of the bases of all windows. Windows without any data are masked, bases without "
            "data count as 0.",
        )
    ]


def _likeness(dataset: xr.Dataset) -> list[page.Section]:
    correlations = level_correlations(dataset)
    if len(correlations.tracks) < 2:
        return []
    figure = correlation_figure(
        correlations.values, correlations.tracks, [str(mark) for mark in dataset["mark"].values]
    )
    return [
        page.Section(
            "Which tracks are alike",
            [
                page.Figure(
                    figure,
                    "Tracks of one mark should be more alike than tracks of different marks",
                    "Rank correlation of the levels of all genes (a level is a window's mean); "
                    "framed: tracks of one mark. A track that is pale within its frame and strong "
                    "in another mark's rows may be the file of that mark.",
                )
            ],
        )
    ]
