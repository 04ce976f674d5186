"""A run folder used elsewhere: its models, and what they say about other data."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow.parquet as pq
import xarray as xr

from simplechrome.config import RunConfig, read_config
from simplechrome.errors import MissingInputError, ModelFormatError
from simplechrome.evaluation.predictions import latent_table, predict_genes
from simplechrome.evaluation.run_folder import describe_run
from simplechrome.evaluation.transfer import warn_of_transfer
from simplechrome.latent.encoder import Encoder
from simplechrome.latent.load import load_encoder
from simplechrome.predictors.load import load_predictor
from simplechrome.predictors.predictor import Predictor
from simplechrome.unfinished import unfinished_folder

NEW = "new"


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
    begun = unfinished_folder(path)
    if not path.is_dir() and begun.is_dir():
        raise ModelFormatError(
            f"{path} is not finished.",
            found=f"{begun} with {describe_run(begun)}",
            cause="`simplechrome fit` was stopped or killed, or is still at work",
            remedy="the same command with --resume goes on from there",
        )
    if not path.is_dir():
        raise MissingInputError(
            f"There is no run folder {path}.",
            remedy="make one with `simplechrome fit`, or check the path",
        )
    needed = ("config.toml", "encoder", "predictor", "split.parquet", "metrics.json")
    absent = [name for name in needed if not (path / name).exists()]
    if absent:
        raise ModelFormatError(
            f"{path} is not a finished run.",
            found=f"no {', '.join(absent)}",
            expected=", ".join(needed),
            cause="an incomplete copy, or the path is another folder's",
            remedy="copy it again, or fit it again with --overwrite",
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
    """What are a dataset's latents under a run's encoder? See `latent_table`.

    Cell types that lack a mark, or whose levels are far from those of training, are named in the
    log.
    """
    encoder = load_run(folder).encoder
    warn_of_transfer(dataset, encoder)
    return latent_table(dataset, encoder)
