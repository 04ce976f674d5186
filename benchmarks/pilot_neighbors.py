"""Does a wider window of the gene's own hold what its neighbors say?

    simplechrome build tracks --sheet pilot.tsv --genes genes.gtf.gz --expression rpkm.tsv.gz \\
        --units asinh_minus_log10_p --drop-unobserved 0.9 -o narrow.zarr
    simplechrome build tracks … --flank 20000 -o wide.zarr
    python benchmarks/pilot_neighbors.py narrow.zarr wide.zarr [--folds 5] [--seeds 3]

Genes that both datasets hold are scored, by models of other chromosomes (folds), within each cell
type and by models of the other cell types. A model sees

    own                PCA 10 and log-means of the narrow window
    wide, levels       own, and the level of each mark in each 2.5 kb of the wide window
    wide, PCA          PCA 10 and log-means of the narrow and of the wide window
    + LOW-HIGH kb      beside these, the mean of the own features of genes at that distance

Neighbors are genes of the narrow dataset, so where tracks cover regions only, those beyond a
region's end are lacking. Shuffled neighbors are dealt out once a seed. Differences are paired, mean
over cell types, with intervals from a bootstrap of runs of ten neighboring genes, which are drawn
alike in all cell types.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import simplechrome
from simplechrome import make_surroundings, neighbor_means
from simplechrome.dataset.neighbors.controls import shuffled_neighbors
from simplechrome.dataset.neighbors.genomic import genomic_neighbors
from simplechrome.evaluation.intervals import block_bootstrap
from simplechrome.metrics import auroc, pearson

PIECES = 16  # of 2.5 kb in 40 kb
BANDS = ((0, 20), (20, 200), (0, 200))
COMPARED = (
    ("wide, levels", "own"),
    ("wide, PCA", "own"),
    *((f"own + {low}-{high} kb", "own") for low, high in BANDS),
    *((f"own + {low}-{high} kb", f"own + {low}-{high} kb, shuffled") for low, high in BANDS),
    *((f"wide, PCA + {low}-{high} kb", "wide, PCA") for low, high in BANDS[1:]),
    *(
        (f"wide, PCA + {low}-{high} kb", f"wide, PCA + {low}-{high} kb, shuffled")
        for low, high in BANDS[1:]
    ),
)
Metric = Callable[[np.ndarray, np.ndarray], float]
METRICS: dict[str, Metric] = {"classification": auroc, "regression": pearson}


def joined(*parts: xr.DataArray) -> xr.DataArray:
    values = np.concatenate([part.values for part in parts], axis=-1)
    coords = {k: v for k, v in parts[0].coords.items() if "latent" not in v.dims}
    return xr.DataArray(values, dims=parts[0].dims, coords=coords)


def representations(
    narrow: xr.Dataset, wide: xr.Dataset, learned: np.ndarray, seed: int
) -> dict[str, xr.DataArray]:
    """(cell_type, gene of `wide`, feature) by name; encoders see the genes learned from."""
    ids = wide["gene_id"].values
    here = pd.Index(narrow["gene_id"].values).get_indexer(ids)
    train = wide.isel(gene=learned)
    near = simplechrome.WithLogMeans(simplechrome.PCA(10)).fit(
        narrow.isel(gene=here[np.flatnonzero(learned)])
    )
    latents = near.transform(narrow)
    own = latents.isel(gene=here)
    broad = simplechrome.WithLogMeans(simplechrome.PCA(10)).fit(train).transform(wide)
    levels = simplechrome.LogMeans(n_regions=PIECES).fit(train).transform(wide)
    bases = {"own": own, "wide, PCA": joined(own, broad)}
    found = bases | {"wide, levels": joined(own, levels)}
    every = genomic_neighbors(narrow, None, within=1000.0 * BANDS[-1][1])
    for low, high in BANDS:
        true = every.between(1000 * low, 1000 * high)
        for graph, control in ((true, ""), (shuffled_neighbors(true, seed), ", shuffled")):
            means = neighbor_means(make_surroundings(latents, graph, narrow))
            around = means.isel(gene=here, latent=slice(latents.sizes["latent"], None))
            for name, base in bases.items():
                found[f"{name} + {low}-{high} kb{control}"] = joined(base, around)
    return found


def predict(
    narrow: xr.Dataset,
    wide: xr.Dataset,
    task: str,
    head: str,
    across: bool,
    fold: int,
    options: Any,
) -> pd.DataFrame:
    """Log odds, or levels, of every test gene of a fold, in each cell type."""
    split = simplechrome.split_by_fold(wide, fold, options.folds)
    ids = pd.Index(wide["gene_id"].values)
    test = ids.isin(split.test["gene_id"].values)
    target = wide["label"] if task == "classification" else np.log2(wide["expression"] + 1)
    cells = [str(name) for name in wide["cell_type"].values]
    tables = []
    for cell in cells:
        learn = [name for name in cells if name != cell] if across else [cell]
        sums: dict[str, np.ndarray] = {}
        for seed in range(options.seeds):
            parts = (
                data.sel(cell_type=[*learn, cell] if across else [cell]) for data in (narrow, wide)
            )
            every = representations(*parts, ~test, seed)
            for name, features in every.items():
                make: Any = getattr(simplechrome, f"{head.capitalize()}Predictor")
                model = make(task, random_state=seed).fit(
                    features.sel(cell_type=learn)[:, ~test], target.sel(cell_type=learn)[:, ~test]
                )
                say = model.decision_function if task == "classification" else model.predict
                values = np.asarray(say(features.sel(cell_type=[cell])[:, test]))[0]
                sums[name] = sums.get(name, 0) + values / options.seeds
        place = {name: wide[name].values[test] for name in ("gene_id", "chrom", "tss")}
        truth = {"cell_type": cell, "truth": target.sel(cell_type=cell).values[test]}
        tables.append(pd.DataFrame(place | truth | sums))
    return pd.concat(tables, ignore_index=True)


def compare(table: pd.DataFrame, first: str, second: str, metric: Metric) -> str:
    cells = table["cell_type"].to_numpy(str)

    def difference(truth: np.ndarray, a: np.ndarray, b: np.ndarray, cell: np.ndarray) -> float:
        each = [cell == name for name in np.unique(cell)]
        return float(np.mean([metric(truth[k], a[k]) - metric(truth[k], b[k]) for k in each]))

    found = block_bootstrap(
        difference,
        *(table["truth"], table[first], table[second], cells),
        **{"chrom": table["chrom"], "tss": table["tss"], "gene": table["gene_id"]},
        block=10,
    )
    return f"{found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("narrow")
    parser.add_argument("wide")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    narrow, wide = map(simplechrome.open_dataset, (options.narrow, options.wide))
    wide = wide.isel(gene=np.isin(wide["gene_id"].values, narrow["gene_id"].values))
    graph = genomic_neighbors(narrow, None, within=1000.0 * BANDS[-1][1])
    scored = np.isin(narrow["gene_id"].values, wide["gene_id"].values)
    print(f"{wide.sizes['gene']} genes are scored, {narrow.sizes['gene']} may be neighbors")
    for low, high in BANDS:
        degree = graph.between(1000 * low, 1000 * high).degree[scored]
        print(
            f"  {low}-{high} kb: {degree.mean():.1f} neighbors, {np.mean(degree > 0):.0%} have any"
        )
    for across in (False, True):
        for task, metric in METRICS.items():
            for head in ("linear", "boosting"):
                table = pd.concat(
                    predict(narrow, wide, task, head, across, fold, options)
                    for fold in range(options.folds)
                )
                own = np.mean(
                    [
                        metric(rows["truth"].to_numpy(), rows["own"].to_numpy())
                        for _, rows in table.groupby("cell_type")
                    ]
                )
                source = "other cell types" if across else "the same cell type"
                print(f"{metric.__name__}, {head}, trained on {source}: own {own:.4f}")
                for first, second in COMPARED:
                    print(
                        f"  {first:<24} minus {second:<33} {compare(table, first, second, metric)}"
                    )
                print(flush=True)


if __name__ == "__main__":
    main()
