"""Broken CSV files: refused with file, line and reason, never read as something else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from deepchrome_layout import GENES, read_one, refusal, rows, text, write_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from simplechrome.errors import SimpleChromeError


def changed(line: int, column: int, content: str) -> str:
    table = rows([1, 2])
    table[line - 1][column] = content
    return text(table)


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("", None, "is empty"),
        ("\n\n", None, "holds no rows"),
        ("gene,bin,a,label\n", None, "only a header"),
        (changed(5, 3, "1.5"), 5, "not a whole number"),
        (changed(5, 3, "1.0"), 5, "not a whole number"),
        (changed(5, 3, "0x1F"), 5, "not a whole number"),
        (changed(5, 3, ""), 5, "H3K36me3 is '', not a whole number"),
        (changed(5, 3, "NA"), 5, "'NA'"),
        (changed(5, 3, "-1"), 5, "H3K36me3 is '-1', not a whole number"),
        (changed(5, 3, "16777217"), 5, "not at most 16,777,216"),
        (changed(5, 3, "9" * 5000), 5, "not at most 16,777,216"),
        (changed(5, 7, "2"), 5, "label is '2', not 1 for high or 0"),
        (changed(5, 7, "1"), 5, "gene ENSG00000000002 has two labels"),
        (changed(5, 3, "1,1"), 5, "9 columns instead of 8"),
        (changed(5, 7, ""), 5, "label is '', not a whole number"),
        (text(rows([1, 2]))[:-3], 6, "7 columns instead of 8"),
        (text([row[:7] for row in rows([1, 2])]), 1, "put a header line on top"),
        (text(rows([1])).replace(",", "\t"), 1, "by commas"),
        (changed(5, 0, "2"), 5, "gene is '2', not six digits"),
        (changed(5, 0, '"000002"'), 5, "not six digits"),
        (changed(5, 0, "TP53"), 5, "not six digits"),
        (changed(5, 1, "3"), 5, "gene ENSG00000000002 has bin 3 where bin 2 should be"),
        (changed(1, 1, "0"), 1, "gene ENSG00000000001 has bin 0 where bin 1 should be"),
        (text(rows([1]) + rows([2])[:2]), 4, "gene ENSG00000000002 has 2 bins instead of 3"),
        (text(rows([1]) + rows([2], n_bins=4) + rows([5])), 4, "has 4 bins instead of 3"),
        (
            text(rows([1]) + rows([2])[1:]),
            4,
            "gene ENSG00000000002 has bin 2 where bin 1 should be",
        ),
        (
            text(rows([1])[:1] + rows([1, 2])),
            2,
            "gene ENSG00000000001 has bin 1 where bin 2 should be",
        ),
        (text(rows([1, 2, 1])), 7, "gene ENSG00000000001 comes a second time"),
        (
            text(rows([2]) + sorted(rows([1, 5]), key=lambda row: row[1])),
            4,
            "gene ENSG00000000001 has 1 bins",
        ),
        (
            text([*rows([1]), *rows([2])[::-1]]),
            4,
            "gene ENSG00000000002 has bin 3 where bin 1 should be",
        ),
    ],
)
def test_broken_file_is_refused_with_its_line(
    tmp_path: Path, content: str, line: int | None, message: str
) -> None:
    found = refusal(tmp_path, train=content)
    problem = found.splitlines()[0]
    assert "E001/classification/train.csv" in problem
    assert message in found
    assert line is None or f"line {line}" in problem


def test_lines_are_counted_with_header_and_empty_lines(tmp_path: Path) -> None:
    table = text([[*row[:3], row[7]] for row in rows([1, 2])]).replace(
        "000002,2,1221", "000002,2,x"
    )
    message = refusal(tmp_path, train="\ufeffgene,bin,a,label\r\n\r\n" + table)
    # Header, empty line, three rows of gene 1, then the second row of gene 2.
    assert "line 7: a is 'x', not a whole number" in message


def test_short_and_full_id_of_one_gene_are_the_same_gene(tmp_path: Path) -> None:
    table = rows([1, 2, 1])
    for row in table[6:]:
        row[0] = "ENSG00000000001"
    assert "ENSG00000000001 comes a second time" in refusal(tmp_path, train=text(table))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            text(rows([5, 2, 1])),
            "test.csv and data/E001/classification/train.csv share 2 genes: "
            "ENSG00000000001, ENSG00000000002",
        ),
        (text(rows([4], n_bins=2)), "test.csv has another number of bins per gene (2) than"),
        (
            "gene,bin,a,b,c,d,e,label\n" + text(rows([4])),
            "test.csv has other marks (a, b, c, d, e) than",
        ),
    ],
)
def test_files_that_do_not_fit_together_are_not_joined(
    tmp_path: Path, content: str, message: str
) -> None:
    assert message in refusal(tmp_path / "data", test=content)


@pytest.mark.parametrize(
    ("head", "named"),
    [
        ("gene,bin,a,b,c,d,e,y\n", "'y'"),
        ("gene,bin,a,a,c,d,e,label\n", "'a', 'a'"),
        (",gene,bin,a,b,c,d,label\n", "row numbers"),
        ("GeneID,B,a,b,c,d,e,y\n", "line 1: gene is 'GeneID', not six digits"),
    ],
)
def test_header_must_name_each_column_once(tmp_path: Path, head: str, named: str) -> None:
    message = refusal(tmp_path, train=head + text(rows([1])))
    assert "train.csv" in message
    assert named in message


def naive(files: dict[str, str]) -> dict[tuple[str, int], tuple[list[int], int, str]]:
    """Another reader of the layout: (gene, bin) to counts, label and split, or ValueError."""
    found: dict[tuple[str, int], tuple[list[int], int, str]] = {}
    for split in GENES:
        for line in files[split].splitlines():
            if line:
                gene, number, *counts, label = line.split(",")
                key = (f"ENSG00000{gene}", int(number))
                if len(counts) != 5 or key in found or any(int(count) < 0 for count in counts):
                    raise ValueError(line)
                found[key] = ([int(count) for count in counts], int(label), split)
    return found


FIELD = st.one_of(
    st.integers(-2, 70_000).map(str),
    st.sampled_from(["", "000001", "000002", "000003", "1", "2", "3", "1.0", "0x1", "+1", "NA"]),
    st.text(alphabet='019 ,-."\n\r\té\0', max_size=4),
)


@st.composite
def damaged_files(draw: st.DrawFn) -> dict[str, str]:
    n_bins = draw(st.integers(1, 4))
    tables = {split: rows(genes, n_bins) for split, genes in GENES.items()}
    table = tables[draw(st.sampled_from(list(GENES)))]
    row = draw(st.integers(0, len(table) - 1))
    other = draw(st.integers(0, len(table) - 1))
    match draw(st.sampled_from(["delete", "duplicate", "swap", "field", "cut"])):
        case "delete":
            del table[row]
        case "duplicate":
            table.insert(other, list(table[row]))
        case "swap":
            table[row], table[other] = table[other], table[row]
        case "field":
            table[row][draw(st.integers(0, 7))] = draw(FIELD)
        case "cut":
            del table[row][draw(st.integers(0, 7)) :]
    return {split: text(table) for split, table in tables.items()}


@settings(max_examples=200, deadline=None)
@given(files=damaged_files())
def test_damage_is_refused_or_read_as_what_the_file_says(
    files: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("damaged")
    refused = ""
    try:
        counts = read_one(write_folder(root, {"E001": files}))
    except SimpleChromeError as error:
        refused = str(error)
    if refused:
        assert re.search(r"E001/classification/\w+\.csv", refused)
        return
    expected = naive(files)
    assert counts.counts.shape[0] * counts.counts.shape[1] == len(expected)
    for gene, name in enumerate(counts.gene_id):
        for index, values in enumerate(counts.counts[gene]):
            now = (values.tolist(), int(counts.label[gene]), str(counts.split[gene]))
            assert expected[str(name), index + 1] == now
