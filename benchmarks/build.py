"""Does a build of all cell types fit in memory, and does it survive being killed?

    python benchmarks/build.py --memory [--cell-types 1 8 56] [--folder DIR]
    python benchmarks/build.py --kills 60 [--seed 0]

The first way makes one cell type of 19,802 genes, repeats it under other names with a few other
counts, as a folder and as a .tar.gz, and builds datasets of some of them; each is a process of its
own, of which the largest resident memory is reported. The second kills builds of three small cell
types, at random times and before random file operations, some while they replace a dataset. What
has the final name after each kill must be nothing, the old dataset or the new one; finished with
--resume it must be, byte for byte, what an undisturbed build gives.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

SPLITS = ("train", "valid", "test")
N_GENES = 19_802

# Memory. This process stays small: a child's largest memory is never less than its parent's.


def make_inputs(folder: Path, n_cell_types: int) -> None:
    """Cell types E001 to E056 in `folder/data` and `folder/data.tar.gz`, and tables."""
    from simplechrome import simulate
    from simplechrome.simulation.simulate import write_deepchrome_layout

    names = [f"E{number:03d}" for number in range(1, n_cell_types + 1)]
    simulation = simulate(N_GENES, 1, seed=0)
    write_deepchrome_layout(simulation, folder / "one")
    (source,) = (folder / "one" / "data").iterdir()
    contents = {
        split: (source / "classification" / f"{split}.csv").read_bytes() for split in SPLITS
    }
    with (folder / "data.tar.gz").open("wb") as archive:
        packed = {split: _gzip(_after_first_line(data)) for split, data in contents.items()}
        for number, name in enumerate(names):
            for split, data in contents.items():
                # The first count is the cell type's number.
                first = data[: len(data) - len(_after_first_line(data))].split(b",")
                line = b",".join([*first[:2], str(number).encode(), *first[3:]])
                path = folder / "data" / name / "classification" / f"{split}.csv"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(line + _after_first_line(data))
                member = tarfile.TarInfo(path.relative_to(folder).as_posix())
                member.size = path.stat().st_size
                archive.write(_gzip(member.tobuf(tarfile.USTAR_FORMAT) + line))
                archive.write(packed[split])
                archive.write(_gzip(bytes(-member.size % tarfile.BLOCKSIZE)))
        archive.write(_gzip(bytes(10_240)))
    expression = simulation.expression[0]
    with (folder / "expression.tsv").open("w") as table:
        table.write("\t".join(["gene_id", *names]) + "\n")
        for gene_id, value in zip(simulation.genes["gene_id"], expression, strict=True):
            table.write("\t".join([gene_id, *[f"{value:.4g}"] * len(names)]) + "\n")
    (folder / "one" / "genes.tsv.gz").rename(folder / "genes.tsv.gz")


def _after_first_line(data: bytes) -> bytes:
    return data[data.index(b"\n") + 1 :]


def _gzip(data: bytes) -> bytes:
    """One member of a gzip file; members can be joined."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


def size_of(path: Path) -> float:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files) / 1e9


PROGRAM = Path(sys.executable).with_name("simplechrome")


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


def kill_half_way(arguments: list[str], output: Path, n_cell_types: int) -> int:
    """Kill `simplechrome ARGUMENTS` when half of the cell types are read; how many are?"""
    parts = output.with_name(f"{output.name}.unfinished") / "parts"
    with subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and len(list(parts.glob("*.json"))) < n_cell_types // 2:
            time.sleep(0.05)
        process.kill()
    return len(list(parts.glob("*.json")))


def report_memory(counts: list[int], parent: Path | None) -> bool:
    most: dict[str, list[float]] = {}
    good = True
    with tempfile.TemporaryDirectory(dir=parent) as name:
        root = Path(name)
        maker = multiprocessing.get_context("spawn").Process(
            target=make_inputs, args=(root, max(counts))
        )
        maker.start()
        maker.join()
        inputs = {"folder": root / "data", "archive": root / "data.tar.gz"}
        for kind, path in inputs.items():
            print(f"{kind}: {max(counts)} cell types, {size_of(path):.2f} GB")
            for n in counts:
                output = root / "built.zarr"
                chosen = [] if n == max(counts) else [f"--cell-type=E{k + 1:03d}" for k in range(n)]
                tables = [f"--genes={root}/genes.tsv.gz", f"--expression={root}/expression.tsv"]
                command = ["build", "deepchrome", str(path), "-o", str(output), "-q"]
                command += [*tables, *chosen]
                seconds, peak = measure(command)
                most.setdefault(kind, []).append(peak)
                print(
                    f"  {n:3d} cell types: {seconds:6.1f} s, {peak:5.0f} MB, "
                    f"store of {size_of(output):.3f} GB",
                    flush=True,
                )
                if n == max(counts) > 1:
                    whole = tree(output)
                    shutil.rmtree(output)
                    done = kill_half_way(command, output, n)
                    seconds, peak = measure([*command, "--resume"])
                    most[kind].append(peak)
                    same = tree(output) == whole
                    good &= same
                    print(
                        f"  killed with {done} of them read, then --resume: {seconds:.1f} s, "
                        f"{peak:.0f} MB, {'' if same else 'NOT '}byte-identical",
                        flush=True,
                    )
                shutil.rmtree(output)
    grown = max(max(peaks) - peaks[0] for peaks in most.values())
    print(f"most that memory grew with the number of cell types: {grown:.0f} MB")
    return good and grown < 100


# Kills

EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "ctypes.dlsym")
"""What Python says before it touches files; the last comes before two names are exchanged."""


def build_once(arguments: list[str], talk: Path, kill_at: tuple[str, int] | None) -> None:
    """`simplechrome ARGUMENTS`, killed before a file operation; counts these operations."""
    from simplechrome.cli.main import main

    done: collections.Counter[str] = collections.Counter()

    def watch(event: str, details: tuple[Any, ...]) -> None:
        if event not in EVENTS or (event == "open" and not _for_writing(details)):
            return
        done[event] += 1
        if kill_at == (event, done[event]):
            os.kill(os.getpid(), signal.SIGKILL)

    descriptor = os.open(talk, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = ["simplechrome", *arguments]
    sys.addaudithook(watch)
    try:
        main()
    finally:
        talk.with_suffix(".events").write_text(json.dumps(dict(done)))


def _for_writing(details: tuple[Any, ...]) -> bool:
    return bool(details[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


class Trials:
    """Builds that are killed until there were enough kills."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = random.Random(seed)
        self.folder = folder
        self.talk = folder / "talk"
        self.output = folder / "out" / "built.zarr"
        self.output.parent.mkdir()
        self.kinds: collections.Counter[str] = collections.Counter()
        self.ends: collections.Counter[str] = collections.Counter()
        self.calls: collections.Counter[str] = collections.Counter()
        # tqdm has a lock that processes share, and that nobody gives back after a kill.
        os.environ["PYTHONWARNINGS"] = "ignore:resource_tracker"
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(
            ["simplechrome.cli.build", "simplechrome.dataset.building.build"]
        )
        self.inputs = self._make_inputs()
        self.whole: dict[Path, dict[str, bytes]] = {}
        for path in self.inputs:
            start = time.perf_counter()
            code = self._call(path)
            self.seconds = time.perf_counter() - start
            if code != 0:
                raise RuntimeError(self.talk.read_text())
            self.events: dict[str, int] = json.loads(self.talk.with_suffix(".events").read_text())
            self.events["ctypes.dlsym"] = 1  # only where a dataset is replaced
            self.whole[path] = tree(self.output)
            self._clear()

    def _make_inputs(self) -> list[Path]:
        from simplechrome import simulate
        from simplechrome.simulation.simulate import write_deepchrome_layout

        layout = self.folder / "layout"
        write_deepchrome_layout(simulate(300, 3, n_bins=20, bin_size=500, seed=1), layout)
        # Five genes less: this one is not stored as it was read.
        fewer = layout / "data" / "SIM002" / "classification" / "train.csv"
        fewer.write_text("".join(fewer.read_text().splitlines(keepends=True)[100:]))
        with tarfile.open(layout / "data.tar.gz", "w:gz") as archive:
            archive.add(layout / "data", "data")
        return [layout / "data", layout / "data.tar.gz"]

    def _arguments(self, path: Path, *options: str) -> list[str]:
        tables = [f"--{name}={path.parent / name}.tsv.gz" for name in ("genes", "expression")]
        output = ["-o", str(self.output), "--bin-size", "500"]
        return ["build", "deepchrome", str(path), *output, *tables, *options]

    def _call(
        self,
        path: Path,
        *options: str,
        kill_at: tuple[str, int] | None = None,
        kill_after: float | None = None,
    ) -> int:
        self.calls[" ".join(options) or "no option"] += 1
        process = self.context.Process(
            target=build_once, args=(self._arguments(path, *options), self.talk, kill_at)
        )
        process.start()
        if kill_after is not None:
            process.join(kill_after)
            with contextlib.suppress(ProcessLookupError):  # It was faster.
                os.kill(process.pid, signal.SIGKILL)
        process.join()
        return process.exitcode or 0

    def _killed(self, path: Path, *options: str) -> bool:
        """One call that is to be killed; False where it was faster."""
        if self.rng.random() < 0.4:
            code = self._call(path, *options, kill_after=self.rng.uniform(0.02, 1.1 * self.seconds))
            kind = "at a random time"
        else:
            event = self.rng.choice(sorted(self.events))
            number = self.rng.randint(1, self.events[event])
            code = self._call(path, *options, kill_at=(event, number))
            kind = f"before {event}"
        if code == -signal.SIGKILL:
            self.kinds[kind] += 1
            return True
        if code != 0:
            raise RuntimeError(self.talk.read_text())
        return False

    def run(self) -> None:
        """One dataset: begun, killed once or more often, finished and judged."""
        self._clear()
        path = self.rng.choice(self.inputs)
        (other,) = set(self.inputs) - {path}
        replacing = self.rng.random() < 0.4
        old = self.whole[other] if replacing else None
        if replacing and self._call(other) != 0:
            raise RuntimeError(self.talk.read_text())
        options = ["--overwrite"] if replacing else []
        for _ in range(self.rng.randint(1, 4)):
            if not self._killed(path, *options):
                break
            self._judge(old, self.whole[path])
            # Now and then somebody begins anew rather than going on.
            anew = self.rng.random() < 0.3
            # Killed just after its dataset had got its name, the next call replaces that.
            replacing |= self.output.exists()
            options = ["--overwrite"] * (replacing or anew) + ["--resume"] * (not anew)
        if self._call(path, *["--overwrite"] * replacing, "--resume") != 0:
            raise RuntimeError(self.talk.read_text())
        same = tree(self.output) == self.whole[path]
        # The lock of a process that was killed in the very end does no harm.
        left = {entry.name for entry in self.output.parent.iterdir()} - {".built.zarr.lock"}
        self.ends["finished, byte-identical" if same else "FINISHED, NOT IDENTICAL"] += 1
        self.ends["SOMETHING LEFT BEHIND"] += left != {self.output.name}

    def _judge(self, old: dict[str, bytes] | None, new: dict[str, bytes]) -> None:
        """Whatever happened: what has the final name is whole."""
        from simplechrome.dataset.store import open_dataset
        from simplechrome.errors import SimpleChromeError

        held = tree(self.output) if self.output.exists() else None
        if held is not None:
            try:
                open_dataset(self.output)
            except SimpleChromeError:
                self.ends["killed: BROKEN"] += 1
                return
            held.pop(".request.json", None)  # goes last, when the old dataset has gone
        if held == old:
            self.ends["killed: old dataset" if old else "killed: nothing there"] += 1
        elif held == new:
            self.ends["killed: new dataset"] += 1
        else:
            self.ends["killed: NEITHER OLD NOR NEW"] += 1

    def _clear(self) -> None:
        shutil.rmtree(self.output.parent)
        self.output.parent.mkdir()


def tree(folder: Path) -> dict[str, bytes]:
    """Every file beneath a folder, hidden ones too, with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def report_kills(n_kills: int, seed: int) -> bool:
    with tempfile.TemporaryDirectory() as name:
        trials = Trials(seed, Path(name))
        n_builds, start = 0, time.perf_counter()
        while trials.kinds.total() < n_kills:
            trials.run()
            n_builds += 1
        print(
            f"seed {seed}: {trials.kinds.total()} kills in {n_builds} builds of "
            f"{trials.seconds:.1f} s, {time.perf_counter() - start:.0f} s in all"
        )
    for title, counts in (("killed", trials.kinds), ("calls", trials.calls), ("", trials.ends)):
        listed = ", ".join(f"{kind} {n}" for kind, n in counts.most_common())
        print(f"  {title}: {listed}" if title else f"  {listed}")
    return not any(n for end, n in trials.ends.items() if end.split(": ")[-1].isupper())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--cell-types", type=int, nargs="+", default=[1, 8, 56])
    parser.add_argument("--folder", type=Path, help="where to write; needs 4 GB")
    parser.add_argument("--kills", type=int)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    good = True
    if arguments.memory:
        good &= report_memory(arguments.cell_types, arguments.folder)
    if arguments.kills:
        good &= report_kills(arguments.kills, arguments.seed)
    sys.exit(not good)


if __name__ == "__main__":
    main()
