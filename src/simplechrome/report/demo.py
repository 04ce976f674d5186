"""The demonstration: simulate, build, fit, compare, and one page about it."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd
import xarray as xr

from simplechrome.config.models import make_encoder
from simplechrome.config.run import make_config
from simplechrome.dataset.building.annotate import build_from_deepchrome
from simplechrome.dataset.splits import apply_assignment
from simplechrome.dataset.store import save_dataset
from simplechrome.evaluation.label_efficiency import label_efficiency, summarize
from simplechrome.evaluation.scores import paired_margins
from simplechrome.report import page
from simplechrome.report.figures.benchmark import label_efficiency_figure
from simplechrome.report.run_page import write_run_report
from simplechrome.runs.fit import Run, fit_run
from simplechrome.runs.folder import describe_run
from simplechrome.runs.predictions import write_table
from simplechrome.runs.prepare import assign_genes
from simplechrome.simulation.simulate import simulate, write_deepchrome_layout
from simplechrome.work.unfinished import refuse_existing

log = logging.getLogger(__name__)

_LABELS = (50, 200, None)
_DRAWS = 5
_NAMES = {
    "none": "raw window",
    "log_means": "log-means",
    "pca": "PCA",
    "vae": "VAE",
    "consensus": "consensus",
}


class Demo(NamedTuple):
    """What the demonstration made."""

    report: Path
    table: pd.DataFrame


def _compare(dataset: xr.Dataset, run: Run) -> pd.DataFrame:
    split = apply_assignment(dataset, assign_genes(dataset, run.config.split, run.config.seed))
    latents = {}
    for name, shown in _NAMES.items():
        if name == run.config.encoder.name:
            encoder = run.encoder
        else:
            config = make_config({"encoder": {"name": name}, "seed": run.config.seed})
            encoder = make_encoder(config).fit(split.train, validation=split.validation)
        latents[shown] = encoder.transform(split.train), encoder.transform(split.test)
    return label_efficiency(split, latents, _LABELS, draws=_DRAWS)


def _section(scores: pd.DataFrame, table: pd.DataFrame) -> page.Section:
    best: dict[str, Literal["highest", "lowest"]] = dict.fromkeys(table.columns[1:], "highest")
    margins = {
        f"{count} labels": below[table["representation"]].tolist()
        for count, below in paired_margins(scores).items()
    }
    return page.Section(
        "How many labels are needed?",
        [
            page.Figure(
                label_efficiency_figure(summarize(scores)),
                "Test AUROC of a linear head on each representation, by number of labels",
                f"Mean and standard deviation of {_DRAWS} draws of labels; all representations "
                "see the same draws, and each head chooses its penalty inside them.",
                name="label_efficiency",
            ),
            page.Table(
                table,
                "As a table. Bold: the best, and all that paired draws cannot tell from it",
                best=best,
                margins=margins,
            ),
        ],
    )


def run_demo(
    folder: str | Path, *, n_genes: int = 4000, seed: int = 0, overwrite: bool = False
) -> Demo:
    """What does the whole way look like, on data that need no download?

    Simulates windows and expression with planted effects, writes them in the published layout,
    builds a dataset from these files, fits encoder and predictor, and compares the
    representations with few labels and with all.

    Parameters
    ----------
    folder
        Becomes a run folder with, besides, inputs/ (the simulated files), demo.zarr,
        label_efficiency.csv, figures/ and report.html.
    n_genes
        Genes to simulate.
    seed
        Of simulation, weights and draws.
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
        dataset = build_from_deepchrome(
            inputs,
            genes=inputs / "genes.tsv.gz",
            expression=inputs / "expression.tsv.gz",
            note="These data are simulated: planted effects, no measurement of any cell",
        )

        def finish(run: Run) -> None:
            shutil.copytree(inputs, run.folder / "inputs")
            save_dataset(dataset, run.folder / "demo.zarr")
            made.append(_compare_and_report(dataset, run))

        log.info("Fitting encoder and predictor")
        fit_run(dataset, config, path, overwrite=overwrite, finish=finish)
    return made[0]._replace(report=path / made[0].report.name)


def _compare_and_report(dataset: xr.Dataset, run: Run) -> Demo:
    log.info("Comparing representations with few labels and with all")
    scores = _compare(dataset, run)
    write_table(scores, run.folder / "label_efficiency.csv")
    wide = summarize(scores).pivot(index="representation", columns="n_labels", values="mean")
    wide = wide.loc[list(_NAMES.values())].reset_index()
    wide.columns = ["representation", *(f"{count} labels" for count in wide.columns[1:])]
    report = write_run_report(
        run.folder,
        dataset,
        title="SimpleChrome demo: expression from histone marks",
        first_sections=[_section(scores, wide)],
    )
    return Demo(report, wide)
