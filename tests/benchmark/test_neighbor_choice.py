"""Which neighbors a name means."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import simplechrome
from simplechrome.benchmark.config import (
    NEIGHBORHOOD,
    make_benchmark_config,
    merge_benchmark_options,
)
from simplechrome.benchmark.grid import choose_models
from simplechrome.benchmark.neighbor_names import (
    NeighborChoice,
    can_find_coexpression,
    choose_neighbors,
    parse_neighbors,
    replace_neighbors,
)
from simplechrome.errors import ConfigError


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    """Windows of 1 kb; genes of two chromosomes every 400 bp."""
    genes = pd.DataFrame(
        {
            "gene_id": [f"g{k:03}" for k in range(60)],
            "chrom": ["chr1"] * 40 + ["chr2"] * 20,
            "tss": [10_000 + 400 * k for k in range(60)],
            "strand": "+",
        }
    )
    return simplechrome.from_arrays(
        np.zeros((2, 60, 10, 1), np.uint16),
        marks=["m"],
        gene_ids=genes["gene_id"],
        cell_types=["A", "B"],
        genes=genes,
    )


@pytest.mark.parametrize(
    ("name", "choice"),
    [
        ("genomic", NeighborChoice("genomic", 20)),
        ("contact.apart.shuffled", NeighborChoice("contact", 50, apart=True, control="shuffled")),
        ("genomic.n5.10-50kb", NeighborChoice("genomic", 5, band=(10, 50))),
        ("coexpression.only", NeighborChoice("coexpression", 50, only=True)),
        ("genomic.expression", NeighborChoice("genomic", 20, expression=True)),
    ],
)
def test_a_name_says_which(name: str, choice: NeighborChoice) -> None:
    assert parse_neighbors(name) == choice
    assert parse_neighbors(choice.name) == choice


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("genomics", "did you mean genomic"),
        ("genomic.shufled", "did you mean shuffled"),
        ("genomic.50-10kb", "Unknown part '50-10kb'"),
        ("genomic.n0", "Unknown part 'n0'"),
        ("coexpression.0-10kb", "not chosen by distance"),
    ],
)
def test_unknown_parts_of_names_are_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_neighbors(name)


def test_chosen_neighbors(dataset: xr.Dataset) -> None:
    def distances(name: str) -> np.ndarray:
        graph = choose_neighbors(dataset, parse_neighbors(name), leave_out=["A"])
        return np.abs(graph.distance[graph.gene == 20])

    assert distances("genomic.n3").tolist() == [400, 400, 800]
    # Windows of 1 kb overlap up to, not at, 1,000 bp.
    assert sorted(distances("genomic.apart.n3")) == [1200, 1200, 1600]
    assert distances("genomic.1-2kb").tolist() == [1200, 1200, 1600, 1600]
    assert distances("contact").size == 39


def test_controls_replace_true_neighbors(dataset: xr.Dataset) -> None:
    true = choose_neighbors(dataset, parse_neighbors("genomic"), leave_out=["A"])
    assert replace_neighbors(dataset, true, "", 0) is true
    shuffled = replace_neighbors(dataset, true, "shuffled", 0)
    assert shuffled.degree.tolist() == true.degree.tolist() == [20] * 40 + [19] * 20
    assert not np.array_equal(
        shuffled.neighbor, replace_neighbors(dataset, true, "shuffled", 1).neighbor
    )
    elsewhere = replace_neighbors(dataset, true, "elsewhere", 0)
    chrom = dataset["chrom"].values
    assert (chrom[elsewhere.gene] != chrom[elsewhere.neighbor]).all()


def test_coexpression_wants_other_cell_types(dataset: xr.Dataset) -> None:
    table = pd.DataFrame(
        np.random.default_rng(0).random((60, 6)),
        index=dataset["gene_id"].values,
        columns=list("ABCDEF"),
    )
    assert not can_find_coexpression(dataset, None, ["A"])
    assert can_find_coexpression(dataset, table, ["A"])
    assert not can_find_coexpression(dataset, table, ["A", "B"])
    choice = parse_neighbors("coexpression.n4")
    one = choose_neighbors(dataset, choice, leave_out=["A"], expression=table)
    other = choose_neighbors(
        dataset, choice, leave_out=["A"], expression=table.assign(A=1.0 - table["A"])
    )
    assert one.to_frame().equals(other.to_frame())
    assert one.degree.max() <= 4


def test_pairs_that_make_no_sense_are_named() -> None:
    config = make_benchmark_config(
        {
            "representations": ("raw+genomic", "pca", "pca+log_means+genomic.shuffled", "raw"),
            "predictors": ("linear", NEIGHBORHOOD, "deepchrome"),
            "baseline": "pca:linear",
        }
    )
    models = choose_models(config)
    assert [model.name for model in models.applicable] == [
        *("pca:linear", "pca+log_means+genomic.shuffled:linear"),
        *("pca+log_means+genomic.shuffled:neighborhood", "raw:linear", "raw:deepchrome"),
    ]
    reasons = {(r, p): why for r, p, why in models.not_applicable}
    assert "windows of many neighbors" in reasons["raw+genomic", "linear"]
    assert "looks at neighbors" in reasons["pca", NEIGHBORHOOD]
    shuffled = models.applicable[1].sees
    assert shuffled.add_log_means
    assert shuffled.neighbors == NeighborChoice("genomic", 20, control="shuffled")


def test_the_preset_compares_each_kind_with_its_controls() -> None:
    models = choose_models(merge_benchmark_options(None, {"preset": "neighbors"}))
    names = {model.name for model in models.applicable}
    assert not models.not_applicable
    for kind in ("genomic", "contact", "coexpression"):
        for control in ("", ".shuffled", ".elsewhere", ".only"):
            for head in ("linear", "boosting", NEIGHBORHOOD):
                assert f"pca+log_means+{kind}{control}:{head}" in names


def test_the_mean_elsewhere_stands_beside_latents() -> None:
    config = make_benchmark_config(
        {
            "models": ("pca+gene_mean:linear", "pca+log_means+gene_mean+coexpression:linear"),
            "baseline": "pca+gene_mean:linear",
        }
    )
    plain, both = (model.sees for model in choose_models(config).applicable)
    assert (plain.gene_mean, plain.add_log_means, plain.neighbors) == (True, False, None)
    assert (both.gene_mean, both.add_log_means) == (True, True)
    assert both.neighbors == NeighborChoice("coexpression", 50)
