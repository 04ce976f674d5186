"""Configurations: the same defaults as the estimators, the same run from the same file."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import simplechrome
from simplechrome.cli.fit import command
from simplechrome.config.models import (
    encoder_config,
    encoders_with_latents,
    make_encoder,
    make_predictor,
    predictor_config,
)
from simplechrome.config.options import PRESETS, WITH_LOG_MEANS, merge_options
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
    ("values", "key", "meant"),
    [
        ({"sed": 1}, "`sed`.", "seed"),
        ({"encoder": {"name": "vae", "n_latnet": 3}}, "`n_latnet` in [encoder] with", "n_latent"),
        ({"encoder": {"name": "pca", "epochs": 3}}, "`epochs` in [encoder] with the name pca", ""),
        ({"predictor": {"name": "linear", "hidden": [3]}}, "`hidden` in [predictor]", ""),
        ({"split": {"test_chrom": ["chr1"]}}, "`test_chrom` in [split].", "test_chroms"),
    ],
)
def test_an_unknown_key_is_refused_by_name(values: dict[str, Any], key: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_config(values, "run.toml")
    assert f"run.toml: there is no option {key}" in caught.value.problem
    assert caught.value.remedy == (f"write `{meant}`" if meant else "remove it")


@pytest.mark.parametrize(
    ("values", "key", "found", "expected"),
    [
        ({"labels": 0}, "labels", "0", "a whole number from 1 up"),
        ({"labels": "few"}, "labels", "'few'", "a whole number"),
        ({"labels": 2.5}, "labels", "2.5", "a whole number"),
        ({"seed": -1}, "seed", "-1", "a whole number from 0 up"),
        ({"task": "ranking"}, "task", "'ranking'", "classification, regression or difference"),
        (
            {"encoder": {"name": "vea"}},
            "encoder",
            "{'name': 'vea'}",
            'a line name = "consensus", or',
        ),
        (
            {"encoder": {"n_latent": 3}},
            "encoder",
            "{'n_latent': 3}",
            'a line name = "consensus", or',
        ),
        ({"predictor": {}}, "predictor", "{}", 'a line name = "linear", or another of: linear'),
        ({"encoder": "pca"}, "encoder", "'pca'", "a section: a line [encoder]"),
        ({"split": "random"}, "split", "'random'", "a section: a line [split]"),
        ({"split": {"kind": 1}}, "kind", "1", "chromosome, published, random or fold"),
        ({"split": {"test_chroms": 1}}, "test_chroms", "1", "a list"),
        ({"split": {"test_chroms": [1]}}, "test_chroms", "1", "text in quotes"),
        ({"encoder": {"name": "pca", "n_latent": 0}}, "n_latent", "0", "from 1 up"),
        ({"encoder": {"name": "vae", "learning_rate": float("nan")}}, "learning_rate", "nan", "0"),
        ({"encoder": {"name": "vae", "kl_weight": -1}}, "kl_weight", "-1", "a number from 0 up"),
        ({"encoder": {"name": "vae", "kl_weight": "x"}}, "kl_weight", "'x'", "a number"),
        ({"predictor": {"name": "mlp", "dropout": 1}}, "dropout", "1", "a number below 1"),
        ({"predictor": {"name": "mlp", "early_stopping": 3}}, "early_stopping", "3", "true or"),
        ({"split": {"test_share": 1.0}}, "test_share", "1.0", "a number below 1"),
        ({"split": {"test_share": 0.0}}, "test_share", "0.0", "a number above 0"),
    ],
)
def test_a_value_without_meaning_is_refused_in_plain_words(
    values: dict[str, Any], key: str, found: str, expected: str
) -> None:
    with pytest.raises(ConfigError, match="has a value that makes no sense") as caught:
        make_config(values)
    assert f"`{key}`" in caught.value.problem
    assert caught.value.found == found
    assert expected in caught.value.expected
    assert "nput should" not in str(caught.value)
    assert "valid" not in str(caught.value)


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"none\.toml cannot be read(.|\n)*No such file"):
        read_config(tmp_path / "none.toml")
    with pytest.raises(MissingInputError, match="Is a directory"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("content", "found", "cause"),
    [
        (b"seed = \n", "line 1: seed =", "invalid value"),
        (b"seed = 1\r\n\r\ntask = regression\r\n", "line 3: task = regression", "invalid value"),
        (b'seed = 1\nx = """abc\n', 'line 2: x = """abc', "unterminated string"),
        (b"seed = 1\nseed = 2\n", "line 2: seed = 2", "cannot overwrite a value"),
        (b"seed = 1\n# \xff\xfe", "bytes in line 2 that are no text in UTF-8", ""),
    ],
)
def test_a_file_that_is_no_toml_says_in_which_line_and_what_to_do(
    tmp_path: Path, content: bytes, found: str, cause: str
) -> None:
    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"x\.toml is not a TOML file") as caught:
        read_config(tmp_path / "x.toml")
    assert caught.value.found == found
    assert caught.value.cause == cause
    assert caught.value.remedy


def test_a_configuration_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        RunConfig().seed = 3  # type: ignore[misc]


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


def test_a_file_alone_is_what_it_says(file: Path) -> None:
    assert merge_options(file, {"labels": None}) == read_config(file)


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


def test_log_means_are_not_added_where_there_is_no_latent() -> None:
    with pytest.raises(ConfigError, match="to latents only"):
        make_config({"encoder": {"name": "none"}, "add_log_means": True})


def test_options_of_another_encoder_are_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="`--epochs` does not apply to the encoder pca") as caught:
        merge_options(file, {"epochs": 2})
    assert caught.value.found == "--epochs 2"
    assert caught.value.expected == "an encoder that has it: vae, paper_vae"


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
        with pytest.raises(ConfigError, match=f"`{flag(name)}` does not apply .* kind '{kind}'"):
            merge_options(path, options)


def test_chromosomes_given_replace_those_of_the_file(file: Path) -> None:
    split = merge_options(file, {"test_chroms": ("chr3",)}).split
    assert split.test_chroms == ("chr3",)
    assert split.validation_chroms == VALIDATION_CHROMOSOMES


@pytest.mark.parametrize("text", ['encoder = "pca"', "predictor = 3", 'split = "random"'])
def test_a_section_that_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(ConfigError, match="has a value that makes no sense"):
        merge_options(tmp_path / "x.toml", {"encoder": "vae"})


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="There is no option `--sed`"):
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
    assert caught.value.problem == (
        f"The option `{found.split()[0]}` has a value that makes no sense."
    )
    assert caught.value.found == found


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
    ("options", "found", "expected"),
    [
        ({"encoder": "pca"}, "--encoder pca", "--encoder vae or paper_vae or none"),
        (
            {"predictor": "linear"},
            "--predictor linear",
            "--predictor mlp or deepchrome or attentivechrome",
        ),
        (
            {"encoder": "pca", "predictor": "linear"},
            "--encoder pca --predictor linear",
            "--encoder vae or paper_vae or none "
            "and --predictor mlp or deepchrome or attentivechrome",
        ),
    ],
)
def test_what_a_preset_has_no_form_of_is_one_clear_error(
    options: dict[str, Any], found: str, expected: str
) -> None:
    with pytest.raises(ConfigError, match="The preset paper has no form of this") as caught:
        merge_options(None, {"preset": "paper", **options})
    assert caught.value.found == f"--preset paper {found}"
    assert caught.value.expected == expected


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ConfigError, match="There is no such preset"):
        merge_options(None, {"preset": "papr"})


def test_an_option_that_the_preset_has_no_use_for_is_refused() -> None:
    with pytest.raises(ConfigError, match="`--epochs` does not apply to the encoder none"):
        merge_options(None, {"preset": "paper", "encoder": "none", "epochs": 2})


def test_the_command_line_offers_every_choice_and_no_other() -> None:
    offered = {option.name: option.type for option in command.params}
    with_levels = [name + WITH_LOG_MEANS for name in encoders_with_latents()]
    for name, choices in {
        "encoder": [*ENCODERS.names(), *with_levels],
        "predictor": PREDICTORS.names(),
        "preset": PRESETS,
    }.items():
        assert list(offered[name].choices) == list(choices)  # type: ignore[attr-defined]
