"""Simulated data as files in the published layout."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simplechrome.errors import OutputError, OutputExistsError
from simplechrome.simulation.model import MARKS
from simplechrome.simulation.simulate import simulate, write_deepchrome_layout


def test_layout_is_read_back_by_a_naive_reader(tmp_path: Path) -> None:
    made = simulate(60, 2, seed=6)
    write_deepchrome_layout(made, tmp_path / "made")
    seen = []
    for k, cell_type in enumerate(made.cell_types):
        median = np.median(made.expression[k])
        for split in ("train", "valid", "test"):
            path = tmp_path / "made" / "data" / cell_type / "classification" / f"{split}.csv"
            with path.open(newline="") as file:
                rows = list(csv.reader(file))
            for start in range(0, len(rows), 100):
                window = rows[start : start + 100]
                identifiers, bins, labels = ({row[c] for row in window} for c in (0, 1, 7))
                (identifier,), (label,) = identifiers, labels
                assert len(identifier) == 6
                assert bins == {str(number) for number in range(1, 101)}
                gene = made.genes.index[made.genes["gene_id"] == "ENSG00000" + identifier][0]
                counts = np.array([row[2:7] for row in window], dtype=int)
                assert np.array_equal(counts, made.signal[k, gene])
                assert int(label) == (made.expression[k, gene] > median)
                assert made.genes["published_split"][gene] == split
                seen.append((k, gene))
    assert len(set(seen)) == len(seen) == 120


def test_layout_puts_marks_into_the_published_order(tmp_path: Path) -> None:
    made = simulate(20, marks=MARKS[::-1])
    write_deepchrome_layout(made, tmp_path / "made")
    path = tmp_path / "made" / "data" / "SIM001" / "classification" / "train.csv"
    first = path.read_text().split("\n")[0].split(",")
    assert first[:2] == ["000001", "1"]
    assert [int(value) for value in first[2:7]] == made.signal[0, 0, 0, ::-1].tolist()


def test_tables_hold_places_and_expression(tmp_path: Path) -> None:
    made = simulate(30, 2)
    write_deepchrome_layout(made, tmp_path / "made")
    genes = pd.read_csv(tmp_path / "made" / "genes.tsv.gz", sep="\t")
    assert list(genes.columns) == [
        "gene_id", "symbol", "chrom", "tss", "strand", "deepchrome_split",
    ]  # fmt: skip
    assert genes["tss"].tolist() == made.genes["tss"].tolist()
    expression = pd.read_csv(tmp_path / "made" / "expression.tsv.gz", sep="\t", index_col="gene_id")
    assert list(expression.columns) == ["SIM001", "SIM002"]
    np.testing.assert_allclose(expression.to_numpy().T, made.expression, rtol=1e-6)


def test_cell_types_with_missing_marks_become_arrays(tmp_path: Path) -> None:
    made = simulate(20, 2, missing_marks={"SIM002": ["H3K36me3"]})
    write_deepchrome_layout(made, tmp_path / "made")
    assert not (tmp_path / "made" / "data" / "SIM002").exists()
    with np.load(tmp_path / "made" / "counts" / "SIM002.npz") as arrays:
        assert arrays["marks"].tolist() == ["H3K27me3", "H3K4me1", "H3K4me3", "H3K9me3"]
        assert np.array_equal(arrays["counts"], made.signal[1][..., [0, 2, 3, 4]])
        assert arrays["gene_id"].tolist() == made.genes["gene_id"].tolist()


def test_readme_says_simulated_and_with_which_effects(tmp_path: Path) -> None:
    write_deepchrome_layout(simulate(20, neighbor_effect=0.03), tmp_path)
    text = (tmp_path / "README.txt").read_text()
    assert text.startswith("SIMULATED DATA")
    assert "neighbor effect  0.03" in text


def test_same_simulation_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_deepchrome_layout(simulate(20), tmp_path / name)
    for path in (tmp_path / "one").rglob("*.*"):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes(), path.name
    with gzip.open(tmp_path / "one" / "genes.tsv.gz", "rt") as file:
        assert file.readline().startswith("gene_id\tsymbol")


def test_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(OutputExistsError, match=r"mine\.txt"):
        write_deepchrome_layout(simulate(20), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_file_in_place_of_the_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "made").write_text("a file")
    with pytest.raises(OutputError, match="cannot be written"):
        write_deepchrome_layout(simulate(20), tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]  # nothing half-made is left
