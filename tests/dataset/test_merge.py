"""Joining cell types with uneven marks and gene orders, against a slow and obvious reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from simplechrome.dataset.building.arrays import GIVEN, from_arrays
from simplechrome.dataset.building.merge import LARGE, merge, merge_outlines, outline
from simplechrome.errors import DatasetFormatError

Caplog = pytest.LogCaptureFixture

MakeDataset = Callable[..., xr.Dataset]
NAN = np.nan
PLACES = {"a": ("chr1", 10, "+"), "b": ("chr1", 20, "-"), "c": ("chr2", 5, "."), "d": ("", -1, ".")}


@st.composite
def datasets(draw: st.DrawFn) -> list[xr.Dataset]:
    """One to three datasets; genes, marks and their orders differ, cell types do not repeat."""
    made = []
    for number in range(draw(st.integers(1, 3))):
        genes = draw(st.lists(st.sampled_from("abcd"), unique=True, min_size=1))
        marks = draw(st.lists(st.sampled_from(["m1", "m2", "m3"]), unique=True, min_size=1))
        cells = draw(st.integers(1, 2))
        random = np.random.default_rng(draw(st.integers(0, 2**16)))
        signal = random.integers(1, 60_000, (cells, len(genes), 2, len(marks)))
        table = pd.DataFrame(
            [(gene, gene.upper(), *PLACES[gene]) for gene in genes],
            columns=["gene_id", "gene_name", "chrom", "tss", "strand"],
        )
        optional: dict[str, Any] = {}
        if draw(st.booleans()):
            optional["genes"] = table
        if draw(st.booleans()):
            optional["published_split"] = [{"a": "train", "b": "test"}.get(g, "") for g in genes]
        made.append(
            from_arrays(
                signal.astype(draw(st.sampled_from([np.uint16, np.float32]))),
                marks=marks,
                gene_ids=genes,
                cell_types=[f"{number}.{k}" for k in range(cells)],
                mark_present=random.random((cells, len(marks))) < 0.7,
                observed=random.integers(0, 5, (cells, len(genes), len(marks))) / 4,
                depth=random.random((cells, len(marks))),
                expression=random.choice([0.5, 2.0, NAN], (cells, len(genes))),
                label=random.integers(-1, 2, (cells, len(genes))),
                **optional,
            )
        )
    return made


def look_up(parts: list[xr.Dataset], name: str) -> dict[tuple[str, ...], Any]:
    """Each value of a variable by the names along its dimensions: no positions anywhere."""
    found = {}
    for part in parts:
        array = part[name]
        keys = {"gene": "gene_id", "bin": "bin_start"}
        names = [part[keys.get(str(dim), str(dim))].values.tolist() for dim in array.dims]
        for index in np.ndindex(array.shape):
            key = tuple(names[k][i] for k, i in enumerate(index))
            found.setdefault(key, array.values[index])
    return found


ABSENT = {"signal": 0, "mark_present": False, "observed": 0, "depth": NAN, "expression": NAN}
ABSENT |= {"label": -1}


@given(datasets())
@settings(max_examples=30, deadline=None)
def test_every_value_is_found_again_under_its_names(parts: list[xr.Dataset]) -> None:
    copies = [part.copy(deep=True) for part in parts]
    merged = merge(parts)
    for part, copy in zip(parts, copies, strict=True):
        assert part.identical(copy)
    for name, absent in ABSENT.items():
        before, after = look_up(parts, name), look_up([merged], name)
        assert set(before) <= set(after)
        for key, value in after.items():
            assert np.array_equal(value, before.get(key, absent), equal_nan=name != "mark_present")
    for name in ("gene_id", "mark", "cell_type"):  # in the order in which they are first met
        assert merged[name].values.tolist() == list(
            dict.fromkeys(value for part in parts for value in part[name].values)
        )
    floats = any(part["signal"].dtype == np.float32 for part in parts)
    assert merged["signal"].dtype == (np.float32 if floats else np.uint16)


@given(datasets())
@settings(max_examples=20, deadline=None)
def test_places_names_and_published_split_come_from_the_dataset_that_has_them(
    parts: list[xr.Dataset],
) -> None:
    merged = merge(parts)
    placed = [part for part in parts if "tss" in part.coords]
    assert ("tss" in merged.coords) == bool(placed)
    for name in ("chrom", "tss", "strand", "gene_name") if placed else ():
        known = look_up(placed, name)
        empty = {"tss": -1, "strand": "."}.get(name, "")
        for key, value in look_up([merged], name).items():
            assert value == known.get(key, empty)
    split = [part for part in parts if "published_split" in part.coords]
    assert ("published_split" in merged.coords) == bool(split)
    if split:
        known = look_up(split, "published_split")
        for key, value in look_up([merged], "published_split").items():
            assert value == known.get(key, "")


def test_a_small_merge_by_hand(make_dataset: MakeDataset) -> None:
    # A has g1, g2 with H3K4me3 and H3K27me3; B has g2, g3 with H3K27me3 and H3K9me3.
    # Counts are 100 g + 10 b + m within each dataset, from 0 each.
    g, b, m = np.indices((2, 2, 2))
    counts = (100 * g + 10 * b + m).astype(np.uint16)[None]
    one = make_dataset(counts, cell_types=["A"], label=[[1, 0]])
    two = make_dataset(
        counts, cell_types=["B"], gene_ids=["g2", "g3"], marks=["H3K27me3", "H3K9me3"]
    )
    merged = merge([one, two])
    assert merged["gene_id"].values.tolist() == ["g1", "g2", "g3"]
    assert merged["mark"].values.tolist() == ["H3K4me3", "H3K27me3", "H3K9me3"]
    #                                  g1             g2             g3
    assert merged["signal"].values[0, :, 0].tolist() == [[0, 1, 0], [100, 101, 0], [0, 0, 0]]
    assert merged["signal"].values[1, :, 1].tolist() == [[0, 0, 0], [0, 10, 11], [0, 110, 111]]
    assert merged["mark_present"].values.tolist() == [[True, True, False], [False, True, True]]
    assert merged["observed"].values[0].tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert merged["label"].values.tolist() == [[1, 0, -1], [-1, -1, -1]]


def test_the_record_is_joined(make_dataset: MakeDataset, caplog: Caplog) -> None:
    counts = np.ones((1, 2, 2, 1), np.uint16)
    one = make_dataset(counts, cell_types=["A"], sources=[{"name": "a"}], note="n")
    two = make_dataset(
        counts, cell_types=["B"], sources=[{"name": "b"}], note="n", assembly="hg19", label=[[0, 1]]
    )
    three = make_dataset(counts, cell_types=["C"], note="simulated", expression_units="TPM")
    merged = merge([one, two, three])
    assert merged.attrs["sources"] == [{"name": "a"}, {"name": "b"}]
    assert merged.attrs["note"] == "n; simulated"
    assert merged.attrs["assembly"] == "hg19"
    assert merged["expression"].attrs["units"] == "RPKM / TPM"
    assert "different units: RPKM, TPM" in caplog.text
    assert merged["label"].attrs["rule"] == f"median / {GIVEN}"
    assert merged["signal"].attrs["units"] == "reads"


def test_different_places_are_logged_and_the_first_is_kept(
    make_dataset: MakeDataset, caplog: Caplog
) -> None:
    genes = pd.DataFrame({"gene_id": ["g1", "g2"], "chrom": "chr1", "tss": [5, 6], "strand": "+"})
    counts = np.ones((1, 2, 2, 1))
    one = make_dataset(counts, cell_types=["A"], genes=genes, published_split=["train", "test"])
    two = make_dataset(
        counts, cell_types=["B"], genes=genes.assign(tss=[5, 7]), published_split=["valid", "test"]
    )
    merged = merge([one, two])
    assert merged["tss"].values.tolist() == [5, 6]
    assert merged["published_split"].values.tolist() == ["train", "test"]
    assert "1 genes have different places in the datasets; the first is kept: g2" in caplog.text
    assert "1 genes are in different published splits" in caplog.text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cell_types": ["A"]}, "more than one of the datasets: A"),
        ({"bin_size": 50}, "its windows differ: found 2 bins of 50 bp from -50 bp"),
        ({"signal": np.ones((1, 1, 1, 1)), "bin_size": 50}, "found 1 bins of 50 bp from 0 bp"),
        ({"bin_start": [0, 100]}, "expected 2 bins of 100 bp from -100 bp"),
        ({"units": "mean_signal"}, "units differ: found mean_signal, expected reads"),
        ({"assembly": "hg38"}, "assembly differ: found hg38, expected hg19"),
    ],
)
def test_what_cannot_be_one_is_refused(
    make_dataset: MakeDataset, changed: dict[str, Any], message: str
) -> None:
    counts = np.ones((1, 1, 2, 1), np.uint16)
    one = make_dataset(counts, cell_types=["A"], assembly="hg19")
    two = make_dataset(**{"signal": counts, "cell_types": ["B"]} | changed)
    with pytest.raises(DatasetFormatError) as caught:
        merge([one, two])
    assert message in str(caught.value)


def test_a_dataset_that_is_none_is_named_by_its_position(make_dataset: MakeDataset) -> None:
    with pytest.raises(DatasetFormatError, match="dataset 2 lacks the variable `label`"):
        merge([make_dataset(), make_dataset().drop_vars("label")])
    with pytest.raises(DatasetFormatError, match="nothing to merge"):
        merge([])


def test_outlines_are_joined_like_the_datasets_and_take_no_memory(
    make_dataset: MakeDataset,
) -> None:
    one = make_dataset(cell_types=["A", "B"], expression=np.ones((2, 4)))
    two = make_dataset(cell_types=["C", "D"], marks=["H3K27me3", "H3K9me3"], label=np.ones((2, 4)))
    joined = merge_outlines([outline(one), outline(two)])
    whole = merge([one, two])
    for name in LARGE:
        assert joined[name].shape == whole[name].shape
        assert joined[name].values.strides == (0,) * joined[name].ndim
    assert joined.drop_vars(LARGE).identical(whole.drop_vars(LARGE))


def test_signal_of_a_mark_that_was_not_assayed_is_dropped(make_dataset: MakeDataset) -> None:
    counts = np.ones((1, 1, 2, 2), np.uint16)
    one, two = (make_dataset(counts, cell_types=[name]) for name in "AB")
    odd = two.assign(mark_present=xr.full_like(two["mark_present"], False))
    merged = merge([one, odd])
    assert merged["signal"].values[:, 0, 0].tolist() == [[1, 1], [0, 0]]
    assert merged["observed"].values[:, 0].tolist() == [[1, 1], [0, 0]]
