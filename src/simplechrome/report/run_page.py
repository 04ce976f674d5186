"""A run folder and its dataset to one page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import xarray as xr

from simplechrome.config.run import RunConfig
from simplechrome.dataset.choose import name_pair
from simplechrome.dataset.neighbors.graph import NeighborGraph, describe_graph
from simplechrome.errors import ModelFormatError
from simplechrome.evaluation.scores import NAMES, format_score, shown_scores
from simplechrome.explanation.neighbor_effects import (
    effects_by_distance,
    level_ranks,
    neighbor_effects,
)
from simplechrome.latent.encoder import Encoder
from simplechrome.report import page
from simplechrome.report.figures.latents import latent_map_figure, loss_figure
from simplechrome.report.figures.neighbors import locus_figure
from simplechrome.report.figures.scores import CHANGE
from simplechrome.report.latent_page import latent_blocks
from simplechrome.report.scores_section import headline, score_section, score_table
from simplechrome.report.signal_section import signal_section
from simplechrome.runs.load import Models, learned_genes, load_run
from simplechrome.runs.predictions import neighborhood_of
from simplechrome.version import __version__

_SHOWN = 2  # genes whose loci are drawn


def run_neighbors_section(
    models: Models, dataset: xr.Dataset, graph: NeighborGraph, test: pd.DataFrame
) -> page.Section:
    """Return the section on the neighbors of a run, and which of them moved its predictions.

    Parameters
    ----------
    models
        Of the run.
    dataset
        It was fitted on.
    graph
        Neighbors of the dataset's genes.
    test
        Predictions of test genes.
    """
    blocks: list[page.Block] = [_graph_table(graph)]
    if models.config.neighbor_expression:
        blocks.insert(
            0,
            page.Text(
                "The expression of neighbors that are labelled training genes was used as well: "
                "these predictions rest on expression measured in the same cell type, not on "
                "chromatin alone."
            ),
        )
    if models.config.predictor.name == "neighborhood":
        blocks += _effects(models, dataset, graph, test)
    else:
        blocks.append(
            page.Text(
                f"The predictor {models.config.predictor.name} sees the weighted mean of the "
                "neighbors. The predictor neighborhood shows which of them moved a prediction."
            )
        )
    return page.Section("Neighbors", blocks)


def _graph_table(graph: NeighborGraph) -> page.Table:
    rows = []
    for name, numbers in describe_graph(graph).items():
        same, away = numbers["share_on_same_chromosome"], numbers["median_distance"]
        rows.append(
            {
                "kind": name,
                "edges": numbers["edges"],
                "genes with neighbors": numbers["genes_with_neighbors"],
                "on the same chromosome": "–" if same is None else f"{same:.1%}",
                "their median distance": "–" if away is None else f"{away / 1000:,.1f} kb",
            }
        )
    return page.Table(pd.DataFrame(rows), "The neighbors")


def _effects(
    models: Models, dataset: xr.Dataset, graph: NeighborGraph, test: pd.DataFrame
) -> list[page.Block]:
    latents = models.encoder.transform(dataset)
    learned = learned_genes(models, dataset)
    around = neighborhood_of(latents, dataset, models.config, graph, learned)
    genes = list(dict.fromkeys(test["gene_id"].astype(str)))
    effects = neighbor_effects(models.predictor, around, genes, dataset)
    unit = "log odds" if models.config.task == "classification" else "log2(expression + 1)"
    if effects.empty or not effects["all_neighbors"].any():
        return [
            page.Text(
                "No prediction was changed: on held-out genes, the gene's own window alone was "
                "better or as good."
            )
        ]
    of_gene = effects.drop_duplicates(["gene_id", "cell_type"])
    change = of_gene["all_neighbors"].to_numpy(float)
    strongest = of_gene.iloc[np.argsort(-np.abs(change), kind="stable")[:_SHOWN]]
    blocks: list[page.Block] = [
        page.Text(
            f"All neighbors together changed the predictions of {len(of_gene):,} test genes by "
            f"{np.sqrt((change**2).mean()):.2f} {unit} (root mean square). That a model looks at "
            "neighbors, and is moved by them, does not show that this is right: that takes a "
            "comparison with shuffled neighbors, see `simplechrome benchmark --preset neighbors`."
        ),
        page.Table(
            effects_by_distance(effects),
            "Neighbors of test genes by distance",
            "Attention: the mean weight of one neighbor. Effect: by how much the prediction "
            f"changes when one neighbor is taken away, root mean square, {unit}.",
            formats={"attention": ".4f", "effect": ".4f"},
        ),
    ]
    for row in strongest.itertuples():
        blocks.append(_locus(effects, row, unit, dataset))
    return blocks


def _locus(effects: pd.DataFrame, row: Any, unit: str, dataset: xr.Dataset) -> page.Figure:
    own = effects[(effects["gene_id"] == row.gene_id) & (effects["cell_type"] == row.cell_type)]
    return page.Figure(
        locus_figure(own, gene=str(row.gene_name), levels=level_ranks(dataset, str(row.cell_type))),
        f"The neighbors of {row.gene_name} in {row.cell_type}, which together changed its "
        f"prediction by {row.all_neighbors:+.2f} {unit}".replace("-", "−"),
        "From above: attention; by how much each raised (or lowered) the prediction; "
        "the genes, in the direction of transcription; how much of each mark they have among all "
        "genes. One of the test genes that neighbors moved most.",
        name=f"neighbors_{row.gene_name}_{row.cell_type}",
    )


READ = 6
"""Latents that are explained on the page of a run; `simplechrome interpret` explains all."""


def _latent_block(dataset: xr.Dataset, encoder: Encoder) -> page.Figure | None:
    latents = encoder.transform(dataset)
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
        "The latent map: each point is the window of one gene"
        + (" in one cell type" if len(latents) > 1 else ""),
        "Expression was not shown to the encoder; where color follows position, chromatin alone "
        "predicts expression. Right: how much of the spread each latent carries.",
        name="latent_map",
    )


def _training_block(history: pd.DataFrame) -> page.Figure:
    heading = "Training: the loss of training and validation genes by epoch"
    note = "Marked: the lowest validation loss; epochs of a KL warm-up are never taken."
    if "validation_loss" not in history:
        # With few labels an MLP holds none out; the figure wants the column all the same.
        history["validation_loss"] = np.nan
        heading = "Training: the loss of training genes by epoch"
        note = (
            "The number of epochs was chosen within the labels; the last epoch's weights were kept."
        )
    return page.Figure(loss_figure(history), heading, note, name="loss")


def _subtitle(config: RunConfig) -> str:
    task = {
        "classification": "Classification into high and low genes",
        "regression": "Regression of log2(expression + 1)",
        "difference": f"Change of expression, {name_pair(config.pair or ('', ''))}",
    }[config.task]
    split = {
        "chromosome": "split by chromosome",
        "fold": f"fold {config.split.fold} of {config.split.n_folds} over chromosomes",
        "published": "published split",
        "random": "random split",
    }[config.split.kind]
    labels = "all labels" if config.labels is None else f"{config.labels} labels"
    encoder = config.encoder.name + (" with log means" if config.add_log_means else "")
    if config.neighbors:
        extra = "; with their expression" if config.neighbor_expression else ""
        encoder += f" and neighbors ({', '.join(config.neighbors)}{extra})"
    members = f" (ensemble of {config.ensemble})" if config.ensemble > 1 else ""
    return (
        f"{task}: encoder {encoder}, predictor {config.predictor.name}{members}, "
        f"{labels}, "
        f"{split}, seed {config.seed}"
    )


def _notes(dataset: xr.Dataset, config: RunConfig, metrics: dict[str, Any]) -> list[page.Note]:
    notes = page.dataset_notes(dataset)
    if "source" in metrics:
        first = shown_scores(config.task)[0]
        alone = format_score(metrics["source"]["test"], first)
        notes.append(
            page.Note(
                f"Fine-tuned from {PurePath(config.init_from or '').name}: without the labels of "
                f"these data its predictor has {NAMES[first]} {alone} on their test genes."
            )
        )
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
    return notes


def write_run_report(
    folder: str | Path,
    dataset: xr.Dataset,
    *,
    graph: NeighborGraph | None = None,
    title: str = "",
    first_sections: Sequence[page.Section] = (),
) -> Path:
    """Write the page of a run into its folder; return its path.

    Parameters
    ----------
    folder
        A finished run folder; `report.html` is written into it.
    dataset
        The dataset that the run was fitted on.
    graph
        Neighbors of its genes, where the run looks at any.
    title
        By default the cell types.
    first_sections
        Set before the run's own.

    Returns
    -------
    The path of report.html. The same run folder and dataset give the same bytes, in the page and
    in the figures beside it, at any time and in any working directory.

    Raises
    ------
    ModelFormatError, MissingInputError
        If the folder is not a finished run.
    OutputError
        If the page cannot be written.
    """
    path = Path(folder)
    models = load_run(path)
    config = models.config
    try:
        metrics = json.loads((path / "metrics.json").read_text())
        environment = json.loads((path / "environment.json").read_text())
        predictions = pq.read_table(path / "predictions.parquet").to_pandas()
    except (OSError, ValueError) as error:
        raise ModelFormatError(
            f"{path} is not a finished run: {error}.", "fit it again with --overwrite"
        ) from error
    cells = [str(name) for name in dataset["cell_type"].values]
    shown = ", ".join(cells[:3]) + (f" and {len(cells) - 3} more" if len(cells) > 3 else "")
    units = str(dataset["expression"].attrs.get("units", ""))
    if config.pair is not None:
        shown, units = name_pair(config.pair), CHANGE
    test = predictions[predictions["split"] == "test"]
    sections = [*first_sections, score_section(test, metrics, units=units)]
    if latent := _latent_block(dataset, models.encoder):
        latents = models.encoder.transform(dataset)
        read = latent_blocks(latents, dataset, shown=READ) if latents.dims[-1] == "latent" else []
        sections.append(page.Section("The latent", [latent, *read]))
    if config.neighbors and graph is not None:
        sections.append(run_neighbors_section(models, dataset, graph, test))
    sections.append(signal_section(dataset))
    if (path / "history.csv").is_file():
        history = pd.read_csv(path / "history.csv")
        sections.append(page.Section("Training", [_training_block(history)]))
    sections.append(page.Section("Scores", [score_table(metrics)]))
    page.write_figures(sections, path / "figures")
    report = page.Page(
        title or f"{shown}: expression from histone marks",
        _subtitle(config),
        headline(metrics),
        sections,
        page.Provenance(
            version=__version__,
            command=page.shown_command(environment["command"]),
            config=(path / "config.toml").read_text(),
            files=page.source_files(environment["dataset"]["sources"]),
            environment=[
                ("Python", environment["python"]),
                ("platform", environment["platform"]),
                *environment["packages"].items(),
            ],
        ),
        notes=_notes(dataset, config, metrics),
    )
    return page.write_page(path / "report.html", report)
