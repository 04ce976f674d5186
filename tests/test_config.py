"""Configurations: the same defaults as the estimators, the same run from the same file."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import simplechrome
from simplechrome.cli.fit import command
from simplechrome.config.models import (
    encoder_config,
    make_encoder,
    make_predictor,
    predictor_config,
)
from simplechrome.config.options import merge_options
from simplechrome.config.run import (
    RunConfig,
    SplitConfig,
    flag,
    make_config,
    read_config,
    write_config,
)
from simplechrome.dataset.splits import TEST_CHROMOSOMES, VALIDATION_CHROMOSOMES
from simplechrome.errors import ConfigError, MissingInputError
from simplechrome.latent.registry import ENCODERS
from simplechrome.predictors.registry import PREDICTORS


def test_defaults_of_a_split_are_those_of_the_function() -> None:
    assert SplitConfig().test_chroms == TEST_CHROMOSOMES
    assert SplitConfig().validation_chroms == VALIDATION_CHROMOSOMES
    random = inspect.signature(simplechrome.split_at_random).parameters
    assert SplitConfig().test_share == random["test"].default
    assert SplitConfig().validation_share == random["validation"].default
    assert (
        SplitConfig().n_folds
        == inspect.signature(simplechrome.split_by_fold).parameters["n_folds"].default
    )


def test_every_section_has_the_options_and_defaults_of_its_class() -> None:
    for registry, section in ((ENCODERS, encoder_config), (PREDICTORS, predictor_config)):
        for name in registry.names():
            parameters = inspect.signature(registry.get(name)).parameters
            of_the_run = {"task", "random_state", "device", "threads"}
            theirs = {key: p.default for key, p in parameters.items() if key not in of_the_run}
            assert section(name).model_dump() == {"name": name, **theirs}


@given(
    st.fixed_dictionaries(
        {
            "labels": st.none() | st.integers(1, 10**6),
            "seed": st.integers(0, 2**32),
            "task": st.sampled_from(["classification", "regression"]),
            "encoder": st.sampled_from(
                [
                    encoder_config("vae", channels=(8, 16, 32), learning_rate=0.1 + 0.2),
                    encoder_config("pca", n_latent=3, transform_function="asinh"),
                    encoder_config("log_means", n_regions=5),
                    encoder_config("paper_vae", noise_variance=1 / 3),
                    encoder_config("none", transform_function="maximum"),
                ]
            ),
            "predictor": st.builds(
                partial(predictor_config, "linear"),
                Cs=st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=4).map(tuple),
            )
            | st.just(predictor_config("mlp", dropout=0.0, early_stopping=False)),
            "split": st.builds(SplitConfig, test_chroms=st.just(("é", 'a "quoted" name'))),
        }
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_written_configuration_reads_back_equal(tmp_path: Path, values: dict[str, Any]) -> None:
    config = RunConfig(**values)
    write_config(config, tmp_path / "config.toml")
    assert read_config(tmp_path / "config.toml") == config


def test_a_written_configuration_names_every_default(tmp_path: Path) -> None:
    write_config(RunConfig(), tmp_path / "config.toml")
    text = (tmp_path / "config.toml").read_text()
    assert 'kind = "chromosome"' in text
    assert "n_latent = 38" in text


@pytest.mark.parametrize(
    ("values", "problem", "remedy"),
    [
        ({"sed": 1}, "there is no option `sed`, only task", "did you mean seed?"),
        (
            {"encoder": {"name": "vae", "n_latnet": 3}},
            "there is no option `encoder.vae.n_latnet`, only n_latent",
            "did you mean n_latent?",
        ),
        ({"encoder": {"name": "pca", "epochs": 3}}, "`encoder.pca.epochs`", "remove it"),
        (
            {"split": {"test_chrom": ["chr1"]}},
            "`split.test_chrom`, only kind",
            "did you mean test_chroms",
        ),
        ({"labels": 0}, "`labels` is invalid: found 0; input should be greater than", "default"),
        ({"labels": "few"}, "`labels` is invalid: found 'few'", "default"),
        ({"labels": 2.5}, "`labels` is invalid: found 2.5", "default"),
        ({"seed": -1}, "`seed` is invalid: found -1", "default"),
        ({"task": "ranking"}, "'classification', 'regression' or 'difference'", "default"),
        ({"encoder": {"name": "vea"}}, "expected tags: consensus, vae", "default"),
        ({"encoder": {"n_latent": 3}}, "`encoder` is invalid", "default"),
        ({"encoder": "pca"}, "`encoder` is invalid: found 'pca'", "default"),
        ({"split": "random"}, "`split` is invalid: found 'random'", "default"),
        ({"split": {"test_chroms": [1]}}, "`split.test_chroms.0` is invalid", "default"),
        ({"encoder": {"name": "pca", "n_latent": 0}}, "`encoder.pca.n_latent`", "default"),
        ({"predictor": {"name": "mlp", "dropout": 1}}, "`predictor.mlp.dropout`", "default"),
        ({"predictor": {"name": "mlp", "early_stopping": 3}}, "boolean", "default"),
        ({"split": {"test_share": 1.0}}, "found 1.0; input should be less than 1", "default"),
    ],
)
def test_errors_name_the_option_what_was_found_and_the_nearest_name(
    values: dict[str, Any], problem: str, remedy: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make_config(values, "run.toml")
    assert caught.value.problem.startswith("run.toml: ")
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


DIFFERENCE = {"task": "difference", "pair": ["A", "B"], "predictor": {"name": "mlp"}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"encoder": {"name": "pca"}, "predictor": {"name": "deepchrome"}}, "needs windows"),
        ({"encoder": {"name": "none"}, "neighbors": ["genomic"]}, "need latents"),
        ({"task": "difference"}, "needs a pair of cell types"),
        ({"pair": ["A", "B"]}, "needs a pair of cell types"),
        (DIFFERENCE | {"predictor": {"name": "boosting"}}, "needs latents without neighbors"),
        (DIFFERENCE | {"encoder": {"name": "none"}}, "needs latents without neighbors"),
        ({"encoder": {"name": "pca"}, "supervised_axis": True}, "has no supervised axis"),
        ({"init_from": "runs/a", "neighbors": ["genomic"]}, "neighbors cannot be added"),
        ({"match_distribution": True}, "applies to fine-tuning only"),
        ({"neighbor_expression": True}, "only with neighbor graphs"),
        ({"encoder": {"name": "none"}, "add_log_means": True}, "to latents only"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make_config(values)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"seed = \n", "line 1"),
        (b"seed = 1\r\n\r\ntask = regression\r\n", "line 3"),
        (b"seed = 1\nseed = 2\n", "Cannot overwrite a value"),
        (b"seed = 1\n# \xff\xfe", "utf-8"),
    ],
)
def test_files_that_are_not_toml_are_refused_with_the_place(
    tmp_path: Path, content: bytes, found: str
) -> None:
    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"x\.toml is not a TOML file") as caught:
        read_config(tmp_path / "x.toml")
    assert found in caught.value.problem


def test_files_that_cannot_be_read_name_the_reason(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"none\.toml cannot be read: No such file"):
        read_config(tmp_path / "none.toml")
    with pytest.raises(MissingInputError, match="Is a directory"):
        read_config(tmp_path)


def test_a_configuration_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        RunConfig().seed = 3  # type: ignore[misc]


def test_old_names_of_options_are_read(tmp_path: Path) -> None:
    old = make_config({"semi_supervised": True, "encoder": {"name": "consensus"}})
    assert old.supervised_axis
    assert "init_from" in RunConfig.model_fields
    assert make_config({"source": "runs/a"}).init_from == "runs/a"
    write_config(old, tmp_path / "config.toml")
    assert "supervised_axis = true" in (tmp_path / "config.toml").read_text()


# merge_options: what was said on the command line wins.


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The config.toml of a run: every key is there, as `write_config` leaves it."""
    config = RunConfig(
        seed=7,
        labels=50,
        encoder=encoder_config("pca", n_latent=4),
        predictor=predictor_config("mlp", epochs=3),
    )
    write_config(config, tmp_path / "config.toml")
    return tmp_path / "config.toml"


def test_nothing_given_is_all_defaults() -> None:
    assert merge_options(None, {}) == RunConfig()
    assert merge_options(None, {"seed": None, "encoder": None}) == RunConfig()


def test_options_win_over_the_file(file: Path) -> None:
    config = merge_options(file, {"seed": 1, "n_latent": 6, "task": "regression"})
    assert (config.seed, config.task, config.labels) == (1, "regression", 50)
    assert config.encoder == encoder_config("pca", n_latent=6)
    assert config.predictor == predictor_config("mlp", epochs=3)


def test_all_labels_win_over_a_number_in_the_file(file: Path) -> None:
    assert merge_options(file, {"labels": "all"}).labels is None
    assert merge_options(file, {"labels": 20}).labels == 20


def test_another_encoder_drops_the_section_of_the_file(file: Path) -> None:
    config = merge_options(file, {"encoder": "vae", "predictor": "linear", "epochs": 2})
    assert config.encoder == encoder_config("vae", epochs=2)
    assert config.predictor == predictor_config("linear")


def test_the_same_encoder_keeps_the_section_of_the_file(file: Path) -> None:
    assert merge_options(file, {"encoder": "pca"}).encoder == encoder_config("pca", n_latent=4)


def test_plus_log_means_is_said_with_the_name_of_the_encoder(file: Path) -> None:
    config = merge_options(None, {"encoder": "pca+log_means", "n_latent": 4})
    assert (config.encoder.name, config.add_log_means) == ("pca", True)
    assert config.encoder.n_latent == 4  # type: ignore[union-attr]
    write_config(config, file)
    assert merge_options(file, {}) == config
    assert not merge_options(file, {"encoder": "pca"}).add_log_means


def test_options_of_another_encoder_are_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="--epochs does not apply to the encoder pca") as caught:
        merge_options(file, {"epochs": 2})
    assert "an encoder that has it: vae, paper_vae" in caught.value.remedy


@pytest.mark.parametrize("from_file", [True, False])
def test_a_fold_alone_means_a_split_by_fold(file: Path, from_file: bool) -> None:
    split = merge_options(file if from_file else None, {"fold": 2, "n_folds": 4}).split
    assert (split.kind, split.fold, split.n_folds) == ("fold", 2, 4)


@pytest.mark.parametrize(
    ("options", "name", "kind"),
    [
        ({"split": "random", "fold": 2}, "fold", "random"),
        ({"n_folds": 4}, "n_folds", "chromosome"),
        ({"split": "published", "test_chroms": ("chr3",)}, "test_chroms", "published"),
        ({"split": "fold", "exclude_chroms": ("chrY",)}, "exclude_chroms", "fold"),
    ],
)
def test_options_of_another_split_are_refused(
    file: Path, options: dict[str, Any], name: str, kind: str
) -> None:
    for path in (None, file):
        with pytest.raises(ConfigError, match=f"{flag(name)} does not apply to a {kind} split"):
            merge_options(path, options)


def test_chromosomes_given_replace_those_of_the_file(file: Path) -> None:
    split = merge_options(file, {"test_chroms": ("chr3",)}).split
    assert split.test_chroms == ("chr3",)
    assert split.validation_chroms == VALIDATION_CHROMOSOMES


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="there is no option --sed"):
        merge_options(None, {"sed": 3})


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"encoder": "vae", "epochs": 0}, "--epochs 0"),
        ({"encoder": "pca", "n_latent": -2}, "--n-latent -2"),
        ({"labels": 0}, "--labels 0"),
        ({"fold": -1}, "--fold -1"),
    ],
)
@pytest.mark.parametrize("from_file", [True, False])
def test_a_wrong_option_is_called_as_it_was_given(
    tmp_path: Path, options: dict[str, Any], found: str, from_file: bool
) -> None:
    write_config(RunConfig(), tmp_path / "config.toml")
    with pytest.raises(ConfigError) as caught:
        merge_options(tmp_path / "config.toml" if from_file else None, options)
    name, value = found.split()
    assert caught.value.problem.startswith(f"the value of {name} is invalid: found {value}; ")


# Presets: published settings in one word.


def test_the_paper_preset_is_the_autoencoder_and_the_perceptron_of_the_paper() -> None:
    config = merge_options(None, {"preset": "paper"})
    assert config.encoder == encoder_config("paper_vae")
    assert config.predictor.name == "mlp"
    assert config.predictor.hidden == (256, 128)
    assert (config.predictor.batch_size, config.predictor.epochs) == (32, 5)
    assert (config.predictor.dropout, config.predictor.weight_decay) == (0, 0)
    assert not config.predictor.early_stopping
    assert config.split == SplitConfig()
    assert merge_options(None, {"preset": "paper", "encoder": "vae"}) == config
    assert merge_options(None, {"preset": "paper", "encoder": "paper_vae"}) == config
    assert type(make_encoder(config)).__name__ == "PaperVAE"
    assert make_predictor(config).get_params()["initialization"] == "he_normal"


def test_the_paper_preset_without_encoder_is_the_scaled_window() -> None:
    config = merge_options(None, {"preset": "paper", "encoder": "none"})
    assert config.encoder == encoder_config("none", transform_function="maximum")
    assert config.predictor == merge_options(None, {"preset": "paper"}).predictor


def test_a_run_by_preset_is_repeated_by_its_file_alone(tmp_path: Path) -> None:
    config = merge_options(None, {"preset": "paper"})
    write_config(config, tmp_path / "config.toml")
    assert "preset" not in (tmp_path / "config.toml").read_text()
    assert merge_options(tmp_path / "config.toml", {}) == config


def test_other_options_win_over_the_preset() -> None:
    options = {"preset": "paper", "epochs": 9, "n_latent": 3, "labels": 50, "task": "regression"}
    config = merge_options(None, options)
    assert config.encoder == encoder_config("paper_vae", epochs=9, n_latent=3)
    assert (config.labels, config.task) == (50, "regression")


def test_a_preset_replaces_both_sections_of_a_file_and_keeps_the_rest(file: Path) -> None:
    config = merge_options(file, {"preset": "paper"})
    alone = merge_options(None, {"preset": "paper"})
    assert (config.encoder, config.predictor) == (alone.encoder, alone.predictor)
    assert (config.seed, config.labels) == (7, 50)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "pca"}, "no encoder pca, only vae, paper_vae, none"),
        ({"predictor": "linear"}, "no predictor linear, only mlp, deepchrome, attentivechrome"),
    ],
)
def test_models_that_a_preset_does_not_have_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"The preset paper has {message}"):
        merge_options(None, {"preset": "paper", **options})


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ConfigError, match="There is no preset papr, only paper"):
        merge_options(None, {"preset": "papr"})


def test_an_option_that_the_preset_has_no_use_for_is_refused() -> None:
    with pytest.raises(ConfigError, match="--epochs does not apply to the encoder none"):
        merge_options(None, {"preset": "paper", "encoder": "none", "epochs": 2})


def test_the_command_line_lists_registered_models_and_old_names_still_work() -> None:
    context = click.Context(command)
    options = {option.name: option for option in command.get_params(context)}
    for name, choices in {"encoder": ENCODERS.names(), "predictor": PREDICTORS.names()}.items():
        metavar = options[name].make_metavar(context)
        assert f"[{'|'.join(choices)}]" in metavar
    assert options["init_from"].opts == ["--init-from", "--from"]
    assert options["supervised_axis"].opts == ["--supervised-axis", "--semi-supervised"]
    text = command.get_help(context)
    assert "--init-from" in text
    assert "--from" not in text
