"""Is a fit that was killed again and again the same, byte for byte, as one left in peace?

    python benchmarks/kill_fit.py --kills 50 --seed 0

Each round begins a run, or replaces an older one, kills it (SIGKILL) at random moments, looks at
what lies under its name, and goes on with --resume until it ends by itself. Every random number
comes from the seed; the moments are as random as the machine's load makes them.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

import simplechrome
from simplechrome.runs.folder import describe_run
from simplechrome.work.unfinished import unfinished_folder

PROGRAM = Path(sys.executable).with_name("simplechrome")
FIT = ["fit", "data.zarr", "-o", "run", "--resume", "--overwrite", "--threads", "1", "-q"]


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def start(where: Path, *options: str) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    return subprocess.Popen(
        [PROGRAM, *FIT, *options],
        cwd=where,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(where: Path, *options: str) -> None:
    process = start(where, *options)
    _, err = process.communicate()
    if process.returncode:
        raise SystemExit(f"fit failed: {err}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--genes", type=int, default=1500)
    parser.add_argument("--options", default="--epochs 8", help="Further options of `fit`.")
    arguments = parser.parse_args()
    options = arguments.options.split()
    random = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="simplechrome-kills-") as temporary:
        root = Path(temporary)
        data = simplechrome.simulate(arguments.genes, seed=0)
        dataset = simplechrome.from_arrays(
            data.signal,
            marks=data.marks,
            gene_ids=data.genes["gene_id"],
            cell_types=data.cell_types,
            genes=data.genes,
            expression=data.expression,
        )
        for name in ("peace", "old", "killed"):
            simplechrome.save_dataset(dataset, root / name / "data.zarr")
        begun = time.perf_counter()
        finish(root / "peace", *options)
        seconds = time.perf_counter() - begun
        finish(root / "old", "--encoder", "pca", "--predictor", "linear")
        whole, old = contents(root / "peace" / "run"), contents(root / "old" / "run")
        print(f"undisturbed: {seconds:.1f} s, {len(whole)} files", flush=True)
        where, target = root / "killed", root / "killed" / "run"
        kills, rounds, states = 0, 0, Counter[str]()
        while kills < arguments.kills:
            rounds += 1
            replacing = rounds % 2 == 0
            shutil.rmtree(target) if target.exists() else None
            if replacing:
                shutil.copytree(root / "old" / "run", target)
            for _ in range(int(random.integers(1, 6))):
                process = start(where, *options)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=seconds * random.uniform(0.2, 1.02))
                if process.poll() is not None:
                    break
                process.kill()
                process.communicate()
                kills += 1
                # A killed process may have left the request in a run that is otherwise whole.
                found = contents(target) if target.exists() else {}
                found.pop(".request.json", None)
                if found not in ({}, old, whole):
                    raise SystemExit(
                        f"kill {kills}: what lies under the name is neither old nor new"
                    )
                name = "new" if found == whole else "old" if found else "nothing"
                unfinished = unfinished_folder(target)
                rest = describe_run(unfinished) if unfinished.exists() else "nothing"
                states[f"{name} there; unfinished: {rest}"] += 1
            finish(where, *options)
            ended = contents(target)
            differing = sorted(k for k in {*ended, *whole} if ended.get(k) != whole.get(k))
            if differing:
                for name in differing:
                    for place in (root / "peace" / "run", target):
                        print(f"{place / name}:\n{(place / name).read_bytes()[:3000]!r}")
                raise SystemExit(f"round {rounds}: not the undisturbed run's: {differing}")
            left = sorted(path.name for path in where.iterdir())
            if left != ["data.zarr", "run"]:
                raise SystemExit(f"round {rounds}: left behind: {left}")
            print(f"round {rounds}: {kills} kills so far, equal byte for byte", flush=True)
    for state, count in sorted(states.items()):
        print(f"{count:4d} × {state}")
    print(f"seed {arguments.seed}: {kills} kills in {rounds} rounds, 0 corrupt, 0 different")


if __name__ == "__main__":
    main()
