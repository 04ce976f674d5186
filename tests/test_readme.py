"""What README shows must run as it stands."""

from __future__ import annotations

import gzip
import re
import shlex
import tarfile
from pathlib import Path

import pytest

import simplechrome
from simplechrome.dataset.assemble import build_from_deepchrome
from simplechrome.sources.simulation_files import write_deepchrome_layout

README = Path(__file__).resolve().parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that README speaks of, simulated and small."""
    folder = tmp_path_factory.mktemp("readme")
    inputs = folder / "inputs"
    write_deepchrome_layout(simplechrome.simulate(900, seed=1), inputs)
    cell_type = next((inputs / "data").iterdir())
    # README names the published cell type.
    cell_type.rename(cell_type.with_name("E012"))
    with tarfile.open(folder / "data.tar.gz", "w:gz") as archive:
        archive.add(inputs / "data", "data")
    (inputs / "genes.tsv.gz").rename(folder / "genes.tsv.gz")
    (folder / "runs" / "demo").mkdir(parents=True)
    dataset = build_from_deepchrome(folder / "data.tar.gz", genes=folder / "genes.tsv.gz")
    simplechrome.save_dataset(dataset, folder / "runs" / "demo" / "demo.zarr")
    table = gzip.decompress((inputs / "expression.tsv.gz").read_bytes())
    (folder / "rpkm.tsv.gz").write_bytes(gzip.compress(table.replace(b"SIM001", b"E012", 1)))
    return folder


def test_python_example_runs_and_has_eight_statements(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    (code,) = blocks("python")
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102  # our own README
    probability = names["probability"]
    assert probability.sizes["gene"] == names["test"].sizes["gene"]
    assert 0 <= float(probability.min()) <= float(probability.max()) <= 1


def test_commands_run_one_after_the_other(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from simplechrome.cli.main import cli

    monkeypatch.chdir(desk)
    (script,) = blocks("bash")
    for line in script.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "simplechrome"
        cli.main([*arguments, "-q"], standalone_mode=False)
    for made in ("e012.zarr", "runs/e012/report.html", "predictions.parquet", "latents.parquet"):
        assert (desk / made).exists(), made
