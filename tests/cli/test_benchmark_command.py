"""`simplechrome benchmark` as a user calls it: whole, killed and gone on with, and refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

Call = Callable[..., tuple[int, str, str]]

SMALL = (
    *("--representations", "raw,pca", "--predictors", "linear,deepchrome", "--labels", "20,all"),
    *("--seeds", 2, "--permutations", 2, "--permuted-labels", 20, "--threads", 1),
)


@pytest.fixture(scope="module")
def bench(workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished benchmark, of a process of its own."""
    folder = tmp_path_factory.mktemp("benchmark") / "bench"
    program = Path(sys.executable).with_name("simplechrome")
    arguments = ["benchmark", workshop / "one.zarr", "-o", folder, *SMALL]
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"report: {folder / 'report.html'}" in done.stdout
    assert "not applicable: deepchrome on pca" in done.stderr
    return folder


def test_benchmark_leaves_tables_figures_and_pages(bench: Path) -> None:
    scores = pd.read_parquet(bench / "scores.parquet")
    columns = ["cell_type", "protocol", "representation", "predictor", "n_labels", "draw", "seed"]
    assert {*columns, "split", "metric", "value"} <= set(scores.columns)
    assert set(scores["predictor"]) == {"linear", "deepchrome", "majority"}
    for name in ("scores.csv", "summary.csv", "table.md", "table.tex", "writeup.md", "report.html"):
        assert (bench / name).stat().st_size > 0, name
    assert list((bench / "figures").glob("*.svg"))
    assert not bench.with_name("bench.unfinished").exists()


def test_benchmark_toml_repeats_it(bench: Path, workshop: Path, tmp_path: Path, call: Call) -> None:
    again = tmp_path / "again"
    config = bench / "benchmark.toml"
    code, _, err = call("benchmark", workshop / "one.zarr", "-o", again, "--config", config)
    assert code == 0, err
    assert (again / "scores.csv").read_bytes() == (bench / "scores.csv").read_bytes()


def test_killed_benchmark_goes_on_with_what_it_has(
    bench: Path, workshop: Path, tmp_path: Path, call: Call
) -> None:
    folder = tmp_path / "bench"
    program = Path(sys.executable).with_name("simplechrome")
    arguments = ["benchmark", workshop / "one.zarr", "-o", folder, "--jobs", 2, *SMALL]
    with subprocess.Popen(
        [program, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    ) as process:
        cells = tmp_path / "bench.unfinished" / "cells"
        deadline = time.monotonic() + 120
        while len(list(cells.glob("*.safetensors"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    kept = {path.name for path in cells.glob("*.safetensors")}
    assert len(kept) >= 3
    assert not folder.exists()
    code, _, err = call("benchmark", workshop / "one.zarr", "-o", folder, *SMALL)
    assert (code, "was begun and not finished" in err) == (1, True)
    code, _, err = call("benchmark", workshop / "one.zarr", "-o", folder, "--resume")
    assert code == 0, err
    assert (folder / "scores.csv").read_bytes() == (bench / "scores.csv").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--labels", "20,many"), "--labels is invalid: found 'many'"),
        (("--labels", "5000"), "5000 labelled genes cannot be drawn"),
        (("--representations", "rwa"), "did you mean raw"),
        (("--split", "half"), "`splits`|--splits|--split"),
        (("--transfer", "E999"), "no cell type 'E999'"),
        (("--jobs", "0"), "--jobs"),
        (("--expression", "none.tsv"), "none.tsv"),
    ],
)
def test_bad_options_end_before_any_work(
    workshop: Path, tmp_path: Path, call: Call, options: tuple[str, ...], message: str
) -> None:
    code, _, err = call("benchmark", workshop / "one.zarr", "-o", tmp_path / "b", *options)
    assert code != 0
    assert any(part in err for part in message.split("|")), err
    assert not list(tmp_path.iterdir())
