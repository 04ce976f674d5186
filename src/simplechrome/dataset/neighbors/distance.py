"""How far apart are two genes, seen from one of them?"""

from __future__ import annotations

import numpy as np
import xarray as xr


def edge_distances(dataset: xr.Dataset, gene: np.ndarray, neighbor: np.ndarray) -> np.ndarray:
    """How far is each neighbor, in the direction of the gene's own transcription?

    Parameters
    ----------
    dataset
        With or without places.
    gene, neighbor : (edge,)
        Rows.

    Returns
    -------
    (edge,) float64, bp from TSS to TSS, negative upstream; NaN on other chromosomes and where
    places are unknown.
    """
    if "tss" not in dataset.coords:
        return np.full(len(gene), np.nan)
    _, chrom = np.unique(dataset["chrom"].values.astype(str), return_inverse=True)
    tss = dataset["tss"].values
    placed = (dataset["chrom"].values.astype(str) != "") & (tss >= 0)
    sign = np.where(dataset["strand"].values == "-", -1, 1)
    same = (chrom[gene] == chrom[neighbor]) & placed[gene] & placed[neighbor]
    return np.where(same, (tss[neighbor] - tss[gene]) * sign[gene], np.nan)
