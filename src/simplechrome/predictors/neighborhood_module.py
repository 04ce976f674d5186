"""What neighbors add to a gene's own prediction: attention over a sparse set of edges."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import nn

_EDGE_UNITS = 16


class Table(NamedTuple):
    """All genes and edges, as the module looks them up.

    latents : (cell_type, gene, latent)
    offsets : (gene + 1,)
    neighbor : (edge,)
    features : (edge, feature)
    told : (cell_type, gene, 2 or 0)
        What a gene tells as a neighbor beside its latents.
    """

    latents: torch.Tensor
    offsets: torch.Tensor
    neighbor: torch.Tensor
    features: torch.Tensor
    expression: torch.Tensor


class Attended(NamedTuple):
    """What attention did with the edges of a batch.

    row : (edge,) the batch's row whose edge it is
    edge : (edge,) which of the table's edges
    share : (edge, head) of the attention, what goes to the empty neighbor left out
    value : (edge, head, value)
    """

    row: torch.Tensor
    edge: torch.Tensor
    share: torch.Tensor
    value: torch.Tensor


class NeighborhoodModule(nn.Module):
    """Attention pooling over neighbors' latents, and what it changes in the gene's prediction.

    The change is ``out · (relu(A pooled + B own + b) - relu(B own + b))``: exactly 0 where nothing
    is pooled, as for a gene without neighbors, whatever the weights. Beside the neighbors stands
    an empty one with the value 0, so that attention may turn away from all of them.

    Edges are gathered and summed by index: memory is that of the batch's edges.
    """

    def __init__(
        self,
        n_latent: int,
        n_features: int,
        *,
        heads: int,
        width: int,
        dropout: float,
        n_expression: int = 0,
        see_own: bool = True,
    ) -> None:
        super().__init__()
        self.heads, self.width, self.see_own = heads, width, see_own
        self.query = nn.Linear(n_latent, heads * width)
        self.key = nn.Linear(n_latent + n_expression, heads * width)
        # Neighbors may matter from one distance to another, which no line of the distance tells.
        self.edge = nn.Sequential(nn.Linear(n_features, _EDGE_UNITS), nn.Tanh())
        self.bias = nn.Linear(_EDGE_UNITS, heads)
        self.value = nn.Linear(n_latent + n_expression, heads * width, bias=False)
        self.gate = nn.Linear(_EDGE_UNITS, heads * width)
        self.dropout = nn.Dropout(dropout)
        self.pooled_in = nn.Linear(heads * width, 2 * width, bias=False)
        self.own_in = nn.Linear(n_latent, 2 * width)
        self.out = nn.Linear(2 * width, 1, bias=False)
        nn.init.zeros_(self.out.weight)
        self._table: Table | None = None

    def surround(self, table: Table) -> None:
        """Set the genes and edges that rows point into. They are no part of the weights."""
        self._table = table

    def _where(self, device: torch.device) -> Table:
        if self._table is None:
            raise RuntimeError("call surround first")
        if self._table.latents.device != device:
            self._table = Table(*(tensor.to(device) for tensor in self._table))
        return self._table

    def attend(self, index: torch.Tensor) -> tuple[torch.Tensor, Attended]:
        """Own latents (row, latent), and attention, for rows (row, 2) of cell type and gene."""
        table = self._where(index.device)
        cell, gene = index[:, 0], index[:, 1]
        own = table.latents[cell, gene]
        if not self.see_own:
            own = torch.zeros_like(own)
        start = table.offsets[gene]
        count = table.offsets[gene + 1] - start
        row = torch.repeat_interleave(torch.arange(len(gene), device=gene.device), count)
        first = torch.cumsum(count, 0) - count
        edge = torch.arange(len(row), device=gene.device) - first[row] + start[row]
        neighbors = cell[row], table.neighbor[edge]
        other = torch.cat([table.latents[neighbors], table.expression[neighbors]], dim=-1)
        way = self.edge(table.features[edge])
        shape = (-1, self.heads, self.width)
        query = self.query(own).view(shape)[row]
        key = self.key(other).view(shape)
        score = (query * key).sum(-1) / math.sqrt(self.width) + self.bias(way)
        # The largest score is taken off before the exponential; that of the empty neighbor is 0.
        largest = torch.zeros(len(gene), self.heads, dtype=score.dtype, device=gene.device)
        largest = largest.scatter_reduce(
            0, row[:, None].expand_as(score), score.detach(), "amax", include_self=True
        )
        weight = torch.exp(score - largest[row])
        total = torch.exp(-largest).index_add(0, row, weight)
        value = self.value(other).view(shape) * torch.sigmoid(self.gate(way)).view(shape)
        return own, Attended(row, edge, weight / total[row], value)

    def change(self, own: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
        """(row,) what is added to the prediction, from (row, latent) and (row, head · value)."""
        before = self.own_in(own)
        after = before + self.pooled_in(pooled)
        return self.out(self.dropout(torch.relu(after) - torch.relu(before))).flatten()

    def forward(self, index: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        """(row,) prediction: the gene's own, `offset`, and what its neighbors change in it."""
        own, attended = self.attend(index)
        pooled = torch.zeros(
            len(index), self.heads * self.width, dtype=own.dtype, device=own.device
        )
        weighted = (attended.share[..., None] * attended.value).flatten(1)
        pooled = pooled.index_add(0, attended.row, weighted)
        return offset + self.change(own, pooled)

    @torch.inference_mode()
    def knock_out(self, index: torch.Tensor) -> tuple[Attended, torch.Tensor, torch.Tensor]:
        """By how much would each neighbor's absence change the prediction?

        Returns
        -------
        Attention; (edge,) the change of the prediction when this one is taken away; (row,) when
        all are.
        """
        own, attended = self.attend(index)
        row, share, value = attended.row, attended.share.double(), attended.value.double()
        weighted = share[..., None] * value
        pooled = torch.zeros(len(index), *weighted.shape[1:], dtype=torch.float64)
        pooled = pooled.index_add(0, row, weighted)
        # Without one of them the shares of the others, and of the empty one, grow to 1 again.
        left = (pooled[row] - weighted) / (1 - share).clamp_min(1e-12)[..., None]
        whole = self.change(own, pooled.flatten(1).to(own.dtype)).double()
        without = self.change(own[row], left.flatten(1).to(own.dtype)).double()
        return attended, without - whole[row], -whole
