"""Files on web servers and in object stores, read in pieces; one error for what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pyBigWig
import pytest
from http_server import Fault, FaultyServer

from simplechrome.errors import (
    ConfigError,
    InputFormatError,
    MissingInputError,
    SimpleChromeError,
)
from simplechrome.sources import remote
from simplechrome.sources.remote import RemoteFile, shown_url
from simplechrome.sources.tracks.bigwig import bigwig_chromosomes, bin_bigwig
from simplechrome.sources.tracks.windows import Windows

TRACK = "/track.bw"
BODY = np.random.default_rng(0).bytes(3_000_000)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "WAITS", (0.01, 0.01))


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer({TRACK: BODY}) as running:
        yield running


def test_pieces_are_those_of_the_file_and_are_fetched_once(server: FaultyServer) -> None:
    with RemoteFile(server.url(TRACK)) as file:
        for place, size in [(2_999_990, 100), (5, 10), (1_500_000, 20), (7, 3), (0, 1_100_000)]:
            assert file.seek(place) == place
            assert file.read(size) == BODY[place : place + size]
        assert file.seek(0, 2) == len(BODY)
        assert file.read(10) == b""
    assert server.n_sent <= len(BODY) + 3


@pytest.mark.parametrize("fault", [Fault("status", status=503), Fault("cut", 1000)])
def test_what_may_pass_is_tried_again(server: FaultyServer, fault: Fault) -> None:
    server.fail(fault, path=TRACK)
    with RemoteFile(server.url(TRACK)) as file:
        assert file.read(100_000) == BODY[:100_000]


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (Fault("status", status=403), MissingInputError, r"track\.bw cannot be read: HTTP 403"),
        (Fault("status", status=404), MissingInputError, "no such file"),
        (Fault("status", status=503), MissingInputError, "HTTP 503"),
        (Fault("silence"), MissingInputError, "time-out"),
        (Fault("ignore range"), InputFormatError, "cannot be read in parts"),
    ],
    ids=lambda value: value.kind + str(value.status) if isinstance(value, Fault) else "",
)
def test_failure_is_one_error_that_waits_for_the_caller(
    server: FaultyServer, fault: Fault, error: type, message: str
) -> None:
    server.fail(*[fault] * 9, path=TRACK)
    file = RemoteFile(server.url(TRACK), 0.2)
    file.seek(2_000_000)
    with pytest.raises(error, match=message) as caught:
        file.read(10)
    assert file.error is caught.value
    assert "curl -O" in str(caught.value)


def test_absent_file_and_server_are_named() -> None:
    with FaultyServer() as server, pytest.raises(MissingInputError, match="no such file"):
        RemoteFile(server.url("/none.bw"))
    with pytest.raises(MissingInputError, match="no connection, a firewall or a proxy"):
        RemoteFile(server.url(TRACK))


@pytest.mark.parametrize("url", ["http://", "ftp://host/a.bw", "file:///etc/passwd"])
def test_other_addresses_are_invalid(url: str) -> None:
    with pytest.raises(ConfigError, match="is not an address"):
        RemoteFile(url)


def test_file_that_is_replaced_is_an_error(server: FaultyServer) -> None:
    with (
        pytest.raises(InputFormatError, match="replaced while it was read"),
        RemoteFile(server.url(TRACK)),
    ):
        server.files[TRACK] = BODY[:-1]


def test_empty_file_has_no_bytes(server: FaultyServer) -> None:
    server.files[TRACK] = b""
    with RemoteFile(server.url(TRACK)) as file:
        assert file.read(10) == b""


def test_store_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", absent)
    with pytest.raises(MissingInputError, match=r"(?s)Install s3fs.*simplechrome\[remote\]"):
        RemoteFile("s3://bucket/a.bw")


@pytest.mark.parametrize(
    "error", [PermissionError("Forbidden"), type("NoCredentialsError", (OSError,), {})()]
)
def test_denied_access_names_the_remedy(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(fsspec.core, "url_to_fs", denied)
    with pytest.raises(MissingInputError, match=r"(?s)access is denied.*FSSPEC_S3_ANON"):
        RemoteFile("s3://bucket/a.bw")


def test_passwords_and_signatures_are_not_shown() -> None:
    assert shown_url("https://me:secret@host/a.bw?signature=x") == "https://host/a.bw"


# bigWigs


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("track") / "track.bw"
    file = pyBigWig.open(str(path), "w")
    file.addHeader([("chr1", 8_000_000)])
    ends = np.arange(20, 8_000_001, 20)
    values = np.random.default_rng(0).gamma(1, 1, len(ends))
    file.addEntries(["chr1"] * len(ends), ends - 20, ends=ends, values=values)
    file.close()
    return path


WINDOWS = Windows(
    np.full(4, "chr1", object),
    np.array([0, 7_990_000, 2_000_000, 2_005_000], np.int64),
    np.zeros(4, bool),
    100,
    100,
)


@pytest.mark.parametrize("scheme", ["http", "memory"])
def test_bigwig_elsewhere_gives_the_same_numbers(
    server: FaultyServer, track: Path, scheme: str
) -> None:
    server.files[TRACK] = track.read_bytes()
    fsspec.filesystem("memory").pipe(TRACK, track.read_bytes())
    url = server.url(TRACK) if scheme == "http" else "memory:/" + TRACK
    there, here = bin_bigwig(url, WINDOWS), bin_bigwig(track, WINDOWS)
    np.testing.assert_array_equal(there.values, here.values)
    np.testing.assert_array_equal(there.observed, here.observed)
    assert there.depth == here.depth
    assert server.n_sent < len(server.files[TRACK])


def test_failure_on_the_way_is_not_called_damage(server: FaultyServer, track: Path) -> None:
    server.files[TRACK] = track.read_bytes()
    # The first two pieces are header and end of the file; the third is for the library.
    server.fail(Fault("none"), Fault("none"), *[Fault("status", status=404)] * 9, path=TRACK)
    with pytest.raises(MissingInputError, match="no such file"):
        bin_bigwig(server.url(TRACK), WINDOWS)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>Not found</html>", r"(?s)http.*/track.bw is not a bigWig.*a web page"),
        (b"", "is empty"),
    ],
)
def test_other_files_are_errors_with_the_address(
    server: FaultyServer, body: bytes, message: str
) -> None:
    server.files[TRACK] = body
    with pytest.raises(SimpleChromeError, match=message):
        bigwig_chromosomes(server.url(TRACK))
