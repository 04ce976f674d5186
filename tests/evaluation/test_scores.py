"""Scores of a table of predictions, by hand, and how a person reads them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest

from simplechrome.evaluation.bootstrap import block_bootstrap_of_groups
from simplechrome.evaluation.scores import (
    format_metrics,
    format_score,
    known_rows,
    score_predictions,
)


def table(label: list[int], probability: list[float], **columns: Any) -> pd.DataFrame:
    known = {"gene_id": [f"g{k}" for k in range(len(label))], "cell_type": "c0", "label": label}
    return pd.DataFrame(known | {"probability": probability, "expression": 1.0} | columns)


@pytest.fixture(autouse=True)
def _short_bootstrap_of_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    short = partial(block_bootstrap_of_groups, n_resamples=30)
    monkeypatch.setattr("simplechrome.evaluation.scores.block_bootstrap_of_groups", short)


def width(scores: dict[str, Any]) -> float:
    return scores["auroc_high"] - scores["auroc_low"]


# Of the four pairs of a high and a low gene, (.9, .2), (.9, .6) and (.4, .2) are ranked right:
# AUROC 3/4. At one half .9 and .2 are called right, .4 and .6 wrong.
FOUR = table([1, 1, 0, 0], [0.9, 0.4, 0.6, 0.2])


def test_scores_of_four_genes_by_hand() -> None:
    scores = score_predictions(FOUR, "classification")
    assert (scores["auroc"], scores["accuracy"], scores["n_genes"]) == (0.75, 0.5, 4)
    assert scores["brier"] == pytest.approx((0.01 + 0.36 + 0.36 + 0.04) / 4)


def test_genes_without_a_label_do_not_count() -> None:
    more = pd.concat([FOUR, table([-1] * 9, [0.99] * 9)], ignore_index=True)
    assert score_predictions(more, "classification") == score_predictions(FOUR, "classification")
    assert len(known_rows(more, "classification")) == 4


def many(n: int = 120, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    probability = np.clip(0.3 + 0.4 * label + 0.2 * rng.standard_normal(n), 0, 1)
    return table(label.tolist(), probability.tolist(), chrom="chr1", tss=np.arange(n) * 1000)


def test_every_score_lies_in_its_interval() -> None:
    scores = score_predictions(many(), "classification")
    names = [name.removesuffix("_low") for name in scores if name.endswith("_low")]
    assert names == [
        *("auroc", "auprc", "accuracy", "balanced_accuracy", "brier"),
        "expected_calibration_error",
    ]
    for name in names:
        assert scores[f"{name}_low"] < scores[f"{name}_high"]
    assert scores["auroc_low"] <= scores["auroc"] <= scores["auroc_high"]


def test_places_widen_the_interval_when_neighbors_are_alike() -> None:
    """The block bootstrap must see chrom and tss: whole blocks of 50 genes are right or wrong."""
    label = np.tile([1, 0], 200)
    right = np.repeat(np.arange(8) % 2 == 0, 50)
    probability = np.where(right, np.where(label == 1, 0.9, 0.1), 0.5)
    rows = table(label.tolist(), probability.tolist())
    placed = rows.assign(chrom="chr1", tss=np.arange(400))

    with_places = score_predictions(placed, "classification")
    shuffled = placed.assign(tss=np.random.default_rng(0).permutation(400))
    without = score_predictions(shuffled, "classification")
    assert with_places["auroc"] == without["auroc"]
    assert width(with_places) > 1.5 * width(without)


def test_several_cell_types_get_their_mean_and_their_own_scores() -> None:
    # AUROC 3/4 and 1: mean 7/8.
    other = table([1, 1, 0, 0], [0.9, 0.8, 0.6, 0.2], cell_type="c1")
    scores = score_predictions(pd.concat([FOUR, other]), "classification")
    assert scores["auroc"] == 0.875
    assert (scores["n_genes"], scores["n_pairs"]) == (4, 8)
    assert list(scores["cell_types"]) == ["c0", "c1"]
    assert scores["cell_types"]["c1"]["auroc"] == 1


def test_intervals_are_given_per_cell_type_and_for_the_mean() -> None:
    both = pd.concat([many(), many(seed=1).assign(cell_type="c1")])
    scores = score_predictions(both, "classification")
    own = scores["cell_types"]
    assert {"auroc_low", "auroc_high"} <= set(own["c1"])
    assert scores["auroc_low"] < scores["auroc"] < scores["auroc_high"]
    assert own["c0"] == score_predictions(many(), "classification")  # as if it were alone
    # Other genes are hard in the one than in the other: chance evens out in part.
    assert width(scores) < (width(own["c0"]) + width(own["c1"])) / 2


def test_mean_of_cell_types_with_the_same_errors_is_no_surer_than_one() -> None:
    """Genes are drawn, not pairs of gene and cell type: copies add nothing."""
    copies = pd.concat([many().assign(cell_type=f"c{k}") for k in range(4)])
    scores = score_predictions(copies, "classification")
    one = score_predictions(many(), "classification")
    for name in ("auroc", "brier", "expected_calibration_error"):
        for end in ("", "_low", "_high"):
            assert scores[name + end] == pytest.approx(one[name + end])


def test_cell_types_may_know_different_genes() -> None:
    first, second = many(), many(seed=1).assign(cell_type="c1")
    second.loc[second.index < 40, "label"] = -1
    scores = score_predictions(pd.concat([first, second]), "classification")
    assert (scores["n_genes"], scores["n_pairs"]) == (120, 200)
    assert scores["cell_types"]["c1"]["n_genes"] == 80
    assert scores["auroc_low"] < scores["auroc"] < scores["auroc_high"]


def test_mean_whose_resamples_lack_a_class_in_one_cell_type_has_no_interval() -> None:
    rare = many().assign(cell_type="c1")
    rare["label"] = (rare.index == 0).astype(int)  # in a third of the resamples
    scores = score_predictions(pd.concat([many(), rare]), "classification")
    assert "auroc_low" not in scores
    assert "resamples undefined" in scores["undefined"]["auroc interval"]
    assert "auroc_low" in scores["cell_types"]["c0"]
    assert "auroc interval" in scores["cell_types"]["c1"]["undefined"]
    assert "accuracy_low" in scores


def test_one_class_is_said_and_not_counted_in_the_mean() -> None:
    other = table([1, 1], [0.9, 0.8], cell_type="c1")
    scores = score_predictions(pd.concat([FOUR, other]), "classification")
    assert scores["auroc"] == 0.75
    assert scores["cell_types"]["c1"]["auroc"] is None
    assert "auroc" in scores["cell_types"]["c1"]["undefined"]
    assert "auroc_low" not in scores["cell_types"]["c1"]
    assert scores["cell_types"]["c1"]["accuracy"] == 1
    one_class = pd.concat([other, other.assign(cell_type="c2")])
    scores = score_predictions(one_class, "classification")
    assert scores["auroc"] is None
    assert scores["undefined"]["auroc"] == "it has no value in any cell type"


def test_part_without_any_known_gene_says_so() -> None:
    for task, rows in (
        ("classification", table([-1], [0.5])),
        ("regression", table([1], [0.5], expression=np.nan, predicted_log2_expression=1.0)),
    ):
        scores = score_predictions(rows, task)
        assert scores["n_genes"] == 0
        assert "no gene" in scores["undefined"]["all"]


def test_regression_is_scored_on_the_log_scale() -> None:
    # log2(expression + 1) = 0, 1, 2, 3, predicted exactly: all scores 1. On the raw scale the
    # correlation of 0, 1, 3, 7 with 0, 1, 2, 3 is below 1.
    rows = table([0, 0, 1, 1], [0] * 4, expression=[0.0, 1, 3, 7])
    rows["predicted_log2_expression"] = [0.0, 1, 2, 3]
    scores = score_predictions(rows, "regression")
    assert (scores["pearson"], scores["spearman"], scores["r_squared"]) == pytest.approx((1, 1, 1))
    assert "auroc" not in scores


def test_score_reads_with_its_interval() -> None:
    assert format_score({"auroc": 0.94312, "auroc_low": 0.93, "auroc_high": 0.95}, "auroc") == (
        "0.9431 (0.9300–0.9500)"
    )
    assert format_score({"auroc": 0.5}, "auroc") == "0.5000"
    assert format_score({"auroc": None}, "auroc") == format_score({}, "auroc") == "–"


def test_metrics_read_as_lines() -> None:
    other = table([1, 1], [0.9, 0.8], cell_type="c1")
    both = score_predictions(pd.concat([FOUR, other]), "classification")
    empty = score_predictions(table([-1], [0.5]), "classification")
    lines = format_metrics(
        {
            "task": "classification",
            "n_labels": 20,
            "seed": 3,
            "validation": empty,
            "test": both,
        }
    ).splitlines()
    assert lines[0] == "20 labelled genes, seed 3"
    assert lines[1].startswith("validation (0 genes): AUROC –")
    assert "no gene of this part" in lines[2]
    assert lines[3].startswith("test (4 genes in 2 cell types, means over these): AUROC 0.7500")
    assert [line.split(":")[0] for line in lines[4:6]] == ["  c0", "  c1"]
    assert lines[5].endswith("AUROC –")
