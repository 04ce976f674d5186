"""Options of verbs: made from the settings that the library validates, or shared by several."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Mapping
from functools import reduce
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

import click

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

F = TypeVar("F", bound=Callable[..., Any])
Help = Mapping[str, "str | tuple[str, ...]"]
"""`field`, or `field:parameter` -> help, or (flag, old flags …, help) where the flag differs."""


class SettingsCommand(click.Command):
    """A verb with an option for each setting in the help texts, in their order.

    Types, choices and defaults are those of the model's fields; an option that is not given is
    None, so that a configuration file may set it. Models are imported only when the verb is used:
    `simplechrome --help` lists all verbs without them.

    Parameters
    ----------
    settings
        `module:Model` -> help of the fields that become options.
    """

    def __init__(self, *arguments: Any, settings: Mapping[str, Help], **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._settings = settings
        self._made: list[click.Parameter] = []

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return arguments, options of the verb itself, and those of its settings."""
        if not self._made:
            for place, helps in self._settings.items():
                module, name = place.split(":")
                fields = getattr(importlib.import_module(module), name).model_fields
                self._made += [_option(key, fields, text) for key, text in helps.items()]
            self.params = [*self.params, *self._made]
        return super().get_params(ctx)


def _option(
    key: str, fields: Mapping[str, FieldInfo], about: str | tuple[str, ...]
) -> click.Option:
    of_field, _, name = key.partition(":")
    field, name = fields[of_field], name or of_field
    *flags, text = ("--" + name.replace("_", "-"), about) if isinstance(about, str) else about
    kinds = [kind for kind in get_args(field.annotation) if kind is not NoneType]
    optional = NoneType in get_args(field.annotation)
    kind: Any = kinds[0] if optional else field.annotation
    default = field.get_default()
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    if default is not None and default is not False and default != "":
        text += f" [default: {default}]"
    made: dict[str, Any] = {"help": text}
    if get_origin(kind) is Literal:
        made["type"] = click.Choice([str(choice) for choice in get_args(kind)])
    elif get_origin(kind) is tuple:
        made |= {"multiple": True, "callback": split_list, "metavar": "A,B,…"}
    elif kind is bool:
        made |= {"is_flag": True, "default": None}
    elif kind in (int, float):
        made["type"] = kind
    return RenamedOption([*flags, name], **made)


def split_list(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> Any:
    """Turn `chr1,chr8`, or an option that is given twice, into a tuple; None if not given."""
    parts = [part.strip() for text in value for part in text.split(",")]
    return tuple(part for part in parts if part) if value else None


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in options.items() if value is not None}


class RenamedOption(click.Option):
    """An option whose first name is listed; the others are old names that still work."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the first name and the help."""
        names, self.opts = self.opts, self.opts[:1]
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = names


class NameOf(click.ParamType):
    """A name in a registry, or of a preset; looked up only when the verb is used.

    Parameters
    ----------
    place
        `module:REGISTRY`, which other packages may have added to.
    suffix
        What may follow a name: `+log_means`.
    """

    name = "name"

    def __init__(self, place: str, suffix: str = "") -> None:
        self.place, self.suffix = place, suffix

    def _names(self) -> list[str]:
        module, attribute = self.place.split(":")
        known = getattr(importlib.import_module(module), attribute)
        return list(known.names() if hasattr(known, "names") else known)

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name, if it is known."""
        if (value.removesuffix(self.suffix) if self.suffix else value) not in self._names():
            self.fail(f"{value!r} is not one of {', '.join(self._names())}.", param, ctx)
        return value

    def get_metavar(self, *_: Any, **__: Any) -> str:
        """Return the names, for the help."""
        return f"[{'|'.join(self._names())}]" + (f"[{self.suffix}]" if self.suffix else "")


class _StderrLog(logging.Handler):
    """Messages on stderr, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        mark = "! " if record.levelno >= logging.WARNING else ""
        text = mark + record.getMessage()
        tqdm = sys.modules.get("tqdm")
        if tqdm is not None:
            tqdm.tqdm.write(text, file=sys.stderr)
        else:
            click.echo(text, err=True)


def _set_up_log(context: click.Context, parameter: click.Parameter, value: int) -> None:
    logger = logging.getLogger("simplechrome")
    logger.handlers = [_StderrLog()]
    logger.propagate = False
    level = context.meta.setdefault("level", logging.INFO)
    if parameter.name == "verbose" and value:
        level = logging.DEBUG
    if parameter.name == "quiet" and value:
        level = logging.WARNING if value == 1 else logging.ERROR
    context.meta["level"] = level
    logger.setLevel(level)


def together(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    """Return a decorator that adds all of these options."""
    return lambda function: reduce(lambda made, option: option(made), reversed(options), function)


_log: dict[str, Any] = {"count": True, "expose_value": False, "callback": _set_up_log}
log_options = together(
    click.option("-v", "--verbose", help="More detail, and a traceback with errors.", **_log),
    click.option("-q", "--quiet", help="Warnings only; -qq: errors only.", **_log),
)
output_option = click.option(
    "-o", "--output", required=True, type=click.Path(), help="Path of the result."
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace an existing result.")
result_options = together(output_option, overwrite_option, log_options)
work_options = together(
    result_options, click.option("--resume", is_flag=True, help="Resume interrupted work.")
)
transfer_options = together(
    click.option(
        "--depth-scaling/--no-depth-scaling",
        default=True,
        show_default=True,
        help="Scale each mark of each cell type to the sequencing depth of training, and log the "
        "factors.",
    ),
    click.option(
        "--match-distribution",
        is_flag=True,
        help="Replace each mark's values by those of the same rank in training: for signal in "
        "other units than the run's (p-values, fold change), which is refused otherwise.",
    ),
)


def check_page_path(path: str, *, overwrite: bool) -> None:
    """Refuse a page that does not end in .html, or exists already."""
    from simplechrome.errors import ConfigError
    from simplechrome.work.files import check_free

    if not path.endswith(".html"):
        raise ConfigError(f"The format of the page {path} is unknown.", "end its name in .html")
    check_free(path, overwrite=overwrite)
