"""A run that starts from another: what it takes over, and what the labels of the new data add."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from simplechrome import from_arrays, simulate
from simplechrome.config import RunConfig, make_config
from simplechrome.errors import ConfigError, MissingInputError, SplitError
from simplechrome.evaluation.features import SOURCE_LENGTH, beside_source
from simplechrome.evaluation.run import Run, fit_run
from simplechrome.evaluation.saved_run import load_run, predict_with_run
from simplechrome.evaluation.scores import score_predictions
from simplechrome.metrics import auroc
from simplechrome.predictors.linear import LinearPredictor
from simplechrome.pretrained import locate_run, pretrained_names
from simplechrome.run_options import merge_options
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
    values = {"encoder": {"name": "consensus", "n_latent": 8}, "source": str(run.folder)}
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
    both = beside_source(latents, head)
    assert both["latent"].values.tolist() == ["source", "a", "b"]
    np.testing.assert_allclose(both.values[0, :, 0], SOURCE_LENGTH * np.array([3, 8]), rtol=1e-4)
    np.testing.assert_array_equal(both.values[..., 1:], latents)
    assert both["gene_id"].values.tolist() == ["g1", "g2"]


def test_genes_that_the_source_learned_from_cannot_be_tested(
    three: xr.Dataset, source: Run, tmp_path: Path
) -> None:
    other = {"test_chroms": ["chr3"], "validation_chroms": ["chr4"]}
    with pytest.raises(SplitError, match="has learned from genes") as caught:
        fit_from(three, source, tmp_path / "run", split=other)
    assert "leave out the options on the split" in caught.value.remedy
    assert not (tmp_path / "run").exists()


def test_options_are_those_of_the_source(source: Run) -> None:
    merged = merge_options(None, {"source": str(source.folder), "labels": 9})
    assert (merged.encoder.name, merged.labels, merged.predictor.name) == ("consensus", 9, "linear")
    with pytest.raises(ConfigError, match="has its encoder and task") as caught:
        merge_options(None, {"source": str(source.folder), "encoder": "pca"})
    assert caught.value.remedy == "leave out --encoder"
    with pytest.raises(MissingInputError):
        merge_options(None, {"source": str(source.folder / "nowhere")})


def test_source_and_its_path_belong_together(
    three: xr.Dataset, source: Run, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="needs both its path and its models"):
        fit_run(three.isel(cell_type=[2]), start_from(source), tmp_path / "run")


def test_pretrained_models_are_found_by_name() -> None:
    assert "roadmap" in pretrained_names()
    assert (locate_run("pretrained:roadmap") / "README.md").is_file()
    assert locate_run("runs/mine") == Path("runs/mine")
    with pytest.raises(
        MissingInputError, match="No pretrained model is called 'roadmpa'"
    ) as caught:
        locate_run("pretrained:roadmpa")
    assert "pretrained:roadmap" in caught.value.expected


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
    with pytest.raises(ConfigError, match="No run can be started") as caught:
        merge_options(None, {"source": str(tuned.folder)})
    assert "was started from another itself" in caught.value.found
    assert caught.value.remedy == f"start from {source.folder}"
    windows = make_config({"encoder": {"name": "none"}, "labels": 40})
    fit_run(three.isel(cell_type=[0]), windows, tmp_path / "windows")
    with pytest.raises(ConfigError, match="No run can be started") as caught:
        merge_options(None, {"source": str(tmp_path / "windows")})
    assert "looks at the windows themselves" in caught.value.found


def test_file_of_options_that_asks_for_another_encoder_is_refused(
    source: Run, tmp_path: Path
) -> None:
    (tmp_path / "options.toml").write_text('[encoder]\nname = "pca"\n')
    with pytest.raises(ConfigError, match="has its encoder and task"):
        merge_options(tmp_path / "options.toml", {"source": str(source.folder)})
