"""How many labels does each representation need?"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from simplechrome import metrics
from simplechrome.dataset.splits import Split, draw_labels
from simplechrome.predictors.linear import LinearPredictor
from simplechrome.schema import UNKNOWN_LABEL

log = logging.getLogger(__name__)


def label_efficiency(
    split: Split,
    latents: Mapping[str, tuple[xr.DataArray, xr.DataArray]],
    n_labels: Sequence[int | None],
    *,
    draws: int = 5,
) -> pd.DataFrame:
    """How well does a linear head do on each representation with few labels and with all?

    All representations see the same draws of labels; each head chooses its penalty inside the
    labels that it is given.

    Parameters
    ----------
    split
        The genes.
    latents
        Name of a representation → its latents of the training and of the test genes.
    n_labels
        Numbers of labels; None for all.
    draws
        Seeds 0, 1, … of the label draw; all labels are drawn once.

    Returns
    -------
    One row a score: representation, n_labels, draw, auroc (of the test genes).
    """
    rows = []
    truth = split.test["label"].values.ravel()
    known = truth != UNKNOWN_LABEL
    all_labels = int((split.train["label"].values != UNKNOWN_LABEL).any(axis=0).sum())
    for count in n_labels:
        for draw in range(1 if count is None else draws):
            genes = (
                np.arange(split.train.sizes["gene"])
                if count is None
                else draw_labels(split.train, count, draw)
            )
            for name, (train, test) in latents.items():
                head = LinearPredictor(random_state=draw)
                head.fit(train.isel(gene=genes), split.train["label"].isel(gene=genes))
                score = np.asarray(head.decision_function(test)).ravel()
                rows.append(
                    {
                        "representation": name,
                        "n_labels": all_labels if count is None else count,
                        "draw": draw,
                        "auroc": metrics.auroc(truth[known], score[known]),
                    }
                )
        log.info("scored with %s labels", "all" if count is None else count)
    return pd.DataFrame(rows)


def summarize(scores: pd.DataFrame) -> pd.DataFrame:
    """What are mean and spread over draws?

    Returns
    -------
    One row per representation and number of labels: mean, and low and high (mean ± one standard
    deviation over draws; NaN with a single draw).
    """
    grouped = scores.groupby(["representation", "n_labels"], sort=False)["auroc"]
    table = grouped.agg(["mean", "std"]).reset_index()
    table["low"], table["high"] = table["mean"] - table["std"], table["mean"] + table["std"]
    return table
