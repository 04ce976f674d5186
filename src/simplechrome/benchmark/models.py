"""Which models does a benchmark compare? A name says what each sees, and its predictor."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from simplechrome.benchmark.config import (
    REPRESENTATIONS,
    BenchmarkConfig,
)
from simplechrome.benchmark.neighbor_names import (
    KINDS,
    NeighborChoice,
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
from simplechrome.errors import ConfigError, did_you_mean
from simplechrome.latent.registry import ENCODERS
from simplechrome.predictors.registry import PREDICTORS

WITH_GENE_MEAN = "+gene_mean"
"""Behind a representation: beside it, the gene's mean log expression in other cell types."""


class Representation(NamedTuple):
    """What a model sees.

    gene_mean : beside the latents, how much the gene is expressed in other cell types
    """

    encoder: EncoderConfig
    add_log_means: bool
    gene_mean: bool = False
    neighbors: NeighborChoice | None = None

    @property
    def random(self) -> bool:
        """Does it depend on a seed?"""
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
        """Would 50 fits take hours?"""
        head = PREDICTORS.get(self.head.name)
        return head.needs_windows or head.needs_neighbors


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
            remedy="deepchrome and attentivechrome need the representation raw",
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
    if PREDICTORS.get(head).needs_windows and (not windows or sees.neighbors):
        return "looks along the bins of a window, which this representation has none of"
    if sees.gene_mean and windows:
        return "the gene's mean elsewhere stands beside latents"
    if sees.neighbors and windows:
        return "windows of many neighbors are too large: neighbors are told by latents"
    if PREDICTORS.get(head).needs_neighbors and not sees.neighbors:
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
    own = inner if neighbors else name
    bare = own.removesuffix(WITH_GENE_MEAN)
    base, plus, rest = bare.partition(WITH_LOG_MEANS)
    kind, at, preset = base.partition("@")
    forms: Mapping[str, Any] = REPRESENTATIONS
    if at:
        forms = _preset(preset, name).encoders
        forms = {"raw": forms["none"], **forms} if "none" in forms else forms
    form = config.variants.get(base, forms.get(kind))
    if isinstance(form, Mapping):
        form = encoder_config(**form)
    if rest or not isinstance(form, EncoderConfig):
        known = _known(config, REPRESENTATIONS, EncoderConfig)
        raise ConfigError(
            f"There is no representation {name!r}.",
            found=name,
            expected=f"{', '.join(known)}; with latents also followed by {WITH_LOG_MEANS}, "
            f"{WITH_GENE_MEAN}, and by neighbors as +{' or +'.join(KINDS)}",
            remedy=did_you_mean(base, known),
        )
    if plus and not ENCODERS.get(form.name).gives_latents:
        raise ConfigError(
            "Log means can be added to latents only.",
            found=name,
            expected=f"one of {', '.join(encoders_with_latents())} in front of {WITH_LOG_MEANS}",
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
