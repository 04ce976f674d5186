"""Comparisons of models with and without neighbors, where the true effect is known."""

from __future__ import annotations

import pandas as pd
import pytest
from made_up_benchmark import made_up_test_set

from simplechrome.benchmark.comparisons import (
    OWN,
    Findings,
    comparison_table,
    find,
    name_gains,
    neighbor_pairs,
    split_representation,
)
from simplechrome.benchmark.summary import BenchmarkResults
from simplechrome.report.benchmark_page import describe_gains, neighbor_sections
from simplechrome.report.figures.neighbors import neighbor_gain_figure

PLACE = ("C0", "within", "C0", "chromosome")
STRENGTHS = {
    "pca:linear": 1.0,
    "pca+genomic:neighborhood": 1.0,  # no better than anything
    "pca+genomic.shuffled:neighborhood": 1.0,
    "pca+genomic.only:neighborhood": 0.2,
    "pca+coexpression:neighborhood": 1.8,
    "pca+coexpression.shuffled:neighborhood": 1.0,
    "pca+coexpression.elsewhere:neighborhood": 1.0,
}


@pytest.fixture(scope="module")
def findings() -> Findings:
    tests = {(*PLACE, 0): made_up_test_set(STRENGTHS)}
    nothing = pd.DataFrame(columns=["representation", "predictor", "reason"])
    results = BenchmarkResults("classification", tests, pd.DataFrame(), nothing)
    return find(results, "pca:linear")


def test_pairs_by_name() -> None:
    assert split_representation("pca+log_means") == ("pca+log_means", None)
    own, choice = split_representation("pca+log_means+genomic.apart.shuffled")
    assert own == "pca+log_means"
    assert choice is not None
    assert choice.name == "genomic.apart.shuffled"
    pairs = neighbor_pairs([*STRENGTHS])
    assert [(pair.first, pair.against, pair.second) for pair in pairs] == [
        ("pca+genomic:neighborhood", OWN, "pca:linear"),
        ("pca+genomic:neighborhood", "shuffled", "pca+genomic.shuffled:neighborhood"),
        ("pca+coexpression:neighborhood", OWN, "pca:linear"),
        *(
            ("pca+coexpression:neighborhood", name, f"pca+coexpression.{name}:neighborhood")
            for name in ("shuffled", "elsewhere")
        ),
    ]
    # The parts of a name come in any order, and the gene itself may be seen in several ways.
    models = ["pca+genomic.apart.n2:boosting", "pca+genomic.n2.apart.shuffled:boosting"]
    models += ["pca+gene_mean+genomic.n2.apart.shuffled:boosting"]
    assert neighbor_pairs(models) == [
        (*models[:2], "pca", "genomic.n2.apart", "boosting", "shuffled")
    ]


def test_neighbors_of_several_representations_have_several_names(findings: Findings) -> None:
    gain = findings.gains[0]
    assert name_gains([gain, gain]) == ["genomic", "genomic"]
    some = [gain._replace(own=own) for own in ("pca+log_means+gene_mean", "pca+log_means")]
    assert name_gains(some) == ["gene_mean+genomic", "genomic"]
    assert name_gains([]) == []


def test_only_true_effects_are_found(findings: Findings) -> None:
    table = comparison_table(findings.gains).set_index(["neighbors", "against", "n_labels"])
    for against in (OWN, "shuffled", "elsewhere"):
        for n_labels in (20, 1000):
            assert table.loc[("coexpression", against, n_labels), "verdict"] == "higher"
    for against in (OWN, "shuffled"):
        assert table.loc[("genomic", against, 20), "verdict"] == "no difference shown"
    sentence = table.loc[("coexpression", "shuffled", 1000), "sentence"]
    assert sentence.startswith("With all labels and attention, coexpression neighbors added to pca")
    assert "higher than with shuffled neighbors" in sentence


def test_section_holds_counts_figures_and_tables(findings: Findings) -> None:
    counts = describe_gains(findings.gains)
    assert "Against neighbors elsewhere, 2 comparisons: higher in 2, lower in 0" in counts
    [section] = neighbor_sections(findings.gains, [PLACE], "auroc")
    assert section.title == "Do neighbors add anything?"
    assert len(section.blocks) == 2 + 1 + 3  # text, a figure for the predictor, three tables
    assert counts in section.blocks[1].text
    assert list(section.blocks[-1].frame.iloc[0])[:2] == ["coexpression", "neighborhood"]
    assert list(neighbor_sections([], [PLACE], "auroc")) == []


def test_figure_has_a_row_for_each_kind_and_a_column_for_each_number(findings: Findings) -> None:
    table = comparison_table(findings.gains)
    figure = neighbor_gain_figure(table)
    axes = figure.get_axes()
    assert [each.get_title("left") for each in axes] == ["20 labels", "all labels"]
    assert [t.get_text() for t in axes[0].get_yticklabels()] == ["genomic", "coexpression"]
    assert neighbor_gain_figure(table[:0]).get_axes()
