"""Files on a web server, read in pieces: from servers of every kind."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyBigWig
import pytest

from simplechrome.errors import ConfigError, InputFormatError, MissingInputError
from simplechrome.sources.download_http import Patience
from simplechrome.sources.tracks import remote
from simplechrome.sources.tracks.bigwig import bigwig_chromosomes, bin_bigwig
from simplechrome.sources.tracks.remote import RangeFile, is_url, shown_url
from simplechrome.sources.tracks.windows import Windows

QUICK = Patience(timeout=0.3, attempts=3, first_wait=0.01, longest_wait=0.01)


class Server:
    """Serves one file in parts; `faults` says what goes wrong with each of the next requests."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.faults: list[str] = []
        self.etag = '"a"'
        self.modified = ""
        self.ranges: list[str] = []
        self.n_sent = 0
        self.ending = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                # The client may leave.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    owner.answer(self)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/track.bw"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.ending.set()
        self.http.shutdown()
        self.http.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range", "")
        self.ranges.append(asked)
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "hang":
            self.ending.wait(5)
            return
        if fault.isdigit():
            request.send_response(int(fault))
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if fault == "change":
            self.etag = '"b"'
        if fault == "shrink":
            self.body = self.body[: len(self.body) // 2]
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", asked)
        assert match, asked
        start, end = int(match[1]), min(int(match[2]) + 1, len(self.body))
        part = self.body[start:end]
        if fault == "whole":
            part = self.body
            request.send_response(200)
        elif start >= len(self.body):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(self.body)}")
            part = b""
        else:
            request.send_response(206)
            said = start + 1 if fault == "elsewhere" else start
            request.send_header("Content-Range", f"bytes {said}-{end - 1}/{len(self.body)}")
        request.send_header("Content-Length", str(len(part)))
        if self.etag:
            request.send_header("ETag", self.etag)
        if self.modified:
            request.send_header("Last-Modified", self.modified)
        request.end_headers()
        if fault == "break":
            part = part[: len(part) // 3]
        if fault == "stall":
            request.wfile.write(part[:10])
            self.ending.wait(5)
            return
        request.wfile.write(part)
        self.n_sent += len(part)


@pytest.fixture
def content() -> bytes:
    return np.random.default_rng(0).bytes(3_000_000)


@pytest.fixture
def server(content: bytes) -> Iterator[Server]:
    server = Server(content)
    yield server
    server.close()


def test_every_byte_is_where_it_was(server: Server, content: bytes) -> None:
    with RangeFile(server.url, QUICK) as file:
        assert file.length == 3_000_000
        for place, n_bytes in [(0, 10), (2_999_990, 50), (262_140, 10), (1_500_000, 700_000)]:
            assert file.seek(place) == place
            data = b""
            while len(data) < n_bytes and (more := file.read(n_bytes - len(data))):
                data += more
            assert data == content[place : place + n_bytes]
            assert file.tell() == place + len(data)
        assert file.seek(-5, 2) == 2_999_995
        assert file.read() == content[-5:]
        assert file.read(1) == b""
        with pytest.raises(ValueError, match="before the file's start"):
            file.seek(-1)


def test_a_reader_that_goes_forward_needs_few_requests_and_no_byte_twice(
    server: Server, content: bytes
) -> None:
    with RangeFile(server.url, QUICK) as file:
        assert file.readall() == content
        file.seek(0)
        assert file.readall() == content
    # 1 + 2 + 4 + 8 blocks of 256 KiB hold 3.9 MB.
    assert len(server.ranges) == 4
    assert server.n_sent == len(content)


def test_a_reader_that_jumps_gets_small_pieces(server: Server) -> None:
    with RangeFile(server.url, QUICK) as file:
        for place in (2_900_000, 1_000_000, 2_000_000):
            file.seek(place)
            file.read(10)
    assert server.n_sent <= 4 * (1 << 18)


def test_memory_is_bounded(server: Server, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_BLOCK", 1 << 16)
    monkeypatch.setattr(remote, "_KEPT_BLOCKS", 20)
    with RangeFile(server.url, QUICK) as file:
        assert file.readall() == content
        assert len(file._blocks) == 20


@pytest.mark.parametrize("fault", ["503", "429", "break", "hang", "stall"])
def test_trouble_that_passes_is_not_noticed(server: Server, content: bytes, fault: str) -> None:
    server.faults = ["", fault, "", fault]
    with RangeFile(server.url, QUICK) as file:
        assert file.readall() == content


@pytest.mark.parametrize(
    ("faults", "found"),
    [
        (["hang"] * 9, "time-out"),
        (["503"] * 9, "HTTP 503"),
        # The first brings ten bytes: progress, after which the count begins again.
        (["stall"] + ["hang"] * 9, "time-out.*at byte 10"),
    ],
)
def test_trouble_that_stays_is_a_missing_input(
    server: Server, faults: list[str], found: str
) -> None:
    server.faults = faults
    begin = time.monotonic()
    with pytest.raises(MissingInputError, match=rf"(?s)cannot be read.*{found}.*download the file"):
        RangeFile(server.url, QUICK)
    assert time.monotonic() - begin < 4


def test_no_such_file_is_not_asked_for_again(server: Server) -> None:
    server.faults = ["404"] * 9
    with pytest.raises(MissingInputError, match=r"(?s)track.bw cannot be fetched.*404.*moved") as e:
        RangeFile(server.url, QUICK)
    assert len(server.ranges) == 1
    assert "data.tar.gz" not in str(e.value)
    assert "download the file" in e.value.remedy


def test_no_server_is_a_missing_input(server: Server) -> None:
    server.close()
    with pytest.raises(MissingInputError, match=r"(?s)cannot be read.*refused"):
        RangeFile(server.url, QUICK)


def test_a_server_without_parts_is_told_from_its_first_answer() -> None:
    server = Server(bytes(50_000_000))
    server.faults = ["whole"] * 9
    with pytest.raises(InputFormatError, match=r"(?s)in parts.*ignores Range.*download the file"):
        RangeFile(server.url, QUICK)
    assert len(server.ranges) == 1
    server.close()
    # What the sockets' buffers hold, and not the file.
    assert server.n_sent == 0


def test_another_part_than_asked_for_is_an_error(server: Server) -> None:
    server.faults = ["elsewhere"]
    with pytest.raises(InputFormatError, match=r"(?s)in parts.*bytes 1-"):
        RangeFile(server.url, QUICK)


@pytest.mark.parametrize(
    ("fault", "found"), [("change", 'ETag "b" now'), ("shrink", "1,500,000 bytes")]
)
def test_a_file_that_changes_is_an_error(server: Server, fault: str, found: str) -> None:
    server.faults = ["", fault]
    with RangeFile(server.url, QUICK) as file:
        file.seek(2_900_000)
        with pytest.raises(InputFormatError, match=rf"(?s)changed while it was read.*{found}"):
            file.read(10)
        assert isinstance(file.error, InputFormatError)


def test_an_empty_file_has_no_bytes(server: Server) -> None:
    server.body = b""
    with RangeFile(server.url, QUICK) as file:
        assert file.length == 0
        assert file.read(10) == b""


def test_urls_are_told_from_paths() -> None:
    assert is_url("https://a/b.bw")
    assert is_url("HTTP://a/b.bw")
    assert not is_url("data/http.bw")
    assert not is_url(Path("a.bw"))
    with pytest.raises(ConfigError, match="not an address"):
        RangeFile("http://", QUICK)


def test_passwords_and_signatures_are_not_shown() -> None:
    assert shown_url("https://me:secret@host/a.bw?signature=x") == "https://host/a.bw"


@pytest.fixture
def track(tmp_path: Path) -> Path:
    file = pyBigWig.open(str(tmp_path / "track.bw"), "w")
    file.addHeader([("chr1", 4_000_000)])
    ends = np.arange(20, 4_000_001, 20)
    values = np.random.default_rng(0).gamma(1, 1, len(ends))
    file.addEntries(["chr1"] * len(ends), ends - 20, ends=ends, values=values)
    file.close()
    return tmp_path / "track.bw"


@pytest.fixture
def windows() -> Windows:
    start = np.array([0, 3_990_000, 2_000_000, 2_005_000], np.int64)
    return Windows(np.full(4, "chr1", object), start, np.zeros(4, bool), 100, 100)


def test_a_bigwig_on_a_server_gives_the_same_numbers(
    server: Server, track: Path, windows: Windows
) -> None:
    server.body = track.read_bytes()
    there = bin_bigwig(server.url, windows)
    here = bin_bigwig(track, windows)
    np.testing.assert_array_equal(there.values, here.values)
    np.testing.assert_array_equal(there.observed, here.observed)
    assert there.depth == here.depth
    assert server.n_sent < len(server.body)


def test_what_goes_wrong_on_the_way_is_not_called_damage(
    server: Server, track: Path, windows: Windows
) -> None:
    server.body = track.read_bytes()
    # Header and end are read by the first two requests; the third answers the library.
    server.faults = ["", "", "404"]
    with pytest.raises(MissingInputError, match="HTTP 404"):
        bin_bigwig(server.url, windows)


def test_other_files_and_cut_ones_are_errors_with_the_address(server: Server, track: Path) -> None:
    server.body = b"<html>Not found</html>"
    with pytest.raises(InputFormatError, match=r"(?s)http.*/track.bw is not a bigWig.*a web page"):
        bigwig_chromosomes(server.url)
    server.body = track.read_bytes()[:50_000]
    with pytest.raises(InputFormatError, match="is cut off"):
        bigwig_chromosomes(server.url)
    server.body = b""
    with pytest.raises(InputFormatError, match="is empty"):
        bigwig_chromosomes(server.url)


def test_a_silent_server_ends_by_our_own_timeout(
    server: Server, windows: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults = ["hang"] * 9
    monkeypatch.setattr(Patience, "wait", lambda *_: 0.01)
    begin = time.monotonic()
    with pytest.raises(MissingInputError, match="time-out"):
        bin_bigwig(server.url, windows, timeout=0.2)
    assert time.monotonic() - begin < 4
