"""`simplechrome interpret`: what the latents of a run represent."""

from __future__ import annotations

from typing import Any

import click

from simplechrome.cli.options import log_options, overwrite_option, transfer_options


@click.command("interpret")
@click.argument("run", type=click.Path())
@click.argument("dataset", type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), help="The page (.html).")
@click.option(
    "--against",
    multiple=True,
    type=click.Path(),
    metavar="RUN",
    help="Another run, such as one of another --seed, to compare latents with; may be repeated.",
)
@click.option("--table", type=click.Path(), help="All numbers: .parquet, .csv or .tsv.")
@transfer_options
@overwrite_option
@log_options
def command(
    run: str,
    dataset: str,
    output: str,
    against: tuple[str, ...],
    table: str | None,
    overwrite: bool,
    **depth: Any,
) -> None:
    """Interpret the latents of RUN by the windows and genes of DATASET.

    For each latent: how windows differ between genes that lie one standard deviation apart; its
    correlation with the level of each mark and with expression; its values in active, bivalent,
    Polycomb and silent promoters; and its correlation with the latents of other runs.

    \b
    Examples:
      simplechrome interpret runs/atlas atlas.zarr -o latents.html
      simplechrome interpret runs/vae e012.zarr -o latents.html --against runs/vae_seed1
    """
    import sys
    from pathlib import PurePath

    from simplechrome.cli.options import check_page_path
    from simplechrome.dataset.store import open_dataset
    from simplechrome.report.latent_page import write_latent_page
    from simplechrome.report.page import shown_command
    from simplechrome.runs.apply import latents_with_run
    from simplechrome.runs.predictions import check_table_path, write_table
    from simplechrome.work.files import check_free

    check_page_path(output, overwrite=overwrite)
    if table is not None:
        check_table_path(table)
        check_free(table, overwrite=overwrite)
    data = open_dataset(dataset)
    latents = latents_with_run(run, data, **depth)
    # Runs of one name in several folders are called by their paths.
    last = [PurePath(path).name for path in against]
    others = {
        name if last.count(name) == 1 else path: latents_with_run(path, data, **depth)
        for name, path in zip(last, against, strict=True)
    }
    rows = write_latent_page(
        *(latents, data, output),
        run=PurePath(run).name,
        against=others,
        command=shown_command(sys.argv),
    )
    if table is not None:
        write_table(rows, table, data.attrs.get("note", ""))
    click.echo(f"page: {output}")
    for name in others:
        click.echo(
            f"latents as in {name}: mean matched correlation {rows[f'as in {name}'].mean():.3f}"
        )
