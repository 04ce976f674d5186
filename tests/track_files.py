"""Small track files, made in code, for tests of tracks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyBigWig
import pysam


def write_bigwig(
    path: Path,
    sizes: Mapping[str, int],
    intervals: Iterable[tuple[str, int, int, float]],
) -> Path:
    """A bigWig of these intervals, sorted by chromosome (in the order of `sizes`) and start."""
    with pyBigWig.open(str(path), "w") as track:
        track.addHeader(list(sizes.items()))
        for chrom in sizes:
            rows = [row for row in intervals if row[0] == chrom]
            if rows:
                _, starts, ends, values = zip(*rows, strict=True)
                track.addEntries(
                    [chrom] * len(rows), list(starts), ends=list(ends), values=list(values)
                )
    return path


def write_bam(
    path: Path,
    sizes: Mapping[str, int],
    reads: Sequence[tuple[str, int, int, str]],
    *,
    index: bool = True,
) -> Path:
    """A sorted BAM of unpaired reads: chromosome, start, length and strand of each."""
    header = {
        "HD": {"VN": "1.6", "SO": "coordinate"},
        "SQ": [{"SN": name, "LN": size} for name, size in sizes.items()],
    }
    names = list(sizes)
    with pysam.AlignmentFile(str(path), "wb", header=header) as bam:
        for number, (chrom, start, length, strand) in enumerate(
            sorted(reads, key=lambda read: (names.index(read[0]), read[1]))
        ):
            read = pysam.AlignedSegment(bam.header)
            read.query_name = f"read{number}"
            read.reference_id = names.index(chrom)
            read.reference_start = start
            read.cigartuples = [(0, length)]
            read.mapping_quality = 30
            read.flag = 16 if strand == "-" else 0
            read.query_sequence = "A" * length
            bam.write(read)
    if index:
        pysam.index(str(path))
    return path


def random_reads(
    seed: int, sizes: Mapping[str, int], n: int, length: int = 36
) -> list[tuple[str, int, int, str]]:
    """Reads anywhere on these chromosomes."""
    rng = np.random.default_rng(seed)
    names = list(sizes)
    chroms = rng.integers(len(names), size=n)
    return [
        (names[c], int(rng.integers(0, sizes[names[c]] - length)), length, "+-"[int(s)])
        for c, s in zip(chroms, rng.integers(2, size=n), strict=True)
    ]
