"""Types of settings with their bounds; errors of pydantic in the project's form."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import is_dataclass
from functools import cache
from inspect import Parameter, signature
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import BaseModel, Field, ValidationError, create_model

from simplechrome.errors import ConfigError, did_you_mean

Task = Literal["classification", "regression"]
Count = Annotated[int, Field(ge=1)]
AtLeastTwo = Annotated[int, Field(ge=2)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


@cache
def options_model(cls: Any, base: Any = BaseModel, exclude: tuple[str, ...] = ()) -> Any:
    """Return a pydantic model of a class's arguments: their names, annotated types and defaults."""
    hints = get_type_hints(cls if is_dataclass(cls) else cls.__init__, include_extras=True)
    fields: dict[str, Any] = {
        name: (hints[name], ... if argument.default is Parameter.empty else argument.default)
        for name, argument in signature(cls).parameters.items()
        if name not in exclude
    }
    return create_model(f"{cls.__name__}Config", __base__=base, **fields)


def check_options(estimator: Any) -> None:
    """Validate an estimator's arguments by their annotated types and bounds.

    Raises
    ------
    ConfigError
        If an argument is of another type or out of bounds.
    """
    kind: Any = type(estimator)
    model = options_model(kind)
    try:
        model(**{name: getattr(estimator, name) for name in model.model_fields})
    except ValidationError as error:
        raise settings_error(error, model, kind.__name__) from None


def flag(name: str) -> str:
    """Return an option's name on the command line: `--n-latent` for `n_latent`."""
    return "--" + name.replace("_", "-")


def settings_error(
    error: ValidationError,
    model: type[BaseModel],
    where: str = "",
    given: Collection[str] = (),
) -> ConfigError:
    """Return the first error of a validation as one that names the option.

    Parameters
    ----------
    error
        Raised by `model`.
    model
        The settings that were validated.
    where
        The values come from: a file, a section.
    given
        Names of the options that come from the command line, and are called as they are there.
    """
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    flags = [flag(part) for part in path if part in given]
    name = flags[-1] if flags else f"`{'.'.join(path)}`"
    place = f"{where}: " if where and not flags else ""
    if first["type"] == "extra_forbidden":
        known = _known(model, path[:-1])
        only = f", only {', '.join(known)}" if known else ""
        return ConfigError(
            f"{place}there is no option {name}{only}.",
            did_you_mean(path[-1], known) or "remove it",
        )
    reason = first["msg"][:1].lower() + first["msg"][1:]
    return ConfigError(
        f"{place}the value of {name} is invalid: found {first.get('input')!r}; {reason}.",
        "correct the value, or remove it to use the default",
    )


def _known(model: Any, path: Sequence[str]) -> list[str]:
    """Return the names of a section's options; none if its model is not that of a field."""
    for part in path:
        fields = getattr(model, "model_fields", {})
        model = fields[part].annotation if part in fields else model
    return [name for name in getattr(model, "model_fields", {}) if name != "name"]
