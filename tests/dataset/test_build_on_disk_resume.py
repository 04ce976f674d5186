"""A build that was stopped: what it leaves, what the next one relies on, and what it says."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_layouts import archive_of, in_memory, tree, write_cell_type

from simplechrome.dataset.building import deepchrome as build_on_disk
from simplechrome.dataset.building.annotate import build_from_deepchrome
from simplechrome.dataset.building.deepchrome import build_deepchrome_on_disk
from simplechrome.dataset.store import open_dataset, save_dataset
from simplechrome.errors import (
    ConfigError,
    InputFormatError,
    MissingInputError,
    OutputError,
    OutputExistsError,
)
from simplechrome.work.files import only_one


class UnexpectedError(Exception):
    """Something that nobody reckons with."""


class Reading(list):
    """Names of the cell types that were parsed, in order; at `fails` the process breaks off."""

    fails = "E003"


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    reading = Reading()
    original = build_on_disk.cell_type_dataset

    def watched(counts: Any, **record: Any) -> Any:
        if counts.cell_type == reading.fails:
            raise UnexpectedError
        reading.append(counts.cell_type)
        return original(counts, **record)

    monkeypatch.setattr(build_on_disk, "cell_type_dataset", watched)
    return reading


def stopped(path: Path, output: Path, **options: Any) -> None:
    with pytest.raises(UnexpectedError):
        build_deepchrome_on_disk(path, output, **options)


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_resume_reads_only_what_is_not_read(
    kind: str,
    layout: Path,
    tmp_path: Path,
    reading: Reading,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    path = archive_of(layout) if kind == "archive" else layout
    output = tmp_path / "x.zarr"
    stopped(path, output)
    assert not output.exists()
    assert "2 cell types that are read): --resume continues it" in caplog.text
    reading.fails = ""
    build_deepchrome_on_disk(path, output, resume=True)
    assert reading == ["E001", "E002", "E003"]
    assert "Resuming" in caplog.text
    assert ("2 of 3 cell types are read already" in caplog.text) == (kind == "folder")
    assert tree(output) == in_memory(path, tmp_path / "memory.zarr")


def test_cell_type_whose_file_has_changed_is_read_anew(
    layout: Path,
    tmp_path: Path,
    reading: Reading,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stopped(layout, tmp_path / "x.zarr")
    reading.fails = ""
    test = layout / "E001" / "classification" / "test.csv"
    test.write_text(test.read_text().replace("1411", "1412"))
    build_deepchrome_on_disk(layout, tmp_path / "x.zarr", resume=True)
    assert reading == ["E001", "E002", "E001", "E003"]
    assert "E001: its files have changed since they were read" in caplog.text
    assert tree(tmp_path / "x.zarr") == in_memory(layout, tmp_path / "memory.zarr")


def test_cell_type_that_has_gone_is_left_out_and_named(
    layout: Path, tmp_path: Path, reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    stopped(layout, tmp_path / "x.zarr")
    shutil.rmtree(layout / "E001")
    shutil.rmtree(layout / "E003")
    build_deepchrome_on_disk(layout, tmp_path / "x.zarr", resume=True)
    assert "1 cell types were read before and cannot be used any more: E001" in caplog.text
    assert tree(tmp_path / "x.zarr") == in_memory(layout, tmp_path / "memory.zarr")


def test_damaged_part_is_read_anew(
    layout: Path,
    tmp_path: Path,
    reading: Reading,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stopped(layout, tmp_path / "x.zarr")
    reading.fails = ""
    parts = tmp_path / "x.zarr.unfinished" / "parts"
    (parts / "E001.zarr" / "signal" / "c" / "0" / "0" / "0" / "0").write_bytes(b"")
    (parts / "E002.zarr" / "label" / "zarr.json").unlink()
    build_deepchrome_on_disk(layout, tmp_path / "x.zarr", resume=True)
    assert reading == ["E001", "E002", "E001", "E002", "E003"]
    assert "E001.zarr is damaged, and its cell type is read anew" in caplog.text
    assert tree(tmp_path / "x.zarr") == in_memory(layout, tmp_path / "memory.zarr")


def snapshots(monkeypatch: pytest.MonkeyPatch, place: Path, into: Path, work: Callable) -> int:
    """Copies of `place` as it is before each file operation that the main thread asks for.

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
    replacing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "layout"
    write_cell_type(root, "E001")
    write_cell_type(root, "E002", splits={"train": (2,), "valid": (1,), "test": (3,)})
    place = tmp_path / "place"
    place.mkdir()
    old = None
    if replacing:
        save_dataset(build_from_deepchrome(root, cell_types=["E001"], note="old"), place / "x.zarr")
        old = tree(place / "x.zarr")
    expected = in_memory(root, tmp_path / "memory.zarr")
    n = snapshots(
        monkeypatch,
        place,
        tmp_path / "killed",
        lambda: build_deepchrome_on_disk(root, place / "x.zarr", overwrite=replacing),
    )
    assert tree(place / "x.zarr") == expected
    stages = {}
    for number in range(n):
        unfinished = tmp_path / "killed" / str(number) / "x.zarr.unfinished"
        stages.setdefault(build_on_disk.describe_build(unfinished), number)
    assert {"1 cell types that are read", "all cell types, read and joined"} <= set(stages)
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
    layout: Path, tmp_path: Path, reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    output = tmp_path / "x.zarr"
    build_deepchrome_on_disk(layout, output, cell_types=["E001"], resume=True)  # begins
    before = tree(tmp_path)
    assert build_deepchrome_on_disk(layout, output, resume=True) == output
    assert "x.zarr is finished: there is nothing to resume" in caplog.text
    assert (tree(tmp_path), reading) == (before, ["E001"])


def test_second_build_is_refused_and_both_ways_on_are_named(
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


def test_other_options_cannot_go_on(layout: Path, tmp_path: Path, reading: Reading) -> None:
    stopped(layout, tmp_path / "x.zarr")
    with pytest.raises(ConfigError, match="bin size: begun with 100, now 50"):
        build_deepchrome_on_disk(layout, tmp_path / "x.zarr", bin_size=50, resume=True)


def test_other_tables_cannot_go_on(
    layout: Path, tables: dict[str, Path], tmp_path: Path, reading: Reading
) -> None:
    stopped(layout, tmp_path / "x.zarr", **tables)
    tables["genes"].write_text(tables["genes"].read_text().replace("N1", "N9"))
    with pytest.raises(ConfigError, match="genes sha256: begun with"):
        build_deepchrome_on_disk(layout, tmp_path / "x.zarr", **tables, resume=True)


def test_overwrite_begins_anew(layout: Path, tmp_path: Path, reading: Reading) -> None:
    stopped(layout, tmp_path / "x.zarr", note="other")
    reading.fails = ""
    build_deepchrome_on_disk(layout, tmp_path / "x.zarr", overwrite=True)
    assert reading == ["E001", "E002", "E001", "E002", "E003"]
    assert tree(tmp_path / "x.zarr") == in_memory(layout, tmp_path / "memory.zarr")


def test_bad_cell_type_stops_and_can_be_skipped_on_the_way_on(
    layout: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (layout / "E002" / "classification" / "test.csv").write_text("")
    output = tmp_path / "x.zarr"
    with pytest.raises(InputFormatError, match=r"E002/classification/test\.csv is empty"):
        build_deepchrome_on_disk(layout, output)
    build_deepchrome_on_disk(layout, output, on_bad_cell_type="skip", resume=True)
    assert open_dataset(output)["cell_type"].values.tolist() == ["E001", "E003"]
    assert "Cell type E002 is skipped" in caplog.text


def test_second_process_is_refused(layout: Path, tmp_path: Path) -> None:
    with (
        only_one(tmp_path / ".x.zarr.lock"),
        pytest.raises(OutputError, match="Another process is at work on"),
    ):
        build_deepchrome_on_disk(layout, tmp_path / "x.zarr", resume=True)
