"""Would a benchmark find something where there is nothing? Labels permuted, in two ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata, t
from threadpoolctl import threadpool_limits

from simplechrome.benchmark.summary import CONDITION, MODEL, BenchmarkResults, TestSet
from simplechrome.metrics import metrics_of

TRAINED, TESTED = "trained on permuted labels", "scored on permuted labels"
FEWEST = 10
"""Trainings on permuted labels, below which the interval is so wide that it could not fail."""
_LEVEL = 0.99  # with twenty models one of twenty 95 % intervals would miss by chance alone


def control_table(
    results: BenchmarkResults, *, n_permutations: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Does every model fall to chance where labels are dealt out at random?

    Two controls. Models trained on permuted labels, each time others: a single one may lie
    anywhere (its direction is random, but along the first component), their mean must not. And
    the models themselves, scored on permuted labels of the test genes, for those that take too
    long to be trained again.

    Parameters
    ----------
    results
        Of a finished grid.
    n_permutations
        Of the test labels.
    seed
        Of these.

    Returns
    -------
    No row for models that were trained on permuted labels less than `FEWEST` times. One row a
    condition, model and control: the columns of `CONDITION` and `MODEL`, control,
    n_labels, n (permutations), mean, standard_deviation, standard_error, low, high, covers_chance.
    Of models that were trained on permuted labels, low and high are the 99 % interval of the mean
    (Student's t); of others, the range of 99 % of the permutations.
    """
    rows = []
    chance = metrics_of(results.task)[0].chance or 0.0
    keys = [*CONDITION, *MODEL, "n_labels"]
    if len(results.controls):
        for name, own in results.controls.groupby(keys, sort=False)["value"]:
            if len(own) < FEWEST:
                continue
            about = _named(keys, name) | {"control": TRAINED}
            rows.append(about | _mean_and_error(own.to_numpy(), chance))
    for condition, scored in results.test_sets.items():
        place = _named(list(CONDITION), condition)
        values = _scores_of_permutations(scored, results.task, n_permutations, seed)
        models = [*MODEL, "n_labels"]
        for key, at in scored.cells.groupby(models, sort=False).indices.items():
            # The mean over draws, permutation by permutation: all draws see the same ones.
            mean = values[at].mean(axis=0)
            if np.isfinite(mean).all():
                about = place | _named(models, key) | {"control": TESTED}
                rows.append(about | _range(mean, chance))
    return pd.DataFrame(rows)


def _named(names: list[str], values: Any) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))


def _mean_and_error(values: np.ndarray, chance: float) -> dict[str, Any]:
    """Between which values does the mean of all permutations lie?"""
    n = values.size
    error = float(values.std(ddof=1)) / n**0.5 if n > 1 else np.nan
    half = float(t.ppf(0.5 + _LEVEL / 2, n - 1)) * error if n > 1 else np.nan
    mean = float(values.mean())
    return _row(values, mean - half, mean + half, chance)


def _range(values: np.ndarray, chance: float) -> dict[str, Any]:
    """Between which values do single permutations lie?

    Their mean is chance by construction, whatever the model; what they say is how far from it a
    score may come by luck.
    """
    low, high = np.quantile(values, (0.5 - _LEVEL / 2, 0.5 + _LEVEL / 2))
    return _row(values, float(low), float(high), chance)


def _row(values: np.ndarray, low: float, high: float, chance: float) -> dict[str, Any]:
    deviation = float(values.std(ddof=1)) if values.size > 1 else np.nan
    return {
        "n": values.size,
        "mean": float(values.mean()),
        "standard_deviation": deviation,
        "standard_error": deviation / values.size**0.5,
        "low": low,
        "high": high,
        "covers_chance": bool(low <= chance <= high),
    }


def _scores_of_permutations(
    scored: TestSet, task: str, n_permutations: int, seed: int
) -> np.ndarray:
    """(cell, permutation): AUROC, or Pearson correlation, of targets that were dealt out anew."""
    target = scored.genes["target"].to_numpy(np.float64)
    random = np.random.default_rng(seed)
    dealt = random.permuted(np.tile(target, (n_permutations, 1)), axis=1)
    predictions = scored.predictions.astype(np.float64)
    with threadpool_limits(1):
        if task == "classification":
            n_high = target.sum()
            ranks = rankdata(predictions, axis=1)
            won = ranks @ dealt.T - n_high * (n_high + 1) / 2
            return np.asarray(won / (n_high * (target.size - n_high)))
        x = predictions - predictions.mean(axis=1, keepdims=True)
        y = dealt - target.mean()
        length = np.linalg.norm(x, axis=1, keepdims=True)
        x = np.divide(x, length, out=np.full_like(x, np.nan), where=length > 0)
        return np.asarray(x @ y.T / np.linalg.norm(y[0]))
