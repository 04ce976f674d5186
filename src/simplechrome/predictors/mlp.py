"""A multilayer perceptron on latents or on the flat window."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import KFold, StratifiedKFold
from torch import nn

from simplechrome.predictors.predictor import Predictor
from simplechrome.predictors.rows import Rows
from simplechrome.training.loop import Batch, Loss, Parts, seeded, train
from simplechrome.training.settings import Device, TrainingSettings

log = logging.getLogger(__name__)


def _network(widths: tuple[int, ...], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 1), nn.Flatten(0))


def supervised_loss(task: str) -> Loss:
    """Which loss does a head minimize? Cross-entropy of the log odds, or squared error."""
    function = (
        nn.functional.binary_cross_entropy_with_logits
        if task == "classification"
        else nn.functional.mse_loss
    )

    def loss(module: nn.Module, batch: Batch, warmth: float) -> Parts:
        x, y = batch
        return {"loss": function(module(x).float(), y)}

    return loss


class MLPPredictor(Predictor):
    """A multilayer perceptron with dropout, stopped where held-out labels say so.

    With `validation` genes, or with `hold_out_from` labels or more, a held-out part decides the
    epoch. With fewer labels, the number of epochs is found by cross-validation within them, and
    the network is then trained on all of them for as long.

    Parameters
    ----------
    task
        `classification` or `regression`.
    hidden
        Widths of the hidden layers.
    dropout
        Share of units left out in training.
    epochs, patience, batch_size, learning_rate, weight_decay, device, threads
        See `TrainingSettings`. `epochs` is the most that is tried.
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

    References
    ----------
    Cheng, Murtaza & Wang, arXiv 2012.08671: widths 256 and 128.
    """

    def __init__(
        self,
        task: str = "classification",
        *,
        hidden: tuple[int, ...] = (256, 128),
        dropout: float = 0.3,
        epochs: int = 40,
        patience: int = 6,
        batch_size: int = 64,
        learning_rate: float = 5e-4,
        weight_decay: float = 1e-2,
        n_folds: int = 5,
        hold_out_from: int = 1000,
        random_state: int = 0,
        device: Device = "cpu",
        threads: int | None = None,
    ) -> None:
        self.task = task
        self.hidden = hidden
        self.dropout = dropout
        self.epochs = epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.n_folds = n_folds
        self.hold_out_from = hold_out_from
        self.random_state = random_state
        self.device = device
        self.threads = threads

    def _train(self, rows: Rows, validation: Rows | None, epochs: int, patience: int) -> Any:
        settings = TrainingSettings(
            epochs=epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            patience=patience,
            max_gradient_norm=1.0,
            seed=self.random_state,
            device=self.device,
            threads=self.threads,
        )
        with seeded(self.random_state, self.threads):
            module = _network((rows.x.shape[1], *self.hidden), self.dropout)
            result = train(
                module,
                supervised_loss(self.task),
                self._tensors(rows),
                settings,
                validation=validation and self._tensors(validation),
                name="MLP",
            )
        return module, result

    def _tensors(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        x = np.ascontiguousarray(rows.x, dtype=np.float32)
        y = ((rows.y - self.center_) / self.scale_).astype(np.float32)
        return torch.from_numpy(x), torch.from_numpy(y)

    def _folds(self, rows: Rows) -> list[tuple[np.ndarray, np.ndarray]]:
        n = len(rows.y)
        large = n >= self.hold_out_from
        most = 10 if large else self.n_folds
        if self.task == "classification":
            folds = min(most, int(np.bincount(rows.y).min()))
            splitter: Any = StratifiedKFold
        else:
            folds, splitter = min(most, n // 2), KFold
        if folds < 2:
            return []
        parts: Iterator = splitter(folds, shuffle=True, random_state=self.random_state).split(
            rows.x, rows.y
        )
        return [next(parts)] if large else list(parts)

    def _fit_rows(self, rows: Rows, validation: Rows | None) -> None:
        regression = self.task == "regression"
        self.center_ = float(rows.y.mean()) if regression else 0.0
        self.scale_ = (float(rows.y.std()) or 1.0) if regression else 1.0
        folds = [] if validation is not None else self._folds(rows)
        if validation is None and len(folds) == 1:
            inside, out = folds[0]
            validation = Rows(rows.x[out], rows.y[out])
            rows = Rows(rows.x[inside], rows.y[inside])
        if validation is not None:
            self.module_, result = self._train(rows, validation, self.epochs, self.patience)
            self.epochs_, self.history_ = result.best_epoch, result.history
            self.interrupted_ = result.interrupted
            return
        # With few labels a single held-out part would decide by chance.
        curves: list[list[float]] = []
        self.interrupted_ = False
        for inside, out in folds:
            parts = Rows(rows.x[inside], rows.y[inside]), Rows(rows.x[out], rows.y[out])
            try:
                _, result = self._train(*parts, self.epochs, patience=self.epochs)
            except KeyboardInterrupt:
                self.interrupted_ = True
                break
            curves.append([row["validation_loss"] for row in result.history])
            self.interrupted_ = result.interrupted
            if self.interrupted_:
                break
        # Ctrl-C ends the search, not the fit: the last training takes less than a fold's.
        self.epochs_ = max(1, self.epochs // 4)
        if curves:
            shared = min(len(curve) for curve in curves)
            self.epochs_ = int(np.mean([c[:shared] for c in curves], axis=0).argmin()) + 1
        self.module_, result = self._train(rows, None, self.epochs_, patience=self.epochs_)
        self.history_ = result.history
        self.interrupted_ |= result.interrupted

    def _predict_rows(self, x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            rows = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
            values = self.module_(rows).numpy().astype(np.float64)
        return values * self.scale_ + self.center_

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        numbers = {"epochs": self.epochs_, "center": self.center_, "scale": self.scale_}
        return numbers, {name: v.numpy() for name, v in self.module_.state_dict().items()}

    def _restore(self, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.epochs_ = numbers["epochs"]
        self.center_, self.scale_ = numbers["center"], numbers["scale"]
        self.module_ = _network((self.n_features_in_, *self.hidden), self.dropout)
        self.module_.load_state_dict(
            {name: torch.from_numpy(value) for name, value in arrays.items()}
        )
        self.module_.eval()
