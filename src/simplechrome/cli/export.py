"""`simplechrome export`: a run's models for use without this package."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

import click

from simplechrome.cli.options import result_options

if TYPE_CHECKING:
    from simplechrome.export.run import Format


@click.command("export")
@click.argument("run", type=click.Path())
@result_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["keras", "onnx"]),
    default="keras",
    show_default=True,
    help="keras: encoder, predictor and both together as Keras 3 files of standard layers. "
    "onnx: both together in one file.",
)
def command(run: str, output: str, form: str, overwrite: bool) -> None:
    """Write the models of RUN so that they run without this package.

    Counts per bin go in, the transform is part of the model; latents and predictions come out.
    The output is a folder: the models, README.md with an example, export.json. Needs the extra
    tensorflow or onnx.

    \b
    Example:
      simplechrome export runs/e012 -o e012_onnx --format onnx
    """
    # The models are built with PyTorch, which is loaded anyway, and load with any backend.
    os.environ.setdefault("KERAS_BACKEND", "torch")
    from simplechrome.export.run import export_run

    exported = export_run(run, output, cast("Format", form), overwrite=overwrite)
    for file in exported.files:
        off = max(exported.difference[file.name].values())
        size = file.stat().st_size
        click.echo(f"{file}: {size / 1000:,.0f} kB, within {off:.0e} of the run's own numbers")
    click.echo(f"{exported.folder / 'README.md'}: how to use it")
