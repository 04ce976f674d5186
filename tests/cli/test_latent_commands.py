"""Verbs around the latents: impute, interpret, fine-tuning, differences, the pretrained model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import simplechrome
from tests.simulated_dataset import simulated_dataset

Call = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.usefixtures("no_drawing")


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cell types, one without H3K4me3, and a fourth that is kept apart."""
    folder = tmp_path_factory.mktemp("atlas")
    every = simulated_dataset(500, 4, missing_marks={"SIM002": ["H3K4me3"]})
    simplechrome.save_dataset(every.isel(cell_type=[0, 1, 2]), folder / "atlas.zarr")
    simplechrome.save_dataset(every.isel(cell_type=[3]), folder / "new.zarr")
    return folder


@pytest.fixture
def run(atlas: Path, call: Call) -> Path:
    folder = atlas / "run"
    if not folder.exists():
        options = ["--encoder", "consensus", "--n-latent", 8]
        code, _, err = call("fit", atlas / "atlas.zarr", "-o", folder, *options)
        assert code == 0, err
    return folder


def test_missing_mark_is_imputed_and_said_to_be(
    call: Call, atlas: Path, run: Path, tmp_path: Path
) -> None:
    code, out, _ = call("impute", run, atlas / "atlas.zarr", "-o", tmp_path / "imputed.zarr")
    assert code == 0
    first, last = out.splitlines()
    assert first.startswith("SIM002 H3K4me3: from 2 cell types and ")
    assert last == f"{tmp_path / 'imputed.zarr'}: 1 track imputed"
    imputed = simplechrome.open_dataset(tmp_path / "imputed.zarr")
    assert imputed["mark_present"].values.all()
    code, out, _ = call("inspect", tmp_path / "imputed.zarr")
    assert "H3K4me3 imputed" in out
    code, _, err = call(
        "fit", tmp_path / "imputed.zarr", "-o", tmp_path / "run", "--encoder", "pca"
    )
    assert code == 0
    assert "1 tracks are imputed, not measured (SIM002 H3K4me3)" in err


def test_impute_refuses_before_it_writes(
    call: Call, atlas: Path, finished: Path, run: Path, tmp_path: Path
) -> None:
    code, _, err = call("impute", finished, atlas / "atlas.zarr", "-o", tmp_path / "imputed.zarr")
    assert (code, "only ConsensusEncoder imputes marks" in err) == (1, True)
    where = ["-o", tmp_path / "imputed.zarr", "--coverage", "1.5"]
    code, _, err = call("impute", run, atlas / "atlas.zarr", *where)
    assert (code, "The coverage is 1.5, and must be" in err) == (1, True)
    assert not (tmp_path / "imputed.zarr").exists()


def test_page_of_latents(call: Call, atlas: Path, run: Path, tmp_path: Path) -> None:
    page, table = tmp_path / "latents.html", tmp_path / "latents.tsv"
    code, out, _ = call(
        "interpret", run, atlas / "new.zarr", "-o", page, "--table", table, "--against", run
    )
    assert code == 0
    assert "latents as in run: mean matched correlation 1.000" in out
    assert page.stat().st_size > 20_000
    assert pd.read_csv(table, sep="\t")["latent"][0] == "activity"
    # Two runs of one name are both there.
    shutil.copytree(run, tmp_path / "run")
    page = tmp_path / "two.html"
    both = ["--against", run, "--against", tmp_path / "run"]
    code, out, _ = call("interpret", run, atlas / "new.zarr", "-o", page, *both)
    assert (code, out.count("latents as in ")) == (0, 2)
    code, _, err = call("interpret", run, atlas / "new.zarr", "-o", tmp_path / "latents.pdf")
    assert (code, ".html" in err) == (1, True)


def test_fit_from_a_run(call: Call, atlas: Path, run: Path, tmp_path: Path) -> None:
    code, out, err = call(
        "fit", atlas / "new.zarr", "-o", tmp_path / "new", "--init-from", run, "--labels", 20
    )
    assert code == 0, err
    assert "pretrained run, without these labels: test AUROC" in out
    code, _, err = call(
        "fit", atlas / "new.zarr", "-o", tmp_path / "x", "--init-from", run, "--seed", 1
    )
    assert code == 0, err
    code, _, err = call("export", tmp_path / "new", "-o", tmp_path / "e", "--format", "onnx")
    assert (code, "fine-tuned from another" in err) == (1, True)


def test_labels_may_shape_the_encoder(call: Call, atlas: Path, tmp_path: Path) -> None:
    where = [atlas / "new.zarr", "-o", tmp_path / "run", "--labels", 40, "--supervised-axis"]
    code, _, err = call("fit", *where, "--encoder", "consensus", "--n-latent", 8)
    assert code == 0, err
    code, _, _ = call("encode", tmp_path / "run", atlas / "new.zarr", "-o", tmp_path / "z.tsv")
    assert "labelled" in pd.read_csv(tmp_path / "z.tsv", sep="\t").columns
    where = [atlas / "new.zarr", "-o", tmp_path / "y", "--supervised-axis"]
    code, _, err = call("fit", *where, "--encoder", "pca")
    assert (code, "has no supervised axis" in err) == (1, True)


def test_difference_between_two_cell_types(call: Call, atlas: Path, tmp_path: Path) -> None:
    options = ["--task", "difference", "--pair", "SIM001,SIM003", "--encoder", "pca"]
    code, out, err = call("fit", atlas / "atlas.zarr", "-o", tmp_path / "change", *options)
    assert code == 0, err
    assert "AUROC of the sign" in out
    tables = []
    for number, pair in enumerate(("SIM001,SIM003", "SIM003,SIM001")):
        table = tmp_path / f"{number}.csv"
        code, _, _ = call(
            *("predict", tmp_path / "change", atlas / "atlas.zarr", "-o", table, "--pair", pair),
            *("--report", tmp_path / f"{number}.html"),
        )
        assert code == 0
        tables.append(pd.read_csv(table)["predicted_change"])
    np.testing.assert_allclose(tables[0], -tables[1], atol=1e-5)
    code, _, err = call(
        *("fit", atlas / "atlas.zarr", "-o", tmp_path / "x", "--task", "difference"),
        *("--pair", "SIM001,SIM009", "--encoder", "pca"),
    )
    assert (code, "no cell type 'SIM009'" in err) == (1, True)


def test_pair_of_one_is_refused(call: Call, atlas: Path, tmp_path: Path) -> None:
    where = [atlas / "atlas.zarr", "-o", tmp_path / "x", "--task", "difference"]
    code, _, err = call("fit", *where, "--pair", "SIM001")
    assert (code, "--pair is invalid: found ('SIM001',)" in err) == (1, True)


def test_pretrained_model_wants_its_own_windows(call: Call, atlas: Path, tmp_path: Path) -> None:
    where = [atlas / "new.zarr", "-o", tmp_path / "p.tsv"]
    code, _, err = call("predict", "pretrained:roadmap", *where)
    assert (code, "those of the model" in err) == (1, True)
    code, _, err = call("predict", "pretrained:nothing", *where)
    assert (code, "pretrained:roadmap" in err) == (1, True)
    assert not (tmp_path / "p.tsv").exists()
