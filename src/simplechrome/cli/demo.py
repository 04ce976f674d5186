"""`simplechrome demo`: the whole way on simulated data."""

from __future__ import annotations

import click

from simplechrome.cli.options import result_options


@click.command("demo")
@result_options
@click.option("--genes", "n_genes", default=4000, show_default=True, help="Genes to simulate.")
@click.option("--seed", default=0, show_default=True, help="Of simulation, weights and draws.")
def command(output: str, n_genes: int, seed: int, overwrite: bool) -> None:
    """Simulate data, build, fit, compare representations, and write a report.

    \b
    Example:
      simplechrome demo -o runs/demo
    """
    from simplechrome.report.demo import run_demo

    demo = run_demo(output, n_genes=n_genes, seed=seed, overwrite=overwrite)
    click.echo("Test AUROC of a linear head (simulated data):")
    click.echo(demo.table.to_string(index=False, float_format="{:.4f}".format))
    click.echo(f"report: {demo.report}")
