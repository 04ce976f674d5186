"""The grid of a benchmark: the models that its names mean, and the cells to be fitted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from simplechrome.benchmark.config import (
    ALL,
    SPECIAL_REPRESENTATIONS,
    BenchmarkConfig,
    SplitKind,
    split_config,
)
from simplechrome.benchmark.neighbor_names import (
    KINDS,
    NeighborChoice,
    can_find_coexpression,
    is_neighbors,
    parse_neighbors,
)
from simplechrome.config.models import (
    EncoderConfig,
    PredictorConfig,
    encoder_config,
    encoders_with_latents,
    predictor_config,
)
from simplechrome.config.options import PRESETS, WITH_LOG_MEANS
from simplechrome.config.run import RunConfig
from simplechrome.dataset.choose import choose_cell_types
from simplechrome.dataset.neighbors.functional import FEWEST_CELL_TYPES
from simplechrome.errors import ConfigError, MissingExpressionError, did_you_mean
from simplechrome.latent.registry import ENCODERS
from simplechrome.predictors.registry import PREDICTORS
from simplechrome.predictors.rows import known_targets, require_two_classes
from simplechrome.runs.predictions import target_of
from simplechrome.runs.prepare import assign_genes
from simplechrome.schema import UNKNOWN_LABEL

WITH_GENE_MEAN = "+gene_mean"
"""Suffix of a representation that adds the gene's mean log expression in other cell types."""


class Representation(NamedTuple):
    """The input of a model.

    gene_mean : the gene's mean log expression in other cell types is added to the latents
    """

    encoder: EncoderConfig
    add_log_means: bool
    gene_mean: bool = False
    neighbors: NeighborChoice | None = None

    @property
    def random(self) -> bool:
        """Whether it depends on a seed."""
        return ENCODERS.get(self.encoder.name).random


class Model(NamedTuple):
    """A representation and a predictor, by name and by settings."""

    representation: str
    predictor: str
    sees: Representation
    head: PredictorConfig

    @property
    def name(self) -> str:
        """As `--baseline` takes it."""
        return f"{self.representation}:{self.predictor}"

    @property
    def slow(self) -> bool:
        """Whether 50 fits would take hours."""
        head = PREDICTORS.get(self.head.name)
        return head.needs_windows or head.needs_neighbors


class Models(NamedTuple):
    """Models that are compared, and combinations that are not supported.

    not_applicable : representation, predictor and the reason
    """

    applicable: list[Model]
    not_applicable: list[tuple[str, str, str]]


def choose_models(config: BenchmarkConfig) -> Models:
    """Return the models that the configuration names.

    Raises `ConfigError` if a name is unknown, or nothing is left.
    """
    if config.models is not None:
        pairs = [_split_model(name) for name in config.models]
    else:
        pairs = [(r, p) for r in config.representations for p in config.predictors]
    applicable, rest = [], []
    for representation, predictor in dict.fromkeys(pairs):
        sees, head = find_representation(representation, config), _find_head(predictor, config)
        model = Model(representation, predictor, sees, head)
        if reason := _why_not(model):
            rest.append((representation, predictor, reason))
        else:
            applicable.append(model)
    if not applicable:
        found = "; ".join(f"{r}:{p} {reason}" for r, p, reason in rest) or "no model is named"
        raise ConfigError(
            f"None of the models can be fitted: {found}.",
            "name a representation and a predictor that can use it; convolutional and recurrent "
            "networks need the representation raw",
        )
    if config.baseline not in {model.name for model in applicable}:
        raise ConfigError(
            f"The baseline {config.baseline} is not among the models that are compared: "
            f"{', '.join(model.name for model in applicable)}.",
            "name one of these with --baseline",
        )
    return Models(applicable, rest)


def _why_not(model: Model) -> str:
    """Why a pair of representation and predictor is not supported; empty if it is."""
    sees, head = model.sees, model.head.name
    windows = sees.encoder.name == "none"
    if PREDICTORS.get(head).needs_windows and (not windows or sees.neighbors):
        return "looks along the bins of a window, which this representation has none of"
    if sees.gene_mean and windows:
        return "the gene's mean in other cell types can be added to latents only"
    if sees.neighbors and windows:
        return "windows of many neighbors are too large: use a representation with latents"
    if PREDICTORS.get(head).needs_neighbors and not sees.neighbors:
        return "looks at neighbors, which this representation has none of"
    return ""


def _split_model(name: str) -> tuple[str, str]:
    representation, colon, predictor = name.partition(":")
    if not (representation and colon and predictor):
        raise ConfigError(
            f"The model {name!r} is not named representation:predictor.", "write raw:linear, say"
        )
    return representation, predictor


def _known(config: BenchmarkConfig, builtin: Collection[str], kind: Any) -> list[str]:
    return [*builtin, *(name for name, form in config.variants.items() if isinstance(form, kind))]


def find_representation(name: str, config: BenchmarkConfig) -> Representation:
    """Return the representation of this name; `ConfigError` if it is unknown."""
    inner, joined, around = name.rpartition("+")
    neighbors = parse_neighbors(around) if joined and is_neighbors(around) else None
    own = inner if neighbors else name
    bare = own.removesuffix(WITH_GENE_MEAN)
    base, plus, rest = bare.partition(WITH_LOG_MEANS)
    kind, at, preset = base.partition("@")
    named = {name: {"name": name} for name in ENCODERS.names()}
    forms: Mapping[str, Any] = {**SPECIAL_REPRESENTATIONS, **named}
    builtin = [name for name in forms if name != "none"]  # which is called raw
    if at:
        forms = _preset(preset, name).encoders
        forms = {"raw": forms["none"], **forms} if "none" in forms else forms
    form = config.variants.get(base, forms.get(kind))
    if isinstance(form, Mapping):
        form = encoder_config(**form)
    if rest or not isinstance(form, EncoderConfig):
        known = _known(config, builtin, EncoderConfig)
        raise ConfigError(
            f"There is no representation {name!r}, only {', '.join(known)}; those with latents "
            f"can be followed by {WITH_LOG_MEANS}, {WITH_GENE_MEAN}, and by neighbors as "
            f"+{' or +'.join(KINDS)}.",
            did_you_mean(base, known),
        )
    if plus and not ENCODERS.get(form.name).gives_latents:
        raise ConfigError(
            f"{name!r}: log means can be added to latents only.",
            f"put one of {', '.join(encoders_with_latents())} in front of {WITH_LOG_MEANS}",
        )
    return Representation(form, bool(plus), bare != own, neighbors)


def _find_head(name: str, config: BenchmarkConfig) -> PredictorConfig:
    kind, at, preset = name.partition("@")
    if at:
        form: Any = _preset(preset, name).predictors.get(kind)
    elif name in config.variants:
        form = config.variants[name]
    else:
        form = predictor_config(kind) if kind in PREDICTORS else None
    if not isinstance(form, PredictorConfig):
        known = _known(config, PREDICTORS.names(), PredictorConfig)
        raise ConfigError(
            f"There is no predictor {name!r}, only {', '.join(known)}.", did_you_mean(name, known)
        )
    return form


def _preset(preset: str, name: str) -> Any:
    if preset not in PRESETS:
        raise ConfigError(
            f"{name!r} names no preset.",
            f"write {name.partition('@')[0]}@ and one of {', '.join(PRESETS)}",
        )
    return PRESETS[preset]


def run_config(config: BenchmarkConfig, model: Model, seed: int) -> RunConfig:
    """Return the options with which `simplechrome fit` would fit this model and seed."""
    near = model.sees.neighbors
    return RunConfig(
        task=config.task,
        seed=seed,
        device=config.device,
        threads=config.threads,
        encoder=model.sees.encoder,
        add_log_means=model.sees.add_log_means,
        neighbors=(near.name,) if near else (),
        predictor=model.head,
    )


class Condition(NamedTuple):
    """Where a model is trained: the cell type, and the split of the genes."""

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


class Grid(NamedTuple):
    """All cells to be fitted, and the models."""

    cells: list[Cell]
    models: Models


class Genes(NamedTuple):
    """Genes for training, validation and test in one condition: positions in the dataset.

    train : genes with a known target only
    """

    assignment: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def conditions(dataset: xr.Dataset, config: BenchmarkConfig) -> list[Condition]:
    """Return where models are trained; `UnknownGeneError` if a cell type is not in the dataset."""
    every = [str(name) for name in dataset["cell_type"].values]
    asked = config.cell_types or [name for name in every if name not in config.transfer]
    if not config.cell_types:
        asked = [name for name in asked if _has_target(dataset, config, name)] or asked
    for names in (asked, config.transfer):
        choose_cell_types(dataset, tuple(names)) if names else None
    if not asked:
        raise ConfigError(
            f"No cell type is left to train on: all of {', '.join(every)} are in --transfer.",
            "drop one from --transfer, or name it with --cell-type too",
        )
    return [
        Condition(name, kind, fold)
        for name in asked
        for kind in config.splits
        for fold in range(config.n_folds if kind == "fold" else 1)
    ]


def unlabelled(dataset: xr.Dataset, config: BenchmarkConfig) -> list[str]:
    """Return the cell types of the dataset that have no target, and are dropped."""
    every = [str(name) for name in dataset["cell_type"].values]
    learned = {place.trained_on for place in conditions(dataset, config)}
    return [name for name in every if name not in learned and name not in config.transfer]


def _has_target(dataset: xr.Dataset, config: BenchmarkConfig, cell_type: str) -> bool:
    values = targets(dataset, config, cell_type).values
    if config.task == "classification":
        return bool((values != UNKNOWN_LABEL).any())
    return bool(np.isfinite(values).any())


def genes_of(dataset: xr.Dataset, config: BenchmarkConfig, condition: Condition) -> Genes:
    """Return the genes for training, validation and test in this condition.

    Raises `SplitError` or `MissingExpressionError` if a part has no gene, or no training gene a
    label.
    """
    split = split_config(config, condition.split, condition.fold)
    assignment = assign_genes(dataset, split, seed=0)
    target = targets(dataset, config, condition.trained_on)
    known = known_targets(target, config.task)
    part = {name: np.flatnonzero(assignment == name) for name in ("train", "validation", "test")}
    train = part["train"][known[part["train"]]]
    return Genes(assignment, train, part["validation"], part["test"])


def targets(dataset: xr.Dataset, config: BenchmarkConfig, cell_type: str) -> xr.DataArray:
    """Return the target in one cell type, (cell_type = 1, gene)."""
    return target_of(choose_cell_types(dataset, (cell_type,)), config.task)


def drawn(dataset: xr.Dataset, genes: Genes, n_labels: int | None, draw: int) -> np.ndarray:
    """Draw the labelled genes: positions in the dataset.

    The draw of the protocol: ``numpy.random.default_rng(draw).choice`` from the training genes
    that have a target, sorted by id.
    """
    if n_labels is None:
        return genes.train
    ids = dataset["gene_id"].values[genes.train].astype(str)
    by_id = genes.train[np.argsort(ids, kind="stable")]
    return np.random.default_rng(draw).choice(by_id, n_labels, replace=False)


def permute(values: np.ndarray, draw: int) -> np.ndarray:
    """Permute (cell_type, gene) labels; another random stream than that of the draw of genes."""
    return np.random.default_rng([draw, 1]).permutation(values, axis=1)


def make_grid(
    dataset: xr.Dataset, config: BenchmarkConfig, expression: pd.DataFrame | None = None
) -> Grid:
    """Return the cells to be fitted.

    Models of co-expressed genes are dropped where too few cell types are known to find these.
    Draws come one after the other, each with every model, so that an interrupted benchmark
    compares all of them. All that cannot be done is an error here, before anything is fitted.
    """
    models = _with_known_neighbors(choose_models(config), dataset, config, expression)
    counts: list[int | None] = [n if isinstance(n, int) else None for n in config.labels]
    if not counts or any(n is not None and n < 2 for n in counts):
        raise ConfigError(
            f"Invalid numbers of labels: {', '.join(map(str, config.labels)) or 'none'}.",
            "pass numbers from 2 up, or all",
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
    """Whether seeds change nothing but inner folds when all labels are used."""
    shuffled = model.sees.neighbors is not None and bool(model.sees.neighbors.control)
    return not model.sees.random and not shuffled and model.head.name == "linear"


def _with_known_neighbors(
    models: Models,
    dataset: xr.Dataset,
    config: BenchmarkConfig,
    expression: pd.DataFrame | None,
) -> Models:
    """Drop models that need the expression of other cell types where too few are known."""
    predicted = [place.trained_on for place in conditions(dataset, config)]
    if all(
        can_find_coexpression(dataset, expression, (name, *config.transfer)) for name in predicted
    ):
        return models
    reason = f"needs the expression of {FEWEST_CELL_TYPES} other cell types: pass --expression"
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
                f"{n} labelled genes cannot be drawn in {place.trained_on}, which has "
                f"{genes.train.size} training genes with a label.",
                "ask for fewer with --labels (or --permutations 0, without the control)",
            )
    if config.task == "classification":
        require_two_classes(target[0, genes.train])
        for n in (n for n in counts if n is not None):
            for draw in range(config.seeds):
                require_two_classes(target[0, drawn(dataset, genes, n, draw)])


def cell_key(cell: Cell, config: BenchmarkConfig) -> dict[str, Any]:
    """Return all that determines a cell's predictions, besides the data, as plain JSON.

    The grid is not part of it: a larger benchmark takes over the cells of a smaller one.
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
    """What is added to latents; cells without additions keep the names that they always had."""
    additions: dict[str, Any] = {"gene_mean": True} if sees.gene_mean else {}
    return additions | ({"neighbors": sees.neighbors.name} if sees.neighbors else {})


def cell_name(cell: Cell, config: BenchmarkConfig) -> str:
    """Return the name of the cell's file: readable, and unique to the cell."""
    parts = [
        cell.model.name,
        ALL if cell.n_labels is None else str(cell.n_labels),
        f"{'permuted' if cell.permuted else 'draw'}{cell.draw}",
        f"seed{cell.seed}",
    ]
    readable = "-".join("".join(c if c.isalnum() or c in "_+@" else "_" for c in p) for p in parts)
    return f"{readable}-{_digest(cell_key(cell, config))}"


def encoder_name(cell: Cell, config: BenchmarkConfig) -> str:
    """Return the name of the folder of the cell's encoder, the same with and without log means."""
    key = cell_key(cell, config)
    kept = ("trained_on", "split", "encoder", "encoder_seed")
    readable = f"{cell.model.sees.encoder.name}-seed{cell.encoder_seed}"
    return f"{readable}-{_digest({name: key[name] for name in kept})}"


def _digest(values: dict[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
