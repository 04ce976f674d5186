"""All that a finished benchmark says, ready to be written down."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from simplechrome.evaluation.benchmark_claims import Claim, find_claims
from simplechrome.evaluation.benchmark_controls import control_table
from simplechrome.evaluation.benchmark_neighbors import NeighborGain, find_gains
from simplechrome.evaluation.benchmark_results import BenchmarkResults
from simplechrome.evaluation.benchmark_summary import (
    Resamples,
    places,
    resample_benchmark,
    score_table,
    summarize,
)

LEADING = {"classification": "auroc", "regression": "pearson"}
"""The score that a benchmark comes down to, by task."""


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
    metric = LEADING[results.task]
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
