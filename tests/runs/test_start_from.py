"""Fine-tuned runs: what they take over, and what the labels of the new data add."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from simplechrome import from_arrays, simulate
from simplechrome.config.options import merge_options
from simplechrome.config.run import RunConfig, make_config
from simplechrome.errors import ConfigError, MissingInputError, ModelMismatchError, SplitError
from simplechrome.evaluation.scores import score_predictions
from simplechrome.metrics import auroc
from simplechrome.predictors.linear import LinearPredictor
from simplechrome.pretrained import locate_run, pretrained_names
from simplechrome.runs.apply import predict_with_run
from simplechrome.runs.fit import Run, fit_run
from simplechrome.runs.load import load_run
from simplechrome.runs.predictions import SOURCE_LENGTH, append_source_logit
from tests.simulated_dataset import simulated_dataset


@pytest.fixture(scope="module")
def three() -> xr.Dataset:
    return simulated_dataset(600, 3)


@pytest.fixture(scope="module")
def source(three: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two cell types, consensus latents and a linear head."""
    folder = tmp_path_factory.mktemp("source") / "run"
    chosen = make_config({"encoder": {"name": "consensus", "n_latent": 8}})
    return fit_run(three.isel(cell_type=[0, 1]), chosen, folder)


def start_from(run: Run, **changed: object) -> RunConfig:
    values = {"encoder": {"name": "consensus", "n_latent": 8}, "init_from": str(run.folder)}
    return make_config({**values, **changed})


def fit_from(three: xr.Dataset, run: Run, folder: Path, **changed: object) -> Run:
    new = three.isel(cell_type=[2])
    return fit_run(new, start_from(run, **changed), folder, source=load_run(run.folder))


def test_few_labels_stay_close_to_what_other_cell_types_say(
    three: xr.Dataset, source: Run, tmp_path: Path
) -> None:
    tuned = fit_from(three, source, tmp_path / "tuned", labels=20)
    before = predict_with_run(source.folder, three.isel(cell_type=[2]))["uncalibrated_probability"]
    after = tuned.predictions["uncalibrated_probability"]
    assert np.corrcoef(before, after)[0, 1] > 0.9
    alone = make_config({"encoder": {"name": "consensus", "n_latent": 8}, "labels": 20})
    own = fit_run(three.isel(cell_type=[2]), alone, tmp_path / "own")
    assert tuned.metrics["test"]["auroc"] > own.metrics["test"]["auroc"] - 0.02


def test_metrics_say_what_was_known_without_the_labels(
    three: xr.Dataset, source: Run, tmp_path: Path
) -> None:
    tuned = fit_from(three, source, tmp_path / "tuned", labels=30)
    table = predict_with_run(source.folder, three.isel(cell_type=[2]))
    test = table[table["split"] == "test"]
    expected = score_predictions(test, "classification")["auroc"]
    assert tuned.metrics["source"]["test"]["auroc"] == pytest.approx(expected)


def test_run_needs_nothing_of_its_source_any_more(
    three: xr.Dataset, source: Run, tmp_path: Path
) -> None:
    tuned = fit_from(three, source, tmp_path / "tuned", labels=30)
    new = three.isel(cell_type=[2])
    again = predict_with_run(tuned.folder, new)
    assert load_run(tuned.folder).source is not None
    assert "signal_changed" not in again
    np.testing.assert_array_equal(again["probability"], tuned.predictions["probability"])


def test_source_stands_before_the_latents() -> None:
    latents = xr.DataArray(
        np.array([[[1.0, 2.0], [3.0, 5.0]]]),
        dims=("cell_type", "gene", "latent"),
        coords={"latent": ["a", "b"], "gene_id": ("gene", ["g1", "g2"]), "cell_type": ["c"]},
    )
    head = LinearPredictor("regression", Cs=(1e6,)).fit(
        np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]]), np.array([0.0, 1, 1, 2])
    )
    both = append_source_logit(latents, head)
    assert both["latent"].values.tolist() == ["source", "a", "b"]
    np.testing.assert_allclose(both.values[0, :, 0], SOURCE_LENGTH * np.array([3, 8]), rtol=1e-4)
    np.testing.assert_array_equal(both.values[..., 1:], latents)
    assert both["gene_id"].values.tolist() == ["g1", "g2"]


def test_genes_that_the_source_learned_from_cannot_be_tested(
    three: xr.Dataset, source: Run, tmp_path: Path
) -> None:
    with pytest.raises(SplitError, match=r"has learned from \d+ of \d+ validation genes"):
        fit_from(three, source, tmp_path / "run", split={"validation_chroms": ["chr3"]})
    other = {"test_chroms": ["chr3"], "validation_chroms": ["chr4"]}
    with pytest.raises(SplitError, match=r"has learned from \d+ of \d+ test genes") as caught:
        fit_from(three, source, tmp_path / "run", split=other)
    assert "omit the options on the split" in caught.value.remedy
    assert not (tmp_path / "run").exists()


def test_options_are_those_of_the_source(source: Run) -> None:
    merged = merge_options(None, {"init_from": str(source.folder), "labels": 9})
    assert (merged.encoder.name, merged.labels, merged.predictor.name) == ("consensus", 9, "linear")
    for name, value in (("encoder", "pca"), ("epochs", 7)):
        with pytest.raises(ConfigError, match="keeps the task") as caught:
            merge_options(None, {"init_from": str(source.folder), name: value})
        assert caught.value.remedy == f"omit --{name}"
    with pytest.raises(MissingInputError, match="There is no run folder"):
        merge_options(None, {"init_from": str(source.folder / "nowhere")})


def test_source_and_its_path_belong_together(
    three: xr.Dataset, source: Run, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="no models are passed"):
        fit_run(three.isel(cell_type=[2]), start_from(source), tmp_path / "run")


def test_pretrained_models_are_found_by_name() -> None:
    assert "roadmap" in pretrained_names()
    assert (locate_run("pretrained:roadmap") / "README.md").is_file()
    assert locate_run("runs/mine") == Path("runs/mine")
    with pytest.raises(
        MissingInputError, match="No pretrained model is called 'roadmpa'"
    ) as caught:
        locate_run("pretrained:roadmpa")
    assert "pretrained:roadmap" in str(caught.value)


def test_pretrained_model_is_small_and_whole() -> None:
    folder = locate_run("pretrained:roadmap")
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 5_000_000
    models = load_run("pretrained:roadmap")
    assert models.encoder.marks_ == ["H3K27me3", "H3K36me3", "H3K4me1", "H3K4me3", "H3K9me3"]
    card = (folder / "README.md").read_text()
    scores = json.loads((folder / "metrics.json").read_text())["test"]["cell_types"]
    assert f"| {scores['E012']['auroc']:.4f} (" in card


def test_pretrained_model_predicts_tracks_of_new_cell_types() -> None:
    made = simulate(400, 1, seed=3)
    data = from_arrays(
        made.signal,
        marks=made.marks,
        gene_ids=made.genes["gene_id"],
        cell_types=["mine"],
        genes=made.genes,
        expression=made.expression,
    )
    table = predict_with_run("pretrained:roadmap", data)
    assert "signal_changed" not in table
    assert auroc(data["label"].values[0], table["probability"].to_numpy()) > 0.7


def test_only_runs_that_look_at_latents_of_one_gene_are_started_from(
    three: xr.Dataset, source: Run, tmp_path: Path
) -> None:
    tuned = fit_from(three, source, tmp_path / "tuned", labels=30)
    with pytest.raises(ConfigError, match="cannot be fine-tuned") as caught:
        merge_options(None, {"init_from": str(tuned.folder)})
    assert "was itself fine-tuned" in caught.value.problem
    assert caught.value.remedy == f"--init-from {source.folder}"
    windows = make_config({"encoder": {"name": "none"}, "labels": 40})
    fit_run(three.isel(cell_type=[0]), windows, tmp_path / "windows")
    with pytest.raises(ConfigError, match="cannot be fine-tuned") as caught:
        merge_options(None, {"init_from": str(tmp_path / "windows")})
    assert "has no latents" in caught.value.problem


def test_file_of_options_that_asks_for_another_encoder_is_refused(
    source: Run, tmp_path: Path
) -> None:
    (tmp_path / "options.toml").write_text('[encoder]\nname = "pca"\n')
    with pytest.raises(ConfigError, match="keeps the task"):
        merge_options(tmp_path / "options.toml", {"init_from": str(source.folder)})


def test_random_split_of_another_seed_is_told_the_seed(three: xr.Dataset, tmp_path: Path) -> None:
    chosen = {"encoder": {"name": "consensus", "n_latent": 8}, "split": {"kind": "random"}}
    run = fit_run(three.isel(cell_type=[0, 1]), make_config(chosen), tmp_path / "source")
    with pytest.raises(SplitError) as caught:
        fit_from(three, run, tmp_path / "run", split={"kind": "random"}, seed=3)
    assert caught.value.remedy.startswith("--seed 0, as in that run")


def test_pretrained_run_that_memorized_its_genes_is_warned_of(
    three: xr.Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    two = three.isel(cell_type=[0, 1])
    few = make_config({"encoder": {"name": "consensus", "n_latent": 8}, "labels": 12, "seed": 1})
    source = fit_run(two, few, tmp_path / "source")
    table = source.predictions
    learned = pd.read_parquet(source.folder / "split.parquet").query("labelled")["gene_id"]
    # A predictor that has memorized them predicts their labels.
    mine = table["gene_id"].isin(learned)
    table.loc[mine, "probability"] = table["label"][mine].clip(0, 1)
    table.loc[~mine, "probability"] = np.tile([0.2, 0.8, 0.5], len(table))[: (~mine).sum()]
    table.to_parquet(source.folder / "predictions.parquet")
    fit_from(three, source, tmp_path / "same", labels=12, seed=1)
    assert "12 of the 12 labelled genes here are among them" in caplog.text


def test_resumed_run_knows_that_its_source_is_another(
    three: xr.Dataset, source: Run, tmp_path: Path
) -> None:
    copied = tmp_path / "source"
    shutil.copytree(source.folder, copied)
    config = start_from(source._replace(folder=copied), labels=30)
    new = three.isel(cell_type=[2])
    fit_run(new, config, tmp_path / "run", source=load_run(copied))
    other = make_config({"encoder": {"name": "consensus", "n_latent": 8}, "labels": 50})
    fit_run(three.isel(cell_type=[0, 1]), other, copied, overwrite=True)
    with pytest.raises(ConfigError, match="other options or other data: source sha256"):
        fit_run(new, config, tmp_path / "run", source=load_run(copied), resume=True)


def test_file_that_names_the_source_alone_says_it_all(source: Run, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(f'init_from = "{source.folder.as_posix()}"\n')
    merged = merge_options(tmp_path / "run.toml", {})
    assert merged.encoder == source.config.encoder
    assert merged.split == source.config.split


def test_other_models_than_those_of_the_source_are_refused(
    three: xr.Dataset, source: Run, tmp_path: Path
) -> None:
    for changed in ({"encoder": {"name": "pca"}}, {"task": "regression"}):
        with pytest.raises(ConfigError, match="keeps the task"):
            fit_from(three, source, tmp_path / "run", **changed)
    assert not (tmp_path / "run").exists()


def test_run_does_not_replace_its_source(three: xr.Dataset, source: Run) -> None:
    with pytest.raises(ConfigError, match="cannot replace the one"):
        fit_from(three, source, source.folder)


def test_signal_in_other_units_is_matched_when_asked(
    three: xr.Dataset, source: Run, tmp_path: Path
) -> None:
    other = three.assign(signal=(np.sqrt(three["signal"])).astype(np.float32))
    other["signal"].attrs["units"] = "root_reads"
    with pytest.raises(ModelMismatchError, match="--match-distribution"):
        fit_from(other, source, tmp_path / "run", labels=40)
    matched = fit_from(other, source, tmp_path / "run", labels=40, match_distribution=True)
    plain = fit_from(three, source, tmp_path / "plain", labels=40)
    difference = matched.metrics["test"]["auroc"] - plain.metrics["test"]["auroc"]
    assert abs(difference) < 0.02
    again = predict_with_run(matched.folder, other.isel(cell_type=[2]), match_distribution=True)
    correlation = np.corrcoef(again["probability"], matched.predictions["probability"])[0, 1]
    assert correlation > 0.99
    with pytest.raises(ConfigError, match="applies to fine-tuning only"):
        make_config({"match_distribution": True})
