"""The page of `predict`: what a run predicts of other data, and how far to trust it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from simplechrome.evaluation.scores import score_predictions
from simplechrome.explanation.neighbor_effects import level_ranks
from simplechrome.report import page
from simplechrome.report.figures.neighbors import locus_figure
from simplechrome.report.figures.scores import CHANGE, predicted_figure
from simplechrome.report.figures.style import counted, write_svg
from simplechrome.report.scores_section import CELL_TYPES_DRAWN, headline, score_section
from simplechrome.report.signal_section import signal_section
from simplechrome.runs.apply import CHANGED, fair_rows, task_of
from simplechrome.runs.predictions import write_table
from simplechrome.version import __version__
from simplechrome.work.files import check_free, whole_file

_SHOWN = 3


def explanation_file(output: str | Path, *, overwrite: bool = False) -> Path:
    """Return the path of the table of neighbors: `p_neighbors.tsv` for `p.tsv`.

    Raises
    ------
    OutputExistsError, OutputError
        If it cannot be written.
    """
    stem = Path(output).with_suffix("")
    path = stem.with_name(f"{stem.name}_neighbors.tsv")
    check_free(path, overwrite=overwrite)
    return path


def write_explanation(table: pd.DataFrame, path: Path, dataset: xr.Dataset) -> Iterator[str]:
    """Write what moved the predictions of some genes, and a figure `…_GENE_CELL.svg` for each.

    Parameters
    ----------
    table
        As `explain_with_run` gives it.
    path
        See `explanation_file`; figures that are there are replaced.
    dataset
        Whose windows were looked at.

    Yields
    ------
    Lines for a terminal.
    """
    write_table(table, path)
    places = ["gene_id", "gene_name", "cell_type"]
    for (_, name, cell_type), own in table.groupby(places, sort=False):
        plain = re.sub(r"[^\w.+-]+", "_", f"{name}_{cell_type}")
        with whole_file(path.with_name(f"{path.stem}_{plain}.svg")) as temporary:
            levels = level_ranks(dataset, str(cell_type))
            write_svg(locus_figure(own, gene=str(name), levels=levels), temporary)
        first = ", ".join(
            f"{row.neighbor_name} {row.knock_out:+.3f}" for row in own.head(_SHOWN).itertuples()
        )
        total = float(own["all_neighbors"].iloc[0])
        yield f"{name} in {cell_type}: neighbors changed it by {total:+.3f}; most: {first}"
    yield f"{path}: {len(table)} neighbors"


_AXES = {
    "classification": ("probability", "probability of being high", 0.5),
    "regression": ("predicted_log2_expression", "predicted log₂(expression + 1)", 1.0),
    "difference": ("predicted_change", "predicted log₂ fold change", 0.0),
}


def write_prediction_page(
    table: pd.DataFrame,
    dataset: xr.Dataset,
    path: str | Path,
    *,
    run: str,
    command: str = "",
) -> Path:
    """Write a page of a run's predictions of a dataset; return its path.

    Parameters
    ----------
    table
        As `predict_with_run` gives it.
    dataset
        That it was made of. Where it has labels or expression, genes that the run did not learn
        from are scored.
    path
        Of the page; one that is there is replaced.
    run
        The run's name.
    command
        That makes the page again, for its end.

    Returns
    -------
    The path. The same table and dataset give the same bytes.

    Raises
    ------
    OutputError
        If the page cannot be written.
    """
    cells = [str(name) for name in dataset["cell_type"].values]
    notes = page.dataset_notes(dataset)
    if CHANGED in table:
        notes.append(page.Note(_changes(table), "warning"))
    sections = [page.Section("What was predicted", _predicted(table))]
    numbers = _headline(table)
    fair = fair_rows(table)
    if not fair.empty:
        metrics = {"task": task_of(table), "test": score_predictions(fair, task_of(table))}
        numbers = headline(metrics)
        units = str(dataset["expression"].attrs.get("units", ""))
        if task_of(table) == "difference":
            units = CHANGE
        scores = score_section(fair, metrics, units=units)
        sections.append(scores._replace(title="Against what was measured"))
    sections.append(signal_section(dataset))
    report = page.Page(
        f"{', '.join(cells[:3])}{' and more' if cells[3:] else ''}: predictions of {run}",
        f"{counted(dataset.sizes['gene'], 'gene')} in {counted(len(cells), 'cell type')}"
        + ("" if fair.empty else f"; scored: genes that {run} did not learn from"),
        numbers,
        sections,
        page.Provenance(
            version=__version__,
            command=command,
            files=page.source_files(dataset.attrs.get("sources", ())),
        ),
        notes=notes,
    )
    return page.write_page(path, report)


def _changes(table: pd.DataFrame) -> str:
    """What was done to the signal before the model saw it, by cell type."""
    changed = table[table[CHANGED] != ""].drop_duplicates("cell_type")
    each = [f"{row['cell_type']}: {row[CHANGED]}" for _, row in changed.iterrows()]
    more = f"; and {len(each) - CELL_TYPES_DRAWN} more" if len(each) > CELL_TYPES_DRAWN else ""
    return (
        "The signal was brought to the level of training, and is drawn below as it was before. "
        f"{'; '.join(each[:CELL_TYPES_DRAWN])}{more}."
    )


def _headline(table: pd.DataFrame) -> list[page.HeadlineNumber]:
    numbers = [page.HeadlineNumber("genes", table["gene_id"].nunique())]
    table = table[table[_AXES[task_of(table)][0]].notna()]
    if task_of(table) == "classification":
        high = float((table["probability"] > 0.5).mean())
        numbers.append(page.HeadlineNumber("predicted high", high, note="probability above 0.5"))
        if "label_set" in table:
            sure = float(table["label_set"].isin(("high", "low")).mean())
            numbers.append(
                page.HeadlineNumber("decided", sure, note="fraction of sets with a single label")
            )
    else:
        column, label, _ = _AXES[task_of(table)]
        level = float(table[column].median())
        numbers.append(page.HeadlineNumber("median level", level, note=f"of {label}"))
    return numbers


def _predicted(table: pd.DataFrame) -> list[page.Block]:
    column, label, middle = _AXES[task_of(table)]
    by_cell = {str(name): rows for name, rows in table.groupby("cell_type", sort=False)}
    drawn = dict(list(by_cell.items())[:CELL_TYPES_DRAWN])
    left = len(by_cell) - len(drawn)
    rows = []
    for name, own in by_cell.items():
        own = own[own[column].notna()]
        row: dict[str, Any] = {"cell type": name, "genes with data": len(own)}
        if column == "probability":
            row["predicted high"] = float((own[column] > middle).mean())
        else:
            row["median level"] = float(own[column].median())
        for label_set in ("low", "high", "low or high", "neither"):
            if "label_set" in own:
                row[f"set: {label_set}"] = int((own["label_set"] == label_set).sum())
        rows.append(row)
    return [
        page.Figure(
            predicted_figure(
                {name: own[column].dropna() for name, own in drawn.items()}, label, middle=middle
            ),
            "What was predicted for the genes of each cell type",
            "Number of genes by prediction, each cell type on its own scale; the line separates "
            f"{'high from low' if column == 'probability' else 'expressed genes from others'}."
            + (f" The other {left} cell types are in the table." if left else ""),
            name="predicted",
        ),
        page.Table(
            pd.DataFrame(rows),
            "Predictions by cell type",
            "Sets hold the labels that cannot be ruled out; how often they hold the truth is "
            "guaranteed for data like those of training only."
            if "label_set" in table
            else f"Median level: {label}.",
            formats={"predicted high": ".1%"} if column == "probability" else {},
        ),
    ]
