"""One TOML file is one run: every option, by name, with its default.

Defaults here equal those of the estimators (a test compares them). Unknown keys are refused.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NoReturn

import tomli_w
from pydantic import Field, ValidationError, model_validator

from simplechrome.config.models import (
    ChosenEncoder,
    ChosenPredictor,
    Section,
    encoder_config,
    encoders_with_latents,
    predictor_config,
    section_of,
)
from simplechrome.errors import ConfigError, MissingInputError
from simplechrome.latent.registry import ENCODERS
from simplechrome.predictors.registry import DIFFERENCE_PREDICTORS, PREDICTORS
from simplechrome.work.files import whole_file
from simplechrome.work.registry import Registry

Task = Literal["classification", "regression", "difference"]


class SplitConfig(Section):
    """Which genes are held out; see `simplechrome.dataset.splits`."""

    kind: Literal["chromosome", "published", "random", "fold"] = "chromosome"
    test_chroms: tuple[str, ...] = ("chr1", "chr8", "chr21")
    validation_chroms: tuple[str, ...] = ("chr2", "chr9", "chr22")
    exclude_chroms: tuple[str, ...] = ()
    n_folds: int = Field(5, ge=3)
    fold: int = Field(0, ge=0)
    test_share: float = Field(1 / 3, gt=0, lt=1)
    validation_share: float = Field(1 / 3, gt=0, lt=1)


class RunConfig(Section):
    """All that `simplechrome fit` needs besides the data.

    Attributes
    ----------
    task
        `classification` (high or low), `regression` (log2 of expression + 1) or `difference` (the
        change of the latter between two cell types).
    pair
        Of a difference: the cell type from which is subtracted, and that which is.
    cell_types
        Those of the dataset that are used; None for all.
    marks
        Those of the dataset that are used, as those that other data have; None for all.
    neighbors
        Names of the dataset's neighbor graphs whose genes' latents are seen beside the own.
    neighbor_expression
        Whether neighbors that are training genes with a label tell their expression as well.
    source
        A finished run that this one starts from: its encoder is taken as it is, and what its
        predictor says of a gene stands beside the latents; see `--from`.
    match_distribution
        Give each mark the distribution that it had in the source, for signal in other units.
    semi_supervised
        Show the encoder the labels that the predictor learns from, of training genes only.
    labels
        Number of training genes whose labels are used; None for all.
    seed
        Of weights and of the label draw.
    device, threads
        Where training runs; see `TrainingSettings`.
    add_log_means
        Give the predictor the marks' levels beside the latents; see `simplechrome.WithLogMeans`.
    ensemble
        Predictors of different seeds that are fitted on the one encoder, and averaged.
    coverage
        Share of genes whose truth the label sets, or intervals of expression, are to hold.
    """

    task: Task = "classification"
    pair: tuple[str, str] | None = None
    cell_types: tuple[str, ...] | None = None
    marks: tuple[str, ...] | None = None
    neighbors: tuple[str, ...] = ()
    neighbor_expression: bool = False
    source: str | None = None
    match_distribution: bool = False
    semi_supervised: bool = False
    labels: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)
    ensemble: int = Field(1, ge=1)
    coverage: float = Field(0.9, gt=0, lt=1)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: int | None = Field(None, ge=1)
    encoder: ChosenEncoder = Field(default_factory=lambda: encoder_config("consensus"))
    add_log_means: bool = False
    predictor: ChosenPredictor = Field(default_factory=lambda: predictor_config("linear"))
    split: SplitConfig = SplitConfig()

    @model_validator(mode="before")
    @classmethod
    def _windows_where_needed(cls, values: Any) -> Any:
        """Predictors that need windows get them where no encoder is named."""
        if isinstance(values, dict) and "encoder" not in values:
            predictor = values.get("predictor")
            named = predictor.get("name") if isinstance(predictor, dict) else predictor
            named = str(getattr(named, "name", named))
            if named in PREDICTORS and PREDICTORS.get(named).needs_windows:
                return values | {"encoder": encoder_config("none")}
        return values

    @model_validator(mode="after")
    def _windows_are_there(self) -> RunConfig:
        if PREDICTORS.get(self.predictor.name).needs_windows and self.encoder.name != "none":
            raise ConfigError(
                f"The predictor {self.predictor.name} looks along the bins of the window itself, "
                "and latents have none.",
                found=f"the encoder {self.encoder.name}",
                expected="the encoder none",
                remedy="--encoder none, or leave --encoder out; for latents take the predictor "
                "linear, mlp or boosting",
            )
        return self

    @model_validator(mode="after")
    def _neighbors_need_latents(self) -> RunConfig:
        if self.neighbors and self.encoder.name == "none":
            raise ConfigError(
                "Windows of many neighbors are too large: neighbors are told by latents.",
                found=f"neighbors {', '.join(self.neighbors)} with the encoder none",
                expected="an encoder with latents: "
                f"{', '.join([*encoders_with_latents(), 'log_means'])}",
            )
        return self

    @model_validator(mode="after")
    def _differences_have_a_pair(self) -> RunConfig:
        difference = self.task == "difference"
        if difference != (self.pair is not None):
            raise ConfigError(
                "A difference is between two cell types."
                if difference
                else "Only a difference has a pair of cell types.",
                found=f"the task {self.task}"
                + (f" with the pair {', '.join(self.pair)}" if self.pair else ", and no pair"),
                expected="--task difference --pair A,B",
            )
        odd = self.encoder.name == "none" or self.neighbors or self.source is not None
        if difference and (odd or self.predictor.name not in DIFFERENCE_PREDICTORS):
            raise ConfigError(
                "This is no way to predict a difference.",
                found=f"encoder {self.encoder.name}, predictor {self.predictor.name}"
                + (", neighbors" if self.neighbors else "")
                + (", a run to start from" if self.source else ""),
                expected="an encoder with latents, and the predictor "
                + " or ".join(DIFFERENCE_PREDICTORS.names()),
            )
        return self

    @model_validator(mode="after")
    def _encoder_looks_at_labels(self) -> RunConfig:
        odd = not ENCODERS.get(self.encoder.name).uses_labels or self.source is not None
        if self.semi_supervised and (odd or self.task == "difference"):
            raise ConfigError(
                "This encoder cannot be shown labels.",
                found=f"the encoder {self.encoder.name}, the task {self.task}"
                + (", and a run to start from" if self.source else ""),
                expected="the encoder consensus, fitted for classification or regression",
                remedy="leave out --from, or --semi-supervised: what is started from stays as it is"
                if self.source
                else "--encoder consensus --semi-supervised",
            )
        return self

    @model_validator(mode="after")
    def _source_needs_latents(self) -> RunConfig:
        if self.source is None:
            if self.match_distribution:
                raise ConfigError(
                    "Distributions can be matched to those of a run that is started from.",
                    found="--match-distribution without --from",
                    expected="both, or neither: a model of its own learns from signal as it is",
                )
            return self
        found = f"--from {self.source} with "
        if self.encoder.name == "none" or self.neighbors:
            raise ConfigError(
                "What a run starts from stands beside a gene's own latents.",
                found=found + ("neighbors" if self.neighbors else "the encoder none"),
                expected="an encoder with latents, and no neighbors",
            )
        return self

    @model_validator(mode="after")
    def _neighbor_expression_needs_neighbors(self) -> RunConfig:
        if self.neighbor_expression and not self.neighbors:
            raise ConfigError(
                "Neighbors are to tell their expression, and none are named.",
                expected="names of the dataset's neighbor graphs",
                remedy="--neighbors genomic, made with `simplechrome neighbors genomic DATASET`",
            )
        return self

    @model_validator(mode="after")
    def _log_means_join_latents(self) -> RunConfig:
        if self.add_log_means and not ENCODERS.get(self.encoder.name).gives_latents:
            raise ConfigError(
                "Log means can be added to latents only.",
                found=f"add_log_means with the encoder {self.encoder.name}",
                expected=f"an encoder with latents: {', '.join(encoders_with_latents())}",
            )
        return self


def flag(name: str) -> str:
    """What is an option called on the command line?"""
    return "--" + name.replace("_", "-")


def expected_value(error: Mapping[str, Any]) -> str:
    """What would have been right, without pydantic's words."""
    limits: Mapping[str, Any] = error.get("ctx", {})
    match error["type"].split("_"):
        case ["greater", "than", "equal"]:
            whole = isinstance(limits["ge"], int)
            return f"a {'whole ' if whole else ''}number from {limits['ge']:g} up"
        case ["greater", "than"]:
            return f"a number above {limits['gt']:g}"
        case ["less", "than"]:
            return f"a number below {limits['lt']:g}"
        case ["int", *_]:
            return "a whole number"
        case ["float", *_]:
            return "a number"
        case ["bool", *_]:
            return "true or false"
        case ["string", *_]:
            return "text in quotes"
        case ["tuple", *_]:
            return "a list: [ … ]"
        case ["literal", "error"]:
            return str(limits["expected"]).replace("'", "")
        case ["union", "tag", *_]:
            tags = (ENCODERS if error["loc"][0] == "encoder" else PREDICTORS).names()
            return f'a line name = "{tags[0]}", or another of: {", ".join(tags)}'
        case ["model", *_]:
            section = error["loc"][0]
            return f"a section: a line [{section}], and its options below it, each in a line"
    return str(error["msg"]).removeprefix("Input should be ")


def _explain(error: ValidationError, where: str, given: Collection[str]) -> ConfigError:
    """Say what is wrong in the words of the file, or of the command line if it was `given` there.

    pydantic puts the name of the chosen member of a union into the path of the key.
    """
    first = error.errors()[0]
    sections: dict[Any, Any] = {"encoder": ENCODERS, "predictor": PREDICTORS, "split": SplitConfig}
    table, *path = first["loc"] if first["loc"][0] in sections else (None, *first["loc"])
    section: Any = sections.get(table, RunConfig)
    place = ""
    if path and isinstance(section, Registry):
        place, section = (
            f" in [{table}] with the name {path[0]}",
            section_of(section.get(str(path[0]))),
        )
        path = path[1:]
    elif path and table:
        place = f" in [{table}]"
    key = str(path[0] if path else table)
    name, place = (f"`{flag(key)}`", "") if key in given else (f"`{key}`", place)
    there, option = ("There", "The option") if key in given else ("there", "the option")
    said = "" if key in given else f"{where}: "
    value = first.get("input")
    found = f"{flag(key)} {value}" if key in given else repr(value)
    if first["type"] == "extra_forbidden":
        options = [option for option in section.model_fields if option != "name"]
        close = get_close_matches(key, options, n=1)
        return ConfigError(
            f"{said}{there} is no option {name}{place}.",
            found=f"{key} = {value!r}",
            expected=", ".join(options),
            remedy=f"write `{close[0]}`" if close else "remove it",
        )
    return ConfigError(
        f"{said}{option} {name}{place} has a value that makes no sense.",
        found=found,
        expected=expected_value(first),
        remedy="correct the value, or leave the option out: it has a default",
    )


def make_config(
    values: dict[str, Any], where: str = "configuration", *, given: Collection[str] = ()
) -> RunConfig:
    """Which run do these values describe?

    Parameters
    ----------
    values
        Sections and options by name.
    where
        They come from, for error messages.
    given
        Names of the options that come from the command line instead.

    Raises
    ------
    ConfigError
        If a key is unknown or a value makes no sense.
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise _explain(error, where, given) from None


def read_config_values(path: str | Path) -> dict[str, Any]:
    """What does a TOML file say, before defaults are filled in?

    Raises
    ------
    MissingInputError
        If there is no such file.
    ConfigError
        If it is not TOML.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise MissingInputError(
            f"The configuration {path} cannot be read.",
            found=error.strerror or str(error),
            expected="a TOML file of options",
            remedy="check the path; each run folder holds a config.toml to start from",
        ) from None
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{path} is not a TOML file.",
            found=f"bytes in line {line} that are no text in UTF-8",
            expected="a text file of options",
            remedy="save it as UTF-8, or check that this is the file you meant",
        ) from None
    except tomllib.TOMLDecodeError as error:
        _refuse_toml(path, content.decode("utf-8").splitlines(), str(error))


def _refuse_toml(path: str | Path, lines: list[str], reason: str) -> NoReturn:
    # Python says the line in the message only: "Invalid value (at line 3, column 8)".
    place = re.search(r"\(at line (\d+), column \d+\)", reason)
    number = int(place[1]) if place else len(lines)
    text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    raise ConfigError(
        f"{path} is not a TOML file.",
        found=f"line {number}: {text}",
        expected='lines such as seed = 3 or task = "regression", and a line [encoder] above the '
        "options of the encoder",
        cause=reason.split(" (at ")[0].lower(),
        remedy=f"correct line {number}; the config.toml of any run folder shows how each option is "
        "written",
    )


def read_config(path: str | Path) -> RunConfig:
    """Which run does a TOML file describe? See `read_config_values` and `make_config`."""
    return make_config(read_config_values(path), str(path))


def write_config(config: RunConfig, path: str | Path) -> None:
    """Keep a run's options, defaults included, so that the file repeats the run."""
    values = config.model_dump(exclude_none=True)  # TOML has no null: absent is None
    with whole_file(path) as temporary:
        temporary.write_text(tomli_w.dumps(values), encoding="utf-8")
