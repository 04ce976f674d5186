"""Which file is the published one? Its address, size and checksum, from the archive's own record.

Zenodo has answered in three shapes: up to October 2023 `files: [{key, size, checksum, links}]`
(and `filename`, `filesize` in some answers), for some weeks after that with a checksum without
its algorithm, and since then `files` either as that list again or, in InvenioRDM's own format,
as `files: {entries: {NAME: {…}}}`. What is not needed here is not looked at.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any, NamedTuple

from simplechrome.errors import InputFormatError, MissingInputError
from simplechrome.sources.download_http import (
    BY_HAND,
    Patience,
    check_url,
    get_small,
    looks_like_page,
)

RECORD_URL = "https://zenodo.org/api/records/2652278"
ARCHIVE_NAME = "data.tar.gz"

_RECORD_LIMIT = 4_000_000
_CHECKSUM_LIMIT = 100_000
_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_ALGORITHM = {n_digits: name for name, n_digits in _DIGITS.items()}


class RemoteFile(NamedTuple):
    """A file on a server, and what is known of its content.

    size : bytes; None if unknown
    checksum : `algorithm:hex`, lower case; None if unknown
    vouched_by : who says so: "record", "option", "checksum file" or "nobody"
    """

    url: str
    size: int | None
    checksum: str | None
    vouched_by: str


def normal_checksum(text: str) -> str | None:
    """Which algorithm and digits does this name? `algorithm:hex` in lower case, None if none.

    Without an algorithm, the number of digits says it.
    """
    name, _, digits = text.strip().lower().rpartition(":")
    name = name.replace("-", "") or _ALGORITHM.get(len(digits), "")
    if _DIGITS.get(name) != len(digits) or not re.fullmatch(r"[0-9a-f]+", digits):
        return None
    return f"{name}:{digits}"


def published_archive(patience: Patience) -> RemoteFile:
    """Where is the published archive, how large is it, and what is its checksum?

    Raises
    ------
    MissingInputError
        If the record cannot be fetched.
    InputFormatError
        If the answer is a web page, or lacks what is needed.
    """
    return read_record(get_small(RECORD_URL, patience, _RECORD_LIMIT), RECORD_URL)


def read_record(data: bytes, url: str) -> RemoteFile:
    """Which file does this answer of the API describe?

    Parameters
    ----------
    data
        The answer, in any of the three shapes.
    url
        The address that it came from, for links without a host and for messages.

    Raises
    ------
    InputFormatError
        If it is no JSON, lists no data.tar.gz, or lacks its size, checksum or link.
    """
    if looks_like_page(data):
        raise _unreadable(url, "a web page", cause="a proxy, firewall or log-in portal answered")
    try:
        record: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _unreadable(url, f"no JSON: {error}") from None
    entries = list(_entries(record))
    names = [name for name, _ in entries]
    found = [entry for name, entry in entries if name == ARCHIVE_NAME]
    if len(found) != 1:
        message = record.get("message") if isinstance(record, dict) else None
        listed = f"the files {', '.join(names[:8])}" if names else "no list of files"
        raise _unreadable(
            url,
            listed + (f"; it says {message!r}" if isinstance(message, str) else ""),
            expected=f"one file {ARCHIVE_NAME}",
            cause="the record was withdrawn or restricted, or the API changed",
        )
    return _remote_file(found[0], url)


def _entries(record: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    files = record.get("files") if isinstance(record, dict) else None
    if isinstance(files, dict):
        files = files.get("entries")
    if isinstance(files, dict):
        # The mapping's key is the name, also where the entry does not repeat it.
        files = [{"key": key, **entry} for key, entry in files.items() if isinstance(entry, dict)]
    for entry in files if isinstance(files, list) else []:
        if isinstance(entry, dict):
            name = entry.get("key", entry.get("filename"))
            if isinstance(name, str):
                yield name, entry


def _remote_file(entry: dict[str, Any], url: str) -> RemoteFile:
    size = entry.get("size", entry.get("filesize"))
    if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
        raise _unreadable(url, f"size = {size!r}", expected="a number of bytes")
    checksum = entry.get("checksum")
    normal = normal_checksum(checksum) if isinstance(checksum, str) else None
    if normal is None:
        raise _unreadable(
            url, f"checksum = {checksum!r}", expected="md5:… or sha256:… with all its digits"
        )
    links = entry.get("links")
    links = links if isinstance(links, dict) else {}
    # InvenioRDM's `self` may be the description of the file; `content` is always the file.
    given = next((links[key] for key in ("content", "download", "self") if key in links), None)
    if not isinstance(given, str):
        raise _unreadable(url, f"links = {links!r}", expected="a link to the file")
    link = urllib.parse.urljoin(url, given)
    if urllib.parse.urlsplit(url).scheme == "https" != urllib.parse.urlsplit(link).scheme:
        raise _unreadable(url, f"the link {link}", expected="a link with https")
    return RemoteFile(check_url(link), size, normal, "record")


def _unreadable(
    url: str, found: str, *, expected: str = "the record as JSON", cause: str = ""
) -> InputFormatError:
    return InputFormatError(
        f"The answer of {url} cannot be used.",
        found=found,
        expected=expected,
        cause=cause or "the API changed, or something else answered in its place",
        remedy=BY_HAND,
    )


def checksum_beside(url: str, patience: Patience) -> str | None:
    """What do the files URL.sha256 and URL.md5, if there, say about the file at URL?

    `sha256sum`'s, `md5sum`'s and BSD's formats are read. None if neither is there.
    """
    parts = urllib.parse.urlsplit(url)
    for algorithm in ("sha256", "md5"):
        address = parts._replace(path=f"{parts.path}.{algorithm}").geturl()
        try:
            text = get_small(address, patience, _CHECKSUM_LIMIT).decode("utf-8", "replace")
        except MissingInputError:
            continue
        name = urllib.parse.unquote(parts.path.rpartition("/")[2])
        if found := read_checksum_file(text, algorithm, name):
            return found
    return None


def read_checksum_file(text: str, algorithm: str, name: str) -> str | None:
    """Which checksum does this text give for the file `name`? None if it gives none.

    A line that names the file wins; a single line without a name is taken as well.
    """
    digits = re.compile(rf"(?<![0-9a-z])[0-9a-f]{{{_DIGITS[algorithm]}}}(?![0-9a-z])")
    lines = [line for line in text.splitlines() if digits.search(line.lower())]
    named = [line for line in lines if re.search(rf"(^|[\s*/(]){re.escape(name)}($|[\s)])", line)]
    for line in named or (lines if len(lines) == 1 else []):
        found = digits.search(line.lower())
        return f"{algorithm}:{found[0]}" if found else None
    return None
