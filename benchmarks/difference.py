"""Is the change of expression between two cell types told better by latents than by windows?

    python benchmarks/difference.py atlas.zarr [--part test] [--pair E012,E028 …] [--seeds 3]

Of each pair, log2((A + 1) / (B + 1)) of all training genes is learned, and scored on the validation
(at the end, test) chromosomes: Pearson, and AUROC of the sign. `ridge` is ridge regression through
the origin on differences (`DifferenceLinear`), its penalty by cross-validation among the training
genes, on the marks that both cell types have; `mlp` is `DifferenceMLP`, stopped by a tenth of the
genes, the mean of its seeds, on all marks of each (missing ones 0). Both see log-means, whole
windows, 30 principal components of both cell types with log-means, and the latents, with log-means
too, of an encoder that saw the training chromosomes of all cell types, and no expression. The last
columns: the network of latents minus each of the others, with 95 % of a block bootstrap over runs
of 50 genes.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from heads import arguments, interval, place_of, positions

import simplechrome
from simplechrome.dataset.choose import pair_dataset
from simplechrome.evaluation.bootstrap import paired_block_bootstrap
from simplechrome.metrics import auroc, pearson
from simplechrome.predictors.linear import DifferenceLinear
from simplechrome.predictors.mlp import DifferenceMLP

PAIRS = ("E012,E028", "E119,E122", "E065,E087", "E123,E127")


def sides(encoder: object, data: xr.Dataset, train: np.ndarray) -> np.ndarray:
    """(gene, features of both cell types): the encoder fitted on both, or on each by itself."""
    names = [str(name) for name in data["cell_type"].values]
    together = isinstance(encoder, simplechrome.WithLogMeans)
    parts = []
    for name in names:
        own = data.sel(cell_type=[name])
        fitted = encoder.fit((data if together else own).isel(gene=train))
        latents = np.nan_to_num(fitted.transform(own).values[0])
        parts.append(latents.reshape(len(latents), -1))
    return np.concatenate(parts, axis=1)


def main() -> None:
    """Compare on one pair after the other."""
    parser = arguments(__doc__)
    parser.add_argument("--pair", action="append")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    every = simplechrome.open_dataset(options.dataset)
    split = simplechrome.split_by_chromosome(every)
    train, scored = positions(every, split.train), positions(every, getattr(split, options.part))
    place = place_of(every, scored)
    encoder = simplechrome.WithLogMeans(simplechrome.ConsensusEncoder()).fit(split.train)
    for text in options.pair or PAIRS:
        pair = text.split(",")
        both = every.sel(cell_type=pair)
        change = pair_dataset(every, pair)["change"].values[0].astype(np.float64)
        truth = change[scored]
        has = both["mark_present"].values
        shared = both.isel(mark=has.all(axis=0))
        hidden = both.assign(mark_present=both["mark_present"] & has.all(axis=0))
        encoders = {
            "log-means": simplechrome.LogMeans(),
            "windows": simplechrome.RawWindow(),
            "PCA 30 + log-means": simplechrome.WithLogMeans(simplechrome.PCA(30)),
        }
        of_shared = {name: sides(each, shared, train) for name, each in encoders.items()}
        of_shared["latents"] = np.concatenate(list(encoder.transform(hidden).values), axis=1)
        any_ = both.isel(mark=has.any(axis=0))
        of_all = {name: sides(each, any_, train) for name, each in encoders.items()}
        of_all["latents"] = np.concatenate(list(encoder.transform(both).values), axis=1)
        said = {}
        for name, x in of_shared.items():
            ridge = DifferenceLinear("regression").fit(x[train], change[train])
            said[f"ridge, {name}"] = np.asarray(ridge.predict(x[scored]))
        for name, x in of_all.items():
            seeds = [
                DifferenceMLP("regression", random_state=seed).fit(x[train], change[train])
                for seed in range(options.seeds)
            ]
            said[f"mlp, {name}"] = np.mean([head.predict(x[scored]) for head in seeds], axis=0)
        print(f"{pair[0]} - {pair[1]} ({', '.join(map(str, shared['mark'].values))} in both)")
        moves = truth != 0
        ours = said["mlp, latents"]
        for name, value in said.items():
            sign = auroc((truth[moves] > 0).astype(int), value[moves])
            line = f"  {name:<26}{pearson(truth, value):.4f}, sign {sign:.4f}"
            if value is not ours:
                gain = paired_block_bootstrap(pearson, truth, ours, value, **place)
                line += f"   latents minus it {interval(gain)}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
