"""Options of `simplechrome build tracks`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from simplechrome.cli.options import split_list

F = TypeVar("F", bound=Callable[..., Any])


def _choice(*names: str) -> click.Choice:
    return click.Choice(names)


def track_options(function: F) -> F:
    """Give a verb the options that say how windows are laid and what counts in them.

    Their defaults are those of `simplechrome.dataset.building.options.TrackOptions`.
    """
    for option in reversed(
        [
            # Windows
            click.option("--flank", default=5000, show_default=True, help="bp around the TSS."),
            click.option("--bin-size", default=100, show_default=True, help="bp per bin."),
            # Genes
            click.option(
                "--tss",
                type=_choice("gene", "canonical", "longest", "most-upstream"),
                default="gene",
                show_default=True,
                help="Whose start: the gene's, or that of one of its transcripts (GTF, GFF3).",
            ),
            click.option("--protein-coding", is_flag=True, help="Only such genes (GTF, GFF3)."),
            click.option(
                "--strip-version", is_flag=True, help="ENSG00000000003.14 is ENSG00000000003."
            ),
            click.option(
                "--chrom-style",
                type=_choice("auto", "exact"),
                default="auto",
                show_default=True,
                help="auto translates between Ensembl's and UCSC's chromosome names.",
            ),
            click.option(
                "--chrom-aliases",
                type=click.Path(),
                help="Table of other names, as UCSC's chromAlias.txt.",
            ),
            click.option(
                "--assembly",
                default="",
                help="hg19, GRCh38, …: compared with the tracks. [default: guessed from them]",
            ),
            click.option(
                "--exclude-chroms",
                default="",
                callback=split_list,
                help="Genes on these are left out: chrY,chrM",
            ),
            click.option(
                "--blacklist",
                type=click.Path(),
                help="BED; genes whose windows touch a region are left out.",
            ),
            click.option(
                "--drop-unobserved",
                default=0.0,
                metavar="SHARE",
                help="Leave out genes with less of their window observed. [default: keep, masked]",
            ),
            # Reads
            click.option(
                "--count",
                type=_choice("overlap", "five-prime", "midpoint"),
                default="overlap",
                show_default=True,
                help="A read counts in each bin it touches, where its 5' end lies, or (pairs, "
                "fragments) where the middle lies.",
            ),
            click.option(
                "--shift",
                default=0,
                show_default=True,
                help="bp downstream of the 5' end, with --count five-prime.",
            ),
            click.option("--min-mapping-quality", default=0, show_default=True, help="BAM, CRAM."),
            click.option("--keep-duplicates", is_flag=True, help="Reads marked as duplicates."),
            click.option("--keep-secondary", is_flag=True, help="And supplementary alignments."),
            click.option(
                "--normalize",
                type=_choice("none", "cpm"),
                default="none",
                show_default=True,
                help="cpm: reads per million of the library.",
            ),
            click.option(
                "--subtract-control",
                is_flag=True,
                help="Take the sheet's control off, scaled to the library, down to 0.",
            ),
            # Signal
            click.option(
                "--gaps",
                type=_choice("auto", "zero", "missing"),
                default="auto",
                show_default=True,
                help="Bases without a value in a bigWig or bedGraph: zeros that nobody wrote, or "
                "not measured.",
            ),
            click.option("--approximate", is_flag=True, help="Use a bigWig's zoom levels."),
            click.option(
                "--units", default="", help="What a signal is: fold_change, minus_log10_p, …"
            ),
            click.option(
                "--timeout",
                default=30.0,
                show_default=True,
                help="Seconds that a server of a bigWig may be silent.",
            ),
            # Expression
            click.option(
                "--label-rule",
                default="median",
                show_default=True,
                help="median, mean, tertiles, quantile:Q or threshold:VALUE, in each cell type.",
            ),
            click.option(
                "--expression-units", default="RPKM", show_default=True, help="For the record."
            ),
        ]
    ):
        function = option(function)
    return function
