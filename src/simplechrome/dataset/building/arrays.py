"""Arrays and tables to a dataset: signal, the places of genes, expression and labels."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from simplechrome.errors import ConfigError, InputFormatError, first_names
from simplechrome.schema import FORMAT_VERSION, PLACE, UNKNOWN_LABEL, validate

log = logging.getLogger(__name__)

GIVEN = "given by file"
"""The `rule` of labels that came with the data."""
RULES = "median, mean, tertiles, quantile:Q (0 < Q < 1), threshold:VALUE"


def from_arrays(
    signal: np.ndarray,
    *,
    marks: Sequence[str],
    gene_ids: Sequence[str] | np.ndarray,
    cell_types: Sequence[str],
    bin_size: int = 100,
    bin_start: np.ndarray | None = None,
    units: str = "reads",
    mark_present: np.ndarray | None = None,
    observed: np.ndarray | None = None,
    depth: np.ndarray | None = None,
    expression: np.ndarray | None = None,
    expression_units: str = "RPKM",
    label: np.ndarray | None = None,
    label_rule: str = "median",
    genes: pd.DataFrame | None = None,
    published_split: Sequence[str] | np.ndarray | None = None,
    assembly: str = "",
    sources: Sequence[Mapping[str, Any]] = (),
    note: str = "",
) -> xr.Dataset:
    """Return a dataset of these arrays.

    Parameters
    ----------
    signal : (cell_type, gene, bin, mark)
        Bins in the direction of transcription. Counts become uint16 (float32 where one is above
        65,535); floats float32. NaN means no data there: stored as 0, and `observed` lowered.
    marks, gene_ids, cell_types : names along those dimensions, each once
    bin_size : bp
    bin_start : (bin,), optional
        Offset of each bin from the TSS in bp; by default the TSS lies in the middle.
    units : `reads`, `mean_signal`, …
    mark_present : (cell_type, mark), optional
        False where a mark was not assayed; its signal is set to 0. All True by default.
    observed : (cell_type, gene, mark), optional
        Fraction of each window with data; by default from NaN in `signal`, else 1.
    depth : (cell_type, mark), optional
        Library size; NaN by default.
    expression : (cell_type, gene), optional
        NaN where not measured.
    label : (cell_type, gene), optional
        1, 0, or -1 for unknown. Given labels win; otherwise they come from `expression`.
    label_rule : see `label_expression`
    genes : table with gene_id, chrom, tss, strand (gene_name) as `read_genes` returns it
    published_split : (gene,), optional
        train, valid, test or empty.
    assembly : name of the genome assembly, for the record
    sources : one mapping per input file (name, bytes, checksum), for the record
    note : something that every reader of the dataset must know ("simulated data")

    Raises InputFormatError if an array's shape or values do not fit; DatasetFormatError if names
    repeat or the result is not a dataset for another reason.
    """
    signal = np.asarray(signal)
    if signal.ndim != 4:
        raise InputFormatError(
            f"The signal has shape {signal.shape}; expected (cell_type, gene, bin, mark).",
            "signal[np.newaxis] adds the dimension of a single cell type",
        )
    sizes = dict(zip(("cell_type", "gene", "bin", "mark"), signal.shape, strict=True))
    pair, per_mark = ("cell_type", "gene"), ("cell_type", "mark")
    per_window = ("cell_type", "gene", "mark")

    def fitting(name: str, values: Any, *dims: str) -> np.ndarray:
        array, shape = np.asarray(values), tuple(sizes[dim] for dim in dims)
        if array.shape != shape:
            raise InputFormatError(
                f"`{name}` does not fit the signal: found shape {array.shape}, expected "
                f"({', '.join(dims)}) = {shape}."
            )
        return array

    def filled(name: str, values: Any, dims: tuple[str, ...], fill: Any, dtype: Any) -> np.ndarray:
        if values is None:
            return np.full([sizes[dim] for dim in dims], fill, dtype)
        return fitting(name, values, *dims).astype(dtype)

    fitting("cell_types", cell_types, "cell_type")
    fitting("gene_ids", gene_ids, "gene")
    fitting("marks", marks, "mark")
    signal, bins_with_data = _signal_and_observed(signal)
    present = filled("mark_present", mark_present, per_mark, True, bool)
    given = bins_with_data if observed is None else observed
    fraction = filled("observed", given, per_window, 1, np.float32)
    fraction = fraction * present[:, np.newaxis, :]
    if not present.all():
        signal = signal * present[:, np.newaxis, np.newaxis, :].astype(signal.dtype)
    levels = filled("expression", expression, pair, np.nan, np.float32)
    if label is None:
        labels = label_expression(levels, label_rule)
    else:
        # Before the conversion to int8, which makes 0 of NaN, 256 and 0.5.
        odd = np.setdiff1d(np.asarray(label), (0, 1, UNKNOWN_LABEL))
        if odd.size:
            raise InputFormatError(
                f"`label` holds {first_names(odd, 8)}; expected 1 (high), 0 (low) or -1 (unknown)."
            )
        labels = filled("label", label, pair, UNKNOWN_LABEL, np.int8)
    if bin_start is None:
        bin_start = (np.arange(sizes["bin"]) - sizes["bin"] // 2) * bin_size
    coordinates: dict[str, Any] = {
        "cell_type": _strings(cell_types),
        "mark": _strings(marks),
        "gene_id": ("gene", _strings(gene_ids)),
        "bin_start": ("bin", fitting("bin_start", bin_start, "bin").astype(np.int32)),
    }
    if published_split is not None:
        parts = fitting("published_split", published_split, "gene")
        coordinates["published_split"] = ("gene", _strings(parts))
    dataset = xr.Dataset(
        {
            "signal": (tuple(sizes), signal, {"units": units}),
            "mark_present": (per_mark, present),
            "observed": (per_window, fraction.astype(np.float32, copy=False)),
            "depth": (per_mark, filled("depth", depth, per_mark, np.nan, np.float32)),
            "expression": (pair, levels, {"units": expression_units}),
            "label": (pair, labels, {"rule": GIVEN if label is not None else label_rule}),
        },
        coords=coordinates,
        attrs={
            "format_version": FORMAT_VERSION,
            "bin_size": int(bin_size),
            "assembly": assembly,
            "sources": [dict(source) for source in sources],
            "note": note,
        },
    )
    return validate(dataset if genes is None else add_genes(dataset, genes))


def _signal_and_observed(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring the signal to uint16 or float32; take the fraction of bins with data from NaN."""
    observed = np.ones((signal.shape[0], signal.shape[1], signal.shape[3]), np.float32)
    if signal.dtype == np.uint16:
        return signal, observed
    if signal.dtype.kind in "iu":
        low, high = (int(signal.min()), int(signal.max())) if signal.size else (0, 0)
        if low < 0:
            raise InputFormatError(f"The signal holds negative counts, down to {low}.")
        fits = high <= np.iinfo(np.uint16).max
        return signal.astype(np.uint16 if fits else np.float32), observed
    if signal.dtype.kind != "f":
        raise InputFormatError(f"The signal is of type {signal.dtype}; expected numbers.")
    missing = np.isnan(signal)
    if missing.any():
        observed = (1 - missing.mean(axis=2)).astype(np.float32)
        signal = np.where(missing, 0, signal)
    with np.errstate(over="ignore"):  # 1e300 becomes infinite, and is refused below.
        signal = signal.astype(np.float32, copy=False)
    if not np.isfinite(signal).all():
        raise InputFormatError(
            "The signal holds infinite values, or values beyond float32.",
            "use finite numbers, and NaN where there are no data",
        )
    return signal, observed


def _strings(values: Sequence[Any] | np.ndarray) -> np.ndarray:
    return np.asarray([str(value) for value in values], dtype=object)


def _bounds(values: np.ndarray, rule: str) -> tuple[float, float]:
    """Return two bounds of expression: up to the first is low, above the second high."""
    name, _, argument = rule.partition(":")
    exact = values.astype(np.float64)
    if rule == "median":
        return (float(np.median(exact)),) * 2
    if rule == "mean":
        return (float(values.mean(dtype=np.float64)),) * 2
    if rule == "tertiles":
        lower, upper = np.quantile(exact, (1 / 3, 2 / 3))
        return float(lower), float(upper)
    try:
        number = float(argument)
    except ValueError:
        number = np.nan
    if name == "quantile" and 0 < number < 1:
        return (float(np.quantile(exact, number)),) * 2
    if name == "threshold" and not np.isnan(number):
        # In the values' own precision: a stored 0.1 is not above threshold:0.1.
        return (float(np.asarray(number, np.result_type(values, np.float16))),) * 2
    raise ConfigError(f"There is no label rule {rule!r}.", f"choose one of: {RULES}")


def check_rule(rule: str) -> None:
    """Raise ConfigError if this is no label rule."""
    _bounds(np.zeros(1), rule)


def label_expression(expression: np.ndarray, rule: str = "median") -> np.ndarray:
    """Return whether each gene's expression is high or low within its cell type.

    Parameters
    ----------
    expression : (cell_type, gene), RPKM or TPM; NaN where not measured
    rule : `median`: above the median of the cell type's measured genes is high (the published
        rule); `mean`; `quantile:Q`; `threshold:VALUE`; `tertiles`: the upper third is high, the
        lower third low, the middle unknown.

    Returns (cell_type, gene) int8: 1 high, 0 low, -1 unknown.

    Raises ConfigError if the rule is none of these.

    See Singh et al., Bioinformatics 2016 (DeepChrome): the median rule.
    """
    check_rule(rule)  # even where no cell type has expression
    label = np.full(expression.shape, UNKNOWN_LABEL, np.int8)
    for row, values in enumerate(expression):
        measured = np.isfinite(values)
        if not measured.any():
            continue
        low, high = _bounds(values[measured], rule)
        # NumPy would round the bounds to float32: a median between two neighboring numbers would
        # become the upper one, and that gene low.
        exact = values.astype(np.float64)
        label[row, measured & (exact <= low)] = 0
        label[row, measured & (exact > high)] = 1
    return label


def _match(wanted: np.ndarray, present: pd.Index, what: str) -> np.ndarray:
    """Return the row of each gene in a table, -1 where it has none; fail if none has one."""
    if present.has_duplicates:
        repeated = present[present.duplicated()].unique()
        raise InputFormatError(
            f"{len(repeated)} genes are in the {what} more than once: {first_names(repeated, 3)}.",
            "keep one row per gene",
        )
    rows = present.get_indexer(pd.Index(wanted))
    if wanted.size and not (rows >= 0).any():
        raise InputFormatError(
            f"None of the dataset's {wanted.size} genes ({first_names(wanted, 3)}) is in the "
            f"{what} ({first_names(present, 3)}).",
            "use the same kind of id in both: no symbols against Ensembl ids, no version suffix "
            "(ENSG….12) on one side only",
        )
    return rows


def add_genes(dataset: xr.Dataset, genes: pd.DataFrame) -> xr.Dataset:
    """Return the dataset with the places of its genes.

    Genes that the table lacks get an empty chromosome and a TSS of -1, and are counted in a
    warning.

    Parameters
    ----------
    genes : table with gene_id, chrom, tss (0-based), strand and, if known, gene_name and
        published_split; one row a gene, as `read_genes` returns it.

    Raises InputFormatError if no gene of the dataset is in the table, or one is there twice, or the
    table lacks a column.
    """
    absent = [name for name in ("gene_id", *PLACE) if name not in genes]
    if absent:
        raise InputFormatError(
            f"The gene table has no {' and no '.join(absent)}, only {first_names(genes, 12)}.",
            "pass a table with gene_id, chrom, tss (0-based) and strand, as "
            "read_genes of simplechrome.sources.genome.genes makes it",
        )
    table = genes.set_index("gene_id")
    rows = _match(dataset["gene_id"].values, table.index, "gene table")
    found = rows >= 0
    if not found.all():
        log.warning(
            "%d of %d genes are not in the gene table and have no place: %s",
            *((~found).sum(), found.size, first_names(dataset["gene_id"].values[~found], 3)),
        )

    def column(name: str, empty: str | int) -> np.ndarray:
        if name not in table:
            return np.full(rows.size, empty)
        values = table[name].to_numpy(object)[rows]
        return np.where(found & ~pd.isna(values), values, empty)

    coordinates: dict[str, Any] = {
        "gene_name": ("gene", _strings(column("gene_name", ""))),
        "chrom": ("gene", _strings(column("chrom", ""))),
        "tss": ("gene", column("tss", -1).astype(np.int64)),
        "strand": ("gene", _strings(column("strand", "."))),
    }
    if "published_split" in table and "published_split" not in dataset.coords:
        coordinates["published_split"] = ("gene", _strings(column("published_split", "")))
    return validate(dataset.assign_coords(coordinates))


def match_expression(
    expression: pd.DataFrame, gene_ids: np.ndarray, cell_types: Sequence[str] | np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """Return the row of each gene in an expression table, and the cell types that it lacks.

    Returns (gene,), -1 where the table has no such gene; and names.

    Raises InputFormatError if the table shares no gene, or no cell type, or holds one twice.
    """
    columns = expression.columns
    if columns.has_duplicates:
        repeated = first_names(columns[columns.duplicated()].unique())
        raise InputFormatError(
            f"Cell types are in the expression table more than once: {repeated}.",
            "keep one column per cell type",
        )
    absent = [name for name in cell_types if name not in columns]
    if len(absent) == len(cell_types):
        raise InputFormatError(
            f"The expression table has none of the dataset's cell types: its columns are "
            f"{first_names(columns, 8)}; expected {first_names(cell_types, 8)}.",
            "rename the columns, or the cell types, so that they agree",
        )
    return _match(gene_ids, expression.index, "expression table"), absent


def add_expression(
    dataset: xr.Dataset,
    expression: pd.DataFrame,
    *,
    rule: str = "median",
    relabel: bool = False,
    units: str = "RPKM",
) -> xr.Dataset:
    """Return the dataset with the expression of its genes, and labels.

    Labels that came with the data are kept (their disagreement with the rule is counted in a
    warning) unless `relabel` is True. Elsewhere they follow the rule.

    Parameters
    ----------
    expression : genes in rows (index: gene_id), cell types in columns
    rule : see `label_expression`
    relabel : replace labels that came with the data
    units : RPKM, TPM, …, for the record

    Raises InputFormatError if the table shares no gene, or no cell type, with the dataset, or holds
    one twice.
    """
    cell_types = dataset["cell_type"].values
    rows, absent = match_expression(expression, dataset["gene_id"].values, cell_types)
    if absent:
        log.warning("The table has no expression of %s: left as it was", ", ".join(absent))
    if (rows < 0).any():
        log.warning("%d of %d genes have no expression", (rows < 0).sum(), rows.size)
    table = expression.reindex(columns=cell_types).to_numpy(np.float32)
    levels = np.where(rows[:, np.newaxis] >= 0, table[rows], np.nan).T.astype(np.float32)
    lacking = np.isin(cell_types, absent)
    levels[lacking] = dataset["expression"].values[lacking]
    by_rule = label_expression(levels, rule)
    given = dataset["label"].values
    # Of merged cell types some may have labels from files and others by rule.
    from_file = GIVEN in str(dataset["label"].attrs.get("rule"))
    keep = (given != UNKNOWN_LABEL) & from_file & (not relabel)
    label = np.where(keep, given, by_rule).astype(np.int8)
    for row, name in enumerate(cell_types):
        both = keep[row] & (by_rule[row] != UNKNOWN_LABEL)
        differing = int((both & (given[row] != by_rule[row])).sum())
        if differing:
            log.warning(
                "%s: %d of %d labels of the file differ from the rule %r applied to the "
                "expression table; the file's labels are kept",
                *(name, differing, int(both.sum()), rule),
            )
    pair = ("cell_type", "gene")
    return validate(
        dataset.assign(
            expression=(pair, levels, {"units": units}),
            label=(pair, label, {"rule": GIVEN if keep.any() else rule}),
        )
    )
