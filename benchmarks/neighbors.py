"""What neighbors of genes add to a gene's own window, and what they cost.

    python benchmarks/neighbors.py nearest five.zarr [--neighbors 2] [--shuffles 5] [--folds 5]
    python benchmarks/neighbors.py nearest e012.zarr --neighbors 20 --forms mean --marks H3K9me3
    python benchmarks/neighbors.py nearest e012.zarr --neighbors 20 --forms mean --keep-reads 0.01
    python benchmarks/neighbors.py planted [--genes 6000] [--effects 0,0.02,0.05,0.1]
    python benchmarks/neighbors.py wider narrow.zarr wide.zarr [--heads linear,boosting]
    python benchmarks/neighbors.py scale [--sizes 20000x56x50,10000x56x50] [--threads 2]

Each command is described at its function. Shuffled neighbors, other genes in their places, are the
control that must not help.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

import simplechrome
from simplechrome import make_neighborhood_features, neighbor_means
from simplechrome.dataset.neighbors.genomic import genomic_neighbors
from simplechrome.dataset.neighbors.graph import NeighborGraph, shuffled_neighbors
from simplechrome.evaluation.bootstrap import block_bootstrap, block_bootstrap_of_groups
from simplechrome.metrics import auroc, pearson

HEADS = {"linear": simplechrome.LinearPredictor, "boosting": simplechrome.BoostingPredictor}


def joined(first: xr.DataArray, *others: xr.DataArray) -> xr.DataArray:
    """Features side by side."""
    values = np.concatenate([np.asarray(part) for part in (first, *others)], axis=-1)
    coords = {k: v for k, v in first.coords.items() if "latent" not in v.dims}
    return xr.DataArray(values, dims=first.dims, coords=coords)


def with_neighbors(latents: xr.DataArray, graph: NeighborGraph, n: int, form: str) -> xr.DataArray:
    """Own latents, and those of n neighbors: one after the other, or their mean; 0 for none."""
    slot = np.arange(graph.n_edges) - graph.offsets[graph.gene]
    at = graph.gene[slot < n], slot[slot < n]
    places, there = np.zeros((2, graph.gene_id.size, n), int)
    places[at], there[at] = graph.neighbor[slot < n], 1
    values = latents.values[:, places] * there[:, :, np.newaxis]
    if form == "mean":
        values = values.sum(axis=2) / np.maximum(there.sum(axis=1), 1)[:, np.newaxis]
    return joined(latents, values.reshape(*latents.shape[:2], -1))


def mean_auroc(label: np.ndarray, scores: np.ndarray, cell: np.ndarray) -> float:
    """Over columns (models) and cell types."""
    cells = [cell == name for name in np.unique(cell)]
    return float(np.mean([auroc(label[own], s[own]) for own in cells for s in scores.T]))


def nearest(options: argparse.Namespace) -> None:
    """The nearest genes whose windows do not overlap the gene's own, on all chromosomes.

    Every gene of every cell type is scored once, by models of other chromosomes (folds) with
    PCA 30 + log-means of the training windows. Boosting stops by the validation chromosomes; the
    linear head chooses its penalty within its labels. AUROC within each cell type, then the mean;
    intervals from a bootstrap of runs of 50 neighboring genes, drawn alike in all cell types.
    """
    dataset = simplechrome.open_dataset(options.dataset)
    for dim, names in (("cell_type", options.cell_types), ("mark", options.marks)):
        dataset = dataset.sel({dim: names.split(",")}) if names else dataset
    if options.keep_reads < 1:
        reads = np.random.default_rng(0).binomial(dataset["signal"].values, options.keep_reads)
        dataset = dataset.assign(signal=dataset["signal"].copy(data=reads.astype(np.uint16)))
    width = float(dataset.sizes["bin"] * dataset.attrs["bin_size"])
    true = genomic_neighbors(dataset, 120).apart(width).first(options.neighbors)
    graphs = {"true": true}
    graphs |= {f"shuffled {k}": shuffled_neighbors(true, k) for k in range(options.shuffles)}
    place = {name: dataset[name].values for name in ("gene_id", "chrom", "tss")}
    for head in options.heads.split(","):
        tables = []
        for cell in dataset["cell_type"].values:
            one, found = dataset.sel(cell_type=[cell]), {}
            for fold in range(options.folds):
                split = simplechrome.split_by_fold(one, fold, options.folds)
                rows = [np.flatnonzero(one["gene_id"].isin(part["gene_id"])) for part in split]
                encoder = simplechrome.WithLogMeans(simplechrome.PCA(30)).fit(split[0])
                models = {"own": (latents := encoder.transform(one))}
                models |= {
                    f"{form}, {name}": with_neighbors(latents, graph, options.neighbors, form)
                    for form, (name, graph) in product(options.forms, graphs.items())
                }
                for name, features in models.items():
                    sides = [(features.isel(gene=k), one["label"].isel(gene=k)) for k in rows]
                    held: Any = {"validation": sides[1]} if head == "boosting" else {}
                    model: Any = HEADS[head](random_state=fold).fit(*sides[0], **held)
                    values = found.setdefault(name, np.full(one.sizes["gene"], np.nan))
                    values[rows[2]] = np.asarray(model.decision_function(sides[2][0]))[0]
            print(f"  {head} {cell}", flush=True)
            about = {"cell_type": cell, "label": one["label"].values[0]}
            tables.append(pd.DataFrame(place | about | found))
        report_nearest(pd.concat(tables, ignore_index=True).dropna(), head, options)


def report_nearest(table: pd.DataFrame, head: str, options: argparse.Namespace) -> None:
    groups = [(str(name), rows) for name, rows in table.groupby("cell_type", sort=False)]
    for name, rows in groups + [("all cell types", table)] * (len(groups) > 1):
        place = {"chrom": rows["chrom"], "tss": rows["tss"], "gene": rows["gene_id"]}
        label, cell = rows["label"].to_numpy(), rows["cell_type"].to_numpy(str)
        alone = rows[["own"]].to_numpy()
        print(f"{head}, {name}: {len(rows):,} rows, own {mean_auroc(label, alone, cell):.4f}")
        for form in options.forms:
            true = rows[[f"{form}, true"]].to_numpy()
            other = rows[[f"{form}, shuffled {k}" for k in range(options.shuffles)]].to_numpy()
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


PLANTED_BANDS = {
    **{"all": (0, 1_000_000), "0-10 kb": (0, 10_000), "10-50 kb": (10_000, 50_000)},
    **{"50-200 kb": (50_000, 200_000), "200-1000 kb": (200_000, 1_000_000)},
}
NAMED = ("knock-outs in the band are larger", "change and what was planted, r")


def planted(options: argparse.Namespace) -> None:
    """Whether a planted neighbor effect is found in simulated genomes, and none where none is.

    By chromosomes, all labels: AUROC of the gene's own window (PCA 8 and log-means, linear head)
    and, above it, of attention and of the linear mean with true and shuffled neighbors, all within
    1 Mb and by band of distance. Intervals are Student's over simulated genomes. Of attention to
    all neighbors also how often a neighbor inside the planted band has a larger knock-out than one
    outside (.5 by chance), and how the change of the prediction correlates with what was planted.
    """
    for effect in map(float, options.effects.split(",")):
        table = pd.DataFrame([study(effect, seed, options) for seed in range(options.seeds)])
        print(f"effect {effect:g} on {options.band} kb, own window alone {table['own'].mean():.4f}")
        for head, name in product(("attention", "linear mean"), PLANTED_BANDS):
            true, other = (table[f"{head}, {name}, {c}"] for c in ("true", "shuffled"))
            print(
                f"  {head:<12}{name:<12} minus own {interval(true)}   "
                f"minus shuffled {interval(true - other)}   shuffled minus own {interval(other)}"
            )
        for measure in table.columns.intersection(NAMED):
            print(f"  {measure} {interval(table[measure].dropna())}")
        print(flush=True)


def study(effect: float, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Scores of one simulated genome, by the name of what is measured."""
    low, high = (int(1000 * float(kb)) for kb in options.band.split("-"))
    made = simplechrome.simulate(
        *(options.genes, 1),
        seed=seed,
        n_bins=20,
        bin_size=500,
        neighbor_effect=effect,
        neighbor_band=(low, high),
    )
    dataset = simplechrome.from_arrays(
        made.signal,
        marks=made.marks,
        gene_ids=made.genes["gene_id"],
        cell_types=made.cell_types,
        bin_size=made.bin_size,
        genes=made.genes,
        expression=made.expression,
    )
    train, held, test = (
        np.flatnonzero(dataset["gene_id"].isin(part["gene_id"]))
        for part in simplechrome.split_by_chromosome(dataset)
    )
    encoder = simplechrome.WithLogMeans(simplechrome.PCA(8)).fit(dataset.isel(gene=train))
    latents, label = encoder.transform(dataset), dataset["label"]

    def fitted(model: Any, features: Any) -> tuple[Any, float]:
        pairs = [(features.isel(gene=rows), label[:, rows]) for rows in (train, held)]
        model.fit(*pairs[0], validation=pairs[1])
        values = np.asarray(model.decision_function(features.isel(gene=test)))[0]
        return model, auroc(label.values[0, test], values)

    own = fitted(simplechrome.LinearPredictor(), latents)[1]
    row = {"own": own}
    every = genomic_neighbors(dataset, None, within=1_000_000)
    for name, limits in PLANTED_BANDS.items():
        true = every.between(*limits)
        for control, graph in {"true": true, "shuffled": shuffled_neighbors(true, seed)}.items():
            around = make_neighborhood_features(latents, graph, dataset)
            model, score = fitted(simplechrome.NeighborhoodPredictor(random_state=seed), around)
            row[f"attention, {name}, {control}"] = score - own
            score = fitted(simplechrome.LinearPredictor(), neighbor_means(around))[1]
            row[f"linear mean, {name}, {control}"] = score - own
            if (name, control) != ("all", "true"):
                continue
            change = np.asarray(model.decision_function(around))[0]
            change = change - np.asarray(model.own_.decision_function(latents))[0]
            contribution = made.truth.neighbor_contribution[0]
            if contribution.std() > 0 and change.std() > 0:
                row[NAMED[1]] = pearson(contribution[test], change[test])
            if model.epochs_:
                effects = model.explain(around, dataset["gene_id"].values[test].tolist())
                inside = effects["distance"].abs().between(low, high, inclusive="left")
                row[NAMED[0]] = auroc(inside.to_numpy(int), effects["knock_out"].abs())
    return row


def interval(values: pd.Series) -> str:
    mean = values.mean()
    if values.size < 2:
        return f"{mean:+.4f}"
    low, high = stats.t.interval(0.95, values.size - 1, mean, values.sem())
    return f"{mean:+.4f} ({low:+.4f} to {high:+.4f})"


BANDS = {f"{low}-{high} kb": (low, high) for low, high in ((0, 20), (20, 200), (0, 200))}
AROUND = {  # what is seen, and the neighbors that are added to it
    "own": tuple(BANDS),
    "wide, levels": ("20-200 kb",),
    "wide, PCA": ("20-200 kb", "0-200 kb"),
}
GAP = 1_000_000  # bp without a gene between two regions; tracks cover 0.5 to 2 Mb at a time
METRICS: dict[str, Any] = {"classification": auroc, "regression": pearson}


def wider(options: argparse.Namespace) -> None:
    """Whether a wider window of the gene's own holds what its neighbors add.

        simplechrome build tracks --sheet pilot.tsv --genes genes.gtf.gz --expression rpkm.tsv.gz \\
            --units asinh_minus_log10_p --drop-unobserved 0.9 -o narrow.zarr
        simplechrome build tracks … --flank 20000 -o wide.zarr

    Genes that both datasets hold are scored, by models of other chromosomes (folds), within each
    cell type and by models of the other cell types. A model sees

        own                PCA 10 and log-means of the narrow window
        wide, levels       own, and the level of each mark in each 2.5 kb of the wide window
        wide, PCA          own, and PCA 10 and log-means of the wide window
        + LOW-HIGH kb      besides, the mean of the own features of genes at that distance
        …, shuffled        other genes' neighbors, or another gene's wide window, in their places

    Each seed has its own shuffles and inner folds; scores, not predictions, are averaged over
    seeds. Differences are paired, mean over cell types; their 95 % intervals come from a bootstrap
    of whole regions, since genes of a region are alike. Behind them stand the smallest and largest
    difference when one region is held out.
    """
    narrow, wide = (simplechrome.open_dataset(path) for path in (options.narrow, options.wide))
    wide = wide.isel(gene=np.isin(wide["gene_id"].values, narrow["gene_id"].values))
    print(f"{wide.sizes['gene']} genes are scored, {narrow.sizes['gene']} may be neighbors")
    for source in ("the same cell type", "the other cell types"):
        table = predict_wider(narrow, wide, source == "the other cell types", options)
        models = list(table.columns[table.columns.get_loc("truth") + 1 :])
        for (task, head), rows in table.groupby(["task", "head"], sort=False):
            print(f"{METRICS[str(task)].__name__}, {head}, trained on {source}:", end=" ")
            print_scores(rows, models, METRICS[str(task)])


def representations(
    narrow: xr.Dataset, wide: xr.Dataset, learned: np.ndarray, seeds: int
) -> Iterator[dict[str, xr.DataArray]]:
    """(cell_type, gene of `wide`, feature) by name, for each seed; encoders see `learned` genes."""
    here = pd.Index(narrow["gene_id"].values).get_indexer(wide["gene_id"].values)
    train = wide.isel(gene=learned)
    encoder = simplechrome.WithLogMeans(simplechrome.PCA(10))
    latents = encoder.fit(narrow.isel(gene=here[learned])).transform(narrow)
    own = latents.isel(gene=here)
    added = {
        "wide, PCA": simplechrome.WithLogMeans(simplechrome.PCA(10)).fit(train).transform(wide),
        "wide, levels": simplechrome.LogMeans(n_regions=16).fit(train).transform(wide),
    }
    bases = {"own": own} | {name: joined(own, part) for name, part in added.items()}
    every = genomic_neighbors(narrow, None, within=200_000.0)
    graphs = {band: every.between(1000 * low, 1000 * high) for band, (low, high) in BANDS.items()}

    def around(seed: int | None) -> dict[str, xr.DataArray]:
        means = {}
        for band, true in graphs.items():
            graph = true if seed is None else shuffled_neighbors(true, seed)
            both = neighbor_means(make_neighborhood_features(latents, graph, narrow))
            means[band] = both.isel(gene=here, latent=slice(latents.sizes["latent"], None))
        pairs = ((name, band) for name, bands in AROUND.items() for band in bands)
        return {f"{name} + {band}": joined(bases[name], means[band]) for name, band in pairs}

    true = bases | around(None)
    for seed in range(seeds):
        another = np.random.default_rng([seed, 4]).permutation(wide.sizes["gene"])
        controls = {name: joined(own, part.isel(gene=another)) for name, part in added.items()}
        controls |= around(seed)
        yield true | {f"{name}, shuffled": features for name, features in controls.items()}


def predict_wider(
    narrow: xr.Dataset, wide: xr.Dataset, across: bool, options: argparse.Namespace
) -> pd.DataFrame:
    """A row per gene, cell type and seed: its place and truth, then a column for each model."""
    levels = np.log2(wide["expression"] + 1)
    targets: dict[str, Any] = {"classification": wide["label"], "regression": levels}
    cells = [str(name) for name in wide["cell_type"].values]
    groups = [cells] if across else [[cell] for cell in cells]  # whose windows encoders see
    tables = []
    for fold, group in product(range(options.folds), groups):
        held_out = simplechrome.split_by_fold(wide, fold, options.folds).test["gene_id"].values
        test = np.isin(wide["gene_id"].values, held_out)
        place = {name: wide[name].values[test] for name in ("gene_id", "chrom", "tss")}
        seen = narrow.sel(cell_type=group), wide.sel(cell_type=group)
        for seed, every in enumerate(representations(*seen, ~test, options.seeds)):
            for cell, task, head in product(group, METRICS, options.heads.split(",")):
                learn = [name for name in cells if name != cell] if across else [cell]
                target, values = targets[task], {}
                for name, features in every.items():
                    model: Any = HEADS[head](task, random_state=seed)
                    pair = (each.sel(cell_type=learn)[:, ~test] for each in (features, target))
                    model.fit(*pair)
                    use = model.decision_function if task == "classification" else model.predict
                    values[name] = np.asarray(use(features.sel(cell_type=[cell])[:, test]))[0]
                about = {"task": task, "head": head, "seed": seed, "cell_type": cell}
                truth = {"truth": target.sel(cell_type=cell).values[test]}
                tables.append(pd.DataFrame(about | place | truth | values))
    return pd.concat(tables, ignore_index=True)


def contrasts() -> dict[str, dict[str, int]]:
    """Differences of scores by name: how often the score of each model counts."""
    wide = [name for name in AROUND if name != "own"]
    pairs = [(name, other) for name in wide for other in ("own", f"{name}, shuffled")]
    for name, band in ((name, band) for name, bands in AROUND.items() for band in bands):
        pairs += [(f"{name} + {band}", name), (f"{name} + {band}", f"{name} + {band}, shuffled")]
    pairs += [("own + 20-200 kb", name) for name in wide]
    found = {f"{a:<24} minus {b.replace(f'{a}, ', '')}": {a: 1, b: -1} for a, b in pairs}
    for name in wide:  # what neighbors add to the narrow window, less what they add to the wide one
        gain = {"own + 20-200 kb": 1, "own": -1, f"{name} + 20-200 kb": -1, name: 1}
        found[f"gain from 20-200 kb over own, minus over {name}"] = gain
    return found


def print_scores(table: pd.DataFrame, models: list[str], metric: Any) -> None:
    genes = table.drop_duplicates("gene_id").sort_values(["chrom", "tss"])
    begins = (genes["chrom"] != genes["chrom"].shift()) | (genes["tss"].diff() > GAP)
    region = pd.Series(begins.cumsum().to_numpy(), genes["gene_id"])[table["gene_id"]].to_numpy()
    table = table.assign(region=region)

    def means(rows: pd.DataFrame) -> np.ndarray:
        parts = [part for _, part in rows.groupby(["seed", "cell_type"])]
        return np.mean([[metric(p["truth"], p[name]) for name in models] for p in parts], axis=0)

    def resampled(rows: pd.DataFrame, model: str) -> np.ndarray:
        # Regions stand in for genes, so that each is drawn as one.
        found = block_bootstrap_of_groups(
            *(metric, rows["truth"], rows[model]), group=rows["cell_type"], gene=rows["region"]
        )
        return np.mean(list(found.resampled.values()), axis=0)

    seeds = [rows for _, rows in table.groupby("seed")]
    drawn = [np.mean([resampled(rows, model) for rows in seeds], axis=0) for model in models]
    parts = (
        means(table),
        np.transpose(drawn),
        np.array([means(table[table["region"] != each]) for each in np.unique(region)]),
    )
    print(f"own {parts[0][models.index('own')]:.4f}, {np.unique(region).size} regions")
    for name, contrast in contrasts().items():
        weight = np.array([contrast.get(model, 0) for model in models])
        whole, some, without = (part @ weight for part in parts)
        low, high = np.quantile(some, (0.025, 0.975))
        print(
            f"  {name:<57} {whole:+.4f} ({low:+.4f} to {high:+.4f}); "
            f"{without.min():+.4f} to {without.max():+.4f}"
        )
    print(flush=True)


def scale(options: argparse.Namespace) -> None:
    """Memory and seconds for genes x cell types x neighbors, each in a process of its own.

    Made-up latents (16 of each gene and cell type) and genomic neighbors; the own linear head with
    its cross-fitting, one epoch of attention, and the predictions of all. Peak memory is that of
    the process; `base` is what it held before the fit (latents, edges and libraries).
    """
    if not options.here:
        for size in options.sizes.split(","):
            again = [sys.executable, __file__, "scale", "--here", "--sizes", size]
            subprocess.run([*again, "--threads", str(options.threads)], check=True)
        return
    genes, cell_types, neighbors = map(int, options.sizes.split("x"))
    random = np.random.default_rng(0)
    dataset = xr.Dataset(
        coords={
            "gene_id": ("gene", [f"g{k:05}" for k in range(genes)]),
            "chrom": ("gene", [f"chr{1 + k * 22 // genes}" for k in range(genes)]),
            "tss": ("gene", np.sort(random.integers(0, 2 * 10**8, genes))),
            "strand": ("gene", random.choice(["+", "-"], genes)),
            "bin": np.arange(100),
        },
        attrs={"bin_size": 100},
    )
    latents = xr.DataArray(
        random.standard_normal((cell_types, genes, 16), np.float32),
        dims=("cell_type", "gene", "latent"),
        coords={
            "cell_type": [f"C{k}" for k in range(cell_types)],
            "gene_id": dataset["gene_id"],
            "latent": [f"z{k}" for k in range(16)],
        },
    )
    odds = latents.values[..., 0] + 0.5 * random.standard_normal((cell_types, genes))
    graph = genomic_neighbors(dataset, neighbors)
    around = make_neighborhood_features(latents, graph, dataset)
    model = simplechrome.NeighborhoodPredictor(
        epochs=1, early_stopping=False, threads=options.threads
    )
    steps = [lambda: model.fit(around, (odds > 0).astype(np.int8)), model.predict_proba]
    text = f"base {megabytes():5,.0f} MB"
    for name, step in zip(("fit", "predict"), steps, strict=True):
        begin = time.perf_counter()
        step(*[around][: name == "predict"])
        text += f", {name} {megabytes():5,.0f} MB {time.perf_counter() - begin:6.1f} s"
    print(
        f"{genes:6,} genes x {cell_types} cell types x {neighbors} neighbors, "
        f"{graph.n_edges:9,} edges: {text}",
        flush=True,
    )


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


OPTIONS: dict[Callable, dict[str, Any]] = {
    nearest: {
        **{"--neighbors": 2, "--shuffles": 5, "--folds": 5, "--resamples": 300, "--marks": ""},
        **{"--heads": "boosting,linear", "--cell-types": "", "--keep-reads": 1.0},
        "--forms": ["side by side", "mean"],
    },
    planted: {"--genes": 6000, "--seeds": 5, "--effects": "0,0.02,0.05,0.1", "--band": "10-200"},
    wider: {"--heads": "linear", "--folds": 5, "--seeds": 3},
    scale: {"--sizes": "20000x56x50,10000x56x50,20000x56x25,20000x28x50", "--threads": 2},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    files = {nearest: ["dataset"], wider: ["narrow", "wide"]}
    for run, defaults in OPTIONS.items():
        command = commands.add_parser(run.__name__)
        command.set_defaults(run=run)
        for name in files.get(run, []):
            command.add_argument(name)
        for name, value in defaults.items():
            kind = (lambda text: text.split(",")) if isinstance(value, list) else type(value)
            command.add_argument(name, default=value, type=kind)
        command.add_argument("--here", action="store_true", help="Of scale: in this process.")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
