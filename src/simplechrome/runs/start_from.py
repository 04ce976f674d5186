"""Starting a run from another: what must agree, and what the other has seen."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import xarray as xr

from simplechrome.config.run import RunConfig
from simplechrome.dataset.splits import Split
from simplechrome.errors import ConfigError, SplitError
from simplechrome.evaluation.scores import known_rows, levels_of
from simplechrome.metrics import auroc, pearson
from simplechrome.pretrained import locate_run
from simplechrome.runs.folder import require_startable
from simplechrome.runs.load import Models, sides_of, warn_of_other_genome
from simplechrome.training.model_files import ARRAYS

log = logging.getLogger(__name__)

_REMEMBERS = 0.02
"""AUROC, or correlation, by which genes that were learned from are told better than others: more
than chromosomes differ by."""


def models_checksum(run: str | Path) -> str:
    """Which models are these? SHA-256 of a run's weights."""
    digest = hashlib.sha256()
    for path in sorted(locate_run(run).rglob(ARRAYS)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def require_same_models(config: RunConfig, source: RunConfig, folder: str | Path) -> None:
    """Can a run of this configuration start from its source, and end in this folder?

    Parameters
    ----------
    config
        Of the run that starts.
    source
        Configuration of the run that it starts from.
    folder
        Of the run that starts.

    Raises
    ------
    ConfigError
        If the source predicts something else or has another encoder, looks at more than the latents
        of one gene, or would be replaced.
    """
    run = str(config.source)
    require_startable(source, run)
    if Path(folder).resolve() == locate_run(run).resolve():
        raise ConfigError(
            "A run cannot take the place of the one that it starts from.",
            found=f"both are {folder}",
            expected="another output folder",
        )
    for name in ("task", "encoder", "add_log_means"):
        asked, held = getattr(config, name), getattr(source, name)
        if asked != held:
            raise ConfigError(
                "A run that starts from another has its encoder and task.",
                found=f"{name} {_describe(asked)}, and {_describe(held)} in {run}",
                expected=f"{name} {_describe(held)}",
                cause="the configuration names the source, and not all that comes with it",
                remedy="`simplechrome fit --from` fills in the rest; in Python take these from "
                "load_run(path).config",
            )


def _describe(value: object) -> str:
    if hasattr(value, "model_dump"):
        values = dict(value.model_dump())
        options = ", ".join(f"{key} = {each}" for key, each in values.items() if key != "name")
        return f"{values['name']} ({options})" if options else str(values["name"])
    return str(value)


def require_disjoint(
    source: Models, dataset: xr.Dataset, parts: Split, drawn: np.ndarray, config: RunConfig
) -> None:
    """Has the run that another starts from learned from none of the other's held-out genes?

    Where it knows those that are learned from again better than other genes, this is said in the
    log, as is when it cannot be told which genes it knows.

    Parameters
    ----------
    source
        Models of the run.
    dataset, parts
        Of the run that starts, whole and split.
    drawn : (gene,)
        Ids of the genes whose labels it learns from.
    config
        Of the run that starts.

    Raises
    ------
    SplitError
        If it has learned from validation or test genes, or has chosen something on test genes.
    """
    run = str(config.source)
    warn_of_other_genome(
        locate_run(run), dataset, sides_of(source.split, dataset["gene_id"].values)
    )
    for name, seen in (("test", ("train", "validation")), ("validation", ("train",))):
        genes = getattr(parts, name)["gene_id"].values
        learned = genes[np.isin(sides_of(source.split, genes), seen)]
        if learned.size:
            raise SplitError(
                f"{run} has learned from {name} genes of this split.",
                found=f"{learned.size} of {genes.size} ({', '.join(learned[:3].astype(str))}, …)",
                expected="none: a gene's expression in one cell type tells it in others",
                cause="another split than that run's",
                remedy=_remedy(source.config, config),
            )
    _warn_of_memory(run, source, drawn)


def _remedy(source: RunConfig, config: RunConfig) -> str:
    if source.split != config.split:
        return "leave out the options on the split: they are that run's"
    if source.split.kind == "random" and source.seed != config.seed:
        return f"--seed {source.seed}, as of that run: a random split depends on it"
    return (
        "hold out whole chromosomes in both runs (--split chromosome): splits of another kind "
        "depend on which genes a dataset has"
    )


def _warn_of_memory(run: str, source: Models, drawn: np.ndarray) -> None:
    """Is what the source says of genes that it learned from better than what it says of others?"""
    path = locate_run(run) / "predictions.parquet"
    learned = source.split[source.labelled & (source.split == "train")]
    again = int((sides_of(learned, drawn) == "train").sum())
    if not path.is_file() or not again:
        return
    table = known_rows(pq.read_table(path).to_pandas(), source.config.task)
    then = table[table["gene_id"].isin(learned.index)]
    other = table[table["split"] == "validation"]
    scores = [_score(part, source.config.task) for part in (then, other)]
    if scores[0] - scores[1] > _REMEMBERS:
        log.warning(
            "%s orders genes that it has learned from better than others (%s %.3f and %.3f), and "
            "%d of the %d labelled genes here are among them: what it says of these is too good to "
            "learn from, so that it is believed too much, and probabilities are too sure. A linear "
            "predictor of thousands of labels has no such memory",
            *(run, "AUROC" if source.config.task == "classification" else "correlation"),
            *(*scores, again, drawn.size),
        )


def _score(table: pd.DataFrame, task: str) -> float:
    """NaN where there is nothing to order."""
    if task != "classification":
        measured, predicted = levels_of(table)
        return pearson(measured, predicted) if len(table) > 1 else np.nan
    label = table["label"].to_numpy()
    return auroc(label, table["probability"].to_numpy()) if np.unique(label).size > 1 else np.nan
