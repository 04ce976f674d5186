"""A simulation as files in the layout of the published archive."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from simplechrome.errors import OutputError, OutputExistsError
from simplechrome.simulation.chromatin import MARKS
from simplechrome.sources.deepchrome_files import SPLITS

if TYPE_CHECKING:
    from simplechrome.simulation.simulate import Simulation


def write_deepchrome_layout(simulation: Simulation, folder: str | os.PathLike[str]) -> None:
    """How would these data look if they had come from the published archive?

    Writes into `folder`, which must be new or empty:

    - ``data/<cell_type>/classification/{train,valid,test}.csv`` for cell types with all five
      marks: last six digits of the gene id, bin from 1, counts in the published order of the
      marks, label (1: expression above the median of the cell type); no header;
    - ``counts/<cell_type>.npz`` for the others: counts (gene, bin, mark), marks, gene_id;
    - ``genes.tsv.gz``: gene_id, symbol, chrom, tss (0-based), strand, deepchrome_split;
    - ``expression.tsv.gz``: RPKM, a row per gene, a column per cell type;
    - ``README.txt``, which says that all of it is simulated.

    The folder appears once it is complete.

    Raises
    ------
    OutputExistsError
        If the folder exists and is not empty.
    OutputError
        If it cannot be written.
    """
    target = Path(folder)
    if target.is_dir() and any(target.iterdir()):
        raise OutputExistsError(
            f"{target} is not empty, and simulated data must not mix with other files.",
            found=", ".join(sorted(path.name for path in target.iterdir())[:5]),
            expected="a new or empty folder",
            remedy="name another folder, or remove this one",
        )
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        for k, cell_type in enumerate(simulation.cell_types):
            _write_cell_type(simulation, k, partial / "data" / cell_type, partial / "counts")
        _write_tables(simulation, partial)
        (partial / "README.txt").write_text(_readme(simulation), encoding="utf-8")
        partial.replace(target)
    except OSError as error:
        raise OutputError(
            f"The simulated data cannot be written to {target}.",
            found=str(error),
            expected="a folder that can be made, or an empty one",
            remedy="name another folder, or make room",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_cell_type(simulation: Simulation, k: int, folder: Path, counts: Path) -> None:
    present = dict(zip(simulation.marks, simulation.mark_present[k], strict=True))
    gene_id = simulation.genes["gene_id"].to_numpy()
    if not all(present.get(mark, False) for mark in MARKS):
        kept = [m for m, mark in enumerate(simulation.marks) if present[mark]]
        counts.mkdir(exist_ok=True)
        np.savez_compressed(
            counts / f"{simulation.cell_types[k]}.npz",
            counts=simulation.signal[k][..., kept],
            marks=np.array([simulation.marks[m] for m in kept]),
            gene_id=gene_id.astype(str),
        )
        return
    expression = simulation.expression[k]
    label = (expression > np.median(expression)).astype(np.int8)
    classification = folder / "classification"
    classification.mkdir(parents=True)
    n_bins = simulation.signal.shape[2]
    columns = [simulation.marks.index(mark) for mark in MARKS]
    split = simulation.genes["published_split"].to_numpy()
    for name in SPLITS:
        chosen = np.flatnonzero(split == name)
        rows = simulation.signal[k, chosen][..., columns].reshape(-1, len(MARKS))
        digits = pa.array([identifier[-6:] for identifier in gene_id[chosen]])
        table = pa.table(
            {
                "gene": digits.take(pa.array(np.repeat(np.arange(chosen.size), n_bins))),
                "bin": np.tile(np.arange(1, n_bins + 1, dtype=np.int32), chosen.size),
                **{mark: np.ascontiguousarray(rows[:, m]) for m, mark in enumerate(MARKS)},
                "label": np.repeat(label[chosen], n_bins),
            }
        )
        pa_csv.write_csv(
            table,
            classification / f"{name}.csv",
            pa_csv.WriteOptions(include_header=False, quoting_style="none"),
        )


def _write_tables(simulation: Simulation, folder: Path) -> None:
    genes = simulation.genes.rename(
        columns={"gene_name": "symbol", "published_split": "deepchrome_split"}
    )
    expression = pd.DataFrame(simulation.expression.T, columns=list(simulation.cell_types))
    expression.insert(0, "gene_id", simulation.genes["gene_id"])
    for table, name in ((genes, "genes"), (expression, "expression")):
        table.to_csv(
            folder / f"{name}.tsv.gz",
            sep="\t",
            index=False,
            compression={"method": "gzip", "mtime": 0},  # same data, same bytes
        )


def _readme(simulation: Simulation) -> str:
    truth = simulation.truth
    near, far = truth.neighbor_band
    return f"""SIMULATED DATA. Nothing in this folder was measured in any cell.

Made by simplechrome.simulation.simulate; the model is described in
docs/explanation/simulation.md of SimpleChrome.

  cell types       {", ".join(simulation.cell_types)}
  genes            {len(simulation.genes):,} (their ids are running numbers, no real genes)
  marks            {", ".join(simulation.marks)}
  window           {simulation.signal.shape[2]} bins of {simulation.bin_size} bp
  seed             {truth.seed}
  signal effect    {truth.signal_effect:g} (1: expression follows the gene's window; 0: not at all)
  neighbor effect  {truth.neighbor_effect:g} of the variance of log expression, from genes
                   {near:,} to {far:,} bp away
"""
