"""Files on web servers and in object stores, read in pieces as if they were on disk."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from simplechrome.errors import ConfigError, InputFormatError, MissingInputError, SimpleChromeError

T = TypeVar("T")

PROTOCOLS = ("http", "https", "s3", "gs", "memory")
"""`s3` and `gs` need the extra `remote`."""

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP codes of failures that may pass."""

WAITS = (0.5, 2.0, 8.0)
"""Seconds before each further attempt."""

_CACHE = {"block_size": 1 << 20, "cache_type": "blockcache", "cache_options": {"maxblocks": 32}}
_VERSION = ("size", "ETag", "Last-Modified", "LastModified", "etag", "updated", "created")
_BY_HAND = "download the file, for example with curl -O, and name the local copy"


def shown_url(url: str) -> str:
    """Return an address for messages, without the password and the query, which may be secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def looks_like_page(head: bytes) -> bool:
    """Return whether this is the beginning of a web page, as a log-in portal sends it."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:15].lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<!--", b"<script"))


class RemoteFile:
    """A file at an address, as a binary file for reading; 32 MiB of it are cached.

    Parameters
    ----------
    url
        http, https, s3 or gs. Credentials are those that fsspec finds.
    timeout
        Seconds that a web server may be silent.

    Attributes
    ----------
    error
        What made a read fail. Libraries that call `read` from another language lose the exception.

    Raises
    ------
    MissingInputError
        If the server does not answer, or has no such file.
    InputFormatError
        If it cannot send parts of files, or (on leaving a `with` block) the file was replaced.
    ConfigError
        If `url` is not the address of a file.
    """

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        self.name = shown_url(url)
        self.error: BaseException | None = None
        self._fs, self._path = self._attempt(lambda: _locate(url, timeout))
        self._version = self._attempt(self._ask_version)
        size = self._version[0]
        if size is None:
            raise _no_ranges(self.name, "the server does not state its size")
        self._file: Any = io.BytesIO()
        if size:
            self._file = self._attempt(lambda: self._fs.open(self._path, "rb", **_CACHE))

    def read(self, size: int = -1) -> bytes:
        """Return the bytes that come next, none at the end."""
        try:
            return self._attempt(lambda: bytes(self._file.read(size)))
        except BaseException as error:
            self.error = error
            raise

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the byte that is read next, without a request."""
        return int(self._file.seek(offset, whence))

    def __enter__(self) -> RemoteFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if kind is None and self._attempt(self._ask_version) != self._version:
            raise InputFormatError(
                f"{self.name} was replaced while it was read: its size or date changed.",
                f"try again, or {_BY_HAND}",
            )

    def _ask_version(self) -> tuple[Any, ...]:
        """Size and date, by which a file that was replaced is noticed."""
        self._fs.invalidate_cache()
        info = self._fs.info(self._path)
        return tuple(info.get(name) for name in _VERSION)

    def _attempt(self, call: Callable[[], T]) -> T:
        """Call; what fails for a reason that may pass is tried again."""
        waits = list(WAITS)
        while True:
            try:
                return call()
            except Exception as error:  # each library behind fsspec has its own
                # fsspec raises FileNotFoundError from whatever made a first request fail.
                cause = error.__cause__ or error
                if not waits or not _may_pass(cause):
                    raise _in_words(self.name, cause) from error
            time.sleep(waits.pop(0))


def _locate(url: str, timeout: float) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    import fsspec

    parts = urlsplit(url)
    options: dict[str, Any] = {}
    if parts.scheme not in PROTOCOLS or not parts.netloc:
        raise ConfigError(
            f"{url!r} is not an address that can be read.",
            f"write {', '.join(f'{each}://…' for each in PROTOCOLS[:-1])}, or name a local file",
        )
    if parts.scheme.startswith("http"):
        import aiohttp

        silence = aiohttp.ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout)
        options = {"client_kwargs": {"timeout": silence, "trust_env": True}}
    place: tuple[Any, str] = fsspec.core.url_to_fs(parts.geturl(), **options)
    return place


def _may_pass(error: BaseException) -> bool:
    if (status := getattr(error, "status", None)) is not None:
        return status in PASSING
    final = (SimpleChromeError, FileNotFoundError, PermissionError, ImportError, ValueError)
    return not isinstance(error, final)


def _no_ranges(name: str, reason: str) -> InputFormatError:
    return InputFormatError(f"{name} cannot be read in parts: {reason}.", _BY_HAND)


def _in_words(name: str, error: BaseException) -> SimpleChromeError:
    """The one error of a remote file: what failed, and how to fix it."""
    status, remedy = getattr(error, "status", None), f"check the address; or {_BY_HAND}"
    if isinstance(error, SimpleChromeError):
        return error
    if isinstance(error, ValueError) and "range" in str(error):
        return _no_ranges(name, "the server, or a proxy, ignores Range requests")
    if isinstance(error, ImportError):
        reason, remedy = str(error), "install the extra: pip install 'simplechrome[remote]'"
    elif isinstance(error, FileNotFoundError) or status == 404:
        reason = "there is no such file (HTTP 404)"
    elif status is not None:
        reason = f"HTTP {status} {getattr(error, 'message', '')}".strip()
    elif isinstance(error, PermissionError) or "Credentials" in type(error).__name__:
        reason = f"access is denied ({error})"
        remedy = "log in to the store; for public data in S3 set FSSPEC_S3_ANON=true"
    elif isinstance(error, TimeoutError):
        reason = "the server sent nothing for too long (time-out)"
    else:
        reason = f"{str(error) or type(error).__name__} (no connection, a firewall or a proxy)"
    return MissingInputError(f"{name} cannot be read: {reason}.", remedy)
