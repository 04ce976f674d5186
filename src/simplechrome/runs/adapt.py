"""Are the data that a model is asked about like those that it was fitted on, or can they be?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from simplechrome.dataset.transforms.signal import SignalTransform, present_marks
from simplechrome.dataset.transforms.tracks import TrackTransform
from simplechrome.errors import ModelFormatError, ModelMismatchError
from simplechrome.latent.window_encoder import align_marks
from simplechrome.runs.folder import PROFILE_FILE

if TYPE_CHECKING:
    from simplechrome.latent.encoder import Encoder


import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from simplechrome.runs.folder import LEVELS_FILE
from simplechrome.runs.predictions import write_table
from simplechrome.work.files import write_json

log = logging.getLogger(__name__)


LEVEL_SHARES = np.linspace(0.05, 0.95, 91)
"""Of windows. Beyond both ends a few windows, or artifacts, decide."""
BIN_SHARES = np.concatenate([np.linspace(0, 0.99, 100), [0.995, 0.999, 0.9999, 1]])
"""Of bins, finer where the peaks are: a window's largest bins are a percent of all."""

_DIGITS = 6
_BETWEEN = "\t"  # cell type and mark in the name of a column


@dataclass(frozen=True)
class TrackProfile:
    """What is remembered of one track.

    Attributes
    ----------
    levels : (91,)
        Quantiles of the mean signal per bin of its windows, at `LEVEL_SHARES`.
    bins : (104,)
        Quantiles of the signal of its bins, at `BIN_SHARES`.
    depth
        Library size or total signal; NaN if unknown.
    """

    levels: np.ndarray
    bins: np.ndarray
    depth: float


SignalProfile: TypeAlias = Mapping[str, Mapping[str, TrackProfile]]
"""cell type → mark → track; marks that were not assayed are not in it."""


def profile_track(signal: np.ndarray, depth: float = np.nan) -> TrackProfile:
    """How is the signal of a track distributed?

    Parameters
    ----------
    signal : (gene, bin)
        Of the windows that have data, at least one.
    depth
        Library size, if known.
    """
    levels = np.quantile(signal.mean(axis=1, dtype=np.float64), LEVEL_SHARES)
    return TrackProfile(levels, np.quantile(signal, BIN_SHARES), float(depth))


def profile_signal(dataset: xr.Dataset) -> SignalProfile:
    """How is the signal of each track of these (training) windows distributed?"""
    present = present_marks(dataset)
    profile: dict[str, dict[str, TrackProfile]] = {}
    for row, cell_type in enumerate(dataset["cell_type"].values):
        profile[str(cell_type)] = {
            str(mark): profile_track(
                dataset["signal"].values[row, present[row, :, column], :, column],
                float(dataset["depth"].values[row, column]),
            )
            for column, mark in enumerate(dataset["mark"].values)
            if present[row, :, column].any()
        }
    return profile


def reference_track(profile: SignalProfile, cell_type: str, mark: str) -> TrackProfile | None:
    """With which track of training is this one to be compared?

    That of the same cell type; where training had no such cell type, the mean of their
    quantiles. None where no cell type of the training had the mark.
    """
    own = profile.get(cell_type, {}).get(mark)
    if own is not None:
        return own
    tracks = [marks[mark] for marks in profile.values() if mark in marks]
    if not tracks:
        return None
    return TrackProfile(
        np.mean([track.levels for track in tracks], axis=0),
        np.mean([track.bins for track in tracks], axis=0),
        float(np.mean([track.depth for track in tracks])),
    )


def depth_factor(track: TrackProfile, reference: TrackProfile) -> float:
    """With what must a track be multiplied to be as deep as another one?

    The median of the ratios of their windows' levels, quantile by quantile: a few windows with
    very much, or a cell type with more windows that have the mark, change it little, which
    cannot be said of the mean. Library sizes alone do not tell it, since the share of reads that
    lie in peaks differs from experiment to experiment.

    Returns
    -------
    NaN where one of the two holds nothing but zeros at these quantiles.

    References
    ----------
    Anders & Huber, Genome Biology 2010 (median of ratios, there over genes).
    """
    both = (track.levels > 0) & (reference.levels > 0)
    if not both.any():
        return float("nan")
    return float(np.exp(np.median(np.log(reference.levels[both] / track.levels[both]))))


def write_levels(dataset: xr.Dataset, folder: str | Path) -> None:
    """Keep the level of every gene in a run folder, as `signal_levels.parquet`.

    Where other data hold few of the training genes, tracks are compared over the genes that both
    have. Levels are of windows, and know no labels.
    """
    present = present_marks(dataset)
    columns: dict[str, Any] = {"gene_id": dataset["gene_id"].values}
    for row, cell_type in enumerate(dataset["cell_type"].values):
        level = dataset["signal"].values[row].mean(axis=1, dtype=np.float64)
        for column, mark in enumerate(dataset["mark"].values):
            if present[row, :, column].any():
                seen = present[row, :, column]
                columns[f"{cell_type}{_BETWEEN}{mark}"] = np.where(
                    seen, level[:, column], np.nan
                ).astype(np.float32)
    write_table(pd.DataFrame(columns), Path(folder) / LEVELS_FILE)


def read_levels(folder: str | Path) -> pd.DataFrame | None:
    """(gene_id, (cell_type, mark)) levels of a run's genes; None where it has no such file.

    Raises
    ------
    ModelFormatError
        If the file is damaged.
    """
    path = Path(folder) / LEVELS_FILE
    if not path.exists():
        return None
    try:
        table = pd.read_parquet(path).set_index("gene_id")
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are among these
        raise ModelFormatError(
            f"{path} cannot be read.",
            found=f"{type(error).__name__}: {error}",
            expected="the levels that `simplechrome fit` wrote",
            cause="a damaged or incomplete copy of the run folder",
            remedy="copy the folder again, or delete the file: fewer genes are then compared",
        ) from error
    table.columns = pd.MultiIndex.from_tuples([tuple(c.split(_BETWEEN)) for c in table.columns])
    return table


def reference_levels(levels: pd.DataFrame, cell_type: str, mark: str) -> pd.Series:
    """(gene_id,) level of each gene in the track that this one is to be compared with.

    See `reference_track`. Empty where no cell type of the run had the mark.
    """
    if (cell_type, mark) in levels.columns:
        return levels[cell_type, mark].dropna()
    own = [column for column in levels.columns if column[1] == mark]
    return levels[own].mean(axis=1).dropna() if own else pd.Series(dtype=float)


def spread_of_ratios(track: TrackProfile, reference: TrackProfile) -> float:
    """How many times larger is the largest ratio of their quantiles than the smallest?

    From the 10th to the 90th percentile; NaN where one of the two holds zeros only.
    """
    middle = (LEVEL_SHARES > 0.1) & (LEVEL_SHARES < 0.9)
    both = middle & (track.levels > 0) & (reference.levels > 0)
    if not both.any():
        return float("nan")
    ratios = reference.levels[both] / track.levels[both]
    return float(ratios.max() / ratios.min())


def _plain(values: np.ndarray) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values]


def write_signal_profile(profile: SignalProfile, folder: str | Path) -> None:
    """Keep it in a run folder, as `signal_profile.json`."""
    cell_types = {
        cell_type: {
            mark: {
                "depth": track.depth if np.isfinite(track.depth) else None,
                "levels": _plain(track.levels),
                "bins": _plain(track.bins),
            }
            for mark, track in marks.items()
        }
        for cell_type, marks in profile.items()
    }
    write_json({"cell_types": cell_types}, Path(folder) / PROFILE_FILE)


def read_signal_profile(folder: str | Path) -> SignalProfile | None:
    """What does a run folder say of the signal it was fitted on? None where it has no such file.

    Raises
    ------
    ModelFormatError
        If the file is damaged.
    """
    path = Path(folder) / PROFILE_FILE
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["cell_types"]
        return {
            cell_type: {mark: _read_track(track) for mark, track in marks.items()}
            for cell_type, marks in stored.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFormatError(
            f"{path} cannot be read.",
            found=f"{type(error).__name__}: {error}",
            expected="the quantiles that `simplechrome fit` wrote",
            cause="a damaged or incomplete copy of the run folder, or an edit",
            remedy="copy the folder again, or delete the file to predict without depth scaling",
        ) from error


def _read_track(stored: Mapping[str, Any]) -> TrackProfile:
    depth = stored["depth"]
    levels, bins = (np.asarray(stored[name], np.float64) for name in ("levels", "bins"))
    if levels.shape != LEVEL_SHARES.shape or bins.shape != BIN_SHARES.shape:
        raise ValueError(
            f"{levels.size} levels and {bins.size} bins instead of "
            f"{LEVEL_SHARES.size} and {BIN_SHARES.size}"
        )
    return TrackProfile(levels, bins, np.nan if depth is None else float(depth))


LARGE_SHIFT = 0.25
"""In standard deviations of a mark's bins in training; beyond it the depth or antibody differs."""
NEAR = 1.1
"""Tracks that differ by a smaller factor are as deep as those of training, and left as they are."""
THIN = 5.0
"""Factor from which counts are so few that no scaling makes up for it."""
DISAGREEING = 8.0
"""Ratio of the factors that weak and strong windows ask for, beyond which no one factor fits."""
FEWEST_SHARED = 50
"""Genes that both have, below which levels are not compared over these."""
FEW_WINDOWS = 100
"""Below which the factor itself is unsure."""

_PROPORTIONAL = {"reads", "CPM"}  # to each other: one factor leads from one to the other
_EXAMPLES = 5  # in a message


class Adapted(NamedTuple):
    """A dataset as a model is to see it.

    dataset : the one that was given, where nothing had to change
    changes : (cell_type,), what was done to each, as `H3K4me3 x 2.4, H3K27me3 x 0.7`; empty where
        nothing was
    """

    dataset: xr.Dataset
    changes: list[str]


def adapt_signal(
    dataset: xr.Dataset,
    encoder: Encoder,
    profile: SignalProfile | None,
    train_genes: Sequence[str],
    levels: pd.DataFrame | None = None,
    *,
    depth_scaling: bool = True,
    match_distribution: bool = False,
) -> Adapted:
    """What are these data at the depth, or with the distribution, of the training?

    Each mark of each cell type is multiplied with one factor, before any logarithm, so that zero
    stays zero: `depth_factor`. A cell type that is in the training is compared with itself, others
    with the mean of those that are. What is done is said in the log.

    Parameters
    ----------
    dataset
        What is to be encoded or predicted. Levels are compared over the training genes where it
        has half of these or more; otherwise over all genes that it shares with the run, by
        `levels`; where these are few, over all of its windows, with a warning.
    encoder
        Fitted.
    profile
        Of its training windows; None for runs that do not know it.
    train_genes
        Ids of the training genes.
    levels
        Of all genes of the run; see `read_levels`.
    depth_scaling
        False leaves the signal as it is.
    match_distribution
        Replace each bin's value by that of the same rank in training, in place of scaling: for
        signal in other units.

    Raises
    ------
    ModelMismatchError
        If the signal has other units than the training's, and distributions are not to be matched.
    ModelFormatError
        If they are to be matched, and the run does not know the training's.
    """
    _require_units(dataset, encoder, depth_scaling, match_distribution)
    untouched = Adapted(dataset, [""] * dataset.sizes["cell_type"])
    if not (depth_scaling or match_distribution):
        return untouched
    if profile is None:
        if match_distribution:
            raise ModelFormatError(
                "The run does not know the distribution of the signal it was fitted on.",
                found=f"no {PROFILE_FILE} in the run folder",
                cause="a run of an older version",
                remedy="fit it again with `simplechrome fit --overwrite`",
            )
        log.warning(
            "The run has no %s (it is of an older version): depths cannot be compared and are not "
            "scaled; fit it again to have them",
            PROFILE_FILE,
        )
        return untouched
    changed = _Changes()
    signal = dataset["signal"].values
    present = present_marks(dataset)
    ids = pd.Index(dataset["gene_id"].values.astype(str))
    compared = ids.isin(train_genes)
    partly = 2 * compared.sum() < len(train_genes)
    if partly:
        compared[:] = True
    adapted: np.ndarray | None = None
    for row, cell_type in enumerate(map(str, dataset["cell_type"].values)):
        for column, mark in enumerate(map(str, dataset["mark"].values)):
            then = reference_track(profile, cell_type, mark) if mark in encoder.marks_ else None
            seen = present[row, :, column]
            if then is None or not seen.any():
                continue
            sample = seen & compared if (seen & compared).any() else seen
            depth = float(dataset["depth"].values[row, column])
            if partly and levels is not None:
                then, sample = _over_shared(then, levels, (cell_type, mark), ids, seen)
            now = profile_track(signal[row, sample, :, column], depth)
            if (cell_type, mark) in encoder.measured_ and not match_distribution:
                continue  # the encoder brings it to its own scale
            if match_distribution:
                values = signal[row, seen, :, column]
                new = match_values(values, signal[row, sample, :, column], then.bins)
                text = f"{mark} matched"
            else:
                factor = depth_factor(now, then)
                if not np.isfinite(factor) or 1 / NEAR <= factor <= NEAR:
                    continue
                new = signal[row, seen, :, column] * np.float32(factor)
                text = changed.scaled(cell_type, mark, factor, now, then)
            if adapted is None:
                adapted = signal.astype(np.float32)
            adapted[row, seen, :, column] = new
            changed.add(cell_type, text, int(sample.sum()))
    if adapted is None:
        return untouched
    changed.say(match_distribution)
    attributes = {**dataset["signal"].attrs, "units": encoder.units_}
    cells = [str(name) for name in dataset["cell_type"].values]
    return Adapted(
        dataset.assign(signal=(dataset["signal"].dims, adapted, attributes)),
        [", ".join(changed.texts.get(name, [])) for name in cells],
    )


def _over_shared(
    then: TrackProfile,
    levels: pd.DataFrame,
    track: tuple[str, str],
    ids: pd.Index,
    seen: np.ndarray,
) -> tuple[TrackProfile, np.ndarray]:
    """The training's track over the genes that both have, and which these are in the dataset."""
    own = reference_levels(levels, *track)
    shared = seen & ids.isin(own.index)
    if shared.sum() < FEWEST_SHARED:
        return then, seen
    return replace(then, levels=np.quantile(own.loc[ids[shared]], LEVEL_SHARES)), shared


def _require_units(
    dataset: xr.Dataset, encoder: Encoder, depth_scaling: bool, match_distribution: bool
) -> None:
    """Is the signal in units that the model knows, or can it be brought to them?"""
    units = str(dataset["signal"].attrs.get("units", ""))
    known = bool(units and encoder.units_)
    proportional = depth_scaling and {units, encoder.units_} <= _PROPORTIONAL
    if match_distribution or not known or units == encoder.units_ or proportional:
        return
    raise ModelMismatchError(
        f"The signal is in {units}, and the model was fitted on {encoder.units_}.",
        found=units,
        expected=encoder.units_,
        cause="signal whose units were not named when the dataset was built (--units)"
        if "mean_signal" in (units, encoder.units_) and "reads" not in (units, encoder.units_)
        else "p-values and fold change are no read counts, and no factor makes them so",
        remedy="build the dataset from the same kind of tracks and with the same --units, fit a "
        "model on this kind, or pass --match-distribution (match_distribution=True), which "
        "replaces values by those of the same rank in training, mark by mark",
    )


class _Changes:
    """What was changed, and how much of it is worth a warning."""

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}
        self._thin: list[str] = []
        self._unsure: set[int] = set()
        self._odd: list[str] = []

    def add(self, cell_type: str, text: str, windows: int) -> None:
        self.texts.setdefault(cell_type, []).append(text)
        if windows < FEW_WINDOWS:
            self._unsure.add(windows)

    def scaled(
        self, cell_type: str, mark: str, factor: float, now: TrackProfile, then: TrackProfile
    ) -> str:
        spread = spread_of_ratios(now, then)
        if spread > DISAGREEING:
            self._odd.append(f"{cell_type} {mark}, by {spread:.2g}")
        if factor > THIN:
            self._thin.append(f"{cell_type} {mark} x {factor:.3g}")
        libraries = then.depth / now.depth if now.depth else np.nan
        known = f" (library sizes: x {libraries:.3g})" if np.isfinite(libraries) else ""
        return f"{mark} x {factor:.3g}{known}"

    def say(self, matched: bool) -> None:
        each = _some([f"{name}: {', '.join(texts)}" for name, texts in self.texts.items()])
        n = sum(map(len, self.texts.values()))
        if matched:
            log.warning(
                "The values of %d tracks were replaced by those of the same rank in training (%s). "
                "How much of a mark there is in all, and how far peaks stand out, is now the "
                "training's by force: trust the ranks of genes (AUROC) more than probabilities and "
                "intervals, which were calibrated on other data",
                *(n, each),
            )
        else:
            log.info(
                "Depth scaling brought %d tracks to the level of training (%s); "
                "--no-depth-scaling leaves them as they are",
                *(n, each),
            )
        if self._thin:
            log.warning(
                "%d tracks are very thin beside those of training (%s): scaling does not bring "
                "back what few reads leave out, and probabilities stay off",
                *(len(self._thin), _some(self._thin)),
            )
        if self._odd:
            log.warning(
                "No one factor fits %d tracks: weak and strong windows ask for factors that differ "
                "(%s times). Another antibody or protocol, perhaps; look at --no-depth-scaling too",
                *(len(self._odd), _some(self._odd)),
            )
        if self._unsure:
            log.warning(
                "Depths were compared over %d windows only, and are unsure: give it all genes",
                min(self._unsure),
            )


def warn_of_transfer(dataset: xr.Dataset, encoder: Encoder) -> None:
    """Which cell types lack a mark of the model, or have other levels of it than in training?

    Says so in the log, a line per matter: a model moved between tracks of different depth ranks
    genes, but its probabilities are off. Marks that no cell type of the dataset knows by name are
    said by the encoder itself.

    Levels are compared with the mean over all training windows. An encoder that was fitted on
    several cell types does not know the level of each, so one of these may be named too.

    Parameters
    ----------
    dataset
        What is to be encoded or predicted, as `adapt_signal` leaves it.
    encoder
        Fitted.
    """
    have = [str(mark) for mark in dataset["mark"].values]
    shared = [mark for mark in encoder.marks_ if mark in have]
    lacking: list[str] = []
    far: list[str] = []
    for row, cell_type in enumerate(dataset["cell_type"].values):
        # Cell type by cell type: the memory of one, however many there are.
        one = dataset.isel(cell_type=[row], mark=[have.index(mark) for mark in shared])
        shifts = _shifts(one, encoder) if shared else {}
        missing = [mark for mark in shared if mark not in shifts]
        if missing:
            lacking.append(f"{cell_type} lacks {', '.join(missing)}")
        moved = [
            f"{mark} {shift:+.2f}" for mark, shift in shifts.items() if abs(shift) > LARGE_SHIFT
        ]
        if moved and encoder.transform_.standardize:
            far.append(f"{cell_type}: {', '.join(moved)}")
    cells = dataset.sizes["cell_type"]
    if lacking:
        log.warning(
            "%d of %d cell types lack marks of the model, which are treated as not assayed (%s): "
            "their predictions are less sure; a model fitted without these marks shows by how much",
            *(len(lacking), cells, _some(lacking)),
        )
    if far:
        log.warning(
            "%d of %d cell types differ in level from the mean of the training windows, in "
            "standard deviations of a bin (%s). Trust their ranks (AUROC) more than their "
            "probabilities, unless they were trained on; or fit again with them among the data "
            "(`simplechrome merge`), which the encoder can use without labels",
            *(len(far), cells, _some(far)),
        )


def _shifts(one: xr.Dataset, encoder: Encoder) -> dict[str, float]:
    """How far the mean of each mark that one cell type has lies from the training mean."""
    fitted = encoder.transform_
    if isinstance(fitted, TrackTransform):
        # It sees each track on the track's own scale, where the training mean is 0.
        seen_by = fitted.transform(align_marks(one, fitted.marks_))
        return {
            mark: float(seen_by.values[0, seen, :, column].mean(dtype="float64"))
            for column, mark in enumerate(fitted.marks_)
            if (seen := seen_by.present[0, :, column]).any()
        }
    windows = SignalTransform(fitted.function, standardize=False).fit(one).transform(one)
    shifts = {}
    for column, mark in enumerate(map(str, one["mark"].values)):
        seen = windows.present[0, :, column]
        if seen.any():
            at = fitted.marks_.index(mark)
            mean = float(windows.values[0, seen, :, column].mean(dtype="float64"))
            mean_then, scale = float(fitted.mean_[at]), float(fitted.scale_[at])
            # Exactly 0 and 1 where no training window had the mark: nothing to compare with.
            shifts[mark] = 0.0 if (mean_then, scale) == (0, 1) else (mean - mean_then) / scale
    return shifts


def _some(texts: Sequence[str]) -> str:
    return "; ".join(texts[:_EXAMPLES]) + ("; …" if len(texts) > _EXAMPLES else "")


def match_values(signal: np.ndarray, sample: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Which values have the same rank in another distribution?

    Equal values have one rank, the middle of theirs, and stay equal. Order stays; how much more
    one bin has than another does not.

    Parameters
    ----------
    signal
        Any shape.
    sample
        Values of the same track, among which ranks are counted.
    quantiles : (104,)
        Of the other distribution, at `BIN_SHARES`.

    Returns
    -------
    float32, in the shape of `signal`.

    References
    ----------
    Bolstad et al., Bioinformatics 2003 (quantile normalization).
    """
    values, where = np.unique(signal, return_inverse=True)
    ordered = np.sort(sample, axis=None)
    below = np.searchsorted(ordered, values, side="left")
    up_to = np.searchsorted(ordered, values, side="right")
    matched = np.interp((below + up_to) / (2 * ordered.size), BIN_SHARES, quantiles)
    return matched.astype(np.float32)[where].reshape(signal.shape)
