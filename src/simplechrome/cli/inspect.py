"""`simplechrome inspect`: what is in a dataset."""

from __future__ import annotations

import click

from simplechrome.cli.options import talk


@click.command("inspect")
@click.argument("dataset", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@talk
def command(dataset: str, as_json: bool) -> None:
    """Say what is in a dataset: sizes, class balance, mark levels, warnings.

    \b
    Example:
      simplechrome inspect e012.zarr
    """
    import json

    from simplechrome.dataset.inspect import describe, format_description
    from simplechrome.dataset.store import open_dataset

    description = describe(open_dataset(dataset))
    click.echo(json.dumps(description, indent=1) if as_json else format_description(description))
