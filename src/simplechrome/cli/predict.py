"""`simplechrome predict`: expression of every gene of a dataset."""

from __future__ import annotations

from typing import Any

import click

from simplechrome.cli.options import depth_options, output_option, overwrite_option, talk


@click.command("predict")
@click.argument("run", type=click.Path())
@click.argument("dataset", type=click.Path())
@output_option
@overwrite_option
@depth_options
@talk
def command(run: str, dataset: str, output: str, overwrite: bool, **depth: Any) -> None:
    """Predict the expression of every gene of DATASET with the model of RUN.

    The column `split` says on which side each gene was when the model was fitted; only `test`
    and `new` genes are fair to score. `probability` is calibrated, and `label_set` (in regression
    the interval from `interval_low` to `interval_high`) holds the truth as often as the run
    promised, for data like those that it was fitted on. The ending of the output says the format:
    .parquet, .csv or .tsv.

    Each mark is brought to the depth of training, and the column `signal_changed` says by which
    factor; a run on the data that it was fitted on changes nothing.

    \b
    Examples:
      simplechrome predict runs/e012 e012.zarr -o predictions.parquet
      simplechrome predict runs/e012 p_values.zarr -o predictions.parquet --match-distribution
    """
    from simplechrome.atomic import check_free
    from simplechrome.dataset.store import open_dataset
    from simplechrome.evaluation.predictions import check_table_path, write_table
    from simplechrome.evaluation.saved_run import predict_with_run

    check_free(output, overwrite=overwrite)
    check_table_path(output)
    data = open_dataset(dataset)
    table = predict_with_run(run, data, **depth)
    write_table(table, output, data.attrs.get("note", ""))
    click.echo(f"{output}: {len(table)} predictions")
