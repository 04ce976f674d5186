"""What the library says in another process, said in this one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

_LIBRARY = "simplechrome"


class LoggedLine(NamedTuple):
    """One line of the log: who said it, how loud, and what."""

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
    """What does the library say in this block, from this level up?"""
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
    """Say what was remembered elsewhere."""
    for line in lines:
        logging.getLogger(line.logger).log(line.level, "%s", line.text)
