"""What does attention over neighbors cost, against the gene's own window alone?

    python benchmarks/neighborhood_speed.py e012.zarr [--neighbors 20] [--rounds 5] [--threads 2]

Training epochs of the same network on the same genes, with `--neighbors` genomic neighbors each
and with none (an empty set of edges), and of an MLP on the own latents. Each round runs each way
once; ratios are taken within a round. An epoch's time is the difference of two fits, one of them
some epochs longer, so that what is done once cancels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import simplechrome
from simplechrome.dataset.neighbors.genomic import genomic_neighbors

EPOCHS = 6


def seconds_per_epoch(fit: Callable[[int], object]) -> float:
    taken = []
    for epochs in (1, 1 + EPOCHS):
        begin = time.perf_counter()
        fit(epochs)
        taken.append(time.perf_counter() - begin)
    return (taken[1] - taken[0]) / EPOCHS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--neighbors", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    dataset = simplechrome.open_dataset(options.dataset)
    encoder = simplechrome.WithLogMeans(simplechrome.PCA(10)).fit(dataset)
    latents = encoder.transform(dataset)
    graph = genomic_neighbors(dataset, options.neighbors)
    labels = dataset["label"]
    fixed: dict[str, Any] = {"early_stopping": False, "threads": options.threads, "batch_size": 256}

    def attention(edges: Any) -> Callable[[int], object]:
        around = simplechrome.make_neighborhood_features(latents, edges, dataset)
        make = simplechrome.NeighborhoodPredictor
        return lambda epochs: make(epochs=epochs, **fixed).fit(around, labels)

    ways: dict[str, Callable[[int], object]] = {
        "own MLP": lambda epochs: simplechrome.MLPPredictor(epochs=epochs, **fixed).fit(
            latents, labels
        ),
        "attention, no neighbors": attention(graph.keep(np.zeros(graph.n_edges, bool))),
        f"attention, {options.neighbors} neighbors": attention(graph),
    }
    rounds = [
        {name: seconds_per_epoch(fit) for name, fit in ways.items()} for _ in range(options.rounds)
    ]
    print(f"{labels.size:,} genes, {options.rounds} rounds, medians")
    for name in ways:
        times = [each[name] for each in rounds]
        own = [each[name] / each["own MLP"] for each in rounds]
        print(f"{name:<26} {np.median(times):7.3f} s an epoch, {np.median(own):5.2f} x the own MLP")


if __name__ == "__main__":
    main()
