import gzip
import logging

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simplechrome.errors import (
    ConfigError,
    InputFormatError,
    SimpleChromeError,
)
from simplechrome.sources.genome.genes import read_genes

TABLE = (
    "gene_id\tsymbol\tchrom\ttss\tstrand\tdeepchrome_split\n"
    "g1\tA\tchrX\t90\t-\ttrain\n"
    "g2\t\tchr1\t0\t+\tvalid\n"
    "g3\tNA\tchr1\t7\t.\ttest\n"
)
BED = "chr1\t10\t20\tg1\t0\t+\nchr2\t10\t20\tg2\t0\t-\nchr2\t10\t20\tg3\t0\t.\n"
GTF = '1\ts\tgene\t11\t20\t.\t-\t.\tgene_id "g1"; gene_name "A";\n'


@pytest.fixture
def genes_from(tmp_path):
    def write_and_read(content, name="genes.tsv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_genes(path, **options)

    return write_and_read


def test_table_is_read_as_given(genes_from):
    genes = genes_from(TABLE)
    assert list(genes) == ["gene_id", "gene_name", "chrom", "tss", "strand", "published_split"]
    assert genes["gene_id"].tolist() == ["g1", "g2", "g3"]
    assert genes["gene_name"].tolist() == ["A", "", ""]
    assert genes["tss"].tolist() == [90, 0, 7]
    assert genes["tss"].dtype == np.int64
    assert genes["strand"].tolist() == ["-", "+", "."]
    assert genes["published_split"].tolist() == ["train", "valid", "test"]
    assert genes.index.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "content",
    [
        "ensembl_id,chr,tss,strand\ng1,chr1,5,+\n",
        "Gene ID;Chromosome;TSS;Strand\ng1;chr1;5;+\n",
        '"seqnames" "tss" "strand" "gene_id"\n"1" "chr1" 5 "+" "g1"\n',  # R, with row numbers
        "# made yesterday\n\n#gene_id\tchrom\ttss\tstrand\ng1\tchr1\t5\t+\n",
        "gene_id\tchrom\ttss\tstrand\r\ng1\tchr1\t5\t+\r\n",
        "gene_id\tchrom\ttss\tstrand\ng1\tchr1\t5\t+\t",  # trailing delimiter, no last line end
        "\ufeffstrand\tgene\tcomment\ttss\tchrom\n+\tg1\tx, y\t 5 \tchr1\n",
        "tss\tgene\tgene_id\tstrand\tchrom\n5\tA\tg1\t+\tchr1\n",  # gene_id goes before gene
    ],
)
def test_headers_and_delimiters_of_many_kinds(genes_from, content):
    genes = genes_from(content)
    assert genes.loc[0, ["gene_id", "chrom", "tss", "strand"]].tolist() == ["g1", "chr1", 5, "+"]


def test_bed_is_half_open_and_minus_strand_tss_is_last_base(genes_from):
    genes = genes_from("browser position chr1\ntrack name=x\n#c\n" + BED, name="genes.txt")
    assert list(genes) == ["gene_id", "gene_name", "chrom", "tss", "strand"]
    assert genes["tss"].tolist() == [10, 19, 10]
    assert genes["strand"].tolist() == ["+", "-", "."]


@pytest.mark.parametrize("content", [TABLE, BED, GTF])
def test_format_is_recognized_by_content_whatever_the_name(genes_from, content):
    for name in ("genes.bed", "genes.gtf.gz", "genes"):
        assert genes_from(gzip.compress(content.encode()), name="a" + name)["gene_id"][0] == "g1"


def test_ensembl_names_are_translated_and_logged(genes_from, caplog):
    content = "gene_id,chrom,tss,strand\na,1,5,+\nb,1,6,+\nc,MT,7,+\nd,GL000191.1,8,+\n"
    with caplog.at_level(logging.INFO):
        assert genes_from(content)["chrom"].tolist() == ["chr1", "chr1", "chrM", "GL000191.1"]
    assert "2 of 3 chromosome names translated" in caplog.text
    assert "1 to chr1, MT to chrM" in caplog.text
    assert "3 of 4 genes" in caplog.text


def test_exact_leaves_names(genes_from, caplog):
    with caplog.at_level(logging.INFO):
        assert genes_from(GTF, chrom_style="exact")["chrom"].tolist() == ["1"]
    assert not caplog.records


def test_unknown_chrom_style_is_refused(genes_from):
    with pytest.raises(ConfigError, match="chrom_style"):
        genes_from(TABLE, chrom_style="ucsc")


def test_first_of_duplicated_ids_is_kept_and_reported(genes_from, caplog):
    genes = genes_from(
        "gene_id,symbol,chrom,tss,strand\n"
        "g1,A,chr1,5,+\ng2,B,chr1,6,+\ng1,C,chr1,5,+\ng2,B,chr1,9,+\ng3,D,chr1,1,+\n"
    )
    assert genes["gene_name"].tolist() == ["A", "B", "D"]
    assert genes["tss"].tolist() == [5, 6, 1]
    assert genes.index.tolist() == [0, 1, 2]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "2 gene ids occur more than once (g1, g2)" in record.message
    assert "1 of them have the same chromosome, tss and strand, 1 do not" in record.message


def test_version_is_kept_with_a_remark_or_stripped(genes_from, caplog):
    content = (
        "gene_id,chrom,tss,strand\nENSG00000000003.14,chrX,5,-\nENSG00000002586.7_PAR_Y,chrY,1,+\n"
        "Y74C9A.6,chrI,3,+\n"
    )
    with caplog.at_level(logging.INFO):
        assert genes_from(content)["gene_id"][0] == "ENSG00000000003.14"
    assert "2 of 3 gene ids carry a version, such as ENSG00000000003.14" in caplog.text
    stripped = genes_from(content, strip_version=True)["gene_id"].tolist()
    assert stripped == ["ENSG00000000003", "ENSG00000002586_PAR_Y", "Y74C9A.6"]


HEADER = "gene_id\tchrom\ttss\tstrand\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n\n# nothing\n", r"genes\.tsv holds no data"),
        (HEADER, r"genes\.tsv holds no data(.|\n)*one line"),
        ("g1\tchr1\t5\t+\ng2\tchr1\t6\t+\n", "first line is g1, chr1, 5, \\+(.|\n)*add a header"),
        ("id\tchrom\tstart\tstrand\na\t1\t5\t+\n", "lacks the columns gene_id, tss"),
        ("gene_id\tchrom\ttss\tstrand\ttss\na\t1\t5\t+\t5\n", "column tss more than once"),
        (HEADER + "g1\tchr1\t5\t+\n\ng2\tchr1\t5.5\t+\n", r"line 4: tss is '5\.5'"),
        (HEADER + "g1\tchr1\t-5\t+\n", "line 2: tss is '-5'(.|\n)*0 or more"),
        (HEADER + "g1\tchr1\t1e+05\t+\n", "scientific = FALSE"),
        (HEADER + "g1\tchr1\t\t+\n", "line 2: tss is ''"),
        (HEADER + "g1\tchr1\t" + "9" * 30 + "\t+\n", "line 2: tss is '999"),
        (HEADER + "g1\tchr1\t5\t1\n", "line 2: strand is '1'(.|\n)*one of \\+ - \\."),
        (HEADER + "g1\t\t5\t+\n", "line 2: chrom is ''"),
        (HEADER + "\tchr1\t5\t+\n", "line 2: gene_id is ''"),
        (HEADER + "g1\tchr1\t5\t+\ng2\tchr1\t6\n", r"line 3 has 3 fields \(tab-separated\)"),
        (HEADER + "g1\tchr1\n", "line 2 has 2 fields(.|\n)*4, as the header has"),
        (HEADER + 'g1\tchr1\t5\t+\n"g2\tchr1\t6\t+\n', "line 3 has 1 fields"),
        (TABLE.replace("valid", "validation"), "line 3: published_split is 'validation'"),
        ("chr1\t10\t20\n", "line 1 is not a gene in BED6: it has 3 fields"),
        (BED + "chr1\t30\t20\tg4\t0\t+\n", "line 4 .* runs from '30' to '20'"),
        (BED + "chr1\tx\t20\tg4\t0\t+\n", "line 4 .* runs from 'x' to '20'"),
        (BED + "chr1\t10\t20\tg4\t0\t*\n", "line 4 .*strand '\\*'"),
    ],
)
def test_bad_input_is_named_with_file_and_line(genes_from, content, message):
    with pytest.raises(InputFormatError, match=message):
        genes_from(content)


@st.composite
def damaged_files(draw):
    content = bytearray(draw(st.sampled_from([TABLE, BED, GTF])).encode())
    if draw(st.booleans()):
        content = bytearray(gzip.compress(bytes(content)))
    position = draw(st.integers(0, len(content) - 1))
    kind = draw(st.sampled_from(["truncate", "flip", "insert"]))
    if kind == "truncate":
        return bytes(content[:position])
    if kind == "flip":
        content[position] ^= 1 << draw(st.integers(0, 7))
    else:
        content[position:position] = draw(st.sampled_from([b'"', b"\t", b"\n", b"\0", b"\xff"]))
    return bytes(content)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(content=damaged_files())
def test_damage_gives_a_clear_error_or_a_valid_table(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "damaged_genes"
    path.write_bytes(content)
    try:
        genes = read_genes(path)
    except SimpleChromeError:
        return
    assert genes["gene_id"].is_unique
    assert (genes["gene_id"] != "").all()
    assert (genes["tss"] >= 0).all()
    assert genes["strand"].isin(["+", "-", "."]).all()


@pytest.mark.real_data
def test_published_gene_table(shared_data, caplog):
    genes = read_genes(shared_data / "genes_hg19.tsv.gz")
    assert len(genes) == 19_802 - 7
    first = genes.loc[0, ["gene_name", "chrom", "tss", "strand", "published_split"]].tolist()
    assert first == ["TSPAN6", "chrX", 99894988, "-", "train"]
    assert (genes["strand"] == ".").sum() == 318
    assert "7 gene ids occur more than once" in caplog.text
    assert "7 of them have the same" in caplog.text


@pytest.mark.real_data
def test_published_gtf_agrees_with_the_table(shared_data):
    gtf = read_genes(shared_data / "genes_hg19.gtf.gz").set_index("gene_id")
    table = read_genes(shared_data / "genes_hg19.tsv.gz").set_index("gene_id")
    assert len(gtf) == 19_175
    both = gtf.join(table, rsuffix="_table", how="inner")
    elsewhere = both["chrom"] != both["chrom_table"]
    assert elsewhere.sum() == 47
    both = both[~elsewhere]
    # The table's minus-strand TSS is one past the last base in two thirds of the rows.
    shift = (both["tss_table"] - both["tss"]).groupby(both["strand"]).agg(lambda s: s.mode()[0])
    assert shift.to_dict() == {"+": 0, "-": 1}
