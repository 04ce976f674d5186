"""The published data set arrives whole and verified, once; what merely exists does not count."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from deepchrome_layout import layout as real_layout
from download_archives import SPLITS, csv, layout, member, tar_gz, tree
from download_set import BODY, NAMES, QUICK, assert_holds, get
from http_server import RECORD, HostileServer, md5

from simplechrome.cli.download import command
from simplechrome.errors import (
    ConfigError,
    InputFormatError,
    OutputError,
    UnknownGeneError,
)
from simplechrome.sources import download_record
from simplechrome.sources.deepchrome import list_cell_types, read_deepchrome
from simplechrome.sources.download import Download, check_if_dataset_exists, download


def test_all_cell_types_arrive_in_the_layout_that_build_reads(
    zenodo: HostileServer, tmp_path: Path
) -> None:
    result = get(tmp_path / "new" / "folder")
    assert result == Download(tmp_path / "new" / "folder", NAMES, NAMES)
    assert_holds(result.path, NAMES)
    assert list_cell_types(result.path) == NAMES


def test_dataset_that_is_read_afterwards_is_the_published_one(
    zenodo: HostileServer, tmp_path: Path
) -> None:
    files = {f"data/E003/classification/{s}.csv": t.encode() for s, t in real_layout().items()}
    zenodo.publish(tar_gz(files))
    path = check_if_dataset_exists(tmp_path)
    assert path == tmp_path
    (counts,) = read_deepchrome(path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    # The dataset's provenance and the manifest name the same checksums.
    assert [source["sha256"] for source in counts.sources] == [
        manifest["files"][f"data/E003/classification/{split}.csv"]["sha256"] for split in SPLITS
    ]


def test_manifest_remembers_the_archive_and_each_file(
    zenodo: HostileServer, tmp_path: Path
) -> None:
    get(tmp_path, cell_types=["E012"])
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["archive"] == {
        "name": "data.tar.gz",
        "url": zenodo.url(),
        "bytes": len(BODY),
        "checksum": md5(BODY),
        "vouched_by": "record",
    }
    assert manifest["archive_cell_types"] == NAMES
    train = manifest["files"]["data/E012/classification/train.csv"]
    assert train["bytes"] == len(csv("E012", "train"))
    assert train["sha256"] == hashlib.sha256(csv("E012", "train")).hexdigest()
    assert len(manifest["files"]) == 3


def test_second_call_asks_nobody_and_writes_nothing(zenodo: HostileServer, tmp_path: Path) -> None:
    get(tmp_path)
    zenodo.requests.clear()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert get(tmp_path) == Download(tmp_path, NAMES, [])
    assert get(tmp_path, cell_types=["E116"]).cell_types == ["E116"]
    assert zenodo.requests == []
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_only_wanted_cell_types_are_unpacked_and_more_need_no_second_download(
    zenodo: HostileServer, tmp_path: Path
) -> None:
    assert get(tmp_path, cell_types=["E012"]).unpacked == ["E012"]
    assert_holds(tmp_path, ["E012"])
    zenodo.requests.clear()
    assert get(tmp_path, cell_types=["E012", "E003"]).unpacked == ["E003"]
    assert get(tmp_path) == Download(tmp_path, NAMES, ["E116"])
    assert_holds(tmp_path, NAMES)
    assert zenodo.requests == []


def test_folder_that_merely_exists_is_not_complete(
    zenodo: HostileServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data" / "E003" / "classification").mkdir(parents=True)
    half = tmp_path / "data" / "E012" / "classification"
    half.mkdir(parents=True)
    (half / "train.csv").write_bytes(csv("E012", "train")[:50])
    get(tmp_path)
    assert_holds(tmp_path, NAMES)
    # What was there is not thrown away.
    assert (tmp_path / "set-aside" / "E012-1" / "train.csv").stat().st_size == 50
    assert "was there, unverified, with other contents" in caplog.text


def test_same_files_that_are_there_already_are_adopted(
    zenodo: HostileServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    get(tmp_path)
    (tmp_path / "manifest.json").unlink()
    get(tmp_path)
    assert_holds(tmp_path, NAMES)
    assert not (tmp_path / "set-aside").exists()
    assert "unverified" not in caplog.text


TRAIN = "data/E012/classification/train.csv"


@pytest.mark.parametrize("change", ["removed", "shorter", "same size, other time"])
def test_changed_file_is_seen_and_unpacked_again(
    zenodo: HostileServer, tmp_path: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    get(tmp_path)
    path = tmp_path / TRAIN
    if change == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: -1 if change == "shorter" else None])
    if change == "same size, other time":
        path.write_bytes(b"9" + path.read_bytes()[1:])
    assert get(tmp_path).unpacked == ["E012"]
    assert_holds(tmp_path, NAMES)
    assert "1 cell types are not as they were" in caplog.text


def test_copied_folder_is_read_once_and_not_unpacked_again(
    zenodo: HostileServer, tmp_path: Path
) -> None:
    get(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copyfile)
    zenodo.requests.clear()
    assert get(tmp_path / "b").unpacked == []
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    stamp = (tmp_path / "b" / TRAIN).stat().st_mtime_ns
    assert manifest["files"][TRAIN]["mtime_ns"] == stamp
    assert zenodo.requests == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_folder_that_may_only_be_read_can_be_complete(
    zenodo: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    get(tmp_path)
    os.utime(tmp_path / TRAIN)

    def refuse(*_: object) -> None:
        raise OutputError("Read-only file system")

    monkeypatch.setattr("simplechrome.sources.download.only_one", refuse)
    assert get(tmp_path).cell_types == NAMES
    (tmp_path / TRAIN).write_text("")
    with pytest.raises(OutputError, match="Read-only file system"):
        get(tmp_path)


def test_verify_reads_the_contents(zenodo: HostileServer, tmp_path: Path) -> None:
    get(tmp_path)
    path = tmp_path / TRAIN
    times = path.stat()
    path.write_bytes(b"9" + path.read_bytes()[1:])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert get(tmp_path).unpacked == []
    assert get(tmp_path, verify=True).unpacked == ["E012"]
    assert get(tmp_path, verify=True).unpacked == []
    assert_holds(tmp_path, NAMES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 2}',
        '{"format": 1, "files": 3}',
        '{"format": 1, "archive": {}, "archive_cell_types": [], "files": {}}',
    ],
)
def test_broken_manifest_counts_as_none(
    zenodo: HostileServer, tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    get(tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    assert get(tmp_path).unpacked == NAMES
    assert "manifest.json cannot be used" in caplog.text
    assert_holds(tmp_path, NAMES)


def test_rests_of_a_killed_call_are_cleared_away(zenodo: HostileServer, tmp_path: Path) -> None:
    (tmp_path / ".unpacking-x" / "E003").mkdir(parents=True)
    get(tmp_path)
    assert_holds(tmp_path, NAMES)


def test_hostile_archive_leaves_nothing(zenodo: HostileServer, tmp_path: Path) -> None:
    zenodo.publish(tar_gz(layout(NAMES), [(member("../../outside.csv", 2), b"hi")]))
    with pytest.raises(InputFormatError, match="leaves its folder"):
        get(tmp_path / "in")
    assert sorted(tree(tmp_path)) == ["in/data.tar.gz", "in/data.tar.gz.json"]
    assert not (tmp_path / "in" / "data").exists()


def test_unknown_cell_type_leaves_nothing_but_the_archive(
    zenodo: HostileServer, tmp_path: Path
) -> None:
    with pytest.raises(UnknownGeneError, match="does not hold the cell type E999"):
        get(tmp_path, cell_types=["E003", "E999"])
    assert sorted(tree(tmp_path)) == ["data.tar.gz", "data.tar.gz.json"]


@pytest.mark.parametrize("names", [[], ["E3"], ["e003"], ["../E003"], ["E003\n"], [""]])
def test_names_that_cannot_be_are_an_error_before_anything_is_done(
    tmp_path: Path, names: list[str]
) -> None:
    with pytest.raises(ConfigError, match="cell_types"):
        download(tmp_path / "x", cell_types=names)
    assert not (tmp_path / "x").exists()


def test_one_name_may_be_given_as_text(zenodo: HostileServer, tmp_path: Path) -> None:
    assert get(tmp_path, cell_types="E003").cell_types == ["E003"]


def test_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(OutputError, match="x is a file"):
        download(tmp_path / "x")


def test_file_in_place_of_the_data_is_named(zenodo: HostileServer, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        get(tmp_path)
    assert (tmp_path / "data").read_text() == ""


# Two at once


def fetch_in_another_process(url: str, folder: Path, name: str, done: Any) -> None:
    download_record.RECORD_URL = url
    done.put(download(folder, cell_types=[name], patience=QUICK).cell_types)


@pytest.mark.skipif(os.name == "nt", reason="waiting needs the system's locks")
def test_calls_at_once_do_not_harm_each_other(zenodo: HostileServer, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    done = context.Queue()
    arguments = [(zenodo.url(RECORD), tmp_path, name, done) for name in NAMES]
    workers = [context.Process(target=fetch_in_another_process, args=a) for a in arguments]
    for worker in workers:
        worker.start()
    assert sorted(done.get(timeout=60)[0] for _ in workers) == NAMES
    for worker in workers:
        worker.join()
    done.close()
    assert_holds(tmp_path, NAMES)
    assert zenodo.ranges() == [""]


# The command


def test_command_says_what_is_there(
    zenodo: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--cell-type", "E003", "--cell-type", "E012"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "roadmap: 2 cell types, verified (2 of them unpacked now)" in result.output
    assert_holds(tmp_path / "roadmap", ["E003", "E012"])
    again = CliRunner().invoke(command, ["--verify", *arguments, "--to", "roadmap"])
    assert "2 cell types, verified (0 of them unpacked now)" in again.output


def test_command_takes_a_local_file(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(BODY)
    checksum = hashlib.sha256(BODY).hexdigest()
    result = CliRunner().invoke(
        command,
        [
            "--source",
            str(tmp_path / "a.tar.gz"),
            "--checksum",
            checksum,
            "--to",
            str(tmp_path / "b"),
        ],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    assert_holds(tmp_path / "b", NAMES)


def test_progress_is_told_in_lines_where_there_is_no_terminal(
    zenodo: HostileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("simplechrome.sources.download_progress.SECONDS_BETWEEN_LINES", 0.0)
    with caplog.at_level(logging.INFO):
        get(tmp_path)
    assert f"data.tar.gz: 100 % of {len(BODY) / 1e3:.1f} kB, " in caplog.text
    assert "/s, 0 s left" in caplog.text


@pytest.mark.real_data
def test_real_cell_type_is_unpacked_as_tar_would(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "deepchrome_layout_E012.tar.gz"
    shutil.unpack_archive(source, tmp_path / "tar", filter="data")
    get(tmp_path / "ours", source=source)
    assert tree(tmp_path / "ours" / "data") == tree(tmp_path / "tar" / "data")
