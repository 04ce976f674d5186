"""One gene's window, and those of its neighbors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from simplechrome.dataset.lookup import get_gene_data, get_neighbors_data
from simplechrome.errors import MissingCoordinatesError, UnknownGeneError

MakeDataset = Callable[..., xr.Dataset]


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> xr.Dataset:
    """On chr1 lie g3 (100), g1 (200), g4 (500); g2 has no place. g3 and g4 share a name."""
    genes = pd.DataFrame(
        {
            "gene_id": ["g1", "g3", "g4"],
            "gene_name": ["MYC", "TWIN", "TWIN"],
            "chrom": "chr1",
            "tss": [200, 100, 500],
            "strand": ["-", "+", "+"],
        }
    )
    return make_dataset(genes=genes, expression=np.arange(8).reshape(2, 4))


@pytest.mark.parametrize("name", ["g1", "MYC"])
def test_a_gene_is_found_by_id_and_by_name(dataset: xr.Dataset, name: str) -> None:
    window, expression = get_gene_data(dataset, name)
    assert window.dims == ("cell_type", "bin", "mark")
    assert window.values[1].tolist() == [[1000, 1001], [1010, 1011], [1020, 1021], [1030, 1031]]
    assert expression.values.tolist() == [0, 4]
    assert window.attrs["units"] == "reads"


def test_an_id_wins_over_a_name(dataset: xr.Dataset) -> None:
    renamed = dataset.assign_coords(gene_name=("gene", ["g3", "", "", ""]))
    assert get_gene_data(renamed, "g3").expression.values.tolist() == [2, 6]


def test_an_unknown_gene_is_told_what_is_near(dataset: xr.Dataset) -> None:
    with pytest.raises(UnknownGeneError, match=r"no gene 'g11'(.|\n)*4 genes such as g1"):
        get_gene_data(dataset, "g11")
    with pytest.raises(UnknownGeneError, match="no gene 'TP53'"):
        get_neighbors_data(dataset, "TP53")


def test_a_name_of_two_genes_is_refused(dataset: xr.Dataset) -> None:
    with pytest.raises(UnknownGeneError, match="2 genes of the dataset are named 'TWIN'"):
        get_gene_data(dataset, "TWIN")


def test_neighbors_come_nearest_first_with_distance_along_the_gene(dataset: xr.Dataset) -> None:
    # g1 at 200 reads to the left: g3 (100) is 100 bp downstream, g4 (500) 300 bp upstream.
    found = get_neighbors_data(dataset, "MYC", n=3)
    assert found.gene_id.tolist() == ["g3", "g4", ""]
    assert found.distance.tolist() == [100, -300, 0]
    assert found.mask.tolist() == [True, True, False]
    assert found.windows.dims == ("cell_type", "neighbor", "bin", "mark")
    assert found.windows.dtype == np.uint16
    # Cell type 0, bin 0, mark 1 of the genes at 2, at 3, and of nothing.
    assert found.windows.values[0, :, 0, 1].tolist() == [201, 301, 0]
    assert (found.windows.values[:, 2] == 0).all()


def test_a_gene_without_a_place_has_no_neighbors(dataset: xr.Dataset) -> None:
    found = get_neighbors_data(dataset, "g2", n=2)
    assert found.mask.tolist() == [False, False]
    assert found.gene_id.tolist() == ["", ""]
    assert (found.windows.values == 0).all()


def test_neighbors_need_places(make_dataset: MakeDataset) -> None:
    with pytest.raises(MissingCoordinatesError, match="--genes FILE"):
        get_neighbors_data(make_dataset(), "g1")


def test_looking_up_changes_nothing(dataset: xr.Dataset) -> None:
    before = dataset.copy(deep=True)
    get_neighbors_data(dataset, "g1").windows.values[:] = 0
    assert dataset.identical(before)
