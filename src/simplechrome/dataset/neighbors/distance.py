"""How far apart are two genes, and which way do they face, seen from one of them?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr


class Places(NamedTuple):
    """(edge,) each, as in `NeighborGraph`."""

    distance: np.ndarray
    orientation: np.ndarray


def edge_places(dataset: xr.Dataset, gene: np.ndarray, neighbor: np.ndarray) -> Places:
    """How far is each neighbor in the direction of the gene's own transcription, facing where?

    Parameters
    ----------
    dataset
        With or without places.
    gene, neighbor : (edge,)
        Rows.

    Returns
    -------
    Distances in bp from TSS to TSS, negative upstream, NaN on other chromosomes and where places
    are unknown; orientation 1 (same), -1 (opposite) or, there, 0. Strand `.` is read as plus.
    """
    if "tss" not in dataset.coords:
        return Places(np.full(len(gene), np.nan), np.zeros(len(gene), np.int8))
    _, chrom = np.unique(dataset["chrom"].values.astype(str), return_inverse=True)
    tss = dataset["tss"].values
    placed = (dataset["chrom"].values.astype(str) != "") & (tss >= 0)
    sign = np.where(dataset["strand"].values == "-", -1, 1)
    same = (chrom[gene] == chrom[neighbor]) & placed[gene] & placed[neighbor]
    distance = np.where(same, (tss[neighbor] - tss[gene]) * sign[gene], np.nan)
    return Places(distance, np.where(same, sign[gene] * sign[neighbor], 0).astype(np.int8))
