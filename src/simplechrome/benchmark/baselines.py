"""Predictions that know nothing of histones: what a gene does elsewhere, and the majority."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import xarray as xr

from simplechrome.predictors.linear import LinearPredictor

log = logging.getLogger(__name__)

GENE_MEAN, MAJORITY = "gene_mean", "majority"


def expression_elsewhere(
    dataset: xr.Dataset, cell_type: str, table: pd.DataFrame | None = None
) -> np.ndarray | None:
    """How much is each gene expressed in the other cell types, on average?

    Parameters
    ----------
    dataset
        Its other cell types count.
    cell_type
        The one that is left out, in the dataset and in the table.
    table : (gene_id, cell_type)
        Expression of more cell types, as `read_expression` returns it; in the place of the
        dataset's own where both know a cell type.

    Returns
    -------
    (gene,), mean of log2(expression + 1); NaN for genes that none of them knows. None where there
    is no other cell type.
    """
    names = [str(name) for name in dataset["cell_type"].values]
    levels = pd.DataFrame(
        dataset["expression"].values.T, index=dataset["gene_id"].values, columns=names
    )
    if table is not None:
        more = table.reindex(levels.index)
        levels = pd.concat([levels.drop(columns=more.columns, errors="ignore"), more], axis=1)
    others = levels.drop(columns=cell_type).dropna(axis=1, how="all")
    if others.empty:
        return None
    mean: pd.Series = np.log2(others + 1).mean(axis=1)
    return mean.to_numpy()


def gene_mean_predictions(
    prior: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, task: str
) -> np.ndarray:
    """What does a gene's expression elsewhere say of it here?

    One number a gene, made a probability or a level by regression on the training genes; the
    order of the genes is that of the number.

    Parameters
    ----------
    prior : (gene,)
        See `expression_elsewhere`. Genes that are unknown elsewhere get the mean.
    y : (gene,)
        Label, or log2(expression + 1).
    train, test
        Positions of genes; all of `train` have a target.

    Returns
    -------
    (test gene,), probability of the label 1, or level.
    """
    values = np.where(np.isfinite(prior), prior, np.nanmean(prior[train]))[:, np.newaxis]
    head = LinearPredictor(task, Cs=(1.0,)).fit(values[train], y[train])
    if task == "classification":
        return np.asarray(head.predict_proba(values[test]))[:, 1]
    return np.asarray(head.predict(values[test]))


def constant_predictions(y: np.ndarray, train: np.ndarray, n_test: int) -> np.ndarray:
    """What is said of every gene by who knows the training genes' share, or mean, alone?

    Its class is the majority's.
    """
    return np.full(n_test, float(np.mean(y[train])))
