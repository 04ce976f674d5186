"""Does the consensus encoder need fewer labels than what it is judged against?

    simplechrome build arrays E027.npz E028.npz … -o rest.zarr --genes … --expression …
    simplechrome merge e012.zarr rest.zarr -o atlas.zarr
    python benchmarks/consensus_encoder.py atlas.zarr --cell-type E012 [--part test] [--draws 20]

The encoder sees the windows of the training chromosomes of all cell types, the baselines those of
the one that is scored. Prints the mean AUROC of each with 20 to 1,000 labels and all, the encoder
minus the best baseline of each column on the same draws (± standard error over draws), and the
AUROC of its activity by itself, without any label. Genes of the validation chromosomes are scored;
`--part test` is for the end, since nothing may be chosen on it.
"""

from __future__ import annotations

import argparse

import numpy as np
import xarray as xr

import simplechrome
from simplechrome.metrics import auroc

LABELS = (20, 50, 100, 200, 1000)


def scores(
    latents: xr.DataArray, train: xr.Dataset, scored: xr.Dataset, draws: int
) -> dict[str, np.ndarray]:
    """AUROC of a linear head on these latents of all genes, one per draw, by number of labels."""
    ids = latents["gene_id"].values
    x, unseen = (
        latents[0, np.isin(ids, part["gene_id"].values)].values for part in (train, scored)
    )
    x, unseen = x.reshape(len(x), -1), unseen.reshape(len(unseen), -1)
    y, truth = train["label"].values[0], scored["label"].values[0]
    found = {}
    for n in (*LABELS, None):
        each = []
        for seed in range(draws if n else 1):
            genes = simplechrome.draw_labels(train, n, seed) if n else np.flatnonzero(y >= 0)
            head = simplechrome.LinearPredictor(random_state=seed).fit(x[genes], y[genes])
            known = truth >= 0
            each.append(auroc(truth[known], head.decision_function(unseen[known])))
        found[f"{n:,}" if n else "all"] = np.asarray(each)
    return found


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
    baselines = {
        "raw": simplechrome.RawWindow(),
        "log-means": simplechrome.LogMeans(),
        "log-region-means": simplechrome.LogMeans(n_regions=5),
        "PCA 10": simplechrome.PCA(10),
        "PCA 30": simplechrome.PCA(30),
        "PCA 10 + log-means": simplechrome.WithLogMeans(simplechrome.PCA(10)),
        "PCA 30 + log-means": simplechrome.WithLogMeans(simplechrome.PCA(30)),
    }
    held = {
        name: scores(encoder.fit(train).transform(one), train, scored, options.draws)
        for name, encoder in baselines.items()
    }
    encoder = simplechrome.ConsensusEncoder()
    encoder.fit(simplechrome.split_by_chromosome(every).train)
    latents = encoder.transform(one)
    ours = scores(latents, train, scored, options.draws)
    columns = list(ours)
    print(f"{'':<22}" + "".join(f"{column:>14}" for column in columns))
    for name, found in {**held, "consensus": ours}.items():
        print(f"{name:<22}" + "".join(f"{found[column].mean():14.4f}" for column in columns))
    cells = []
    for column in columns:
        best = max(held.values(), key=lambda found, c=column: found[c].mean())[column]
        gain = ours[column] - best
        error = gain.std(ddof=1) / np.sqrt(gain.size) if gain.size > 1 else np.nan
        cells.append(
            f"{gain.mean():+.4f} ± {error:.4f}" if gain.size > 1 else f"{gain.mean():+.4f}"
        )
    print(f"{'minus the best':<22}" + "".join(f"{cell:>18}" for cell in cells))
    there = np.isin(latents["gene_id"].values, scored["gene_id"].values)
    truth = scored["label"].values[0]
    activity = latents.sel(latent="activity").values[0, there]
    print(f"activity, no label: {auroc(truth[truth >= 0], activity[truth >= 0]):.4f}")


if __name__ == "__main__":
    main()
