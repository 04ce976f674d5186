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


@pytest.mark.parametrize(
    ("name", "ucsc"),
    [
        ("1", "chr1"),
        ("22", "chr22"),
        ("X", "chrX"),
        ("W", "chrW"),
        ("MT", "chrM"),
        ("Mito", "chrM"),
        ("MtDNA", "chrM"),
        ("2L", "chr2L"),
        ("3R", "chr3R"),
        ("2B", "chr2B"),
        ("IV", "chrIV"),
        ("XVI", "chrXVI"),
        ("Chr1", "chr1"),
        ("CHRX", "chrX"),
        ("ChrM", "chrM"),
    ],
)
def test_short_names_become_ucsc(name, ucsc):
    assert translate_to_ucsc([name]) == {name: ucsc}


@pytest.mark.parametrize(
    "name",
    [
        "chr1",
        "chrM",
        "chrUn_gl000220",
        "GL000191.1",
        "KI270728.1",
        "NC_000001.10",
        "HSCHR6_MHC_APD",
        "scaffold_12",
        "0",
        "100",
        "IIII",
        "Pt",
        "",
    ],
)
def test_other_names_stay_as_they_are(name):
    assert translate_to_ucsc([name]) == {name: name}


def test_translation_has_one_entry_per_distinct_name_in_order():
    assert list(translate_to_ucsc(["X", "1", "X", "MT"])) == ["X", "1", "MT"]


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


def test_names_match_across_styles_in_both_directions():
    assert match(["1", "MT"], ["chr1", "chrM"]) == {"1": "chr1", "MT": "chrM"}
    assert match(["chr1", "chrM"], ["1", "MT"]) == {"chr1": "1", "chrM": "MT"}


def test_same_name_wins_over_translation():
    assert match(["1"], ["chr1", "1"]) == {"1": "1"}


def test_names_without_match_are_left_out():
    assert match(["1", "GL000191.1"], ["chr1", "chr2"]) == {"1": "chr1"}


def test_exact_matches_equal_names_only():
    assert match(["chr1", "2"], ["chr1", "chr2"], mode="exact") == {"chr1": "chr1"}


def test_exact_without_match_points_to_auto():
    with pytest.raises(GenomeMismatchError, match='"auto" in place of "exact"'):
        match(["1"], ["chr1"], mode="exact")


def test_accessions_without_match_are_named_with_both_styles():
    with pytest.raises(GenomeMismatchError) as caught:
        match(["NC_000001.10", "NC_000002.11"], ["chr1", "chr2"])
    message = str(caught.value)
    assert "None of the 2 chromosome names in genes.gtf.gz is in a.bw" in message
    assert "NC_000001.10, NC_000002.11 (RefSeq names)" in message
    assert "chr1, chr2 (UCSC names)" in message
    assert "accession" in message


def test_different_genomes_are_named_as_the_cause():
    with pytest.raises(GenomeMismatchError, match="same species and assembly"):
        match(["chr1"], ["chr2L"])
    with pytest.raises(GenomeMismatchError, match="no chromosomes at all"):
        match(["chr1"], [])


def test_two_available_names_for_one_chromosome_are_refused():
    with pytest.raises(GenomeMismatchError, match="M, MT"):
        match(["chrM"], ["M", "MT"])


def test_nothing_wanted_matches_nothing():
    assert match([], ["chr1"]) == {}


def test_unknown_mode_is_refused():
    with pytest.raises(ConfigError, match="'auto' or 'exact'"):
        match(["1"], ["1"], mode="fuzzy")


def test_aliases_match_accessions(tmp_path):
    path = tmp_path / "chromAlias.txt"
    path.write_text("# ucsc\tncbi\trefseq\nchr1\t1\tNC_000001.10\nchr2\t2\tNC_000002.11\n")
    aliases = read_aliases(path)
    assert aliases["NC_000002.11"] == "chr2"
    found = match_names(
        ["NC_000001.10", "NC_000002.11"],
        ["chr1", "chr2"],
        aliases=aliases,
        wanted_in="genes",
        available_in="track",
    )
    assert found == {"NC_000001.10": "chr1", "NC_000002.11": "chr2"}
    # The other way round, to Ensembl's names, and by aliases alone.
    for mode in ("auto", "exact"):
        found = match_names(
            ["chr1"],
            ["NC_000001.10"],
            mode=mode,
            aliases=aliases,
            wanted_in="genes",
            available_in="track",
        )
        assert found == {"chr1": "NC_000001.10"}


@pytest.mark.parametrize(
    ("text", "message"),
    [("chr1\n", "single name"), ("a\tb\nc\tb\n", "two chromosomes"), ("# x\n", "holds no names")],
)
def test_tables_of_aliases_that_without_aliases_are_refused(tmp_path, text, message):
    (tmp_path / "aliases.tsv").write_text(text)
    with pytest.raises(InputFormatError, match=message):
        read_aliases(tmp_path / "aliases.tsv")


HG19 = {"chr1": 249_250_621, "chr2": 243_199_373}
HG38 = {"chr1": 248_956_422, "chr2": 242_193_529}


def test_lengths_tell_the_assembly_under_any_name() -> None:
    assert guess_assembly(HG19) == "hg19"
    assert guess_assembly({"1": 248_956_422}) == "hg38"
    assert guess_assembly({"chr1": 1000}) == ""
    assert guess_assembly({"chr21": 48_129_895, "chrUn": 5}) == "hg19"


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
