"""A run folder and its dataset to one page."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import xarray as xr

import simplechrome
from simplechrome.atomic import whole_file
from simplechrome.dataset.transforms import present_marks
from simplechrome.errors import ModelFormatError
from simplechrome.evaluation.saved_run import load_run
from simplechrome.evaluation.scores import known_rows
from simplechrome.evaluation.summary import NAMES
from simplechrome.report import page
from simplechrome.report.figures import latent_map_figure, loss_figure
from simplechrome.report.figures_scores import (
    calibration_figure,
    precision_recall_figure,
    roc_figure,
    scatter_expression_figure,
)
from simplechrome.report.figures_signal import mean_profile_figure
from simplechrome.schema import UNKNOWN_LABEL

_HEADLINE = {
    "classification": ("auroc", "auprc", "accuracy", "expected_calibration_error"),
    "regression": ("pearson", "spearman", "r_squared"),
}
_CELL_TYPES_SHOWN = 6


def mean_profiles(dataset: xr.Dataset, cell_type: int) -> tuple[np.ndarray, list[str]]:
    """What is the mean signal per bin and mark, of high and of low genes?

    Returns
    -------
    (class, bin, mark), NaN for missing marks, and the names of the classes; all genes are one
    class where there are no labels.
    """
    signal = dataset["signal"].values[cell_type]
    label = dataset["label"].values[cell_type]
    present = present_marks(dataset)[cell_type]
    classes = {"high": label == 1, "low": label == 0}
    if not (label != UNKNOWN_LABEL).any():
        classes = {"all genes": np.ones(label.size, bool)}
    profiles = np.full((len(classes), signal.shape[1], signal.shape[2]), np.nan)
    for row, members in enumerate(classes.values()):
        for mark in range(signal.shape[2]):
            seen = members & present[:, mark]
            if seen.any():
                profiles[row, :, mark] = signal[seen, :, mark].mean(axis=0, dtype=np.float64)
    return profiles, list(classes)


def profile_block(dataset: xr.Dataset, cell_type: int) -> page.Figure:
    """The figure of mean profiles of one cell type."""
    profiles, classes = mean_profiles(dataset, cell_type)
    units = str(dataset["signal"].attrs.get("units", ""))
    name = str(dataset["cell_type"].values[cell_type])
    return page.Figure(
        mean_profile_figure(
            profiles,
            dataset["bin_start"].values,
            [str(mark) for mark in dataset["mark"].values],
            classes,
            units,
            int(dataset.attrs["bin_size"]),
        ),
        f"{name}: where each mark lies in {' and '.join(classes)} genes",
        f"Mean {units or 'signal'} per bin of {dataset.attrs['bin_size']} bp, from upstream (left) "
        "to downstream of the TSS (right), over all genes of the class.",
        name=f"profile_{name}",
    )


def _latent_block(dataset: xr.Dataset, folder: Path) -> page.Figure | None:
    models = load_run(folder)
    latents = models.encoder.transform(dataset)
    if latents.dims[-1] != "latent":
        return None
    values = latents.values.reshape(-1, latents.shape[-1])
    return page.Figure(
        latent_map_figure(
            values,
            dataset["expression"].values.ravel(),
            dataset["label"].values.ravel(),
            latent_names=[str(name) for name in latents["latent"].values],
            activity=values.std(axis=0),
            activity_name="standard deviation",
            units=str(dataset["expression"].attrs.get("units", "")),
        ),
        "The latent map: each point is the window of one gene",
        "Expression was not shown to the encoder; where color follows position, chromatin alone "
        "tells expression. Right: how much of the spread each latent carries.",
        name="latent_map",
    )


def _score_section(predictions: pd.DataFrame, metrics: dict[str, Any]) -> page.Section:
    test = predictions[predictions["split"] == "test"]
    known = known_rows(test, metrics["task"])
    if metrics["task"] == "regression":
        observed = np.log2(known["expression"].to_numpy(float) + 1)
        predicted = known["predicted_log2_expression"].to_numpy(float)
        figure = page.Figure(
            scatter_expression_figure(observed, predicted),
            "Predicted and measured expression of test genes",
            "log2 of expression + 1.",
            name="predicted_expression",
        )
        return page.Section("Test genes", [figure])
    curves, intervals = {}, {}
    by_cell_type = metrics["test"].get("cell_types", {})
    for name, rows in list(known.groupby("cell_type", sort=False))[:_CELL_TYPES_SHOWN]:
        scores = by_cell_type.get(name, metrics["test"])
        curves[str(name)] = (rows["label"].to_numpy(), rows["probability"].to_numpy())
        if scores.get("auroc_low") is not None:
            intervals[str(name)] = (scores["auroc_low"], scores["auroc_high"])
    label, probability = known["label"].to_numpy(), known["probability"].to_numpy()
    blocks: list[page.Block] = [
        page.Row(
            (
                page.Figure(
                    roc_figure(curves, intervals=intervals),
                    "ROC: how well high genes are ranked above low ones",
                    "Interval: block bootstrap over runs of 50 consecutive genes.",
                    name="roc",
                ),
                page.Figure(
                    precision_recall_figure(curves),
                    "Precision and recall as the threshold falls",
                    name="precision_recall",
                ),
            )
        ),
        page.Figure(
            calibration_figure(label, probability),
            "Calibration: of genes with this probability, how many are high?",
            "15 bins with equal numbers of genes.",
            name="calibration",
        ),
    ]
    return page.Section("Test genes", blocks)


def write_figures(sections: Sequence[page.Section], folder: str | Path) -> None:
    """Where are a page's figures for slides and papers? As SVG, by their names, in `folder`."""
    blocks = [block for section in sections for block in section.blocks]
    inside = [part for block in blocks if isinstance(block, page.Row) for part in block.figures]
    figures = [block for block in blocks if isinstance(block, page.Figure)]
    for block in (*figures, *inside):
        if block.name:
            with whole_file(Path(folder) / f"{block.name}.svg") as temporary:
                # Without a date the same figure gives the same file.
                block.figure.savefig(
                    temporary, format="svg", metadata={"Date": None}, dpi=200, facecolor="white"
                )


def _score_table(metrics: dict[str, Any]) -> page.Table:
    rows = []
    for part in ("test", "validation"):
        parts = {part: metrics[part], **metrics[part].get("cell_types", {})}
        for name, scores in parts.items():
            row: dict[str, Any] = {"genes of": name if name == part else f"{part}, {name}"}
            row["genes"] = scores["n_genes"]
            row |= {NAMES[key]: scores.get(key) for key in NAMES if key in scores}
            rows.append(row)
    return page.Table(
        pd.DataFrame(rows),
        "All scores",
        "Test genes were scored once; nothing was chosen on them. With several cell types the "
        "first row is the mean over them.",
    )


def write_run_report(
    folder: str | Path,
    dataset: xr.Dataset,
    *,
    title: str = "",
    first_sections: Sequence[page.Section] = (),
) -> Path:
    """What did this run find, on one page?

    Parameters
    ----------
    folder
        A finished run folder; `report.html` is written into it.
    dataset
        The dataset that the run was fitted on.
    title
        By default the cell types and the models.
    first_sections
        Set before the run's own.

    Raises
    ------
    ModelFormatError, MissingInputError
        If the folder is not a finished run.
    OutputError
        If the page cannot be written.
    """
    path = Path(folder)
    config = load_run(path).config
    try:
        metrics = json.loads((path / "metrics.json").read_text())
        environment = json.loads((path / "environment.json").read_text())
        predictions = pq.read_table(path / "predictions.parquet").to_pandas()
    except (OSError, ValueError) as error:
        raise ModelFormatError(
            f"{path} is not a finished run.",
            found=str(error),
            expected="metrics.json, environment.json and predictions.parquet",
            remedy="fit it again with --overwrite",
        ) from error
    cells = [str(name) for name in dataset["cell_type"].values]
    shown = ", ".join(cells[:3]) + (f" and {len(cells) - 3} more" if len(cells) > 3 else "")
    test = metrics["test"]
    headline = [
        page.HeadlineNumber(
            NAMES[name],
            test.get(name),
            (test[f"{name}_low"], test[f"{name}_high"]) if f"{name}_low" in test else None,
            f"{test['n_genes']} test genes"
            if test.get(name) is not None
            else test.get("undefined", {}).get(name, "undefined"),
        )
        for name in _HEADLINE[config.task]
    ]
    blocks: list[page.Block] = []
    if (path / "history.csv").is_file():
        history = pd.read_csv(path / "history.csv")
        heading = "Training: the loss of training and validation genes by epoch"
        note = "Marked: the lowest validation loss; epochs of a KL warm-up are never taken."
        if "validation_loss" not in history:
            # With few labels an MLP holds none out; the figure wants the column all the same.
            history["validation_loss"] = np.nan
            heading = "Training: the loss of training genes by epoch"
            note = (
                "The number of epochs was chosen within the labels; the last epoch's weights were "
                "kept."
            )
        blocks.append(page.Figure(loss_figure(history), heading, note, name="loss"))
    latent = _latent_block(dataset, path)
    sections = [*first_sections, _score_section(predictions, metrics)]
    sections += [page.Section("The latent", [latent])] if latent else []
    profiles = [profile_block(dataset, i) for i in range(min(len(cells), _CELL_TYPES_SHOWN))]
    sections.append(page.Section("The signal", profiles))
    sections += [page.Section("Training", blocks)] if blocks else []
    sections.append(page.Section("Scores", [_score_table(metrics)]))
    notes = [page.Note(f"{dataset.attrs['note']}.", "warning")] if dataset.attrs.get("note") else []
    if metrics.get("interrupted"):
        notes.append(
            page.Note(
                "Ctrl-C cut the training short: the best epoch until then was kept, and the "
                "configuration alone does not repeat this run.",
                "warning",
            )
        )
    if config.split.kind in ("random", "published"):
        notes.append(
            page.Note(
                f"The {config.split.kind} split puts overlapping windows of neighboring genes on "
                "both sides: these scores are optimistic.",
                "warning",
            )
        )
    write_figures(sections, path / "figures")
    labels = "all labels" if config.labels is None else f"{config.labels} labels"
    return page.write_page(
        path / "report.html",
        title or f"{shown}: expression from histone marks",
        f"Encoder {config.encoder.name}, predictor {config.predictor.name}, {labels}, "
        f"split by {config.split.kind}, seed {config.seed}",
        headline,
        sections,
        page.Provenance(
            version=simplechrome.__version__,
            command=shlex.join([Path(environment["command"][0]).name, *environment["command"][1:]]),
            config=(path / "config.toml").read_text(),
            files=[
                (str(source["name"]), f"{source.get('bytes', '?')} bytes")
                for source in environment["dataset"]["sources"]
            ],
            environment=[
                ("Python", environment["python"]),
                ("platform", environment["platform"]),
                *environment["packages"].items(),
            ],
        ),
        notes=notes,
    )
