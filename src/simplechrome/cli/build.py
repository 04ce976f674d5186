"""`simplechrome build`: files to a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from simplechrome.cli.options import (
    annotation_options,
    output_option,
    overwrite_option,
    resume_option,
    talk,
)


@click.group("build")
def command() -> None:
    """Build a dataset from files."""


def _say_sizes(output: str, sizes: Mapping[Any, int]) -> None:
    click.echo(
        f"{output}: {sizes['cell_type']} cell types, {sizes['gene']} genes, {sizes['bin']} bins, "
        f"{sizes['mark']} marks",
    )


@command.command("deepchrome")
@click.argument("path", type=click.Path())
@click.option("--cell-type", "cell_types", multiple=True, help="Only this one; may be repeated.")
@click.option(
    "--on-bad-cell-type",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="What to do about a cell type whose files are broken.",
)
@click.option("--relabel", is_flag=True, help="Replace the CSVs' labels by the label rule.")
@annotation_options
@output_option
@overwrite_option
@resume_option
@talk
def deepchrome(path: str, output: str, **options: Any) -> None:
    """Read the published DeepChrome layout from a folder or .tar.gz.

    One cell type is in memory at a time. The work is done in OUTPUT.unfinished, which becomes
    OUTPUT when all of it is there. Stopped or killed, it goes on with --resume to the same result,
    byte for byte.

    \b
    Examples:
      simplechrome build deepchrome data.tar.gz --cell-type E012 -o e012.zarr \\
          --genes genes_hg19.tsv.gz --expression rpkm.tsv.gz --assembly hg19
      simplechrome build deepchrome roadmap -o roadmap.zarr --on-bad-cell-type skip --resume
    """
    from simplechrome.dataset.build_on_disk import build_deepchrome_on_disk
    from simplechrome.dataset.store import stored_sizes

    options["cell_types"] = options["cell_types"] or None
    build_deepchrome_on_disk(path, output, **options)
    _say_sizes(output, stored_sizes(output))


@command.command("arrays")
@click.argument("paths", nargs=-1, required=True, type=click.Path())
@annotation_options
@output_option
@overwrite_option
@talk
def arrays(paths: tuple[str, ...], output: str, overwrite: bool, **options: Any) -> None:
    """Read .npz files, one per cell type, with counts, marks and gene_id.

    \b
    Example:
      simplechrome build arrays E028.npz E087.npz -o more.zarr \\
          --genes genes_hg19.tsv.gz --expression rpkm.tsv.gz
    """
    from simplechrome.atomic import check_free
    from simplechrome.dataset.assemble import build_from_npz
    from simplechrome.dataset.store import save_dataset

    check_free(output, overwrite=overwrite)
    dataset = build_from_npz(paths, **options)
    save_dataset(dataset, output, overwrite=overwrite)
    _say_sizes(output, dataset.sizes)
