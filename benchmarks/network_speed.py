"""At which share of the machine's f32 matrix-product rate do the window networks run?

    python benchmarks/network_speed.py [--rounds 7] [--batch 256] [--steps 4] [--only NAME]

DeepChrome with 625 filters and AttentiveChrome with the paper's widths, on windows of 100 bins and
five marks; a training step is forward, backward and AdamW. Products and networks are timed in turn,
so that a change of the machine's speed touches both; the share is taken round by round, against
the mean of the products before and after, and its median is what to compare between machines. In
bfloat16 the shares are still of the f32 product rate.

Operations are those of the equations, two for each product and sum; element by element work is not
counted. DeepChrome is counted by PyTorch's own counter on the library's layers, less the positions
behind the last whole pool, which nobody needs; AttentiveChrome's are known: per window 25.8 MFLOP
in training and 8.7 in scoring.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from simplechrome.predictors import deepchrome_module
from simplechrome.predictors.attentivechrome_module import AttentiveChromeModule
from simplechrome.predictors.deepchrome_module import DeepChromeModule

_SIDE = 2048
_BINS, _MARKS = 100, 5
ATTENTIVE_TRAINING, ATTENTIVE_SCORING = 25.8e6, 8.7e6
TARGETS = {
    "DeepChrome 625, training": 0.33,
    "AttentiveChrome, training": 0.10,
    "AttentiveChrome, scoring": 0.19,
}


def seconds(work: Callable[[], object], times: int) -> float:
    work()  # memory and kernels are made ready
    start = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - start) / times


def product_rate() -> float:
    """FLOP/s of f32 matrix products of 2048 × 2048."""
    left, right = torch.randn(_SIDE, _SIDE), torch.randn(_SIDE, _SIDE)
    out = torch.empty(_SIDE, _SIDE)
    return 2 * _SIDE**3 / seconds(lambda: torch.mm(left, right, out=out), 8)


def batch_of(rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return (
        torch.randn(rows, _BINS, _MARKS),
        torch.ones(rows, _MARKS, dtype=torch.bool),
        torch.randint(0, 2, (rows,)).float(),
    )


def make_deepchrome() -> nn.Module:
    return DeepChromeModule(_BINS, _MARKS, filters=625, hidden=(256, 128), dropout=0.5)


def make_attentivechrome() -> nn.Module:
    return AttentiveChromeModule(_BINS, _MARKS)


def deepchrome_operations(*, training: bool) -> float:
    """FLOP a window, as the library's layers need them for the positions that are pooled."""
    module = make_deepchrome().train(training)
    values, present, target = batch_of(8)
    by_hand, deepchrome_module.runs_by_hand = deepchrome_module.runs_by_hand, lambda values: False
    try:
        with FlopCounterMode(display=False) as counter:
            loss = nn.functional.binary_cross_entropy_with_logits(module(values, present), target)
            if training:
                loss.backward()
    finally:
        deepchrome_module.runs_by_hand = by_hand
    return counter.get_total_flops() / 8


def step(module: nn.Module, rows: int, *, training: bool, bf16: bool) -> Callable[[], object]:
    values, present, target = batch_of(rows)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4)
    module.train(training)

    def predict() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return module(values, present)

    def score() -> None:
        with torch.inference_mode():
            predict()

    def train() -> None:
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(predict().float(), target).backward()
        optimizer.step()

    return train if training else score


def cases(rows: int) -> Iterator[tuple[str, float, Callable[[], object]]]:
    """Name, FLOP a window, and one step."""
    for name, make, operations in (
        ("DeepChrome 625", make_deepchrome, None),
        ("AttentiveChrome", make_attentivechrome, (ATTENTIVE_SCORING, ATTENTIVE_TRAINING)),
    ):
        for training in (True, False):
            count = (
                deepchrome_operations(training=training)
                if operations is None
                else operations[training]
            )
            for bf16 in (False, True):
                label = f"{name}, {'training' if training else 'scoring'}"
                work = step(make(), rows, training=training, bf16=bf16)
                yield label + (", bf16" if bf16 else ""), count, work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=4, help="of each network in each round")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    chosen = [case for case in cases(arguments.batch) if arguments.only in case[0]]
    products: list[float] = []
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name, _, _ in chosen}
    for _ in range(arguments.rounds):
        before = product_rate()
        for name, operations, work in chosen:
            rate = arguments.batch / seconds(work, arguments.steps)
            after = product_rate()
            rates[name].append((rate, rate * operations / ((before + after) / 2)))
            products.append(after)
            before = after
    print(
        f"{torch.get_num_threads()} threads, batch {arguments.batch}; f32 matrix product "
        f"{statistics.median(products) / 1e9:.0f} GFLOP/s "
        f"({min(products) / 1e9:.0f} to {max(products) / 1e9:.0f})"
    )
    print(f"{'':34} windows/s  MFLOP/window  GFLOP/s  share of product rate")
    for name, operations, _ in chosen:
        speed = statistics.median(rate for rate, _ in rates[name])
        shares = sorted(share for _, share in rates[name])
        target = f", wanted {TARGETS[name]:.0%}" if name in TARGETS else ""
        print(
            f"{name:34} {speed:9.0f}  {operations / 1e6:12.1f}  {speed * operations / 1e9:7.1f}  "
            f"{statistics.median(shares):.1%} ({shares[0]:.1%} to {shares[-1]:.1%}){target}"
        )


if __name__ == "__main__":
    main()
