"""Tables of predictions and latents: their columns, their order, their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xarray as xr

from simplechrome import PCA, LinearPredictor, from_arrays
from simplechrome.errors import ConfigError
from simplechrome.runs.predictions import (
    check_table_path,
    gene_columns,
    latent_table,
    predict_genes,
    write_table,
)


@pytest.fixture(scope="module")
def small() -> xr.Dataset:
    """Two cell types × three genes: counts 0 to 5; expression 2^count - 1."""
    level = np.array([[0, 1, 2], [3, 4, 5]])
    return from_arrays(
        np.broadcast_to(level[..., None, None], (2, 3, 2, 1)).copy(),
        marks=["m"],
        gene_ids=["g0", "g1", "g2"],
        cell_types=["c0", "c1"],
        expression=2.0**level - 1,
        genes=pd.DataFrame(
            {
                "gene_id": ["g2", "g0"],
                "gene_name": ["TWO", "ZERO"],
                "chrom": ["chr2", "chr1"],
                "tss": [20, 10],
                "strand": ["+", "-"],
            }
        ),
    )


def test_rows_name_genes_and_cell_types(small: xr.Dataset) -> None:
    columns = gene_columns(small)
    assert columns["cell_type"].tolist() == ["c0", "c0", "c0", "c1", "c1", "c1"]
    assert columns["gene_id"].tolist() == ["g0", "g1", "g2"] * 2
    assert columns["gene_name"].tolist() == ["ZERO", "", "TWO"] * 2
    assert columns["chrom"].tolist() == ["chr1", "", "chr2"] * 2
    assert columns["tss"].tolist() == [10, -1, 20] * 2


def test_genes_without_places_have_empty_ones(small: xr.Dataset) -> None:
    columns = gene_columns(small.drop_vars(["gene_name", "chrom", "tss", "strand"]))
    assert set(columns["chrom"]) == set(columns["gene_name"]) == {""}
    assert set(columns["tss"]) == {-1}


SPLIT = np.array(["train", "test", "new"])


def test_probability_is_that_of_the_high_class(small: xr.Dataset) -> None:
    latents = PCA(1).fit_transform(small)
    # High where the count is 3 or more: the whole second cell type.
    label = xr.DataArray([[0, 0, 0], [1, 1, 1]], dims=("cell_type", "gene"))
    head = LinearPredictor(Cs=(100.0,)).fit(latents, label)
    table = predict_genes(small, latents, head, SPLIT)
    assert table.columns.tolist() == [
        *("gene_id", "gene_name", "chrom", "tss", "cell_type", "split"),
        *("probability", "label", "expression"),
    ]
    assert ((table["probability"] > 0.5) == (table["cell_type"] == "c1")).all()
    assert table["split"].tolist() == ["train", "test", "new"] * 2
    assert table["expression"].tolist() == [0, 1, 3, 7, 15, 31]


def test_predicted_expression_is_in_the_units_of_expression_and_not_negative(
    small: xr.Dataset,
) -> None:
    latents = PCA(1).fit_transform(small)
    # A nearly unpenalized line through log2(expression + 1) - 2: from -2 up.
    target = np.log2(small["expression"] + 1) - 2
    head = LinearPredictor("regression", Cs=(1e6,)).fit(latents, target)
    table = predict_genes(small, latents, head, SPLIT)
    log2 = table["predicted_log2_expression"]
    assert log2.min() < 0
    expected = np.maximum(2**log2 - 1, 0)
    np.testing.assert_allclose(table["predicted_expression"], expected)
    assert table["predicted_expression"].min() == 0
    assert "probability" not in table


def test_latent_table_has_a_column_per_latent(small: xr.Dataset) -> None:
    encoder = PCA(2).fit(small)
    table = latent_table(small, encoder)
    assert table.columns.tolist()[-3:] == ["cell_type", "pc_1", "pc_2"]
    np.testing.assert_array_equal(
        table[["pc_1", "pc_2"]], encoder.transform(small).values.reshape(6, 2)
    )
    assert table["pc_1"].dtype == np.float32


TABLE = pd.DataFrame({"gene_id": ["g0", "g1"], "x": [0.1, np.nan], "n": [1, 2]})


def test_parquet_keeps_types_and_the_note(tmp_path: Path) -> None:
    write_table(TABLE, tmp_path / "t.parquet", note="simulated")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), TABLE)
    assert pq.read_schema(tmp_path / "t.parquet").metadata[b"note"] == b"simulated"


@pytest.mark.parametrize(("ending", "separator"), [("csv", ","), ("tsv", "\t")])
def test_ending_says_the_separator(tmp_path: Path, ending: str, separator: str) -> None:
    write_table(TABLE, tmp_path / f"t.{ending}")
    lines = (tmp_path / f"t.{ending}").read_text().splitlines()
    assert lines[:2] == [separator.join(["gene_id", "x", "n"]), separator.join(["g0", "0.1", "1"])]


@pytest.mark.parametrize("name", ["t.xlsx", "t", "t.parquet.gz"])
def test_ending_without_a_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="format of the table") as caught:
        write_table(TABLE, tmp_path / name)
    assert ".parquet, .csv, .tsv" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []
    check_table_path("any/where.csv")
