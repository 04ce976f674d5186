"""A file on a web server, read in pieces: as a file on disk to the library that reads tracks."""

from __future__ import annotations

import http.client
import io
import re
import time
from collections import OrderedDict
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from simplechrome.errors import InputFormatError, MissingInputError, SimpleChromeError
from simplechrome.sources.download_http import (
    Interruption,
    Patience,
    RangeRefused,
    check_url,
    describe,
    open_url,
)

_BLOCK = 1 << 18
_LONGEST_RUN = 16  # blocks in one request: 4 MiB
_KEPT_BLOCKS = 128  # 32 MiB
_SLOWEST = 1024  # bytes per second that do not count as a stall
_BY_HAND = "download the file, for example with curl -O, and name the local copy"


class _State(NamedTuple):
    """What tells whether the file is still the same: its length, and what the server says."""

    length: int
    etag: str
    modified: str


def is_url(path: object) -> bool:
    """Does this name a file on a web server rather than one on disk?"""
    return str(path).lower().startswith(("http://", "https://"))


def shown_url(url: str) -> str:
    """How to name this file in a message? Without the query, which may hold a signature."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class RangeFile(io.RawIOBase):
    """What does the file at this address hold, byte for byte?

    Nothing is fetched twice while it is in the cache (32 MiB). A reader that goes forward gets
    longer and longer pieces, up to 4 MiB; one that jumps gets 256 KiB at a time.

    Parameters
    ----------
    url
        http or https.
    patience
        How long the server may be silent, and how often it is asked again.

    Attributes
    ----------
    error
        What made a read fail. Libraries that call `read` from another language lose the exception;
        here it waits for whoever called them.

    Raises
    ------
    MissingInputError
        If the server does not answer, or has no such file.
    InputFormatError
        If it cannot send parts of files, or the file changed in the meantime.
    ConfigError
        If `url` is not the address of a file.
    """

    def __init__(self, url: str, patience: Patience | None = None) -> None:
        super().__init__()
        self.name = shown_url(url)
        self.error: BaseException | None = None
        self._url = check_url(url)
        self._patience = patience or Patience(attempts=3, longest_wait=8.0, longest_asked=60.0)
        self._place = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._expected = 0
        self._run = 1
        self._state: _State | None = None
        self._fetch(0)

    @property
    def length(self) -> int:
        """Bytes in the whole file."""
        return self._state.length if self._state else 0

    def readable(self) -> bool:
        """Can it be read? Yes."""
        return True

    def seekable(self) -> bool:
        """Can it be read from anywhere? Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """From which byte on is read next? Asks nothing of the server."""
        start = (0, self._place, self.length)[whence]
        if start + offset < 0:
            raise ValueError(f"a place before the file's start: {start + offset}")
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        """Which byte is read next?"""
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Which bytes come next? As many as one block holds, none at the end."""
        if self._place >= self.length or not len(buffer):
            return 0
        number, offset = divmod(self._place, _BLOCK)
        try:
            data = memoryview(self._block(number))[offset : offset + len(buffer)]
        except BaseException as error:
            self.error = error
            raise
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            self._fetch(number)
        self._blocks.move_to_end(number)
        return self._blocks[number]

    def _fetch(self, first: int) -> None:
        """Fetch this block, and more behind it if the reader has gone forward so far."""
        near = self._expected <= first <= self._expected + self._run
        self._run = min(2 * self._run, _LONGEST_RUN) if near and first else 1
        last = first + 1
        while last < first + self._run and last not in self._blocks:
            last += 1
        end = last * _BLOCK
        if self._state:
            end = min(end, self.length)
        data = self._receive(first * _BLOCK, end)
        for start in range(0, len(data), _BLOCK):
            self._blocks[first + start // _BLOCK] = bytes(data[start : start + _BLOCK])
        # The block that was asked for is the last to go.
        if data:
            self._blocks.move_to_end(first)
        while len(self._blocks) > _KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        self._expected = last

    def _receive(self, start: int, end: int) -> bytearray:
        """Bytes from start to end, or to the file's end if its length was not known before."""
        data = bytearray()
        failures = 0
        while start + len(data) < end:
            before = len(data)
            wait = None
            try:
                self._ask(data, start + before, end)
                reason = "less came than was asked for"
            except Interruption as trouble:
                reason, wait = trouble.reason, trouble.wait
            except MissingInputError as error:
                # Its way out is that of the published archive.
                raise _with_own_remedy(error, self._url, self.name) from None
            if self._state:
                end = min(end, self.length)
            if start + len(data) >= end:
                break
            failures = 1 if len(data) > before else failures + 1
            if failures >= self._patience.attempts:
                raise MissingInputError(
                    f"{self.name} cannot be read.",
                    found=f"{reason}; {failures} failures in a row at byte {start + len(data):,}",
                    cause="no connection, a firewall or proxy, or the server is down or busy",
                    remedy=f"try again later, or {_BY_HAND}",
                )
            time.sleep(self._patience.wait(failures, wait))
        return data

    def _ask(self, data: bytearray, start: int, end: int) -> None:
        """Add what one answer brings."""
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        try:
            response = open_url(self._url, self._patience, headers)
        except RangeRefused as refusal:
            self._refused(refusal.content_range)
            return
        with response:
            wanted = min(self._check(response, start), end) - start
            deadline = time.monotonic() + self._patience.timeout
            received = 0
            try:
                while received < wanted:
                    block = response.read1(min(wanted - received, 1 << 16))
                    if not block:
                        raise Interruption("the connection ended in the middle", answered=True)
                    data += block
                    received += len(block)
                    if time.monotonic() > deadline + received / _SLOWEST:
                        raise Interruption("the server sends next to nothing", answered=True)
            except (OSError, http.client.HTTPException) as error:
                raise Interruption(describe(error), answered=True) from None

    def _check(self, response: http.client.HTTPResponse, start: int) -> int:
        """Is this the part that was asked for, of the same file as before? Returns its end."""
        if response.status != 206:
            page = response.headers.get_content_type() == "text/html"
            raise InputFormatError(
                f"{self.name} cannot be read in parts.",
                found=f"HTTP {response.status} with the whole file where a part was asked for",
                expected="206, a part of the file (the server ignores Range)",
                cause="this is a web page: of a portal, or about the file"
                if page
                else "the server does not support it, or a proxy between does not",
                remedy=_BY_HAND,
            )
        said = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", said.strip())
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if not match or int(match[1]) != start or encoding != "identity":
            raise InputFormatError(
                f"{self.name} cannot be read in parts.",
                found=f"the answer holds {said or 'an unknown part'!r}, encoding {encoding}",
                expected=f"bytes from {start} on, and the file's length",
                cause="the server or a proxy handles Range wrongly",
                remedy=_BY_HAND,
            )
        etag = response.headers.get("ETag", "")
        state = _State(int(match[3]), etag, response.headers.get("Last-Modified", ""))
        if self._state is None:
            self._state = state
        elif state != self._state:
            raise self._changed(state)
        return int(match[2]) + 1

    def _refused(self, content_range: str) -> None:
        """No such bytes: the file is empty, or has become shorter."""
        match = re.fullmatch(r"bytes \*/(\d+)", content_range.strip())
        state = _State(int(match[1]) if match else 0, "", "")
        if self._state is None and not state.length:
            self._state = state
            return
        raise self._changed(state)

    def _changed(self, now: _State) -> SimpleChromeError:
        before = self._state or now
        return InputFormatError(
            f"{self.name} changed while it was read.",
            found=f"{_described(now)} now, {_described(before)} before",
            expected="the same file from the first byte to the last",
            cause="somebody replaced it, or several servers with different copies answer",
            remedy=f"try again, or {_BY_HAND}",
        )


def _described(state: _State) -> str:
    words = [f"{state.length:,} bytes"]
    words += [f"ETag {state.etag}"] if state.etag else []
    words += [f"of {state.modified}"] if state.modified else []
    return ", ".join(words)


def _with_own_remedy(error: MissingInputError, url: str, name: str) -> MissingInputError:
    return MissingInputError(
        error.problem.replace(url, name),
        found=error.found,
        expected=error.expected,
        cause=error.cause,
        remedy=f"check the address in a browser; or {_BY_HAND}",
    )
