"""`simplechrome predict`: expression of every gene of a dataset."""

from __future__ import annotations

from typing import Any

import click

from simplechrome.cli.options import result_options, split_list, transfer_options


@click.command("predict")
@click.argument("run", type=click.Path())
@click.argument("dataset", type=click.Path())
@result_options
@click.option("--report", type=click.Path(), help="A page about the predictions (.html).")
@click.option(
    "--explain-neighbors",
    "explained",
    multiple=True,
    metavar="GENE",
    help="Which neighbors changed the prediction of this gene, by attention and by knock-out: a "
    "table and a figure next to OUTPUT; may be repeated.",
)
@click.option(
    "--pair",
    multiple=True,
    callback=split_list,
    metavar="A,B",
    help="Two cell types of DATASET, for a run that predicts differences. [default: the run's]",
)
@transfer_options
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

    The column `split` is the part that each gene was in when the model was fitted; only `test`
    and `new` genes give unbiased scores. `probability` is calibrated, and `label_set` (in
    regression the interval from `interval_low` to `interval_high`) has the nominal coverage of the
    run, for data like those that it was fitted on. The ending of the output is its format:
    .parquet, .csv or .tsv.

    Each mark is brought to the depth of training, and the column `signal_changed` has the factor;
    nothing changes in the data that the run was fitted on.

    Where DATASET has expression, genes that the run did not learn from are scored.

    \b
    Examples:
      simplechrome predict runs/e012 e012.zarr -o predictions.parquet
      simplechrome predict runs/e012 mine.zarr -o mine.tsv --report mine.html
      simplechrome predict runs/near e012.zarr -o near.tsv --explain-neighbors TP53
      simplechrome predict runs/e012 p_values.zarr -o predictions.parquet --match-distribution
    """
    import sys
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
        from simplechrome.report.page import shown_command
        from simplechrome.report.prediction_page import write_prediction_page

        name, command_line = Path(run).name, shown_command(sys.argv)
        write_prediction_page(table, data, report, run=name, command=command_line)
        click.echo(f"page: {report}")
