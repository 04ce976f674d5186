"""`simplechrome fit`: encoder and predictor, scored and saved as a run folder."""

from __future__ import annotations

from typing import Any

import click

from simplechrome.cli.options import (
    chromosome_options,
    output_option,
    overwrite_option,
    resume_option,
    split_list,
    split_pair,
    talk,
)


def _labels(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    if value is None or value == "all":
        return value
    try:
        return int(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a number, nor `all`.") from None


@click.command("fit")
@click.argument("dataset", type=click.Path())
@output_option
@click.option("--config", type=click.Path(), help="TOML file of options; options here win.")
@click.option(
    "--preset",
    type=click.Choice(["paper", "deepchrome-paper"]),
    help="Encoder and predictor as published: the SimpleChrome paper's, its mistakes mended, "
    "or the DeepChrome paper's.",
)
@click.option(
    "--encoder",
    type=click.Choice(
        [
            *("consensus", "vae", "paper_vae", "pca", "log_means", "none"),
            *("consensus+log_means", "vae+log_means", "paper_vae+log_means", "pca+log_means"),
        ]
    ),
    help="[default: consensus; consensus+log_means for differences; none for deepchrome and "
    "attentivechrome]",
)
@click.option(
    "--predictor",
    type=click.Choice(
        ["linear", "mlp", "boosting", "deepchrome", "attentivechrome", "neighborhood"]
    ),
    help="[default: linear; mlp for differences]",
)
@click.option(
    "--task",
    type=click.Choice(["classification", "regression", "difference"]),
    help="[default: classification]",
)
@click.option(
    "--pair",
    callback=split_pair,
    metavar="A,B",
    help="Of --task difference: predict log2((A + 1) / (B + 1)) of two cell types' expression.",
)
@click.option(
    "--cell-type",
    "cell_types",
    multiple=True,
    callback=lambda context, parameter, value: value or None,
    help="Use only this one of the dataset; may be repeated.",
)
@click.option(
    "--mark",
    "marks",
    multiple=True,
    callback=lambda context, parameter, value: value or None,
    help="Use only this mark, as those that other data have; may be repeated.",
)
@click.option(
    "--neighbors",
    callback=split_list,
    help="Neighbor graphs of the dataset whose genes are looked at as well: genomic,coexpression "
    "(see `simplechrome neighbors`).",
)
@click.option(
    "--neighbor-expression",
    is_flag=True,
    default=None,
    help="Neighbors tell their expression as well as their signal: training genes with a label, "
    "of each cell type that is predicted.",
)
@click.option(
    "--from",
    "source",
    metavar="RUN",
    help="Start from a finished run, or pretrained:roadmap: take its encoder, and learn from the "
    "labels here what its predictor does not know.",
)
@click.option(
    "--match-distribution",
    is_flag=True,
    default=None,
    help="With --from: replace each mark's values by those of the same rank in RUN's training, for "
    "signal in other units than its (p-values, fold change).",
)
@click.option(
    "--semi-supervised",
    is_flag=True,
    default=None,
    help="Show the encoder (consensus) the labels of the training genes as well.",
)
@click.option("--labels", callback=_labels, help="Number of labelled training genes, or all.")
@click.option(
    "--n-latent", type=int, help="Dimensions of the latent (consensus, vae, paper_vae, pca)."
)
@click.option("--epochs", type=int, help="Epochs of the encoder (vae, paper_vae).")
@click.option(
    "--split",
    type=click.Choice(["chromosome", "published", "random", "fold"]),
    help="[default: chromosome]",
)
@chromosome_options
@click.option("--fold", type=int, help="Which of the folds over chromosomes (--split fold).")
@click.option("--n-folds", type=int, help="[default: 5]")
@click.option("--seed", type=int, help="Of the weights and of the label draw. [default: 0]")
@click.option("--ensemble", type=int, help="Predictors of different seeds, averaged. [default: 1]")
@click.option(
    "--coverage",
    type=float,
    help="Share of genes whose truth the label sets or intervals shall hold. [default: 0.9]",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="[default: auto]")
@click.option("--threads", type=int, help="CPU threads.")
@overwrite_option
@resume_option
@talk
def command(
    dataset: str,
    output: str,
    config: str | None,
    overwrite: bool,
    resume: bool,
    **options: Any,
) -> None:
    """Learn a representation and predict expression from it; score on held-out chromosomes.

    The work is done in OUTPUT.unfinished, which becomes OUTPUT when all of it is there. Stopped or
    killed, it goes on with --resume to the same result, bit for bit.

    \b
    Examples:
      simplechrome fit e012.zarr -o runs/e012
      simplechrome fit e012.zarr -o runs/e012 --resume
      simplechrome fit e012.zarr -o runs/few --encoder pca --labels 100 --seed 3
      simplechrome fit e012.zarr -o runs/five --predictor mlp --ensemble 5
      simplechrome fit e012.zarr -o runs/paper --preset paper
      simplechrome fit atlas.zarr -o runs/change --task difference --pair E012,E028
      simplechrome fit mine.zarr -o runs/mine --from runs/atlas --labels 50
      simplechrome fit e012.zarr -o runs/again --config runs/e012/config.toml
    """
    import sys
    from pathlib import Path

    from simplechrome.config.options import merge_options
    from simplechrome.dataset.choose import choose_marks
    from simplechrome.dataset.neighbors.stored import open_neighbors, require_left_out
    from simplechrome.dataset.store import open_dataset
    from simplechrome.evaluation.scores import format_metrics
    from simplechrome.report.run_page import write_run_report
    from simplechrome.runs.fit import fit_run
    from simplechrome.runs.folder import begun_config, require_outside
    from simplechrome.runs.load import load_run

    require_outside(dataset, output)
    # Options that are not repeated are those that the run began with.
    begun = begun_config(output, or_finished=not overwrite) if resume else None
    resolved = merge_options(config or begun, options)
    data = open_dataset(dataset, resolved.cell_types)
    if resolved.marks is not None:
        data = choose_marks(data, resolved.marks, dataset)
    graph = None
    if resolved.neighbors:
        graph = open_neighbors(dataset, resolved.neighbors, dataset=data)
        require_left_out(dataset, resolved.neighbors, list(map(str, data["cell_type"].values)))
    run = fit_run(
        data,
        resolved,
        output,
        graph=graph,
        source=None if resolved.source is None else load_run(resolved.source),
        overwrite=overwrite,
        resume=resume,
        finish=lambda run: write_run_report(run.folder, data, graph=graph),
    )
    click.echo(format_metrics(run.metrics))
    click.echo(f"report: {Path(output) / 'report.html'}")
    if run.interrupted:
        sys.exit(130)
