"""How far can a model's predictions be trusted? Learned from genes that did not fit it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simplechrome.errors import ModelFormatError
from simplechrome.evaluation.calibration import Calibration, fit_calibration
from simplechrome.evaluation.conformal import (
    LabelSets,
    LevelIntervals,
    conformal_threshold,
    fit_label_sets,
    fit_level_intervals,
)
from simplechrome.evaluation.run_folder import write_json

log = logging.getLogger(__name__)

CALIBRATION_FILE = "calibration.json"


@dataclass(frozen=True)
class Uncertainty:
    """What held-out genes say of a model's predictions.

    Attributes
    ----------
    task
        `classification`, `regression` or `difference`.
    coverage
        Share of genes whose truth the sets or intervals are to hold.
    held_out
        Which genes these were, in words.
    n_genes
        How many; of several cell types, gene and cell-type pairs.
    cell_types
        Of these genes.
    calibration
        Of the probabilities; the logistic function itself in regression, which has none.
    sets
        Conformal label sets, or intervals of log2(expression + 1).
    """

    task: str
    coverage: float
    held_out: str
    n_genes: int
    cell_types: tuple[str, ...]
    calibration: Calibration
    sets: LabelSets | LevelIntervals

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; `from_dict` reads it."""
        return {
            "task": self.task,
            "coverage": self.coverage,
            "held_out": self.held_out,
            "n_genes": self.n_genes,
            "cell_types": list(self.cell_types),
            "calibration": self.calibration.to_dict(),
            "sets": self.sets.to_dict(),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Uncertainty:
        """Read what `to_dict` wrote."""
        kind = LabelSets if state["task"] == "classification" else LevelIntervals
        read = {
            "cell_types": tuple(state["cell_types"]),
            "calibration": Calibration.from_dict(state["calibration"]),
            "sets": kind.from_dict(state["sets"]),
        }
        return cls(**{**state, **read})


def fit_uncertainty(
    predicted: np.ndarray,
    truth: np.ndarray,
    task: str,
    *,
    coverage: float = 0.9,
    held_out: str = "held-out genes",
    cell_types: Sequence[str] = (),
) -> Uncertainty:
    """How far can the predictions of a model be trusted?

    Genes of several cell types are pooled: one calibration for all, and a coverage that holds
    over all, not in each.

    Parameters
    ----------
    predicted : (gene,)
        Log odds, or log2(expression + 1), of genes that did not fit the model.
    truth : (gene,)
        Their labels, 1 or 0, or measured levels; all known. Too few genes promise nothing: the
        sets then hold everything, and the log says so.
    task
        `classification` or `regression`.
    coverage
        Share of genes whose truth the sets or intervals shall hold.
    held_out, cell_types
        Which genes these are.

    Raises
    ------
    ConfigError
        If the coverage is not between 0 and 1.
    UndefinedScoreError
        If a prediction is not finite.
    """
    values, known = np.asarray(predicted, np.float64).ravel(), np.asarray(truth).ravel()
    calibration = Calibration(n_genes=known.size)
    sets: LabelSets | LevelIntervals
    if task == "classification":
        calibration = fit_calibration(values, known)
        sets = fit_label_sets(values, known, coverage)
    else:
        sets = fit_level_intervals(values, known, coverage, signed=task == "difference")
    if not sets.leaves_out:
        log.warning(
            "%d genes (%s) are too few to promise that a set or interval holds the truth of %g %% "
            "of genes: all of them hold everything",
            *(known.size, held_out, 100 * coverage),
        )
    return Uncertainty(
        task, coverage, held_out, known.size, tuple(map(str, cell_types)), calibration, sets
    )


def describe_uncertainty(uncertainty: Uncertainty) -> dict[str, Any]:
    """How were the probabilities calibrated, and what is promised? For metrics.json."""
    return {
        "calibration": uncertainty.calibration.method,
        "held_out": uncertainty.held_out,
        "n_held_out": uncertainty.n_genes,
        "promised_coverage": uncertainty.coverage,
    }


def write_uncertainty(uncertainty: Uncertainty, folder: str | Path) -> None:
    """Keep it in a run folder, as `calibration.json`."""
    write_json(uncertainty.to_dict(), Path(folder) / CALIBRATION_FILE)


def read_uncertainty(folder: str | Path) -> Uncertainty | None:
    """What does a run folder say of its model's uncertainty? None where it has no such file.

    Raises
    ------
    ModelFormatError
        If the file is damaged.
    """
    path = Path(folder) / CALIBRATION_FILE
    if not path.exists():
        return None
    try:
        uncertainty = Uncertainty.from_dict(json.loads(path.read_text(encoding="utf-8")))
        conformal_threshold(np.empty(0), uncertainty.coverage)
        uncertainty.calibration.apply(np.zeros(1))
        uncertainty.sets.apply(np.zeros(1))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFormatError(
            f"{path} cannot be read.",
            found=f"{type(error).__name__}: {error}",
            expected="the calibration that `simplechrome fit` wrote",
            cause="a damaged or incomplete copy of the run folder, or an edit",
            remedy="copy the folder again, or delete the file to predict uncalibrated",
        ) from error
    return uncertainty
