"""Does a wider window of the gene's own hold what its neighbors say?

    simplechrome build tracks --sheet pilot.tsv --genes genes.gtf.gz --expression rpkm.tsv.gz \\
        --units asinh_minus_log10_p --drop-unobserved 0.9 -o narrow.zarr
    simplechrome build tracks … --flank 20000 -o wide.zarr
    python benchmarks/pilot_neighbors.py narrow.zarr wide.zarr [--heads linear,boosting]
        [--genes genes.gtf.gz] [--folds 5] [--seeds 3]

Genes that both datasets hold are scored, by models of other chromosomes (folds), within each cell
type and by models of the other cell types. A model sees

    own                PCA 10 and log-means of the narrow window
    wide, levels       own, and the level of each mark in each 2.5 kb of the wide window
    wide, PCA          own, and PCA 10 and log-means of the wide window
    + LOW-HIGH kb      beside these, the mean of the own features of genes at that distance
    …, shuffled        other genes' neighbors, or another gene's wide window, in their places

Neighbors are genes of the narrow dataset: where tracks cover regions only, those beyond a region's
end are lacking, and with `--genes` it is said how many. Each seed shuffles anew and deals out inner
folds anew; its models are scored by themselves, and scores, not predictions, are averaged over
seeds. Differences are paired, mean over cell types. Their 95 % intervals come from a bootstrap of
whole regions, since all genes of a region share their surroundings; behind them stand the smallest
and largest difference when one region is left out.

On one core a seed takes about a minute with the linear head and about ten with boosting.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

import simplechrome
from simplechrome import make_neighborhood_features, neighbor_means
from simplechrome.dataset.neighbors.genomic import genomic_neighbors
from simplechrome.dataset.neighbors.graph import shuffled_neighbors
from simplechrome.evaluation.bootstrap import block_bootstrap_of_groups
from simplechrome.metrics import auroc, pearson
from simplechrome.sources.genome.genes import read_genes

PIECES = 16  # of 2.5 kb in 40 kb
BANDS = {f"{low}-{high} kb": (low, high) for low, high in ((0, 20), (20, 200), (0, 200))}
AROUND = {  # what is seen, and the neighbors that are added to it
    "own": tuple(BANDS),
    "wide, levels": ("20-200 kb",),
    "wide, PCA": ("20-200 kb", "0-200 kb"),
}
GAP = 1_000_000  # bp without a gene between two regions; tracks cover 0.5 to 2 Mb at a time
METRICS: dict[str, Any] = {"classification": auroc, "regression": pearson}
HEADS = {"linear": simplechrome.LinearPredictor, "boosting": simplechrome.BoostingPredictor}
Contrast = dict[str, int]
"""Name of a model → how often its score counts."""


def contrasts() -> dict[str, Contrast]:
    """Which differences of scores are asked for, and what are they called?"""

    def minus(first: str, second: str) -> dict[str, Contrast]:
        name = second.replace(f"{first}, ", "")
        return {f"{first:<24} minus {name}": {first: 1, second: -1}}

    wide = [name for name in AROUND if name != "own"]
    found: dict[str, Contrast] = {}
    for name in wide:
        found |= minus(name, "own") | minus(name, f"{name}, shuffled")
    for name, bands in AROUND.items():
        for band in bands:
            model = f"{name} + {band}"
            found |= minus(model, name) | minus(model, f"{model}, shuffled")
    for name in wide:
        found |= minus("own + 20-200 kb", name)
        # What neighbors bring beside the narrow window, less what they bring beside the wide one.
        found[f"gain from 20-200 kb beside own, minus beside {name}"] = {
            "own + 20-200 kb": 1,
            "own": -1,
            f"{name} + 20-200 kb": -1,
            name: 1,
        }
    return found


def joined(*parts: xr.DataArray) -> xr.DataArray:
    values = np.concatenate([part.values for part in parts], axis=-1)
    coords = {k: v for k, v in parts[0].coords.items() if "latent" not in v.dims}
    return xr.DataArray(values, dims=parts[0].dims, coords=coords)


def representations(
    narrow: xr.Dataset, wide: xr.Dataset, learned: np.ndarray, seeds: int
) -> Iterator[dict[str, xr.DataArray]]:
    """(cell_type, gene of `wide`, feature) by name, for each seed.

    Encoders see the windows of the genes that are learned from.
    """
    here = pd.Index(narrow["gene_id"].values).get_indexer(wide["gene_id"].values)
    train = wide.isel(gene=learned)
    encoder = simplechrome.WithLogMeans(simplechrome.PCA(10))
    latents = encoder.fit(narrow.isel(gene=here[learned])).transform(narrow)
    own = latents.isel(gene=here)
    added = {
        "wide, PCA": simplechrome.WithLogMeans(simplechrome.PCA(10)).fit(train).transform(wide),
        "wide, levels": simplechrome.LogMeans(n_regions=PIECES).fit(train).transform(wide),
    }
    bases = {"own": own} | {name: joined(own, part) for name, part in added.items()}
    every = genomic_neighbors(narrow, None, within=1000.0 * max(max(BANDS.values())))
    graphs = {band: every.between(1000 * low, 1000 * high) for band, (low, high) in BANDS.items()}

    def around(seed: int | None) -> dict[str, xr.DataArray]:
        means = {}
        for band, true in graphs.items():
            graph = true if seed is None else shuffled_neighbors(true, seed)
            beside = neighbor_means(make_neighborhood_features(latents, graph, narrow))
            means[band] = beside.isel(gene=here, latent=slice(latents.sizes["latent"], None))
        return {
            f"{name} + {band}": joined(bases[name], means[band])
            for name, bands in AROUND.items()
            for band in bands
        }

    true = bases | around(None)
    for seed in range(seeds):
        another = np.random.default_rng([seed, 4]).permutation(wide.sizes["gene"])
        controls = around(seed) | {
            name: joined(own, part.isel(gene=another)) for name, part in added.items()
        }
        yield true | {f"{name}, shuffled": features for name, features in controls.items()}


def predict(
    narrow: xr.Dataset, wide: xr.Dataset, heads: list[str], across: bool, options: Any
) -> pd.DataFrame:
    """What is predicted for every gene, cell type and seed, by models of other chromosomes?

    Returns
    -------
    A row each, with task, head, seed, cell_type, gene_id, chrom, tss and truth; behind these a
    column for each model.
    """
    targets: dict[str, Any] = {
        "classification": wide["label"],
        "regression": np.log2(wide["expression"] + 1),
    }
    cells = [str(name) for name in wide["cell_type"].values]
    groups = [cells] if across else [[cell] for cell in cells]  # whose windows encoders see
    tables = []
    for fold, group in product(range(options.folds), groups):
        held_out = simplechrome.split_by_fold(wide, fold, options.folds).test["gene_id"].values
        test = np.isin(wide["gene_id"].values, held_out)
        place = {name: wide[name].values[test] for name in ("gene_id", "chrom", "tss")}
        seen_by_encoders = narrow.sel(cell_type=group), wide.sel(cell_type=group)
        for seed, every in enumerate(representations(*seen_by_encoders, ~test, options.seeds)):
            for cell, task, head in product(group, METRICS, heads):
                learn = [name for name in cells if name != cell] if across else [cell]
                target = targets[task]
                values = {}
                for name, features in every.items():
                    model: Any = HEADS[head](task, random_state=seed)
                    seen = features.sel(cell_type=learn)[:, ~test]
                    model.fit(seen, target.sel(cell_type=learn)[:, ~test])
                    say = model.decision_function if task == "classification" else model.predict
                    values[name] = np.asarray(say(features.sel(cell_type=[cell])[:, test]))[0]
                about = {"task": task, "head": head, "seed": seed, "cell_type": cell}
                truth = {"truth": target.sel(cell_type=cell).values[test]}
                tables.append(pd.DataFrame(about | place | truth | values))
    return pd.concat(tables, ignore_index=True)


def regions(table: pd.DataFrame) -> np.ndarray:
    """(row,) number of the run of genes, none of them further than `GAP` from the next."""
    genes = table.drop_duplicates("gene_id").sort_values(["chrom", "tss"])
    begins = (genes["chrom"] != genes["chrom"].shift()) | (genes["tss"].diff() > GAP)
    return pd.Series(begins.cumsum().to_numpy(), genes["gene_id"])[table["gene_id"]].to_numpy()


class Scores(NamedTuple):
    """Of a model, means over seeds and cell types: of all genes, and of parts of them."""

    whole: float
    drawn: np.ndarray  # (resample,)
    without: np.ndarray  # (region,), each left out


def score(table: pd.DataFrame, model: str, metric: Any) -> Scores:
    """How well does a model predict, and how much hangs on single regions?"""
    drawn = []
    for _, rows in table.groupby("seed"):
        # Regions stand in for genes, so that each is drawn as one.
        found = block_bootstrap_of_groups(
            *(metric, rows["truth"], rows[model]), group=rows["cell_type"], gene=rows["region"]
        )
        drawn.append(list(found.resampled.values()))

    def mean(rows: pd.DataFrame) -> float:
        parts = rows.groupby(["seed", "cell_type"])
        return float(np.mean([metric(part["truth"], part[model]) for _, part in parts]))

    without = [mean(table[table["region"] != region]) for region in table["region"].unique()]
    return Scores(mean(table), np.mean(drawn, axis=(0, 1)), np.array(without))


def print_scores(table: pd.DataFrame, models: list[str], metric: Any) -> None:
    table = table.assign(region=regions(table))
    scores = {model: score(table, model, metric) for model in models}
    print(f"own {scores['own'].whole:.4f}, {table['region'].nunique()} regions")
    for name, contrast in contrasts().items():
        whole, drawn, without = (
            sum(times * getattr(scores[model], part) for model, times in contrast.items())
            for part in Scores._fields
        )
        low, high = np.quantile(drawn, (0.025, 0.975))
        print(
            f"  {name:<57} {whole:+.4f} ({low:+.4f} to {high:+.4f}); "
            f"{without.min():+.4f} to {without.max():+.4f}"
        )
    print(flush=True)


def print_neighbors(narrow: xr.Dataset, scored: np.ndarray, genes: str | None) -> None:
    """How many neighbors has a gene that is scored, and how many would it have on whole tracks?"""
    reach = 1000.0 * max(max(BANDS.values()))
    graph = genomic_neighbors(narrow, None, within=reach)
    ids = narrow["gene_id"].values[scored]
    if genes is not None:
        table = read_genes(genes).set_index("gene_id")
        annotated = xr.Dataset.from_dataframe(table).rename(gene_id="gene")
        annotated = annotated.set_coords(["chrom", "tss", "strand"]).assign_coords(
            gene_id=("gene", table.index.to_numpy())
        )
        everyone = genomic_neighbors(annotated, None, within=reach)
    for name, (low, high) in BANDS.items():
        band = 1000 * low, 1000 * high
        degree = graph.between(*band).degree[scored]
        text = f"  {name}: {degree.mean():.1f} neighbors, {np.mean(degree > 0):.0%} have any"
        if genes is not None:
            full = pd.Series(everyone.between(*band).degree, table.index)[ids].to_numpy()
            text += f"; {full.mean():.1f} are annotated, {np.mean(degree == full):.0%} have all"
        print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("narrow")
    parser.add_argument("wide")
    parser.add_argument("--heads", default="linear", help="linear, boosting, or both")
    parser.add_argument("--genes", help="table of all genes, to say which neighbors are lacking")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    heads = options.heads.split(",")
    narrow, wide = (
        simplechrome.open_dataset(path).load() for path in (options.narrow, options.wide)
    )
    wide = wide.isel(gene=np.isin(wide["gene_id"].values, narrow["gene_id"].values))
    scored = np.isin(narrow["gene_id"].values, wide["gene_id"].values)
    print(f"{wide.sizes['gene']} genes are scored, {narrow.sizes['gene']} may be neighbors")
    print_neighbors(narrow, scored, options.genes)
    for across in (False, True):
        table = predict(narrow, wide, heads, across, options)
        models = list(table.columns[table.columns.get_loc("truth") + 1 :])
        source = "the other cell types" if across else "the same cell type"
        for (task, head), rows in table.groupby(["task", "head"], sort=False):
            metric = METRICS[str(task)]
            print(f"{metric.__name__}, {head}, trained on {source}:", end=" ")
            print_scores(rows, models, metric)


if __name__ == "__main__":
    main()
