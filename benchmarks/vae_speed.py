"""At which share of the machine's f32 matrix-product rate does the VAE train, and how fast encode?

    python benchmarks/vae_speed.py [DATASET] [--rounds 5] [--precision float32|bfloat16]

Matrix products and training are timed in turn, so that a change of the machine's speed touches
both; the ratio is taken round by round. Operations are counted by PyTorch's own counter on the
training step, not estimated. Without a dataset, simulated windows of the usual shape are used.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import simplechrome
from simplechrome.latent.vae import ELBO
from simplechrome.training.loop import seeded

_SIDE = 2048


def product_rate() -> float:
    """FLOP/s of f32 matrix products of 2048 × 2048."""
    left, right = torch.randn(_SIDE, _SIDE), torch.randn(_SIDE, _SIDE)
    left @ right
    start = time.perf_counter()
    for _ in range(8):
        left @ right
    return 8 * 2 * _SIDE**3 / (time.perf_counter() - start)


def operations_per_window(vae: simplechrome.VAE, dataset) -> float:
    """FLOP of one training step (forward and backward), divided by its windows."""
    values = torch.from_numpy(vae.transform_.transform(dataset).values[0, :256])
    present = torch.ones(len(values), values.shape[2], dtype=torch.bool)
    module = ELBO(vae.module_).train()
    with FlopCounterMode(display=False) as counter:
        module(values, present, 1.0)["loss"].backward()
    return counter.get_total_flops() / len(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    arguments = parser.parse_args()
    if arguments.dataset:
        dataset = simplechrome.open_dataset(arguments.dataset)
    else:
        simulation = simplechrome.simulate(18_421)
        dataset = simplechrome.from_arrays(
            simulation.signal,
            marks=simulation.marks,
            gene_ids=simulation.genes["gene_id"],
            cell_types=simulation.cell_types,
        )
    train = dataset.isel(gene=slice(0, 13_312))
    few = dataset.isel(gene=slice(0, 64))
    vae = simplechrome.VAE(epochs=2, precision=arguments.precision)
    vae.fit(train.isel(gene=slice(0, 1024)), validation=few)
    operations = operations_per_window(vae, train)
    rows = []
    for _ in range(arguments.rounds):
        with seeded(0):
            before = product_rate()
            short, long = (
                timed_fit(simplechrome.VAE(epochs=n, precision=arguments.precision), train, few)
                for n in (1, 2)
            )
            after = product_rate()
        # The difference of one and two epochs leaves out start and natural scale.
        rate = train.sizes["gene"] / max(long - short, 1e-9)
        start = time.perf_counter()
        vae.transform(dataset)
        encoding = time.perf_counter() - start
        product = (before + after) / 2
        rows.append((product / 1e9, rate, rate * operations / product, encoding))
    names = ("matrix product, GFLOP/s", "windows/s in training", "share", "encoding all, s")
    print(f"{operations / 1e6:.1f} MFLOP a window in training, {torch.get_num_threads()} threads")
    for name, values in zip(names, np.transpose(rows), strict=True):
        middle = statistics.median(values)
        print(f"{name:26} median {middle:.3g}  ({min(values):.3g} to {max(values):.3g})")


def timed_fit(vae: simplechrome.VAE, train, few) -> float:
    start = time.perf_counter()
    vae.fit(train, validation=few)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
