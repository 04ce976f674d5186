"""What encoder and predictor say of every gene, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr

from simplechrome.atomic import whole_file
from simplechrome.errors import ConfigError
from simplechrome.predictors.rows import feature_names

if TYPE_CHECKING:
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
    predictor: Predictor,
    split: np.ndarray,
) -> pd.DataFrame:
    """What is predicted for every gene?

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

    Returns
    -------
    One row a gene and cell type: gene_id, gene_name, chrom, tss, cell_type, split, then
    probability (of being high), or predicted_expression with predicted_log2_expression; label
    (-1 unknown) and expression (NaN unknown).
    """
    columns: dict[str, Any] = gene_columns(dataset)
    columns["split"] = np.tile(split, dataset.sizes["cell_type"])
    if predictor.task == "classification":
        probability = predictor.predict_proba(latents)
        columns["probability"] = np.asarray(probability)[..., 1].ravel()
    else:
        log_expression = np.asarray(predictor.predict(latents)).ravel()
        columns["predicted_expression"] = np.maximum(np.exp2(log_expression) - 1, 0)
        columns["predicted_log2_expression"] = log_expression
    columns["label"] = dataset["label"].values.ravel()
    columns["expression"] = dataset["expression"].values.ravel()
    return pd.DataFrame(columns)


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

    Called before long work, as `simplechrome.atomic.check_free`.

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
