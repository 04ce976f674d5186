"""`simplechrome predict`: expression of every gene of a dataset."""

from __future__ import annotations

from typing import Any

import click

from simplechrome.cli.options import (
    log_options,
    output_option,
    overwrite_option,
    split_list,
    transfer_options,
)


@click.command("predict")
@click.argument("run", type=click.Path())
@click.argument("dataset", type=click.Path())
@output_option
@click.option("--report", type=click.Path(), help="A page about the predictions (.html).")
@click.option(
    "--explain-neighbors",
    "explained",
    multiple=True,
    metavar="GENE",
    help="Which neighbors moved the prediction of this gene, by attention and by knock-out: a "
    "table and a figure beside OUTPUT; may be repeated.",
)
@click.option(
    "--pair",
    multiple=True,
    callback=split_list,
    metavar="A,B",
    help="Two cell types of DATASET, for a run that predicts differences. [default: the run's]",
)
@overwrite_option
@transfer_options
@log_options
def command(
    run: str,
    dataset: str,
    output: str,
    report: str | None,
    explained: tuple[str, ...],
    pair: tuple[str, ...] | None,
    overwrite: bool,
    **depth: Any,
) -> None:
    """Predict the expression of every gene of DATASET with the model of RUN.

    The column `split` says on which side each gene was when the model was fitted; only `test`
    and `new` genes are fair to score. `probability` is calibrated, and `label_set` (in regression
    the interval from `interval_low` to `interval_high`) holds the truth as often as the run
    promised, for data like those that it was fitted on. The ending of the output says the format:
    .parquet, .csv or .tsv.

    Each mark is brought to the depth of training, and the column `signal_changed` says by which
    factor; a run on the data that it was fitted on changes nothing.

    Where DATASET has expression, genes that the run did not learn from are scored.

    \b
    Examples:
      simplechrome predict runs/e012 e012.zarr -o predictions.parquet
      simplechrome predict runs/e012 mine.zarr -o mine.tsv --report mine.html
      simplechrome predict runs/near e012.zarr -o near.tsv --explain-neighbors TP53
      simplechrome predict runs/e012 p_values.zarr -o predictions.parquet --match-distribution
    """
    from pathlib import Path

    from simplechrome.cli.options import check_page_path
    from simplechrome.dataset.neighbors.stored import open_neighbors
    from simplechrome.dataset.store import open_dataset
    from simplechrome.evaluation.scores import format_part, score_predictions
    from simplechrome.runs.apply import fair_rows, predict_with_run, task_of
    from simplechrome.runs.load import load_run
    from simplechrome.runs.predictions import check_table_path, write_table
    from simplechrome.work.files import check_free

    check_free(output, overwrite=overwrite)
    check_table_path(output)
    if report is not None:
        check_page_path(report, overwrite=overwrite)
    data = open_dataset(dataset)
    names = load_run(run).config.neighbors
    graph = open_neighbors(dataset, names, dataset=data) if names else None
    explanation = None
    if explained:  # before anything is written: it may be refused
        from simplechrome.explanation.neighbor_effects import explain_with_run
        from simplechrome.report.prediction_page import explanation_file, write_explanation

        path = explanation_file(output, overwrite=overwrite)
        explanation = explain_with_run(run, data, explained, graph, **depth), path
    table = predict_with_run(run, data, graph=graph, pair=pair, **depth)
    write_table(table, output, data.attrs.get("note", ""))
    click.echo(f"{output}: {len(table)} predictions")
    fair = fair_rows(table)
    if not fair.empty:
        scores = score_predictions(fair, task_of(table))
        part = "genes that the run did not learn from"
        click.echo("\n".join(format_part(scores, task_of(table), part)))
    if explanation is not None:
        for line in write_explanation(*explanation, data):
            click.echo(line)
    if report is not None:
        from simplechrome.report.prediction_page import predict_command, write_prediction_page

        name = Path(run).name
        flags = {
            "no_depth_scaling": not depth["depth_scaling"],
            "match_distribution": depth["match_distribution"],
        }
        command_line = predict_command(run, dataset, output, report, **flags)
        write_prediction_page(table, data, report, run=name, command=command_line)
        click.echo(f"page: {report}")
