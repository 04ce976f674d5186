"""What a model says of genes that it did not learn from: the ground of calibration."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from simplechrome.config.run import RunConfig
from simplechrome.predictors.predictor import Predictor
from simplechrome.predictors.rows import Rows, inner_folds
from simplechrome.runs.ensemble import (
    Ensemble,
    Labelled,
    fit_ensemble,
    trains_in_epochs,
    values_of,
)
from simplechrome.runs.folder import HELD_OUT
from simplechrome.schema import UNKNOWN_LABEL
from simplechrome.work.files import write_json

log = logging.getLogger(__name__)

N_FOLDS = 5
ONE_PART_FROM = 2000
"""Labelled genes from which a single fifth is held out: 400 genes calibrate well enough, and four
more fits of a network are dear."""

VALIDATION = "validation genes"

Make = Callable[[int], Predictor]
"""Seed → unfitted predictor."""
FitOn = Callable[[Labelled, Path | None], Predictor | Ensemble]
"""Genes to learn from, and a folder for states → what `fit_ensemble` returns."""


class HeldOut(NamedTuple):
    """Predictions of genes that the model, or one fitted in the same way, did not learn from.

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
    checkpoints: Path | None,
    interrupted: bool = False,
) -> tuple[Predictor | Ensemble, HeldOut | None]:
    """What do these genes teach, and what is then said of genes that did not?

    With all labels the validation genes are held out, and where a predictor stops early they say
    when (a linear one is better off cross-validating its penalty within five times as many
    training genes: .9558 against .9548 on E012). With n labels nothing but these chooses
    anything, so that folds of them are held out in turn.

    Parameters
    ----------
    make
        Seed → unfitted predictor.
    config
        Its task, labels, seed and ensemble.
    labelled
        Features and targets to learn from.
    validation
        Those of the validation genes.
    checkpoints
        Folder of the run's states; None to keep none.
    interrupted
        Ctrl-C came before: fit one member, and no folds.

    Returns
    -------
    The fitted predictor or ensemble, and the held-out predictions; None if Ctrl-C came before.
    """
    first, task = make(config.seed), config.task
    chosen_on = None
    if config.labels is None and hasattr(first, "hold_out_from"):
        chosen_on = validation if known_pairs(validation[1], task).any() else None
    if not trains_in_epochs(first):
        checkpoints = None
    members = 1 if interrupted else config.ensemble
    predictor = fit_ensemble(
        make, members, config.seed, labelled, validation=chosen_on, checkpoints=checkpoints
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

    folder = checkpoints and checkpoints / HELD_OUT
    return predictor, on_inner_folds(fit, labelled, task, seed=config.seed, checkpoints=folder)


def known_pairs(target: xr.DataArray, task: str) -> np.ndarray:
    """Which (cell_type, gene) pairs have a label, or a finite level? Perhaps none."""
    values = target.values
    return values != UNKNOWN_LABEL if task == "classification" else np.isfinite(values)


def on_validation(predictor: Predictor | Ensemble, genes: Labelled) -> HeldOut:
    """What does a fitted predictor say of validation genes that have a label?

    They may have chosen its epochs or trees, a few numbers, but no weight.

    Parameters
    ----------
    predictor
        Fitted on other genes.
    genes
        Features and targets.
    """
    x, y = genes
    known = known_pairs(y, predictor.task)
    if not known.any():
        return HeldOut(np.empty(0), np.empty(0), VALIDATION)
    return HeldOut(values_of(predictor, x).mean(axis=0)[known], y.values[known], VALIDATION)


def on_inner_folds(
    fit: FitOn, genes: Labelled, task: str, *, seed: int, checkpoints: Path | None = None
) -> HeldOut | None:
    """What do predictors fitted in the same way, but without a fold of the labels, say of it?

    Folds are of genes: what a gene does in one cell type tells what it does in another. The labels
    of a fold choose nothing of the predictor that it is shown to: each makes its choices within
    the rest.

    Parameters
    ----------
    fit
        Called once a fold.
    genes
        All labelled genes.
    task
        `classification` or `regression`.
    seed
        Of the folds.
    checkpoints
        Folder where the folds that are done are kept, and gone on from.

    Returns
    -------
    One row per labelled pair; of the first fifth alone from 2,000 genes on. None after Ctrl-C.
    """
    x, y = genes
    folds = _folds_of_genes(y, task, seed)
    single = y.sizes["gene"] >= ONE_PART_FROM
    predicted, truth = [np.empty(0)], [np.empty(0)]
    for number, (inside, out) in enumerate(folds[:1] if single else folds, start=1):
        learn, hold = (tuple(part.isel(gene=genes) for part in (x, y)) for genes in (inside, out))
        values = _kept(checkpoints, number)
        if values is None:
            log.info("Held-out predictions: fold %d of %d", number, 1 if single else len(folds))
            folder = checkpoints and checkpoints / f"fold_{number}"
            predictor = fit((learn[0], learn[1]), folder)
            if getattr(predictor, "interrupted_", False):
                return None
            values = values_of(predictor, hold[0]).mean(axis=0)
            _keep(checkpoints, number, values)
        known = known_pairs(hold[1], task)
        predicted.append(values[known])
        truth.append(hold[1].values[known])
    which = (
        "a fifth of the labels, held out once" if single else f"{len(folds)} folds of the labels"
    )
    if not folds:
        which = "none: a class has a single label"
    return HeldOut(np.concatenate(predicted), np.concatenate(truth), which)


def _folds_of_genes(y: xr.DataArray, task: str, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Positions of genes inside and outside; a gene's most frequent label is its class."""
    genes = y.sizes["gene"]
    stratum = np.zeros(genes)
    if task == "classification":
        high, known = (y.values == 1).sum(axis=0), known_pairs(y, task).sum(axis=0)
        stratum = (2 * high > known).astype(np.int8)
    nothing = Rows(np.zeros((genes, 1)), stratum)
    return inner_folds(nothing, task, n_folds=N_FOLDS, hold_out_from=genes + 1, seed=seed)


def choose_as_whole(predictor: Predictor, n_labels: int) -> Predictor:
    """A predictor for a part of the labels that makes its choices as one for all of them does.

    With 1,000 labels a network holds a tenth out; on the 800 of a fold it would cross-validate
    five times over.
    """
    hold_out_from: Any = getattr(predictor, "hold_out_from", None)
    if hold_out_from is not None and n_labels >= hold_out_from:
        predictor.set_params(hold_out_from=2)
    return predictor


def _keep(folder: Path | None, number: int, values: np.ndarray) -> None:
    """The fold's values in place of its networks, which would fill the disk."""
    if folder is not None:
        write_json({"values": values.tolist()}, folder / f"fold_{number}.json")
        shutil.rmtree(folder / f"fold_{number}", ignore_errors=True)


def _kept(folder: Path | None, number: int) -> np.ndarray | None:
    if folder is None or not (folder / f"fold_{number}.json").is_file():
        return None
    kept = json.loads((folder / f"fold_{number}.json").read_text(encoding="utf-8"))
    return np.array(kept["values"])
