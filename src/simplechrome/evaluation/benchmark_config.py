"""What a benchmark compares: one TOML file is one grid."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simplechrome.atomic import whole_file
from simplechrome.config import (
    RunConfig,
    SplitConfig,
    Task,
    expected_value,
    flag,
    read_config_values,
)
from simplechrome.errors import ConfigError, did_you_mean
from simplechrome.evaluation.neighbor_choice import (
    KINDS,
    NeighborChoice,
    is_neighbors,
    parse_neighbors,
)
from simplechrome.model_config import (
    LATENT_ENCODERS,
    NEED_WINDOWS,
    PREDICTORS,
    EncoderConfig,
    LinearConfig,
    LogMeansConfig,
    NeighborhoodConfig,
    NoEncoderConfig,
    PCAConfig,
    PredictorConfig,
    VAEConfig,
)
from simplechrome.run_options import PRESETS, WITH_LOG_MEANS

ALL = "all"
NEIGHBORHOOD = "neighborhood"
"""The predictor that attends to neighbors."""
Head = PredictorConfig | NeighborhoodConfig
SplitKind = Literal["chromosome", "published", "random", "fold"]
OPTIMISTIC_SPLITS = ("published", "random")
"""Splits that put overlapping windows of neighboring genes on both sides."""

REPRESENTATIONS: dict[str, EncoderConfig] = {
    "raw": NoEncoderConfig(),
    "log_means": LogMeansConfig(),
    "log_region_means": LogMeansConfig(n_regions=5),
    "pca": PCAConfig(),
    "vae": VAEConfig(),
    "paper_vae": PRESETS["paper"].encoders["paper_vae"],
}


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
        Every pair is a model, where it makes sense. A name of `variants`, or a known one, which
        may be followed by `@paper` (the settings of that preset) and, for representations with
        latents, by `+log_means` and by neighbors (see `parse_neighbors`), as in
        `pca+log_means+genomic.shuffled`.
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

    task: Task = "classification"
    cell_types: tuple[str, ...] | None = None
    transfer: tuple[str, ...] = ()
    representations: tuple[str, ...] = ("raw", "log_means", "pca", "vae", "vae+log_means")
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
    variants: dict[
        str,
        Annotated[
            EncoderConfig | PredictorConfig | NeighborhoodConfig, Field(discriminator="name")
        ],
    ] = Field({})


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
    """Each kind of neighbors beside its controls, and bands of distance, with three heads."""
    own = "pca+log_means"
    heads = ("linear", "boosting", NEIGHBORHOOD)
    every = [f"{own}:{head}" for head in heads[:2]]
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
"""Does a gene's surrounding add to its own window? Each kind of neighbors, against the gene alone,
against other genes in their places, and alone."""
BENCHMARK_PRESETS: dict[str, dict[str, Any]] = {"paper": PAPER, "neighbors": NEIGHBORS}


class Representation(NamedTuple):
    """What a model sees."""

    encoder: EncoderConfig
    add_log_means: bool
    neighbors: NeighborChoice | None = None

    @property
    def random(self) -> bool:
        """Does it depend on a seed?"""
        return self.encoder.name in ("vae", "paper_vae")


class Model(NamedTuple):
    """A representation and a predictor, by name and by settings."""

    representation: str
    predictor: str
    sees: Representation
    head: Head

    @property
    def name(self) -> str:
        """As `--baseline` takes it."""
        return f"{self.representation}:{self.predictor}"

    @property
    def slow(self) -> bool:
        """Would 50 fits take hours?"""
        return self.head.name in (*NEED_WINDOWS, NEIGHBORHOOD)


class Models(NamedTuple):
    """Those that are compared, and those that make no sense.

    not_applicable : representation, predictor and the reason
    """

    applicable: list[Model]
    not_applicable: list[tuple[str, str, str]]


def choose_models(config: BenchmarkConfig) -> Models:
    """Which models does the configuration name?

    Raises
    ------
    ConfigError
        If a name is unknown, or nothing is left.
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
        raise ConfigError(
            "None of these models makes sense.",
            found=", ".join(f"{r}:{p}" for r, p, _ in rest) or "no representation, or no predictor",
            expected="at least one representation and one predictor that sees it",
            remedy=f"{' and '.join(NEED_WINDOWS)} need the representation raw",
        )
    if config.baseline not in {model.name for model in applicable}:
        raise ConfigError(
            "The baseline is not among the models that are compared.",
            found=config.baseline,
            expected=f"one of {', '.join(model.name for model in applicable)}",
            remedy="name one of these with --baseline",
        )
    return Models(applicable, rest)


def _why_not(model: Model) -> str:
    """Why does a pair of representation and predictor make no sense? Empty if it does."""
    sees, head = model.sees, model.head.name
    windows = sees.encoder.name == "none"
    if head in NEED_WINDOWS and (not windows or sees.neighbors):
        return "looks along the bins of a window, which this representation has none of"
    if sees.neighbors and windows:
        return "windows of many neighbors are too large: neighbors are told by latents"
    if head == NEIGHBORHOOD and not sees.neighbors:
        return "looks at neighbors, which this representation has none of"
    return ""


def _split_model(name: str) -> tuple[str, str]:
    representation, colon, predictor = name.partition(":")
    if not (representation and colon and predictor):
        raise ConfigError(
            "A model is not named by its two parts.",
            found=name,
            expected="representation:predictor, as raw:linear",
        )
    return representation, predictor


def _known(config: BenchmarkConfig, builtin: Collection[str], kind: Any) -> list[str]:
    return [*builtin, *(name for name, form in config.variants.items() if isinstance(form, kind))]


def find_representation(name: str, config: BenchmarkConfig) -> Representation:
    """What does a representation of this name look like?

    Raises
    ------
    ConfigError
        If it is unknown.
    """
    inner, joined, around = name.rpartition("+")
    neighbors = parse_neighbors(around) if joined and is_neighbors(around) else None
    base, plus, rest = (inner if neighbors else name).partition(WITH_LOG_MEANS)
    kind, at, preset = base.partition("@")
    forms: Mapping[str, EncoderConfig] = REPRESENTATIONS
    if at:
        forms = _preset(preset, name).encoders
        forms = {"raw": forms["none"], **forms} if "none" in forms else forms
    form = config.variants.get(base, forms.get(kind))
    if rest or not isinstance(form, EncoderConfig):
        known = _known(config, REPRESENTATIONS, EncoderConfig)
        raise ConfigError(
            f"There is no representation {name!r}.",
            found=name,
            expected=f"{', '.join(known)}; with latents also followed by {WITH_LOG_MEANS}, and by "
            f"neighbors as +{' or +'.join(KINDS)}",
            remedy=did_you_mean(base, known),
        )
    if plus and form.name not in LATENT_ENCODERS:
        raise ConfigError(
            "Log means can be added to latents only.",
            found=name,
            expected=f"one of {', '.join(LATENT_ENCODERS)} in front of {WITH_LOG_MEANS}",
        )
    return Representation(form, bool(plus), neighbors)


def _find_head(name: str, config: BenchmarkConfig) -> Head:
    kind, at, preset = name.partition("@")
    if name == NEIGHBORHOOD:
        return NeighborhoodConfig()
    if at:
        form: Any = _preset(preset, name).predictors.get(kind)
    elif name in config.variants:
        form = config.variants[name]
    else:
        form = PREDICTORS[kind]() if kind in PREDICTORS else None
    if not isinstance(form, Head):
        known = _known(config, (*PREDICTORS, NEIGHBORHOOD), Head)
        raise ConfigError(
            f"There is no predictor {name!r}.",
            found=name,
            expected=", ".join(known),
            remedy=did_you_mean(name, known),
        )
    return form


def _preset(preset: str, name: str) -> Any:
    if preset not in PRESETS:
        raise ConfigError(
            "There is no such preset.",
            found=name,
            expected=f"{name.partition('@')[0]}@ and one of {', '.join(PRESETS)}",
        )
    return PRESETS[preset]


def run_config(config: BenchmarkConfig, model: Model, seed: int) -> RunConfig:
    """How would `simplechrome fit` fit this model with this seed?"""
    return RunConfig(
        task=config.task,
        seed=seed,
        device=config.device,
        threads=config.threads,
        encoder=model.sees.encoder,
        add_log_means=model.sees.add_log_means,
        # Attention over neighbors is no model of `fit`; its encoder is.
        predictor=LinearConfig() if isinstance(model.head, NeighborhoodConfig) else model.head,
    )


def split_config(config: BenchmarkConfig, kind: SplitKind, fold: int) -> SplitConfig:
    """How would `simplechrome fit` split the genes?"""
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
    """Which grid do these values describe?

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
        If a key is unknown or a value makes no sense.
    """
    try:
        return BenchmarkConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        name = flag(key.partition(".")[0]) if first["loc"][0] in given else f"`{key}`"
        if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
            raise ConfigError(
                f"{where}: there is no option {name}.",
                found=f"{key} = {first['input']!r}",
                expected=", ".join(BenchmarkConfig.model_fields),
                remedy=did_you_mean(key, list(BenchmarkConfig.model_fields)),
            ) from None
        raise ConfigError(
            f"{where}: the option {name} has a value that makes no sense.",
            found=repr(first.get("input")),
            expected=expected_value(first),
        ) from None


def merge_benchmark_options(path: str | Path | None, options: Mapping[str, Any]) -> BenchmarkConfig:
    """Which grid do a configuration file and the options beside it describe?

    Parameters
    ----------
    path
        TOML file, or None.
    options
        By name, None where not given; they win over the file. `preset` replaces what it has a
        value for, and is itself overruled by the other options. Representations or predictors
        replace `models`.

    Raises
    ------
    ConfigError
        If a key is unknown or a value makes no sense.
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
    """Keep a grid's options, defaults included, so that the file repeats the benchmark."""
    values = config.model_dump(exclude_none=True)  # TOML has no null: absent is None
    with whole_file(path) as temporary:
        temporary.write_text(tomli_w.dumps(values), encoding="utf-8")
