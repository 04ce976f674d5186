"""DeepChrome: a convolution over the bins of the window."""

from __future__ import annotations

from torch import nn

from simplechrome.predictors.deepchrome_module import DeepChromeModule
from simplechrome.predictors.window_network import Schedule, WindowPredictor
from simplechrome.training.settings import Device, Precision
from simplechrome.work.settings import AtLeastTwo, Count, Dropout, NotNegative, Positive


class DeepChrome(WindowPredictor):
    """A convolution over bins, maxima of neighboring positions, and hidden layers.

    Windows, plain arrays and missing marks are as `WindowPredictor` says, and how long it trains
    as `NetworkPredictor` says. The defaults are ours: they were chosen on validation chromosomes.

    That of the DeepChrome paper is
    `DeepChrome(filters=50, hidden=(625, 125), dropout=0.5, epochs=100, patience=100,
    batch_size=1, learning_rate=1e-3, weight_decay=0, schedule="constant", clip_gradients=False)`,
    but for the optimizer, which is Adam here and plain gradient descent there. That of the
    SimpleChrome paper is `DeepChrome(filters=625, hidden=(256, 128), dropout=0, epochs=5,
    early_stopping=False, batch_size=32, learning_rate=1e-3, weight_decay=0, schedule="constant",
    clip_gradients=False)`. Both with `min_batches=1`.

    Parameters
    ----------
    task
        `classification` or `regression`.
    filters
        Of the convolution.
    kernel
        Bins that a filter sees.
    pool
        Neighboring positions of which the largest counts.
    hidden
        Widths of the layers between pooling and output.
    dropout
        Share of the pooled values left out in training.
    epochs, patience, batch_size, learning_rate, weight_decay, schedule, device, precision, threads
        See `TrainingSettings`. `epochs` is the most that is tried.
    min_batches
        In an epoch: with few labels, batches are smaller than `batch_size`, and the learning rate
        falls with the root of their size. 1 changes nothing.
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
    window_shape_ : (int, int)
        Bins and marks.

    References
    ----------
    Singh, Lanchantin, Robins & Qi, Bioinformatics 2016 (DeepChrome); Cheng, Murtaza & Wang, arXiv
    2012.08671 (625 filters; 256 and 128 hidden units).
    """

    name = "deepchrome"
    title = "DeepChrome"
    color = ("#82104d", "#fb6787")
    exporter = "simplechrome.export.predictors:deepchrome"

    def __init__(
        self,
        task: str = "classification",
        *,
        filters: Count = 64,
        kernel: Count = 10,
        pool: Count = 5,
        hidden: tuple[int, ...] = (128,),
        dropout: Dropout = 0.5,
        epochs: Count = 15,
        early_stopping: bool = True,
        patience: Count = 15,
        batch_size: Count = 32,
        min_batches: Count = 8,
        learning_rate: Positive = 1e-3,
        weight_decay: NotNegative = 1e-2,
        schedule: Schedule = "cosine",
        clip_gradients: bool = True,
        n_folds: AtLeastTwo = 5,
        hold_out_from: AtLeastTwo = 1000,
        random_state: int = 0,
        device: Device = "cpu",
        precision: Precision = "float32",
        threads: int | None = None,
    ) -> None:
        self.task = task
        self.filters = filters
        self.kernel = kernel
        self.pool = pool
        self.hidden = hidden
        self.dropout = dropout
        self.epochs = epochs
        self.early_stopping = early_stopping
        self.patience = patience
        self.batch_size = batch_size
        self.min_batches = min_batches
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.clip_gradients = clip_gradients
        self.n_folds = n_folds
        self.hold_out_from = hold_out_from
        self.random_state = random_state
        self.device = device
        self.precision = precision
        self.threads = threads

    def _make_network(self, n_bins: int, n_marks: int) -> nn.Module:
        return DeepChromeModule(
            n_bins,
            n_marks,
            filters=self.filters,
            kernel=self.kernel,
            pool=self.pool,
            hidden=tuple(self.hidden),
            dropout=self.dropout,
        )
