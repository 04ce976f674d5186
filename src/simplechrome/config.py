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
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from simplechrome.atomic import whole_file
from simplechrome.errors import ConfigError, MissingInputError

Transform = Literal["log1p", "asinh", "sqrt", "none", "maximum"]
Task = Literal["classification", "regression"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VAEConfig(_Section):
    """The variational autoencoder; see `simplechrome.VAE`."""

    name: Literal["vae"] = "vae"
    n_latent: int = Field(10, ge=1)
    channels: tuple[int, ...] = (32, 64)
    hidden: int = Field(64, ge=1)
    kernel: int = Field(5, ge=1)
    kl_weight: float = Field(1.0, ge=0)
    kl_warm_up: int = Field(5, ge=0)
    epochs: int = Field(12, ge=1)
    patience: int = Field(6, ge=1)
    batch_size: int = Field(256, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    transform_function: Transform = "log1p"
    precision: Literal["float32", "bfloat16"] = "float32"


class PaperVAEConfig(_Section):
    """The autoencoder of the SimpleChrome paper; see `simplechrome.PaperVAE`."""

    name: Literal["paper_vae"] = "paper_vae"
    n_latent: int = Field(10, ge=1)
    channels: tuple[int, ...] = (32, 64)
    kernel: int = Field(5, ge=1)
    slope: float = 0.5
    noise_variance: float = Field(0.0125, gt=0)
    epochs: int = Field(5, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(1e-4, gt=0)
    precision: Literal["float32", "bfloat16"] = "float32"


class PCAConfig(_Section):
    """Principal components; see `simplechrome.PCA`."""

    name: Literal["pca"] = "pca"
    n_latent: int = Field(10, ge=1)
    transform_function: Transform = "log1p"


class LogMeansConfig(_Section):
    """Levels of the marks; see `simplechrome.LogMeans`."""

    name: Literal["log_means"] = "log_means"
    n_regions: int = Field(1, ge=1)


class NoEncoderConfig(_Section):
    """The window itself; see `simplechrome.RawWindow`."""

    name: Literal["none"] = "none"
    transform_function: Transform = "log1p"


class LinearConfig(_Section):
    """Logistic or ridge regression; see `simplechrome.LinearPredictor`."""

    name: Literal["linear"] = "linear"
    Cs: tuple[float, ...] = (
        *(1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3),
        *(0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
    )
    n_folds: int = Field(5, ge=2)
    default_C: float = Field(0.1, gt=0)  # scikit-learn's name


class MLPConfig(_Section):
    """A multilayer perceptron; see `simplechrome.MLPPredictor`."""

    name: Literal["mlp"] = "mlp"
    hidden: tuple[int, ...] = (256, 128)
    dropout: float = Field(0.3, ge=0, lt=1)
    epochs: int = Field(40, ge=1)
    early_stopping: bool = True  # scikit-learn's name
    patience: int = Field(6, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(5e-4, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    clip_gradients: bool = True
    initialization: Literal["uniform", "he_normal"] = "uniform"
    n_folds: int = Field(5, ge=2)
    hold_out_from: int = Field(1000, ge=2)


class BoostingConfig(_Section):
    """Gradient-boosted trees; see `simplechrome.BoostingPredictor`."""

    name: Literal["boosting"] = "boosting"
    max_iter: int = Field(200, ge=1)
    learning_rate: float = Field(0.1, gt=0)
    max_leaf_nodes: int = Field(8, ge=2)
    min_samples_leaf: int = Field(20, ge=1)
    l2_regularization: float = Field(1.0, ge=0)
    max_features: float = Field(0.1, gt=0, le=1)
    max_bins: int = Field(63, ge=2, le=255)
    n_folds: int = Field(5, ge=2)
    hold_out_from: int = Field(1000, ge=2)


class DeepChromeConfig(_Section):
    """A convolution over bins; see `simplechrome.DeepChrome`."""

    name: Literal["deepchrome"] = "deepchrome"
    filters: int = Field(64, ge=1)
    kernel: int = Field(10, ge=1)
    pool: int = Field(5, ge=1)
    hidden: tuple[int, ...] = (128,)
    dropout: float = Field(0.5, ge=0, lt=1)
    epochs: int = Field(15, ge=1)
    early_stopping: bool = True
    patience: int = Field(15, ge=1)
    batch_size: int = Field(32, ge=1)
    min_batches: int = Field(8, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    clip_gradients: bool = True
    n_folds: int = Field(5, ge=2)
    hold_out_from: int = Field(1000, ge=2)
    precision: Literal["float32", "bfloat16"] = "float32"


class AttentiveChromeConfig(_Section):
    """Recurrent layers with attention; see `simplechrome.AttentiveChrome`."""

    name: Literal["attentivechrome"] = "attentivechrome"
    bin_hidden: int = Field(32, ge=1)
    mark_hidden: int = Field(16, ge=1)
    dropout: float = Field(0.2, ge=0, lt=1)
    epochs: int = Field(20, ge=1)
    early_stopping: bool = True
    patience: int = Field(20, ge=1)
    batch_size: int = Field(128, ge=1)
    min_batches: int = Field(16, ge=1)
    learning_rate: float = Field(5e-3, gt=0)
    weight_decay: float = Field(5e-2, ge=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    clip_gradients: bool = True
    n_folds: int = Field(3, ge=2)
    hold_out_from: int = Field(500, ge=2)
    precision: Literal["float32", "bfloat16"] = "float32"


class SplitConfig(_Section):
    """Which genes are held out; see `simplechrome.dataset.splits`."""

    kind: Literal["chromosome", "published", "random", "fold"] = "chromosome"
    test_chroms: tuple[str, ...] = ("chr1", "chr8", "chr21")
    validation_chroms: tuple[str, ...] = ("chr2", "chr9", "chr22")
    exclude_chroms: tuple[str, ...] = ()
    n_folds: int = Field(5, ge=3)
    fold: int = Field(0, ge=0)
    test_share: float = Field(1 / 3, gt=0, lt=1)
    validation_share: float = Field(1 / 3, gt=0, lt=1)


EncoderConfig = VAEConfig | PaperVAEConfig | PCAConfig | LogMeansConfig | NoEncoderConfig
PredictorConfig = (
    LinearConfig | MLPConfig | BoostingConfig | DeepChromeConfig | AttentiveChromeConfig
)
ENCODERS: dict[str, type[EncoderConfig]] = {
    "vae": VAEConfig,
    "paper_vae": PaperVAEConfig,
    "pca": PCAConfig,
    "log_means": LogMeansConfig,
    "none": NoEncoderConfig,
}
LATENT_ENCODERS = ("vae", "paper_vae", "pca")
PREDICTORS: dict[str, type[PredictorConfig]] = {
    "linear": LinearConfig,
    "mlp": MLPConfig,
    "boosting": BoostingConfig,
    "deepchrome": DeepChromeConfig,
    "attentivechrome": AttentiveChromeConfig,
}
NEED_WINDOWS = ("deepchrome", "attentivechrome")
"""Predictors that look along the bins, and have nothing to look at in latents."""


class RunConfig(_Section):
    """All that `simplechrome fit` needs besides the data.

    Attributes
    ----------
    task
        `classification` (high or low) or `regression` (log2 of expression + 1).
    cell_types
        Those of the dataset that are used; None for all.
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
    cell_types: tuple[str, ...] | None = None
    labels: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)
    ensemble: int = Field(1, ge=1)
    coverage: float = Field(0.9, gt=0, lt=1)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: int | None = Field(None, ge=1)
    encoder: EncoderConfig = Field(VAEConfig(), discriminator="name")
    add_log_means: bool = False
    predictor: PredictorConfig = Field(LinearConfig(), discriminator="name")
    split: SplitConfig = SplitConfig()

    @model_validator(mode="before")
    @classmethod
    def _windows_where_needed(cls, values: Any) -> Any:
        """Predictors that need windows get them where no encoder is named."""
        if isinstance(values, dict) and "encoder" not in values:
            predictor = values.get("predictor")
            named = predictor.get("name") if isinstance(predictor, dict) else predictor
            if getattr(named, "name", named) in NEED_WINDOWS:
                return values | {"encoder": NoEncoderConfig()}
        return values

    @model_validator(mode="after")
    def _windows_are_there(self) -> RunConfig:
        if self.predictor.name in NEED_WINDOWS and self.encoder.name != "none":
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
    def _log_means_join_latents(self) -> RunConfig:
        if self.add_log_means and self.encoder.name not in LATENT_ENCODERS:
            raise ConfigError(
                "Log means can be added to latents only.",
                found=f"add_log_means with the encoder {self.encoder.name}",
                expected=f"an encoder with latents: {', '.join(LATENT_ENCODERS)}",
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
            tags = ENCODERS if error["loc"][0] == "encoder" else PREDICTORS
            return f'a line name = "{next(iter(tags))}", or another of: {", ".join(tags)}'
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
    if path and isinstance(section, dict):
        place, section = f" in [{table}] with the name {path[0]}", section[path[0]]
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
