"""How much slower than plain pyarrow is reading, checking and building one cell type?

    python benchmarks/parsing.py [PATH] [--rounds 15]

PATH is a folder or archive in the DeepChrome layout (its first cell type is taken); without it,
noise of the size of a published cell type is written. Every round runs each way once, in a
shuffled order, and the ratios are taken within a round, so that other work on the machine falls
on all of them. Peak memory is that of a fresh process for each way, imports included.
"""

from __future__ import annotations

import argparse
import io
import logging
import random
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from simplechrome.dataset.building.build import build_deepchrome_on_disk
from simplechrome.sources.deepchrome import list_cell_types, read_deepchrome
from simplechrome.sources.deepchrome_files import SPLITS, files_by_cell_type

N_GENES = {"train": 6601, "valid": 6601, "test": 6600}


def plain_read(data: bytes) -> int:
    options = csv.ReadOptions(autogenerate_column_names=True)
    return csv.read_csv(pa.BufferReader(data), read_options=options).num_rows


def plain_folder(folder: Path) -> None:
    for split in SPLITS:
        plain_read((folder / "E000" / "classification" / f"{split}.csv").read_bytes())


def plain_archive(path: Path) -> None:
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            stream = archive.extractfile(member)
            if stream:
                plain_read(stream.read())


def checked(path: Path) -> None:
    for _ in read_deepchrome(path):
        pass


def built(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        build_deepchrome_on_disk(path, Path(folder) / "built.zarr")


logging.getLogger("simplechrome").setLevel(logging.ERROR)  # no gene table: said, each round

WAYS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "pyarrow.csv, folder": ("folder", plain_folder),
    "read_deepchrome, folder": ("folder", checked),
    "pyarrow.csv, tar.gz": ("data.tar.gz", plain_archive),
    "read_deepchrome, tar.gz": ("data.tar.gz", checked),
    "build to Zarr, folder": ("folder", built),
    "build to Zarr, tar.gz": ("data.tar.gz", built),
}


def noise() -> dict[str, bytes]:
    """Three files of counts without meaning, overdispersed as reads are."""
    rng = np.random.default_rng(0)
    files = {}
    first = 0
    for split, n_genes in N_GENES.items():
        n_rows = n_genes * 100
        columns = {
            "gene": np.repeat([f"{first + gene:06d}" for gene in range(n_genes)], 100),
            "bin": np.tile(np.arange(1, 101), n_genes),
        }
        for mark in range(5):
            columns[str(mark)] = rng.negative_binomial(0.5, 0.15, n_rows)
        columns["label"] = np.repeat(np.arange(n_genes) % 2, 100)
        sink = io.BytesIO()
        options = csv.WriteOptions(include_header=False, quoting_style="none")
        csv.write_csv(pa.table(columns), sink, options)
        files[split] = sink.getvalue()
        first += n_genes
    return files


def lay_out(files: dict[str, bytes], root: Path) -> None:
    """The same files once as a folder, once as an archive, in the order of the published one."""
    folder = root / "folder" / "E000" / "classification"
    folder.mkdir(parents=True)
    for split, data in files.items():
        (folder / f"{split}.csv").write_bytes(data)
    with tarfile.open(root / "data.tar.gz", "w:gz") as archive:
        archive.add(root / "folder", arcname="data")


def peak_memory(way: str, root: Path) -> float:
    """Largest resident set of a process that does only this, in MB."""
    command = [sys.executable, __file__, str(root), "--only", way]
    reply = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(reply.stdout)


def run_alone(way: str, root: Path) -> None:
    place, function = WAYS[way]
    function(root / place)
    status = Path("/proc/self/status")
    if status.exists():
        # ru_maxrss begins at the peak of the process that started this one.
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        print(float(line.split()[1]) / 1e3)
    else:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)


def measure(root: Path, n_rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    order = list(WAYS)
    for round_number in range(n_rounds + 1):
        random.Random(round_number).shuffle(order)
        for way in order:
            place, function = WAYS[way]
            start = time.perf_counter()
            function(root / place)
            if round_number:  # the first round warms up
                seconds[way].append(time.perf_counter() - start)
    return seconds


def report(
    source: str, files: dict[str, bytes], seconds: dict[str, list[float]], memory: dict[str, float]
) -> None:
    n_bytes = sum(map(len, files.values()))
    n_rows = sum(data.count(b"\n") for data in files.values())
    base = "pyarrow.csv, folder"
    print(f"{source}: {n_rows:,} rows, {n_bytes / 1e6:.1f} MB; {len(seconds[base])} rounds")
    print(f"{'':26}{'median s':>9}{'fastest s':>11}{'ratio':>7}{'peak MB':>9}")
    for way, times in seconds.items():
        ratio = np.median(np.divide(times, seconds[base]))
        print(f"{way:26}{np.median(times):9.3f}{min(times):11.3f}{ratio:7.2f}{memory[way]:9.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("path", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        run_alone(arguments.only, arguments.path)
        return
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        if arguments.path:
            source = list_cell_types(arguments.path)[0]
            found = next(files_by_cell_type(arguments.path, SPLITS, [source]))
            files = {split: file.read() for split, file in found.files.items()}
        else:
            source, files = "noise", noise()
        lay_out(files, root)
        memory = {way: peak_memory(way, root) for way in WAYS}
        report(source, files, measure(root, arguments.rounds), memory)


if __name__ == "__main__":
    main()
