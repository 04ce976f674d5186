"""`simplechrome inspect`: what is in a dataset."""

from __future__ import annotations

import click

from simplechrome.cli.options import log_options, overwrite_option


@click.command("inspect")
@click.argument("dataset", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "-o", "--output", type=click.Path(), help="An HTML page with the same and figures (.html)."
)
@overwrite_option
@log_options
def command(dataset: str, as_json: bool, output: str | None, overwrite: bool) -> None:
    """Describe a dataset: sizes, class balance, mark levels, warnings.

    Warnings come with advice: tracks that are empty, of another kind than the units say, or whose
    shape at promoters or likeness to other cell types is that of another mark, as after a mix-up
    of files.

    \b
    Examples:
      simplechrome inspect e012.zarr
      simplechrome inspect e012.zarr -o quality.html
    """
    import json
    import sys
    from pathlib import Path

    from simplechrome.cli.options import check_page_path
    from simplechrome.dataset.inspect import describe, format_description
    from simplechrome.dataset.store import open_dataset

    if output is not None:
        check_page_path(output, overwrite=overwrite)
    data = open_dataset(dataset)
    description = describe(data)
    click.echo(json.dumps(description, indent=1) if as_json else format_description(description))
    if output is not None:
        from simplechrome.report.page import shown_command
        from simplechrome.report.quality_page import write_quality_page

        name, command_line = Path(dataset).name, shown_command(sys.argv)
        write_quality_page(data, output, name=name, command=command_line)
        click.echo(f"page: {output}", err=as_json)
