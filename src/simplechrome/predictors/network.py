"""What predictors that train in epochs share: how long to train, and resuming after a stop."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import xarray as xr
from sklearn.utils import gen_batches
from torch import nn

from simplechrome.predictors.predictor import Predictor
from simplechrome.predictors.rows import Rows
from simplechrome.training.loop import (
    Batch,
    Loss,
    Parts,
    TrainingResult,
    cpu_threads,
    seeded,
    train,
)
from simplechrome.training.settings import NetworkSettings, TrainingSettings
from simplechrome.work.settings import AtLeastTwo

SCORED_AT_ONCE = 1024
"""Rows in a batch of predictions, so that what a network makes of them stays below 100 MB."""


def supervised_loss(task: str) -> Loss:
    """Return the loss that a task minimizes: cross-entropy of the log odds, or squared error."""
    classifies = task == "classification"
    function = nn.BCEWithLogitsLoss() if classifies else nn.MSELoss()

    def loss(module: nn.Module, batch: Batch, warmth: float) -> Parts:
        *inputs, y = batch
        return {"loss": function(module(*inputs).float(), y)}

    return loss


@dataclass(eq=False, repr=False, kw_only=True)
class NetworkPredictor(NetworkSettings, Predictor):
    """A predictor that learns by gradient, stopped where held-out labels say so.

    With `validation` genes, or with `hold_out_from` labels or more, a held-out part decides the
    epoch. With fewer labels, the number of epochs is found by cross-validation within them, and
    the network is then trained on all of them for as long. `early_stopping=False` does none of
    this: all labels are trained on for all `epochs`.

    A subclass implements `_make_module`, and `_inputs` where its network takes more than features.

    Parameters
    ----------
    epochs, patience, batch_size, learning_rate, weight_decay, device, threads
        See `TrainingSettings`. `epochs` is the most that is tried.
    early_stopping
        Whether held-out labels choose the number of epochs. Without it, `patience`, `n_folds`,
        `hold_out_from` and validation genes are not used.
    clip_gradients
        Whether gradients longer than 1 are shortened to 1.
    n_folds
        Of the inner cross-validation.
    hold_out_from
        Number of labels from which a tenth of them is held out in its place.
    random_state
        Seed of weights, order, dropout and folds.

    Attributes
    ----------
    epochs_ : int
        Epochs of training that the weights come from.
    history_
        One mapping per epoch.
    interrupted_ : bool
        Ctrl-C cut the training, or the search for the number of epochs, short.
    """

    early_stopping: bool = True  # scikit-learn's name
    clip_gradients: bool = True
    n_folds: AtLeastTwo = 5
    hold_out_from: AtLeastTwo = 1000

    @abstractmethod
    def _make_module(self) -> nn.Module:
        """Return a network from what `_inputs` returns to (row,), for `n_features_in_` features."""

    def _settings(self, n_rows: int, **changed: Any) -> TrainingSettings:
        norm = 1.0 if self.clip_gradients else math.inf
        return self.training_settings(max_gradient_norm=norm, **changed)

    def fit(
        self,
        x: xr.DataArray | np.ndarray,
        y: xr.DataArray | np.ndarray,
        *,
        validation: tuple[Any, Any] | None = None,
        checkpoints: str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Learn expression from features; see `Predictor.fit`.

        Parameters
        ----------
        x, y, validation
            See `Predictor.fit`.
        checkpoints
            Folder for the best weights and the state of the training, written after each epoch,
            with one folder in it for each fold of the inner cross-validation.
        resume
            Continue from there, if anything is there. On the same machine, with the same number
            of threads, the result is bit-identical to that of an undisturbed fit.

        Raises
        ------
        UndefinedScoreError, MissingExpressionError
            See `Predictor.fit`.
        TrainingError, ModelMismatchError, ModelFormatError
            See `simplechrome.training.loop.train`.
        """
        self._checkpoints = None if checkpoints is None else Path(checkpoints)
        self._resume = resume
        super().fit(x, y, validation=validation)
        del self._checkpoints, self._resume
        return self

    def _train(
        self,
        rows: Rows,
        validation: Rows | None,
        epochs: int,
        patience: int,
        checkpoints: Path | None,
    ) -> tuple[nn.Module, TrainingResult]:
        with seeded(self.random_state, self.threads):
            module = self._make_module()
            result = train(
                module,
                supervised_loss(self.task),
                self._tensors(rows),
                self._settings(len(rows.y), epochs=epochs, patience=patience),
                validation=validation and self._tensors(validation),
                checkpoints=checkpoints,
                resume=self._resume,
                name=type(self).__name__.removesuffix("Predictor"),
            )
        return module, result

    def _inputs(self, x: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return the network's arguments for (row, feature)."""
        # A copy: PyTorch wants memory that it may write to, even where it does not.
        return (torch.from_numpy(np.array(x, dtype=np.float32, order="C")),)

    def _tensors(self, rows: Rows) -> tuple[torch.Tensor, ...]:
        y = ((rows.y - self.center_) / self.scale_).astype(np.float32)
        return (*self._inputs(rows.x), torch.from_numpy(y))

    def _fit_rows(self, rows: Rows, validation: Rows | None) -> None:
        regression = self.task == "regression"
        self.center_ = self._center_of(rows.y) if regression else 0.0
        self.scale_ = (float(rows.y.std()) or 1.0) if regression else 1.0
        self.interrupted_ = False
        if not self.early_stopping:
            self._keep(*self._train(rows, None, self.epochs, self.epochs, self._checkpoints))
            return
        folds = [(rows, validation)] if validation else self._inner_folds(rows)
        if len(folds) == 1:
            trained = self._train(*folds[0], self.epochs, self.patience, self._checkpoints)
            self._keep(*trained)
            return
        epochs = self._choose_epochs(folds)
        # A later run must not resume with what an interrupted search has chosen.
        checkpoints = None if self.interrupted_ else self._checkpoints
        self._keep(*self._train(rows, None, epochs, epochs, checkpoints))

    def _center_of(self, y: np.ndarray) -> float:
        """Return what is subtracted from levels before they are learned."""
        return float(y.mean())

    def _choose_epochs(self, folds: list[tuple[Rows, Rows]]) -> int:
        """Cross-validation: with few labels a single held-out part would decide by chance."""
        curve = self._held_out_losses(folds)
        # Ctrl-C ends the search, not the fit: the last training takes less than a fold's.
        return max(1, self.epochs // 4) if curve is None else int(curve.argmin()) + 1

    def _held_out_losses(self, folds: list[tuple[Rows, Rows]]) -> np.ndarray | None:
        """(epoch,) mean loss of held-out rows; None if Ctrl-C came before any was there."""
        curves: list[list[float]] = []
        for number, (inside, out) in enumerate(folds, start=1):
            folder = self._checkpoints and self._checkpoints / f"fold_{number}"
            try:
                _, result = self._train(inside, out, self.epochs, self.epochs, folder)
            except KeyboardInterrupt:
                self.interrupted_ = True
                break
            curves.append([row["validation_loss"] for row in result.history])
            self.interrupted_ = result.interrupted
            if self.interrupted_:
                break
        if not curves:
            return None
        shared = min(len(curve) for curve in curves)
        return np.asarray(np.mean([curve[:shared] for curve in curves], axis=0))

    def _keep(self, module: nn.Module, result: TrainingResult) -> None:
        self.module_ = module
        self.epochs_, self.history_ = result.best_epoch, result.history
        self.interrupted_ |= result.interrupted

    def _predict_rows(self, x: np.ndarray) -> np.ndarray:
        values = np.empty(len(x))
        with torch.inference_mode(), cpu_threads(self.threads):
            for rows in gen_batches(len(x), SCORED_AT_ONCE):
                values[rows] = self.module_(*self._inputs(x[rows])).numpy()
        return values * self.scale_ + self.center_

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        numbers = {"epochs": self.epochs_, "center": self.center_, "scale": self.scale_}
        return numbers, {name: v.numpy() for name, v in self.module_.state_dict().items()}

    def _restore(self, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.epochs_ = numbers["epochs"]
        self.center_, self.scale_ = numbers["center"], numbers["scale"]
        self.module_ = self._make_module()
        self.module_.load_state_dict(
            {name: torch.from_numpy(value) for name, value in arrays.items()}
        )
        self.module_.eval()
