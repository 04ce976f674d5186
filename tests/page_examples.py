"""Code blocks of the documentation, and the files that they speak of, for tests that run them."""

from __future__ import annotations

import re
import shlex
import tarfile
from pathlib import Path
from typing import Any

import simplechrome
from simplechrome.simulation.simulate import write_deepchrome_layout

PROJECT = Path(__file__).resolve().parents[1]


def read_page(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


def only_block(page: str, language: str) -> str:
    """The page's one block in this language."""
    (block,) = re.findall(rf"```{language}\n(.*?)```", read_page(page), re.DOTALL)
    return str(block)


def run_python(page: str) -> dict[str, Any]:
    """Run the page's Python block in the present folder; what names has it made?"""
    names: dict[str, Any] = {}
    exec(compile(only_block(page, "python"), page, "exec"), names)  # noqa: S102  # our own page
    return names


def run_commands(page: str) -> None:
    """Do in the present folder what the page says: save its tables, run its commands.

    A block ```` ```tsv NAME ```` is a file of that name.
    """
    from simplechrome.cli.main import cli

    blocks = re.findall(
        r"^```(bash|tsv (\S+))\n(.*?)^```", read_page(page), re.DOTALL | re.MULTILINE
    )
    assert blocks
    for _, name, text in blocks:
        if name:
            Path(name).write_text(text, encoding="utf-8")
            continue
        for line in text.splitlines():
            program, *arguments = shlex.split(line)
            assert program == "simplechrome"
            cli.main([*arguments, "-q"], standalone_mode=False)


def write_published_files(folder: Path, cell_type: str, n_genes: int) -> None:
    """Simulate `data.tar.gz`, under the name of a published cell type, and `genes.tsv.gz`.

    `inputs/` keeps what the simulation wrote besides, such as `expression.tsv.gz`.
    """
    inputs = folder / "inputs"
    write_deepchrome_layout(simplechrome.simulate(n_genes, seed=1), inputs)
    (simulated,) = (inputs / "data").iterdir()
    simulated.rename(simulated.with_name(cell_type))
    with tarfile.open(folder / "data.tar.gz", "w:gz") as archive:
        archive.add(inputs / "data", "data")
    (inputs / "genes.tsv.gz").rename(folder / "genes.tsv.gz")
