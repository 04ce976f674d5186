"""Join cell types that come with their own marks and their own gene orders.

Everything but the signal is small, and is joined at once (`merge_outlines`); the signal goes into
its place cell type by cell type (`place`), so that it need not be in memory as a whole.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from simplechrome.dataset.building.arrays import add_genes
from simplechrome.dataset.choose import require_measured
from simplechrome.errors import DatasetFormatError
from simplechrome.schema import FORMAT_VERSION, PLACE, UNKNOWN_LABEL, validate

log = logging.getLogger(__name__)

LARGE = ("signal", "observed")
"""The variables with values for each gene and mark; beside them all others are small."""


def outline(dataset: xr.Dataset) -> xr.Dataset:
    """What is in a dataset, its large variables aside?

    Returns
    -------
    The dataset with zeros for `signal` and `observed` that take no memory.
    """
    empty = {name: _zeros(dataset[name].shape, dataset[name].dtype) for name in LARGE}
    return with_large(dataset, empty)


def with_large(dataset: xr.Dataset, values: Mapping[str, np.ndarray]) -> xr.Dataset:
    """What is the dataset with other values of its large variables?"""
    return dataset.assign(
        {name: (dataset[name].dims, array, dataset[name].attrs) for name, array in values.items()}
    )


def _zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """One zero that is read everywhere."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def _distinct(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The arrays without those that are the very same: outlines of one layout share names."""
    return list({id(array): array for array in arrays}.values())


def _union(datasets: Sequence[xr.Dataset], name: str) -> np.ndarray:
    """Names in the order in which they are first met."""
    names = _distinct([dataset[name].values for dataset in datasets])
    return pd.unique(np.concatenate(names).astype(object))


def _check_alike(datasets: Sequence[xr.Dataset]) -> None:
    first = datasets[0]
    for dataset in datasets:
        require_measured(dataset, "merge")
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


def _gene_table(datasets: Sequence[xr.Dataset]) -> pd.DataFrame | None:
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
    pairs = [
        (d["published_split"].values, d["gene_id"].values)
        for d in datasets
        if "published_split" in d.coords
    ]
    if not pairs:
        return None
    distinct = {(id(split), id(genes)): (split, genes) for split, genes in pairs}
    every = pd.concat([pd.Series(split, index=genes) for split, genes in distinct.values()])
    every = every[every != ""]
    differing = every.groupby(level=0).nunique() > 1
    if differing.any():
        log.warning(
            "%d genes are in different published splits; the first is kept", differing.sum()
        )
    return every[~every.index.duplicated()].reindex(gene_ids).fillna("").to_numpy()


def merge_outlines(datasets: Sequence[xr.Dataset]) -> xr.Dataset:
    """What do datasets of different cell types become, their large variables aside?

    Parameters
    ----------
    datasets
        Datasets, or outlines of them (see `outline`), with disjoint cell types and equal windows
        and units.

    Returns
    -------
    The outline of the joined dataset: where `place` puts signal and `observed`.

    Raises
    ------
    DatasetFormatError
        If windows, units or assemblies differ, a cell type occurs twice, or there is no dataset.
    """
    if not datasets:
        raise DatasetFormatError(
            "There is nothing to merge.", found="no dataset", expected="one or more"
        )
    _check_alike(datasets)
    gene_ids, marks = _union(datasets, "gene_id"), _union(datasets, "mark")
    cell_types = np.concatenate([dataset["cell_type"].values for dataset in datasets])
    n, genes, n_marks = len(cell_types), len(gene_ids), len(marks)
    present = np.zeros((n, n_marks), bool)
    depth = np.full((n, n_marks), np.nan, np.float32)
    expression = np.full((n, genes), np.nan, np.float32)
    label = np.full((n, genes), UNKNOWN_LABEL, np.int8)
    start = 0
    for dataset in datasets:
        rows = np.arange(start, start + dataset.sizes["cell_type"])
        at = pd.Index(gene_ids).get_indexer(dataset["gene_id"].values)
        columns = pd.Index(marks).get_indexer(dataset["mark"].values)
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
    dtype = np.result_type(*(d["signal"].dtype for d in datasets))
    bins = first.sizes["bin"]
    merged = xr.Dataset(
        {
            "signal": (
                ("cell_type", "gene", "bin", "mark"),
                _zeros((n, genes, bins, n_marks), dtype),
                {"units": first["signal"].attrs.get("units", "")},
            ),
            "mark_present": (("cell_type", "mark"), present),
            "observed": (
                ("cell_type", "gene", "mark"),
                _zeros((n, genes, n_marks), np.dtype(np.float32)),
            ),
            "depth": (("cell_type", "mark"), depth),
            "expression": (("cell_type", "gene"), expression, {"units": " / ".join(units)}),
            "label": (("cell_type", "gene"), label, {"rule": " / ".join(rules)}),
        },
        coords={
            "cell_type": cell_types.astype(object),
            "mark": marks,
            "gene_id": ("gene", gene_ids),
            "bin_start": ("bin", first["bin_start"].values),
        },
        attrs={
            "format_version": FORMAT_VERSION,
            "bin_size": int(first.attrs["bin_size"]),
            "assembly": next(
                (d.attrs["assembly"] for d in datasets if d.attrs.get("assembly")), ""
            ),
            "sources": [dict(source) for d in datasets for source in d.attrs.get("sources", ())],
            "note": "; ".join(
                dict.fromkeys(d.attrs["note"] for d in datasets if d.attrs.get("note"))
            ),
        },
    )
    split = _published_split(datasets, gene_ids)
    if split is not None:
        merged = merged.assign_coords(published_split=("gene", split))
    table = _gene_table(datasets)
    return validate(merged) if table is None else add_genes(merged, table)


def fits(dataset: xr.Dataset, merged: xr.Dataset) -> bool:
    """Are genes, marks and type of signal those of the joined dataset, in its order?

    Then the large variables of each cell type are the same in both.
    """
    return (
        dataset["signal"].dtype == merged["signal"].dtype
        and np.array_equal(dataset["gene_id"].values, merged["gene_id"].values)
        and np.array_equal(dataset["mark"].values, merged["mark"].values)
        and bool(dataset["mark_present"].values.all())
    )


def place(
    dataset: xr.Dataset, row: int, merged: xr.Dataset, signal: np.ndarray, observed: np.ndarray
) -> None:
    """Where do a cell type's signal and `observed` go in the joined dataset?

    Parameters
    ----------
    dataset
        One of the datasets that were joined.
    row
        Position of the cell type in it.
    merged
        What `merge_outlines` gave.
    signal : (gene, bin, mark), observed : (gene, mark)
        Zeros, to be filled: those of the cell type in the joined dataset.
    """
    at = pd.Index(merged["gene_id"].values).get_indexer(dataset["gene_id"].values)
    columns = pd.Index(merged["mark"].values).get_indexer(dataset["mark"].values)
    here = dataset["signal"].values[row], dataset["observed"].values[row]
    # What was not assayed is 0, whatever stands there.
    for source in np.flatnonzero(dataset["mark_present"].values[row]):
        signal[at, :, columns[source]] = here[0][:, :, source]
        observed[at, columns[source]] = here[1][:, source]


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
    for position, dataset in enumerate(datasets, start=1):
        validate(dataset, f"dataset {position}")
    merged = merge_outlines(datasets)
    large = {name: np.zeros(merged[name].shape, merged[name].dtype) for name in LARGE}
    start = 0
    for dataset in datasets:
        for row in range(dataset.sizes["cell_type"]):
            place(dataset, row, merged, *(large[name][start + row] for name in LARGE))
        start += dataset.sizes["cell_type"]
    return with_large(merged, large)
