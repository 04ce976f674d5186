"""Which bytes did a result come from? Reading them whole, and naming them for the record."""

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
    """How will somebody know later that they hold the same file?

    SHA-256 costs about a tenth of parsing the same bytes, and `sha256sum` checks it anywhere.
    """
    return Source(name=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def read_bytes(path: Path) -> bytes:
    """What does this file hold?

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
    """Which error says that this file cannot be opened?"""
    return MissingInputError(
        f"{path} cannot be read.",
        found=error.strerror or str(error),
        expected="a file that this user may read",
        remedy="check the spelling, the working directory and the file's permissions",
    )


def is_url(path: object) -> bool:
    """Return whether this is an address (`http://…`, `s3://…`) and not a file."""
    scheme, mark, _ = str(path).partition("://")
    return bool(mark) and scheme.isalnum()
