"""A run folder becomes a folder that needs no SimpleChrome; and what can go wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import xarray as xr

from simplechrome.config.run import make_config
from simplechrome.errors import (
    ConfigError,
    MissingInputError,
    ModelFormatError,
    OutputError,
    OutputExistsError,
)
from simplechrome.evaluation.bootstrap import block_bootstrap
from simplechrome.export import run as export
from simplechrome.export.run import export_run
from simplechrome.runs.fit import fit_run


@pytest.fixture(scope="module")
def run_folder(dataset: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("runs") / "pca"
    settings = {
        "encoder": {"name": "pca", "n_latent": 4},
        "labels": 40,
        "seed": 2,
        "split": {"kind": "random"},
    }
    short = partial(block_bootstrap, n_resamples=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simplechrome.evaluation.scores.block_bootstrap", short)
        fit_run(dataset, make_config(settings), folder)
    return folder


@pytest.fixture(scope="module")
def exported(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_run(run_folder, tmp_path_factory.mktemp("out") / "onnx", "onnx").folder


def test_the_folder_holds_model_page_and_description(exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [
        "README.md",
        "export.json",
        "model.onnx",
    ]
    about = json.loads((exported / "export.json").read_text())
    assert about["marks"] == ["H3K27me3", "H3K36me3", "H3K4me1", "H3K4me3", "H3K9me3"]
    assert (about["bin_start"][0], about["bin_size"], about["units"]) == (-5000, 500, "reads")
    (sides,) = about["files"].values()
    assert [port["name"] for port in sides["inputs"]] == ["signal", "present"]
    assert sides["inputs"][0]["shape"] == ["row", 20, 5]
    assert [port["name"] for port in sides["outputs"]][:2] == ["latent", "probability"]
    assert 0 < max(about["largest_difference"]["model.onnx"].values()) < 1e-4


def test_the_file_itself_says_what_it_takes(exported: Path) -> None:
    model = onnx.load(exported / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["marks"])[0] == "H3K27me3"
    assert metadata["task"] == "classification"
    signal, present = model.graph.input
    assert "reads per bin" in signal.doc_string
    assert "assayed" in present.doc_string
    assert signal.type.tensor_type.shape.dim[0].dim_param == "row"


def test_the_example_of_the_page_runs_with_onnxruntime_alone(exported: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (exported / "README.md").read_text(), re.DOTALL)
    assert code.count("\n") == 5
    check = "import sys; assert not {'simplechrome', 'torch'} & set(sys.modules)\n"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code + check + "print(answers[1].shape)"],
        cwd=exported,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(4, 1)\n"


def test_what_is_there_is_kept(run_folder: Path, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputExistsError, match="--overwrite"):
        export_run(run_folder, exported, "onnx")
    again = export_run(run_folder, exported, "onnx", overwrite=True)
    assert again.files[0].is_file()
    (tmp_path / "diary.txt").write_text("dear diary")
    with pytest.raises(OutputExistsError, match="something else than an export"):
        export_run(run_folder, tmp_path, "onnx", overwrite=True)
    assert (tmp_path / "diary.txt").is_file()


def test_a_run_that_is_none(tmp_path: Path, run_folder: Path) -> None:
    with pytest.raises(MissingInputError, match="no run folder"):
        export_run(tmp_path / "nowhere", tmp_path / "out", "onnx")
    with pytest.raises(ModelFormatError, match="not a finished run"):
        export_run(run_folder / "encoder", tmp_path / "out", "onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_name_for_a_folder(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="named like a file"):
        export_run(run_folder, tmp_path / "model.onnx", "onnx")
    with pytest.raises(ConfigError, match="no export format"):
        export_run(run_folder, tmp_path / "out", "tflite")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("form", "package", "extra"),
    [("onnx", "onnxruntime", "onnx"), ("keras", "keras", "tensorflow")],
)
def test_a_missing_extra_is_named(
    run_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: Any,
    package: str,
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=re.escape(f"pip install 'simplechrome[{extra}]'")):
        export_run(run_folder, tmp_path / "out", form)
    assert list(tmp_path.iterdir()) == []


def test_a_class_of_ones_own_is_not_guessed_at(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = export.load_run(run_folder)
    for part, name in (("encoder", "PCA"), ("predictor", "LinearPredictor")):
        model = getattr(models, part)
        own = type(f"My{name}", (type(model),), {})
        other = own.__new__(own)
        vars(other).update(vars(model))
        changed = models._replace(**{part: other})
        monkeypatch.setattr(export, "load_run", lambda folder, changed=changed: changed)
        with pytest.raises(ConfigError, match=f"My{name} cannot be exported"):
            export_run(run_folder, tmp_path / "out", "onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_says_something_else_is_not_written(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(models: Any, dataset: Any) -> dict[str, np.ndarray]:
        answers = ours(models, dataset)
        return {**answers, "probability": answers["probability"] + 2e-4}

    ours = export.run_outputs
    monkeypatch.setattr(export, "run_outputs", other)
    with pytest.raises(OutputError, match=r"probability differs by up to 2\.\de-04"):
        export_run(run_folder, tmp_path / "out", "onnx")
    assert list(tmp_path.iterdir()) == []
