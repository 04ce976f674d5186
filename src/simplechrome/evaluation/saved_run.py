"""A run folder used elsewhere: its models, and what they say about other data."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import xarray as xr

from simplechrome.config import RunConfig, read_config
from simplechrome.dataset.choose import choose_cell_types
from simplechrome.dataset.lookup import find_gene
from simplechrome.dataset.neighbors.graph import NeighborGraph
from simplechrome.dataset.observed import warn_of_imputed, without_unobserved
from simplechrome.dataset.pair import pair_dataset
from simplechrome.errors import (
    ConfigError,
    MissingInputError,
    ModelFormatError,
    ModelMismatchError,
    SplitError,
)
from simplechrome.evaluation.depth import read_levels, read_signal_profile
from simplechrome.evaluation.ensemble import Ensemble, load_ensemble
from simplechrome.evaluation.features import features_of, require_graph, surroundings_of
from simplechrome.evaluation.neighbor_effects import neighbor_effects
from simplechrome.evaluation.predictions import latent_table, predict_genes
from simplechrome.evaluation.run_folder import (
    SOURCE,
    describe_run,
    read_environment,
)
from simplechrome.evaluation.scores import coverage_columns, known_rows
from simplechrome.evaluation.transfer import (
    FEW_WINDOWS,
    Adapted,
    adapt_signal,
    warn_of_transfer,
)
from simplechrome.evaluation.uncertainty import Uncertainty, read_uncertainty
from simplechrome.latent.encoder import Encoder
from simplechrome.latent.load import load_encoder
from simplechrome.predictors.predictor import Predictor
from simplechrome.pretrained import locate_run
from simplechrome.sources.assembly import canonical_assembly
from simplechrome.training.model_files import ARRAYS
from simplechrome.unfinished import unfinished_folder

log = logging.getLogger(__name__)

NEW = "new"
_VERSION = r"^(ENS[A-Z]*\d{11})\.\d+$", r"\1"
CHANGED = "signal_changed"
"""Column of tables: what depth scaling or matching did to the signal; there where it did any."""


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
    MissingInputError
        If there is no such folder.
    ModelFormatError
        If the run is not complete.
    """
    path = locate_run(folder)
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


def predict_with_run(
    folder: str | Path,
    dataset: xr.Dataset,
    *,
    graph: NeighborGraph | None = None,
    pair: Sequence[str] | None = None,
    depth_scaling: bool = True,
    match_distribution: bool = False,
) -> pd.DataFrame:
    """What does a run's model predict for every gene of a dataset?

    Cell types that lack a mark, or whose levels are far from those of training, are named in the
    log, as are those that probabilities were not calibrated on; where the dataset has labels or
    expression, so is the share of genes that lie inside of their sets or intervals.

    The column `split` says on which side each gene was when the model was fitted, whatever cell
    type it is now predicted in: only `test` and `new` genes are fair to score.

    Parameters
    ----------
    folder
        Of the run.
    dataset
        All genes rather than a selection: their levels are compared with those of training.
    graph
        Neighbors of its genes, for a run that looks at these.
    pair
        For a run that predicts a difference: the two cell types of these data; those that the run
        was fitted on by default.
    depth_scaling
        Bring each mark of each cell type to the depth of training; see `adapt_signal`.
    match_distribution
        Give each mark the distribution of training instead, for signal in other units.

    Returns
    -------
    See `predict_genes`. Where signal was scaled or matched, the last column, `signal_changed`,
    says so.

    Raises
    ------
    ModelMismatchError
        If the windows are not the model's, or no mark is; or if the signal has other units than
        the model's and `match_distribution` is False.
    ModelFormatError
        If distributions are to be matched, and the run does not know those of its training.
    """
    models = load_run(folder)
    require_graph(models.config, graph)
    if pair is not None:
        models = _of_pair(models, pair)
    if models.config.pair is not None:
        dataset = choose_cell_types(dataset, models.config.pair)
    dataset = without_unobserved(dataset)
    folder = locate_run(folder)
    models, adapted = adapt_run(folder, models, dataset, depth_scaling, match_distribution)
    dataset = adapted.dataset
    split = sides_of(models.split, dataset["gene_id"].values)
    _warn_of_other_genome(folder, dataset, split)
    latents = models.encoder.transform(dataset)
    learned = learned_genes(models, dataset)
    features = features_of(latents, dataset, models.config, graph, learned, models.source)
    asked = dataset if models.config.pair is None else pair_dataset(dataset, models.config.pair)
    _warn_of_promises(asked, folder, models.uncertainty)
    table = predict_genes(asked, features, models.predictor, split, models.uncertainty)
    if models.uncertainty is not None:
        _say_coverage(table, models.uncertainty)
    if models.config.pair is not None:  # its columns are of one cell type, the table of two
        return table
    return _say_changes(table, adapted)


def _of_pair(models: Models, pair: Sequence[str]) -> Models:
    """The models, to be asked about another pair of cell types."""
    if models.config.pair is None or len(pair) != 2:
        raise ConfigError(
            "This run is not asked about a pair of cell types."
            if models.config.pair is None
            else "A difference needs two cell types.",
            found=f"--pair {','.join(pair)}",
            expected=f"no --pair: the task is {models.config.task}"
            if models.config.pair is None
            else "--pair A,B",
        )
    return models._replace(config=models.config.model_copy(update={"pair": tuple(pair)}))


def explain_with_run(
    folder: str | Path,
    dataset: xr.Dataset,
    genes: Sequence[str],
    graph: NeighborGraph | None,
    *,
    depth_scaling: bool = True,
    match_distribution: bool = False,
) -> pd.DataFrame:
    """Which neighbors moved the run's predictions of these genes, and by how much?

    Parameters
    ----------
    folder
        Of a run with the predictor `neighborhood`.
    dataset, graph, depth_scaling, match_distribution
        See `predict_with_run`.
    genes
        Ids, or names that only one gene has.

    Returns
    -------
    See `neighbor_effects`.

    Raises
    ------
    ConfigError
        If the run's predictor does not attend to neighbors.
    UnknownGeneError
        If a gene is not there.
    """
    models = load_run(folder)
    require_graph(models.config, graph)
    if models.config.predictor.name != "neighborhood" or graph is None:
        raise ConfigError(
            "This run cannot say which neighbors moved a prediction.",
            found=f"the predictor {models.config.predictor.name}",
            expected="the predictor neighborhood, which attends to each",
            remedy="fit one with --predictor neighborhood --neighbors …",
        )
    ids = dataset["gene_id"].values
    wanted = [str(ids[find_gene(dataset, gene)]) for gene in genes]
    models, (adapted, _) = adapt_run(folder, models, dataset, depth_scaling, match_distribution)
    latents = models.encoder.transform(adapted)
    around = surroundings_of(latents, adapted, models.config, graph, learned_genes(models, adapted))
    return neighbor_effects(models.predictor, around, wanted, dataset)


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
    _require_same_case(dataset, models.encoder)
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


def models_checksum(run: str | Path) -> str:
    """Which models are these? SHA-256 of a run's weights."""
    digest = hashlib.sha256()
    for path in sorted(locate_run(run).rglob(ARRAYS)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def require_disjoint(split: pd.Series, test: np.ndarray, run: str | Path | None) -> None:
    """Has the run that another starts from learned from none of the other's test genes?

    Parameters
    ----------
    split
        gene_id → part, of the run.
    test : (gene,)
        Ids of the test genes.
    run
        Where it is, for the message.

    Raises
    ------
    SplitError
        If it has, or has chosen something on them.
    """
    sides = sides_of(split, test)
    learned = test[np.isin(sides, ("train", "validation"))]
    if learned.size:
        raise SplitError(
            f"{run} has learned from genes that are to be tested.",
            found=f"{learned.size} of {test.size} ({', '.join(learned[:3].astype(str))}, …)",
            expected="none: a gene's expression in one cell type tells it in others",
            cause="another split than that run's",
            remedy="leave out the options on the split: they are that run's",
        )


def _warn_of_other_genome(folder: str | Path, dataset: xr.Dataset, split: np.ndarray) -> None:
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


def _require_same_case(dataset: xr.Dataset, encoder: Encoder) -> None:
    """Is a mark that the model lacks one that it knows, written otherwise?"""
    known = {mark.lower(): mark for mark in encoder.marks_}
    have = [str(mark) for mark in dataset["mark"].values]
    meant = {m: known[m.lower()] for m in have if m not in encoder.marks_ and m.lower() in known}
    if meant:
        raise ModelMismatchError(
            "Marks are written otherwise than in the model.",
            found=", ".join(meant),
            expected=", ".join(meant.values()),
            remedy="write them so in the sample sheet, and build the dataset again",
        )


def _say_changes(table: pd.DataFrame, adapted: Adapted) -> pd.DataFrame:
    if any(adapted.changes):
        table[CHANGED] = np.repeat(adapted.changes, adapted.dataset.sizes["gene"])
    return table


def _warn_of_promises(
    dataset: xr.Dataset, folder: str | Path, uncertainty: Uncertainty | None
) -> None:
    """Where do calibration and coverage not hold?"""
    if uncertainty is None:
        log.warning(
            "%s has no calibration.json (an older run, or one that was cut short): predictions are "
            "uncalibrated, without sets or intervals; fit it again to have them",
            folder,
        )
        return
    cells = [str(name) for name in dataset["cell_type"].values]
    others = [name for name in cells if name not in uncertainty.cell_types]
    if others:
        named = ", ".join(others[:5]) + (", …" if len(others) > 5 else "")
        log.warning(
            "%d of %d cell types were not in the run (%s): calibration and coverage are promised "
            "only for data like those that it was fitted on, with tracks of the same depth",
            *(len(others), len(cells), named),
        )


def fair_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Which predictions can be scored: of known expression, of genes that the run never saw?"""
    known = known_rows(table, task_of(table))
    return known[known["split"].isin(("test", NEW))]


def task_of(table: pd.DataFrame) -> str:
    """`classification`, `regression` or `difference`: what do these predictions speak of?"""
    if "probability" in table:
        return "classification"
    return "difference" if "predicted_change" in table else "regression"


def _say_coverage(table: pd.DataFrame, uncertainty: Uncertainty) -> None:
    """How many genes that can be scored lie inside of their sets or intervals?"""
    fair = fair_rows(table)
    if not fair.empty:
        covered = coverage_columns(fair, uncertainty.task)["coverage"]
        log.info(
            "%.1f %% of %d test and new genes lie inside of their %s (promised: %g %%)",
            *(100 * covered.mean(), len(fair)),
            "label sets" if uncertainty.task == "classification" else "intervals",
            100 * uncertainty.coverage,
        )


def latents_with_run(folder: str | Path, dataset: xr.Dataset) -> xr.DataArray:
    """What are the latents of these windows under a run's encoder? (cell_type, gene, latent).

    Raises
    ------
    ConfigError
        If the run's predictor looks at windows themselves.
    ModelMismatchError
        See `predict_with_run`.
    """
    models = load_run(folder)
    if models.config.encoder.name == "none":
        raise ConfigError(
            "This run has no latents.",
            found=f"{folder} with the encoder none",
            expected="a run with an encoder",
        )
    models, (adapted, _) = adapt_run(folder, models, dataset)
    return models.encoder.transform(adapted)


def encode_with_run(
    folder: str | Path,
    dataset: xr.Dataset,
    *,
    depth_scaling: bool = True,
    match_distribution: bool = False,
) -> pd.DataFrame:
    """What are a dataset's latents under a run's encoder?

    Cell types that lack a mark, or whose levels are far from those of training, are named in the
    log. Parameters and errors are those of `predict_with_run`.

    Returns
    -------
    See `latent_table`. Where signal was scaled or matched, the last column, `signal_changed`, says
    so.
    """
    models, adapted = adapt_run(
        folder, load_run(folder), dataset, depth_scaling, match_distribution
    )
    return _say_changes(latent_table(adapted.dataset, models.encoder), adapted)
