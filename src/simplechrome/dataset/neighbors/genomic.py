"""Neighbors on the chromosome, never neighbors in gene number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from simplechrome.dataset.neighbors.graph import (
    NeighborGraph,
    join_ranges,
    make_graph,
    rank_by,
    require_number,
)
from simplechrome.errors import ConfigError, MissingCoordinatesError

GENOMIC, CONTACT = "genomic", "contact"
EXPONENT = 1.0
"""How fast contact falls with distance d: as d to the power of minus this.

Lieberman-Aiden et al., Science 2009, found 1.08 between 0.5 and 7 Mb.
"""
CLOSE = 5_000
"""bp below which contact is not expected to rise further."""


def require_places(dataset: xr.Dataset) -> None:
    """Raise MissingCoordinatesError if the dataset does not hold the places of its genes."""
    if "tss" not in dataset.coords:
        raise MissingCoordinatesError(
            "The dataset has no places of genes (chrom, tss and strand).",
            "build it with --genes FILE, or from_arrays(…, genes=read_genes(FILE))",
        )


def genomic_neighbors(
    dataset: xr.Dataset, n: int | None = None, *, within: float | None = None
) -> NeighborGraph:
    """Return the genes nearest to each gene on its chromosome.

    Distance is between TSSs; of two at the same distance the one with the smaller coordinate
    comes first. Genes without a place have no neighbors, and are none.

    Parameters
    ----------
    dataset : with chrom, tss and strand
    n : neighbors per gene, on both sides together; all if None
    within : only those up to so many bp away

    Returns edges of the kind `genomic`, of weight 1.

    Raises MissingCoordinatesError if the dataset has no coordinates; ConfigError if neither `n` nor
    `within` is given, or one is negative.
    """
    require_places(dataset)
    if n is None and within is None:
        raise ConfigError(
            "Neither a number nor a distance of neighbors is given.",
            "pass the nearest n, all within some bp, or both",
        )
    require_number(n)
    require_number(within, "distance")
    parts = [
        _on_chromosome(members, dataset["tss"].values[members], n, within)
        for members in _chromosomes(dataset)
    ]
    gene, neighbor, rank = (
        np.concatenate([part[k] for part in parts]) if parts else np.empty(0, np.int64)
        for k in range(3)
    )
    return weighted_graph(dataset, gene, neighbor, np.ones(gene.size), GENOMIC, rank=rank)


def _chromosomes(dataset: xr.Dataset) -> list[np.ndarray]:
    """Return the rows of the genes of each chromosome, by TSS."""
    chrom, tss = dataset["chrom"].values.astype(str), dataset["tss"].values
    placed = np.flatnonzero((chrom != "") & (tss >= 0))
    order = placed[np.lexsort((tss[placed], chrom[placed]))]
    return [
        members
        for members in np.split(order, np.flatnonzero(chrom[order][1:] != chrom[order][:-1]) + 1)
        if members.size > 1
    ]


def _on_chromosome(
    members: np.ndarray, tss: np.ndarray, n: int | None, within: float | None
) -> tuple[np.ndarray, ...]:
    """Return gene, neighbor and rank of the edges of one chromosome.

    The n nearest lie among the n before and the n after, all within some distance between two
    places that a search finds.
    """
    count = members.size
    own = np.arange(count)
    low, high = np.zeros(count, np.int64), np.full(count, count)
    if n is not None:
        low, high = np.maximum(low, own - n), np.minimum(high, own + n + 1)
    if within is not None:
        low = np.maximum(low, np.searchsorted(tss, tss - within, "left"))
        high = np.minimum(high, np.searchsorted(tss, tss + within, "right"))
    size = high - low
    gene = np.repeat(own, size)
    neighbor = join_ranges(low, size)
    other = gene != neighbor
    gene, neighbor = gene[other], neighbor[other]
    rank = rank_by(gene, np.abs(tss[neighbor] - tss[gene]), neighbor)
    near = rank < n if n is not None else np.ones(rank.size, bool)
    return members[gene[near]], members[neighbor[near]], rank[near]


def expected_contact(distance: np.ndarray, exponent: float = EXPONENT) -> np.ndarray:
    """Return the expected contact at this distance, bp; 1 at `CLOSE` bp and nearer.

    A power law of polymers, which Hi-C shows over three orders of magnitude (Lieberman-Aiden et
    al., Science 2009); as a stand-in for measured contacts in the activity-by-contact model
    (Fulco et al., Nature Genetics 2019).
    """
    return np.asarray((np.maximum(np.abs(distance), CLOSE) / CLOSE) ** -exponent)


def power_law_neighbors(
    dataset: xr.Dataset,
    n: int | None = None,
    *,
    within: float | None = 1_000_000,
    exponent: float = EXPONENT,
) -> NeighborGraph:
    """Return nearby genes, weighted by the contact expected from distance alone.

    Returns the edges of `genomic_neighbors`, of the kind `contact`, weighted by `expected_contact`.

    Raises MissingCoordinatesError, ConfigError: see `genomic_neighbors`.
    """
    graph = genomic_neighbors(dataset, n, within=within)
    weight = expected_contact(graph.distance, exponent).astype(np.float32)
    return replace(graph, weight=weight, kinds=(CONTACT,))


def edge_places(
    dataset: xr.Dataset, gene: np.ndarray, neighbor: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the distance of each neighbor along the gene's transcription, and its orientation.

    Parameters
    ----------
    dataset : with or without places
    gene, neighbor : (edge,)
        Rows.

    Returns `distance` in bp from TSS to TSS, negative upstream, NaN on other chromosomes and where
    places are unknown; `orientation` 1 (same), -1 (opposite) or, there, 0. Strand `.` is read as
    plus.
    """
    if "tss" not in dataset.coords:
        unknown = np.full(len(gene), np.nan)
        return {"distance": unknown, "orientation": np.zeros(len(gene), np.int8)}
    _, chrom = np.unique(dataset["chrom"].values.astype(str), return_inverse=True)
    tss = dataset["tss"].values
    placed = (dataset["chrom"].values.astype(str) != "") & (tss >= 0)
    sign = np.where(dataset["strand"].values == "-", -1, 1)
    same = (chrom[gene] == chrom[neighbor]) & placed[gene] & placed[neighbor]
    distance = np.where(same, (tss[neighbor] - tss[gene]) * sign[gene], np.nan)
    orientation = np.where(same, sign[gene] * sign[neighbor], 0).astype(np.int8)
    return {"distance": distance, "orientation": orientation}


def weighted_graph(
    dataset: xr.Dataset,
    gene: np.ndarray,
    neighbor: np.ndarray,
    weight: np.ndarray,
    kind: str,
    *,
    rank: np.ndarray | None = None,
) -> NeighborGraph:
    """Return a graph of one kind, ranked by weight, and at equal weight by row."""
    if rank is None:
        rank = rank_by(np.asarray(gene), -np.asarray(weight), np.asarray(neighbor))
    return make_graph(
        dataset["gene_id"].values,
        gene,
        neighbor=neighbor,
        kind=np.zeros(len(gene), np.int8),
        **edge_places(dataset, gene, neighbor),
        weight=weight,
        rank=rank,
        kinds=(kind,),
    )


def symmetric_graph(
    dataset: xr.Dataset, one: np.ndarray, other: np.ndarray, weight: np.ndarray, kind: str
) -> NeighborGraph:
    """Return the graph of these pairs, both ways; of a repeated pair the largest weight counts."""
    ends = {"gene": np.concatenate([one, other]), "neighbor": np.concatenate([other, one])}
    table = pd.DataFrame(ends | {"weight": np.tile(weight, 2)})
    table = table.groupby(["gene", "neighbor"])["weight"].max().reset_index()
    gene, neighbor, weight = (table[name].to_numpy() for name in table)
    return weighted_graph(dataset, gene, neighbor, weight, kind)
