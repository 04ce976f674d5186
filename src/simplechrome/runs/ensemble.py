"""The predictor of a run: several seeds averaged, and out-of-fold predictions for calibration."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from simplechrome.config.run import RunConfig
from simplechrome.errors import ConfigError, ModelFormatError, first_names
from simplechrome.predictors.predictor import Predictor
from simplechrome.predictors.registry import load_predictor
from simplechrome.predictors.rows import Rows, inner_folds
from simplechrome.runs.folder import RunFolder
from simplechrome.schema import UNKNOWN_LABEL

log = logging.getLogger(__name__)

N_FOLDS = 5
ONE_PART_FROM = 2000
"""Labelled genes from which a single fifth is held out: 400 genes calibrate well enough, and four
more fits of a network are expensive."""
VALIDATION = "validation genes"

Labelled = tuple[xr.DataArray, xr.DataArray]
"""Features (cell_type, gene, …) and targets (cell_type, gene) of the same genes."""
Make = Callable[[int], Predictor]
"""Seed -> unfitted predictor."""


class Ensemble:
    """Fitted predictors of one kind whose log odds, or levels, are averaged.

    Log odds rather than probabilities, since these are what is calibrated; on E012 the two give
    the same scores to .0001. The members are fitted on the same features.
    """

    def __init__(self, members: Sequence[Predictor]) -> None:
        if not members:
            raise ConfigError("An ensemble has no members.", "pass at least one fitted predictor")
        self.members = tuple(members)
        self.task = members[0].task

    @property
    def interrupted_(self) -> bool:
        """Whether Ctrl-C cut the training of a member short."""
        return any(getattr(member, "interrupted_", False) for member in self.members)

    @property
    def history_(self) -> Any:
        """The training of the first member; None if it was not trained in epochs."""
        return getattr(self.members[0], "history_", None)

    def values_of_members(self, x: xr.DataArray | np.ndarray) -> np.ndarray:
        """Return the log odds, or levels, of each member, (member, …)."""
        if self.task == "classification":
            return np.stack([np.asarray(member.decision_function(x)) for member in self.members])
        return np.stack([np.asarray(member.predict(x)) for member in self.members])

    def decision_function(self, x: xr.DataArray | np.ndarray) -> np.ndarray:
        """Return the mean log odds of the members."""
        return self.values_of_members(x).mean(axis=0)

    def predict_proba(self, x: xr.DataArray | np.ndarray) -> np.ndarray:
        """Return the probability of each class, (…, label), from the mean log odds."""
        high = 0.5 * (1 + np.tanh(0.5 * self.decision_function(x)))
        return np.stack([1 - high, high], axis=-1)

    def predict(self, x: xr.DataArray | np.ndarray) -> np.ndarray:
        """Return each gene's class, or its mean predicted level."""
        values = self.values_of_members(x).mean(axis=0)
        if self.task == "regression":
            return values
        return self.members[0].classes_[(values > 0).astype(int)]


def values_of(predictor: Predictor | Ensemble, x: xr.DataArray) -> np.ndarray:
    """Return the log odds, or levels, of each member, (member, cell_type, gene)."""
    ensemble = predictor if isinstance(predictor, Ensemble) else Ensemble([predictor])
    return ensemble.values_of_members(x)


def checkpoint_options(model: Any, folder: Path | None) -> dict[str, Any]:
    """Return the arguments by which a model that trains in epochs resumes; others have none."""
    if folder is None or "checkpoints" not in signature(model.fit).parameters:
        return {}
    return {"checkpoints": folder, "resume": True}


def member_seed(seed: int, number: int) -> int:
    """Return the seed of a member, counted from 1; the first has the run's."""
    return seed + 10_000 * (number - 1)


def fit_ensemble(
    make: Make,
    n_members: int,
    seed: int,
    genes: Labelled,
    *,
    validation: Labelled | None = None,
    checkpoints: Path | None = None,
) -> Predictor | Ensemble:
    """Return an ensemble of several seeds fitted on the same genes, or its only member.

    After Ctrl-C no further member is begun.

    Parameters
    ----------
    n_members, seed
        See `member_seed`.
    validation
        Genes on which the number of epochs or trees is chosen.
    checkpoints
        Folder where members that train in epochs keep their states, and resume from.
    """
    members: list[Predictor] = []
    for number in range(1, n_members + 1):
        predictor = make(member_seed(seed, number))
        name = "predictor" if number == 1 else f"predictor_{number}"
        states = checkpoint_options(predictor, checkpoints and checkpoints / name)
        members.append(predictor.fit(*genes, validation=validation, **states))
        if getattr(predictor, "interrupted_", False):
            break
    return members[0] if len(members) == 1 else Ensemble(members)


def save_ensemble(predictor: Predictor | Ensemble, folder: Path) -> None:
    """Write a predictor, or all members of an ensemble, to a run folder."""
    run = RunFolder(folder)
    first, *further = predictor.members if isinstance(predictor, Ensemble) else (predictor,)
    first.save(run.predictor, overwrite=True)
    shutil.rmtree(run.ensemble, ignore_errors=True)
    for number, member in enumerate(further, start=2):
        member.save(run.ensemble / str(number))


def load_ensemble(folder: Path) -> Predictor | Ensemble:
    """Return the predictor, or ensemble, of a run folder.

    Raises ModelFormatError if a member is missing or damaged.
    """
    run = RunFolder(folder)
    first = load_predictor(run.predictor)
    if not run.ensemble.is_dir():
        return first
    held = sorted(path.name for path in run.ensemble.iterdir() if not path.name.startswith("."))
    expected = [str(number) for number in range(2, 2 + len(held))]
    if sorted(expected) != held:
        raise ModelFormatError(
            f"{run.ensemble} holds {first_names(held, 8)} instead of the members 2, 3, … of an "
            "ensemble: it is an incomplete copy.",
            "copy the run folder again",
        )
    return Ensemble([first, *(load_predictor(run.ensemble / name) for name in expected)])


class HeldOut(NamedTuple):
    """Predictions of genes that the model, or one fitted in the same way, was not trained on.

    predicted : (row,), mean log odds of the members, or levels
    truth : (row,), labels 1 and 0, or levels
    which : in words
    """

    predicted: np.ndarray
    truth: np.ndarray
    which: str


def fit_and_hold_out(
    make: Make,
    config: RunConfig,
    labelled: Labelled,
    validation: Labelled,
    *,
    run: RunFolder | None = None,
    interrupted: bool = False,
) -> tuple[Predictor | Ensemble, HeldOut | None]:
    """Return the predictor of a run, and predictions of genes that it was not trained on.

    With all labels the validation genes are held out, and choose the number of epochs of a
    predictor that stops early (a linear one better cross-validates its penalty within five times
    as many training genes: .9558 against .9548 on E012). With n labels only these choose anything,
    so that each fold of them is held out in turn.

    Parameters
    ----------
    labelled, validation
        Training genes whose labels are used, and validation genes.
    run
        Where states of training are kept and resumed from; None to keep none.
    interrupted
        After Ctrl-C: fit one member, and no folds.

    Returns
    -------
    The fitted predictor or ensemble, and the held-out predictions; None after Ctrl-C.
    """
    first, task = make(config.seed), config.task
    chosen_on = None
    if config.labels is None and hasattr(first, "hold_out_from"):
        chosen_on = validation if known_pairs(validation[1], task).any() else None
    members = 1 if interrupted else config.ensemble
    predictor = fit_ensemble(
        *(make, members, config.seed, labelled),
        validation=chosen_on,
        checkpoints=None if run is None else run.checkpoints,
    )
    if config.labels is None:
        return predictor, on_validation(predictor, validation)
    if interrupted or getattr(predictor, "interrupted_", False):
        return predictor, None
    n_labels = int(known_pairs(labelled[1], task).sum())

    def fit(genes: Labelled, folder: Path | None) -> Predictor | Ensemble:
        return fit_ensemble(
            lambda seed: choose_as_whole(make(seed), n_labels),
            *(members, config.seed, genes),
            checkpoints=folder,
        )

    folds = None if run is None else run.held_out_checkpoints
    return predictor, on_inner_folds(fit, labelled, task, seed=config.seed, checkpoints=folds)


def known_pairs(target: xr.DataArray, task: str) -> np.ndarray:
    """Return which (cell_type, gene) pairs have a label, or a finite level; perhaps none."""
    values = target.values
    return values != UNKNOWN_LABEL if task == "classification" else np.isfinite(values)


def on_validation(predictor: Predictor | Ensemble, genes: Labelled) -> HeldOut:
    """Return the predictions of a fitted predictor for the validation genes that have a label.

    These may have chosen the number of epochs or trees, but no weight.
    """
    x, y = genes
    known = known_pairs(y, predictor.task)
    if not known.any():
        return HeldOut(np.empty(0), np.empty(0), VALIDATION)
    return HeldOut(values_of(predictor, x).mean(axis=0)[known], y.values[known], VALIDATION)


def on_inner_folds(
    fit: Callable[[Labelled, Path | None], Predictor | Ensemble],
    genes: Labelled,
    task: str,
    *,
    seed: int,
    checkpoints: Path | None = None,
) -> HeldOut | None:
    """Return out-of-fold predictions of the labelled genes.

    Folds are of genes, since a gene's expression in one cell type predicts it in others. The labels
    of a fold choose nothing of the predictor that predicts it.

    Parameters
    ----------
    fit
        Called once a fold, with its training genes and a folder for states.
    genes
        All labelled genes.
    checkpoints
        Folder for the states of training, removed when all folds are done.

    Returns
    -------
    One row per labelled pair; of the first fifth alone from 2,000 genes on. None after Ctrl-C.
    """
    x, y = genes
    folds = _folds_of_genes(y, task, seed)
    single = y.sizes["gene"] >= ONE_PART_FROM
    folds = folds[:1] if single else folds
    predicted, truth = [np.empty(0)], [np.empty(0)]
    for number, (inside, outside) in enumerate(folds, start=1):
        log.info("Held-out predictions: fold %d of %d", number, len(folds))
        folder = checkpoints and checkpoints / f"fold_{number}"
        predictor = fit((x.isel(gene=inside), y.isel(gene=inside)), folder)
        if getattr(predictor, "interrupted_", False):
            return None
        held_out = y.isel(gene=outside)
        known = known_pairs(held_out, task)
        predicted.append(values_of(predictor, x.isel(gene=outside)).mean(axis=0)[known])
        truth.append(held_out.values[known])
    if checkpoints is not None:
        shutil.rmtree(checkpoints, ignore_errors=True)
    which = f"{len(folds)} folds of the labels" if folds else "none: a class has a single label"
    if single and folds:
        which = "a fifth of the labels, held out once"
    return HeldOut(np.concatenate(predicted), np.concatenate(truth), which)


def _folds_of_genes(y: xr.DataArray, task: str, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return positions of genes inside and outside; a gene's most frequent label is its class."""
    genes = y.sizes["gene"]
    stratum = np.zeros(genes)
    if task == "classification":
        high, known = (y.values == 1).sum(axis=0), known_pairs(y, task).sum(axis=0)
        stratum = (2 * high > known).astype(np.int8)
    rows = Rows(np.zeros((genes, 1)), stratum)
    return inner_folds(rows, task, n_folds=N_FOLDS, hold_out_from=genes + 1, seed=seed)


def choose_as_whole(predictor: Predictor, n_labels: int) -> Predictor:
    """Return a predictor for a fold that holds out genes as one fitted on all labels does.

    With 1,000 labels a network holds a tenth out; on the 800 of a fold it would cross-validate.
    """
    hold_out_from: Any = getattr(predictor, "hold_out_from", None)
    if hold_out_from is not None and n_labels >= hold_out_from:
        predictor.set_params(hold_out_from=2)
    return predictor
