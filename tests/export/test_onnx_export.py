"""The ONNX file says what the run's own models say, for any number of rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from simplechrome.dataset.building.build import build_deepchrome_on_disk
from simplechrome.dataset.store import open_dataset
from simplechrome.evaluation.calibration import Calibration
from simplechrome.export.chain import add_chain, chain_outputs, model_inputs
from simplechrome.export.onnx_graph import ONNXGraph
from simplechrome.export.run import as_inputs, run_outputs
from simplechrome.runs.load import Models

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")
Fit = Callable[..., Models]
Answers = Callable[[Models], dict[str, np.ndarray]]
Inputs = dict[str, np.ndarray]

PAIRS = [
    ("vae", "linear", "classification"),
    ("vae", "mlp", "regression"),
    ("paper_vae", "mlp", "classification"),
    ("pca", "linear", "regression"),
    ("log_means", "linear", "classification"),
    ("log_means_3", "boosting", "classification"),
    ("none", "linear", "classification"),
    ("none", "mlp", "classification"),
    ("none", "boosting", "regression"),
    ("asinh", "linear", "classification"),
    ("sqrt", "linear", "classification"),
    ("maximum", "linear", "classification"),
    ("maximum", "deepchrome", "classification"),
    ("none", "deepchrome", "regression"),
    ("none", "attentivechrome", "classification"),
    ("pca+log_means", "linear", "classification"),
]


def session_of(models: Models) -> onnxruntime.InferenceSession:
    graph = ONNXGraph()
    add_chain(graph, models)
    ports = [*model_inputs(models), *chain_outputs(models)]
    model = graph.model("test", {}, {port.name: port.meaning for port in ports})
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def run(models: Models, inputs: Inputs) -> dict[str, np.ndarray]:
    session = session_of(models)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


@pytest.mark.parametrize(("encoder", "predictor", "task"), PAIRS)
def test_the_whole_chain_agrees(
    fit: Fit, inputs: Inputs, answers: Answers, encoder: str, predictor: str, task: str
) -> None:
    models = fit(encoder, predictor, task)
    ours, theirs = answers(models), run(models, inputs)
    assert list(theirs) == [port.name for port in chain_outputs(models)]
    for name, values in theirs.items():
        np.testing.assert_allclose(values, ours[name], atol=1e-5, err_msg=name)


def test_consensus_encoder_agrees_for_every_set_of_marks(fit: Fit, dataset: xr.Dataset) -> None:
    # An exported model knows no cell types: these are new to the encoder as well.
    models = fit("consensus", "linear")
    new = dataset.isel(cell_type=[0] * 32).assign_coords(cell_type=[f"x{k}" for k in range(32)])
    sets = (np.arange(32)[:, np.newaxis] >> np.arange(5)) % 2 == 1
    new = new.assign(mark_present=(new["mark_present"].dims, sets))
    ours, theirs = run_outputs(models, new), run(models, as_inputs(new))
    known = np.repeat(sets.any(axis=1), new.sizes["gene"])  # without any mark nothing is predicted
    for name, values in theirs.items():
        np.testing.assert_allclose(values[known], ours[name][known], atol=2e-5, err_msg=name)


@pytest.mark.parametrize("predictor", ["linear", "attentivechrome", "boosting"])
def test_rows_do_not_know_of_each_other(fit: Fit, inputs: Inputs, predictor: str) -> None:
    session = session_of(fit("none", predictor))
    every = session.run(None, {name: values[:257] for name, values in inputs.items()})[0]
    assert every.shape == (257, 1)
    for rows in (1, 2):
        some = session.run(None, {name: values[:rows] for name, values in inputs.items()})[0]
        np.testing.assert_allclose(some, every[:rows], atol=1e-6)


def test_weights_of_missing_marks_count(fit: Fit, inputs: Inputs, answers: Answers) -> None:
    # The second cell type lacks two marks: were the mask not looked at, this would differ.
    models = fit("none", "deepchrome")
    models.predictor.module_.missing.weight.data.fill_(0.5)
    ours, theirs = answers(models)["probability"], run(models, inputs)["probability"]
    np.testing.assert_allclose(theirs, ours, atol=1e-5)
    claimed = inputs | {"signal": np.nan_to_num(inputs["signal"])}
    claimed["present"] = np.ones_like(inputs["present"])
    assert np.abs(run(models, claimed)["probability"][130:] - ours[130:]).max() > 1e-2


def test_no_mark_at_all_is_an_answer_too(fit: Fit, inputs: Inputs) -> None:
    empty = {
        "signal": np.full_like(inputs["signal"][:2], np.nan),
        "present": np.zeros_like(inputs["present"][:2]),
    }
    for encoder, predictor in (("none", "attentivechrome"), ("pca", "linear"), ("vae", "linear")):
        assert np.isfinite(run(fit(encoder, predictor), empty)["probability"]).all()


@pytest.mark.parametrize(
    "calibration",
    [
        Calibration("platt", 100, slope=0.5, intercept=-0.25),
        Calibration("isotonic", 100, log_odds=(-1, 0, 0, 2), probability=(0.1, 0.3, 0.4, 0.9)),
        Calibration("isotonic", 100, log_odds=(0.5,), probability=(0.4,)),
    ],
    ids=["platt", "isotonic", "one knot"],
)
def test_calibration_is_in_the_file(
    fit: Fit, inputs: Inputs, answers: Answers, calibration: Calibration
) -> None:
    models = fit("pca", "linear", calibration=calibration)
    ours, theirs = answers(models), run(models, inputs)
    assert list(theirs) == ["latent", "probability", "uncalibrated_probability"]
    for name in theirs:
        np.testing.assert_allclose(theirs[name], ours[name], atol=1e-5, err_msg=name)


def test_members_of_an_ensemble_are_averaged(fit: Fit, inputs: Inputs, answers: Answers) -> None:
    models = fit("pca", "mlp", members=3)
    ours, theirs = answers(models)["probability"], run(models, inputs)["probability"]
    np.testing.assert_allclose(theirs, ours, atol=1e-5)
    one = models._replace(predictor=models.predictor.members[0])
    assert np.abs(answers(one)["probability"] - ours).max() > 1e-3


def test_thresholds_of_trees_are_met_to_the_last_bit(
    fit: Fit, inputs: Inputs, dataset: xr.Dataset
) -> None:
    # Counts are few values, and thresholds lie on them: a bit more or less is another branch.
    models = fit("none", "boosting")
    latents = models.encoder.transform(dataset)
    theirs = run(models, inputs)["probability"].ravel()
    ours = np.asarray(models.predictor.predict_proba(latents))[..., 1].ravel()
    assert np.abs(theirs - ours).max() < 1e-6


@pytest.mark.real_data
def test_real_windows_agree(
    fitted_encoder: Callable[[str, xr.Dataset], Models], shared_data: Path, tmp_path: Path
) -> None:
    path = shared_data / "deepchrome_layout_E012.tar.gz"
    stored = build_deepchrome_on_disk(path, tmp_path / "e012.zarr")
    windows = open_dataset(stored).isel(gene=slice(0, 600))
    for encoder in ("vae", "pca", "log_means_3", "none"):
        models = fitted_encoder(encoder, windows)
        ours, theirs = run_outputs(models, windows), run(models, as_inputs(windows))
        for name, values in theirs.items():
            np.testing.assert_allclose(values, ours[name], atol=1e-4, err_msg=f"{encoder} {name}")
