"""Datasets of different cell types, with their own marks and gene orders, as one.

Everything but the signal is small, and is merged at once (`merge_outlines`); the signal is put in
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
from simplechrome.errors import DatasetFormatError, first_names
from simplechrome.schema import FORMAT_VERSION, PLACE, UNKNOWN_LABEL, validate

log = logging.getLogger(__name__)

LARGE = ("signal", "observed")
"""The variables with values for each gene and mark; all others are small."""


def outline(dataset: xr.Dataset) -> xr.Dataset:
    """Return the dataset with zeros that take no memory for `signal` and `observed`."""
    return with_large(dataset, {n: _zeros(dataset[n].shape, dataset[n].dtype) for n in LARGE})


def with_large(dataset: xr.Dataset, values: Mapping[str, np.ndarray]) -> xr.Dataset:
    """Return the dataset with other values of its large variables."""
    return dataset.assign(
        {name: (dataset[name].dims, array, dataset[name].attrs) for name, array in values.items()}
    )


def _zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return one zero, seen at every place of the shape."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def _union(datasets: Sequence[xr.Dataset], name: str) -> np.ndarray:
    """Return names in the order in which they first occur."""
    # Outlines of one layout share their arrays of names: each is looked through once.
    arrays = [each[name].values for each in datasets]
    distinct = {id(array): array for array in arrays}
    return pd.unique(np.concatenate([*distinct.values()]).astype(object))


def _check_alike(datasets: Sequence[xr.Dataset]) -> None:
    for dataset in datasets:
        require_measured(dataset, "merge")

    def properties(dataset: xr.Dataset) -> dict[str, str]:
        start, size = dataset["bin_start"].values[0], dataset.attrs["bin_size"]
        return {
            "windows": f"{dataset.sizes['bin']} bins of {size} bp from {start} bp",
            "units": str(dataset["signal"].attrs.get("units")),
            "assembly": str(dataset.attrs.get("assembly") or ""),
        }

    expected = properties(datasets[0])
    for position, dataset in enumerate(datasets[1:], start=2):
        for name, found in properties(dataset).items():
            unknown = name == "assembly" and not (found and expected[name])
            if found != expected[name] and not unknown:
                raise DatasetFormatError(
                    f"Dataset {position} cannot be merged with the first: its {name} differ: "
                    f"found {found}, expected {expected[name]}.",
                    "build both from the same kind of track, with the same --flank, --bin-size "
                    "and assembly",
                )
    cell_types = np.concatenate([dataset["cell_type"].values for dataset in datasets])
    names, counts = np.unique(cell_types.astype(str), return_counts=True)
    if (counts > 1).any():
        raise DatasetFormatError(
            f"Cell types are in more than one of the datasets: {first_names(names[counts > 1])}.",
            "merge datasets without these, or build them under other names",
        )


def _gene_table(datasets: Sequence[xr.Dataset]) -> pd.DataFrame | None:
    """Return places of all genes, from the first dataset that has each; None if none has any."""
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
            *(int(differing.sum()), first_names(differing.index[differing], 3)),
        )
    # Genes that no dataset places still have names.
    return pd.concat([placed, every[every["tss"] < 0]]).drop_duplicates("gene_id")


def _published_split(datasets: Sequence[xr.Dataset], gene_ids: np.ndarray) -> np.ndarray | None:
    pairs = [
        (d["gene_id"].values, d["published_split"].values)
        for d in datasets
        if "published_split" in d.coords
    ]
    if not pairs:
        return None
    distinct = {(id(genes), id(split)): (genes, split) for genes, split in pairs}
    tables = [pd.DataFrame({"gene": g, "split": split}) for g, split in distinct.values()]
    every = pd.concat(tables).drop_duplicates()
    every = every[every["split"] != ""]
    again = every["gene"].duplicated()
    if again.any():
        n_genes = every["gene"][again].nunique()
        log.warning("%d genes are in different published splits; the first is kept", n_genes)
    return every[~again].set_index("gene")["split"].reindex(gene_ids).fillna("").to_numpy()


def merge_outlines(datasets: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return the outline of the merged dataset, in which `place` puts the large variables.

    Parameters
    ----------
    datasets : datasets, or outlines of them (see `outline`), with disjoint cell types and equal
        windows and units.

    Raises DatasetFormatError if windows, units or assemblies differ, a cell type occurs twice, or
    there is no dataset.
    """
    if not datasets:
        raise DatasetFormatError("There is nothing to merge: no dataset was given.")
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
    signal = _zeros((n, genes, first.sizes["bin"], n_marks), dtype)
    observed = _zeros((n, genes, n_marks), np.dtype(np.float32))
    assemblies = (d.attrs["assembly"] for d in datasets if d.attrs.get("assembly"))
    notes = dict.fromkeys(d.attrs["note"] for d in datasets if d.attrs.get("note"))
    signal_units = {"units": first["signal"].attrs.get("units", "")}
    merged = xr.Dataset(
        {
            "signal": (("cell_type", "gene", "bin", "mark"), signal, signal_units),
            "mark_present": (("cell_type", "mark"), present),
            "observed": (("cell_type", "gene", "mark"), observed),
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
            "assembly": next(assemblies, ""),
            "sources": [dict(source) for d in datasets for source in d.attrs.get("sources", ())],
            "note": "; ".join(notes),
        },
    )
    split = _published_split(datasets, gene_ids)
    if split is not None:
        merged = merged.assign_coords(published_split=("gene", split))
    table = _gene_table(datasets)
    return validate(merged) if table is None else add_genes(merged, table)


def place(dataset: xr.Dataset, row: int, merged: xr.Dataset) -> dict[str, np.ndarray]:
    """Return the large variables of a cell type in the order of the merged dataset.

    Parameters
    ----------
    dataset : one of the datasets that were merged
    row : position of the cell type in it
    merged : what `merge_outlines` gave

    Returns `signal` (gene, bin, mark) and `observed` (gene, mark); 0 for genes and marks not in
    `dataset`.
    """
    at = pd.Index(merged["gene_id"].values).get_indexer(dataset["gene_id"].values)
    columns = pd.Index(merged["mark"].values).get_indexer(dataset["mark"].values)
    result = {name: np.zeros(merged[name].shape[1:], merged[name].dtype) for name in LARGE}
    # What was not assayed is 0, whatever stands there.
    for source in np.flatnonzero(dataset["mark_present"].values[row]):
        for name, values in result.items():
            values[at, ..., columns[source]] = dataset[name].values[row][..., source]
    return result


def merge(datasets: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return datasets of different cell types as one.

    Genes and marks are united, in the order in which they first occur. A mark that a cell type
    lacks is masked (`mark_present` False); a gene that it lacks is unobserved there (`observed`
    0, expression NaN, label -1).

    Parameters
    ----------
    datasets : with disjoint cell types and equal windows and units; cell types keep their order

    Raises DatasetFormatError if windows, units or assemblies differ, a cell type occurs twice, or
    there is no dataset.
    """
    for position, dataset in enumerate(datasets, start=1):
        validate(dataset, f"dataset {position}")
    merged = merge_outlines(datasets)
    large = {name: np.zeros(merged[name].shape, merged[name].dtype) for name in LARGE}
    rows = [(dataset, row) for dataset in datasets for row in range(dataset.sizes["cell_type"])]
    for position, (dataset, row) in enumerate(rows):
        for name, values in place(dataset, row, merged).items():
            large[name][position] = values
    return with_large(merged, large)
