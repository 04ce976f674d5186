"""One run: fit an encoder and a predictor, score them once, and keep all of it in a folder."""

from __future__ import annotations

import json
import logging
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import xarray as xr

import simplechrome
from simplechrome.atomic import check_free, whole_file
from simplechrome.config import RunConfig, SplitConfig, read_config, write_config
from simplechrome.dataset import splits
from simplechrome.errors import (
    ConfigError,
    MissingInputError,
    ModelFormatError,
    OutputExistsError,
)
from simplechrome.evaluation.models import make_encoder, make_predictor
from simplechrome.evaluation.predictions import latent_table, predict_genes, write_table
from simplechrome.evaluation.scores import score_predictions
from simplechrome.evaluation.transfer import warn_of_transfer
from simplechrome.latent.encoder import Encoder
from simplechrome.latent.load import load_encoder
from simplechrome.predictors.load import load_predictor
from simplechrome.predictors.predictor import Predictor
from simplechrome.predictors.rows import known_targets, require_two_classes

log = logging.getLogger(__name__)

EXCLUDED, NEW = "excluded", "new"
RUN_CONTENTS = frozenset(
    {"config.toml", "environment.json", "split.parquet", "checkpoints", "encoder", "predictor"}
    | {"history.csv", "predictions.parquet", "metrics.json", "report.html", "figures"}
    # What the demonstration adds.
    | {"inputs", "demo.zarr", "label_efficiency.csv"}
)
"""Names that a run folder may hold, and may lose when it is overwritten."""
_PACKAGES = ("numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "xarray", "zarr", "torch")


class Run(NamedTuple):
    """A run that is finished.

    predictions : see `predict_genes`
    metrics : test and validation scores, see `score_predictions`
    interrupted : Ctrl-C cut the training short; the best epoch until then was kept
    """

    folder: Path
    config: RunConfig
    encoder: Encoder
    predictor: Predictor
    predictions: pd.DataFrame
    metrics: dict[str, Any]
    interrupted: bool


def assign_genes(dataset: xr.Dataset, config: SplitConfig, seed: int) -> np.ndarray:
    """On which side of the configured split is each gene? See `simplechrome.dataset.splits`."""
    match config.kind:
        case "chromosome":
            return splits.assign_by_chromosome(
                dataset, config.test_chroms, config.validation_chroms, config.exclude_chroms
            )
        case "published":
            log.warning(
                "The published split runs in order of gene number, and overlapping windows are on "
                "both sides: for comparison with published figures only"
            )
            return splits.assign_as_published(dataset)
        case "random":
            log.warning("A random split puts overlapping windows on both sides: optimistic")
            return splits.assign_at_random(
                dataset, test=config.test_share, validation=config.validation_share, seed=seed
            )
        case "fold":
            return splits.assign_by_fold(dataset, config.fold, config.n_folds)


def target_of(dataset: xr.Dataset, task: str) -> xr.DataArray:
    """What is to be predicted: the label, or log2(expression + 1)?"""
    if task == "classification":
        return dataset["label"]
    levels: xr.DataArray = np.log2(dataset["expression"] + 1)  # type: ignore[assignment]
    return levels


def _labelled_genes(train: xr.Dataset, target: xr.DataArray, config: RunConfig) -> np.ndarray:
    """Positions of the training genes that the predictor learns from; fails before long work."""
    if config.labels is not None:
        genes = splits.draw_labels(train, config.labels, config.seed)
    else:
        known = known_targets(target, config.task).reshape(target.shape)
        genes = np.flatnonzero(known.any(axis=0))
    drawn = target.isel(gene=genes)
    known = known_targets(drawn, config.task)
    if config.task == "classification":
        require_two_classes(drawn.values.ravel()[known])
    return genes


def _require_run_only(folder: Path) -> None:
    """Does the folder hold a run and nothing else? Else overwriting would delete what is not ours.

    A `config.toml` alone does not say so: many programs call their configuration that.
    """
    held = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    foreign = sorted(name for name in held - RUN_CONTENTS if not name.startswith("."))
    try:
        read_config(folder / "config.toml")
        readable = True
    except (ConfigError, MissingInputError):
        readable = False
    if foreign or not readable:
        raise OutputExistsError(
            f"{folder} is not a run folder, and is not overwritten.",
            found=", ".join(foreign[:8]) if foreign else "no config.toml of a run",
            expected="what `simplechrome fit` writes, or no folder",
            remedy="choose another folder, or move away what you want to keep",
        )


@contextmanager
def _fresh_folder(folder: Path, overwrite: bool) -> Iterator[None]:
    """An empty folder; what it replaces comes back if the run fails."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    if folder.exists() and not overwrite:
        held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        raise OutputExistsError(
            f"{folder} exists already.",
            found=", ".join(held[:12]) or "a file",
            expected="a new folder",
            remedy="choose another folder, or pass --overwrite to replace it",
        )
    if folder.exists():
        _require_run_only(folder)
    check_free(folder, overwrite=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    old: Path | None = None
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
        folder.replace(old)
    folder.mkdir()
    try:
        yield
    except BaseException:
        # A failed replacement gives back what was there. A first run that fails leaves its
        # encoder or checkpoints to look at; where it has learned nothing yet, nothing is left.
        learned = (folder / "checkpoints").exists() or (folder / "encoder").exists()
        if old is not None or not learned:
            shutil.rmtree(folder)
        if old is not None:
            old.replace(folder)
        raise
    if old is not None:
        shutil.rmtree(old)


def _write_json(values: dict[str, Any], path: Path) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n")


def _environment(dataset: xr.Dataset) -> dict[str, Any]:
    return {
        "simplechrome": simplechrome.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": sys.argv,
        "packages": {name: version(name) for name in _PACKAGES},
        "dataset": {
            "sizes": {str(name): size for name, size in dataset.sizes.items()},
            "assembly": dataset.attrs.get("assembly", ""),
            "note": dataset.attrs.get("note", ""),
            "sources": list(dataset.attrs.get("sources", ())),
        },
    }


def fit_run(
    dataset: xr.Dataset, config: RunConfig, folder: str | Path, *, overwrite: bool = False
) -> Run:
    """How well can expression be predicted from these tracks, and by which model?

    The encoder sees the training windows (and, to know when to stop, the validation windows),
    never labels. The predictor sees the labels of the training genes, or of the `labels` genes
    drawn from them; nothing else chooses anything. Test genes are scored once.

    Parameters
    ----------
    dataset
        With expression or labels.
    config
        All options.
    folder
        Becomes the run folder: config.toml, encoder/, predictor/, history.csv, split.parquet,
        environment.json, predictions.parquet and metrics.json, which is written last.
    overwrite
        Replace a run folder that is there.

    Raises
    ------
    OutputExistsError
        If the folder holds something and `overwrite` is False, or it is not a run folder.
    SplitError, MissingExpressionError, UndefinedScoreError, TrainingError
        See the parts.
    """
    path = Path(folder)
    assignment = assign_genes(dataset, config.split, config.seed)
    parts = splits.apply_assignment(dataset, assignment)
    target = target_of(dataset, config.task)
    labelled = _labelled_genes(parts.train, target_of(parts.train, config.task), config)
    with _fresh_folder(path, overwrite):
        write_config(config, path / "config.toml")
        _write_json(_environment(dataset), path / "environment.json")
        drawn = np.isin(dataset["gene_id"].values, parts.train["gene_id"].values[labelled])
        write_table(
            pd.DataFrame(
                {
                    "gene_id": dataset["gene_id"].values,
                    "split": np.where(assignment == "", EXCLUDED, assignment),
                    "labelled": drawn,
                }
            ),
            path / "split.parquet",
        )
        encoder = make_encoder(config)
        fitting: dict[str, Any] = {"validation": parts.validation}
        if config.encoder.name == "vae":
            fitting["checkpoints"] = path / "checkpoints"
        encoder.fit(parts.train, **fitting)
        encoder.save(path / "encoder")
        if hasattr(encoder, "activity_"):
            shares = ", ".join(f"{value:.2f}" for value in encoder.activity_)
            log.info("Activity of the latents (deviation, the first is 1): %s", shares)
        latents = encoder.transform(dataset)
        rows = np.flatnonzero(drawn & (assignment == "train"))
        predictor = make_predictor(config)
        predictor.fit(latents.isel(gene=rows), target.isel(gene=rows))
        predictor.save(path / "predictor")
        history = getattr(encoder, "history_", None) or getattr(predictor, "history_", None)
        if history:
            write_table(pd.DataFrame(history), path / "history.csv")
        named = np.where(assignment == "", EXCLUDED, assignment)
        predictions = predict_genes(dataset, latents, predictor, named)
        write_table(predictions, path / "predictions.parquet", dataset.attrs.get("note", ""))
        interrupted = any(getattr(model, "interrupted_", False) for model in (encoder, predictor))
        metrics = {
            "task": config.task,
            "n_labels": len(rows),
            "seed": config.seed,
            "note": dataset.attrs.get("note", ""),
            "interrupted": interrupted,
        } | {
            part: score_predictions(predictions[predictions["split"] == part], config.task)
            for part in ("validation", "test")
        }
        _write_json(metrics, path / "metrics.json")
    return Run(path, config, encoder, predictor, predictions, metrics, interrupted)


class Models(NamedTuple):
    """What a run folder holds for use elsewhere; `split` maps gene_id to the part it was in."""

    config: RunConfig
    encoder: Encoder
    predictor: Predictor
    split: pd.Series


def load_run(folder: str | Path) -> Models:
    """What was fitted in this run?

    Raises
    ------
    MissingInputError
        If there is no such folder.
    ModelFormatError
        If the run is not complete.
    """
    path = Path(folder)
    if not path.is_dir():
        raise MissingInputError(
            f"There is no run folder {path}.",
            remedy="make one with `simplechrome fit`, or check the path",
        )
    needed = ("config.toml", "encoder", "predictor", "split.parquet")
    absent = [name for name in needed if not (path / name).exists()]
    if absent:
        raise ModelFormatError(
            f"{path} is not a finished run.",
            found=f"no {', '.join(absent)}",
            expected=", ".join(needed),
            cause="`simplechrome fit` was stopped before its end, or the path is another folder's",
            remedy="fit it again with --overwrite",
        )
    try:
        split = pq.read_table(path / "split.parquet").to_pandas().set_index("gene_id")["split"]
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are among these
        raise ModelFormatError(
            f"{path / 'split.parquet'} cannot be read.",
            found=f"{type(error).__name__}: {error}",
            expected="a table with gene_id and split",
            cause="a damaged or incomplete copy of the run folder",
            remedy="copy the folder again",
        ) from error
    return Models(
        read_config(path / "config.toml"),
        load_encoder(path / "encoder"),
        load_predictor(path / "predictor"),
        split,
    )


def predict_with_run(folder: str | Path, dataset: xr.Dataset) -> pd.DataFrame:
    """What does a run's model predict for every gene of a dataset?

    Cell types that lack a mark, or whose levels are far from those of training, are named in the
    log.

    The column `split` says on which side each gene was when the model was fitted, whatever cell
    type it is now predicted in: only `test` and `new` genes are fair to score.

    Returns
    -------
    See `predict_genes`.

    Raises
    ------
    ModelMismatchError
        If the windows are not the model's, or no mark is.
    """
    models = load_run(folder)
    warn_of_transfer(dataset, models.encoder)
    split = models.split.reindex(dataset["gene_id"].values).fillna(NEW).to_numpy()
    return predict_genes(dataset, models.encoder.transform(dataset), models.predictor, split)


def encode_with_run(folder: str | Path, dataset: xr.Dataset) -> pd.DataFrame:
    """What are a dataset's latents under a run's encoder? See `latent_table`."""
    return latent_table(dataset, load_run(folder).encoder)
