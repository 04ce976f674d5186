"""Code blocks of the documentation, and the files that they name, for tests that run them."""

from __future__ import annotations

import re
import shlex
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import simplechrome
from simplechrome.dataset.building.build import build_deepchrome_on_disk
from simplechrome.simulation.simulate import write_deepchrome_layout

PROJECT = Path(__file__).resolve().parents[1]
CELL_TYPES = ["E012", "E100"]


def read_page(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


def run_python(page: str) -> dict[str, Any]:
    """Run the page's Python blocks in the present folder and return the names that they define."""
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", read_page(page), re.DOTALL | re.MULTILINE)
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), names)  # noqa: S102  # our own page
    return names


def run_commands(page: str) -> None:
    """Run the page's commands in the present folder.

    A block ```` ```tsv NAME ```` or ```` ```python NAME ```` is written to a file of that name.
    """
    from simplechrome.cli.main import cli

    blocks = re.findall(
        r"^```(bash|(?:tsv|python) (\S+))\n(.*?)^```", read_page(page), re.DOTALL | re.MULTILINE
    )
    assert blocks
    for _, name, text in blocks:
        if name:
            Path(name).write_text(text, encoding="utf-8")
            continue
        for line in text.replace("\\\n", " ").splitlines():
            program, *arguments = shlex.split(line, comments=True)
            assert program == "simplechrome"
            cli.main([*arguments, "-q"], standalone_mode=False)


def write_published_files(folder: Path, n_genes: int) -> None:
    """Simulate the files that the pages name, small and under names of published cell types.

    These are `data.tar.gz` of E012 and E100, `genes.tsv.gz`, `rpkm.tsv.gz` of these and of six
    more cell types, and `e012.zarr`.
    """
    inputs = folder / "inputs"
    write_deepchrome_layout(simplechrome.simulate(n_genes, n_cell_types=2, seed=1), inputs)
    for simulated, name in zip(sorted((inputs / "data").iterdir()), CELL_TYPES, strict=True):
        simulated.rename(simulated.with_name(name))
    with tarfile.open(folder / "data.tar.gz", "w:gz") as archive:
        archive.add(inputs / "data", "data")
    (inputs / "genes.tsv.gz").rename(folder / "genes.tsv.gz")
    table = pd.read_csv(inputs / "expression.tsv.gz", sep="\t", dtype={"gene_id": str})
    table = table.rename(columns=dict(zip(["SIM001", "SIM002"], CELL_TYPES, strict=True)))
    random = np.random.default_rng(0)
    for k in range(1, 7):
        table[f"E{k:03}"] = (table["E012"] * random.lognormal(0, 1, len(table))).round(3)
    table.to_csv(folder / "rpkm.tsv.gz", sep="\t", index=False)
    build_deepchrome_on_disk(
        folder / "data.tar.gz",
        folder / "e012.zarr",
        cell_types=["E012"],
        genes=folder / "genes.tsv.gz",
        expression=folder / "rpkm.tsv.gz",
    )
