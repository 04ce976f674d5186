"""Lists of pairs, gene sets and contacts as databases give them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simplechrome.errors import ConfigError, InputFormatError, MissingInputError
from simplechrome.sources.relations import (
    is_matrix,
    matrix_chromosomes,
    read_contacts,
    read_gene_sets,
    read_matrix,
    read_pairs,
)


def write(folder: Path, text: str) -> Path:
    path = folder / "list.txt"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a\tb\nc\td\n", [("a", "b", 1), ("c", "d", 1)]),
        ("protein1 protein2 combined_score\na b 900\n", [("a", "b", 900)]),
        ("#x\ty\na,1\tb\t0.5\tmore\n", [("a,1", "b", 0.5)]),
        ('gene,other,w\n"a","b",2\n', [("a", "b", 2)]),
    ],
    ids=["plain", "string", "comment", "csv"],
)
def test_pairs(tmp_path: Path, text: str, pairs: list[tuple[str, str, float]]) -> None:
    assert list(read_pairs(write(tmp_path, text)).itertuples(index=False, name=None)) == pairs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\nc\n", "line 2 is not a pair"),
        ("a\tb\t1\nc\td\thigh\n", "line 2: the weight is 'high'"),
        ("a\tb\tx\nc\td\ty\n", "line 2: the weight is 'y'"),  # one header, not two
        ("# nothing\n", "holds no pairs"),
    ],
)
def test_bad_pairs(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputFormatError, match=message):
        read_pairs(write(tmp_path, text))


def test_gene_sets(tmp_path: Path) -> None:
    path = write(tmp_path, "A\thttp://x\tg1\tg2\t\nB\t\tg3\nA\t\tg4\n\n")
    assert read_gene_sets(path) == {"A": ["g1", "g2", "g4"], "B": ["g3"]}
    with pytest.raises(InputFormatError, match="line 1 is not a gene set"):
        read_gene_sets(write(tmp_path, "g1\tg2\n"))
    with pytest.raises(InputFormatError, match="holds no gene sets"):
        read_gene_sets(write(tmp_path, "\n"))


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        ("chr1\t0\t10\tchr1\t20\t30\n", [1]),
        ("chr1\t0\t10\tchr1\t20\t30\tloop1\t7.5\n", [7.5]),
        ("chr1\t0\t10\tchr1\t20\t30\t4\n", [4]),
        ("#chrom1 x1 x2 chr2 y1 y2 name count\nchr1 0 10 chr1 20 30 . 3\n", [3]),
        ("chr1\tx1\tx2\tchr2\ty1\ty2\tfdr\tobserved\nchr1\t0\t1\tchr1\t2\t3\t.1\t9\n", [9]),
        ("chr1\t0\t10\tchr1\t20\t30\tloop1\t.\t+\t-\n", [1]),
    ],
    ids=["bare", "bedpe", "seventh", "comment", "header", "no score"],
)
def test_contacts(tmp_path: Path, text: str, scores: list[float]) -> None:
    table = read_contacts(write(tmp_path, text))
    assert table["score"].tolist() == scores
    assert table["chrom_2"].tolist() == ["chr1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr1\t0\t10\tchr1\t20\t30\nchr1\t0\t10\n", "line 2 is not a pair of fragments"),
        ("chr1\t10\t0\tchr1\t20\t30\nchr1\t10\t0\tchr1\t20\t30\n", "line 2 is not a pair"),
        (
            "chr1\t0\t10\tchr1\t20\t30\tx\t5\nchr1\t0\t10\tchr1\t20\t30\tx\thigh\n",
            "1 scores, of 2, that are not numbers",
        ),
        ("\n", "holds no contacts"),
    ],
)
def test_bad_contacts(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputFormatError, match=message):
        read_contacts(write(tmp_path, text))


def write_matrix(path: Path, balanced: bool) -> str:
    """Two chromosomes of three and one bins of 10 bp; entries (0, 1) 4, (0, 2) 6, (1, 1) 9."""
    cooler = pytest.importorskip("cooler")
    bins = pd.DataFrame(
        {"chrom": ["c1", "c1", "c1", "c2"], "start": [0, 10, 20, 0], "end": [10, 20, 30, 10]}
    )
    if balanced:
        bins["weight"] = [0.5, 0.5, np.nan, 1]
    pixels = pd.DataFrame({"bin1_id": [0, 0, 1], "bin2_id": [1, 2, 1], "count": [4, 6, 9]})
    cooler.create_cooler(str(path), bins, pixels, ordered=True)
    return str(path)


def test_matrix_entries_between_bins_of_places(tmp_path: Path) -> None:
    path = write_matrix(tmp_path / "x.cool", balanced=False)
    places = pd.DataFrame({"chrom": ["c1", "c1", "c9"], "pos": [3, 29, 5]})
    table = read_matrix(path, places)
    assert table.to_numpy().tolist() == [["c1", 0, 10, "c1", 20, 30, 6.0]]
    everywhere = pd.DataFrame({"chrom": "c1", "pos": [0, 10, 20]})
    assert read_matrix(path, everywhere)["score"].tolist() == [4, 6]  # the diagonal is dropped
    assert matrix_chromosomes(path) == ["c1", "c2"]
    assert is_matrix(path)
    with pytest.raises(InputFormatError, match="no contacts between the bins"):
        read_matrix(path, places[:1])


def test_balanced_entries_where_there_are_weights(tmp_path: Path) -> None:
    path = write_matrix(tmp_path / "x.cool", balanced=True)
    everywhere = pd.DataFrame({"chrom": "c1", "pos": [0, 10, 20]})
    assert read_matrix(path, everywhere)["score"].tolist() == [1]  # 4 / 4; the third has no weight


def test_finest_usual_resolution_is_taken(tmp_path: Path) -> None:
    cooler = pytest.importorskip("cooler")
    path = tmp_path / "x.mcool"
    for size in (1_000, 5_000, 10_000):
        bins = pd.DataFrame({"chrom": "c1", "start": [0, size], "end": [size, 2 * size]})
        pixels = pd.DataFrame({"bin1_id": [0], "bin2_id": [1], "count": [size]})
        cooler.create_cooler(f"{path}::resolutions/{size}", bins, pixels, ordered=True, mode="a")
    places = pd.DataFrame({"chrom": "c1", "pos": [0, 5_500]})
    assert read_matrix(path, places)["score"].tolist() == [5_000]
    assert read_matrix(f"{path}::resolutions/5000", places)["score"].tolist() == [5_000]
    ten = pd.DataFrame({"chrom": "c1", "pos": [0, 10_500]})
    assert read_matrix(path, ten, resolution=10_000)["score"].tolist() == [10_000]
    with pytest.raises(ConfigError, match="no bins of 2000 bp"):
        read_matrix(path, places, resolution=2_000)


def test_file_that_is_not_a_matrix(tmp_path: Path) -> None:
    pytest.importorskip("cooler")
    (tmp_path / "x.cool").write_text("no")
    with pytest.raises(InputFormatError, match="not a contact matrix"):
        matrix_chromosomes(tmp_path / "x.cool")
    with pytest.raises(MissingInputError, match="does not exist"):
        matrix_chromosomes(tmp_path / "y.cool")
