"""A benchmark as a paper would tell it: method, data, results, controls, limits. All of it is
generated from the run, and true whatever came out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from simplechrome.evaluation.benchmark import Benchmark
from simplechrome.evaluation.benchmark_claims import METRICS, Claim
from simplechrome.evaluation.benchmark_config import ALL, OPTIMISTIC_SPLITS
from simplechrome.evaluation.benchmark_controls import CHANCE, TESTED, TRAINED
from simplechrome.evaluation.benchmark_findings import LEADING, Findings
from simplechrome.evaluation.benchmark_grid import conditions, genes_of, targets
from simplechrome.evaluation.benchmark_results import CONDITION, MODEL
from simplechrome.evaluation.benchmark_summary import places
from simplechrome.evaluation.summary import NAMES
from simplechrome.report.benchmark_tables import (
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
)
from simplechrome.report.style import counted

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
        table = tables[place, metric]
        for position, column in enumerate(table.columns):
            there = {m: e for m, es in table.rows.items() if (e := es[position]) is not None}
            equals = sum(entry.mark == LEVEL for entry in there.values())
            lines += [
                f"- {name_place(place)}, {_labels(column)}: the highest {NAMES[metric]} of "
                f"{counted(len(there), 'model')} is that of `{model}`, {short(entry.mean)} "
                f"({short(entry.low)}–{short(entry.high)})"
                + (f"; {counted(equals, 'other')} cannot be told from it." if equals else ".")
                for model, entry in there.items()
                if entry.mark == BEST
            ]
    first = next(iter(tables))[0]
    counts = Counter(claim.verdict for claim in findings.claims if claim.place == first)
    if counts:
        lines.append(
            f"- {name_place(first)}, latents against the window, "
            f"{counted(counts.total(), 'comparison')}: higher in "
            f"{counts['higher']}, lower in {counts['lower']}, no difference shown in "
            f"{counts['no difference shown']}."
        )
    lines += [
        f"- {name_place(place)}: {models} scored below chance. A network that has hardly moved "
        "from its first weights orders genes along what varies most, either way up; see how its "
        "controls spread."
        for place in shown_places(places(findings.resamples))
        if metric == "auroc" and (models := _below_chance(tables[place, metric]))
    ]
    yield "\n".join(lines)


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
    config = benchmark.config
    yield "## Method"
    yield (
        "Each model is a representation of the window around a gene's TSS, learned without labels, "
        "and a predictor on top of it. Representations are fitted on training windows; a VAE stops "
        "on validation windows. Nothing of a test gene, window or label, reaches what is fitted."
    )
    few = [n for n in config.labels if n != ALL]
    if few:
        numbers = ", ".join(f"{n:,}" for n in few)
        yield (
            f"With {numbers} labels, {config.seeds} draws of that many training genes were made "
            "(`numpy.random.default_rng(draw).choice` from the training genes sorted by id), the "
            "same for all models; draw s also seeds the weights. Nothing but these labels chooses "
            "anything: penalties, epochs and numbers of trees are found by cross-validation, or on "
            "a held-out part, within them."
        )
    if ALL in config.labels:
        seeds_all = min(config.seeds, config.seeds_all)
        yield (
            "With all labels, validation genes choose epochs and numbers of trees, and "
            "cross-validation within the training genes the penalty of linear heads; models that "
            f"depend on a seed were fitted with {counted(seeds_all, 'seed')}. Nothing is refitted "
            "on validation genes."
        )
    yield (
        "Scores are means over draws. Their 95 % intervals come from a bootstrap of draws and of "
        "runs of 50 neighboring test genes within chromosomes, 1,000 times. Differences are taken "
        "on the same draws and the same genes, so that what is hard for both models cancels."
    )
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
        "Pairs on the same draws and genes; the linear head chooses its penalty anew for each "
        "representation and draw. An interval that holds 0 shows no difference, which is not to "
        "say that there is none."
    )
    by_pair: dict[tuple[Any, ...], list[Claim]] = {}
    for claim in (claim for claim in findings.claims if claim.place in shown):
        by_pair.setdefault((claim.place, claim.first, claim.second), []).append(claim)
    for (place, first, second), claims in by_pair.items():
        yield f"**`{first}` against `{second}`** ({name_place(place)})"
        yield "\n".join(f"- {claim.sentence}" for claim in claims)
    if len({claim.place for claim in findings.claims}) > len(shown):
        yield "`claims.csv` holds those of all other cell types, protocols and splits."


def _controls(findings: Findings) -> Iterator[str]:
    yield "## Controls"
    controls = findings.controls
    for kind, meaning in (
        (
            TRAINED,
            "Labels dealt out anew before training, each time differently. A single such model may "
            "score anything, as its direction is random but lies along the first component; the "
            "mean must be chance. Interval: 99 %, of the mean.",
        ),
        (
            TESTED,
            "The models themselves, scored on test labels dealt out anew. Range: 99 % of the "
            "permutations; a score inside it would be luck.",
        ),
    ):
        own = controls[controls["control"] == kind]
        if own.empty:
            continue
        missed = int((~own["covers_chance"]).sum())
        yield f"**Models {kind}.** {meaning} {len(own) - missed} of {len(own)} cover chance."
        first = own[list(CONDITION)].iloc[0]
        if len(own[list(CONDITION)].drop_duplicates()) > 1:
            yield f"Shown: {name_place(tuple(first)[:4])}; `controls.csv` holds the others."
        own = own[(own[list(CONDITION)] == first).all(axis=1)]
        # Of test labels the mean says nothing: it is chance, and all models share its luck.
        error = kind == TRAINED
        spread = "mean (s.e.)" if error else "mean (s.d.)"
        if kind == TESTED:  # with any number of labels they say the same
            own = own[own["n_labels"] == own.groupby(list(MODEL))["n_labels"].transform("max")]
        rows: list[Any] = list(own.itertuples())
        yield markdown_rows(
            ("model", "labels", "permutations", spread, "99 %", "covers chance"),
            (
                (
                    f"`{row.representation}:{row.predictor}`",
                    f"{row.n_labels:,}",
                    row.n,
                    f"{short(row.mean)} "
                    f"({short(row.standard_error if error else row.standard_deviation)})",
                    f"{short(row.low)}–{short(row.high)}",
                    "yes" if row.covers_chance else "**no**",
                )
                for row in rows
            ),
        )
    yield "## Without any histone mark"
    yield (
        "`majority` says the same of every gene. `gene_mean` is the mean expression of the gene in "
        "*other* cell types: it memorizes genes, needs no track of this cell type, and says what a "
        "model reaches that has seen the test genes elsewhere. Neither is a model of histones."
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
    config = benchmark.config
    yield "## Limits"
    lines = [
        "All models share the test genes of a split. The bootstrap of runs of genes says how "
        "scores vary over genes like these, not over other chromosomes, cell types or "
        "laboratories.",
        f"{counted(config.seeds, 'draw')} of labels tell the luck of the draw only roughly, and "
        f"{counted(min(config.seeds, config.seeds_all), 'seed')} with all labels that of the "
        "weights. Where that luck is most of what a score varies by, a 95 % interval from 10 holds "
        "the truth in 91 % of cases, from 5 in 84 %, from 3 in 73 % (simulated); where test genes "
        "are most of it, in 93 to 94 %.",
        "Comparisons are many and their intervals are not corrected for it: where there is no "
        "difference at all, one of twenty misses 0 by chance.",
    ]
    if set(config.splits) - set(OPTIMISTIC_SPLITS):
        lines.append(
            "Where whole chromosomes are held out, genes that share windows with a test gene are "
            "held out with it; what chromosomes have in common (duplicated genes, gene families) "
            "is not."
        )
    if config.transfer:
        lines.append(
            "Models are scored in other cell types without adapting to their depth: order is "
            "comparable there, probabilities are not."
        )
    yield "\n".join(f"- {line}" for line in lines)
    if config.task == "classification":
        yield (
            "Published figures, mean AUROC over 56 Roadmap cell types, for orientation only: their "
            "labels and splits differ from these."
        )
        yield markdown_rows(("model", "AUROC", "source"), _PUBLISHED)


def _repeat() -> Iterator[str]:
    yield "## To repeat it"
    yield "```\nsimplechrome benchmark DATASET -o again --config benchmark.toml\n```"
    yield "`scores.parquet` holds every score, `summary.csv` means, intervals and differences."
