"""One TOML file is one run: every option, by name, with its default.

Sections of encoders and predictors have the options of their classes. Unknown keys are errors.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import Field, ValidationError, model_validator

from simplechrome.config.models import (
    ChosenEncoder,
    ChosenPredictor,
    Section,
    encoder_config,
    predictor_config,
    section_of,
)
from simplechrome.errors import ConfigError, MissingInputError
from simplechrome.latent.registry import ENCODERS
from simplechrome.predictors.registry import DIFFERENCE_PREDICTORS, PREDICTORS
from simplechrome.work.files import whole_file
from simplechrome.work.settings import flag as flag
from simplechrome.work.settings import settings_error

Task = Literal["classification", "regression", "difference"]


_OLD_NAMES = {"source": "init_from", "semi_supervised": "supervised_axis"}


def with_new_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a run whose old names, of earlier versions, are replaced."""
    return {_OLD_NAMES.get(name, name): value for name, value in values.items()}


class SplitConfig(Section):
    """How genes are split; see `simplechrome.dataset.splits`."""

    kind: Literal["chromosome", "published", "random", "fold"] = "chromosome"
    test_chroms: tuple[str, ...] = ("chr1", "chr8", "chr21")
    validation_chroms: tuple[str, ...] = ("chr2", "chr9", "chr22")
    exclude_chroms: tuple[str, ...] = ()
    n_folds: int = Field(5, ge=3)
    fold: int = Field(0, ge=0)
    test_share: float = Field(1 / 3, gt=0, lt=1)
    validation_share: float = Field(1 / 3, gt=0, lt=1)


class RunConfig(Section):
    """All options of `simplechrome fit`.

    Attributes
    ----------
    task
        `classification` (high or low), `regression` (log2 of expression + 1) or `difference` (the
        change of the latter between two cell types).
    pair
        Of a difference A - B: the two cell types.
    cell_types, marks
        Those of the dataset that are used; None for all.
    neighbors
        Names of the dataset's neighbor graphs whose genes' latents are features too.
    neighbor_expression
        Use the expression of neighbors as well, of training genes with a label.
    init_from
        A finished run to fine-tune: its encoder is used as it is, and the prediction of its
        predictor is a feature.
    match_distribution
        Give each mark the distribution that it had in that run, for signal in other units.
    supervised_axis
        Fit one latent to the labels of the training genes.
    labels
        Number of training genes whose labels are used; None for all.
    seed
        Of weights and of the label draw.
    ensemble
        Number of predictors of different seeds, which are averaged.
    coverage
        Nominal coverage of label sets, or intervals of expression.
    device, threads
        Where networks are trained; see `TrainingSettings`.
    add_log_means
        Add the levels of the marks to the latents; see `simplechrome.WithLogMeans`.
    """

    task: Task = "classification"
    pair: tuple[str, str] | None = None
    cell_types: tuple[str, ...] | None = None
    marks: tuple[str, ...] | None = None
    neighbors: tuple[str, ...] = ()
    neighbor_expression: bool = False
    init_from: str | None = None
    match_distribution: bool = False
    supervised_axis: bool = False
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
        """Choose the encoder none for predictors that need windows."""
        if not isinstance(values, dict):
            return values
        values = with_new_names(values)
        if "encoder" not in values:
            predictor = values.get("predictor")
            named = predictor.get("name") if isinstance(predictor, dict) else predictor
            named = str(getattr(named, "name", named))
            if named in PREDICTORS and PREDICTORS.get(named).needs_windows:
                return values | {"encoder": encoder_config("none")}
        return values

    @model_validator(mode="after")
    def _options_fit_together(self) -> RunConfig:
        encoder, predictor = self.encoder.name, self.predictor.name
        traits, difference = ENCODERS.get(encoder), self.task == "difference"
        no_latents, windows = encoder == "none", PREDICTORS.get(predictor).needs_windows
        faults = [
            (
                windows and not no_latents,
                f"The predictor {predictor} needs windows; the encoder {encoder} gives latents.",
                "--encoder none, or another predictor for latents: linear, mlp, boosting",
            ),
            (
                self.neighbors and no_latents,
                f"Neighborhood features ({', '.join(self.neighbors)}) need latents, and the "
                "encoder none has none.",
                "choose an encoder with latents: consensus",
            ),
            (
                difference != (self.pair is not None),
                "The task difference needs a pair of cell types, and no other task does: found "
                f"the task {self.task} and the pair {self.pair}.",
                "--task difference --pair A,B",
            ),
            (
                difference
                and (no_latents or self.neighbors or predictor not in DIFFERENCE_PREDICTORS),
                "The task difference needs latents without neighbors, and the predictor "
                f"{' or '.join(DIFFERENCE_PREDICTORS.names())}: found the encoder {encoder} and "
                f"the predictor {predictor}.",
                "--encoder consensus --predictor mlp",
            ),
            (
                self.supervised_axis and (not traits.uses_labels or difference),
                f"The encoder {encoder} has no supervised axis for the task {self.task}.",
                "--encoder consensus --supervised-axis, for classification or regression",
            ),
            (
                self.init_from and (difference or self.supervised_axis or self.neighbors),
                f"Fine-tuning {self.init_from} keeps its encoder, for classification or "
                "regression: a pair, a supervised axis or neighbors cannot be added.",
                "omit --init-from, or these options",
            ),
            (
                self.init_from and no_latents,
                f"Fine-tuning {self.init_from} needs latents, and the encoder none has none.",
                "choose an encoder with latents",
            ),
            (
                self.match_distribution and not self.init_from,
                "The option --match-distribution of `fit` applies to fine-tuning only: a new model "
                "is fitted on the signal as it is.",
                "pass --init-from RUN as well, or omit --match-distribution",
            ),
            (
                self.neighbor_expression and not self.neighbors,
                "The expression of neighbors is a feature only with neighbor graphs.",
                "--neighbors genomic, made with `simplechrome neighbors genomic DATASET`",
            ),
            (
                self.add_log_means and not traits.gives_latents,
                f"Log means can be added to latents only, and the encoder {encoder} gives none.",
                "omit +log_means (add_log_means), or choose another encoder",
            ),
        ]
        for applies, problem, remedy in faults:
            if applies:
                raise ConfigError(problem, remedy)
        return self


def make_config(
    values: dict[str, Any], where: str = "configuration", *, given: Collection[str] = ()
) -> RunConfig:
    """Return the configuration of a run from its sections and options.

    Error messages name the file, `where`, or the option, if its name is `given` on the command
    line.

    Raises
    ------
    ConfigError
        If a key is unknown, a value is invalid, or options do not fit together.
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        # Sections of encoders and predictors are not among the fields: their classes have them.
        path = list(error.errors()[0]["loc"][:-1])
        registries = {"encoder": ENCODERS, "predictor": PREDICTORS}
        model: Any = RunConfig
        if len(path) == 2 and path[0] in registries:
            model = section_of(registries[str(path[0])].get(str(path[1])))
        raise settings_error(error, model, where, given) from None


def read_config_values(path: str | Path) -> dict[str, Any]:
    """Return what a TOML file holds, without defaults."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingInputError(
            f"The configuration {path} cannot be read: {error.strerror or error}.",
            "check the path; each run folder holds a config.toml to start from",
        ) from None
    except ValueError as error:  # not UTF-8, or not TOML; both say where
        raise ConfigError(
            f"{path} is not a TOML file: {error}.",
            'write lines such as seed = 3 or task = "regression", as in the config.toml of any run '
            "folder",
        ) from None


def read_config(path: str | Path) -> RunConfig:
    """Return the configuration that a TOML file holds; see `make_config`."""
    return make_config(read_config_values(path), str(path))


def write_config(config: RunConfig, path: str | Path) -> None:
    """Write all options of a run, defaults included, as TOML."""
    values = config.model_dump(exclude_none=True)  # TOML has no null: absent is None
    with whole_file(path) as temporary:
        temporary.write_text(tomli_w.dumps(values), encoding="utf-8")
