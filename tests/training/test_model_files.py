"""Models as folders of JSON and safetensors, and what is said of folders that are not whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import simplechrome
from simplechrome.errors import ModelFormatError, ModelMismatchError, OutputExistsError
from simplechrome.training.model_files import read_model, restoring, write_model

ARRAYS = {"weights": np.array([[1.5, -2.0], [0.0, np.nan]], np.float32), "n": np.array([3])}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    write_model(folder, "Toy", {"arguments": {"size": 2}}, ARRAYS)
    return folder


def test_model_reads_back_as_it_was_written(model: Path) -> None:
    description, arrays = read_model(model)
    assert (description["class"], description["arguments"]) == ("Toy", {"size": 2})
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
    assert description["versions"]["simplechrome"] == simplechrome.__version__
    assert description["versions"]["numpy"] == np.__version__


def test_folder_holds_json_and_safetensors_and_no_pickle(model: Path) -> None:
    assert sorted(path.name for path in model.iterdir()) == ["model.json", "model.safetensors"]
    json.loads((model / "model.json").read_text())
    # safetensors: length of the header, then the header itself, which is JSON.
    raw = (model / "model.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    assert set(json.loads(raw[8 : 8 + length])) >= {"weights", "n"}


def test_transposed_arrays_keep_their_order(tmp_path: Path) -> None:
    turned = np.arange(6.0).reshape(2, 3).T
    write_model(tmp_path / "model", "Toy", {}, {"turned": turned, "every_second": turned[::2]})
    _, arrays = read_model(tmp_path / "model")
    np.testing.assert_array_equal(arrays["turned"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(arrays["every_second"], [[0, 3], [2, 5]])


def test_numpy_numbers_in_a_description_become_plain_ones(tmp_path: Path) -> None:
    exact = [0.1 + 0.2, 1 / 3, 5e-324, -1.7976931348623157e308]  # to the same bits
    values = {"seed": np.int64(3), "share": np.float32(0.5), "Cs": np.array([1.0]), "exact": exact}
    write_model(tmp_path / "model", "Toy", values, ARRAYS)
    description, _ = read_model(tmp_path / "model")
    expected = {"seed": 3, "share": 0.5, "Cs": [1.0], "exact": exact}
    assert {name: description[name] for name in values} == expected


def test_object_that_is_no_number_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"cannot be kept in model\.json"):
        write_model(tmp_path / "model", "Toy", {"what": object()}, ARRAYS)
    assert list(tmp_path.iterdir()) == []


def test_second_model_needs_overwrite(model: Path) -> None:
    with pytest.raises(OutputExistsError, match="exists already"):
        write_model(model, "Other", {}, ARRAYS)
    assert read_model(model)[0]["class"] == "Toy"
    write_model(model, "Other", {}, ARRAYS, overwrite=True)
    assert read_model(model)[0]["class"] == "Other"


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_missing_file_is_named(model: Path, name: str) -> None:
    (model / name).unlink()
    with pytest.raises(ModelFormatError, match="not a whole saved model") as caught:
        read_model(model)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
@pytest.mark.parametrize("kept", [0, 5, 40])
def test_truncated_file_is_refused(model: Path, name: str, kept: int) -> None:
    (model / name).write_bytes((model / name).read_bytes()[:kept])
    with pytest.raises(ModelFormatError, match="not a whole saved model"):
        read_model(model)


@pytest.mark.parametrize("text", ["[]", "3", '{"class": "Toy"}', '{"model_version": 1}', "\xff"])
def test_description_of_something_else_is_refused(model: Path, text: str) -> None:
    (model / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelFormatError, match="not a whole saved model"):
        read_model(model)


def test_newer_version_is_refused_with_the_way_out(model: Path) -> None:
    description = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps(description | {"model_version": 2}))
    with pytest.raises(ModelFormatError, match="newer version") as caught:
        read_model(model)
    assert "model_version 2" in caught.value.problem
    assert "pip install --upgrade" in caught.value.remedy


def test_model_of_another_kind_is_refused(model: Path) -> None:
    with pytest.raises(ModelMismatchError, match="class Toy, not PCA"):
        read_model(model, simplechrome.PCA)


def test_parts_that_do_not_fit_become_one_error() -> None:
    with (
        pytest.raises(ModelFormatError, match="do not fit together") as caught,
        restoring("runs/x"),
    ):
        {}["marks"]
    assert "KeyError: 'marks'" in caught.value.problem
