"""Which members does a tar archive have, front to back, if nobody trusts it?

Python's tarfile reads the headers, on a stream that only goes forward and counts: so no header
can ask for much memory, and no archive for more bytes than its size explains.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from simplechrome.errors import InputFormatError
from simplechrome.sources.provenance import unreadable

BLOCK = 1 << 20

LARGEST_EXPANSION = 100
"""Unpacked bytes for each of the archive's. Tables of counts reach 5, gzip's own limit is 1032."""

ALWAYS_ALLOWED = 64_000_000
"""Unpacked bytes that are no bomb, however small the archive."""

MOST_MEMBERS = 10_000
"""The published archive has a few hundred."""

_HEADER_BYTES = 1 << 16

# What tarfile and the decompressor raise on broken or contrived input.
_BROKEN = (
    tarfile.TarError,
    pa.ArrowException,
    OSError,
    EOFError,
    ValueError,
    ArithmeticError,
    LookupError,
)


class _Refusal(Exception):  # noqa: N818 - becomes an InputFormatError with the archive's name
    """The archive asks for what no honest one would."""


def refused(archive: Path, what: str, reason: str) -> InputFormatError:
    """Which error says that something in this archive is not taken, and why?"""
    return InputFormatError(
        f"{archive.name} is refused: {what} is {reason}.",
        found=f"{what}: {reason}",
        expected="an archive of folders and ordinary files, CELL_TYPE/classification/"
        "{train,valid,test}.csv among them once each",
        cause="it is not the published archive, or somebody changed it; nothing of it was kept",
        remedy=f"delete {archive} and fetch the archive from its publisher",
    )


def damaged(archive: Path, found: str) -> InputFormatError:
    """Which error says that this archive is not whole?"""
    return InputFormatError(
        f"{archive} is damaged, or no tar archive.",
        found=found,
        expected="a .tar.gz or .tar that is whole",
        cause="another kind of file, or the download or copy was interrupted",
        remedy=f"delete {archive} and fetch it again",
    )


class _Forward(io.RawIOBase):
    """A stream that tarfile takes for a file, though it only goes forward."""

    def __init__(self, stream: pa.NativeFile, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._position = 0
        self.header_bytes = 0
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        """Read for a header: little at a time, and in all."""
        self.header_bytes -= size
        if size < 0 or self.header_bytes < 0:
            raise _Refusal(f"a header of more than {_HEADER_BYTES:,} bytes")
        self.last = self.read_data(size)
        return self.last

    def read_data(self, size: int) -> bytes:
        parts = []
        while size > 0 and (part := self._stream.read(min(size, BLOCK))):
            parts.append(part)
            size -= len(part)
            self._position += len(part)
            if self._position > self._limit:
                raise _Refusal(
                    f"more than {self._limit:,} bytes unpacked, {LARGEST_EXPANSION} times its size"
                    if self._limit > ALWAYS_ALLOWED
                    else f"more than {self._limit:,} bytes unpacked"
                )
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self._position:
            raise _Refusal("a member that lies before its own header")
        while self._position < offset and self.read_data(min(BLOCK, offset - self._position)):
            pass
        return self._position

    def tell(self) -> int:
        return self._position


class Member:
    """One member, while the archive stands at it."""

    def __init__(self, info: tarfile.TarInfo, stream: _Forward, archive: Path) -> None:
        self.info = info
        self._stream = stream
        self._archive = archive

    def blocks(self) -> Iterator[bytes]:
        """What does it hold? Blocks of up to 1 MB; read at once, or never."""
        left = self.info.size
        while left:
            try:
                block = self._stream.read_data(min(left, BLOCK))
            except _BROKEN as error:
                raise damaged(self._archive, f"inside of {self.info.name}: {error}") from None
            if not block:
                raise damaged(self._archive, f"it ends inside of {self.info.name}")
            left -= len(block)
            yield block


@contextmanager
def open_tar(path: Path) -> Iterator[tuple[Iterator[Member], pa.NativeFile, int]]:
    """Which members does this .tar.gz or .tar have?

    Yields the members; the file on disk, whose `tell` says how far the reading is; and the most
    bytes that may come out of it. The members are to be read to the end: only then are the
    archive's end and checksum known to be right.

    Raises
    ------
    MissingInputError
        If the file cannot be read.
    InputFormatError
        If it is no archive, is damaged or cut off, or would unpack to more than
        `LARGEST_EXPANSION` times its size.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
        raw = pa.OSFile(str(path))
    except OSError as error:
        raise unreadable(path, error) from None
    limit = max(LARGEST_EXPANSION * size, ALWAYS_ALLOWED)
    with raw:
        buffered = pa.BufferedInputStream(raw, BLOCK)
        stream = pa.CompressedInputStream(buffered, "gzip") if is_gzip else buffered
        forward = _Forward(stream, limit)
        members = _members(path, forward)
        try:
            yield members, raw, limit
        except _Refusal as refusal:
            raise refused(path, "the archive", str(refusal)) from None


def _members(path: Path, stream: _Forward) -> Iterator[Member]:
    n_members = 0
    try:
        stream.header_bytes = _HEADER_BYTES
        archive = tarfile.TarFile(fileobj=stream, mode="r")
        while True:
            stream.header_bytes = _HEADER_BYTES
            info = archive.next()
            if info is None:
                break
            n_members += 1
            if n_members > MOST_MEMBERS:
                raise _Refusal(f"of more than {MOST_MEMBERS:,} members")
            yield Member(info, stream, path)
        _check_end(archive, stream)
    except _BROKEN as error:
        raise damaged(path, f"after {n_members} members: {error}") from None


def _check_end(archive: tarfile.TarFile, stream: _Forward) -> None:
    """Is this the true end? tarfile stops at a broken or cut header without a word.

    Reading on to the last byte also lets gzip check its length and checksum.
    """
    if stream.tell() < archive.offset + tarfile.BLOCKSIZE:
        raise tarfile.ReadError("no end-of-archive mark")
    if stream.last.strip(b"\0"):
        raise tarfile.ReadError("a broken header")
    while block := stream.read_data(BLOCK):
        if block.strip(b"\0"):
            raise tarfile.ReadError("data after the end of the archive")
