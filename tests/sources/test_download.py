"""The published data set arrives whole, verified and once, from Zenodo, a mirror or a file."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import multiprocessing
import os
import random
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pooch
import pytest
from click.testing import CliRunner
from http_server import ARCHIVE, RECORD, Fault, FaultyServer

from simplechrome.cli.download import command
from simplechrome.errors import (
    ConfigError,
    InputFormatError,
    MissingInputError,
    OutputError,
    SimpleChromeError,
    UnknownGeneError,
)
from simplechrome.sources import download as module
from simplechrome.sources.download import check_if_dataset_exists, download

SPLITS = ("train", "valid", "test")
NAMES = ["E003", "E012", "E116"]
TRAIN = "data/E012/classification/train.csv"
Members = Iterable[tuple[tarfile.TarInfo, bytes]]


def csv(cell_type: str, split: str) -> bytes:
    """800 rows of random counts; the same at each call."""
    rng = random.Random(f"{cell_type} {split}")
    rows = (",".join(str(rng.randrange(999)) for _ in range(6)) for _ in range(800))
    return "\n".join(rows).encode()


def layout(names: Iterable[str]) -> dict[str, bytes]:
    return {
        f"{name}/classification/{split}.csv": csv(name, split) for name in names for split in SPLITS
    }


def tar(files: dict[str, bytes], extra: Members = ()) -> bytes:
    """The files below `data/`, and after them the extra members."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(f"data/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info, data in extra:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def tar_gz(files: dict[str, bytes], extra: Members = ()) -> bytes:
    return gzip.compress(tar(files, extra), compresslevel=1, mtime=0)


BODY = tar_gz(layout(NAMES))
OTHER = tar_gz(layout(["E050"]))
HALF = len(BODY) // 2


def md5(data: bytes) -> str:
    return "md5:" + hashlib.md5(data).hexdigest()


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def assert_holds(folder: Path, names: list[str]) -> None:
    """Exactly these cell types, whole, and no rest of the work."""
    assert tree(folder / "data") == layout(names)
    assert {path.name for path in folder.iterdir()} <= {"data", "manifest.json", "data.tar.gz"}


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(module, "TIMEOUT", 5.0)


@pytest.fixture
def zenodo(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """The archive and its record, where pooch looks for them."""
    with FaultyServer() as running:
        running.publish(BODY)
        api = running.url(RECORD).rpartition("/")[0]
        monkeypatch.setattr(pooch.downloaders.ZenodoRepository, "base_api_url", api)
        yield running


# What is there


def test_first_call_fetches_and_unpacks_and_the_next_one_does_nothing(
    zenodo: FaultyServer, tmp_path: Path
) -> None:
    first = download(tmp_path)
    assert first == (tmp_path, NAMES, NAMES)
    assert_holds(tmp_path, NAMES)
    assert zenodo.ranges() == [""]
    assert zenodo.headers[0]["User-Agent"].startswith("simplechrome/")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["archive"]["checksum"] == md5(BODY)
    assert manifest["archive"]["url"] == zenodo.url()
    assert manifest["files"][TRAIN]["sha256"] == hashlib.sha256(csv("E012", "train")).hexdigest()
    zenodo.requests.clear()
    assert download(tmp_path).unpacked == []
    assert check_if_dataset_exists(tmp_path, cell_types=["E003"]) == tmp_path
    assert zenodo.requests == []


def test_wanted_cell_types_are_unpacked_alone_and_others_later_without_the_server(
    zenodo: FaultyServer, tmp_path: Path
) -> None:
    assert download(tmp_path, cell_types="E012").cell_types == ["E012"]
    assert_holds(tmp_path, ["E012"])
    zenodo.requests.clear()
    assert download(tmp_path).unpacked == ["E003", "E116"]
    assert_holds(tmp_path, NAMES)
    assert zenodo.requests == []


@pytest.mark.parametrize("change", ["removed", "shorter", "other bytes", "no manifest"])
def test_what_changed_is_unpacked_again_and_nothing_else(
    zenodo: FaultyServer, tmp_path: Path, change: str
) -> None:
    download(tmp_path)
    file = tmp_path / TRAIN
    before = file.stat().st_ino
    if change == "removed":
        file.unlink()
    elif change == "shorter":
        file.write_bytes(csv("E012", "train")[:-1])
    elif change == "other bytes":
        file.write_bytes(b"7" + csv("E012", "train")[1:])
    else:
        (tmp_path / "manifest.json").write_text('{"format": 1}')
    assert download(tmp_path).unpacked == (NAMES if change == "no manifest" else ["E012"])
    assert file.read_bytes() == csv("E012", "train")
    kept = file.parent.with_name("classification.replaced")
    assert kept.exists() == (change != "no manifest")
    if change == "no manifest":  # the same content stays where it is
        assert file.stat().st_ino == before
    assert download(tmp_path).unpacked == []


def test_touched_files_are_read_once(
    zenodo: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download(tmp_path)
    os.utime(tmp_path / TRAIN, ns=(5, 5))
    assert download(tmp_path).unpacked == []
    monkeypatch.setattr(module.pooch, "file_hash", None)  # times are enough now
    assert download(tmp_path).unpacked == []


def test_verify_reads_the_contents(zenodo: FaultyServer, tmp_path: Path) -> None:
    download(tmp_path)
    path = tmp_path / TRAIN
    times = path.stat()
    path.write_bytes(b"9" + path.read_bytes()[1:])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert download(tmp_path).unpacked == []
    assert download(tmp_path, verify=True).unpacked == ["E012"]
    assert download(tmp_path, verify=True).unpacked == []


def test_folder_that_may_only_be_read_can_be_complete(
    zenodo: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download(tmp_path)
    os.utime(tmp_path / TRAIN, ns=(5, 5))

    def refuse(*_: object) -> None:
        raise OutputError("Read-only file system")

    monkeypatch.setattr(module, "write_json", refuse)
    monkeypatch.setattr(module, "only_one", refuse)
    assert download(tmp_path).cell_types == NAMES
    (tmp_path / TRAIN).write_text("")
    with pytest.raises(OutputError, match="Read-only"):
        download(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *[({"cell_types": names}, "cell_types holds") for names in ([], ["E3"], ["../E003"], [""])],
        ({"checksum": "md5:123"}, "is not a checksum"),
        *[({"source": url}, "is not an address") for url in ("ftp://host/x.tar", "https:///x")],
    ],
)
def test_invalid_argument_is_named(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        download(tmp_path, **options)


def test_file_in_place_of_a_folder_is_named(zenodo: FaultyServer, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    (tmp_path / "data").write_text("")
    for folder in (tmp_path / "x", tmp_path):
        with pytest.raises(OutputError, match="cannot be written"):
            download(folder)
    assert (tmp_path / "data").read_text() == ""


def in_another_process(api: str, folder: Path, name: str, done: Any) -> None:
    pooch.downloaders.ZenodoRepository.base_api_url = api
    done.put(download(folder, cell_types=[name]).cell_types)


def test_calls_at_once_do_not_harm_each_other(zenodo: FaultyServer, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    done = context.Queue()
    api = zenodo.url(RECORD).rpartition("/")[0]
    workers = [
        context.Process(target=in_another_process, args=(api, tmp_path, name, done))
        for name in NAMES
    ]
    for worker in workers:
        worker.start()
    assert sorted(done.get(timeout=60)[0] for _ in workers) == NAMES
    for worker in workers:
        worker.join()
    done.close()
    assert_holds(tmp_path, NAMES)
    assert zenodo.ranges() == [""]


# The transfer


@pytest.mark.parametrize(
    "fault",
    [
        Fault("cut", HALF),
        Fault("flip", 1000),
        Fault("status", status=503),
        Fault("status", status=429, headers={"Retry-After": "0"}),
    ],
    ids=lambda fault: fault.kind + str(fault.status),
)
def test_what_may_pass_is_tried_again(zenodo: FaultyServer, tmp_path: Path, fault: Fault) -> None:
    zenodo.fail(fault)
    download(tmp_path)
    assert_holds(tmp_path, NAMES)
    assert len(zenodo.ranges()) == 2


def test_silent_server_is_asked_again(
    zenodo: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    zenodo.fail(Fault("silence"))
    zenodo.fail(Fault("silence"), path=RECORD)
    download(tmp_path)
    assert_holds(tmp_path, NAMES)


def test_cuts_at_random_bytes_add_up_to_the_file(zenodo: FaultyServer, tmp_path: Path) -> None:
    # Of a block that was cut nothing is kept: only longer pieces count.
    rng = random.Random(0)
    cuts = [rng.randrange(1 << 16, 1 << 18) for _ in range(20)]
    files = layout(f"E{number:03d}" for number in range(40))
    zenodo.publish(tar(files))
    zenodo.fail(*(Fault("cut", at) for at in cuts))
    assert len(download(tmp_path).unpacked) == 40
    starts = [int(text[6:-1]) for text in zenodo.ranges()[1:]]
    assert starts == sorted(starts)
    assert len(starts) >= 8
    assert (tmp_path / "data.tar.gz").read_bytes() == tar(files)


@pytest.mark.parametrize("kind", ["ignore range", "wrong range"])
def test_server_without_ranges_does_not_spoil_the_file(
    zenodo: FaultyServer, tmp_path: Path, kind: str
) -> None:
    zenodo.fail(Fault("cut", HALF), Fault(kind))
    download(tmp_path)
    assert_holds(tmp_path, NAMES)


def stop_half_way(server: FaultyServer, folder: Path, **options: Any) -> None:
    server.fail(Fault("cut", HALF), *[Fault("status", status=503)] * module.ATTEMPTS)
    with pytest.raises(MissingInputError, match="bytes that came are kept"):
        download(folder, **options)
    server.faults.clear()
    server.requests.clear()
    assert not (folder / "data").exists()


@pytest.mark.parametrize("mirror", [False, True])
def test_next_call_continues_where_the_last_one_ended_also_at_a_mirror(
    zenodo: FaultyServer, tmp_path: Path, mirror: bool
) -> None:
    stop_half_way(zenodo, tmp_path)
    with FaultyServer({"/copy.tgz": BODY}) as other:
        download(tmp_path, **({"source": other.url("/copy.tgz")} if mirror else {}))
        ranges = other.ranges("/copy.tgz") if mirror else zenodo.ranges()
    assert len(ranges) == 1
    assert 0 < int(ranges[0].removeprefix("bytes=").removesuffix("-")) <= HALF
    assert_holds(tmp_path, NAMES)


@pytest.mark.parametrize("rest", [BODY, BODY + b"more", OTHER[:1000]])
def test_rest_of_a_killed_call_is_used_or_replaced(
    zenodo: FaultyServer, tmp_path: Path, rest: bytes
) -> None:
    stop_half_way(zenodo, tmp_path)
    (part,) = (tmp_path / ".download").glob("*.part")
    part.write_bytes(rest)
    (tmp_path / ".download" / "unpacked" / "E003").mkdir(parents=True)
    download(tmp_path)
    assert_holds(tmp_path, NAMES)


@pytest.mark.parametrize("etags", [True, False])
def test_unverified_mirror_is_used_with_a_warning_and_never_pieced_together(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, zenodo: FaultyServer, etags: bool
) -> None:
    zenodo.files.pop(RECORD)
    zenodo.etags = etags
    stop_half_way(zenodo, tmp_path, source=zenodo.url())
    zenodo.files[ARCHIVE] = OTHER
    assert download(tmp_path, source=zenodo.url()).cell_types == ["E050"]
    assert "is unverified: pass its checksum, --checksum" in caplog.text
    assert json.loads((tmp_path / "manifest.json").read_text())["archive"]["verified"] is False


def test_file_that_changes_on_the_way_comes_whole(
    zenodo: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(seconds: float) -> None:
        zenodo.files[ARCHIVE] = OTHER

    zenodo.files.pop(RECORD)
    zenodo.fail(Fault("cut", HALF))
    monkeypatch.setattr(module.time, "sleep", change)
    assert download(tmp_path, source=zenodo.url()).cell_types == ["E050"]


@pytest.mark.parametrize(
    ("path", "fault", "error", "message"),
    [
        (RECORD, Fault("status", status=403, body=b"<html>Blocked"), MissingInputError, "record"),
        (RECORD, Fault("status", status=410, body=b'{"status": 410}'), MissingInputError, "record"),
        (ARCHIVE, Fault("status", status=403), MissingInputError, "403"),
        (
            ARCHIVE,
            Fault("status", headers={"Content-Type": "text/html; charset=utf-8"}, body=b"<html>"),
            MissingInputError,
            "a web page came",
        ),
        (ARCHIVE, Fault("flip", 1000), InputFormatError, "is not the archive"),
    ],
)
def test_refusal_says_what_to_do(
    zenodo: FaultyServer, tmp_path: Path, path: str, fault: Fault, error: type, message: str
) -> None:
    zenodo.fail(*[fault] * 9, path=path)
    with pytest.raises(error, match=message) as caught:
        download(tmp_path)
    for text in ("https://zenodo.org/records/2652278", "--source data.tar.gz", "HTTPS_PROXY"):
        assert text in str(caught.value)
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "data.tar.gz").exists()


def test_offline_is_one_error_that_says_what_to_do(
    zenodo: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultyServer() as gone:
        pass
    monkeypatch.setattr(pooch.downloaders.ZenodoRepository, "base_api_url", gone.url("/api"))
    with pytest.raises(MissingInputError, match=r"Connection refused(.|\n)*--source"):
        download(tmp_path)


# Archives that are there already, mirrors and local files


def test_archive_put_there_by_hand_is_recognized_or_refused(
    zenodo: FaultyServer, tmp_path: Path
) -> None:
    (tmp_path / "data.tar.gz").write_bytes(BODY[:1000])
    with pytest.raises(InputFormatError, match=r"is not the archive(.|\n)*delete .*--source"):
        download(tmp_path)
    assert (tmp_path / "data.tar.gz").read_bytes() == BODY[:1000]
    (tmp_path / "data.tar.gz").write_bytes(BODY)
    download(tmp_path)
    assert_holds(tmp_path, NAMES)
    assert zenodo.ranges() == []


def test_mirror_must_have_the_archive_of_the_record_unless_a_checksum_is_given(
    zenodo: FaultyServer, tmp_path: Path
) -> None:
    with FaultyServer({ARCHIVE: OTHER}) as mirror:
        with pytest.raises(InputFormatError, match=r"is not the archive(.|\n)*--checksum"):
            download(tmp_path, source=mirror.url())
        found = download(tmp_path, source=mirror.url(), checksum=md5(OTHER))
    assert found.cell_types == ["E050"]


def test_local_archive_is_unpacked_where_it_lies(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mine.tar"
    path.write_bytes(tar(layout(NAMES)))
    with pytest.raises(InputFormatError, match=f"its checksum is md5.*not md5:{'0' * 32}"):
        download(tmp_path / "to", source=path, checksum="0" * 32)
    assert caplog.text == ""
    assert download(tmp_path / "to", source=str(path), cell_types=["E012"]).unpacked == ["E012"]
    assert "is unverified" in caplog.text
    assert {entry.name for entry in (tmp_path / "to").iterdir()} == {"data", "manifest.json"}
    with pytest.raises(MissingInputError, match=r"none\.tar\.gz does not exist"):
        download(tmp_path / "to", source=tmp_path / "none.tar.gz")


# Unpacking


def link(name: str, kind: bytes, to: str) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info, b""


CSV = "E003/classification/train.csv"


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (BODY[:HALF], InputFormatError, "is damaged"),
        (BODY[:-4] + b"\0\0\0\0", InputFormatError, "is damaged"),  # gzip's length
        (tar(layout(NAMES))[:-20_000], InputFormatError, "is damaged"),
        (tar({"x": b""})[:512] + b"\1" * 30_000, InputFormatError, "data after the end"),
        (b"<!DOCTYPE html>", InputFormatError, "is damaged"),
        (b"", InputFormatError, "is damaged"),
        (tar({"x.txt": b""}), InputFormatError, "any folder such as E003"),
        (tar(layout(NAMES), [(tarfile.TarInfo(CSV), b"1")]), InputFormatError, "there twice"),
        (tar({}, [link(CSV, tarfile.SYMTYPE, "/etc/passwd")]), InputFormatError, "is no file"),
        (tar({}, [link(CSV, tarfile.LNKTYPE, "../../x")]), InputFormatError, "is no file"),
        (tar({CSV: b"1"}), InputFormatError, r"train\.csv, valid\.csv and test\.csv in E003"),
        (tar(layout(["E116"])), UnknownGeneError, "not hold the cell type E003"),
    ],
)
def test_archive_that_cannot_be_used_leaves_nothing(
    tmp_path: Path, body: bytes, error: type[SimpleChromeError], message: str
) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(body)
    with pytest.raises(error, match=message):
        download(tmp_path / "to", source=path, checksum=md5(body), cell_types=["E003"])
    assert [name for name in tree(tmp_path / "to") if not name.startswith(".download")] == []


def test_only_csvs_of_the_layout_get_out_and_none_leaves_the_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    extra = [
        (tarfile.TarInfo("../../outside.csv"), b"hi"),
        (tarfile.TarInfo("/tmp/E116/classification/train.csv"), csv("E116", "train")),
        link("data/E012", tarfile.SYMTYPE, "/"),
    ]
    path = tmp_path / "x.tar"
    path.write_bytes(tar(layout(["E003"]), extra))
    assert download(tmp_path / "in" / "to", source=path).cell_types == ["E003"]
    assert_holds(tmp_path / "in" / "to", ["E003"])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in", "x.tar"]
    assert "incomplete and not unpacked: E116" in caplog.text


def test_full_disk_is_an_output_error_and_nothing_counts(
    zenodo: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "extract", full)
        with pytest.raises(OutputError, match=r"No space left(.|\n)*free space"):
            download(tmp_path)
    assert not (tmp_path / "data").exists()
    assert download(tmp_path).unpacked == NAMES
    assert_holds(tmp_path, NAMES)
    assert zenodo.ranges() == [""]


@pytest.mark.real_data
def test_real_cell_type_is_unpacked_as_tar_would(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "deepchrome_layout_E012.tar.gz"
    shutil.unpack_archive(source, tmp_path / "tar", filter="data")
    download(tmp_path / "ours", source=source)
    assert tree(tmp_path / "ours" / "data") == tree(tmp_path / "tar" / "data")


# The command


def test_command_prints_what_is_there(
    zenodo: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--cell-type", "E003", "--cell-type", "E012"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "roadmap: 2 cell types, verified (2 of them unpacked now)" in result.output
    assert_holds(tmp_path / "roadmap", ["E003", "E012"])
    again = CliRunner().invoke(command, ["--verify", *arguments, "--to", "roadmap"])
    assert "2 cell types, verified (0 of them unpacked now)" in again.output
    (tmp_path / "a.tar.gz").write_bytes(BODY)
    options = ["--source", "a.tar.gz", "--checksum", hashlib.sha256(BODY).hexdigest(), "--to", "b"]
    assert CliRunner().invoke(command, options, catch_exceptions=False).exit_code == 0
    assert_holds(tmp_path / "b", NAMES)
