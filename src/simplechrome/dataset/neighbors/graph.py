"""Neighbor graphs: a sparse table of edges, its description, and controls."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from simplechrome.errors import ConfigError, InputFormatError, MissingCoordinatesError, did_you_mean


def require_number(value: float | None, what: str = "number") -> None:
    """Raise ConfigError if this is no number or distance of neighbors; None is no limit."""
    if value is not None and not value >= 0:
        raise ConfigError(f"The {what} of neighbors is {value}.", "pass 0 or more")


@dataclass(frozen=True, eq=False)
class NeighborGraph:
    """Edges between genes, of one or several kinds.

    Edges are sorted by gene, then kind, then rank.

    Attributes
    ----------
    gene_id : (gene,) str
        `neighbor` holds positions in it.
    offsets : (gene + 1,) int64
        The edges of gene i are those from `offsets[i]` up to `offsets[i + 1]`.
    neighbor : (edge,) int32
    kind : (edge,) int8, place in `kinds`
    distance : (edge,) float64
        bp from the gene's TSS to the neighbor's in the gene's own direction of transcription:
        negative is upstream. NaN on other chromosomes, and where places are unknown.
    orientation : (edge,) int8
        1 if both genes are transcribed in the same direction, -1 if in opposite ones; 0 where
        the distance is NaN.
    weight : (edge,) float32
        Contact, correlation, …; 1 where the kind has none.
    rank : (edge,) int32
        0 for the first neighbor of this kind.
    kinds : their names
    """

    gene_id: np.ndarray
    offsets: np.ndarray
    neighbor: np.ndarray
    kind: np.ndarray
    distance: np.ndarray
    orientation: np.ndarray
    weight: np.ndarray
    rank: np.ndarray
    kinds: tuple[str, ...]

    @property
    def n_edges(self) -> int:
        """Of all genes and kinds."""
        return int(self.neighbor.size)

    @property
    def degree(self) -> np.ndarray:
        """(gene,) number of neighbors."""
        return np.diff(self.offsets)

    @property
    def gene(self) -> np.ndarray:
        """(edge,) the row of the gene whose edge it is."""
        return np.repeat(np.arange(self.gene_id.size), self.degree)

    def keep(self, edges: np.ndarray) -> NeighborGraph:
        """Return the graph with some of its edges, (edge,) bool; ranks stay as they were."""
        counts = np.bincount(self.gene[edges], minlength=self.gene_id.size)
        return replace(
            self,
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            **{name: getattr(self, name)[edges] for name in _EDGE_ARRAYS},
        )

    def first(self, n: int) -> NeighborGraph:
        """Return the graph with at most the first `n` edges of each gene and kind."""
        require_number(n)
        group = self.gene * len(self.kinds) + self.kind
        return self.keep(rank_by(group, np.arange(self.n_edges)) < n)

    def of_kind(self, *names: str) -> NeighborGraph:
        """Return the edges of these kinds; ConfigError if there is no such kind."""
        for name in names:
            if name not in self.kinds:
                raise ConfigError(
                    f"There are no neighbors of the kind {name!r}, only "
                    f"{', '.join(self.kinds) or 'none'}.",
                    did_you_mean(name, self.kinds),
                )
        wanted = np.isin(self.kind, [self.kinds.index(name) for name in names])
        return self.keep(wanted)

    def apart(self, width: float) -> NeighborGraph:
        """Return the neighbors whose windows of `width` bp do not overlap the gene's."""
        return self.keep(~(np.abs(self.distance) < width))

    def between(self, low: float, high: float) -> NeighborGraph:
        """Return the neighbors at a distance of `low` <= bp < `high` on the same chromosome."""
        away = np.abs(self.distance)
        return self.keep((away >= low) & (away < high))

    def on(self, gene_id: Sequence[str] | np.ndarray) -> NeighborGraph:
        """Return the graph among other genes, or these in another order.

        Edges to genes that are not there are dropped; genes that the graph does not know have no
        neighbors.
        """
        wanted = np.asarray(gene_id, dtype=object)
        if wanted.shape == self.gene_id.shape and (wanted == self.gene_id).all():
            return self
        place = pd.Index(wanted).get_indexer(self.gene_id)
        gene, neighbor = place[self.gene], place[self.neighbor]
        known = (gene >= 0) & (neighbor >= 0)
        parts = {name: getattr(self, name)[known] for name in _EDGE_ARRAYS}
        return make_graph(
            wanted, gene[known], kinds=self.kinds, **parts | {"neighbor": neighbor[known]}
        )

    def checksum(self) -> str:
        """Return the SHA-256 of all that the graph holds."""
        digest = hashlib.sha256("\0".join([*map(str, self.gene_id), "", *self.kinds]).encode())
        for name in ("offsets", *_EDGE_ARRAYS):
            digest.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return digest.hexdigest()

    def to_frame(self) -> pd.DataFrame:
        """Return a row per edge, with gene_id, neighbor_id, kind, distance, weight, …"""
        return pd.DataFrame(
            {
                "gene_id": self.gene_id[self.gene],
                "neighbor_id": self.gene_id[self.neighbor],
                "kind": np.asarray(self.kinds, dtype=object)[self.kind]
                if self.kinds
                else np.empty(0, object),
                **{
                    name: getattr(self, name)
                    for name in ("distance", "orientation", "weight", "rank")
                },
            }
        )


_EDGE_ARRAYS = {
    **{"neighbor": np.int32, "kind": np.int8, "distance": np.float64, "orientation": np.int8},
    **{"weight": np.float32, "rank": np.int32},
}


def make_graph(
    gene_id: Sequence[str] | np.ndarray,
    gene: np.ndarray,
    *,
    kinds: Sequence[str],
    **edges: np.ndarray,
) -> NeighborGraph:
    """Return the graph of these edges, given in any order.

    Parameters
    ----------
    gene : (edge,)
        Row of the gene whose edge it is.
    edges : (edge,)
        neighbor, kind, distance, orientation, weight and rank, as in `NeighborGraph`.

    Raises InputFormatError if an edge leads to a gene that is not there, or to the gene itself.
    """
    ids = np.asarray(gene_id, dtype=object)
    gene, neighbor = np.asarray(gene, np.int64), np.asarray(edges["neighbor"], np.int64)
    for name, rows in (("gene", gene), ("neighbor", neighbor)):
        if rows.size and not (rows.min() >= 0 and rows.max() < ids.size):
            raise InputFormatError(
                f"Edges lead to a {name} that is not there: rows {rows.min()} to {rows.max()}, "
                f"expected 0 to {ids.size - 1}."
            )
    own = gene == neighbor
    if own.any():
        raise InputFormatError(
            f"A gene is its own neighbor in {int(own.sum())} edges, the first of "
            f"{ids[gene[own][0]]}."
        )
    order = np.lexsort((edges["rank"], edges["kind"], gene))
    counts = np.bincount(gene, minlength=ids.size)
    columns: dict[str, Any] = {
        name: np.asarray(edges[name])[order].astype(dtype) for name, dtype in _EDGE_ARRAYS.items()
    }
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return NeighborGraph(ids, offsets, kinds=tuple(kinds), **columns)


def union(*graphs: NeighborGraph) -> NeighborGraph:
    """Return the edges of all these graphs; the order of genes is that of the first.

    Raises ConfigError if no graph is given, or two of them hold the same kind.
    """
    if not graphs:
        raise ConfigError("A union needs one graph or more.")
    first = graphs[0]
    aligned = [graph.on(first.gene_id) for graph in graphs]
    kinds = [name for graph in aligned for name in graph.kinds]
    if len(set(kinds)) < len(kinds):
        raise ConfigError(
            f"Two graphs hold neighbors of the same kind: {', '.join(kinds)}.",
            "pass each kind once",
        )
    shift = np.cumsum([0, *(len(graph.kinds) for graph in aligned)])
    parts = {
        name: np.concatenate([getattr(graph, name) for graph in aligned]) for name in _EDGE_ARRAYS
    }
    parts["kind"] = np.concatenate(
        [graph.kind + start for graph, start in zip(aligned, shift, strict=False)]
    )
    gene = np.concatenate([graph.gene for graph in aligned])
    return make_graph(first.gene_id, gene, kinds=kinds, **parts)


def rank_by(gene: np.ndarray, *keys: np.ndarray) -> np.ndarray:
    """Return (edge,) the rank of each edge among those of its gene, smallest keys first."""
    order = np.lexsort((*reversed(keys), gene))
    starts = np.flatnonzero(np.diff(gene[order], prepend=-1))
    rank = np.empty(gene.size, np.int64)
    rank[order] = join_ranges(np.zeros_like(starts), np.diff(starts, append=gene.size))
    return rank


def join_ranges(start: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the numbers of all these ranges, one after the other."""
    return np.arange(size.sum()) + np.repeat(start - np.cumsum(size) + size, size)


BANDS = (("0–10 kb", 0, 10_000), ("10–50 kb", 10_000, 50_000), ("50–200 kb", 50_000, 200_000))
"""Of distance, bp: name, from, up to."""
BEYOND = "200 kb and more"
"""What lies beyond the last band."""


def describe_graph(graph: NeighborGraph) -> dict[str, dict[str, Any]]:
    """Return the numbers, distances and chromosomes of neighbors.

    By kind: edges, genes_with_neighbors, most_neighbors, share_on_same_chromosome (of
    edges; of genomic neighbors it must be 1, and was .37 where neighbors were taken by gene
    number), median_distance (bp, of these; None without any), bands (name → share of these edges).
    """
    described = {}
    for name in graph.kinds:
        own = graph.of_kind(name)
        away = np.abs(own.distance[np.isfinite(own.distance)])
        counts = {band: ((away >= low) & (away < high)).sum() for band, low, high in BANDS}
        counts[BEYOND] = (away >= BANDS[-1][2]).sum()
        described[name] = {
            "edges": own.n_edges,
            "genes_with_neighbors": int((own.degree > 0).sum()),
            "most_neighbors": int(own.degree.max(initial=0)),
            "share_on_same_chromosome": away.size / own.n_edges if own.n_edges else None,
            "median_distance": float(np.median(away)) if away.size else None,
            "bands": {band: int(n) / away.size for band, n in counts.items() if away.size},
        }
    return described


def format_graph(graph: NeighborGraph) -> str:
    """Return the description as lines for a terminal."""
    lines = []
    for name, numbers in describe_graph(graph).items():
        lines.append(
            f"{name}: {numbers['edges']:,} edges, "
            f"{numbers['genes_with_neighbors']:,} of {graph.gene_id.size:,} genes have neighbors, "
            f"{numbers['most_neighbors']} at most"
        )
        if numbers["median_distance"] is None:
            continue
        bands = ", ".join(f"{share:.0%} {band}" for band, share in numbers["bands"].items())
        lines.append(
            f"  {numbers['share_on_same_chromosome']:.1%} on the same chromosome, their median "
            f"distance {numbers['median_distance']:,.0f} bp ({bands})"
        )
    return "\n".join(lines)


def shuffled_neighbors(graph: NeighborGraph, seed: int = 0) -> NeighborGraph:
    """Return the graph with permuted neighbors, a control that must not help.

    Every gene keeps its number of edges with their kinds, distances, weights and ranks, and every
    neighbor is replaced by another gene, always the same for the same one: genes that shared
    neighbors still share them.
    """
    genes = graph.gene_id.size
    permuted = np.random.default_rng([seed, 2]).permutation(genes)
    neighbor = permuted[graph.neighbor]
    own = graph.gene
    # No gene may become its own neighbor: its own replacement is taken, or else the next gene.
    for other in (permuted[own], (own + 1) % max(genes, 1)):
        neighbor = np.where(neighbor == own, other, neighbor)
    return replace(graph, neighbor=neighbor.astype(np.int32))


def neighbors_elsewhere(graph: NeighborGraph, chrom: np.ndarray, seed: int = 0) -> NeighborGraph:
    """Return the graph with each gene's neighbors from another chromosome, as a control.

    A gene gets all neighbors of one other gene, with their distances and weights: a real
    neighborhood, and the wrong one.

    Parameters
    ----------
    chrom : (gene,)
        Of the graph's genes; those without a chromosome keep what they have.
    seed : of the draw

    Raises MissingCoordinatesError if all genes lie on one chromosome.
    """
    names, place = np.unique(chrom.astype(str), return_inverse=True)
    known = chrom.astype(str) != ""
    if (names != "").sum() < 2:
        raise MissingCoordinatesError(
            "The control needs genes on two chromosomes or more; found "
            f"{', '.join(names[names != '']) or 'none'}."
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
    edge = join_ranges(graph.offsets[donor], size)
    own = graph.neighbor[edge] == gene  # a gene may be the neighbor of its donor
    gene, edge = gene[~own], edge[~own]
    parts = {name: getattr(graph, name)[edge] for name in _EDGE_ARRAYS}
    return make_graph(graph.gene_id, gene, kinds=graph.kinds, **parts)
