"""A benchmark as a paper would tell it: method, data, results, controls, limits. All of it is
generated from the run, and true whatever came out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from simplechrome.benchmark.comparisons import LEADING, METRICS, VERDICTS, Findings, tally
from simplechrome.benchmark.config import ALL, OPTIMISTIC_SPLITS
from simplechrome.benchmark.controls import CHANCE, TESTED, TRAINED
from simplechrome.benchmark.grid import conditions, genes_of, targets
from simplechrome.benchmark.run import Benchmark
from simplechrome.benchmark.summary import CONDITION, places
from simplechrome.evaluation.scores import NAMES
from simplechrome.report.benchmark_method import limits, method_paragraphs
from simplechrome.report.benchmark_neighbors import write_up_neighbors
from simplechrome.report.benchmark_tables import (
    ARROWS,
    BEST,
    LEVEL,
    LEVEL_MEANS,
    ScoreTable,
    ScoreTables,
    as_markdown,
    baseline_table,
    markdown_rows,
    name_place,
    short,
    shown_places,
    signed,
)
from simplechrome.report.figures.style import counted

_PUBLISHED = (
    ("DeepChrome", ".801", "NeurIPS 2017, as re-run there"),
    ("LSTM", ".805", "NeurIPS 2017"),
    ("AttentiveChrome", ".812", "NeurIPS 2017"),
    ("TransferChrome", ".848", "2022, PMC9797047"),
    ("DeepEpi", ".889", "2024"),
    ("PatternChrome", ".903", "2025, Bioinformatics, btaf033; other windows"),
)
"""Mean AUROC over 56 Roadmap cell types, as published."""


def write_up(
    benchmark: Benchmark,
    findings: Findings,
    tables: ScoreTables,
    figures: list[tuple[str, str]],
) -> str:
    """What does a finished benchmark say, as a text with tables?

    Parameters
    ----------
    benchmark
        Its folder is where the text will lie.
    findings
        Of the benchmark.
    tables
        Of the scores `SHOWN_IN_TEXTS`; see `make_score_tables`.
    figures
        Path from the benchmark's folder, and caption.

    Returns
    -------
    Markdown.
    """
    parts = [
        *_title(benchmark),
        *_summary(benchmark, findings, tables),
        *_method(benchmark),
        *_data(benchmark),
        *_results(tables, figures),
        *write_up_neighbors(findings.gains, shown_places(places(findings.resamples))),
        *_claims(findings),
        *_controls(findings),
        *_not_applicable(benchmark),
        *_limits(benchmark),
        *_repeat(),
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _title(benchmark: Benchmark) -> Iterator[str]:
    learned = dict.fromkeys(c.trained_on for c in conditions(benchmark.dataset, benchmark.config))
    what = (
        "High and low expression"
        if benchmark.config.task == "classification"
        else "The level of expression"
    )
    yield f"# {what} from histone marks: {len(benchmark.grid.models.applicable)} models compared"
    yield (f"Cell types: {', '.join(learned)}. Written by `simplechrome benchmark` from the run.")
    note = benchmark.dataset.attrs.get("note")
    if note:
        yield f"> {note}."


def _summary(benchmark: Benchmark, findings: Findings, tables: ScoreTables) -> Iterator[str]:
    yield "## In short"
    metric = LEADING[benchmark.config.task]
    lines = []
    for place in shown_places(places(findings.resamples)):
        own = [claim for claim in findings.claims if claim.place == place]
        lines += [
            f"- {name_place(place)}, latents against `{second}`, "
            f"{counted(sum(counts), 'comparison')}: "
            + ", ".join(f"{name} in {n}" for name, n in zip(VERDICTS, counts, strict=True))
            + "."
            for second, *counts in tally(own)
        ]
    for place in shown_places(places(findings.resamples)):
        best = _highest(tables[place, metric])
        lines.append(
            f"- {name_place(place)}, highest {NAMES[metric]} of "
            f"{counted(len(tables[place, metric].rows), 'model')} by number of labels, and in "
            f"brackets how many others' paired intervals to it hold 0: {'; '.join(best)}."
        )
    lines += [
        f"- {name_place(place)}: `gene_mean`, which knows no mark of the cell type, scores "
        f"{short(entry.mean)}."
        for place in shown_places(places(findings.resamples))
        for model, (entry,) in baseline_table(findings.summary, place, metric).rows.items()
        if model == "gene_mean" and entry is not None
    ]
    lines += [
        f"- {name_place(place)}: {models} scored below chance. A network that has hardly moved "
        "from its first weights orders genes along what varies most, either way up; see how its "
        "controls spread."
        for place in shown_places(places(findings.resamples))
        if metric == "auroc" and (models := _below_chance(tables[place, metric]))
    ]
    yield "\n".join(lines)


def _highest(table: ScoreTable) -> list[str]:
    """Which model scores highest with each number of labels?"""
    found = []
    for position, column in enumerate(table.columns):
        entries = {m: e for m, es in table.rows.items() if (e := es[position]) is not None}
        equals = sum(entry.mark == LEVEL for entry in entries.values())
        found += [
            f"{column}: `{model}` {short(entry.mean)} [{equals}]"
            for model, entry in entries.items()
            if entry.mark == BEST
        ]
    return found


def _below_chance(table: ScoreTable) -> str:
    """Which models score an AUROC whose whole interval lies below .5, and with which labels?"""
    found = {
        model: [
            column
            for column, entry in zip(table.columns, entries, strict=True)
            if entry is not None and entry.high < CHANCE["classification"]
        ]
        for model, entries in table.rows.items()
    }
    return "; ".join(
        f"`{model}` with {_labels(', '.join(columns))}"
        for model, columns in found.items()
        if columns
    )


def _labels(column: str) -> str:
    return "all labels" if column == ALL else f"{column} labels"


def _method(benchmark: Benchmark) -> Iterator[str]:
    yield "## Method"
    yield from method_paragraphs(benchmark)
    seen, heads = {}, {}
    for model in benchmark.grid.models.applicable:
        plus = ", and the logarithm of each mark's mean" if model.sees.add_log_means else ""
        seen[model.representation] = _settings(model.sees.encoder.model_dump(mode="json")) + plus
        heads[model.predictor] = _settings(model.head.model_dump(mode="json"))
    for kind, settings in (("representation", seen), ("predictor", heads)):
        yield markdown_rows(
            (kind, "settings"), [(f"`{name}`", text) for name, text in settings.items()]
        )


def _settings(values: dict[str, Any]) -> str:
    rest = [f"{name} {_value(value)}" for name, value in values.items() if name != "name"]
    return f"{values['name']}: " + ", ".join(rest)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        if len(value) > 4:
            return f"{value[0]:g} … {value[-1]:g} ({len(value)})"
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _data(benchmark: Benchmark) -> Iterator[str]:
    dataset, config = benchmark.dataset, benchmark.config
    yield "## Data"
    marks = ", ".join(map(str, dataset["mark"].values))
    units = dataset["signal"].attrs.get("units", "")
    yield (
        f"{dataset.sizes['gene']:,} genes, {dataset.sizes['bin']} bins of "
        f"{dataset.attrs.get('bin_size', '?')} bp around the TSS, marks {marks}"
        + (f", in {units}" if units else "")
        + ". A missing mark is missing, never zero."
    )
    header = ["trained on", "split", "training", "validation", "test"]
    header += ["high in training", "high in test"] if config.task == "classification" else []
    rows = []
    for place in conditions(dataset, config):
        genes = genes_of(dataset, config, place)
        y = targets(dataset, config, place.trained_on).values[0]
        name = place.split + (f" {place.fold}" if place.split == "fold" else "")
        row = [place.trained_on, name, *(f"{n.size:,}" for n in genes[1:])]
        if config.task == "classification":
            row += [f"{np.mean(y[part] == 1):.1%}" for part in (genes.train, genes.test)]
        rows.append(row)
    yield markdown_rows(header, rows)
    if "chromosome" in config.splits:
        yield (
            f"Test chromosomes: {', '.join(config.test_chroms)}; validation: "
            f"{', '.join(config.validation_chroms)}."
        )
    for kind in set(config.splits) & set(OPTIMISTIC_SPLITS):
        yield (
            f"The {kind} split puts overlapping windows of neighboring genes on both sides: **its "
            "scores are optimistic**, and here for comparison only."
        )


def _results(tables: ScoreTables, figures: list[tuple[str, str]]) -> Iterator[str]:
    yield "## Results"
    for path, caption in figures:
        yield f"![{caption}]({path})"
        yield f"*{caption}.*"
    yield f"Mean over draws, and 95 % interval. {LEVEL_MEANS}"
    for (place, metric), table in tables.items():
        yield f"### {NAMES[metric]}, {name_place(place)}"
        yield as_markdown(table)


def _claims(findings: Findings) -> Iterator[str]:
    if not findings.claims:
        return
    shown = shown_places(places(findings.resamples))
    yield "## Do latents do better than the window?"
    yield (
        "Differences on the same draws and genes; the linear head chooses its penalty anew for "
        "each representation and draw. ▲ and ▼: the 95 % interval lies above or below 0. One that "
        "holds 0 shows no difference, which is not to say that there is none."
    )
    for place in shown:
        own = [claim for claim in findings.claims if claim.place == place]
        if not own:
            continue
        yield f"**{name_place(place)}**"
        yield markdown_rows(
            ("against", *VERDICTS), ((f"`{row[0]}`", *row[1:]) for row in tally(own))
        )
        for second in dict.fromkeys(claim.second for claim in own):
            rows: dict[str, dict[str, str]] = {}
            for claim in (claim for claim in own if claim.second == second):
                column = ALL if claim.all_labels else f"{claim.n_labels:,}"
                rows.setdefault(claim.first, {})[column] = (
                    f"{signed(claim.difference)}{ARROWS.get(claim.verdict, '')} "
                    f"({signed(claim.low)} to {signed(claim.high)})"
                )
            columns = list(dict.fromkeys(column for row in rows.values() for column in row))
            yield markdown_rows(
                (f"minus `{second}`", *columns),
                (
                    (f"`{first}`", *(row.get(column, "–") for column in columns))
                    for first, row in rows.items()
                ),
            )
    yield "`claims.csv` has a sentence for each, in all cell types, protocols and splits."


def _controls(findings: Findings) -> Iterator[str]:
    yield "## Controls"
    controls = findings.controls
    trained = controls[controls["control"] == TRAINED]
    if not trained.empty:
        missed = int((~trained["covers_chance"]).sum())
        yield (
            f"**Models {TRAINED}.** Labels are dealt out anew before training, and weights begin "
            "anew, each time differently and the same for all models. A single such model may "
            "score anything, as its direction is random but lies along the first component; the "
            "mean must be chance. Interval: 99 %, of the mean. "
            f"{len(trained) - missed} of {len(trained)} cover chance; models that share the "
            "permutations are no independent tests. Networks on windows are too slow for it."
        )
        first = trained[list(CONDITION)].iloc[0]
        if len(trained[list(CONDITION)].drop_duplicates()) > 1:
            yield f"Shown: {name_place(tuple(first)[:4])}; `controls.csv` holds the others."
        rows: list[Any] = list(
            trained[(trained[list(CONDITION)] == first).all(axis=1)].itertuples()
        )
        yield markdown_rows(
            ("model", "labels", "permutations", "mean (s.e.)", "99 %", "covers chance"),
            (
                (
                    f"`{row.representation}:{row.predictor}`",
                    f"{row.n_labels:,}",
                    row.n,
                    f"{short(row.mean)} ({short(row.standard_error)})",
                    f"{short(row.low)}–{short(row.high)}",
                    "yes" if row.covers_chance else "**no**",
                )
                for row in rows
            ),
        )
    tested = controls[controls["control"] == TESTED]
    if not tested.empty:
        missed = int((~tested["covers_chance"]).sum())
        yield (
            f"**Models {TESTED}.** What is luck? On test labels dealt out anew, 99 % of the scores "
            f"of all models lie between {short(tested['low'].min())} and "
            f"{short(tested['high'].max())}; {len(tested) - missed} of {len(tested)} ranges cover "
            "chance. This says nothing of leaks."
        )
    yield "## Without any histone mark"
    yield (
        "`majority` says the same of every gene. `gene_mean` is the gene's mean log2(expression + "
        "1) in *other* cell types: it memorizes genes and needs no track of this cell type. A "
        "model that has seen its test genes in other cell types can do as well without any mark. "
        "Neither is a model of histones."
    )
    for place in shown_places(places(findings.resamples)):
        for metric in findings.resamples.values:
            if metric in METRICS:
                yield f"{NAMES[metric]}, {name_place(place)}:"
                yield as_markdown(baseline_table(findings.summary, place, metric))


def _not_applicable(benchmark: Benchmark) -> Iterator[str]:
    rest = benchmark.grid.models.not_applicable
    if rest:
        yield "## Not applicable"
        yield "\n".join(f"- `{r}:{p}`: {reason}." for r, p, reason in rest)


def _limits(benchmark: Benchmark) -> Iterator[str]:
    yield "## Limits"
    yield "\n".join(f"- {line}" for line in limits(benchmark))
    if benchmark.config.task == "classification":
        yield (
            "Published figures, mean AUROC over 56 Roadmap cell types, for orientation only: their "
            "labels and splits differ from these."
        )
        yield markdown_rows(("model", "AUROC", "source"), _PUBLISHED)


def _repeat() -> Iterator[str]:
    yield "## To repeat it"
    yield "```\nsimplechrome benchmark DATASET -o again --config benchmark.toml\n```"
    yield "`scores.parquet` holds every score, `summary.csv` means, intervals and differences."
