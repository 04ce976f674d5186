"""Tiny files in the DeepChrome layout in which every count is of one gene, bin and mark."""

from __future__ import annotations

import tarfile
from pathlib import Path

SPLITS = {"train": (1, 2), "valid": (3,), "test": (4,)}
MARKS = ("H3K27me3", "H3K36me3", "H3K4me1", "H3K4me3", "H3K9me3")


def write_cell_type(
    root: Path,
    name: str,
    more: int = 0,
    *,
    splits: dict[str, tuple[int, ...]] = SPLITS,
    marks: tuple[str, ...] | None = None,
    n_bins: int = 2,
) -> None:
    """The count of gene g, bin b, mark m is `more` + 100 g + 10 b + m; odd genes are high."""
    folder = root / name / "classification"
    folder.mkdir(parents=True, exist_ok=True)
    for split, genes in splits.items():
        rows = [
            [f"{g:06d}", b, *(more + 100 * g + 10 * b + m for m in range(1, 6)), g % 2]
            for g in genes
            for b in range(1, n_bins + 1)
        ]
        header = [["gene", "bin", *marks, "label"]] if marks else []
        text = "".join(",".join(map(str, row)) + "\n" for row in header + rows)
        (folder / f"{split}.csv").write_text(text)


def archive_of(root: Path) -> Path:
    path = root.with_name("layout.tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(root, "data")
    return path


def tree(folder: Path) -> dict[str, bytes]:
    """Every file beneath a folder, hidden ones too, with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
