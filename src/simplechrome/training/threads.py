"""How many CPU threads PyTorch uses, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def cpu_threads(threads: int | None) -> Iterator[None]:
    """Run with so many, and set back afterwards; None leaves PyTorch's own number.

    On cores that others use as well, more than one thread may be ten times slower: threads wait
    for each other spinning.
    """
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
