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
    neighbors : name of the true ones, see `NeighborChoice`
    against : one of `AGAINST`
    verdict : one of `VERDICTS`
    """

    place: tuple[Any, ...]
    metric: str
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


def neighbor_pairs(models: Sequence[str]) -> list[tuple[str, NeighborChoice, str, str]]:
    """Which comparisons tell what neighbors add?

    Parameters
    ----------
    models
        `representation:predictor`, all that were fitted.

    Returns
    -------
    Model with true neighbors, these, what it is compared with, and that model. With attention the
    own window alone is judged by the linear head, which is a part of it.
    """
    pairs = []
    for model in models:
        representation, _, predictor = model.partition(":")
        own, choice = split_representation(representation)
        if choice is None or choice.control or choice.only:
            continue
        head = "linear" if predictor == NEIGHBORHOOD else predictor
        others = {OWN: f"{own}:{head}"}
        for name, control in CONTROLS.items():
            others[name] = f"{own}+{choice._replace(control=control).name}:{predictor}"
        pairs += [(model, choice, name, other) for name, other in others.items() if other in models]
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
        for first, choice, against, second in neighbor_pairs(models):
            predictor = first.rpartition(":")[2]
            for row in compare_models(resamples, metric, place, first, second).itertuples():
                gains.append(_gain(place, metric, choice, predictor, against, row))
    return gains


def _gain(
    place: tuple[Any, ...],
    metric: str,
    choice: NeighborChoice,
    predictor: str,
    against: str,
    row: Any,
) -> NeighborGain:
    verdict = verdict_of(row)
    labels = "all" if row.all_labels else f"{row.n_labels:,}"
    other = {
        OWN: "than with the gene's own window alone",
        "shuffled": "than with shuffled neighbors",
        "elsewhere": "than with the neighbors of a gene on another chromosome",
    }[against]
    interval = f"{row.low:+.4f} to {row.high:+.4f}".replace("-", "−")
    sentence = (
        f"With {labels} labels and {_HEADS.get(predictor, predictor)}, {choice.name} neighbors "
        f"brought {METRICS[metric]} {abs(row.difference):.4f} "
        f"{'higher' if row.difference >= 0 else 'lower'} {other} (95 % interval {interval}): "
        f"{verdict}."
    )
    return NeighborGain(
        *(place, metric, choice.name, predictor, against, int(row.n_labels), bool(row.all_labels)),
        *(int(row.n_pairs), float(row.difference), float(row.low), float(row.high)),
        *(verdict, sentence),
    )


def gain_table(gains: Sequence[NeighborGain]) -> pd.DataFrame:
    """One row a comparison, its place in four columns."""
    columns = ["cell_type", "protocol", "trained_on", "split", *NeighborGain._fields[1:]]
    return pd.DataFrame([(*gain.place, *gain[1:]) for gain in gains], columns=columns)
