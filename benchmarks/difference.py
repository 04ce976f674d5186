"""Is the change of expression between two cell types told better by latents than by windows?

    python benchmarks/difference.py atlas.zarr [--part test] [--pair E012,E028 …] [--seeds 3]

Of each pair, log2((A + 1) / (B + 1)) of all training genes is learned, from the marks that both
have, and scored on the validation (at the end, test) chromosomes: Pearson, and AUROC of the sign.
`ridge` is ridge regression through the origin on differences (`DifferenceLinear`), its penalty by
cross-validation among the training genes; `mlp` is `DifferenceMLP`, stopped by a tenth of them, the
mean of its seeds. Both see log-means, whole windows, 30 principal components with log-means, each
fitted on the training genes of that cell type, and the latents of an encoder that saw the training
chromosomes of all cell types, and no expression. The last columns: the network of latents minus
each of the others, with 95 % of a block bootstrap over runs of 50 genes.
"""

from __future__ import annotations

import argparse

import numpy as np
import xarray as xr

import simplechrome
from simplechrome.dataset.pair import pair_dataset
from simplechrome.evaluation.intervals import paired_block_bootstrap
from simplechrome.metrics import auroc, pearson
from simplechrome.predictors.difference import DifferenceLinear
from simplechrome.predictors.difference_network import DifferenceMLP

PAIRS = ("E012,E028", "E119,E122", "E065,E087", "E123,E127")


def sides(encoder: object, data: xr.Dataset, pair: list[str], train: np.ndarray) -> np.ndarray:
    """(gene, features of both cell types), the encoder fitted on each by itself."""
    parts = []
    for name in pair:
        own = data.sel(cell_type=[name])
        latents = encoder.fit(own.isel(gene=train)).transform(own).values[0]
        parts.append(latents.reshape(len(latents), -1))
    return np.concatenate(parts, axis=1)


def main() -> None:
    """Compare on one pair after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--pair", action="append")
    parser.add_argument("--part", choices=["validation", "test"], default="validation")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    every = simplechrome.open_dataset(options.dataset)
    split = simplechrome.split_by_chromosome(every)
    ids = every["gene_id"].values
    train = np.flatnonzero(np.isin(ids, split.train["gene_id"].values))
    scored = np.flatnonzero(np.isin(ids, getattr(split, options.part)["gene_id"].values))
    place = {name: every[name].values[scored] for name in ("chrom", "tss")}
    encoder = simplechrome.ConsensusEncoder().fit(split.train)
    for text in options.pair or PAIRS:
        pair = text.split(",")
        both = every.sel(cell_type=pair)
        shared = both["mark_present"].values.all(axis=0)
        change = pair_dataset(every, pair)["change"].values[0].astype(np.float64)
        truth = change[scored]
        hidden = both.assign(mark_present=both["mark_present"] & shared)
        latents = np.concatenate(list(encoder.transform(hidden).values), axis=1)
        both = both.isel(mark=shared)
        features = {
            "log-means": sides(simplechrome.LogMeans(), both, pair, train),
            "windows": sides(simplechrome.RawWindow(), both, pair, train),
            "PCA 30 + log-means": sides(
                simplechrome.WithLogMeans(simplechrome.PCA(30)), both, pair, train
            ),
            "latents": latents,
        }
        said = {}
        for name, x in features.items():
            ridge = DifferenceLinear("regression").fit(x[train], change[train])
            said[f"ridge, {name}"] = np.asarray(ridge.predict(x[scored]))
            seeds = [
                DifferenceMLP("regression", random_state=seed).fit(x[train], change[train])
                for seed in range(options.seeds)
            ]
            said[f"mlp, {name}"] = np.mean([head.predict(x[scored]) for head in seeds], axis=0)
        marks = ", ".join(map(str, both["mark"].values))
        print(f"{pair[0]} - {pair[1]} ({marks})")
        moves = truth != 0
        ours = said["mlp, latents"]
        for name, value in said.items():
            sign = auroc((truth[moves] > 0).astype(int), value[moves])
            line = f"  {name:<26}{pearson(truth, value):.4f}, sign {sign:.4f}"
            if value is not ours:
                gain = paired_block_bootstrap(pearson, truth, ours, value, **place)
                line += f"   latents minus it {gain.value:+.4f} ({gain.low:+.4f}, {gain.high:+.4f})"
            print(line, flush=True)


if __name__ == "__main__":
    main()
