"""Counts to a stored dataset: values, memory, and what an interrupted build leaves."""

from __future__ import annotations

import gc
import os
import shutil
import tarfile
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_layouts import MARKS, archive_of, tree, write_cell_type

from simplechrome.dataset.building import build
from simplechrome.dataset.building.arrays import GIVEN
from simplechrome.dataset.building.build import build_arrays_on_disk, build_deepchrome_on_disk
from simplechrome.dataset.building.merge import merge
from simplechrome.dataset.store import open_dataset, save_dataset
from simplechrome.errors import (
    ConfigError,
    InputFormatError,
    MissingInputError,
    OutputExistsError,
    UnknownGeneError,
)

Caplog = pytest.LogCaptureFixture
Patch = pytest.MonkeyPatch

IDS = {k: f"ENSG{k:011d}" for k in (1, 2, 3, 4, 5)}


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """Other genes, gene orders, marks and (a count above 65,535) another type of number."""
    root = tmp_path / "uneven"
    write_cell_type(root, "E001")
    write_cell_type(root, "E002", splits={"train": (5, 2), "valid": (1,), "test": (3,)})
    write_cell_type(root, "E003", 70_000, marks=("H3K9me3", "K1", "H3K4me3", "K2", "K3"))
    write_cell_type(root, "E004", marks=MARKS[::-1])
    return root


@pytest.fixture
def archives(tmp_path: Path) -> list[Path]:
    """E003 with two marks of genes 2 and 1; E004 with one mark of genes 1 and 3."""
    made = []
    for name, marks, ids in (("E003", ["H3K4me3", "H3K9me3"], (2, 1)), ("E004", ["K"], (1, 3))):
        counts = np.arange(2 * 2 * len(marks)).reshape(2, 2, len(marks))
        path = tmp_path / f"{name}.npz"
        np.savez(path, counts=counts, marks=marks, gene_id=[IDS[k] for k in ids])
        made.append(path)
    return made


def built(path: Path, output: Path, **options: Any) -> dict[str, bytes]:
    """The files of an undisturbed build."""
    return tree(build_deepchrome_on_disk(path, output, **options))


def test_published_layout_becomes_a_dataset(
    layout: Path, tables: dict[str, Path], tmp_path: Path, caplog: Caplog
) -> None:
    options = {"assembly": "hg19", "note": "n", "bin_size": 50, "cell_types": ["E002", "E001"]}
    dataset = open_dataset(
        build_deepchrome_on_disk(layout, tmp_path / "x.zarr", **options, **tables)
    )
    assert dataset["cell_type"].values.tolist() == ["E002", "E001"]
    assert dataset["gene_id"].values.tolist() == [IDS[k] for k in (1, 2, 3, 4)]
    assert dataset["bin_start"].values.tolist() == [-50, 0]
    window = dataset["signal"].sel(cell_type="E002", mark="H3K4me3")  # the fourth mark
    assert window.values[2].tolist() == [2314, 2324]
    assert dataset["published_split"].values.tolist() == ["train", "train", "valid", "test"]
    assert dataset["chrom"].values.tolist() == ["chr2", "chr1", "chr2", "chr1"]
    assert dataset["tss"].values.tolist() == [300, 200, 100, 0]
    assert dataset["expression"].values.tolist() == [[3, 2, 1, 0], [3.5, 2.5, 1.5, 0.5]]
    assert dataset["label"].values.tolist() == [[1, 0, 1, 0]] * 2
    assert dataset["label"].attrs["rule"] == GIVEN
    assert "E001: 2 of 4 labels of the file differ" in caplog.text
    assert (dataset.attrs["assembly"], dataset.attrs["note"]) == ("hg19", "n")
    assert len(dataset.attrs["sources"]) == 6  # three files a cell type
    assert set(dataset.attrs["sources"][0]) == {"name", "bytes", "sha256"}


def test_labels_can_be_replaced_by_the_rule(
    layout: Path, tables: dict[str, Path], tmp_path: Path, caplog: Caplog
) -> None:
    options = {"expression": tables["expression"], "relabel": True}
    dataset = open_dataset(build_deepchrome_on_disk(layout, tmp_path / "x.zarr", **options))
    assert dataset["label"].values.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]]
    assert "tss" not in dataset.coords
    assert "Without a gene table (--genes)" in caplog.text


@pytest.mark.parametrize("kind", ["folder", "archive"])
@pytest.mark.parametrize("which", ["layout", "uneven"])
def test_all_at_once_is_byte_for_byte_what_one_by_one_merge_to(
    which: str, kind: str, tables: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(which)
    names = sorted(folder.name for folder in path.iterdir())
    path = archive_of(path) if kind == "archive" else path
    options: dict[str, Any] = {"bin_size": 50, "note": "n", "assembly": "hg19"}
    options |= {"genes": tables["genes"], "label_rule": "mean"}
    single = [
        build_deepchrome_on_disk(path, tmp_path / f"{name}.zarr", cell_types=[name], **options)
        for name in names
    ]
    merged = save_dataset(merge([open_dataset(each) for each in single]), tmp_path / "merged.zarr")
    output = tmp_path / "new" / "x.zarr"
    assert build_deepchrome_on_disk(path, output, **options) == output
    assert tree(output) == tree(merged)
    assert [entry.name for entry in output.parent.iterdir()] == ["x.zarr"]


def test_uneven_cell_types_find_their_places(uneven: Path, tmp_path: Path) -> None:
    dataset = open_dataset(build_deepchrome_on_disk(uneven, tmp_path / "x.zarr"))
    assert dataset["gene_id"].values.tolist() == [IDS[k] for k in (1, 2, 3, 4, 5)]
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


def test_arrays_with_uneven_marks_and_genes_become_one_dataset(
    archives: list[Path], tables: dict[str, Path], tmp_path: Path
) -> None:
    text = tables["expression"].read_text().replace("E001", "E004")
    tables["expression"].write_text(text)
    options = {"label_rule": "threshold:6.5", "chrom_style": "exact"}
    dataset = open_dataset(build_arrays_on_disk(archives, tmp_path / "x.zarr", **tables, **options))
    assert dataset["cell_type"].values.tolist() == ["E003", "E004"]
    assert dataset["gene_id"].values.tolist() == [IDS[k] for k in (2, 1, 3)]
    assert dataset["mark"].values.tolist() == ["H3K4me3", "H3K9me3", "K"]
    assert dataset["mark_present"].values.tolist() == [[True, True, False], [False, False, True]]
    # E003, gene 1 (second row): counts 4, 5, 6, 7; E004, gene 3 (second row): 2, 3.
    assert dataset["signal"].values[0, 1].tolist() == [[4, 5, 0], [6, 7, 0]]
    assert dataset["signal"].values[1, 2].tolist() == [[0, 0, 2], [0, 0, 3]]
    assert dataset["observed"].values[1].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 1]]
    assert dataset["chrom"].values.tolist() == ["chr1", "chr2", "chr2"]
    assert dataset["expression"].values.tolist() == [[7, 6, 8], [2.5, 3.5, 1.5]]
    assert dataset["label"].values.tolist() == [[1, 0, 1], [0, 0, 0]]
    assert dataset["label"].attrs["rule"] == "threshold:6.5"


def test_arrays_can_be_resumed(archives: list[Path], tmp_path: Path, caplog: Caplog) -> None:
    caplog.set_level("INFO")
    whole = archives[1].read_bytes()
    archives[1].write_bytes(whole[:50])
    with pytest.raises(InputFormatError, match="E004"):
        build_arrays_on_disk(archives, tmp_path / "x.zarr")
    archives[1].write_bytes(whole)
    build_arrays_on_disk(archives, tmp_path / "x.zarr", resume=True)
    assert "1 cell types are read already" in caplog.text
    assert tree(tmp_path / "x.zarr") == tree(build_arrays_on_disk(archives, tmp_path / "y.zarr"))


@pytest.mark.parametrize(("times", "message"), [(2, "cell type E003"), (0, "no file")])
def test_arrays_need_one_file_for_each_cell_type(
    times: int, message: str, archives: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(InputFormatError, match=message):
        build_arrays_on_disk(archives[:1] * times, tmp_path / "x.zarr")


def test_only_one_cell_type_is_in_memory(layout: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    made: list[weakref.ref] = []
    original = build._cell_type_dataset

    def watched(counts: Any, options: Any) -> Any:
        gc.collect()
        assert [one() is None for one in made] == [True] * len(made)
        made.append(weakref.ref(counts.counts))
        return original(counts, options)

    monkeypatch.setattr(build, "_cell_type_dataset", watched)
    build_deepchrome_on_disk(layout, tmp_path / "x.zarr")
    assert len(made) == 3


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root: write_cell_type(root, "E002", n_bins=3),
            r"E002 has another number of bins.*as in E001",
        ),
        (
            lambda root: (root / "E002" / "classification" / "test.csv").write_text(""),
            r"E002/classification/test\.csv is empty",
        ),
    ],
)
def test_bad_cell_type_stops_and_can_be_skipped_on_resuming(
    spoil: Callable[[Path], object], message: str, layout: Path, tmp_path: Path, caplog: Caplog
) -> None:
    spoil(layout)
    output = tmp_path / "x.zarr"
    with pytest.raises(InputFormatError, match=message):
        build_deepchrome_on_disk(layout, output)
    build_deepchrome_on_disk(layout, output, on_bad_cell_type="skip", resume=True)
    assert open_dataset(output)["cell_type"].values.tolist() == ["E001", "E003"]
    assert "Cell type E002 is skipped" in caplog.text


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cell_types": ["E009"]}, UnknownGeneError, "E009"),
        ({"cell_types": []}, ConfigError, "empty"),
        ({"label_rule": "medain"}, ConfigError, "no label rule 'medain'"),
        ({"bin_size": 0}, ConfigError, "bin-size"),
        ({"bins": 2}, ConfigError, "bins"),
        ({"relabel": True}, ConfigError, "--expression FILE"),
        ({"genes": "nowhere.tsv"}, MissingInputError, r"nowhere\.tsv"),
    ],
)
def test_what_fails_before_anything_is_read_leaves_nothing(
    layout: Path, tmp_path: Path, options: dict, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        build_deepchrome_on_disk(layout, tmp_path / "new" / "x.zarr", **options)
    assert not (tmp_path / "new").exists() or not list((tmp_path / "new").iterdir())


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
def test_other_folders_and_files_are_never_replaced(
    options: dict, layout: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").touch()
    (tmp_path / "notes").touch()
    for name, message in (("thesis", r"thesis\.tex"), ("notes", "a file")):
        with pytest.raises(OutputExistsError, match=message):
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
    assert open_dataset(output)["cell_type"].values.tolist() == [Path(name).name]
    assert [entry.name for entry in output.parent.iterdir()] == ["x.zarr"]


class UnexpectedError(Exception):
    """Something that no code expects."""


class Reading(list):
    """Names of the cell types that were parsed, in order; at `fails` the process breaks off."""

    fails = "E003"


@pytest.fixture
def reading(monkeypatch: Patch) -> Reading:
    reading = Reading()
    original = build._cell_type_dataset

    def watched(counts: Any, options: Any) -> Any:
        if counts.cell_type == reading.fails:
            raise UnexpectedError
        reading.append(counts.cell_type)
        return original(counts, options)

    monkeypatch.setattr(build, "_cell_type_dataset", watched)
    return reading


def stopped(path: Path, output: Path, **options: Any) -> None:
    with pytest.raises(UnexpectedError):
        build_deepchrome_on_disk(path, output, **options)


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_resume_reads_only_what_is_not_read(
    kind: str, layout: Path, tmp_path: Path, reading: Reading, caplog: Caplog
) -> None:
    caplog.set_level("INFO")
    path = archive_of(layout) if kind == "archive" else layout
    output = tmp_path / "x.zarr"
    stopped(path, output)
    assert not output.exists()
    assert "2 cell types that are read): --resume" in caplog.text
    reading.fails = ""
    build_deepchrome_on_disk(path, output, resume=True)
    assert reading == ["E001", "E002", "E003"]
    assert "2 cell types are read already" in caplog.text
    assert tree(output) == built(path, tmp_path / "y.zarr")


def change_a_file(layout: Path, parts: Path) -> None:
    test = layout / "E001" / "classification" / "test.csv"
    test.write_text(test.read_text().replace("1411", "1412"))


def damage_a_chunk(layout: Path, parts: Path) -> None:
    chunk = parts / "E001.zarr" / "signal" / "c" / "0" / "0" / "0" / "0"
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-8] + bytes([content[-8] ^ 1]) + content[-7:])


def lose_a_variable(layout: Path, parts: Path) -> None:
    (parts / "E001.zarr" / "label" / "zarr.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change_a_file, "E001: its files have changed since they were read"),
        (damage_a_chunk, "E001.zarr is damaged, and its cell type is read again"),
        (lose_a_variable, "E001.zarr is damaged, and its cell type is read again"),
    ],
)
def test_part_that_is_not_what_a_new_reading_gives_is_read_again(
    spoil: Callable[[Path, Path], None],
    message: str,
    layout: Path,
    tmp_path: Path,
    reading: Reading,
    caplog: Caplog,
) -> None:
    stopped(layout, tmp_path / "x.zarr")
    reading.fails = ""
    spoil(layout, tmp_path / "x.zarr.unfinished" / "parts")
    build_deepchrome_on_disk(layout, tmp_path / "x.zarr", resume=True)
    assert reading == ["E001", "E002", "E001", "E003"]
    assert message in caplog.text
    assert tree(tmp_path / "x.zarr") == built(layout, tmp_path / "y.zarr")


def test_cell_type_that_is_gone_is_dropped_and_named(
    layout: Path, tmp_path: Path, reading: Reading, caplog: Caplog
) -> None:
    stopped(layout, tmp_path / "x.zarr")
    shutil.rmtree(layout / "E001")
    shutil.rmtree(layout / "E003")
    build_deepchrome_on_disk(layout, tmp_path / "x.zarr", resume=True)
    assert "1 cell types were read before and cannot be used any more: E001" in caplog.text
    assert tree(tmp_path / "x.zarr") == built(layout, tmp_path / "y.zarr")


def snapshots(monkeypatch: Patch, place: Path, into: Path, work: Callable) -> int:
    """Copies of `place` as it is before each file operation of the main thread.

    A process that is killed leaves one of these, or one with a file more or less in a folder that
    is being filled. Of those while a folder is deleted, file by file, every twentieth is taken.
    """
    main = threading.main_thread()
    taking, taken, deleted = False, 0, 0

    def spied(original: Callable) -> Callable:
        def operation(*arguments: Any, **options: Any) -> Any:
            nonlocal taking, taken, deleted
            deleted += "dir_fd" in options
            often = "dir_fd" in options and deleted % 20
            if threading.current_thread() is main and not taking and not often:
                taking = True
                # Links will do: files are replaced, never written into.
                shutil.copytree(place, into / str(taken), copy_function=os.link)
                taken, taking = taken + 1, False
            return original(*arguments, **options)

        return operation

    with monkeypatch.context() as patch:
        for name in ("replace", "rename", "mkdir", "rmdir", "unlink"):
            patch.setattr(os, name, spied(getattr(os, name)))
        work()
    return taken


@pytest.mark.parametrize("replacing", [False, True])
def test_killed_at_any_moment_the_next_process_ends_in_the_same_bytes(
    replacing: bool, tmp_path: Path, monkeypatch: Patch
) -> None:
    root = tmp_path / "layout"
    write_cell_type(root, "E001")
    write_cell_type(root, "E002", splits={"train": (2,), "valid": (1,), "test": (3,)})
    place = tmp_path / "place"
    place.mkdir()
    expected = built(root, tmp_path / "y.zarr")
    old = None
    if replacing:
        old = built(root, place / "x.zarr", cell_types=["E001"], note="old")
    n = snapshots(
        monkeypatch,
        place,
        tmp_path / "killed",
        lambda: build_deepchrome_on_disk(root, place / "x.zarr", overwrite=replacing),
    )
    assert tree(place / "x.zarr") == expected
    stages: dict[tuple[str, bool, bool], int] = {}
    for number in range(n):
        unfinished = tmp_path / "killed" / str(number) / "x.zarr.unfinished"
        joined, moved = (unfinished / "joined").exists(), (unfinished / "zarr.json").exists()
        stages.setdefault((build.describe_build(unfinished), joined, moved), number)
    both = "2 cell types that are read"
    assert {("1 cell types that are read", False, False), (both, True, True)} <= set(stages)
    for number in {*stages.values(), n // 3, 2 * n // 3}:
        killed = tmp_path / "killed" / str(number)
        output = killed / "x.zarr"
        held = tree(output) if output.exists() else None
        if held is not None:
            open_dataset(output)
            held.pop(".request.json", None)
        assert held in (old, expected)
        build_deepchrome_on_disk(root, output, overwrite=replacing, resume=True)
        assert tree(output) == expected
        # The lock of a process that was killed in the very end does no harm.
        assert {entry.name for entry in killed.iterdir()} - {".x.zarr.lock"} == {"x.zarr"}


def test_finished_dataset_has_nothing_to_resume(
    layout: Path, tmp_path: Path, reading: Reading, caplog: Caplog
) -> None:
    output = tmp_path / "x.zarr"
    build_deepchrome_on_disk(layout, output, cell_types=["E001"], resume=True)  # begins
    before = tree(tmp_path)
    assert build_deepchrome_on_disk(layout, output, resume=True) == output
    assert "x.zarr is finished: there is nothing to resume" in caplog.text
    assert (tree(tmp_path), reading) == (before, ["E001"])


def test_second_build_is_refused_and_both_options_are_named(
    layout: Path, tmp_path: Path, reading: Reading
) -> None:
    output = tmp_path / "x.zarr"
    build_deepchrome_on_disk(layout, output, cell_types=["E001"])
    with pytest.raises(OutputExistsError, match=r"exists already(.|\n)*of 1 cell types") as caught:
        build_deepchrome_on_disk(layout, output)
    assert "--overwrite" in caught.value.remedy
    assert "--resume" in caught.value.remedy
    stopped(layout, tmp_path / "y.zarr")
    with pytest.raises(OutputExistsError, match=r"begun and not finished(.|\n)*2 cell types"):
        build_deepchrome_on_disk(layout, tmp_path / "y.zarr")
    with pytest.raises(MissingInputError, match=r"begun and not finished(.|\n)*--resume"):
        open_dataset(tmp_path / "y.zarr")


def test_parts_of_other_inputs_are_never_mixed(
    layout: Path, tables: dict[str, Path], tmp_path: Path, reading: Reading
) -> None:
    stopped(layout, tmp_path / "x.zarr", **tables)
    with pytest.raises(ConfigError, match="bin_size: begun with 100, now 50"):
        build_deepchrome_on_disk(layout, tmp_path / "x.zarr", bin_size=50, resume=True, **tables)
    tables["genes"].write_text(tables["genes"].read_text().replace("N1", "N9"))
    with pytest.raises(ConfigError, match="genes sha256: begun with"):
        build_deepchrome_on_disk(layout, tmp_path / "x.zarr", **tables, resume=True)


def test_overwrite_discards_what_was_read(layout: Path, tmp_path: Path, reading: Reading) -> None:
    stopped(layout, tmp_path / "x.zarr", note="other")
    reading.fails = ""
    build_deepchrome_on_disk(layout, tmp_path / "x.zarr", overwrite=True)
    assert reading == ["E001", "E002", "E001", "E002", "E003"]
    assert tree(tmp_path / "x.zarr") == built(layout, tmp_path / "y.zarr")
