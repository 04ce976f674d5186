"""The command line as a user meets it, but within this process, so that it is fast."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr

from simplechrome import from_arrays, save_dataset, simulate
from simplechrome.cli.main import main
from simplechrome.evaluation.bootstrap import block_bootstrap
from simplechrome.simulation.simulate import write_deepchrome_layout

Call = Callable[..., "Answer"]


class Answer(NamedTuple):
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run `simplechrome ARGUMENTS` in this process."""

    def run(*arguments: object) -> Answer:
        monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # as main does, but undone afterwards
        monkeypatch.setattr(sys, "argv", ["simplechrome", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return Answer(code if isinstance(code, int) else 0, out, err)

    return run


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of inputs that tests must not change.

    layout/: 300 simulated genes in the published layout (SIM001) and as .npz (SIM002, three
    marks), with genes.tsv.gz and expression.tsv.gz. one.zarr: the first cell type, built. Then
    datasets with a flaw each.
    """
    folder = tmp_path_factory.mktemp("workshop")
    simulation = simulate(
        300, 2, n_bins=20, bin_size=500, seed=1, missing_marks={"SIM002": ["H3K4me1", "H3K9me3"]}
    )
    write_deepchrome_layout(simulation, folder / "layout")
    one = from_arrays(
        simulation.signal[:1],
        marks=simulation.marks,
        gene_ids=simulation.genes["gene_id"],
        cell_types=simulation.cell_types[:1],
        bin_size=500,
        genes=simulation.genes,
        expression=simulation.expression[:1],
        note="simulated",
    )
    save_dataset(one, folder / "one.zarr")
    unplaced = one.drop_vars(["chrom", "tss", "strand", "gene_name", "published_split"])
    save_dataset(unplaced, folder / "unplaced.zarr")
    unknown = one.assign(
        label=xr.full_like(one["label"], -1), expression=xr.full_like(one["expression"], np.nan)
    )
    save_dataset(unknown, folder / "unlabelled.zarr")
    other = [f"other {k}" for k in range(5)]
    save_dataset(one.assign_coords(mark=other), folder / "other_marks.zarr")
    save_dataset(one.isel(bin=slice(0, 10)), folder / "other_bins.zarr")
    (folder / "notes.txt").write_text("not a dataset\n")
    (folder / "folder").mkdir()
    (folder / "folder" / "diary.txt").write_text("dear diary\n")
    return folder


@pytest.fixture(scope="session")
def finished(workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder: PCA and a linear head."""
    from click.testing import CliRunner

    from simplechrome.cli.main import cli

    folder = tmp_path_factory.mktemp("finished") / "run"
    arguments = ["fit", str(workshop / "one.zarr"), "-o", str(folder), "-qq"]
    options = ["--encoder", "pca", "--n-latent", "3", "--labels", "60", "--seed", "2"]
    before = os.environ.get("OMP_WAIT_POLICY")
    result = CliRunner().invoke(cli, arguments + options, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert os.environ.get("OMP_WAIT_POLICY") == before
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    """Every file beneath a folder, with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"(folder)"
        for path in folder.rglob("*")
    }


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, bytes]]:
    """See `tree`."""
    return tree


@pytest.fixture(autouse=True)
def _short_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty resamples in place of thousands: an interval is wanted here, not a good one."""
    short = partial(block_bootstrap, n_resamples=30)
    monkeypatch.setattr("simplechrome.evaluation.scores.block_bootstrap", short)


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report takes longer than all else; tests/report/test_run_page.py has the pages."""

    def write(folder: Path, dataset: xr.Dataset, graph: object = None) -> Path:
        (folder / "report.html").write_text("no figures")
        return folder / "report.html"

    monkeypatch.setattr("simplechrome.report.run_page.write_run_report", write)
