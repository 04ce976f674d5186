"""Which counts, labels and splits does the published DeepChrome layout hold?

The layout: `CELL_TYPE/classification/{train,valid,test}.csv` below any prefix, in a folder or in
a `.tar` or `.tar.gz` that is read in place. The rows are gene, bin, one count per mark, label;
without a header line the marks are the five published ones in their published order.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from simplechrome.errors import ConfigError, InputFormatError, MissingInputError, SimpleChromeError
from simplechrome.sources.deepchrome_csv import SplitCounts, parse_counts, read_columns
from simplechrome.sources.deepchrome_faults import line_of_gene
from simplechrome.sources.deepchrome_files import (
    SPLITS,
    CellTypeFiles,
    SplitFile,
    cell_type_names,
    files_by_cell_type,
)
from simplechrome.sources.provenance import Source, fingerprint

logger = logging.getLogger(__name__)

ONE_SIDED = 0.85
"""From this share of one class on, a constant guess looks like a good model."""


class CellTypeCounts(NamedTuple):
    """One cell type of the DeepChrome layout.

    gene_id : (gene,) full Ensembl ids, in the order of the files: train, valid, test
    counts : (gene, bin, mark) reads, uint16, or float32 where one is above 65,535; C order
    label : (gene,) int8, 1 high, 0 low
    split : (gene,) "train", "valid" or "test"
    sources : name, bytes and sha256 of each CSV
    """

    cell_type: str
    gene_id: np.ndarray
    counts: np.ndarray
    marks: tuple[str, ...]
    label: np.ndarray
    split: np.ndarray
    sources: list[Source]


class Reading(NamedTuple):
    """One cell type on the way through a folder or archive.

    counts : None where the files are those that were read before
    passed : share of the folder or archive that has been gone through, up to 1
    """

    cell_type: str
    counts: CellTypeCounts | None
    passed: float


def list_cell_types(path: str | Path) -> list[str]:
    """Which cell types lie in this folder or archive?

    Parameters
    ----------
    path
        A folder (of cell types, of one cell type, or `classification` itself), .tar or .tar.gz.

    Returns
    -------
    Sorted names. No CSV is opened; an archive is run through once.

    Raises
    ------
    MissingInputError
        If nothing is there.
    InputFormatError
        If it holds no cell type, one twice, or is a damaged archive.
    """
    return cell_type_names(Path(path))


def read_deepchrome(
    path: str | Path,
    cell_types: Sequence[str] | None = None,
    *,
    splits: Sequence[str] = SPLITS,
    on_bad_cell_type: Literal["stop", "skip"] = "stop",
) -> Iterator[CellTypeCounts]:
    """What are the counts, labels and splits of each cell type?

    One cell type is in memory at a time. A folder gives them in the order of `cell_types`, or
    sorted; an archive in its own order, since it is read once and nothing is extracted.

    A gene has as many bins as most genes of its file, and all files of a cell type agree. Its
    rows must be together and count the bins from 1 on: rows out of order are refused rather
    than sorted, for they are a sign that more went wrong.

    Parameters
    ----------
    path
        A folder (of cell types, of one cell type, or `classification` itself), .tar or .tar.gz.
    cell_types
        Names of the cell types to read; all by default.
    splits
        The files that each cell type must have. To read a layout without a validation file,
        say `splits=("train", "test")`; a missing file is never passed over in silence.
    on_bad_cell_type
        "stop" raises at the first cell type that cannot be used. "skip" logs a warning with the
        reason and goes on; if none can be used, it raises all the same.

    Yields
    ------
    CellTypeCounts, genes in the order of the files: train, valid, test.

    Raises
    ------
    InputFormatError
        If a file is empty or malformed (the message names the line), two files of a cell type
        disagree in marks, bins or genes, or the archive is damaged.
    MissingInputError
        If `path` or a split's file is not there.
    UnknownGeneError
        If a name in `cell_types` is not there; for an archive known only at its end.
    ConfigError
        If an argument makes no sense.

    Notes
    -----
    Labels of (nearly) one class are reported by `logging`, for a cell type and for a split.

    References
    ----------
    Singh et al., Bioinformatics 2016 (DeepChrome), the layout's origin.
    """
    readings = read_changed(path, {}, cell_types, splits=splits, on_bad_cell_type=on_bad_cell_type)
    return (reading.counts for reading in readings if reading.counts is not None)


def read_changed(
    path: str | Path,
    known: Mapping[str, Sequence[Mapping[str, Any]]],
    cell_types: Sequence[str] | None = None,
    *,
    splits: Sequence[str] = SPLITS,
    on_bad_cell_type: Literal["stop", "skip"] = "stop",
) -> Iterator[Reading]:
    """Which cell types are there, and what do those hold that were not read before?

    Files that were read before are only compared by their checksums, which takes a tenth of the
    time. All else is as for `read_deepchrome`.

    Parameters
    ----------
    known
        Cell types that were read before, each with its `sources` (see `CellTypeCounts`).

    Yields
    ------
    Reading, one for each cell type that can be used.

    Raises
    ------
    InputFormatError, MissingInputError, UnknownGeneError, ConfigError
        See `read_deepchrome`.
    """
    wanted = [cell_types] if isinstance(cell_types, str) else cell_types
    if wanted is not None and len(wanted) == 0:
        raise ConfigError("cell_types is empty.", expected="one name or more, or None for all")
    if on_bad_cell_type not in ("stop", "skip"):
        raise ConfigError(
            "on_bad_cell_type has an unknown value.",
            found=repr(on_bad_cell_type),
            expected="'stop' or 'skip'",
        )
    if not splits or isinstance(splits, str) or not set(splits) <= set(SPLITS):
        raise ConfigError(
            "splits names files that the layout does not have.",
            found=repr(splits),
            expected=f"one or more of {', '.join(SPLITS)}, as a tuple",
        )
    in_order = tuple(split for split in SPLITS if split in splits)
    unique = None if wanted is None else list(dict.fromkeys(wanted))
    return _read(Path(path), known, unique, in_order, skip=on_bad_cell_type == "skip")


def _read(
    path: Path,
    known: Mapping[str, Sequence[Mapping[str, Any]]],
    wanted: list[str] | None,
    splits: tuple[str, ...],
    *,
    skip: bool,
) -> Iterator[Reading]:
    n_read = 0
    reasons: list[SimpleChromeError] = []
    for files in files_by_cell_type(path, splits, wanted):
        before = known.get(files.cell_type)
        try:
            unchanged = before is not None and _sources(files, splits) == list(before)
            counts = None if unchanged else _read_cell_type(files, splits)
        except (InputFormatError, MissingInputError) as error:
            if not skip:
                raise
            logger.warning("Cell type %s is skipped. %s", files.cell_type, error)
            reasons.append(error)
            continue
        n_read += 1
        if counts is not None:
            if before is not None:
                logger.warning(
                    "%s: its files have changed since they were read, and were read anew",
                    files.cell_type,
                )
            _report_balance(counts)
        yield Reading(files.cell_type, counts, files.passed)
        del files, counts  # Otherwise two cell types are in memory while the next is read.
    if n_read == 0:
        raise InputFormatError(
            f"None of the {len(reasons)} cell types in {path.name} can be used.",
            found="; ".join(reason.problem for reason in reasons[:3])
            + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""),
            expected="at least one cell type without faults",
        )


def _sources(files: CellTypeFiles, splits: tuple[str, ...]) -> list[Source]:
    """The files' fingerprints, one file in memory at a time."""
    return [
        fingerprint(file.name, file.read())
        for file in (files.files.get(split) for split in splits)
        if file is not None
    ]


def _read_cell_type(files: CellTypeFiles, splits: tuple[str, ...]) -> CellTypeCounts:
    """Parse and join the files of one cell type, in the order of `splits`."""
    absent = [split for split in splits if split not in files.files]
    if absent:
        present = [file.name for file in files.files.values()]
        raise MissingInputError(
            f"{files.cell_type} lacks {', '.join(f'{split}.csv' for split in absent)}.",
            found=", ".join(present) or "none of its files",
            expected=", ".join(f"{files.cell_type}/classification/{split}.csv" for split in splits),
            cause="the download or extraction was interrupted",
            remedy="fetch it again; if the layout is meant to be so, name the files that are "
            f"there in `splits`, as in splits={tuple(s for s in splits if s not in absent)!r}"
            if present
            else "fetch it again",
        )
    parts: list[SplitCounts] = []
    sources: list[Source] = []
    for split in splits:
        file = files.files[split]
        data = file.read()
        sources.append(fingerprint(file.name, data))
        parts.append(parse_counts(data, file.name))
    in_order = [files.files[split] for split in splits]
    parts = _agreeing(parts, in_order)
    gene_id = [name for part in parts for name in part.gene_id]
    if len(set(gene_id)) < len(gene_id):
        raise _shared_genes(parts, in_order)
    return CellTypeCounts(
        cell_type=files.cell_type,
        gene_id=np.array(gene_id),
        counts=np.concatenate([part.counts for part in parts]),
        marks=parts[0].marks,
        label=np.concatenate([part.label for part in parts]),
        split=np.repeat(splits, [len(part.gene_id) for part in parts]),
        sources=sources,
    )


def _agreeing(parts: list[SplitCounts], files: list[SplitFile]) -> list[SplitCounts]:
    """The parts with the first one's order of marks, if marks and bins are the same."""
    first = parts[0]
    for part, file in zip(parts, files, strict=True):
        if set(part.marks) != set(first.marks):
            raise InputFormatError(
                f"{file.name} has other marks than {files[0].name}.",
                found=", ".join(part.marks),
                expected=", ".join(first.marks),
                cause="the files come from different sources, or one lacks its header line",
            )
        if part.counts.shape[1] != first.counts.shape[1]:
            raise InputFormatError(
                f"{file.name} has another number of bins per gene than {files[0].name}.",
                found=f"{part.counts.shape[1]} bins",
                expected=f"{first.counts.shape[1]} bins",
                cause="the files come from different sources, or one is cut off",
            )
    return [
        part
        if part.marks == first.marks
        else part._replace(
            counts=np.ascontiguousarray(
                part.counts[:, :, [part.marks.index(mark) for mark in first.marks]]
            ),
            marks=first.marks,
        )
        for part in parts
    ]


def _shared_genes(parts: list[SplitCounts], files: list[SplitFile]) -> InputFormatError:
    """The error for genes that lie in two files."""
    owner: dict[str, int] = {}
    shared: list[tuple[str, int, int]] = []
    for index, part in enumerate(parts):
        for name in part.gene_id:
            if owner.setdefault(name, index) != index:
                shared.append((name, owner[name], index))
    name, *both = shared[0]
    places = []
    for index in both:
        data = files[index].read()
        line = line_of_gene(data, read_columns(data, files[index].name), name)
        places.append(f"{files[index].name}, line {line}")
    return InputFormatError(
        f"{places[1]}: gene {name} is in two splits.",
        found=f"also in {places[0]}"
        + (f"; {len(shared) - 1:,} more genes are in two splits" if len(shared) > 1 else ""),
        expected="each gene in one split, so that nothing is tested on what was trained on",
        cause="the splits were drawn per file or per row, not per gene",
    )


def _report_balance(counts: CellTypeCounts) -> None:
    """Say how many genes are high, and warn where a constant guess would do well."""
    high = float(counts.label.mean())
    shares = {
        str(split): float(counts.label[counts.split == split].mean())
        for split in dict.fromkeys(counts.split.tolist())
    }
    listed = ", ".join(f"{split} {share:.0%}" for split, share in shares.items())
    logger.info(
        "%s: %s genes, %.0f %% labelled high (%s)",
        counts.cell_type,
        f"{counts.label.size:,}",
        100 * high,
        listed,
    )
    if max(high, 1 - high) >= ONE_SIDED:
        where = counts.cell_type
    else:
        where = ", ".join(s for s, share in shares.items() if max(share, 1 - share) >= ONE_SIDED)
        where = f"{counts.cell_type} ({where})" if where else ""
    if where:
        logger.warning(
            "%s: nearly all labels are of one class (high: %s). A constant guess reaches that "
            "accuracy: go by AUROC and AUPRC, or make labels from an expression table.",
            where,
            listed,
        )
