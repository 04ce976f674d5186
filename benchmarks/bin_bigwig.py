"""How fast is a genome-wide bigWig binned around every gene, against other ways to do it?

    python benchmarks/bin_bigwig.py [--track FILE] [--genes FILE] [--rounds 3] [--computematrix CM]

Ways: `bin_bigwig`; a plain loop over genes with pyBigWig, `values` and a mean over bins; and
`computeMatrix reference-point` of deepTools, if it is on PATH or named. Each way is one process on
one thread, timed from its start to its end, imports included; for the first two also the work
alone. Every round runs each way once, in shuffled order, and ratios are taken within a round, so
that other work on the machine falls on all of them.

Without --track, one of 60 million intervals of 20 to 83 bases is written over the lengths of a
human genome (a few minutes and 400 MB in a temporary folder); without --genes, 19,800 TSS are drawn
at random on it.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

N_GENES = 19_800
FLANK, BIN = 5_000, 100
# Megabases of chr1 … chr22, chrX and chrY of a human genome.
LENGTHS = (
    249, 243, 198, 191, 181, 171, 159, 146, 141, 136, 135, 134, 115, 107, 103, 90, 81, 78, 59, 63,
    48, 51, 155, 59,
)  # fmt: skip
NAMES = [f"chr{name}" for name in (*range(1, 23), "X", "Y")]


def simulate(path: Path, n_intervals: int) -> None:
    """Intervals without holes, with values as a smoothed signal has them."""
    import pyBigWig

    rng = np.random.default_rng(0)
    sizes = {name: length * 1_000_000 for name, length in zip(NAMES, LENGTHS, strict=True)}
    shortest = max(1, round(sum(sizes.values()) / n_intervals * 20 / 51.5))
    file = pyBigWig.open(str(path), "w")
    file.addHeader(list(sizes.items()))
    for name, size in sizes.items():
        ends = np.cumsum(rng.integers(shortest, 4 * shortest + 4, size // (2 * shortest)))
        ends = ends[ends < size]
        starts = np.r_[0, ends[:-1]]
        values = np.round(rng.gamma(0.6, 1.5, len(ends)), 2)
        for first in range(0, len(ends), 2_000_000):
            part = slice(first, first + 2_000_000)
            names = [name] * len(ends[part])
            file.addEntries(names, starts[part], ends=ends[part], values=values[part])
    file.close()


def gene_table(path: Path | None, track: Path) -> pd.DataFrame:
    """chrom, tss and strand of genes whose windows lie inside of the track's chromosomes."""
    from simplechrome.sources.genome.genes import read_genes
    from simplechrome.sources.tracks.bigwig import bigwig_chromosomes

    sizes = bigwig_chromosomes(track)
    if path:
        genes = read_genes(path)[["chrom", "tss", "strand"]]
    else:
        rng = np.random.default_rng(1)
        share = np.array(list(sizes.values()), float)
        chrom = rng.choice(list(sizes), N_GENES, p=share / share.sum())
        tss = (rng.random(N_GENES) * np.array([sizes[name] for name in chrom])).astype(np.int64)
        genes = pd.DataFrame({"chrom": chrom, "tss": tss, "strand": "+"})
    length = genes["chrom"].map(sizes).fillna(0)
    return genes[(genes["tss"] > FLANK) & (genes["tss"] + FLANK < length)].reset_index(drop=True)


def ours(track: Path, genes: pd.DataFrame) -> np.ndarray:
    from simplechrome.sources.tracks.bigwig import bin_bigwig
    from simplechrome.sources.tracks.windows import Windows

    windows = Windows.around_tss(genes, flank=FLANK, bin_size=BIN)
    return bin_bigwig(track, windows).values


def plain_loop(track: Path, genes: pd.DataFrame) -> np.ndarray:
    import pyBigWig

    file = pyBigWig.open(str(track))
    values = np.zeros((len(genes), 2 * FLANK // BIN))
    backwards = (genes["strand"] == "-").to_numpy()
    starts = (genes["tss"].to_numpy() - FLANK + backwards).tolist()
    for row, (chrom, start) in enumerate(zip(genes["chrom"], starts, strict=True)):
        bases = file.values(chrom, start, start + 2 * FLANK, numpy=True)
        values[row] = np.nan_to_num(bases).reshape(-1, BIN).mean(axis=1)
    return values


WAYS = {"simplechrome": ours, "pyBigWig loop": plain_loop}


def run_alone(way: str, track: Path, folder: Path) -> None:
    genes = pd.read_parquet(folder / "genes.parquet")
    WAYS[way](track, genes[:1])  # imports
    begin = time.perf_counter()
    values = WAYS[way](track, genes)
    seconds = time.perf_counter() - begin
    np.save(folder / f"{way}.npy", values)
    print(seconds)


def timed(command: list[str]) -> tuple[float, float, str]:
    """Seconds, largest resident set in MB, and what it printed."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    begin = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(command, stdout=output, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"{command[0]} ended with {child.returncode}")
        output.seek(0)
        per_unit = 1 if sys.platform == "darwin" else 1024
        return seconds, usage.ru_maxrss * per_unit / 1e6, output.read()


def commands(track: Path, folder: Path, compute_matrix: str | None) -> dict[str, list[str]]:
    alone = [sys.executable, __file__, "--track", str(track), "--folder", str(folder), "--only"]
    ways = {way: [*alone, way] for way in WAYS}
    if compute_matrix:
        ways["computeMatrix"] = [
            compute_matrix, "reference-point", "-S", str(track), "-R", str(folder / "genes.bed"),
            "-a", str(FLANK), "-b", str(FLANK), "-bs", str(BIN), "-p", "1",
            "--referencePoint", "TSS", "--missingDataAsZero",
            "-o", str(folder / "matrix.gz"), "-q",
        ]  # fmt: skip
    return ways


def write_genes(genes: pd.DataFrame, folder: Path) -> None:
    genes.to_parquet(folder / "genes.parquet")
    bed = genes.assign(end=genes["tss"] + 1, name=[f"g{i}" for i in range(len(genes))], score=0)
    bed = bed[["chrom", "tss", "end", "name", "score", "strand"]]
    bed.to_csv(folder / "genes.bed", sep="\t", header=False, index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--track", type=Path)
    parser.add_argument("--genes", type=Path)
    parser.add_argument("--intervals", type=int, default=60_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--computematrix", default=shutil.which("computeMatrix"))
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    logging.getLogger("simplechrome").setLevel(logging.ERROR)
    if arguments.only:
        run_alone(arguments.only, arguments.track, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        track = arguments.track
        if track is None:
            track = folder / "track.bw"
            simulate(track, arguments.intervals)
        genes = gene_table(arguments.genes, track)
        write_genes(genes, folder)
        report(commands(track, folder, arguments.computematrix), len(genes), arguments.rounds)
        difference = np.load(folder / "simplechrome.npy") - np.load(folder / "pyBigWig loop.npy")
        print(f"largest difference to the pyBigWig loop: {np.abs(difference).max():.1e}")


def report(ways: dict[str, list[str]], n_genes: int, rounds: int) -> None:
    whole: dict[str, list[float]] = {way: [] for way in ways}
    work: dict[str, list[float]] = {way: [] for way in ways}
    memory = dict.fromkeys(ways, 0.0)
    for _ in range(rounds):
        for way in random.sample(list(ways), len(ways)):
            seconds, peak, printed = timed(ways[way])
            whole[way].append(seconds)
            work[way].append(float(printed) if way in WAYS else seconds)
            memory[way] = max(memory[way], peak)
    print(f"{n_genes:,} genes, {2 * FLANK // BIN} bins of {BIN} bp, {rounds} rounds, medians")
    print(f"{'way':<16}{'process s':>10}{'work s':>8}{'genes/s':>9}{'peak MB':>9}", end="")
    print(f"{'ours faster by: process':>25}{'work':>7}")
    for way in ways:
        ratios = [
            float(np.median(np.array(times[way]) / np.array(times["simplechrome"])))
            for times in (whole, work)
        ]
        print(
            f"{way:<16}{np.median(whole[way]):>10.2f}{np.median(work[way]):>8.2f}"
            f"{n_genes / np.median(work[way]):>9,.0f}{memory[way]:>9.0f}"
            f"{ratios[0]:>25.1f}{ratios[1]:>7.1f}"
        )


if __name__ == "__main__":
    main()
