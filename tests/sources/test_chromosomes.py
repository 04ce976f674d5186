import pytest
from hypothesis import given
from hypothesis import strategies as st

from simplechrome.errors import ConfigError, GenomeMismatchError, InputFormatError
from simplechrome.sources.genome.chromosomes import (
    detect_style,
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
    with pytest.raises(GenomeMismatchError, match="different genomes"):
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
    ("text", "said"),
    [("chr1\n", "single name"), ("a\tb\nc\tb\n", "two chromosomes"), ("# x\n", "holds no names")],
)
def test_tables_of_aliases_that_say_nothing_are_refused(tmp_path, text, said):
    (tmp_path / "aliases.tsv").write_text(text)
    with pytest.raises(InputFormatError, match=said):
        read_aliases(tmp_path / "aliases.tsv")
