"""Does one encoder serve tracks that lack a mark as well as one made for the marks that are left?

    python benchmarks/missing_marks.py atlas.zarr --cell-type E012 [--part test] [--draws 20]

A mark of the cell type is hidden, in training and scoring. Compared, by a linear head of the same
labels: `one` encoder fitted on all marks of all cell types; an encoder `made` for the marks that
are left, in all cell types; and PCA 30 of the cell type's own. AUROC on the validation (at the end,
test) chromosomes, mean over draws of labels, and with all labels the difference with 95 % of a
block bootstrap over runs of 50 genes.
"""

from __future__ import annotations

import argparse

import numpy as np

import simplechrome
from simplechrome.evaluation.bootstrap import paired_block_bootstrap
from simplechrome.metrics import auroc

HIDDEN = ("H3K4me1", "H3K4me3", "H3K27me3", "H3K36me3", "H3K9me3")
LABELS = (20, 100, 1000)


def main() -> None:
    """Hide one mark after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--cell-type", required=True)
    parser.add_argument("--part", choices=["validation", "test"], default="validation")
    parser.add_argument("--draws", type=int, default=20)
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
        ids = own["gene_id"].values
        train = np.flatnonzero(np.isin(ids, split.train["gene_id"].values))
        scored = np.flatnonzero(np.isin(ids, getattr(split, options.part)["gene_id"].values))
        y = own["label"].values[0]
        mine = split.train.isel(cell_type=here.values)
        said = {}
        print(f"without {mark}")
        for name, (encoder, windows) in encoders.items():
            x = encoder.transform(windows).values[0]
            line = f"  {name:<8}"
            for n in LABELS:
                scores = []
                for seed in range(options.draws):
                    genes = train[simplechrome.draw_labels(mine, n, seed)]
                    head = simplechrome.LinearPredictor(random_state=seed).fit(x[genes], y[genes])
                    scores.append(auroc(y[scored], head.decision_function(x[scored])))
                line += f"{n:>6}: {np.mean(scores):.4f}"
            head = simplechrome.LinearPredictor().fit(x[train], y[train])
            said[name] = np.asarray(head.decision_function(x[scored]))
            print(f"{line}   all: {auroc(y[scored], said[name]):.4f}", flush=True)
        place = {name: own[name].values[scored] for name in ("chrom", "tss")}
        for other in ("made", "PCA 30"):
            gain = paired_block_bootstrap(auroc, y[scored], said["one"], said[other], **place)
            low, high = f"{gain.low:+.4f}", f"{gain.high:+.4f}"
            print(f"  one - {other}, all labels: {gain.value:+.4f} ({low}, {high})", flush=True)


if __name__ == "__main__":
    main()
