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


def test_message_is_the_problem_and_its_remedy() -> None:
    error = ConfigError("P.", "r")
    assert str(error) == "P.\n  to fix this: r"
    assert (error.problem, error.remedy) == ("P.", "r")
    assert str(SimpleChromeError("P.")) == "P."


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_one_of_ours_and_says_its_cause(kind: type[SimpleChromeError]) -> None:
    assert issubclass(kind, SimpleChromeError)
    assert kind.__doc__
    with pytest.raises(SimpleChromeError, match=r"^P\.$"):
        raise kind("P.")


def test_an_error_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(ConfigError("P.", "r")))  # noqa: S301
    assert (type(error), error.problem, error.remedy) == (ConfigError, "P.", "r")
