"""`simplechrome merge`: datasets of different cell types to one."""

from __future__ import annotations

import click

from simplechrome.cli.options import result_options


@click.command("merge")
@click.argument("datasets", nargs=-1, required=True, type=click.Path())
@result_options
def command(datasets: tuple[str, ...], output: str, overwrite: bool) -> None:
    """Join datasets of different cell types; marks and genes may differ.

    \b
    Example:
      simplechrome merge e012.zarr more.zarr -o atlas.zarr
    """
    from simplechrome.dataset.building.merge import merge
    from simplechrome.dataset.store import open_dataset, save_dataset
    from simplechrome.work.files import check_free

    check_free(output, overwrite=overwrite)
    merged = merge([open_dataset(path) for path in datasets])
    save_dataset(merged, output, overwrite=overwrite)
    sizes = merged.sizes
    missing = int((~merged["mark_present"].values).sum())
    click.echo(
        f"{output}: {sizes['cell_type']} cell types, {sizes['gene']} genes, {sizes['mark']} marks, "
        f"{missing} of {sizes['cell_type'] * sizes['mark']} tracks missing"
    )
