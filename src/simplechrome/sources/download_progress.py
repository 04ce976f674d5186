"""How far is it, how fast, and how long will it take? A bar on a terminal, a line now and then
elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from tqdm.auto import tqdm

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30.0


def size_text(n_bytes: int) -> str:
    """How would somebody say this number of bytes? 3,012,345,678 → 3.0 GB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.1f} {unit}"
    return f"{n_bytes} bytes"


def _time_text(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Progress:
    """The state of one pass over some bytes, told on stderr while it is open.

    Parameters
    ----------
    what
        The file's name and what happens to it.
    total
        Bytes in all; None if unknown.
    start
        Bytes that are there already; they do not count for the rate.
    """

    def __init__(self, what: str, total: int | None, start: int = 0) -> None:
        self._what = what
        self._total = total
        self._position = start
        self._counted = 0
        self._began = self._told = time.monotonic()
        on_terminal = sys.stderr.isatty() and logger.isEnabledFor(logging.INFO)
        self._bar = tqdm(
            total=total,
            initial=start,
            desc=what,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=not on_terminal,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def add(self, n_bytes: int) -> None:
        """Say that so many more bytes are done."""
        self._position += n_bytes
        self._counted += n_bytes
        self._bar.update(n_bytes)
        now = time.monotonic()
        if self._bar.disable and now - self._told >= SECONDS_BETWEEN_LINES:
            self._told = now
            logger.info("%s: %s", self._what, self._line(now))

    def move_to(self, position: int, total: int | None) -> None:
        """Say that the work goes on at another byte, as after a restart from 0."""
        self._position, self._total = position, total
        if not self._bar.disable:
            self._bar.n, self._bar.total = position, total
            self._bar.refresh()

    def _line(self, now: float) -> str:
        rate = self._counted / (now - self._began)
        if self._total is None:
            return f"{size_text(self._position)}, {size_text(int(rate))}/s"
        left = (self._total - self._position) / rate if rate else 0.0
        return (
            f"{100 * self._position / max(self._total, 1):.0f} % of {size_text(self._total)}, "
            f"{size_text(int(rate))}/s, {_time_text(left)} left"
        )
