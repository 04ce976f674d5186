"""From tracks of two cell types to the expression of a third: how well, and against what?

    python benchmarks/pilot_tracks.py pilot.zarr [--folds 5] [--seeds 3]

Each cell type of the dataset is left out in turn. Models learn from the others, on the training
and validation chromosomes of a fold, and score the one left out on the test chromosomes of that
fold, so that no gene is on both sides; scores of all folds are pooled. AUROC with a bootstrap of
whole regions, since tracks cover few, and genes of one region are alike; differences to the linear
head on log-means are paired. Build the dataset with `--drop-unobserved 0.5`, so that only genes
with data are in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from pilot_neighbors import regions

import simplechrome
from simplechrome.evaluation.bootstrap import block_bootstrap, paired_block_bootstrap
from simplechrome.metrics import auroc

BASELINE = "log-means"


def encoders(seed: int) -> dict[str, Callable[[], Any]]:
    return {
        BASELINE: simplechrome.LogMeans,
        "raw window": simplechrome.RawWindow,
        "PCA 10": lambda: simplechrome.PCA(10),
        "VAE 10": lambda: simplechrome.VAE(10, random_state=seed),
        "VAE 10 + log-means": lambda: simplechrome.WithLogMeans(
            simplechrome.VAE(10, random_state=seed)
        ),
    }


def scores(dataset: xr.Dataset, held_out: str, folds: int, seed: int) -> pd.DataFrame:
    """Score of every gene of a cell type by models of the others, genes disjoint."""
    others = [name for name in dataset["cell_type"].values if name != held_out]
    tables = []
    for fold in range(folds):
        split = simplechrome.split_by_fold(dataset, fold, folds)
        train, validation = (part.sel(cell_type=others) for part in split[:2])
        target = split.test.sel(cell_type=[held_out])
        table = pd.DataFrame(
            {name: target[name].values for name in ("gene_id", "chrom", "tss")}
            | {"label": target["label"].values[0]}
        )
        for name, make in encoders(seed).items():
            encoder = make().fit(train, validation=validation)
            head = simplechrome.LinearPredictor(random_state=seed)
            head.fit(encoder.transform(train), train["label"])
            table[name] = np.ravel(head.decision_function(encoder.transform(target)))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    dataset = simplechrome.open_dataset(arguments.dataset)
    for held_out in dataset["cell_type"].values:
        runs = [scores(dataset, held_out, arguments.folds, s) for s in range(arguments.seeds)]
        known = (runs[0]["label"] >= 0).to_numpy()
        # Regions stand in for genes, so that each is drawn as one.
        place = {"gene": regions(runs[0])[known]}
        label = runs[0]["label"].to_numpy()[known]
        mean = {n: np.mean([run[n][known] for run in runs], axis=0) for n in encoders(0)}
        print(f"{held_out}: {known.sum()} genes, {label.mean():.0%} high")
        for name, values in mean.items():
            score = block_bootstrap(auroc, label, values, **place)
            text = f"  {name:20} {score.value:.4f} ({score.low:.4f} to {score.high:.4f})"
            if name != BASELINE:
                difference = paired_block_bootstrap(auroc, label, values, mean[BASELINE], **place)
                text += (
                    f"  minus {BASELINE}: {difference.value:+.4f} "
                    f"({difference.low:+.4f} to {difference.high:+.4f})"
                )
            print(text, flush=True)


if __name__ == "__main__":
    main()
