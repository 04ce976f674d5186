"""The Keras files say what the run's own models say, on the TensorFlow backend and without us."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from simplechrome.errors import ConfigError
from simplechrome.evaluation.calibration import Calibration
from simplechrome.export import run as export
from simplechrome.export.run import export_run
from simplechrome.runs.load import Models

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorflow") is None,
        reason="needs the extra [tensorflow]: make test-tensorflow",
    ),
    # Those of Keras and TensorFlow themselves are not ours to mend.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]
Fit = Callable[..., Models]
Answers = Callable[[Models], dict[str, np.ndarray]]
Inputs = dict[str, np.ndarray]

PAIRS = [
    ("vae", "linear", "classification"),
    ("paper_vae", "mlp", "regression"),
    ("log_means_3", "linear", "classification"),
    ("asinh", "linear", "classification"),
    ("maximum", "mlp", "classification"),
    ("none", "deepchrome", "classification"),
    ("none", "attentivechrome", "regression"),
    ("pca+log_means", "linear", "classification"),
]

# What a user's process is: Keras on TensorFlow, and neither PyTorch nor this package.
STRANGER = """
import os, sys
os.environ["KERAS_BACKEND"], os.environ["TF_CPP_MIN_LOG_LEVEL"] = "tensorflow", "3"
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("simplechrome", "torch"):
            raise ImportError(name + " is not installed here")
sys.meta_path.insert(0, Absent())
"""


def write(models: Models, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(export, "load_run", lambda run: models)
    return export_run("run", folder, "keras").folder


def load(path: Path) -> Callable[[Inputs], dict[str, np.ndarray]]:
    import keras

    assert keras.backend.backend() == "tensorflow"
    model = keras.saving.load_model(path, safe_mode=True)
    # As users call it: TensorFlow then rewrites the graph, which a plain call does not.
    return lambda inputs: model.predict(inputs, batch_size=260, verbose=0)


@pytest.mark.parametrize(("encoder", "predictor", "task"), PAIRS)
def test_encoder_predictor_and_both_agree(
    fit: Fit,
    inputs: Inputs,
    answers: Answers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    encoder: str,
    predictor: str,
    task: str,
) -> None:
    models = fit(encoder, predictor, task)
    folder, ours = write(models, tmp_path / "out", monkeypatch), answers(models)
    between = load(folder / "encoder.keras")(inputs)
    (name,) = between
    wanted = {**between, "present": inputs["present"]}
    sides = json.loads((folder / "export.json").read_text())["files"]["predictor.keras"]
    alone = load(folder / "predictor.keras")(
        {p["name"]: wanted[p["name"]] for p in sides["inputs"]}
    )
    both = load(folder / "model.keras")(inputs)
    assert set(both) == {*alone, *(between if name == "latent" else ())}
    for result in (between, alone, both):
        for name, values in result.items():
            np.testing.assert_allclose(values, ours[name], atol=1e-5, err_msg=name)


def test_calibration_and_ensemble_are_in_the_file(
    fit: Fit, inputs: Inputs, answers: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Calibration("isotonic", 100, log_odds=(-1, 0, 0, 2), probability=(0.1, 0.3, 0.4, 0.9))
    models = fit("pca", "mlp", calibration=steps, members=2)
    folder, ours = write(models, tmp_path / "out", monkeypatch), answers(models)
    theirs = load(folder / "model.keras")(inputs)
    assert set(theirs) == {"latent", "probability", "uncalibrated_probability"}
    for name, values in theirs.items():
        np.testing.assert_allclose(values, ours[name], atol=1e-5, err_msg=name)


def test_the_files_stand_alone(
    fit: Fit, inputs: Inputs, answers: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = fit("pca+log_means", "linear")
    folder = write(models, tmp_path / "out", monkeypatch)
    np.savez(folder / "inputs.npz", **inputs)
    (example,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert example.count("\n") == 5
    real = (
        "given = numpy.load('inputs.npz')\n"
        "answers = model.predict(dict(given), verbose=0)\n"
        "numpy.savez('answers.npz', **answers)\n"
        "assert not {'simplechrome', 'torch'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", STRANGER + example + real],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    theirs, ours = np.load(folder / "answers.npz"), answers(models)
    for name in ("latent", "probability"):
        np.testing.assert_allclose(theirs[name], ours[name], atol=1e-5)


def test_only_keras_itself_is_named_in_the_files(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(fit("none", "attentivechrome"), tmp_path / "out", monkeypatch)
    with zipfile.ZipFile(folder / "model.keras") as archive:
        config = archive.read("config.json").decode()
        about = json.loads(archive.read("export.json"))
    assert about["predictor"] == "AttentiveChrome"
    modules = set(re.findall(r'"module": "([^"]+)"', config))
    assert {name.split(".")[0] for name in modules} == {"keras"}
    assert "Lambda" not in config


def test_boosting_has_no_keras_form(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="--format onnx"):
        write(fit("pca", "boosting"), tmp_path / "out", monkeypatch)
    assert list(tmp_path.iterdir()) == []
