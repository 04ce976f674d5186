"""`simplechrome download`: fetch the published data set, whole and verified."""

from __future__ import annotations

import click

from simplechrome.cli.options import log_options


@click.command("download")
@click.option("--cell-type", "cell_types", multiple=True, help="Only this one; may be repeated.")
@click.option(
    "--to", "folder", type=click.Path(), default="roadmap", show_default=True, help="Where it goes."
)
@click.option(
    "--source", help="A mirror's URL of data.tar.gz, or a local archive. [default: Zenodo]"
)
@click.option(
    "--checksum",
    metavar="ALGORITHM:HEX",
    help="Of the archive, if it is not that of Zenodo's record: md5:…, sha256:…",
)
@click.option("--verify", is_flag=True, help="Compare the checksums of what is there, too.")
@log_options
def command(
    cell_types: tuple[str, ...], folder: str, source: str | None, checksum: str | None, verify: bool
) -> None:
    """Fetch the published DeepChrome data (56 cell types, 3 GB), and unpack what is wanted.

    What is there and verified stays as it is; an interrupted download is resumed.

    \b
    Examples:
      simplechrome download --to roadmap
      simplechrome download --to roadmap --cell-type E003 --source data.tar.gz
      simplechrome build deepchrome roadmap -o roadmap.zarr
    """
    from simplechrome.sources.download import download

    result = download(
        folder, cell_types=cell_types or None, source=source, checksum=checksum, verify=verify
    )
    click.echo(
        f"{result.path}: {len(result.cell_types)} cell types, verified "
        f"({len(result.unpacked)} of them unpacked now)"
    )
