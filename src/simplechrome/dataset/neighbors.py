"""Which genes are neighbors? True neighbors on the chromosome, never neighbors in gene number."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from simplechrome.errors import ConfigError, MissingCoordinatesError


class Neighbors(NamedTuple):
    """The nearest genes of each gene, nearest first.

    position : (gene, neighbor) int64, place in the dataset; the gene's own where masked
    distance : (gene, neighbor) int64, bp between the TSSs along the gene's own direction of
        transcription (negative is upstream); 0 where masked
    mask : (gene, neighbor) bool, False beyond the chromosome's last neighbor
    """

    position: np.ndarray
    distance: np.ndarray
    mask: np.ndarray


def require_places(dataset: xr.Dataset) -> None:
    """Does the dataset know where its genes lie?

    Raises
    ------
    MissingCoordinatesError
        If it does not.
    """
    if "tss" not in dataset.coords:
        raise MissingCoordinatesError(
            "The dataset does not say where its genes lie.",
            found="no chrom, tss and strand",
            expected="a place for each gene",
            cause="it was built without a gene table",
            remedy="build it with --genes FILE, or from_arrays(…, genes=read_genes(FILE))",
        )


def genomic_neighbors(dataset: xr.Dataset, n: int) -> Neighbors:
    """Which `n` genes lie nearest to each gene on its chromosome?

    Distance is between TSSs; of two at the same distance the one with the smaller coordinate
    comes first. Genes without a place have no neighbors.

    Parameters
    ----------
    dataset
        With chrom, tss and strand.
    n
        Neighbors per gene, on both sides together.

    Raises
    ------
    MissingCoordinatesError
        If the dataset has no coordinates.
    ConfigError
        If `n` is negative.
    """
    require_places(dataset)
    if n < 0:
        raise ConfigError(
            "The number of neighbors makes no sense.", found=str(n), expected="0 or more"
        )
    genes = dataset.sizes["gene"]
    chrom = dataset["chrom"].values.astype(str)
    tss = dataset["tss"].values
    sign = np.where(dataset["strand"].values == "-", -1, 1)
    position = np.repeat(np.arange(genes)[:, np.newaxis], n, axis=1)
    distance = np.zeros((genes, n), np.int64)
    mask = np.zeros((genes, n), bool)
    for name in np.unique(chrom[(chrom != "") & (tss >= 0)]):
        members = np.flatnonzero((chrom == name) & (tss >= 0))
        members = members[np.argsort(tss[members], kind="stable")]
        count = len(members)
        width = min(n, count - 1)
        if width == 0:
            continue
        # The n nearest lie among the n before and the n after in order of TSS.
        steps = np.concatenate([np.arange(-width, 0), np.arange(1, width + 1)])
        place = np.arange(count)[:, np.newaxis] + steps
        inside = (place >= 0) & (place < count)
        candidate = members[np.clip(place, 0, count - 1)]
        offset = tss[candidate] - tss[members][:, np.newaxis]
        far = np.iinfo(np.int64).max
        order = np.argsort(np.where(inside, np.abs(offset), far), axis=1, kind="stable")[:, :width]
        rows = np.ix_(members, np.arange(width))
        position[rows] = np.take_along_axis(candidate, order, axis=1)
        distance[rows] = np.take_along_axis(offset, order, axis=1) * sign[members][:, np.newaxis]
        mask[rows] = np.take_along_axis(inside, order, axis=1)
    return Neighbors(position, distance, mask)
