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
from multiprocessing.context import BaseContext
from typing import NamedTuple

from simplechrome.errors import ConfigError

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
def remembered(level: int = logging.INFO, *, silent: bool = False) -> Iterator[list[LoggedLine]]:
    """Yield a list that gathers what the library logs in this block, from this level up.

    With `silent` it is logged nowhere else.
    """
    logger, memory = logging.getLogger(_LIBRARY), _Memory(level)
    before = logger.level, logger.propagate, logger.handlers
    if silent:
        logger.handlers, logger.propagate = [], False
    logger.handlers = [*logger.handlers, memory]
    logger.setLevel(min(level, logger.getEffectiveLevel()))
    try:
        yield memory.lines
    finally:
        logger.setLevel(before[0])
        logger.propagate, logger.handlers = before[1:]


def end_if_starting() -> None:
    """End this process if it is a worker that runs a script's call instead of starting.

    That happens where a script has no main guard; the parent reports it.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit(1)


def _require_start(context: BaseContext) -> None:
    """Raise `ConfigError` if no process can start.

    Tried without arguments: the pipe of a worker that dies before it reads large ones blocks.
    """
    probe = context.Process(target=available_cores)  # type: ignore[attr-defined]
    probe.start()
    probe.join()
    if probe.exitcode:
        raise ConfigError(
            "Worker processes cannot start: each runs the calling script first, and ended in it.",
            'put the call in the script below `if __name__ == "__main__":`, or pass jobs=1',
        )


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

    Raises
    ------
    ConfigError
        If processes cannot start, as in a script without a main guard.
    """
    end_if_starting()
    context = multiprocessing.get_context("spawn")  # forks of a process with threads hang
    _require_start(context)
    executor = ProcessPoolExecutor(
        jobs,
        mp_context=context,
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
