"""Does one encoder serve tracks that lack a mark as well as one made for the marks that are left?

    python benchmarks/missing_marks.py atlas.zarr --cell-type E012 [--part test] [--draws 20]

A mark of the cell type is hidden, in training and scoring. Compared, by a linear head of the same
labels: `one` encoder fitted on all marks of all cell types; an encoder `made` for the marks that
are left, in all cell types; and PCA 30 of the cell type's own. AUROC on the validation (at the end,
test) chromosomes, mean over draws of labels, and with all labels the difference with 95 % of a
block bootstrap over runs of 50 genes.
"""

from __future__ import annotations

import numpy as np
from heads import arguments, fixed, interval, log_odds, mean_auroc, place_of

import simplechrome
from simplechrome.evaluation.bootstrap import paired_block_bootstrap
from simplechrome.metrics import auroc

HIDDEN = ("H3K4me1", "H3K4me3", "H3K27me3", "H3K36me3", "H3K9me3")
LABELS = (20, 100, 1000)


def main() -> None:
    """Hide one mark after the other."""
    parser = arguments(__doc__, draws=20)
    parser.add_argument("--cell-type", required=True)
    options = parser.parse_args()
    every = simplechrome.open_dataset(options.dataset)
    here = every["cell_type"] == options.cell_type
    for mark in HIDDEN:
        data = every.assign(mark_present=every["mark_present"] & ~(here & (every["mark"] == mark)))
        left = [name for name in map(str, every["mark"].values) if name != mark]
        split = simplechrome.split_by_chromosome(data)
        own = data.isel(cell_type=here.values)
        encoders = {
            "one": (simplechrome.ConsensusEncoder().fit(split.train), own),
            "made": (
                simplechrome.ConsensusEncoder().fit(split.train.sel(mark=left)),
                own.sel(mark=left),
            ),
            "PCA 30": (
                simplechrome.PCA(30).fit(split.train.isel(cell_type=here.values).sel(mark=left)),
                own.sel(mark=left),
            ),
        }
        mine, scored = (
            part.isel(cell_type=here.values) for part in (split.train, getattr(split, options.part))
        )
        y = scored["label"].values[0]
        every_label = {}
        print(f"without {mark}")
        for name, (encoder, windows) in encoders.items():
            found = log_odds(fixed(encoder, windows, mine, scored), mine, options.draws, LABELS)
            scores = [f"{n:>6}: {mean_auroc(y, values):.4f}" for n, values in found.items()]
            print(f"  {name:<8}" + "".join(scores), flush=True)
            every_label[name] = found["all"][:, 0]
        place = place_of(scored, np.arange(len(y)))
        for other in ("made", "PCA 30"):
            pair = every_label["one"], every_label[other]
            gain = paired_block_bootstrap(auroc, y, *pair, **place)
            print(f"  one - {other}, all labels: {interval(gain)}", flush=True)


if __name__ == "__main__":
    main()
