"""Files as they are named in a dataset's record, and those that cannot be opened."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path
from typing import TypedDict

from simplechrome.errors import MissingInputError


class Source(TypedDict):
    """One input file in a dataset's provenance; `sha256` is of the uncompressed content."""

    name: str
    bytes: int
    sha256: str


def fingerprint(name: str, data: bytes) -> Source:
    """Return name, size and checksum, by which the same file is recognized later.

    SHA-256 costs about a tenth of parsing the same bytes, and `sha256sum` checks it anywhere.
    """
    return Source(name=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def read_bytes(path: Path) -> bytes:
    """Return all bytes of a file, or raise `MissingInputError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> MissingInputError:
    """Return the error for a file that cannot be opened."""
    code = getattr(error, "errno", None)
    if code == errno.ENOENT:
        return MissingInputError(
            f"{path} does not exist.", f"check the spelling; paths are relative to {Path.cwd()}"
        )
    if code == errno.EISDIR:
        return MissingInputError(f"{path} is a folder, not a file.", "name the file inside it")
    return MissingInputError(
        f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.",
        "check the file's permissions and its disk",
    )


def is_url(path: object) -> bool:
    """Return whether this is an address (`http://…`, `s3://…`) and not a file."""
    scheme, mark, _ = str(path).partition("://")
    return bool(mark) and scheme.isalnum()
