"""What a benchmark says of neighbors: true ones against none, and against other genes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from simplechrome.evaluation.benchmark_claims import METRICS, compare_models, verdict_of
from simplechrome.evaluation.benchmark_presets import NEIGHBORHOOD
from simplechrome.evaluation.benchmark_summary import Resamples
from simplechrome.evaluation.neighbor_choice import (
    CONTROLS,
    NeighborChoice,
    is_neighbors,
    parse_neighbors,
)

OWN = "own window alone"
AGAINST = (OWN, *CONTROLS)
"""What models with true neighbors are compared with."""
_HEADS = {
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
        One of `METRICS`.
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
        f"With {labels} labels and {_HEADS.get(pair.predictor, pair.predictor)}, "
        f"{pair.choice.name} neighbors beside {pair.own} "
        f"brought {METRICS[metric]} {abs(row.difference):.4f} "
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
