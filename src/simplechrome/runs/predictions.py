"""What encoder and predictor say of every gene, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr

from simplechrome.dataset.choose import has_data
from simplechrome.errors import ConfigError
from simplechrome.evaluation.calibration import Calibration
from simplechrome.evaluation.uncertainty import LabelSets, LevelIntervals, name_label_sets
from simplechrome.predictors.rows import feature_names
from simplechrome.runs.ensemble import Ensemble, values_of
from simplechrome.work.files import whole_file

if TYPE_CHECKING:
    from simplechrome.evaluation.uncertainty import Uncertainty
    from simplechrome.latent.encoder import Encoder
    from simplechrome.predictors.predictor import Predictor

_ENDINGS = (".parquet", ".csv", ".tsv")


def gene_columns(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    """Which columns name the (cell_type, gene) rows of a table?

    Returns
    -------
    gene_id, gene_name, chrom, tss and cell_type, each (cell_type × gene,); names and places are
    empty (-1) where the dataset does not know them.
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
    """What is predicted for every gene, and how sure is it?

    Parameters
    ----------
    dataset
        The genes.
    latents : (cell_type, gene, …)
        Of the same genes.
    predictor
        Fitted.
    split : (gene,)
        Part of the split that each gene is in; `excluded` where in none, `new` where unknown.
    uncertainty
        Of this predictor; without it probabilities are as they come, and nothing is promised.

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
    columns: dict[str, Any] = gene_columns(dataset)
    columns["split"] = np.tile(split, dataset.sizes["cell_type"])
    before = set(columns)
    values = values_of(predictor, latents)
    values = values.reshape(len(values), -1)
    if predictor.task == "classification":
        columns |= _probabilities(values, uncertainty)
    elif "change" in dataset:
        columns |= _changes(values, uncertainty)
    else:
        columns |= _levels(values, uncertainty)
    unseen = ~has_data(dataset).ravel()
    if unseen.any():
        columns |= {n: _without(columns[n], unseen) for n in columns if n not in before}
    columns["label"] = dataset["label"].values.ravel()
    measured = "change" if "change" in dataset else "expression"
    columns[measured] = dataset[measured].values.ravel()
    return pd.DataFrame(columns)


def _without(values: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    empty = "" if values.dtype.kind in "OU" else np.nan
    return np.where(unseen, np.array(empty, values.dtype), values)


def _spread(values: np.ndarray) -> dict[str, np.ndarray]:
    return {"ensemble_sd": values.std(axis=0, ddof=1)} if len(values) > 1 else {}


def _probabilities(values: np.ndarray, uncertainty: Uncertainty | None) -> dict[str, Any]:
    """Columns from log odds (member, row)."""
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


def _levels(values: np.ndarray, uncertainty: Uncertainty | None) -> dict[str, Any]:
    """Columns from log2(expression + 1), (member, row)."""
    level = values.mean(axis=0)
    columns = {
        "predicted_expression": _expression(level),
        "predicted_log2_expression": level,
        **_spread(values),
    }
    if uncertainty is not None and isinstance(uncertainty.sets, LevelIntervals):
        low, high = uncertainty.sets.apply(level)
        columns |= {"interval_low": low, "interval_high": high}
        columns |= {"expression_low": _expression(low), "expression_high": _expression(high)}
    return columns


def _changes(values: np.ndarray, uncertainty: Uncertainty | None) -> dict[str, Any]:
    """Columns from log2 fold changes, (member, row)."""
    change = values.mean(axis=0)
    columns = {"predicted_change": change, **_spread(values)}
    if uncertainty is not None and isinstance(uncertainty.sets, LevelIntervals):
        columns["interval_low"], columns["interval_high"] = uncertainty.sets.apply(change)
    return columns


def _expression(level: np.ndarray) -> np.ndarray:
    return np.maximum(np.exp2(level) - 1, 0)


def latent_table(dataset: xr.Dataset, encoder: Encoder) -> pd.DataFrame:
    """What are the latents of every gene, as a table?

    Returns
    -------
    One row a gene and cell type: gene_id, gene_name, chrom, tss, cell_type, then one float32
    column per latent.
    """
    latents = encoder.transform(dataset)
    names = feature_names(latents)
    values = latents.values.reshape(-1, len(names))
    table = pd.DataFrame(gene_columns(dataset))
    return pd.concat([table, pd.DataFrame(values, columns=names)], axis=1)


def check_table_path(path: str | Path) -> None:
    """Does this file's ending say how to write a table?

    Called before long work, as `simplechrome.work.files.check_free`.

    Raises
    ------
    ConfigError
        If it does not.
    """
    if not str(path).endswith(_ENDINGS):
        raise ConfigError(
            f"The ending of {path} does not say what to write.",
            found=repr(Path(path).suffix),
            expected=", ".join(_ENDINGS),
        )


def write_table(table: pd.DataFrame, path: str | Path, note: str = "") -> None:
    """Keep a table as parquet (or CSV/TSV, by the file's ending), whole or not at all.

    Parameters
    ----------
    table
        Any.
    path
        Ends in .parquet, .csv or .tsv.
    note
        Goes into the parquet file's metadata under `note`.

    Raises
    ------
    ConfigError
        If the ending says no format.
    """
    check_table_path(path)
    with whole_file(path) as temporary:
        if str(path).endswith((".csv", ".tsv")):
            separator = "\t" if str(path).endswith(".tsv") else ","
            table.to_csv(temporary, sep=separator, index=False, lineterminator="\n")
            return
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        if note:
            arrow = arrow.replace_schema_metadata(
                {**(arrow.schema.metadata or {}), b"note": note.encode()}
            )
        pq.write_table(arrow, temporary, compression="zstd")
