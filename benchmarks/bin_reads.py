"""How much faster than `bedtools multicov` are reads counted in the bins of all genes' windows?

    python benchmarks/bin_reads.py [--reads 5000000] [--rounds 3] [--multicov-windows 500]

A BAM of 50 bp reads over the chromosomes of hg19 is simulated, three in ten of them near a TSS, and
19,000 windows of 100 bins of 100 bp. Each way is a process of its own, imports included; each
round runs all, one after the other, and ratios are taken within a round. Both count
the reads of the file that overlap a bin, duplicates left out; ours counts the whole file's
library size besides.

`multicov` jumps to each interval, so that its time grows with their number: with all 1.9 million
bins it would take minutes to an hour. It is given the bins of some windows, and its time for all
is taken in proportion. The case that favors it, each window as one interval, is run in full.
"""

from __future__ import annotations

import argparse
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pysam
from numpy.typing import NDArray

from simplechrome.sources.tracks.alignments import bin_alignments
from simplechrome.sources.tracks.intervals import bin_read_intervals
from simplechrome.sources.tracks.reads import ReadRule
from simplechrome.sources.tracks.windows import Windows

MEGABASES = [249, 243, 198, 191, 181, 171, 159, 146, 141, 136, 135, 134]
MEGABASES += [115, 107, 103, 90, 81, 78, 59, 63, 48, 51, 155]
SIZES = {f"chr{k}": m * 1_000_000 for k, m in enumerate(MEGABASES, start=1)}
LENGTH, N_BINS, BIN_SIZE = 50, 100, 100
NEAR_TSS = 0.3
POOL = 100_000  # names, bases and qualities are drawn once for so many reads, then used again

RECORD = np.dtype(
    [
        ("block_size", "<i4"),
        ("reference", "<i4"),
        ("position", "<i4"),
        ("name_length", "u1"),
        ("quality", "u1"),
        ("bin", "<u2"),
        ("n_cigar", "<u2"),
        ("flag", "<u2"),
        ("length", "<i4"),
        ("mate_reference", "<i4"),
        ("mate_position", "<i4"),
        ("template", "<i4"),
        ("name", "S24"),
        ("cigar", "<u4"),
        ("bases", "u1", LENGTH // 2),
        ("qualities", "u1", LENGTH),
        ("tags", "S8"),
    ]
)


class Case(NamedTuple):
    """A BAM, the same reads as tagAlign, and windows in three forms."""

    bam: Path
    tag_align: Path
    starts: Path
    windows: Path
    some_bins: Path


def index_bin(first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bin of the index that a read belongs to (SAM specification, 5.3)."""
    found = np.zeros_like(first)
    for shift in (26, 23, 20, 17, 14):
        same = first >> shift == last >> shift
        found = np.where(same, ((1 << (29 - shift)) - 1) // 7 + (first >> shift), found)
    return found


def simulate(folder: Path, n_reads: int, n_windows: int, n_some: int) -> Case:
    rng = np.random.default_rng(0)
    case = Case(*(folder / name for name in ("a.bam", "a.tagAlign", "s.npy", "w.bed", "b.bed")))
    genome = sum(SIZES.values())
    shares = [size / genome for size in SIZES.values()]
    pool = np.zeros(POOL, RECORD)
    pool["block_size"], pool["name_length"], pool["n_cigar"] = RECORD.itemsize - 4, 24, 1
    pool["length"], pool["cigar"] = LENGTH, LENGTH << 4
    pool["mate_reference"] = pool["mate_position"] = -1
    pool["name"] = [f"RUN:1:{number:017d}".encode() for number in rng.integers(0, 10**9, POOL)]
    pool["bases"] = rng.choice([17, 18, 20, 24, 33, 34, 36, 40], (POOL, LENGTH // 2))
    pool["qualities"] = rng.choice(
        [14, 27, 32, 36, 40], (POOL, LENGTH), p=[0.1, 0.1, 0.1, 0.2, 0.5]
    )
    pool["quality"] = rng.choice([0, 30, 37, 42], POOL)
    pool["tags"] = b"NMC\1XAC\1"
    pool["flag"] = rng.choice([0, 16, 1024, 1040], POOL, p=[0.45, 0.45, 0.05, 0.05])
    text = "@HD\tVN:1.6\tSO:coordinate\n"
    text += "".join(f"@SQ\tSN:{name}\tLN:{size}\n" for name, size in SIZES.items())
    header = b"BAM\1" + struct.pack("<i", len(text)) + text.encode()
    header += struct.pack("<i", len(SIZES))
    for name, size in SIZES.items():
        header += struct.pack("<i", len(name) + 1) + name.encode() + b"\0" + struct.pack("<i", size)
    starts = []
    with (
        pysam.BGZFile(str(case.bam), "wb", None) as bam,
        case.tag_align.open("w") as tag_align,
        case.windows.open("w") as windows,
        case.some_bins.open("w") as bins,
    ):
        bam.write(header)
        for reference, ((name, size), share) in enumerate(zip(SIZES.items(), shares, strict=True)):
            here = np.sort(rng.integers(0, size - N_BINS * BIN_SIZE, round(n_windows * share)))
            starts.append(here)
            windows.writelines(f"{name}\t{s}\t{s + N_BINS * BIN_SIZE}\n" for s in here)
            for start in here[:: max(1, n_windows // n_some)]:
                edges = range(start, start + N_BINS * BIN_SIZE, BIN_SIZE)
                bins.writelines(f"{name}\t{edge}\t{edge + BIN_SIZE}\n" for edge in edges)
            n_here = round(n_reads * share)
            near = rng.choice(here, round(n_here * NEAR_TSS)) + N_BINS * BIN_SIZE // 2
            near += rng.normal(0, 1500, len(near)).astype(np.int64)
            far = rng.integers(0, size - LENGTH, n_here - len(near))
            positions = np.sort(np.concatenate([near, far]).clip(0, size - LENGTH))
            for first in range(0, n_here, POOL):
                position = positions[first : first + POOL]
                records = pool[rng.permutation(POOL)[: len(position)]]
                records["reference"], records["position"] = reference, position
                records["bin"] = index_bin(position, position + LENGTH - 1)
                bam.write(records.tobytes())
                counted = records[(records["flag"] & 1024) == 0]
                tag_align.writelines(
                    f"{name}\t{start}\t{start + LENGTH}\tN\t1000\t{'-' if flag & 16 else '+'}\n"
                    for start, flag in zip(
                        counted["position"].tolist(), counted["flag"].tolist(), strict=True
                    )
                )
    pysam.index(str(case.bam))
    np.save(case.starts, np.concatenate(starts))
    return case


def read_windows(case: Case) -> Windows:
    starts = np.load(case.starts)
    names = [line.split("\t", 1)[0] for line in case.windows.read_text().splitlines()]
    return Windows(np.array(names, object), starts, np.zeros(len(starts), bool), N_BINS, BIN_SIZE)


def run_alone(way: str, folder: Path) -> None:
    case = Case(*(folder / name for name in ("a.bam", "a.tagAlign", "s.npy", "w.bed", "b.bed")))
    read = bin_alignments if way == "ours, BAM" else bin_read_intervals
    path = case.bam if way == "ours, BAM" else case.tag_align
    track = read(path, read_windows(case), ReadRule())
    status = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in status if line.startswith("VmHWM")]
    print(int(track.values.sum()), int(track.depth), float(line.split()[1]) / 1e3)


def multicov(case: Case, intervals: Path) -> list[str]:
    command = ["bedtools", "multicov", "-bams", str(case.bam), "-bed", str(intervals)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def timed_seconds(way: str, case: Case, folder: Path) -> tuple[float, list[str]]:
    start = time.perf_counter()
    if way.startswith("ours"):
        command = [sys.executable, __file__, "--only", way, "--folder", str(folder)]
        reply = subprocess.run(command, check=True, capture_output=True, text=True)
        said = reply.stdout.splitlines()
    else:
        said = multicov(case, case.some_bins if "bins" in way else case.windows)
    return time.perf_counter() - start, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--reads", type=int, default=5_000_000)
    parser.add_argument("--windows", type=int, default=19_000)
    parser.add_argument("--multicov-windows", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        run_alone(arguments.only, arguments.folder)
        return
    ways = ["ours, BAM", "ours, tagAlign"]
    if shutil.which("bedtools"):
        ways += ["multicov, bins", "multicov, whole windows"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        case = simulate(folder, arguments.reads, arguments.windows, arguments.multicov_windows)
        n_windows = len(np.load(case.starts))
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        memory: dict[str, float] = {}
        totals: dict[str, str] = {}
        for _ in range(arguments.rounds):
            for way in ways:
                took, said = timed_seconds(way, case, folder)
                if way == "multicov, bins":
                    took *= n_windows * N_BINS / len(said)
                if way.startswith("ours"):
                    totals[way], _, peak = said[0].split()
                    memory[way] = float(peak)
                seconds[way].append(took)
        megabytes = case.bam.stat().st_size / 1e6
    print(f"{arguments.reads:,} reads, BAM of {megabytes:.0f} MB; {n_windows:,} windows")
    print(f"reads counted in bins: {totals}")
    print(f"{'':26}{'median s':>9}{'windows/s':>11}{'of ours, BAM':>14}{'peak MB':>9}")
    for way, times in seconds.items():
        ratio = np.median(np.divide(times, seconds["ours, BAM"]))
        peak_mb = f"{memory[way]:9.0f}" if way in memory else ""
        median = np.median(times)
        print(f"{way:26}{median:9.2f}{n_windows / median:11,.0f}{ratio:14.2f}{peak_mb}")


if __name__ == "__main__":
    main()
