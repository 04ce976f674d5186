"""Small BAM and CRAM files for tests, and windows over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pysam

from simplechrome.sources.tracks.windows import Windows

SIZES = {"chr1": 100_000, "chr2:b": 1_000}


class Read(NamedTuple):
    start: int
    flag: int = 0
    quality: int = 30
    cigar: str = "10M"
    template_length: int = 0
    chrom: str = "chr1"


def write_alignments(
    path: Path, reads: Sequence[Read], *, index: bool = True, order: str = "coordinate"
) -> Path:
    header = {
        "HD": {"VN": "1.6", "SO": order},
        "SQ": [{"SN": name, "LN": size} for name, size in SIZES.items()],
    }
    reference = path.with_suffix(".fa")
    if path.suffix == ".cram":
        reference.write_text("".join(f">{name}\n{'A' * size}\n" for name, size in SIZES.items()))
    fasta = str(reference) if path.suffix == ".cram" else None
    mode = "wc" if path.suffix == ".cram" else "wb"
    with pysam.AlignmentFile(str(path), mode, header=header, reference_filename=fasta) as file:
        for number, read in enumerate(reads):
            record = pysam.AlignedSegment(file.header)
            record.query_name = f"r{number}"
            record.reference_name = read.chrom
            record.reference_start = read.start
            record.flag = read.flag
            record.mapping_quality = read.quality
            record.cigarstring = read.cigar
            record.template_length = read.template_length
            record.query_sequence = "A" * (record.infer_query_length() or 0)
            file.write(record)
    if index:
        pysam.index(str(path))
    if path.suffix == ".cram":  # so that nothing can be decoded by it
        reference.unlink()
        Path(f"{reference}.fai").unlink()
    return path


def windows(*starts: int, chrom: str = "chr1", n_bins: int = 3, bin_size: int = 10) -> Windows:
    return Windows(
        np.array([chrom] * len(starts), object),
        np.array(starts, np.int64),
        np.zeros(len(starts), bool),
        n_bins,
        bin_size,
    )
