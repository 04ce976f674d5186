"""A dataset whose every number tells where it belongs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from small_layouts import write_cell_type

from simplechrome.dataset.building.arrays import from_arrays

MakeDataset = Callable[..., xr.Dataset]
MakePlaced = Callable[..., xr.Dataset]


@pytest.fixture(scope="session")
def make_dataset() -> MakeDataset:
    """Two cell types, four genes, four bins, two marks; any argument of `from_arrays` instead.

    The count of cell type c, gene g, bin b, mark m is 1000 c + 100 g + 10 b + m, from 0 each.
    """

    def make(signal: Any = None, **changed: Any) -> xr.Dataset:
        if signal is None:
            c, g, b, m = np.indices((2, 4, 4, 2))
            signal = (1000 * c + 100 * g + 10 * b + m).astype(np.uint16)
        cell_types, genes, _, marks = signal.shape
        arguments = {
            "cell_types": ["A", "B", "C"][:cell_types],
            "gene_ids": [f"g{k}" for k in range(1, genes + 1)],
            "marks": ["H3K4me3", "H3K27me3"][:marks],
        }
        return from_arrays(signal, **arguments | changed)

    return make


@pytest.fixture(scope="session")
def place() -> MakePlaced:
    """Genes (id, chromosome, TSS, strand) in one cell type; the count of each is its position."""

    def make(*genes: tuple[str, str, int, str], **changed: Any) -> xr.Dataset:
        table = pd.DataFrame(list(genes), columns=["gene_id", "chrom", "tss", "strand"])
        signal = np.broadcast_to(np.arange(len(genes))[None, :, None, None], (1, len(genes), 2, 1))
        arguments = {
            "cell_types": ["A"],
            "gene_ids": table["gene_id"],
            "marks": ["m"],
            "genes": table,
            "label": np.arange(len(genes))[None] % 2,
        }
        return from_arrays(signal.astype(np.uint16), **arguments | changed)

    return make


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """E001, E002 and E003, alike but for their counts."""
    for number in (1, 2, 3):
        write_cell_type(tmp_path / "layout", f"E00{number}", 1000 * number)
    return tmp_path / "layout"


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Path]:
    """Places and expression; of gene 5, and of E004, neither knows anything."""
    ids = [f"ENSG{k:011d}" for k in (4, 3, 2, 1)]
    genes, expression = tmp_path / "genes.tsv", tmp_path / "rpkm.tsv"
    places = [f"{name}\tN{k}\tchr{k % 2 + 1}\t{k * 100}\t+" for k, name in enumerate(ids)]
    genes.write_text("\n".join(["gene_id\tsymbol\tchrom\ttss\tstrand", *places]) + "\n")
    levels = [f"{name}\t{k}.5\t{k}\t{9 - k}" for k, name in enumerate(ids)]
    expression.write_text("\n".join(["gene_id\tE001\tE002\tE003", *levels]) + "\n")
    return {"genes": genes, "expression": expression}
