"""Neighbors in 3D: genes whose starts lie in fragments that are in contact."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from simplechrome.dataset.neighbors.genomic import (
    CLOSE,
    CONTACT,
    EXPONENT,
    expected_contact,
    require_places,
    symmetric_graph,
)
from simplechrome.dataset.neighbors.graph import NeighborGraph, join_ranges
from simplechrome.errors import InputFormatError
from simplechrome.sources.genome.chromosomes import MatchMode, match_names
from simplechrome.sources.relations import is_matrix, matrix_chromosomes, read_contacts, read_matrix

log = logging.getLogger(__name__)

REACH = 1_000
"""bp on either side of a TSS within which a fragment counts as the gene's."""
_FEWEST = 20  # contacts at different distances, to see how their scores fall with distance


def contact_neighbors(
    dataset: xr.Dataset,
    contacts: pd.DataFrame,
    n: int | None = 50,
    *,
    reach: int = REACH,
    chrom_style: MatchMode = "auto",
    name: str = "the contacts",
) -> NeighborGraph:
    """Return genes that are in contact more often than expected from their distance.

    A gene has a fragment that holds a base within `reach` of its TSS. Two genes of the same
    chromosome are neighbors if a contact joins a fragment of one with a fragment of the other; of
    several such contacts the one with the largest score counts.

    Parameters
    ----------
    dataset : with chrom, tss and strand
    contacts : columns chrom_1, start_1, end_1, chrom_2, start_2, end_2, score
        0-based, half-open; as `read_contacts` gives them.
    n : at most so many per gene, largest weights first; all if None
    reach : bp
    chrom_style : `auto` translates chromosome names, `exact` leaves them
    name : of the contacts, for messages

    Returns edges of the kind `contact`. The weight is the score over what a power law, fitted to
    all scores by distance, expects; where all scores are equal, or too few to fit, the law of
    `expected_contact` takes its place. Contacts between chromosomes are skipped, and counted.

    Raises MissingCoordinatesError if the dataset has no coordinates; GenomeMismatchError if the
    contacts' chromosomes are not the genes'; InputFormatError if no contact joins two genes.
    """
    require_places(dataset)
    ends = ["chrom_1", "chrom_2"]
    names = match_names(
        *(pd.unique(contacts[ends].to_numpy().T.ravel()), _chromosomes(dataset)),
        mode=chrom_style,
        wanted_in=name,
        available_in="the gene table",
    )
    mapped = contacts.assign(**{end: contacts[end].map(names) for end in ends}).dropna(subset=ends)
    inside = mapped["chrom_1"] == mapped["chrom_2"]
    if not inside.all():
        log.info("%d contacts between chromosomes are skipped", int((~inside).sum()))
    mapped = mapped[inside].reset_index(drop=True)
    middle = [(mapped[f"start_{k}"] + mapped[f"end_{k}"]).to_numpy(float) / 2 for k in (1, 2)]
    score = mapped["score"].to_numpy(float)
    weight = score / expected_scores(np.abs(middle[1] - middle[0]), score)
    one, other = (_genes_in(dataset, mapped, k, reach) for k in (1, 2))
    pairs = one.merge(other, on="contact", suffixes=("_1", "_2"))
    pairs = pairs[pairs["gene_1"] != pairs["gene_2"]]
    if pairs.empty:
        raise InputFormatError(
            f"No contact of {name} joins two genes: of {len(mapped)} contacts within a chromosome "
            f"{one['contact'].nunique()} and {other['contact'].nunique()} have a gene within "
            f"{reach} bp of their first and second end.",
            "check the assembly, pass a larger --reach, or use no contacts: distance alone",
        )
    gene, neighbor = (pairs[name].to_numpy() for name in ("gene_1", "gene_2"))
    graph = symmetric_graph(dataset, gene, neighbor, weight[pairs["contact"]], CONTACT)
    log.info(
        "%d contacts join %d pairs of genes; %d of %d genes have a neighbor",
        *(len(mapped), graph.n_edges // 2, (graph.degree > 0).sum(), dataset.sizes["gene"]),
    )
    return graph if n is None else graph.first(n)


def _chromosomes(dataset: xr.Dataset) -> list[str]:
    return [chrom for chrom in pd.unique(dataset["chrom"].values.astype(str)) if chrom]


def expected_scores(distance: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return the score that is expected from the distance, bp, alone.

    A straight line through the logarithms, by least squares, where there are enough scores above
    0 at different distances, and it falls; otherwise `expected_contact`.
    """
    usable = (score > 0) & (distance >= CLOSE)
    x, y = np.log(distance[usable]), np.log(score[usable])
    if x.size >= _FEWEST and np.ptp(x) > 1 and np.ptp(y) > 0:
        slope, level = np.polyfit(x, y, 1)
        if slope < 0:
            log.info("scores fall with distance to the power of %.2f", slope)
            return np.asarray(np.exp(level) * np.maximum(distance, CLOSE) ** slope)
    log.info("too few scores to fit their fall with distance: a power of -%g is taken", EXPONENT)
    return expected_contact(distance)


def _genes_in(dataset: xr.Dataset, contacts: pd.DataFrame, end: int, reach: int) -> pd.DataFrame:
    """Return the genes at this end of each contact, in columns contact and gene."""
    chrom, tss = dataset["chrom"].values.astype(str), dataset["tss"].values
    parts = []
    for name, rows in contacts.groupby(f"chrom_{end}", sort=False).groups.items():
        members = np.flatnonzero((chrom == name) & (tss >= 0))
        members = members[np.argsort(tss[members], kind="stable")]
        at = np.asarray(rows)
        start = contacts[f"start_{end}"].to_numpy()[at] - reach
        stop = contacts[f"end_{end}"].to_numpy()[at] + reach
        first = np.searchsorted(tss[members], start, "left")
        count = np.searchsorted(tss[members], stop, "left") - first
        which = members[join_ranges(first, count)]
        parts.append(pd.DataFrame({"contact": np.repeat(at, count), "gene": which}))
    return pd.concat(parts, ignore_index=True)


def neighbors_of_file(
    dataset: xr.Dataset,
    path: str | Path,
    n: int | None = 50,
    *,
    reach: int = REACH,
    resolution: int | None = None,
    chrom_style: MatchMode = "auto",
) -> NeighborGraph:
    """Return genes in contact by a file, BEDPE or a matrix; see `contact_neighbors`.

    Parameters
    ----------
    path : see `read_contacts` and `read_matrix`
    resolution : bp per bin, of a matrix of several

    Raises MissingInputError, InputFormatError, ConfigError if the file is not there, or not what it
    should be.
    """
    require_places(dataset)
    name = Path(str(path).partition("::")[0]).name
    if is_matrix(path):
        names = match_names(
            *(_chromosomes(dataset), matrix_chromosomes(path, resolution=resolution)),
            mode=chrom_style,
            wanted_in="the gene table",
            available_in=name,
        )
        chrom = pd.Series(dataset["chrom"].values.astype(str)).map(names)
        places = pd.DataFrame({"chrom": chrom, "pos": dataset["tss"].values}).dropna()
        contacts = read_matrix(path, places, resolution=resolution)
    else:
        contacts = read_contacts(path)
    return contact_neighbors(dataset, contacts, n, reach=reach, chrom_style=chrom_style, name=name)
