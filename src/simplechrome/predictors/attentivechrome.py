"""AttentiveChrome: recurrent networks with attention over bins and over marks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from sklearn.utils import gen_batches
from torch import nn

from simplechrome.predictors.attentivechrome_module import AttentiveChromeModule
from simplechrome.predictors.network import SCORED_AT_ONCE
from simplechrome.predictors.window_network import WINDOW, Schedule, WindowPredictor
from simplechrome.training.settings import Device, Precision
from simplechrome.training.threads import cpu_threads
from simplechrome.work.settings import AtLeastTwo, Count, Dropout, NotNegative, Positive


class Attention(NamedTuple):
    """Where AttentiveChrome looked, as shares.

    bins : (cell_type, gene, bin, mark), sums to 1 over the bins; 0 where the mark is missing
    marks : (cell_type, gene, mark), sums to 1 over the marks; 0 where the mark is missing

    For plain arrays `row` is in the place of cell_type and gene.
    """

    bins: xr.DataArray
    marks: xr.DataArray


class AttentiveChrome(WindowPredictor):
    """A recurrent network for each mark's bins, one over the marks, both with attention.

    Windows, plain arrays and missing marks are as `WindowPredictor` says, and how long it trains
    as `NetworkPredictor` says. The defaults are ours: they were chosen on validation chromosomes.

    That of the AttentiveChrome paper is
    `AttentiveChrome(bin_hidden=32, mark_hidden=16, dropout=0.5, epochs=30, patience=30,
    batch_size=16, min_batches=1, learning_rate=1e-4, weight_decay=0, schedule="constant")`, though
    there up to 120 epochs.

    Parameters
    ----------
    task
        `classification` or `regression`.
    bin_hidden, mark_hidden
        Widths of the recurrent layers over bins and over marks, per direction.
    dropout
        Share of each representation left out in training.
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
    Singh, Lanchantin, Sekhon & Qi, NeurIPS 2017 (AttentiveChrome).
    """

    name = "attentivechrome"
    title = "AttentiveChrome"
    color = ("#4b5d0f", "#cfe573")
    exporter = "simplechrome.export.predictors:attentivechrome"
    module_: AttentiveChromeModule

    def __init__(
        self,
        task: str = "classification",
        *,
        bin_hidden: Count = 32,
        mark_hidden: Count = 16,
        dropout: Dropout = 0.2,
        epochs: Count = 20,
        early_stopping: bool = True,
        patience: Count = 20,
        batch_size: Count = 128,
        min_batches: Count = 16,
        learning_rate: Positive = 5e-3,
        weight_decay: NotNegative = 5e-2,
        schedule: Schedule = "cosine",
        clip_gradients: bool = True,
        n_folds: AtLeastTwo = 3,
        hold_out_from: AtLeastTwo = 500,
        random_state: int = 0,
        device: Device = "cpu",
        precision: Precision = "float32",
        threads: int | None = None,
    ) -> None:
        self.task = task
        self.bin_hidden = bin_hidden
        self.mark_hidden = mark_hidden
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
        return AttentiveChromeModule(
            n_bins,
            n_marks,
            bin_hidden=self.bin_hidden,
            mark_hidden=self.mark_hidden,
            dropout=self.dropout,
        )

    def attention(self, x: xr.DataArray | np.ndarray) -> Attention:
        """Which bins of each mark, and which marks, made the prediction?

        Parameters
        ----------
        x
            Windows, as for `predict`.

        Returns
        -------
        Both levels of attention, of each gene.

        Raises
        ------
        ModelMismatchError
            If the windows are not those that the predictor was fitted on.
        """
        rows = self._rows(x)
        bins = np.empty((len(rows), *self.window_shape_), np.float32)
        marks = np.empty((len(rows), bins.shape[2]), np.float32)
        with torch.inference_mode(), cpu_threads(self.threads):
            for part in gen_batches(len(rows), SCORED_AT_ONCE):
                attended = self.module_.attend(*self._inputs(rows[part]))
                bins[part] = attended.bins.mT
                marks[part] = attended.marks
        if not isinstance(x, xr.DataArray):
            return Attention(
                xr.DataArray(bins, dims=("row", *WINDOW), name="bin_attention"),
                xr.DataArray(marks, dims=("row", "mark"), name="mark_attention"),
            )
        windows = x.transpose(*x.dims[:2], *WINDOW)
        levels = windows.isel(bin=0, drop=True).drop_vars("bin_start", errors="ignore")
        return Attention(
            windows.copy(data=bins.reshape(windows.shape)).rename("bin_attention"),
            levels.copy(data=marks.reshape(levels.shape)).rename("mark_attention"),
        )
