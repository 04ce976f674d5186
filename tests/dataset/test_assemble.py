"""Files to a dataset, end to end on small ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simplechrome.dataset.building.annotate import build_from_deepchrome, build_from_npz
from simplechrome.dataset.building.arrays import GIVEN
from simplechrome.errors import ConfigError, SimpleChromeError

IDS = {k: f"ENSG{k:011d}" for k in (1, 2, 3, 4)}


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """E001 and E002: genes 1 and 2 train, 3 validates, 4 tests; odd genes are high.

    The count of gene g, bin b, mark m (from 1 each) is 100 g + 10 b + m, in E002 1000 more.
    """
    for cell_type, more in (("E001", 0), ("E002", 1000)):
        folder = tmp_path / "layout" / cell_type / "classification"
        folder.mkdir(parents=True)
        for split, genes in {"train": (1, 2), "valid": (3,), "test": (4,)}.items():
            rows = [
                [f"{g:06d}", b, *(more + 100 * g + 10 * b + m for m in range(1, 6)), g % 2]
                for g in genes
                for b in (1, 2)
            ]
            text = "".join(",".join(map(str, row)) + "\n" for row in rows)
            (folder / f"{split}.csv").write_text(text)
    return tmp_path / "layout"


@pytest.fixture
def genes(tmp_path: Path) -> Path:
    path = tmp_path / "genes.tsv"
    rows = [f"{IDS[k]}\tN{k}\t{k % 2 + 1}\t{k * 100}\t+" for k in (4, 3, 2, 1)]
    path.write_text("\n".join(["gene_id\tsymbol\tchrom\ttss\tstrand", *rows]) + "\n")
    return path


@pytest.fixture
def expression(tmp_path: Path) -> Path:
    path = tmp_path / "rpkm.tsv"
    # By the median, genes 3 and 4 are high; the CSVs say 1 and 3.
    rows = [f"{IDS[k]}\t{k}.5\t{k}" for k in (1, 2, 3, 4)]
    path.write_text("\n".join(["gene_id\tE001\tE002", *rows]) + "\n")
    return path


@pytest.fixture
def archives(tmp_path: Path) -> list[Path]:
    """E003 with two marks of genes 2 and 1; E004 with one mark of genes 1 and 3."""
    made = []
    for name, marks, ids in (("E003", ["H3K4me3", "H3K9me3"], (2, 1)), ("E004", ["K"], (1, 3))):
        counts = np.arange(2 * 2 * len(marks)).reshape(2, 2, len(marks))
        path = tmp_path / f"{name}.npz"
        np.savez(path, counts=counts, marks=marks, gene_id=[IDS[k] for k in ids])
        made.append(path)
    return made


def test_the_published_layout_becomes_a_dataset(
    layout: Path, genes: Path, expression: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = build_from_deepchrome(
        layout, genes=genes, expression=expression, assembly="hg19", note="n"
    )
    assert dataset["cell_type"].values.tolist() == ["E001", "E002"]
    assert dataset["gene_id"].values.tolist() == [IDS[k] for k in (1, 2, 3, 4)]
    window = dataset["signal"].sel(cell_type="E002", mark="H3K4me3")  # the fourth mark
    assert window.values[2].tolist() == [1314, 1324]
    assert dataset["published_split"].values.tolist() == ["train", "train", "valid", "test"]
    assert dataset["chrom"].values.tolist() == ["chr2", "chr1", "chr2", "chr1"]
    assert dataset["tss"].values.tolist() == [100, 200, 300, 400]
    assert dataset["expression"].values.tolist() == [[1.5, 2.5, 3.5, 4.5], [1, 2, 3, 4]]
    assert dataset["label"].values.tolist() == [[1, 0, 1, 0]] * 2
    assert dataset["label"].attrs["rule"] == GIVEN
    assert "E001: 2 of 4 labels of the file differ" in caplog.text
    assert (dataset.attrs["assembly"], dataset.attrs["note"]) == ("hg19", "n")
    assert len(dataset.attrs["sources"]) == 6  # three files a cell type
    assert set(dataset.attrs["sources"][0]) == {"name", "bytes", "sha256"}


def test_labels_can_be_made_anew(layout: Path, expression: Path) -> None:
    dataset = build_from_deepchrome(layout, expression=expression, relabel=True)
    assert dataset["label"].values.tolist() == [[0, 0, 1, 1]] * 2
    with pytest.raises(ConfigError, match=r"only from expression(.|\n)*--expression FILE"):
        build_from_deepchrome(layout, relabel=True)


def test_single_cell_types_can_be_chosen(layout: Path) -> None:
    dataset = build_from_deepchrome(layout, cell_types=["E002"], bin_size=50)
    assert dataset["cell_type"].values.tolist() == ["E002"]
    assert dataset["bin_start"].values.tolist() == [-50, 0]


def test_a_broken_cell_type_stops_or_is_skipped(layout: Path) -> None:
    (layout / "E001" / "classification" / "test.csv").write_text("")
    with pytest.raises(SimpleChromeError, match=r"test\.csv"):
        build_from_deepchrome(layout)
    dataset = build_from_deepchrome(layout, on_bad_cell_type="skip")
    assert dataset["cell_type"].values.tolist() == ["E002"]


def test_without_genes_it_is_said_what_cannot_be_done(
    layout: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = build_from_deepchrome(layout, cell_types=["E001"])
    assert "tss" not in dataset.coords
    assert "Without a gene table (--genes)" in caplog.text


def test_archives_with_uneven_marks_and_genes_become_one_dataset(
    archives: list[Path], genes: Path
) -> None:
    dataset = build_from_npz(archives, genes=genes, chrom_style="exact")
    assert dataset["cell_type"].values.tolist() == ["E003", "E004"]
    assert dataset["gene_id"].values.tolist() == [IDS[k] for k in (2, 1, 3)]
    assert dataset["mark"].values.tolist() == ["H3K4me3", "H3K9me3", "K"]
    assert dataset["mark_present"].values.tolist() == [[True, True, False], [False, False, True]]
    # E003, gene 1 (second row): counts 4, 5, 6, 7; E004, gene 3 (second row): 2, 3.
    assert dataset["signal"].values[0, 1].tolist() == [[4, 5, 0], [6, 7, 0]]
    assert dataset["signal"].values[1, 2].tolist() == [[0, 0, 2], [0, 0, 3]]
    assert dataset["observed"].values[1].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 1]]
    assert dataset["chrom"].values.tolist() == ["1", "2", "2"]  # exact: not chr1
    assert (dataset["label"].values == -1).all()


def test_labels_of_archives_follow_the_rule(archives: list[Path], expression: Path) -> None:
    text = expression.read_text().replace("E001", "E003").replace("E002", "E004")
    expression.write_text(text)
    dataset = build_from_npz(archives, expression=expression, label_rule="threshold:2")
    # E003 has 2.5 and 1.5 for genes 2 and 1 (3.5 for gene 3, which its counts lack).
    assert dataset["label"].values.tolist() == [[1, 0, 1], [0, 0, 1]]
    assert dataset["label"].attrs["rule"] == "threshold:2"


@pytest.mark.parametrize("wrong", [{"label_rule": "medain"}, {"bin_size": 0}, {"relabel": True}])
def test_wrong_options_are_refused_before_anything_is_read(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        build_from_deepchrome("a path that is not there", **wrong)
