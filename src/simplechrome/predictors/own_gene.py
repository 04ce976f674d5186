"""What a gene's own latents say, as a part of predictors that look at neighbors as well."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr
from sklearn.base import clone

from simplechrome.errors import ConfigError
from simplechrome.predictors.predictor import Predictor
from simplechrome.predictors.rows import PAIR, known_targets

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
            from simplechrome.predictors.constant import ConstantPredictor

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
