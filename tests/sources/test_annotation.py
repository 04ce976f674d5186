import logging

import pytest

from simplechrome.errors import InputFormatError
from simplechrome.sources.genome.genes import read_genes


def feature(kind, start, end, strand, attributes, chrom="1"):
    return f"{chrom}\tsource\t{kind}\t{start}\t{end}\t.\t{strand}\t.\t{attributes}\n"


@pytest.fixture
def genes_from(tmp_path):
    def write_and_read(*lines, name="genes.gtf", **options):
        path = tmp_path / name
        path.write_text("".join(lines))
        return read_genes(path, **options)

    return write_and_read


def test_gtf_is_one_based_and_minus_strand_tss_is_gene_end(genes_from):
    genes = genes_from(
        "#!genome-build GRCh37\n",
        feature("gene", 11, 20, "+", 'gene_id "g1"; gene_name "A";'),
        feature("gene", 11, 20, "-", 'gene_id "g2"; gene_name "B";'),
        feature("gene", 11, 20, ".", 'gene_id "g3"; gene_name "C";', chrom="MT"),
    )
    # Bases 11 to 20 counted from 1 are 10 to 19 counted from 0.
    assert genes["tss"].tolist() == [10, 19, 10]
    assert genes["strand"].tolist() == ["+", "-", "."]
    assert genes["chrom"].tolist() == ["chr1", "chr1", "chrM"]
    assert genes["gene_name"].tolist() == ["A", "B", "C"]


@pytest.mark.parametrize(
    ("attributes", "gene_id", "gene_name"),
    [
        ('gene_id "g1"; gene_name "A";', "g1", "A"),
        ('gene_name "A"; gene_id "g1"', "g1", "A"),
        ("gene_id g1; gene_name A", "g1", "A"),
        ('note "of; gene_id x;"; gene_id "g1"; gene_name "a;b";', "g1", "a;b"),
        ('ref_gene_id "x"; gene_id "g1";', "g1", ""),
        ('gene_id  "g1" ;tag "y";tag "z"', "g1", ""),
        ('gene_id "g1"; gene "A";', "g1", "A"),
        ("ID=gene:g1;Name=A%3Bb;biotype=x", "g1", "A;b"),
        ("ID=gene-A;Name=A", "A", "A"),
        ("ID=gene:x;gene_id=g1", "g1", ""),
    ],
)
def test_attributes_of_gtf_and_gff3(genes_from, attributes, gene_id, gene_name):
    genes = genes_from(feature("gene", 1, 2, "+", attributes), name="named_otherwise.txt")
    assert genes.loc[0, ["gene_id", "gene_name"]].tolist() == [gene_id, gene_name]


def test_only_gene_features_count_where_there_are_any(genes_from):
    genes = genes_from(
        feature("transcript", 5, 30, "+", 'gene_id "g1";'),
        feature("gene", 11, 20, "+", 'gene_id "g1";'),
        feature("exon", 11, 90, "+", 'gene_id "g1";'),
    )
    assert genes["tss"].tolist() == [10]


@pytest.mark.parametrize("kind", ["transcript", "exon"])
def test_without_gene_features_a_gene_is_the_outermost_extent_of_its_parts(
    genes_from, caplog, kind
):
    with caplog.at_level(logging.INFO):
        genes = genes_from(
            feature(kind, 11, 20, "-", 'gene_id "g1";'),
            feature(kind, 31, 40, "+", 'gene_id "g2";'),
            feature(kind, 15, 28, "-", 'gene_id "g1";'),
            feature(kind, 25, 36, "+", 'gene_id "g2";'),
        )
    # g1: 11 to 28 on the minus strand, g2: 25 to 40 on the plus strand.
    assert dict(zip(genes["gene_id"], genes["tss"], strict=True)) == {"g1": 27, "g2": 24}
    assert "no gene features" in caplog.text


def test_parts_on_another_chromosome_are_left_out_and_reported(genes_from, caplog):
    genes = genes_from(
        feature("transcript", 11, 20, "+", 'gene_id "g1";', chrom="X"),
        feature("transcript", 1, 20, "+", 'gene_id "g1";', chrom="Y"),
    )
    assert genes[["chrom", "tss"]].to_numpy().tolist() == [["chrX", 10]]
    assert "1 genes have parts on another chromosome" in caplog.text


def test_gff3_stops_at_its_sequences(genes_from):
    genes = genes_from(
        "##gff-version 3\n", feature("gene", 1, 2, "?", "ID=g1"), "##FASTA\n", ">1\n", "ACGT\n"
    )
    assert genes["strand"].tolist() == ["."]


GOOD = feature("gene", 11, 20, "+", 'gene_id "g1";')


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("1\tsource\tgene\t11\n", r"genes\.gtf, line 2 has 4 tab-separated fields"),
        ("1\tsource\texon\t11\t20\t.\t+\n", "line 2 has 7 tab-separated fields"),
        (feature("gene", "x", 20, "+", 'gene_id "g2"'), "line 2: start is 'x'"),
        (feature("gene", 1, "2e1", "+", 'gene_id "g2"'), "line 2: end is '2e1'"),
        (feature("gene", 0, 20, "+", 'gene_id "g2"'), "line 2: the feature runs from 0 to 20"),
        (feature("gene", 30, 20, "+", 'gene_id "g2"'), "line 2: the feature runs from 30 to 20"),
        (feature("gene", 1, 20, "x", 'gene_id "g2"'), "line 2: chromosome '1', strand 'x'"),
        (feature("gene", 1, 20, "+", 'name "g2"'), "line 2: no gene id"),
        (feature("gene", 1, 20, "+", 'gene_id "g2'), "line 2: no gene id"),
    ],
)
def test_bad_line_is_named(genes_from, bad, message):
    with pytest.raises(InputFormatError, match=message):
        genes_from(GOOD, bad)


def test_file_without_genes_is_refused(genes_from):
    with pytest.raises(InputFormatError, match=r"genes\.gtf has no genes(.|\n)*1 features"):
        genes_from(feature("CDS", 1, 2, "+", 'gene_id "g1"'))
    with pytest.raises(InputFormatError, match="0 features"):
        genes_from("#!genome-build GRCh37\n")


def test_gff3_transcripts_without_gene_id_are_no_genes(genes_from):
    with pytest.raises(InputFormatError, match="no gene id"):
        genes_from(feature("mRNA", 1, 2, "+", "ID=transcript:t1;Parent=gene:g1"))
