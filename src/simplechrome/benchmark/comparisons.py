"""What a benchmark says of the claims that are made for latents, in sentences to be quoted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from simplechrome.benchmark.config import NEIGHBORHOOD
from simplechrome.benchmark.controls import control_table
from simplechrome.benchmark.neighbor_names import (
    CONTROLS,
    NeighborChoice,
    is_neighbors,
    parse_neighbors,
)
from simplechrome.benchmark.summary import (
    MEAN,
    NO_REPRESENTATION,
    BenchmarkResults,
    Resamples,
    compare,
    places,
    resample_benchmark,
    score_table,
    summarize,
)
from simplechrome.metrics import METRICS, metrics_of

_HEADS = {
    "linear": "the linear head",
    "mlp": "an MLP",
    "boosting": "gradient boosting",
    "deepchrome": "DeepChrome",
    "attentivechrome": "AttentiveChrome",
}
_WINDOWS = ("raw", "raw@paper")
_NOT_LEARNED = (*_WINDOWS, "log_means", "log_region_means", NO_REPRESENTATION)


VERDICTS = ("higher", "lower", "no difference shown")


class Claim(NamedTuple):
    """One comparison: does the first model score above the second?

    verdict : one of `VERDICTS`, by whether the interval holds 0; of a single draw of labels, no
        difference is shown
    sentence : to be quoted as it is
    """

    place: tuple[Any, ...]
    metric: str
    first: str
    second: str
    n_labels: int
    all_labels: bool
    n_pairs: int
    difference: float
    low: float
    high: float
    verdict: str
    sentence: str


def name_model(model: str) -> str:
    """What is `vae:mlp` called in a sentence? `an MLP on vae`."""
    representation, _, predictor = model.partition(":")
    head, at, preset = predictor.partition("@")
    name = _HEADS.get(head, head) + (f" ({preset} settings)" if at else "")
    if representation in _WINDOWS:
        return f"{name} on the window"
    return f"{name} on {representation}"


def compared_pairs(models: list[str]) -> list[tuple[str, str]]:
    """Which comparisons bear on the claims?

    Latents with each head against the window with the same head; those with the linear head or the
    MLP against DeepChrome and AttentiveChrome on the window, too. Settings of the same preset are
    compared with each other. Means of marks are not learned, and so no latents.

    Parameters
    ----------
    models
        `representation:predictor`, all that were fitted.
    """
    pairs = []
    for first in models:
        representation, _, predictor = first.partition(":")
        if representation in _NOT_LEARNED:
            continue
        head, at, preset = predictor.partition("@")
        suffix = at + preset
        window = f"raw{suffix}"
        against = [f"{window}:{predictor}"]
        if head == "linear":
            against = ["raw:linear"]
        if head in ("linear", "mlp"):
            against += [f"{window}:{n}{suffix}" for n in ("deepchrome", "attentivechrome")]
        pairs += [(first, second) for second in against if second in models and second != first]
    return pairs


def compare_models(
    resamples: Resamples, metric: str, place: tuple[Any, ...], first: str, second: str
) -> pd.DataFrame:
    """By how much does the first model score above the second? See `compare`.

    The same numbers, without going over all other models and places.
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
    return compare(own, metric, place, first, second)


def find_claims(resamples: Resamples, place: tuple[Any, ...], metric: str) -> list[Claim]:
    """What can be said of latents in one place, for every number of labels?

    Parameters
    ----------
    resamples
        See `resample_benchmark`.
    place
        cell_type, protocol, trained_on and split, as in `summarize`.
    metric
        Name of a registered metric.
    """
    cells = resamples.cells
    models = list(dict.fromkeys(cells["representation"] + ":" + cells["predictor"]))
    claims = []
    for first, second in compared_pairs(models):
        for row in compare_models(resamples, metric, place, first, second).itertuples():
            claims.append(_claim(place, metric, first, second, row))
    return claims


def verdict_of(row: Any) -> str:
    """Which of `VERDICTS` is a comparison, a row of `compare`?"""
    # Of a single draw of labels nobody knows how lucky it was.
    one_draw = row.n_pairs == 1 and not row.all_labels
    if one_draw or not np.isfinite([row.low, row.high]).all() or row.low <= 0 <= row.high:
        return VERDICTS[2]
    return VERDICTS[0] if row.low > 0 else VERDICTS[1]


def _claim(place: tuple[Any, ...], metric: str, first: str, second: str, row: Any) -> Claim:
    verdict = verdict_of(row)
    labels = "all" if row.all_labels else f"{row.n_labels:,}"
    interval = f"95 % interval {row.low:+.4f} to {row.high:+.4f}"
    return Claim(
        place,
        metric,
        first,
        second,
        int(row.n_labels),
        bool(row.all_labels),
        int(row.n_pairs),
        float(row.difference),
        float(row.low),
        float(row.high),
        verdict,
        f"With {labels} labels, {name_model(first)} scored {METRICS.get(metric).phrase} "
        f"{abs(row.difference):.4f} {'higher' if row.difference >= 0 else 'lower'} than "
        f"{name_model(second)} ({interval.replace('-', '−')}): "
        f"{verdict}.",
    )


def tally(claims: list[Claim]) -> list[tuple[str, int, int, int]]:
    """How often did latents score above, below and level with each model of the window?

    Counted by opponent: against a weak one all latents win.

    Returns
    -------
    The opponent, and the counts in the order of `VERDICTS`; opponents in order of appearance.
    """
    counts: dict[str, dict[str, int]] = {}
    for claim in claims:
        own = counts.setdefault(claim.second, dict.fromkeys(VERDICTS, 0))
        own[claim.verdict] += 1
    return [(second, *(own[name] for name in VERDICTS)) for second, own in counts.items()]  # type: ignore[misc]


def claims_table(claims: list[Claim]) -> pd.DataFrame:
    """One row a claim, its place in four columns."""
    columns = ["cell_type", "protocol", "trained_on", "split", *Claim._fields[1:]]
    return pd.DataFrame([(*claim.place, *claim[1:]) for claim in claims], columns=columns)


OWN = "own window alone"
AGAINST = (OWN, *CONTROLS)
"""What models with true neighbors are compared with."""
_HEAD_SENTENCES = {
    "linear": "the linear head",
    "boosting": "gradient boosting",
    "mlp": "an MLP",
    NEIGHBORHOOD: "attention",
}


class NeighborGain(NamedTuple):
    """One comparison: does a model score higher with these neighbors than without, or with others?

    place : cell_type, protocol, trained_on, split
    own : the representation of the gene itself, beside which neighbors are seen
    neighbors : name of the true ones, see `NeighborChoice`
    against : one of `AGAINST`
    verdict : one of `VERDICTS`
    """

    place: tuple[Any, ...]
    metric: str
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


def split_representation(name: str) -> tuple[str, NeighborChoice | None]:
    """Which representation of the gene itself, and which neighbors, does a name mean?"""
    inner, joined, around = name.rpartition("+")
    if joined and is_neighbors(around):
        return inner, parse_neighbors(around)
    return name, None


class NeighborPair(NamedTuple):
    """Two models that differ in the neighbors that they see.

    model : with true ones
    own, choice, predictor : its parts
    against : one of `AGAINST`
    other : the model that it is compared with
    """

    model: str
    own: str
    choice: NeighborChoice
    predictor: str
    against: str
    other: str


def neighbor_pairs(models: Sequence[str]) -> list[NeighborPair]:
    """Which comparisons tell what neighbors add?

    Parameters
    ----------
    models
        `representation:predictor`, all that were fitted.

    Returns
    -------
    Every model with true neighbors beside each that is there to compare it with. With attention
    the own window alone is judged by the linear head, which is a part of it.
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
        for against, other in others.items():
            if other is not None:
                pairs.append(NeighborPair(model, own, choice, predictor, against, other))
    return pairs


def find_gains(
    resamples: Resamples, places: Sequence[tuple[Any, ...]], metric: str
) -> list[NeighborGain]:
    """What do neighbors add, in each place, for every kind, head and number of labels?

    Parameters
    ----------
    resamples
        See `resample_benchmark`.
    places
        cell_type, protocol, trained_on and split, as in `summarize`.
    metric
        Name of a registered metric.
    """
    cells = resamples.cells
    models = list(dict.fromkeys(cells["representation"] + ":" + cells["predictor"]))
    gains = []
    for place in places:
        for pair in neighbor_pairs(models):
            table = compare_models(resamples, metric, place, pair.model, pair.other)
            gains += [_gain(place, metric, pair, row) for row in table.itertuples()]
    return gains


def _gain(place: tuple[Any, ...], metric: str, pair: NeighborPair, row: Any) -> NeighborGain:
    verdict = verdict_of(row)
    labels = "all" if row.all_labels else f"{row.n_labels:,}"
    other = {
        OWN: "than with the gene's own window alone",
        "shuffled": "than with shuffled neighbors",
        "elsewhere": "than with the neighbors of a gene on another chromosome",
    }[pair.against]
    interval = f"{row.low:+.4f} to {row.high:+.4f}".replace("-", "−")
    sentence = (
        f"With {labels} labels and {_HEAD_SENTENCES.get(pair.predictor, pair.predictor)}, "
        f"{pair.choice.name} neighbors beside {pair.own} "
        f"brought {METRICS.get(metric).phrase} {abs(row.difference):.4f} "
        f"{'higher' if row.difference >= 0 else 'lower'} {other} (95 % interval {interval}): "
        f"{verdict}."
    )
    return NeighborGain(
        *(place, metric, pair.own, pair.choice.name, pair.predictor, pair.against),
        *(int(row.n_labels), bool(row.all_labels), int(row.n_pairs)),
        *(float(row.difference), float(row.low), float(row.high)),
        *(verdict, sentence),
    )


def name_gains(gains: Sequence[NeighborGain]) -> list[str]:
    """What are the neighbors of each comparison called, where those beside another own are others?

    Returns
    -------
    `coexpression`, or where genes are seen in several ways, `gene_mean+coexpression`: what all
    ways have in common is left out.
    """
    ways = [gain.own.split("+") for gain in gains]
    first = min(ways, default=[])
    shared = 0
    while shared < len(first) and all(way[: shared + 1] == first[: shared + 1] for way in ways):
        shared += 1
    return [
        "+".join([*way[shared:], gain.neighbors]) for way, gain in zip(ways, gains, strict=True)
    ]


def gain_table(gains: Sequence[NeighborGain]) -> pd.DataFrame:
    """One row a comparison, its place in four columns."""
    columns = ["cell_type", "protocol", "trained_on", "split", *NeighborGain._fields[1:]]
    return pd.DataFrame([(*gain.place, *gain[1:]) for gain in gains], columns=columns)


class Findings(NamedTuple):
    """Scores, their summary, controls and claims.

    resamples : see `resample_benchmark`
    scores : see `score_table`
    summary : see `summarize`
    controls : see `control_table`
    claims : of the leading score, in every place
    gains : of models with neighbors, of the leading score, in every place
    baseline : `representation:predictor` that differences are taken to
    """

    resamples: Resamples
    scores: pd.DataFrame
    summary: pd.DataFrame
    controls: pd.DataFrame
    claims: list[Claim]
    gains: list[NeighborGain]
    baseline: str


def find(results: BenchmarkResults, baseline: str) -> Findings:
    """What do the predictions of a benchmark say?

    Parameters
    ----------
    results
        Of a finished grid.
    baseline
        `representation:predictor` that all others are compared with.
    """
    resamples = resample_benchmark(results)
    metric = metrics_of(results.task)[0].name
    claims = [
        claim for place in places(resamples) for claim in find_claims(resamples, place, metric)
    ]
    return Findings(
        resamples,
        score_table(resamples),
        summarize(resamples, baseline),
        control_table(results),
        claims,
        find_gains(resamples, places(resamples), metric),
        baseline,
    )
