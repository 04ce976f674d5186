"""`simplechrome export` as a user meets it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _keras_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command chooses one for its process; undone here."""
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")


def test_onnx(call: Call, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "onnx"
    code, out, err = call("export", finished, "-o", folder, "--format", "onnx")
    assert code == 0, err
    model, page = out.splitlines()
    assert model.startswith(f"{folder / 'model.onnx'}: ")
    assert "of the run's own numbers" in model
    assert page == f"{folder / 'README.md'}: how to use it"
    assert json.loads((folder / "export.json").read_text())["encoder"] == "PCA"
    code, _, err = call("export", finished, "-o", folder, "--format", "onnx")
    assert (code, "--overwrite" in err) == (1, True)
    assert call("export", finished, "-o", folder, "--format", "onnx", "--overwrite")[0] == 0


@pytest.mark.tensorflow
@pytest.mark.skipif(
    importlib.util.find_spec("keras") is None,
    reason="needs the extra [tensorflow]: make test-tensorflow",
)
def test_keras_in_a_process_of_its_own(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KERAS_BACKEND")  # what a user has
    start = "import sys; from simplechrome.cli.main import main; main()"
    command = [sys.executable, "-c", start, "export", str(finished), "-o", str(tmp_path / "keras")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0].split("/")[-1] for line in done.stdout.splitlines()] == [
        "encoder.keras",
        "predictor.keras",
        "model.keras",
        "README.md",
    ]
