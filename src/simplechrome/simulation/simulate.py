"""Simulated windows and expression with planted, documented effects.

The model, with its equations and the figures that it was calibrated to, is written in
docs/explanation/simulation.md. Nothing here was measured in any cell: cell types are named
SIM001, SIM002, …, genes SIM1, SIM2, …
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from simplechrome.errors import ConfigError, OutputError, OutputExistsError, first_names
from simplechrome.simulation.genome import FACTORS, Genome, Part, draw_factors, place_genes, stream
from simplechrome.simulation.model import (
    LARGEST_NEIGHBOR_EFFECT,
    MARKS,
    PER_BASES,
    REACH,
    Expression,
    Strip,
    count_reads,
    express,
    lay_marks,
    lay_strip,
    planted_weights,
)
from simplechrome.sources.deepchrome_files import SPLITS


def mark_present(
    missing: float | Mapping[str, Sequence[str]],
    marks: tuple[str, ...],
    cell_types: tuple[str, ...],
    seed: int,
) -> NDArray[np.bool_]:
    """Return which tracks exist, (cell_type, mark).

    Raises ConfigError if marks or cell types are unknown, or a cell type is left without a mark.
    """
    if not marks or not set(marks) <= set(MARKS) or len(set(marks)) < len(marks):
        raise ConfigError(
            f"marks are {', '.join(map(str, marks)) or 'empty'}.",
            f"name one or more of {', '.join(MARKS)}, each once",
        )
    present = np.ones((len(cell_types), len(marks)), dtype=bool)
    if isinstance(missing, Mapping):
        for name, absent in missing.items():
            names = (absent,) if isinstance(absent, str) else absent
            for held, wanted in ((cell_types, [name]), (marks, names)):
                if unknown := [each for each in wanted if each not in held]:
                    raise ConfigError(
                        f"missing_marks names {unknown[0]!r}, which is not simulated.",
                        f"name one of {held[0]} to {held[-1]}, or simulate more",
                    )
            present[cell_types.index(name), [marks.index(mark) for mark in names]] = False
        bare = [name for name, row in zip(cell_types, present, strict=True) if not row.any()]
        if bare:
            raise ConfigError(f"missing_marks leaves no mark in {first_names(bare)}.")
        return present
    if not 0 <= missing < 1:
        raise ConfigError(
            f"missing_marks is {missing}.",
            "pass a fraction of tracks, 0 or more and below 1, or marks per cell type",
        )
    for k in range(len(cell_types)):
        drawn = stream(seed, Part.MISSING, k).random(len(MARKS))
        chance = drawn[[MARKS.index(mark) for mark in marks]]
        present[k] = (chance >= missing) | (chance == chance.max())
    return present


def check_numbers(n_genes: int, n_cell_types: int, seed: int, n_bins: int, bin_size: int) -> None:
    """Raise ConfigError if these are no whole numbers that can be simulated."""
    limits = {
        "n_genes": (n_genes, 2, 999_999),  # ids in the published layout have six digits
        "n_cell_types": (n_cell_types, 1, 999),
        "seed": (seed, 0, 2**64),
        "n_bins": (n_bins, 2, 100_000),
        "bin_size": (bin_size, 1, 2_000),
    }
    for name, (value, smallest, largest) in limits.items():
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or not smallest <= value <= largest:
            raise ConfigError(
                f"{name} is {value}.", f"pass a whole number from {smallest} to {largest:,}"
            )


def check_effects(signal: float, neighbor: float, band: tuple[int, int]) -> None:
    """Raise ConfigError if effects of this size cannot be planted."""
    for name, value, largest in (
        ("signal_effect", signal, 1.0),
        ("neighbor_effect", neighbor, LARGEST_NEIGHBOR_EFFECT),
    ):
        if not 0 <= value <= largest:
            raise ConfigError(f"{name} is {value}.", f"pass a number from 0 to {largest:g}")
    if len(band) != 2 or not 0 < band[0] < band[1]:
        raise ConfigError(
            f"neighbor_band is {band}.", "pass two distances in bp, the smaller first, above 0"
        )


REFERENCE_DEPTH = 15_000_000
"""Reads in the library of the reference track."""
DEPTH_DEVIATION = 0.35
OTHER_ENRICHMENT, ENRICHMENT_DEVIATION = 0.6, 0.4
"""The first cell type is the reference; the others are noisier on the whole, as E012 is clean."""

ID_TREND = 0.3
"""Active genes have lower numbers, so that the published split is out of balance, as it is."""


class SimulationTruth(NamedTuple):
    """What was planted, for tests and benchmarks to recover.

    Contributions are in log2 RPKM (of an expressed gene: silent ones are bent further down).
    """

    weights: NDArray[np.float32]  # (bin, mark)
    factors: NDArray[np.float32]  # (cell_type, gene, factor)
    factor_names: tuple[str, ...]
    own_contribution: NDArray[np.float32]  # (cell_type, gene)
    neighbor_contribution: NDArray[np.float32]  # (cell_type, gene)
    n_neighbors: NDArray[np.int64]  # (gene,), genes within the band
    signal_effect: float
    neighbor_effect: float
    neighbor_band: tuple[int, int]
    seed: int


class Simulation(NamedTuple):
    """Simulated data in plain arrays; genes in the order of their ids."""

    signal: NDArray[np.uint16]  # (cell_type, gene, bin, mark), reads
    mark_present: NDArray[np.bool_]  # (cell_type, mark)
    marks: tuple[str, ...]
    cell_types: tuple[str, ...]
    genes: pd.DataFrame  # gene_id, gene_name, chrom, tss (0-based), strand, published_split
    expression: NDArray[np.float32]  # (cell_type, gene), RPKM
    depth: NDArray[np.float32]  # (cell_type, mark), reads in the library; NaN if missing
    bin_size: int
    truth: SimulationTruth


def simulate(
    n_genes: int = 4000,
    n_cell_types: int = 1,
    *,
    seed: int = 0,
    n_bins: int = 100,
    bin_size: int = 100,
    marks: Sequence[str] = MARKS,
    missing_marks: float | Mapping[str, Sequence[str]] = 0.0,
    signal_effect: float = 1.0,
    neighbor_effect: float = 0.005,
    neighbor_band: tuple[int, int] = (10_000, 200_000),
) -> Simulation:
    """Simulate windows and expression with planted effects.

    Ten factors per gene and cell type (activity, Polycomb, …; correlated along the genome and
    between cell types) shape the expected reads of five marks around the start; counts scatter
    around these with over-dispersion; log expression is a weighted sum of the log intensity in
    certain bins, plus a contribution of the neighbors' chromatin, plus noise. Calibrated to
    figures of the Roadmap cell type E012; none of its data is in here. An option changes what
    it names and leaves all other random numbers alone.

    Parameters
    ----------
    n_genes : number of genes; 18,421 are as many as in E012
    n_cell_types
        The first has the reference depth and enrichment, the others scatter around lower ones.
    seed : same seed and options, same data
    n_bins, bin_size : the window: `n_bins // 2` bins of `bin_size` bp upstream of the start, the
        others downstream.
    marks : which of the five core marks are assayed, in the order of the result. The others still
        act on expression.
    missing_marks : which tracks do not exist: marks per cell type, as ``{"SIM002": ["H3K4me1"]}``,
        or the fraction of tracks that are missing at random; every cell type keeps one.
    signal_effect : how firmly expression is tied to the gene's own window, 0 to 1. At 0, the window
        is independent of expression, which keeps its distribution.
    neighbor_effect : fraction of the variance of log expression, 0 to 0.2, that comes from the mean
        level of the neighbors' chromatin; it takes the place of noise. At 0 there is no such
        effect, though neighbors' expression still correlates, since their chromatin does.
    neighbor_band : distance between starts, bp, from which and up to which genes act as neighbors

    Raises ConfigError if an option is invalid.

    See docs/explanation/simulation.md for the model and the calibration.
    """
    check_numbers(n_genes, n_cell_types, seed, n_bins, bin_size)
    check_effects(signal_effect, neighbor_effect, neighbor_band)
    marks = tuple(marks)
    cell_types = tuple(f"SIM{k + 1:03d}" for k in range(n_cell_types))
    present = mark_present(missing_marks, marks, cell_types, seed)

    genome = place_genes(n_genes, bin_size, seed)
    upstream = n_bins // 2
    reach = max(n_bins - upstream + 1, -(-REACH // bin_size))
    strip = lay_strip(genome, reach, bin_size)
    window = slice(reach - upstream, reach - upstream + n_bins)
    genes, order = _gene_table(genome, seed)

    signal = np.zeros((n_cell_types, n_genes, n_bins, len(marks)), dtype=np.uint16)
    depth = np.full((n_cell_types, len(marks)), np.nan, dtype=np.float32)
    factors = np.empty((n_cell_types, n_genes, len(FACTORS)), dtype=np.float32)
    expressions: list[Expression] = []
    for k in range(n_cell_types):
        drawn = draw_factors(genome, k, seed)
        factors[k] = drawn[order]
        level = np.zeros(n_genes)
        for landscape in lay_marks(genome, strip, drawn, k, seed):
            level += _weighted_sum(landscape.intensity(1.0), strip, landscape.mark)
            if landscape.mark not in marks:
                continue
            m = marks.index(landscape.mark)
            if present[k, m]:
                depth_factor, enrichment = _track(landscape.mark, k, seed)
                expected = landscape.intensity(enrichment) * depth_factor
                signal[k, ..., m] = _read_windows(
                    expected, landscape.mark, strip, window, order, k, seed
                )
                depth[k, m] = round(REFERENCE_DEPTH * depth_factor)
        expressions.append(
            express(
                genome,
                level,
                k,
                seed,
                signal_effect=signal_effect,
                neighbor_effect=neighbor_effect,
                neighbor_band=neighbor_band,
            )
        )
    rpkm, own, neighbor = (
        np.stack([getattr(expression, name)[order] for expression in expressions])
        for name in ("rpkm", "own", "neighbor")
    )
    truth = SimulationTruth(
        planted_weights(strip.offset[window], bin_size, marks).astype(np.float32),
        factors,
        tuple(factor.name for factor in FACTORS),
        own.astype(np.float32),
        neighbor.astype(np.float32),
        expressions[0].n_neighbors[order],
        float(signal_effect),
        float(neighbor_effect),
        (int(neighbor_band[0]), int(neighbor_band[1])),
        seed,
    )
    return Simulation(signal, present, marks, cell_types, genes, rpkm, depth, bin_size, truth)


def _weighted_sum(intensity: NDArray[np.float32], strip: Strip, mark: str) -> NDArray[np.float64]:
    weight = planted_weights(strip.offset, strip.bin_size, (mark,))[:, 0]
    used = np.flatnonzero(weight)
    result: NDArray[np.float64] = np.log1p(intensity)[strip.bins[:, used]] @ weight[used]
    return result


def _track(mark: str, cell_type: int, seed: int) -> tuple[float, float]:
    """Return the depth and enrichment of a track, as factors of the reference."""
    if cell_type == 0:
        return 1.0, 1.0
    rng = stream(seed, Part.TRACK, cell_type, MARKS.index(mark))
    depth, enrichment = np.exp(
        rng.standard_normal(2) * (DEPTH_DEVIATION, ENRICHMENT_DEVIATION)
    ).tolist()
    return depth, OTHER_ENRICHMENT * enrichment


def _read_windows(
    expected: NDArray[np.float32],
    mark: str,
    strip: Strip,
    window: slice,
    order: NDArray[np.int64],
    cell_type: int,
    seed: int,
) -> NDArray[np.uint16]:
    """Return the counts of the windows, (gene, bin); overlapping windows share them."""
    # One bin more on both sides, for the reads that reach in.
    covered = np.zeros(strip.piece.size, dtype=bool)
    covered[strip.bins[:, window.start - 1 : window.stop + 1].ravel()] = True
    reads = np.zeros(covered.size, dtype=np.uint16)
    reads[covered] = count_reads(
        expected[covered] * np.float32(strip.bin_size / PER_BASES),
        mark,
        strip.bin_size,
        stream(seed, Part.COUNTS, cell_type, MARKS.index(mark)),
    )
    return reads[strip.bins[order, window]]


def _gene_table(genome: Genome, seed: int) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return the table of genes, and the order in the genome of its rows."""
    names = [factor.name for factor in FACTORS]
    factors = draw_factors(genome, 0, seed)
    activity = factors[:, names.index("activity")] - 0.5 * factors[:, names.index("island")]
    n_genes = genome.tss.size
    order = np.argsort(stream(seed, Part.IDS).standard_normal(n_genes) - ID_TREND * activity)
    third = np.minimum(np.arange(n_genes) * 3 // n_genes, 2)
    table = pd.DataFrame(
        {
            "gene_id": [f"ENSG{number:011d}" for number in range(1, n_genes + 1)],
            "gene_name": [f"SIM{number}" for number in range(1, n_genes + 1)],
            "chrom": genome.chrom[order].astype(object),
            "tss": genome.tss[order],
            "strand": np.where(genome.direction[order] > 0, "+", "-").astype(object),
            "published_split": np.array(SPLITS, dtype=object)[third],
        }
    )
    return table, order


def write_deepchrome_layout(simulation: Simulation, folder: str | os.PathLike[str]) -> None:
    """Write simulated data in the layout of the published archive.

    Writes into `folder`, which must be new or empty:

    - ``data/<cell_type>/classification/{train,valid,test}.csv`` for cell types with all five
      marks: last six digits of the gene id, bin from 1, counts in the published order of the
      marks, label (1: expression above the median of the cell type); no header;
    - ``counts/<cell_type>.npz`` for the others: counts (gene, bin, mark), marks, gene_id;
    - ``genes.tsv.gz``: gene_id, symbol, chrom, tss (0-based), strand, deepchrome_split;
    - ``expression.tsv.gz``: RPKM, a row per gene, a column per cell type;
    - ``README.txt``, which says that all of it is simulated.

    The folder appears once it is complete.

    Raises OutputExistsError if the folder exists and is not empty; OutputError if it cannot be
    written.
    """
    target = Path(folder)
    if target.is_dir() and any(target.iterdir()):
        raise OutputExistsError(
            f"{target} is not empty, and simulated data must not mix with other files: "
            f"{first_names(sorted(path.name for path in target.iterdir()))}.",
            "name another folder, or remove this one",
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
            f"The simulated data cannot be written to {target}: {error}.",
            "name another folder, or free space",
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
