"""What a benchmark found of neighbors: a section of the page, and the same in the write-up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from simplechrome.benchmark.comparisons import (
    AGAINST,
    OWN,
    VERDICTS,
    NeighborGain,
    gain_table,
    name_gains,
)
from simplechrome.benchmark.config import ALL
from simplechrome.evaluation.scores import NAMES
from simplechrome.report import page
from simplechrome.report.benchmark_tables import ARROWS, markdown_rows, name_place, signed
from simplechrome.report.figures.neighbors import neighbor_gain_figure

Place = tuple[Any, ...]
_METHOD = (
    "Each kind of neighbors is compared, on the same draws and genes, with the gene's own window "
    "alone; with shuffled neighbors (other genes in their places, with the true ones' distances "
    "and weights); and with the neighbors of a gene on another chromosome. Only what is higher "
    "than with shuffled neighbors is an effect of neighbors: a model with more numbers to look at "
    "may score higher for that alone. Of many comparisons, one interval in twenty misses 0 by "
    "chance: look for what holds over predictors, numbers of labels and cell types. Co-expressed "
    "genes are those of other cell types; they bring along what a gene usually does, which the "
    "gene-mean prior knows as well."
)


def neighbors_section(gains: Sequence[NeighborGain], place: Place, metric: str) -> page.Section:
    """What do neighbors add in one place?"""
    own = _in_place(gains, place)
    table = gain_table(own)
    blocks: list[page.Block] = [page.Text(_METHOD), page.Text(describe_gains(own))]
    for predictor in dict.fromkeys(table["predictor"]):
        blocks.append(
            page.Figure(
                neighbor_gain_figure(
                    table[table["predictor"] == predictor], score_name=NAMES[metric]
                ),
                f"What neighbors add to the {NAMES[metric]}, predictor {predictor}",
                "Paired differences and their 95 % intervals over draws and runs of neighboring "
                "test genes. Filled: the interval excludes 0.",
                name=f"neighbors_{predictor}",
            )
        )
    for against in AGAINST:
        rows = _rows([gain for gain in own if gain.against == against])
        if rows:
            frame = pd.DataFrame(
                [{"neighbors": n, "predictor": p, **row} for (n, p), row in rows.items()]
            )
            blocks.append(
                page.Table(
                    frame,
                    f"{NAMES[metric]} with true neighbors, minus that with "
                    + (against if against == OWN else f"neighbors {against}"),
                    "▲ and ▼: the 95 % interval lies above or below 0. Intervals are in "
                    "neighbors.csv.",
                )
            )
    return page.Section(f"Do neighbors add anything? ({name_place(place)})", blocks)


def _in_place(gains: Sequence[NeighborGain], place: Place) -> list[NeighborGain]:
    """Those of one place, by the names that they have there."""
    own = [gain for gain in gains if gain.place == place]
    names = name_gains(own)
    return [gain._replace(neighbors=name) for gain, name in zip(own, names, strict=True)]


def describe_gains(gains: Sequence[NeighborGain]) -> str:
    """How often did true neighbors score above, below and level with what they stand beside?"""
    said = []
    for against in AGAINST:
        own = [gain.verdict for gain in gains if gain.against == against]
        if own:
            counts = ", ".join(f"{verdict} in {own.count(verdict)}" for verdict in VERDICTS)
            title = against if against == OWN else f"neighbors {against}"
            said.append(f"Against {title}, {len(own)} comparisons: {counts}.")
    return " ".join(said)


def _rows(gains: Sequence[NeighborGain]) -> dict[tuple[str, str], dict[str, str]]:
    columns = dict.fromkeys(ALL if g.all_labels else f"{g.n_labels:,}" for g in gains)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for gain in gains:
        row = rows.setdefault((gain.neighbors, gain.predictor), dict.fromkeys(columns, "–"))
        label = ALL if gain.all_labels else f"{gain.n_labels:,}"
        row[label] = signed(gain.difference) + ARROWS.get(gain.verdict, "")
    return rows


def write_up_neighbors(gains: Sequence[NeighborGain], places: Sequence[Place]) -> Iterator[str]:
    """The same as parts of a text: method, counts and tables with intervals."""
    if not gains:
        return
    yield "## Do neighbors add anything?"
    yield _METHOD
    for place in places:
        own = _in_place(gains, place)
        if not own:
            continue
        yield f"**{name_place(place)}**"
        yield describe_gains(own)
        for against in AGAINST:
            some = [gain for gain in own if gain.against == against]
            if not some:
                continue
            cells: dict[tuple[str, str], dict[str, str]] = {}
            for gain in some:
                label = ALL if gain.all_labels else f"{gain.n_labels:,}"
                cells.setdefault((gain.neighbors, gain.predictor), {})[label] = (
                    f"{signed(gain.difference)}{ARROWS.get(gain.verdict, '')} "
                    f"({signed(gain.low)} to {signed(gain.high)})"
                )
            columns = list(dict.fromkeys(c for row in cells.values() for c in row))
            yield markdown_rows(
                (f"minus {against}", "predictor", *columns),
                (
                    (f"`{name}`", predictor, *(row.get(c, "–") for c in columns))
                    for (name, predictor), row in cells.items()
                ),
            )
    yield "`neighbors.csv` has a sentence for each, in all cell types, protocols and splits."
