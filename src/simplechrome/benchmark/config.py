"""Options of a benchmark: one TOML file is one grid."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simplechrome.benchmark.neighbor_names import KINDS
from simplechrome.config.models import Chosen
from simplechrome.config.run import (
    SplitConfig,
    read_config_values,
)
from simplechrome.work.files import whole_file
from simplechrome.work.settings import settings_error

ALL = "all"
"""Of labels: those of all training genes."""
NEIGHBORHOOD = "neighborhood"
"""Name of the predictor that attends to neighbors."""

PAPER: dict[str, Any] = {
    "models": [
        *("raw@paper:mlp@paper", "raw@paper:deepchrome@paper", "raw@paper:attentivechrome@paper"),
        "paper_vae:mlp@paper",
        *("raw:mlp", "raw:deepchrome", "raw:attentivechrome", "vae:mlp"),
        *("raw:linear", "vae:linear", "pca:linear"),
    ],
    "labels": [100, 1000, ALL],
    "baseline": "raw@paper:mlp@paper",
}
"""The comparison of the SimpleChrome paper: its four models in its own settings, the same four in
ours, and the linear head on window, latents and principal components."""


def _neighbor_models() -> list[str]:
    """Each kind of neighbors with its controls, and bands of distance, with three heads."""
    own = "pca+log_means"
    heads = ("linear", "boosting", NEIGHBORHOOD)
    every = [f"{own}:{head}" for head in heads[:2]]
    # Co-expressed genes carry what a gene usually does: is there anything beyond its mean?
    every += [f"{own}+gene_mean:{head}" for head in heads[:2]]
    for control in ("", ".shuffled"):
        every += [f"{own}+gene_mean+coexpression{control}:{head}" for head in heads]
    for kind in KINDS:
        for control in ("", ".shuffled", ".elsewhere"):
            every += [f"{own}+{kind}{control}:{head}" for head in heads]
        every += [f"{own}+{kind}.only:{head}" for head in heads]
    for some in ("genomic.apart", "genomic.apart.n2", "contact.apart", "coexpression.apart"):
        for control in ("", ".shuffled"):
            every += [f"{own}+{some}{control}:{head}" for head in heads[1:]]
    for band in ("0-10kb", "10-50kb", "50-200kb", "200-1000kb"):
        for control in ("", ".shuffled"):
            every += [f"{own}+genomic.{band}{control}:{NEIGHBORHOOD}"]
    return every


NEIGHBORS: dict[str, Any] = {
    "models": _neighbor_models(),
    "labels": [100, 1000, ALL],
    "baseline": "pca+log_means:linear",
    # Shuffled neighbors are the control here; every model's predictions are compared with
    # permuted labels as well.
    "permutations": 0,
    "seeds_all": 10,
}
"""What neighboring genes add: each kind of neighbors against the gene's own window, against other
genes in their places, and alone."""
DEMO: dict[str, Any] = {
    # No VAE: each draw has its own, which takes longer than all else together.
    "representations": ["raw", "log_means", "pca", "consensus"],
    "predictors": ["linear"],
    "labels": [50, 200, ALL],
    "seeds": 5,
    "seeds_all": 1,
    "permutations": 0,
}
"""Each representation with a linear head, in less than a minute: the comparison of the demo."""
BENCHMARK_PRESETS: dict[str, dict[str, Any]] = {
    "paper": PAPER,
    "neighbors": NEIGHBORS,
    "demo": DEMO,
}


SplitKind = Literal["chromosome", "published", "random", "fold"]
OPTIMISTIC_SPLITS = ("published", "random")
"""Splits that put overlapping windows of neighboring genes on both sides."""

SPECIAL_REPRESENTATIONS: dict[str, dict[str, Any]] = {
    "raw": {"name": "none"},
    "log_region_means": {"name": "log_means", "n_regions": 5},
}
"""Representations that are not called as their encoder, by the encoder's options."""


class BenchmarkConfig(BaseModel):
    """All that `simplechrome benchmark` needs besides the data.

    Attributes
    ----------
    task
        `classification` or `regression`.
    cell_types
        Each is trained on and scored by itself; None for all of the dataset.
    transfer
        Cell types that the models of the others are scored on as well.
    representations, predictors
        Every supported pair is a model. A name of `variants`, or a known one, which
        may be followed by `@paper` (the settings of that preset) and, for representations with
        latents, by `+log_means`, by `+gene_mean` (the gene's expression in other cell types) and
        by neighbors (see `parse_neighbors`), as in `pca+log_means+genomic.shuffled`.
    models
        Pairs `representation:predictor`, in place of all pairs of the two above.
    labels
        Numbers of labels; `all` for those of all training genes.
    seeds
        Draws of labels, each with weights of its own seed.
    seeds_all
        Seeds with all labels, where the draw is always the same.
    splits
        Kinds of split; see `simplechrome.dataset.splits`.
    baseline
        The model that all others are compared with, pair by pair.
    permutations, permuted_labels
        How many times each model is trained on permuted labels, and on how many of them. Models
        that need windows take too long for it: their predictions are compared with permuted test
        labels, as those of all models are.
    device, threads
        See `TrainingSettings`; threads of each job.
    variants
        Encoders and predictors with settings of their own, by a name to be used above.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Literal["classification", "regression"] = "classification"
    cell_types: tuple[str, ...] | None = None
    transfer: tuple[str, ...] = ()
    representations: tuple[str, ...] = ("raw", "log_means", "pca", "vae", "consensus")
    predictors: tuple[str, ...] = ("linear", "mlp", "boosting", "deepchrome", "attentivechrome")
    models: tuple[str, ...] | None = None
    labels: tuple[int | Literal["all"], ...] = (20, 50, 100, 200, 1000, "all")
    seeds: int = Field(10, ge=1)
    seeds_all: int = Field(3, ge=1)
    splits: tuple[SplitKind, ...] = ("chromosome",)
    test_chroms: tuple[str, ...] = SplitConfig().test_chroms
    validation_chroms: tuple[str, ...] = SplitConfig().validation_chroms
    exclude_chroms: tuple[str, ...] = ()
    n_folds: int = Field(5, ge=3)
    baseline: str = "raw:linear"
    permutations: int = Field(50, ge=0)
    permuted_labels: int = Field(100, ge=2)
    device: Literal["auto", "cpu", "cuda", "mps"] = "cpu"
    threads: int | None = Field(None, ge=1)
    variants: dict[str, Chosen] = Field({})


def split_config(config: BenchmarkConfig, kind: SplitKind, fold: int) -> SplitConfig:
    """Return the options with which `simplechrome fit` would split the genes."""
    return SplitConfig(
        kind=kind,
        test_chroms=config.test_chroms,
        validation_chroms=config.validation_chroms,
        exclude_chroms=config.exclude_chroms,
        n_folds=config.n_folds,
        fold=fold,
    )


def make_benchmark_config(
    values: Mapping[str, Any], where: str = "options", *, given: Collection[str] = ()
) -> BenchmarkConfig:
    """Return the options of a grid, checked.

    Parameters
    ----------
    values
        Options by name.
    where
        They come from, for error messages.
    given
        Names of those that come from the command line instead.

    Raises
    ------
    ConfigError
        If a key is unknown or a value is invalid.
    """
    try:
        return BenchmarkConfig.model_validate(values)
    except ValidationError as error:
        raise settings_error(error, BenchmarkConfig, where, given) from None


def merge_benchmark_options(path: str | Path | None, options: Mapping[str, Any]) -> BenchmarkConfig:
    """Return the grid of a configuration file (TOML, or None) and of options that override it.

    Options are by name, None where not given. `preset` replaces what it has a value for, and is
    itself overruled by the other options. Representations or predictors replace `models`. Errors
    are those of `make_benchmark_config`.
    """
    values = read_config_values(path) if path is not None else {}
    given = {name: value for name, value in options.items() if value is not None}
    preset = given.pop("preset", None)
    if preset is not None:
        values |= BENCHMARK_PRESETS[preset]
    if {"representations", "predictors"} & set(given):
        values.pop("models", None)
    if given.get("models") and "baseline" not in {**values, **given}:
        values["baseline"] = given["models"][0]
    where = "options" if path is None else str(path)
    return make_benchmark_config({**values, **given}, where, given=set(given))


def write_benchmark_config(config: BenchmarkConfig, path: str | Path) -> None:
    """Write a grid's options, defaults included, so that the file repeats the benchmark."""
    values = config.model_dump(exclude_none=True)  # TOML has no null: absent is None
    with whole_file(path) as temporary:
        temporary.write_text(tomli_w.dumps(values), encoding="utf-8")
