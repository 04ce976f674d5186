"""Options that several verbs share, and how the program talks."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class _Talk(logging.Handler):
    """Messages to stderr, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        mark = "! " if record.levelno >= logging.WARNING else ""
        text = mark + record.getMessage()
        tqdm = sys.modules.get("tqdm")
        if tqdm is not None:
            tqdm.tqdm.write(text, file=sys.stderr)
        else:
            click.echo(text, err=True)


def _start_talking(context: click.Context, parameter: click.Parameter, value: int) -> None:
    logger = logging.getLogger("simplechrome")
    logger.handlers = [_Talk()]
    logger.propagate = False
    level = context.meta.setdefault("level", logging.INFO)
    if parameter.name == "verbose" and value:
        level = logging.DEBUG
    if parameter.name == "quiet" and value:
        level = logging.WARNING if value == 1 else logging.ERROR
    context.meta["level"] = level
    logger.setLevel(level)


def talk(function: F) -> F:
    """Give a verb -v and -q, and let the library's log speak on stderr."""
    for option in (
        click.option(
            "-q",
            "--quiet",
            count=True,
            expose_value=False,
            callback=_start_talking,
            help="Warnings only; -qq: errors only.",
        ),
        click.option(
            "-v",
            "--verbose",
            count=True,
            expose_value=False,
            callback=_start_talking,
            help="More detail, and a traceback with errors.",
        ),
    ):
        function = option(function)
    return function


output_option = click.option(
    "-o", "--output", required=True, type=click.Path(), help="Where the result goes."
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what is there.")
resume_option = click.option(
    "--resume", is_flag=True, help="Go on with work that was begun and not finished."
)


def depth_options(function: F) -> F:
    """Give a verb that uses a run on other data the options that bring these to its depth."""
    for option in reversed(
        [
            click.option(
                "--depth-scaling/--no-depth-scaling",
                default=True,
                show_default=True,
                help="Multiply each mark of each cell type so that it is as deep as in training, "
                "and say by how much.",
            ),
            click.option(
                "--match-distribution",
                is_flag=True,
                help="Replace each mark's values by those of the same rank in training: for "
                "signal in other units than the run's (p-values, fold change), which is refused "
                "otherwise.",
            ),
        ]
    ):
        function = option(function)
    return function


def annotation_options(function: F) -> F:
    """Give a building verb the options that place genes and label them."""
    for option in reversed(
        [
            click.option(
                "--genes",
                type=click.Path(),
                help="Places of the genes: TSV/CSV with gene_id, chrom, tss, strand; BED6; GTF; "
                "GFF3. Plain or gz.",
            ),
            click.option(
                "--expression",
                type=click.Path(),
                help="RPKM or TPM: genes × cell types, or long. Plain or gz.",
            ),
            click.option(
                "--label-rule",
                default="median",
                show_default=True,
                help="median, mean, tertiles, quantile:Q or threshold:VALUE, within each cell "
                "type.",
            ),
            click.option(
                "--chrom-style",
                type=click.Choice(["auto", "exact"]),
                default="auto",
                show_default=True,
                help="auto translates Ensembl chromosome names to UCSC's; exact leaves them.",
            ),
            click.option(
                "--assembly", default="", help="Name of the assembly, for the record: hg19, …"
            ),
            click.option(
                "--expression-units", default="RPKM", show_default=True, help="For the record."
            ),
            click.option("--bin-size", default=100, show_default=True, help="bp per bin."),
        ]
    ):
        function = option(function)
    return function


def split_list(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Turn `chr1,chr8` into a tuple."""
    if value is None:
        return None
    return tuple(part.strip() for part in value.split(",") if part.strip())


def split_pair(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Turn `E012,E028` into a tuple of two."""
    names = split_list(context, parameter, value)
    if names is not None and len(names) != 2:
        raise click.BadParameter(f"{value!r} is not two cell types, as E012,E028.")
    return names


def chromosome_options(function: F) -> F:
    """Give a verb that splits genes the chromosomes that it holds out."""
    for option in reversed(
        [
            click.option("--test-chroms", callback=split_list, help="[default: chr1,chr8,chr21]"),
            click.option(
                "--validation-chroms", callback=split_list, help="[default: chr2,chr9,chr22]"
            ),
            click.option(
                "--exclude-chroms", callback=split_list, help="Left out altogether: chrY,chrM"
            ),
        ]
    ):
        function = option(function)
    return function


def check_page_path(path: str, *, overwrite: bool) -> None:
    """Can a page be written here, as far as its name and what is there say?"""
    from pathlib import Path

    from simplechrome.errors import ConfigError
    from simplechrome.work.files import check_free

    if not path.endswith(".html"):
        raise ConfigError(
            f"The ending of {path} does not say what to write.",
            found=repr(Path(path).suffix),
            expected=".html",
        )
    check_free(path, overwrite=overwrite)
