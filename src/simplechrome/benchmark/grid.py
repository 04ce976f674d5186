"""The cells of a benchmark: which models are fitted on what, in which order."""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from simplechrome.benchmark.config import (
    ALL,
    BenchmarkConfig,
    SplitKind,
    split_config,
)
from simplechrome.benchmark.models import (
    Model,
    Models,
    Representation,
    choose_models,
)
from simplechrome.benchmark.neighbor_names import can_find_coexpression
from simplechrome.dataset.choose import choose_cell_types
from simplechrome.dataset.neighbors.functional import FEWEST_CELL_TYPES
from simplechrome.errors import ConfigError, MissingExpressionError
from simplechrome.predictors.rows import known_targets, require_two_classes
from simplechrome.runs.predictions import target_of
from simplechrome.runs.prepare import assign_genes
from simplechrome.schema import UNKNOWN_LABEL


class Condition(NamedTuple):
    """Where a model learns: the cell type, and the split of the genes."""

    trained_on: str
    split: SplitKind
    fold: int


class Cell(NamedTuple):
    """One fit.

    n_labels : None for all
    draw : of the labels; with `permuted`, of the permutation too
    seed : of the weights
    permuted : the labels are shuffled first
    """

    condition: Condition
    model: Model
    n_labels: int | None
    draw: int
    seed: int
    permuted: bool

    @property
    def encoder_seed(self) -> int:
        """Encoders without randomness are fitted once, and none for permuted labels alone."""
        return self.seed if self.model.sees.random and not self.permuted else 0

    @property
    def cost(self) -> tuple[str, int | None]:
        """Cells that take about as long as each other."""
        return self.model.name, self.n_labels


class Grid(NamedTuple):
    """All that is to be fitted, and what makes no sense."""

    cells: list[Cell]
    models: Models


class Genes(NamedTuple):
    """Who learns, decides and is scored, in one condition: positions in the dataset.

    train holds genes with a known target only
    """

    assignment: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def conditions(dataset: xr.Dataset, config: BenchmarkConfig) -> list[Condition]:
    """Where do models learn?

    Raises
    ------
    UnknownGeneError
        If a cell type is not in the dataset.
    """
    every = [str(name) for name in dataset["cell_type"].values]
    asked = config.cell_types or [name for name in every if name not in config.transfer]
    if not config.cell_types:
        asked = [name for name in asked if _has_target(dataset, config, name)] or asked
    for names in (asked, config.transfer):
        choose_cell_types(dataset, tuple(names)) if names else None
    if not asked:
        raise ConfigError(
            "No cell type is left to learn from.",
            found=f"all of {', '.join(every)} are scored only",
            expected="at least one other",
            remedy="leave one out of --transfer, or name it with --cell-type too",
        )
    return [
        Condition(name, kind, fold)
        for name in asked
        for kind in config.splits
        for fold in range(config.n_folds if kind == "fold" else 1)
    ]


def unlabelled(dataset: xr.Dataset, config: BenchmarkConfig) -> list[str]:
    """Which cell types of the dataset have nothing to learn from, and are left out?"""
    every = [str(name) for name in dataset["cell_type"].values]
    learned = {place.trained_on for place in conditions(dataset, config)}
    return [name for name in every if name not in learned and name not in config.transfer]


def _has_target(dataset: xr.Dataset, config: BenchmarkConfig, cell_type: str) -> bool:
    values = targets(dataset, config, cell_type).values
    if config.task == "classification":
        return bool((values != UNKNOWN_LABEL).any())
    return bool(np.isfinite(values).any())


def genes_of(dataset: xr.Dataset, config: BenchmarkConfig, condition: Condition) -> Genes:
    """Which genes learn, decide and are scored in this condition?

    Raises
    ------
    SplitError, MissingExpressionError
        If a part has no gene, or no training gene a label.
    """
    split = split_config(config, condition.split, condition.fold)
    assignment = assign_genes(dataset, split, seed=0)
    target = targets(dataset, config, condition.trained_on)
    known = known_targets(target, config.task)
    part = {name: np.flatnonzero(assignment == name) for name in ("train", "validation", "test")}
    train = part["train"][known[part["train"]]]
    return Genes(assignment, train, part["validation"], part["test"])


def targets(dataset: xr.Dataset, config: BenchmarkConfig, cell_type: str) -> xr.DataArray:
    """What is to be predicted in one cell type, (cell_type = 1, gene)?"""
    return target_of(choose_cell_types(dataset, (cell_type,)), config.task)


def drawn(dataset: xr.Dataset, genes: Genes, n_labels: int | None, draw: int) -> np.ndarray:
    """Which genes are the labelled ones: positions in the dataset.

    The draw of the protocol: ``numpy.random.default_rng(draw).choice`` from the training genes
    that have a target, sorted by id.
    """
    if n_labels is None:
        return genes.train
    ids = dataset["gene_id"].values[genes.train].astype(str)
    by_id = genes.train[np.argsort(ids, kind="stable")]
    return np.random.default_rng(draw).choice(by_id, n_labels, replace=False)


def permute(values: np.ndarray, draw: int) -> np.ndarray:
    """Deal (cell_type, gene) labels out anew; another stream than that of the draw of genes."""
    return np.random.default_rng([draw, 1]).permutation(values, axis=1)


def make_grid(
    dataset: xr.Dataset, config: BenchmarkConfig, expression: pd.DataFrame | None = None
) -> Grid:
    """What is to be fitted?

    Models that look at co-expressed genes are left out where nobody knows who these are.
    Draws come one after the other, each with every model, so that what is there after an hour
    compares all of them.

    Raises
    ------
    ConfigError, SplitError, MissingExpressionError, UndefinedScoreError, UnknownGeneError
        If a part of the grid cannot be done; before anything is fitted.
    """
    models = _with_known_neighbors(choose_models(config), dataset, config, expression)
    counts: list[int | None] = [n if isinstance(n, int) else None for n in config.labels]
    if not counts or any(n is not None and n < 2 for n in counts):
        raise ConfigError(
            "These numbers of labels make no sense.",
            found=", ".join(map(str, config.labels)) or "none",
            expected="numbers from 2 up, or all",
        )
    cells: list[Cell] = []
    places = conditions(dataset, config)
    for place in places:
        _check_labels(dataset, config, place, counts)
        for draw in range(config.seeds):
            for n_labels in counts:
                if n_labels is not None:
                    cells += [Cell(place, m, n_labels, draw, draw, False) for m in models[0]]
                elif draw < config.seeds_all:
                    cells += [
                        Cell(place, m, None, 0, draw, False)
                        for m in models.applicable
                        if draw == 0 or not _same_for_all_seeds(m)
                    ]
    for place in places:
        # Weights of other seeds, too: networks that stop early on noise predict as they began, and
        # fifty that began alike would be one.
        for draw in range(config.permutations):
            cells += [
                Cell(place, m, config.permuted_labels, draw, draw, True)
                for m in models.applicable
                if not m.slow
            ]
    cells.sort(key=lambda cell: (cell.permuted, cell.draw if cell.n_labels else cell.seed))
    return Grid(cells, models)


def _same_for_all_seeds(model: Model) -> bool:
    """With all labels nothing is drawn, and a seed deals the inner folds only."""
    shuffled = model.sees.neighbors is not None and bool(model.sees.neighbors.control)
    return not model.sees.random and not shuffled and model.head.name == "linear"


def _with_known_neighbors(
    models: Models,
    dataset: xr.Dataset,
    config: BenchmarkConfig,
    expression: pd.DataFrame | None,
) -> Models:
    """Leave models out that need the expression of cell types that nobody knows."""
    predicted = [place.trained_on for place in conditions(dataset, config)]
    if all(
        can_find_coexpression(dataset, expression, (name, *config.transfer)) for name in predicted
    ):
        return models
    reason = f"the expression of {FEWEST_CELL_TYPES} other cell types is wanted: pass --expression"
    kept: list[Model] = []
    lost: list[Model] = []
    for model in models.applicable:
        near = model.sees.neighbors
        unknown = model.sees.gene_mean or (near is not None and near.kind == "coexpression")
        (lost if unknown else kept).append(model)
    rest = [(model.representation, model.predictor, reason) for model in lost]
    return Models(kept, models.not_applicable + rest)


def _check_labels(
    dataset: xr.Dataset, config: BenchmarkConfig, place: Condition, counts: list[int | None]
) -> None:
    genes = genes_of(dataset, config, place)
    target = targets(dataset, config, place.trained_on).values
    wanted = [n for n in counts if n is not None]
    wanted += [config.permuted_labels] if config.permutations else []
    for n in wanted:
        if n > genes.train.size:
            raise MissingExpressionError(
                f"{n} labelled genes cannot be drawn in {place.trained_on}.",
                found=f"{genes.train.size} training genes with a label",
                expected=f"a number from 2 to {genes.train.size}, or all",
                remedy="ask for fewer with --labels (or --permutations 0, without the control)",
            )
    if config.task == "classification":
        require_two_classes(target[0, genes.train])
        for n in (n for n in counts if n is not None):
            for draw in range(config.seeds):
                require_two_classes(target[0, drawn(dataset, genes, n, draw)])


def cell_key(cell: Cell, config: BenchmarkConfig) -> dict[str, Any]:
    """All that decides what a cell predicts, besides the data, as plain JSON.

    Not the grid that it belongs to: a larger benchmark takes over the cells of a smaller one.
    """
    place, sees = cell.condition, cell.model.sees
    return {
        "task": config.task,
        "trained_on": place.trained_on,
        "transfer": list(config.transfer),
        "split": split_config(config, place.split, place.fold).model_dump(mode="json"),
        "encoder": sees.encoder.model_dump(mode="json"),
        "add_log_means": sees.add_log_means,
        "encoder_seed": cell.encoder_seed,
        "predictor": cell.model.head.model_dump(mode="json"),
        "n_labels": cell.n_labels,
        "draw": cell.draw,
        "seed": cell.seed,
        "permuted": cell.permuted,
    } | _additions(sees)


def _additions(sees: Representation) -> dict[str, Any]:
    """What stands beside latents. Cells of benchmarks that knew none of it keep their names."""
    additions: dict[str, Any] = {"gene_mean": True} if sees.gene_mean else {}
    return additions | ({"neighbors": sees.neighbors.name} if sees.neighbors else {})


def cell_name(cell: Cell, config: BenchmarkConfig) -> str:
    """What is the cell's file called? Readable, and unlike that of any other cell."""
    parts = [
        cell.model.name,
        ALL if cell.n_labels is None else str(cell.n_labels),
        f"{'permuted' if cell.permuted else 'draw'}{cell.draw}",
        f"seed{cell.seed}",
    ]
    readable = "-".join("".join(c if c.isalnum() or c in "_+@" else "_" for c in p) for p in parts)
    return f"{readable}-{_digest(cell_key(cell, config))}"


def encoder_name(cell: Cell, config: BenchmarkConfig) -> str:
    """What is the folder of the cell's encoder called? With and without log means the same."""
    key = cell_key(cell, config)
    kept = ("trained_on", "split", "encoder", "encoder_seed")
    readable = f"{cell.model.sees.encoder.name}-seed{cell.encoder_seed}"
    return f"{readable}-{_digest({name: key[name] for name in kept})}"


def _digest(values: dict[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
