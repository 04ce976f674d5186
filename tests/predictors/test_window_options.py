"""Options of a run with a predictor that looks along the bins."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simplechrome import from_arrays, simulate
from simplechrome.config.models import encoder_config, make_predictor, predictor_config
from simplechrome.config.options import merge_options
from simplechrome.config.run import RunConfig, make_config
from simplechrome.errors import ConfigError
from simplechrome.evaluation.bootstrap import block_bootstrap
from simplechrome.runs.apply import predict_with_run
from simplechrome.runs.fit import fit_run

NAMES = pytest.mark.parametrize("name", ["deepchrome", "attentivechrome"])


@NAMES
def test_encoder_is_none_where_none_is_named(name: str, tmp_path: Path) -> None:
    assert merge_options(None, {"predictor": name}).encoder == encoder_config("none")
    assert make_config({"predictor": {"name": name}}).encoder == encoder_config("none")
    (tmp_path / "run.toml").write_text(f'[predictor]\nname = "{name}"\nepochs = 3\n')
    config = merge_options(tmp_path / "run.toml", {"seed": 1})
    assert (config.encoder, config.predictor.model_dump()["epochs"]) == (encoder_config("none"), 3)
    assert RunConfig(predictor=predictor_config(name)).encoder == encoder_config("none")
    assert merge_options(None, {}).encoder.name == "consensus"


@NAMES
@pytest.mark.parametrize("encoder", ["pca", "vae", "log_means", "vae+log_means"])
def test_latents_are_refused_before_any_work(name: str, encoder: str) -> None:
    with pytest.raises(ConfigError, match=r"needs windows(.|\n)*--encoder none"):
        merge_options(None, {"predictor": name, "encoder": encoder})


def test_encoder_that_a_file_names_is_not_overruled(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('[encoder]\nname = "pca"\n')
    with pytest.raises(ConfigError, match="the encoder pca gives latents"):
        merge_options(tmp_path / "run.toml", {"predictor": "deepchrome"})
    options = {"predictor": "deepchrome", "encoder": "none"}
    assert merge_options(tmp_path / "run.toml", options).encoder.name == "none"


def test_presets_of_papers() -> None:
    config = merge_options(None, {"preset": "paper", "predictor": "deepchrome"})
    assert config.encoder == encoder_config("none", transform_function="maximum")
    made: Any = make_predictor(config)
    assert (made.filters, made.kernel, made.pool, made.hidden) == (625, 10, 5, (256, 128))
    assert (made.dropout, made.epochs, made.batch_size) == (0, 5, 32)
    assert not made.early_stopping
    config = merge_options(None, {"preset": "paper", "predictor": "attentivechrome"})
    made = make_predictor(config)
    assert (made.bin_hidden, made.mark_hidden, made.dropout) == (32, 16, 0.5)
    assert (made.batch_size, made.learning_rate) == (16, 1e-4)
    config = merge_options(None, {"preset": "deepchrome-paper", "seed": 3})
    assert config.encoder.name == "none"
    made = make_predictor(config)
    assert (made.filters, made.kernel, made.pool, made.hidden) == (50, 10, 5, (625, 125))
    assert (made.dropout, made.random_state) == (0.5, 3)


@NAMES
def test_configuration_makes_its_predictor(name: str) -> None:
    predictor = predictor_config(name)
    config = RunConfig(predictor=predictor, seed=4, task="regression", device="cpu", threads=2)
    made = make_predictor(config).get_params()
    assert (made["random_state"], made["task"], made["threads"]) == (4, "regression", 2)
    assert made["device"] == "cpu"


@NAMES
def test_run_with_a_cell_type_that_lacks_marks(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = partial(block_bootstrap, n_resamples=30)
    monkeypatch.setattr("simplechrome.evaluation.scores.block_bootstrap", short)
    missing = {"SIM002": ["H3K4me1", "H3K9me3"]}
    simulation = simulate(60, 2, n_bins=20, bin_size=500, missing_marks=missing)
    dataset = from_arrays(
        simulation.signal,
        marks=simulation.marks,
        mark_present=simulation.mark_present,
        gene_ids=simulation.genes["gene_id"].to_numpy(),
        cell_types=simulation.cell_types,
        bin_size=500,
        genes=simulation.genes,
        expression=simulation.expression,
    )
    small = {"filters": 4, "hidden": [4]} if name == "deepchrome" else {"bin_hidden": 2}
    head = {"name": name, "epochs": 2, "n_folds": 2, "batch_size": 32, **small}
    config = make_config({"predictor": head, "labels": 40, "device": "cpu"})
    run = fit_run(dataset, config, tmp_path / "run")
    assert len(run.predictions) == 120
    assert np.isfinite(run.predictions["probability"]).all()
    again = predict_with_run(run.folder, dataset)
    np.testing.assert_array_equal(again["probability"], run.predictions["probability"])
