"""A finished benchmark to one page, and its figures to files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd
import tomli_w

from simplechrome.benchmark.comparisons import LEADING, VERDICTS, Findings, tally
from simplechrome.benchmark.config import ALL, OPTIMISTIC_SPLITS
from simplechrome.benchmark.run import Benchmark
from simplechrome.benchmark.summary import NO_REPRESENTATION, places
from simplechrome.evaluation.scores import NAMES
from simplechrome.report import page
from simplechrome.report.benchmark_method import limits, method_paragraphs
from simplechrome.report.benchmark_neighbors import neighbors_section
from simplechrome.report.benchmark_sections import control_section, curves_section
from simplechrome.report.benchmark_tables import (
    ARROWS,
    BEST,
    LEVEL,
    SMALLER_IS_BETTER,
    ScoreTable,
    ScoreTables,
    is_place,
    name_place,
    shown_places,
    signed,
)
from simplechrome.report.figures.benchmark import (
    fit_time_figure,
    grid_figure,
    paired_difference_figure,
)
from simplechrome.report.figures.style import counted
from simplechrome.report.run_page import write_figures
from simplechrome.version import __version__

Place = tuple[Any, ...]


def write_benchmark_page(
    benchmark: Benchmark, findings: Findings, tables: ScoreTables
) -> list[tuple[str, str]]:
    """What did a benchmark find, on one page? Writes report.html and figures/ into its folder.

    Parameters
    ----------
    benchmark
        Its folder is written to.
    findings
        Of the benchmark.
    tables
        Of the leading score, by place and score; see `make_score_tables`.

    Returns
    -------
    Path from the folder, and title, of each figure. The same benchmark gives the same bytes.
    """
    metric = LEADING[benchmark.config.task]
    every = places(findings.resamples)
    drawn = shown_places(every)
    sections = [
        _place_section(findings, place, tables[place, metric], metric, position, len(drawn))
        for position, place in enumerate(drawn)
    ]
    if findings.gains:
        sections.insert(0, neighbors_section(findings.gains, drawn[0], metric))
    if findings.claims:
        sections.append(_claims_section(findings, drawn[0], metric))
    if curves := curves_section(benchmark, findings, every):
        sections.append(curves)
    sections.append(_time_section(findings, drawn[0], metric))
    sections.append(control_section(findings, drawn[0], metric))
    if len(benchmark.results.not_applicable):
        sections.append(
            page.Section(
                "Not applicable",
                [page.Table(benchmark.results.not_applicable, "Models that make no sense")],
            )
        )
    sections.append(
        page.Section(
            "How it was done, and what it does not say",
            [page.Text(text) for text in (*method_paragraphs(benchmark), *limits(benchmark))],
        )
    )
    write_figures(sections, benchmark.folder / "figures")
    page.write_page(
        benchmark.folder / "report.html",
        f"{len(benchmark.grid.models.applicable)} models of expression, compared",
        _subtitle(benchmark, findings),
        _headline(tables[drawn[0], metric], metric, drawn[0]),
        sections,
        _provenance(benchmark),
        notes=list(_notes(benchmark, len(every) - len(drawn))),
    )
    return [
        (f"figures/{figure.name}.svg", figure.title)
        for section in sections
        for block in section.blocks
        for figure in (block.figures if isinstance(block, page.Row) else [block])
        if isinstance(figure, page.Figure)
    ]


def _subtitle(benchmark: Benchmark, findings: Findings) -> str:
    config = benchmark.config
    learned = list(dict.fromkeys(findings.resamples.cells["trained_on"]))
    named = ", ".join(learned[:3]) + (f" and {len(learned) - 3} more" if len(learned) > 3 else "")
    task = {
        "classification": "High and low genes",
        "regression": "Levels of expression",
    }[config.task]
    labels = ", ".join(n if isinstance(n, str) else f"{n:,}" for n in config.labels)
    return (
        f"{task} from histone marks in {named}: {labels} labels, {config.seeds} draws of each, "
        f"the same for all models; compared with {findings.baseline}"
    )


def _notes(benchmark: Benchmark, n_left_out: int) -> Iterator[page.Note]:
    if note := benchmark.dataset.attrs.get("note"):
        yield page.Note(f"{note}.", "warning")
    for kind in dict.fromkeys(benchmark.config.splits):
        if kind in OPTIMISTIC_SPLITS:
            yield page.Note(
                f"The {kind} split puts overlapping windows of neighboring genes on both sides: "
                "its scores are optimistic.",
                "warning",
            )
    if n_left_out:
        yield page.Note(
            "Means over cell types and the first cell types, protocols and splits are shown; the "
            f"other {n_left_out} are in `summary.csv`."
        )


def _headline(table: ScoreTable, metric: str, place: Place) -> list[page.HeadlineNumber]:
    """The best model with the fewest labels, and with the most."""
    numbers = []
    for position in dict.fromkeys((0, len(table.columns) - 1)):
        named = [(model, entries[position]) for model, entries in table.rows.items()]
        equals = sum(entry is not None and entry.mark == LEVEL for _, entry in named)
        for model, entry in named:
            if entry is not None and entry.mark == BEST:
                numbers.append(
                    page.HeadlineNumber(
                        f"highest {NAMES[metric]}, {_labels(table.columns[position])}",
                        entry.mean,
                        (entry.low, entry.high) if np.isfinite(entry.low) else None,
                        f"{model}, {name_place(place)}"
                        + (
                            f"; {counted(equals, 'other model')} cannot be told from it"
                            if equals
                            else ""
                        ),
                    )
                )
    return numbers


def _labels(column: str) -> str:
    return "all labels" if column == ALL else f"{column} labels"


def _suffix(place: Place, position: int) -> str:
    """Of the names of a place's figures; the first needs none."""
    return "" if position == 0 else "_" + re.sub(r"[^\w.+-]+", "_", name_place(place))


def _place_section(
    findings: Findings, place: Place, table: ScoreTable, metric: str, position: int, n_places: int
) -> page.Section:
    summary = findings.summary
    rows = summary[is_place(summary, place) & (summary["metric"] == metric)]
    rows = rows[rows["representation"] != NO_REPRESENTATION]
    name, suffix = NAMES[metric], _suffix(place, position)
    where = f" ({name_place(place)})" if n_places > 1 else ""
    return page.Section(
        f"How many labels are needed?{where}",
        [
            page.Figure(
                grid_figure(rows, baseline=findings.baseline, score_name=name),
                f"{name} of each representation by number of labels, a panel per predictor{where}",
                "Mean over draws of labels, and its 95 % interval over draws and test genes. All "
                "models share draws and genes, so the bands rise and fall together: whether two "
                "differ is seen in the next figure. Lines may leave the frame below.",
                name=f"label_efficiency{suffix}",
            ),
            page.Figure(
                paired_difference_figure(rows, baseline=findings.baseline, score_name=name),
                f"{name} above or below {findings.baseline}, pair by pair{where}",
                "The same draws and the same test genes for both; 95 % intervals over draws and "
                "runs of neighboring genes. Filled: the interval excludes 0. Each column has its "
                "own scale; arrows lie outside of it.",
                name=f"differences{suffix}",
            ),
            _score_block(table, metric, where),
        ],
    )


def _score_block(table: ScoreTable, metric: str, where: str) -> page.Table:
    columns = {
        _labels(column): [entries[position] for entries in table.rows.values()]
        for position, column in enumerate(table.columns)
    }
    which: Literal["highest", "lowest"] = "lowest" if metric in SMALLER_IS_BETTER else "highest"
    frame = {c: [np.nan if e is None else e.mean for e in held] for c, held in columns.items()}
    return page.Table(
        pd.DataFrame({"model": list(table.rows), **frame}),
        f"{NAMES[metric]} as a table{where}",
        "Bold: the highest mean, and all that paired draws and genes cannot tell from it. "
        "Intervals are in table.md and summary.csv.",
        formats=dict.fromkeys(frame, ".4f"),
        best=dict.fromkeys(frame, which),
        # A model that was not fitted has no value either, and is never in bold.
        margins={c: [0.0 if e is None else e.margin for e in h] for c, h in columns.items()},
    )


def _claims_section(findings: Findings, place: Place, metric: str) -> page.Section:
    own = [claim for claim in findings.claims if claim.place == place]
    counts = tally(own)
    opponents = [row[0] for row in counts]
    own.sort(key=lambda claim: opponents.index(claim.second))
    columns = dict.fromkeys(ALL if c.all_labels else f"{c.n_labels:,}" for c in own)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for claim in own:
        column = ALL if claim.all_labels else f"{claim.n_labels:,}"
        pair = rows.setdefault((claim.second, claim.first), dict.fromkeys(columns, "–"))
        pair[column] = signed(claim.difference) + ARROWS.get(claim.verdict, "")
    return page.Section(
        "Do latents do better than the window?",
        [
            page.Text(
                f"{len(own)} paired comparisons in {name_place(place)}, counted by opponent: "
                "against a weak one all latents win. Intervals are in `writeup.md`, a sentence for "
                "each is in `claims.csv`. With so many, a few miss 0 by chance."
            ),
            page.Table(
                pd.DataFrame(counts, columns=["against", *VERDICTS]),
                "How often latents scored above and below each model of the window",
            ),
            page.Table(
                pd.DataFrame(
                    [
                        {"minus": second, "latents": first, **row}
                        for (second, first), row in rows.items()
                    ]
                ),
                f"{NAMES[metric]} of latents minus that of the window, by number of labels",
                "Means over the same draws and genes. ▲ and ▼: the 95 % interval of the difference "
                "lies above or below 0. Elsewhere no difference is shown, which is not to say that "
                "there is none.",
            ),
        ],
    )


def _time_section(findings: Findings, place: Place, metric: str) -> page.Section:
    summary, cells = findings.summary, findings.resamples.cells
    rows = summary[is_place(summary, place) & (summary["metric"] == metric)]
    rows = rows[rows["representation"] != NO_REPRESENTATION]
    model = ["representation", "predictor", "n_labels", "all_labels"]
    seconds = cells.groupby(model, sort=False)["seconds"].mean().reset_index()
    return page.Section(
        "What does a score cost?",
        [
            page.Figure(
                fit_time_figure(rows.merge(seconds, on=model), score_name=NAMES[metric]),
                f"{NAMES[metric]} against the time of one fit",
                "Mean time to fit the predictor, its choice of penalty, epochs or trees included, "
                "on the machine of this benchmark with whatever else ran there; the time of "
                "encoders, which are fitted once for all predictors, is not in it.",
                name="fit_time",
            )
        ],
    )


def _provenance(benchmark: Benchmark) -> page.Provenance:
    config = benchmark.config.model_dump(exclude_none=True)
    return page.Provenance(
        version=__version__,
        command="simplechrome benchmark DATASET -o FOLDER --config benchmark.toml",
        config=tomli_w.dumps(config),
        files=[
            (str(source["name"]), f"{source.get('bytes', '?')} bytes")
            for source in benchmark.dataset.attrs.get("sources", ())
        ],
    )
