"""Which assembly chromosomes of these lengths are of."""

from __future__ import annotations

import itertools
import logging

import pandas as pd
import pytest

from simplechrome.errors import GenomeMismatchError
from simplechrome.sources.genome.assembly import (
    _LENGTHS,
    canonical_assembly,
    check_assembly,
    check_fit,
    guess_assembly,
)

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
    assert "249,250,621 bases, as in hg19" in caught.value.found
    assert caught.value.expected == "248,956,422 bases"


def test_an_unstated_assembly_is_guessed_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="simplechrome"):
        assert check_assembly("", {"a.bw": HG19}) == "hg19"
    assert "lengths of hg19" in caplog.text


def test_files_of_two_assemblies_name_both() -> None:
    with pytest.raises(GenomeMismatchError, match=r"b\.bw than in a\.bw") as caught:
        check_assembly("", {"a.bw": HG19, "b.bw": HG38})
    assert "(hg38)" in caught.value.found
    assert "(hg19)" in caught.value.found


def test_genes_behind_the_end(caplog: pytest.LogCaptureFixture) -> None:
    genes = pd.DataFrame({"gene_id": ["a", "b"], "chrom": ["c", "c"], "tss": [5, 100]})
    with pytest.raises(GenomeMismatchError, match=r"1 of 2 genes of g\.gtf begin behind"):
        check_fit(genes, {"c": 100}, genes_in="g.gtf")
    many = pd.DataFrame(
        {"gene_id": list(map(str, range(200))), "chrom": "c", "tss": [*range(199), 100_000]}
    )
    with caplog.at_level(logging.WARNING, logger="simplechrome"):
        check_fit(many, {"c": 1000}, genes_in="g.gtf")
    assert "1 genes of g.gtf begin behind" in caplog.text
    check_fit(genes, {"other": 1}, genes_in="g.gtf")
