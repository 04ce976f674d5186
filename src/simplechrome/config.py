"""One TOML file is one run: every option, by name, with its default.

Defaults here equal those of the estimators (a test compares them). Unknown keys are refused.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simplechrome.atomic import whole_file
from simplechrome.errors import ConfigError, MissingInputError

Transform = Literal["log1p", "asinh", "sqrt", "none"]
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
    patience: int = Field(6, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(5e-4, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    n_folds: int = Field(5, ge=2)
    hold_out_from: int = Field(1000, ge=2)


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


EncoderConfig = VAEConfig | PCAConfig | LogMeansConfig | NoEncoderConfig
PredictorConfig = LinearConfig | MLPConfig
ENCODERS: dict[str, type[EncoderConfig]] = {
    "vae": VAEConfig,
    "pca": PCAConfig,
    "log_means": LogMeansConfig,
    "none": NoEncoderConfig,
}
PREDICTORS: dict[str, type[PredictorConfig]] = {"linear": LinearConfig, "mlp": MLPConfig}


class RunConfig(_Section):
    """All that `simplechrome fit` needs besides the data.

    Attributes
    ----------
    task
        `classification` (high or low) or `regression` (log2 of expression + 1).
    labels
        Number of training genes whose labels are used; None for all.
    seed
        Of weights and of the label draw.
    device, threads
        Where training runs; see `TrainingSettings`.
    """

    task: Task = "classification"
    labels: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: int | None = Field(None, ge=1)
    encoder: EncoderConfig = Field(VAEConfig(), discriminator="name")
    predictor: PredictorConfig = Field(LinearConfig(), discriminator="name")
    split: SplitConfig = SplitConfig()


def _explain(error: ValidationError, where: str) -> ConfigError:
    first = error.errors()[0]
    # pydantic puts the name of the chosen member of a union into the path of the key.
    key = ".".join(str(part) for part in first["loc"])
    found = first.get("input")
    unknown = first["type"] == "extra_forbidden"
    return ConfigError(
        f"{where}: there is no option `{key}`."
        if unknown
        else f"{where}: the option `{key}` has a value that makes no sense.",
        found=repr(found),
        expected="an option of this section" if unknown else first["msg"],
        remedy="see `simplechrome fit --help` and the config.toml of any run folder",
    )


def make_config(values: dict[str, Any], where: str = "configuration") -> RunConfig:
    """Which run do these values describe?

    Raises
    ------
    ConfigError
        If a key is unknown or a value makes no sense.
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise _explain(error, where) from None


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
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingInputError(
            f"The configuration {path} cannot be read.", found=error.strerror or str(error)
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file.", found=str(error)) from None


def read_config(path: str | Path) -> RunConfig:
    """Which run does a TOML file describe? See `read_config_values` and `make_config`."""
    return make_config(read_config_values(path), str(path))


def write_config(config: RunConfig, path: str | Path) -> None:
    """Keep a run's options, defaults included, so that the file repeats the run."""
    values = config.model_dump(exclude_none=True)  # TOML has no null: absent is None
    with whole_file(path) as temporary:
        temporary.write_text(tomli_w.dumps(values), encoding="utf-8")


# Which kind of split each option belongs to.
_SPLIT_OPTIONS = {
    "test_chroms": "chromosome",
    "validation_chroms": "chromosome",
    "exclude_chroms": "chromosome",
    "fold": "fold",
    "n_folds": "fold",
}
_ENCODER_OPTIONS = ("n_latent", "epochs")


def merge_options(path: str | Path | None, options: dict[str, Any]) -> RunConfig:
    """Which run do a configuration file and the options beside it describe?

    Parameters
    ----------
    path
        TOML file, or None.
    options
        By name, None where not given; they win over the file. Naming another encoder or
        predictor than the file does drops the file's section on it. `fold` alone means a split
        by fold.

    Raises
    ------
    ConfigError
        If a key is unknown, a value makes no sense, or an option does not apply.
    """
    values = read_config_values(path) if path is not None else {}
    make_config(values, str(path))  # From here on, sections are tables.
    where = "options" if path is None else f"{path} with options"
    given = {name: value for name, value in options.items() if value is not None}
    labels = given.pop("labels", None)
    if labels == "all":
        values.pop("labels", None)
    elif labels is not None:
        values["labels"] = labels
    for section, default in (("encoder", "vae"), ("predictor", "linear")):
        chosen = given.pop(section, None)
        held = dict(values.get(section, {"name": default}))
        same = chosen in (None, held.get("name"))
        values[section] = held if same else {"name": chosen}
    split = dict(values.get("split", {}))
    if "split" in given:
        split["kind"] = given.pop("split")
    elif "fold" in given:
        split["kind"] = "fold"
    kind = split.get("kind", SplitConfig().kind)
    for name, belongs in _SPLIT_OPTIONS.items():
        if name not in given:
            continue
        if kind != belongs:
            raise ConfigError(
                f"{where}: `{name}` does not apply to a split of kind {kind!r}.",
                found=f"{name} = {given[name]!r}",
                expected=f"a split of kind {belongs!r}",
                remedy=f"pass --split {belongs}, or leave the option out",
            )
        split[name] = given.pop(name)
    values["encoder"] |= {name: given.pop(name) for name in _ENCODER_OPTIONS if name in given}
    return make_config({**values, "split": split, **given}, where)
