"""With all labels, does the encoder help any head, alone and in ensembles?

    python benchmarks/all_labels.py atlas.zarr --cell-type E012 [--part test] [--members 5]

Heads learn from all training genes of one cell type; networks are ensembles of `--members` seeds.
Baselines: DeepChrome on the window, a perceptron and boosting on PCA 30 with log-means, boosting
on the window, and their means in pairs. Ours: linear, perceptron and boosting on consensus latents
(encoder fitted on the training windows of all cell types), and the means of the perceptron with
each. Means are of standardized log odds. AUROC on the validation (at the end, test) chromosomes;
then the best of ours (by validation AUROC) minus the best baseline (likewise), with 95 % of a block
bootstrap over runs of 50 genes.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import xarray as xr
from heads import arguments, cell_type_of, interval, place_of, positions

import simplechrome
from simplechrome.evaluation.bootstrap import paired_block_bootstrap
from simplechrome.metrics import auroc


def standardized(values: np.ndarray) -> np.ndarray:
    """With mean 0 and deviation 1."""
    return (values - values.mean()) / values.std()


class Cell:
    """One cell type's labels, and heads that learn all of them."""

    def __init__(self, one: xr.Dataset, split: simplechrome.dataset.splits.Split) -> None:
        self.at = {name: positions(one, part) for name, part in split._asdict().items()}
        self.one, self.label = one, one["label"]

    def say(self, latents: xr.DataArray, heads: list[simplechrome.LinearPredictor]) -> np.ndarray:
        """(gene,) mean log odds of fitted heads, standardized."""
        train, validation = (
            (latents.isel(gene=self.at[part]), self.label.isel(gene=self.at[part]))
            for part in ("train", "validation")
        )
        said = []
        for head in heads:
            stops = hasattr(head, "hold_out_from")
            head.fit(*train, **({"validation": validation} if stops else {}))
            said.append(np.asarray(head.decision_function(latents))[0])
        return standardized(np.mean(said, axis=0))


def main() -> None:
    """Compare the best of both sides."""
    parser = arguments(__doc__)
    parser.add_argument("--cell-type", required=True)
    parser.add_argument("--members", type=int, default=5)
    options = parser.parse_args()
    every = simplechrome.open_dataset(options.dataset)
    one = cell_type_of(every, options.cell_type)
    split = simplechrome.split_by_chromosome(one)
    cell, seeds = Cell(one, split), range(options.members)
    window = simplechrome.RawWindow().fit(split.train).transform(one)
    pca = simplechrome.WithLogMeans(simplechrome.PCA(30)).fit(split.train).transform(one)
    encoder = simplechrome.ConsensusEncoder().fit(simplechrome.split_by_chromosome(every).train)
    latents = encoder.transform(one)
    networks = [simplechrome.MLPPredictor(random_state=seed) for seed in seeds]
    trees = [simplechrome.BoostingPredictor(random_state=seed) for seed in seeds]
    baselines = {
        "DeepChrome": cell.say(
            window, [simplechrome.DeepChrome(random_state=seed, device="cpu") for seed in seeds]
        ),
        "PCA + log-means, mlp": cell.say(pca, networks),
        "PCA + log-means, boosting": cell.say(pca, trees),
        "window, boosting": cell.say(window, trees),
    }
    ours = {
        "consensus, linear": cell.say(latents, [simplechrome.LinearPredictor()]),
        "consensus, mlp": cell.say(latents, networks),
        "consensus, boosting": cell.say(latents, trees),
    }
    network = ours["consensus, mlp"]
    ours |= {f"consensus, mlp + {name}": network + said for name, said in baselines.items()}
    baselines |= {
        f"{a} + {b}": baselines[a] + baselines[b] for a, b in combinations(list(baselines), 2)
    }
    y = one["label"].values[0]

    def score(said: np.ndarray, part: str) -> float:
        return auroc(y[cell.at[part]], said[cell.at[part]])

    best = []
    for side in (ours, baselines):
        for name, said in side.items():
            print(f"{name:<52}{score(said, options.part):.4f}", flush=True)
        best.append(max(side, key=lambda name, side=side: score(side[name], "validation")))
    scored = cell.at[options.part]
    gain = paired_block_bootstrap(
        auroc,
        y[scored],
        *(side[name][scored] for side, name in zip((ours, baselines), best, strict=True)),
        **place_of(one, scored),
    )
    print(f"{best[0]} - {best[1]}: {interval(gain)}")


if __name__ == "__main__":
    main()
