"""Which genes are learned from, which choose, and which are scored, once?

A split is a name per gene: `train`, `validation`, `test`, or empty for a gene that is left out.
Genes, not rows, are split: a gene is on the same side in all cell types, since its expression in
one cell type tells most of its expression in another.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from simplechrome.dataset.neighbors.genomic import require_places
from simplechrome.errors import MissingExpressionError, SplitError
from simplechrome.schema import UNKNOWN_LABEL
from simplechrome.sources.genome.chromosomes import detect_style, translate_to_ucsc

log = logging.getLogger(__name__)


TEST_CHROMOSOMES = ("chr1", "chr8", "chr21")
VALIDATION_CHROMOSOMES = ("chr2", "chr9", "chr22")
PARTS = ("train", "validation", "test")
_CHROMOSOMES_SHOWN = 10  # in a message


class Split(NamedTuple):
    """Three datasets with disjoint genes."""

    train: xr.Dataset
    validation: xr.Dataset
    test: xr.Dataset


def _check_parts(
    assignment: np.ndarray, how: str, *, there: str = "", cause: str = "", remedy: str
) -> np.ndarray:
    """The assignment, if no part is empty; `there` is what else was found."""
    empty = [part for part in PARTS if not (assignment == part).any()]
    if empty:
        counts = ", ".join(f"{part} {int((assignment == part).sum())}" for part in PARTS)
        raise SplitError(
            f"The split {how} leaves no gene for {' and '.join(empty)}.",
            found=f"{counts}; {there}" if there else counts,
            expected="at least one gene in each part",
            cause=cause,
            remedy=remedy,
        )
    return assignment


class _Chromosomes(NamedTuple):
    """Where the genes of a dataset lie, as a split sees it."""

    of_gene: np.ndarray
    """(gene,), in UCSC style where that can be told; empty if unknown."""
    placed: np.ndarray
    """(gene,) bool: chromosome and TSS are known."""

    def counts(self) -> dict[str, int]:
        """How many genes with a place lie on each chromosome, the largest first?"""
        names, counts = np.unique(self.of_gene[self.placed].astype(str), return_counts=True)
        order = np.lexsort((names, -counts))
        return {str(names[k]): int(counts[k]) for k in order}

    def describe(self) -> str:
        """`chr1 1,901, chr19 1,318, … and 14 more`, for a message."""
        counts = self.counts()
        if not counts:
            return f"none of the {self.placed.size:,} genes has a place"
        shown = [f"{name} {count:,}" for name, count in list(counts.items())[:_CHROMOSOMES_SHOWN]]
        more = len(counts) - len(shown)
        return "genes on " + ", ".join(shown) + (f" and {more} more" if more else "")

    def cause(self, absent: Collection[str] = ()) -> str:
        """Why would names of chromosomes that a user expects not be there?"""
        counts = self.counts()
        if not counts:
            return "the gene table places other genes than those of the dataset"
        if (style := detect_style(counts)) in ("RefSeq", "GenBank"):
            return f"the dataset names its chromosomes by {style} accession"
        if not counts.keys() & {*TEST_CHROMOSOMES, *VALIDATION_CHROMOSOMES}:
            return "the genes are of another species, or their chromosomes have other names"
        if not absent:
            return ""
        if (style := detect_style(absent)) in ("RefSeq", "GenBank"):
            return f"{style} accessions were asked for; the dataset has other names"
        return "a misspelt name, or a dataset of part of the genome"

    def remedy(self) -> str:
        """What can the user do about it?"""
        counts = self.counts()
        if not counts:
            return (
                "build it again with --genes FILE that names these genes, or split at random "
                "(--split random)"
            )
        if len(counts) < len(PARTS):
            return "split at random (--split random): three parts need three chromosomes"
        return (
            "name chromosomes of the dataset (--test-chroms, --validation-chroms), or let folds "
            "deal them out (--split fold)"
        )


def _chromosomes(dataset: xr.Dataset) -> _Chromosomes:
    require_places(dataset)
    translated = translate_to_ucsc(dataset["chrom"].values)
    chrom = np.asarray([translated[name] for name in dataset["chrom"].values], dtype=object)
    return _Chromosomes(chrom, (chrom != "") & (dataset["tss"].values >= 0))


def assign_by_chromosome(
    dataset: xr.Dataset,
    test: Sequence[str] = TEST_CHROMOSOMES,
    validation: Sequence[str] = VALIDATION_CHROMOSOMES,
    exclude: Sequence[str] = (),
) -> np.ndarray:
    """On which side of a split by chromosome is each gene?

    Names are compared after translation to UCSC style, so that `1` and `chr1` are the same.
    Genes without a place are left out; a warning in the log says how many.

    Returns
    -------
    (gene,) of `train`, `validation`, `test` or ``""``.

    Raises
    ------
    MissingCoordinatesError
        If the dataset has no coordinates.
    SplitError
        If a chromosome is in two lists, or a part is left empty.
    """
    chromosomes = _chromosomes(dataset)
    named = {"test": test, "validation": validation, "": exclude}
    # A string is a sequence of letters, and no chromosome is called `c`.
    lists = {part: [names] if isinstance(names, str) else names for part, names in named.items()}
    wanted = {part: set(translate_to_ucsc(names).values()) for part, names in lists.items()}
    for one, other in (("test", "validation"), ("test", ""), ("validation", "")):
        if both := wanted[one] & wanted[other]:
            raise SplitError(
                f"Chromosomes are in two parts of the split: {', '.join(sorted(both))}.",
                found=f"in {one} and in {other or 'excluded'}",
                expected="each chromosome in one part",
                remedy="name test and validation chromosomes both: by default they are "
                f"{', '.join(TEST_CHROMOSOMES)} and {', '.join(VALIDATION_CHROMOSOMES)}",
            )
    # Excluding a chromosome that is not there (chrM, most often) does no harm; a misspelt test
    # chromosome would shrink the test silently, so an explicit list must match.
    for part, default in (("test", TEST_CHROMOSOMES), ("validation", VALIDATION_CHROMOSOMES)):
        absent = sorted(wanted[part] - chromosomes.counts().keys())
        if absent and tuple(lists[part]) != default:
            raise SplitError(
                f"No gene lies on {', '.join(absent)}, asked for as {part}.",
                found=chromosomes.describe(),
                expected="names of chromosomes that hold genes",
                cause=chromosomes.cause(absent),
                remedy=chromosomes.remedy(),
            )
    assignment = np.full(chromosomes.of_gene.shape, "train", dtype=object)
    for part, names in wanted.items():
        assignment[np.isin(chromosomes.of_gene.astype(str), sorted(names))] = part
    assignment[~chromosomes.placed] = ""
    _check_parts(
        assignment,
        "by chromosome",
        there=chromosomes.describe(),
        cause=chromosomes.cause(),
        remedy=chromosomes.remedy(),
    )
    lost = np.flatnonzero(~chromosomes.placed)
    if lost.size:
        log.warning(
            "%d of %d genes have no place in the genome (%s%s): they are in no part of the split, "
            "neither learned from nor scored",
            *(lost.size, assignment.size, ", ".join(map(str, dataset["gene_id"].values[lost[:3]]))),
            ", …" if lost.size > 3 else "",
        )
    return assignment


def assign_as_published(dataset: xr.Dataset) -> np.ndarray:
    """On which side of the published split is each gene?

    It runs in order of gene number: the share of high genes falls from train to test, and
    overlapping windows are on both sides. For comparison with published figures only.

    Raises
    ------
    SplitError
        If the dataset does not hold the published split.
    """
    if "published_split" not in dataset.coords:
        raise SplitError(
            "The dataset does not hold the published split.",
            expected="`published_split`, from the DeepChrome layout or the gene table",
            remedy="build it from the published layout, or split by chromosome",
        )
    names = {"train": "train", "valid": "validation", "test": "test", "": ""}
    published = dataset["published_split"].values
    assignment = np.asarray([names.get(str(part), "") for part in published], dtype=object)
    return _check_parts(
        assignment,
        "as published",
        remedy="split by chromosome; the published split needs genes of all its three parts",
    )


def assign_at_random(
    dataset: xr.Dataset, *, test: float = 1 / 3, validation: float = 1 / 3, seed: int = 0
) -> np.ndarray:
    """On which side of a random split is each gene?

    Optimistic: genes whose windows overlap fall on both sides.

    Parameters
    ----------
    test, validation
        Shares of the genes.
    seed
        The same seed gives the same split, whatever the order of the genes.
    """
    if not (0 < test < 1 and 0 < validation < 1 and test + validation < 1):
        raise SplitError(
            "The shares of a random split make no sense.",
            found=f"test {test}, validation {validation}",
            expected="both above 0, together below 1",
        )
    order = np.argsort(dataset["gene_id"].values.astype(str), kind="stable")
    order = order[np.random.default_rng(seed).permutation(order.size)]
    assignment = np.full(order.size, "train", dtype=object)
    first, second = round(order.size * test), round(order.size * (test + validation))
    assignment[order[:first]] = "test"
    assignment[order[first:second]] = "validation"
    return _check_parts(
        assignment, "at random", remedy="other shares, or more genes than these few"
    )


def chromosome_folds(dataset: xr.Dataset, n_folds: int) -> list[tuple[str, ...]]:
    """How are the chromosomes dealt into folds of about equal numbers of genes?

    The largest chromosome goes to the smallest fold so far, and so on.

    Raises
    ------
    SplitError
        If there are fewer chromosomes than folds, or fewer than three folds.
    """
    chromosomes = _chromosomes(dataset)
    counts = chromosomes.counts()
    if n_folds < len(PARTS) or len(counts) < n_folds:
        raise SplitError(
            f"{n_folds} folds cannot be made.",
            found=f"{len(counts)} chromosomes with genes ({chromosomes.describe()})",
            expected="at least three folds (one to test, one to validate, the rest to train), "
            "and a chromosome for each",
            remedy=f"--n-folds {len(PARTS)} to {len(counts)}"
            if len(counts) >= len(PARTS)
            else chromosomes.remedy(),
        )
    folds: list[list[str]] = [[] for _ in range(n_folds)]
    sizes = np.zeros(n_folds, int)
    for name, count in counts.items():
        smallest = int(np.argmin(sizes))
        folds[smallest].append(name)
        sizes[smallest] += count
    return [tuple(fold) for fold in folds]


def assign_by_fold(dataset: xr.Dataset, fold: int, n_folds: int = 5) -> np.ndarray:
    """On which side is each gene when fold `fold` is tested and the next one validates?

    Raises
    ------
    SplitError
        If there is no such fold.
    """
    folds = chromosome_folds(dataset, n_folds)
    if not 0 <= fold < n_folds:
        raise SplitError(
            f"There is no fold {fold} of {n_folds}.",
            found=str(fold),
            expected=f"0 to {n_folds - 1}",
            cause="folds are counted from 0" if fold == n_folds else "",
            remedy=f"--fold 0 to {n_folds - 1}, or more folds with --n-folds",
        )
    return assign_by_chromosome(
        dataset, test=folds[fold], validation=folds[(fold + 1) % n_folds], exclude=()
    )


def apply_assignment(dataset: xr.Dataset, assignment: np.ndarray) -> Split:
    """What are the three datasets that an assignment of genes describes?"""
    return Split(*(dataset.isel(gene=np.flatnonzero(assignment == part)) for part in PARTS))


def split_by_chromosome(
    dataset: xr.Dataset,
    test: Sequence[str] = TEST_CHROMOSOMES,
    validation: Sequence[str] = VALIDATION_CHROMOSOMES,
    exclude: Sequence[str] = (),
) -> Split:
    """What are training, validation and test genes when whole chromosomes are held out?

    See `assign_by_chromosome` for parameters and errors.
    """
    return apply_assignment(dataset, assign_by_chromosome(dataset, test, validation, exclude))


def split_as_published(dataset: xr.Dataset) -> Split:
    """What are the parts of the published split? See `assign_as_published`."""
    return apply_assignment(dataset, assign_as_published(dataset))


def split_at_random(
    dataset: xr.Dataset, *, test: float = 1 / 3, validation: float = 1 / 3, seed: int = 0
) -> Split:
    """What are the parts of a random split of genes? See `assign_at_random`."""
    return apply_assignment(
        dataset, assign_at_random(dataset, test=test, validation=validation, seed=seed)
    )


def split_by_fold(dataset: xr.Dataset, fold: int, n_folds: int = 5) -> Split:
    """What are the parts when one fold of chromosomes is tested? See `assign_by_fold`."""
    return apply_assignment(dataset, assign_by_fold(dataset, fold, n_folds))


def draw_labels(
    train: xr.Dataset, n: int, seed: int = 0, *, task: str = "classification"
) -> np.ndarray:
    """Which `n` training genes are the ones whose labels are known?

    The draw of the benchmark protocol: ``numpy.random.default_rng(seed).choice`` without
    replacement from the training genes sorted by id. Genes without a label in any cell type are
    not drawn.

    Parameters
    ----------
    train
        The training genes.
    n
        How many genes. In several cell types the same genes are labelled.
    seed
        Number of the draw.
    task
        For `regression` genes are drawn whose expression is known: rules like tertiles leave
        measured genes without a label; for `difference`, of a `pair_dataset`, those whose change
        is.

    Returns
    -------
    (n,) int64, positions in `train`.

    Raises
    ------
    MissingExpressionError
        If fewer than `n` genes have a label.
    """
    if task != "classification":
        measured = "expression" if task == "regression" else "change"
        known = np.isfinite(train[measured].values)
    else:
        known = train["label"].values != UNKNOWN_LABEL
    labelled = np.flatnonzero(known.any(axis=0))
    if not 0 < n <= labelled.size:
        raise MissingExpressionError(
            f"{n} labelled genes cannot be drawn.",
            found=f"{labelled.size} training genes with a label",
            expected=f"a number from 1 to {labelled.size}",
            cause="the dataset was built without expression" if labelled.size == 0 else "",
            remedy="build it with --expression FILE" if labelled.size == 0 else "ask for fewer",
        )
    ids = train["gene_id"].values[labelled].astype(str)
    by_id = labelled[np.argsort(ids, kind="stable")]
    return np.random.default_rng(seed).choice(by_id, n, replace=False)
