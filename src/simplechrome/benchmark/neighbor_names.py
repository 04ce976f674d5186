"""Neighbors that a model of a benchmark uses, by names as `genomic.apart.shuffled`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
import xarray as xr

from simplechrome.dataset.neighbors.functional import FEWEST_CELL_TYPES, coexpression_neighbors
from simplechrome.dataset.neighbors.genomic import genomic_neighbors, power_law_neighbors
from simplechrome.dataset.neighbors.graph import (
    NeighborGraph,
    neighbors_elsewhere,
    shuffled_neighbors,
)
from simplechrome.errors import ConfigError, did_you_mean

Kind = Literal["genomic", "contact", "coexpression"]
Control = Literal["", "shuffled", "elsewhere"]
KINDS: tuple[Kind, ...] = get_args(Kind)
CONTROLS: dict[str, Control] = {"shuffled": "shuffled", "elsewhere": "elsewhere"}
NEIGHBORS = {"genomic": 20, "contact": 50, "coexpression": 50}
"""Neighbors of a gene, by kind, where the name does not say."""
FURTHEST = 1_000_000
"""bp; of contacts and distance bands."""
_CANDIDATES = 120  # nearest genes, from which those are taken whose windows do not overlap
_BAND = re.compile(r"(\d+)-(\d+)kb")
_NUMBER = re.compile(r"n(\d+)")


class NeighborChoice(NamedTuple):
    """Neighbors of one kind, some of them, or a control in their place.

    n : at most so many of a gene
    apart : only those whose windows do not overlap the gene's
    band : from and up to which distance, kb; None for all
    control : `shuffled` (other genes in their places) or `elsewhere` (the neighbors of a gene on
        another chromosome); see `simplechrome.dataset.neighbors.graph`
    only : the gene's own latents are withheld
    expression : the labels of neighbors that are training genes are features, too
    """

    kind: Kind
    n: int
    apart: bool = False
    band: tuple[int, int] | None = None
    control: Control = ""
    only: bool = False
    expression: bool = False

    @property
    def name(self) -> str:
        """As `parse_neighbors` takes it."""
        parts: list[str] = [self.kind]
        parts += [f"n{self.n}"] if self.n != NEIGHBORS[self.kind] else []
        parts += ["apart"] if self.apart else []
        parts += ["{}-{}kb".format(*self.band)] if self.band else []
        parts += ["only"] if self.only else []
        parts += ["expression"] if self.expression else []
        parts += [self.control] if self.control else []
        return ".".join(parts)


def is_neighbors(name: str) -> bool:
    """Whether this is the name of neighbors, and not of an addition to latents."""
    return name.partition(".")[0] in KINDS


def parse_neighbors(name: str) -> NeighborChoice:
    """Return the neighbors of this name; `ConfigError` if a part is unknown.

    `genomic`, `contact` or `coexpression`; behind it, each after a dot: `n5` (neighbors of a
    gene), `apart`, `10-50kb`, `only`, `expression`, and `shuffled` or `elsewhere`.
    """
    kind, *rest = name.split(".")
    if kind not in KINDS:
        raise ConfigError(
            f"There are no neighbors of the kind {kind!r}, only {', '.join(KINDS)}.",
            did_you_mean(kind, KINDS),
        )
    choice = NeighborChoice(kind, NEIGHBORS[kind])
    for part in rest:
        band, number = _BAND.fullmatch(part), _NUMBER.fullmatch(part)
        if part in ("apart", "only", "expression"):
            choice = choice._replace(**{part: True})  # type: ignore[arg-type]
        elif part in CONTROLS:
            choice = choice._replace(control=CONTROLS[part])
        elif band and int(band[1]) < int(band[2]):
            choice = choice._replace(band=(int(band[1]), int(band[2])))
        elif number and int(number[1]):
            choice = choice._replace(n=int(number[1]))
        else:
            raise ConfigError(
                f"Unknown part {part!r} of {name}: neither apart, only, expression, shuffled or "
                "elsewhere, nor a number as n5 or a band as 10-50kb.",
                did_you_mean(part, ("apart", "only", "expression", *CONTROLS)),
            )
    if choice.kind == "coexpression" and choice.band:
        raise ConfigError(
            f"{name}: co-expressed genes are not chosen by distance.",
            "use a band with genomic or contact",
        )
    return choice


def can_find_coexpression(
    dataset: xr.Dataset, expression: pd.DataFrame | None, leave_out: Sequence[str]
) -> bool:
    """Whether the expression of enough other cell types is known."""
    table = expression_table(dataset, expression)
    return sum(str(name) not in leave_out for name in table.columns) >= FEWEST_CELL_TYPES


def expression_table(dataset: xr.Dataset, expression: pd.DataFrame | None) -> pd.DataFrame:
    """Return (gene_id, cell_type) expression: the given table, or the dataset's."""
    if expression is not None:
        return expression
    known = np.isfinite(dataset["expression"].values).any(axis=1)
    return pd.DataFrame(
        dataset["expression"].values[known].T,
        index=dataset["gene_id"].values,
        columns=dataset["cell_type"].values[known],
    )


def choose_neighbors(
    dataset: xr.Dataset,
    choice: NeighborChoice,
    *,
    leave_out: Sequence[str],
    expression: pd.DataFrame | None = None,
) -> NeighborGraph:
    """Return the graph of the true neighbors; see `replace_neighbors` for controls.

    Parameters
    ----------
    dataset
        With chrom, tss and strand.
    choice
        See `NeighborChoice`.
    leave_out
        Cell types that are predicted; co-expression does not use them.
    expression : (gene_id, cell_type), for co-expression; the dataset's if None

    Raises
    ------
    MissingCoordinatesError, MissingExpressionError
        If the dataset lacks what is needed.
    """
    width = float(dataset.sizes["bin"] * dataset.attrs["bin_size"])
    if choice.kind == "coexpression":
        more = 2 * choice.n if choice.apart else choice.n
        graph = coexpression_neighbors(
            dataset, expression_table(dataset, expression), more, leave_out=leave_out
        )
    else:
        find = genomic_neighbors if choice.kind == "genomic" else power_law_neighbors
        nearest = _CANDIDATES if not choice.band else None
        within = FURTHEST if choice.band or choice.kind == "contact" else None
        graph = find(dataset, nearest, within=within)
    if choice.apart:
        graph = graph.apart(width)
    if choice.band:
        graph = graph.between(*(1000 * kb for kb in choice.band))
    return graph.first(choice.n)


def replace_neighbors(
    dataset: xr.Dataset, graph: NeighborGraph, control: Control, seed: int
) -> NeighborGraph:
    """Return the graph of a control in one draw; the graph of true neighbors if there is none."""
    match control:
        case "shuffled":
            return shuffled_neighbors(graph, seed)
        case "elsewhere":
            return neighbors_elsewhere(graph, dataset["chrom"].values, seed)
    return graph
