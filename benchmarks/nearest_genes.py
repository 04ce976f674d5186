"""Do the nearest genes beyond the window tell anything? On all chromosomes, with a large sample.

    python benchmarks/nearest_genes.py five.zarr [--neighbors 2] [--shuffles 5] [--folds 5]
    python benchmarks/nearest_genes.py e012.zarr --neighbors 20 --forms mean --marks H3K9me3
    python benchmarks/nearest_genes.py e012.zarr --neighbors 20 --forms mean --keep-reads 0.01

A first look saw gradient boosting gain +.0015 AUROC from the two nearest genes more than 10 kb
away, above shuffled ones, on the 2,742 test genes of one cell type. Here every gene of every cell
type is scored once, by models of other chromosomes (folds), and a difference so small has an
interval that is smaller still. Per cell type and fold: PCA 30 + log-means of the training windows;
the gene's own, then also those of its nearest genes whose windows do not overlap its own, side by
side or as their mean, against other genes in their places. Boosting stops by the validation
chromosomes of the fold; the linear head chooses its penalty within its labels.

With `--marks` and `--keep-reads` the tracks are made poorer: do neighbors help where a gene's own
window says little?

AUROC within each cell type over all folds, then the mean of cell types; intervals from a bootstrap
of runs of 50 neighboring genes, drawn alike in all cell types.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import simplechrome
from simplechrome.dataset.neighbors.genomic import genomic_neighbors
from simplechrome.dataset.neighbors.graph import NeighborGraph, shuffled_neighbors
from simplechrome.evaluation.bootstrap import block_bootstrap
from simplechrome.metrics import auroc

OWN = "own"
_CANDIDATES = 120


def beside(latents: xr.DataArray, graph: NeighborGraph, n: int, form: str) -> xr.DataArray:
    """Own latents, and those of n neighbors: one after the other, or their mean; 0 for none."""
    slot = np.arange(graph.n_edges) - graph.offsets[graph.gene]
    at = graph.gene[slot < n], slot[slot < n]
    places, there = np.zeros((2, graph.gene_id.size, n), int)
    places[at], there[at] = graph.neighbor[slot < n], 1
    values = latents.values[:, places] * there[:, :, np.newaxis]
    if form == "mean":
        values = values.sum(axis=2) / np.maximum(there.sum(axis=1), 1)[:, np.newaxis]
    else:
        values = values.reshape(*values.shape[:2], -1)
    joined = np.concatenate([latents.values, values], axis=-1)
    coords = {k: v for k, v in latents.coords.items() if "latent" not in v.dims}
    return xr.DataArray(joined, dims=latents.dims, coords=coords)


def log_odds(
    features: xr.DataArray, label: xr.DataArray, side: np.ndarray, head: str, seed: int
) -> np.ndarray:
    """(test gene,) of a model of the training genes."""
    train, valid, test = (np.flatnonzero(side == k) for k in ("train", "validation", "test"))
    pair = features.isel(gene=train), label.isel(gene=train)
    model: Any
    if head == "linear":
        model = simplechrome.LinearPredictor(random_state=seed).fit(*pair)
    else:
        held = features.isel(gene=valid), label.isel(gene=valid)
        model = simplechrome.BoostingPredictor(random_state=seed).fit(*pair, validation=held)
    return np.asarray(model.decision_function(features.isel(gene=test)))[0]


def predict_all(dataset: xr.Dataset, options: argparse.Namespace, head: str) -> pd.DataFrame:
    """(cell type and gene) × model: log odds by models that did not know the chromosome."""
    width = float(dataset.sizes["bin"] * dataset.attrs["bin_size"])
    true = genomic_neighbors(dataset, _CANDIDATES).apart(width).first(options.neighbors)
    graphs = {"true": true} | {
        f"shuffled {k}": shuffled_neighbors(true, k) for k in range(options.shuffles)
    }
    tables = []
    for cell in dataset["cell_type"].values:
        one = dataset.sel(cell_type=[cell])
        found: dict[str, np.ndarray] = {}
        for fold in range(options.folds):
            split = simplechrome.split_by_fold(one, fold, options.folds)
            side = np.full(one.sizes["gene"], "", dtype=object)
            ids = pd.Index(one["gene_id"].values)
            for name, part in zip(("train", "validation", "test"), split, strict=True):
                side[ids.get_indexer(part["gene_id"].values)] = name
            encoder = simplechrome.WithLogMeans(simplechrome.PCA(30)).fit(split[0])
            latents = encoder.transform(one)
            models = {OWN: latents} | {
                f"{form}, {name}": beside(latents, graph, options.neighbors, form)
                for form in options.forms
                for name, graph in graphs.items()
            }
            for name, features in models.items():
                values = found.setdefault(name, np.full(side.size, np.nan))
                values[side == "test"] = log_odds(features, one["label"], side, head, fold)
        print(f"  {head} {cell}", flush=True)
        place = {n: one[n].values for n in ("gene_id", "chrom", "tss")}
        tables.append(
            pd.DataFrame(place | {"cell_type": cell, "label": one["label"].values[0]} | found)
        )
    return pd.concat(tables, ignore_index=True).dropna()


def mean_auroc(label: np.ndarray, scores: np.ndarray, cell: np.ndarray) -> float:
    """Over columns (models) and cell types."""
    return float(
        np.mean([auroc(label[cell == c], s[cell == c]) for c in np.unique(cell) for s in scores.T])
    )


def report(table: pd.DataFrame, head: str, options: argparse.Namespace) -> None:
    cells = list(dict.fromkeys(table["cell_type"]))
    for name in [*cells, *(["all cell types"] if len(cells) > 1 else [])]:
        own = table if name == "all cell types" else table[table["cell_type"] == name]
        place = {"chrom": own["chrom"], "tss": own["tss"], "gene": own["gene_id"]}
        label, cell = own["label"].to_numpy(), own["cell_type"].to_numpy(str)
        alone = own[[OWN]].to_numpy()
        print(f"{head}, {name}: {len(own):,} rows, own {mean_auroc(label, alone, cell):.4f}")
        for form in options.forms:
            true = own[[f"{form}, true"]].to_numpy()
            other = own[[f"{form}, shuffled {k}" for k in range(options.shuffles)]].to_numpy()
            for title, control in (("own", alone), ("shuffled", other)):
                difference = block_bootstrap(
                    lambda y, a, b, c: mean_auroc(y, a, c) - mean_auroc(y, b, c),
                    *(label, true, control, cell),
                    **place,
                    n_resamples=options.resamples,
                )
                print(
                    f"  {form:<13} minus {title:<9} {difference.value:+.5f} "
                    f"({difference.low:+.5f} to {difference.high:+.5f})",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--neighbors", type=int, default=2)
    parser.add_argument("--shuffles", type=int, default=5)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--resamples", type=int, default=300)
    parser.add_argument("--heads", default="boosting,linear")
    parser.add_argument("--forms", default="side by side,mean", type=lambda text: text.split(","))
    parser.add_argument("--cell-types", help="Some of the dataset's. [default: all]")
    parser.add_argument("--marks", help="Some of the dataset's. [default: all]")
    parser.add_argument("--keep-reads", type=float, default=1.0, help="Share that is kept.")
    options = parser.parse_args()
    dataset = simplechrome.open_dataset(options.dataset)
    if options.cell_types:
        dataset = dataset.sel(cell_type=options.cell_types.split(","))
    if options.marks:
        dataset = dataset.sel(mark=options.marks.split(","))
    if options.keep_reads < 1:
        reads = np.random.default_rng(0).binomial(dataset["signal"].values, options.keep_reads)
        dataset = dataset.assign(signal=dataset["signal"].copy(data=reads.astype(np.uint16)))
    for head in options.heads.split(","):
        table = predict_all(dataset, options, head)
        report(table, head, options)


if __name__ == "__main__":
    main()
