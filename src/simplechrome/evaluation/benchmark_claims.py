"""What a benchmark says of the claims that are made for latents, in sentences to be quoted."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from simplechrome.evaluation.benchmark_results import NO_REPRESENTATION
from simplechrome.evaluation.benchmark_summary import MEAN, Resamples, compare

METRICS = {
    "auroc": "an AUROC",
    "auprc": "an AUPRC",
    "accuracy": "an accuracy",
    "pearson": "a Pearson correlation",
}
"""Those that sentences speak of, where larger is better."""
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
        One of `METRICS`.
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
        f"With {labels} labels, {name_model(first)} scored {METRICS[metric]} "
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
