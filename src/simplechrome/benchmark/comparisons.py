"""Comparisons of a benchmark's models in pairs, in sentences to be quoted, and its controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import rankdata, t
from threadpoolctl import threadpool_limits

from simplechrome.benchmark.config import NEIGHBORHOOD, SPECIAL_REPRESENTATIONS
from simplechrome.benchmark.neighbor_names import (
    CONTROLS,
    NeighborChoice,
    is_neighbors,
    parse_neighbors,
)
from simplechrome.benchmark.summary import (
    CONDITION,
    MODEL,
    PLACE,
    BenchmarkResults,
    Resamples,
    TestSet,
    compare,
    places,
    resample_benchmark,
    score_table,
    summarize,
)
from simplechrome.latent.registry import ENCODERS
from simplechrome.metrics import METRICS, metrics_of
from simplechrome.predictors.registry import PREDICTORS

_WINDOWS = ("raw", "raw@paper")


VERDICTS = ("higher", "lower", "no difference shown")
OWN = "own window alone"
AGAINST = (OWN, *CONTROLS)
"""What models with true neighbors are compared with."""
_AGAINST_SENTENCES = {
    OWN: "the gene's own window alone",
    "shuffled": "shuffled neighbors",
    "elsewhere": "the neighbors of a gene on another chromosome",
}


class Pair(NamedTuple):
    """Two models to be compared.

    first, second : `representation:predictor`
    own, neighbors, predictor : parts of the first, where the two differ in neighbors only; see
        `NeighborChoice` for the name of neighbors
    against : then one of `AGAINST`
    """

    first: str
    second: str
    own: str = ""
    neighbors: str = ""
    predictor: str = ""
    against: str = ""


class Comparison(NamedTuple):
    """By how much the first model of a pair scores above the second, with one number of labels.

    place : cell_type, protocol, trained_on, split
    verdict : one of `VERDICTS`, by whether the interval holds 0; of a single draw of labels, no
        difference is shown
    sentence : to be quoted as it is
    """

    place: tuple[Any, ...]
    metric: str
    first: str
    second: str
    own: str
    neighbors: str
    predictor: str
    against: str
    n_labels: int
    all_labels: bool
    n_pairs: int
    difference: float
    low: float
    high: float
    verdict: str
    sentence: str


def compared_pairs(models: Sequence[str]) -> list[Pair]:
    """Return the comparisons of latents with the window, of all models that were fitted.

    Latents with each head against the window with the same head; those with the linear head or the
    MLP against DeepChrome and AttentiveChrome on the window, too. Settings of the same preset are
    compared with each other. Means of marks are not learned, and so no latents.
    """
    pairs = []
    for first in models:
        representation, _, predictor = first.partition(":")
        if not _gives_latents(representation):
            continue
        head, at, preset = predictor.partition("@")
        suffix = at + preset
        window = f"raw{suffix}"
        against = ["raw:linear"] if head == "linear" else [f"{window}:{predictor}"]
        if head in ("linear", "mlp"):
            against += [f"{window}:{n}{suffix}" for n in ("deepchrome", "attentivechrome")]
        pairs += [Pair(first, other) for other in against if other in models and other != first]
    return pairs


def _gives_latents(representation: str) -> bool:
    """Whether it is learned; names of variants and combinations are taken to be."""
    kind = representation.partition("@")[0]
    name = SPECIAL_REPRESENTATIONS.get(kind, {"name": kind})["name"]
    return name not in ENCODERS or ENCODERS.get(name).gives_latents


def _title_of(predictor: str) -> str:
    """Return the name of a predictor in a sentence: `an MLP`."""
    return (PREDICTORS.get(predictor).title if predictor in PREDICTORS else "") or predictor


def split_representation(name: str) -> tuple[str, NeighborChoice | None]:
    """Return the representation of the gene itself, and the neighbors, that a name means."""
    inner, joined, around = name.rpartition("+")
    if joined and is_neighbors(around):
        return inner, parse_neighbors(around)
    return name, None


def neighbor_pairs(models: Sequence[str]) -> list[Pair]:
    """Return the comparisons that show what neighbors add, of all models that were fitted.

    Every model with true neighbors is compared with the gene's own window alone and with each
    control that was fitted. With attention the own window alone is judged by the linear head,
    which is a part of it.
    """
    # The parts of a name may come in any order.
    parsed = {}
    for model in models:
        representation, _, predictor = model.partition(":")
        parsed[*split_representation(representation), predictor] = model
    pairs = []
    for (own, choice, predictor), model in parsed.items():
        if choice is None or choice.control or choice.only:
            continue
        head = "linear" if predictor == NEIGHBORHOOD else predictor
        others = {OWN: parsed.get((own, None, head))}
        for name, control in CONTROLS.items():
            others[name] = parsed.get((own, choice._replace(control=control), predictor))
        pairs += [
            Pair(model, other, own, choice.name, predictor, against)
            for against, other in others.items()
            if other is not None
        ]
    return pairs


def compare_pairs(
    resamples: Resamples, place: tuple[Any, ...], metric: str, pairs: Sequence[Pair]
) -> list[Comparison]:
    """Return the comparisons of these pairs in one place, for every number of labels."""
    comparisons = []
    for pair in pairs:
        row: Any
        for row in compare(resamples, metric, place, pair.first, pair.second).itertuples():
            counts = int(row.n_labels), bool(row.all_labels), int(row.n_pairs)
            values = float(row.difference), float(row.low), float(row.high)
            verdict, sentence = verdict_of(row), _sentence(pair, metric, row)
            comparisons.append(
                Comparison(place, metric, *pair, *counts, *values, verdict, sentence)
            )
    return comparisons


def verdict_of(row: Any) -> str:
    """Return which of `VERDICTS` a comparison, a row of `compare`, comes to."""
    # A single draw of labels has no spread: whether it was a lucky one is unknown.
    one_draw = row.n_pairs == 1 and not row.all_labels
    if one_draw or not np.isfinite([row.low, row.high]).all() or row.low <= 0 <= row.high:
        return VERDICTS[2]
    return VERDICTS[0] if row.low > 0 else VERDICTS[1]


def _sentence(pair: Pair, metric: str, row: Any) -> str:
    score = METRICS.get(metric).phrase or f"a {METRICS.get(metric).title}"
    labels = "all" if row.all_labels else f"{row.n_labels:,}"
    interval = f"{row.low:+.4f} to {row.high:+.4f}".replace("-", "−")
    difference = f"{abs(row.difference):.4f} {'higher' if row.difference >= 0 else 'lower'}"
    if pair.against:
        start = (
            f"With {labels} labels and {_title_of(pair.predictor)}, "
            f"{pair.neighbors} neighbors added to {pair.own} brought {score} {difference} than "
            f"with {_AGAINST_SENTENCES[pair.against]}"
        )
    else:
        start = (
            f"With {labels} labels, {name_model(pair.first)} scored {score} {difference} than "
            f"{name_model(pair.second)}"
        )
    return f"{start} (95 % interval {interval}): {verdict_of(row)}."


def name_model(model: str) -> str:
    """Return the name of `vae:mlp` in a sentence: `an MLP on vae`."""
    representation, _, predictor = model.partition(":")
    head, at, preset = predictor.partition("@")
    name = _title_of(head) + (f" ({preset} settings)" if at else "")
    return f"{name} on {'the window' if representation in _WINDOWS else representation}"


def tally(comparisons: Sequence[Comparison]) -> list[tuple[str, int, int, int]]:
    """Count by opponent how often the first model scored above, below and level with it.

    Opponents come in order of appearance, counts in the order of `VERDICTS`.
    """
    counts: dict[str, dict[str, int]] = {}
    for comparison in comparisons:
        own = counts.setdefault(comparison.second, dict.fromkeys(VERDICTS, 0))
        own[comparison.verdict] += 1
    return [(second, *(own[name] for name in VERDICTS)) for second, own in counts.items()]  # type: ignore[misc]


def name_gains(gains: Sequence[Comparison]) -> list[str]:
    """Return the shortest distinct name of the neighbors in each comparison.

    `coexpression`, or where the gene itself is represented in several ways,
    `gene_mean+coexpression`: what all ways have in common is dropped.
    """
    ways = [gain.own.split("+") for gain in gains]
    first = min(ways, default=[])
    shared = 0
    while shared < len(first) and all(way[: shared + 1] == first[: shared + 1] for way in ways):
        shared += 1
    return [
        "+".join([*way[shared:], gain.neighbors]) for way, gain in zip(ways, gains, strict=True)
    ]


def comparison_table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Return one row per comparison, its place in four columns.

    Pairs that differ in neighbors are given by their parts (own, neighbors, predictor, against),
    others by the two models (first, second).
    """
    names: tuple[str, ...] = ("own", "neighbors", "predictor", "against")
    if any(comparison.against for comparison in comparisons):
        names = ("first", "second")
    columns = [*PLACE, *Comparison._fields[1:]]
    table = pd.DataFrame([(*each.place, *each[1:]) for each in comparisons], columns=columns)
    return table.drop(columns=list(names))


class Findings(NamedTuple):
    """Scores, their summary, controls and comparisons.

    resamples : see `resample_benchmark`
    scores : see `score_table`
    summary : see `summarize`
    controls : see `control_table`
    claims : comparisons of latents with the window by the leading score, in every place
    gains : of models with neighbors and without
    baseline : `representation:predictor` that differences are taken to
    """

    resamples: Resamples
    scores: pd.DataFrame
    summary: pd.DataFrame
    controls: pd.DataFrame
    claims: list[Comparison]
    gains: list[Comparison]
    baseline: str


def find(results: BenchmarkResults, baseline: str) -> Findings:
    """Score, summarize and compare the predictions of a finished grid."""
    resamples = resample_benchmark(results)
    metric = metrics_of(results.task)[0].name
    cells = resamples.cells
    models = list(dict.fromkeys(cells["representation"] + ":" + cells["predictor"]))
    claims, gains = (
        [c for place in places(resamples) for c in compare_pairs(resamples, place, metric, pairs)]
        for pairs in (compared_pairs(models), neighbor_pairs(models))
    )
    return Findings(
        resamples,
        score_table(resamples),
        summarize(resamples, baseline),
        control_table(results),
        claims,
        gains,
        baseline,
    )


# ------------------------------------------------------------------------------ controls

TRAINED, TESTED = "trained on permuted labels", "scored on permuted labels"
FEWEST = 10
"""Trainings on permuted labels, below which the interval is so wide that it could not fail."""
_LEVEL = 0.99  # with twenty models one of twenty 95 % intervals would miss by chance alone


def control_table(
    results: BenchmarkResults, *, n_permutations: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Return how models score on permuted labels, where every one should fall to chance.

    Two controls. Models trained on permuted labels, differently each time: a single one may lie
    anywhere (its direction is random, but along the first component), their mean must not. And
    the models themselves, scored on `n_permutations` of the labels of the test genes, for those
    that take too long to be trained again.

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
    """The mean of all permutations, and its interval."""
    n = values.size
    error = float(values.std(ddof=1)) / n**0.5 if n > 1 else np.nan
    half = float(t.ppf(0.5 + _LEVEL / 2, n - 1)) * error if n > 1 else np.nan
    mean = float(values.mean())
    return _row(values, mean - half, mean + half, chance)


def _range(values: np.ndarray, chance: float) -> dict[str, Any]:
    """The range of single permutations.

    Their mean is chance by construction, whatever the model; the range shows how far
    from it a score may come by chance.
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
    """(cell, permutation): AUROC, or Pearson correlation, with permuted targets."""
    target = scored.genes["target"].to_numpy(np.float64)
    random = np.random.default_rng(seed)
    permuted = random.permuted(np.tile(target, (n_permutations, 1)), axis=1)
    predictions = scored.predictions.astype(np.float64)
    with threadpool_limits(1):
        if task == "classification":
            n_high = target.sum()
            ranks = rankdata(predictions, axis=1)
            won = ranks @ permuted.T - n_high * (n_high + 1) / 2
            return np.asarray(won / (n_high * (target.size - n_high)))
        x = predictions - predictions.mean(axis=1, keepdims=True)
        y = permuted - target.mean()
        length = np.linalg.norm(x, axis=1, keepdims=True)
        x = np.divide(x, length, out=np.full_like(x, np.nan), where=length > 0)
        return np.asarray(x @ y.T / np.linalg.norm(y[0]))
