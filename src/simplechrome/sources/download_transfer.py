"""One large file over HTTP: resumed where it was left, and kept only when it is the right one.

While it is on its way the file is called NAME.part, with NAME.part.json beside it that says of
what it is a part. It gets its name when size and checksum are right; NAME.json then says what
was checked.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import re
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from simplechrome.errors import InputFormatError, MissingInputError, OutputError, SimpleChromeError
from simplechrome.sources.download_http import (
    BY_HAND,
    Interruption,
    Patience,
    RangeRefused,
    describe,
    looks_like_page,
    open_url,
    unreachable,
)
from simplechrome.sources.download_origin import (
    BLOCK,
    Origin,
    origin_path,
    read_origin,
    write_origin,
)
from simplechrome.sources.download_progress import Progress, size_text
from simplechrome.sources.download_record import RemoteFile

logger = logging.getLogger(__name__)

_WORTH = 1 << 20  # Bytes gained that make a failure count as the first one again.
_SLOWEST = 1000  # Bytes a second; less is a stall.


class _StartOver(Exception):  # noqa: N818 - a turn, not an error
    """The bytes so far are of no use: the file changed, or the server does not do ranges."""


class _WrongFile(Exception):  # noqa: N818 - tried once more before it becomes an error
    """What came is not what was expected."""

    def __init__(self, found: str, expected: str) -> None:
        self.found = found
        self.expected = expected
        super().__init__(found)


def fetch(
    remote: RemoteFile,
    target: Path,
    patience: Patience,
    make_room: Callable[[int], None],
) -> Origin:
    """Is the remote file now whole at `target`?

    Goes on with what an earlier call left. A result with a wrong size or checksum is removed and
    fetched once more from the start.

    Parameters
    ----------
    make_room
        Called with the number of bytes still to come, once it is known, before the first is
        written; raises if they do not fit.

    Raises
    ------
    MissingInputError
        If the server cannot be reached, or fails too often. What has come stays for the next
        call.
    InputFormatError
        If what came is not the file that was promised, twice.
    OutputError
        If there is no room.
    """
    transfer = _Transfer(remote, target, patience, make_room)
    for attempt in (1, 2):
        try:
            return transfer.run()
        except _WrongFile as wrong:
            transfer.discard()
            if attempt == 2:
                raise InputFormatError(
                    f"{remote.url} is not the file that was expected; nothing was kept.",
                    found=wrong.found,
                    expected=wrong.expected,
                    cause="the server or a proxy sends another file or a damaged one",
                    remedy=f"{BY_HAND}. If another archive is meant, say so: "
                    "--checksum ALGORITHM:HEX",
                ) from None
            logger.warning(
                "%s: found %s, expected %s. Fetching it once more from the start.",
                target.name,
                wrong.found,
                wrong.expected,
            )
    raise AssertionError("not reached")


class _Transfer:
    """The state of one file on its way: bytes so far, their digest, and of what they are."""

    def __init__(
        self,
        remote: RemoteFile,
        target: Path,
        patience: Patience,
        make_room: Callable[[int], None],
    ) -> None:
        self._remote = remote
        self._target = target
        self._part = target.with_name(target.name + ".part")
        self._patience = patience
        self._make_room = make_room
        # SHA-256 where nobody says otherwise; MD5, as the record has it, is not for security.
        self._algorithm = (remote.checksum or "sha256:").partition(":")[0]
        self._begin()

    def _begin(self) -> None:
        self._digest = hashlib.new(self._algorithm, usedforsecurity=False)
        self._offset = 0
        self._origin = Origin(
            self._remote.url, self._remote.size, self._remote.checksum, self._remote.vouched_by
        )

    def discard(self) -> None:
        self._part.unlink(missing_ok=True)
        origin_path(self._part).unlink(missing_ok=True)
        self._begin()

    def run(self) -> Origin:
        try:
            self._take_up()
            with Progress(self._target.name, self._origin.size, self._offset) as progress:
                self._progress = progress
                self._until_whole()
            return self._finish()
        except OSError as error:
            raise _cannot_write(self._part, error) from error
        except KeyboardInterrupt:
            logger.warning(
                "Interrupted at %s; the next call goes on from there.", size_text(self._offset)
            )
            raise

    def _take_up(self) -> None:
        """Go on with an earlier call's part, if it is known to be of this file."""
        earlier = read_origin(origin_path(self._part))
        size = self._part.stat().st_size if self._part.exists() else 0
        if not size or earlier is None or not self._is_part_of_this(earlier, size):
            self.discard()
            if self._remote.size is not None:
                self._make_room(self._remote.size)
            return
        self._make_room((self._remote.size or earlier.size or size) - size)
        with self._part.open("rb") as file, Progress("checking the part", size) as progress:
            while block := file.read(BLOCK):
                self._digest.update(block)
                progress.add(len(block))
        self._offset = size
        if earlier.url == self._remote.url:
            self._origin = Origin(
                self._remote.url,
                self._remote.size or earlier.size,
                self._remote.checksum,
                self._remote.vouched_by,
                earlier.etag,
                earlier.last_modified,
            )
        logger.info("%s: going on at %s", self._target.name, size_text(size))

    def _is_part_of_this(self, earlier: Origin, size: int) -> bool:
        if earlier.size is not None and self._remote.size not in (None, earlier.size):
            return False
        whole = self._remote.size or earlier.size
        if whole is not None and size > whole:
            return False
        if self._remote.checksum is not None:
            # Whatever the server: the checksum decides in the end.
            return earlier.checksum == self._remote.checksum
        # Without a checksum only the server can say whether its file is still the same.
        return earlier.url == self._remote.url and bool(earlier.validator)

    def _until_whole(self) -> None:
        failures, best, n_interruptions = 0, self._offset, 0
        answered = False
        while True:
            try:
                if self._origin.size is None or self._offset < self._origin.size:
                    self._request()
                break
            except _StartOver as turn:
                self.discard()
                trouble = Interruption(str(turn), wait=0.0, answered=True)
            except Interruption as interruption:
                trouble = interruption
            n_interruptions += 1
            answered = answered or trouble.answered
            failures = 1 if self._offset >= best + _WORTH else failures + 1
            best = max(best, self._offset)
            if failures >= (self._patience.attempts if answered else self._patience.first_attempts):
                raise unreachable(
                    self._remote.url,
                    f"{trouble.reason}; {failures} attempts in a row without progress",
                    cause=f"{size_text(self._offset)} are kept: the same command goes on from "
                    "there. A bad connection, or a server that is down or overloaded"
                    if self._offset
                    else "",
                )
            wait = self._patience.wait(failures, trouble.wait)
            level = logging.INFO if n_interruptions == 1 else logging.DEBUG
            logger.log(
                level,
                "%s: %s at %s; trying again in %.0f s",
                self._target.name,
                trouble.reason,
                size_text(self._offset),
                wait,
            )
            time.sleep(wait)
        if n_interruptions:
            logger.info("%s: whole after %d interruptions", self._target.name, n_interruptions)

    def _request(self) -> None:
        headers = {"Accept-Encoding": "identity"}
        if self._offset and self._remote.checksum is None and not self._origin.validator:
            self.discard()  # Nobody could say that both pieces are of one file.
        if self._offset:
            headers["Range"] = f"bytes={self._offset}-"
            if self._origin.validator:
                headers["If-Range"] = self._origin.validator
        try:
            response = open_url(self._remote.url, self._patience, headers)
        except RangeRefused as refused:
            if refused.content_range.strip() == f"bytes */{self._offset}" and self._offset:
                return  # Of a file whose size nobody had told: it was whole.
            raise _StartOver(f"no range from {self._offset:,} on (416)") from None
        with closing(response):
            if response.status == 206:
                self._check_range(response)
            elif response.status == 200:
                self._restart(response)
            else:
                raise unreachable(
                    self._remote.url, f"HTTP {response.status}", expected="200 or 206"
                )
            self._receive(response)

    def _check_range(self, response: http.client.HTTPResponse) -> None:
        text = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", text.strip())
        if not self._offset or not match or int(match[1]) != self._offset:
            raise _StartOver(f"the range {text!r} where {self._offset:,} was asked for")
        total = None if match[3] == "*" else int(match[3])
        if total is not None and self._origin.size not in (None, total):
            raise _StartOver(f"the file has {total:,} bytes now, not {self._origin.size:,}")
        for header, before in (
            ("ETag", self._origin.etag),
            ("Last-Modified", self._origin.last_modified),
        ):
            now = response.headers.get(header, "")
            if before and now and _core(now) != _core(before):
                raise _StartOver(f"the file changed on the server ({header} {now})")
        if self._origin.size is None and total is not None:
            self._know(response, total)

    def _restart(self, response: http.client.HTTPResponse) -> None:
        """The whole file comes: forget what was there."""
        if self._offset:
            logger.info("%s: the server begins again from the start", self._target.name)
        self.discard()
        length = response.length
        if length is not None and self._remote.size not in (None, length):
            if response.headers.get_content_type() == "text/html":
                raise self._page()
            raise _WrongFile(f"{length:,} bytes announced", f"{self._remote.size:,} bytes")
        if self._remote.size is None and length is not None:
            self._make_room(length)
        self._know(response, self._remote.size or length)
        self._progress.move_to(0, self._origin.size)

    def _know(self, response: http.client.HTTPResponse, size: int | None) -> None:
        self._origin = Origin(
            self._remote.url,
            size,
            self._remote.checksum,
            self._remote.vouched_by,
            response.headers.get("ETag", ""),
            response.headers.get("Last-Modified", ""),
        )
        write_origin(origin_path(self._part), self._origin)

    def _receive(self, response: http.client.HTTPResponse) -> None:
        window_start, window_bytes = time.monotonic(), 0
        with self._part.open("ab", buffering=0) as file:
            while True:
                try:
                    block = response.read1(BLOCK)
                except (OSError, http.client.HTTPException) as error:
                    raise Interruption(describe(error), answered=True) from None
                if not block:
                    break
                self._check_block(block)
                file.write(block)
                self._digest.update(block)
                self._offset += len(block)
                self._progress.add(len(block))
                window_bytes += len(block)
                seconds = time.monotonic() - window_start
                if seconds > self._patience.timeout:
                    if window_bytes < _SLOWEST * seconds:
                        raise Interruption("the server sends next to nothing", answered=True)
                    window_start, window_bytes = time.monotonic(), 0
        if self._origin.size is not None and self._offset < self._origin.size:
            raise Interruption(
                f"the connection ended {size_text(self._origin.size - self._offset)} early",
                answered=True,
            )

    def _check_block(self, block: bytes) -> None:
        if self._offset == 0 and looks_like_page(block):
            raise self._page()
        if self._origin.size is not None and self._offset + len(block) > self._origin.size:
            raise _WrongFile("more bytes than that", f"{self._origin.size:,} bytes")

    def _page(self) -> MissingInputError:
        return unreachable(
            self._remote.url,
            "a web page",
            expected="an archive",
            cause="a proxy, firewall or log-in portal answered in the server's place, or the "
            "address is that of a page about the file",
        )

    def _finish(self) -> Origin:
        checksum = f"{self._algorithm}:{self._digest.hexdigest()}"
        if self._remote.checksum not in (None, checksum):
            raise _WrongFile(checksum, str(self._remote.checksum))
        # In this order: a file with its name but without its origin is checked again by the next
        # call, while a stale origin might vouch for it.
        origin_path(self._target).unlink(missing_ok=True)
        self._part.replace(self._target)
        origin = Origin(
            self._remote.url,
            self._offset,
            checksum,
            self._remote.vouched_by,
            self._origin.etag,
            self._origin.last_modified,
            self._target.stat().st_mtime_ns,
        )
        write_origin(origin_path(self._target), origin)
        origin_path(self._part).unlink(missing_ok=True)
        return origin


def _core(validator: str) -> str:
    """An ETag without its mark of weakness."""
    return validator.strip().removeprefix("W/")


def _cannot_write(path: Path, error: OSError) -> SimpleChromeError:
    return OutputError(
        f"{path} cannot be written.",
        found=error.strerror or str(error),
        expected="a place with room and the right to write",
        cause="the disk is full, or a quota is used up; what has come is kept",
        remedy="free space and call again, or choose another folder: --to DIR",
    )
