"""`simplechrome build`: files to a dataset."""

from __future__ import annotations

from typing import Any

import click

from simplechrome.cli.options import SettingsCommand, given, work_options

ANNOTATION = {
    "label_rule": "median, mean, tertiles, quantile:Q or threshold:VALUE, in each cell type.",
    "chrom_style": "auto translates between Ensembl's and UCSC's chromosome names; exact does not.",
    "assembly": "Name of the genome assembly: hg19, GRCh38, …",
    "expression_units": "For the record.",
    "bin_size": "bp per bin.",
}
COUNTS = {
    "simplechrome.dataset.building.options:CountOptions": {
        **ANNOTATION,
        "relabel": "Replace the labels of the files by those of the label rule.",
    }
}
TRACKS = {
    "simplechrome.dataset.building.options:TrackOptions": {
        "flank": "bp on each side of the TSS.",
        **ANNOTATION,
        "assembly": "hg19, GRCh38, …: compared with the tracks. [default: guessed from them]",
        "tss": "TSS of the gene, or of one of its transcripts (GTF, GFF3).",
        "protein_coding": "Only protein-coding genes (GTF, GFF3).",
        "strip_version": "Read ENSG00000000003.14 as ENSG00000000003.",
        "exclude_chroms": "Drop genes on these chromosomes: chrY,chrM.",
        "drop_unobserved": "Drop genes with less than this fraction of their window observed. "
        "[default: keep them, masked]",
        "count": "Count a read in each bin it overlaps, where its 5' end lies, or (pairs, "
        "fragments) where its middle lies.",
        "shift": "bp downstream of the 5' end, with --count five-prime.",
        "min_mapping_quality": "Of BAM and CRAM.",
        "keep_duplicates": "Count reads that are marked as duplicates.",
        "keep_secondary": "Count secondary and supplementary alignments.",
        "normalize": "cpm: reads per million of the library.",
        "subtract_control": "Subtract the sheet's control, scaled to the library; at least 0.",
        "gaps": "Bases without a value in a bigWig or bedGraph are zero, or missing.",
        "approximate": "Use a bigWig's zoom levels.",
        "units": "What the values of a signal track are: fold_change, minus_log10_p, …",
        "timeout": "Seconds to wait for the server of a bigWig.",
    }
}
genes_option = click.option(
    "--genes",
    type=click.Path(),
    help="Genes: TSV/CSV with gene_id, chrom, tss, strand; BED6; GTF; GFF3. Plain or gz.",
)
expression_option = click.option(
    "--expression", type=click.Path(), help="RPKM or TPM: genes × cell types, or long format."
)


@click.group("build")
def command() -> None:
    """Build a dataset from files."""


def _print_sizes(output: str) -> None:
    from simplechrome.dataset.store import stored_sizes

    sizes = stored_sizes(output)
    click.echo(
        f"{output}: {sizes['cell_type']} cell types, {sizes['gene']} genes, {sizes['bin']} bins, "
        f"{sizes['mark']} marks"
    )


@command.command("deepchrome", cls=SettingsCommand, settings=COUNTS)
@click.argument("path", type=click.Path())
@click.option("--cell-type", "cell_types", multiple=True, help="Only this one; may be repeated.")
@click.option(
    "--on-bad-cell-type",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="What to do about a cell type whose files are damaged.",
)
@genes_option
@expression_option
@work_options
def deepchrome(path: str, output: str, cell_types: tuple[str, ...], **options: Any) -> None:
    """Read the published DeepChrome layout from a folder or .tar.gz.

    One cell type is in memory at a time. The work is done in OUTPUT.unfinished, which is renamed
    to OUTPUT at the end. Interrupted work resumes with --resume, with byte-identical results.

    \b
    Examples:
      simplechrome build deepchrome data.tar.gz --cell-type E012 -o e012.zarr \\
          --genes genes_hg19.tsv.gz --expression rpkm.tsv.gz --assembly hg19
      simplechrome build deepchrome roadmap -o roadmap.zarr --on-bad-cell-type skip --resume
    """
    from simplechrome.dataset.building.build import build_deepchrome_on_disk

    build_deepchrome_on_disk(path, output, cell_types=cell_types or None, **given(options))
    _print_sizes(output)


@command.command("arrays", cls=SettingsCommand, settings=COUNTS)
@click.argument("paths", nargs=-1, required=True, type=click.Path())
@genes_option
@expression_option
@work_options
def arrays(paths: tuple[str, ...], output: str, **options: Any) -> None:
    """Read .npz files, one per cell type, with counts, marks and gene_id.

    \b
    Example:
      simplechrome build arrays E028.npz E087.npz -o more.zarr \\
          --genes genes_hg19.tsv.gz --expression rpkm.tsv.gz
    """
    from simplechrome.dataset.building.build import build_arrays_on_disk

    build_arrays_on_disk(paths, output, **given(options))
    _print_sizes(output)


@command.command("tracks", cls=SettingsCommand, settings=TRACKS)
@click.option(
    "--sheet",
    required=True,
    type=click.Path(),
    help="TSV or CSV: cell_type, mark, path, and optionally format, control, scale.",
)
@click.option(
    "--genes",
    required=True,
    type=click.Path(),
    help="GTF, GFF3, BED6, or a table with gene_id, chrom, tss, strand. Plain or gz.",
)
@expression_option
@click.option(
    "--chrom-aliases", type=click.Path(), help="Table of names, as UCSC's chromAlias.txt."
)
@click.option(
    "--blacklist", type=click.Path(), help="BED; drop genes whose windows overlap a region."
)
@click.option(
    "--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="Tracks at a time."
)
@work_options
def tracks(sheet: str, output: str, **options: Any) -> None:
    """Count or average signal tracks (bigWig, BAM, CRAM, BED, bedGraph) around each gene.

    Tracks and genes are checked against each other before any is read. Bins hold the mean of a
    bigWig's or bedGraph's per-base values, bases without data counting as 0; of BAM, CRAM and BED
    the number of reads. A mark that a cell type lacks is missing, not zero. Interrupted work
    resumes with --resume.

    \b
    Examples:
      simplechrome build tracks --sheet samples.tsv --genes genes.gtf.gz -o mine.zarr
      simplechrome build tracks --sheet samples.tsv --genes genes.gtf.gz -o mine.zarr \\
          --expression tpm.tsv --expression-units TPM --assembly hg38 --jobs 2
      simplechrome build tracks --sheet bams.tsv --genes genes.gtf.gz -o mine.zarr \\
          --count five-prime --shift 75 --min-mapping-quality 20
    """
    from simplechrome.dataset.building.tracks import build_tracks_on_disk

    build_tracks_on_disk(sheet, output, **given(options))
    _print_sizes(output)
