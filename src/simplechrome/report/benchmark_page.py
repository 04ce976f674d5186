"""A finished benchmark as files: tables, figures, and one list of blocks as page and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w

from simplechrome.benchmark.comparisons import (
    AGAINST,
    OWN,
    TESTED,
    TRAINED,
    VERDICTS,
    Comparison,
    Findings,
    comparison_table,
    find,
    name_gains,
    tally,
)
from simplechrome.benchmark.config import ALL, OPTIMISTIC_SPLITS
from simplechrome.benchmark.grid import conditions, genes_of, targets
from simplechrome.benchmark.run import Benchmark
from simplechrome.benchmark.summary import CONDITION, MEAN, MODEL, NO_REPRESENTATION, places
from simplechrome.evaluation.scores import NAMES
from simplechrome.metrics import AUROC, metrics_of
from simplechrome.report import page
from simplechrome.report.benchmark_method import limits, method_paragraphs
from simplechrome.report.figures.benchmark import (
    fit_time_figure,
    grid_figure,
    head_of,
    paired_difference_figure,
)
from simplechrome.report.figures.neighbors import neighbor_gain_figure
from simplechrome.report.figures.scores import (
    calibration_figure,
    precision_recall_figure,
    roc_figure,
)
from simplechrome.report.figures.style import counted
from simplechrome.report.markdown import render_markdown, table_as_markdown
from simplechrome.report.score_tables import (
    LEVEL_MEANS,
    ScoreTable,
    ScoreTables,
    as_latex,
    baseline_table,
    is_place,
    make_score_tables,
    name_place,
    score_block,
    short,
    shown_places,
    signed,
    table_metrics,
)
from simplechrome.runs.predictions import write_table
from simplechrome.version import __version__
from simplechrome.work.files import whole_file

Place = tuple[Any, ...]
_ARROWS = {"higher": " ▲", "lower": " ▼"}
_ARROWS_MEAN = "▲ and ▼: the 95 % interval of the difference lies above or below 0."
_CURVES = 6  # the baseline and the five predictors; more do not fit into one figure
_PUBLISHED = pd.DataFrame(
    [
        ("DeepChrome", 0.801, "NeurIPS 2017, as re-run there"),
        ("LSTM", 0.805, "NeurIPS 2017"),
        ("AttentiveChrome", 0.812, "NeurIPS 2017"),
        ("TransferChrome", 0.848, "2022, PMC9797047"),
        ("DeepEpi", 0.889, "2024"),
        ("PatternChrome", 0.903, "2025, Bioinformatics, btaf033; other windows"),
    ],
    columns=["model", "AUROC", "source"],
)
_NEIGHBOR_METHOD = (
    "Each kind of neighbors is compared, on the same draws and genes, with the gene's own window "
    "alone; with shuffled neighbors (other genes in their places, with the true ones' distances "
    "and weights); and with the neighbors of a gene on another chromosome. Only what is higher "
    "than with shuffled neighbors is an effect of neighbors: a model with more features may score "
    "higher for that alone. Of many comparisons, one interval in twenty excludes 0 by chance: look "
    "for what holds over predictors, numbers of labels and cell types. Co-expressed genes are "
    "those of other cell types; they also carry what a gene usually does, which the gene-mean "
    "prior knows as well."
)


def write_benchmark_files(benchmark: Benchmark) -> Findings:
    """Write the results of a benchmark into its folder.

    scores.parquet and scores.csv (one row a score), summary.csv (means, intervals, differences),
    controls.csv, claims.csv, not_applicable.csv, neighbors.csv (of models that use any), table.md
    and table.tex (the leading score), figures/, report.html and writeup.md.
    """
    folder = benchmark.folder
    findings = find(benchmark.results, benchmark.config.baseline)
    write_table(findings.scores, folder / "scores.csv")
    write_table(findings.summary, folder / "summary.csv")
    write_table(findings.controls, folder / "controls.csv")
    write_table(comparison_table(findings.claims), folder / "claims.csv")
    if findings.gains:
        write_table(comparison_table(findings.gains), folder / "neighbors.csv")
    write_table(benchmark.results.not_applicable, folder / "not_applicable.csv")
    tables = make_score_tables(
        findings.resamples, findings.summary, table_metrics(benchmark.config.task)
    )
    _write_tables(benchmark, tables)
    write_benchmark_page(benchmark, findings, tables)
    # Last: it shows that all is there.
    write_table(findings.scores, folder / "scores.parquet")
    return findings


def _write_tables(benchmark: Benchmark, tables: ScoreTables) -> None:
    markdown, latex = [], []
    for (place, metric), table in tables.items():
        if metric == metrics_of(benchmark.config.task)[0].name:
            caption = f"{NAMES[metric]}, {name_place(place)}: mean over draws and 95 % interval"
            markdown.append(f"{caption}\n\n{table_as_markdown(score_block(table, metric))}\n")
            latex.append(as_latex(table, f"{caption}. {LEVEL_MEANS}"))
    markdown.append(f"{LEVEL_MEANS}\n")
    _write_text(benchmark.folder / "table.md", "\n".join(markdown))
    _write_text(benchmark.folder / "table.tex", "\n".join(latex))


def _write_text(path: Path, text: str) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_benchmark_page(benchmark: Benchmark, findings: Findings, tables: ScoreTables) -> None:
    """Write report.html, writeup.md and figures/ of a benchmark into its folder.

    The same benchmark gives the same bytes.

    Parameters
    ----------
    tables
        Of the `table_metrics`; see `make_score_tables`.
    """
    metric = metrics_of(benchmark.config.task)[0].name
    shown = shown_places(places(findings.resamples))
    report = page.Page(
        f"{len(benchmark.grid.models.applicable)} models of expression, compared",
        _subtitle(benchmark, findings),
        _headline(tables[shown[0], metric], metric, shown[0]),
        benchmark_sections(benchmark, findings, tables),
        page.Provenance(
            version=__version__,
            command="simplechrome benchmark DATASET -o FOLDER --config benchmark.toml",
            config=tomli_w.dumps(benchmark.config.model_dump(exclude_none=True)),
            files=page.source_files(benchmark.dataset.attrs.get("sources", ())),
        ),
        notes=list(_notes(benchmark, len(places(findings.resamples)) - len(shown))),
    )
    page.write_figures(report.sections, benchmark.folder / "figures")
    page.write_page(benchmark.folder / "report.html", report)
    _write_text(benchmark.folder / "writeup.md", render_markdown(report))


def benchmark_sections(
    benchmark: Benchmark, findings: Findings, tables: ScoreTables
) -> list[page.Section]:
    """Return what a benchmark found, in the order in which it is read."""
    metric = metrics_of(benchmark.config.task)[0].name
    shown = shown_places(places(findings.resamples))
    sections = [
        page.Section("In short", [page.Items(list(_in_short(findings, tables, metric)))]),
        *neighbor_sections(findings.gains, shown, metric),
        *(_place_section(findings, place, tables, len(shown)) for place in shown),
        *_claim_sections(findings, shown, metric),
        *_curve_sections(benchmark, findings),
        _time_section(findings, shown[0], metric),
        page.Section("Controls", list(_controls(findings, metric))),
        page.Section("Without any histone mark", list(_baselines(findings, shown))),
    ]
    if len(benchmark.results.not_applicable):
        table = page.Table(benchmark.results.not_applicable, "Combinations without a model")
        sections.append(page.Section("Not applicable", [table]))
    limits_blocks: list[page.Block] = [page.Items(limits(benchmark))]
    if benchmark.config.task == "classification":
        caption = (
            "Mean AUROC over 56 Roadmap cell types, for orientation only: labels and splits differ."
        )
        limits_blocks.append(page.Table(_PUBLISHED, "Published figures", caption))
    return [
        *sections,
        page.Section("Data", list(_data(benchmark))),
        page.Section("Method", list(_method(benchmark))),
        page.Section("Limits", limits_blocks),
    ]


# ---------------------------------------------------------------------------- the top


def _subtitle(benchmark: Benchmark, findings: Findings) -> str:
    config = benchmark.config
    learned = list(dict.fromkeys(findings.resamples.cells["trained_on"]))
    named = ", ".join(learned[:3]) + (f" and {len(learned) - 3} more" if len(learned) > 3 else "")
    task = {"classification": "High and low genes", "regression": "Levels of expression"}
    labels = ", ".join(n if isinstance(n, str) else f"{n:,}" for n in config.labels)
    return (
        f"{task[config.task]} from histone marks in {named}: {labels} labels, {config.seeds} draws "
        f"of each, the same for all models; compared with {findings.baseline}"
    )


def _notes(benchmark: Benchmark, n_hidden: int) -> Iterator[page.Note]:
    yield from page.dataset_notes(benchmark.dataset)
    for kind in dict.fromkeys(benchmark.config.splits):
        if kind in OPTIMISTIC_SPLITS:
            yield page.Note(
                f"The {kind} split puts overlapping windows of neighboring genes on both sides: "
                "its scores are optimistic.",
                "warning",
            )
    if n_hidden:
        yield page.Note(
            "Means over cell types and the first cell types, protocols and splits are shown; the "
            f"other {n_hidden} are in `summary.csv`."
        )


def _headline(table: ScoreTable, metric: str, place: Place) -> list[page.HeadlineNumber]:
    """The best model with the fewest labels, and with the most."""
    numbers = []
    for position in dict.fromkeys((0, len(table.columns) - 1)):
        found = table.best(position)
        if found is not None:
            model, entry, equals = found
            note = f"{model}, {name_place(place)}"
            if equals:
                note += f"; {counted(equals, 'other model')} not significantly different"
            interval = (entry.low, entry.high) if np.isfinite(entry.low) else None
            label = f"highest {NAMES[metric]}, {_labels(table.columns[position])}"
            numbers.append(page.HeadlineNumber(label, entry.mean, interval, note))
    return numbers


def _labels(column: str) -> str:
    return "all labels" if column == ALL else f"{column} labels"


def _in_short(findings: Findings, tables: ScoreTables, metric: str) -> Iterator[str]:
    shown = shown_places(places(findings.resamples))
    for place in shown:
        own = [claim for claim in findings.claims if claim.place == place]
        for second, *counts in tally(own):
            verdicts = ", ".join(f"{v} in {n}" for v, n in zip(VERDICTS, counts, strict=True))
            compared = counted(sum(counts), "comparison")
            yield f"{name_place(place)}, latents against `{second}`, {compared}: {verdicts}."
    for place in shown:
        table = tables[place, metric]
        best = [
            f"{column}: `{found[0]}` {short(found[1].mean)} [{found[2]}]"
            for position, column in enumerate(table.columns)
            if (found := table.best(position)) is not None
        ]
        yield (
            f"{name_place(place)}, highest {NAMES[metric]} of {counted(len(table.rows), 'model')} "
            "by number of labels, and in brackets how many others are not significantly different "
            f"from it: {'; '.join(best)}."
        )
    for place in shown:
        rows = baseline_table(findings.summary, place, metric).rows
        for entry in rows.get("gene_mean", []):
            if entry is not None:
                yield (
                    f"{name_place(place)}: `gene_mean`, which uses no mark of the cell type, "
                    f"scores {short(entry.mean)}."
                )
    for place in shown:
        if metric == "auroc" and (models := _below_chance(tables[place, metric])):
            yield (
                f"{name_place(place)}: {models} scored below chance. A network that has hardly "
                "moved from its first weights ranks genes along what varies most, in either "
                "direction; see how its controls spread."
            )


def _below_chance(table: ScoreTable) -> str:
    """Models whose whole AUROC interval lies below .5, with their numbers of labels."""
    found = {}
    for model, entries in table.rows.items():
        low = [
            column
            for column, entry in zip(table.columns, entries, strict=True)
            if entry is not None and entry.high < (AUROC.chance or 0)
        ]
        if low:
            found[model] = low
    return "; ".join(f"`{model}` with {_labels(', '.join(each))}" for model, each in found.items())


# ------------------------------------------------------------------------------ results


def _rows_of(findings: Findings, place: Place, metric: str) -> pd.DataFrame:
    summary = findings.summary
    wanted = is_place(summary, place) & (summary["metric"] == metric)
    return summary[wanted & (summary["representation"] != NO_REPRESENTATION)]


def _place_section(
    findings: Findings, place: Place, tables: ScoreTables, n_places: int
) -> page.Section:
    metrics = [metric for other, metric in tables if other == place]
    rows, name = _rows_of(findings, place, metrics[0]), NAMES[metrics[0]]
    where = f" ({name_place(place)})" if n_places > 1 else ""
    # The names of the first place's figures need no suffix.
    suffix = "" if place == next(iter(tables))[0] else f"_{name_place(place)}"
    blocks: list[page.Block] = [
        page.Figure(
            grid_figure(rows, baseline=findings.baseline, score_name=name),
            f"{name} of each representation by number of labels, a panel per predictor{where}",
            "Mean over draws of labels, and its 95 % interval over draws and test genes. All "
            "models share draws and genes, so their bands rise and fall together: whether two "
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
    ]
    blocks += [
        score_block(tables[place, metric], metric, f"{NAMES[metric]}{where}") for metric in metrics
    ]
    return page.Section(f"How many labels are needed?{where}", blocks)


def _comparison_table(rows: Sequence[tuple[dict[str, str], Comparison]], title: str) -> page.Table:
    """Differences by number of labels; `rows` holds what names each row, and the comparison."""
    columns = list(dict.fromkeys(_count(comparison) for _, comparison in rows))
    cells: dict[tuple[str, ...], dict[str, Comparison]] = {}
    names: dict[tuple[str, ...], dict[str, str]] = {}
    for name, comparison in rows:
        key = tuple(name.values())
        names[key] = name
        cells.setdefault(key, {})[_count(comparison)] = comparison
    frame = pd.DataFrame(
        [
            {**names[key], **{c: _difference(own.get(c)) for c in columns}}
            for key, own in cells.items()
        ]
    )
    details = {c: [_interval(own.get(c)) for own in cells.values()] for c in columns}
    return page.Table(frame, title, _ARROWS_MEAN, details=details)


def _count(comparison: Comparison) -> str:
    return ALL if comparison.all_labels else f"{comparison.n_labels:,}"


def _difference(comparison: Comparison | None) -> str:
    if comparison is None:
        return page.NOTHING
    return signed(comparison.difference) + _ARROWS.get(comparison.verdict, "")


def _interval(comparison: Comparison | None) -> str:
    if comparison is None:
        return ""
    return f"({signed(comparison.low)} to {signed(comparison.high)})"


def _claim_sections(
    findings: Findings, shown: Sequence[Place], metric: str
) -> Iterator[page.Section]:
    blocks: list[page.Block] = [
        page.Text(
            "Differences on the same draws and genes, counted by opponent. The linear head "
            "chooses its penalty for each representation and draw. An interval that holds 0 shows "
            "no difference, which does not prove that there is none; of many intervals, a few "
            "exclude 0 by chance. `claims.csv` has a sentence for each comparison, in all cell "
            "types, protocols and splits."
        )
    ]
    for place in shown:
        own = [claim for claim in findings.claims if claim.place == place]
        if not own:
            continue
        counts = tally(own)
        opponents = [row[0] for row in counts]
        own.sort(key=lambda claim: opponents.index(claim.second))
        blocks += [
            page.Table(
                pd.DataFrame(counts, columns=["against", *VERDICTS]),
                "How often latents scored above and below each model of the window, "
                + name_place(place),
            ),
            _comparison_table(
                [({"minus": claim.second, "latents": claim.first}, claim) for claim in own],
                f"{NAMES[metric]} of latents minus that of the window, {name_place(place)}",
            ),
        ]
    if len(blocks) > 1:
        yield page.Section("Do latents do better than the window?", blocks)


def neighbor_sections(
    gains: Sequence[Comparison], shown: Sequence[Place], metric: str
) -> Iterator[page.Section]:
    """Yield the section on what neighbors add in the shown places; none without comparisons."""
    blocks: list[page.Block] = [page.Text(_NEIGHBOR_METHOD)]
    for place in shown:
        own = [gain for gain in gains if gain.place == place]
        # Neighbors are called by the names that they have in this place.
        own = [g._replace(neighbors=n) for g, n in zip(own, name_gains(own), strict=True)]
        if not own:
            continue
        blocks.append(page.Text(f"{name_place(place)}. {describe_gains(own)}"))
        table = comparison_table(own)
        for predictor in dict.fromkeys(table["predictor"]):
            blocks.append(
                page.Figure(
                    neighbor_gain_figure(
                        table[table["predictor"] == predictor], score_name=NAMES[metric]
                    ),
                    f"What neighbors add to the {NAMES[metric]}, predictor {predictor}, "
                    + name_place(place),
                    "Paired differences and their 95 % intervals over draws and runs of "
                    "neighboring test genes. Filled: the interval excludes 0.",
                    name=f"neighbors_{predictor}"
                    + ("" if place == shown[0] else f"_{name_place(place)}"),
                )
            )
        for against in AGAINST:
            rows = [
                ({"neighbors": gain.neighbors, "predictor": gain.predictor}, gain)
                for gain in own
                if gain.against == against
            ]
            if rows:
                other = against if against == OWN else f"neighbors {against}"
                title = f"{NAMES[metric]} with true neighbors, minus that with {other}"
                blocks.append(_comparison_table(rows, f"{title}, {name_place(place)}"))
    if len(blocks) > 1:
        yield page.Section("Do neighbors add anything?", blocks)


def describe_gains(gains: Sequence[Comparison]) -> str:
    """Return how often true neighbors scored above, below and level, by what they are against."""
    texts = []
    for against in AGAINST:
        own = [gain.verdict for gain in gains if gain.against == against]
        if own:
            counts = ", ".join(f"{verdict} in {own.count(verdict)}" for verdict in VERDICTS)
            title = against if against == OWN else f"neighbors {against}"
            texts.append(f"Against {title}, {len(own)} comparisons: {counts}.")
    return " ".join(texts)


def _curve_sections(benchmark: Benchmark, findings: Findings) -> Iterator[page.Section]:
    """Curves of the leading models in the first place that is no mean; none for levels."""
    real = [place for place in places(findings.resamples) if place[0] != MEAN]
    if benchmark.config.task != "classification" or not real:
        return
    place = real[0]
    condition, scored = next(
        (condition, scored)
        for condition, scored in benchmark.results.test_sets.items()
        if condition[: len(place)] == place
    )
    rows = _rows_of(findings, place, AUROC.name)
    fold = f", fold {condition[CONDITION.index('fold')]}" if place[3] == "fold" else ""
    blocks: list[page.Block] = [
        page.Text(
            f"{findings.baseline} and, for every predictor, the representation with the highest "
            f"AUROC; {name_place(place)}{fold}, the first draw of labels and the first seed, "
            f"{len(scored.genes):,} test genes."
        )
    ]
    counts = rows[["all_labels", "n_labels"]].drop_duplicates()
    counts = counts.sort_values(["all_labels", "n_labels"], ascending=False)
    for count in list(counts.itertuples())[:: max(1, len(counts) - 1)]:
        first = _with_count(scored.cells, count).drop_duplicates(list(MODEL))
        names = first["representation"] + ":" + first["predictor"]
        position = dict(zip(names, first.index, strict=True))
        label = scored.genes["target"].to_numpy(float)
        curves = {
            name: (label, scored.predictions[position[name]].astype(float))
            for name in _leading_models(_with_count(rows, count), findings.baseline)
        }
        labels = "all labels" if count.all_labels else f"{count.n_labels:,} labels"
        name = "all" if count.all_labels else str(count.n_labels)
        curve = page.Figure(roc_figure(curves), f"ROC with {labels}", name=f"roc_{name}")
        recall = page.Figure(
            precision_recall_figure(curves),
            f"Precision and recall with {labels}",
            name=f"precision_recall_{name}",
        )
        blocks += [
            page.Row((curve, recall)),
            page.Figure(
                calibration_figure(curves),
                f"Calibration with {labels}",
                "Probabilities as the models predict them, without the calibration on held-out "
                "genes that simplechrome fit adds; linear heads choose their scale within their "
                "labels. Right: the genes, counted once for each model.",
                name=f"calibration_{name}",
            ),
        ]
    yield page.Section("Curves of the leading models", blocks)


def _with_count(rows: pd.DataFrame, count: Any) -> pd.DataFrame:
    return rows[(rows["n_labels"] == count.n_labels) & (rows["all_labels"] == count.all_labels)]


def _leading_models(rows: pd.DataFrame, baseline: str) -> list[str]:
    """The baseline, and each predictor's best representation."""
    ranked = rows.sort_values("mean", ascending=False)
    ranked = ranked.loc[~ranked["predictor"].map(head_of).duplicated()]
    best = list(ranked["representation"] + ":" + ranked["predictor"])
    own = [baseline] if baseline in set(rows["representation"] + ":" + rows["predictor"]) else []
    return list(dict.fromkeys([*own, *best]))[:_CURVES]


def _time_section(findings: Findings, place: Place, metric: str) -> page.Section:
    model = ["representation", "predictor", "n_labels", "all_labels"]
    seconds = findings.resamples.cells.groupby(model, sort=False)["seconds"].mean().reset_index()
    rows = _rows_of(findings, place, metric).merge(seconds, on=model)
    figure = page.Figure(
        fit_time_figure(rows, score_name=NAMES[metric]),
        f"{NAMES[metric]} against the time of one fit",
        "Mean time to fit the predictor, including its choice of penalty, epochs or trees, on the "
        "machine of this benchmark with whatever else ran there. The time of encoders, which are "
        "fitted once for all predictors, is not included.",
        name="fit_time",
    )
    return page.Section("What does a score cost?", [figure])


# ----------------------------------------------------------------------------- controls


def _controls(findings: Findings, metric: str) -> Iterator[page.Block]:
    controls = findings.controls
    trained = controls[controls["control"] == TRAINED]
    if len(trained):
        yield page.Text(
            f"Models {TRAINED}. Labels are permuted before training and weights start from another "
            "seed, differently each time and the same for all models. A single such model may "
            "score anything, as its direction is random but lies along the first component; the "
            "mean must be chance. Networks on windows are too slow for this control."
        )
        first = trained[(trained[list(CONDITION)] == trained[list(CONDITION)].iloc[0]).all(axis=1)]
        frame = pd.DataFrame(
            {
                "model": first["representation"] + ":" + first["predictor"],
                "labels": first["n_labels"],
                "permutations": first["n"],
                "mean": first["mean"],
                "s.e.": first["standard_error"],
                "99 % from": first["low"],
                "to": first["high"],
                "covers chance": np.where(first["covers_chance"], "yes", "NO"),
            }
        )
        yield page.Table(
            frame,
            f"{NAMES[metric]} of models {TRAINED}: mean of all trainings",
            f"99 % intervals of the mean. In all conditions and with all numbers of labels, "
            f"{int(trained['covers_chance'].sum())} of {len(trained)} cover chance; models that "
            "share permutations are no independent tests. All are in controls.csv.",
            formats=dict.fromkeys(("mean", "s.e.", "99 % from", "to"), ".4f"),
        )
    tested = controls[controls["control"] == TESTED]
    if len(tested):
        yield page.Text(
            f"Models {TESTED}. On permuted test labels, 99 % of the scores of all models lie "
            f"between {short(tested['low'].min())} and {short(tested['high'].max())}; "
            f"{int(tested['covers_chance'].sum())} of {len(tested)} ranges cover chance. This is "
            "the spread by chance; it does not detect leaks."
        )


def _baselines(findings: Findings, shown: Sequence[Place]) -> Iterator[page.Block]:
    yield page.Text(
        "`majority` predicts the same for every gene. `gene_mean` is the gene's mean "
        "log2(expression + 1) in other cell types: it memorizes genes and uses no track of this "
        "cell type. A model that has seen its test genes in other cell types can do as well "
        "without any mark. Neither is a model of histone marks."
    )
    for place in shown:
        summary = findings.summary
        known = summary[is_place(summary, place) & (summary["representation"] == NO_REPRESENTATION)]
        wide = known.pivot(index="predictor", columns="metric", values="mean")
        wide = wide[[name for name in findings.resamples.values if name in wide]]
        wide.columns = [NAMES[str(name)] for name in wide.columns]
        if len(wide):
            yield page.Table(
                wide.reset_index().rename(columns={"predictor": "baseline"}),
                f"Scores without any histone mark, {name_place(place)}",
                formats=dict.fromkeys(wide.columns, ".4f"),
            )


# --------------------------------------------------------------------- data and method


def _data(benchmark: Benchmark) -> Iterator[page.Block]:
    dataset, config = benchmark.dataset, benchmark.config
    marks = ", ".join(map(str, dataset["mark"].values))
    units = dataset["signal"].attrs.get("units", "")
    yield page.Text(
        f"{dataset.sizes['gene']:,} genes, {dataset.sizes['bin']} bins of "
        f"{dataset.attrs.get('bin_size', '?')} bp around the TSS, marks {marks}"
        + (f", in {units}" if units else "")
        + ". Marks that were not assayed are missing, not zero."
    )
    rows = []
    for place in conditions(dataset, config):
        genes = genes_of(dataset, config, place)
        y = targets(dataset, config, place.trained_on).values[0]
        name = place.split + (f" {place.fold}" if place.split == "fold" else "")
        row: dict[str, Any] = {"trained on": place.trained_on, "split": name}
        row |= dict(
            zip(("training", "validation", "test"), (n.size for n in genes[1:]), strict=True)
        )
        if config.task == "classification":
            row["high in training"] = f"{np.mean(y[genes.train] == 1):.1%}"
            row["high in test"] = f"{np.mean(y[genes.test] == 1):.1%}"
        rows.append(row)
    caption = ""
    if "chromosome" in config.splits:
        caption = (
            f"Test chromosomes: {', '.join(config.test_chroms)}; validation: "
            f"{', '.join(config.validation_chroms)}."
        )
    yield page.Table(pd.DataFrame(rows), "Numbers of genes", caption)


def _method(benchmark: Benchmark) -> Iterator[page.Block]:
    for text in method_paragraphs(benchmark):
        yield page.Text(text)
    seen, heads = {}, {}
    for model in benchmark.grid.models.applicable:
        plus = ", and the logarithm of each mark's mean" if model.sees.add_log_means else ""
        seen[model.representation] = _settings(model.sees.encoder.model_dump(mode="json")) + plus
        heads[model.predictor] = _settings(model.head.model_dump(mode="json"))
    for kind, settings in (("representation", seen), ("predictor", heads)):
        frame = pd.DataFrame(list(settings.items()), columns=[kind, "settings"])
        yield page.Table(frame, f"Settings of each {kind}")


def _settings(values: dict[str, Any]) -> str:
    rest = [f"{name} {_value(value)}" for name, value in values.items() if name != "name"]
    return f"{values['name']}: " + ", ".join(rest)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        if len(value) > 4:
            return f"{value[0]:g} … {value[-1]:g} ({len(value)})"
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
