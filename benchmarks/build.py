"""Measure the memory of `simplechrome build deepchrome`, and kill it at random.

    python benchmarks/build.py --memory [--cell-types 1 8 56] [--folder DIR]
    python benchmarks/build.py --kills 60 [--seed 0]

The first repeats one simulated cell type of 19,802 genes under other names, as a folder and as a
.tar.gz, and builds datasets of some of them; each is a process of its own, of which the largest
resident memory is reported. The second kills builds of three small cell types at random times,
some while they replace a dataset. After each kill the final name must hold nothing, the old
dataset or the new one; finished with --resume it must be, byte for byte, what an undisturbed build
gives. (tests/dataset/test_build.py does the same before every file operation.)
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from simplechrome import open_dataset, simulate
from simplechrome.simulation.simulate import write_deepchrome_layout

PROGRAM = Path(sys.executable).with_name("simplechrome")


def make_inputs(folder: Path, n_cell_types: int) -> None:
    """Cell types E001, E002, … in `folder/data` and `folder/data.tar.gz`, and tables."""
    simulation = simulate(19_802, 1, seed=0)
    write_deepchrome_layout(simulation, folder / "one")
    (source,) = (folder / "one" / "data").iterdir()
    names = [f"E{number:03d}" for number in range(1, n_cell_types + 1)]
    for name in names:
        shutil.copytree(source, folder / "data" / name)
    with tarfile.open(folder / "data.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(folder / "data", "data")
    with (folder / "expression.tsv").open("w") as table:
        table.write("\t".join(["gene_id", *names]) + "\n")
        values = simulation.expression[0]
        for gene_id, value in zip(simulation.genes["gene_id"], values, strict=True):
            table.write("\t".join([gene_id, *[f"{value:.4g}"] * len(names)]) + "\n")
    (folder / "one" / "genes.tsv.gz").rename(folder / "genes.tsv.gz")


def measure(arguments: list[str]) -> tuple[float, float]:
    """Seconds and MB of `simplechrome ARGUMENTS`."""
    start = time.perf_counter()
    process = subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments)
    per_unit = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - start, usage.ru_maxrss * per_unit / 1e6


def report_memory(counts: list[int], parent: Path | None) -> bool:
    grown = []
    with tempfile.TemporaryDirectory(dir=parent) as name:
        root = Path(name)
        # In a process of its own: a child's largest memory is never less than its parent's.
        subprocess.run([sys.executable, __file__, "--make", name, str(max(counts))], check=True)
        tables = [f"--genes={root}/genes.tsv.gz", f"--expression={root}/expression.tsv"]
        for path in (root / "data", root / "data.tar.gz"):
            peaks = []
            for n in counts:
                output = root / "built.zarr"
                chosen = [f"--cell-type=E{k + 1:03d}" for k in range(n)]
                command = ["build", "deepchrome", str(path), "-o", str(output), "-q"]
                seconds, peak = measure([*command, *tables, *chosen])
                peaks.append(peak)
                print(f"{path.name}: {n:3d} cell types, {seconds:6.1f} s, {peak:5.0f} MB")
                shutil.rmtree(output)
            grown.append(max(peaks) - peaks[0])
    print(f"most that memory grew with the number of cell types: {max(grown):.0f} MB")
    return max(grown) < 100


def tree(folder: Path) -> dict[str, bytes]:
    """Every file beneath a folder, hidden ones too, with its bytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def report_kills(n_kills: int, seed: int) -> bool:
    rng, ends = random.Random(seed), collections.Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        layout, output = Path(name) / "layout", Path(name) / "out" / "built.zarr"
        write_deepchrome_layout(simulate(300, 3, n_bins=20, bin_size=500, seed=1), layout)
        tables = [f"--{table}={layout / table}.tsv.gz" for table in ("genes", "expression")]
        command = [PROGRAM, "build", "deepchrome", str(layout / "data"), "-o", str(output), "-q"]
        command += ["--bin-size", "500", *tables]
        old_options = ["--cell-type", "SIM001"]

        def call(*options: str, kill_after: float | None = None) -> bool:
            with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL) as process:
                try:
                    process.wait(kill_after)
                except subprocess.TimeoutExpired:
                    process.kill()
                    return False
            if process.returncode:
                raise subprocess.CalledProcessError(process.returncode, [*command, *options])
            return True

        call(*old_options)
        old = tree(output)
        start = time.perf_counter()
        call("--overwrite")
        whole, seconds = tree(output), time.perf_counter() - start
        while sum(n for end, n in ends.items() if end.startswith("killed")) < n_kills:
            shutil.rmtree(output.parent)
            replacing = rng.random() < 0.4
            before = old if replacing else None
            if replacing:
                call(*old_options)
            options = ["--overwrite"] * replacing
            for _ in range(rng.randint(1, 4)):
                if call(*options, kill_after=rng.uniform(0.3, 1.0) * seconds):
                    break
                held = tree(output) if output.exists() else None
                if held is not None:
                    open_dataset(output)
                    held.pop(".request.json", None)  # goes last, after the old dataset
                known = "old" if held == before else "new" if held == whole else "BROKEN"
                ends[f"killed: {known}"] += 1
                # Now and then somebody begins again rather than resuming.
                again = rng.random() < 0.3
                replacing |= output.exists()
                options = ["--overwrite"] * (replacing or again) + ["--resume"] * (not again)
            call(*["--overwrite"] * (replacing or output.exists()), "--resume")
            ends["finished: identical" if tree(output) == whole else "finished: BROKEN"] += 1
    print(f"seed {seed}: " + ", ".join(f"{end} {n}" for end, n in sorted(ends.items())))
    return not any("BROKEN" in end for end in ends)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--cell-types", type=int, nargs="+", default=[1, 8, 56])
    parser.add_argument("--folder", type=Path, help="where to write; needs 4 GB")
    parser.add_argument("--kills", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        make_inputs(Path(arguments.make[0]), int(arguments.make[1]))
        return
    good = True
    if arguments.memory:
        good &= report_memory(arguments.cell_types, arguments.folder)
    if arguments.kills:
        good &= report_kills(arguments.kills, arguments.seed)
    sys.exit(not good)


if __name__ == "__main__":
    main()
