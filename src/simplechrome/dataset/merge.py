"""Join cell types that come with their own marks and their own gene orders."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from simplechrome.dataset.build import from_arrays
from simplechrome.errors import DatasetFormatError
from simplechrome.schema import PLACE, UNKNOWN_LABEL, validate

log = logging.getLogger(__name__)


def _union(datasets: Sequence[xr.Dataset], name: str) -> np.ndarray:
    """Names in the order in which they are first met."""
    return pd.unique(np.concatenate([dataset[name].values for dataset in datasets]))


def _check_alike(datasets: Sequence[xr.Dataset]) -> None:
    first = datasets[0]
    for position, dataset in enumerate(datasets[1:], start=2):
        where = f"Dataset {position} cannot be merged with the first"
        ours, theirs = (
            f"{d.sizes['bin']} bins of {d.attrs['bin_size']} bp from {d['bin_start'].values[0]} bp"
            for d in (first, dataset)
        )
        if ours != theirs:
            raise DatasetFormatError(
                f"{where}: their windows differ.",
                found=theirs,
                expected=ours,
                remedy="build both with the same --flank and --bin-size",
            )
        units, expected = (d["signal"].attrs.get("units") for d in (dataset, first))
        if units != expected:
            raise DatasetFormatError(
                f"{where}: their signals have different units.",
                found=str(units),
                expected=str(expected),
                remedy="build both from the same kind of track",
            )
        ours, theirs = (str(d.attrs.get("assembly") or "") for d in (first, dataset))
        if ours and theirs and ours != theirs:
            raise DatasetFormatError(
                f"{where}: they are of different assemblies.", found=theirs, expected=ours
            )
    cell_types = np.concatenate([dataset["cell_type"].values for dataset in datasets])
    names, counts = np.unique(cell_types.astype(str), return_counts=True)
    if (counts > 1).any():
        raise DatasetFormatError(
            "Some cell types are in more than one of the datasets.",
            found=", ".join(names[counts > 1][:5]),
            expected="each cell type in one dataset",
            remedy="leave the duplicates out, or rename them",
        )


def _gene_table(datasets: Sequence[xr.Dataset], gene_ids: np.ndarray) -> pd.DataFrame | None:
    """Places of all genes, from the first dataset that has each; None where none has any."""
    columns = ["gene_id", "gene_name", *PLACE]
    tables = [
        pd.DataFrame({name: d[name].values if name in d.coords else "" for name in columns})
        for d in datasets
        if "tss" in d.coords
    ]
    if not tables:
        return None
    every = pd.concat(tables, ignore_index=True)
    placed = every[every["tss"] >= 0]
    differing = placed.groupby("gene_id")[["chrom", "tss"]].nunique().max(axis=1) > 1
    if differing.any():
        log.warning(
            "%d genes have different places in the datasets; the first is kept: %s",
            int(differing.sum()),
            ", ".join(differing.index[differing][:3]),
        )
    # Genes that no dataset places still have names.
    return pd.concat([placed, every[every["tss"] < 0]]).drop_duplicates("gene_id")


def _published_split(datasets: Sequence[xr.Dataset], gene_ids: np.ndarray) -> np.ndarray | None:
    tables = [
        pd.Series(d["published_split"].values, index=d["gene_id"].values)
        for d in datasets
        if "published_split" in d.coords
    ]
    if not tables:
        return None
    every = pd.concat(tables)
    every = every[every != ""]
    differing = every.groupby(level=0).nunique() > 1
    if differing.any():
        log.warning(
            "%d genes are in different published splits; the first is kept", differing.sum()
        )
    return every[~every.index.duplicated()].reindex(gene_ids).fillna("").to_numpy()


def merge(datasets: Sequence[xr.Dataset]) -> xr.Dataset:
    """How do datasets of different cell types become one?

    Genes and marks are united, in the order in which they are first met. A mark that a cell type
    lacks is masked (`mark_present` False); a gene that it lacks is unobserved there (`observed`
    0, expression NaN, label -1).

    Parameters
    ----------
    datasets
        With disjoint cell types and equal windows and units.

    Returns
    -------
    One dataset: cell types in the order given.

    Raises
    ------
    DatasetFormatError
        If windows, units or assemblies differ, a cell type occurs twice, or there is no dataset.
    """
    if not datasets:
        raise DatasetFormatError(
            "There is nothing to merge.", found="no dataset", expected="one or more"
        )
    for position, dataset in enumerate(datasets, start=1):
        validate(dataset, f"dataset {position}")
    _check_alike(datasets)
    gene_ids, marks = _union(datasets, "gene_id"), _union(datasets, "mark")
    cell_types = np.concatenate([dataset["cell_type"].values for dataset in datasets])
    n, genes, n_marks = len(cell_types), len(gene_ids), len(marks)
    dtype = np.result_type(*(d["signal"].dtype for d in datasets))
    signal = np.zeros((n, genes, datasets[0].sizes["bin"], n_marks), dtype)
    observed = np.zeros((n, genes, n_marks), np.float32)
    present = np.zeros((n, n_marks), bool)
    depth = np.full((n, n_marks), np.nan, np.float32)
    expression = np.full((n, genes), np.nan, np.float32)
    label = np.full((n, genes), UNKNOWN_LABEL, np.int8)
    start = 0
    for dataset in datasets:
        rows = np.arange(start, start + dataset.sizes["cell_type"])
        at = pd.Index(gene_ids).get_indexer(dataset["gene_id"].values)
        columns = pd.Index(marks).get_indexer(dataset["mark"].values)
        for source, row in enumerate(rows):
            signal[row][at[:, None, None], np.arange(signal.shape[2])[:, None], columns] = dataset[
                "signal"
            ].values[source]
            observed[row][np.ix_(at, columns)] = dataset["observed"].values[source]
        present[np.ix_(rows, columns)] = dataset["mark_present"].values
        depth[np.ix_(rows, columns)] = dataset["depth"].values
        expression[np.ix_(rows, at)] = dataset["expression"].values
        label[np.ix_(rows, at)] = dataset["label"].values
        start += len(rows)
    first = datasets[0]
    rules = dict.fromkeys(str(d["label"].attrs.get("rule", "")) for d in datasets)
    units = dict.fromkeys(str(d["expression"].attrs.get("units", "")) for d in datasets)
    if len(units) > 1:
        log.warning("The datasets' expression has different units: %s", ", ".join(units))
    result = from_arrays(
        signal,
        marks=marks.tolist(),
        gene_ids=gene_ids,
        cell_types=cell_types.tolist(),
        bin_size=int(first.attrs["bin_size"]),
        bin_start=first["bin_start"].values,
        units=first["signal"].attrs.get("units", ""),
        mark_present=present,
        observed=observed,
        depth=depth,
        expression=expression,
        expression_units=" / ".join(units),
        label=label,
        genes=_gene_table(datasets, gene_ids),
        published_split=_published_split(datasets, gene_ids),
        assembly=next((d.attrs["assembly"] for d in datasets if d.attrs.get("assembly")), ""),
        sources=[source for d in datasets for source in d.attrs.get("sources", ())],
        note="; ".join(dict.fromkeys(d.attrs["note"] for d in datasets if d.attrs.get("note"))),
    )
    result["label"].attrs["rule"] = " / ".join(rules)
    return result
