"""Calibration and conformal sets of a model's predictions, fitted on held-out genes."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from simplechrome.errors import ConfigError, ModelFormatError
from simplechrome.evaluation.calibration import Calibration, fit_calibration
from simplechrome.work.files import write_json

log = logging.getLogger(__name__)

_STRICT = ConfigDict(extra="forbid")
LEVEL_BINS = 5
GROUPS_FROM = 500
"""Held-out genes from which each class, or each fifth of predicted levels, has a threshold of its
own: 100 genes in each. With fewer, one threshold for all misses the nominal coverage by less (on
E012 with 50 labels by .03 in place of .05)."""
Infinite = Annotated[float, BeforeValidator(lambda value: math.inf if value is None else value)]
MinusInfinite = Annotated[float, BeforeValidator(lambda v: -math.inf if v is None else v)]
"""In JSON both are null: it has no number for them."""


def conformal_threshold(scores: np.ndarray, coverage: float) -> float:
    """Return the largest nonconformity score that a conformal set includes.

    The ⌈(n + 1) · coverage⌉-th smallest score (Vovk, Gammerman & Shafer 2005; Lei et al., JASA
    2018); infinity (nothing is excluded) with too few genes. Coverage is exact for genes that are
    drawn like those of `scores`, on average over draws.

    Parameters
    ----------
    scores : (gene,)
        Nonconformity of the truth, as the distance between level and prediction, of genes that
        the model was not fitted on.
    coverage
        Nominal coverage: the fraction of genes whose truth is to be inside.

    Raises
    ------
    ConfigError
        If the coverage is not above 0 and below 1.
    """
    if not 0 < coverage < 1:
        raise ConfigError(
            f"The coverage {coverage} is not a fraction above 0 and below 1.", "pass 0.9, say"
        )
    known = np.sort(np.asarray(scores, dtype=np.float64).ravel())
    # 100 × .9 is 90.00000000000001 in floating point, and 91 would be one too many.
    rank = math.ceil(round((known.size + 1) * coverage, 9))
    return float(known[rank - 1]) if rank <= known.size else math.inf


@dataclass(frozen=True, config=_STRICT)
class LabelSets:
    """Conformal sets of labels: low up to one threshold of the log odds, high from another on.

    Without a limit they are infinity and minus infinity.
    """

    low_up_to: Infinite = math.inf
    high_from: MinusInfinite = -math.inf

    @property
    def leaves_out(self) -> bool:
        """Whether any label is ever excluded."""
        return math.isfinite(self.low_up_to) or math.isfinite(self.high_from)

    def apply(self, log_odds: np.ndarray) -> np.ndarray:
        """Return the set of labels of each gene: (gene, label) bool, for the labels 0 and 1.

        Both: undecided. None: a gene between the classes, where there are more of these than the
        coverage excludes.
        """
        values = np.asarray(log_odds, dtype=np.float64)
        return np.stack([values <= self.low_up_to, values >= self.high_from], axis=-1)


def fit_label_sets(log_odds: np.ndarray, label: np.ndarray, coverage: float) -> LabelSets:
    """Fit the log odds beyond which a label is excluded, on genes that the model was not fitted on.

    Each class has a threshold of its own, from its own genes (Vovk, ACML 2012), so that low and
    high genes are covered alike; with fewer than 500 genes, or 100 of a class, one threshold for
    both. On log odds they do not depend on the calibration, which the same genes fit.

    Parameters
    ----------
    log_odds : (gene,)
    label : (gene,), 1 or 0
    coverage
        See `conformal_threshold`.
    """
    values, high = np.asarray(log_odds, dtype=np.float64), np.asarray(label) == 1
    nonconformity = np.where(high, -values, values)
    if high.size < GROUPS_FROM or min(high.sum(), (~high).sum()) < GROUPS_FROM / 5:
        both = conformal_threshold(nonconformity, coverage)
        return LabelSets(both, -both)
    return LabelSets(
        conformal_threshold(nonconformity[~high], coverage),
        -conformal_threshold(nonconformity[high], coverage),
    )


def name_label_sets(sets: np.ndarray) -> np.ndarray:
    """(gene, label) bool → `low`, `high`, `low or high`, `neither`."""
    names = np.array(["neither", "high", "low", "low or high"], dtype=object)
    return names[2 * sets[..., 0].astype(int) + sets[..., 1].astype(int)]


@dataclass(frozen=True, config=_STRICT)
class LevelIntervals:
    """Conformal intervals of expression, by predicted level.

    Attributes
    ----------
    edges : (bin - 1,), predicted levels between the bins
    half_width : (bin,), of the interval around the prediction
    signed
        Of changes, which may be below 0: bins are of their size, so that swapping the two cell
        types swaps and negates the ends.
    """

    edges: tuple[float, ...] = ()
    half_width: tuple[Infinite, ...] = (math.inf,)
    signed: bool = False

    @property
    def leaves_out(self) -> bool:
        """Whether any level is ever excluded."""
        return any(math.isfinite(width) for width in self.half_width)

    def apply(self, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and highest level of each gene, (gene,) each.

        A level, log2(expression + 1), is never below 0; a change may be.
        """
        values = np.asarray(level, dtype=np.float64)
        size = np.abs(values) if self.signed else values
        half = np.asarray(self.half_width)[np.searchsorted(self.edges, size, side="right")]
        if self.signed:
            return values - half, values + half
        return np.maximum(values - half, 0), np.maximum(values + half, 0)


def fit_level_intervals(
    predicted: np.ndarray, level: np.ndarray, coverage: float, *, signed: bool = False
) -> LevelIntervals:
    """Fit the width of intervals around predicted levels.

    One width for all with fewer than 500 genes; else one for each fifth of the predictions
    (Boström & Johansson, COPA 2020). Silent genes are predicted with certainty, half-active ones
    are not: one width for all covered 96 % of the lowest fifth of E012 and 88 % of the third,
    fifths cover 90 % and 92 %, and are no wider.

    Parameters
    ----------
    predicted : (gene,), log2(expression + 1), of genes that the model was not fitted on
    level : (gene,), measured, same scale
    coverage
        See `conformal_threshold`.
    signed
        Both are changes of levels.
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


CALIBRATION_FILE = "calibration.json"


@dataclass(frozen=True, config=_STRICT)
class Uncertainty:
    """Calibration and conformal sets of one model.

    Attributes
    ----------
    task
        `classification`, `regression` or `difference`.
    coverage
        Nominal coverage of the sets or intervals.
    held_out, n_genes, cell_types
        Which genes these were, in words; how many (gene and cell-type pairs); their cell types.
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


_JSON = TypeAdapter(Uncertainty)


def fit_uncertainty(
    predicted: np.ndarray,
    truth: np.ndarray,
    task: str,
    *,
    coverage: float = 0.9,
    held_out: str = "held-out genes",
    cell_types: Sequence[str] = (),
) -> Uncertainty:
    """Fit calibration and conformal sets on held-out genes.

    Genes of several cell types are pooled: one calibration for all, and a coverage that holds
    over all, not in each. With too few genes the sets hold everything, and a warning is logged.

    Parameters
    ----------
    predicted : (gene,), log odds, or log2(expression + 1), of genes that did not fit the model
    truth : (gene,), their labels, 1 or 0, or measured levels; all known
    task
        `classification`, `regression` or `difference`.
    coverage
        Nominal coverage of the sets or intervals.
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
            "%d genes (%s) are too few for sets or intervals with a coverage of %g %%: all of them "
            "hold everything",
            *(known.size, held_out, 100 * coverage),
        )
    return Uncertainty(
        task, coverage, held_out, known.size, tuple(map(str, cell_types)), calibration, sets
    )


def describe_uncertainty(uncertainty: Uncertainty) -> dict[str, Any]:
    """Return the method of calibration and the nominal coverage, for metrics.json."""
    return {
        "calibration": uncertainty.calibration.method,
        "held_out": uncertainty.held_out,
        "n_held_out": uncertainty.n_genes,
        "promised_coverage": uncertainty.coverage,
    }


def write_uncertainty(uncertainty: Uncertainty, folder: str | Path) -> None:
    """Write it into a run folder, as `calibration.json`."""
    # pydantic writes infinity as null: JSON has no number for it.
    state = json.loads(_JSON.dump_json(uncertainty))
    write_json(state, Path(folder) / CALIBRATION_FILE)


def read_uncertainty(folder: str | Path) -> Uncertainty | None:
    """Read the calibration of a run folder; None where it has no such file.

    Raises
    ------
    ModelFormatError
        If the file is damaged.
    """
    path = Path(folder) / CALIBRATION_FILE
    if not path.exists():
        return None
    try:
        text = path.read_bytes()
        uncertainty, found = _JSON.validate_json(text), json.loads(text)
        whole = json.loads(_JSON.dump_json(uncertainty))
        parts = [(part, name) for part in ("calibration", "sets") for name in whole[part]]
        if lacking := [f"{part}.{name}" for part, name in parts if name not in found[part]]:
            raise ValueError(f"it lacks {', '.join(lacking)}")
        conformal_threshold(np.empty(0), uncertainty.coverage)
        uncertainty.calibration.apply(np.zeros(1))
        uncertainty.sets.apply(np.zeros(1))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFormatError(
            f"{path} is not the calibration that `simplechrome fit` wrote: "
            f"{type(error).__name__}: {error}.",
            "copy the run folder again, or delete the file to predict uncalibrated",
        ) from error
    return uncertainty
