"""Worker processes that end with their parent, and the log lines that they return."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

_LIBRARY = "simplechrome"


class LoggedLine(NamedTuple):
    """One line of the log, as it can be sent between processes."""

    logger: str
    level: int
    text: str


class _Memory(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.lines: list[LoggedLine] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(LoggedLine(record.name, record.levelno, record.getMessage()))


@contextmanager
def remembered(level: int = logging.INFO) -> Iterator[list[LoggedLine]]:
    """Yield a list that gathers what the library logs in this block, from this level up."""
    logger, memory = logging.getLogger(_LIBRARY), _Memory(level)
    before = logger.level
    logger.addHandler(memory)
    logger.setLevel(min(level, logger.getEffectiveLevel()))
    try:
        yield memory.lines
    finally:
        logger.setLevel(before)
        logger.removeHandler(memory)


def relay(lines: Iterable[LoggedLine]) -> None:
    """Log here what was logged in another process."""
    for line in lines:
        logging.getLogger(line.logger).log(line.level, "%s", line.text)


def available_cores() -> int:
    """Return the number of cores on which this process may run."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def worker_processes(
    jobs: int, begin: Callable[..., object] | None = None, arguments: tuple = ()
) -> Iterator[ProcessPoolExecutor]:
    """Start processes that end with this one, whatever ends it.

    They are killed where the block is left by an error or Ctrl-C: only the tasks that they were
    working on are lost.

    Parameters
    ----------
    jobs
        How many.
    begin, arguments
        Called in each process before its first task.
    """
    executor = ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),  # forks of a process with threads hang
        initializer=_begin,
        initargs=(os.getpid(), begin, arguments),
    )
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.kill()
        raise
    executor.shutdown()


def _begin(parent: int, begin: Callable[..., object] | None, arguments: tuple) -> None:
    # Ctrl-C goes to the whole group; the parent decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:  # A parent killed by SIGKILL cannot stop its children.
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    # Warnings are returned by `remembered` and logged by the parent.
    logger = logging.getLogger(_LIBRARY)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    if begin is not None:
        begin(*arguments)
