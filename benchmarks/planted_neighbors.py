"""Is a planted neighbor effect found, and nothing where nothing is planted?

    python benchmarks/planted_neighbors.py [--genes 6000] [--seeds 5] [--effects 0,0.02,0.05,0.1]

Simulated genomes (`simplechrome.simulate`), where neighbors from 10 to 200 kb away act on a gene's
expression, or where none do. By chromosomes, all labels: AUROC of the gene's own window (PCA 8 and
log-means, linear head) and, above it, of attention and of the linear mean with true and shuffled
neighbors, all within 1 Mb and by band of distance. Intervals are Student's over simulated genomes,
each of which is another draw of everything. Of attention to all neighbors it is also asked which
it names: how often a neighbor inside the planted band has a larger knock-out than one outside
(.5 by chance), and how the change of the prediction correlates with what was planted.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

import simplechrome
from simplechrome import make_neighborhood_features, neighbor_means
from simplechrome.dataset.neighbors.genomic import genomic_neighbors
from simplechrome.dataset.neighbors.graph import shuffled_neighbors
from simplechrome.metrics import auroc, pearson

BANDS = {
    "all": (0, 1_000_000),
    "0-10 kb": (0, 10_000),
    "10-50 kb": (10_000, 50_000),
    "50-200 kb": (50_000, 200_000),
    "200-1000 kb": (200_000, 1_000_000),
}
CONTROLS = ("true", "shuffled")


def study(effect: float, seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Scores of one simulated genome."""
    band = tuple(int(1000 * float(kb)) for kb in options.band.split("-"))
    made = simplechrome.simulate(
        *(options.genes, 1),
        seed=seed,
        n_bins=20,
        bin_size=500,
        neighbor_effect=effect,
        neighbor_band=(band[0], band[1]),
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
    chrom = dataset["chrom"].values
    test, held = (np.isin(chrom, c) for c in (["chr1", "chr8", "chr21"], ["chr2", "chr9", "chr22"]))
    sides = {"train": ~(test | held), "held": held}
    encoder = simplechrome.WithLogMeans(simplechrome.PCA(8)).fit(dataset.isel(gene=sides["train"]))
    latents, label = encoder.transform(dataset), dataset["label"]
    truth = label.values[0, test]

    def fit(model: Any, features: Any) -> Any:
        pairs = {k: (features.isel(gene=np.flatnonzero(v)), label[:, v]) for k, v in sides.items()}
        return model.fit(*pairs["train"], validation=pairs["held"])

    def score(model: Any, features: Any) -> float:
        values = model.decision_function(features.isel(gene=np.flatnonzero(test)))
        return auroc(truth, np.asarray(values)[0])

    own = score(fit(simplechrome.LinearPredictor(), latents), latents)
    rows = [{"effect": effect, "seed": seed, "measure": "own", "value": own}]

    def add(measure: str, value: float) -> None:
        rows.append({"effect": effect, "seed": seed, "measure": measure, "value": value})

    every = genomic_neighbors(dataset, None, within=1_000_000)
    for name, limits in BANDS.items():
        true = every.between(*limits)
        for control in CONTROLS:
            graph = true if control == "true" else shuffled_neighbors(true, seed)
            around = make_neighborhood_features(latents, graph, dataset)
            means = neighbor_means(around)
            model = fit(simplechrome.NeighborhoodPredictor(random_state=seed), around)
            add(f"attention, {name}, {control}", score(model, around) - own)
            add(
                f"linear mean, {name}, {control}",
                score(fit(simplechrome.LinearPredictor(), means), means) - own,
            )
            if name == "all" and control == "true":
                change = np.asarray(model.decision_function(around))[0]
                change = change - np.asarray(model.own_.decision_function(latents))[0]
                planted = made.truth.neighbor_contribution[0]
                if planted.std() > 0 and change.std() > 0:
                    add("change and what was planted, r", pearson(planted[test], change[test]))
                if model.epochs_:
                    ids = [str(gene) for gene in dataset["gene_id"].values[test]]
                    effects = model.explain(around, ids)
                    away = effects["distance"].abs().to_numpy()
                    inside = ((away >= band[0]) & (away < band[1])).astype(int)
                    add(
                        "knock-outs in the band are larger",
                        auroc(inside, effects["knock_out"].abs()),
                    )
    return rows


def interval(values: np.ndarray) -> str:
    mean = values.mean()
    if values.size < 2:
        return f"{mean:+.4f}"
    half = stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size)
    return f"{mean:+.4f} ({mean - half:+.4f} to {mean + half:+.4f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--genes", type=int, default=6000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--effects", default="0,0.02,0.05,0.1")
    parser.add_argument("--band", default="10-200", help="kb, where neighbors act")
    options = parser.parse_args()
    for effect in map(float, options.effects.split(",")):
        rows = [row for seed in range(options.seeds) for row in study(effect, seed, options)]
        table = pd.DataFrame(rows).pivot(index="seed", columns="measure", values="value")
        print(f"effect {effect:g} on {options.band} kb, own window alone {table['own'].mean():.4f}")
        for head in ("attention", "linear mean"):
            for name in BANDS:
                true, other = (table[f"{head}, {name}, {c}"].to_numpy() for c in CONTROLS)
                print(
                    f"  {head:<12}{name:<12} minus own {interval(true)}   "
                    f"minus shuffled {interval(true - other)}   "
                    f"shuffled minus own {interval(other)}"
                )
        for measure in ("knock-outs in the band are larger", "change and what was planted, r"):
            if measure in table:
                print(f"  {measure} {interval(table[measure].dropna().to_numpy())}")
        print(flush=True)


if __name__ == "__main__":
    main()
