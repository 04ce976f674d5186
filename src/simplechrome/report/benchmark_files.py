"""A finished benchmark to files: tables, figures, a page, a write-up."""

from __future__ import annotations

from pathlib import Path

from simplechrome.benchmark.comparisons import LEADING, Findings, claims_table, find, gain_table
from simplechrome.benchmark.run import Benchmark
from simplechrome.evaluation.scores import NAMES
from simplechrome.report.benchmark_page import write_benchmark_page
from simplechrome.report.benchmark_tables import (
    LEVEL_MEANS,
    SHOWN_IN_TEXTS,
    ScoreTables,
    as_latex,
    as_markdown,
    make_score_tables,
    name_place,
)
from simplechrome.report.writeup import write_up
from simplechrome.runs.predictions import write_table
from simplechrome.work.files import whole_file


def write_benchmark_files(benchmark: Benchmark) -> Findings:
    """Write all that a benchmark says into its folder.

    scores.parquet and scores.csv (one row a score), summary.csv (means, intervals, differences),
    controls.csv, claims.csv, not_applicable.csv, neighbors.csv (of models that see any), table.md
    and table.tex (the leading score), figures/, report.html and writeup.md.
    """
    folder = benchmark.folder
    findings = find(benchmark.results, benchmark.config.baseline)
    write_table(findings.scores, folder / "scores.csv")
    write_table(findings.summary, folder / "summary.csv")
    write_table(findings.controls, folder / "controls.csv")
    write_table(claims_table(findings.claims), folder / "claims.csv")
    if findings.gains:
        write_table(gain_table(findings.gains), folder / "neighbors.csv")
    write_table(benchmark.results.not_applicable, folder / "not_applicable.csv")
    tables = make_score_tables(
        findings.resamples, findings.summary, SHOWN_IN_TEXTS[benchmark.config.task]
    )
    _write_tables(benchmark, tables)
    figures = write_benchmark_page(benchmark, findings, tables)
    _write_text(folder / "writeup.md", write_up(benchmark, findings, tables, figures))
    # Last: it says that all is there.
    write_table(findings.scores, folder / "scores.parquet")
    return findings


def _write_tables(benchmark: Benchmark, tables: ScoreTables) -> None:
    markdown, latex = [], []
    for (place, metric), table in tables.items():
        if metric == LEADING[benchmark.config.task]:
            caption = f"{NAMES[metric]}, {name_place(place)}: mean over draws and 95 % interval"
            markdown.append(f"{caption}\n\n{as_markdown(table)}")
            latex.append(as_latex(table, f"{caption}. {LEVEL_MEANS}"))
    markdown.append(f"{LEVEL_MEANS}\n")
    _write_text(benchmark.folder / "table.md", "\n".join(markdown))
    _write_text(benchmark.folder / "table.tex", "\n".join(latex))


def _write_text(path: Path, text: str) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
