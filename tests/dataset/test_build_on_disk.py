"""Building on disk: the same bytes as in memory, whatever the cell types, and after any end."""

from __future__ import annotations

import gc
import tarfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_layouts import MARKS, archive_of, in_memory, tree, write_cell_type

from simplechrome.dataset.building import deepchrome as build_on_disk
from simplechrome.dataset.building.annotate import build_from_deepchrome
from simplechrome.dataset.building.deepchrome import build_deepchrome_on_disk
from simplechrome.dataset.store import open_dataset
from simplechrome.errors import (
    ConfigError,
    InputFormatError,
    MissingInputError,
    OutputExistsError,
    UnknownGeneError,
)


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """Other genes, gene orders, marks and (a count above 65,535) another type of number."""
    root = tmp_path / "uneven"
    write_cell_type(root, "E001")
    write_cell_type(root, "E002", splits={"train": (5, 2), "valid": (1,), "test": (3,)})
    write_cell_type(root, "E003", 70_000, marks=("H3K9me3", "K1", "H3K4me3", "K2", "K3"))
    write_cell_type(root, "E004", marks=MARKS[::-1])
    return root


@pytest.mark.parametrize("kind", ["folder", "archive"])
@pytest.mark.parametrize("annotated", [False, True])
@pytest.mark.parametrize("which", ["layout", "uneven"])
def test_store_is_byte_for_byte_what_is_built_in_memory(
    which: str,
    annotated: bool,
    kind: str,
    tables: dict[str, Path],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    path = request.getfixturevalue(which)
    path = archive_of(path) if kind == "archive" else path
    options: dict[str, Any] = {"bin_size": 50, "note": "n", "assembly": "hg19"}
    if annotated:
        options |= tables | {"label_rule": "mean", "expression_units": "TPM"}
    expected = in_memory(path, tmp_path / "memory.zarr", **options)
    output = tmp_path / "new" / "disk.zarr"
    assert build_deepchrome_on_disk(path, output, **options) == output
    assert tree(output) == expected
    assert [entry.name for entry in output.parent.iterdir()] == ["disk.zarr"]


def test_uneven_cell_types_find_their_places(uneven: Path, tmp_path: Path) -> None:
    dataset = open_dataset(build_deepchrome_on_disk(uneven, tmp_path / "x.zarr"))
    assert dataset["gene_id"].values.tolist() == [f"ENSG{k:011d}" for k in (1, 2, 3, 4, 5)]
    assert dataset["mark"].values.tolist() == [*MARKS, "K1", "K2", "K3"]
    assert dataset["signal"].dtype == np.float32  # for 70,000 and more
    # E003, gene 2: its marks 1 to 5 are H3K9me3, K1, H3K4me3, K2, K3.
    window = dataset["signal"].sel(cell_type="E003").values[1]
    assert window.tolist() == [
        [0, 0, 0, 70_213, 70_211, 70_212, 70_214, 70_215],
        [0, 0, 0, 70_223, 70_221, 70_222, 70_224, 70_225],
    ]
    assert dataset["mark_present"].values.sum(axis=1).tolist() == [5, 5, 5, 5]
    # Gene 5 is in E002 alone, which lacks gene 4.
    assert dataset["observed"].values[:, 3:, 4].tolist() == [[1, 0], [0, 1], [1, 0], [1, 0]]
    assert dataset["label"].values[:, 3:].tolist() == [[0, -1], [-1, 1], [0, -1], [0, -1]]
    # E004 counts its marks from the other end: H3K27me3 is its fifth.
    assert dataset["signal"].sel(cell_type="E004", mark="H3K27me3").values[0].tolist() == [115, 125]


def test_only_one_cell_type_is_in_memory(
    layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref] = []
    original = build_on_disk.cell_type_dataset

    def watched(counts: Any, **record: Any) -> Any:
        gc.collect()
        assert [one() is None for one in made] == [True] * len(made)
        made.append(weakref.ref(counts.counts))
        return original(counts, **record)

    monkeypatch.setattr(build_on_disk, "cell_type_dataset", watched)
    build_deepchrome_on_disk(layout, tmp_path / "x.zarr")
    assert len(made) == 3


@pytest.mark.parametrize("build", ["disk", "memory"])
def test_cell_type_with_other_windows_than_most_is_bad(
    build: str, layout: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_cell_type(layout, "E001", n_bins=3)

    def built(**options: Any) -> Any:
        if build == "memory":
            return build_from_deepchrome(layout, **options)
        return open_dataset(build_deepchrome_on_disk(layout, tmp_path / "x.zarr", **options))

    with pytest.raises(InputFormatError, match=r"E001 has another number of bins(.|\n)*as in E002"):
        built()
    dataset = built(on_bad_cell_type="skip", **({"resume": True} if build == "disk" else {}))
    assert dataset["cell_type"].values.tolist() == ["E002", "E003"]
    assert "Cell type E001 is skipped" in caplog.text


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"cell_types": ["E009"]}, UnknownGeneError, "E009"),
        ({"cell_types": []}, ConfigError, "empty"),
        ({"label_rule": "medain"}, ConfigError, "no such label rule"),
        ({"genes": "nowhere.tsv"}, MissingInputError, r"nowhere\.tsv"),
    ],
)
def test_what_fails_before_anything_is_read_leaves_nothing(
    layout: Path, tmp_path: Path, options: dict, error: type, said: str
) -> None:
    with pytest.raises(error, match=said):
        build_deepchrome_on_disk(layout, tmp_path / "new" / "x.zarr", **options)
    assert not (tmp_path / "new").exists() or not list((tmp_path / "new").iterdir())


def test_other_folders_and_files_are_never_replaced(layout: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").touch()
    (tmp_path / "notes").touch()
    for name, said in (("thesis", r"thesis\.tex"), ("notes", "a file")):
        for options in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(OutputExistsError, match=said):
                build_deepchrome_on_disk(layout, tmp_path / name, **options)
    assert (tmp_path / "thesis" / "thesis.tex").exists()


def test_link_is_followed_and_stays_a_link(layout: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    link = tmp_path / "x.zarr"
    link.symlink_to(tmp_path / "far" / "real.zarr")
    build_deepchrome_on_disk(layout, link)
    assert link.is_symlink()
    assert [entry.name for entry in (tmp_path / "far").iterdir()] == ["real.zarr"]
    assert open_dataset(link).sizes["cell_type"] == 3


@pytest.mark.parametrize("name", ["..", ".hidden", "a b", "ÄÖ%/", "x" * 60])
def test_names_of_cell_types_lead_nowhere_else(name: str, tmp_path: Path) -> None:
    write_cell_type(tmp_path / "layout", "E001")
    path = tmp_path / "layout.tar"
    with tarfile.open(path, "w") as archive:
        for file in sorted((tmp_path / "layout").rglob("*.csv")):
            archive.add(file, f"data/{name}/classification/{file.name}")
    output = tmp_path / "new" / "x.zarr"
    build_deepchrome_on_disk(path, output)
    assert tree(output) == in_memory(path, tmp_path / "memory.zarr")
    assert [entry.name for entry in output.parent.iterdir()] == ["x.zarr"]
