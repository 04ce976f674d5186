"""What does attention over neighbors need for an atlas: memory and seconds?

    python benchmarks/neighborhood_scale.py [--sizes 20000x56x50,10000x56x50] [--threads 2]

Genes x cell types x neighbors, each in a process of its own: made-up latents (16 of each gene and
cell type) and genomic neighbors; the own linear head with its cross-fitting, one epoch of
attention, and the predictions of all. Peak memory is that of the process; `base` is what the
process held before the fit (latents, edges and libraries).
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
import xarray as xr

import simplechrome
from simplechrome.dataset.neighbors.genomic import genomic_neighbors

LATENTS = 16


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one_size(genes: int, cell_types: int, neighbors: int, threads: int) -> None:
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
        random.standard_normal((cell_types, genes, LATENTS), np.float32),
        dims=("cell_type", "gene", "latent"),
        coords={
            "cell_type": [f"C{k}" for k in range(cell_types)],
            "gene_id": dataset["gene_id"],
            "latent": [f"z{k}" for k in range(LATENTS)],
        },
    )
    odds = latents.values[..., 0] + 0.5 * random.standard_normal((cell_types, genes))
    label = (odds > 0).astype(np.int8)
    graph = genomic_neighbors(dataset, neighbors)
    around = simplechrome.make_neighborhood_features(latents, graph, dataset)
    base, begin = megabytes(), time.perf_counter()
    model = simplechrome.NeighborhoodPredictor(epochs=1, early_stopping=False, threads=threads)
    model.fit(around, label)
    fitted, between = megabytes(), time.perf_counter()
    model.predict_proba(around)
    print(
        f"{genes:6,} genes x {cell_types} cell types x {neighbors} neighbors, "
        f"{graph.n_edges:9,} edges: base {base:5,.0f} MB, fit {fitted:5,.0f} MB "
        f"{between - begin:6.1f} s, predict {megabytes():5,.0f} MB "
        f"{time.perf_counter() - between:5.1f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="20000x56x50,10000x56x50,20000x56x25,20000x28x50")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--here", action="store_true", help="In this process.")
    options = parser.parse_args()
    for size in options.sizes.split(","):
        if options.here:
            one_size(*map(int, size.split("x")), options.threads)
        else:
            again = [sys.executable, __file__, "--sizes", size, "--here"]
            subprocess.run([*again, "--threads", str(options.threads)], check=True)


if __name__ == "__main__":
    main()
