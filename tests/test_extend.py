"""A package adds an encoder, a predictor, a metric and a track format, as the how-to page says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from page_examples import read_page, write_published_files

from simplechrome import open_dataset

pytestmark = pytest.mark.docs
PAGE = "docs/how-to/extend.md"


def block(language: str) -> str:
    """The page's block in this language (with the name of its file, if it has one)."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", read_page(PAGE), re.DOTALL | re.MULTILINE)
    return str(text)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data, and the page's package installed beside it."""
    folder = tmp_path_factory.mktemp("extend")
    write_published_files(folder, n_genes=400)
    site = folder / "site"
    package = site / "promoter-1.0.dist-info"
    package.mkdir(parents=True)
    (site / "promoter.py").write_text(block("python promoter.py"), encoding="utf-8")
    project = tomllib.loads(block("toml pyproject.toml"))["project"]
    name, version = project["name"], project["version"]
    (package / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
        for group, points in project["entry-points"].items()
    ]
    (package / "entry_points.txt").write_text("\n".join(lines))
    return folder


def run(desk: Path, *arguments: str) -> str:
    """Run Python with the page's package on its path, and return what it printed."""
    path = os.pathsep.join(filter(None, [str(desk / "site"), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=desk,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_commands_of_the_page_use_what_the_package_adds(desk: Path) -> None:
    start = ("-c", "from simplechrome.cli.main import main; main()")
    for line in block("bash").replace("\\\n", " ").splitlines():
        run(desk, *start, *shlex.split(line)[1:], "-q")
    folder = desk / "runs" / "promoter"
    test = json.loads((folder / "metrics.json").read_text())["test"]
    assert test["auroc"] > 0.7
    assert test["recall_low"] <= test["recall"] <= test["recall_high"]
    assert "Recall" in (folder / "report.html").read_text()
    columns = pd.read_parquet(desk / "latents.parquet").columns
    assert sum(name.startswith("latent") for name in columns) == 5
    scores = pd.read_parquet(desk / "bench" / "scores.parquet")
    assert {"raw", "promoter"} <= set(scores["representation"])
    assert {"linear", "centroids"} <= set(scores["predictor"])
    assert "recall" in set(scores["metric"])
    report = (desk / "bench" / "report.html").read_text()
    assert "promoter" in report
    assert "centroids" in report


def test_a_call_replaces_the_entry_point(desk: Path) -> None:
    (desk / "site" / "promoter-1.0.dist-info").rename(desk / "not-installed")
    names = "simplechrome.latent.registry.ENCODERS.names()[-1]"
    printed = run(
        desk, "-c", block("python") + f"import simplechrome.latent.registry\nprint({names})"
    )
    assert printed.strip() == "promoter"


def test_a_track_format_of_the_page_is_built_into_a_dataset(tmp_path: Path) -> None:
    package = tmp_path / "site" / "toytrack-1.0.dist-info"
    package.mkdir(parents=True)
    (tmp_path / "site" / "toytrack.py").write_text(block("python toytrack.py"), encoding="utf-8")
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: toytrack\nVersion: 1.0\n")
    entry = "[simplechrome.track_readers]\nper_base = toytrack:READER\n"
    (package / "entry_points.txt").write_text(entry)
    np.savez(tmp_path / "a.npz", chr1=np.arange(3000.0))
    (tmp_path / "genes.tsv").write_text(
        "gene_id\tchrom\ttss\tstrand\nplus\tchr1\t1000\t+\nminus\tchr1\t2000\t-\n"
    )
    (tmp_path / "sheet.tsv").write_text("cell_type\tmark\tpath\nX\tH3K4me3\ta.npz\n")
    run(
        *(tmp_path, "-c", "from simplechrome.cli.main import main; main()", "build", "tracks"),
        *("--genes", "genes.tsv", "--sheet", "sheet.tsv", "-o", "x.zarr"),
        *("--flank", "200", "--bin-size", "100", "-q"),
    )
    signal = open_dataset(tmp_path / "x.zarr")["signal"].sel(cell_type="X", mark="H3K4me3")
    # Bins of 100 bases that rise by one: the mean lies 49.5 above the first base.
    assert signal.sel(gene=0).values.tolist() == [849.5, 949.5, 1049.5, 1149.5]
    # On the minus strand base `tss` is the first of offset 0, read to the left.
    assert signal.sel(gene=1).values.tolist() == [2150.5, 2050.5, 1950.5, 1850.5]
