"""`simplechrome neighbors` as its user runs it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import simplechrome

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def dataset(workshop: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(workshop / "one.zarr", tmp_path / "one.zarr"))


def test_graphs_are_made_kept_and_shown(call: Call, dataset: Path, tmp_path: Path) -> None:
    code, out, _ = call("neighbors", "genomic", dataset, "-n", 4)
    assert code == 0
    assert "300 of 300 genes have neighbors, 4 at most" in out
    assert "100.0% on the same chromosome" in out
    data = simplechrome.open_dataset(dataset)
    ids = [str(gene) for gene in data["gene_id"].values]
    levels = np.random.default_rng(0).random((300, 7))
    table = pd.DataFrame(levels, index=ids, columns=["SIM001", *"ABCDEF"])
    table.rename_axis("gene_id").to_csv(tmp_path / "rpkm.tsv", sep="\t")
    (tmp_path / "pairs.tsv").write_text(f"{ids[0]}\t{ids[5]}\t.9\n")
    (tmp_path / "sets.gmt").write_text("\t".join(["S", "", *ids[:4]]) + "\n")
    chrom, tss = str(data["chrom"].values[0]), int(data["tss"].values[0])
    near = np.flatnonzero((data["chrom"].values == chrom) & (data["tss"].values != tss))[0]
    other = int(data["tss"].values[near])
    (tmp_path / "loops.bedpe").write_text(
        f"{chrom}\t{tss}\t{tss + 10}\t{chrom}\t{other}\t{other + 10}\tloop\t7\n"
    )
    for arguments in (
        ("coexpression", "--expression", tmp_path / "rpkm.tsv"),
        ("listed", "--pairs", tmp_path / "pairs.tsv"),
        ("sets", "--gmt", tmp_path / "sets.gmt"),
        ("contact",),
        ("contact", "--contacts", tmp_path / "loops.bedpe", "--name", "loops"),
    ):
        code, _, err = call("neighbors", arguments[0], dataset, *arguments[1:])
        assert code == 0, err
    code, out, _ = call("neighbors", "show", dataset, "-o", tmp_path / "edges.tsv")
    assert code == 0
    for name in ("coexpression", "contact", "genomic", "listed", "loops", "sets"):
        assert f"'{name}'" in out
    edges = pd.read_csv(tmp_path / "edges.tsv", sep="\t")
    assert (edges.groupby("graph").size()[["listed", "sets"]] == [2, 12]).all()
    # The dataset is what it was, and may be replaced with its graphs.
    assert call("inspect", dataset)[0] == 0
    simplechrome.save_dataset(data, dataset, overwrite=True)
    code, _, err = call("neighbors", "show", dataset)
    assert (code, "has no neighbors" in err) == (1, True)


def test_a_graph_serves_one_gene_at_a_time(call: Call, dataset: Path) -> None:
    assert call("neighbors", "genomic", dataset, "-n", 6)[0] == 0
    data = simplechrome.open_dataset(dataset)
    graph = simplechrome.open_neighbors(dataset, dataset=data)
    gene = str(data["gene_id"].values[7])
    by_graph = simplechrome.get_neighbors_data(data, gene, 3, graph=graph, kind="genomic")
    by_place = simplechrome.get_neighbors_data(data, gene, 3)
    assert by_graph.gene_id.tolist() == by_place.gene_id.tolist()
    np.testing.assert_array_equal(by_graph.windows.values, by_place.windows.values)


@pytest.mark.parametrize("predictor", ["linear", "neighborhood"])
def test_a_run_that_looks_at_neighbors_predicts_elsewhere(
    call: Call, dataset: Path, tmp_path: Path, predictor: str
) -> None:
    assert call("neighbors", "genomic", dataset, "-n", 3)[0] == 0
    run, output = tmp_path / "run", tmp_path / "p.tsv"
    fit = ("fit", dataset, "-o", run, "--encoder", "pca", "--n-latent", 3)
    code, _, err = call(*fit, "--predictor", predictor, "--neighbors", "genomic")
    assert code == 0, err
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "and neighbors (genomic)" in page
    assert "The neighbors" in page
    code, _, err = call("predict", run, dataset, "-o", output)
    assert code == 0, err
    then = pd.read_parquet(run / "predictions.parquet")["probability"]
    np.testing.assert_allclose(pd.read_csv(output, sep="\t")["probability"], then, atol=1e-6)
    code, _, err = call("export", run, "-o", tmp_path / "out", "--format", "onnx")
    assert (code, "A run with neighbors (genomic) cannot be exported" in err) == (1, True)
    shutil.rmtree(dataset / "neighbors")
    code, _, err = call("predict", run, dataset, "-o", tmp_path / "q.tsv")
    assert (code, "simplechrome neighbors genomic" in err) == (1, True)


def test_neighbors_may_tell_their_expression(call: Call, dataset: Path, tmp_path: Path) -> None:
    assert call("neighbors", "genomic", dataset, "-n", 3)[0] == 0
    run, output = tmp_path / "run", tmp_path / "p.tsv"
    fit = ("fit", dataset, "-o", run, "--encoder", "log_means", "--neighbor-expression")
    code, _, err = call(*fit)
    assert (code, "only with neighbor graphs" in err) == (1, True)
    assert call(*fit, "--neighbors", "genomic")[0] == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "and neighbors (genomic; with their expression)" in page
    assert "rest on expression measured in the same cell type" in page
    # Of a new cell type without RNA nobody can tell anything.
    data = simplechrome.open_dataset(dataset)
    silent = data.assign(label=xr.full_like(data["label"], -1))
    simplechrome.save_dataset(silent, dataset, overwrite=True)
    assert call("neighbors", "genomic", dataset, "-n", 3)[0] == 0
    code, _, err = call("predict", run, dataset, "-o", output)
    assert (code, "no gene that was learned from has a label" in err, output.exists()) == (
        1,
        True,
        False,
    )


def test_neighbors_of_a_gene_are_explained(call: Call, dataset: Path, tmp_path: Path) -> None:
    assert call("neighbors", "genomic", dataset, "-n", 3)[0] == 0
    assert call("neighbors", "contact", dataset, "-n", 2)[0] == 0
    run, output = tmp_path / "run", tmp_path / "p.tsv"
    config = tmp_path / "run.toml"
    config.write_text("ensemble = 2\n[predictor]\nname = 'neighborhood'\nepochs = 2\n")
    fit = ("fit", dataset, "-o", run, "--encoder", "log_means", "--config", config)
    assert call(*fit, "--neighbors", "genomic,contact")[0] == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Neighbors of test genes by distance" in page or "No prediction was changed" in page
    gene = str(simplechrome.open_dataset(dataset)["gene_id"].values[3])
    code, out, err = call("predict", run, dataset, "-o", output, "--explain-neighbors", gene)
    assert code == 0, err
    assert "neighbors changed it by" in out
    table = pd.read_csv(tmp_path / "p_neighbors.tsv", sep="\t")
    assert table["kind"].value_counts().to_dict() == {"genomic": 3, "contact": 2}
    assert set(table["gene_id"]) == {gene}
    assert len(list(tmp_path.glob("p_neighbors_*_SIM001.svg"))) == 1
    again = ("predict", run, dataset, "-o", tmp_path / "q.tsv", "--explain-neighbors", "nobody")
    code, _, err = call(*again)
    assert (code, "no gene 'nobody'" in err) == (1, True)
    assert not (tmp_path / "q.tsv").exists()


def test_what_is_asked_of_neighbors_must_make_sense(
    call: Call, dataset: Path, tmp_path: Path
) -> None:
    fit = ("fit", dataset, "-o", tmp_path / "run")
    code, _, err = call(*fit, "--predictor", "neighborhood")
    assert (code, "none is named" in err) == (1, True)
    code, _, err = call(*fit, "--encoder", "none", "--neighbors", "genomic")
    assert (code, "need latents" in err) == (1, True)
    code, _, err = call(*fit, "--encoder", "pca", "--neighbors", "genomic")
    assert (code, "no neighbors named 'genomic'" in err) == (1, True)


def test_correlations_must_not_know_what_is_predicted(
    call: Call, dataset: Path, tmp_path: Path
) -> None:
    ids = simplechrome.open_dataset(dataset)["gene_id"].values
    levels = np.random.default_rng(0).random((300, 7))
    table = pd.DataFrame(levels, index=ids, columns=["SIM001", *"ABCDEF"])
    table.rename_axis("gene_id").to_csv(tmp_path / "rpkm.tsv", sep="\t")
    make = ("neighbors", "coexpression", dataset, "--expression", tmp_path / "rpkm.tsv")
    assert call(*make, "--leave-out", "A")[0] == 0
    fit = (
        "fit",
        dataset,
        "-o",
        tmp_path / "run",
        "--encoder",
        "pca",
        "--neighbors",
        "coexpression",
    )
    code, _, err = call(*fit)
    assert (code, "were held out" in err) == (1, True)
    assert call(*make, "--overwrite")[0] == 0
    assert call(*fit)[0] == 0
