"""GTF and GFF3: genes, and the start of each by a rule.

The transcripts are of a small annotation, to be checked by hand.

Gene A (plus, 1001-5000 from 1) has three transcripts: T1 from 1001, 200 bases in exons; T2 from
2001, 900 bases, canonical; T3 from 1501. Gene B (minus, 8001-9000) has one, which ends at 8900.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from simplechrome.errors import ConfigError, InputFormatError
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
            feature(kind, 1, 36, "+", 'note "of no gene";'),
        )
    # g1: 11 to 28 on the minus strand, g2: 25 to 40 on the plus strand.
    assert dict(zip(genes["gene_id"], genes["tss"], strict=True)) == {"g1": 27, "g2": 24}
    assert "no gene features" in caplog.text
    assert f"1 of 5 {kind}s name no gene_id" in caplog.text


def test_parts_on_another_chromosome_are_dropped_with_a_warning(genes_from, caplog):
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
        (
            feature("gene", "x", 20, "+", 'gene_id "g2"'),
            "runs from 'x' to '20'",
        ),
        (
            feature("gene", 1, "2e1", "+", 'gene_id "g2"'),
            "runs from '1' to '2e1'",
        ),
        (feature("gene", 0, 20, "+", 'gene_id "g2"'), "runs from '0' to '20'"),
        (
            feature("gene", 30, 20, "+", 'gene_id "g2"'),
            "runs from '30' to '20'",
        ),
        (feature("gene", 1, 20, "x", 'gene_id "g2"'), "line 2: chromosome '1', strand 'x'"),
        (feature("gene", 1, 20, "+", 'name "g2"'), "line 2: no gene id"),
        (feature("gene", 1, 20, "+", 'gene_id "g2'), "line 2: no gene id"),
    ],
)
def test_bad_line_is_named(genes_from, bad, message):
    with pytest.raises(InputFormatError, match=message):
        genes_from(GOOD, bad)


def test_file_without_genes_is_refused(genes_from):
    with pytest.raises(InputFormatError, match=r"genes\.gtf has no genes: none of its 1 features"):
        genes_from(feature("CDS", 1, 2, "+", 'gene_id "g1"'))
    with pytest.raises(InputFormatError, match="0 features"):
        genes_from("#!genome-build GRCh37\n")


def test_gff3_transcripts_without_gene_id_are_no_genes(genes_from):
    with pytest.raises(InputFormatError, match="has no genes"):
        genes_from(feature("mRNA", 1, 2, "+", "ID=transcript:t1;Parent=gene:g1"))


A, B = 'gene_id "A"; gene_name "a"; gene_type "protein_coding";', 'gene_id "B"; gene_type "lncRNA";'
GTF = "".join(
    [
        feature("gene", 1001, 5000, "+", A),
        feature("transcript", 1001, 4000, "+", f'{A} transcript_id "T1"; tag "basic";'),
        feature("exon", 1001, 1200, "+", f'{A} transcript_id "T1";'),
        feature(
            "transcript",
            *(2001, 5000, "+", f'{A} transcript_id "T2"; tag "basic"; tag "Ensembl_canonical";'),
        ),
        feature("exon", 2001, 2500, "+", f'{A} transcript_id "T2";'),
        feature("exon", 4601, 5000, "+", f'{A} transcript_id "T2";'),
        feature("transcript", 1501, 4000, "+", f'{A} transcript_id "T3";'),
        feature("gene", 8001, 9000, "-", B),
        feature("transcript", 8001, 8900, "-", f'{B} transcript_id "T4";'),
    ]
)
GFF3 = """##gff-version 3
chr1\tx\tgene\t1001\t5000\t.\t+\t.\tID=gene:A;Name=a;biotype=protein_coding;gene_id=A
chr1\tx\tmRNA\t1001\t4000\t.\t+\t.\tID=transcript:T1;Parent=gene:A;tag=basic;transcript_id=T1
chr1\tx\texon\t1001\t1200\t.\t+\t.\tParent=transcript:T1
chr1\tx\tmRNA\t2001\t5000\t.\t+\t.\tID=transcript:T2;Parent=gene:A;tag=basic,Ensembl_canonical
chr1\tx\texon\t2001\t2900\t.\t+\t.\tParent=transcript:T2
chr1\tx\tncRNA_gene\t8001\t9000\t.\t-\t.\tID=gene:B;biotype=lncRNA;gene_id=B
chr1\tx\tlnc_RNA\t8001\t8900\t.\t-\t.\tID=transcript:T4;Parent=gene:B;transcript_id=T4
"""


@pytest.fixture(params=[GTF, GFF3], ids=["gtf", "gff3"])
def annotation(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "genes.gtf"
    path.write_text(request.param)
    return path


@pytest.mark.parametrize(
    ("rule", "starts"),
    [
        ("gene", [1000, 8999]),
        ("longest", [2000, 8899]),  # 900 bases in exons against 200
        ("most-upstream", [1000, 8899]),
        ("canonical", [2000, 8999]),  # B has no canonical one: its own start
    ],
)
def test_the_start_by_each_rule(annotation: Path, rule: str, starts: list[int]) -> None:
    genes = read_genes(annotation, tss=rule)  # type: ignore[arg-type]
    assert genes["gene_id"].tolist() == ["A", "B"]
    assert genes["tss"].tolist() == starts
    assert genes["strand"].tolist() == ["+", "-"]


def test_genes_without_a_canonical_transcript_are_counted(
    annotation: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="simplechrome"):
        read_genes(annotation, tss="canonical")
    assert "1 of 2 genes have no canonical transcript (B)" in caplog.text


def test_protein_coding_genes_alone(annotation: Path) -> None:
    genes = read_genes(annotation, protein_coding=True)
    assert genes["gene_id"].tolist() == ["A"]
    assert genes["tss"].tolist() == [1000]


def test_file_without_canonical_tags_is_refused(tmp_path: Path) -> None:
    (tmp_path / "g.gtf").write_text(GTF.replace("Ensembl_canonical", "CAGE"))
    with pytest.raises(InputFormatError, match="which transcripts are canonical") as caught:
        read_genes(tmp_path / "g.gtf", tss="canonical")
    assert "basic, CAGE" in caught.value.problem


def test_an_annotation_without_transcripts_or_biotypes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "g.gtf").write_text(feature("gene", 1, 10, "+", 'gene_id "A";'))
    with pytest.raises(InputFormatError, match="but no transcripts"):
        read_genes(tmp_path / "g.gtf", tss="longest")
    with pytest.raises(InputFormatError, match="only none: 1"):
        read_genes(tmp_path / "g.gtf", protein_coding=True)


def test_table_has_no_transcripts(tmp_path: Path) -> None:
    (tmp_path / "g.tsv").write_text("gene_id\tchrom\ttss\tstrand\nA\tchr1\t5\t+\n")
    with pytest.raises(ConfigError, match="has no transcripts"):
        read_genes(tmp_path / "g.tsv", tss="longest")
    with pytest.raises(ConfigError, match="no rule 'nearest'"):
        read_genes(tmp_path / "g.tsv", tss="nearest")  # type: ignore[arg-type]


def read_text(folder: Path, text: str, rule: str) -> list[int]:
    (folder / "g.gff").write_text(text)
    return read_genes(folder / "g.gff", tss=rule)["tss"].tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [GTF, GFF3], ids=["gtf", "gff3"])
@pytest.mark.parametrize("rule", ["longest", "most-upstream", "canonical"])
def test_the_order_of_lines_does_not_matter(tmp_path: Path, text: str, rule: str) -> None:
    backwards = "".join(reversed(text.splitlines(keepends=True)))
    assert sorted(read_text(tmp_path, backwards, rule)) == read_text(tmp_path, text, rule)


def test_an_id_that_stands_for_two_genes(tmp_path: Path) -> None:
    """As in the pseudoautosomal regions: the first is kept, with its transcripts."""
    both = feature("gene", 1001, 5000, "+", A) + feature(
        "transcript", 2001, 5000, "+", f'{A} transcript_id "T1";'
    )
    on_y = both.replace("1\tsource", "Y\tsource").replace("2001", "3001")
    assert read_text(tmp_path, both + on_y, "most-upstream") == [2000]


def test_genes_without_gene_features(tmp_path: Path) -> None:
    lines = [line for line in GTF.splitlines(keepends=True) if "\tgene\t" not in line]
    assert read_text(tmp_path, "".join(lines), "canonical") == [2000, 8899]


@pytest.mark.parametrize(
    ("rule", "parts"),
    [
        # Of equally long transcripts the first id counts.
        ("longest", [("transcript", 3001, 3100, "T9", ""), ("transcript", 2001, 2100, "T1", "")]),
        # Equal exons go by id, not by span.
        (
            "longest",
            [
                ("transcript", 1001, 5000, "T2", ""),
                ("exon", 1001, 1100, "T2", ""),
                ("transcript", 2001, 2500, "T1", ""),
                ("exon", 2001, 2100, "T1", ""),
            ],
        ),
        # basic and CCDS together are better than CCDS.
        (
            "canonical",
            [
                ("transcript", 1001, 4000, "T1", 'tag "CCDS";'),
                ("transcript", 2001, 4000, "T2", 'tag "CCDS"; tag "basic";'),
            ],
        ),
    ],
)
def test_ties_and_ranks(tmp_path: Path, rule: str, parts: list) -> None:
    lines = [
        feature(kind, start, end, "+", f'{A} transcript_id "{name}"; {tags}')
        for kind, start, end, name, tags in parts
    ]
    text = "".join([feature("gene", 1001, 5000, "+", A), *lines])
    assert read_text(tmp_path, text, rule) == [2000]


def test_transcripts_of_another_chromosome_or_strand_do_not_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "".join(
        [
            feature("gene", 1001, 5000, "+", A),
            feature("transcript", 3001, 4000, "+", f'{A} transcript_id "T1";'),
            feature("transcript", 101, 5000, "-", f'{A} transcript_id "T2";'),
            feature("transcript", 101, 5000, "+", f'{A} transcript_id "T3";', "2"),
        ]
    )
    with caplog.at_level(logging.WARNING, logger="simplechrome"):
        assert read_text(tmp_path, text, "most-upstream") == [3000]
        assert read_text(tmp_path, text, "longest") == [3000]
    assert "2 transcripts lie on another chromosome or strand" in caplog.text
    assert "(T2, T3)" in caplog.text


@pytest.mark.parametrize(("last", "start"), [(2400, 2000), (2900, 3000)])
def test_longest_transcript_of_gff3_by_the_ids_that_exons_name(
    tmp_path: Path, last: int, start: int
) -> None:
    # T2's exons have 500 bases. Those of T1, 401 or 901, name it by ID, not by transcript_id.
    text = f"""chr1\tx\tgene\t1001\t5000\t.\t+\t.\tID=gene:A
chr1\tx\tmRNA\t3001\t5000\t.\t+\t.\tID=transcript:T1;Parent=gene:A;transcript_id=other
chr1\tx\texon\t2000\t{last}\t.\t+\t.\tParent=transcript:T1
chr1\tx\tmRNA\t2001\t3000\t.\t+\t.\tID=transcript:T2;Parent=gene:A
chr1\tx\texon\t2001\t2500\t.\t+\t.\tParent=transcript:T2
"""
    assert read_text(tmp_path, text, "longest") == [start]
