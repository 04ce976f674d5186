"""The demonstration: simulate, build, fit, compare, and one page about it."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import xarray as xr

from simplechrome.benchmark.config import merge_benchmark_options
from simplechrome.benchmark.run import Benchmark, run_benchmark
from simplechrome.benchmark.summary import NO_REPRESENTATION, places
from simplechrome.config.run import make_config
from simplechrome.dataset.building.build import build_deepchrome_on_disk
from simplechrome.dataset.store import open_dataset
from simplechrome.report import page
from simplechrome.report.benchmark_page import write_benchmark_files
from simplechrome.report.figures.benchmark import grid_figure
from simplechrome.report.run_page import write_run_report
from simplechrome.report.score_tables import make_score_table, score_block
from simplechrome.runs.fit import Run, fit_run
from simplechrome.runs.folder import describe_run
from simplechrome.simulation.simulate import simulate, write_deepchrome_layout
from simplechrome.work.unfinished import refuse_existing

log = logging.getLogger(__name__)


class Demo(NamedTuple):
    """The page of the demonstration, and its table: test AUROC by number of labels."""

    report: Path
    table: pd.DataFrame


def run_demo(
    folder: str | Path, *, n_genes: int = 4000, seed: int = 0, overwrite: bool = False
) -> Demo:
    """Run everything once on simulated data, and return the report.

    Simulates windows and expression with planted effects, writes them in the published layout,
    builds a dataset from these files, fits encoder and predictor, and compares the
    representations with few labels and with all.

    Parameters
    ----------
    folder
        Becomes a run folder which also holds inputs/ (the simulated files), demo.zarr and
        benchmark/ (the comparison).
    n_genes
        Genes to simulate.
    seed
        Of simulation and weights.
    overwrite
        Replace a run folder that is there.
    """
    path = Path(folder)
    config = make_config({"seed": seed})
    if not overwrite:
        refuse_existing(path, describe_run)
    made: list[Demo] = []
    with tempfile.TemporaryDirectory(prefix="simplechrome-demo-") as temporary:
        inputs = Path(temporary) / "inputs"
        log.info("Simulating %d genes", n_genes)
        write_deepchrome_layout(simulate(n_genes, seed=seed), inputs)
        stored = build_deepchrome_on_disk(
            inputs,
            Path(temporary) / "demo.zarr",
            genes=inputs / "genes.tsv.gz",
            expression=inputs / "expression.tsv.gz",
            note="These data are simulated: planted effects, no measurement of any cell",
        )
        dataset = open_dataset(stored)

        def finish(run: Run) -> None:
            shutil.copytree(inputs, run.folder / "inputs")
            shutil.copytree(stored, run.folder / "demo.zarr")
            made.append(_compare_and_report(dataset, run))

        log.info("Fitting encoder and predictor")
        fit_run(dataset, config, path, overwrite=overwrite, finish=finish)
    return made[0]._replace(report=path / made[0].report.name)


def _compare_and_report(dataset: xr.Dataset, run: Run) -> Demo:
    log.info("Comparing representations with few labels and with all")
    blocks: list[page.Table | page.Figure] = []

    def finish(benchmark: Benchmark) -> None:
        findings = write_benchmark_files(benchmark)
        summary, place = findings.summary, places(findings.resamples)[0]
        rows = summary[summary["metric"] == "auroc"]
        rows = rows[rows["representation"] != NO_REPRESENTATION]
        blocks.append(
            page.Figure(
                grid_figure(rows, baseline=findings.baseline),
                "Test AUROC of a linear head on each representation, by number of labels",
                f"Mean of {benchmark.config.seeds} draws of labels, and its 95 % interval over "
                "draws and test genes. All representations are given the same draws, and each "
                "head chooses its penalty within them.",
                name="label_efficiency",
            )
        )
        table = make_score_table(summary, place, "auroc", findings.resamples)
        blocks.append(score_block(table, "auroc", "As a table"))

    config = merge_benchmark_options(None, {"preset": "demo"})
    run_benchmark(dataset, config, run.folder / "benchmark", jobs=1, finish=finish)
    report = write_run_report(
        run.folder,
        dataset,
        title="SimpleChrome demo: expression from histone marks",
        first_sections=[page.Section("How many labels are needed?", blocks)],
    )
    [table] = [block.frame for block in blocks if isinstance(block, page.Table)]
    return Demo(report, table)
