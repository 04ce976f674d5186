"""Which genes train, validate and test; and the protocol's label draws, to the letter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from simplechrome.dataset.building.build import build_deepchrome_on_disk
from simplechrome.dataset.splits import (
    PARTS,
    assign_as_published,
    assign_at_random,
    assign_by_chromosome,
    assign_by_fold,
    chromosome_folds,
    draw_labels,
    split_as_published,
    split_at_random,
    split_by_chromosome,
    split_by_fold,
)
from simplechrome.dataset.store import open_dataset
from simplechrome.errors import MissingCoordinatesError, MissingExpressionError, SplitError

Caplog = pytest.LogCaptureFixture

MakeDataset = Callable[..., xr.Dataset]
MakePlaced = Callable[..., xr.Dataset]


def on(place: MakePlaced, *chroms: str, **changed: Any) -> xr.Dataset:
    """One gene on each of these chromosomes, in this order."""
    genes = [(f"g{k}", name, k if name else -1, "+") for k, name in enumerate(chroms)]
    return place(*genes, **changed)


def test_whole_chromosomes_are_held_out(place: MakePlaced) -> None:
    dataset = on(place, "chr3", "chr1", "chr2", "chr21", "chrX", "chr1", "chr22")
    expected = ["train", "test", "validation", "test", "train", "test", "validation"]
    assert assign_by_chromosome(dataset).tolist() == expected
    train, validation, test = split_by_chromosome(dataset)
    assert train["gene_id"].values.tolist() == ["g0", "g4"]
    assert validation["gene_id"].values.tolist() == ["g2", "g6"]
    assert test["gene_id"].values.tolist() == ["g1", "g3", "g5"]
    # The signal of a gene is its position in the dataset.
    assert test["signal"].values[0, :, 0, 0].tolist() == [1, 3, 5]


@pytest.mark.parametrize("names", [["1", "2", "3", "MT"], ["chr1", "chr2", "chr3", "chrM"]])
@pytest.mark.parametrize("style", ["{}", "chr{}"])
def test_1_and_chr1_are_the_same(place: MakePlaced, names: list[str], style: str) -> None:
    mitochondrion = "MT" if style == "{}" else "chrM"
    assignment = assign_by_chromosome(
        on(place, *names), [style.format(1)], [style.format(2)], [mitochondrion]
    )
    assert assignment.tolist() == ["test", "validation", "train", ""]


def test_genes_without_tss_or_chromosome_are_excluded(place: MakePlaced) -> None:
    dataset = place(
        ("a", "chr1", 1, "+"),
        ("b", "chr2", 2, "+"),
        ("c", "chr3", 3, "+"),
        ("no tss", "chr1", -1, "+"),
        ("no chromosome", "", 5, "+"),
    )
    assignment = assign_by_chromosome(dataset, ["chr1"], ["chr2"])
    assert assignment.tolist() == ["test", "validation", "train", "", ""]
    assert sorted(chromosome_folds(dataset, 3)) == [("chr1",), ("chr2",), ("chr3",)]


def test_default_chromosomes_may_be_absent_but_not_all(place: MakePlaced) -> None:
    # No chr8, chr9, chr21, chr22.
    assert assign_by_chromosome(on(place, "chr1", "chr2", "chr3"))[0] == "test"
    with pytest.raises(SplitError, match=r"no gene for validation(.|\n)*train 1, validation 0"):
        assign_by_chromosome(on(place, "chr1", "chr3"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"test": ["chr9"]}, "No gene lies on chr9, named as test chromosomes"),
        ({"validation": ["chr2", "chrQ"]}, "No gene lies on chrQ, named as validation chromosomes"),
        ({"test": ["chr2"]}, "two parts of the split, test and validation: chr2"),
        ({"test": ["2"]}, "two parts of the split, test and validation: chr2"),
        ({"exclude": ["1"]}, "two parts of the split, test and excluded: chr1"),
        ({"test": []}, "leaves no gene for test"),
        ({"test": ["chr1", "chr3"]}, "leaves no gene for train"),
    ],
)
def test_splits_without_meaning_are_refused(
    place: MakePlaced, arguments: dict[str, Any], message: str
) -> None:
    dataset = on(place, "chr1", "chr2", "chr3")
    with pytest.raises(SplitError) as caught:
        assign_by_chromosome(dataset, **{"test": ["chr1"], "validation": ["chr2"]} | arguments)
    assert message in str(caught.value)


def test_an_absent_chromosome_is_listed_with_those_that_are_there(place: MakePlaced) -> None:
    dataset = on(place, "chr1", "chr2", "chr3", "chr10", "chr3")
    with pytest.raises(SplitError) as caught:
        assign_by_chromosome(dataset, ["chr11"], ["chr2"])
    assert "found genes on chr3 2, chr1 1, chr10 1, chr2 1." in caught.value.problem
    with pytest.raises(SplitError, match="not RefSeq accessions"):
        assign_by_chromosome(dataset, ["NC_000001.10"], ["chr2"])
    assert "--test-chroms" in caught.value.remedy


def test_many_chromosomes_are_listed_in_part(place: MakePlaced) -> None:
    dataset = on(place, *(f"chr{k}" for k in range(1, 20)), "chr19")
    with pytest.raises(SplitError, match=r"genes on chr19 2, chr1 1, .* and 9 more"):
        assign_by_chromosome(dataset, ["chrW"], ["chr2"])


@pytest.mark.parametrize(
    ("names", "cause"),
    [
        (["NC_000001.10", "NC_000002.11", "NC_000003.11"], "(RefSeq accessions)"),
        (["chr2L", "chr3L", "chr4x"], "(another species,"),
        (["", "", ""], "none of the 3 genes has a place: the gene table places other genes"),
    ],
)
def test_foreign_names_of_chromosomes_are_recognized(
    place: MakePlaced, names: list[str], cause: str
) -> None:
    with pytest.raises(SplitError) as caught:
        assign_by_chromosome(on(place, *names))
    assert "leaves no gene for" in caught.value.problem
    assert cause in caught.value.problem
    assert names[0] in caught.value.problem
    assert "--split" in caught.value.remedy


def test_two_chromosomes_are_too_few_for_three_parts(place: MakePlaced) -> None:
    with pytest.raises(SplitError, match="three parts need three chromosomes"):
        assign_by_chromosome(on(place, "chr21", "chr22"))


def test_a_single_name_is_one_chromosome_and_not_its_letters(place: MakePlaced) -> None:
    dataset = on(place, "chr1", "chr2", "chr3")
    assert assign_by_chromosome(dataset, "chr3", "2").tolist() == ["train", "validation", "test"]


def test_genes_without_a_place_are_counted_in_one_warning(
    place: MakePlaced, caplog: Caplog
) -> None:
    assign_by_chromosome(on(place, "chr1", "chr2", "chr3"))
    assert caplog.records == []
    assign_by_chromosome(on(place, "chr1", "", "chr2", "", "chr3", "", ""))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "4 of 7 genes have no place in the genome (g1, g3, g5, …)" in record.getMessage()


def test_without_places_chromosomes_cannot_be_held_out(make_dataset: MakeDataset) -> None:
    for split in (assign_by_chromosome, lambda d: assign_by_fold(d, 0)):
        with pytest.raises(MissingCoordinatesError, match="--genes FILE"):
            split(make_dataset())


# Folds


def test_the_largest_chromosome_goes_to_the_smallest_fold(place: MakePlaced) -> None:
    # 4 genes on chr1, 3 on chr2, 2 on chr3, 2 on chr4: 4 | 3 | 2, then chr4 to the 2.
    dataset = on(place, *["chr1"] * 4, *["chr2"] * 3, *["chr3"] * 2, *["chr4"] * 2)
    assert chromosome_folds(dataset, 3) == [("chr1",), ("chr2",), ("chr3", "chr4")]
    assert assign_by_fold(dataset, 2, 3).tolist() == (
        ["validation"] * 4 + ["train"] * 3 + ["test"] * 4
    )


@given(
    st.lists(st.sampled_from(["1", "chr1", "chr2", "3", "4", "X", ""]), min_size=3, max_size=20),
    st.integers(3, 5),
)
@settings(max_examples=30, deadline=None)
def test_folds_cover_each_chromosome_exactly_once(
    place: MakePlaced, chroms: list[str], n_folds: int
) -> None:
    dataset = on(place, *chroms)
    names = {name if name.startswith("chr") else f"chr{name}" for name in chroms if name}
    if len(names) < n_folds:
        with pytest.raises(SplitError, match=f"cannot be made of {len(names)} chromosomes"):
            chromosome_folds(dataset, n_folds)
        return
    folds = chromosome_folds(dataset, n_folds)
    assert sorted(name for fold in folds for name in fold) == sorted(names)
    assignments = np.array([assign_by_fold(dataset, k, n_folds) for k in range(n_folds)])
    for part in ("test", "validation"):
        times = (assignments == part).sum(axis=0)
        assert times.tolist() == [1 if name else 0 for name in chroms]
    assert chromosome_folds(dataset.isel(gene=slice(None, None, -1)), n_folds) == folds


def test_folds_that_cannot_be_are_refused(place: MakePlaced) -> None:
    dataset = on(place, "chr1", "chr2", "chr3")
    with pytest.raises(SplitError, match=r"2 folds cannot be made .*three folds or more"):
        chromosome_folds(dataset, 2)
    with pytest.raises(SplitError, match=r"4 folds cannot be made of 3 chromosomes") as few:
        chromosome_folds(dataset, 4)
    assert few.value.remedy == "pass --n-folds 3 to 3"
    for fold in (-1, 3):
        with pytest.raises(
            SplitError, match=f"no fold {fold}: 3 folds are counted from 0"
        ) as caught:
            assign_by_fold(dataset, fold, 3)
        assert caught.value.remedy == "pass --fold 0 to 2, or more folds with --n-folds"
    assert split_by_fold(dataset, 2, 3).test["chrom"].values.tolist() == ["chr3"]


# Published and random


def test_the_published_split_is_taken_as_it_is(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(published_split=["valid", "train", "", "test"])
    assert assign_as_published(dataset).tolist() == ["validation", "train", "", "test"]
    assert split_as_published(dataset).validation["gene_id"].values.tolist() == ["g1"]


def test_without_a_published_split_the_error_says_where_it_comes_from(
    make_dataset: MakeDataset,
) -> None:
    with pytest.raises(SplitError, match="does not hold the published split"):
        assign_as_published(make_dataset())
    with pytest.raises(SplitError, match="as published leaves no gene for test"):
        assign_as_published(make_dataset(published_split=["valid", "train", "", ""]))


@given(
    st.integers(20, 60), st.floats(0.1, 0.4), st.floats(0.1, 0.4), st.integers(0, 99), st.randoms()
)
@settings(max_examples=20, deadline=None)
def test_a_random_split_has_its_shares_and_ignores_the_order_of_genes(
    make_dataset: MakeDataset, n: int, test: float, validation: float, seed: int, random: Any
) -> None:
    dataset = make_dataset(np.zeros((1, n, 1, 1)))
    assignment = assign_at_random(dataset, test=test, validation=validation, seed=seed)
    assert abs((assignment == "test").sum() - n * test) <= 1
    assert abs((assignment == "validation").sum() - n * validation) <= 1
    assert set(assignment) == set(PARTS)
    order = random.sample(range(n), n)
    shuffled = assign_at_random(
        dataset.isel(gene=order), test=test, validation=validation, seed=seed
    )
    assert shuffled.tolist() == assignment[order].tolist()
    assert assign_at_random(dataset, seed=seed).tolist() != (
        assign_at_random(dataset, seed=seed + 1).tolist()
    )
    assert sum(part.sizes["gene"] for part in split_at_random(dataset)) == n


@pytest.mark.parametrize("shares", [(0, 0.5), (0.5, 0), (0.5, 0.5), (1.2, -0.5)])
def test_shares_without_meaning_are_refused(
    make_dataset: MakeDataset, shares: tuple[float, float]
) -> None:
    with pytest.raises(SplitError, match="random split with fractions"):
        assign_at_random(make_dataset(), test=shares[0], validation=shares[1])
    with pytest.raises(SplitError, match="at random leaves no gene for"):
        assign_at_random(make_dataset(), test=0.01, validation=0.1)


# Label draws


@pytest.mark.parametrize("seed", range(5))
def test_the_draw_is_the_expression_of_the_protocol(make_dataset: MakeDataset, seed: int) -> None:
    ids = np.random.default_rng(99).permutation([f"ENSG{k:05d}" for k in range(200)])
    train = make_dataset(
        np.zeros((1, 200, 1, 1)), gene_ids=ids, label=np.ones((1, 200), int), cell_types=["A"]
    )
    drawn = train["gene_id"].values[draw_labels(train, 20, seed)]
    # SCIENCE.md: "numpy.random.default_rng(s).choice(training genes sorted by id, n,
    # replace=False)"
    expected = np.random.default_rng(seed).choice(sorted(ids), 20, replace=False)
    assert drawn.tolist() == expected.tolist()


def test_genes_without_a_label_are_not_drawn(make_dataset: MakeDataset) -> None:
    # g1 and g3 have a label in one of the two cell types, g2 and g4 in none.
    train = make_dataset(label=np.array([[0, -1, -1, -1], [-1, -1, 1, -1]]))
    assert sorted(draw_labels(train, 2)) == [0, 2]


def test_regression_draws_measured_genes_without_a_label_too(make_dataset: MakeDataset) -> None:
    train = make_dataset(label=np.array([[0, -1, -1, 1]] * 2), expression=np.ones((2, 4)))
    assert sorted(draw_labels(train, 4, task="regression")) == [0, 1, 2, 3]
    with pytest.raises(MissingExpressionError):
        draw_labels(train, 4)


@pytest.mark.parametrize(
    ("label", "n", "message"),
    [
        (np.array([[0, 1, -1, -1]] * 2), 3, "drawn of 2 training genes with a label"),
        (np.array([[0, 1, -1, -1]] * 2), 0, "draw 1 or more"),
        (None, 1, "--expression FILE"),
    ],
)
def test_more_labels_than_there_are_cannot_be_drawn(
    make_dataset: MakeDataset, label: Any, n: int, message: str
) -> None:
    with pytest.raises(MissingExpressionError) as caught:
        draw_labels(make_dataset(label=label), n)
    assert f"{n} labelled genes cannot be drawn" in str(caught.value)
    assert message in str(caught.value)


# The real cell type


@pytest.mark.real_data
def test_e012_has_the_parts_and_labels_of_the_protocol(
    shared_data: Path, tmp_path: Path, caplog: Caplog
) -> None:
    stored = build_deepchrome_on_disk(
        shared_data / "deepchrome_layout_E012.tar.gz",
        tmp_path / "e012.zarr",
        genes=shared_data / "genes_hg19.tsv.gz",
        expression=shared_data / "rpkm_54cells.tsv.gz",
    )
    dataset = open_dataset(stored)
    assert dataset.sizes == {"cell_type": 1, "gene": 18_421, "bin": 100, "mark": 5}
    sizes = [part.sizes["gene"] for part in split_by_chromosome(dataset)]
    assert sizes == [13_370, 2_309, 2_742]
    assert [part.sizes["gene"] for part in split_as_published(dataset)] == [6517, 6462, 5442]
    levels = dataset["expression"].values[0]
    assert np.isfinite(levels).all()
    by_median = (levels.astype(float) > np.median(levels.astype(float))).astype(int)
    assert (dataset["label"].values[0] == by_median).all()
    assert "labels of the file differ" not in caplog.text
    # High: about 60 % in train, 51 % in valid, 37 % in test (SCIENCE.md).
    shares = [float(part["label"].mean()) for part in split_as_published(dataset)]
    assert shares == pytest.approx([0.60, 0.51, 0.37], abs=0.01)
