"""Does a download survive what happens to it, and what does its safety cost?

    python benchmarks/download.py --interruptions 200 --seed 0
    python benchmarks/download.py --size 3GB [--rounds 3] [--compressible 0.25] [--folder DIR]

The first way breaks downloads from a server on this machine at random bytes in random ways, and
kills the process that downloads, until there were so many interruptions; each result is compared
with the undisturbed one. The second compares with `curl` and `tar`, which check nothing, on the
same archive from the same server in turns; each way is a fresh process, its start included. Only
the loopback interface is used.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import http.server
import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zlib
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "sources"))

from download_archives import SPLITS, layout, member, tar_gz, tree
from http_server import ARCHIVE, RECORD, Fault, HostileServer, record

from simplechrome.errors import SimpleChromeError
from simplechrome.sources import download_record
from simplechrome.sources.download import download
from simplechrome.sources.download_http import Patience
from simplechrome.sources.download_manifest import read_manifest

QUICK = Patience(timeout=0.1, attempts=5, first_wait=0.001, longest_wait=0.01, longest_asked=0.02)

# Interruptions


def fetch_once(record_url: str, folder: Path) -> None:
    """One call, in a process of its own: it may be killed, and may fail."""
    logging.disable()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        os.environ.pop(name, None)
    download_record.RECORD_URL = record_url
    try:
        download(folder, patience=QUICK)
    except SimpleChromeError:
        sys.exit(1)


class Trials:
    """Downloads of one small archive, interrupted until there were enough interruptions."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.archive = tar_gz(layout(["E003", "E012", "E116"], n_rows=3000))
        self.other = tar_gz(layout(["E003", "E012", "E116"], n_rows=2990))
        self.kinds: collections.Counter[str] = collections.Counter()
        self.ends: collections.Counter[str] = collections.Counter()
        self.process: multiprocessing.process.BaseProcess | None = None
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(
            ["simplechrome.sources.download", "simplechrome.cli.download"]
        )
        self.context = context

    def kill(self) -> None:
        if self.process is not None and self.process.pid is not None:
            with contextlib.suppress(ProcessLookupError):  # It was faster.
                os.kill(self.process.pid, signal.SIGKILL)

    def kill_later(self) -> None:
        """Kill while the archive is checked, unpacked or put in its place."""
        threading.Timer(self.rng.uniform(0, 0.06), self.kill).start()

    def fault(self) -> Fault:
        at = self.rng.randrange(len(self.archive))
        status = self.rng.choice([429, 500, 502, 503, 504])
        asked = {"Retry-After": self.rng.choice(["0", "1", "Wed, 21 Oct 2015 07:28:00 GMT"])}
        return self.rng.choice(
            [
                Fault("cut", at),
                Fault("reset", at),
                Fault("stall", at, seconds=0.2),
                Fault("flip", at),
                Fault("other", body=self.other),
                Fault("other", body=self.other[:at]),
                Fault("ignore range"),
                Fault("wrong range"),
                Fault("no content range"),
                Fault("short length"),
                Fault("long length"),
                Fault("more"),
                Fault("no length"),
                Fault("no answer"),
                Fault("silence", seconds=0.2),
                Fault("garbage"),
                Fault("away", seconds=0.02),
                Fault("status", status=status, headers=asked),
                Fault("status", status=403, body=b"<html>Blocked</html>"),
                *[Fault("action", at, action=self.kill)] * 2,
                *[Fault("action", len(self.archive), action=self.kill_later)] * 3,
            ]
        )

    def run(self, server: HostileServer, folder: Path, expected: dict[str, str]) -> None:
        faults = [self.fault() for _ in range(self.rng.randrange(1, 7))]
        server.faults[ARCHIVE].clear()
        server.fail(*faults)
        while True:
            left = len(server.faults[ARCHIVE])
            self.process = self.context.Process(
                target=fetch_once, args=(server.url(RECORD), folder)
            )
            self.process.start()
            self.process.join()
            code = self.process.exitcode
            served = faults[len(faults) - left : len(faults) - len(server.faults[ARCHIVE])]
            self.kinds.update(fault.kind for fault in served)
            done = self.judge(folder, expected, finished=code == 0)
            end = {0: "finished", 1: "error", -signal.SIGKILL: "killed"}.get(code or 0)
            self.ends[end or f"exit code {code}"] += 1
            if done:
                return
            if code == 1 and not served:
                raise RuntimeError("a call failed though the server did not")

    def judge(self, folder: Path, expected: dict[str, str], *, finished: bool) -> bool:
        """Whatever happened: what is in its place is right, and what is called whole is whole."""
        found = tree(folder / "data")
        wrong = [name for name, digest in found.items() if expected.get(name) != digest]
        self.ends["CORRUPT"] += bool(wrong)
        manifest = read_manifest(folder)
        whole = manifest is not None and not manifest.broken(folder, None, thorough=False)
        self.ends["SILENTLY INCOMPLETE"] += (finished or whole) and found != expected
        archive = folder / "data.tar.gz"
        if archive.exists():
            self.ends["CORRUPT"] += archive.read_bytes() != self.archive
        return finished


def interrupt(n_interruptions: int, seed: int) -> bool:
    trials = Trials(seed)
    n_downloads = 0
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name, HostileServer() as server:
        server.publish(trials.archive)
        fetch_once(server.url(RECORD), Path(name) / "undisturbed")
        logging.disable(logging.NOTSET)
        expected = tree(Path(name) / "undisturbed" / "data")
        assert len(expected) == 9
        while trials.kinds.total() < n_interruptions:
            trials.run(server, Path(name) / str(n_downloads), expected)
            n_downloads += 1
    print(
        f"seed {seed}: {trials.kinds.total()} faults in {n_downloads} downloads of "
        f"{len(trials.archive):,} bytes, {time.perf_counter() - start:.0f} s"
    )
    print("  " + ", ".join(f"{kind} {n}" for kind, n in trials.kinds.most_common()))
    calls = {key: n for key, n in trials.ends.items() if not key.isupper()}
    print("  calls: " + ", ".join(f"{key} {n}" for key, n in sorted(calls.items())))
    bad = {key: trials.ends[key] for key in ("CORRUPT", "SILENTLY INCOMPLETE")}
    print(
        f"  corrupt {bad['CORRUPT']}, silently incomplete {bad['SILENTLY INCOMPLETE']}; "
        f"{n_downloads - sum(bad.values())} of {n_downloads} byte-identical to the undisturbed one"
    )
    return not any(bad.values())


# Speed


def piece(data: bytes, level: int) -> bytes:
    """One member of a gzip file; members can be joined."""
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


def table(n_rows: int) -> bytes:
    """Rows as in the published files: counts, overdispersed as reads are."""
    rng = np.random.default_rng(0)
    counts = rng.negative_binomial(0.5, 0.15, (n_rows, 5))
    return "".join(
        f"{row // 100:06d},{row % 100 + 1},{','.join(map(str, values))},1\n"
        for row, values in enumerate(counts.tolist())
    ).encode()


def write_archive(path: Path, size: int, compressible: float) -> int:
    """56 cell types, `size` bytes in all; returns the bytes that come out. A CSV is random bytes
    or rows, repeated: for the programs that are timed here it is all the same."""
    block = table(150_000)
    block = block[: len(block) - len(block) % 512]
    noise = os.urandom(1 << 22)
    kinds = {"rows": (block, piece(block, 6)), "noise": (noise, piece(noise, 0))}
    n_files = 56 * 3
    shares = {"rows": compressible, "noise": 1 - compressible}
    unpacked = 0
    with path.open("wb") as file:
        for number in range(n_files):
            pieces = []
            for kind, (data, packed) in kinds.items():
                target = shares[kind] * size / n_files * (number + 1)
                before = shares[kind] * size / n_files * number
                pieces += [(data, packed)] * (
                    round(target / len(packed)) - round(before / len(packed))
                )
            name = f"data/E{number // 3 + 1:03d}/classification/{SPLITS[number % 3]}.csv"
            n_bytes = sum(len(data) for data, _ in pieces)
            file.write(piece(member(name, n_bytes).tobuf(tarfile.USTAR_FORMAT), 0))
            file.writelines(packed for _, packed in pieces)
            unpacked += n_bytes
        file.write(piece(bytes(10_240), 0))
    return unpacked


class _FileHandler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        folder = Path(os.environ["BENCHMARK_FOLDER"])
        path = folder / ("record.json" if self.path == RECORD else "served.tar.gz")
        with path.open("rb") as file:
            self.send_response(200)
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            self.wfile.flush()
            self.connection.sendfile(file)


def serve() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _FileHandler)
    print(server.server_port, flush=True)
    server.serve_forever()


def peak_memory() -> float:
    """Largest resident set of this process, in MB."""
    (line,) = [
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    ]
    return float(line.split()[1]) / 1e3


def time_ours(url: str, folder: Path) -> tuple[float, float]:
    command = [sys.executable, __file__, "--fetch", url, str(folder)]
    start = time.perf_counter()
    reply = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - start, float(reply.stdout)


def time_theirs(url: str, folder: Path) -> float:
    folder.mkdir()
    start = time.perf_counter()
    archive = folder / "data.tar.gz"
    subprocess.run(["curl", "-sS", "--noproxy", "*", "-o", archive, url], check=True)
    subprocess.run(["tar", "-xzf", archive, "-C", folder], check=True)
    return time.perf_counter() - start


def compare(size: int, n_rounds: int, compressible: float, parent: Path | None) -> bool:
    with tempfile.TemporaryDirectory(dir=parent) as name:
        root = Path(name)
        archive = root / "served.tar.gz"
        unpacked = write_archive(archive, size, compressible)
        size = archive.stat().st_size
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "md5").hexdigest()
        environment = os.environ | {"BENCHMARK_FOLDER": name}
        command = [sys.executable, __file__, "--serve"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment
        ) as server:
            assert server.stdout is not None
            base = f"http://127.0.0.1:{int(server.stdout.readline())}"
            answer = json.loads(record(b"", base + ARCHIVE))
            answer["files"][0] |= {"size": size, "checksum": f"md5:{digest}"}
            (root / "record.json").write_text(json.dumps(answer))
            print(f"{size / 1e9:.2f} GB of .tar.gz, {unpacked / 1e9:.2f} GB of CSV")
            ratios, memory = [], []
            try:
                for number in range(n_rounds):
                    seconds = {}
                    for way in ("ours", "theirs") if number % 2 else ("theirs", "ours"):
                        folder = root / way
                        os.sync()  # Neither pays for what the other has left to be written.
                        if way == "ours":
                            seconds[way], peak = time_ours(base + RECORD, folder)
                            memory.append(peak)
                        else:
                            seconds[way] = time_theirs(base + ARCHIVE, folder)
                        shutil.rmtree(folder)
                    ratios.append(seconds["theirs"] / seconds["ours"])
                    print(
                        f"  round {number + 1}: simplechrome {seconds['ours']:.1f} s "
                        f"({size / 1e6 / seconds['ours']:.0f} MB/s), curl and tar "
                        f"{seconds['theirs']:.1f} s ({size / 1e6 / seconds['theirs']:.0f} MB/s), "
                        f"ratio of rates {ratios[-1]:.2f}, peak memory {memory[-1]:.0f} MB"
                    )
            finally:
                server.terminate()
    ratio, peak = statistics.median(ratios), max(memory)
    print(f"  median ratio {ratio:.2f} (0.70 asked), peak memory {peak:.0f} MB (300 allowed)")
    return ratio >= 0.7 and peak < 300


def fetch_for_timing(url: str, folder: Path) -> None:
    os.environ["no_proxy"] = "127.0.0.1"
    download_record.RECORD_URL = url
    download(folder)
    print(peak_memory())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--interruptions", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", help="of the archive: 3GB, 300MB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compressible", type=float, default=0.25, help="share of the archive")
    parser.add_argument("--folder", type=Path, help="where to write; needs six times the size")
    parser.add_argument("--fetch", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
    if arguments.fetch:
        fetch_for_timing(arguments.fetch[0], Path(arguments.fetch[1]))
        return
    good = True
    if arguments.interruptions:
        good &= interrupt(arguments.interruptions, arguments.seed)
    if arguments.size:
        number, unit = float(arguments.size[:-2]), arguments.size[-2:].upper()
        size = int(number * {"MB": 1e6, "GB": 1e9}[unit])
        good &= compare(size, arguments.rounds, arguments.compressible, arguments.folder)
    sys.exit(not good)


if __name__ == "__main__":
    main()
