"""Processes of a benchmark: each fits encoders and cells, and writes their predictions."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import safetensors
import xarray as xr
from safetensors.numpy import save_file
from tqdm.auto import tqdm

from simplechrome.benchmark.config import NEIGHBORHOOD, BenchmarkConfig
from simplechrome.benchmark.grid import (
    Cell,
    Condition,
    Genes,
    cell_key,
    cell_name,
    drawn,
    encoder_name,
    genes_of,
    permute,
    run_config,
    targets,
)
from simplechrome.benchmark.neighbor_names import (
    NeighborChoice,
    choose_neighbors,
    expression_table,
    replace_neighbors,
)
from simplechrome.config.models import make_encoder, make_predictor
from simplechrome.dataset.choose import choose_cell_types
from simplechrome.dataset.neighbors.graph import NeighborGraph
from simplechrome.errors import ModelFormatError, SimpleChromeError, TrainingError
from simplechrome.latent.log_means import LogMeans, WithLogMeans
from simplechrome.latent.registry import load_encoder
from simplechrome.predictors.neighborhood_features import (
    make_neighborhood_features,
    neighbor_means,
)
from simplechrome.predictors.predictor import Predictor
from simplechrome.runs.predictions import neighbor_expression_features
from simplechrome.work.files import whole_file
from simplechrome.work.processes import available_cores, remembered, worker_processes

log = logging.getLogger(__name__)

CELLS, ENCODERS = "cells", "encoders"
_SUFFIX = ".safetensors"
_REMEMBERED = 6  # latents of a draw's representations: each at most 37 MB per cell type of E012
_GRAPHS_REMEMBERED = 16  # 50 neighbors of 18,421 genes: 23 MB, and 8 s if they are co-expressed


class CellResult(NamedTuple):
    """The result of a cell.

    predictions : by scored cell type, (test gene,) float64
    seconds : of the fit alone
    chosen : what the predictor chose within its labels, in words
    notes : its warnings
    """

    predictions: dict[str, np.ndarray]
    seconds: float
    chosen: str
    notes: list[str]


def cell_file(folder: Path, cell: Cell, config: BenchmarkConfig) -> Path:
    """Return the path of a cell's result."""
    return folder / CELLS / (cell_name(cell, config) + _SUFFIX)


def encoder_folder(folder: Path, cell: Cell, config: BenchmarkConfig) -> Path:
    """Return the folder of a cell's encoder."""
    return folder / ENCODERS / encoder_name(cell, config)


def read_cell(path: Path) -> CellResult:
    """Read the result of a cell; `ModelFormatError` if the file is damaged."""
    try:
        with safetensors.safe_open(path, "numpy") as held:
            about = held.metadata()
            names = json.loads(about["cell_types"])
            predictions = {name: held.get_tensor(str(k)) for k, name in enumerate(names)}
            notes = json.loads(about["notes"])
            return CellResult(predictions, float(about["seconds"]), about["chosen"], notes)
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise ModelFormatError(
            f"{path} is a damaged result of a benchmark's cell: {type(error).__name__}: {error}.",
            "delete the file, and call again with --resume: the cell is fitted again",
        ) from error


class Worker:
    """Fits encoders and cells of one benchmark, with a cache of latents.

    Parameters
    ----------
    dataset
        All cell types that are trained on or scored.
    config, folder
        Of the benchmark.
    expression : (gene_id, cell_type), of further cell types, for co-expression
    """

    def __init__(
        self,
        dataset: xr.Dataset,
        config: BenchmarkConfig,
        folder: Path,
        expression: pd.DataFrame | None = None,
    ) -> None:
        self.dataset, self.config, self.folder = dataset, config, folder
        self.expression = expression
        self._latents = lru_cache(maxsize=_REMEMBERED)(self._encode)
        self._graph = lru_cache(maxsize=_GRAPHS_REMEMBERED)(self._find_graph)
        self._genes = lru_cache(maxsize=None)(self._find_genes)

    def _find_genes(self, place: Condition) -> Genes:
        return genes_of(self.dataset, self.config, place)

    def _own(self, place: Condition) -> xr.Dataset:
        return choose_cell_types(self.dataset, (place.trained_on,))

    def _train(self, place: Condition) -> xr.Dataset:
        """Training windows, those of genes without a label too."""
        train = np.flatnonzero(self._genes(place).assignment == "train")
        return self._own(place).isel(gene=train)

    def fit_encoder(self, cell: Cell) -> None:
        """Fit the cell's encoder on training windows and save it."""
        place = cell.condition
        alone = run_config(self.config, cell.model, cell.encoder_seed)
        encoder = make_encoder(alone.model_copy(update={"add_log_means": False}))
        validation = self._own(place).isel(gene=self._genes(place).validation)
        encoder.fit(self._train(place), validation=validation)
        # Two processes that fit the same one make the same one.
        encoder.save(encoder_folder(self.folder, cell, self.config), overwrite=True)

    def _encode(
        self, path: Path, add_log_means: bool, place: Condition, scored: tuple[str, ...]
    ) -> xr.DataArray:
        encoder = load_encoder(path)
        if add_log_means:
            encoder = WithLogMeans.of_fitted(encoder, LogMeans().fit(self._train(place)))
        return encoder.transform(choose_cell_types(self.dataset, scored))

    def _find_graph(self, choice: NeighborChoice, predicted: tuple[str, ...]) -> NeighborGraph:
        return choose_neighbors(
            self.dataset, choice, leave_out=predicted, expression=self.expression
        )

    def _with_gene_mean(
        self, latents: xr.DataArray, place: Condition, predicted: tuple[str, ...]
    ) -> xr.DataArray:
        """Latents, and the gene's mean in cell types that are not predicted, standardized."""
        table = expression_table(self.dataset, self.expression)
        levels = np.log2(table.drop(columns=list(predicted), errors="ignore") + 1)
        mean = levels.mean(axis=1).reindex(self.dataset["gene_id"].values).to_numpy()
        train = mean[self._genes(place).train]
        mean = (np.where(np.isfinite(mean), mean, np.nanmean(train)) - np.nanmean(train)) / (
            np.nanstd(train) or 1.0
        )
        column = latents[..., :1].copy(
            data=np.broadcast_to(mean[:, np.newaxis], (*latents.shape[:2], 1)).astype(np.float32)
        )
        column = column.assign_coords(latent=["gene_mean"])
        return xr.concat([latents, column], dim="latent", coords="minimal", compat="override")

    def _features(
        self, cell: Cell, latents: xr.DataArray, predicted: tuple[str, ...], labelled: np.ndarray
    ) -> Any:
        """The input of the cell's predictor: latents, or features of neighborhoods."""
        if cell.model.sees.gene_mean:
            latents = self._with_gene_mean(latents, cell.condition, predicted)
        choice = cell.model.sees.neighbors
        if choice is None:
            return latents
        # True neighbors are the same in all draws; a control has other genes in each.
        graph = self._graph(choice._replace(control="", only=False, expression=False), predicted)
        graph = replace_neighbors(self.dataset, graph, choice.control, cell.seed)
        expression = None
        if choice.expression:
            learned = np.isin(np.arange(latents.sizes["gene"]), labelled)
            data = choose_cell_types(self.dataset, predicted)
            expression = neighbor_expression_features(data, self.config.task, learned)
        around = make_neighborhood_features(latents, graph, self.dataset, expression)
        if cell.model.head.name == NEIGHBORHOOD:
            return around
        means = neighbor_means(around)
        return means[..., latents.shape[-1] :] if choice.only else means

    def fit_cell(self, cell: Cell) -> None:
        """Fit a cell, predict the test genes of all scored cell types and write the result."""
        config, place = self.config, cell.condition
        genes = self._genes(place)
        scored = (place.trained_on, *(c for c in config.transfer if c != place.trained_on))
        path, plus = encoder_folder(self.folder, cell, config), cell.model.sees.add_log_means
        latents = self._latents(path, plus, place, scored)
        target = targets(self.dataset, config, place.trained_on)
        labelled = drawn(self.dataset, genes, cell.n_labels, cell.draw)
        features = self._features(cell, latents, scored, labelled)
        own = features.isel(cell_type=[0])
        y = target.isel(gene=labelled)
        if cell.permuted:
            y = y.copy(data=permute(y.values, cell.draw))
        held_out = None
        # A penalty is found better by cross-validation within many labels than on fewer genes.
        if cell.n_labels is None and cell.model.head.name != "linear":
            held_out = (own.isel(gene=genes.validation), target.isel(gene=genes.validation))
        predictor = _make_head(config, cell)
        # Warnings are kept with the cell, not as a thousand lines on the screen.
        with remembered(logging.WARNING) as warnings:
            start = time.perf_counter()
            predictor.fit(own.isel(gene=labelled), y, validation=held_out)
            seconds = time.perf_counter() - start
        test = features.isel(gene=genes.test)
        if config.task == "classification":
            values = np.asarray(predictor.predict_proba(test))[..., 1]
        else:
            values = np.asarray(predictor.predict(test))
        arrays = {str(k): np.ascontiguousarray(row, np.float64) for k, row in enumerate(values)}
        about = {
            "key": json.dumps(cell_key(cell, config)),
            "cell_types": json.dumps(scored),
            "seconds": f"{seconds:.3f}",
            "chosen": describe_choice(predictor),
            "notes": json.dumps(sorted({line.text for line in warnings})),
        }
        with whole_file(cell_file(self.folder, cell, config)) as temporary:
            save_file(arrays, temporary, metadata=about)


def _make_head(config: BenchmarkConfig, cell: Cell) -> Predictor:
    run, near = run_config(config, cell.model, cell.seed), cell.model.sees.neighbors
    if run.predictor.name == NEIGHBORHOOD and near is not None and near.only:
        run = run.model_copy(update={"predictor": run.predictor.model_copy(update={"own": "none"})})
    return make_predictor(run)


def describe_choice(predictor: Predictor) -> str:
    """Return what a fitted predictor chose within its labels, in words."""
    learned: Any = predictor
    if hasattr(learned, "C_"):
        return f"C {learned.C_:g}"
    if hasattr(learned, "n_iter_"):
        return f"{learned.n_iter_} trees"
    return f"{learned.epochs_} epochs" if hasattr(learned, "epochs_") else ""


_LOG_EVERY = 60.0  # seconds between lines in a log file, where no bar can be drawn
_worker: Worker  # of this process, if it is one of the pool


def _set_up(
    dataset: xr.Dataset,
    config: BenchmarkConfig,
    folder: Path,
    threads: int,
    expression: pd.DataFrame | None,
) -> None:
    """Set this process up to fit cells.

    BLAS gets one thread unless asked otherwise: most fits are small, and threads that wait for
    each other made a grid three times as slow.
    """
    global _worker
    from threadpoolctl import threadpool_limits

    threadpool_limits(config.threads or 1)
    import torch

    torch.set_num_threads(threads)
    _worker = Worker(dataset, config, folder, expression)


def _fit_encoder(cell: Cell) -> None:
    with remembered(silent=True):
        _worker.fit_encoder(cell)


def _fit_cell(cell: Cell) -> None:
    with remembered(silent=True):
        _worker.fit_cell(cell)


@contextmanager
def pool(
    dataset: xr.Dataset,
    config: BenchmarkConfig,
    folder: Path,
    jobs: int,
    expression: pd.DataFrame | None = None,
) -> Iterator[ProcessPoolExecutor | None]:
    """Start processes that know the data, see `worker_processes`; None: one job in this process."""
    threads = config.threads or max(1, available_cores() // jobs)
    arguments = dataset, config, folder, threads, expression
    if jobs > 1:
        with worker_processes(jobs, _set_up, arguments) as executor:
            yield executor
        return
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    with threadpool_limits():  # restores what `_set_up` changes
        try:
            _set_up(*arguments)
            yield None
        finally:
            torch.set_num_threads(before)
            globals().pop("_worker", None)


def fit_encoders(executor: ProcessPoolExecutor | None, cells: Sequence[Cell]) -> None:
    """Fit the encoder of each of these cells.

    Raises the error of the first that cannot be fitted: nothing could be compared with it.
    """
    for _, error in _finished(executor, _fit_encoder, cells, "encoders"):
        if error:
            raise error


def fit_cells(executor: ProcessPoolExecutor | None, cells: Sequence[Cell]) -> None:
    """Fit these cells; `TrainingError` if some could not be fitted, after all others are."""
    failed = [(cell, e) for cell, e in _finished(executor, _fit_cell, cells, "cells") if e]
    if failed:
        cell, first = failed[0]
        raise TrainingError(
            f"{len(failed)} of {len(cells)} cells could not be fitted, the first {cell.model.name} "
            f"with {cell.n_labels or 'all'} labels, draw {cell.draw}: {first.problem}",
            "drop the model or change its settings, and call again with --resume: all other cells "
            "are kept",
        )


def _finished(
    executor: ProcessPoolExecutor | None,
    work: Callable[[Cell], object],
    cells: Sequence[Cell],
    what: str,
) -> Iterator[tuple[Cell, SimpleChromeError | None]]:
    """Yield cells as they are done, and their errors.

    With a bar on a terminal and a line a minute in a log file. Draws come one after the other,
    each with all models, so the mean time of a cell so far predicts that of the others.
    """
    results: Iterator[tuple[Cell, Callable[[], object]]]
    if executor is None:
        results = ((cell, partial(work, cell)) for cell in cells)
    else:
        futures = {executor.submit(work, cell): cell for cell in cells}
        results = ((futures[future], future.result) for future in as_completed(futures))
    on_terminal = sys.stderr.isatty() and log.isEnabledFor(logging.INFO)
    logged = time.monotonic()
    shown: dict[str, Any] = {"disable": not on_terminal, "leave": False, "desc": what}
    for done, (cell, result) in enumerate(tqdm(results, total=len(cells), smoothing=0, **shown), 1):
        try:
            result()
        except BrokenProcessPool:
            raise TrainingError(
                f"A process of the benchmark was killed while {len(cells) - done + 1} of "
                f"{len(cells)} {what} were left, most often for too little memory.",
                "pass fewer --jobs, and --resume: finished cells are kept",
            ) from None
        except SimpleChromeError as error:
            yield cell, error
        else:
            yield cell, None
        if not on_terminal and time.monotonic() - logged > _LOG_EVERY:
            logged = time.monotonic()
            log.info("%d of %d %s", done, len(cells), what)
