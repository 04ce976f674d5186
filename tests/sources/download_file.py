"""One file to be fetched, and calls that fetch it without losing time."""

from __future__ import annotations

from pathlib import Path

from download_archives import layout, tar_gz, tree
from http_server import HostileServer, md5

from simplechrome.sources import download_transfer
from simplechrome.sources.download_http import Patience
from simplechrome.sources.download_origin import Origin
from simplechrome.sources.download_record import RemoteFile

BODY = tar_gz(layout(["E003", "E012"], n_rows=3000))
# Long enough for a busy machine; tests of a server that stalls are in a hurry.
QUICK = Patience(timeout=10, attempts=6, first_wait=0.001, longest_wait=0.005, longest_asked=0.3)


def get(
    server: HostileServer,
    folder: Path,
    *,
    size: int | None = len(BODY),
    checksum: str | None = md5(BODY),
    patience: Patience = QUICK,
) -> Origin:
    remote = RemoteFile(server.url(), size, checksum, "record")
    return download_transfer.fetch(remote, folder / "data.tar.gz", patience, lambda n_bytes: None)


def assert_whole(folder: Path, body: bytes = BODY) -> None:
    assert (folder / "data.tar.gz").read_bytes() == body
    assert sorted(tree(folder)) == ["data.tar.gz", "data.tar.gz.json"]
