"""What README shows must run as it stands."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from page_examples import run_commands, run_python, write_published_files

from simplechrome.dataset.building.build import build_deepchrome_on_disk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that README speaks of, simulated and small."""
    folder = tmp_path_factory.mktemp("readme")
    write_published_files(folder, "E012", n_genes=900)
    (folder / "runs" / "demo").mkdir(parents=True)
    output, genes = folder / "runs" / "demo" / "demo.zarr", folder / "genes.tsv.gz"
    build_deepchrome_on_disk(folder / "data.tar.gz", output, genes=genes)
    table = gzip.decompress((folder / "inputs" / "expression.tsv.gz").read_bytes())
    (folder / "rpkm.tsv.gz").write_bytes(gzip.compress(table.replace(b"SIM001", b"E012", 1)))
    return folder


def test_python_example_runs_and_has_eight_statements(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    names = run_python("README.md")
    probability = names["probability"]
    assert probability.sizes["gene"] == names["test"].sizes["gene"]
    assert 0 <= float(probability.min()) <= float(probability.max()) <= 1


def test_commands_run_one_after_the_other(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    run_commands("README.md")
    made_files = ("e012.zarr", "runs/e012/report.html", "predictions.parquet", "latents.parquet")
    for made in (*made_files, "bench/report.html"):
        assert (desk / made).exists(), made
