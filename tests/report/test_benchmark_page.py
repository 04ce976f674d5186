"""The page and the write-up of a benchmark: whole, true of the run, and without loose ends."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from simulated_dataset import simulated_dataset

from simplechrome.benchmark.comparisons import Findings, find, tally
from simplechrome.benchmark.config import make_benchmark_config
from simplechrome.benchmark.grid import conditions, genes_of, make_grid, targets
from simplechrome.benchmark.run import Benchmark, run_benchmark
from simplechrome.benchmark.summary import BenchmarkResults, TestSet
from simplechrome.report.benchmark_page import write_benchmark_files, write_benchmark_page
from simplechrome.report.score_tables import ScoreTables, make_score_tables, table_metrics

Found = tuple[Benchmark, Findings, ScoreTables]


def made_up(folder: Path, task: str, n_cell_types: int = 1, **options: Any) -> Found:
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
    metrics = table_metrics(task)
    return benchmark, findings, make_score_tables(findings.resamples, findings.summary, metrics)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_page_is_whole_and_its_figures_are_files(task: str, tmp_path: Path) -> None:
    benchmark, findings, tables = made_up(tmp_path, task)
    write_benchmark_page(benchmark, findings, tables)
    text = (tmp_path / "report.html").read_text()
    writeup = (tmp_path / "writeup.md").read_text()
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    curves = {"roc_all.svg", "calibration_20.svg", "precision_recall_20.svg"}
    assert (curves <= figures) == (task == "classification")
    assert set(re.findall(r"\]\(figures/(.*?)\)", writeup)) == figures
    for part in ("How many labels are needed?", "Do latents do better", "Controls", "simulated."):
        assert part in text
        assert part in writeup
    assert "looks along the bins" in text
    assert ">nan<" not in text
    assert "src=" not in text  # self-contained
    assert "nan" not in writeup
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
    writeup = (tmp_path / "writeup.md").read_text()
    assert "against `raw:linear`, 2 comparisons: higher in 2, lower in 0" in writeup
    assert "| raw:linear | 2 | 0 | 0 |" in writeup


def test_of_many_places_only_the_first_are_shown(tmp_path: Path) -> None:
    benchmark, findings, tables = made_up(
        tmp_path, "classification", 3, splits=["chromosome", "random", "published"]
    )
    # Nine places and three means over cell types; the means come first.
    assert len(dict.fromkeys(place for place, _ in tables)) == 6
    write_benchmark_page(benchmark, findings, tables)
    assert (tmp_path / "figures" / "differences.svg").is_file()
    text = (tmp_path / "report.html").read_text()
    assert "mean over cell types (within)" in text
    assert "other 6 are in" in text
    assert text.count("its scores are optimistic") == 2
    writeup = (tmp_path / "writeup.md").read_text()
    assert writeup.count("of latents minus that of the window") == 6


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """Two simulated cell types; the models of the first are scored in the second, too."""
    dataset = simulated_dataset(300, 2, note="simulated")
    config = make_benchmark_config(
        {
            "representations": ["raw", "pca"],
            "predictors": ["linear", "deepchrome"],
            "models": ["raw:linear", "pca:linear", "pca:deepchrome"],
            "labels": [20, "all"],
            "seeds": 2,
            "permutations": 3,
            "permuted_labels": 20,
            "transfer": ["SIM002"],
            "splits": ["chromosome", "random"],
            "threads": 1,
        }
    )
    folder = tmp_path_factory.mktemp("writeup") / "bench"
    return run_benchmark(dataset, config, folder)


@pytest.fixture(scope="module")
def text(benchmark: Benchmark) -> str:
    write_benchmark_files(benchmark)
    return (benchmark.folder / "writeup.md").read_text()


def test_every_part_is_there(text: str) -> None:
    headings = re.findall(r"^## (.*?)(?: \(.*)?$", text, re.MULTILINE)
    assert list(dict.fromkeys(headings)) == [
        *("In short", "How many labels are needed?", "Do latents do better than the window?"),
        *("Curves of the leading models", "What does a score cost?", "Controls"),
        *("Without any histone mark", "Not applicable", "Data", "Method", "Limits"),
        "To repeat it",
    ]
    assert "simulated." in text


def test_numbers_are_those_of_the_run(benchmark: Benchmark, text: str) -> None:
    assert "2 models of expression, compared" in text
    assert "With 20 labels, 2 draws" in text
    assert "| pca | deepchrome | looks along the bins" in text
    place = ("SIM001", "within", "SIM001", "chromosome", 0)
    n_test = len(benchmark.results.test_sets[place].genes)
    assert f" {n_test} |" in text


def test_scores_below_chance_are_pointed_at(
    benchmark: Benchmark, text: str, tmp_path: Path
) -> None:
    assert "below chance" not in text
    found = find(benchmark.results, "raw:linear")
    tables = make_score_tables(found.resamples, found.summary, table_metrics("classification"))
    for (_, metric), table in tables.items():
        entry = table.rows["pca:linear"][0]
        if metric == "auroc" and entry is not None:
            table.rows["pca:linear"][0] = entry._replace(mean=0.2, low=0.1, high=0.3)
    write_benchmark_page(benchmark._replace(folder=tmp_path), found, tables)
    assert (
        "`pca:linear` with 20 labels scored below chance" in (tmp_path / "writeup.md").read_text()
    )


def test_optimistic_splits_and_transfer_are_named(text: str) -> None:
    assert "its scores are optimistic" in text
    assert "from SIM001 to SIM002" in text
    assert "AUROC (SIM001, split random)" in text
    assert "without adapting to their depth" in text


def test_nothing_is_left_unfilled(text: str) -> None:
    assert "nan" not in text.lower().replace("finance", "")
    assert "None" not in text
    assert not re.search(r"[{}]", text)


def test_files_are_the_same_for_the_same_results(benchmark: Benchmark, tmp_path: Path) -> None:
    written = []
    (first, scored), *_ = benchmark.results.test_sets.items()  # one place is enough
    benchmark = benchmark._replace(results=benchmark.results._replace(test_sets={first: scored}))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_benchmark_files(benchmark._replace(folder=tmp_path / name))
        written.append(
            {
                str(path.relative_to(tmp_path / name)): path.read_bytes()
                for path in (tmp_path / name).rglob("*")
                if path.is_file()
            }
        )
    assert written[0] == written[1]
    assert {"scores.parquet", "scores.csv", "summary.csv", "table.md", "table.tex"} <= set(
        written[0]
    )
    assert {"controls.csv", "claims.csv", "writeup.md", "report.html"} <= set(written[0])
