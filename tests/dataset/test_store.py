"""A dataset on disk: bit for bit the same, whole or not there, and refused when damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from simplechrome.dataset.building.merge import LARGE, outline
from simplechrome.dataset.store import (
    GrowingStore,
    is_dataset,
    open_dataset,
    open_outline,
    save_dataset,
    stored_sizes,
)
from simplechrome.errors import (
    ConfigError,
    DatasetFormatError,
    MissingInputError,
    OutputError,
    OutputExistsError,
    UnknownGeneError,
)

MakeDataset = Callable[..., xr.Dataset]


@pytest.fixture(scope="module")
def full(make_dataset: MakeDataset) -> xr.Dataset:
    """Everything that a dataset can hold: odd names, unknown values, nested attributes."""
    return make_dataset(
        cell_types=["E012", "Zelle α"],
        gene_ids=["ENSG00000000003", "genè", "", "遺伝子"],
        mark_present=np.array([[True, False], [True, True]]),
        depth=np.array([[1.5e7, np.nan], [3.0, 0.1]]),
        expression=np.array([[0.0, np.nan, 0.1, 1e30], [1e-40, 2.0, np.nan, 0.3]]),
        label=np.array([[0, -1, 0, 1], [0, 1, -1, 0]]),
        genes=pd.DataFrame(
            {
                "gene_id": ["ENSG00000000003", "genè", ""],
                "gene_name": ["TSPAN6", "", "β"],
                "chrom": ["chrX", "chr1", "chr1"],
                "tss": [99_894_987, 0, 2**40],
                "strand": ["-", "+", "."],
            }
        ),
        published_split=["train", "valid", "test", ""],
        assembly="hg19",
        sources=[{"name": "ä.csv", "bytes": 3, "sha256": "00"}, {"nested": {"list": [1, None]}}],
        note="simulated – 模擬",
        units="days",  # must not be read as a time
        expression_units="seconds since 2000-01-01",
    )


@pytest.fixture(scope="module")
def saved(full: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_dataset(full, tmp_path_factory.mktemp("saved") / "full.zarr")


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy.zarr"))


def assert_same_bits(one: xr.Dataset, other: xr.Dataset) -> None:
    assert one.identical(other)  # names, dimensions, attributes, values (NaN equals NaN)
    for name, variable in one.variables.items():
        there = other[name]
        assert (name in one.coords) == (name in other.coords)
        assert variable.dtype == there.dtype
        if variable.dtype.kind == "O":
            assert all(type(value) is str for value in there.values)
        else:
            assert variable.values.tobytes() == there.values.tobytes()


def test_round_trip_is_bit_identical(full: xr.Dataset, saved: Path) -> None:
    assert_same_bits(full, open_dataset(saved))


@pytest.mark.parametrize(
    "values",
    [
        np.array([0, 1, 255, 65_535], np.uint16),
        # Not representable exactly, subnormal, largest, and a zero with a sign.
        np.array([0.1, 1e-45, 3.4028235e38, -0.0], np.float32),
        np.zeros(4, np.uint16),
        np.full(4, -0.0, np.float32),
    ],
)
def test_signal_of_any_type_is_bit_identical(
    make_dataset: MakeDataset, tmp_path: Path, values: np.ndarray
) -> None:
    dataset = make_dataset(values.reshape(1, 1, 4, 1))
    save_dataset(dataset, tmp_path / "x.zarr")
    back = open_dataset(tmp_path / "x.zarr")
    assert_same_bits(dataset, back)
    assert back["signal"].values.ravel().tobytes() == values.tobytes()


def test_saving_changes_nothing_in_memory(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset().assign_coords(gene_id=("gene", np.array(["a", "b", "c", "d"])))
    before = dataset.copy(deep=True)
    save_dataset(dataset, tmp_path / "x.zarr")
    assert dataset.identical(before)
    assert dataset["gene_id"].dtype.kind == "U"


def test_what_was_opened_can_be_saved_again(saved: Path, tmp_path: Path) -> None:
    once = open_dataset(saved)
    save_dataset(once.isel(cell_type=[1], gene=[3, 0]), tmp_path / "part.zarr")
    assert_same_bits(once.isel(cell_type=[1], gene=[3, 0]), open_dataset(tmp_path / "part.zarr"))


def test_an_existing_dataset_is_kept_without_overwrite(
    full: xr.Dataset, copy: Path, make_dataset: MakeDataset
) -> None:
    with pytest.raises(OutputExistsError, match=r"copy\.zarr exists already"):
        save_dataset(make_dataset(), copy)
    assert open_dataset(copy).identical(full)
    save_dataset(make_dataset(), copy, overwrite=True)
    assert open_dataset(copy).identical(make_dataset())


@pytest.mark.parametrize("failure", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_a_failing_save_leaves_the_old_dataset(
    full: xr.Dataset,
    copy: Path,
    make_dataset: MakeDataset,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
) -> None:
    def write_half(self: xr.Dataset, store: Path, **_: Any) -> None:
        (store / "zarr.json").write_text("{")
        raise failure

    monkeypatch.setattr(xr.Dataset, "to_zarr", write_half)
    expected = OutputError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        save_dataset(make_dataset(), copy, overwrite=True)
    assert [path.name for path in copy.parent.iterdir()] == ["copy.zarr"]
    assert open_dataset(copy).identical(full)


def test_an_invalid_dataset_is_not_saved(full: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetFormatError, match="lacks the variable `label`"):
        save_dataset(full.drop_vars("label"), tmp_path / "x.zarr")
    assert not (tmp_path / "x.zarr").exists()


def test_other_folders_and_files_are_no_datasets(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(
        MissingInputError, match=r"no dataset at .*x\.zarr(.|\n)*simplechrome build"
    ):
        open_dataset(tmp_path / "x.zarr")
    with pytest.raises(DatasetFormatError, match="cannot be read as a dataset"):
        open_dataset(copy / "signal")
    with pytest.raises(DatasetFormatError, match=r"it has no zarr\.json"):
        open_dataset(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(DatasetFormatError, match="it is a file"):
        open_dataset(tmp_path / "file")


def test_a_newer_format_is_refused_before_anything_is_read(copy: Path) -> None:
    group = json.loads((copy / "zarr.json").read_text())
    group["attributes"]["format_version"] = 2
    (copy / "zarr.json").write_text(json.dumps(group))
    shutil.rmtree(copy / "signal")  # A newer format may well store it elsewhere.
    with pytest.raises(DatasetFormatError, match="newer version of SimpleChrome") as caught:
        open_dataset(copy)
    assert "format_version is 2" in str(caught.value)


def test_a_removed_variable_is_named(copy: Path) -> None:
    shutil.rmtree(copy / "observed")
    with pytest.raises(DatasetFormatError, match="lacks the variable `observed`"):
        open_dataset(copy)


CHUNKS = {"signal": "c/1/0/0/0", "expression": "c/0/0", "mark_present": "c/0/0", "label": "c/0/0"}
CHUNKS |= {"gene_id": "c/0", "gene_name": "c/0", "tss": "c/0", "mark": "c/0"}


@pytest.mark.parametrize("name", CHUNKS)
def test_a_lost_chunk_is_not_read_as_zeros(copy: Path, name: str) -> None:
    (copy / name / CHUNKS[name]).unlink()
    with pytest.raises(DatasetFormatError) as caught:
        open_dataset(copy)
    assert "copy.zarr cannot be read as a dataset" in str(caught.value)
    assert f"chunks of `{name}` are missing" in str(caught.value)
    assert "damaged or incomplete" in str(caught.value)


def test_chunks_of_zeros_are_not_taken_for_lost_ones(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    nothing = make_dataset(
        np.zeros((2, 3, 4, 2), np.uint16),
        mark_present=np.zeros((2, 2), bool),
        label=np.zeros((2, 3)),
        expression=np.zeros((2, 3)),
        published_split=["", "", ""],
    )
    save_dataset(nothing, tmp_path / "x.zarr")
    assert_same_bits(nothing, open_dataset(tmp_path / "x.zarr"))


@pytest.mark.parametrize("name", ["signal", "gene_id", "label"])
@pytest.mark.parametrize("harm", ["empty", "half", "one bit"])
def test_a_damaged_chunk_is_refused(copy: Path, name: str, harm: str) -> None:
    chunk = copy / name / CHUNKS[name]
    content = bytearray(chunk.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 1
    kept = {"empty": b"", "half": content[:middle], "one bit": content}[harm]
    chunk.write_bytes(bytes(kept))
    with pytest.raises(DatasetFormatError, match="cannot be read as a dataset"):
        open_dataset(copy)


@pytest.mark.parametrize("name", ["signal", "gene_name"])
def test_lost_or_damaged_metadata_are_refused(copy: Path, name: str) -> None:
    metadata = copy / name / "zarr.json"
    text = metadata.read_text()
    metadata.write_text(text[: len(text) // 2])
    with pytest.raises(DatasetFormatError, match="cannot be read as a dataset"):
        open_dataset(copy)
    metadata.unlink()
    with pytest.raises(DatasetFormatError, match=f"`{name}` has no zarr.json"):
        open_dataset(copy)


def test_files_of_the_operating_system_do_no_harm(full: xr.Dataset, copy: Path) -> None:
    (copy / ".Trash").mkdir()
    (copy / "signal" / ".DS_Store").touch()
    assert open_dataset(copy).identical(full)


@pytest.mark.parametrize("content", ["{}", '{"attributes": {"format_version": 1}}'])
def test_overwrite_refuses_a_folder_with_other_files(
    make_dataset: MakeDataset, tmp_path: Path, content: str
) -> None:
    (tmp_path / "zarr.json").write_text(content)
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(OutputExistsError, match=r"thesis\.txt"):
        save_dataset(make_dataset(), tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_chosen_cell_types_come_in_the_order_asked_for(full: xr.Dataset, saved: Path) -> None:
    assert_same_bits(full.isel(cell_type=[1]), open_dataset(saved, ["Zelle α"]))
    assert_same_bits(full.isel(cell_type=[1]), open_dataset(saved, "Zelle α"))
    assert_same_bits(full.isel(cell_type=[1, 0]), open_dataset(saved, ["Zelle α", "E012"]))
    for variable in open_dataset(saved, ["Zelle α", "E012"]).variables.values():
        assert variable.values.flags.c_contiguous
        assert variable.values.flags.writeable


def test_other_cell_types_are_not_read(full: xr.Dataset, copy: Path) -> None:
    for name in ("signal", "observed", "expression", "label", "mark_present", "depth"):
        (chunk,) = [path for path in (copy / name / "c" / "1").rglob("*") if path.is_file()]
        chunk.write_bytes(b"reading this fails")
    assert_same_bits(full.isel(cell_type=[0]), open_dataset(copy, ["E012"]))
    with pytest.raises(DatasetFormatError, match="cannot be read"):
        open_dataset(copy, ["Zelle α"])


def test_unknown_cell_type_is_named_with_what_is_near(saved: Path) -> None:
    with pytest.raises(UnknownGeneError, match=r"no cell type 'E12'(.|\n)*E012, Zelle α") as caught:
        open_dataset(saved, ["E12"])
    assert caught.value.remedy == "did you mean E012?"
    with pytest.raises(ConfigError, match="cell_types is empty"):
        open_dataset(saved, [])


def test_sizes_need_no_reading_of_signal(copy: Path) -> None:
    (copy / "signal" / "c" / "0" / "0" / "0" / "0").write_bytes(b"reading this fails")
    assert stored_sizes(copy) == {"cell_type": 2, "gene": 4, "bin": 4, "mark": 2}


def test_outline_is_read_without_the_signal(full: xr.Dataset, copy: Path) -> None:
    for name in LARGE:
        for chunk in (copy / name / "c").rglob("0"):
            if chunk.is_file():
                chunk.write_bytes(b"reading this fails")
    assert_same_bits(outline(full), open_outline(copy, LARGE))


def test_only_a_stored_dataset_is_recognized(copy: Path, tmp_path: Path) -> None:
    assert is_dataset(copy)
    assert not is_dataset(copy / "signal")
    assert not is_dataset(tmp_path)
    assert not is_dataset(tmp_path / "nowhere")


def test_store_that_grows_becomes_the_same_bytes(full: xr.Dataset, tmp_path: Path) -> None:
    # One cell type of zeros: its chunks must be there all the same.
    dataset = full.assign(signal=full["signal"] * np.array([0, 1], np.uint16)[:, None, None, None])
    dataset["signal"].attrs = full["signal"].attrs
    whole = save_dataset(dataset, tmp_path / "whole.zarr")
    growing = tmp_path / "growing.zarr"
    store = GrowingStore(outline(dataset), growing, LARGE)
    with pytest.raises(DatasetFormatError, match=r"chunks of `(signal|observed)` are missing"):
        open_dataset(growing)
    for row in (1, 0):
        store.fill(row, {name: dataset[name].values[row] for name in LARGE})
    assert {
        str(p.relative_to(growing)): p.read_bytes() for p in growing.rglob("*") if p.is_file()
    } == {str(p.relative_to(whole)): p.read_bytes() for p in whole.rglob("*") if p.is_file()}
