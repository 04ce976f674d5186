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
from simplechrome.cli.track_options import track_options


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
    from simplechrome.dataset.building.build import build_deepchrome_on_disk
    from simplechrome.dataset.store import stored_sizes

    options["cell_types"] = options["cell_types"] or None
    build_deepchrome_on_disk(path, output, **options)
    _say_sizes(output, stored_sizes(output))


@command.command("arrays")
@click.argument("paths", nargs=-1, required=True, type=click.Path())
@annotation_options
@output_option
@overwrite_option
@resume_option
@talk
def arrays(paths: tuple[str, ...], output: str, **options: Any) -> None:
    """Read .npz files, one per cell type, with counts, marks and gene_id.

    \b
    Example:
      simplechrome build arrays E028.npz E087.npz -o more.zarr \\
          --genes genes_hg19.tsv.gz --expression rpkm.tsv.gz
    """
    from simplechrome.dataset.building.build import build_arrays_on_disk
    from simplechrome.dataset.store import stored_sizes

    build_arrays_on_disk(paths, output, **options)
    _say_sizes(output, stored_sizes(output))


@command.command("tracks")
@click.option(
    "--sheet",
    required=True,
    type=click.Path(),
    help="TSV or CSV: cell_type, mark, path, and if wanted format, control, scale.",
)
@click.option(
    "--genes",
    required=True,
    type=click.Path(),
    help="GTF, GFF3, BED6, or a table with gene_id, chrom, tss, strand. Plain or gz.",
)
@click.option("--expression", type=click.Path(), help="RPKM or TPM: genes × cell types, or long.")
@track_options
@click.option(
    "--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="Tracks at a time."
)
@output_option
@overwrite_option
@resume_option
@talk
def tracks(sheet: str, output: str, **options: Any) -> None:
    """Count or average signal tracks (bigWig, BAM, CRAM, BED, bedGraph) around each gene.

    Tracks and genes are checked against each other before any is read. Bins hold the mean of a
    bigWig's or bedGraph's per-base values, bases without data counting as 0; of BAM, CRAM and BED
    the number of reads. A mark that a cell type lacks is missing, not zero. Stopped or killed, it
    goes on with --resume.

    \b
    Examples:
      simplechrome build tracks --sheet samples.tsv --genes genes.gtf.gz -o mine.zarr
      simplechrome build tracks --sheet samples.tsv --genes genes.gtf.gz -o mine.zarr \\
          --expression tpm.tsv --expression-units TPM --assembly hg38 --jobs 2
      simplechrome build tracks --sheet bams.tsv --genes genes.gtf.gz -o mine.zarr \\
          --count five-prime --shift 75 --min-mapping-quality 20
    """
    from simplechrome.dataset.building.tracks import build_tracks_on_disk
    from simplechrome.dataset.store import stored_sizes

    build_tracks_on_disk(sheet, output, **options)
    _say_sizes(output, stored_sizes(output))
