"""`simplechrome build`: files to a dataset."""

from __future__ import annotations

from typing import Any

import click

from simplechrome.cli.options import annotation_options, output_option, overwrite_option, talk


@click.group("build")
def command() -> None:
    """Build a dataset from files."""


def _save(dataset: Any, output: str, overwrite: bool) -> None:
    from simplechrome.dataset.store import save_dataset

    save_dataset(dataset, output, overwrite=overwrite)
    sizes = dataset.sizes
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
@talk
def deepchrome(path: str, output: str, overwrite: bool, **options: Any) -> None:
    """Read the published DeepChrome layout from a folder or .tar.gz.

    \b
    Example:
      simplechrome build deepchrome data.tar.gz --cell-type E012 -o e012.zarr \\
          --genes genes_hg19.tsv.gz --expression rpkm.tsv.gz --assembly hg19
    """
    from simplechrome.atomic import check_free
    from simplechrome.dataset.assemble import build_from_deepchrome

    check_free(output, overwrite=overwrite)
    options["cell_types"] = options["cell_types"] or None
    _save(build_from_deepchrome(path, **options), output, overwrite)


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

    check_free(output, overwrite=overwrite)
    _save(build_from_npz(paths, **options), output, overwrite)
