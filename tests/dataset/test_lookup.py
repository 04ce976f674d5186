"""One gene's window, and those of its neighbors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from simplechrome.dataset.lookup import get_gene_data, get_neighbors_data
from simplechrome.errors import UnknownGeneError

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


def test_an_unknown_gene_is_answered_with_similar_names(dataset: xr.Dataset) -> None:
    with pytest.raises(UnknownGeneError, match=r"no gene 'g11'(.|\n)*4 genes such as g1") as caught:
        get_gene_data(dataset, "g11")
    assert caught.value.remedy == "did you mean g1?"
    with pytest.raises(UnknownGeneError, match="did you mean MYC"):
        get_gene_data(dataset, "Myc1")  # names too, and whatever the case
    with pytest.raises(UnknownGeneError, match="no gene 'TP53'") as caught:
        get_neighbors_data(dataset, "TP53")
    assert caught.value.remedy == "pass a gene_id, or a unique gene_name"
    with pytest.raises(UnknownGeneError, match="no gene ''"):
        get_gene_data(dataset, "")  # g2 has no name, but is not asked for


@pytest.mark.parametrize(("name", "kind"), [("B", "cell type"), ("H3K4me3", "mark")])
def test_a_cell_type_or_mark_in_place_of_a_gene_is_recognized(
    dataset: xr.Dataset, name: str, kind: str
) -> None:
    with pytest.raises(UnknownGeneError, match=f"no gene '{name}'; this is a {kind}") as caught:
        get_gene_data(dataset, name)
    assert f"{kind.replace(' ', '_')}='{name}'" in caught.value.remedy


def test_one_cell_type_and_mark_can_be_chosen(dataset: xr.Dataset) -> None:
    window, expression = get_gene_data(dataset, "g1", cell_type="B", mark="H3K27me3")
    assert window.dims == ("bin",)
    assert window.values.tolist() == [1001, 1011, 1021, 1031]
    assert float(expression) == 4
    assert get_gene_data(dataset, "g1", cell_type="B").window.dims == ("bin", "mark")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"cell_type": "b"}, r"no cell type 'b', only A, B(.|\n)*did you mean B\?"),
        ({"mark": "h3k4ME3"}, r"no mark 'h3k4ME3'(.|\n)*did you mean H3K4me3\?"),
        ({"cell_type": "E012"}, "only A, B"),
    ],
)
def test_an_unknown_cell_type_or_mark_is_answered_with_the_known_ones(
    dataset: xr.Dataset, asked: dict[str, str], message: str
) -> None:
    with pytest.raises(UnknownGeneError, match=message):
        get_gene_data(dataset, "g1", **asked)


def test_a_name_of_two_genes_is_refused(dataset: xr.Dataset) -> None:
    with pytest.raises(UnknownGeneError, match="2 genes of the dataset are named 'TWIN': g3, g4"):
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
