"""Types of settings with their bounds; errors of pydantic in the project's form."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any, get_args

from pydantic import BaseModel, Field, ValidationError

from simplechrome.errors import ConfigError, did_you_mean

Count = Annotated[int, Field(ge=1)]
AtLeastTwo = Annotated[int, Field(ge=2)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


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
        return ConfigError(
            f"{place}there is no option {name}, only {', '.join(known)}.",
            did_you_mean(path[-1], known) or "remove it",
        )
    reason = first["msg"][:1].lower() + first["msg"][1:]
    return ConfigError(
        f"{place}the value of {name} is invalid: found {first.get('input')!r}; {reason}.",
        "correct the value, or remove it to use the default",
    )


def _known(model: Any, path: Sequence[str]) -> list[str]:
    """Return the names of a section's options; the path holds the tags of unions."""
    for part in path:
        fields = getattr(model, "model_fields", {})
        tagged = (each for each in get_args(model) if each.model_fields["name"].default == part)
        model = fields[part].annotation if part in fields else next(tagged, model)
    return [name for name in getattr(model, "model_fields", {}) if name != "name"]
