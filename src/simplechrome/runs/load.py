"""The models of a run folder, and other data as these are to see them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import xarray as xr

from simplechrome.config.run import RunConfig, read_config
from simplechrome.dataset.choose import warn_of_imputed
from simplechrome.errors import ModelFormatError
from simplechrome.evaluation.uncertainty import Uncertainty, read_uncertainty
from simplechrome.latent.encoder import Encoder
from simplechrome.latent.registry import load_encoder
from simplechrome.latent.window_encoder import require_same_case
from simplechrome.predictors.predictor import Predictor
from simplechrome.pretrained import locate_run
from simplechrome.runs.adapt import (
    FEW_WINDOWS,
    Adapted,
    adapt_signal,
    read_levels,
    read_signal_profile,
    warn_of_transfer,
)
from simplechrome.runs.ensemble import Ensemble, load_ensemble
from simplechrome.runs.folder import SOURCE, find_run, read_environment
from simplechrome.sources.genome.assembly import canonical_assembly

log = logging.getLogger(__name__)

NEW = "new"
_VERSION = r"^(ENS[A-Z]*\d{11})\.\d+$", r"\1"


class Models(NamedTuple):
    """What a run folder holds for use elsewhere.

    predictor : an `Ensemble` where the run has several members
    split : gene_id → the part it was in
    labelled : gene_id → did the predictor learn from its label?
    uncertainty : None for runs that were made before there was any, or cut short
    source : predictor of the run that this one was started from, if any
    """

    config: RunConfig
    encoder: Encoder
    predictor: Predictor | Ensemble
    split: pd.Series
    labelled: pd.Series
    uncertainty: Uncertainty | None = None
    source: Predictor | Ensemble | None = None


def load_run(folder: str | Path) -> Models:
    """What was fitted in this run?

    Raises
    ------
    MissingInputError, ModelFormatError
        See `find_run`, or if the run is not complete.
    """
    path = find_run(folder)
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
        genes = pq.read_table(path / "split.parquet").to_pandas().set_index("gene_id")
        split, labelled = genes["split"], genes["labelled"].astype(bool)
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are among these
        raise ModelFormatError(
            f"{path / 'split.parquet'} cannot be read.",
            found=f"{type(error).__name__}: {error}",
            expected="a table with gene_id and split",
            cause="a damaged or incomplete copy of the run folder",
            remedy="copy the folder again",
        ) from error
    config, predictor = read_config(path / "config.toml"), load_ensemble(path)
    members = len(predictor.members) if isinstance(predictor, Ensemble) else 1
    if members < config.ensemble:
        log.warning(
            "%s holds %d of the %d members of its ensemble: it was cut short, or copied in part",
            *(path, members, config.ensemble),
        )
    encoder, uncertainty = load_encoder(path / "encoder"), read_uncertainty(path)
    source = load_ensemble(path / SOURCE) if (path / SOURCE).is_dir() else None
    return Models(config, encoder, predictor, split, labelled, uncertainty, source)


def learned_genes(models: Models, dataset: xr.Dataset) -> np.ndarray:
    """(gene,) did the run's predictor learn from its label? These may tell their neighbors."""
    sides = sides_of(models.split[models.labelled], dataset["gene_id"].values)
    return np.asarray(sides == "train")


def adapt_run(
    folder: str | Path,
    models: Models,
    dataset: xr.Dataset,
    depth_scaling: bool = True,
    match_distribution: bool = False,
) -> tuple[Models, Adapted]:
    """The dataset as the run's model is to see it, and the models, told of new cell types.

    What remains different is said in the log.
    """
    folder = locate_run(folder)
    # Of new cell types only the genes that the run has learned from, where it has many of them.
    train = sides_of(models.split, dataset["gene_id"].values) == "train"
    some = train if train.sum() >= FEW_WINDOWS else np.ones_like(train)
    models.encoder.require_windows(dataset)
    warn_of_imputed(dataset)
    require_same_case(dataset, models.encoder.marks_)
    encoder = models.encoder.with_tracks(dataset.isel(gene=some))
    adapted = adapt_signal(
        dataset,
        encoder,
        read_signal_profile(folder),
        models.split.index[models.split == "train"].astype(str).tolist(),
        read_levels(folder),
        depth_scaling=depth_scaling,
        match_distribution=match_distribution,
    )
    if adapted.dataset is not dataset:
        encoder = models.encoder.with_tracks(adapted.dataset.isel(gene=some))
    warn_of_transfer(adapted.dataset, encoder)
    return models._replace(encoder=encoder), adapted


def sides_of(split: pd.Series, gene_ids: np.ndarray) -> np.ndarray:
    """On which side was each gene when a model was fitted? `new` where it was not there.

    Parameters
    ----------
    split
        gene_id → part.
    gene_ids : (gene,)
        With or without the version behind an Ensembl id, as the run's.
    """
    ids = pd.Index(gene_ids.astype(str))
    found = split.reindex(ids).to_numpy(object)
    bare = split.index.astype(str).str.replace(*_VERSION, regex=True)
    plain = pd.Series(split.to_numpy(), index=bare)
    plain = plain[~plain.index.duplicated()]
    again = plain.reindex(ids.str.replace(*_VERSION, regex=True)).to_numpy(object)
    return np.where(pd.isna(found), np.where(pd.isna(again), NEW, again), found)


def warn_of_other_genome(folder: str | Path, dataset: xr.Dataset, split: np.ndarray) -> None:
    """Is it known at all which genes the run has learned from?"""
    then = read_environment(folder).get("dataset", {}).get("assembly", "")
    now = dataset.attrs.get("assembly", "")
    if then and now and canonical_assembly(then) != canonical_assembly(now):
        log.warning(
            "The run was fitted on %s, and the data are of %s",
            *(then, now),
        )
    elif (split == NEW).all():
        log.warning(
            "None of the %d genes is known to the run by its id: whether it learned from them "
            "cannot be told, and scores may be too good",
            split.size,
        )
