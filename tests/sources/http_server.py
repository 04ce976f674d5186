"""A server on this machine that fails in the ways that are queued, one for each request."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ARCHIVE, RECORD = "/data.tar.gz", "/api/records/2652278"


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    kind : "status", "cut", "flip", "silence", "ignore range", "wrong range"
    at : byte of the answer's body where it happens
    """

    kind: str
    at: int = 0
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class FaultyServer:
    """Start it with `with`; `url(path)` is an address on the loopback interface.

    requests : method, path, and Range header ("" where there was none) of each
    """

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = dict(files or {})
        self.faults: dict[str, deque[Fault]] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.etags = True
        self.n_sent = 0
        self.ending = threading.Event()

    def __enter__(self) -> FaultyServer:
        class Bound(_Handler):
            owner = self

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._http.daemon_threads = True
        self.port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self._http.shutdown()
        self._http.server_close()

    def url(self, path: str = ARCHIVE) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def fail(self, *faults: Fault, path: str = ARCHIVE) -> None:
        self.faults.setdefault(path, deque()).extend(faults)

    def publish(self, archive: bytes) -> None:
        """Serve this archive, and a record of Zenodo that describes it."""
        entry = {
            "key": "data.tar.gz",
            "size": len(archive),
            "checksum": "md5:" + hashlib.md5(archive).hexdigest(),
            "links": {"self": self.url()},
        }
        self.files[ARCHIVE] = archive
        self.files[RECORD] = json.dumps({"id": 2652278, "files": [entry]}).encode()

    def ranges(self, path: str = ARCHIVE) -> list[str]:
        """The Range header of each GET for a file."""
        return [r for method, asked, r in self.requests if (method, asked) == ("GET", path)]


class _Handler(BaseHTTPRequestHandler):
    owner: FaultyServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        owner = self.owner
        owner.requests.append((self.command, self.path, self.headers.get("Range", "")))
        owner.headers.append(dict(self.headers.items()))
        queue = owner.faults.get(self.path) if self.command == "GET" else None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client may leave
            self._answer(queue.popleft() if queue else Fault("none"))
        self.close_connection = True

    do_HEAD = do_GET

    def _answer(self, fault: Fault) -> None:
        body = self.owner.files.get(self.path)
        if fault.kind == "silence":
            self.owner.ending.wait(5)
            return
        if fault.kind == "status" or body is None:
            status, body = (fault.status, fault.body) if body is not None else (404, b"")
            self._send(status, fault.headers, body)
            return
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        headers = {"ETag": etag} if self.owner.etags else {}
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        current = self.headers.get("If-Range", etag) == etag
        if not match or not current or fault.kind == "ignore range":
            self._send(200, headers, body, fault)
            return
        start, end = int(match[1]), int(match[2] or len(body) - 1)
        if start >= len(body):
            self._send(416, headers | {"Content-Range": f"bytes */{len(body)}"}, b"")
            return
        stated = start + 7 * (fault.kind == "wrong range")
        headers["Content-Range"] = f"bytes {stated}-{end}/{len(body)}"
        self._send(206, headers, body[start : end + 1], fault)

    def _send(
        self, status: int, headers: dict[str, str], body: bytes, fault: Fault = Fault("none")
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault.kind == "cut":
            body = body[: fault.at]
        if fault.kind == "flip":
            body = body[: fault.at] + bytes([body[fault.at] ^ 1]) + body[fault.at + 1 :]
        self.owner.n_sent += len(body)
        self.wfile.write(body)
