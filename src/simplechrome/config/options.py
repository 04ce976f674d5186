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
    with_new_names,
)
from simplechrome.errors import ConfigError
from simplechrome.latent.registry import ENCODERS
from simplechrome.predictors.registry import PREDICTORS
from simplechrome.runs.folder import RunFolder, find_run, require_startable


class Preset(NamedTuple):
    """Settings of a publication.

    encoder_options, predictor_options : name under the preset -> name and options. The first of
        each is the default (the window itself, if the predictor needs it); others than these are
        not in the publication.
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


_PUBLISHED = {"learning_rate": 1e-3, "weight_decay": 0.0, "clip_gradients": False}
_FIVE_EPOCHS = {"dropout": 0.0, "epochs": 5, "early_stopping": False, "batch_size": 32}
_CONSTANT_RATE = {"min_batches": 1, "weight_decay": 0.0, "schedule": "constant"}

PRESETS = {
    "paper": Preset(
        {
            "vae": {"name": "paper_vae"},
            "paper_vae": {"name": "paper_vae"},
            "none": {"name": "none", "transform_function": "maximum"},
        },
        {
            "mlp": {
                **{"name": "mlp", "initialization": "he_normal"},
                **(_FIVE_EPOCHS | _PUBLISHED),
            },
            "deepchrome": {
                **{"name": "deepchrome", "filters": 625, "hidden": (256, 128)},
                **(_FIVE_EPOCHS | _PUBLISHED | _CONSTANT_RATE),
            },
            # The original's code for it never ran: these are the AttentiveChrome paper's settings.
            "attentivechrome": {
                **{"name": "attentivechrome", "bin_hidden": 32, "mark_hidden": 16, "dropout": 0.5},
                **{"epochs": 30, "patience": 30, "batch_size": 16, "learning_rate": 1e-4},
                **_CONSTANT_RATE,
            },
        },
    ),
    "deepchrome-paper": Preset(
        {"none": {"name": "none", "transform_function": "none"}},
        {
            "deepchrome": {
                **{"name": "deepchrome", "filters": 50, "hidden": (625, 125), "dropout": 0.5},
                **{"epochs": 100, "patience": 100, "batch_size": 1},
                **(_PUBLISHED | _CONSTANT_RATE),
            }
        },
    ),
}

# Which kind of split each option belongs to.
_SPLIT_OPTIONS = {
    **dict.fromkeys(("test_chroms", "validation_chroms", "exclude_chroms"), "chromosome"),
    **dict.fromkeys(("fold", "n_folds"), "fold"),
}
WITH_LOG_MEANS = "+log_means"
"""Follows the name of an encoder to add the levels of the marks to its latents."""

_ENCODER_OPTIONS = ("n_latent", "epochs")


def _preset_sections(name: str, given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the sections of a preset, for the encoder and predictor that are given with it."""
    if name not in PRESETS:
        raise ConfigError(f"There is no preset {name}, only {', '.join(PRESETS)}.")
    preset, sections = PRESETS[name], {}
    choices = {"encoder": preset.encoder_options, "predictor": preset.predictor_options}
    for section, forms in choices.items():
        first = next(iter(forms))
        if section == "encoder" and _needs_windows(given.get("predictor")):
            first = "none"
        chosen = given.get(section, first)
        if chosen not in forms:
            raise ConfigError(
                f"The preset {name} has no {section} {chosen}, only {', '.join(forms)}.",
                f"omit --{section}, or omit --preset to combine any: --encoder paper_vae is the "
                "paper's encoder alone",
            )
        sections[section] = dict(forms[chosen])
    return sections


def _split_section(held: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the section on the split; removes its options from `given`."""
    split = dict(held)
    if "split" in given or "fold" in given:
        split["kind"] = given.pop("split", "fold")
    kind = split.get("kind", SplitConfig().kind)
    for name, belongs in _SPLIT_OPTIONS.items():
        if name in given and kind != belongs:
            raise ConfigError(
                f"{flag(name)} does not apply to a {kind} split.",
                f"pass --split {belongs}, or omit {flag(name)}",
            )
        if name in given:
            split[name] = given.pop(name)
    return split


def _needs_windows(predictor: Any) -> bool:
    return predictor in PREDICTORS and PREDICTORS.get(predictor).needs_windows


def _options_of(encoder: str) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = section_of(ENCODERS.get(encoder)).model_fields
    return fields


def _init_from(run: str, values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the file's values, with task, encoder and split of the run that is fine-tuned."""
    config = read_config(RunFolder(find_run(run)).config)
    require_startable(config, run)
    held = config.model_dump(mode="json", exclude_none=True)
    kept = {name: held[name] for name in ("task", "encoder", "add_log_means")}
    encoder = held["encoder"]["name"] + (WITH_LOG_MEANS if held["add_log_means"] else "")
    asked = {name: given[name] for name in ("preset", "task", *_ENCODER_OPTIONS) if name in given}
    asked = {"task": values.get("task", held["task"]), **asked}
    for source in (values, given):
        if "encoder" in source:
            name = source["encoder"]["name"] if source is values else source["encoder"]
            asked["encoder"] = name + (WITH_LOG_MEANS if source.get("add_log_means") else "")
    for name, value in asked.items():
        if value != {"task": held["task"], "encoder": encoder}.get(name):
            raise ConfigError(
                f"A fine-tuned run keeps the task ({held['task']}) and encoder ({encoder}) of "
                f"{run}: found {flag(name)} {value}.",
                f"omit {flag(name)}",
            )
    return {"split": held["split"], **values, **kept}


def merge_options(path: str | Path | None, options: dict[str, Any]) -> RunConfig:
    """Return the configuration of a run from a file and options that override it.

    Parameters
    ----------
    path
        TOML file, or None.
    options
        By name, None where not given. `encoder` may be followed by `+log_means`. Another encoder
        or predictor than the file's drops the file's section on it. `preset` replaces both
        sections, and is itself overridden by the other options. `fold` alone means a split by fold.

    Raises
    ------
    ConfigError
        If a key is unknown, a value is invalid, or an option does not apply.
    """
    values = with_new_names(read_config_values(path)) if path is not None else {}
    make_config(values, str(path))  # From here on, sections are tables.
    given = with_new_names({name: value for name, value in options.items() if value is not None})
    if "encoder" in given:
        given["encoder"], plus, _ = given["encoder"].partition(WITH_LOG_MEANS)
        given["add_log_means"] = bool(plus)
    names = set(given)
    pretrained = given.get("init_from", values.get("init_from"))
    if pretrained is not None:
        values = _init_from(pretrained, values, given)
    preset = given.pop("preset", None)
    if preset is not None:
        # Under the preset the names may mean other classes.
        values |= _preset_sections(preset, given)
        given.pop("encoder", None), given.pop("predictor", None)
    if given.get("labels") == "all":
        values.pop("labels", None)
        del given["labels"]
    values |= _model_sections(values, given)
    values["split"] = _split_section(values.get("split", {}), given)
    encoder = values["encoder"]["name"]
    for name in set(_ENCODER_OPTIONS) & set(given):
        if encoder in ENCODERS and name not in _options_of(encoder):
            having = [other for other in ENCODERS.names() if name in _options_of(other)]
            raise ConfigError(
                f"{flag(name)} does not apply to the encoder {encoder}.",
                f"omit {flag(name)}, or choose an encoder that has it: {', '.join(having)}",
            )
        values["encoder"][name] = given.pop(name)
    return make_config({**values, **given}, "options" if path is None else str(path), given=names)


def _model_sections(values: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the sections of encoder and predictor; removes their names from `given`."""
    difference = given.get("task", values.get("task")) == "difference"
    predictor = given.get("predictor", values.get("predictor", {}).get("name"))
    defaults = {
        "encoder": "none" if _needs_windows(predictor) else "consensus",
        "predictor": "mlp" if difference else "linear",
    }
    made: dict[str, Any] = {}
    if difference and "encoder" not in given and "encoder" not in values:
        made["add_log_means"] = values.get("add_log_means", True)
    for section, default in defaults.items():
        chosen = given.pop(section, None)
        held = dict(values.get(section, {"name": default}))
        made[section] = held if chosen in (None, held.get("name")) else {"name": chosen}
    return made
