"""The sample sheet: what is read, and what is message of one that cannot be."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from track_files import write_bigwig

from simplechrome.errors import InputFormatError, MissingInputError
from simplechrome.sources.tracks.sheet import read_sheet


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.bw", "b.bw", "größe.bw"):
        write_bigwig(tmp_path / name, {"chr1": 100}, [("chr1", 0, 10, 1.0)])
    (tmp_path / "r.bed").write_text("chr1\t0\t36\tr\t0\t+\n")
    return tmp_path


def sheet(folder: Path, *rows: str, header: str = "cell_type\tmark\tpath") -> Path:
    path = folder / "sheet.tsv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_relative_paths_begin_in_the_folder_of_the_sheet(folder: Path) -> None:
    (sample,) = read_sheet(sheet(folder, "X\tH3K4me3\ta.bw"))
    assert sample == ("X", "H3K4me3", str(folder / "a.bw"), "bigwig", "", 1.0, 2)


def test_optional_columns_in_any_order_and_as_csv(folder: Path) -> None:
    path = folder / "sheet.csv"
    path.write_text("mark,scale,cell type,control,path,format\nM,0.5,X,b.bw,r.bed,tagAlign\n")
    (sample,) = read_sheet(path)
    assert (sample.kind, sample.scale, sample.cell_type) == ("reads", 0.5, "X")
    assert sample.control == str(folder / "b.bw")


def test_names_may_be_in_any_language(folder: Path) -> None:
    (sample,) = read_sheet(sheet(folder, "Zellé\tH3K4me3\tgröße.bw"))
    assert sample.cell_type == "Zellé"


def test_replicates_and_holes_are_allowed(folder: Path) -> None:
    samples = read_sheet(sheet(folder, "X\tM\ta.bw", "X\tM\tb.bw", "Y\tN\tr.bed"))
    assert [(s.cell_type, s.mark) for s in samples] == [("X", "M"), ("X", "M"), ("Y", "N")]


def test_all_missing_files_are_named_at_once(folder: Path) -> None:
    with pytest.raises(MissingInputError, match=r"2 files") as caught:
        read_sheet(sheet(folder, "X\tM\tno.bw", "X\tN\ta.bw", "Y\tN\tnone.bw"))
    assert "no.bw (line 2)" in caught.value.problem
    assert "none.bw (line 4)" in caught.value.problem


def test_a_column_under_another_name_is_guessed_in_the_advice(folder: Path) -> None:
    with pytest.raises(InputFormatError, match="lacks cell_type, path") as caught:
        read_sheet(sheet(folder, "X\tM\ta.bw", header="sample\tmark\tfile"))
    assert "sample may be cell_type" in caught.value.remedy
    assert "file may be path" in caught.value.remedy


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("\tM\ta.bw\t\t", "cell_type is empty"),
        ("X\tM\ta.bw\tbigwgi\t", "did you mean bigwig"),
        ("X\tM\ta.bw\t\t-1", "scale is '-1'"),
        ("X\tM\ta.bw\t\tten", "'ten', not a number above 0"),
    ],
)
def test_values_without_meaning_name_their_line(folder: Path, row: str, message: str) -> None:
    header = "cell_type\tmark\tpath\tformat\tscale"
    with pytest.raises(InputFormatError, match=r"sheet\.tsv, line 2") as caught:
        read_sheet(sheet(folder, row, header=header))
    assert message in str(caught.value)


def test_an_empty_sheet_is_refused(folder: Path) -> None:
    with pytest.raises(InputFormatError, match="holds no data"):
        read_sheet(sheet(folder))


def test_one_file_twice(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InputFormatError, match="same file as in line 2"):
        read_sheet(sheet(folder, "X\tM\ta.bw", "X\tM\ta.bw"))
    with caplog.at_level(logging.WARNING, logger="simplechrome"):
        read_sheet(sheet(folder, "X\tM\ta.bw", "Y\tM\ta.bw"))
    assert "X M and Y M are the same file" in caplog.text
