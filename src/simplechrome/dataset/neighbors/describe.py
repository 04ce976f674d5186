"""What is in a neighbor graph, and can it be what its name says?"""

from __future__ import annotations

from typing import Any

import numpy as np

from simplechrome.dataset.neighbors.graph import NeighborGraph

BANDS = (("0–10 kb", 0, 10_000), ("10–50 kb", 10_000, 50_000), ("50–200 kb", 50_000, 200_000))
"""Of distance, bp: name, from, up to."""
BEYOND = "200 kb and more"
"""What lies beyond the last band."""


def describe_graph(graph: NeighborGraph) -> dict[str, dict[str, Any]]:
    """Who are these neighbors, in numbers?

    Returns
    -------
    By kind: edges, genes_with_neighbors, most_neighbors, share_on_same_chromosome (of edges; of
    genomic neighbors it must be 1, and was .37 where neighbors were taken by gene number),
    median_distance (bp, of these; None without any), bands (name → share of these edges).
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
    """The same as lines for a terminal."""
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
