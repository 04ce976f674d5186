"""AttentiveChrome: recurrent networks with attention over bins and over marks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from sklearn.utils import gen_batches
from torch import nn

from simplechrome.predictors.network import SCORED_AT_ONCE
from simplechrome.predictors.window_network import WINDOW, WindowPredictor
from simplechrome.training.loop import cpu_threads
from simplechrome.work.settings import AtLeastTwo, Count, Dropout, NotNegative, Positive


class Attended(NamedTuple):
    """A prediction with both levels of attention, which carry no gradient.

    prediction : (row,), log odds or level
    bins : (row, mark, bin), sums to 1 over the bins; 0 where the mark is missing
    marks : (row, mark), sums to 1 over the marks; 0 where the mark is missing
    """

    prediction: torch.Tensor
    bins: torch.Tensor
    marks: torch.Tensor


class AttentiveChromeModule(nn.Module):
    """The network: recurrent layers with attention, over the bins of each mark and over marks.

    Each mark has a bidirectional LSTM over its bins. The mark's representation is the mean of
    the LSTM's outputs, weighted by attention: a softmax over bins of their products with a
    learned context vector. A second bidirectional LSTM runs over the marks' representations, with
    the same kind of attention over marks, and one linear unit makes the prediction.

    The paper does not state how weights start. Here each gate's recurrent weights are orthogonal,
    its input weights Glorot's uniform ones, and its biases 0, but 1 for forget gates. (With 3,000
    genes and ten epochs that gave a validation AUROC of .945, and PyTorch's own .924.) Context
    vectors start uniformly within ±.1, as in the published code.

    Dropout applies to what each attention returns. (The published codes differ: the first one
    drops LSTM outputs before the attention, the PyTorch one nothing, as its option has no effect
    on LSTMs of one layer.)

    A missing mark reads 0 and has no attention. In its place the LSTM over marks sees a learned
    vector, which starts at 0 and stays there as long as nothing is missing in training. A row
    without any mark gets the linear unit's bias. For the parameters see `AttentiveChrome`.
    """

    def __init__(
        self, n_bins: int, n_marks: int, bin_hidden: int, mark_hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.bin_lstms = nn.ModuleList(
            nn.LSTM(1, bin_hidden, bidirectional=True) for _ in range(n_marks)
        )
        self.bin_context = nn.Parameter(torch.empty(n_marks, 2 * bin_hidden).uniform_(-0.1, 0.1))
        self.missing = nn.Parameter(torch.zeros(n_marks, 2 * bin_hidden))
        self.mark_lstm = nn.LSTM(2 * bin_hidden, mark_hidden, bidirectional=True)
        self.mark_context = nn.Parameter(torch.empty(2 * mark_hidden).uniform_(-0.1, 0.1))
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(2 * mark_hidden, 1)
        for lstm in (*self.bin_lstms, self.mark_lstm):
            _initialize(lstm)

    def forward(self, values: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """(row, bin, mark), (row, mark) bool → (row,), log odds or level."""
        return self.attend(values, present).prediction

    def attend(self, values: torch.Tensor, present: torch.Tensor) -> Attended:
        """(row, bin, mark), (row, mark) bool → prediction and both attention levels."""
        by_mark = torch.where(present[:, None], values, 0).permute(2, 1, 0)  # (mark, bin, row)
        means, weights = [], []
        for signal, lstm, context in zip(by_mark, self.bin_lstms, self.bin_context, strict=True):
            outputs, _ = lstm(signal[:, :, None].contiguous())  # (bin, row, both directions)
            attention = (outputs @ context).softmax(dim=0)
            means.append((attention[:, :, None] * outputs).sum(dim=0))
            weights.append(attention)
        marks, bins = torch.stack(means), torch.stack(weights)
        marks = torch.where(present.T[:, :, None], self.dropout(marks), self.missing[:, None])
        outputs, _ = self.mark_lstm(marks)  # (mark, row, both directions)
        scores = (outputs @ self.mark_context).masked_fill(
            ~present.T, torch.finfo(outputs.dtype).min
        )
        attention = scores.softmax(dim=0) * present.T
        gene = (attention[:, :, None] * outputs).sum(dim=0)
        return Attended(
            self.output(self.dropout(gene)).squeeze(1),
            (bins * present.T[:, None]).permute(2, 0, 1).detach(),
            attention.T.detach(),
        )


def _initialize(lstm: nn.Module) -> None:
    """Set weights that pass on a signal from the start, and cells that remember."""
    for name, parameter in lstm.named_parameters():
        gates = parameter.data.chunk(4)  # input, forget, candidate, output
        if name.startswith("bias"):
            nn.init.zeros_(parameter)
            if "_ih_" in name:  # the other bias is added to it
                nn.init.ones_(gates[1])
        else:
            for gate in gates:
                nn.init.orthogonal_(gate) if "_hh_" in name else nn.init.xavier_uniform_(gate)


class Attention(NamedTuple):
    """Attention of AttentiveChrome, as fractions.

    bins : (cell_type, gene, bin, mark), sums to 1 over the bins; 0 where the mark is missing
    marks : (cell_type, gene, mark), sums to 1 over the marks; 0 where the mark is missing

    For plain arrays `row` is in the place of cell_type and gene.
    """

    bins: xr.DataArray
    marks: xr.DataArray


@dataclass(eq=False, repr=False, kw_only=True)
class AttentiveChrome(WindowPredictor):
    """A recurrent network for each mark's bins, one over the marks, both with attention.

    The defaults are ours: they were chosen on validation chromosomes. That of the AttentiveChrome
    paper is `AttentiveChrome(bin_hidden=32, mark_hidden=16, dropout=0.5, epochs=30, patience=30,
    batch_size=16, min_batches=1, learning_rate=1e-4, weight_decay=0, schedule="constant")`, though
    there up to 120 epochs.

    Parameters
    ----------
    bin_hidden, mark_hidden
        Widths of the recurrent layers over bins and over marks, per direction.
    dropout
        Fraction of each representation set to 0 in training.
    min_batches, schedule, epochs, early_stopping, patience, batch_size and others
        See `WindowPredictor` and `NetworkPredictor`.

    References
    ----------
    Singh, Lanchantin, Sekhon & Qi, NeurIPS 2017 (AttentiveChrome).
    """

    name = "attentivechrome"
    title = "AttentiveChrome"
    color = ("#4b5d0f", "#cfe573")
    exporter = "simplechrome.export.predictors:attentivechrome"

    bin_hidden: Count = 32
    mark_hidden: Count = 16
    dropout: Dropout = 0.2
    epochs: Count = 20
    patience: Count = 20
    batch_size: Count = 128
    min_batches: Count = 16
    learning_rate: Positive = 5e-3
    weight_decay: NotNegative = 5e-2
    n_folds: AtLeastTwo = 3
    hold_out_from: AtLeastTwo = 500
    module_: AttentiveChromeModule = field(init=False)

    def _make_network(self, n_bins: int, n_marks: int) -> nn.Module:
        widths = self.bin_hidden, self.mark_hidden
        return AttentiveChromeModule(n_bins, n_marks, *widths, self.dropout)

    def attention(self, x: xr.DataArray | np.ndarray) -> Attention:
        """Return the attention to the bins of each mark, and to the marks, of each gene.

        It takes windows as `predict` does, and refuses the same.
        """
        _, rows = self._rows(x)
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
