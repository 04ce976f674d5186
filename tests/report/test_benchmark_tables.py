"""Models × numbers of labels as Markdown and LaTeX."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from simplechrome.benchmark.summary import CELL, Resamples, summarize
from simplechrome.report.benchmark_tables import (
    BEST,
    LEVEL,
    as_latex,
    as_markdown,
    baseline_table,
    escape_latex,
    make_score_table,
    make_score_tables,
    markdown_rows,
    short,
)

PLACE = ("E012", "within", "E012", "chromosome")


@pytest.fixture
def summary() -> pd.DataFrame:
    rows = [
        ("raw", "linear", 20, False, "auroc", 0.93, 0.92, 0.94),
        ("raw", "linear", 1000, True, "auroc", 0.95, 0.94, 0.96),
        ("log_means", "mlp", 20, False, "auroc", 0.91, 0.9, 0.92),
        ("raw", "linear", 20, False, "brier", 0.12, 0.11, 0.13),
        ("log_means", "mlp", 20, False, "brier", 0.1, 0.09, 0.11),
        ("none", "gene_mean", 1000, True, "auroc", 0.945, 0.93, 0.96),
    ]
    columns = ["representation", "predictor", "n_labels", "all_labels", "metric"]
    table = pd.DataFrame(rows, columns=[*columns, "mean", "low", "high"])
    return table.assign(cell_type="E012", protocol="within", trained_on="E012", split="chromosome")


def test_markdown_has_the_best_of_each_column_in_bold(summary: pd.DataFrame) -> None:
    assert as_markdown(make_score_table(summary, PLACE, "auroc")) == (
        "| model | 20 | all |\n"
        "|---|---|---|\n"
        "| raw:linear | **.9300** (.9200–.9400) | **.9500** (.9400–.9600) |\n"
        "| log_means:mlp | .9100 (.9000–.9200) | – |\n"
    )


def test_the_smallest_error_is_the_best(summary: pd.DataFrame) -> None:
    text = as_markdown(make_score_table(summary, PLACE, "brier"))
    assert "| log_means:mlp | **.1000**" in text
    assert "| raw:linear | .1200" in text


def test_what_knows_no_histones_has_a_table_of_its_own(summary: pd.DataFrame) -> None:
    assert "gene_mean" not in as_markdown(make_score_table(summary, PLACE, "auroc"))
    assert "| gene_mean | .9450 (.9300–.9600) |" in as_markdown(
        baseline_table(summary, PLACE, "auroc")
    )


def test_latex_escapes_names(summary: pd.DataFrame) -> None:
    text = as_latex(make_score_table(summary, PLACE, "auroc"), "AUROC, 95 % of E012_x")
    assert r"log\_means:mlp & .9100 (.9000--.9200) & -- \\" in text
    assert r"raw:linear & \textbf{.9300} (.9200--.9400)" in text
    assert r"\caption{AUROC, 95 \% of E012\_x}" in text
    assert text.count("{") == text.count("}")


def test_special_characters_of_latex() -> None:
    assert escape_latex("a_b & 5 % × −1 {x}") == r"a\_b \& 5 \% $\times$ $-$1 \{x\}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9432, ".9432"),
        (1.0, "1.0000"),
        (-0.0125, "-.0125"),
        (float("nan"), "–"),
        (12.0, "12.0000"),
    ],
)
def test_scores_are_short(value: float, text: str) -> None:
    assert short(value) == text


def test_rows_become_a_markdown_table() -> None:
    assert markdown_rows(("a", "b"), [(1, "x")]) == "| a | b |\n|---|---|\n| 1 | x |\n"


def test_models_that_pairs_cannot_tell_from_the_best_are_marked() -> None:
    random = np.random.default_rng(0)
    # Two draws of each model: pca as raw but for noise, boosting far below.
    models = {"raw:linear": 0.9, "pca:linear": 0.8995, "raw:boosting": 0.7}
    cells = pd.DataFrame(
        [
            (*name.split(":"), 20, False, draw, draw, *PLACE, 0)
            for name in models
            for draw in range(2)
        ],
        columns=[*CELL, "cell_type", "protocol", "trained_on", "split", "fold"],
    )
    values = np.repeat(list(models.values()), 2)
    resampled = values[:, np.newaxis] + 0.002 * random.normal(size=(6, 200))
    resamples = Resamples(cells, {"auroc": values}, {"auroc": resampled})
    summary = summarize(resamples)
    [((place, _), table)] = make_score_tables(resamples, summary, ["auroc"]).items()
    assert place == PLACE
    marks = {name: entry.mark for name, (entry,) in table.rows.items() if entry is not None}
    assert marks == {"raw:linear": BEST, "pca:linear": LEVEL, "raw:boosting": ""}
    level, below = table.rows["pca:linear"][0], table.rows["raw:boosting"][0]
    assert level is not None
    assert below is not None
    assert level.margin > 0.0005
    assert 0 < below.margin < 0.2
    assert "| pca:linear | .8995 † (" in as_markdown(table)
    assert r".8995$^\dagger$ (" in as_latex(table, "")
