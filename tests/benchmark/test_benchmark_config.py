"""Which grid do options describe?"""

from __future__ import annotations

from pathlib import Path

import pytest

from simplechrome.benchmark.config import (
    BenchmarkConfig,
    make_benchmark_config,
    merge_benchmark_options,
    write_benchmark_config,
)
from simplechrome.benchmark.grid import choose_models, run_config
from simplechrome.errors import ConfigError


def names(config: BenchmarkConfig) -> list[str]:
    return [model.name for model in choose_models(config).applicable]


def test_every_pair_is_a_model_where_it_makes_sense() -> None:
    config = make_benchmark_config(
        {"representations": ["raw", "pca"], "predictors": ["linear", "deepchrome"]}
    )
    assert names(config) == ["raw:linear", "raw:deepchrome", "pca:linear"]
    [(representation, predictor, reason)] = choose_models(config).not_applicable
    assert (representation, predictor) == ("pca", "deepchrome")
    assert "along the bins" in reason


def test_named_models_replace_the_pairs_and_options_replace_them_again() -> None:
    config = merge_benchmark_options(None, {"models": ("raw:linear", "vae:mlp")})
    assert names(config) == ["raw:linear", "vae:mlp"]


def test_options_win_over_the_file_and_the_file_repeats_the_grid(tmp_path: Path) -> None:
    config = merge_benchmark_options(None, {"preset": "paper", "seeds": 2, "labels": (50, "all")})
    write_benchmark_config(config, tmp_path / "b.toml")
    assert merge_benchmark_options(tmp_path / "b.toml", {}) == config
    fewer = merge_benchmark_options(
        tmp_path / "b.toml",
        {"representations": ("raw",), "predictors": ("linear",), "baseline": "raw:linear"},
    )
    assert names(fewer) == ["raw:linear"]
    assert fewer.labels == (50, "all")


def test_the_paper_preset_holds_its_models_in_its_settings_and_in_ours() -> None:
    config = merge_benchmark_options(None, {"preset": "paper"})
    models = {model.name: model for model in choose_models(config).applicable}
    paper, ours = models["paper_vae:mlp@paper"], models["vae:mlp"]
    assert paper.head.epochs == 5  # type: ignore[union-attr]
    assert paper.sees.encoder.name == "paper_vae"
    assert ours.head.early_stopping  # type: ignore[union-attr]
    window = models["raw@paper:deepchrome@paper"].sees.encoder
    assert window.transform_function == "maximum"  # type: ignore[union-attr]
    assert config.labels == (100, 1000, "all")


def test_variants_are_models_with_settings_of_their_own() -> None:
    config = make_benchmark_config(
        {
            "representations": ["raw", "pca20+log_means"],
            "predictors": ["linear", "wide"],
            "variants": {
                "pca20": {"name": "pca", "n_latent": 20},
                "wide": {"name": "mlp", "hidden": [512]},
            },
        }
    )
    last = choose_models(config).applicable[-1]
    resolved = run_config(config, last, seed=3)
    assert last.name == "pca20+log_means:wide"
    assert resolved.encoder.n_latent == 20  # type: ignore[union-attr]
    assert resolved.predictor.hidden == (512,)  # type: ignore[union-attr]
    assert (resolved.add_log_means, resolved.seed) == (True, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"representations": ["rw"]}, "no representation 'rw'[^!]*did you mean raw"),
        ({"representations": ["raw+log_means"]}, "to latents only"),
        ({"representations": ["raw@papr"]}, "names no preset"),
        ({"predictors": ["liner"]}, "no predictor 'liner'[^!]*did you mean linear"),
        ({"predictors": ["boosting@paper"]}, "no predictor 'boosting@paper'"),
        ({"models": ["raw"]}, "not named representation:predictor"),
        ({"baseline": "raw:mpl"}, "baseline raw:mpl is not among"),
        ({"representations": ["pca"], "predictors": ["deepchrome"]}, "None of the models"),
        ({"seeds": 0}, "`seeds`[^!]*greater than or equal to 1"),
        ({"task": "difference"}, "`task`[^!]*'classification' or 'regression'"),
        ({"sedes": 2}, "no option `sedes`[^!]*did you mean seeds"),
        ({"variants": {"x": {"name": "pca", "latents": 3}}}, "variants.x"),
    ],
)
def test_invalid_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_models(make_benchmark_config(options))
