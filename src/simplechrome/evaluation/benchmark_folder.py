"""What a benchmark's folder holds, and what a larger benchmark takes over from it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from simplechrome.errors import ConfigError, OutputExistsError
from simplechrome.evaluation.benchmark_cells import CELLS, ENCODERS
from simplechrome.evaluation.run_folder import ENVIRONMENT
from simplechrome.unfinished import unfinished_folder

CONFIG, SCORES = "benchmark.toml", "scores.parquet"
CONTENTS = frozenset(
    {CONFIG, SCORES, "scores.csv", "summary.csv", "controls.csv", "not_applicable.csv"}
    | {CELLS, ENCODERS, ENVIRONMENT, "table.md", "table.tex", "figures", "report.html"}
    | {"writeup.md", "claims.csv", "neighbors.csv"}
)
"""Names that a benchmark folder may hold, and may lose when it is overwritten."""


def take_over(finished: Path, begun: Path, checksum: str) -> None:
    """Take cells and encoders over from a finished benchmark, as links where that can be.

    Parameters
    ----------
    finished, begun
        Folders.
    checksum
        Of the dataset.

    Raises
    ------
    ConfigError
        If it is of other data.
    """
    try:
        made = json.loads((finished / ENVIRONMENT).read_text(encoding="utf-8"))
        same = made["dataset"]["sha256"] == checksum
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise ConfigError(
            f"{finished} is a benchmark of other data.",
            found="another checksum of the dataset",
            expected="the dataset that it was made of",
            remedy="choose another output path, or pass --overwrite without --resume",
        )
    for source in sorted((finished / CELLS).iterdir()):
        _link(source, begun / CELLS / source.name)
    for source in sorted((finished / ENCODERS).rglob("*")):
        if source.is_file():
            _link(source, begun / source.relative_to(finished))


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy(source, target)


def require_benchmark_only(folder: Path) -> None:
    """Does the folder hold a benchmark and nothing else?

    Raises
    ------
    OutputExistsError
        If overwriting it would delete what is not ours.
    """
    held = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    foreign = sorted(name for name in held - CONTENTS if not name.startswith("."))
    if foreign or CONFIG not in held:
        raise OutputExistsError(
            f"{folder} is not a benchmark, and is not overwritten.",
            found=", ".join(foreign[:8]) if foreign else f"no {CONFIG}",
            expected="what `simplechrome benchmark` writes, or no folder",
            remedy="choose another folder, or move away what you want to keep",
        )


def describe_benchmark(folder: Path) -> str:
    """How far has a benchmark come, in a few words?"""
    if not folder.is_dir():
        return "a file"
    done = len(list((folder / CELLS).glob("*.safetensors")))
    return f"{'a finished benchmark of ' if (folder / SCORES).is_file() else ''}{done} cells"


def begun_benchmark(folder: str | Path) -> Path | None:
    """Where are the options of the benchmark that would be resumed? None if there is none."""
    for place in (unfinished_folder(folder), Path(folder)):
        if (place / CONFIG).is_file():
            return place / CONFIG
    return None
