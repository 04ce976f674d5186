"""What does a server answer, and is it worth asking again? Over http and https only."""

from __future__ import annotations

import email.utils
import http.client
import random
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import IO

from simplechrome.errors import ConfigError, MissingInputError, SimpleChromeError
from simplechrome.version import __version__

PAGE = "https://zenodo.org/records/2652278"
"""Where a person finds the published archive."""

BY_HAND = (
    f"open {PAGE} in a browser, save data.tar.gz, and pass it: "
    "simplechrome download --source data.tar.gz; or pass the address of a mirror: "
    "--source URL. Behind a proxy, set HTTPS_PROXY"
)

_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_HEAD = 2048


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, and how often to ask again.

    timeout : seconds without a byte (or with less than 1 kB a second) that count as a stall
    attempts : failures in a row, without progress, that end it
    first_attempts : the same while the server has not answered at all: one that is not there or
        cannot be reached should not take minutes to say so
    first_wait, longest_wait : seconds between two attempts; doubled each time, up to the longest
    longest_asked : cap, in seconds, on what a server asks for (Retry-After)
    """

    timeout: float = 30.0
    attempts: int = 8
    first_attempts: int = 3
    first_wait: float = 1.0
    longest_wait: float = 60.0
    longest_asked: float = 600.0

    def wait(self, n_failures: int, asked: float | None) -> float:
        """How many seconds to wait after so many failures?

        A third of it is drawn at random, so that many clients do not come back together.
        """
        if asked is not None:
            return min(asked, self.longest_asked)
        longest = min(self.first_wait * 2.0 ** min(n_failures - 1, 30), self.longest_wait)
        return longest * random.uniform(2 / 3, 1)


class Interruption(Exception):  # noqa: N818 - not an error yet: it is tried again
    """The server failed in a way that may pass.

    wait : seconds that the server asked for, if it did
    answered : True if there was a server that spoke HTTP
    """

    def __init__(self, reason: str, *, wait: float | None = None, answered: bool = False) -> None:
        self.reason = reason
        self.wait = wait
        self.answered = answered
        super().__init__(reason)


class RangeRefused(Exception):  # noqa: N818 - an answer, not an error
    """The server has no byte at the place that was asked for (416)."""

    def __init__(self, content_range: str) -> None:
        self.content_range = content_range
        super().__init__(content_range)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to http and https, and from https to https only."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        old, new = (urllib.parse.urlsplit(url).scheme for url in (req.full_url, newurl))
        if new != "https" and (new != "http" or old == "https"):
            fp.close()
            raise unreachable(
                req.full_url,
                f"a redirect to {newurl}",
                expected=f"a redirect to {'https' if old == 'https' else 'http or https'}",
                cause="a proxy or portal stands between, or the server is set up wrongly",
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    # Not build_opener: it would also open file:, ftp: and data:.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def check_url(url: str) -> str:
    """Is this an address that can be fetched? Returns it with odd characters quoted.

    Raises
    ------
    ConfigError
        If it is not http or https, or names no host.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ConfigError(
            f"{url!r} is not an address that can be fetched.",
            expected="http://HOST/… or https://HOST/…, or the path of a local file",
        )
    return urllib.parse.quote(url, safe="%/:=&?~#+!$,;'@()*[]")


def open_url(url: str, patience: Patience, headers: Mapping[str, str]) -> http.client.HTTPResponse:
    """What does the server answer to GET? The caller reads and closes it.

    Raises
    ------
    Interruption
        If it is worth trying again.
    RangeRefused
        If the answer is 416.
    MissingInputError
        If it is not: unknown certificate, 401, 403, 404, …
    """
    # Zenodo asks its programmatic users for a name, and has slowed down those without one.
    agent = f"simplechrome/{__version__}"
    request = urllib.request.Request(url, headers={"User-Agent": agent, **headers})
    try:
        response: http.client.HTTPResponse = _opener().open(request, timeout=patience.timeout)
    except urllib.error.HTTPError as error:
        with error:
            raise _status_error(url, error) from None
    except urllib.error.URLError as error:
        raise _connection_error(url, error.reason) from None
    except (OSError, http.client.HTTPException) as error:
        raise _connection_error(url, error) from None
    return response


def get_small(url: str, patience: Patience, limit: int) -> bytes:
    """What does this small document hold?

    Raises
    ------
    MissingInputError
        If it cannot be had, or is larger than `limit` bytes.
    """
    failures = 0
    while True:
        try:
            return _read_small(url, patience, limit)
        except Interruption as trouble:
            failures += 1
            if failures >= patience.first_attempts:
                raise unreachable(url, trouble.reason) from None
            time.sleep(patience.wait(failures, trouble.wait))


def _read_small(url: str, patience: Patience, limit: int) -> bytes:
    deadline = time.monotonic() + 2 * patience.timeout
    data = bytearray()
    with open_url(url, patience, {"Accept": "application/json, text/plain, */*"}) as response:
        length = response.length
        try:
            while block := response.read1(1 << 16):
                data += block
                if time.monotonic() > deadline:
                    raise Interruption("the answer takes too long", answered=True)
                if len(data) > limit:
                    raise unreachable(
                        url,
                        f"an answer of more than {limit:,} bytes",
                        expected="a small document",
                        cause="the address is that of another file",
                    )
        except (OSError, http.client.HTTPException) as error:
            raise Interruption(describe(error), answered=True) from None
    if length is not None and len(data) != length:
        raise Interruption(f"the answer ended at {len(data)} of {length} bytes", answered=True)
    return bytes(data)


def unreachable(
    url: str, found: str, *, expected: str = "", cause: str = "", remedy: str = BY_HAND
) -> MissingInputError:
    """Which error says that this address gives nothing, and what can be done by hand?"""
    return MissingInputError(
        f"{url} cannot be fetched.",
        found=found,
        expected=expected,
        cause=cause or "no connection, a firewall or proxy, or the server is down",
        remedy=remedy,
    )


def describe(error: object) -> str:
    """What went wrong with the connection, in words?"""
    if isinstance(error, TimeoutError):
        return "the server sent nothing for too long (time-out)"
    if isinstance(error, socket.gaierror):
        return f"the host's name is not known here ({error.strerror})"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the server closed the connection without an answer"
    if isinstance(error, http.client.IncompleteRead):
        return "the connection ended in the middle"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return f"{type(error).__name__}: {error}" if isinstance(error, Exception) else str(error)


def looks_like_page(head: bytes) -> bool:
    """Is this the beginning of a web page, as a blocking proxy or a log-in portal sends it?"""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:15].lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<!--", b"<script"))


def _connection_error(url: str, reason: object) -> Interruption | SimpleChromeError:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return unreachable(
            url,
            f"a certificate that does not hold: {reason.verify_message}",
            expected="a certificate that this machine trusts",
            cause="a proxy that opens TLS connections, a wrong clock, or old root certificates",
            remedy=f"set SSL_CERT_FILE to the certificates of your institution; or {BY_HAND}",
        )
    if isinstance(reason, http.client.InvalidURL | UnicodeError):
        return unreachable(url, str(reason), expected="an address without odd characters")
    if isinstance(reason, str):  # urllib: an unknown scheme, or a redirect without an end
        return unreachable(url, reason)
    return Interruption(describe(reason))


def _status_error(url: str, error: urllib.error.HTTPError) -> Exception:
    if error.code == 416:
        return RangeRefused(error.headers.get("Content-Range", ""))
    found = f"HTTP {error.code} {error.reason}".strip()
    if error.code in _AGAIN:
        return Interruption(found, wait=_asked_wait(error.headers), answered=True)
    try:
        page = looks_like_page(error.read(_HEAD))
    except (OSError, http.client.HTTPException):
        page = False
    causes = {
        401: "the server or proxy wants a password",
        403: "the server or a firewall refuses this machine, or the file is not public",
        404: "the file has moved, or the address is misspelled",
        407: "the proxy wants a user and password, as in http://USER:PASSWORD@HOST:PORT",
        410: "the file has been withdrawn",
        451: "the file may not be had from here",
    }
    return unreachable(
        url,
        found + (" with a web page" if page else ""),
        expected="200 or 206",
        cause=causes.get(error.code, ""),
    )


def _asked_wait(headers: Message) -> float | None:
    """Seconds that the server wants to be left alone: Retry-After, or Zenodo's own header."""
    text = headers.get("Retry-After", "").strip()
    if text:
        try:
            return max(float(int(text)), 0.0)
        except ValueError:
            pass
        try:
            return max(email.utils.parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
        except (ValueError, OverflowError):
            return None
    reset = headers.get("X-RateLimit-Reset", "").strip()
    if reset.isascii() and reset.isdigit() and headers.get("X-RateLimit-Remaining", "") == "0":
        return max(float(reset) - time.time(), 0.0)
    return None
