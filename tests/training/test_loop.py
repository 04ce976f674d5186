"""The training loop, on a line through the origin whose losses can be computed by hand."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from safetensors.torch import load_file
from torch import nn

from simplechrome.errors import TrainingError
from simplechrome.training import loop
from simplechrome.training.checkpoint import State
from simplechrome.training.loop import (
    TrainingResult,
    _relative_rate,
    make_accelerator,
    seeded,
    train,
)
from simplechrome.training.settings import TrainingSettings


def line(weight: float = 0.0) -> nn.Linear:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, weight)
    return module


def squared_error(module: nn.Module, batch: tuple, warmth: float) -> dict[str, torch.Tensor]:
    x, y = batch
    return {"loss": (module(x).flatten() - y).square().mean()}


def rows(x: list[float], y: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(x, dtype=torch.float32).unsqueeze(1), torch.tensor(y, dtype=torch.float32)


def settings(**changed: object) -> TrainingSettings:
    defaults = {"epochs": 5, "batch_size": 2, "learning_rate": 0.1, "weight_decay": 0.0}
    return TrainingSettings(**{**defaults, "device": "cpu", **changed})  # type: ignore[arg-type]


def test_loss_is_the_mean_over_rows_whatever_the_last_batch() -> None:
    # Without learning the prediction stays 0: the losses are 1, 1 and 16, their mean 6. The mean
    # over the two batches would be 8.5 or 4.75.
    result = train(line(), squared_error, rows([1, 1, 1], [1, 1, 4]), settings(learning_rate=0.0))
    assert [row["train_loss"] for row in result.history] == pytest.approx([6.0] * 5)


def test_validation_loss_is_the_mean_over_rows() -> None:
    # Validation goes in blocks of 4 × batch_size = 4: here 4, 4 and 1 rows. (8 × 1 + 10²) / 9 = 12
    held_out = rows([1] * 9, [1] * 8 + [10])
    once = settings(learning_rate=0.0, batch_size=1, epochs=1)
    result = train(line(), squared_error, rows([1], [0]), once, validation=held_out)
    assert result.history[0]["validation_loss"] == pytest.approx(12)


def test_parts_of_the_validation_loss_are_in_the_history() -> None:
    def loss(module: nn.Module, batch: tuple, warmth: float) -> dict[str, torch.Tensor]:
        whole = squared_error(module, batch, warmth)["loss"]
        return {"loss": whole + 3, "error": whole, "penalty": torch.tensor(3.0)}

    one = rows([1], [2])  # error 4, penalty 3
    result = train(line(), loss, one, settings(learning_rate=0.0, epochs=1), validation=one)
    assert result.history == [
        {"epoch": 1, "train_loss": 7, "validation_loss": 7, "error": 4, "penalty": 3}
    ]


def towards_two(
    slope: float = 1.0, folder: Path | None = None, **changed: object
) -> tuple[nn.Linear, TrainingResult]:
    """Training pulls the slope from 0 to 2 in steps of about .1; validation wants another."""
    module, data, held_out = line(), rows([1, 1], [2, 2]), rows([1], [slope])
    until = settings(**{"epochs": 40, "patience": 3, **changed})
    return module, train(
        module, squared_error, data, until, validation=held_out, checkpoints=folder
    )


def test_early_stopping_keeps_the_best_weights() -> None:
    module, result = towards_two()
    losses = [row["validation_loss"] for row in result.history]
    assert result.best_epoch == losses.index(min(losses)) + 1
    assert 5 < result.best_epoch < 15  # a slope of 1 after about ten steps of .1
    assert (module.weight.item() - 1) ** 2 == pytest.approx(min(losses), abs=1e-6)
    assert len(losses) == result.best_epoch + 3


def test_without_validation_the_last_epoch_counts() -> None:
    module = line()
    result = train(module, squared_error, rows([1, 1], [2, 2]), settings(epochs=7))
    assert (result.best_epoch, len(result.history)) == (7, 7)
    assert "validation_loss" not in result.history[0]


def test_no_epoch_of_the_warm_up_is_the_best() -> None:
    # Validation wants the slope 0, where training starts: the first epoch would be the best.
    _, result = towards_two(slope=0.0, warm_up=4)
    losses = [row["validation_loss"] for row in result.history]
    assert losses[0] == min(losses)
    assert result.best_epoch == 5


def test_warmth_rises_over_the_warm_up_and_is_one_when_validating() -> None:
    seen: dict[bool, list[float]] = {True: [], False: []}

    def loss(module: nn.Module, batch: tuple, warmth: float) -> dict[str, torch.Tensor]:
        seen[module.training].append(warmth)
        return squared_error(module, batch, warmth)

    data = rows([1, 1, 1, 1], [1, 1, 1, 1])
    train(line(), loss, data, settings(epochs=3, warm_up=2), validation=data)
    # Two steps an epoch, two epochs: quarters.
    assert seen[True] == [0, 0.25, 0.5, 0.75, 1, 1]
    assert seen[False] == [1, 1, 1]


def test_loss_that_is_not_finite_stops_with_a_clear_error() -> None:
    with pytest.raises(TrainingError, match=r"epoch 1: the loss is not finite") as caught:
        train(line(), squared_error, rows([1], [float("nan")]), settings())
    assert "learning rate" in str(caught.value)
    assert "nan" in caught.value.problem

    with pytest.raises(TrainingError, match="validation_loss inf"):
        # (2 × 1e30)² is more than float32 holds.
        train(line(2.0), squared_error, rows([1], [2]), settings(), validation=rows([1e30], [0]))


def noisy(seed: int) -> float:
    with seeded(seed):
        module = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        train(module, squared_error, rows([1, 2, 3, 4], [2, 4, 6, 8]), settings(seed=seed))
        return module(torch.ones(1, 1)).item()


def test_same_seed_gives_the_same_bits_and_another_seed_other_weights() -> None:
    assert noisy(3) == noisy(3)
    assert noisy(3) != noisy(4)


def test_order_changes_from_epoch_to_epoch() -> None:
    orders: list[tuple] = []

    def loss(module: nn.Module, batch: tuple, warmth: float) -> dict[str, torch.Tensor]:
        orders.append(tuple(batch[1].tolist()))
        return squared_error(module, batch, warmth)

    values = [float(k) for k in range(8)]
    train(line(), loss, rows(values, values), settings(epochs=3, batch_size=8))
    assert len(set(orders)) == 3
    assert {tuple(sorted(order)) for order in orders} == {tuple(values)}


def test_seeded_leaves_random_state_and_threads_as_found() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()

    def fail_inside() -> None:
        with seeded(1, threads=threads + 1):
            assert torch.get_num_threads() == threads + 1
            torch.rand(3)
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        fail_inside()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_gradients_are_clipped() -> None:
    module = line()  # the gradient at 0 is -2 × 1000 × 1000
    train(module, squared_error, rows([1e3], [1e3]), settings(epochs=1, max_gradient_norm=0.5))
    assert module.weight.grad is not None
    assert module.weight.grad.norm().item() == pytest.approx(0.5, rel=1e-3)


def test_cosine_rises_over_a_tenth_and_falls_to_nothing() -> None:
    # 100 steps: the tenth step is at the full rate, half way down (step 10 + 45) at a half.
    rates = [_relative_rate("cosine", 100, step) for step in (0, 9, 10, 55, 99)]
    assert rates == pytest.approx([0.1, 1, 1, 0.5, 0], abs=1e-3)


def test_checkpoints_hold_the_best_and_the_last_weights(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "checkpoints"
    module, _ = towards_two(folder=folder)
    best = load_file(folder / "best.safetensors")["weight"].item()
    last = load_file(folder / "last.safetensors")["weights/weight"].item()
    assert best == module.weight.item()
    assert last > best  # three more steps towards 2
    assert len(list(folder.iterdir())) == 2


def test_quick_epochs_are_kept_once_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same files as with a checkpoint after each epoch."""
    written = []
    honest = loop.write_state

    def count(folder: Path, state: State) -> None:
        written.append(len(state.progress.history))
        honest(folder, state)

    monkeypatch.setattr(loop, "write_state", count)
    for name, seconds in (("each", 0.0), ("few", 3600.0)):
        monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", seconds)
        with seeded(0):
            towards_two(folder=tmp_path / name, epochs=6, patience=2)
    n_epochs = max(written)
    assert written == [*range(1, n_epochs + 1), n_epochs]
    for file in ("best.safetensors", "last.safetensors"):
        assert (tmp_path / "few" / file).read_bytes() == (tmp_path / "each" / file).read_bytes()


def interrupted(in_epoch: int, **changed: object) -> tuple[nn.Linear, TrainingResult]:
    """Ctrl-C comes in the middle of an epoch."""
    calls = 0

    def loss(module: nn.Module, batch: tuple, warmth: float) -> dict[str, torch.Tensor]:
        nonlocal calls
        calls += module.training
        if calls == in_epoch:
            raise KeyboardInterrupt
        return squared_error(module, batch, warmth)

    module, data = line(), rows([1, 1], [2, 2])
    return module, train(module, loss, data, settings(**changed), validation=data)


def test_interrupt_keeps_the_best_epoch_so_far(caplog: pytest.LogCaptureFixture) -> None:
    module, result = interrupted(in_epoch=3)
    assert result.interrupted
    assert (len(result.history), result.best_epoch) == (2, 2)
    assert (module.weight.item() - 2) ** 2 == pytest.approx(result.history[1]["validation_loss"])
    assert not module.training
    assert "keeping the best epoch so far (2)" in caplog.text


def test_interrupt_in_the_warm_up_keeps_the_last_epoch() -> None:
    module, result = interrupted(in_epoch=3, warm_up=4)
    assert (result.interrupted, result.best_epoch) == (True, 2)
    assert module.weight.item() > 0


def test_interrupt_in_the_first_epoch_goes_on_to_the_caller(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(in_epoch=1)
    assert "first epoch" in caplog.text


def test_unknown_device_says_which_there_are() -> None:
    with pytest.raises(TrainingError, match="device 'abacus' is not available") as caught:
        make_accelerator(settings(device="abacus"))
    assert "cpu" in caught.value.problem


def test_device_may_change_within_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder on a GPU, then a predictor on the CPU; Accelerate itself refuses that."""
    make_accelerator(settings())
    # As if the first model had trained on a GPU.
    monkeypatch.setitem(AcceleratorState._shared_state, "device", torch.device("meta"))
    monkeypatch.setitem(PartialState._shared_state, "device", torch.device("meta"))
    assert make_accelerator(settings()).device.type == "cpu"
    monkeypatch.undo()
    AcceleratorState._reset_state(reset_partial_state=True)


def test_each_epoch_is_one_line_where_there_is_no_terminal(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, "simplechrome"):
        train(line(), squared_error, rows([1], [1]), settings(epochs=3), name="toy")
    lines = [record.getMessage() for record in caplog.records]
    assert [text.split(":")[0] for text in lines] == [f"toy epoch {k}" for k in (1, 2, 3)]
    assert "train_loss 1" in lines[0]
    assert capsys.readouterr() == ("", "")
