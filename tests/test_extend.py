"""A package outside this one adds an encoder, a predictor and a metric, as the how-to page says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from page_examples import read_page, write_published_files

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
