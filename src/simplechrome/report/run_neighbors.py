"""What neighbors did in a run: a section of its page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from simplechrome.dataset.neighbors.describe import describe_graph
from simplechrome.dataset.neighbors.graph import NeighborGraph
from simplechrome.evaluation.features import surroundings_of
from simplechrome.evaluation.neighbor_effects import (
    effects_by_distance,
    level_ranks,
    neighbor_effects,
)
from simplechrome.evaluation.saved_run import Models, learned_genes
from simplechrome.report import page
from simplechrome.report.figures_locus import locus_figure

_SHOWN = 2  # genes whose loci are drawn


def run_neighbors_section(
    models: Models, dataset: xr.Dataset, graph: NeighborGraph, test: pd.DataFrame
) -> page.Section:
    """Who are the neighbors of this run, and which of them moved its predictions?

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
                "Neighbors that are labelled training genes told their expression as well: these "
                "predictions rest on expression measured in the same cell type, not on chromatin "
                "alone."
            ),
        )
    if models.config.predictor.name == "neighborhood":
        blocks += _effects(models, dataset, graph, test)
    else:
        blocks.append(
            page.Text(
                f"The predictor {models.config.predictor.name} sees the weighted mean of the "
                "neighbors. Which of them moved a prediction, the predictor neighborhood tells."
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
    return page.Table(pd.DataFrame(rows), "Who the neighbors are")


def _effects(
    models: Models, dataset: xr.Dataset, graph: NeighborGraph, test: pd.DataFrame
) -> list[page.Block]:
    latents = models.encoder.transform(dataset)
    learned = learned_genes(models, dataset)
    around = surroundings_of(latents, dataset, models.config, graph, learned)
    genes = list(dict.fromkeys(test["gene_id"].astype(str)))
    effects = neighbor_effects(models.predictor, around, genes, dataset)
    unit = "log odds" if models.config.task == "classification" else "log2(expression + 1)"
    if effects.empty or not effects["all_neighbors"].any():
        return [
            page.Text(
                "No prediction was changed: genes that were held out said that the gene's own "
                "window alone is better, or that it is as good."
            )
        ]
    of_gene = effects.drop_duplicates(["gene_id", "cell_type"])
    change = of_gene["all_neighbors"].to_numpy(float)
    strongest = of_gene.iloc[np.argsort(-np.abs(change), kind="stable")[:_SHOWN]]
    blocks: list[page.Block] = [
        page.Text(
            f"All neighbors together changed the predictions of {len(of_gene):,} test genes by "
            f"{np.sqrt((change**2).mean()):.2f} {unit} (root mean square). That a model looks at "
            "neighbors, and is moved by them, does not say that this is right: only a comparison "
            "with shuffled neighbors tells, see `simplechrome benchmark --preset neighbors`."
        ),
        page.Table(
            effects_by_distance(effects),
            "Neighbors of test genes by distance",
            "Attention: the mean share that one neighbor gets. Effect: by how much the prediction "
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
        "From above: the share of attention; by how much each raised (or lowered) the prediction; "
        "the genes, in the direction of transcription; how much of each mark they have among all "
        "genes. One of the test genes that neighbors moved most.",
        name=f"neighbors_{row.gene_name}_{row.cell_type}",
    )
