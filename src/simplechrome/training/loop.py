"""The training loop. It knows a module and a loss, and nothing of windows or genes."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from safetensors.torch import save_file
from tqdm.auto import tqdm

from simplechrome.atomic import whole_file
from simplechrome.errors import TrainingError
from simplechrome.training.settings import TrainingSettings

log = logging.getLogger(__name__)

Batch = tuple[torch.Tensor, ...]
Parts = dict[str, torch.Tensor]
Loss = Callable[[torch.nn.Module, Batch, float], Parts]
"""(module, batch, warmth) → named parts, each a mean per row; the part `loss` is minimized.

Warmth rises from 0 to 1 over the warm-up and is 1 when validating."""


class TrainingResult(NamedTuple):
    """What a training came to.

    history : one mapping per epoch: epoch, train_loss, validation_loss, parts of the latter
    best_epoch : the epoch whose weights the module now has, from 1; the last, if none was better
    interrupted : stopped by Ctrl-C
    """

    history: list[dict[str, float]]
    best_epoch: int
    interrupted: bool


@contextmanager
def seeded(seed: int, threads: int | None = None) -> Iterator[None]:
    """Run with PyTorch's random state and threads set, and set them back afterwards."""
    before = torch.get_num_threads()
    with torch.random.fork_rng():
        torch.manual_seed(int(seed))
        if threads is not None:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def devices() -> list[str]:
    """Which devices can be asked for here, the fastest first?"""
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    return [name for name, has in there.items() if has]


def make_accelerator(settings: TrainingSettings) -> Accelerator:
    """On which device does training run?

    Raises
    ------
    TrainingError
        If the device that was asked for is not there.
    """
    there = devices()
    wanted = there[0] if settings.device == "auto" else settings.device
    if wanted not in there:
        raise TrainingError(
            f"There is no device {settings.device!r} here.",
            found=", ".join(["auto", *there]),
            expected=settings.device,
            remedy="--device auto, or install a build of PyTorch for this device",
        )
    # Accelerate keeps the first device for the whole process and refuses another, but an encoder
    # on the GPU may be followed by a predictor on the CPU.
    if PartialState._shared_state:
        state = PartialState()
        if state.num_processes == 1 and state.device.type != wanted:
            AcceleratorState._reset_state(reset_partial_state=True)
    # Precision is set by autocast below, not here: Accelerate keeps it for the whole process,
    # and two models of one process may differ in it.
    return Accelerator(cpu=settings.device == "cpu", mixed_precision="no")


def _batches(n: int, size: int, order: torch.Tensor) -> Iterator[torch.Tensor]:
    for start in range(0, n, size):
        yield order[start : start + size]


def _relative_rate(schedule: str, steps: int, step: int) -> float:
    """Share of the full learning rate at this step."""
    if schedule == "constant":
        return 1.0
    rise = max(1, steps // 10)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


class _Training:
    """The state of one training; its methods are the steps of `train`."""

    def __init__(
        self,
        module: torch.nn.Module,
        loss: Loss,
        rows: Batch,
        validation: Batch | None,
        settings: TrainingSettings,
    ) -> None:
        self.settings, self.loss = settings, loss
        self.accelerator = make_accelerator(settings)
        optimizer = torch.optim.AdamW(
            module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.module, self.optimizer = self.accelerator.prepare(module, optimizer)
        steps = settings.epochs * math.ceil(
            len(rows[0]) / settings.batch_size / self.accelerator.num_processes
        )
        self.rate_of = partial(_relative_rate, settings.schedule, steps)
        self.steps_done = 0
        device = self.accelerator.device
        # The whole set fits any device (18,421 windows: 37 MB), so batches are cut there rather
        # than collated row by row by a DataLoader.
        self.rows = tuple(tensor.to(device) for tensor in rows)
        self.validation = (
            None if validation is None else tuple(tensor.to(device) for tensor in validation)
        )
        self.order = torch.Generator().manual_seed(int(settings.seed))
        self.history: list[dict[str, float]] = []
        self.best_loss, self.best_epoch = math.inf, 0
        self.best_weights: dict[str, torch.Tensor] = {}

    def parts(self, batch: Batch, warmth: float) -> Parts:
        bf16 = self.settings.precision == "bfloat16"
        with torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=bf16):
            return self.loss(self.module, batch, warmth)

    def weights(self) -> dict[str, torch.Tensor]:
        state = self.accelerator.unwrap_model(self.module).state_dict()
        return {
            # Channels-last weights are strided, and safetensors takes plain ones only.
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, value in state.items()
        }

    def fit_epoch(self, epoch: int, advance: Callable[[int], object]) -> float:
        """Go once over all rows in a new order; returns the mean loss per row."""
        self.module.train()
        n = len(self.rows[0])
        # All processes draw the same order; each takes every k-th batch of it.
        order = torch.randperm(n, generator=self.order).to(self.accelerator.device)
        batches = list(_batches(n, self.settings.batch_size, order))
        here, of = self.accelerator.process_index, self.accelerator.num_processes
        total = torch.zeros((), device=self.accelerator.device)
        seen = 0
        for step, index in enumerate(batches[here::of] if of > 1 else batches):
            done = (epoch - 1) + (step * of) / len(batches)
            warmth = min(1.0, done / self.settings.warm_up) if self.settings.warm_up else 1.0
            batch = tuple(tensor[index] for tensor in self.rows)
            loss = self.parts(batch, warmth)["loss"]
            self.optimizer.zero_grad()
            self.accelerator.backward(loss)
            self.accelerator.clip_grad_norm_(
                self.module.parameters(), self.settings.max_gradient_norm
            )
            for group in self.optimizer.param_groups:
                group["lr"] = self.settings.learning_rate * self.rate_of(self.steps_done)
            self.optimizer.step()
            self.steps_done += 1
            total += loss.detach() * len(index)
            seen += len(index)
            advance(len(index))
        return float(total) / max(seen, 1)

    @torch.no_grad()
    def validate(self, rows: Batch) -> dict[str, float]:
        """Mean of each part of the loss per row, with the same noise in every epoch."""
        self.module.eval()
        totals: dict[str, float] = {}
        n = len(rows[0])
        # Else a lucky draw of the noise would choose the epoch.
        with seeded(self.settings.seed):
            for index in _batches(n, 4 * self.settings.batch_size, torch.arange(n)):
                for name, value in self.parts(tuple(t[index] for t in rows), 1.0).items():
                    totals[name] = totals.get(name, 0.0) + float(value) * len(index) / n
        return totals

    def record(self, epoch: int, train_loss: float) -> dict[str, float]:
        row = {"epoch": float(epoch), "train_loss": train_loss}
        if self.validation is not None:
            parts = self.validate(self.validation)
            row["validation_loss"] = parts.pop("loss")
            row.update(parts)
        if not all(math.isfinite(value) for value in row.values()):
            raise TrainingError(
                f"Training broke down in epoch {epoch}: the loss is not finite.",
                found=", ".join(f"{name} {value:g}" for name, value in row.items()),
                cause="a learning rate that is too high, or values far outside the usual range",
                remedy="lower the learning rate; look at the data with `simplechrome inspect`",
            )
        self.history.append(row)
        deciding = row.get("validation_loss", -epoch)  # without validation the last is the best
        if epoch > self.settings.warm_up and deciding < self.best_loss:
            self.best_loss, self.best_epoch = deciding, epoch
            self.best_weights = self.weights()
        return row

    def finished(self, epoch: int) -> bool:
        return bool(self.best_epoch) and epoch - self.best_epoch >= self.settings.patience


def _write_checkpoints(folder: Path, training: _Training) -> None:
    for name, weights in (("best", training.best_weights), ("last", training.weights())):
        if weights:
            with whole_file(folder / f"{name}.safetensors") as path:
                save_file(weights, path)


def _say(name: str, row: dict[str, float], bar: tqdm) -> None:
    """On a terminal the bar shows the losses; in a log file each epoch is one line."""
    losses = {key: f"{value:.4g}" for key, value in row.items() if key != "epoch"}
    bar.set_postfix(losses)
    if bar.disable:
        text = ", ".join(f"{key} {value}" for key, value in losses.items())
        log.info("%s epoch %d: %s", name, row["epoch"], text)


def train(
    module: torch.nn.Module,
    loss: Loss,
    rows: Sequence[torch.Tensor],
    settings: TrainingSettings,
    *,
    validation: Sequence[torch.Tensor] | None = None,
    checkpoints: str | Path | None = None,
    name: str = "training",
) -> TrainingResult:
    """Which weights make the loss small on rows that were not trained on?

    Call it, and make the module, inside `seeded` for a result that can be repeated. On return
    the module has the weights of the best epoch and is on the CPU.

    Parameters
    ----------
    module
        Any module.
    loss
        See `Loss`.
    rows, validation
        Tensors whose first dimension is the row. Without validation the last epoch counts.
    settings
        See `TrainingSettings`.
    checkpoints
        Folder for `best.safetensors` and `last.safetensors`, written after each epoch.
    name
        For the progress bar and the log.

    Raises
    ------
    TrainingError
        If the loss is not finite, or the device is missing.
    KeyboardInterrupt
        If Ctrl-C came before the first epoch had ended. Later, training stops and keeps the best.
    """
    held_out = None if validation is None else tuple(validation)
    training = _Training(module, loss, tuple(rows), held_out, settings)
    interrupted = False
    total = settings.epochs * len(rows[0])
    quiet = not (sys.stderr.isatty() and log.isEnabledFor(logging.INFO))
    with tqdm(total=total, desc=name, unit="rows", disable=quiet, leave=False) as bar:
        try:
            for epoch in range(1, settings.epochs + 1):
                row = training.record(epoch, training.fit_epoch(epoch, bar.update))
                _say(name, row, bar)
                if checkpoints is not None and training.accelerator.is_main_process:
                    _write_checkpoints(Path(checkpoints), training)
                if training.finished(epoch):
                    break
        except KeyboardInterrupt:
            if not training.history:
                log.warning("%s was interrupted in its first epoch: there is nothing to keep", name)
                raise
            interrupted = True
    best_epoch = training.best_epoch or len(training.history)
    if interrupted:
        log.warning("Interrupted: keeping the best epoch so far (%d)", best_epoch)
    plain = training.accelerator.unwrap_model(training.module)
    plain.load_state_dict(training.best_weights or training.weights())
    plain.to("cpu").eval()
    return TrainingResult(training.history, best_epoch, interrupted)
