"""Scores of a benchmark as tables: models × numbers of labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from simplechrome.benchmark.config import ALL
from simplechrome.benchmark.summary import MEAN, NO_REPRESENTATION, Resamples, compare, places
from simplechrome.metrics import METRICS, headline_metrics
from simplechrome.report import page

BEST, LEVEL = "best", "level"
"""Marks of the best entry of a column, and of those not significantly different from it."""
LEVEL_MEANS = (
    "In bold the highest of each column (for errors the lowest); † marks those whose 95 % interval "
    "of the paired difference to it holds 0. Which of many is highest is partly chance."
)

_LATEX = {character: "\\" + character for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "×": r"$\times$",
    "–": "--",
    "−": "$-$",
    "†": r"$\dagger$",
}
PLACES = 6
"""Places (cell types, protocols, splits) that are shown; files hold all."""


class Entry(NamedTuple):
    """Mean and interval of one model with one number of labels.

    mark : `BEST`, `LEVEL` or empty
    margin : half-width of the interval of the difference to the best; 0 for the best, NaN where
        the two were not compared
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

    def best(self, position: int) -> tuple[str, Entry, int] | None:
        """Return the best model of a column, its entry, and how many others are level with it."""
        own = {m: e for m, entries in self.rows.items() if (e := entries[position]) is not None}
        equals = sum(entry.mark == LEVEL for entry in own.values())
        return next(((m, e, equals) for m, e in own.items() if e.mark == BEST), None)


ScoreTables = Mapping[tuple[tuple[Any, ...], str], ScoreTable]
"""By place (cell_type, protocol, trained_on, split) and score."""


def table_metrics(task: str) -> list[str]:
    """Return the names of the scores that have a table in a report, the leading one first."""
    return [metric.name for metric in headline_metrics(task) if metric.larger_is_better]


def is_place(summary: pd.DataFrame, place: tuple[Any, ...]) -> pd.Series:
    """Return which rows of a summary are of one place: cell_type, protocol, trained_on, split."""
    columns = ["cell_type", "protocol", "trained_on", "split"]
    return (summary[columns] == list(place)).all(axis=1)


def name_place(place: tuple[Any, ...]) -> str:
    """Return the name of a place (cell_type, protocol, trained_on, split) in a text."""
    cell_type, protocol, trained_on, split = place
    name = f"from {trained_on} to {cell_type}" if protocol == "transfer" else str(cell_type)
    if cell_type == MEAN:
        name = f"mean over cell types ({protocol})"
    return name if split == "chromosome" else f"{name}, split {split}"


def shown_places(every: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the places that are shown: means over cell types first, at most `PLACES`."""
    return sorted(every, key=lambda place: place[0] != MEAN)[:PLACES]


def make_score_table(
    summary: pd.DataFrame,
    place: tuple[Any, ...],
    metric: str,
    resamples: Resamples | None = None,
) -> ScoreTable:
    """Return the scores of all models in one place, without those that use no histone mark.

    Parameters
    ----------
    summary
        See `summarize`.
    place
        cell_type, protocol, trained_on and split.
    metric
        Name of a score.
    resamples
        Of the same benchmark: with them, models not significantly below the best are marked.
    """
    wanted = is_place(summary, place) & (summary["metric"] == metric)
    rows = summary[wanted & (summary["representation"] != NO_REPRESENTATION)]
    counts = (
        rows[["all_labels", "n_labels"]].drop_duplicates().sort_values(["all_labels", "n_labels"])
    )
    columns = [ALL if count.all_labels else f"{count.n_labels:,}" for count in _tuples(counts)]
    sign = 1 if METRICS.get(metric).larger_is_better else -1
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
                    pairs[best, model] = compare(resamples, metric, place, best, model)
                entry = _compared_with_best(entry, pairs[best, model], count, sign)
            table.setdefault(model, [None] * len(columns))[position] = entry
    return ScoreTable(columns, table)


def _compared_with_best(entry: Entry, pairs: pd.DataFrame, count: Any, sign: int) -> Entry:
    """The entry, with its mark and margin."""
    at = (pairs["n_labels"] == count.n_labels) & (pairs["all_labels"] == count.all_labels)
    for row in _tuples(pairs[at]):
        above, nearest = sign * row.difference, sign * (row.low if sign > 0 else row.high)
        if np.isfinite(nearest):  # how surely the best lies above
            return entry._replace(mark=LEVEL if nearest <= 0 else "", margin=above - nearest)
    return entry


def make_score_tables(
    resamples: Resamples, summary: pd.DataFrame, metrics: Iterable[str]
) -> dict[tuple[tuple[Any, ...], str], ScoreTable]:
    """Return the tables of the `shown_places`, by place and score."""
    names = list(metrics)
    return {
        (place, metric): make_score_table(summary, place, metric, resamples)
        for place in shown_places(places(resamples))
        for metric in names
    }


def baseline_table(summary: pd.DataFrame, place: tuple[Any, ...], metric: str) -> ScoreTable:
    """Return the scores of the baselines that use no histone mark."""
    wanted = is_place(summary, place) & (summary["metric"] == metric)
    rows = summary[wanted & (summary["representation"] == NO_REPRESENTATION)]
    return ScoreTable(
        [ALL],
        {row.predictor: [Entry(row.mean, row.low, row.high)] for row in _tuples(rows)},
    )


def _tuples(frame: pd.DataFrame) -> Iterator[Any]:
    return frame.itertuples()


def score_block(table: ScoreTable, metric: str, title: str = "") -> page.Table:
    """Return a score table as a block: means, the best in bold, intervals in the text form."""
    names = {c: "all labels" if c == ALL else f"{c} labels" for c in table.columns}
    held = {
        name: [entries[k] for entries in table.rows.values()]
        for k, name in enumerate(names.values())
    }
    larger = METRICS.get(metric).larger_is_better
    which: Literal["highest", "lowest"] = "highest" if larger else "lowest"
    frame = {c: [np.nan if e is None else e.mean for e in own] for c, own in held.items()}
    return page.Table(
        pd.DataFrame({"model": list(table.rows), **frame}),
        title,
        LEVEL_MEANS if title else "",
        formats=dict.fromkeys(frame, ".4f"),
        best=dict.fromkeys(frame, which),
        # A model that was not fitted has no value either, and is never in bold.
        margins={c: [0.0 if e is None else e.margin for e in own] for c, own in held.items()},
        details={
            c: ["" if e is None else f"({e.low:.4f}–{e.high:.4f})" for e in own]
            for c, own in held.items()
        },
    )


def as_latex(table: ScoreTable, caption: str) -> str:
    """Return a `table` for the package booktabs: best in bold, its equals with a dagger."""
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
    """Return text with LaTeX's special characters escaped: `log_means` has an underscore."""
    return "".join(_LATEX.get(character, character) for character in text)


def short(value: float) -> str:
    """Return a score with four digits and no leading zero: `.9432`."""
    if not np.isfinite(value):
        return "–"
    text = f"{value:.4f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def signed(value: float) -> str:
    """Return a difference with four digits: `+.0025`, `−.0015`, `.0000`."""
    if not np.isfinite(value):
        return "–"
    text = f"{value:+.4f}"
    if not float(text):
        return ".0000"
    return text.replace("0.", ".", 1).replace("-", "−")
