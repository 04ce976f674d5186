"""The training loop: of any module and loss, without reference to windows or genes."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from tqdm.auto import tqdm

from simplechrome.errors import ModelMismatchError, TrainingError
from simplechrome.training.checkpoint import (
    Progress,
    State,
    describe_task,
    optimizer_arrays,
    read_state,
    restore_optimizer,
    write_state,
)
from simplechrome.training.settings import TrainingSettings

log = logging.getLogger(__name__)

SECONDS_BETWEEN_CHECKPOINTS = 1.0

Batch = tuple[torch.Tensor, ...]
Parts = dict[str, torch.Tensor]
Loss = Callable[[torch.nn.Module, Batch, float], Parts]
"""(module, batch, warmth) → named parts, each a mean per row; the part `loss` is minimized.

Warmth rises from 0 to 1 over the warm-up and is 1 when validating."""


class TrainingResult(NamedTuple):
    """Result of a training.

    history : one mapping per epoch: epoch, train_loss, validation_loss, parts of the latter
    best_epoch : the epoch whose weights the module now has, from 1; the last, if none was better
    interrupted : stopped by Ctrl-C
    """

    history: list[dict[str, float]]
    best_epoch: int
    interrupted: bool


@contextmanager
def cpu_threads(threads: int | None) -> Iterator[None]:
    """Run with this number of CPU threads, and restore it afterwards; None changes nothing.

    On shared cores more than one thread may be ten times slower: threads wait for each other.
    """
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(seed: int, threads: int | None = None) -> Iterator[None]:
    """Run with PyTorch's random state and threads set, and set them back afterwards."""
    with torch.random.fork_rng(), cpu_threads(threads):
        # As `torch.manual_seed`, which also prepares devices that are not there: a fifth of the
        # time of small networks.
        torch.default_generator.manual_seed(int(seed))
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(int(seed))
        if torch.backends.mps.is_available():
            torch.mps.manual_seed(int(seed))
        yield


def devices() -> list[str]:
    """Return the devices that are available, the fastest first."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [*(name for name, has in there.items() if has), "cpu"]


def make_accelerator(settings: TrainingSettings) -> Accelerator:
    """Return an accelerator for the device of the settings; a TrainingError if it is missing."""
    there = devices()
    wanted = there[0] if settings.device == "auto" else settings.device
    if wanted not in there:
        raise TrainingError(
            f"The device {settings.device!r} is not available here, only {', '.join(there)}.",
            "use --device auto, or install a build of PyTorch for this device",
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


def _relative_rate(schedule: str, steps: int, step: int) -> float:
    """Return the fraction of the full learning rate at this step."""
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
        self.validation = validation and tuple(tensor.to(device) for tensor in validation)
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
        batches = order.split(self.settings.batch_size)
        here, of = self.accelerator.process_index, self.accelerator.num_processes
        total = torch.zeros((), device=self.accelerator.device)
        seen = 0
        for step, index in enumerate(batches[here::of]):
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
            for index in torch.arange(n).split(4 * self.settings.batch_size):
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
                f"Training broke down in epoch {epoch}: the loss is not finite "
                f"({', '.join(f'{name} {value:g}' for name, value in row.items())}).",
                "lower the learning rate, or look for extreme values with `simplechrome inspect`",
            )
        self.history.append(row)
        deciding = row.get("validation_loss", -epoch)  # without validation the last is the best
        if epoch > self.settings.warm_up and deciding < self.best_loss:
            self.best_loss, self.best_epoch = deciding, epoch
            self.best_weights = self.weights()
        return row

    def finished(self) -> bool:
        epoch = len(self.history)
        waited = bool(self.best_epoch) and epoch - self.best_epoch >= self.settings.patience
        return waited or epoch >= self.settings.epochs

    def task(self) -> str:
        # With another device or other threads the training resumes with a warning: it is then
        # equal but for the last digits.
        settings = {
            k: v for k, v in asdict(self.settings).items() if k not in ("device", "threads")
        }
        settings["weights"] = {name: list(w.shape) for name, w in self.weights().items()}
        return describe_task(settings, (*self.rows, *(self.validation or ())))

    def _device_random(self) -> Any:
        kind = self.accelerator.device.type
        return None if kind == "cpu" else getattr(torch, kind)

    def state(self, task: str) -> State:
        random = {"order": self.order.get_state(), "cpu": torch.get_rng_state()}
        if self._device_random() is not None:
            random["device"] = self._device_random().get_rng_state()
        best = self.best_loss if self.best_epoch else None
        threads = torch.get_num_threads()
        progress = Progress(task, self.history, self.best_epoch, best, self.steps_done, threads)
        optimizer = optimizer_arrays(self.module, self.optimizer)
        return State(progress, self.weights(), self.best_weights, optimizer, random)

    def resume_from(self, state: State) -> None:
        self.accelerator.unwrap_model(self.module).load_state_dict(state.weights)
        restore_optimizer(self.module, self.optimizer, state.optimizer)
        self.order.set_state(state.random["order"])
        torch.set_rng_state(state.random["cpu"])
        if self._device_random() is not None and "device" in state.random:
            self._device_random().set_rng_state(state.random["device"])
        progress = state.progress
        self.history, self.steps_done = progress.history, progress.steps_done
        self.best_epoch, self.best_weights = progress.best_epoch, state.best_weights
        self.best_loss = math.inf if progress.best_loss is None else progress.best_loss


def _resume(training: _Training, folder: Path, task: str, name: str) -> None:
    state = read_state(folder)
    if state is None:
        return
    if state.progress.task != task:
        raise ModelMismatchError(
            f"The checkpoint in {folder} is of another training: of other settings or other rows.",
            "repeat the first call's options on the same data, or start again with --overwrite",
        )
    if (before := state.progress.threads) != (now := torch.get_num_threads()):
        log.warning(
            f"{name} began with {before} CPU threads and resumes with {now}: sums are taken in "
            "another order, and the result will differ in the last digits"
        )
    training.resume_from(state)
    log.info("%s resumes after epoch %d", name, len(training.history))


def _report(name: str, row: dict[str, float], bar: tqdm) -> None:
    # On a terminal the bar shows the losses; in a log file each epoch is one line.
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
    resume: bool = False,
    name: str = "training",
) -> TrainingResult:
    """Train a module to the epoch with the lowest loss on validation rows.

    Call it, and make the module, inside `seeded` for a result that can be repeated. On return
    the module has the weights of the best epoch and is on the CPU.

    Parameters
    ----------
    loss, settings
        See `Loss` and `TrainingSettings`.
    rows, validation
        Tensors whose first dimension is the row. Without validation the last epoch counts.
    checkpoints
        Folder for `best.safetensors` and `last.safetensors`, written between epochs, once a
        second at most, and at the end.
    resume
        Continue from the checkpoint, if there is one. On the same machine, with the same number
        of threads, the result is bit-identical to that of a training that was never stopped.
    name
        For the progress bar and the log.

    Raises
    ------
    TrainingError
        If the loss is not finite, or the device is missing.
    ModelMismatchError, ModelFormatError
        If the checkpoint is of other settings or other rows, or damaged.
    KeyboardInterrupt
        If Ctrl-C came before the first epoch had ended. Later, training stops and keeps the best.
    """
    held_out = None if validation is None else tuple(validation)
    training = _Training(module, loss, tuple(rows), held_out, settings)
    interrupted = False
    folder = None if checkpoints is None else Path(checkpoints)
    task = training.task() if folder is not None else ""
    if folder is not None and resume:
        _resume(training, folder, task, name)
    total, done = settings.epochs * len(rows[0]), len(training.history) * len(rows[0])
    quiet = not (sys.stderr.isatty() and log.isEnabledFor(logging.INFO))
    kept_in = folder if training.accelerator.is_main_process else None
    kept_at, n_kept = time.monotonic(), len(training.history)
    with tqdm(total=total, initial=done, desc=name, unit="rows", disable=quiet, leave=False) as bar:
        try:
            while not training.finished():
                epoch = len(training.history) + 1
                row = training.record(epoch, training.fit_epoch(epoch, bar.update))
                _report(name, row, bar)
                # A small network's epochs are quicker than a write, and soon done again.
                if kept_in and time.monotonic() - kept_at >= SECONDS_BETWEEN_CHECKPOINTS:
                    write_state(kept_in, training.state(task))
                    kept_at, n_kept = time.monotonic(), epoch
        except KeyboardInterrupt:
            if not training.history:
                log.warning("%s was interrupted in its first epoch: there is nothing to keep", name)
                raise
            interrupted = True
    # After Ctrl-C the weights are those within an epoch, which no state describes.
    if kept_in and not interrupted and n_kept < len(training.history):
        write_state(kept_in, training.state(task))
    best_epoch = training.best_epoch or len(training.history)
    if interrupted:
        log.warning("Interrupted: keeping the best epoch so far (%d)", best_epoch)
    plain = training.accelerator.unwrap_model(training.module)
    plain.load_state_dict(training.best_weights or training.weights())
    plain.to("cpu").eval()
    return TrainingResult(training.history, best_epoch, interrupted)
