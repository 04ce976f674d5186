"""A gene's own prediction, and what its neighbors change in it: attention over a sparse graph."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pandas as pd
import torch
import xarray as xr
from sklearn.base import clone
from torch import nn

from simplechrome.errors import ConfigError, ModelMismatchError, UnknownGeneError, did_you_mean
from simplechrome.predictors.linear import ConstantPredictor
from simplechrome.predictors.neighborhood_features import NeighborhoodFeatures, edge_features
from simplechrome.predictors.network import NetworkPredictor
from simplechrome.predictors.predictor import Predictor
from simplechrome.predictors.registry import PREDICTORS
from simplechrome.predictors.rows import PAIR, Rows, known_targets, pair_coords
from simplechrome.work.settings import Count, Dropout, Positive, check_options

Own = Literal["linear", "mlp", "boosting", "none"]
_FOLDS = 5
_EDGE_UNITS = 16


class Table(NamedTuple):
    """All genes and edges, which rows of a batch point into.

    latents : (cell_type, gene, latent)
    offsets : (gene + 1,)
    neighbor : (edge,)
    features : (edge, feature)
    expression : (cell_type, gene, 2 or 0), see `NeighborhoodFeatures`
    """

    latents: torch.Tensor
    offsets: torch.Tensor
    neighbor: torch.Tensor
    features: torch.Tensor
    expression: torch.Tensor


class Attended(NamedTuple):
    """Attention to the edges of a batch.

    row : (edge,) the batch's row whose edge it is
    edge : (edge,) which of the table's edges
    share : (edge, head) of the attention, without what goes to the empty neighbor
    value : (edge, head, value)
    """

    row: torch.Tensor
    edge: torch.Tensor
    share: torch.Tensor
    value: torch.Tensor


class NeighborhoodModule(nn.Module):
    """Attention pooling over neighbors' latents, and the change it makes to the prediction.

    The change is ``out · (relu(A pooled + B own + b) - relu(B own + b))``: exactly 0 where nothing
    is pooled, as for a gene without neighbors, whatever the weights. An empty
    neighbor with the value 0 is added, so that attention may turn away from all others.

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
        # Neighbors may matter in a range of distances, which is no linear function of it.
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

    def set_table(self, table: Table) -> None:
        """Set the genes and edges that rows point into. They are not part of the weights."""
        self._table = table

    def _table_on(self, device: torch.device) -> Table:
        if self._table is None:
            raise RuntimeError("call set_table first")
        if self._table.latents.device != device:
            self._table = Table(*(tensor.to(device) for tensor in self._table))
        return self._table

    def attend(self, index: torch.Tensor) -> tuple[torch.Tensor, Attended]:
        """(row, 2) of cell type and gene → own latents (row, latent), and attention."""
        table = self._table_on(index.device)
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
        edges = self.edge(table.features[edge])
        shape = (-1, self.heads, self.width)
        query = self.query(own).view(shape)[row]
        key = self.key(other).view(shape)
        score = (query * key).sum(-1) / math.sqrt(self.width) + self.bias(edges)
        # The largest score is subtracted before the exponential; that of the empty neighbor is 0.
        largest = score.new_zeros(len(gene), self.heads)
        largest = largest.scatter_reduce(0, row[:, None].expand_as(score), score.detach(), "amax")
        weight = torch.exp(score - largest[row])
        total = torch.exp(-largest).index_add(0, row, weight)
        value = self.value(other).view(shape) * torch.sigmoid(self.gate(edges)).view(shape)
        return own, Attended(row, edge, weight / total[row], value)

    def change(self, own: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
        """(row, latent), (row, head · value) → (row,) that is added to the prediction."""
        before = self.own_in(own)
        after = before + self.pooled_in(pooled)
        return self.out(self.dropout(torch.relu(after) - torch.relu(before))).flatten()

    def forward(self, index: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        """Return the prediction (row,): the gene's own, `offset`, and its neighbors' change."""
        own, attended = self.attend(index)
        weighted = (attended.share[..., None] * attended.value).flatten(1)
        pooled = own.new_zeros(len(index), self.heads * self.width)
        pooled = pooled.index_add(0, attended.row, weighted)
        return offset + self.change(own, pooled)

    @torch.inference_mode()
    def knock_out(self, index: torch.Tensor) -> tuple[Attended, torch.Tensor, torch.Tensor]:
        """Return attention, and the change of the prediction without a neighbor.

        Returns
        -------
        Attention; (edge,) the change when this neighbor is removed; (row,) when all are.
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


def make_own_predictor(own: str, task: Any, seed: int, threads: int | None) -> Predictor:
    """Return the unfitted predictor of a gene from its own latents; a constant for `none`."""
    if own == "none":
        return ConstantPredictor(task)
    predictor: Predictor = PREDICTORS.get(own)(task)
    known = predictor.get_params()
    changed = {"random_state": seed, "threads": threads}
    return predictor.set_params(**{name: v for name, v in changed.items() if name in known})


def own_values(predictor: Predictor, latents: xr.DataArray) -> np.ndarray:
    """Return log odds, or levels, of genes from their own latents, (cell_type, gene)."""
    scored: Any = predictor
    if predictor.task == "classification":
        return np.asarray(scored.decision_function(latents), np.float64)
    return np.asarray(scored.predict(latents), np.float64)


def cross_fitted_values(
    predictor: Predictor,
    latents: xr.DataArray,
    y: xr.DataArray | np.ndarray,
    validation: Any,
    seed: int,
) -> np.ndarray:
    """Return out-of-fold predictions: of genes by predictors that were fitted without them.

    Folds are of genes, as a gene's label in one cell type is close to that in another.

    Parameters
    ----------
    predictor
        Fitted on all of these. It predicts genes without a label; copies of it, fitted on the
        other folds, predict those with one.
    latents : (cell_type, gene, latent)
    y, validation
        See `Predictor.fit`.

    Returns
    -------
    (cell_type, gene), see `own_values`.
    """
    values = own_values(predictor, latents)
    target = np.asarray(y.transpose(*PAIR) if isinstance(y, xr.DataArray) else y)
    known = known_targets(target, predictor.task).reshape(target.shape)
    genes = np.flatnonzero(known.any(axis=0))
    order = np.random.default_rng([seed, 4]).permutation(genes)
    unknown = -1 if predictor.task == "classification" else np.nan
    for fold in np.array_split(order, min(_FOLDS, order.size)):
        rest = target.copy()
        rest[:, fold] = unknown
        others = rest[known & ~np.isin(np.arange(target.shape[1]), fold)]
        if others.size == 0 or (predictor.task == "classification" and np.unique(others).size < 2):
            continue  # too few labels without this fold
        without = clone(predictor)
        without.fit(latents, rest, validation=validation)
        values[:, fold] = own_values(without, latents.isel(gene=fold))
    return values


@dataclass(eq=False, repr=False, kw_only=True)
class NeighborhoodPredictor(NetworkPredictor):
    """A prediction from a gene's own latents, and attention over its neighbors that changes it.

    First a predictor learns from each gene by itself. Then a network learns what the neighbors'
    latents change in its log odds (or level), see `NeighborhoodModule`: nothing where a gene has
    no neighbors. It learns that change from out-of-fold predictions (cross-fitting), since those of
    genes that the first predictor was fitted on are too good. Where no change has a lower loss on
    held-out labels than any change, there is none, and `epochs_` is 0.

    It takes `NeighborhoodFeatures` in place of latents.

    Parameters
    ----------
    own
        The predictor from a gene's own latents: `linear`, `mlp` or `boosting`. With `none` they
        are withheld, and the neighbors alone move the prediction from the mean.
    heads, width
        Of the attention, and units per head.
    dropout
        Fraction of units set to 0 in training.
    epochs, early_stopping, patience, batch_size and others
        See `NetworkPredictor`.

    Attributes
    ----------
    own_
        The predictor from a gene's own latents, fitted on all labels.
    kinds_
        Of the neighbors that it was fitted on.
    """

    name = "neighborhood"
    title = "attention"
    needs_neighbors = True
    prefers_cpu = True

    own: Own = "linear"
    heads: Count = 2
    width: Count = 8
    dropout: Dropout = 0.2
    batch_size: Count = 256
    learning_rate: Positive = 5e-3

    def _make_module(self) -> nn.Module:
        sizes: dict[str, Any] = {
            name: getattr(self, name) for name in ("heads", "width", "dropout")
        }
        sizes |= {"n_expression": self.n_expression_, "see_own": self.own != "none"}
        module = NeighborhoodModule(self.n_latents_, self.n_edge_features_, **sizes)
        if getattr(self, "_table", None) is not None:
            module.set_table(self._table)
        return module

    def fit(
        self,
        x: Any,
        y: xr.DataArray | np.ndarray,
        *,
        validation: tuple[Any, Any] | None = None,
        checkpoints: str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Learn expression from `NeighborhoodFeatures` and labels; see `NetworkPredictor.fit`.

        Checkpoints are of the network; the predictor from own latents is fitted again on resuming.
        """
        check_options(self)
        features = _require_neighborhood_features(x)
        self.own_ = make_own_predictor(self.own, self.task, self.random_state, self.threads)
        own_validation = None
        if validation is not None:
            held_out = _require_neighborhood_features(validation[0])
            own_validation = held_out.own, validation[1]
        self.own_.fit(features.own, y, validation=own_validation)
        self.kinds_ = list(features.graph.kinds)
        self.n_latents_ = features.latents.shape[2]
        self.n_expression_ = _n_expression_features(features)
        self._set_table(features)
        offsets = cross_fitted_values(self.own_, features.own, y, own_validation, self.random_state)
        pair = None
        if validation is not None:
            pair = _index(held_out, own_values(self.own_, held_out.own)), validation[1]
        super().fit(
            _index(features, offsets), y, validation=pair, checkpoints=checkpoints, resume=resume
        )
        return self

    def _set_table(self, features: NeighborhoodFeatures) -> None:
        of_edges = edge_features(features.graph, features.width)
        self.n_edge_features_ = of_edges.shape[1]
        expression = features.expression
        if expression is None:
            expression = np.zeros((*features.latents.shape[:2], 0), np.float32)
        self._table = Table(
            torch.from_numpy(np.array(features.latents.values, np.float32)),
            torch.from_numpy(features.graph.offsets.copy()),
            torch.from_numpy(features.graph.neighbor.astype(np.int64)),
            torch.from_numpy(of_edges),
            torch.from_numpy(expression.copy()),
        )

    def _fit_rows(self, rows: Rows, validation: Rows | None) -> None:
        super()._fit_rows(rows, validation)
        if validation is None and self.early_stopping:
            folds = self._inner_folds(rows)
            if len(folds) != 1:
                return  # `_choose_epochs` has chosen, none at all perhaps
            validation = folds[0][1]
        if validation is None or not self.early_stopping:
            return
        best = min(row["validation_loss"] for row in self.history_)
        if best >= self._loss_without_change(validation):
            self.epochs_ = 0
            nn.init.zeros_(self.module_.out.weight)  # type: ignore[union-attr, arg-type]

    def _choose_epochs(self, folds: list[tuple[Rows, Rows]]) -> int:
        curve = self._held_out_losses(folds)
        if curve is None:
            return max(1, self.epochs // 4)
        unchanged = np.mean([self._loss_without_change(held) for _, held in folds])
        return int(curve.argmin()) + 1 if curve.min() < unchanged else 0

    def _loss_without_change(self, rows: Rows) -> float:
        offset, y = rows.x[:, 2], rows.y
        if self.task == "classification":
            return float(np.mean(np.logaddexp(0, offset) - y * offset))
        return float(np.mean(np.square((y - offset) / self.scale_)))

    def _inputs(self, x: np.ndarray) -> tuple[torch.Tensor, ...]:
        offset = ((x[:, 2] - self.center_) / self.scale_).astype(np.float32)
        return torch.from_numpy(x[:, :2].astype(np.int64)), torch.from_numpy(offset)

    def _see(self, x: Any) -> Any:
        if isinstance(x, xr.DataArray) and x.sizes.get("index") == 3:
            return x
        features = _require_neighborhood_features(x)
        kinds, n_latents = list(features.graph.kinds), features.latents.shape[2]
        if (kinds, n_latents) != (self.kinds_, self.n_latents_):
            raise ModelMismatchError(
                f"Neighbors of the kinds {', '.join(kinds)} with {n_latents} latents are not those "
                f"of the fit: {', '.join(self.kinds_)} with {self.n_latents_} latents.",
                "use the encoder and the neighbor graphs of the fit",
            )
        if _n_expression_features(features) != self.n_expression_:
            used = "uses" if self.n_expression_ else "does not use"
            raise ModelMismatchError(
                f"The predictor {used} the neighbors' expression, unlike these features.",
                "call make_neighborhood_features with, or without, expression=",
            )
        self._set_table(features)
        self.module_.set_table(self._table)  # type: ignore[operator]
        return _index(features, own_values(self.own_, features.own))

    def explain(self, x: NeighborhoodFeatures, gene_ids: list[str]) -> pd.DataFrame:
        """Return how much each neighbor moved the prediction of these genes.

        It takes NeighborhoodFeatures of all genes.

        Returns
        -------
        One row an edge and cell type, those of a gene by the size of their effect: gene_id,
        cell_type, neighbor_id, kind, distance, attention (fraction of it, mean over heads),
        knock_out (the prediction with the neighbor minus that without it, in log odds or in the
        units that are predicted), all_neighbors (the same of all together).

        Attention is where the model looked, which is no evidence that it mattered; the knock-out
        is what would be predicted without.

        Raises
        ------
        UnknownGeneError
            If a gene is not there.
        """
        self._see(x)
        ids = pd.Index(x.graph.gene_id)
        rows = ids.get_indexer(list(gene_ids))
        if (rows < 0).any():
            missing = next(gene for gene, row in zip(gene_ids, rows, strict=True) if row < 0)
            raise UnknownGeneError(
                f"There is no gene {missing!r}.", did_you_mean(missing, list(ids))
            )
        names = [str(name) for name in x.latents["cell_type"].values]
        index = torch.tensor([[cell, int(row)] for cell in range(len(names)) for row in rows])
        attended, without, without_all = self.module_.knock_out(index)  # type: ignore[operator]
        row, edge = attended.row.numpy(), attended.edge.numpy()
        table = x.graph.to_frame().iloc[edge].reset_index(drop=True)
        table.insert(1, "cell_type", np.array(names, dtype=object)[index[row, 0].numpy()])
        table["attention"] = attended.share.mean(dim=1).numpy()
        table["knock_out"] = -without.numpy() * self.scale_
        table["all_neighbors"] = -without_all.numpy()[row] * self.scale_
        order = np.lexsort((-np.abs(table["knock_out"].to_numpy()), row))
        return table.iloc[order].reset_index(drop=True)

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        numbers, arrays = super()._state()
        own_numbers, own_arrays = self.own_._state()
        kept = ("kinds", "n_latents", "n_expression", "n_edge_features")
        numbers |= {name: getattr(self, f"{name}_") for name in kept}
        numbers |= {"own": own_numbers, "own_features": getattr(self.own_, "features_", None)}
        return numbers, arrays | {f"own.{name}": value for name, value in own_arrays.items()}

    def _restore(self, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.kinds_, self.n_latents_ = numbers["kinds"], numbers["n_latents"]
        self.n_edge_features_ = numbers["n_edge_features"]
        self.n_expression_ = numbers.get("n_expression", 0)
        inside = {n.removeprefix("own."): v for n, v in arrays.items() if n.startswith("own.")}
        self.own_ = make_own_predictor(self.own, self.task, self.random_state, self.threads)
        if self.task == "classification":
            self.own_.classes_ = self.classes_
        self.own_.n_features_in_ = self.n_latents_
        if numbers["own_features"] is not None:
            self.own_.features_ = numbers["own_features"]
        self.own_._restore(numbers["own"], inside)
        super()._restore(numbers, {n: v for n, v in arrays.items() if not n.startswith("own.")})


def _require_neighborhood_features(x: Any) -> NeighborhoodFeatures:
    if not isinstance(x, NeighborhoodFeatures):
        raise ConfigError(
            f"The predictor needs NeighborhoodFeatures, not {type(x).__name__}.",
            "call make_neighborhood_features(encoder.transform(dataset), graph, dataset)",
        )
    return x


def _n_expression_features(features: NeighborhoodFeatures) -> int:
    return 0 if features.expression is None else features.expression.shape[2]


def _index(features: NeighborhoodFeatures, offsets: np.ndarray) -> xr.DataArray:
    """Return (cell_type, gene, 3): position of the cell type, of the gene, own prediction."""
    latents = features.own
    cells, genes = latents.shape[:2]
    values = np.empty((cells, genes, 3))
    values[..., 0] = np.arange(cells)[:, np.newaxis]
    values[..., 1] = features.positions
    values[..., 2] = offsets
    return xr.DataArray(values, dims=(*PAIR, "index"), coords=pair_coords(latents))
