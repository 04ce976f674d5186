"""Neighbors that must not help: what a model gains from them is no effect of neighbors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simplechrome.dataset.neighbors.graph import NeighborGraph, make_graph
from simplechrome.errors import MissingCoordinatesError


def shuffled_neighbors(graph: NeighborGraph, seed: int = 0) -> NeighborGraph:
    """Which neighbors have genes when names are dealt out anew?

    Every gene keeps its number of edges with their kinds, distances, weights and ranks, and every
    neighbor is replaced by another gene, always the same for the same one: genes that shared
    neighbors share them still.
    """
    genes = graph.gene_id.size
    deal = np.random.default_rng([seed, 2]).permutation(genes)
    neighbor = deal[graph.neighbor]
    own = graph.gene
    # Nobody may become its own neighbor: its own stand-in takes the place, or else the next gene.
    for stand_in in (deal[own], (own + 1) % max(genes, 1)):
        neighbor = np.where(neighbor == own, stand_in, neighbor)
    return replace(graph, neighbor=neighbor.astype(np.int32))


def neighbors_elsewhere(graph: NeighborGraph, chrom: np.ndarray, seed: int = 0) -> NeighborGraph:
    """Which neighbors have genes that take those of a gene on another chromosome?

    A gene gets all neighbors of one other gene as they are, with their distances and weights: a
    real neighborhood, and the wrong one.

    Parameters
    ----------
    graph
        Any.
    chrom : (gene,)
        Of the graph's genes; those without a chromosome keep what they have.
    seed
        Of the draw.

    Raises
    ------
    MissingCoordinatesError
        If all genes lie on one chromosome.
    """
    names, place = np.unique(chrom.astype(str), return_inverse=True)
    known = chrom.astype(str) != ""
    if (names != "").sum() < 2:
        raise MissingCoordinatesError(
            "No gene lies on another chromosome.",
            found=", ".join(names[names != ""]) or "no chromosome",
            expected="genes on two chromosomes or more",
        )
    random = np.random.default_rng([seed, 3])
    donors = np.flatnonzero(known)
    donor = np.arange(chrom.size)
    wrong = known.copy()
    while wrong.any():
        donor[wrong] = random.choice(donors, int(wrong.sum()))
        wrong = known & (place[donor] == place)
    size = graph.degree[donor]
    gene = np.repeat(np.arange(chrom.size), size)
    edge = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    edge += graph.offsets[donor][gene]
    own = graph.neighbor[edge] == gene  # a gene may be the neighbor of its donor
    gene, edge = gene[~own], edge[~own]
    return make_graph(
        graph.gene_id,
        gene,
        neighbor=graph.neighbor[edge],
        kind=graph.kind[edge],
        distance=graph.distance[edge],
        orientation=graph.orientation[edge],
        weight=graph.weight[edge],
        rank=graph.rank[edge],
        kinds=graph.kinds,
    )
