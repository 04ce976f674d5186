"""A gene's own prediction, and what its neighbors change in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import torch
import xarray as xr
from sklearn.base import clone
from torch import nn

from simplechrome.errors import ConfigError, ModelMismatchError, UnknownGeneError, did_you_mean
from simplechrome.predictors.neighborhood_features import NeighborhoodFeatures, edge_features
from simplechrome.predictors.neighborhood_module import NeighborhoodModule, Table
from simplechrome.predictors.network import NetworkPredictor
from simplechrome.predictors.predictor import Predictor
from simplechrome.predictors.rows import PAIR, Rows, inner_folds, known_targets
from simplechrome.training.settings import Device, TrainingSettings
from simplechrome.work.settings import AtLeastTwo, Count, Dropout, NotNegative, Positive

Own = Literal["linear", "mlp", "boosting", "none"]
_FOLDS = 5


def make_own_predictor(own: str, task: str, seed: int, threads: int | None) -> Predictor:
    """Which predictor looks at a gene by itself? With `none`, one that says the same of all.

    Raises
    ------
    ConfigError
        If there is none of this name.
    """
    match own:
        case "none":
            from simplechrome.predictors.linear import ConstantPredictor

            return ConstantPredictor(task)
        case "linear":
            from simplechrome.predictors.linear import LinearPredictor

            return LinearPredictor(task, random_state=seed)
        case "mlp":
            from simplechrome.predictors.mlp import MLPPredictor

            return MLPPredictor(task, random_state=seed, threads=threads)
        case "boosting":
            from simplechrome.predictors.boosting import BoostingPredictor

            return BoostingPredictor(task, random_state=seed)
    raise ConfigError(
        "There is no such predictor of a gene by itself.",
        found=str(own),
        expected="linear, mlp, boosting or none",
    )


def own_values(predictor: Predictor, latents: xr.DataArray) -> np.ndarray:
    """(cell_type, gene) log odds, or levels, of genes by themselves."""
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
    """What is said of genes by predictors that had not seen them?

    Folds are of genes: a gene of one cell type would tell of itself in another.

    Parameters
    ----------
    predictor
        Fitted on all of these. It says what there is to say of genes without a label; the others
        are left to copies of it that are fitted without them.
    latents : (cell_type, gene, latent)
    y : (cell_type, gene)
    validation
        See `Predictor.fit`.
    seed
        Of the folds.

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
        left = rest[known & ~np.isin(np.arange(target.shape[1]), fold)]
        if left.size == 0 or (predictor.task == "classification" and np.unique(left).size < 2):
            continue  # too few labels to do without these
        without = clone(predictor)
        without.fit(latents, rest, validation=validation)
        values[:, fold] = own_values(without, latents.isel(gene=fold))
    return values


class NeighborhoodPredictor(NetworkPredictor):
    """A prediction from a gene's own latents, and attention over its neighbors that changes it.

    First a predictor learns from each gene by itself. Then a network learns what the neighbors'
    latents change in its log odds (or level), see `NeighborhoodModule`: nothing where a gene has
    no neighbors. What it is to change is told by predictions of genes that the first predictor
    had not seen (cross-fitting), since those of genes that it has seen are too good. Where
    held-out labels say that no change is better than any, there is none, and `epochs_` is 0.

    It takes `NeighborhoodFeatures` in place of latents.

    Parameters
    ----------
    task
        `classification` or `regression`.
    own
        Which predictor a gene's own latents are for: `linear`, `mlp` or `boosting`. With `none`
        they are withheld, and the neighbors alone tell the gene from the mean.
    heads, width
        Of the attention, and units per head.
    dropout
        Share of units left out in training.
    epochs, early_stopping, patience, batch_size, learning_rate, weight_decay, n_folds, \
hold_out_from, random_state, device, threads
        See `MLPPredictor`.

    Attributes
    ----------
    own_
        The predictor of genes by themselves, fitted on all labels.
    epochs_, history_, interrupted_
        See `MLPPredictor`.
    kinds_
        Of the neighbors that it was fitted on.
    """

    name = "neighborhood"
    title = "attention"
    needs_neighbors = True
    prefers_cpu = True

    def __init__(
        self,
        task: str = "classification",
        *,
        own: Own = "linear",
        heads: Count = 2,
        width: Count = 8,
        dropout: Dropout = 0.2,
        epochs: Count = 40,
        early_stopping: bool = True,
        patience: Count = 6,
        batch_size: Count = 256,
        learning_rate: Positive = 5e-3,
        weight_decay: NotNegative = 1e-2,
        n_folds: AtLeastTwo = 5,
        hold_out_from: AtLeastTwo = 1000,
        random_state: int = 0,
        device: Device = "cpu",
        threads: int | None = None,
    ) -> None:
        self.task = task
        self.own = own
        self.heads = heads
        self.width = width
        self.dropout = dropout
        self.epochs = epochs
        self.early_stopping = early_stopping
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.n_folds = n_folds
        self.hold_out_from = hold_out_from
        self.random_state = random_state
        self.device = device
        self.threads = threads

    def _make_module(self) -> nn.Module:
        module = NeighborhoodModule(
            self.n_latents_,
            self.n_edge_features_,
            heads=self.heads,
            width=self.width,
            dropout=self.dropout,
            n_expression=self.n_expression_,
            see_own=self.own != "none",
        )
        if getattr(self, "_table", None) is not None:
            module.surround(self._table)
        return module

    def _settings(self, epochs: int, patience: int, n_rows: int) -> TrainingSettings:
        return TrainingSettings(
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

    def fit(
        self,
        x: Any,
        y: xr.DataArray | np.ndarray,
        *,
        validation: tuple[Any, Any] | None = None,
        checkpoints: str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Learn expression from genes and their neighbors; see `NetworkPredictor.fit`.

        Parameters
        ----------
        x
            `NeighborhoodFeatures` of the genes that are learned from.
        y : (cell_type, gene)
            Their labels; -1 (classification) or NaN (regression) where unknown.
        validation
            The same two of other genes: for choices, not for learning.
        checkpoints, resume
            Of the network; the predictor of genes by themselves is fitted again.
        """
        around = _require_neighborhood_features(x)
        self.own_ = make_own_predictor(self.own, self.task, self.random_state, self.threads)
        own_validation = None
        if validation is not None:
            seen = _require_neighborhood_features(validation[0])
            own_validation = seen.own, validation[1]
        self.own_.fit(around.own, y, validation=own_validation)
        self.kinds_ = list(around.graph.kinds)
        self.n_latents_ = around.latents.shape[2]
        self.n_expression_ = _n_expression_features(around)
        self._surround(around)
        offsets = cross_fitted_values(self.own_, around.own, y, own_validation, self.random_state)
        pair = None
        if validation is not None:
            alone = own_values(self.own_, _require_neighborhood_features(validation[0]).own)
            pair = _index(validation[0], alone), validation[1]
        super().fit(
            _index(around, offsets), y, validation=pair, checkpoints=checkpoints, resume=resume
        )
        return self

    def _surround(self, around: NeighborhoodFeatures) -> None:
        features = edge_features(around.graph, around.width)
        self.n_edge_features_ = features.shape[1]
        self._table = Table(
            torch.from_numpy(np.array(around.latents.values, np.float32)),
            torch.from_numpy(around.graph.offsets.copy()),
            torch.from_numpy(around.graph.neighbor.astype(np.int64)),
            torch.from_numpy(features),
            torch.from_numpy(
                np.zeros((*around.latents.shape[:2], 0), np.float32)
                if around.expression is None
                else around.expression.copy()
            ),
        )

    def _fit_rows(self, rows: Rows, validation: Rows | None) -> None:
        super()._fit_rows(rows, validation)
        if validation is None and self.early_stopping:
            folds = inner_folds(
                rows,
                self.task,
                n_folds=self.n_folds,
                hold_out_from=self.hold_out_from,
                seed=self.random_state,
            )
            if len(folds) != 1:
                return  # `_choose_epochs` has chosen, none at all perhaps
            validation = Rows(rows.x[folds[0][1]], rows.y[folds[0][1]])
        if validation is None or not self.early_stopping:
            return
        best = min(row["validation_loss"] for row in self.history_)
        if best >= self._loss_without_change(validation):
            self._forget()

    def _choose_epochs(self, rows: Rows, folds: list[tuple[np.ndarray, np.ndarray]]) -> int:
        curve = self._held_out_losses(rows, folds)
        if curve is None:
            return max(1, self.epochs // 4)
        out = [Rows(rows.x[held], rows.y[held]) for _, held in folds]
        unchanged = np.mean([self._loss_without_change(part) for part in out])
        return int(curve.argmin()) + 1 if curve.min() < unchanged else 0

    def _loss_without_change(self, rows: Rows) -> float:
        offset, y = rows.x[:, 2], rows.y
        if self.task == "classification":
            return float(np.mean(np.logaddexp(0, offset) - y * offset))
        return float(np.mean(np.square((y - offset) / self.scale_)))

    def _forget(self) -> None:
        self.epochs_ = 0
        with torch.no_grad():
            self.module_.out.weight.zero_()  # type: ignore[union-attr, operator]

    def _inputs(self, x: np.ndarray) -> tuple[torch.Tensor, ...]:
        offset = (x[:, 2] - self.center_) / self.scale_
        return (
            torch.from_numpy(x[:, :2].astype(np.int64)),
            torch.from_numpy(offset.astype(np.float32)),
        )

    def _see(self, x: Any) -> Any:
        if isinstance(x, xr.DataArray) and x.sizes.get("index") == 3:
            return x
        around = _require_neighborhood_features(x)
        if list(around.graph.kinds) != self.kinds_ or around.latents.shape[2] != self.n_latents_:
            raise ModelMismatchError(
                "The neighbors are not of the kinds that the predictor was fitted on.",
                found=f"{', '.join(around.graph.kinds)}; {around.latents.shape[2]} latents",
                expected=f"{', '.join(self.kinds_)}; {self.n_latents_} latents",
            )
        if _n_expression_features(around) != self.n_expression_:
            raise ModelMismatchError(
                "Neighbors must tell their expression where the predictor was fitted so, and "
                "nowhere else.",
                found="neighbors that tell it"
                if _n_expression_features(around)
                else "neighbors that do not",
                expected="the other",
                remedy="make_neighborhood_features with, or without, expression=",
            )
        self._surround(around)
        self.module_.surround(self._table)  # type: ignore[operator]
        return _index(around, own_values(self.own_, around.own))

    def decision_function(self, x: Any) -> Any:
        """How far is each gene on the high side? Log odds of the higher class."""
        return super().decision_function(self._see(x))

    def predict_proba(self, x: Any) -> Any:
        """How probable is each class? See `Predictor.predict_proba`."""
        return super().predict_proba(self._see(x))

    def predict(self, x: Any) -> Any:
        """What is each gene's class, or its expression?"""
        return super().predict(self._see(x))

    def explain(self, x: NeighborhoodFeatures, gene_ids: list[str]) -> pd.DataFrame:
        """Which neighbors moved the prediction of these genes, and by how much?

        Parameters
        ----------
        x
            NeighborhoodFeatures of all genes.
        gene_ids
            Of the genes that are asked about.

        Returns
        -------
        One row an edge and cell type, those of a gene by the size of their effect: gene_id,
        cell_type, neighbor_id, kind, distance, attention (share of it, mean over heads), knock_out
        (the prediction with the neighbor less that without it, in log odds or in the units that
        are predicted), all_neighbors (the same of all together).

        Attention says where the model looked, which is no evidence that it mattered; the knock-out
        says what would be predicted without.

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
                f"There is no gene {missing!r}.", remedy=did_you_mean(missing, list(ids))
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
        numbers |= {
            "kinds": self.kinds_,
            "n_latents": self.n_latents_,
            "n_expression": self.n_expression_,
            "n_edge_features": self.n_edge_features_,
            "own": own_numbers,
            "own_features": getattr(self.own_, "features_", None),
        }
        return numbers, arrays | {f"own.{name}": value for name, value in own_arrays.items()}

    def _restore(self, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.kinds_, self.n_latents_ = numbers["kinds"], numbers["n_latents"]
        self.n_edge_features_ = numbers["n_edge_features"]
        self.n_expression_ = numbers.get("n_expression", 0)
        inside = {name: value for name, value in arrays.items() if name.startswith("own.")}
        self.own_ = make_own_predictor(self.own, self.task, self.random_state, self.threads)
        if self.task == "classification":
            self.own_.classes_ = self.classes_
        self.own_.n_features_in_ = self.n_latents_
        if numbers["own_features"] is not None:
            self.own_.features_ = numbers["own_features"]
        self.own_._restore(
            numbers["own"], {name.removeprefix("own."): value for name, value in inside.items()}
        )
        super()._restore(numbers, {n: v for n, v in arrays.items() if n not in inside})


def _require_neighborhood_features(x: Any) -> NeighborhoodFeatures:
    if not isinstance(x, NeighborhoodFeatures):
        raise ConfigError(
            "Genes are given without their neighbors.",
            found=type(x).__name__,
            expected="NeighborhoodFeatures",
            remedy="make_neighborhood_features(encoder.transform(dataset), graph, dataset)",
        )
    return x


def _n_expression_features(around: NeighborhoodFeatures) -> int:
    return 0 if around.expression is None else around.expression.shape[2]


def _index(x: Any, offsets: np.ndarray) -> xr.DataArray:
    """(cell_type, gene, index = 3): row of the cell type, row of the gene, own prediction."""
    around = _require_neighborhood_features(x)
    latents = around.own
    cells, genes = latents.shape[:2]
    values = np.empty((cells, genes, 3))
    values[..., 0] = np.arange(cells)[:, np.newaxis]
    values[..., 1] = around.positions
    values[..., 2] = offsets
    coords = {n: c for n, c in latents.coords.items() if c.dims in ((PAIR[0],), (PAIR[1],))}
    return xr.DataArray(values, dims=(*PAIR, "index"), coords=coords)
