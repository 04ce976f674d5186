"""Configurations: the same defaults as the estimators, the same run from the same file."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import simplechrome
from simplechrome.config import (
    ENCODERS,
    PREDICTORS,
    LinearConfig,
    LogMeansConfig,
    MLPConfig,
    NoEncoderConfig,
    PCAConfig,
    RunConfig,
    SplitConfig,
    VAEConfig,
    make_config,
    merge_options,
    read_config,
    write_config,
)
from simplechrome.dataset.splits import TEST_CHROMOSOMES, VALIDATION_CHROMOSOMES
from simplechrome.errors import ConfigError, MissingInputError

# Set for the whole run, not for the part: see `RunConfig`.
OF_THE_RUN = {"task", "random_state", "device", "threads"}


@pytest.mark.parametrize(
    ("section", "estimator"),
    [
        (VAEConfig, "VAE"),
        (PCAConfig, "PCA"),
        (LogMeansConfig, "LogMeans"),
        (NoEncoderConfig, "RawWindow"),
        (LinearConfig, "LinearPredictor"),
        (MLPConfig, "MLPPredictor"),
    ],
)
def test_defaults_are_those_of_the_estimator(section: type, estimator: str) -> None:
    parameters = inspect.signature(getattr(simplechrome, estimator)).parameters
    theirs = {name: p.default for name, p in parameters.items() if name not in OF_THE_RUN}
    assert section().model_dump(exclude={"name"}) == theirs


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


def test_every_section_is_found_by_its_own_name() -> None:
    for name, section in (ENCODERS | PREDICTORS).items():
        assert section().name == name


@given(
    st.fixed_dictionaries(
        {
            "labels": st.none() | st.integers(1, 10**6),
            "seed": st.integers(0, 2**32),
            "task": st.sampled_from(["classification", "regression"]),
            "encoder": st.sampled_from(
                [
                    VAEConfig(channels=(8, 16, 32), learning_rate=0.1 + 0.2),
                    PCAConfig(n_latent=3, transform_function="asinh"),
                    LogMeansConfig(n_regions=5),
                    NoEncoderConfig(),
                ]
            ),
            "predictor": st.builds(
                LinearConfig,
                Cs=st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=4).map(tuple),
            )
            | st.just(MLPConfig(dropout=0.0)),
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
    assert "kl_warm_up = 5" in text


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"sed": 1}, "sed"),
        ({"encoder": {"name": "vae", "n_latnet": 3}}, "encoder.vae.n_latnet"),
        ({"encoder": {"name": "pca", "epochs": 3}}, "encoder.pca.epochs"),
        ({"predictor": {"name": "linear", "hidden": [3]}}, "predictor.linear.hidden"),
        ({"split": {"test_chrom": ["chr1"]}}, "split.test_chrom"),
    ],
)
def test_an_unknown_key_is_refused_by_name(values: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=f"run.toml: there is no option `{key}`"):
        make_config(values, "run.toml")


@pytest.mark.parametrize(
    ("values", "key", "found"),
    [
        ({"labels": 0}, "labels", "0"),
        ({"seed": -1}, "seed", "-1"),
        ({"task": "ranking"}, "task", "'ranking'"),
        ({"encoder": {"name": "vea"}}, "encoder", "{'name': 'vea'}"),
        ({"encoder": {"n_latent": 3}}, "encoder", "{'n_latent': 3}"),
        ({"encoder": "pca"}, "encoder", "'pca'"),
        ({"encoder": {"name": "pca", "n_latent": 0}}, "encoder.pca.n_latent", "0"),
        ({"encoder": {"name": "vae", "learning_rate": float("nan")}}, "learning_rate", "nan"),
        ({"predictor": {"name": "mlp", "dropout": 1}}, "predictor.mlp.dropout", "1"),
        ({"split": {"test_share": 1.0}}, "split.test_share", "1.0"),
    ],
)
def test_a_value_without_meaning_is_refused(values: dict[str, Any], key: str, found: str) -> None:
    with pytest.raises(ConfigError, match="has a value that makes no sense") as caught:
        make_config(values)
    assert key in caught.value.problem
    assert caught.value.found == found


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"none\.toml cannot be read(.|\n)*No such file"):
        read_config(tmp_path / "none.toml")
    with pytest.raises(MissingInputError, match="Is a directory"):
        read_config(tmp_path)
    (tmp_path / "x.toml").write_text("seed = \n")
    with pytest.raises(ConfigError, match=r"x\.toml is not a TOML file(.|\n)*line 1"):
        read_config(tmp_path / "x.toml")
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not a TOML file"):
        read_config(tmp_path / "x.toml")


def test_a_configuration_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        RunConfig().seed = 3  # type: ignore[misc]


# merge_options: what was said on the command line wins.


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The config.toml of a run: every key is there, as `write_config` leaves it."""
    config = RunConfig(
        seed=7, labels=50, encoder=PCAConfig(n_latent=4), predictor=MLPConfig(epochs=3)
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
    assert config.encoder == PCAConfig(n_latent=6)
    assert config.predictor == MLPConfig(epochs=3)


def test_all_labels_win_over_a_number_in_the_file(file: Path) -> None:
    assert merge_options(file, {"labels": "all"}).labels is None
    assert merge_options(file, {"labels": 20}).labels == 20


def test_another_encoder_drops_the_section_of_the_file(file: Path) -> None:
    config = merge_options(file, {"encoder": "vae", "predictor": "linear", "epochs": 2})
    assert config.encoder == VAEConfig(epochs=2)
    assert config.predictor == LinearConfig()


def test_the_same_encoder_keeps_the_section_of_the_file(file: Path) -> None:
    assert merge_options(file, {"encoder": "pca"}).encoder == PCAConfig(n_latent=4)


def test_options_of_another_encoder_are_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no option `encoder\.pca\.epochs`"):
        merge_options(file, {"epochs": 2})


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
        with pytest.raises(ConfigError, match=f"`{name}` does not apply .* kind '{kind}'"):
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
    with pytest.raises(ConfigError, match="there is no option `sed`"):
        merge_options(None, {"sed": 3})
