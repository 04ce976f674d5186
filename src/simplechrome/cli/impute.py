"""`simplechrome impute`: what missing marks would look like."""

from __future__ import annotations

import click

from simplechrome.cli.options import result_options


@click.command("impute")
@click.argument("run", type=click.Path())
@click.argument("dataset", type=click.Path())
@result_options
@click.option(
    "--coverage",
    type=float,
    default=0.9,
    show_default=True,
    help="Nominal coverage of the intervals: fraction of bins.",
)
def command(run: str, dataset: str, output: str, coverage: float, overwrite: bool) -> None:
    """Fill in the marks that cell types of DATASET lack, with mean and interval.

    A mark is predicted from the same genes in the dataset's other cell types that have it, and
    from the marks of its own cell type. RUN is one with the encoder consensus. Measured signal
    stays as it is; in the output, `imputed` names the tracks that were not measured, and
    `imputed_low` and `imputed_high` are the ends of the interval.

    Printed with each track: what it is predicted from, and the correlation with the measured
    signal (median and range) in the cell types of the run that have the mark, each held out.

    \b
    Examples:
      simplechrome fit atlas.zarr -o runs/atlas
      simplechrome impute runs/atlas atlas.zarr -o imputed.zarr
    """
    from simplechrome.dataset.store import open_dataset, save_dataset
    from simplechrome.latent.impute import impute
    from simplechrome.runs.load import load_run
    from simplechrome.work.files import check_free

    check_free(output, overwrite=overwrite)
    data = open_dataset(dataset)
    imputed = impute(load_run(run).encoder, data, coverage=coverage)
    save_dataset(imputed.dataset, output, overwrite=overwrite)
    n = len(imputed.tracks)
    for track in imputed.tracks:
        click.echo(track.describe())
    click.echo(f"{output}: {n} track{'s' if n != 1 else ''} imputed")
