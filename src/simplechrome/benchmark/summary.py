"""Scores of a benchmark's predictions, their intervals, and differences in pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from threadpoolctl import threadpool_limits

from simplechrome.benchmark.config import OPTIMISTIC_SPLITS
from simplechrome.evaluation.bootstrap import by_rows, draw_blocks, lay_out_blocks
from simplechrome.metrics import METRICS, metrics_of

CONDITION = ("cell_type", "protocol", "trained_on", "split", "fold")
"""Columns that identify a test set.

cell_type : whose genes are scored
protocol : `within` (trained on the same cell type) or `transfer` (on another)
trained_on : the cell type whose labels were used
split : `chromosome`, `published`, `random` or `fold`
fold : number of the fold; 0 for splits without folds
"""
MODEL = ("representation", "predictor")
CELL = (*MODEL, "n_labels", "all_labels", "draw", "seed")
"""Columns that identify the predictions of one test set.

n_labels : labels that were used, as a number; `all_labels` says whether these were all
draw : which draw of labels; 0 with all labels
seed : of the weights
"""
NO_REPRESENTATION = "none"
"""Representation of the baselines that use no histone mark: `gene_mean` and `majority`."""


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
    not_applicable : one row an unsupported model: representation, predictor, reason
    """

    task: str
    test_sets: dict[tuple[str, str, str, str, int], TestSet]
    controls: pd.DataFrame
    not_applicable: pd.DataFrame


Floats = NDArray[np.float64]

MEAN = "mean"
"""In the place of the cell type: the mean over all of a protocol."""
SCORES = [
    *("cell_type", "protocol", "representation", "predictor", "n_labels", "draw", "seed", "split"),
    *("metric", "value", "trained_on", "fold", "all_labels", "optimistic"),
]
"""Columns of the table of scores, in their order."""
PLACE = ("cell_type", "protocol", "trained_on", "split")
_MODEL = ("representation", "predictor", "n_labels", "all_labels")


class Resamples(NamedTuple):
    """Scores of every cell of a benchmark, on its genes and on resamples of them.

    cells : one row a cell and test set: the columns of `CONDITION` and `CELL`
    values : by metric, (cell,)
    resampled : by metric, (cell, resample); the same genes are drawn for all cells of a split
    """

    cells: pd.DataFrame
    values: dict[str, Floats]
    resampled: dict[str, Floats]


def resample_benchmark(
    results: BenchmarkResults, *, n_resamples: int = 1000, block: int = 50, seed: int = 0
) -> Resamples:
    """Score every model on its test genes and on resamples of them.

    Runs of neighboring genes are drawn together; the same ones for all models, numbers of labels
    and cell types of a split. Options are those of `block_bootstrap`.
    """
    functions = {m.name: m.by_block or by_rows(m.function) for m in metrics_of(results.task)}
    tables: list[pd.DataFrame] = []
    values: dict[str, list[Floats]] = {name: [] for name in functions}
    resampled: dict[str, list[Floats]] = {name: [] for name in functions}
    drawn = _draw_genes(results, n_resamples, block, seed)
    for condition, scored in results.test_sets.items():
        blocks, times = drawn[condition[3:]]
        of_gene = blocks.loc[scored.genes["gene_id"]].to_numpy()
        target = scored.genes["target"].to_numpy(np.float64)
        place: dict[str, Any] = dict(zip(CONDITION, condition, strict=True))
        tables.append(scored.cells.assign(**place))
        predictions = scored.predictions.astype(np.float64)
        for name, function in functions.items():
            # Matrices of 50 rows are faster without threads, and by far where cores are shared.
            with threadpool_limits(1):
                rows = np.stack([function(target, p, of_gene, times) for p in predictions])
            values[name].append(rows[:, 0].astype(np.float64))
            resampled[name].append(rows[:, 1:].astype(np.float32))
    return Resamples(
        pd.concat(tables, ignore_index=True),
        {name: np.concatenate(parts) for name, parts in values.items()},
        {name: np.concatenate(parts) for name, parts in resampled.items()},
    )


def _draw_genes(
    results: BenchmarkResults, n_resamples: int, block: int, seed: int
) -> dict[tuple[Any, ...], tuple[pd.Series, Floats]]:
    """By split and fold: the block of each gene of any cell type, and (block, 1 + resample).

    The first column holds each block once: it makes the scores of the genes as they are.
    """
    drawn = {}
    for place in dict.fromkeys(condition[3:] for condition in results.test_sets):
        tables = [s.genes for condition, s in results.test_sets.items() if condition[3:] == place]
        genes = pd.concat(tables).drop_duplicates("gene_id")
        blocks = lay_out_blocks(len(genes), genes["chrom"], genes["tss"], None, block)
        fold = place[-1]
        # Genes of two folds are others, and must not rise and fall together.
        random = np.random.default_rng([seed, fold] if fold else seed)
        times = draw_blocks(blocks.stratum, n_resamples, random)
        with_all = np.concatenate([np.ones((len(times), 1)), times], axis=1)
        drawn[place] = pd.Series(blocks.of_row, index=genes["gene_id"]), with_all
    return drawn


def score_table(resamples: Resamples) -> pd.DataFrame:
    """Return every score of every cell: one row a score, with the columns `SCORES`.

    The value is NaN where a score is undefined.
    """
    parts = [
        resamples.cells.assign(metric=name, value=values)
        for name, values in resamples.values.items()
    ]
    table = pd.concat(parts, ignore_index=True)
    table["optimistic"] = table["split"].isin(OPTIMISTIC_SPLITS)
    return table[SCORES]


def summarize(resamples: Resamples, baseline: str = "raw:linear", seed: int = 0) -> pd.DataFrame:
    """Return the mean score of each model, its interval, and its difference to the baseline.

    Intervals cover both sources of chance: which labels were drawn (draws are drawn with
    replacement) and which genes were held out (runs of neighbors, see `resample_benchmark`). The
    same draws and genes are drawn for all models, so what makes one easy or hard for both of a
    pair cancels in their difference. Few draws make them wide; with a single one they cover the
    genes only. They do not cover other cell types or chromosomes.

    Returns
    -------
    One row a place (cell_type, protocol, trained_on, split), model, number of labels and metric:
    mean, standard_deviation (over draws and seeds), n_draws, low, high (95 %), baseline,
    difference, difference_low, difference_high (NaN for the baseline itself, and where it was not
    fitted). Folds are averaged within a place. Where a protocol has several cell types, rows with
    the cell type `mean` hold their mean.
    """
    rows = []
    for metric in resamples.values:
        for place, groups in _groups(resamples, metric):
            of_baseline = {
                key[2:]: group for key, group in groups.items() if ":".join(key[:2]) == baseline
            }
            for key, group in groups.items():
                row = dict(zip(PLACE, place, strict=True)) | dict(zip(_MODEL, key, strict=True))
                row |= {"metric": metric, "optimistic": place[3] in OPTIMISTIC_SPLITS}
                row |= _describe(group, seed, metric)
                other = of_baseline.get(key[2:])
                row |= _difference(group, other if ":".join(key[:2]) != baseline else None, seed)
                rows.append(row | {"baseline": baseline})
    return pd.DataFrame(rows)


class Group(NamedTuple):
    """Scores of one model with one number of labels in one place.

    repeats : (draw, seed) of each row
    values : (repeat,)
    resampled : (repeat, resample)
    """

    repeats: list[tuple[int, int]]
    values: Floats
    resampled: Floats


def _groups(
    resamples: Resamples, metric: str
) -> Iterator[tuple[tuple[Any, ...], dict[tuple[Any, ...], Group]]]:
    """By place, the groups of all models; then those of the means over cell types."""
    cells = resamples.cells
    values, resampled = resamples.values[metric], resamples.resampled[metric]
    of_protocol: dict[tuple[Any, ...], list[dict[tuple[Any, ...], Group]]] = {}
    for place, rows in cells.groupby(list(PLACE), sort=False):
        groups = {}
        for key, own in rows.groupby(list(_MODEL), sort=False):
            # The mean over folds of each draw and seed.
            repeats: dict[Any, NDArray[np.int64]] = {
                repeat: positions.index.to_numpy()
                for repeat, positions in own.groupby(["draw", "seed"], sort=True)
            }
            groups[key] = Group(
                list(repeats),
                np.array([values[at].mean() for at in repeats.values()]),
                np.stack([resampled[at].mean(axis=0) for at in repeats.values()]),
            )
        of_protocol.setdefault((place[1], place[3]), []).append(groups)
        yield place, groups
    for (protocol, split), several in of_protocol.items():
        if len(several) > 1:
            yield (MEAN, protocol, MEAN, split), _mean_of_places(several)


def _mean_of_places(
    several: list[dict[tuple[Any, ...], Group]],
) -> dict[tuple[Any, ...], Group]:
    means = {}
    # With all labels their number differs between cell types: that of the first stands for all.
    for key in several[0]:
        same = [
            group
            for groups in several
            for other, group in groups.items()
            if other[:2] == key[:2] and other[3] == key[3] and (key[3] or other[2] == key[2])
        ]
        if len(same) == len(several) and all(g.repeats == same[0].repeats for g in same):
            means[key] = Group(
                same[0].repeats,
                np.mean([group.values for group in same], axis=0),
                np.mean([group.resampled for group in same], axis=0),
            )
    return means


def _describe(group: Group, seed: int, metric: str) -> dict[str, Any]:
    bounds = METRICS.get(metric).bounds
    low, high = np.clip(_interval(group.values, group.resampled, seed), *bounds)
    several = len(group.repeats) > 1
    return {
        "mean": float(group.values.mean()),
        "standard_deviation": float(group.values.std(ddof=1)) if several else np.nan,
        "n_draws": len(group.repeats),
        "low": low,
        "high": high,
    }


def _difference(group: Group, other: Group | None, seed: int) -> dict[str, Any]:
    """Of two models, pair by pair."""
    if other is None:
        return dict.fromkeys(("difference", "difference_low", "difference_high"), np.nan)
    value, resampled = paired(group, other)
    low, high = _interval(value, resampled, seed)
    return {"difference": float(value.mean()), "difference_low": low, "difference_high": high}


def paired(group: Group, other: Group) -> tuple[Floats, Floats]:
    """Differences of two models on the draws and seeds that both have.

    A model that depends on no seed was fitted once with all labels: it is compared with each seed
    of the other. Where the two share no draw, their means are compared.

    Returns
    -------
    (pair,) and (pair, resample)
    """
    shared = [repeat for repeat in group.repeats if repeat in other.repeats]
    if len(group.repeats) == 1 or len(other.repeats) == 1:
        return group.values - other.values, group.resampled - other.resampled
    if not shared:
        return (
            np.array([group.values.mean() - other.values.mean()]),
            (group.resampled.mean(axis=0) - other.resampled.mean(axis=0))[np.newaxis],
        )
    one = [group.repeats.index(repeat) for repeat in shared]
    two = [other.repeats.index(repeat) for repeat in shared]
    return (
        group.values[one] - other.values[two],
        group.resampled[one] - other.resampled[two],
    )


def _draw_repeats(resampled: Floats, n: int, seed: int) -> Floats:
    """(repeat, resample) → (resample,): in each, the mean of repeats drawn with replacement.

    The draw depends on the number of repeats alone, so it is the same for both of a pair.
    """
    random = np.random.default_rng([seed, n])
    times = random.multinomial(n, np.full(n, 1 / n), size=resampled.shape[1])
    return np.einsum("ij,ji->i", times, resampled) / n


def _interval(values: Floats, resampled: Floats, seed: int) -> tuple[float, float]:
    """The interval of the mean of the repeats, over other repeats and other genes.

    Percentiles of a bootstrap over n repeats are too narrow: it has only (n - 1) / n of their
    variance, and takes the estimate of so few as exact. So the part of the variance that
    repeats bring is given the width that Student's t has for n - 1 degrees of freedom. With a
    single repeat only the variance over genes is known.

    Parameters
    ----------
    values : (repeat,), on the genes as they are
    resampled : (repeat, resample)
    """
    drawn = _draw_repeats(resampled, len(resampled), seed)
    defined = drawn[np.isfinite(drawn)]
    if defined.size < 0.9 * drawn.size:
        return np.nan, np.nan
    low, high = np.quantile(defined, (0.025, 0.975))
    n, mean, variance = len(values), values.mean(), float(defined.var())
    if n > 1 and variance > 0 and np.isfinite(mean):
        wider = stats.t.ppf(0.975, n - 1) / stats.norm.ppf(0.975)
        wanted = variance + values.var(ddof=1) / n * (wider**2 - (n - 1) / n)
        low, high = mean + (np.array([low, high]) - mean) * np.sqrt(wanted / variance)
    return float(low), float(high)


def compare(
    resamples: Resamples, metric: str, place: tuple[Any, ...], first: str, second: str
) -> pd.DataFrame:
    """Return by how much the first model scores above the second, at each number of labels.

    Models are `representation:predictor`; the place is as in `summarize`.

    Returns
    -------
    One row a number of labels that both have: n_labels, all_labels, n_pairs, difference, low, high.
    """
    cells = resamples.cells
    cell_type, protocol, trained_on, split = place
    wanted = (cells["representation"] + ":" + cells["predictor"]).isin([first, second])
    wanted &= (cells["protocol"] == protocol) & (cells["split"] == split)
    if cell_type != MEAN:
        wanted &= (cells["cell_type"] == cell_type) & (cells["trained_on"] == trained_on)
    own = Resamples(
        cells[wanted].reset_index(drop=True),
        {metric: resamples.values[metric][wanted]},
        {metric: resamples.resampled[metric][wanted]},
    )
    groups = next((groups for found, groups in _groups(own, metric) if found == place), {})
    rows = []
    for key, group in groups.items():
        other = groups.get((*second.split(":", 1), *key[2:]))
        if ":".join(key[:2]) == first and other is not None:
            row = _difference(group, other, seed=0)
            rows.append((*key[2:], len(paired(group, other)[0]), *row.values()))
    columns = ["n_labels", "all_labels", "n_pairs", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def places(resamples: Resamples) -> list[tuple[Any, ...]]:
    """Return the places of the summary: cell_type, protocol, trained_on, split."""
    metric = next(iter(resamples.values))
    return [place for place, _ in _groups(resamples, metric)]
