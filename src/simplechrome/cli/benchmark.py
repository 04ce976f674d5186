"""`simplechrome benchmark`: a grid of models, compared on the same genes and draws of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from simplechrome.cli.fit import CHROMOSOMES
from simplechrome.cli.options import NameOf, SettingsCommand, given, work_options

SETTINGS = {
    "simplechrome.benchmark.config:BenchmarkConfig": {
        "representations": "Names of encoders, raw or log_region_means; those with latents also as "
        "vae+log_means, with neighbors as pca+genomic, published settings as raw@paper.",
        "predictors": "Names of predictors; published settings as mlp@paper.",
        "models": "Pairs as raw:linear,vae:mlp, in place of all pairs.",
        "labels": "Numbers of labelled training genes, or all.",
        "seeds": "Draws of labels, each with its own weights.",
        "seeds_all": "Seeds with all labels.",
        "splits": ("--split", "Of chromosome, fold, published, random."),
        **CHROMOSOMES,
        "n_folds": "Number of folds, of --split fold.",
        "cell_types": ("--cell-type", "Train on each of these. [default: all of the dataset]"),
        "transfer": "Cell types on which the models of the others are scored as well.",
        "task": "What to predict.",
        "baseline": "Model that the others are compared with, pair by pair.",
        "permutations": "Fits on permuted labels for each model; 0 for none.",
        "permuted_labels": "Labels in each of these.",
        "threads": "CPU threads of each process. [default: networks cores / jobs, others 1]",
        "device": "Where networks are trained.",
    }
}


@click.command("benchmark", cls=SettingsCommand, settings=SETTINGS)
@click.argument("dataset", type=click.Path())
@work_options
@click.option("--config", type=click.Path(), help="TOML file of options; options here win.")
@click.option(
    "--preset",
    type=NameOf("simplechrome.benchmark.config:BENCHMARK_PRESETS"),
    help="paper: the comparison of the SimpleChrome paper, in its settings and in ours. "
    "neighbors: what neighboring genes add, against shuffled ones. demo: every representation "
    "with a linear head and few labels, in a minute.",
)
@click.option(
    "--expression",
    type=click.Path(),
    help="RPKM of further cell types, for the gene-mean prior and for co-expressed neighbors.",
)
@click.option("--jobs", type=click.IntRange(1), help="Processes. [default: one a core]")
def command(
    dataset: str,
    output: str,
    config: str | None,
    expression: str | None,
    jobs: int | None,
    overwrite: bool,
    resume: bool,
    **options: Any,
) -> None:
    """Compare models and numbers of labels on held-out genes, with intervals.

    Every representation × predictor is fitted on the same draws of labels and scored on the same
    held-out genes, so that models are compared in pairs. The result is tables, figures, a report
    and a write-up. Each fit is kept: an interrupted benchmark resumes with --resume, and --resume
    with a larger grid adds to a finished one.

    \b
    Examples:
      simplechrome benchmark e012.zarr -o bench
      simplechrome benchmark e012.zarr -o bench --resume
      simplechrome benchmark e012.zarr -o quick --predictors linear --labels 20,100,all
      simplechrome benchmark e012.zarr -o paper --preset paper
      simplechrome benchmark e012.zarr -o near --preset neighbors --expression rpkm.tsv.gz
      simplechrome benchmark e012.zarr -o again --config bench/benchmark.toml
      simplechrome benchmark atlas.zarr -o far --cell-type E012 --transfer E028,E053
    """
    from simplechrome.benchmark.config import merge_benchmark_options
    from simplechrome.benchmark.run import begun_benchmark, run_benchmark
    from simplechrome.dataset.store import open_dataset
    from simplechrome.report.benchmark_page import write_benchmark_files
    from simplechrome.runs.folder import require_outside
    from simplechrome.sources.expression import read_expression

    require_outside(dataset, output)
    # A resumed benchmark keeps the options that are not given again.
    begun = begun_benchmark(output) if resume and not overwrite else None
    run_benchmark(
        open_dataset(dataset),
        merge_benchmark_options(config or begun, given(options)),
        output,
        jobs=jobs,
        overwrite=overwrite,
        resume=resume,
        expression=None if expression is None else read_expression(expression),
        finish=write_benchmark_files,
    )
    click.echo((Path(output) / "table.md").read_text(encoding="utf-8"))
    click.echo(f"report: {Path(output) / 'report.html'}")
