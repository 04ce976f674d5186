"""Read input files whole, with the size and SHA-256 by which a result names them."""

from __future__ import annotations

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
    """Return name, size and SHA-256, by which the same file is recognized later."""
    return Source(name=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def read_bytes(path: Path) -> bytes:
    """Return the content of a file.

    Raises
    ------
    MissingInputError
        If it is not there, is a folder, or may not be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError) -> MissingInputError:
    """Return the error for a file that the system does not open."""
    return MissingInputError(
        f"{path} cannot be read: {error.strerror or error}.",
        "check the spelling, the working directory and the file's permissions",
    )


def is_url(path: object) -> bool:
    """Return whether this is an address (`http://…`, `s3://…`) and not a file."""
    scheme, mark, _ = str(path).partition("://")
    return bool(mark) and scheme.isalnum()
