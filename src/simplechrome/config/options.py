"""Options of a run from three places: a configuration file, a preset, the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from simplechrome.config.models import (
    EncoderConfig,
    PredictorConfig,
    encoder_config,
    predictor_config,
    section_of,
)
from simplechrome.config.run import (
    RunConfig,
    SplitConfig,
    flag,
    make_config,
    read_config,
    read_config_values,
)
from simplechrome.errors import ConfigError
from simplechrome.latent.registry import ENCODERS
from simplechrome.predictors.registry import PREDICTORS
from simplechrome.runs.folder import find_run, require_startable


class Preset(NamedTuple):
    """A published method's own settings.

    encoder_options, predictor_options : what `--encoder` and `--predictor` mean under the preset,
        with options; the first of each is taken where none is named (the window itself, if the
        predictor needs it), and what is not here has no form in that publication
    """

    encoder_options: Mapping[str, Mapping[str, Any]]
    predictor_options: Mapping[str, Mapping[str, Any]]

    @property
    def encoders(self) -> dict[str, EncoderConfig]:
        """Return the encoders' sections by the name that they have under the preset."""
        return {name: encoder_config(**o) for name, o in self.encoder_options.items()}

    @property
    def predictors(self) -> dict[str, PredictorConfig]:
        """Return the predictors' sections by the name that they have under the preset."""
        return {name: predictor_config(**o) for name, o in self.predictor_options.items()}


PRESETS = {
    "paper": Preset(
        {
            "vae": {"name": "paper_vae"},
            "paper_vae": {"name": "paper_vae"},
            "none": {"name": "none", "transform_function": "maximum"},
        },
        {
            "mlp": {
                "name": "mlp",
                "dropout": 0.0,
                "epochs": 5,
                "early_stopping": False,
                "batch_size": 32,
                "learning_rate": 1e-3,
                "weight_decay": 0.0,
                "clip_gradients": False,
                "initialization": "he_normal",
            },
            "deepchrome": {
                "name": "deepchrome",
                "filters": 625,
                "hidden": (256, 128),
                "dropout": 0.0,
                "epochs": 5,
                "early_stopping": False,
                "batch_size": 32,
                "min_batches": 1,
                "learning_rate": 1e-3,
                "weight_decay": 0.0,
                "schedule": "constant",
                "clip_gradients": False,
            },
            # The original's code for it never ran: these are the AttentiveChrome paper's settings.
            "attentivechrome": {
                "name": "attentivechrome",
                "bin_hidden": 32,
                "mark_hidden": 16,
                "dropout": 0.5,
                "epochs": 30,
                "patience": 30,
                "batch_size": 16,
                "min_batches": 1,
                "learning_rate": 1e-4,
                "weight_decay": 0.0,
                "schedule": "constant",
            },
        },
    ),
    "deepchrome-paper": Preset(
        {"none": {"name": "none", "transform_function": "none"}},
        {
            "deepchrome": {
                "name": "deepchrome",
                "filters": 50,
                "hidden": (625, 125),
                "dropout": 0.5,
                "epochs": 100,
                "patience": 100,
                "batch_size": 1,
                "min_batches": 1,
                "learning_rate": 1e-3,
                "weight_decay": 0.0,
                "schedule": "constant",
                "clip_gradients": False,
            }
        },
    ),
}

# Which kind of split each option belongs to.
_SPLIT_OPTIONS = {
    "test_chroms": "chromosome",
    "validation_chroms": "chromosome",
    "exclude_chroms": "chromosome",
    "fold": "fold",
    "n_folds": "fold",
}
WITH_LOG_MEANS = "+log_means"
"""What follows an encoder's name when the marks' levels join its latents."""

_ENCODER_OPTIONS = ("n_latent", "epochs")
_DEFAULTS = {"encoder": "consensus", "predictor": "linear"}


def _preset_sections(name: str, given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The sections of a preset, for the encoder and predictor that are given beside it."""
    if name not in PRESETS:
        raise ConfigError(
            "There is no such preset.", found=f"--preset {name}", expected=", ".join(PRESETS)
        )
    preset, sections = PRESETS[name], {}
    choices: dict[str, Mapping[str, Any]]
    choices = {"encoder": preset.encoder_options, "predictor": preset.predictor_options}
    wrong = [s for s, forms in choices.items() if s in given and given[s] not in forms]
    if wrong:
        raise ConfigError(
            f"The preset {name} has no form of this choice.",
            found=f"--preset {name} " + " ".join(f"--{s} {given[s]}" for s in wrong),
            expected=" and ".join(f"--{s} {' or '.join(choices[s])}" for s in wrong),
            remedy=f"leave out {' and '.join(f'--{s}' for s in wrong)}, or leave out --preset and "
            "combine what you like: --encoder paper_vae is the paper's encoder by itself",
        )
    for section, forms in choices.items():
        first = next(iter(forms))
        if section == "encoder" and _needs_windows(given.get("predictor")):
            first = "none"
        chosen = forms[given.get(section, first)]
        sections[section] = dict(chosen)
    return sections


def _split_section(held: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The section on the split; takes its options out of `given`."""
    split = dict(held)
    if "split" in given:
        split["kind"] = given.pop("split")
    elif "fold" in given:
        split["kind"] = "fold"
    kind = split.get("kind", SplitConfig().kind)
    for name, belongs in _SPLIT_OPTIONS.items():
        if name not in given:
            continue
        value = given[name]
        if kind != belongs:
            text = ",".join(value) if isinstance(value, tuple) else value
            raise ConfigError(
                f"`{flag(name)}` does not apply to a split of kind {kind!r}.",
                found=f"{flag(name)} {text}",
                expected=f"a split of kind {belongs!r}",
                remedy=f"pass --split {belongs}, or leave {flag(name)} out",
            )
        split[name] = given.pop(name)
    return split


def _needs_windows(predictor: Any) -> bool:
    return predictor in PREDICTORS and PREDICTORS.get(predictor).needs_windows


def _options_of(encoder: str) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = section_of(ENCODERS.get(encoder)).model_fields
    return fields


def _predictor_of(given: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    """Name of the predictor: the one that is given, or the file's."""
    return given.get("predictor", values.get("predictor", {}).get("name"))


def _start_from(run: str, values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The file's values, with the task, encoder and split of the run that is started from.

    Raises
    ------
    ConfigError
        If other ones are asked for.
    """
    config = read_config(find_run(run) / "config.toml")
    require_startable(config, run)
    held = config.model_dump(mode="json", exclude_none=True)
    encoder = held["encoder"]["name"] + (WITH_LOG_MEANS if held["add_log_means"] else "")
    own = dict.fromkeys(("preset", *_ENCODER_OPTIONS)) | {"encoder": encoder, "task": held["task"]}
    asked = dict(given)
    for name in ("encoder", "task"):
        said = values.get(name)
        if said is not None and name not in asked:
            asked[name] = said["name"] if isinstance(said, dict) else said
            if name == "encoder":
                asked["add_log_means"] = values.get("add_log_means", False)
    if "encoder" in asked:
        asked["encoder"] += WITH_LOG_MEANS if asked["add_log_means"] else ""
    for name, value in own.items():
        if name in asked and asked[name] != value:
            raise ConfigError(
                "A run that starts from another has its encoder and task.",
                found=f"--from {run} {flag(name)} {asked[name]}",
                expected=f"--encoder {encoder} --task {held['task']}",
                remedy=f"leave out {flag(name)}",
            )
    same = {name: held[name] for name in ("task", "encoder", "add_log_means")}
    return {"split": held["split"], **values, **same}


def merge_options(path: str | Path | None, options: dict[str, Any]) -> RunConfig:
    """Which run do a configuration file and the options beside it describe?

    Parameters
    ----------
    path
        TOML file, or None.
    options
        By name, None where not given; they win over the file. `encoder` may be followed by
        `+log_means`. Naming another encoder or
        predictor than the file does drops the file's section on it. `preset` replaces both
        sections, and is itself overruled by the other options. `fold` alone means a split by
        fold.

    Raises
    ------
    ConfigError
        If a key is unknown, a value makes no sense, or an option does not apply.
    """
    values = read_config_values(path) if path is not None else {}
    make_config(values, str(path))  # From here on, sections are tables.
    given = {name: value for name, value in options.items() if value is not None}
    if "encoder" in given:
        given["encoder"], plus, _ = given["encoder"].partition(WITH_LOG_MEANS)
        given["add_log_means"] = bool(plus)
    names = set(given)
    source = given.get("source", values.get("source"))
    if source is not None:
        values = _start_from(source, values, given)
    preset = given.pop("preset", None)
    if preset is not None:
        values |= _preset_sections(preset, given)
        # Said, and heard: under the preset the names may mean other classes.
        given.pop("encoder", None), given.pop("predictor", None)
    labels = given.pop("labels", None)
    if labels == "all":
        values.pop("labels", None)
    elif labels is not None:
        values["labels"] = labels
    for section, default in _DEFAULTS.items():
        chosen = given.pop(section, None)
        if given.get("task", values.get("task")) == "difference":
            default = "mlp" if section == "predictor" else default
            if section == "encoder" and chosen is None and section not in values:
                values.setdefault("add_log_means", True)
        if section == "encoder" and _needs_windows(_predictor_of(given, values)):
            default = "none"
        held = dict(values.get(section, {"name": default}))
        same = chosen in (None, held.get("name"))
        values[section] = held if same else {"name": chosen}
    values["split"] = _split_section(values.get("split", {}), given)
    encoder = values["encoder"]["name"]
    for name in _ENCODER_OPTIONS:
        if name not in given:
            continue
        if encoder in ENCODERS and name not in _options_of(encoder):
            having = [other for other in ENCODERS.names() if name in _options_of(other)]
            raise ConfigError(
                f"`{flag(name)}` does not apply to the encoder {encoder}.",
                found=f"{flag(name)} {given[name]}",
                expected=f"an encoder that has it: {', '.join(having)}",
                remedy=f"leave {flag(name)} out, or choose another --encoder",
            )
        values["encoder"][name] = given.pop(name)
    return make_config({**values, **given}, "options" if path is None else str(path), given=names)
