"""`simplechrome benchmark`: a grid of models, judged on the same genes and draws of labels."""

from __future__ import annotations

from typing import Any

import click

from simplechrome.cli.options import (
    chromosome_options,
    output_option,
    overwrite_option,
    resume_option,
    split_list,
    talk,
)


def _labels(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Turn `20,100,all` into numbers, and `all`."""
    parts = split_list(context, parameter, value)
    if parts is None:
        return None
    wrong = [part for part in parts if part != "all" and not part.isdigit()]
    if wrong:
        raise click.BadParameter(f"{', '.join(wrong)} is not a number, nor `all`.")
    return tuple(part if part == "all" else int(part) for part in parts)


@click.command("benchmark")
@click.argument("dataset", type=click.Path())
@output_option
@click.option(
    "--config", type=click.Path(), help="TOML file of options, as benchmark.toml; options here win."
)
@click.option(
    "--preset",
    type=click.Choice(["paper", "neighbors", "demo"]),
    help="paper: the comparison of the SimpleChrome paper, in its settings and in ours. "
    "neighbors: what neighboring genes add, against shuffled ones. demo: every representation "
    "with a linear head and few labels, in a minute.",
)
@click.option(
    "--representations",
    callback=split_list,
    help="Of raw, log_means, log_region_means, pca, vae, consensus, paper_vae; those with latents "
    "also as vae+log_means, with neighbors as pca+genomic, published settings as raw@paper. "
    "[default: raw,log_means,pca,vae,consensus]",
)
@click.option(
    "--predictors",
    callback=split_list,
    help="Of linear, mlp, boosting, deepchrome, attentivechrome; published settings as mlp@paper. "
    "[default: all]",
)
@click.option(
    "--models", callback=split_list, help="Pairs as raw:linear,vae:mlp, in place of all pairs."
)
@click.option(
    "--labels", callback=_labels, help="Numbers of labels. [default: 20,50,100,200,1000,all]"
)
@click.option("--seeds", type=int, help="Draws of labels, each with its own weights. [default: 10]")
@click.option("--seeds-all", type=int, help="Seeds with all labels. [default: 3]")
@click.option(
    "--split",
    "splits",
    callback=split_list,
    help="Of chromosome, fold, published, random. [default: chromosome]",
)
@chromosome_options
@click.option("--n-folds", type=int, help="Of --split fold. [default: 5]")
@click.option(
    "--cell-type",
    "cell_types",
    multiple=True,
    callback=lambda context, parameter, value: value or None,
    help="Train on this one; may be repeated. [default: each of the dataset]",
)
@click.option(
    "--transfer",
    callback=split_list,
    help="Cell types that the models of the others are scored on, genes disjoint.",
)
@click.option(
    "--expression",
    type=click.Path(),
    help="RPKM of further cell types, for the gene-mean prior and for co-expressed neighbors. "
    "Plain or gz.",
)
@click.option("--task", type=click.Choice(["classification", "regression"]))
@click.option(
    "--baseline",
    help="Model that the others are compared with, pair by pair. [default: raw:linear, or the "
    "first of --models]",
)
@click.option(
    "--permutations",
    type=int,
    help="Fits on permuted labels for each model; 0 for none. [default: 50]",
)
@click.option("--permuted-labels", type=int, help="Labels in each of these. [default: 100]")
@click.option("--jobs", type=click.IntRange(1), help="Processes. [default: one a core]")
@click.option(
    "--threads", type=int, help="CPU threads of each. [default: networks cores / jobs, others 1]"
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="[default: cpu]")
@overwrite_option
@resume_option
@talk
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
    """Compare models of expression, by number of labels.

    Every representation × predictor is fitted on the same draws of labels and scored on the same
    held-out genes, so that models are compared in pairs. Ends in tables, figures, a report and a
    write-up. Each fit is kept: an interrupted benchmark resumes with --resume, and --resume with
    a larger grid adds to a finished one.

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
    from pathlib import Path

    from simplechrome.benchmark.config import merge_benchmark_options
    from simplechrome.benchmark.run import begun_benchmark, run_benchmark
    from simplechrome.dataset.store import open_dataset
    from simplechrome.report.benchmark_page import write_benchmark_files
    from simplechrome.runs.folder import require_outside
    from simplechrome.sources.expression import read_expression

    require_outside(dataset, output)
    # Options that are not repeated are those that the benchmark began with.
    begun = begun_benchmark(output) if resume and not overwrite else None
    resolved = merge_benchmark_options(config or begun, options)
    data = open_dataset(dataset)
    table = None if expression is None else read_expression(expression)
    run_benchmark(
        data,
        resolved,
        output,
        jobs=jobs,
        overwrite=overwrite,
        resume=resume,
        expression=table,
        finish=write_benchmark_files,
    )
    click.echo((Path(output) / "table.md").read_text(encoding="utf-8"))
    click.echo(f"report: {Path(output) / 'report.html'}")
