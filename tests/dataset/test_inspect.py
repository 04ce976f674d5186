"""The description of a dataset, and its warnings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from simplechrome.dataset.inspect import describe, format_description, say_lost_genes

MakeDataset = Callable[..., xr.Dataset]


def warnings_of(dataset: xr.Dataset) -> str:
    return "\n".join(describe(dataset)["warnings"])


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> xr.Dataset:
    """Cell type A: H3K4me3 rises from g1 to g4, H3K27me3 falls; B lacks H3K27me3."""
    signal = np.zeros((2, 4, 4, 2), np.uint16)
    signal[:, :, 1, 0] = [0, 4, 8, 12]
    signal[0, :, 1, 1] = [8, 8, 0, 0]
    return make_dataset(
        signal,
        mark_present=np.array([[True, True], [True, False]]),
        expression=np.array([[0, 1, 2, np.nan]] * 2),
        label=np.array([[0, 0, 1, 1], [0, 1, 1, -1]]),
        genes=pd.DataFrame(
            {"gene_id": ["g1", "g2", "g3"], "chrom": ["chr2", "chr1", "chr1"]}
            | {"tss": [1, 2, 3], "strand": "+"}
        ),
        assembly="hg19",
    )


def test_numbers_by_hand(dataset: xr.Dataset) -> None:
    described = describe(dataset)
    assert described["sizes"] == {"cell_type": 2, "gene": 4, "bin": 4, "mark": 2}
    assert described["window"] == {"bin_size": 100, "from": -200, "to": 200}
    assert described["chromosomes"] == {"chr1": 2, "(no place)": 1, "chr2": 1}
    cell = described["cell_types"]["A"]
    assert (cell["genes_with_label"], cell["share_high"]) == (4, 0.5)
    assert cell["genes_with_expression"] == 3
    assert cell["marks"]["H3K4me3"] == {
        "present": True,
        "depth": None,  # not known
        "mean_per_bin": 1.5,  # 24 reads in 4 genes of 4 bins
        "promoter_enrichment": 1.0,  # all four bins lie within 1 kb
        "share_of_empty_windows": 0.25,
        "smallest_bin": 0,
        "largest_bin": 12,
        "whole_numbers": True,
        "share_observed": 1.0,
        "auroc_of_level": 1.0,
        "correlation_with_same_mark": 1.0,  # the same in both cell types
    }
    assert cell["marks"]["H3K27me3"]["auroc_of_level"] == 0.0
    other = described["cell_types"]["B"]
    assert other["marks"]["H3K27me3"] == {"present": False}
    assert (other["genes_with_label"], other["share_high"]) == (3, 0.6667)


def test_enrichment_is_that_of_bins_centered_within_1_kb(make_dataset: MakeDataset) -> None:
    # Bins of 500 bp from -2000: centers -1750, -1250, -750, -250, 250, 750, 1250, 1750.
    signal = np.array([0, 0, 4, 4, 4, 4, 0, 0], np.uint16)[None, None, :, None]
    mark = describe(make_dataset(signal, bin_size=500))["cell_types"]["A"]["marks"]["H3K4me3"]
    assert mark["promoter_enrichment"] == 2.0


def test_windows_without_a_bin_near_the_start_have_no_enrichment(make_dataset: MakeDataset) -> None:
    mark = describe(make_dataset(bin_size=5000))["cell_types"]["A"]["marks"]["H3K4me3"]
    assert mark["promoter_enrichment"] is None


def test_a_good_dataset_has_no_warnings(dataset: xr.Dataset) -> None:
    good = dataset.isel(cell_type=[0])
    assert describe(good)["warnings"] == []
    assert format_description(describe(good)).endswith("No warnings.")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"note": "simulated data"}, "Note of the dataset: simulated data."),
        ({}, "The genes have no place: build with --genes FILE"),
        ({}, "A has no labels"),
        ({"label": np.ones((2, 4), int)}, "A: 100% of the labels are high. A constant guess is"),
        ({"label": np.zeros((2, 4), int)}, "right for 100%; look at AUROC, not accuracy"),
        # Levels rise from g1 to g4 in both marks of the toy data.
        ({"label": np.array([[0, 0, 1, 1]] * 2)}, "A H3K27me3: its level is higher in highly"),
        ({"label": np.array([[1, 1, 0, 0]] * 2)}, "A H3K4me3: its level is lower in highly"),
        ({"signal": np.zeros((1, 4, 4, 1), np.uint16)}, "A H3K4me3 holds no signal at all."),
        ({"mark_present": [[1, 1], [1, 0]]}, "H3K27me3 is in one cell type only"),
        # The mean of A is 150 + 15 = 165, that of B 1000 more.
        ({}, "H3K4me3: the mean per bin runs from 1.6e+02 to 1.2e+03 between cell types"),
    ],
)
def test_what_a_careful_colleague_would_say(
    make_dataset: MakeDataset, changed: dict[str, Any], message: str
) -> None:
    assert message in warnings_of(make_dataset(**changed))


@pytest.mark.parametrize(
    ("label", "split", "message"),
    [
        ([1, 1, 1, 0], ["train", "train", "valid", "test"], "100% in train, 100% in valid, 0% in"),
        # No gene of the test part has a label.
        ([1, 1, 0, -1], ["train", "train", "valid", "test"], "100% in train, 0% in valid."),
        ([1, 1, 0, 0], ["train", "train", "valid", ""], "100% in train, 0% in valid."),
    ],
)
def test_an_unbalanced_published_split_is_reported(
    make_dataset: MakeDataset, label: list[int], split: list[str], message: str
) -> None:
    dataset = make_dataset(label=np.array([label] * 2), published_split=split)
    assert f"high genes is {message}" in warnings_of(dataset)


def test_a_balanced_published_split_is_not_remarked_on(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(
        label=np.array([[0, 1, 0, 1]] * 2), published_split=["train", "train", "test", "test"]
    )
    assert "published split" not in warnings_of(dataset)
    assert describe(dataset)["published_split"] == {
        "train": {"genes": 2, "share_high": 0.5},
        "valid": {"genes": 0, "share_high": None},
        "test": {"genes": 2, "share_high": 0.5},
    }


def test_the_text_names_sizes_chromosomes_cell_types_and_marks(dataset: xr.Dataset) -> None:
    text = format_description(describe(dataset))
    assert "2 cell types, 4 genes, 2 marks, 4 bins of 100 bp (-200 to +200 bp from the TSS)" in text
    assert "units: reads; assembly: hg19; labels: given by file" in text
    assert "genes per chromosome: chr1 2, (no place) 1, chr2 1" in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "A 4 50.0% H3K4me3 1.5 (1.00), H3K27me3 1 (0.00)" in lines
    assert "B 3 66.7% H3K4me3 1.5 (1.00), H3K27me3 –" in lines
    assert lines[-1].startswith("! H3K27me3 is in one cell type only")


def test_genes_without_data_are_reported(dataset: xr.Dataset) -> None:
    """g1 has no data anywhere, g2 none in A; 3 more genes of the annotation were dropped."""
    dataset["observed"][:, 0] = 0
    dataset["observed"][0, 1] = 0
    left_out = {"on excluded chromosomes": 3, "observed too little": 0}
    dataset = dataset.assign_attrs(build={"genes_left_out": left_out})
    described = describe(dataset)
    assert described["genes_without_data"] == 1
    assert described["cell_types"]["A"]["genes_without_data"] == 2
    text = format_description(described)
    assert "genes without data in any track: 1" in text
    assert "genes dropped: 3 on excluded chromosomes" in text
    assert say_lost_genes(dataset) == [
        "1 of 4 genes have no data in any track; they are kept, and masked.",
        "Genes masked for lack of data in one cell type, and not in all: 1 in A.",
        "Genes of the annotation that were dropped: 3 on excluded chromosomes.",
    ]
