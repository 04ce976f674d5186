"""Is the consensus encoder ahead on all chromosomes but the test ones, and in all cell types?

    python benchmarks/chromosome_folds.py atlas.zarr [--cell-type E012 …] [--draws 5] [--test]

Three chromosomes are few: which baseline is best on them is partly luck. Here every chromosome that
is not of the test set is scored once, in five folds of whole chromosomes. Encoders see the windows
of the other four folds (the consensus encoder of all cell types, the baselines of the one that is
scored), linear heads the labels of 20 to 1,000 of their genes, or all. Prints for each cell type
the mean AUROC over folds and draws of each, and ours minus the baseline that is best in that
column, with its standard error over folds; at the end the mean over cell types. With `--test` the
training chromosomes teach, and the test chromosomes are scored: for the end.

The settings of the consensus encoder were chosen on some of these genes, for the most part in E012:
the other cell types are the fairer witnesses.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from consensus_encoder import baselines
from heads import LABELS, arguments, cell_type_of, fixed, log_odds, mean_auroc, positions

import simplechrome

FOLDS = 5
OURS = "consensus"


def parts_of(dataset: xr.Dataset, fold: int | None) -> tuple[xr.Dataset, xr.Dataset]:
    """What is learned from when a fold is scored, and the fold; None: the test chromosomes."""
    split = simplechrome.split_by_chromosome(dataset)
    if fold is None:
        return split.train, split.test
    rest = dataset.drop_isel(gene=positions(dataset, split.test))
    scored = simplechrome.split_by_fold(rest, fold, FOLDS).test
    return rest.drop_isel(gene=positions(rest, scored)), scored


def scores_of(
    one: xr.Dataset, encoder: simplechrome.ConsensusEncoder, fold: int | None, draws: int
) -> dict[str, list[float]]:
    """Mean AUROC over draws of each representation, by number of labels."""
    train, scored = parts_of(one, fold)
    y = scored["label"].values[0]
    found = {}
    for name, each in {**baselines(), OURS: encoder}.items():
        fitted = each if name == OURS else each.fit(train)
        values = log_odds(fixed(fitted, one, train, scored), train, draws)
        found[name] = [mean_auroc(y, each) for each in values.values()]
    return found


def show(name: str, table: dict[str, np.ndarray]) -> np.ndarray:
    """Print the (fold, labels) scores of one cell type; ours minus the best baseline."""
    print(f"{name:<20}" + "".join(f"{n:>9}" for n in [*(f"{n:,}" for n in LABELS), "all"]))
    for each, values in table.items():
        print(f"  {each:<18}" + "".join(f"{value:9.4f}" for value in values.mean(axis=0)))
    others = np.stack([values for each, values in table.items() if each != OURS])
    best = others.mean(axis=1).argmax(axis=0)
    gain = table[OURS] - others[best, :, range(len(best))].T
    print("  minus the best    " + "".join(f"{value:+9.4f}" for value in gain.mean(axis=0)))
    if len(gain) > 1:
        error = gain.std(axis=0, ddof=1) / len(gain) ** 0.5
        print("  ±                 " + "".join(f"{value:9.4f}" for value in error), flush=True)
    return gain.mean(axis=0)


def main() -> None:
    """Compare in one cell type after the other."""
    parser = arguments(__doc__, draws=5, part=False)
    parser.add_argument("--cell-type", action="append")
    parser.add_argument("--test", action="store_true")
    options = parser.parse_args()
    every = simplechrome.open_dataset(options.dataset).load()
    folds = [None] if options.test else list(range(FOLDS))
    encoders = [simplechrome.ConsensusEncoder().fit(parts_of(every, fold)[0]) for fold in folds]
    gains = []
    for name in options.cell_type or [str(name) for name in every["cell_type"].values]:
        one = cell_type_of(every, name)
        scores = [
            scores_of(one, encoder, fold, options.draws)
            for fold, encoder in zip(folds, encoders, strict=True)
        ]
        table = {each: np.asarray([part[each] for part in scores]) for each in scores[0]}
        gains.append(show(name, table))
    above = (np.asarray(gains) > 0).sum(axis=0)
    print("mean of all         " + "".join(f"{value:+9.4f}" for value in np.mean(gains, axis=0)))
    print("above 0             " + "".join(f"{value:9d}" for value in above))


if __name__ == "__main__":
    main()
