"""Servers on this machine for the tests of downloading, and no proxy before them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from http_server import ARCHIVE, RECORD, HostileServer

# Their `assert`s say what differs only if pytest rewrites them before they are first imported.
pytest.register_assert_rewrite("download_file", "download_set")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[HostileServer]:
    """One archive, and nothing that describes it."""
    from download_file import BODY

    with HostileServer({ARCHIVE: BODY}) as running:
        yield running


@pytest.fixture
def zenodo(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileServer]:
    """The archive of the data set and its record, where the program looks for them."""
    from download_set import BODY

    from simplechrome.sources import download_record

    with HostileServer() as running:
        running.publish(BODY)
        monkeypatch.setattr(download_record, "RECORD_URL", running.url(RECORD))
        yield running
