"""Fixtures that many tests share: small simulated data, and the real data where they are."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# As the command line does, and before torch loads: threads that wait by spinning made a fit of
# 2 s last 37 s on a machine with other work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A slow example is a busy machine here, not a fault.
settings.register_profile(
    "shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared machine")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data, or a skip that says where it was looked for."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SIMPLECHROME_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; SIMPLECHROME_TEST_DATA can name another folder")
    return folder


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Toy networks are slower on two threads, and much slower where the cores are shared."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def _checkpoint_after_each_epoch() -> Iterator[None]:
    """Toy networks train for less than the time between two checkpoints."""
    from simplechrome.training import loop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
        yield


@pytest.fixture(autouse=True, scope="session")
def _tracks_are_read_in_this_process() -> Iterator[None]:
    """A new process takes seconds; small files that tests write are whole."""
    from simplechrome.dataset.building import track_plan

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(track_plan, "ISOLATE", False)
        yield


@pytest.fixture(autouse=True)
def _library_logging() -> None:
    """Begin with the logger as the library has it, whatever a command line did to it before."""
    logger = logging.getLogger("simplechrome")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)
