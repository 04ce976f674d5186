"""Run a benchmark: a grid of models on the same genes and draws of labels, resumable."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from simplechrome.benchmark.config import BenchmarkConfig, write_benchmark_config
from simplechrome.benchmark.grid import (
    Cell,
    Condition,
    Grid,
    conditions,
    genes_of,
    make_grid,
    targets,
    unlabelled,
)
from simplechrome.benchmark.neighbor_names import expression_table
from simplechrome.benchmark.summary import (
    CELL,
    CONDITION,
    NO_REPRESENTATION,
    BenchmarkResults,
    TestSet,
)
from simplechrome.benchmark.worker import (
    CELLS,
    ENCODERS,
    cell_file,
    encoder_folder,
    fit_cells,
    fit_encoders,
    pool,
    read_cell,
)
from simplechrome.dataset.choose import choose_cell_types, without_unobserved
from simplechrome.errors import ConfigError, OutputExistsError, first_names
from simplechrome.metrics import metrics_of
from simplechrome.predictors.linear import LinearPredictor
from simplechrome.predictors.rows import known_targets
from simplechrome.runs.folder import (
    ENVIRONMENT,
    dataset_checksum,
    describe_environment,
)
from simplechrome.runs.prepare import warn_of_split
from simplechrome.work.files import write_json
from simplechrome.work.processes import available_cores, end_if_starting
from simplechrome.work.unfinished import long_work, settle, unfinished_folder

log = logging.getLogger(__name__)


GENE_MEAN, MAJORITY = "gene_mean", "majority"
"""Baselines that use no histone mark."""
CONFIG, SCORES = "benchmark.toml", "scores.parquet"
CONTENTS = frozenset(
    {CONFIG, SCORES, "scores.csv", "summary.csv", "controls.csv", "not_applicable.csv"}
    | {CELLS, ENCODERS, ENVIRONMENT, "table.md", "table.tex", "figures", "report.html"}
    | {"writeup.md", "claims.csv", "neighbors.csv"}
)
"""Names that a benchmark folder may hold, and may lose when it is overwritten."""


def take_over(finished: Path, begun: Path, checksum: str) -> None:
    """Take cells and encoders over from a finished benchmark, as links where that can be.

    Raises `ConfigError` if it is of other data, by the dataset's checksum.
    """
    try:
        made = json.loads((finished / ENVIRONMENT).read_text(encoding="utf-8"))
        same = made["dataset"]["sha256"] == checksum
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise ConfigError(
            f"{finished} is a benchmark of other data: the dataset's checksum differs.",
            "choose another output path, or pass --overwrite without --resume",
        )
    for source in sorted((finished / CELLS).iterdir()):
        _link(source, begun / CELLS / source.name)
    for source in sorted((finished / ENCODERS).rglob("*")):
        if source.is_file():
            _link(source, begun / source.relative_to(finished))


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy(source, target)


def require_benchmark_only(folder: Path) -> None:
    """Raise `OutputExistsError` if a folder holds more than a benchmark, or none."""
    held = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    foreign = sorted(name for name in held - CONTENTS if not name.startswith("."))
    if foreign or CONFIG not in held:
        raise OutputExistsError(
            f"{folder} is not a benchmark, and is not overwritten: it holds "
            + (f"{first_names(foreign, 8)}." if foreign else f"no {CONFIG}."),
            "choose another folder, or move what you want to keep",
        )


def describe_benchmark(folder: Path) -> str:
    """Return how far a benchmark has come, in a few words."""
    if not folder.is_dir():
        return "a file"
    done = len(list((folder / CELLS).glob("*.safetensors")))
    return f"{'a finished benchmark of ' if (folder / SCORES).is_file() else ''}{done} cells"


def begun_benchmark(folder: str | Path) -> Path | None:
    """Return the options file of the benchmark that would be resumed; None if there is none."""
    for place in (unfinished_folder(folder), Path(folder)):
        if (place / CONFIG).is_file():
            return place / CONFIG
    return None


class Benchmark(NamedTuple):
    """A finished grid: its cells and their predictions."""

    folder: Path
    dataset: xr.Dataset
    config: BenchmarkConfig
    grid: Grid
    results: BenchmarkResults


def run_benchmark(
    dataset: xr.Dataset,
    config: BenchmarkConfig,
    folder: str | Path,
    *,
    jobs: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
    expression: pd.DataFrame | None = None,
    finish: Callable[[Benchmark], object] | None = None,
) -> Benchmark:
    """Fit and score a grid of models on the same genes and draws of labels.

    Nothing of a test gene, window or label, reaches what is fitted. With n labels nothing but
    these n chooses anything; with all of them validation genes choose epochs and numbers of trees.
    All models see the same draws of labels.

    The work is done in `FOLDER.unfinished`, which becomes `folder` when all of it is there. Each
    cell of the grid is kept as soon as it is fitted.

    Parameters
    ----------
    dataset
        With expression or labels.
    config
        The grid.
    folder
        Becomes the benchmark's folder.
    jobs
        Processes; one a core by default. Most fits are small, and gain more from a process of
        their own than from threads.
    overwrite
        Replace a benchmark that is there.
    resume
        Take over the cells that are there, of a finished benchmark too, and fit those that are
        missing: so a grid can grow.
    expression : (gene_id, cell_type)
        Of further cell types, for the gene-mean prior and for co-expressed neighbors.
    finish
        Called with the benchmark before its folder takes its name; what it writes to
        `benchmark.folder` appears with the rest.

    Raises
    ------
    OutputExistsError
        If a finished or unfinished benchmark is there and neither `overwrite` nor `resume` is
        True, or what is there is not a benchmark.
    OutputError
        If another process is at work on the folder, or it cannot be written.
    ConfigError
        If what is to be resumed was begun on other data, or the grid is invalid.
    TrainingError
        If cells could not be fitted.
    SplitError, MissingExpressionError, UndefinedScoreError, UnknownGeneError
        If a part of the grid cannot be done; before anything is fitted.
    """
    dataset = without_unobserved(dataset)
    jobs = available_cores() if jobs is None else jobs
    if jobs < 1:
        raise ConfigError(f"{jobs} jobs cannot run a benchmark.", "pass 1 or more")
    if jobs > 1:
        end_if_starting()
    path = Path(folder)
    grid = make_grid(dataset, config, expression)
    for kind in config.splits:
        warn_of_split(kind)
    if config.cell_types is None and (left := unlabelled(dataset, config)):
        log.warning("%s: no target, dropped", ", ".join(left))
    _describe_grid(grid)
    checksum = dataset_checksum(dataset)
    settle(path)
    grows = resume and path.exists() and not unfinished_folder(path).exists()
    if grows:
        require_benchmark_only(path)
    with long_work(
        path,
        {"dataset sha256": checksum},
        resume=resume,
        overwrite=overwrite or grows,
        describe=describe_benchmark,
        require_ours=require_benchmark_only,
        worth_keeping=lambda begun: any((begun / CELLS).glob("*")),
    ) as work:
        if grows and not work.resumed:
            take_over(path, work.folder, checksum)
        write_benchmark_config(config, work.folder / CONFIG)
        write_json(
            describe_environment(dataset, checksum) | {"jobs": jobs}, work.folder / ENVIRONMENT
        )
        for name in (CELLS, ENCODERS):
            (work.folder / name).mkdir(exist_ok=True)
        _fill(dataset, config, work.folder, grid, jobs, expression)
        results = _collect(dataset, config, work.folder, grid, expression)
        benchmark = Benchmark(work.folder, dataset, config, grid, results)
        if finish is not None:
            finish(benchmark)
    return benchmark._replace(folder=path)


def _describe_grid(grid: Grid) -> None:
    permuted = sum(cell.permuted for cell in grid.cells)
    log.info(
        "%d model%s, %d fits%s",
        len(grid.models.applicable),
        "s" if len(grid.models.applicable) != 1 else "",
        len(grid.cells) - permuted,
        f" and {permuted} on permuted labels" if permuted else "",
    )
    for representation, predictor, reason in grid.models.not_applicable:
        log.info("not applicable: %s on %s (%s)", predictor, representation, reason)


def _fill(
    dataset: xr.Dataset,
    config: BenchmarkConfig,
    folder: Path,
    grid: Grid,
    jobs: int,
    expression: pd.DataFrame | None,
) -> None:
    """Fit what is not there yet."""
    missing = [cell for cell in grid.cells if not cell_file(folder, cell, config).is_file()]
    if not missing:
        return
    if len(missing) < len(grid.cells):
        log.info("%d cells are there, %d are missing", len(grid.cells) - len(missing), len(missing))
    encoders = {
        path: cell
        for cell in reversed(missing)
        if not (path := encoder_folder(folder, cell, config)).is_dir()
    }
    places = [cell.condition.trained_on for cell in grid.cells]
    needed = choose_cell_types(dataset, (*places, *config.transfer))
    if expression is None and _looks_elsewhere(grid):
        expression = expression_table(dataset, None)  # of all its cell types, not of those needed
    with pool(needed, config, folder, jobs, expression) as executor:
        fit_encoders(executor, list(reversed(encoders.values())))
        fit_cells(executor, missing)


def _looks_elsewhere(grid: Grid) -> bool:
    seen = [model.sees for model in grid.models.applicable]
    return any(
        sees.gene_mean or (sees.neighbors is not None and sees.neighbors.kind == "coexpression")
        for sees in seen
    )


def _collect(
    dataset: xr.Dataset,
    config: BenchmarkConfig,
    folder: Path,
    grid: Grid,
    expression: pd.DataFrame | None,
) -> BenchmarkResults:
    """All cells' predictions, by the genes that they are of."""
    test_sets: dict[tuple[str, str, str, str, int], TestSet] = {}
    controls: list[dict[str, Any]] = []
    notes: Counter[str] = Counter()
    score = metrics_of(config.task)[0].function
    for place in conditions(dataset, config):
        genes = genes_of(dataset, config, place)
        own = [cell for cell in grid.cells if cell.condition == place]
        held = [read_cell(cell_file(folder, cell, config)) for cell in own]
        notes.update(note for result in held for note in result.notes)
        for scored in held[0].predictions:
            target = targets(dataset, config, scored)
            known = known_targets(target.isel(gene=genes.test), config.task)
            test = genes.test[known]
            truth = target.values[0, test]
            protocol = "within" if scored == place.trained_on else "transfer"
            condition = (scored, protocol, *place)
            rows, predictions = [], []
            for cell, result in zip(own, held, strict=True):
                value = result.predictions[scored][known]
                row = _cell_row(cell, genes.train.size)
                if cell.permuted:
                    row |= dict(zip(CONDITION, condition, strict=True))
                    controls.append(row | {"value": score(truth, value)})
                else:
                    rows.append(row | {"seconds": result.seconds, "chosen": result.chosen})
                    predictions.append(value)
            for name, value in _baselines(dataset, config, place, scored, expression).items():
                rows.append(_baseline_row(name, genes.train.size))
                predictions.append(value[known])
            about = {name: dataset[name].values[test] for name in ("gene_id", "chrom", "tss")}
            test_sets[condition] = TestSet(
                pd.DataFrame(about | {"target": truth}),
                pd.DataFrame(rows),
                np.stack(predictions).astype(np.float64),
            )
    test_sets = _with_one_count(test_sets)
    for note, count in notes.most_common():
        log.warning("In %d cells: %s", count, note)
    columns = ["representation", "predictor", "reason"]
    return BenchmarkResults(
        config.task,
        test_sets,
        pd.DataFrame(controls),
        pd.DataFrame(grid.models.not_applicable, columns=columns),
    )


def _with_one_count(
    test_sets: dict[tuple[str, str, str, str, int], TestSet],
) -> dict[tuple[str, str, str, str, int], TestSet]:
    """Give `all` labels one number, the mean over folds, which have more of them or fewer."""
    sizes: dict[tuple[Any, ...], list[float]] = {}
    for condition, scored in test_sets.items():
        own = scored.cells["n_labels"][scored.cells["all_labels"]]
        sizes.setdefault(_but_fold(condition), []).extend(own)
    return {
        condition: scored._replace(
            cells=scored.cells.assign(
                n_labels=scored.cells["n_labels"].mask(
                    scored.cells["all_labels"].astype(bool),
                    round(float(np.mean(sizes[_but_fold(condition)] or [0]))),
                )
            )
        )
        for condition, scored in test_sets.items()
    }


def _but_fold(condition: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(v for name, v in zip(CONDITION, condition, strict=True) if name != "fold")


def _cell_row(cell: Cell, n_train: int) -> dict[str, Any]:
    all_labels = cell.n_labels is None
    values = (n_train if all_labels else cell.n_labels, all_labels, cell.draw, cell.seed)
    return dict(zip(CELL, (*cell.model[:2], *values), strict=True))


def _baseline_row(name: str, n_train: int) -> dict[str, Any]:
    row = dict(zip(CELL, (NO_REPRESENTATION, name, n_train, True, 0, 0), strict=True))
    return row | {"seconds": 0.0, "chosen": ""}


def _baselines(
    dataset: xr.Dataset,
    config: BenchmarkConfig,
    place: Condition,
    scored: str,
    expression: pd.DataFrame | None,
) -> dict[str, np.ndarray]:
    """Baselines without histones, for the test genes of one cell type."""
    genes = genes_of(dataset, config, place)
    y = targets(dataset, config, place.trained_on).values[0]
    values = {MAJORITY: constant_predictions(y, genes.train, genes.test.size)}
    prior = expression_elsewhere(dataset, scored, expression)
    if prior is not None:
        values[GENE_MEAN] = gene_mean_predictions(prior, y, genes.train, genes.test, config.task)
    return values


def expression_elsewhere(
    dataset: xr.Dataset, cell_type: str, table: pd.DataFrame | None = None
) -> np.ndarray | None:
    """Return the mean log2(expression + 1) of each gene in the other cell types, (gene,).

    NaN for genes that none of them has; None where there is no other cell type.

    Parameters
    ----------
    dataset
        Its other cell types are used.
    cell_type
        The one that is held out, of the dataset and of the table.
    table : (gene_id, cell_type)
        Expression of more cell types, as `read_expression` returns it; in the place of the
        dataset's own where both have a cell type.
    """
    names = [str(name) for name in dataset["cell_type"].values]
    levels = pd.DataFrame(
        dataset["expression"].values.T, index=dataset["gene_id"].values, columns=names
    )
    if table is not None:
        more = table.reindex(levels.index)
        levels = pd.concat([levels.drop(columns=more.columns, errors="ignore"), more], axis=1)
    others = levels.drop(columns=cell_type).dropna(axis=1, how="all")
    if others.empty:
        return None
    mean: pd.Series = np.log2(others + 1).mean(axis=1)
    return mean.to_numpy()


def gene_mean_predictions(
    prior: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, task: str
) -> np.ndarray:
    """Predict a gene from its mean expression in other cell types: (test gene,).

    That number is made a probability or a level by regression on the training genes; the
    order of the genes is that of the number.

    Parameters
    ----------
    prior : (gene,), see `expression_elsewhere`; genes that are unknown elsewhere get the mean
    y : (gene,), label, or log2(expression + 1)
    train, test
        Positions of genes; all of `train` have a target.
    """
    values = np.where(np.isfinite(prior), prior, np.nanmean(prior[train]))[:, np.newaxis]
    head = LinearPredictor(task, Cs=(1.0,)).fit(values[train], y[train])
    if task == "classification":
        return np.asarray(head.predict_proba(values[test]))[:, 1]
    return np.asarray(head.predict(values[test]))


def constant_predictions(y: np.ndarray, train: np.ndarray, n_test: int) -> np.ndarray:
    """Return the training genes' fraction of high genes, or mean level, for every gene."""
    return np.full(n_test, float(np.mean(y[train])))
