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

import numpy as np
import xarray as xr
from heads import Latents, arguments, cell_type_of, fixed, interval, log_odds, mean_auroc, place_of

import simplechrome
from simplechrome.evaluation.bootstrap import paired_block_bootstrap
from simplechrome.latent.encoder import Encoder
from simplechrome.metrics import auroc


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


def supervised(
    encoder: simplechrome.ConsensusEncoder, train: xr.Dataset, scored: xr.Dataset
) -> Latents:
    """Latents of an encoder that was fitted with the labels that the head learns from."""

    def latents_of(genes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        drawn = train.isel(gene=genes)
        labelled = encoder.with_labels(drawn, drawn["label"].values)
        x = labelled.transform_out_of_fold(drawn, drawn["label"].values)
        return x.values[0], labelled.transform(scored).values[0]

    return latents_of


def main() -> None:
    """Compare the encoder with six baselines on one cell type."""
    parser = arguments(__doc__, draws=20)
    parser.add_argument("--cell-type", required=True)
    options = parser.parse_args()
    every = simplechrome.open_dataset(options.dataset).load()
    one = cell_type_of(every, options.cell_type)
    split = simplechrome.split_by_chromosome(one)
    train, scored = split.train, getattr(split, options.part)
    held = {
        name: log_odds(fixed(encoder.fit(train), one, train, scored), train, options.draws)
        for name, encoder in baselines().items()
    }
    encoder = simplechrome.ConsensusEncoder()
    encoder.fit(simplechrome.split_by_chromosome(every).train)
    ours = log_odds(fixed(encoder, one, train, scored), train, options.draws)
    both = log_odds(supervised(encoder, train, scored), train, options.draws)
    truth = scored["label"].values[0]
    known = truth >= 0
    place = place_of(scored, known)
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
                f"{column:>6} labels: {name} minus {best}: {interval(gain)}, ± {error:.4f} over "
                "draws",
                flush=True,
            )
    activity = encoder.transform(scored).sel(latent="activity").values[0]
    print(f"activity, no label: {auroc(truth[known], activity[known]):.4f}")


if __name__ == "__main__":
    main()
