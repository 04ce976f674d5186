"""The network of AttentiveChrome: recurrent layers with attention, over bins and over marks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from simplechrome.predictors.attentive_lstms import AttentiveLSTMs, Memory
from simplechrome.predictors.deepchrome_module import Dropout, require_sizes, runs_by_hand


class Attended(NamedTuple):
    """A prediction, and where the network looked.

    prediction : (row,), log odds or level
    bins : (row, mark, bin), sums to 1 over the bins; 0 where the mark is missing
    marks : (row, mark), sums to 1 over the marks; 0 where the mark is missing

    The two attention levels carry no gradient.
    """

    prediction: torch.Tensor
    bins: torch.Tensor
    marks: torch.Tensor


class AttentiveChromeModule(nn.Module):
    """How high is expression, and which bins and marks say so?

    Each mark has a bidirectional LSTM over its bins. The mark's representation is the mean of
    the LSTM's outputs, weighted by attention: a softmax over bins of their products with a
    learned context vector. A second bidirectional LSTM runs over the marks' representations, with
    the same kind of attention over marks, and one linear unit makes the prediction.

    The paper does not say how weights start. Here each gate's recurrent weights are orthogonal,
    its input weights Glorot's uniform ones, and its biases 0, but 1 for forget gates. (3,000 genes
    and ten epochs gave a validation AUROC of .945 so, and .924 with PyTorch's own.) Context
    vectors start uniformly within ±.1, as in the published code.

    Dropout is where each attention hands its mean on. (The published codes differ: the first one
    drops LSTM outputs before the attention, the PyTorch one nothing, as its option has no effect
    on LSTMs of one layer.)

    A missing mark reads 0 and has no attention. In its place the LSTM over marks sees a learned
    vector, which starts at 0 and stays there as long as nothing is missing in training. A row
    without any mark gets the linear unit's bias.

    Parameters
    ----------
    n_bins, n_marks
        Of the window.
    bin_hidden, mark_hidden
        Widths of the two LSTMs, per direction.
    dropout
        Share of each representation left out in training.

    Raises
    ------
    ConfigError
        If a number makes no sense.

    Notes
    -----
    On a CPU in full precision the LSTMs over bins run in passes of our own (`AttentiveLSTMs`),
    which hold memory between training steps; `eval()` gives it back.

    References
    ----------
    Singh, Lanchantin, Sekhon & Qi, NeurIPS 2017 (AttentiveChrome).
    """

    def __init__(
        self,
        n_bins: int,
        n_marks: int,
        bin_hidden: int = 32,
        mark_hidden: int = 16,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        sizes = {
            "n_bins": n_bins,
            "n_marks": n_marks,
            "bin_hidden": bin_hidden,
            "mark_hidden": mark_hidden,
        }
        require_sizes("AttentiveChrome", sizes, dropout)
        self.bin_lstms = nn.ModuleList(
            nn.LSTM(1, bin_hidden, bidirectional=True) for _ in range(n_marks)
        )
        self.bin_context = nn.Parameter(torch.empty(n_marks, 2 * bin_hidden).uniform_(-0.1, 0.1))
        self.missing = nn.Parameter(torch.zeros(n_marks, 2 * bin_hidden))
        self.mark_lstm = nn.LSTM(2 * bin_hidden, mark_hidden, bidirectional=True)
        self.mark_context = nn.Parameter(torch.empty(2 * mark_hidden).uniform_(-0.1, 0.1))
        self.dropout = Dropout(dropout)
        self.output = nn.Linear(2 * mark_hidden, 1)
        self._memory = Memory()
        for lstm in (*self.bin_lstms, self.mark_lstm):
            _initialize(lstm)

    def train(self, mode: bool = True) -> AttentiveChromeModule:
        """Set training mode; leaving it gives back the memory of the training steps."""
        if not mode:
            self._memory.clear()
        return super().train(mode)

    def forward(self, values: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """(row, bin, mark), (row, mark) bool → (row,), log odds or level."""
        return self.attend(values, present).prediction

    def attend(self, values: torch.Tensor, present: torch.Tensor) -> Attended:
        """(row, bin, mark), (row, mark) bool → prediction and both attention levels."""
        by_bin = torch.where(present[:, None], values, 0).permute(1, 2, 0)  # (bin, mark, row)
        if runs_by_hand(by_bin):
            weights, contexts = self._stacked()
            learns = torch.is_grad_enabled() and any(
                tensor.requires_grad for tensor in (by_bin, weights, contexts)
            )
            # What steps back in evaluation is large, and nobody would say when it is over.
            memory = self._memory if self.training or not learns else Memory()
            marks, bins = AttentiveLSTMs.apply(by_bin, weights, contexts, memory, learns)
        else:
            marks, bins = self._encode_bins(by_bin)
        marks = torch.where(present.T[:, :, None], self.dropout(marks), self.missing[:, None])
        outputs, _ = self.mark_lstm(marks)  # (mark, row, both directions)
        scores = (outputs @ self.mark_context).masked_fill(
            ~present.T, torch.finfo(outputs.dtype).min
        )
        attention = scores.softmax(dim=0) * present.T
        gene = (attention[:, :, None] * outputs).sum(dim=0)
        return Attended(
            self.output(self.dropout(gene)).squeeze(1),
            (bins * present.T).permute(2, 1, 0).detach(),
            attention.T.detach(),
        )

    def _encode_bins(self, by_bin: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the library's LSTMs: (bin, mark, row) → (mark, row, hidden), (bin, mark, row)."""
        means, weights = [], []
        for mark, lstm in enumerate(self.bin_lstms):
            outputs, _ = lstm(by_bin[:, mark, :, None].contiguous())
            attention = (outputs @ self.bin_context[mark]).softmax(dim=0)
            means.append((attention[:, :, None] * outputs).sum(dim=0))
            weights.append(attention)
        return torch.stack(means), torch.stack(weights, dim=1)

    def _stacked(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights and contexts of all marks and both directions, as `AttentiveLSTMs` takes them."""
        walks = []
        for suffix in ("", "_reverse"):

            def of_all(name: str, suffix: str = suffix) -> torch.Tensor:
                return torch.stack([getattr(x, f"{name}_l0{suffix}") for x in self.bin_lstms])

            bias = of_all("bias_ih") + of_all("bias_hh")
            walks.append(torch.cat([of_all("weight_hh"), of_all("weight_ih"), bias[:, :, None]], 2))
        return torch.cat(walks), torch.cat(self.bin_context.chunk(2, dim=1))[:, None]


def _initialize(lstm: nn.Module) -> None:
    """Weights that pass on a signal from the start, and cells that remember."""
    for name, parameter in lstm.named_parameters():
        gates = parameter.data.chunk(4)  # input, forget, candidate, output
        if name.startswith("bias"):
            nn.init.zeros_(parameter)
            if "_ih_" in name:  # its fellow is added to it
                nn.init.ones_(gates[1])
        else:
            for gate in gates:
                nn.init.orthogonal_(gate) if "_hh_" in name else nn.init.xavier_uniform_(gate)
