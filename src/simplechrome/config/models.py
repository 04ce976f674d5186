"""Encoders and predictors of a run: their options as sections of a configuration, and the classes.

A section is made from the signature of its class, so that whatever is registered can be used in
TOML files, on the command line and in benchmarks. Only the classes that are named are imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, SerializeAsAny, ValidationError, create_model
from pydantic.functional_validators import WrapValidator
from pydantic_core import PydanticKnownError

from simplechrome.latent.registry import ENCODERS
from simplechrome.predictors.registry import DIFFERENCE_PREDICTORS, PREDICTORS
from simplechrome.work.registry import Registry
from simplechrome.work.settings import options_model

if TYPE_CHECKING:
    from simplechrome.config.run import RunConfig
    from simplechrome.latent.encoder import Encoder
    from simplechrome.predictors.predictor import Predictor

_OF_THE_RUN = ("task", "random_state", "device", "threads")
"""Arguments of classes that are set for the whole run, not in a section."""


class Section(BaseModel):
    """Options that refuse unknown names, and do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EncoderConfig(Section):
    """Options of an encoder; see `encoder_config`."""

    name: str

    def __reduce__(self) -> Any:
        return _make, (EncoderConfig, self.model_dump())


class PredictorConfig(Section):
    """Options of a predictor; see `predictor_config`."""

    name: str

    def __reduce__(self) -> Any:
        return _make, (PredictorConfig, self.model_dump())


_REGISTRIES: dict[type[Section], Registry[Any]] = {
    EncoderConfig: ENCODERS,
    PredictorConfig: PREDICTORS,
}


def section_of(cls: Any) -> Any:
    """Return the section of an encoder or predictor: names, types and defaults of its arguments."""
    return _section_of(cls)


@cache
def _section_of(cls: Any) -> Any:
    from simplechrome.latent.encoder import Encoder

    base = EncoderConfig if issubclass(cls, Encoder) else PredictorConfig
    model = options_model(cls, base, _OF_THE_RUN)
    name: Any = (Literal[cls.name], cls.name)
    return create_model(model.__name__, __base__=model, name=name)


def encoder_config(name: str, **options: Any) -> EncoderConfig:
    """Return the options of a registered encoder, with its defaults for those not given."""
    section: EncoderConfig = section_of(ENCODERS.get(name))(**options)
    return section


def predictor_config(name: str, **options: Any) -> PredictorConfig:
    """Return the options of a registered predictor, with its defaults for those not given."""
    section: PredictorConfig = section_of(PREDICTORS.get(name))(**options)
    return section


def encoders_with_latents() -> list[str]:
    """Return the names of encoders that log means can join. Imports all of them."""
    return [name for name in ENCODERS.names() if ENCODERS.get(name).gives_latents]


def _make(kind: type[Section], values: dict[str, Any]) -> Any:
    return section_of(_REGISTRIES[kind].get(values["name"])).model_validate(values)


def _choose(kinds: tuple[type[Section], ...], values: Any, handler: Callable[[Any], Any]) -> Any:
    """Validate a table by the class that its `name` names."""
    if not isinstance(values, Mapping):
        return handler(values)
    if "name" not in values:
        raise PydanticKnownError("union_tag_not_found", {"discriminator": "'name'"})
    name = values["name"]
    for registry in (_REGISTRIES[kind] for kind in kinds):
        if name in registry:
            break
    else:
        names = [known for kind in kinds for known in _REGISTRIES[kind].names()]
        tags = {"discriminator": "'name'", "tag": str(name), "expected_tags": ", ".join(names)}
        raise PydanticKnownError("union_tag_invalid", tags)
    try:
        return section_of(registry.get(name)).model_validate(values)
    except ValidationError as error:
        # As of a tagged union: the name is part of the path.
        lines: list[Any] = [{**e, "loc": (name, *e["loc"])} for e in error.errors()]
        raise ValidationError.from_exception_data(error.title, lines) from None


ChosenEncoder = Annotated[
    SerializeAsAny[EncoderConfig], WrapValidator(partial(_choose, (EncoderConfig,)))
]
ChosenPredictor = Annotated[
    SerializeAsAny[PredictorConfig], WrapValidator(partial(_choose, (PredictorConfig,)))
]
Chosen = Annotated[
    SerializeAsAny[EncoderConfig | PredictorConfig],
    WrapValidator(partial(_choose, (EncoderConfig, PredictorConfig))),
]
"""Types of fields: a table with the name of a registered class and its options."""


def _build(cls: type[Any], section: Section, **of_the_run: Any) -> Any:
    takes = signature(cls).parameters
    options = section.model_dump(exclude={"name"})
    return cls(**options, **{name: v for name, v in of_the_run.items() if name in takes})


def make_encoder(config: RunConfig) -> Encoder:
    """Return the unfitted encoder of a configuration."""
    cls = ENCODERS.get(config.encoder.name)
    run = {"random_state": config.seed, "device": config.device, "threads": config.threads}
    encoder: Encoder = _build(cls, config.encoder, **run)
    if not config.add_log_means:
        return encoder
    from simplechrome.latent.log_means import WithLogMeans

    return WithLogMeans(encoder)


def make_predictor(config: RunConfig) -> Predictor:
    """Return the unfitted predictor of a configuration."""
    difference = config.task == "difference"
    cls = (DIFFERENCE_PREDICTORS if difference else PREDICTORS).get(config.predictor.name)
    task = "regression" if difference else config.task
    run: dict[str, Any] = {"task": task, "random_state": config.seed, "threads": config.threads}
    if not cls.prefers_cpu:
        run["device"] = config.device
    predictor: Predictor = _build(cls, config.predictor, **run)
    return predictor
