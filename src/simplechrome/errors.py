"""Errors: one class per cause, each with the problem and its remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SimpleChromeError(Exception):
    """An error that a user can fix.

    Parameters
    ----------
    problem
        One sentence: the file, line or argument, what was found, and what was expected.
    remedy
        How to fix it: a command, an option, a file to pass. Empty where the problem says it all.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(problem, remedy)

    def __str__(self) -> str:
        return f"{self.problem}\n  to fix this: {self.remedy}" if self.remedy else self.problem


class InputFormatError(SimpleChromeError):
    """A file or array does not hold what its kind should hold."""


class MissingInputError(SimpleChromeError):
    """A file or folder that was named is not there or cannot be read."""


class GenomeMismatchError(SimpleChromeError):
    """Two inputs do not speak of the same genome or name its chromosomes differently."""


class DatasetFormatError(SimpleChromeError):
    """A dataset lacks a variable, has wrong dimensions or a newer format version."""


class MissingCoordinatesError(SimpleChromeError):
    """A question about places was asked of a dataset that has none."""


class MissingExpressionError(SimpleChromeError):
    """Labels or expression are needed, and the dataset (or this part of it) has none."""


class UnknownGeneError(SimpleChromeError):
    """A gene, mark or cell type was asked for that the dataset does not hold."""


class SplitError(SimpleChromeError):
    """A split leaves a part empty or names chromosomes that are not there."""


class ModelMismatchError(SimpleChromeError):
    """A model and the data differ in marks, bins or kind."""


class ModelFormatError(SimpleChromeError):
    """A saved model or run folder is incomplete, unknown or from a newer version."""


class UndefinedScoreError(SimpleChromeError):
    """A score has no value here, as the AUROC of a single class."""


class TrainingError(SimpleChromeError):
    """Training broke down, as when the loss became NaN."""


class OutputExistsError(SimpleChromeError):
    """The output is already there, and nobody said that it may be replaced."""


class OutputError(SimpleChromeError):
    """The output cannot be written: no room, no right, or a file where a folder should be."""


class ConfigError(SimpleChromeError):
    """An option or a configuration file holds a value that makes no sense."""


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """Which name was meant? `did you mean TP53?`, whatever the case; empty if nothing is near."""
    by_lower = {str(each).lower(): str(each) for each in known if each}
    wanted = str(name).lower()
    near = [wanted] if wanted in by_lower else difflib.get_close_matches(wanted, by_lower, n=3)
    return f"did you mean {' or '.join(by_lower[each] for each in near)}?" if near else ""


def first_names(names: Iterable[object], n: int = 5) -> str:
    """Return the first names, joined by commas, for a message: `a, b, …` where there are more."""
    listed = [str(name) for name in names]
    return ", ".join(listed[:n]) + (", …" if len(listed) > n else "")
