"""The archive comes from the record, a mirror or a file, and somebody vouches for it or nobody."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from download_archives import layout, tar_gz, tree
from download_set import BODY, NAMES, QUICK, assert_holds, get
from http_server import ARCHIVE, RECORD, Fault, HostileServer, md5

from simplechrome.errors import (
    ConfigError,
    InputFormatError,
    MissingInputError,
    OutputError,
    SimpleChromeError,
)
from simplechrome.sources import download_archive, download_record
from simplechrome.sources.download import download


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", status=403, body=b"<html>Blocked</html>"),
        Fault("status", status=200, body=b"<!DOCTYPE html><html>Log in</html>"),
        Fault("status", status=410, body=b'{"message": "gone"}'),
    ],
)
def test_blocked_record_says_what_to_do(
    zenodo: HostileServer, tmp_path: Path, fault: Fault
) -> None:
    zenodo.fail(fault, path=RECORD)
    with pytest.raises(SimpleChromeError) as error:
        get(tmp_path)
    text = str(error.value)
    assert "open https://zenodo.org/records/2652278 in a browser" in text
    assert "simplechrome download --source data.tar.gz" in text
    assert "HTTPS_PROXY" in text
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", status=503, headers={"Retry-After": "0"}),
        Fault("silence"),
        Fault("cut", 10),
        Fault("long length"),
    ],
)
def test_record_is_asked_again(zenodo: HostileServer, tmp_path: Path, fault: Fault) -> None:
    zenodo.fail(fault, path=RECORD)
    hasty = replace(QUICK, timeout=0.2 if fault.kind == "silence" else 10)
    assert download(tmp_path, patience=hasty).cell_types == NAMES


def test_offline_is_one_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HostileServer() as server:
        pass
    monkeypatch.setattr(download_record, "RECORD_URL", server.url(RECORD))
    with pytest.raises(MissingInputError, match=r"Connection refused(.|\n)*--source"):
        get(tmp_path)


def test_archive_put_there_by_hand_is_recognized(zenodo: HostileServer, tmp_path: Path) -> None:
    (tmp_path / "data.tar.gz").write_bytes(BODY)
    get(tmp_path)
    assert_holds(tmp_path, NAMES)
    assert zenodo.ranges() == []


def test_half_an_archive_put_there_by_hand_is_neither_used_nor_replaced(
    zenodo: HostileServer, tmp_path: Path
) -> None:
    (tmp_path / "data.tar.gz").write_bytes(BODY[:1000])
    with pytest.raises(InputFormatError, match=r"is not the archive(.|\n)*delete .*--source"):
        get(tmp_path)
    assert tree(tmp_path) == {"data.tar.gz": hashlib.md5(BODY[:1000]).hexdigest()}


def test_archive_that_was_touched_is_read_again_without_the_server(
    zenodo: HostileServer, tmp_path: Path
) -> None:
    get(tmp_path, cell_types=["E003"])
    os.utime(tmp_path / "data.tar.gz")
    zenodo.stop()
    assert get(tmp_path).cell_types == NAMES


# Mirrors and local files


def test_mirror_is_held_to_the_record(zenodo: HostileServer, tmp_path: Path) -> None:
    with HostileServer({"/copy.tgz": BODY}) as mirror:
        get(tmp_path, source=mirror.url("/copy.tgz"))
    assert_holds(tmp_path, NAMES)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["archive"]["vouched_by"] == "record"
    assert zenodo.ranges() == []


def test_mirror_with_another_archive_is_refused_unless_it_is_meant(
    zenodo: HostileServer, tmp_path: Path
) -> None:
    other = tar_gz(layout(["E050"]))
    with HostileServer({ARCHIVE: other}) as mirror:
        with pytest.raises(InputFormatError, match=r"not the file(.|\n)*--checksum"):
            get(tmp_path, source=mirror.url())
        meant = md5(other)
        assert get(tmp_path, source=mirror.url(), checksum=meant).cell_types == ["E050"]


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_mirror_without_the_record_is_held_to_the_file_beside_it(
    zenodo: HostileServer, tmp_path: Path, algorithm: str
) -> None:
    zenodo.fail(*[Fault("status", status=503)] * 9, path=RECORD)
    right = hashlib.new(algorithm, BODY).hexdigest()
    zenodo.files[f"{ARCHIVE}.{algorithm}"] = f"{right}  data.tar.gz\n".encode()
    get(tmp_path / "right", source=zenodo.url())
    manifest = json.loads((tmp_path / "right" / "manifest.json").read_text())
    assert manifest["archive"]["checksum"] == f"{algorithm}:{right}"
    assert manifest["archive"]["vouched_by"] == "checksum file"
    zenodo.files[f"{ARCHIVE}.{algorithm}"] = f"{right[::-1]}  data.tar.gz\n".encode()
    with pytest.raises(InputFormatError, match="is not the file that was expected"):
        get(tmp_path / "wrong", source=zenodo.url())


def test_mirror_for_which_nobody_vouches_is_taken_with_a_warning(
    zenodo: HostileServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    zenodo.fail(*[Fault("status", status=404)] * 9, path=RECORD)
    get(tmp_path, source=zenodo.url())
    assert_holds(tmp_path, NAMES)
    assert caplog.text.count("Nobody vouches for the contents") == 1
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["archive"]["checksum"] == "sha256:" + hashlib.sha256(BODY).hexdigest()


@pytest.mark.parametrize(
    "url", ["ftp://host/x.tar.gz", "file:///etc/passwd", "https://", "http://h:0/"]
)
def test_source_of_another_kind_is_named(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="is not an address that can be fetched"):
        get(tmp_path, source=url)


def test_local_archive_is_unpacked_in_place(tmp_path: Path) -> None:
    (tmp_path / "mine.tgz").write_bytes(BODY)
    result = get(tmp_path / "to", source=tmp_path / "mine.tgz", cell_types=["E012"])
    assert result.unpacked == ["E012"]
    assert {path.name for path in (tmp_path / "to").iterdir()} == {"data", "manifest.json"}
    assert get(tmp_path / "to", cell_types=["E012"]).unpacked == []


def test_local_archive_is_held_to_its_checksum(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mine.tgz"
    path.write_bytes(BODY)
    wrong = "md5:" + "0" * 32
    with pytest.raises(InputFormatError, match=f"expected: {wrong}"):
        get(tmp_path / "to", source=path, checksum=wrong)
    (tmp_path / "mine.tgz.md5").write_text("0" * 32)
    with pytest.raises(InputFormatError, match=f"expected: {wrong}"):
        get(tmp_path / "to", source=str(path))
    assert caplog.text == ""
    (tmp_path / "mine.tgz.md5").unlink()
    get(tmp_path / "to", source=str(path))
    assert "Nobody vouches" in caplog.text


def test_absent_local_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"none\.tar\.gz cannot be read"):
        get(tmp_path / "to", source=tmp_path / "none.tar.gz")


def test_checksum_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="checksum is none that can be compared"):
        get(tmp_path, checksum="md5:123")


# Room


def test_full_disk_stops_before_the_first_byte_with_figures(
    zenodo: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_archive, "RESERVE", 1 << 60)
    with pytest.raises(
        OutputError, match=r"There is no room(.|\n)*GB free(.|\n)*to unpack"
    ) as error:
        get(tmp_path)
    assert "--cell-type" in str(error.value)
    assert tree(tmp_path) == {}
    assert zenodo.ranges() == []


def test_room_for_one_cell_type_is_less_than_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(download_archive, "RESERVE", 0)
    monkeypatch.setattr(download_archive.shutil, "disk_usage", lambda _: usage._replace(free=7000))
    # 5,600 bytes of archive: one of 56 cell types unpacks to 100 to 500, all to 5,600 to 28,000.
    download_archive._check_room(tmp_path, 5600, 5600, ["E003"])
    assert caplog.text == ""
    download_archive._check_room(tmp_path, 0, 5600, None)
    assert "7.0 kB free, 28.0 kB may be needed" in caplog.text
    with pytest.raises(OutputError, match=r"7\.0 kB free\n  expected: 11\.2 kB at least"):
        download_archive._check_room(tmp_path, 5600, 5600, None)
