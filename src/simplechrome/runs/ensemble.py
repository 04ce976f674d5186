"""Several predictors that differ in their seed alone, and what they say together."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from simplechrome.errors import ConfigError, ModelFormatError
from simplechrome.predictors.predictor import Predictor
from simplechrome.predictors.registry import load_predictor

log = logging.getLogger(__name__)

FIRST, FURTHER = "predictor", "ensemble"
"""Where a run folder keeps the first member, and the others by their number from 2 up."""

Labelled = tuple[xr.DataArray, xr.DataArray]
"""Features (cell_type, gene, …) and targets (cell_type, gene) of the same genes."""


class Ensemble:
    """Fitted predictors of one kind whose log odds, or levels, are averaged.

    Log odds rather than probabilities, since these are what is calibrated; on E012 the two give
    the same scores to .0001.

    Parameters
    ----------
    members
        Fitted, on the same features.
    """

    def __init__(self, members: Sequence[Predictor]) -> None:
        if not members:
            raise ConfigError("An ensemble needs members.", found="none", expected="1 or more")
        self.members = tuple(members)
        self.task = members[0].task

    @property
    def interrupted_(self) -> bool:
        """Did Ctrl-C cut a member short?"""
        return any(getattr(member, "interrupted_", False) for member in self.members)

    @property
    def history_(self) -> Any:
        """The training of the first member; None if it was not trained in epochs."""
        return getattr(self.members[0], "history_", None)

    def values_of_members(self, x: xr.DataArray | np.ndarray) -> np.ndarray:
        """What does each member say? (member, …) log odds, or levels."""
        if self.task == "classification":
            return np.stack([np.asarray(member.decision_function(x)) for member in self.members])
        return np.stack([np.asarray(member.predict(x)) for member in self.members])

    def decision_function(self, x: xr.DataArray | np.ndarray) -> np.ndarray:
        """How far is each gene on the high side? Mean log odds of the members."""
        return self.values_of_members(x).mean(axis=0)

    def predict_proba(self, x: xr.DataArray | np.ndarray) -> np.ndarray:
        """How probable is each class? (…, label), of the mean log odds."""
        high = 0.5 * (1 + np.tanh(0.5 * self.decision_function(x)))
        return np.stack([1 - high, high], axis=-1)

    def predict(self, x: xr.DataArray | np.ndarray) -> np.ndarray:
        """What is each gene's class, or its mean predicted level?"""
        values = self.values_of_members(x).mean(axis=0)
        if self.task == "regression":
            return values
        return self.members[0].classes_[(values > 0).astype(int)]


def values_of(predictor: Predictor | Ensemble, x: xr.DataArray) -> np.ndarray:
    """What does a predictor, or each member of an ensemble, say? (member, cell_type, gene)."""
    ensemble = predictor if isinstance(predictor, Ensemble) else Ensemble([predictor])
    return ensemble.values_of_members(x)


def trains_in_epochs(predictor: Predictor) -> bool:
    """Does it keep states to go on from?"""
    return "checkpoints" in signature(predictor.fit).parameters


def member_seed(seed: int, number: int) -> int:
    """Which seed has a member, counted from 1? The first has the run's."""
    return seed + 10_000 * (number - 1)


def fit_ensemble(
    make: Callable[[int], Predictor],
    n_members: int,
    seed: int,
    genes: Labelled,
    *,
    validation: Labelled | None = None,
    checkpoints: Path | None = None,
) -> Predictor | Ensemble:
    """What do predictors of several seeds learn from these genes?

    Parameters
    ----------
    make
        Seed → unfitted predictor.
    n_members, seed
        See `member_seed`.
    genes
        To learn from.
    validation
        Others, on which to choose epochs or trees.
    checkpoints
        Folder where members that train in epochs keep their states, and go on from.

    Returns
    -------
    An ensemble, or the predictor itself where it is the only one. After Ctrl-C no further member
    is begun.
    """
    members: list[Predictor] = []
    for number in range(1, n_members + 1):
        predictor = make(member_seed(seed, number))
        state: dict[str, Any] = {}
        if checkpoints is not None and trains_in_epochs(predictor):
            name = FIRST if number == 1 else f"{FIRST}_{number}"
            state = {"checkpoints": checkpoints / name, "resume": True}
        members.append(predictor.fit(*genes, validation=validation, **state))
        if getattr(predictor, "interrupted_", False):
            break
    return members[0] if len(members) == 1 else Ensemble(members)


def save_ensemble(predictor: Predictor | Ensemble, folder: Path) -> None:
    """Keep a predictor, or all members of an ensemble, in a run folder."""
    first, *further = predictor.members if isinstance(predictor, Ensemble) else (predictor,)
    first.save(folder / FIRST, overwrite=True)
    shutil.rmtree(folder / FURTHER, ignore_errors=True)
    for number, member in enumerate(further, start=2):
        member.save(folder / FURTHER / str(number))


def load_ensemble(folder: Path) -> Predictor | Ensemble:
    """Which predictor, or ensemble, does a run folder hold?

    Raises
    ------
    ModelFormatError
        If a member is missing or damaged.
    ModelMismatchError
        If a model in it is no predictor.
    """
    first = load_predictor(folder / FIRST)
    further = folder / FURTHER
    if not further.is_dir():
        return first
    held = sorted(path.name for path in further.iterdir() if not path.name.startswith("."))
    expected = [str(number) for number in range(2, 2 + len(held))]
    if sorted(expected) != held:
        raise ModelFormatError(
            f"{further} does not hold the members of an ensemble.",
            found=", ".join(held[:8]),
            expected="folders named 2, 3, … without a gap",
            cause="an incomplete copy",
            remedy="copy the run folder again",
        )
    return Ensemble([first, *(load_predictor(further / name) for name in expected)])
