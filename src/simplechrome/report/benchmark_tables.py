"""A benchmark as a table: models × numbers of labels, in Markdown and in LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from simplechrome.benchmark.comparisons import compare_models
from simplechrome.benchmark.config import ALL
from simplechrome.benchmark.summary import MEAN, NO_REPRESENTATION, Resamples, places

BEST, LEVEL = "best", "level"
"""Marks of the best entry of a column, and of those that their pairs cannot tell from it."""
LEVEL_MEANS = (
    "In bold the highest of each column (for errors the lowest); † marks those whose 95 % interval "
    "of the paired difference to it holds 0. Which of many is highest is itself a matter of luck."
)

_LATEX = {character: "\\" + character for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "×": r"$\times$",
    "–": "--",
    "−": "$-$",
    "†": r"$\dagger$",
}
SHOWN_IN_TEXTS = {
    "classification": ("auroc", "auprc", "accuracy"),
    "regression": ("pearson", "spearman", "r_squared"),
}
"""Scores that have a table in the write-up, by task; the first is the leading one."""
PLACES = 6
"""Of more places (cell types, protocols, splits), the first are told of; files hold all."""
SMALLER_IS_BETTER = ("brier", "expected_calibration_error")


ARROWS = {"higher": " ▲", "lower": " ▼"}
"""Beside a difference whose interval does not hold 0."""


class Entry(NamedTuple):
    """Mean and interval of one model with one number of labels.

    mark : `BEST`, `LEVEL` or empty
    margin : how far from the best it might be and still not be told from it; 0 for the best, NaN
        where the two were not compared
    """

    mean: float
    low: float
    high: float
    mark: str = ""
    margin: float = float("nan")


class ScoreTable(NamedTuple):
    """Rows are models, columns numbers of labels; None where a model was not fitted."""

    columns: list[str]
    rows: dict[str, list[Entry | None]]


ScoreTables = Mapping[tuple[tuple[Any, ...], str], ScoreTable]
"""By place (cell_type, protocol, trained_on, split) and score."""


def is_place(summary: pd.DataFrame, place: tuple[Any, ...]) -> pd.Series:
    """Which rows of a summary are of one place: cell_type, protocol, trained_on, split?"""
    columns = ["cell_type", "protocol", "trained_on", "split"]
    return (summary[columns] == list(place)).all(axis=1)


def name_place(place: tuple[Any, ...]) -> str:
    """How is a place (cell_type, protocol, trained_on, split) called in a text?"""
    cell_type, protocol, trained_on, split = place
    name = f"from {trained_on} to {cell_type}" if protocol == "transfer" else str(cell_type)
    if cell_type == MEAN:
        name = f"mean over cell types ({protocol})"
    return name if split == "chromosome" else f"{name}, split {split}"


def shown_places(every: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Of which places do page and write-up tell? Means over cell types first, then `PLACES`."""
    return sorted(every, key=lambda place: place[0] != MEAN)[:PLACES]


def make_score_table(
    summary: pd.DataFrame,
    place: tuple[Any, ...],
    metric: str,
    resamples: Resamples | None = None,
) -> ScoreTable:
    """What do all models score in one place?

    Models that know nothing of histones are not among them.

    Parameters
    ----------
    summary
        See `summarize`.
    place
        cell_type, protocol, trained_on and split.
    metric
        Name of a score.
    resamples
        Of the same benchmark: with them, models that cannot be told from the best are marked.
    """
    wanted = is_place(summary, place) & (summary["metric"] == metric)
    rows = summary[wanted & (summary["representation"] != NO_REPRESENTATION)]
    counts = (
        rows[["all_labels", "n_labels"]].drop_duplicates().sort_values(["all_labels", "n_labels"])
    )
    columns = [ALL if count.all_labels else f"{count.n_labels:,}" for count in _tuples(counts)]
    sign = -1 if metric in SMALLER_IS_BETTER else 1
    table: dict[str, list[Entry | None]] = {}
    pairs: dict[tuple[str, str], pd.DataFrame] = {}
    models = rows["representation"] + ":" + rows["predictor"]
    for position, count in enumerate(_tuples(counts)):
        here = (rows["all_labels"] == count.all_labels) & (rows["n_labels"] == count.n_labels)
        scores = sign * rows.loc[here, "mean"]
        best = models[scores.idxmax()] if scores.notna().any() else ""
        for model, row in zip(models[here], _tuples(rows[here]), strict=True):
            entry = Entry(row.mean, row.low, row.high)
            if model == best:
                entry = entry._replace(mark=BEST, margin=0.0)
            elif resamples is not None and best:
                if (best, model) not in pairs:  # holds all numbers of labels
                    pairs[best, model] = compare_models(resamples, metric, place, best, model)
                entry = _compared_with_best(entry, pairs[best, model], count, sign)
            table.setdefault(model, [None] * len(columns))[position] = entry
    return ScoreTable(columns, table)


def _compared_with_best(entry: Entry, pairs: pd.DataFrame, count: Any, sign: int) -> Entry:
    """Can a model be told from the best one?"""
    at = (pairs["n_labels"] == count.n_labels) & (pairs["all_labels"] == count.all_labels)
    for row in _tuples(pairs[at]):
        above, nearest = sign * row.difference, sign * (row.low if sign > 0 else row.high)
        if np.isfinite(nearest):  # how surely the best lies above
            return entry._replace(mark=LEVEL if nearest <= 0 else "", margin=above - nearest)
    return entry


def make_score_tables(
    resamples: Resamples, summary: pd.DataFrame, metrics: Iterable[str]
) -> dict[tuple[tuple[Any, ...], str], ScoreTable]:
    """What do all models score, by place and score, in the `shown_places`?"""
    names = list(metrics)
    return {
        (place, metric): make_score_table(summary, place, metric, resamples)
        for place in shown_places(places(resamples))
        for metric in names
    }


def baseline_table(summary: pd.DataFrame, place: tuple[Any, ...], metric: str) -> ScoreTable:
    """What is scored without any histone mark?"""
    wanted = is_place(summary, place) & (summary["metric"] == metric)
    rows = summary[wanted & (summary["representation"] == NO_REPRESENTATION)]
    return ScoreTable(
        [ALL],
        {row.predictor: [Entry(row.mean, row.low, row.high)] for row in _tuples(rows)},
    )


def _tuples(frame: pd.DataFrame) -> Iterator[Any]:
    return frame.itertuples()


def as_markdown(table: ScoreTable) -> str:
    """`model | 20 | 100 | all`, each entry `.9432 (.9310–.9540)`; marks: `LEVEL_MEANS`."""
    lines = [
        "| model | " + " | ".join(table.columns) + " |",
        "|" + "---|" * (len(table.columns) + 1),
    ]
    for model, entries in table.rows.items():
        cells = [_markdown_entry(entry) for entry in entries]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _markdown_entry(entry: Entry | None) -> str:
    if entry is None:
        return "–"
    mean = f"**{short(entry.mean)}**" if entry.mark == BEST else short(entry.mean)
    mean += " †" if entry.mark == LEVEL else ""
    return f"{mean} ({short(entry.low)}–{short(entry.high)})"


def as_latex(table: ScoreTable, caption: str) -> str:
    """A `table` for the package booktabs; best in bold, its equals with a dagger."""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(caption)}}}",
        r"\begin{tabular}{l" + "c" * len(table.columns) + "}",
        r"\toprule",
        "model & " + " & ".join(escape_latex(column) for column in table.columns) + r" \\",
        r"\midrule",
    ]
    for model, entries in table.rows.items():
        cells = [_latex_entry(entry) for entry in entries]
        lines.append(f"{escape_latex(model)} & " + " & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _latex_entry(entry: Entry | None) -> str:
    if entry is None:
        return "--"
    mean = rf"\textbf{{{short(entry.mean)}}}" if entry.mark == BEST else short(entry.mean)
    mean += r"$^\dagger$" if entry.mark == LEVEL else ""
    return f"{mean} ({short(entry.low)}--{short(entry.high)})"


def escape_latex(text: str) -> str:
    """Names as they are: `log_means` has an underscore."""
    return "".join(_LATEX.get(character, character) for character in text)


def short(value: float) -> str:
    """Four digits, without the zero that all scores begin with: `.9432`."""
    if not np.isfinite(value):
        return "–"
    text = f"{value:.4f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def signed(value: float) -> str:
    """A difference with four digits: `+.0025`, `−.0015`, `.0000`."""
    if not np.isfinite(value):
        return "–"
    text = f"{value:+.4f}"
    if not float(text):
        return ".0000"
    return text.replace("0.", ".", 1).replace("-", "−")


def markdown_rows(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Any table as Markdown."""
    names = list(header)
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"
