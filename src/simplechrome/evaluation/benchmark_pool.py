"""Processes that fill a benchmark's grid, and how long they will still take."""

from __future__ import annotations

import logging
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr
from tqdm.auto import tqdm

from simplechrome.errors import SimpleChromeError, TrainingError
from simplechrome.evaluation.benchmark_cells import Worker
from simplechrome.evaluation.benchmark_config import BenchmarkConfig
from simplechrome.evaluation.benchmark_grid import Cell
from simplechrome.processes import available_cores, worker_processes

log = logging.getLogger(__name__)

_SAID_EVERY = 60.0  # seconds between lines in a log file, where no bar can be drawn
_worker: Worker  # of this process, if it is one of the pool


def _begin(
    dataset: xr.Dataset,
    config: BenchmarkConfig,
    folder: Path,
    threads: int,
    expression: pd.DataFrame | None,
) -> None:
    """Set a new process up. The training loops of hundreds of cells have nothing to say."""
    global _worker
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)
    import torch

    torch.set_num_threads(threads)
    _worker = Worker(dataset, config, folder, expression)


def _fit_encoder(cell: Cell) -> float:
    start = time.perf_counter()
    _worker.fit_encoder(cell)
    return time.perf_counter() - start


def _fit_cell(cell: Cell) -> float:
    return _worker.fit_cell(cell)


def pool(
    dataset: xr.Dataset,
    config: BenchmarkConfig,
    folder: Path,
    jobs: int,
    expression: pd.DataFrame | None = None,
) -> AbstractContextManager[ProcessPoolExecutor]:
    """Start processes that know the data; see `worker_processes`."""
    threads = config.threads or max(1, available_cores() // jobs)
    return worker_processes(jobs, _begin, (dataset, config, folder, threads, expression))


def fit_encoders(executor: ProcessPoolExecutor, cells: Sequence[Cell], jobs: int) -> None:
    """Fit the encoder of each of these cells.

    Raises
    ------
    SimpleChromeError
        That of the first encoder that cannot be fitted: nothing could be compared with it.
    """
    _fill(executor, _fit_encoder, cells, jobs, "encoders", _encoder_cost, raise_first=True)


def fit_cells(executor: ProcessPoolExecutor, cells: Sequence[Cell], jobs: int) -> None:
    """Fit these cells.

    Raises
    ------
    TrainingError
        If some could not be fitted; all others are.
    """
    _fill(executor, _fit_cell, cells, jobs, "cells", lambda cell: cell.cost, raise_first=False)


def _encoder_cost(cell: Cell) -> tuple[str, int | None]:
    return cell.model.representation, None


def _fill(
    executor: ProcessPoolExecutor,
    work: Callable[[Cell], float],
    cells: Sequence[Cell],
    jobs: int,
    what: str,
    cost: Callable[[Cell], Any],
    *,
    raise_first: bool,
) -> None:
    if not cells:
        return
    futures: dict[Future[float], Cell] = {executor.submit(work, cell): cell for cell in cells}
    failed: list[tuple[Cell, SimpleChromeError]] = []
    with _Progress(cells, jobs, what, cost) as progress:
        for future in as_completed(futures):
            cell = futures[future]
            try:
                seconds = future.result()
            except BrokenProcessPool:
                raise TrainingError(
                    "A process of the benchmark was killed.",
                    found=f"while {len(cells) - progress.done} of {len(cells)} {what} were left",
                    expected="processes that end by themselves",
                    cause="too little memory, most often",
                    remedy="pass fewer --jobs, and --resume: what is done is kept",
                ) from None
            except SimpleChromeError as error:
                if raise_first:
                    raise
                failed.append((cell, error))
                seconds = 0.0
            progress.advance(cell, seconds)
    if failed:
        cell, first = failed[0]
        raise TrainingError(
            f"{len(failed)} of {len(cells)} cells could not be fitted; the others are kept.",
            found=f"{cell.model.name} with {cell.n_labels or 'all'} labels, draw {cell.draw}: "
            + first.problem,
            expected="scores of every cell",
            remedy="leave the model out or change its settings, and call again with --resume",
        )


class _Progress:
    """A bar on a terminal, a line a minute in a log file; both with the time left.

    Cells of one kind take about as long as each other, cells of two kinds may differ a
    thousandfold, so the time left is counted by kind.
    """

    def __init__(
        self, cells: Sequence[Cell], jobs: int, what: str, cost: Callable[[Cell], Any]
    ) -> None:
        self.jobs, self.what, self.cost = jobs, what, cost
        self.total, self.done = len(cells), 0
        self.left: dict[Any, int] = defaultdict(int)
        for cell in cells:
            self.left[cost(cell)] += 1
        self.taken: dict[Any, list[float]] = defaultdict(list)
        self.said = time.monotonic()
        quiet = not (sys.stderr.isatty() and log.isEnabledFor(logging.INFO))
        self.bar = tqdm(
            total=self.total,
            disable=quiet,
            leave=False,
            desc=what,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]",
        )

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def advance(self, cell: Cell, seconds: float) -> None:
        """Count a finished cell."""
        self.done += 1
        kind = self.cost(cell)
        self.left[kind] -= 1
        self.taken[kind].append(seconds)
        self.bar.set_postfix_str(f"{cell.model.name}, {self.time_left()}")
        self.bar.update()
        if self.bar.disable and time.monotonic() - self.said > _SAID_EVERY:
            self.said = time.monotonic()
            log.info("%d of %d %s, %s", self.done, self.total, self.what, self.time_left())

    def time_left(self) -> str:
        """How long will the rest take? Kinds of which no cell is done yet are not counted."""
        means = {kind: sum(taken) / len(taken) for kind, taken in self.taken.items()}
        seconds = sum(n * means[kind] for kind, n in self.left.items() if kind in means) / self.jobs
        unknown = any(n for kind, n in self.left.items() if kind not in means)
        if seconds < 90:
            text = f"{seconds:.0f} s left"
        elif seconds < 5400:
            text = f"{seconds / 60:.0f} min left"
        else:
            text = f"{seconds / 3600:.1f} h left"
        return f"at least {text}" if unknown else text
