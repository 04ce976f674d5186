"""What a benchmark has predicted, before anything is counted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

CONDITION = ("cell_type", "protocol", "trained_on", "split", "fold")
"""What tells test sets apart.

cell_type : whose genes are scored
protocol : `within` (trained on the same cell type) or `transfer` (on another)
trained_on : the cell type whose labels were used
split : `chromosome`, `published`, `random` or `fold`
fold : number of the fold; 0 for splits without folds
"""
MODEL = ("representation", "predictor")
CELL = (*MODEL, "n_labels", "all_labels", "draw", "seed")
"""What tells the predictions of one test set apart.

n_labels : labels that were used, as a number; `all_labels` says whether these were all
draw : which draw of labels; 0 with all labels
seed : of the weights
"""
NO_REPRESENTATION = "none"
"""Representation of the baselines that know nothing of histones: `gene_mean` and `majority`."""


class TestSet(NamedTuple):
    """Predictions for the held-out genes of one condition.

    genes : one row a gene with a known target: gene_id, chrom, tss, target (label 1 or 0, or
        log2 of expression + 1)
    cells : one row a fitted model: the columns of `CELL`, and seconds, chosen (what it chose, as
        `C 0.003` or `17 epochs`)
    predictions : (cell, gene) float64, probability of the label 1, or log2 of expression + 1
    """

    genes: pd.DataFrame
    cells: pd.DataFrame
    predictions: np.ndarray


TestSet.__test__ = False  # type: ignore[attr-defined]  # not a test, whatever its name


class BenchmarkResults(NamedTuple):
    """All that a finished grid holds.

    task : `classification` or `regression`
    test_sets : by condition, a tuple in the order of `CONDITION`
    controls : one row a model trained on permuted labels: the columns of `CONDITION` and `CELL`,
        then value (AUROC, or Pearson correlation); draw is the number of the permutation
    not_applicable : one row a model that makes no sense: representation, predictor, reason
    """

    task: str
    test_sets: dict[tuple[str, str, str, str, int], TestSet]
    controls: pd.DataFrame
    not_applicable: pd.DataFrame
