"""Tiny files in the DeepChrome layout, for the tests of its reader.

Genes have three bins. The count of gene 3, bin 2, mark m (1 to 5) is 321 + 1000 m: each value
shows where it should be found. Genes with odd numbers are high.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from simplechrome.errors import SimpleChromeError
from simplechrome.sources.deepchrome import CellTypeCounts, read_deepchrome

MARKS = ("H3K27me3", "H3K36me3", "H3K4me1", "H3K4me3", "H3K9me3")
GENES = {"train": (1, 2), "valid": (3,), "test": (4,)}


def value(gene: int, bin_number: int, mark: int) -> int:
    return 1000 * mark + 100 * gene + 10 * bin_number + 1


def rows(genes: Iterable[int], n_bins: int = 3) -> list[list[str]]:
    return [
        [f"{gene:06d}", str(number)]
        + [str(value(gene, number, mark)) for mark in range(1, 6)]
        + [str(gene % 2)]
        for gene in genes
        for number in range(1, n_bins + 1)
    ]


def text(table: list[list[str]]) -> str:
    return "".join(",".join(row) + "\n" for row in table)


def layout(**changed: str | None) -> dict[str, str]:
    """The three files of a cell type, some replaced or (None) absent."""
    files: dict[str, str | None] = {split: text(rows(genes)) for split, genes in GENES.items()}
    return {split: content for split, content in (files | changed).items() if content is not None}


def write_folder(root: Path, cell_types: dict[str, dict[str, str]]) -> Path:
    for cell_type, files in cell_types.items():
        folder = root / cell_type / "classification"
        folder.mkdir(parents=True, exist_ok=True)
        for split, content in files.items():
            (folder / f"{split}.csv").write_bytes(content.encode())
    return root


def write_archive(path: Path, members: Iterable[tuple[str, str]]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content.encode())
            archive.addfile(member, io.BytesIO(content.encode()))
    return path


def members(cell_types: dict[str, dict[str, str]], prefix: str = "data/") -> list[tuple[str, str]]:
    return [
        (f"{prefix}{cell_type}/classification/{split}.csv", content)
        for cell_type, files in cell_types.items()
        for split, content in sorted(files.items())
    ]


def read_one(path: Path) -> CellTypeCounts:
    (counts,) = read_deepchrome(path)
    return counts


def refusal(root: Path, **changed: str | None) -> str:
    """The message with which a cell type is refused after a change to its files."""
    try:
        read_one(write_folder(root, {"E001": layout(**changed)}))
    except SimpleChromeError as error:
        return str(error)
    raise AssertionError("nothing was refused")
