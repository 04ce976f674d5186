"""Does the consensus encoder need fewer labels than what it is judged against?

    simplechrome build arrays E027.npz E028.npz … -o rest.zarr --genes … --expression …
    simplechrome merge e012.zarr rest.zarr -o atlas.zarr
    python benchmarks/consensus_encoder.py atlas.zarr --cell-type E012 [--part test] [--draws 20]

The encoder sees the windows of the training chromosomes of all cell types, the baselines those of
the one that is scored; `semi-supervised` is the same encoder shown the labels that the head learns
from. Prints the mean AUROC of each with 20 to 1,000 labels and all; ours minus the best baseline of
each column on the same draws, with 95 % of a block bootstrap over runs of 50 genes, and the
standard error over draws; and the AUROC of activity by itself, without any label. Genes of the
validation chromosomes are scored; `--part test` is for the end, since nothing may be chosen on it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import xarray as xr

import simplechrome
from simplechrome.evaluation.bootstrap import paired_block_bootstrap
from simplechrome.latent.encoder import Encoder
from simplechrome.metrics import auroc

LABELS = (20, 50, 100, 200, 1000)

Said = dict[str, np.ndarray]
"""By number of labels: (scored gene, draw), what a linear head says."""


def baselines() -> dict[str, Encoder]:
    """What the encoder is judged against, unfitted."""
    return {
        "raw": simplechrome.RawWindow(),
        "log-means": simplechrome.LogMeans(),
        "log-region-means": simplechrome.LogMeans(n_regions=5),
        "PCA 10": simplechrome.PCA(10),
        "PCA 30": simplechrome.PCA(30),
        "PCA 10 + log-means": simplechrome.WithLogMeans(simplechrome.PCA(10)),
        "PCA 30 + log-means": simplechrome.WithLogMeans(simplechrome.PCA(30)),
    }


def said_of(
    latents_of: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    train: xr.Dataset,
    draws: int,
) -> Said:
    """What a linear head says of the scored genes, for each draw of labels.

    `latents_of` gives, for positions of the labelled genes, their latents and those of the scored
    genes.
    """
    y = train["label"].values[0]
    found: Said = {}
    for n in (*LABELS, None):
        each = []
        for seed in range(draws if n else 1):
            genes = simplechrome.draw_labels(train, n, seed) if n else np.flatnonzero(y >= 0)
            x, unseen = latents_of(genes)
            head = simplechrome.LinearPredictor(random_state=seed).fit(x, y[genes])
            each.append(np.asarray(head.decision_function(unseen)))
        found[f"{n:,}" if n else "all"] = np.column_stack(each)
    return found


def fixed(encoder: Encoder, one: xr.Dataset, train: xr.Dataset, scored: xr.Dataset) -> Callable:
    """Latents that no label shapes."""
    values = encoder.transform(one).values[0]
    x, unseen = (
        values[np.isin(one["gene_id"].values, part["gene_id"].values)] for part in (train, scored)
    )
    x, unseen = x.reshape(len(x), -1), unseen.reshape(len(unseen), -1)
    return lambda genes: (x[genes], unseen)


def shaped(
    encoder: simplechrome.ConsensusEncoder, train: xr.Dataset, scored: xr.Dataset
) -> Callable:
    """Latents of an encoder that was shown the labels that the head learns from."""

    def latents_of(genes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        drawn = train.isel(gene=genes)
        told = encoder.with_labels(drawn, drawn["label"].values)
        x = told.transform_out_of_fold(drawn, drawn["label"].values)
        return x.values[0], told.transform(scored).values[0]

    return latents_of


def mean_auroc(truth: np.ndarray, said: np.ndarray) -> float:
    """Mean over draws."""
    return float(np.mean([auroc(truth, column) for column in said.T]))


def main() -> None:
    """Compare the encoder with six baselines on one cell type."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--cell-type", required=True)
    parser.add_argument("--part", choices=["validation", "test"], default="validation")
    parser.add_argument("--draws", type=int, default=20)
    options = parser.parse_args()
    every = simplechrome.open_dataset(options.dataset).load()
    one = every.sel(cell_type=[options.cell_type])
    one = one.isel(mark=one["mark_present"].values[0])
    split = simplechrome.split_by_chromosome(one)
    train, scored = split.train, getattr(split, options.part)
    held = {
        name: said_of(fixed(encoder.fit(train), one, train, scored), train, options.draws)
        for name, encoder in baselines().items()
    }
    encoder = simplechrome.ConsensusEncoder()
    encoder.fit(simplechrome.split_by_chromosome(every).train)
    ours = said_of(fixed(encoder, one, train, scored), train, options.draws)
    both = said_of(shaped(encoder, train, scored), train, options.draws)
    truth = scored["label"].values[0]
    known = truth >= 0
    place = {name: scored[name].values[known] for name in ("chrom", "tss")}
    columns = list(ours)
    print(f"{'':<24}" + "".join(f"{column:>9}" for column in columns))
    scores = {}
    for name, found in {**held, "consensus": ours, "semi-supervised": both}.items():
        scores[name] = {c: mean_auroc(truth[known], found[c][known]) for c in columns}
        print(f"{name:<24}" + "".join(f"{scores[name][c]:9.4f}" for c in columns), flush=True)
    for column in columns:
        best = max(held, key=lambda name, c=column: scores[name][c])
        for name, found in {"consensus": ours, "semi-supervised": both}.items():
            gain = paired_block_bootstrap(
                mean_auroc,
                *(truth[known], found[column][known], held[best][column][known]),
                **place,
                n_resamples=200,
            )
            draws = [
                auroc(truth[known], a[known]) - auroc(truth[known], b[known])
                for a, b in zip(found[column].T, held[best][column].T, strict=True)
            ]
            error = np.std(draws, ddof=1) / len(draws) ** 0.5 if len(draws) > 1 else np.nan
            print(
                f"{column:>6} labels: {name} minus {best}: {gain.value:+.4f} "
                f"({gain.low:+.4f}, {gain.high:+.4f}), ± {error:.4f} over draws",
                flush=True,
            )
    activity = encoder.transform(scored).sel(latent="activity").values[0]
    print(f"activity, no label: {auroc(truth[known], activity[known]):.4f}")


if __name__ == "__main__":
    main()
