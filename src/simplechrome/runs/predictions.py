"""Features of a run's predictor, its target, and its predictions for every gene as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr

from simplechrome.config.run import RunConfig
from simplechrome.dataset.choose import has_data, name_pair
from simplechrome.dataset.neighbors.graph import NeighborGraph
from simplechrome.errors import ConfigError
from simplechrome.evaluation.calibration import Calibration
from simplechrome.evaluation.uncertainty import LabelSets, LevelIntervals, name_label_sets
from simplechrome.predictors.neighborhood_features import (
    NeighborhoodFeatures,
    make_neighborhood_features,
    neighbor_means,
)
from simplechrome.predictors.predictor import Predictor
from simplechrome.predictors.rows import PAIR, feature_names, pair_features
from simplechrome.runs.ensemble import Ensemble, known_pairs, values_of
from simplechrome.work.files import whole_file

if TYPE_CHECKING:
    from simplechrome.evaluation.uncertainty import Uncertainty
    from simplechrome.latent.encoder import Encoder

SOURCE_LENGTH = 2.0
"""Factor of the pretrained prediction as a feature; see docs/explanation/transfer.md."""

_ENDINGS = (".parquet", ".csv", ".tsv")


def target_of(dataset: xr.Dataset, task: str) -> xr.DataArray:
    """Return the label, log2(expression + 1), or the change of a pair, (cell_type, gene)."""
    if task == "classification":
        return dataset["label"]
    if task == "difference":
        return dataset["change"]
    levels: xr.DataArray = np.log2(dataset["expression"] + 1)  # type: ignore[assignment]
    return levels


def features_of(
    latents: xr.DataArray,
    dataset: xr.Dataset,
    config: RunConfig,
    graph: NeighborGraph | None,
    learned: np.ndarray,
    source: Predictor | Ensemble | None = None,
) -> Any:
    """Return the features of a run's predictor: latents, perhaps with those of other genes.

    Parameters
    ----------
    latents : (cell_type, gene, latent)
    graph
        Neighbors of the genes, if the run uses them.
    learned : (gene,)
        True for genes whose labels the predictor learns from. Only the expression of these may be
        a feature of their neighbors.
    source
        Predictor of the run that this one is fine-tuned from: its prediction precedes the latents.
    """
    if config.pair is not None:
        sides = [latents.sel(cell_type=[name]) for name in config.pair]
        return pair_features(sides[0], sides[1], name_pair(config.pair))
    if source is not None:
        return append_source_logit(latents, source)
    if not config.neighbors or graph is None:
        return latents
    features = neighborhood_of(latents, dataset, config, graph, learned)
    return features if config.predictor.name == "neighborhood" else neighbor_means(features)


def neighborhood_of(
    latents: xr.DataArray,
    dataset: xr.Dataset,
    config: RunConfig,
    graph: NeighborGraph,
    learned: np.ndarray,
) -> NeighborhoodFeatures:
    """Return the neighborhood features of all genes; see `features_of`."""
    expression = None
    if config.neighbor_expression:
        expression = neighbor_expression_features(dataset, config.task, learned)
    return make_neighborhood_features(latents, graph, dataset, expression)


def neighbor_expression_features(dataset: xr.Dataset, task: str, learned: np.ndarray) -> np.ndarray:
    """Return labels or levels of the `learned` genes, (cell_type, gene); NaN elsewhere."""
    target = target_of(dataset, task).transpose(*PAIR)
    return np.where(known_pairs(target, task) & learned, target.values, np.nan)


def append_source_logit(latents: xr.DataArray, source: Predictor | Ensemble) -> xr.DataArray:
    """Return the latents after the prediction of a predictor that was fitted on other data.

    Twice its logit (or level) is longer than any latent, so that a ridge penalty shrinks it least:
    with few labels the prediction stays that of the source, with many it gives way. It is the
    first latent, `source`.
    """
    logit = SOURCE_LENGTH * values_of(source, latents).mean(axis=0)
    score = xr.DataArray(
        logit[..., np.newaxis].astype(np.float32),
        dims=latents.dims,
        coords={"latent": np.asarray(["source"], dtype=object)},
    )
    plain = latents.drop_vars([name for name in latents.coords if name != "latent"])
    both = xr.concat([score, plain], dim="latent")
    return both.assign_coords({n: c for n, c in latents.coords.items() if n != "latent"})


def gene_columns(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    """Return the columns that identify the rows of a table, each (cell_type × gene,).

    These are gene_id, gene_name, chrom, tss and cell_type; names and places are empty (-1) if the
    dataset lacks them.
    """
    cells, genes = dataset.sizes["cell_type"], dataset.sizes["gene"]
    empty = {"gene_name": "", "chrom": "", "tss": -1}
    columns = {}
    for name in ("gene_id", *empty):
        values = dataset[name].values if name in dataset.coords else np.full(genes, empty[name])
        columns[name] = np.tile(values, cells)
    return columns | {"cell_type": np.repeat(dataset["cell_type"].values, genes)}


def predict_genes(
    dataset: xr.Dataset,
    latents: xr.DataArray,
    predictor: Predictor | Ensemble,
    split: np.ndarray,
    uncertainty: Uncertainty | None = None,
) -> pd.DataFrame:
    """Return the prediction for every gene, with its uncertainty.

    Parameters
    ----------
    latents : (cell_type, gene, …)
    split : (gene,)
        Part of the split that each gene is in; `excluded` where in none, `new` where unknown.
    uncertainty
        Of this predictor; without it probabilities are uncalibrated, without sets or intervals.

    Returns
    -------
    One row a gene and cell type: gene_id, gene_name, chrom, tss, cell_type, split; then

    - probability (of being high, calibrated), uncalibrated_probability, ensemble_sd, label_set
      (`low`, `high`, `low or high`, `neither`), or
    - of a `pair_dataset`: predicted_change, ensemble_sd, interval_low and interval_high, or
    - predicted_expression, predicted_log2_expression, ensemble_sd, interval_low and interval_high
      (of log2(expression + 1)), expression_low and expression_high (the same in units of
      expression);

    then label (-1 unknown) and expression, or change (NaN unknown). `ensemble_sd`, of an ensemble
    only, is the standard deviation of the members' probabilities (calibrated), levels or changes.
    Genes without data in the cell type have NaN, and an empty label_set.
    """
    values = values_of(predictor, latents)
    values = values.reshape(len(values), -1)
    measured = "change" if "change" in dataset else "expression"
    if predictor.task == "classification":
        predicted = _probabilities(values, uncertainty)
    else:
        predicted = _levels(values, uncertainty, change=measured == "change")
    unseen = ~has_data(dataset).ravel()
    if unseen.any():
        predicted = {name: _without(column, unseen) for name, column in predicted.items()}
    return pd.DataFrame(
        gene_columns(dataset)
        | {"split": np.tile(split, dataset.sizes["cell_type"])}
        | predicted
        | {name: dataset[name].values.ravel() for name in ("label", measured)}
    )


def _without(values: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    empty = "" if values.dtype.kind in "OU" else np.nan
    return np.where(unseen, np.array(empty, values.dtype), values)


def _spread(values: np.ndarray) -> dict[str, np.ndarray]:
    return {"ensemble_sd": values.std(axis=0, ddof=1)} if len(values) > 1 else {}


def _probabilities(values: np.ndarray, uncertainty: Uncertainty | None) -> dict[str, Any]:
    """Return columns from log odds (member, row)."""
    log_odds, logistic = values.mean(axis=0), Calibration()
    if uncertainty is None:
        return {"probability": logistic.apply(log_odds)} | _spread(logistic.apply(values))
    calibration, sets = uncertainty.calibration, uncertainty.sets
    columns = {
        "probability": calibration.apply(log_odds),
        "uncalibrated_probability": logistic.apply(log_odds),
        **_spread(calibration.apply(values)),
    }
    if isinstance(sets, LabelSets):
        columns["label_set"] = name_label_sets(sets.apply(log_odds))
    return columns


def _levels(
    values: np.ndarray, uncertainty: Uncertainty | None, *, change: bool
) -> dict[str, np.ndarray]:
    """Return columns from log2(expression + 1), or log2 fold changes, (member, row)."""
    level = values.mean(axis=0)
    columns = {} if change else {"predicted_expression": _expression(level)}
    columns["predicted_change" if change else "predicted_log2_expression"] = level
    columns |= _spread(values)
    if uncertainty is not None and isinstance(uncertainty.sets, LevelIntervals):
        low, high = uncertainty.sets.apply(level)
        columns |= {"interval_low": low, "interval_high": high}
        if not change:
            columns |= {"expression_low": _expression(low), "expression_high": _expression(high)}
    return columns


def _expression(level: np.ndarray) -> np.ndarray:
    return np.maximum(np.exp2(level) - 1, 0)


def latent_table(dataset: xr.Dataset, encoder: Encoder) -> pd.DataFrame:
    """Return the latents of every gene: one row a gene and cell type, one column a latent.

    Before these stand gene_id, gene_name, chrom, tss and cell_type.
    """
    latents = encoder.transform(dataset)
    names = feature_names(latents)
    values = latents.values.reshape(-1, len(names))
    table = pd.DataFrame(gene_columns(dataset))
    return pd.concat([table, pd.DataFrame(values, columns=names)], axis=1)


def check_table_path(path: str | Path) -> None:
    """Refuse a table whose name does not end in .parquet, .csv or .tsv; called before long work."""
    if not str(path).endswith(_ENDINGS):
        raise ConfigError(
            f"The format of the table {path} is unknown.", f"end its name in {', '.join(_ENDINGS)}"
        )


def write_table(table: pd.DataFrame, path: str | Path, note: str = "") -> None:
    """Write a table as parquet, CSV or TSV (by the file's ending), whole or not at all.

    The note becomes metadata of a parquet file.

    Raises
    ------
    ConfigError
        If the ending is another.
    """
    check_table_path(path)
    with whole_file(path) as temporary:
        if str(path).endswith((".csv", ".tsv")):
            separator = "\t" if str(path).endswith(".tsv") else ","
            table.to_csv(temporary, sep=separator, index=False, lineterminator="\n")
            return
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        if note:
            metadata = {**(arrow.schema.metadata or {}), b"note": note.encode()}
            arrow = arrow.replace_schema_metadata(metadata)
        pq.write_table(arrow, temporary, compression="zstd")
