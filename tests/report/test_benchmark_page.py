"""The page of a benchmark, of predictions that no model made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from simulated_dataset import simulated_dataset

from simplechrome.benchmark.comparisons import Findings, find, tally
from simplechrome.benchmark.config import make_benchmark_config
from simplechrome.benchmark.grid import conditions, genes_of, make_grid, targets
from simplechrome.benchmark.run import Benchmark
from simplechrome.benchmark.summary import BenchmarkResults, TestSet
from simplechrome.report.benchmark_page import write_benchmark_page
from simplechrome.report.benchmark_tables import SHOWN_IN_TEXTS, ScoreTables, make_score_tables
from simplechrome.report.writeup import write_up

Told = tuple[Benchmark, Findings, ScoreTables]


def made_up(folder: Path, task: str, n_cell_types: int = 1, **options: Any) -> Told:
    """A grid whose predictions are targets and noise: little for vae, more for all others."""
    dataset = simulated_dataset(240, n_cell_types, note="simulated")
    models = ["raw:linear", "vae:linear", "raw:deepchrome", "vae:deepchrome"]
    values = {"models": models, "labels": [20, "all"], "seeds": 2, "permutations": 0}
    config = make_benchmark_config({**values, "task": task, **options})
    grid = make_grid(dataset, config)
    random = np.random.default_rng(0)
    test_sets = {}
    for place in conditions(dataset, config):
        genes = genes_of(dataset, config, place)
        truth = targets(dataset, config, place.trained_on).values[0, genes.test].astype(float)
        rows, predictions = [], []
        for cell in (cell for cell in grid.cells if cell.condition == place):
            noise = random.normal(size=truth.size) * (0.3 if "vae" in cell.model.name else 1.5)
            value = truth + noise
            value = 1 / (1 + np.exp(-value)) if task == "classification" else value
            few = cell.n_labels is not None
            rows.append(
                {
                    **{"representation": cell.model.representation, "all_labels": not few},
                    **{"predictor": cell.model.predictor, "seconds": 2.0, "chosen": ""},
                    **{"n_labels": cell.n_labels if few else genes.train.size},
                    **{"draw": cell.draw, "seed": cell.seed},
                }
            )
            predictions.append(value)
        table = pd.DataFrame(
            {
                "gene_id": dataset["gene_id"].values[genes.test],
                "chrom": dataset["chrom"].values[genes.test],
                "tss": dataset["tss"].values[genes.test],
                "target": truth,
            }
        )
        condition = (place.trained_on, "within", *place)
        test_sets[condition] = TestSet(
            table, pd.DataFrame(rows), np.stack(predictions).astype(np.float32)
        )
    reasons = pd.DataFrame(
        grid.models.not_applicable, columns=["representation", "predictor", "reason"]
    )
    results = BenchmarkResults(task, test_sets, pd.DataFrame(), reasons)
    benchmark = Benchmark(folder, dataset, config, grid, results)
    findings = find(results, config.baseline)
    metrics = SHOWN_IN_TEXTS[task]
    return benchmark, findings, make_score_tables(findings.resamples, findings.summary, metrics)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_page_is_whole_and_its_figures_are_files(task: str, tmp_path: Path) -> None:
    benchmark, findings, tables = made_up(tmp_path, task)
    figures = write_benchmark_page(benchmark, findings, tables)
    text = (tmp_path / "report.html").read_text()
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        Path(path).name for path, _ in figures
    }
    curves = {
        "figures/roc_all.svg",
        "figures/calibration_20.svg",
        "figures/precision_recall_20.svg",
    }
    assert (curves <= {path for path, _ in figures}) == (task == "classification")
    for part in ("How many labels are needed?", "Do latents do better", "Controls", "simulated."):
        assert part in text
    assert "looks along the bins" in text
    assert ">nan<" not in text
    assert "src=" not in text  # self-contained
    writeup = write_up(benchmark, findings, tables, figures)
    assert "nan" not in writeup
    assert all(f"]({path})" in writeup for path, _ in figures)
    assert ("PatternChrome" in writeup) == (task == "classification")


def test_planted_winner_is_on_top_and_in_bold(tmp_path: Path) -> None:
    benchmark, findings, tables = made_up(tmp_path, "classification")
    write_benchmark_page(benchmark, findings, tables)
    text = (tmp_path / "report.html").read_text()
    assert "vae:linear, SIM001" in text
    assert "▲" in text
    # Against each of two models of the window, with 20 labels and with all.
    against_linear, against_deepchrome = tally(findings.claims)
    assert against_linear == ("raw:linear", 2, 0, 0)
    assert against_deepchrome[0] == "raw:deepchrome"
    assert sum(against_deepchrome[1:]) == 2
    writeup = write_up(benchmark, findings, tables, [])
    assert "against `raw:linear`, 2 comparisons: higher in 2, lower in 0" in writeup
    assert "| `raw:linear` | 2 | 0 | 0 |" in writeup


def test_of_many_places_only_the_first_are_told_of(tmp_path: Path) -> None:
    benchmark, findings, tables = made_up(
        tmp_path, "classification", 3, splits=["chromosome", "random", "published"]
    )
    # Nine places and three means over cell types; the means come first.
    assert len(dict.fromkeys(place for place, _ in tables)) == 6
    figures = write_benchmark_page(benchmark, findings, tables)
    assert "figures/differences.svg" in {path for path, _ in figures}
    text = (tmp_path / "report.html").read_text()
    assert "mean over cell types (within)" in text
    assert "other 6 are in" in text
    assert text.count("its scores are optimistic") == 2
    assert write_up(benchmark, findings, tables, figures).count("| minus `raw:linear` |") == 6
