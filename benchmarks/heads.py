"""What benchmarks of encoders share: options, parts of a dataset, linear heads on drawn labels."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

import numpy as np
import xarray as xr

import simplechrome
from simplechrome.evaluation.bootstrap import Interval
from simplechrome.latent.encoder import Encoder
from simplechrome.metrics import auroc

LABELS = (20, 50, 100, 200, 1000)
Latents = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Positions of labelled genes to their latents, and those of the scored genes."""


def arguments(text: str | None, draws: int = 0, part: bool = True) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("dataset")
    if part:
        parser.add_argument("--part", choices=["validation", "test"], default="validation")
    if draws:
        parser.add_argument("--draws", type=int, default=draws)
    return parser


def cell_type_of(every: xr.Dataset, name: str) -> xr.Dataset:
    """One cell type, with the marks that it has."""
    one = every.sel(cell_type=[name])
    return one.isel(mark=one["mark_present"].values[0])


def positions(dataset: xr.Dataset, part: xr.Dataset) -> np.ndarray:
    """Of the genes of a part."""
    return np.flatnonzero(np.isin(dataset["gene_id"].values, part["gene_id"].values))


def place_of(dataset: xr.Dataset, genes: np.ndarray) -> dict[str, np.ndarray]:
    return {name: dataset[name].values[genes] for name in ("chrom", "tss")}


def linear_log_odds(x: np.ndarray, y: np.ndarray, unseen: np.ndarray, seed: int = 0) -> np.ndarray:
    head = simplechrome.LinearPredictor(random_state=seed).fit(x, y)
    return np.asarray(head.decision_function(unseen))


def log_odds(
    latents_of: Latents, train: xr.Dataset, draws: int, labels: Iterable[int] = LABELS
) -> dict[str, np.ndarray]:
    """By number of labels: (scored gene, draw), log odds of a linear head."""
    y = train["label"].values[0]
    found = {}
    for n in (*labels, None):
        each = []
        for seed in range(draws if n else 1):
            genes = simplechrome.draw_labels(train, n, seed) if n else np.flatnonzero(y >= 0)
            x, unseen = latents_of(genes)
            each.append(linear_log_odds(x, y[genes], unseen, seed))
        found[f"{n:,}" if n else "all"] = np.column_stack(each)
    return found


def fixed(encoder: Encoder, one: xr.Dataset, train: xr.Dataset, scored: xr.Dataset) -> Latents:
    """Latents that do not depend on labels."""
    values = encoder.transform(one).values[0]
    values = values.reshape(len(values), -1)
    x, unseen = (values[positions(one, part)] for part in (train, scored))
    return lambda genes: (x[genes], unseen)


def mean_auroc(truth: np.ndarray, values: np.ndarray) -> float:
    """Mean over draws, the columns."""
    return float(np.mean([auroc(truth, column) for column in values.T]))


def interval(found: Interval) -> str:
    return f"{found.value:+.4f} ({found.low:+.4f}, {found.high:+.4f})"
