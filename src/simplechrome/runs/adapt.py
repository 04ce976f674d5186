"""New tracks normalized to the training tracks of a run, and warnings where they still differ."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from simplechrome.dataset.choose import warn_of_imputed
from simplechrome.dataset.transforms.signal import SignalTransform, present_marks
from simplechrome.dataset.transforms.tracks import TrackTransform
from simplechrome.errors import ModelFormatError, ModelMismatchError
from simplechrome.latent.encoder import align_marks, require_same_case
from simplechrome.runs.folder import RunFolder
from simplechrome.runs.load import Models, reading, sides_of
from simplechrome.runs.predictions import write_table
from simplechrome.work.files import write_json

if TYPE_CHECKING:
    from simplechrome.latent.encoder import Encoder

log = logging.getLogger(__name__)

LEVEL_FRACTIONS = np.linspace(0.05, 0.95, 91)
"""Quantiles over windows. Beyond both ends a few windows, or artifacts, decide."""
BIN_FRACTIONS = np.concatenate([np.linspace(0, 0.99, 100), [0.995, 0.999, 0.9999, 1]])
"""Quantiles over bins, finer at peaks: a window's largest bins are one percent of all."""
LARGE_SHIFT = 0.25
"""In standard deviations of a mark's bins in training; beyond it the depth or antibody differs."""
SIMILAR_DEPTH = 1.1
"""Tracks that differ from training by a smaller factor are not scaled."""
SPARSE = 5.0
"""Factor from which read counts are too low for scaling to restore the signal."""
INCONSISTENT = 8.0
"""Ratio of the factors for weak and strong windows beyond which no single factor fits."""
FEWEST_SHARED = 50
"""Genes in common below which levels are not compared over these genes."""
FEW_WINDOWS = 100
"""Windows below which the factor itself is uncertain."""

_SEPARATOR = "\t"  # cell type and mark in the name of a column
_PROPORTIONAL = {"reads", "CPM"}  # to each other: one factor converts one to the other


class TrackProfile(NamedTuple):
    """Distribution of the signal of one track over the training windows.

    levels : (91,), quantiles of the mean signal per bin of its windows, at `LEVEL_FRACTIONS`
    bins : (104,), quantiles of the signal of its bins, at `BIN_FRACTIONS`
    depth : library size or total signal; NaN if unknown
    """

    levels: np.ndarray
    bins: np.ndarray
    depth: float


SignalProfile: TypeAlias = Mapping[str, Mapping[str, TrackProfile]]
"""cell type -> mark -> track; marks that were not assayed are not in it."""


class Adapted(NamedTuple):
    """A dataset normalized to the training data of a model.

    dataset : the one that was given, if nothing had to change
    changes : (cell_type,), what was done to each, as `H3K4me3 x 2.4, H3K27me3 x 0.7`; empty where
        nothing was
    """

    dataset: xr.Dataset
    changes: list[str]


def adapt_run(
    models: Models,
    dataset: xr.Dataset,
    depth_scaling: bool = True,
    match_distribution: bool = False,
) -> tuple[Models, Adapted]:
    """Return a run's models adapted to the tracks of a dataset, and the dataset normalized to them.

    Remaining differences are logged as warnings. See `adapt_signal` for the options and errors.
    """
    models.encoder.require_windows(dataset)
    warn_of_imputed(dataset)
    require_same_case(dataset, models.encoder.marks_)
    # An encoder adapts to new cell types on its training genes, if the dataset has enough of them.
    train = sides_of(models.split, dataset["gene_id"].values) == "train"
    genes = train if train.sum() >= FEW_WINDOWS else np.ones_like(train)
    encoder = models.encoder.adapt_to(dataset.isel(gene=genes))
    adapted = adapt_signal(
        dataset,
        encoder,
        read_signal_profile(models.folder),
        models.split.index[models.split == "train"].astype(str).tolist(),
        read_levels(models.folder),
        depth_scaling=depth_scaling,
        match_distribution=match_distribution,
    )
    if adapted.dataset is not dataset:
        encoder = models.encoder.adapt_to(adapted.dataset.isel(gene=genes))
    warn_of_transfer(adapted.dataset, encoder)
    return models._replace(encoder=encoder), adapted


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
    """Return the dataset at the sequencing depth, or with the distribution, of the training data.

    Each track is multiplied by one factor before any logarithm, so that zero stays zero; see
    `depth_factor`. A cell type of the training data is compared with itself, any other with the
    mean of the training cell types. All changes are logged.

    Parameters
    ----------
    encoder
        Fitted.
    profile, levels
        Signal of the run's training windows, and levels of all of its genes; None for runs of
        older versions, which lack them.
    train_genes
        Ids. Levels are compared over these if the dataset holds half of them or more; otherwise
        over all genes in common with `levels`; if these are few, over all windows, with a warning.
    depth_scaling
        False leaves the signal unchanged.
    match_distribution
        Replace each bin's value by that of the same rank in training, in place of scaling: for
        signal in other units.

    Raises
    ------
    ModelMismatchError
        If the signal has other units than in training, and distributions are not to be matched.
    ModelFormatError
        If they are to be matched, and the run has no profile.
    """
    _require_units(dataset, encoder, depth_scaling, match_distribution)
    untouched = Adapted(dataset, [""] * dataset.sizes["cell_type"])
    if not (depth_scaling or match_distribution):
        return untouched
    if profile is None:
        if match_distribution:
            raise ModelFormatError(
                "The run has no signal_profile.json, so distributions cannot be matched: it was "
                "fitted by an older version.",
                "fit it again with `simplechrome fit --overwrite`",
            )
        log.warning(
            "The run has no signal_profile.json (it was fitted by an older version): depths are "
            "not compared and not scaled; fit it again to have this"
        )
        return untouched
    ids = pd.Index(dataset["gene_id"].values.astype(str))
    compared = ids.isin(train_genes)
    few_train_genes = 2 * compared.sum() < len(train_genes)
    if few_train_genes:
        compared[:] = True
    signal, adapted = dataset["signal"].values, None
    changes: dict[str, list[str]] = {}
    sparse: list[str] = []
    uneven: list[str] = []
    fewest = FEW_WINDOWS
    for row, column, cell_type, mark, seen in _tracks(dataset):
        reference = reference_track(profile, cell_type, mark) if mark in encoder.marks_ else None
        # An encoder normalizes the tracks that it measured by itself.
        measured = (cell_type, mark) in encoder.measured_ and not match_distribution
        if reference is None or measured:
            continue
        sample = seen & compared if (seen & compared).any() else seen
        if few_train_genes and levels is not None:
            shared = _shared_genes(levels, cell_type, mark, ids, seen)
            if shared is not None:
                sample, quantiles = shared
                reference = reference._replace(levels=quantiles)
        values, windows = signal[row, seen, :, column], signal[row, sample, :, column]
        if match_distribution:
            new, change = match_values(values, windows, reference.bins), f"{mark} matched"
        else:
            track = profile_track(windows, float(dataset["depth"].values[row, column]))
            factor = depth_factor(track, reference)
            if not np.isfinite(factor) or 1 / SIMILAR_DEPTH <= factor <= SIMILAR_DEPTH:
                continue
            new, change = values * np.float32(factor), f"{mark} x {factor:.3g}"
            if factor > SPARSE:
                sparse.append(f"{cell_type} {change}")
            inside = _ratios(track, reference, (LEVEL_FRACTIONS > 0.1) & (LEVEL_FRACTIONS < 0.9))
            if inside.size and (spread := inside.max() / inside.min()) > INCONSISTENT:
                uneven.append(f"{cell_type} {mark}, by {spread:.2g}")
            if track.depth and np.isfinite(libraries := reference.depth / track.depth):
                change += f" (library sizes: x {libraries:.3g})"
        adapted = signal.astype(np.float32) if adapted is None else adapted
        adapted[row, seen, :, column] = new
        changes.setdefault(cell_type, []).append(change)
        fewest = min(fewest, len(windows))
    if adapted is None:
        return untouched
    _log_changes(changes, matched=match_distribution)
    _warn(
        "%d tracks have far fewer reads than in training (%s): scaling does not restore missing "
        "reads, and probabilities remain biased",
        sparse,
    )
    _warn(
        "No single factor fits %d tracks: the factors of weak and strong windows differ (%s "
        "times). The antibody or protocol may differ; compare with --no-depth-scaling",
        uneven,
    )
    if fewest < FEW_WINDOWS:
        log.warning(
            "Depths were compared over %d windows only, and are uncertain: pass all genes", fewest
        )
    attributes = {**dataset["signal"].attrs, "units": encoder.units_}
    return Adapted(
        dataset.assign(signal=(dataset["signal"].dims, adapted, attributes)),
        [", ".join(changes.get(str(name), [])) for name in dataset["cell_type"].values],
    )


def _tracks(dataset: xr.Dataset) -> Iterator[tuple[int, int, str, str, np.ndarray]]:
    """Yield row, column, cell type and mark of each track, and which genes have data, (gene,)."""
    present = present_marks(dataset)
    for row, cell_type in enumerate(dataset["cell_type"].values):
        for column, mark in enumerate(dataset["mark"].values):
            if present[row, :, column].any():
                yield row, column, str(cell_type), str(mark), present[row, :, column]


def _require_units(
    dataset: xr.Dataset, encoder: Encoder, depth_scaling: bool, match_distribution: bool
) -> None:
    units = str(dataset["signal"].attrs.get("units", ""))
    known = bool(units and encoder.units_)
    proportional = depth_scaling and {units, encoder.units_} <= _PROPORTIONAL
    if match_distribution or not known or units == encoder.units_ or proportional:
        return
    unnamed = "mean_signal" in (units, encoder.units_) and "reads" not in (units, encoder.units_)
    cause = "perhaps --units was not passed when it was built" if unnamed else "no factor fits both"
    raise ModelMismatchError(
        f"The signal is in {units}, and the model was fitted on {encoder.units_}: {cause}.",
        "build the dataset from the same kind of tracks with the same --units, fit a model on this "
        "kind, or pass --match-distribution (match_distribution=True), which replaces the values "
        "of each mark by those of the same rank in training",
    )


def _log_changes(changes: Mapping[str, Sequence[str]], *, matched: bool) -> None:
    n = sum(map(len, changes.values()))
    each = _first([f"{name}: {', '.join(done)}" for name, done in changes.items()])
    if matched:
        log.warning(
            "The values of %d tracks were replaced by those of the same rank in training (%s). The "
            "total signal and the height of peaks are now those of training: trust the ranks of "
            "genes (AUROC) more than probabilities and intervals, which were calibrated on other "
            "data",
            *(n, each),
        )
    else:
        log.info(
            "Depth scaling brought %d tracks to the level of training (%s); "
            "--no-depth-scaling leaves them unchanged",
            *(n, each),
        )


def _warn(message: str, texts: Sequence[str]) -> None:
    """Log a message with the number of texts and the first of them, if there are any."""
    if texts:
        log.warning(message, len(texts), _first(texts))


def _first(texts: Sequence[str], n: int = 5) -> str:
    return "; ".join(texts[:n]) + ("; …" if len(texts) > n else "")


def depth_factor(track: TrackProfile, reference: TrackProfile) -> float:
    """Return the factor that brings a track to the depth of another one; NaN if one has no signal.

    The median of the ratios of their windows' levels, quantile by quantile. A few windows with
    very high signal, or a cell type with more windows that have the mark, change it little, unlike
    the mean. Library sizes alone are not enough, since the fraction of reads in peaks differs from
    experiment to experiment.

    References
    ----------
    Anders & Huber, Genome Biology 2010 (median of ratios, there over genes).
    """
    ratios = _ratios(track, reference)
    return float(np.exp(np.median(np.log(ratios)))) if ratios.size else float("nan")


def _ratios(track: TrackProfile, reference: TrackProfile, where: Any = True) -> np.ndarray:
    both = (track.levels > 0) & (reference.levels > 0) & where
    return np.asarray(reference.levels[both] / track.levels[both])


def match_values(signal: np.ndarray, sample: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Return the values that have the same rank in another distribution (quantile normalization).

    Equal values share the middle of their ranks, and stay equal. The order is kept; ratios between
    bins are not.

    Parameters
    ----------
    signal
        Any shape; the result is float32 in the same.
    sample
        Values of the same track, among which ranks are counted.
    quantiles : (104,)
        Of the other distribution, at `BIN_FRACTIONS`.

    References
    ----------
    Bolstad et al., Bioinformatics 2003 (quantile normalization).
    """
    values, where = np.unique(signal, return_inverse=True)
    ordered = np.sort(sample, axis=None)
    below = np.searchsorted(ordered, values, side="left")
    up_to = np.searchsorted(ordered, values, side="right")
    matched = np.interp((below + up_to) / (2 * ordered.size), BIN_FRACTIONS, quantiles)
    return matched.astype(np.float32)[where].reshape(signal.shape)


def warn_of_transfer(dataset: xr.Dataset, encoder: Encoder) -> None:
    """Log which cell types lack a mark of the model, or have other levels of it than in training.

    A model that is applied to tracks of another depth still ranks genes, but its probabilities are
    biased. Levels are compared with the mean over all training windows: an encoder that was fitted
    on several cell types does not know the level of each, so one of these may be named too. An
    encoder warns by itself of marks that it does not know by name.
    """
    have = [str(mark) for mark in dataset["mark"].values]
    shared = [mark for mark in encoder.marks_ if mark in have]
    lacking: list[str] = []
    far: list[str] = []
    for row, cell_type in enumerate(dataset["cell_type"].values):
        # One cell type at a time bounds the memory.
        one = dataset.isel(cell_type=[row], mark=[have.index(mark) for mark in shared])
        shifts = _shifts(one, encoder) if shared else {}
        missing = [mark for mark in shared if mark not in shifts]
        if missing:
            lacking.append(f"{cell_type} lacks {', '.join(missing)}")
        large = [
            f"{name} {shift:+.2f}" for name, shift in shifts.items() if abs(shift) > LARGE_SHIFT
        ]
        if large and encoder.transform_.standardize:
            far.append(f"{cell_type}: {', '.join(large)}")
    of_all = f"of {dataset.sizes['cell_type']} cell types"
    _warn(
        f"%d {of_all} lack marks of the model, which are treated as not assayed (%s): their "
        "predictions are less certain; a model fitted without these marks shows by how much",
        lacking,
    )
    _warn(
        f"%d {of_all} differ in level from the mean of the training windows, in standard "
        "deviations of a bin (%s). Trust their ranks (AUROC) more than their probabilities, unless "
        "they were trained on; or include them in the training data (`simplechrome merge`), which "
        "the encoder can use without labels",
        far,
    )


def _shifts(one: xr.Dataset, encoder: Encoder) -> dict[str, float]:
    """Return mark -> mean of one cell type minus that of training, in standard deviations."""
    fitted = encoder.transform_
    if isinstance(fitted, TrackTransform):
        # It brings each track to the track's own scale, where the training mean is 0.
        windows = fitted.transform(align_marks(one, fitted.marks_))
        training = dict.fromkeys(fitted.marks_, (0.0, 1.0))
    else:
        windows = SignalTransform(fitted.function, standardize=False).fit(one).transform(one)
        moments = zip(fitted.mean_.tolist(), fitted.scale_.tolist(), strict=True)
        every = dict(zip(fitted.marks_, moments, strict=True))
        training = {str(mark): every[str(mark)] for mark in one["mark"].values}
    shifts = {}
    for column, (mark, (mean, scale)) in enumerate(training.items()):
        seen = windows.present[0, :, column]
        if seen.any():
            shift = (float(windows.values[0, seen, :, column].mean(dtype="float64")) - mean) / scale
            # Exactly 0 and 1 where no training window had the mark: nothing to compare with.
            compared = (mean, scale) != (0, 1) or isinstance(fitted, TrackTransform)
            shifts[mark] = shift if compared else 0.0
    return shifts


# What a run keeps of its training signal: quantiles of each track, and levels of all genes.


def profile_track(signal: np.ndarray, depth: float = np.nan) -> TrackProfile:
    """Return the distribution of the signal, (gene, bin), of a track's windows that have data."""
    levels = np.quantile(signal.mean(axis=1, dtype=np.float64), LEVEL_FRACTIONS)
    return TrackProfile(levels, np.quantile(signal, BIN_FRACTIONS), float(depth))


def profile_signal(dataset: xr.Dataset) -> SignalProfile:
    """Return the distribution of the signal of each track of these (training) windows."""
    profile: dict[str, dict[str, TrackProfile]] = {
        str(cell_type): {} for cell_type in dataset["cell_type"].values
    }
    for row, column, cell_type, mark, seen in _tracks(dataset):
        windows = dataset["signal"].values[row, seen, :, column]
        depth = float(dataset["depth"].values[row, column])
        profile[cell_type][mark] = profile_track(windows, depth)
    return profile


def reference_track(profile: SignalProfile, cell_type: str, mark: str) -> TrackProfile | None:
    """Return the training track of the same cell type, or the mean quantiles of all that have it.

    None if no training cell type has the mark.
    """
    own = profile.get(cell_type, {}).get(mark)
    tracks = [marks[mark] for marks in profile.values() if mark in marks]
    if own is not None or not tracks:
        return own
    levels, bins, depth = (np.mean(values, axis=0) for values in zip(*tracks, strict=True))
    return TrackProfile(levels, bins, float(depth))


def _shared_genes(
    levels: pd.DataFrame, cell_type: str, mark: str, ids: pd.Index, seen: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return which genes have data here and in the run, and the run's quantiles over these.

    The run's levels are those of the same cell type, or the mean over all. None if they share too
    few genes.
    """
    if (cell_type, mark) in levels.columns:
        own = levels[cell_type, mark].dropna()
    else:
        columns = [column for column in levels.columns if column[1] == mark]
        own = levels[columns].mean(axis=1).dropna()
    shared = seen & ids.isin(own.index)
    if shared.sum() < FEWEST_SHARED:
        return None
    return shared, np.quantile(own.loc[ids[shared]], LEVEL_FRACTIONS)


def write_levels(dataset: xr.Dataset, folder: str | Path) -> None:
    """Write the mean signal of every gene in each track, as `signal_levels.parquet`.

    It serves to compare depths where other data hold few of the training genes. Levels are of
    windows, without labels.
    """
    columns: dict[str, Any] = {"gene_id": dataset["gene_id"].values}
    means = dataset["signal"].values.mean(axis=2, dtype=np.float64)
    for row, column, cell_type, mark, seen in _tracks(dataset):
        level = np.where(seen, means[row, :, column], np.nan)
        columns[f"{cell_type}{_SEPARATOR}{mark}"] = level.astype(np.float32)
    write_table(pd.DataFrame(columns), RunFolder(folder).signal_levels)


def read_levels(folder: str | Path) -> pd.DataFrame | None:
    """Return the levels of a run's genes, (gene_id, (cell_type, mark)); None without such a file.

    Raises ModelFormatError if the file is damaged.
    """
    path = RunFolder(folder).signal_levels
    if not path.exists():
        return None
    with reading(path):
        table = pd.read_parquet(path).set_index("gene_id")
        names = [tuple(column.split(_SEPARATOR)) for column in table.columns]
        table.columns = pd.MultiIndex.from_tuples(names)
        return table


def write_signal_profile(profile: SignalProfile, folder: str | Path) -> None:
    """Write the profile of the training tracks, as `signal_profile.json`."""

    def plain(track: TrackProfile) -> dict[str, Any]:
        levels, bins = ([float(f"{v:.6g}") for v in part] for part in (track.levels, track.bins))
        depth = track.depth if np.isfinite(track.depth) else None
        return {"depth": depth, "levels": levels, "bins": bins}

    cell_types = {
        cell_type: {mark: plain(track) for mark, track in marks.items()}
        for cell_type, marks in profile.items()
    }
    write_json({"cell_types": cell_types}, RunFolder(folder).signal_profile)


def read_signal_profile(folder: str | Path) -> SignalProfile | None:
    """Return the profile of a run's training tracks; None where it has no such file.

    Raises ModelFormatError if the file is damaged.
    """
    path = RunFolder(folder).signal_profile
    if not path.exists():
        return None
    with reading(path):
        stored = json.loads(path.read_text(encoding="utf-8"))["cell_types"]
        return {
            cell_type: {mark: _read_track(track) for mark, track in marks.items()}
            for cell_type, marks in stored.items()
        }


def _read_track(stored: Mapping[str, Any]) -> TrackProfile:
    levels, bins = (np.asarray(stored[name], np.float64) for name in ("levels", "bins"))
    if levels.shape != LEVEL_FRACTIONS.shape or bins.shape != BIN_FRACTIONS.shape:
        raise ValueError(
            f"{levels.size} levels and {bins.size} bins instead of "
            f"{LEVEL_FRACTIONS.size} and {BIN_FRACTIONS.size}"
        )
    return TrackProfile(levels, bins, np.nan if stored["depth"] is None else float(stored["depth"]))
