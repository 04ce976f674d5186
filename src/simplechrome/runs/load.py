"""The fitted models of a run folder, and the part of its split that each gene was in."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import xarray as xr

from simplechrome.config.run import RunConfig, read_config
from simplechrome.errors import ModelFormatError
from simplechrome.evaluation.uncertainty import Uncertainty, read_uncertainty
from simplechrome.latent.encoder import Encoder
from simplechrome.latent.registry import load_encoder
from simplechrome.predictors.predictor import Predictor
from simplechrome.runs.ensemble import Ensemble, load_ensemble
from simplechrome.runs.folder import RunFolder, find_run
from simplechrome.sources.genome.chromosomes import canonical_assembly

log = logging.getLogger(__name__)

NEW = "new"
_VERSION = r"^(ENS[A-Z]*\d{11})\.\d+$", r"\1"


class Models(NamedTuple):
    """What a run folder holds for use elsewhere.

    predictor : an `Ensemble` where the run has several members
    split : gene_id -> the part it was in
    labelled : gene_id -> whether the predictor learned from its label
    uncertainty : None for runs of older versions, or cut short
    source : predictor of the run that this one was fine-tuned from, if any
    folder : where they were loaded from
    """

    config: RunConfig
    encoder: Encoder
    predictor: Predictor | Ensemble
    split: pd.Series
    labelled: pd.Series
    uncertainty: Uncertainty | None = None
    source: Predictor | Ensemble | None = None
    folder: Path = Path()


def load_run(folder: str | Path) -> Models:
    """Return the models of a run; pretrained ones are known by name (`pretrained:roadmap`).

    Raises MissingInputError or ModelFormatError if the run is not there, or not complete.
    """
    run = RunFolder(find_run(folder))
    needed = (run.config, run.encoder, run.predictor, run.split, run.metrics)
    absent = [path.name for path in needed if not path.exists()]
    if absent:
        raise ModelFormatError(
            f"{run.path} is not a finished run: it has no {', '.join(absent)}.",
            "check the path, copy the run again, or fit it again with --overwrite",
        )
    with reading(run.split):
        genes = pq.read_table(run.split).to_pandas().set_index("gene_id")
        split, labelled = genes["split"], genes["labelled"].astype(bool)
    config, predictor = read_config(run.config), load_ensemble(run.path)
    members = len(predictor.members) if isinstance(predictor, Ensemble) else 1
    if members < config.ensemble:
        log.warning(
            "%s holds %d of the %d members of its ensemble: it was cut short, or copied in part",
            *(run.path, members, config.ensemble),
        )
    encoder, uncertainty = load_encoder(run.encoder), read_uncertainty(run.path)
    source = load_ensemble(run.source) if run.source.is_dir() else None
    return Models(config, encoder, predictor, split, labelled, uncertainty, source, run.path)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn errors in the content of a run's file into one that names the file."""
    try:
        yield
    # pyarrow's errors are among these
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFormatError(
            f"{path} cannot be read ({type(error).__name__}: {error}): it is a damaged or "
            "incomplete copy, or was edited.",
            "copy the run folder again, or fit it again with --overwrite",
        ) from error


def learned_genes(models: Models, dataset: xr.Dataset) -> np.ndarray:
    """Return whether the run's predictor learned from the label of each gene, (gene,) bool."""
    sides = sides_of(models.split[models.labelled], dataset["gene_id"].values)
    return np.asarray(sides == "train")


def sides_of(split: pd.Series, gene_ids: np.ndarray) -> np.ndarray:
    """Return the part of a run's split that each gene was in, (gene,); `new` where in none.

    Ensembl ids match with or without the version.
    """
    ids = pd.Index(gene_ids.astype(str))
    found = split.reindex(ids).to_numpy(object)
    bare = split.index.astype(str).str.replace(*_VERSION, regex=True)
    plain = pd.Series(split.to_numpy(), index=bare)
    plain = plain[~plain.index.duplicated()]
    again = plain.reindex(ids.str.replace(*_VERSION, regex=True)).to_numpy(object)
    return np.where(pd.isna(found), np.where(pd.isna(again), NEW, again), found)


def warn_of_other_genome(models: Models, dataset: xr.Dataset, split: np.ndarray) -> None:
    """Log a warning if it is unknown which genes of the dataset the run learned from."""
    environment = RunFolder(models.folder).read_environment()
    then = environment.get("dataset", {}).get("assembly", "")
    now = dataset.attrs.get("assembly", "")
    if then and now and canonical_assembly(then) != canonical_assembly(now):
        log.warning("The run was fitted on %s, and the dataset is of %s", then, now)
    elif (split == NEW).all():
        log.warning(
            "The run knows none of the %d genes by its id, so that it may have learned from some: "
            "scores may be too optimistic",
            split.size,
        )
