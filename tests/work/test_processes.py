"""What another process logs reaches this one's log."""

from __future__ import annotations

import logging

import pytest

from simplechrome.work.processes import LoggedLine, relay, remembered


def test_lines_are_remembered_and_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    with remembered() as lines:
        logging.getLogger("simplechrome.sources").info("%d tracks", 3)
        logging.getLogger("simplechrome.sources").warning("one is empty")
        logging.getLogger("elsewhere").warning("not ours")
    assert lines == [
        LoggedLine("simplechrome.sources", logging.INFO, "3 tracks"),
        LoggedLine("simplechrome.sources", logging.WARNING, "one is empty"),
    ]
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="simplechrome"):
        relay(lines)
    assert caplog.messages == ["one is empty"]


def test_level_is_restored_and_lower_lines_pass_by() -> None:
    logger = logging.getLogger("simplechrome")
    before = logger.level
    with remembered(logging.WARNING) as lines:
        logger.info("of no matter")
    assert lines == []
    assert logger.level == before
    assert not any(type(handler).__name__ == "_Memory" for handler in logger.handlers)
