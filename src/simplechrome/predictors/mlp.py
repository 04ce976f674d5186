"""A multilayer perceptron on latents or on the flat window."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal, get_args

from torch import nn

from simplechrome.errors import ConfigError
from simplechrome.predictors.network import NetworkPredictor
from simplechrome.predictors.rows import Rows
from simplechrome.training.settings import Device, TrainingSettings
from simplechrome.work.settings import AtLeastTwo, Count, Dropout, NotNegative, Positive

Initialization = Literal["uniform", "he_normal"]


def _network(widths: tuple[int, ...], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 1), nn.Flatten(0))


def _initialize_he_normal(network: nn.Sequential) -> None:
    """He's normal weights before a ReLU, Glorot's uniform ones before the output, no biases."""
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    for layer in linear:
        nn.init.zeros_(layer.bias)
    for layer in linear[:-1]:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.xavier_uniform_(linear[-1].weight)


class MLPPredictor(NetworkPredictor):
    """A multilayer perceptron of ReLU layers with dropout, stopped where held-out labels say so.

    How long it trains is said at `NetworkPredictor`.

    The perceptron of the SimpleChrome paper is
    `MLPPredictor(dropout=0, epochs=5, early_stopping=False, batch_size=32, learning_rate=1e-3,
    weight_decay=0, clip_gradients=False, initialization="he_normal")`.

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
    early_stopping
        Whether held-out labels choose the number of epochs. Without it, `patience`, `n_folds`,
        `hold_out_from` and validation genes are not used.
    clip_gradients
        Whether gradients longer than 1 are shortened to 1.
    initialization
        Of the weights: `uniform` is PyTorch's own; `he_normal` has variance 2 / inputs in the
        hidden layers, as Keras's initializer of that name, Glorot's uniform weights before the
        output, and biases of 0.
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
    Cheng, Murtaza & Wang, arXiv 2012.08671: widths 256 and 128. He et al., arXiv 1502.01852.
    """

    name = "mlp"
    title = "an MLP"
    prefers_cpu = True
    exporter = "simplechrome.export.predictors:perceptron"

    def __init__(
        self,
        task: str = "classification",
        *,
        hidden: tuple[int, ...] = (256, 128),
        dropout: Dropout = 0.3,
        epochs: Count = 40,
        early_stopping: bool = True,
        patience: Count = 6,
        batch_size: Count = 64,
        learning_rate: Positive = 5e-4,
        weight_decay: NotNegative = 1e-2,
        clip_gradients: bool = True,
        initialization: Initialization = "uniform",
        n_folds: AtLeastTwo = 5,
        hold_out_from: AtLeastTwo = 1000,
        random_state: int = 0,
        device: Device = "cpu",
        threads: int | None = None,
    ) -> None:
        self.task = task
        self.hidden = hidden
        self.dropout = dropout
        self.epochs = epochs
        self.early_stopping = early_stopping
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip_gradients = clip_gradients
        self.initialization = initialization
        self.n_folds = n_folds
        self.hold_out_from = hold_out_from
        self.random_state = random_state
        self.device = device
        self.threads = threads

    def _make_module(self) -> nn.Module:
        module = _network((self.n_features_in_, *self.hidden), self.dropout)
        if self.initialization == "he_normal":
            _initialize_he_normal(module)
        return module

    def _settings(self, epochs: int, patience: int, n_rows: int) -> TrainingSettings:
        return TrainingSettings(
            epochs=epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            patience=patience,
            max_gradient_norm=1.0 if self.clip_gradients else math.inf,
            seed=self.random_state,
            device=self.device,
            threads=self.threads,
        )

    def _fit_rows(self, rows: Rows, validation: Rows | None) -> None:
        if self.initialization not in get_args(Initialization):
            raise ConfigError(
                "There is no such initialization of weights.",
                found=str(self.initialization),
                expected=" or ".join(get_args(Initialization)),
            )
        super()._fit_rows(rows, validation)
