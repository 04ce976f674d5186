"""Which transcript's start is the gene's: a small annotation, to be checked by hand.

Gene A (plus, 1001-5000 from 1) has three transcripts: T1 from 1001, 200 bases in exons; T2 from
2001, 900 bases, canonical; T3 from 1501. Gene B (minus, 8001-9000) has one, which ends at 8900.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from simplechrome.errors import ConfigError, InputFormatError
from simplechrome.sources.genome.genes import read_genes


def gtf(kind: str, start: int, end: int, strand: str, attributes: str) -> str:
    return f"chr1\tx\t{kind}\t{start}\t{end}\t.\t{strand}\t.\t{attributes}\n"


A, B = 'gene_id "A"; gene_name "a"; gene_type "protein_coding";', 'gene_id "B"; gene_type "lncRNA";'
GTF = "".join(
    [
        gtf("gene", 1001, 5000, "+", A),
        gtf("transcript", 1001, 4000, "+", f'{A} transcript_id "T1"; tag "basic";'),
        gtf("exon", 1001, 1200, "+", f'{A} transcript_id "T1";'),
        gtf(
            "transcript",
            *(2001, 5000, "+", f'{A} transcript_id "T2"; tag "basic"; tag "Ensembl_canonical";'),
        ),
        gtf("exon", 2001, 2500, "+", f'{A} transcript_id "T2";'),
        gtf("exon", 4601, 5000, "+", f'{A} transcript_id "T2";'),
        gtf("transcript", 1501, 4000, "+", f'{A} transcript_id "T3";'),
        gtf("gene", 8001, 9000, "-", B),
        gtf("transcript", 8001, 8900, "-", f'{B} transcript_id "T4";'),
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


def test_tags_are_asked_for_where_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "g.gtf").write_text(GTF.replace("Ensembl_canonical", "CAGE"))
    with pytest.raises(InputFormatError, match="which transcripts are canonical") as caught:
        read_genes(tmp_path / "g.gtf", tss="canonical")
    assert "basic, CAGE" in caught.value.found


def test_an_annotation_without_transcripts_or_biotypes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "g.gtf").write_text(gtf("gene", 1, 10, "+", 'gene_id "A";'))
    with pytest.raises(InputFormatError, match="has no transcripts"):
        read_genes(tmp_path / "g.gtf", tss="longest")
    with pytest.raises(InputFormatError, match="does not say which genes code"):
        read_genes(tmp_path / "g.gtf", protein_coding=True)


def test_tables_know_no_transcripts(tmp_path: Path) -> None:
    (tmp_path / "g.tsv").write_text("gene_id\tchrom\ttss\tstrand\nA\tchr1\t5\t+\n")
    with pytest.raises(ConfigError, match="knows no transcripts"):
        read_genes(tmp_path / "g.tsv", tss="longest")
    with pytest.raises(ConfigError, match="no such rule"):
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
    """As in the pseudoautosomal regions: the first is kept, with the transcripts beside it."""
    both = gtf("gene", 1001, 5000, "+", A) + gtf(
        "transcript", 2001, 5000, "+", f'{A} transcript_id "T1";'
    )
    on_y = both.replace("chr1", "chrY").replace("2001", "3001")
    assert read_text(tmp_path, both + on_y, "most-upstream") == [2000]


def test_of_equally_long_transcripts_the_first_id_counts(tmp_path: Path) -> None:
    text = "".join(
        [
            gtf("gene", 1001, 5000, "+", A),
            gtf("transcript", 3001, 3100, "+", f'{A} transcript_id "T9";'),
            gtf("transcript", 2001, 2100, "+", f'{A} transcript_id "T1";'),
        ]
    )
    assert read_text(tmp_path, text, "longest") == [2000]


def test_genes_that_only_their_transcripts_tell_of(tmp_path: Path) -> None:
    lines = [line for line in GTF.splitlines(keepends=True) if "\tgene\t" not in line]
    assert read_text(tmp_path, "".join(lines), "canonical") == [2000, 8899]


def test_basic_and_ccds_together_are_better_than_ccds(tmp_path: Path) -> None:
    text = "".join(
        [
            gtf("gene", 1001, 5000, "+", A),
            gtf("transcript", 1001, 4000, "+", f'{A} transcript_id "T1"; tag "CCDS";'),
            gtf("transcript", 2001, 4000, "+", f'{A} transcript_id "T2"; tag "CCDS"; tag "basic";'),
        ]
    )
    assert read_text(tmp_path, text, "canonical") == [2000]
