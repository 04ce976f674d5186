import itertools
import logging

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simplechrome.errors import ConfigError, GenomeMismatchError, InputFormatError
from simplechrome.sources.genome.chromosomes import (
    _LENGTHS,
    canonical_assembly,
    check_assembly,
    check_fit,
    detect_style,
    guess_assembly,
    match_names,
    read_aliases,
    translate_to_ucsc,
)

UCSC = {
    **{"1": "chr1", "22": "chr22", "X": "chrX", "W": "chrW", "2L": "chr2L", "2B": "chr2B"},
    **{"MT": "chrM", "Mito": "chrM", "MtDNA": "chrM", "IV": "chrIV", "XVI": "chrXVI"},
    **{"Chr1": "chr1", "CHRX": "chrX", "ChrM": "chrM"},
}
OTHERS = ["chr1", "chrM", "chrUn_gl000220", "GL000191.1", "KI270728.1", "NC_000001.10"]
OTHERS += ["HSCHR6_MHC_APD", "scaffold_12", "0", "100", "IIII", "Pt", ""]


def test_short_names_become_ucsc_and_others_stay() -> None:
    expected = UCSC | {name: name for name in OTHERS}
    found = translate_to_ucsc([*expected, "1", "X"])
    assert found == expected
    assert list(found) == list(expected)  # one entry per name, in order


@given(st.lists(st.text("chrCHR123XVIMLTt._", max_size=6)))
def test_translating_twice_changes_nothing_more(names):
    once = translate_to_ucsc(names)
    assert all(new == again for new, again in translate_to_ucsc(once.values()).items())


@pytest.mark.parametrize(
    ("names", "style"),
    [
        (["chr1", "chrX", "chrUn_gl000220"], "UCSC"),
        (["1", "X", "MT", "GL000191.1"], "Ensembl"),
        (["NC_000001.10", "NT_113878.1"], "RefSeq"),
        (["GL000191.1", "CM000663.2"], "GenBank"),
        (["chr1", "2"], "mixed"),
        (["scaffold_1"], "unknown"),
        ([], "unknown"),
    ],
)
def test_style_is_detected(names, style):
    assert detect_style(names) == style


def match(wanted, available, **options):
    return match_names(wanted, available, wanted_in="genes.gtf.gz", available_in="a.bw", **options)


@pytest.mark.parametrize(
    ("wanted", "available", "mode", "found"),
    [
        (["1", "MT"], ["chr1", "chrM"], "auto", {"1": "chr1", "MT": "chrM"}),
        (["chr1", "chrM"], ["1", "MT"], "auto", {"chr1": "1", "chrM": "MT"}),
        (["1"], ["chr1", "1"], "auto", {"1": "1"}),  # the same name wins
        (["1", "GL000191.1"], ["chr1", "chr2"], "auto", {"1": "chr1"}),
        (["chr1", "2"], ["chr1", "chr2"], "exact", {"chr1": "chr1"}),
        ([], ["chr1"], "auto", {}),
    ],
)
def test_names_match(wanted, available, mode, found):
    assert match(wanted, available, mode=mode) == found


def test_accessions_without_match_are_named_with_both_styles():
    with pytest.raises(GenomeMismatchError) as caught:
        match(["NC_000001.10", "NC_000002.11"], ["chr1", "chr2"])
    message = str(caught.value)
    assert "None of the 2 chromosome names in genes.gtf.gz is in a.bw" in message
    assert "NC_000001.10, NC_000002.11 (RefSeq names)" in message
    assert "chr1, chr2 (UCSC names)" in message
    assert "accession" in message


@pytest.mark.parametrize(
    ("wanted", "available", "mode", "message"),
    [
        (["chr1"], ["chr2L"], "auto", "same species and assembly"),
        (["chr1"], [], "auto", "no chromosomes at all"),
        (["chrM"], ["M", "MT"], "auto", "M, MT"),
        (["1"], ["chr1"], "exact", '"auto" in place of "exact"'),
    ],
)
def test_names_that_do_not_match_are_refused(wanted, available, mode, message):
    with pytest.raises(GenomeMismatchError, match=message):
        match(wanted, available, mode=mode)
    with pytest.raises(ConfigError, match="'auto' or 'exact'"):
        match(wanted, available, mode="fuzzy")


def test_aliases_match_accessions(tmp_path):
    path = tmp_path / "chromAlias.txt"
    path.write_text("# ucsc\tncbi\trefseq\nchr1\t1\tNC_000001.10\nchr2\t2\tNC_000002.11\n")
    aliases = read_aliases(path)
    assert aliases["NC_000002.11"] == "chr2"
    found = match(["NC_000001.10", "NC_000002.11"], ["chr1", "chr2"], aliases=aliases)
    assert found == {"NC_000001.10": "chr1", "NC_000002.11": "chr2"}
    # The other way round, to Ensembl's names, and by aliases alone.
    for mode in ("auto", "exact"):
        found = match(["chr1"], ["NC_000001.10"], mode=mode, aliases=aliases)
        assert found == {"chr1": "NC_000001.10"}


@pytest.mark.parametrize(
    ("text", "message"),
    [("chr1\n", "single name"), ("a\tb\nc\tb\n", "two chromosomes"), ("# x\n", "holds no names")],
)
def test_tables_without_aliases_are_refused(tmp_path, text, message):
    (tmp_path / "aliases.tsv").write_text(text)
    with pytest.raises(InputFormatError, match=message):
        read_aliases(tmp_path / "aliases.tsv")


HG19 = {"chr1": 249_250_621, "chr2": 243_199_373}
HG38 = {"chr1": 248_956_422, "chr2": 242_193_529}


@pytest.mark.parametrize(
    ("sizes", "assembly"),
    [
        (HG19, "hg19"),
        ({"1": 248_956_422}, "hg38"),
        ({"chr1": 1000}, ""),
        ({"chr21": 48_129_895, "chrUn": 5}, "hg19"),
    ],
)
def test_assembly_by_the_lengths_of_chromosomes(sizes: dict[str, int], assembly: str) -> None:
    assert guess_assembly(sizes) == assembly


def test_no_two_assemblies_share_a_chromosome_of_one_length() -> None:
    for one, two in itertools.combinations(_LENGTHS.values(), 2):
        assert not set(one.items()) & set(two.items())


@pytest.mark.parametrize(
    ("name", "canonical"),
    [("GRCh37", "hg19"), ("GRCh38.p14", "hg38"), ("HG19", "hg19"), ("mine", "mine"), ("", "")],
)
def test_assemblies_have_several_names(name: str, canonical: str) -> None:
    assert canonical_assembly(name) == canonical


def test_what_is_stated_is_compared_with_what_is_found() -> None:
    assert check_assembly("GRCh37", {"a.bw": HG19}) == "GRCh37"
    assert check_assembly("mine", {"a.bw": HG19}) == "mine"
    with pytest.raises(GenomeMismatchError, match="not of hg38") as caught:
        check_assembly("hg38", {"a.bw": HG19})
    assert "249,250,621 bases, not 248,956,422, as in hg19" in caught.value.problem


def test_an_unstated_assembly_is_guessed_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="simplechrome"):
        assert check_assembly("", {"a.bw": HG19}) == "hg19"
    assert "lengths of hg19" in caplog.text


def test_files_of_two_assemblies_name_both() -> None:
    with pytest.raises(GenomeMismatchError, match=r"in b\.bw") as caught:
        check_assembly("", {"a.bw": HG19, "b.bw": HG38})
    assert "(hg38)" in caught.value.problem
    assert "(hg19)" in caught.value.problem


def test_genes_beyond_the_end(caplog: pytest.LogCaptureFixture) -> None:
    genes = pd.DataFrame({"gene_id": ["a", "b"], "chrom": ["c", "c"], "tss": [5, 100]})
    with pytest.raises(GenomeMismatchError, match=r"1 of 2 genes of g\.gtf begin beyond"):
        check_fit(genes, {"c": 100}, genes_in="g.gtf")
    many = pd.DataFrame(
        {"gene_id": list(map(str, range(200))), "chrom": "c", "tss": [*range(199), 100_000]}
    )
    with caplog.at_level(logging.WARNING, logger="simplechrome"):
        check_fit(many, {"c": 1000}, genes_in="g.gtf")
    assert "1 genes of g.gtf begin beyond" in caplog.text
    check_fit(genes, {"other": 1}, genes_in="g.gtf")
