"""A file comes whole and right over a bad connection and from a bad server, or not at all."""

from __future__ import annotations

import hashlib
import logging
import random
from dataclasses import replace
from pathlib import Path

import pytest
from download_archives import layout, tar_gz, tree
from download_file import BODY, QUICK, assert_whole, get
from http_server import ARCHIVE, Fault, HostileServer, md5

from simplechrome.errors import InputFormatError, MissingInputError, OutputError
from simplechrome.sources import download_transfer
from simplechrome.sources.download_http import Patience
from simplechrome.sources.download_origin import read_origin
from simplechrome.sources.download_record import RemoteFile

OTHER = tar_gz(layout(["E116"], n_rows=6000))
HALF = len(BODY) // 2
HASTY = replace(QUICK, timeout=0.15)


def test_good_server_is_asked_once(server: HostileServer, tmp_path: Path) -> None:
    origin = get(server, tmp_path)
    assert_whole(tmp_path)
    assert server.ranges() == [""]
    assert (origin.size, origin.checksum) == (len(BODY), md5(BODY))
    assert read_origin(tmp_path / "data.tar.gz.json") == origin


def test_program_gives_its_name(server: HostileServer, tmp_path: Path) -> None:
    get(server, tmp_path)
    assert server.requests[0][1]["User-Agent"].startswith("simplechrome/")


PASSING = {
    "cut": Fault("cut", HALF),
    "cut before the first byte": Fault("cut", 0),
    "reset": Fault("reset", HALF),
    "stall": Fault("stall", HALF),
    "drip": Fault("drip", HALF),
    "silence": Fault("silence"),
    "no answer": Fault("no answer"),
    "not HTTP": Fault("garbage"),
    "503": Fault("status", status=503),
    "429 with seconds": Fault("status", status=429, headers={"Retry-After": "0"}),
    "502 with a page": Fault("status", status=502, body=b"<html>Bad gateway</html>"),
}


@pytest.mark.parametrize("kind", PASSING)
def test_what_may_pass_is_tried_again(server: HostileServer, tmp_path: Path, kind: str) -> None:
    server.fail(PASSING[kind])
    get(server, tmp_path, patience=HASTY if kind in ("stall", "drip", "silence") else QUICK)
    assert_whole(tmp_path)
    assert len(server.requests) == 2


@pytest.mark.parametrize("kind", ["cut", "stall", "drip"])
def test_transfer_goes_on_at_the_byte_it_reached(
    server: HostileServer, tmp_path: Path, kind: str
) -> None:
    server.fail(Fault(kind, HALF))
    get(server, tmp_path, patience=QUICK if kind == "cut" else HASTY)
    assert_whole(tmp_path)
    start = int(server.ranges()[1].removeprefix("bytes=").removesuffix("-"))
    assert HALF <= start < HALF + 100
    assert server.requests[1][1]["If-Range"].startswith('"')


def test_cuts_at_random_bytes_add_up_to_the_file(server: HostileServer, tmp_path: Path) -> None:
    rng = random.Random(0)
    server.fail(*(Fault("cut", rng.randrange(20_000)) for _ in range(30)))
    get(server, tmp_path, patience=replace(QUICK, attempts=40))
    assert_whole(tmp_path)


def test_server_that_begins_again_does_not_spoil_the_file(
    server: HostileServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.fail(Fault("cut", HALF), Fault("ignore range"))
    with caplog.at_level(logging.INFO):
        get(server, tmp_path)
    assert_whole(tmp_path)
    assert "begins again from the start" in caplog.text


@pytest.mark.parametrize("kind", ["wrong range", "no content range"])
def test_wrong_range_is_not_appended(server: HostileServer, tmp_path: Path, kind: str) -> None:
    server.fail(Fault("cut", HALF), Fault(kind))
    get(server, tmp_path)
    assert_whole(tmp_path)
    assert server.ranges() == ["", f"bytes={HALF}-", ""]


def test_range_that_nobody_asked_for_is_not_taken(server: HostileServer, tmp_path: Path) -> None:
    server.fail(Fault("needless range"))
    get(server, tmp_path)
    assert_whole(tmp_path)


def test_endless_wrong_ranges_end_in_an_error(server: HostileServer, tmp_path: Path) -> None:
    server.fail(*[Fault("cut", 1000), Fault("wrong range")] * 20)
    with pytest.raises(MissingInputError, match="6 attempts in a row without progress"):
        get(server, tmp_path)


@pytest.mark.parametrize("validators", ["ETag", "date", "weak ETag", "none"])
def test_changed_file_is_fetched_anew(
    server: HostileServer, tmp_path: Path, validators: str
) -> None:
    server.etags = validators in ("ETag", "weak ETag")
    server.dates = validators in ("date", "weak ETag")
    server.weak = validators == "weak ETag"
    server.fail(Fault("cut", HALF), Fault("change", body=OTHER))
    get(server, tmp_path, size=None, checksum=None)
    assert_whole(tmp_path, OTHER)


def test_part_without_checksum_and_validator_is_not_trusted(
    server: HostileServer, tmp_path: Path
) -> None:
    server.etags = server.dates = False
    server.fail(*[Fault("cut", HALF)] * 6)
    with pytest.raises(MissingInputError):
        get(server, tmp_path, size=None, checksum=None)
    server.requests.clear()
    get(server, tmp_path, size=None, checksum=None)
    assert_whole(tmp_path)
    assert server.ranges() == [""]


def test_next_call_goes_on_where_the_last_one_ended(server: HostileServer, tmp_path: Path) -> None:
    server.fail(Fault("cut", HALF), *[Fault("status", status=503)] * 5)
    with pytest.raises(MissingInputError, match="the same command goes on from there"):
        get(server, tmp_path)
    assert sorted(tree(tmp_path)) == ["data.tar.gz.part", "data.tar.gz.part.json"]
    server.requests.clear()
    get(server, tmp_path)
    assert_whole(tmp_path)
    assert server.ranges() == [f"bytes={HALF}-"]


def test_part_of_the_same_archive_is_continued_at_a_mirror(
    server: HostileServer, tmp_path: Path
) -> None:
    server.fail(Fault("cut", HALF), *[Fault("status", status=503)] * 6)
    with pytest.raises(MissingInputError):
        get(server, tmp_path)
    with HostileServer({ARCHIVE: BODY}) as mirror:
        get(mirror, tmp_path)
        assert mirror.ranges() == [f"bytes={HALF}-"]
        assert "If-Range" not in mirror.requests[0][1]
    assert_whole(tmp_path)


@pytest.mark.parametrize(
    "spoil", ["longer than the file", "no origin", "broken origin", "of another file", "bad byte"]
)
def test_part_that_is_of_no_use_does_not_spoil_the_file(
    server: HostileServer, tmp_path: Path, spoil: str
) -> None:
    server.fail(Fault("cut", HALF), *[Fault("status", status=503)] * 6)
    with pytest.raises(MissingInputError):
        get(server, tmp_path)
    part, origin = tmp_path / "data.tar.gz.part", tmp_path / "data.tar.gz.part.json"
    if spoil == "longer than the file":
        part.write_bytes(BODY + b"more")
    elif spoil == "no origin":
        origin.unlink()
    elif spoil == "broken origin":
        origin.write_text('{"url": 5')
    elif spoil == "of another file":
        part.write_bytes(OTHER[:HALF])
        origin.write_text(origin.read_text().replace(md5(BODY), md5(OTHER)))
    else:
        part.write_bytes(BODY[: HALF - 1] + b"\0")
    get(server, tmp_path)
    assert_whole(tmp_path)


def test_whole_part_needs_no_server(server: HostileServer, tmp_path: Path) -> None:
    server.fail(Fault("cut", HALF), *[Fault("status", status=503)] * 6)
    with pytest.raises(MissingInputError):
        get(server, tmp_path)
    (tmp_path / "data.tar.gz.part").write_bytes(BODY)
    server.requests.clear()
    get(server, tmp_path)
    assert_whole(tmp_path)
    assert server.requests == []


def test_part_of_a_file_whose_size_nobody_told_may_be_whole(
    server: HostileServer, tmp_path: Path
) -> None:
    # The answer says 1,000 bytes too many, ends early, and the next one that there is no more.
    server.fail(Fault("long length"))
    get(server, tmp_path, size=None)
    assert_whole(tmp_path)
    assert server.ranges() == ["", f"bytes={len(BODY)}-"]


@pytest.mark.parametrize("kind", ["short length", "long length", "more", "flip"])
def test_lie_once_is_mended_by_a_fresh_attempt(
    server: HostileServer, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.fail(Fault(kind, at=1000))
    get(server, tmp_path)
    assert_whole(tmp_path)
    assert "once more from the start" in caplog.text


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("short length", f"{len(BODY) - 1000:,} bytes announced"),
        ("long length", f"{len(BODY) + 1000:,} bytes announced"),
        ("more", "more bytes than that"),
        ("flip", "md5:"),
        ("change", f"{len(OTHER):,} bytes announced"),
    ],
)
def test_lie_told_twice_is_an_error_and_leaves_nothing(
    server: HostileServer, tmp_path: Path, kind: str, found: str
) -> None:
    server.fail(*[Fault(kind, at=1000, body=OTHER)] * 2)
    with pytest.raises(InputFormatError) as error:
        get(server, tmp_path)
    assert "is not the file that was expected; nothing was kept" in str(error.value)
    assert found in str(error.value)
    assert "--source" in str(error.value)
    assert tree(tmp_path) == {}


def test_wrong_checksum_shows_both(server: HostileServer, tmp_path: Path) -> None:
    with pytest.raises(InputFormatError, match=f"found: {md5(BODY)}\n  expected: {md5(OTHER)}"):
        get(server, tmp_path, checksum=md5(OTHER))


def test_answer_without_a_length_is_read_to_its_end(server: HostileServer, tmp_path: Path) -> None:
    server.fail(Fault("no length"))
    origin = get(server, tmp_path, size=None, checksum=None)
    assert_whole(tmp_path)
    assert origin.checksum == "sha256:" + hashlib.sha256(BODY).hexdigest()


def test_restarting_server_is_waited_for(server: HostileServer, tmp_path: Path) -> None:
    server.fail(Fault("cut", HALF), Fault("away", seconds=0.15))
    get(server, tmp_path, patience=Patience(10, 40, 3, 0.02, 0.02))
    assert_whole(tmp_path)


def test_room_is_asked_for_once_the_size_is_known(server: HostileServer, tmp_path: Path) -> None:
    asked: list[int] = []

    def full(n_bytes: int) -> None:
        asked.append(n_bytes)
        raise OutputError("no room")

    remote = RemoteFile(server.url(), None, None, "nobody")
    with pytest.raises(OutputError, match="no room"):
        download_transfer.fetch(remote, tmp_path / "data.tar.gz", QUICK, full)
    assert asked == [len(BODY)]


def test_place_that_cannot_be_written_is_an_output_error(
    server: HostileServer, tmp_path: Path
) -> None:
    (tmp_path / "data.tar.gz.part").mkdir()
    with pytest.raises(OutputError, match=r"data\.tar\.gz\.part cannot be written"):
        get(server, tmp_path)


def test_interruption_by_the_user_keeps_the_part(
    server: HostileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    server.fail(Fault("cut", HALF))
    with monkeypatch.context() as patch:
        patch.setattr(download_transfer.time, "sleep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            get(server, tmp_path)
    assert "the next call goes on from there" in caplog.text
    get(server, tmp_path)
    assert_whole(tmp_path)
    assert server.ranges() == ["", f"bytes={HALF}-"]
