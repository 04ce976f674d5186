"""The write-up of a benchmark: whole, true of the run, and without loose ends."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from simulated_dataset import simulated_dataset

from simplechrome.benchmark.comparisons import find
from simplechrome.benchmark.config import make_benchmark_config
from simplechrome.benchmark.run import Benchmark, run_benchmark
from simplechrome.report.benchmark_files import write_benchmark_files
from simplechrome.report.benchmark_tables import SHOWN_IN_TEXTS, make_score_tables
from simplechrome.report.writeup import write_up


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
    found = find(benchmark.results, "raw:linear")
    tables = make_score_tables(found.resamples, found.summary, SHOWN_IN_TEXTS["classification"])
    return write_up(benchmark, found, tables, [("figures/a.svg", "Curves")])


def test_every_part_is_there(text: str) -> None:
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == [
        *("In short", "Method", "Data", "Results", "Do latents do better than the window?"),
        *("Controls", "Without any histone mark", "Not applicable", "Limits", "To repeat it"),
    ]
    assert "> simulated." in text
    assert "![Curves](figures/a.svg)" in text


def test_numbers_are_those_of_the_run(benchmark: Benchmark, text: str) -> None:
    assert "2 models compared" in text
    assert "With 20 labels, 2 draws" in text
    assert "`pca:deepchrome`: looks along the bins" in text
    place = ("SIM001", "within", "SIM001", "chromosome", 0)
    n_test = len(benchmark.results.test_sets[place].genes)
    assert f" {n_test} |" in text


def test_scores_below_chance_are_pointed_at(benchmark: Benchmark, text: str) -> None:
    assert "below chance" not in text
    found = find(benchmark.results, "raw:linear")
    tables = make_score_tables(found.resamples, found.summary, SHOWN_IN_TEXTS["classification"])
    for (_, metric), table in tables.items():
        entry = table.rows["pca:linear"][0]
        if metric == "auroc" and entry is not None:
            table.rows["pca:linear"][0] = entry._replace(mean=0.2, low=0.1, high=0.3)
    text = write_up(benchmark, found, tables, [])
    assert "`pca:linear` with 20 labels scored below chance" in text


def test_optimistic_splits_and_transfer_are_named(text: str) -> None:
    assert "**its scores are optimistic**" in text
    assert "from SIM001 to SIM002" in text
    assert "### AUROC, SIM001, split random" in text
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
