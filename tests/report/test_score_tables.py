"""Models × numbers of labels as blocks and as LaTeX."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from simplechrome.benchmark.summary import CELL, Resamples, summarize
from simplechrome.report.markdown import table_as_markdown
from simplechrome.report.score_tables import (
    BEST,
    LEVEL,
    ScoreTable,
    as_latex,
    baseline_table,
    escape_latex,
    make_score_table,
    make_score_tables,
    score_block,
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


def as_markdown(table: ScoreTable, metric: str = "auroc") -> str:
    return table_as_markdown(score_block(table, metric))


def test_best_of_each_column_is_in_bold(summary: pd.DataFrame) -> None:
    table = make_score_table(summary, PLACE, "auroc")
    for entries in table.rows.values():  # as if every pair had been compared
        entries[:] = [e and e._replace(margin=0.001) for e in entries]
    assert as_markdown(table) == (
        "| model | 20 labels | all labels |\n"
        "|---|---|---|\n"
        "| raw:linear | **0.9300** (0.9200–0.9400) | **0.9500** (0.9400–0.9600) |\n"
        "| log_means:mlp | 0.9100 (0.9000–0.9200) | – |"
    )
    model, entry, equals = table.best(0) or ("", None, 0)
    assert (model, entry and entry.mean, equals) == ("raw:linear", 0.93, 0)


def test_the_smallest_error_is_the_best(summary: pd.DataFrame) -> None:
    table = make_score_table(summary, PLACE, "brier")
    best = table.best(0)
    assert best is not None
    assert (best[0], best[1].mean) == ("log_means:mlp", 0.1)


def test_baselines_without_marks_have_a_table_of_their_own(summary: pd.DataFrame) -> None:
    assert "gene_mean" not in make_score_table(summary, PLACE, "auroc").rows
    assert list(baseline_table(summary, PLACE, "auroc").rows) == ["gene_mean"]


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


def test_models_not_significantly_below_the_best_are_marked() -> None:
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
    assert "| pca:linear | 0.8995 † (" in as_markdown(table)
    assert r".8995$^\dagger$ (" in as_latex(table, "")
