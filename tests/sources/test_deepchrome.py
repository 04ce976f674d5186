"""The DeepChrome layout: which counts, labels and splits are read, and what is said of them."""

from __future__ import annotations

import csv
import logging
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from deepchrome_layout import (
    GENES,
    MARKS,
    layout,
    members,
    read_one,
    refusal,
    rows,
    text,
    value,
    write_archive,
    write_folder,
)

from simplechrome.errors import ConfigError, InputFormatError
from simplechrome.sources.deepchrome import read_deepchrome
from simplechrome.sources.deepchrome_files import list_cell_types


def test_values_land_at_their_gene_bin_and_mark(tmp_path: Path) -> None:
    counts = read_one(write_folder(tmp_path, {"E001": layout()}))
    assert counts.cell_type == "E001"
    assert counts.marks == MARKS
    assert counts.counts.dtype == np.uint16
    assert counts.counts.flags.c_contiguous
    assert counts.counts[2, 1].tolist() == [1321, 2321, 3321, 4321, 5321]
    assert counts.counts.tolist() == [
        [[value(gene, number, mark) for mark in range(1, 6)] for number in (1, 2, 3)]
        for gene in (1, 2, 3, 4)
    ]
    # Ids keep their zeros and become full ones; splits are in the order train, valid, test.
    assert counts.gene_id.tolist() == [f"ENSG0000000000{gene}" for gene in (1, 2, 3, 4)]
    assert counts.label.tolist() == [1, 0, 1, 0]
    assert counts.label.dtype == np.int8
    assert counts.split.tolist() == ["train", "train", "valid", "test"]


def test_counts_above_65535_give_float32(tmp_path: Path) -> None:
    table = rows([1, 2])
    table[0][2] = "65536"
    for row in table[:3]:
        row[0] = "ENSG00000123456"
    counts = read_one(write_folder(tmp_path, {"E001": layout(train=text(table))}))
    assert counts.gene_id[0] == "ENSG00000123456"  # full ids stay as they are
    assert counts.counts.dtype == np.float32
    assert counts.counts[0, 0, 0] == 65536
    assert counts.counts[2, 1].tolist() == [1321, 2321, 3321, 4321, 5321]


def test_sources_name_each_file_with_its_size_and_checksum(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", {"E001": layout(test=text(rows([4])))})
    source = read_one(root).sources[2]
    assert source["name"] == "data/E001/classification/test.csv"
    # 3 rows of 6 + 1 + 5 × 4 digits, the label, 7 commas and the line end: 36 bytes each.
    assert source["bytes"] == 3 * 36
    assert len(source["sha256"]) == 64


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("\n", "\r\n"),
        lambda t: "\ufeff" + t,
        lambda t: "\n" + t.replace("\n", "\n\n"),
        lambda t: t.rstrip("\n"),
        lambda t: t.replace(",", ", ").replace(", 3,", ",03 ,"),
    ],
    ids=["crlf", "byte-order mark", "empty lines", "no last line end", "spaces and zeros"],
)
def test_harmless_differences_in_writing_change_nothing(
    tmp_path: Path, change: Callable[[str], str]
) -> None:
    plain = read_one(write_folder(tmp_path / "plain", {"E001": layout()}))
    files = {split: change(content) for split, content in layout().items()}
    other = read_one(write_folder(tmp_path / "other", {"E001": files}))
    assert other.counts.tolist() == plain.counts.tolist()
    assert other.gene_id.tolist() == plain.gene_id.tolist()


def test_marks_go_by_the_header_where_there_is_one(tmp_path: Path) -> None:
    # The label first, the marks in another order, one of them new.
    head = "Label,H3K9me3,bin,H3K27ac,Gene ID\n"
    table = [[r[7], r[6], r[1], r[2], r[0]] for r in rows([1, 2])]
    other = "gene,bin,H3K27ac,H3K9me3,label\n"
    files = {
        "train": head + text(table),
        "valid": other + text([[r[0], r[1], r[2], r[6], r[7]] for r in rows([3])]),
        "test": head + text([[r[7], r[6], r[1], r[2], r[0]] for r in rows([4])]),
    }
    counts = read_one(write_folder(tmp_path, {"E001": files}))
    assert counts.marks == ("H3K9me3", "H3K27ac")
    # Of gene 3, bin 2: the fifth column and the first.
    assert counts.counts[2, 1].tolist() == [5321, 1321]
    assert counts.counts.flags.c_contiguous
    assert counts.label.tolist() == [1, 0, 1, 0]


def test_missing_split_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, valid=None)
    assert "E001 lacks valid.csv" in message
    assert "splits=('train', 'test')" in message


def test_layout_without_a_split_is_read_when_asked_for(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"E001": layout(valid=None)})
    (counts,) = read_deepchrome(root, splits=("test", "train"))
    assert counts.split.tolist() == ["train", "train", "test"]


@pytest.mark.parametrize("packed", [False, True])
def test_bad_cell_type_stops_or_is_skipped_with_its_reason(
    tmp_path: Path, packed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    three = {"E001": layout(train=""), "E002": layout(), "E003": layout(valid=None)}
    path = (
        write_archive(tmp_path / "data.tar", members(three))
        if packed
        else write_folder(tmp_path / "data", three)
    )
    with pytest.raises(InputFormatError, match=r"E001/classification/train\.csv is empty"):
        list(read_deepchrome(path))
    read = list(read_deepchrome(path, on_bad_cell_type="skip"))
    assert [counts.cell_type for counts in read] == ["E002"]
    warnings = [r.getMessage() for r in caplog.records if "is skipped" in r.getMessage()]
    assert len(warnings) == 2
    assert "E001/classification/train.csv is empty" in warnings[0]
    assert "E003 lacks valid.csv" in warnings[1]


def test_only_bad_cell_types_are_an_error_even_when_skipping(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"E001": layout(train=""), "E002": layout(test=None)})
    with pytest.raises(InputFormatError, match="None of the 2 cell types") as caught:
        list(read_deepchrome(root, on_bad_cell_type="skip"))
    assert "train.csv is empty" in str(caught.value)
    assert "E002 lacks test.csv" in str(caught.value)


def test_arguments_that_are_invalid_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cell_types is empty"):
        read_deepchrome(tmp_path, [])
    with pytest.raises(ConfigError, match="on_bad_cell_type"):
        read_deepchrome(tmp_path, on_bad_cell_type="ignore")  # type: ignore[arg-type]
    for splits in ((), "train", ("train", "dev")):
        with pytest.raises(ConfigError, match="splits"):
            read_deepchrome(tmp_path, splits=splits)


@pytest.mark.parametrize(
    ("genes", "where"),
    [
        # 6 of 7 genes low, 86 %.
        (((2, 4, 6, 8), (10, 12), (1,)), "E112: nearly all labels are of one class"),
        (((1, 2), (3, 6), (5, 7)), "E112 (test): nearly all labels are of one class"),
    ],
)
def test_one_sided_labels_are_reported_once(
    genes: tuple[tuple[int, ...], ...],
    where: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    files = {split: text(rows(own)) for split, own in zip(GENES, genes, strict=True)}
    read_one(write_folder(tmp_path, {"E112": files}))
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warning.startswith(where)
    assert "test 100%" in warning


@pytest.mark.real_data
def test_real_archive_equals_a_naive_reading(shared_data: Path) -> None:
    path = shared_data / "deepchrome_layout_E012.tar.gz"
    counts = read_one(path)
    assert list_cell_types(path) == ["E012"]
    assert counts.counts.shape == (18421, 100, 5)
    assert counts.counts.dtype == np.uint16
    names, sizes = np.unique(counts.split, return_counts=True)
    assert dict(zip(names.tolist(), sizes.tolist(), strict=True)) == {
        "train": 6517,
        "valid": 6462,
        "test": 5442,
    }
    index = {str(name): i for i, name in enumerate(counts.gene_id)}
    with tarfile.open(path) as archive:
        for split in GENES:
            member = archive.extractfile(f"data/E012/classification/{split}.csv")
            assert member is not None
            # The first 100 genes of each file.
            lines = [next(member).decode() for _ in range(10_000)]
            for gene, number, *values, label in csv.reader(lines):
                at = index["ENSG00000" + gene]
                assert counts.counts[at, int(number) - 1].tolist() == [int(v) for v in values]
                assert counts.label[at] == int(label)
                assert counts.split[at] == split
