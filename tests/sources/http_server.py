"""A server on this machine that misbehaves as it is told, one fault for each request.

It serves `files` with ETag, Last-Modified, Range and If-Range as a good server does; each request
for a path in `faults` takes the next fault from that path's queue.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ARCHIVE = "/data.tar.gz"
RECORD = "/api/records/2652278"


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    at : byte of the answer's body where it happens
    """

    kind: str
    at: int = 0
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0
    action: Callable[[], None] = lambda: None


class HostileServer:
    """Start it with `with`; `url(path)` is an address on the loopback interface."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = dict(files or {})
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.etags = True
        self.dates = True
        self.weak = False
        self.version = 0
        self._server: ThreadingHTTPServer | None = None
        self._ending = threading.Event()
        self._timers: list[threading.Thread] = []
        self.port = 0

    def __enter__(self) -> HostileServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for timer in self._timers:
            timer.join()
        self.stop()

    def url(self, path: str = ARCHIVE) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def start(self) -> None:
        class _Bound(_Handler):
            owner = self

        server = ThreadingHTTPServer(("127.0.0.1", self.port), _Bound)
        server.daemon_threads = False
        self.port = server.server_port
        self._server = server
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            # Not server_close(): it waits for the requests that are being answered, and the one
            # that stops the server is among them.
            server.socket.close()

    def go_away(self, seconds: float) -> None:
        """Close the port, and open it again after a while."""

        def run() -> None:
            self.stop()
            self._ending.wait(seconds)
            if not self._ending.is_set():
                self.start()

        timer = threading.Thread(target=run)
        self._timers.append(timer)
        timer.start()

    def fail(self, *faults: Fault, path: str = ARCHIVE) -> None:
        self.faults[path].extend(faults)

    def publish(self, archive: bytes, **changes: object) -> None:
        """Serve this archive, and a record in the present shape that describes it."""
        self.files[ARCHIVE] = archive
        self.files[RECORD] = record(archive, self.url(), **changes)

    def ranges(self) -> list[str]:
        """The Range header of each request for the archive, empty where there was none."""
        return [headers.get("Range", "") for path, headers in self.requests if path == ARCHIVE]


def md5(data: bytes) -> str:
    """As the record writes it."""
    return "md5:" + hashlib.md5(data).hexdigest()


def record(archive: bytes, link: str, **changes: object) -> bytes:
    entry: dict[str, object] = {
        "id": "b147e088-36a0-4ae3-96e5-ccf7139db5b9",
        "key": "data.tar.gz",
        "size": len(archive),
        "checksum": md5(archive),
        "links": {"self": link},
    }
    return json.dumps({"id": 2652278, "files": [entry | changes]}).encode()


class _Handler(BaseHTTPRequestHandler):
    owner: HostileServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        owner = self.owner
        owner.requests.append((self.path, dict(self.headers.items())))
        queue = owner.faults.get(self.path)
        fault = queue.popleft() if queue else Fault("none")
        try:
            self._answer(fault)
        except (BrokenPipeError, ConnectionResetError):
            pass  # The client left, as it should.
        finally:
            self.close_connection = True

    def _answer(self, fault: Fault) -> None:
        owner = self.owner
        if fault.kind == "change":
            owner.files[self.path] = fault.body
            owner.version += 1
        if fault.kind == "away":
            owner.go_away(fault.seconds)
            return
        if fault.kind == "silence":
            owner._ending.wait(fault.seconds or 5)
            return
        if fault.kind == "no answer":
            return
        if fault.kind == "garbage":
            self.wfile.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
            return
        if fault.kind == "status":
            self._head(fault.status, {"Content-Length": str(len(fault.body)), **fault.headers})
            self.wfile.write(fault.body)
            return
        body = fault.body if fault.kind == "other" else owner.files.get(self.path)
        if body is None:
            self._head(404, {"Content-Length": "0"})
            return
        self._file(fault, body)

    def _file(self, fault: Fault, body: bytes) -> None:
        headers = self._validators(body)
        start = self._start(fault, headers)
        if start >= len(body) and start:
            self._head(416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": "0"})
            return
        status = 206 if start or fault.kind == "needless range" else 200
        if status == 206:
            said = start + 7 if fault.kind == "wrong range" else start
            headers["Content-Range"] = f"bytes {said}-{len(body) - 1}/{len(body)}"
        if fault.kind == "no content range":
            headers.pop("Content-Range", None)
        content = body[start:]
        length = len(content)
        if fault.kind == "flip":
            at = min(fault.at, length - 1)
            content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        if fault.kind == "more":
            content += b"and more"
        if fault.kind == "short length":
            length -= 1000
        if fault.kind == "long length":
            length += 1000
        if fault.kind not in ("no length", "more"):
            headers["Content-Length"] = str(length)
        self._head(status, headers | fault.headers)
        self._send(fault, content)

    def _send(self, fault: Fault, content: bytes) -> None:
        if fault.kind not in ("cut", "reset", "stall", "drip", "action"):
            self.wfile.write(content)
            return
        self.wfile.write(content[: fault.at])
        fault.action()
        if fault.kind == "stall":
            self.owner._ending.wait(fault.seconds or 5)
        elif fault.kind == "drip":
            for place in range(fault.at, len(content)):
                if self.owner._ending.wait(0.02):
                    return
                self.wfile.write(content[place : place + 1])
        elif fault.kind == "reset":
            # Closing with a lingering time of 0 sends RST.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def _start(self, fault: Fault, headers: dict[str, str]) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        current = condition is None or condition in headers.values()
        return int(match[1]) if match and current and fault.kind != "ignore range" else 0

    def _validators(self, body: bytes) -> dict[str, str]:
        headers = {}
        if self.owner.etags:
            digest = hashlib.md5(body).hexdigest()[:12]
            headers["ETag"] = f'{"W/" if self.owner.weak else ""}"{digest}"'
        if self.owner.dates:
            stamp = time.gmtime(1_700_000_000 + 60 * self.owner.version)
            headers["Last-Modified"] = time.strftime("%a, %d %b %Y %H:%M:%S GMT", stamp)
        return headers

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
