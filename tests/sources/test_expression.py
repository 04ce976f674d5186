import gzip
import logging
import tarfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simplechrome.errors import (
    ConfigError,
    InputFormatError,
    SimpleChromeError,
    UnknownGeneError,
)
from simplechrome.sources.expression import read_expression

WIDE = "gene_id\tE003\tE004\ng1\t1.5\t2\ng2\tNA\t3e1\n"
LONG = "gene_id,cell_type,RPKM\ng1,E003,1.5\ng1,E004,2\ng2,E004,30\n"
NAN = float("nan")


@pytest.fixture
def expression_from(tmp_path):
    def write_and_read(content, **options):
        path = tmp_path / "rpkm.tsv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_expression(path, **options)

    return write_and_read


def assert_is_the_table(expression):
    expected = pd.DataFrame(
        [[1.5, 2], [NAN, 30]],
        index=pd.Index(["g1", "g2"], name="gene_id"),
        columns=pd.Index(["E003", "E004"], name="cell_type"),
        dtype=np.float32,
    )
    pd.testing.assert_frame_equal(expression, expected)


@pytest.mark.parametrize(
    "content",
    [
        WIDE,
        WIDE.replace("\n", "\r\n"),
        gzip.compress(WIDE.encode(), mtime=0),
        WIDE.replace("\t", ","),
        WIDE.replace("\t", ";"),
        WIDE.replace("gene_id", ""),
        WIDE.replace("gene_id", "whatever"),
        WIDE.replace("\n", "\t\n"),  # delimiter at the end of header and rows
        "gene_id\tE003\tE004\ng1\t1.5\t2\t\ng2\tNA\t3e1\t\n",  # of rows only
        ",E003,E004\ng1,1.5,2,\ng2,,30,\n",  # the same, without a name for the ids
        "E003\tE004\ng1\t1.5\t2\ng2\tNA\t3e1\n",  # R: no name for the ids
        '"E003" "E004"\n"g1" 1.5 2\n"g2" NA 30\n',  # R's defaults
        '# from R\n\n"gene_id","E003","E004"\n"g1","1.5","2"\n"g2","","30"\n',
        "#gene_id\tE003\tE004\ng1\t1.5\t2\ng2\tNaN\t30\n",
        LONG,
        "Value;extra;Cell_Type;gene\n1.5;;E003;g1\n30;x;E004;g2\n2;;E004;g1\n",
        LONG.replace(",", "\t").replace("\n", "\t\n").replace("RPKM\t", "RPKM"),
    ],
)
def test_every_layout_gives_the_same_table(expression_from, content):
    assert_is_the_table(expression_from(content))


def test_trailing_delimiter_does_not_shift_columns(expression_from):
    expression = expression_from("gene_id\tE1\tE2\ng1\t1\t2\t\ng2\t3\t\t\n")
    assert expression["E1"].tolist() == [1, 3]
    assert expression["E2"].iloc[0] == 2
    assert np.isnan(expression["E2"].iloc[1])


def test_row_names_or_trailing_delimiter_that_look_the_same_are_refused(expression_from):
    # Either E1 holds the ids and E2 = 1, or E1 = 1 and E2 is missing.
    with pytest.raises(InputFormatError, match=r"look the same here(.|\n)*gene_id"):
        expression_from("E1\tE2\ng1\t1\t\ng2\t3\t\n")


@pytest.mark.parametrize("row", ["g1;1,5", "g1 1,5"])
def test_decimal_comma_is_not_taken_for_a_delimiter(expression_from, row):
    with pytest.raises(InputFormatError, match="fields may be separated by"):
        expression_from(f"E1\n{row}\n")


def test_row_names_under_a_single_cell_type(expression_from):
    assert expression_from("E1\ng1\t1\ng2\t2\n")["E1"].to_dict() == {"g1": 1, "g2": 2}


def test_header_that_lacks_a_name_is_refused(expression_from):
    with pytest.raises(
        InputFormatError, match=r"one field more than the header .*and the last is not empty"
    ):
        expression_from("gene_id\tE1\ng1\t1\t2\ng2\t3\t\n")


def test_chosen_cell_types_come_in_the_order_asked_for(expression_from):
    content = "gene_id\tE1\tsymbol\tE2\ng1\t1\tA\t2\n"
    expression = expression_from(content, cell_types=["E2", "E1"])
    assert expression.columns.tolist() == ["E2", "E1"]
    assert expression.loc["g1"].tolist() == [2, 1]
    assert expression_from(content, cell_types="E2").columns.tolist() == ["E2"]


def test_chosen_cell_types_of_a_long_table_keep_all_genes(expression_from):
    np.testing.assert_array_equal(expression_from(LONG, cell_types=["E003"])["E003"], [1.5, NAN])


@pytest.mark.parametrize("content", [WIDE, LONG])
def test_absent_cell_type_is_named_with_those_present(expression_from, content):
    with pytest.raises(UnknownGeneError, match=r"lacks the cell type E999(.|\n)*E003, E004"):
        expression_from(content, cell_types=["E003", "E999"])
    with pytest.raises(ConfigError):
        expression_from(content, cell_types=[])


def test_ids_keep_their_zeros_and_versions(expression_from, caplog):
    content = "gene_id\tE1\n000003\t1\nENSG00000000003.14\t2\n"
    with caplog.at_level(logging.INFO):
        assert expression_from(content).index.tolist() == ["000003", "ENSG00000000003.14"]
    assert "1 of 2 gene ids carry a version" in caplog.text
    stripped = expression_from(content, strip_version=True)
    assert stripped.index.tolist() == ["000003", "ENSG00000000003"]


def test_identical_duplicates_are_kept_once_with_a_remark(expression_from, caplog):
    with caplog.at_level(logging.INFO):
        expression = expression_from("gene_id\tE1\tE2\ng1\t1\tNA\ng2\t3\t4\ng1\t1\tNA\n")
    assert expression.index.tolist() == ["g1", "g2"]
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert "1 of them have the same values everywhere, 0 do not" in record.message


def test_of_differing_duplicates_the_first_is_kept_with_a_warning(expression_from, caplog):
    expression = expression_from("gene_id\tE1\ng2\t5\ng1\t1\ng1\t2\ng1\t1\ng2\t5\n")
    assert expression["E1"].to_dict() == {"g2": 5, "g1": 1}
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "2 gene ids occur more than once (g2, g1)" in record.message
    assert "1 of them have the same values everywhere, 1 do not" in record.message


def test_duplicates_of_a_long_table_are_pairs(expression_from, caplog):
    expression = expression_from(LONG + "g1,E004,9\n")
    assert expression.loc["g1", "E004"] == 2
    assert "1 pairs of gene and cell type occur more than once (g1 in E004)" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n", r"rpkm\.tsv holds no data"),
        ("gene_id\tE1\n", "holds no data, only one line"),
        ("gene_id\ng1\n", "one column only"),
        ("g1\t1.5\t2.0\ng2\t3.5\t4.0\n", "has no header"),
        ("gene_id\tE1\tE1\ng1\t1\t2\n", "more than once in the header: E1"),
        ("gene_id\tE1\t\ng1\t1\t2\n", "no name for column 3"),
        (WIDE + "\ng3\tabc\t1\n", "line 5: column 'E003' holds 'abc', not a number"),
        ("gene_id\tE1\tname\ng1\t1\tA\n", "'name' holds 'A'(.|\n)*column of text"),
        ("gene_id;E1\ng1;1,5\n", "holds '1,5'(.|\n)*decimal commas"),
        (WIDE + "g3\t0\t-0.5\n", r"line 4: column 'E004' holds '-0\.5', which is negative"),
        (WIDE + "g3\tinf\t1\n", "line 4: column 'E003' holds 'inf', which is not finite"),
        (WIDE + "g3\t1e39\t1\n", "holds '1e39', which is not finite"),
        (WIDE + "\t1\t1\n", "line 4 has no gene id"),
        (WIDE + "g3\t1\n", r"line 4 has 2 fields \(tab-separated\)"),
        (WIDE + 'g3\t"1\t1\n', "line 4 has 2 fields"),
        ("gene_id,cell_type,note\ng1,E1,2\n", "not a long table(.|\n)*exactly one of expression"),
        ("gene_id,cell_type,tpm,rpkm\ng1,E1,2,3\n", "not a long table"),
        ("gene_id,cell_type,tpm\ng1,,2\n", "line 2 has no cell type"),
        (LONG + "g3,E003,-1\n", "line 5: column 'RPKM' holds '-1', which is negative"),
    ],
)
def test_bad_input_is_named_with_file_line_and_column(expression_from, content, message):
    with pytest.raises(InputFormatError, match=message):
        expression_from(content)


names = st.text("abcdefgABC0123456789.-_", min_size=1, max_size=5).filter(
    lambda name: name not in {"#", "cell_type"}
)
values = st.one_of(st.none(), st.floats(0, 2**100, width=32))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), delimiter=st.sampled_from("\t,;"), trailing=st.booleans())
def test_what_was_written_is_read_back(tmp_path_factory, data, delimiter, trailing):
    genes = data.draw(st.lists(names, min_size=1, max_size=4, unique=True))
    cell_types = data.draw(st.lists(names, min_size=1, max_size=4, unique=True))
    cell_types = [f"E{name}" for name in cell_types]
    rows = [[data.draw(values) for _ in cell_types] for _ in genes]
    lines = [delimiter.join(["gene_id", *cell_types])]
    for gene, row in zip(genes, rows, strict=True):
        fields = ["NA" if value is None else repr(value) for value in row]
        lines.append(delimiter.join([gene, *fields]) + delimiter * trailing)
    path = tmp_path_factory.getbasetemp() / "written.csv"
    path.write_text("\n".join(lines))
    expression = read_expression(path)
    assert expression.index.tolist() == genes
    assert expression.columns.tolist() == cell_types
    np.testing.assert_array_equal(expression.to_numpy(), np.array(rows, dtype=np.float32))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    content=st.sampled_from([WIDE, LONG, WIDE.replace("\n", "\t\n")]),
    position=st.integers(0, 60),
    inserted=st.one_of(st.none(), st.binary(max_size=3), st.sampled_from([b'"', b"\t", b"\n"])),
)
def test_damage_gives_a_clear_error_or_a_valid_table(tmp_path_factory, content, position, inserted):
    damaged = content.encode()[:position]
    if inserted is not None:
        damaged += inserted + content.encode()[position:]
    path = tmp_path_factory.getbasetemp() / "damaged_rpkm"
    path.write_bytes(damaged)
    try:
        expression = read_expression(path)
    except SimpleChromeError:
        return
    assert expression.index.is_unique
    assert expression.columns.is_unique
    assert not (expression.to_numpy() < 0).any()


@pytest.mark.real_data
def test_published_table_with_trailing_tabs(shared_data):
    expression = read_expression(shared_data / "rpkm_54cells.tsv.gz")
    assert expression.shape == (19_795, 54)
    assert expression.loc["ENSG00000000003"].iloc[:4].tolist() == pytest.approx(
        [43.985, 37.413, 29.459, 21.864], rel=1e-6
    )
    assert expression.columns[[0, 1, -1]].tolist() == ["E003", "E004", "E127"]
    assert expression.loc["ENSG00000000003", "E012"] == np.float32(71.629)
    assert not expression.isna().any(axis=None)


@pytest.mark.real_data
def test_published_labels_are_the_medians_of_their_column(shared_data):
    """Were the columns shifted by one, labels and expression would disagree."""
    with tarfile.open(shared_data / "deepchrome_layout_E012.tar.gz", "r|gz") as archive:
        member = next(entry for entry in archive if entry.name.endswith("test.csv"))
        rows = np.array(archive.extractfile(member).read().split()[::100])  # a gene has 100 bins
    fields = np.char.split(rows.astype(str), ",")
    label = pd.Series({f"ENSG00000{row[0]}": row[-1] == "1" for row in fields})
    with np.load(shared_data / "roadmap_counts" / "E028.npz") as counts:
        all_genes = counts["gene_id"].astype(str)  # the same 18,421 genes
    expression = read_expression(shared_data / "rpkm_54cells.tsv.gz", cell_types=["E012"])["E012"]
    median = expression.reindex(all_genes).median()
    assert len(label) == 5442
    assert ((expression.reindex(label.index) > median) == label).all()
