"""Plain arrays and tables to a dataset, and expression and places to a dataset that lacks them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from simplechrome.errors import ConfigError, InputFormatError
from simplechrome.schema import FORMAT_VERSION, PLACE, UNKNOWN_LABEL, validate

log = logging.getLogger(__name__)

GIVEN = "given by file"
"""The `rule` of labels that came with the data."""


def _signal_and_observed(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring the signal to uint16 or float32; take the share of bins with data from NaN."""
    observed = np.ones((signal.shape[0], signal.shape[1], signal.shape[3]), np.float32)
    if signal.dtype == np.uint16:
        return signal, observed
    if signal.dtype.kind in "iu":
        low, high = (int(signal.min()), int(signal.max())) if signal.size else (0, 0)
        if low < 0:
            raise InputFormatError(
                "The signal holds negative counts.", found=str(low), expected="counts >= 0"
            )
        fits = high <= np.iinfo(np.uint16).max
        return signal.astype(np.uint16 if fits else np.float32), observed
    if signal.dtype.kind != "f":
        raise InputFormatError(
            "The signal is not numeric.", found=str(signal.dtype), expected="integers or floats"
        )
    missing = np.isnan(signal)
    if missing.any():
        observed = (1 - missing.mean(axis=2)).astype(np.float32)
        signal = np.where(missing, 0, signal)
    with np.errstate(over="ignore"):  # 1e300 becomes infinite, and is refused below.
        signal = signal.astype(np.float32, copy=False)
    if not np.isfinite(signal).all():
        raise InputFormatError(
            "The signal holds infinite values.",
            expected="finite numbers of float32, or NaN where there are no data",
        )
    return signal, observed


def _strings(values: Sequence[str] | np.ndarray) -> np.ndarray:
    return np.asarray([str(value) for value in values], dtype=object)


def _expect_shape(name: str, array: np.ndarray, dims: tuple[str, ...], sizes: Mapping) -> None:
    shape = tuple(sizes[dim] for dim in dims)
    if array.shape != shape:
        raise InputFormatError(
            f"`{name}` does not fit the signal.",
            found=f"shape {array.shape}",
            expected=f"({', '.join(dims)}) = {shape}",
        )


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
    """How do my own arrays become a dataset?

    Parameters
    ----------
    signal : (cell_type, gene, bin, mark)
        Bins in the direction of transcription. Counts become uint16 (float32 where one is above
        65,535); floats float32. NaN means no data there: stored as 0, and `observed` lowered.
    marks, gene_ids, cell_types
        Names along those dimensions, each once.
    bin_size
        bp.
    bin_start : (bin,), optional
        Offset of each bin from the TSS in bp; by default the TSS lies in the middle.
    units
        `reads`, `mean_signal`, …
    mark_present : (cell_type, mark), optional
        False where a mark was not assayed; its signal is set to 0. All True by default.
    observed : (cell_type, gene, mark), optional
        Share of each window with data; by default from NaN in `signal`, else 1.
    depth : (cell_type, mark), optional
        Library size; NaN by default.
    expression : (cell_type, gene), optional
        NaN where not measured.
    label : (cell_type, gene), optional
        1, 0, or -1 for unknown. Given labels win; otherwise they come from `expression`.
    label_rule
        See `simplechrome.dataset.building.arrays.label_expression`.
    genes
        Table with gene_id, chrom, tss, strand (gene_name) as `read_genes` returns it.
    published_split : (gene,), optional
        train, valid, test or empty.
    assembly
        Name of the genome assembly, for the record.
    sources
        One mapping per input file (name, bytes, checksum), for the record.
    note
        Something that every reader of the dataset must know ("simulated data").

    Returns
    -------
    A valid dataset.

    Raises
    ------
    InputFormatError
        If an array's shape or values do not fit.
    DatasetFormatError
        If names repeat or the result is not a dataset for another reason.
    """
    signal = np.asarray(signal)
    if signal.ndim != 4:
        raise InputFormatError(
            "The signal has the wrong number of dimensions.",
            found=f"shape {signal.shape}",
            expected="(cell_type, gene, bin, mark)",
            remedy="signal[np.newaxis] adds the dimension of a single cell type",
        )
    sizes = dict(zip(("cell_type", "gene", "bin", "mark"), signal.shape, strict=True))
    for name, values, dim in (
        ("cell_types", cell_types, "cell_type"),
        ("gene_ids", gene_ids, "gene"),
        ("marks", marks, "mark"),
    ):
        _expect_shape(name, np.asarray(values), (dim,), sizes)
    signal, bins_with_data = _signal_and_observed(signal)
    pair, triple = ("cell_type", "gene"), ("cell_type", "gene", "mark")

    def filled(name: str, value: Any, dims: tuple[str, ...], fill: Any, dtype: Any) -> np.ndarray:
        if value is None:
            return np.full([sizes[dim] for dim in dims], fill, dtype)
        array = np.asarray(value)
        _expect_shape(name, array, dims, sizes)
        return array.astype(dtype)

    present = filled("mark_present", mark_present, ("cell_type", "mark"), True, bool)
    share = filled("observed", observed, triple, 1, np.float32) if observed is not None else None
    share = (bins_with_data if share is None else share) * present[:, np.newaxis, :]
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
                "`label` holds other values than 1 (high), 0 (low), -1 (unknown).",
                found=str(odd[:8].tolist()),
                expected="1, 0, or -1 where it is not known",
            )
        labels = filled("label", label, pair, UNKNOWN_LABEL, np.int8)
    if bin_start is None:
        bin_start = (np.arange(sizes["bin"]) - sizes["bin"] // 2) * bin_size
    _expect_shape("bin_start", np.asarray(bin_start), ("bin",), sizes)

    dataset = xr.Dataset(
        {
            "signal": (("cell_type", "gene", "bin", "mark"), signal, {"units": units}),
            "mark_present": (("cell_type", "mark"), present),
            "observed": (triple, share.astype(np.float32, copy=False)),
            "depth": (
                ("cell_type", "mark"),
                filled("depth", depth, ("cell_type", "mark"), np.nan, np.float32),
            ),
            "expression": (pair, levels, {"units": expression_units}),
            "label": (pair, labels, {"rule": GIVEN if label is not None else label_rule}),
        },
        coords={
            "cell_type": _strings(cell_types),
            "mark": _strings(marks),
            "gene_id": ("gene", _strings(gene_ids)),
            "bin_start": ("bin", np.asarray(bin_start, np.int32)),
        },
        attrs={
            "format_version": FORMAT_VERSION,
            "bin_size": int(bin_size),
            "assembly": assembly,
            "sources": [dict(source) for source in sources],
            "note": note,
        },
    )
    if published_split is not None:
        _expect_shape("published_split", np.asarray(published_split), ("gene",), sizes)
        dataset = dataset.assign_coords(published_split=("gene", _strings(published_split)))
    if genes is not None:
        dataset = add_genes(dataset, genes)
    return validate(dataset)


def _match(wanted: np.ndarray, present: pd.Index, what: str) -> np.ndarray:
    """Row of each wanted gene in a table, -1 where it has none; fails when none is found."""
    if present.has_duplicates:
        repeated = present[present.duplicated()].unique()
        raise InputFormatError(
            f"{len(repeated)} genes are in the {what} more than once.",
            found=", ".join(map(str, repeated[:3])),
            expected="one row per gene",
            remedy="keep the rows that are meant",
        )
    rows = present.get_indexer(pd.Index(wanted))
    if wanted.size and not (rows >= 0).any():
        raise InputFormatError(
            f"None of the dataset's {wanted.size} genes is in the {what}.",
            found=f"ids such as {', '.join(map(str, present[:3]))} in the {what}",
            expected=f"ids such as {', '.join(map(str, wanted[:3]))}",
            cause="symbols against Ensembl ids, or version suffixes (ENSG….12) on one side only",
            remedy="bring both to the same kind of id",
        )
    return rows


def add_genes(dataset: xr.Dataset, genes: pd.DataFrame) -> xr.Dataset:
    """Where does each gene of the dataset lie?

    Genes that the table lacks get an empty chromosome and a TSS of -1, and are counted in a
    warning.

    Parameters
    ----------
    dataset
        Any dataset.
    genes
        Table with gene_id, chrom, tss (0-based), strand and, if known, gene_name and
        published_split; one row a gene, as `read_genes` returns it.

    Raises
    ------
    InputFormatError
        If no gene of the dataset is in the table, or one is there twice, or the table lacks a
        column.
    """
    absent = [name for name in ("gene_id", *PLACE) if name not in genes]
    if absent:
        raise InputFormatError(
            f"The gene table has no {' and no '.join(absent)}.",
            found="columns " + ", ".join(map(str, genes.columns)),
            expected="gene_id, chrom, tss (0-based) and strand",
            remedy="read_genes of simplechrome.sources.genome.genes makes such a table",
        )
    table = genes.set_index("gene_id")
    rows = _match(dataset["gene_id"].values, table.index, "gene table")
    found = rows >= 0
    if not found.all():
        log.warning(
            "%d of %d genes are not in the gene table and have no place: %s",
            (~found).sum(),
            found.size,
            ", ".join(dataset["gene_id"].values[~found][:3]),
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
    """Which row of the expression table is each gene's, and which cell types does it lack?

    Returns
    -------
    (gene,), -1 where the table has no such gene; and names.

    Raises
    ------
    InputFormatError
        If the table shares no gene, or no cell type, or holds one twice.
    """
    if expression.columns.has_duplicates:
        raise InputFormatError(
            "Cell types are in the expression table more than once.",
            found=", ".join(map(str, expression.columns[expression.columns.duplicated()][:3])),
            expected="one column per cell type",
        )
    absent = [name for name in cell_types if name not in expression.columns]
    if len(absent) == len(cell_types):
        raise InputFormatError(
            "The expression table has none of the dataset's cell types.",
            found="columns " + ", ".join(map(str, expression.columns[:8])),
            expected=" or ".join(cell_types[:8]),
            remedy="rename the columns, or the cell types, so that they agree",
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
    """How much is each gene of the dataset expressed, and is that high or low?

    Labels that came with the data are kept (their disagreement with the rule is counted in a
    warning) unless `relabel` is True. Elsewhere they follow the rule.

    Parameters
    ----------
    dataset
        Any dataset.
    expression
        Genes in rows (index: gene_id), cell types in columns.
    rule
        See `simplechrome.dataset.building.arrays.label_expression`.
    relabel
        Replace labels that came with the data.
    units
        RPKM, TPM, …, for the record.

    Raises
    ------
    InputFormatError
        If the table shares no gene, or no cell type, with the dataset, or holds one twice.
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
                name,
                differing,
                int(both.sum()),
                rule,
            )
    source = GIVEN if keep.any() else rule
    result = dataset.assign(
        expression=(("cell_type", "gene"), levels, {"units": units}),
        label=(("cell_type", "gene"), label, {"rule": source}),
    )
    return validate(result)


RULES = "median, mean, tertiles, quantile:Q (0 < Q < 1), threshold:VALUE"


def _number(rule: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(
            f"The label rule {rule!r} has no number after its colon.",
            found=text or "nothing",
            expected=RULES,
        ) from None


def _bounds(values: np.ndarray, rule: str) -> tuple[float, float]:
    """Expression up to the first bound is low, above the second high."""
    name, _, argument = rule.partition(":")
    if name == "median" and not argument:
        bound = float(np.median(values.astype(np.float64)))
    elif name == "mean" and not argument:
        bound = float(values.mean(dtype=np.float64))
    elif name == "tertiles" and not argument:
        lower, upper = np.quantile(values.astype(np.float64), (1 / 3, 2 / 3))
        return float(lower), float(upper)
    elif name == "quantile" and 0 < (share := _number(rule, argument)) < 1:
        bound = float(np.quantile(values.astype(np.float64), share))
    elif name == "threshold" and not np.isnan(number := _number(rule, argument)):
        # In the values' own precision: a stored 0.1 is not above threshold:0.1.
        bound = float(np.asarray(number, np.result_type(values, np.float16)))
    else:
        raise ConfigError("There is no such label rule.", found=rule, expected=RULES)
    return bound, bound


def check_rule(rule: str) -> None:
    """Is this a label rule?

    Raises
    ------
    ConfigError
        If it is not.
    """
    _bounds(np.zeros(1), rule)


def label_expression(expression: np.ndarray, rule: str = "median") -> np.ndarray:
    """Is each gene's expression high or low within its cell type?

    Parameters
    ----------
    expression : (cell_type, gene), RPKM or TPM; NaN where not measured
    rule
        `median`: above the median of the cell type's measured genes is high (the published
        rule); `mean`; `quantile:Q`; `threshold:VALUE`; `tertiles`: the upper third is high, the
        lower third low, the middle unknown.

    Returns
    -------
    (cell_type, gene) int8: 1 high, 0 low, -1 unknown.

    Raises
    ------
    ConfigError
        If the rule is none of these.

    References
    ----------
    Singh et al., Bioinformatics 2016 (DeepChrome): the median rule.
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
