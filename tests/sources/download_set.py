"""The published data set in small, and calls that fetch it without losing time."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from download_archives import SPLITS, csv, layout, tar_gz, tree

from simplechrome.sources.download import Download, download
from simplechrome.sources.download_http import Patience

NAMES = ["E003", "E012", "E116"]
BODY = tar_gz(layout(NAMES))
QUICK = Patience(timeout=10, attempts=4, first_wait=0.001, longest_wait=0.005)


def get(folder: Path, **options: Any) -> Download:
    return download(folder, patience=QUICK, **options)


def csvs(names: list[str]) -> dict[str, str]:
    return {
        f"{name}/classification/{split}.csv": hashlib.md5(csv(name, split)).hexdigest()
        for name in names
        for split in SPLITS
    }


def assert_holds(folder: Path, names: list[str]) -> None:
    assert tree(folder / "data") == csvs(names)
    expected = {"data", "manifest.json", "data.tar.gz", "data.tar.gz.json"}
    assert {path.name for path in folder.iterdir()} <= expected | {"set-aside"}
