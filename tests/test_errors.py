"""Errors: what they say, and that one `except` catches all of them."""

from __future__ import annotations

import inspect
import pickle

import pytest

from simplechrome import errors
from simplechrome.errors import ConfigError, SimpleChromeError

CLASSES = [
    member
    for _, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, Exception)
]


def test_message_names_problem_found_expected_cause_and_way_out_in_this_order() -> None:
    error = SimpleChromeError("P.", remedy="r", cause="c", expected="e", found="f")
    assert str(error) == "P.\n  found: f\n  expected: e\n  likely cause: c\n  to fix this: r"


def test_what_is_not_known_is_left_out() -> None:
    assert str(SimpleChromeError("P.")) == "P."
    assert str(SimpleChromeError("P.", cause="c")) == "P.\n  likely cause: c"


def test_parts_can_be_asked_for() -> None:
    error = ConfigError("P.", found="f", expected="e", cause="c", remedy="r")
    parts = error.problem, error.found, error.expected, error.cause, error.remedy
    assert parts == ("P.", "f", "e", "c", "r")


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_one_of_ours_and_says_its_cause(kind: type[SimpleChromeError]) -> None:
    assert issubclass(kind, SimpleChromeError)
    assert kind.__doc__
    with pytest.raises(SimpleChromeError, match=r"^P\.$"):
        raise kind("P.")


def test_an_error_survives_the_way_between_processes() -> None:
    # As when a worker of a pool fails: the message, at least, must arrive.
    error = ConfigError("P.", found="f")
    assert "P.\n  found: f" in str(pickle.loads(pickle.dumps(error)))  # noqa: S301
