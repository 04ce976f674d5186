"""Datasets, models and runs of earlier versions load and give the numbers that they gave then."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from fixtures.make_fixtures import features_of, predictions_of

import simplechrome
from simplechrome.errors import SimpleChromeError
from simplechrome.latent.registry import ENCODERS
from simplechrome.predictors.registry import DIFFERENCE_PREDICTORS, PREDICTORS

FIXTURES = Path(__file__).parent / "fixtures"
VERSIONS = sorted(path.name for path in FIXTURES.glob("v*"))
every_version = pytest.mark.parametrize("version", VERSIONS)


def parts(kind: str) -> pytest.MarkDecorator:
    """Each saved encoder or predictor of each version."""
    found = [
        (version, path.name)
        for version in VERSIONS
        for path in sorted((FIXTURES / version / kind).iterdir())
    ]
    return pytest.mark.parametrize(("version", "name"), found)


def expected(version: str, name: str) -> np.ndarray:
    with np.load(FIXTURES / version / "expected.npz") as arrays:
        return np.asarray(arrays[name])


def opened(version: str) -> xr.Dataset:
    return simplechrome.open_dataset(FIXTURES / version / "dataset")


def test_every_kind_of_model_has_a_fixture() -> None:
    newest = FIXTURES / VERSIONS[-1]
    encoders = {path.name for path in (newest / "encoders").iterdir()}
    predictors = {path.name for path in (newest / "predictors").iterdir()}
    differences = {f"difference_{name}" for name in DIFFERENCE_PREDICTORS.names()}
    assert encoders == {*ENCODERS.names(), "pca+log_means"}
    assert predictors == {*PREDICTORS.names(), *differences}


@every_version
def test_dataset(version: str) -> None:
    dataset = opened(version)
    for name in ("signal", "expression"):
        np.testing.assert_array_equal(dataset[name].values, expected(version, name))
    assert dataset["mark_present"].values.sum() == 9


@parts("encoders")
def test_encoder(version: str, name: str) -> None:
    encoder = simplechrome.load_encoder(FIXTURES / version / "encoders" / name)
    latents = encoder.transform(opened(version)).values
    np.testing.assert_allclose(latents, expected(version, f"encoder {name}"), rtol=0, atol=1e-6)


@parts("predictors")
def test_predictor(version: str, name: str) -> None:
    folder = FIXTURES / version
    predictor = simplechrome.load_predictor(folder / "predictors" / name)
    encoders = {
        kind: simplechrome.load_encoder(folder / "encoders" / kind) for kind in ("none", "pca")
    }
    predicted = predictions_of(predictor, features_of(name, opened(version), encoders, folder))
    wanted = expected(version, f"predictor {name}")
    np.testing.assert_allclose(predicted, wanted, rtol=1e-6, atol=1e-6)


@every_version
def test_run(version: str) -> None:
    table = simplechrome.predict_with_run(FIXTURES / version / "run", opened(version))
    wanted = expected(version, "run")
    np.testing.assert_allclose(table["probability"], wanted, rtol=0, atol=1e-6)


def raise_version(path: Path, *keys: str) -> None:
    """Set the version in a JSON file to 99."""
    whole = json.loads(path.read_text())
    inner = whole
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = 99
    path.write_text(json.dumps(whole))


@pytest.mark.parametrize(
    ("part", "file", "keys", "load"),
    [
        ("dataset", "zarr.json", ("attributes", "format_version"), simplechrome.open_dataset),
        ("encoders/pca", "model.json", ("model_version",), simplechrome.load_encoder),
        ("predictors/linear", "model.json", ("model_version",), simplechrome.load_predictor),
    ],
    ids=["dataset", "encoder", "predictor"],
)
def test_an_unknown_newer_version_is_one_clear_error(
    tmp_path: Path, part: str, file: str, keys: tuple[str, ...], load: Callable[[Path], object]
) -> None:
    copy = shutil.copytree(FIXTURES / VERSIONS[-1] / part, tmp_path / "copy")
    raise_version(copy / file, *keys)
    with pytest.raises(SimpleChromeError, match="written by a newer version") as caught:
        load(copy)
    assert "99" in str(caught.value)
    assert "pip install --upgrade simplechrome" in str(caught.value)


def test_a_run_with_a_newer_model_is_one_clear_error(tmp_path: Path) -> None:
    copy = shutil.copytree(FIXTURES / VERSIONS[-1] / "run", tmp_path / "run")
    raise_version(copy / "encoder" / "model.json", "model_version")
    with pytest.raises(SimpleChromeError, match="written by a newer version"):
        simplechrome.predict_with_run(copy, opened(VERSIONS[-1]))
