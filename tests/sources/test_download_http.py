"""What a server cannot give, or should not, is one error that says what to do by hand."""

from __future__ import annotations

import email.utils
import io
import time
from pathlib import Path

import pytest
from download_archives import tree
from download_file import BODY, QUICK, assert_whole, get
from http_server import ARCHIVE, Fault, HostileServer, md5

from simplechrome.errors import MissingInputError
from simplechrome.sources import download_http, download_transfer
from simplechrome.sources.download_http import Patience
from simplechrome.sources.download_record import RemoteFile


@pytest.mark.parametrize("status", [401, 403, 404, 407, 410, 451, 501])
def test_refusal_is_final_and_says_what_to_do(
    server: HostileServer, tmp_path: Path, status: int
) -> None:
    server.fail(Fault("status", status=status, body=b"<html>Forbidden</html>"))
    with pytest.raises(MissingInputError) as error:
        get(server, tmp_path)
    assert f"HTTP {status}" in str(error.value)
    assert "with a web page" in str(error.value)
    assert "in a browser" in str(error.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("known", [True, False])
def test_web_page_in_place_of_the_archive_is_named(
    server: HostileServer, tmp_path: Path, known: bool
) -> None:
    page = b"<!DOCTYPE html><html>Please log in to the network</html>"
    server.fail(Fault("other", body=page, headers={"Content-Type": "text/html; charset=utf-8"}))
    with pytest.raises(MissingInputError, match=r"a web page(.|\n)*log-in portal"):
        get(
            server,
            tmp_path,
            size=len(BODY) if known else None,
            checksum=md5(BODY) if known else None,
        )
    assert not (tmp_path / "data.tar.gz").exists()


def test_redirects_are_followed(server: HostileServer, tmp_path: Path) -> None:
    for status in (301, 302, 303, 307, 308):
        server.fail(Fault("status", status=status, headers={"Location": "/elsewhere"}))
        server.files["/elsewhere"] = BODY
        folder = tmp_path / str(status)
        folder.mkdir()
        get(server, folder)
        assert_whole(folder)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:text,hi"])
def test_redirects_leave_http_nowhere(server: HostileServer, tmp_path: Path, location: str) -> None:
    server.fail(Fault("status", status=302, headers={"Location": location}))
    with pytest.raises(MissingInputError, match=r"cannot be fetched"):
        get(server, tmp_path)
    assert "data.tar.gz" not in tree(tmp_path)


def test_redirect_from_https_to_http_is_refused() -> None:
    request = download_http.urllib.request.Request("https://zenodo.org/data.tar.gz")
    with pytest.raises(MissingInputError, match="expected: a redirect to https"):
        download_http._Redirects().redirect_request(
            request,
            io.BytesIO(),
            302,
            "",
            None,
            "http://mirror.org/x",
        )


def test_redirects_in_a_circle_end(server: HostileServer, tmp_path: Path) -> None:
    server.fail(*[Fault("status", status=302, headers={"Location": ARCHIVE})] * 40)
    with pytest.raises(MissingInputError, match="cannot be fetched"):
        get(server, tmp_path)


def test_server_that_is_not_there_is_soon_given_up(tmp_path: Path) -> None:
    with HostileServer() as server:
        pass
    began = time.monotonic()
    with pytest.raises(MissingInputError, match=r"Connection refused(.|\n)*--source"):
        get(server, tmp_path)
    assert time.monotonic() - began < 2


def test_unknown_host_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise download_http.socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(download_http.socket, "getaddrinfo", fail)
    with (
        HostileServer() as server,
        pytest.raises(MissingInputError, match=r"name is not known here(.|\n)*in a browser"),
    ):
        get(server, tmp_path)


def test_https_to_a_server_that_speaks_plain_http_is_one_error(
    server: HostileServer, tmp_path: Path
) -> None:
    remote = RemoteFile(server.url().replace("http:", "https:"), None, None, "nobody")
    with pytest.raises(MissingInputError, match=r"SSL|TLS|closed|reset"):
        download_transfer.fetch(remote, tmp_path / "x", QUICK, lambda n_bytes: None)


def test_certificate_that_does_not_hold_is_final() -> None:
    error = download_http.ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    trouble = download_http._connection_error("https://zenodo.org/x", error)
    assert isinstance(trouble, MissingInputError)
    assert "self-signed certificate" in str(trouble)
    assert "SSL_CERT_FILE" in str(trouble)


def test_proxy_of_the_environment_is_used(
    server: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The request for a host that does not exist arrives at the proxy, with its whole address.
    server.files["http://archive.invalid/data.tar.gz"] = BODY
    monkeypatch.setenv("http_proxy", server.url(""))
    remote = RemoteFile("http://archive.invalid/data.tar.gz", len(BODY), md5(BODY), "record")
    download_transfer.fetch(remote, tmp_path / "data.tar.gz", QUICK, lambda n_bytes: None)
    assert_whole(tmp_path)


def test_wait_grows_and_is_drawn_at_random() -> None:
    patience = Patience(first_wait=1, longest_wait=60)
    for n_failures, longest in ((1, 1), (2, 2), (3, 4), (7, 60), (5000, 60)):
        waits = {patience.wait(n_failures, None) for _ in range(50)}
        assert len(waits) > 40
        assert 2 / 3 * longest <= min(waits) <= max(waits) <= longest


def test_wait_that_the_server_asks_for_is_kept_up_to_a_cap(
    server: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    monkeypatch.setattr(download_transfer.time, "sleep", asked.append)
    in_a_minute = email.utils.formatdate(time.time() + 60, usegmt=True)
    an_hour_ago = email.utils.formatdate(time.time() - 3600, usegmt=True)
    reset = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 30)}
    for headers in (
        {"Retry-After": "7"},
        {"Retry-After": in_a_minute},
        {"Retry-After": an_hour_ago},
        {"Retry-After": "86400"},
        reset,
        {"Retry-After": "soon"},
    ):
        server.fail(Fault("status", status=503, headers=headers))
    get(server, tmp_path, patience=Patience(timeout=1, attempts=9, longest_asked=600))
    # A file's waits: 7 s, a minute, none, the cap, 30 s; then one's own sixth, 32 s at most.
    assert asked[0] == 7
    assert 58 <= asked[1] <= 60
    assert asked[2:4] == [0, 600]
    assert 28 <= asked[4] <= 30
    assert 21 <= asked[5] <= 32
