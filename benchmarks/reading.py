"""How fast are CSV, bigWig and BAM read, compared with the plain library that others would use?

    python benchmarks/reading.py [--rounds 5] [--genes 19000] [--reads 2000000]

- CSV: `read_deepchrome`, and only `pyarrow.csv` on the same files (1.98 million rows);
- bigWig: `bin_bigwig`, and a loop over genes with pyBigWig, `values` and a mean over bins;
- BAM: `bin_alignments`, and `bedtools multicov` (if installed) on each window as one interval,
  which favors it: its time grows with the number of intervals, of which 100 bins make 100 times
  as many; `bin_read_intervals` on the same reads as BED.

All data are simulated on one chromosome of 248 Mb, windows have 100 bins of 100 bp. Each round runs
every way once, in shuffled order, and ratios are taken within a round, so that other work on the
machine falls on all of them. Values of both ways of a format are compared first.
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyBigWig
import pysam
from pyarrow import csv

from simplechrome.sources.deepchrome import read_deepchrome
from simplechrome.sources.tracks.alignments import bin_alignments
from simplechrome.sources.tracks.bigwig import bin_bigwig
from simplechrome.sources.tracks.intervals import bin_read_intervals
from simplechrome.sources.tracks.reads import ReadRule
from simplechrome.sources.tracks.windows import Windows

SIZE, FLANK, BIN, READ = 248_000_000, 5_000, 100, 50
SPLIT_GENES = {"train": 6601, "valid": 6601, "test": 6600}


def write_csv(folder: Path, rng: np.random.Generator) -> None:
    """A cell type of the published size, with counts overdispersed as reads are."""
    place = folder / "E000" / "classification"
    place.mkdir(parents=True)
    first = 0
    for split, n_genes in SPLIT_GENES.items():
        columns = {
            "gene": np.repeat([f"{first + gene:06d}" for gene in range(n_genes)], 100),
            "bin": np.tile(np.arange(1, 101), n_genes),
        }
        for mark in range(5):
            columns[str(mark)] = rng.negative_binomial(0.5, 0.15, n_genes * 100)
        columns["label"] = np.repeat(np.arange(n_genes) % 2, 100)
        options = csv.WriteOptions(include_header=False, quoting_style="none")
        csv.write_csv(pa.table(columns), str(place / f"{split}.csv"), options)
        first += n_genes


def write_bigwig(path: Path, rng: np.random.Generator) -> None:
    """Intervals of 20 to 83 bases without holes."""
    ends = np.cumsum(rng.integers(20, 84, SIZE // 52))
    ends = ends[ends < SIZE]
    file = pyBigWig.open(str(path), "w")
    file.addHeader([("chr1", SIZE)])
    values = np.round(rng.gamma(0.6, 1.5, len(ends)), 2)
    file.addEntries(["chr1"] * len(ends), np.r_[0, ends[:-1]], ends=ends, values=values)
    file.close()


def write_reads(folder: Path, starts: np.ndarray, n_reads: int, rng: np.random.Generator) -> None:
    """Reads, three in ten of them near a TSS, as BAM and as BED."""
    near = rng.choice(starts, int(0.3 * n_reads)) + FLANK + rng.normal(0, 1500, int(0.3 * n_reads))
    places = np.r_[near.astype(np.int64), rng.integers(0, SIZE - READ, n_reads - len(near))]
    places = np.sort(places.clip(0, SIZE - READ))
    signs = rng.choice(["+", "-"], n_reads)
    with (folder / "a.bed").open("w") as bed:
        bed.writelines(
            f"chr1\t{start}\t{start + READ}\tr\t0\t{sign}\n"
            for start, sign in zip(places.tolist(), signs, strict=True)
        )
    header = pysam.AlignmentHeader.from_references(["chr1"], [SIZE])
    with pysam.AlignmentFile(str(folder / "a.bam"), "wb", header=header) as bam:
        read = pysam.AlignedSegment(header)
        read.query_name, read.mapping_quality, read.reference_id = "r", 40, 0
        read.query_sequence, read.cigarstring = "A" * READ, f"{READ}M"
        read.query_qualities = pysam.qualitystring_to_array("I" * READ)
        for start, sign in zip(places.tolist(), signs, strict=True):
            read.reference_start, read.flag = start, 16 if sign == "-" else 0
            bam.write(read)
    pysam.index(str(folder / "a.bam"))


def plain_csv(folder: Path) -> int:
    options = csv.ReadOptions(autogenerate_column_names=True)
    files = sorted((folder / "E000" / "classification").glob("*.csv"))
    return sum(csv.read_csv(str(file), read_options=options).num_rows for file in files)


def plain_bigwig(path: Path, starts: np.ndarray) -> np.ndarray:
    values = np.zeros((len(starts), 2 * FLANK // BIN))
    with pyBigWig.open(str(path)) as file:
        for row, start in enumerate(starts.tolist()):
            bases = file.values("chr1", start, start + 2 * FLANK, numpy=True)
            values[row] = np.nan_to_num(bases).reshape(-1, BIN).mean(axis=1)
    return values


def multicov(folder: Path) -> None:
    command = ["bedtools", "multicov", "-bams", folder / "a.bam", "-bed", folder / "windows.bed"]
    subprocess.run(command, check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--genes", type=int, default=19_000)
    parser.add_argument("--reads", type=int, default=2_000_000)
    arguments = parser.parse_args()
    logging.getLogger("simplechrome").setLevel(logging.ERROR)
    rng = np.random.default_rng(0)
    tss = np.sort(rng.integers(FLANK, SIZE - FLANK, arguments.genes))
    windows = Windows.around_tss(pd.DataFrame({"chrom": "chr1", "tss": tss, "strand": "+"}))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_csv(folder, rng)
        write_bigwig(folder / "a.bw", rng)
        write_reads(folder, windows.start, arguments.reads, rng)
        lines = (f"chr1\t{start}\t{start + windows.width}\n" for start in windows.start)
        (folder / "windows.bed").write_text("".join(lines))
        ways: dict[str, dict[str, Callable[[], object]]] = {
            "CSV": {
                "read_deepchrome": lambda: list(read_deepchrome(folder)),
                "pyarrow.csv": lambda: plain_csv(folder),
            },
            "bigWig": {
                "bin_bigwig": lambda: bin_bigwig(folder / "a.bw", windows).values,
                "pyBigWig loop": lambda: plain_bigwig(folder / "a.bw", windows.start),
            },
            "reads": {
                "bin_alignments": lambda: bin_alignments(folder / "a.bam", windows, ReadRule()),
                "bin_read_intervals": lambda: bin_read_intervals(
                    folder / "a.bed", windows, ReadRule()
                ),
            },
        }
        if shutil.which("bedtools"):
            ways["reads"]["multicov, whole windows"] = lambda: multicov(folder)
        one, other = (np.asarray(way()) for way in ways["bigWig"].values())
        print(f"bigWig: largest difference to the loop {np.abs(one - other).max():.1e}")
        bam = bin_alignments(folder / "a.bam", windows, ReadRule())
        bed = bin_read_intervals(folder / "a.bed", windows, ReadRule())
        print(f"reads: BAM and BED equal: {np.array_equal(bam.values, bed.values)}")
        print(f"{'':36}{'median s':>9}{'ratio':>7}")
        for kind, functions in ways.items():
            seconds: dict[str, list[float]] = {way: [] for way in functions}
            for _ in range(arguments.rounds):
                for way in random.sample(list(functions), len(functions)):
                    start = time.perf_counter()
                    functions[way]()
                    seconds[way].append(time.perf_counter() - start)
            base = next(iter(seconds.values()))
            for way, times in seconds.items():
                ratio = np.median(np.divide(times, base))
                print(f"{kind + ': ' + way:36}{np.median(times):9.3f}{ratio:7.2f}")


if __name__ == "__main__":
    main()
