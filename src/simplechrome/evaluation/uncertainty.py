"""How far can a model's predictions be trusted? Learned from genes that did not fit it."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simplechrome.errors import ConfigError, ModelFormatError
from simplechrome.evaluation.calibration import Calibration, fit_calibration
from simplechrome.work.files import write_json

log = logging.getLogger(__name__)


LEVEL_BINS = 5
GROUPS_FROM = 500
"""Held-out genes from which each class, or each fifth of predicted levels, has a threshold of its
own: 100 genes in each. With fewer, one threshold for all misses the promised coverage by less (on
E012 with 50 labels by .03 in place of .05)."""


def conformal_threshold(scores: np.ndarray, coverage: float) -> float:
    """How strange may a prediction be before it is left out?

    Parameters
    ----------
    scores : (gene,)
        Strangeness of the truth of genes that the model was not fitted on, as the distance
        between level and prediction.
    coverage
        Share of genes whose truth is to be inside, above 0 and below 1.

    Returns
    -------
    The ⌈(n + 1) · coverage⌉-th smallest score; infinity (nothing is left out) with too few genes
    to promise the coverage.

    Raises
    ------
    ConfigError
        If the coverage is not between 0 and 1.

    References
    ----------
    Vovk, Gammerman & Shafer 2005; Lei et al., JASA 2018 (split conformal prediction). The promise
    is exact for genes that are drawn like those of `scores`, on average over draws.
    """
    if not 0 < coverage < 1:
        raise ConfigError(
            "The coverage makes no sense.",
            found=str(coverage),
            expected="a share above 0 and below 1, such as 0.9",
        )
    known = np.sort(np.asarray(scores, dtype=np.float64).ravel())
    # 100 × .9 is 90.00000000000001 in floating point, and 91 would be one too many.
    rank = math.ceil(round((known.size + 1) * coverage, 9))
    return float(known[rank - 1]) if rank <= known.size else math.inf


@dataclass(frozen=True)
class LabelSets:
    """Which labels can a gene have, by its log odds?

    Attributes
    ----------
    low_up_to
        A gene may be low up to these log odds; infinity: always.
    high_from
        It may be high from these log odds on; minus infinity: always.
    """

    low_up_to: float = math.inf
    high_from: float = -math.inf

    @property
    def leaves_out(self) -> bool:
        """Is any label ever left out?"""
        return math.isfinite(self.low_up_to) or math.isfinite(self.high_from)

    def apply(self, log_odds: np.ndarray) -> np.ndarray:
        """Which labels can each gene have?

        Returns
        -------
        (gene, label) bool, for the labels 0 and 1. Both: undecided. None: a gene between the
        classes, of which there are more than may be left out.
        """
        values = np.asarray(log_odds, dtype=np.float64)
        return np.stack([values <= self.low_up_to, values >= self.high_from], axis=-1)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, null for infinity; `from_dict` reads it."""
        return {"low_up_to": _finite(self.low_up_to), "high_from": _finite(self.high_from)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> LabelSets:
        """Read what `to_dict` wrote."""
        low, high = state["low_up_to"], state["high_from"]
        return cls(math.inf if low is None else low, -math.inf if high is None else high)


def fit_label_sets(log_odds: np.ndarray, label: np.ndarray, coverage: float) -> LabelSets:
    """From which log odds on is a label left out?

    Each class has a threshold of its own, from its own genes, so that low and high genes are
    covered alike; with fewer than 500 genes, or 100 of a class, one threshold for both. On log
    odds they do not depend on the calibration, which the same genes fit.

    Parameters
    ----------
    log_odds : (gene,)
        Of genes that the model was not fitted on.
    label : (gene,), 1 or 0
    coverage
        See `conformal_threshold`.

    References
    ----------
    Vovk, ACML 2012 (label-conditional conformal prediction).
    """
    values, high = np.asarray(log_odds, dtype=np.float64), np.asarray(label) == 1
    strange = np.where(high, -values, values)
    if high.size < GROUPS_FROM or min(high.sum(), (~high).sum()) < GROUPS_FROM / 5:
        both = conformal_threshold(strange, coverage)
        return LabelSets(both, -both)
    return LabelSets(
        conformal_threshold(strange[~high], coverage), -conformal_threshold(strange[high], coverage)
    )


def name_label_sets(sets: np.ndarray) -> np.ndarray:
    """(gene, label) bool → `low`, `high`, `low or high`, `neither`."""
    names = np.array(["neither", "high", "low", "low or high"], dtype=object)
    return names[2 * sets[..., 0].astype(int) + sets[..., 1].astype(int)]


@dataclass(frozen=True)
class LevelIntervals:
    """Between which levels does a gene's expression lie, by its predicted level?

    Attributes
    ----------
    edges : (bin - 1,)
        Predicted levels that part the bins.
    half_width : (bin,)
        Of the interval around the prediction.
    signed
        Of changes, which may be below 0: bins are of their size, so that swapping the two cell
        types swaps and negates the ends.
    """

    edges: tuple[float, ...] = ()
    half_width: tuple[float, ...] = (math.inf,)
    signed: bool = False

    @property
    def leaves_out(self) -> bool:
        """Is any level ever left out?"""
        return any(math.isfinite(width) for width in self.half_width)

    def apply(self, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest level of each gene, (gene,) each.

        A level, log2(expression + 1), is never below 0; a change may be.
        """
        values = np.asarray(level, dtype=np.float64)
        size = np.abs(values) if self.signed else values
        half = np.asarray(self.half_width)[np.searchsorted(self.edges, size, side="right")]
        if self.signed:
            return values - half, values + half
        return np.maximum(values - half, 0), np.maximum(values + half, 0)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, null for infinity; `from_dict` reads it."""
        return {
            "edges": list(self.edges),
            "half_width": [_finite(w) for w in self.half_width],
            "signed": self.signed,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> LevelIntervals:
        """Read what `to_dict` wrote."""
        widths = (math.inf if width is None else width for width in state["half_width"])
        # Runs that were saved before differences came do not say it.
        return cls(tuple(state["edges"]), tuple(widths), state.get("signed", False))


def fit_level_intervals(
    predicted: np.ndarray, level: np.ndarray, coverage: float, *, signed: bool = False
) -> LevelIntervals:
    """How far from their predictions do levels lie?

    Parameters
    ----------
    predicted : (gene,), log2(expression + 1)
        Of genes that the model was not fitted on.
    level : (gene,), measured, same scale
    coverage
        See `conformal_threshold`.
    signed
        Both are changes of levels.

    Returns
    -------
    One width for all with fewer than 500 genes; else one for each fifth of the predictions. Silent
    genes are told for sure, half-active ones are not: one width for all covered 96 % of the
    lowest fifth of E012 and 88 % of the third, fifths cover 90 % and 92 %, and are no wider.

    References
    ----------
    Lei et al., JASA 2018; Boström & Johansson, COPA 2020 (Mondrian regression).
    """
    values, truth = np.asarray(predicted, np.float64), np.asarray(level, np.float64)
    distance = np.abs(values - truth)
    values = np.abs(values) if signed else values
    edges = np.empty(0)
    if values.size >= GROUPS_FROM:
        edges = np.unique(np.quantile(values, np.arange(1, LEVEL_BINS) / LEVEL_BINS))
    at = np.searchsorted(edges, values, side="right")
    widths = [conformal_threshold(distance[at == k], coverage) for k in range(edges.size + 1)]
    return LevelIntervals(tuple(edges.tolist()), tuple(widths), signed)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


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
