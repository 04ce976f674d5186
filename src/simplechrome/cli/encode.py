"""`simplechrome encode`: a dataset's latents."""

from __future__ import annotations

from typing import Any

import click

from simplechrome.cli.options import result_options, transfer_options


@click.command("encode")
@click.argument("run", type=click.Path())
@click.argument("dataset", type=click.Path())
@result_options
@transfer_options
def command(run: str, dataset: str, output: str, overwrite: bool, **depth: Any) -> None:
    """Write the latents of every gene of DATASET under the encoder of RUN.

    The ending of the output is its format: .parquet, .csv or .tsv. Each mark is brought to the
    depth of training, as `simplechrome predict` does.

    \b
    Example:
      simplechrome encode runs/e012 e012.zarr -o latents.parquet
    """
    from simplechrome.dataset.store import open_dataset
    from simplechrome.runs.apply import encode_with_run
    from simplechrome.runs.predictions import check_table_path, write_table
    from simplechrome.work.files import check_free

    check_free(output, overwrite=overwrite)
    check_table_path(output)
    data = open_dataset(dataset)
    table = encode_with_run(run, data, **depth)
    write_table(table, output, data.attrs.get("note", ""))
    click.echo(f"{output}: {len(table)} rows")
