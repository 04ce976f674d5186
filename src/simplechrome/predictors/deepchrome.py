"""DeepChrome: a convolution over the bins of the window."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from simplechrome.errors import ConfigError
from simplechrome.predictors.window_network import WindowPredictor
from simplechrome.work.settings import Count, Dropout


class DeepChromeModule(nn.Module):
    """The network: a convolution over bins, max-pooling and hidden layers.

    A convolution over bins without padding, ReLU, the maximum of each `pool` positions in turn
    (positions that remain at the end are not used), dropout, hidden layers with ReLU, one unit.
    All weights start as PyTorch's layers do; the paper does not state otherwise.

    A missing mark reads 0, whatever its values are. Each filter has a weight per mark that is
    added where the mark is missing. These weights start at 0 and get no gradient as long as
    nothing is missing in training: then a missing mark is simply 0. For the parameters see
    `DeepChrome`.

    Raises
    ------
    ConfigError
        If there are fewer bins than kernel and pooling need.
    """

    def __init__(
        self,
        n_bins: int,
        n_marks: int,
        filters: int,
        kernel: int,
        pool: int,
        hidden: tuple[int, ...],
        dropout: float,
    ) -> None:
        super().__init__()
        if n_bins < kernel + pool - 1:
            narrower, fewer = n_bins - pool + 1, n_bins - kernel + 1
            fitting = [f"a kernel of {narrower} or less"] if narrower > 0 else []
            fitting += [f"a pool of {fewer} or less"] if fewer > 0 else []
            raise ConfigError(
                f"The windows have {n_bins} bins; DeepChrome with kernel {kernel} and pool {pool} "
                f"needs at least {kernel + pool - 1}.",
                "use " + ", or ".join([*fitting, "a dataset with more bins"]),
            )
        self.pool = pool
        self.windows = (n_bins - kernel + 1) // pool
        # Bins that are used: those beyond the last whole pool would only cost time.
        self.seen = self.windows * pool + kernel - 1
        self.convolution = nn.Conv1d(n_marks, filters, kernel)
        self.missing = nn.Linear(n_marks, filters, bias=False)
        nn.init.zeros_(self.missing.weight)
        layers: list[nn.Module] = [nn.Dropout(dropout)]
        widths = (self.windows * filters, *hidden)
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.dense = nn.Sequential(*layers, nn.Linear(widths[-1], 1), nn.Flatten(0))

    def forward(self, values: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """(row, bin, mark), (row, mark) bool → (row,), log odds or level."""
        values = torch.where(present[:, None], values, 0)[:, : self.seen]
        absent = self.missing((~present).to(values.dtype))
        levels = functional.max_pool1d(self.convolution(values.transpose(1, 2)), self.pool)
        # Adding it after the maximum changes nothing, as it is the same for all positions.
        pooled = functional.relu(levels + absent[:, :, None]).transpose(1, 2)
        return self.dense(pooled.flatten(1))


@dataclass(eq=False, repr=False, kw_only=True)
class DeepChrome(WindowPredictor):
    """A convolution over bins, maxima of neighboring positions, and hidden layers.

    The defaults are ours: they were chosen on validation chromosomes. That of the DeepChrome
    paper is `DeepChrome(filters=50, hidden=(625, 125), dropout=0.5, epochs=100, patience=100,
    batch_size=1, learning_rate=1e-3, weight_decay=0, schedule="constant", clip_gradients=False)`,
    but for the optimizer, which is Adam here and plain gradient descent there. That of the
    SimpleChrome paper is `DeepChrome(filters=625, hidden=(256, 128), dropout=0, epochs=5,
    early_stopping=False, batch_size=32, learning_rate=1e-3, weight_decay=0, schedule="constant",
    clip_gradients=False)`. Both with `min_batches=1`.

    Parameters
    ----------
    filters
        Of the convolution.
    kernel
        Bins that a filter sees.
    pool
        Neighboring positions of which the largest counts.
    hidden
        Widths of the layers between pooling and output.
    dropout
        Fraction of the pooled values set to 0 in training.
    min_batches, schedule, epochs, early_stopping, patience, batch_size and others
        See `WindowPredictor` and `NetworkPredictor`.

    References
    ----------
    Singh, Lanchantin, Robins & Qi, Bioinformatics 2016 (DeepChrome); Cheng, Murtaza & Wang, arXiv
    2012.08671 (625 filters; 256 and 128 hidden units).
    """

    name = "deepchrome"
    title = "DeepChrome"
    color = ("#82104d", "#fb6787")
    exporter = "simplechrome.export.predictors:deepchrome"

    filters: Count = 64
    kernel: Count = 10
    pool: Count = 5
    hidden: tuple[Count, ...] = (128,)
    dropout: Dropout = 0.5
    epochs: Count = 15
    patience: Count = 15
    batch_size: Count = 32

    def _make_network(self, n_bins: int, n_marks: int) -> nn.Module:
        shape = self.filters, self.kernel, self.pool
        return DeepChromeModule(n_bins, n_marks, *shape, tuple(self.hidden), self.dropout)
