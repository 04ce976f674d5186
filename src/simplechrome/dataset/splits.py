"""Splits of genes into training, validation and test sets.

A split is a name per gene: `train`, `validation`, `test`, or empty for an excluded gene. Genes,
not rows, are split: a gene is in the same part in all cell types, since its expression in one cell
type predicts most of its expression in another.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from simplechrome.dataset.neighbors.genomic import require_places
from simplechrome.errors import MissingExpressionError, SplitError, first_names
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
    assignment: np.ndarray, how: str, remedy: str, chromosomes: _Chromosomes | None = None
) -> np.ndarray:
    """Return the assignment, if no part is empty."""
    empty = [part for part in PARTS if not (assignment == part).any()]
    if empty:
        counts = ", ".join(f"{part} {int((assignment == part).sum())}" for part in PARTS)
        where = f"; {chromosomes.describe()}" if chromosomes else ""
        raise SplitError(
            f"The split {how} leaves no gene for {' and '.join(empty)}: found {counts}{where}.",
            remedy,
        )
    return assignment


class _Chromosomes(NamedTuple):
    """Where the genes of a dataset lie.

    of_gene : (gene,), in UCSC style where that is known; empty if unknown
    placed : (gene,) bool: chromosome and TSS are known
    """

    of_gene: np.ndarray
    placed: np.ndarray

    def counts(self) -> dict[str, int]:
        """Return the number of genes with a place on each chromosome, the largest first."""
        names, counts = np.unique(self.of_gene[self.placed].astype(str), return_counts=True)
        order = np.lexsort((names, -counts))
        return {str(names[k]): int(counts[k]) for k in order}

    def describe(self, absent: Collection[str] = ()) -> str:
        """Return what genes there are, and why expected names may be absent, for a message."""
        counts = self.counts()
        if not counts:
            return (
                f"none of the {self.placed.size:,} genes has a place: the gene table places other "
                "genes than those of the dataset"
            )
        shown = [f"{name} {count:,}" for name, count in list(counts.items())[:_CHROMOSOMES_SHOWN]]
        more = len(counts) - len(shown)
        text = "genes on " + ", ".join(shown) + (f" and {more} more" if more else "")
        if (style := detect_style(counts)) in ("RefSeq", "GenBank"):
            return f"{text} ({style} accessions)"
        if not counts.keys() & {*TEST_CHROMOSOMES, *VALIDATION_CHROMOSOMES}:
            return f"{text} (another species, or other names of chromosomes)"
        if (style := detect_style(absent)) in ("RefSeq", "GenBank"):
            return f"{text}, not {style} accessions"
        return text

    def remedy(self) -> str:
        """Return what a user can do about absent chromosomes."""
        counts = self.counts()
        if not counts:
            return (
                "build it again with --genes FILE that names these genes, or split at random "
                "(--split random)"
            )
        if len(counts) < len(PARTS):
            return "split at random (--split random): three parts need three chromosomes"
        return (
            "name chromosomes of the dataset (--test-chroms, --validation-chroms), or split them "
            "into folds (--split fold)"
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
    """Return the part of each gene in a split by chromosome.

    Names are compared after translation to UCSC style, so that `1` and `chr1` are the same.
    Genes without a place are excluded; their number is logged.

    Returns (gene,) of `train`, `validation`, `test` or ``""``.

    Raises MissingCoordinatesError if the dataset has no coordinates; SplitError if a chromosome is
    in two lists, or a part is left empty.
    """
    chromosomes = _chromosomes(dataset)
    named = {"test": test, "validation": validation, "": exclude}
    # A string is a sequence of letters, and no chromosome is called `c`.
    lists = {part: [names] if isinstance(names, str) else names for part, names in named.items()}
    wanted = {part: set(translate_to_ucsc(names).values()) for part, names in lists.items()}
    for one, other in (("test", "validation"), ("test", ""), ("validation", "")):
        if both := wanted[one] & wanted[other]:
            raise SplitError(
                f"Chromosomes are in two parts of the split, {one} and {other or 'excluded'}: "
                f"{', '.join(sorted(both))}.",
                "name test and validation chromosomes both: by default they are "
                f"{', '.join(TEST_CHROMOSOMES)} and {', '.join(VALIDATION_CHROMOSOMES)}",
            )
    # Excluding a chromosome that is not there (chrM, most often) does no harm; a misspelt test
    # chromosome would shrink the test silently, so an explicit list must match.
    for part, default in (("test", TEST_CHROMOSOMES), ("validation", VALIDATION_CHROMOSOMES)):
        absent = sorted(wanted[part] - chromosomes.counts().keys())
        if absent and tuple(lists[part]) != default:
            raise SplitError(
                f"No gene lies on {', '.join(absent)}, named as {part} chromosomes; found "
                f"{chromosomes.describe(absent)}.",
                chromosomes.remedy(),
            )
    assignment = np.full(chromosomes.of_gene.shape, "train", dtype=object)
    for part, names in wanted.items():
        assignment[np.isin(chromosomes.of_gene.astype(str), sorted(names))] = part
    assignment[~chromosomes.placed] = ""
    _check_parts(assignment, "by chromosome", chromosomes.remedy(), chromosomes)
    lost = np.flatnonzero(~chromosomes.placed)
    if lost.size:
        log.warning(
            "%d of %d genes have no place in the genome (%s): they are in no part of the split, "
            "neither learned from nor scored",
            *(lost.size, assignment.size, first_names(dataset["gene_id"].values[lost], 3)),
        )
    return assignment


def assign_as_published(dataset: xr.Dataset) -> np.ndarray:
    """Return the part of each gene in the published split.

    It runs in order of gene number: the fraction of high genes falls from train to test, and
    windows of different parts overlap. For comparison with published figures only.

    Raises SplitError if the dataset does not hold the published split.
    """
    if "published_split" not in dataset.coords:
        raise SplitError(
            "The dataset does not hold the published split (`published_split`).",
            "build it from the published DeepChrome layout, or split by chromosome",
        )
    names = {"train": "train", "valid": "validation", "test": "test", "": ""}
    published = dataset["published_split"].values
    assignment = np.asarray([names.get(str(part), "") for part in published], dtype=object)
    return _check_parts(
        assignment,
        "as published",
        "split by chromosome; the published split needs genes of all its three parts",
    )


def assign_at_random(
    dataset: xr.Dataset, *, test: float = 1 / 3, validation: float = 1 / 3, seed: int = 0
) -> np.ndarray:
    """Return the part of each gene in a random split.

    Optimistic: windows of different parts overlap.

    Parameters
    ----------
    test, validation : fractions of the genes
    seed : the same seed gives the same split, whatever the order of the genes
    """
    if not (0 < test < 1 and 0 < validation < 1 and test + validation < 1):
        raise SplitError(
            f"A random split with fractions test {test} and validation {validation} is impossible.",
            "choose both above 0 and together below 1",
        )
    order = np.argsort(dataset["gene_id"].values.astype(str), kind="stable")
    order = order[np.random.default_rng(seed).permutation(order.size)]
    assignment = np.full(order.size, "train", dtype=object)
    first, second = round(order.size * test), round(order.size * (test + validation))
    assignment[order[:first]] = "test"
    assignment[order[first:second]] = "validation"
    return _check_parts(assignment, "at random", "choose other fractions, or more genes")


def chromosome_folds(dataset: xr.Dataset, n_folds: int) -> list[tuple[str, ...]]:
    """Return the chromosomes in folds of about equal numbers of genes.

    The largest chromosome goes to the smallest fold so far, and so on.

    Raises SplitError if there are fewer chromosomes than folds, or fewer than three folds.
    """
    chromosomes = _chromosomes(dataset)
    counts = chromosomes.counts()
    if n_folds < len(PARTS) or len(counts) < n_folds:
        raise SplitError(
            f"{n_folds} folds cannot be made of {len(counts)} chromosomes ({chromosomes.describe()}"
            "): expected three folds or more, and a chromosome for each.",
            f"pass --n-folds {len(PARTS)} to {len(counts)}"
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
    """Return the part of each gene when fold `fold` is tested and the next one validates.

    Raises SplitError if there is no such fold.
    """
    folds = chromosome_folds(dataset, n_folds)
    if not 0 <= fold < n_folds:
        raise SplitError(
            f"There is no fold {fold}: {n_folds} folds are counted from 0.",
            f"pass --fold 0 to {n_folds - 1}, or more folds with --n-folds",
        )
    return assign_by_chromosome(
        dataset, test=folds[fold], validation=folds[(fold + 1) % n_folds], exclude=()
    )


def apply_assignment(dataset: xr.Dataset, assignment: np.ndarray) -> Split:
    """Return the three datasets that an assignment of genes describes."""
    return Split(*(dataset.isel(gene=np.flatnonzero(assignment == part)) for part in PARTS))


def split_by_chromosome(
    dataset: xr.Dataset,
    test: Sequence[str] = TEST_CHROMOSOMES,
    validation: Sequence[str] = VALIDATION_CHROMOSOMES,
    exclude: Sequence[str] = (),
) -> Split:
    """Split by chromosome; see `assign_by_chromosome`."""
    return apply_assignment(dataset, assign_by_chromosome(dataset, test, validation, exclude))


def split_as_published(dataset: xr.Dataset) -> Split:
    """Split as published; see `assign_as_published`."""
    return apply_assignment(dataset, assign_as_published(dataset))


def split_at_random(
    dataset: xr.Dataset, *, test: float = 1 / 3, validation: float = 1 / 3, seed: int = 0
) -> Split:
    """Split genes at random; see `assign_at_random`."""
    return apply_assignment(
        dataset, assign_at_random(dataset, test=test, validation=validation, seed=seed)
    )


def split_by_fold(dataset: xr.Dataset, fold: int, n_folds: int = 5) -> Split:
    """Split with one fold of chromosomes as test set; see `assign_by_fold`."""
    return apply_assignment(dataset, assign_by_fold(dataset, fold, n_folds))


def draw_labels(
    train: xr.Dataset, n: int, seed: int = 0, *, task: str = "classification"
) -> np.ndarray:
    """Return `n` training genes whose labels are taken as known.

    The draw of the benchmark protocol: ``numpy.random.default_rng(seed).choice`` without
    replacement from the training genes sorted by id. Genes without a label in any cell type are
    not drawn.

    Parameters
    ----------
    train : the training genes
    n : how many genes. In several cell types the same genes are labelled.
    seed : number of the draw
    task : for `regression` genes are drawn whose expression is known: rules like tertiles leave
        measured genes without a label; for `difference`, of a `pair_dataset`, those whose change
        is.

    Returns (n,) int64, positions in `train`.

    Raises MissingExpressionError if fewer than `n` genes have a label.
    """
    if task == "classification":
        known = train["label"].values != UNKNOWN_LABEL
    else:
        known = np.isfinite(train["expression" if task == "regression" else "change"].values)
    labelled = np.flatnonzero(known.any(axis=0))
    if not 0 < n <= labelled.size:
        raise MissingExpressionError(
            f"{n} labelled genes cannot be drawn of {labelled.size} training genes with a label.",
            "draw 1 or more, and not more than there are"
            if labelled.size
            else "build the dataset with --expression FILE",
        )
    ids = train["gene_id"].values[labelled].astype(str)
    by_id = labelled[np.argsort(ids, kind="stable")]
    return np.random.default_rng(seed).choice(by_id, n, replace=False)
