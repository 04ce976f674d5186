"""Missing marks of a dataset, filled in."""

from __future__ import annotations

import logging
from functools import partial
from typing import NamedTuple

import numpy as np
import xarray as xr

from simplechrome.dataset.choose import require_measured
from simplechrome.dataset.transforms.signal import Windows
from simplechrome.errors import ConfigError, ModelMismatchError
from simplechrome.latent.consensus.encoder import ConsensusEncoder
from simplechrome.latent.consensus.imputation import PROBABILITIES, MarkImputation
from simplechrome.latent.encoder import Encoder, align_marks, require_same_case
from simplechrome.latent.log_means import WithLogMeans

log = logging.getLogger(__name__)


class ImputedTrack(NamedTuple):
    """What an imputed track was predicted from.

    others : cell types of the dataset in which the mark was measured
    marks : of its own cell type, that were used
    correlation : of truth and prediction in each cell type of the training, held out in turn; empty
        where no two have the mark
    """

    cell_type: str
    mark: str
    others: list[str]
    marks: list[str]
    correlation: np.ndarray

    def describe(self) -> str:
        """Return a description of one line."""
        n = len(self.others)
        parts = [f"{n} cell type{'s' if n > 1 else ''}"] if n else []
        parts += [", ".join(self.marks)] if self.marks else []
        tried = "not tested: no two cell types of the run have it"
        if self.correlation.size:
            low, middle, high = np.quantile(self.correlation, [0, 0.5, 1])
            tried = f"correlation in held-out cell types {middle:.2f} ({low:.2f} to {high:.2f})"
        inputs = " and ".join(parts) or "its mean profile"
        return f"{self.cell_type} {self.mark}: from {inputs}; {tried}"


class Imputed(NamedTuple):
    """A dataset without missing marks, and how each was filled in."""

    dataset: xr.Dataset
    tracks: list[ImputedTrack]


def impute(encoder: Encoder, dataset: xr.Dataset, *, coverage: float = 0.9) -> Imputed:
    """Predict the marks that were not measured.

    Marks are predicted from the same genes in the dataset's other cell types, and from the marks
    of their own cell type; see `MarkImputation`. Measured signal stays as it is.

    Parameters
    ----------
    encoder
        A `ConsensusEncoder`, fitted.
    dataset
        Marks that it lacks and the encoder knows are added.
    coverage
        Nominal coverage of the intervals: the fraction of bins whose (smoothed) signal they hold.

    Returns
    -------
    The dataset, in which `signal` (cell_type, gene, bin, mark) holds the expected signal where a
    mark was missing, at the mean depth of the tracks of that mark; `imputed` (cell_type, mark) says
    where, and `imputed_low` and `imputed_high` are the ends of the interval.

    Raises
    ------
    ConfigError
        If the encoder is another, nothing is missing, or the coverage is invalid.
    ModelMismatchError
        If bins or units differ, or no mark is the encoder's.

    References
    ----------
    docs/explanation/imputation.md.
    """
    consensus = _require_consensus(encoder)
    most = 2 * float(PROBABILITIES[-1]) - 1
    if not 0 < coverage <= most + 1e-9:
        raise ConfigError(
            f"The coverage is {coverage:g}, and must be above 0 and at most {most:g}.",
            "take the default, --coverage 0.9",
        )
    require_measured(dataset, "impute")
    consensus.require_windows(dataset)
    require_same_case(dataset, consensus.marks_)
    _require_units(dataset, consensus)
    consensus = consensus.adapt_to(dataset)
    have = [str(mark) for mark in dataset["mark"].values]
    if not set(have) & set(consensus.marks_):
        align_marks(dataset, consensus.marks_)  # raises
    place = have + [mark for mark in consensus.marks_ if mark not in have]
    extended = align_marks(dataset, place)
    _require_missing(extended, consensus)
    windows = consensus.transform_windows(extended)
    signal = extended["signal"].values.astype(np.float32)
    observed = extended["observed"].values.copy()
    low, high = np.zeros_like(signal), np.zeros_like(signal)
    imputed = np.zeros((signal.shape[0], len(place)), bool)
    tracks = []
    for mark, imputation in consensus.imputations_.items():
        column = consensus.marks_.index(mark)
        measured = windows.present[:, :, column]
        lacking = np.flatnonzero(~extended["mark_present"].sel(mark=mark).values).tolist()
        donors = np.flatnonzero(measured.any(axis=1))
        others = [Windows(windows.values[k], windows.present[k]) for k in donors]
        of_others = imputation.of_others(others)
        for row in lacking:
            own = Windows(windows.values[row], windows.present[row])
            if not own.present.any():
                continue
            expected = imputation.expect(own, consensus.pooled_)
            decode = partial(consensus.transform_.inverse_of, mark=mark)
            result = imputation.impute(expected, of_others, len(others), decode, coverage)
            at = place.index(mark)
            known = own.present.any(axis=1)
            for array, values in zip((signal, low, high), result, strict=True):
                array[row, known, :, at] = values[known]
            observed[row, :, at] = known
            imputed[row, at] = True
            tracks.append(_origin(extended, row, mark, donors, own, imputation, consensus))
    _log_missing(extended, imputed)
    large = extended["signal"].dims
    filled = extended.assign(
        signal=(large, signal, extended["signal"].attrs),
        observed=(extended["observed"].dims, observed, extended["observed"].attrs),
        mark_present=extended["mark_present"] | imputed,
        imputed=(("cell_type", "mark"), imputed),
        imputed_low=(large, low, {"coverage": coverage}),
        imputed_high=(large, high, {"coverage": coverage}),
    )
    return Imputed(filled, tracks)


def _require_consensus(encoder: Encoder) -> ConsensusEncoder:
    inner = encoder.encoder_ if isinstance(encoder, WithLogMeans) else encoder
    if isinstance(inner, ConsensusEncoder):
        return inner
    raise ConfigError(
        f"The run was fitted with {type(inner).__name__}, and only ConsensusEncoder imputes marks.",
        "fit a run with `simplechrome fit --encoder consensus`, on all cell types that have tracks",
    )


def _require_units(dataset: xr.Dataset, encoder: ConsensusEncoder) -> None:
    units = str(dataset["signal"].attrs.get("units", ""))
    if units and encoder.units_ and units != encoder.units_:
        raise ModelMismatchError(
            f"The signal is in {units}, and the model was fitted on {encoder.units_}.",
            "fit a run on these data (`simplechrome fit`), and impute with it",
        )


def _require_missing(dataset: xr.Dataset, encoder: ConsensusEncoder) -> None:
    known = np.isin(dataset["mark"].values.astype(str), list(encoder.imputations_))
    if dataset["mark_present"].values[:, known].all():
        raise ConfigError(
            f"There is nothing to impute: all cell types have {', '.join(encoder.imputations_)}.",
            "marks that are not among these need a run that was fitted on them",
        )


def _origin(
    dataset: xr.Dataset,
    row: int,
    mark: str,
    donors: np.ndarray,
    own: Windows,
    imputation: MarkImputation,
    encoder: ConsensusEncoder,
) -> ImputedTrack:
    cell_types = [str(name) for name in dataset["cell_type"].values]
    used = own.present.any(axis=0) & imputation.trusted_
    n = imputation.trained_with(len(donors))
    return ImputedTrack(
        cell_types[row],
        mark,
        [cell_types[k] for k in donors] if n else [],
        [name for name, there in zip(encoder.marks_, used, strict=True) if there],
        imputation.models_[n].correlation,
    )


def _log_missing(dataset: xr.Dataset, imputed: np.ndarray) -> None:
    stays = ~dataset["mark_present"].values & ~imputed
    if stays.any():
        cell_types, marks = dataset["cell_type"].values, dataset["mark"].values
        named = [f"{cell_types[row]} {marks[column]}" for row, column in np.argwhere(stays)[:5]]
        log.warning(
            "%d tracks stay missing (%s%s): the model has not seen the mark, or the cell type has "
            "no other",
            *(int(stays.sum()), ", ".join(named), ", …" if stays.sum() > 5 else ""),
        )
