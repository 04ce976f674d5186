"""Kill `fit`, `build` and `benchmark` at random, and cut a download: is the result still whole?

    python benchmarks/kill.py --kills 20 --cuts 50

After each kill (SIGKILL) the old result or the new one must lie under its name, and `--resume` must
end in what an undisturbed run gives, byte for byte (of a benchmark: its scores). A download that is
cut, and whose process is killed, must end byte-equal. The moments depend on the machine's load too.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

import simplechrome
from simplechrome.simulation.simulate import write_deepchrome_layout

PROGRAM = Path(sys.executable).with_name("simplechrome")
BUILD = "build deepchrome layout/data --genes layout/genes.tsv.gz"
BENCHMARK = (
    "benchmark data.zarr --jobs 1 --threads 1 --labels 20,all --seeds 2 --permutations 0 "
    "--predictors linear --baseline pca:linear"
)
FIT = "fit data.zarr --threads 1 --encoder"
# The command, and one that makes the older result.
VERBS = {
    "fit": (f"{FIT} vae --epochs 8", f"{FIT} pca"),
    "build": (BUILD, f"{BUILD} --cell-type SIM001"),
    "benchmark": (f"{BENCHMARK} --representations pca,vae", f"{BENCHMARK} --representations pca"),
}
DOWNLOAD = (
    "import sys; from simplechrome.sources import download as d; d.FIRST_WAIT = 0.001; "
    "d.download('down', source=sys.argv[1], checksum=sys.argv[2])"
)


def start(where: Path, command: str) -> subprocess.Popen[bytes]:
    arguments = [PROGRAM, *command.split(), "-o", "out", "--resume", "--overwrite", "-q"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    return subprocess.Popen(arguments, cwd=where, env=environment, stdout=subprocess.DEVNULL)


def finish(where: Path, command: str) -> None:
    if start(where, command).wait():
        raise SystemExit(f"{command} failed")


def killed(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Kill a process after so many seconds; False if it ended before."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)
        return False
    process.kill()
    process.wait()
    return True


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a result; of a benchmark only its scores, as other files note times."""
    only = "scores.csv" if (folder / "scores.csv").exists() else "*"
    files = (path for path in folder.rglob(only) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def kill_verb(work: Path, verb: str, kills: int, random: np.random.Generator) -> None:
    """Kill one verb again and again, over nothing and over an older result by turns."""
    command, older = VERBS[verb]
    target, aside = work / "out", work.parent / f"{verb}-old"
    finish(work, older)
    target.rename(aside)
    begun = time.perf_counter()
    finish(work, command)
    seconds = time.perf_counter() - begun
    new, old = contents(target), contents(aside)
    states, rounds = Counter[str](), 0
    while states.total() < kills:
        rounds += 1
        shutil.rmtree(target)
        if rounds % 2 == 0:
            shutil.copytree(aside, target)
        for _ in range(int(random.integers(1, 5))):
            if not killed(start(work, command), seconds * random.uniform(0.2, 1.02)):
                break
            found = contents(target) if target.exists() else {}
            if found not in (old if rounds % 2 == 0 else {}, new):
                raise SystemExit(f"{verb}, round {rounds}: neither the old result nor the new")
            states["new" if found == new else "old" if found else "nothing"] += 1
        finish(work, command)
        left = {path.name for path in work.iterdir()}
        if contents(target) != new or left != {"data.zarr", "layout", "out"}:
            raise SystemExit(f"{verb}, round {rounds}: not as undisturbed, or left: {left}")
    shutil.rmtree(target)
    print(f"{verb}: {states.total()} kills in {rounds} rounds, each ended as undisturbed", states)


class Cutting(BaseHTTPRequestHandler):
    """Serves an archive slowly, and ends so many answers at a random byte."""

    body, random, cuts, most = b"", np.random.default_rng(0), 0, 0
    log_message = staticmethod(lambda *_: None)  # type: ignore[assignment]

    def do_GET(self) -> None:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start, length = int(match[1]) if match else 0, len(self.body)
        rest = self.body[start:]
        self.send_response(206 if match else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.send_header("Content-Range", f"bytes {start}-{length - 1}/{length}")
        self.end_headers()
        if Cutting.cuts < self.most:
            Cutting.cuts += 1
            rest = rest[: int(self.random.integers(length // self.most))]
        with contextlib.suppress(OSError):
            for place in range(0, len(rest), 1 << 16):
                self.wfile.write(rest[place : place + (1 << 16)])
                time.sleep(0.002)
        self.close_connection = True


def cut_download(root: Path, cuts: int, random: np.random.Generator) -> None:
    """Cut a download at the server, and kill its process, each so often."""
    with tarfile.open(root / "data.tar", "w") as tar:
        for number in range(1, 41):
            tar.add(root / "work" / "layout" / "data" / "SIM001", f"data/E{number:03d}")
    Cutting.body, Cutting.random, Cutting.most = (root / "data.tar").read_bytes(), random, cuts
    server = ThreadingHTTPServer(("127.0.0.1", 0), Cutting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/data.tar"
    digest = hashlib.sha256(Cutting.body).hexdigest()
    command = [sys.executable, "-c", DOWNLOAD, url, digest]
    n_killed = 0
    while Cutting.cuts < cuts or n_killed < cuts:
        if killed(subprocess.Popen(command, cwd=root), random.uniform(0.5, 2.5)):
            n_killed += 1
        else:  # whole before its time: once more from the start
            shutil.rmtree(root / "down")
    subprocess.run(command, cwd=root, check=True)
    left = {path.name for path in (root / "down").iterdir()}
    equal = (root / "down" / "data.tar.gz").read_bytes() == Cutting.body
    if not equal or left != {"data", "data.tar.gz", "manifest.json"}:
        raise SystemExit(f"the download is not byte-equal, or left behind: {left}")
    print(f"download of {len(Cutting.body):,} bytes: {cuts} cuts, {n_killed} kills, byte-equal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("--kills", 20), ("--cuts", 50), ("--seed", 0)):
        parser.add_argument(name, type=int, default=default)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory(prefix="simplechrome-kills-") as temporary:
        work = Path(temporary) / "work"
        data = simplechrome.simulate(1500, 3, n_bins=20, bin_size=500, seed=0)
        write_deepchrome_layout(data, work / "layout")
        finish(work, BUILD)
        (work / "out").rename(work / "data.zarr")
        if options.cuts:
            cut_download(work.parent, options.cuts, random)
        for verb in VERBS if options.kills else ():
            kill_verb(work, verb, options.kills, random)


if __name__ == "__main__":
    main()
