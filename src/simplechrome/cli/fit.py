"""`simplechrome fit`: encoder and predictor, scored and saved as a run folder."""

from __future__ import annotations

from typing import Any

import click

from simplechrome.cli.options import NameOf, SettingsCommand, given, work_options

CHROMOSOMES = {
    "test_chroms": "Chromosomes whose genes are scored.",
    "validation_chroms": "Chromosomes whose genes choose epochs and calibrate.",
    "exclude_chroms": "Chromosomes whose genes are not used: chrY,chrM.",
}
SETTINGS = {
    "simplechrome.config.run:RunConfig": {
        "task": "What to predict: high or low expression, its level, or its change in a --pair.",
        "pair": "With --task difference: predict log2((A + 1) / (B + 1)) of the expression of two "
        "cell types.",
        "cell_types": ("--cell-type", "Use only these cell types of the dataset."),
        "marks": ("--mark", "Use only these marks."),
        "neighbors": "Neighbor graphs of the dataset whose genes' latents are features too: "
        "genomic,coexpression (see `simplechrome neighbors`).",
        "neighbor_expression": "Use the expression of neighbors as well, of training genes with a "
        "label in each cell type.",
        "init_from": (
            *("--init-from", "--from"),
            "Fine-tune a finished run, or pretrained:roadmap: use its encoder, and its prediction "
            "as a feature.",
        ),
        "match_distribution": "With --init-from: replace each mark's values by those of the same "
        "rank in that run's training, for signal in other units (p-values, fold change).",
        "supervised_axis": (
            *("--supervised-axis", "--semi-supervised"),
            "Fit one latent (of the encoder consensus) to the labels of the training genes.",
        ),
        "seed": "Seed of the weights and of the label draw.",
        "ensemble": "Number of predictors of different seeds, which are averaged.",
        "coverage": "Nominal coverage of the label sets or intervals.",
        "device": "Where networks are trained.",
        "threads": "CPU threads.",
    },
    "simplechrome.config.run:SplitConfig": {
        "kind:split": ("--split", "How genes are split."),
        **CHROMOSOMES,
        "fold": "Index of the fold over chromosomes (--split fold).",
        "n_folds": "Number of folds over chromosomes.",
    },
}


@click.command("fit", cls=SettingsCommand, settings=SETTINGS)
@click.argument("dataset", type=click.Path())
@work_options
@click.option("--config", type=click.Path(), help="TOML file of options; options here win.")
@click.option(
    "--preset",
    type=NameOf("simplechrome.config.options:PRESETS"),
    help="Encoder and predictor as published: those of the SimpleChrome paper, with its errors "
    "corrected, or of the DeepChrome paper.",
)
@click.option(
    "--encoder",
    type=NameOf("simplechrome.latent.registry:ENCODERS", "+log_means"),
    help="[default: consensus; consensus+log_means for differences; none for predictors that need "
    "windows]",
)
@click.option(
    "--predictor",
    type=NameOf("simplechrome.predictors.registry:PREDICTORS"),
    help="[default: linear; mlp for differences]",
)
@click.option("--labels", help="Number of labelled training genes, or all. [default: all]")
@click.option("--n-latent", type=int, help="Number of latents, of encoders that have this option.")
@click.option("--epochs", type=int, help="Epochs of the encoder, of those that have this option.")
def command(
    dataset: str, output: str, config: str | None, overwrite: bool, resume: bool, **options: Any
) -> None:
    """Fit an encoder and a predictor of expression, and score them on held-out chromosomes.

    The work is done in OUTPUT.unfinished, which is renamed to OUTPUT at the end. Interrupted
    training resumes from its checkpoints with --resume, with bit-identical results.

    \b
    Examples:
      simplechrome fit e012.zarr -o runs/e012
      simplechrome fit e012.zarr -o runs/e012 --resume
      simplechrome fit e012.zarr -o runs/few --encoder pca --labels 100 --seed 3
      simplechrome fit e012.zarr -o runs/five --predictor mlp --ensemble 5
      simplechrome fit e012.zarr -o runs/paper --preset paper
      simplechrome fit atlas.zarr -o runs/change --task difference --pair E012,E028
      simplechrome fit mine.zarr -o runs/mine --init-from runs/atlas --labels 50
      simplechrome fit e012.zarr -o runs/again --config runs/e012/config.toml
    """
    import sys

    from simplechrome.evaluation.scores import format_metrics
    from simplechrome.report.run_page import write_run_report
    from simplechrome.runs.fit import fit_files
    from simplechrome.runs.folder import RunFolder

    run = fit_files(
        dataset,
        output,
        config=config,
        options=given(options),
        overwrite=overwrite,
        resume=resume,
        report=write_run_report,
    )
    click.echo(format_metrics(run.metrics))
    click.echo(f"report: {RunFolder(output).report}")
    if run.interrupted:
        sys.exit(130)
