"""Parts of a benchmark's page: curves of leading models, and controls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from simplechrome.benchmark.comparisons import LEADING, Findings
from simplechrome.benchmark.controls import TESTED, TRAINED
from simplechrome.benchmark.run import Benchmark
from simplechrome.benchmark.summary import CONDITION, MEAN, MODEL, NO_REPRESENTATION
from simplechrome.evaluation.scores import NAMES
from simplechrome.report import page
from simplechrome.report.benchmark_tables import is_place, name_place
from simplechrome.report.figures.benchmark import head_of
from simplechrome.report.figures.scores import (
    calibration_figure,
    precision_recall_figure,
    roc_figure,
)

Place = tuple[Any, ...]

_CURVES = 6  # the baseline and the five predictors; more do not fit beside each other


def curves_section(
    benchmark: Benchmark, findings: Findings, every: list[Place]
) -> page.Section | None:
    """How do the leading models separate high from low genes, and are their shares right?

    Parameters
    ----------
    benchmark, findings
        See `write_benchmark_page`.
    every
        All places, in order; the first that is no mean is drawn.

    Returns
    -------
    None where targets are no labels.
    """
    real = [place for place in every if place[0] != MEAN]
    if benchmark.config.task != "classification" or not real:
        return None
    place = real[0]
    condition, scored = next(
        (condition, scored)
        for condition, scored in benchmark.results.test_sets.items()
        if condition[: len(place)] == place
    )
    summary = findings.summary
    wanted = is_place(summary, place) & (summary["metric"] == LEADING["classification"])
    rows = summary[wanted & (summary["representation"] != NO_REPRESENTATION)]
    blocks: list[page.Block] = []
    counts = rows[["all_labels", "n_labels"]].drop_duplicates()
    counts = counts.sort_values(["all_labels", "n_labels"], ascending=False)
    for count in list(counts.itertuples())[:: max(1, len(counts) - 1)]:
        here = rows[(rows["n_labels"] == count.n_labels) & (rows["all_labels"] == count.all_labels)]
        first = scored.cells[
            (scored.cells["n_labels"] == count.n_labels)
            & (scored.cells["all_labels"] == count.all_labels)
        ].drop_duplicates(list(MODEL))
        position = dict(
            zip(first["representation"] + ":" + first["predictor"], first.index, strict=True)
        )
        label = scored.genes["target"].to_numpy(float)
        curves = {
            name: (label, scored.predictions[position[name]].astype(float))
            for name in _chosen(here, findings.baseline)
        }
        labels = "all labels" if count.all_labels else f"{count.n_labels:,} labels"
        name = "all" if count.all_labels else str(count.n_labels)
        blocks += [
            page.Row(
                (
                    page.Figure(
                        roc_figure(curves),
                        f"ROC with {labels}",
                        name=f"roc_{name}",
                    ),
                    page.Figure(
                        precision_recall_figure(curves),
                        f"Precision and recall with {labels}",
                        name=f"precision_recall_{name}",
                    ),
                )
            ),
            page.Figure(
                calibration_figure(curves),
                f"Calibration with {labels}",
                "As the models predict, without the calibration on held-out genes that "
                "simplechrome fit adds; linear heads have chosen their scale within their labels. "
                "Right: the genes, counted once for each model.",
                name=f"calibration_{name}",
            ),
        ]
    fold = f", fold {condition[CONDITION.index('fold')]}" if place[3] == "fold" else ""
    return page.Section(
        "Curves of the leading models",
        [
            page.Text(
                f"{findings.baseline} and, for every predictor, the representation with the "
                f"highest AUROC; {name_place(place)}{fold}, the first draw of labels and the first "
                f"seed, {len(scored.genes):,} test genes."
            ),
            *blocks,
        ],
    )


def _chosen(rows: pd.DataFrame, baseline: str) -> list[str]:
    """The baseline, and each predictor's best representation."""
    ranked = rows.sort_values("mean", ascending=False)
    ranked = ranked.loc[~ranked["predictor"].map(head_of).duplicated()]
    best = list(ranked["representation"] + ":" + ranked["predictor"])
    own = [baseline] if baseline in set(rows["representation"] + ":" + rows["predictor"]) else []
    return list(dict.fromkeys([*own, *best]))[:_CURVES]


def control_section(findings: Findings, place: Place, metric: str) -> page.Section:
    """What do models score where there is nothing to be learned, and what without histones?

    Parameters
    ----------
    findings
        See `write_benchmark_page`.
    place
        Whose baselines are shown: cell_type, protocol, trained_on, split.
    metric
        The leading score.
    """
    controls = findings.controls
    blocks: list[page.Block] = []
    if (controls["control"] == TRAINED).any():
        about = "trained on labels that were dealt out anew: the mean of all trainings"
        blocks.append(_control_table(controls, TRAINED, about, NAMES[metric]))
    tested = controls[controls["control"] == TESTED]
    if len(tested):
        missed = int((~tested["covers_chance"]).sum())
        blocks.append(
            page.Text(
                f"What is luck? On test labels that were dealt out anew, 99 % of the scores of all "
                f"models lie between {tested['low'].min():.4f} and {tested['high'].max():.4f}; "
                f"{len(tested) - missed} of {len(tested)} ranges cover chance."
            )
        )
    summary = findings.summary
    known = summary[is_place(summary, place) & (summary["representation"] == NO_REPRESENTATION)]
    wide = known.pivot(index="predictor", columns="metric", values="mean")
    wide = wide[[name for name in findings.resamples.values if name in wide]]
    wide.columns = [NAMES[str(name)] for name in wide.columns]
    if len(wide):
        blocks.append(
            page.Table(
                wide.reset_index().rename(columns={"predictor": "baseline"}),
                "What is scored without any histone mark",
                "majority says the same of every gene; gene_mean is the gene's mean "
                "log2(expression + 1) in other cell types. They stand beside the models, not among "
                "them.",
                formats=dict.fromkeys(wide.columns, ".4f"),
            )
        )
    return page.Section("Controls", blocks)


def _control_table(controls: pd.DataFrame, kind: str, about: str, name: str) -> page.Table:
    """Of the first condition; the caption counts all of them."""
    every = controls[controls["control"] == kind]
    missed = int((~every["covers_chance"]).sum())
    first = every[(every[list(CONDITION)] == every[list(CONDITION)].iloc[0]).all(axis=1)]
    # With any number of labels, permuted test labels say the same.
    own = first.sort_values("n_labels", kind="stable").drop_duplicates(list(MODEL), keep="last")
    own = own.sort_index()
    frame = pd.DataFrame(
        {
            "model": own["representation"] + ":" + own["predictor"],
            "labels": own["n_labels"],
            "permutations": own["n"],
            "mean": own["mean"],
            "99 % from": own["low"],
            "to": own["high"],
            "covers chance": np.where(own["covers_chance"], "yes", "NO"),
        }
    )
    caption = f"In all conditions and with all numbers of labels, {len(every) - missed} of "
    caption += f"{len(every)} cover chance; controls.csv holds them."
    return page.Table(
        frame,
        f"{name} of models {about}",
        caption,
        formats=dict.fromkeys(("mean", "99 % from", "to"), ".4f"),
    )
