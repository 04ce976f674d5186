"""A training that was stopped anywhere goes on to the same bits."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from simplechrome.errors import ModelFormatError, ModelMismatchError
from simplechrome.training.checkpoint import BEST, LAST, read_state, write_state
from simplechrome.training.loop import TrainingResult, seeded, train
from simplechrome.training.settings import TrainingSettings

ROWS = 11
SETTINGS = TrainingSettings(
    epochs=6, batch_size=4, learning_rate=0.05, patience=3, warm_up=1, schedule="cosine",
    device="cpu", threads=1,
)  # fmt: skip
STEPS = 6 * 3  # 11 rows in batches of 4, 4 and 3


class Killed(BaseException):
    """Stands for the end of the process: nobody catches it."""


def data(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(ROWS, 3, 1, 5, generator=generator)
    return x, x.mean(dim=(1, 2, 3)) + 0.1 * torch.randn(ROWS, generator=generator)


def run(
    folder: Path | None, *, stop_at: int | None = None, resume: bool = False, **changed: object
) -> tuple[dict[str, torch.Tensor], TrainingResult]:
    """Noise, dropout and channels-last weights, as the models here have; ends before a step."""
    steps: Iterator[int] = itertools.count()

    def loss(module: nn.Module, batch: tuple, warmth: float) -> dict[str, torch.Tensor]:
        x, y = batch
        if module.training and next(steps) == stop_at:
            raise Killed
        return {"loss": (module(x + 0.1 * torch.randn_like(x)).flatten() - y).square().mean()}

    with seeded(0, 1):
        layers = (nn.Conv2d(3, 4, (1, 3)), nn.Dropout(0.3), nn.Flatten(), nn.Linear(12, 1))
        module = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        result = train(
            module,
            loss,
            data(),
            TrainingSettings(**{**SETTINGS.__dict__, **changed}),
            validation=data(1),
            checkpoints=folder,
            resume=resume,
        )
    return module.state_dict(), result


@pytest.fixture(scope="module")
def undisturbed() -> tuple[dict[str, torch.Tensor], TrainingResult]:
    return run(None)


@settings(max_examples=12)
@given(stops=st.lists(st.integers(0, STEPS), max_size=4))
def test_training_stopped_anywhere_ends_with_the_same_bits(
    stops: list[int],
    tmp_path_factory: pytest.TempPathFactory,
    undisturbed: tuple[dict[str, torch.Tensor], TrainingResult],
) -> None:
    folder = tmp_path_factory.mktemp("checkpoints")
    for stop in stops:
        with contextlib.suppress(Killed):
            run(folder, stop_at=stop, resume=True)
    weights, result = run(folder, resume=True)
    assert result == undisturbed[1]
    for name, value in undisturbed[0].items():
        assert torch.equal(weights[name], value), name


def test_finished_training_is_not_repeated(tmp_path: Path) -> None:
    weights, result = run(tmp_path)
    again, repeated = run(tmp_path, resume=True, stop_at=0)
    assert repeated == result
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    with pytest.raises(Killed):  # without `resume` it starts again
        run(tmp_path, stop_at=0)


@pytest.mark.parametrize("changed", [{"learning_rate": 0.1}, {"batch_size": 5}, {"epochs": 7}])
def test_other_settings_are_refused(tmp_path: Path, changed: dict) -> None:
    run(tmp_path)
    with pytest.raises(ModelMismatchError, match="another training"):
        run(tmp_path, resume=True, **changed)


def test_other_number_of_threads_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path)
    state = read_state(tmp_path)
    assert state is not None
    write_state(tmp_path, state._replace(progress=state.progress._replace(threads=64)))
    with caplog.at_level(logging.WARNING):
        run(tmp_path, resume=True)
    assert "began with 64 CPU threads and resumes with 1" in caplog.text


def test_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    held = (tmp_path / LAST).read_bytes()
    (tmp_path / LAST).write_bytes(held[:-7])
    with pytest.raises(ModelFormatError, match="not a whole checkpoint"):
        run(tmp_path, resume=True)
    (tmp_path / LAST).write_bytes(b"")
    with pytest.raises(ModelFormatError, match="not a whole checkpoint"):
        read_state(tmp_path)


def test_nothing_to_go_on_from_is_a_beginning(tmp_path: Path) -> None:
    assert read_state(tmp_path / "nowhere") is None
    _, result = run(tmp_path / "new", resume=True)
    assert len(result.history) >= 1
    assert (tmp_path / "new" / BEST).is_file()
