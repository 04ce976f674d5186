"""What the how-to pages show must run as it stands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from page_examples import read_page, run_commands, write_published_files

import simplechrome
from simplechrome.dataset.assemble import build_from_deepchrome
from simplechrome.evaluation.benchmark_config import choose_models, make_benchmark_config

BENCHMARK = "docs/how-to/benchmark.md"


def test_commands_of_the_benchmark_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_published_files(tmp_path, "E012", n_genes=400)
    dataset = build_from_deepchrome(tmp_path / "data.tar.gz", genes=tmp_path / "genes.tsv.gz")
    simplechrome.save_dataset(dataset, tmp_path / "e012.zarr")
    monkeypatch.chdir(tmp_path)
    run_commands(BENCHMARK)
    assert (tmp_path / "bench" / "report.html").is_file()


def test_settings_of_the_benchmark_page_are_understood() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", read_page(BENCHMARK), re.DOTALL)
    models = choose_models(make_benchmark_config(tomllib.loads(text))).applicable
    assert "pca20:wide" in {model.name for model in models}
