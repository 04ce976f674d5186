"""Commands and Python of the README and of the pages in docs/ run as they stand."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from page_examples import read_page, run_commands, run_python, write_published_files
from track_files import write_bigwig

import simplechrome
from simplechrome.benchmark.config import make_benchmark_config
from simplechrome.benchmark.grid import choose_models
from simplechrome.metrics import auroc

pytestmark = pytest.mark.docs

BENCHMARK = "docs/how-to/benchmark.md"
TRACKS = "docs/how-to/tracks.md"
NEIGHBORS = "docs/how-to/neighbors.md"
LATENT = "docs/how-to/latent.md"
TUTORIAL = "docs/tutorial/own_tracks.md"
COMPATIBILITY = "docs/reference/compatibility.md"


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    write_published_files(folder, n_genes=400)
    return folder


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def bring(published: Path, desk: Path) -> Callable[..., None]:
    """Copy published files to the current folder."""

    def copy(*names: str) -> None:
        for name in names:
            source = published / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, desk / name)

    return copy


def test_readme(bring: Callable[..., None], desk: Path) -> None:
    bring("data.tar.gz", "genes.tsv.gz", "rpkm.tsv.gz")
    run_commands("README.md")
    for made in ("e012.zarr", "predictions.parquet", "latents.parquet", "without_rna.parquet"):
        assert (desk / made).exists(), made
    for run in ("runs/e012", "bench", "runs/few"):
        assert (desk / run / "report.html").is_file(), run
    (desk / "runs" / "demo").mkdir(parents=True)
    shutil.copytree(desk / "e012.zarr", desk / "runs" / "demo" / "demo.zarr")
    names = run_python("README.md")
    probability = names["probability"]
    assert probability.sizes["gene"] == names["test"].sizes["gene"]
    assert 0 <= float(probability.min()) <= float(probability.max()) <= 1


def test_benchmark_page(bring: Callable[..., None], desk: Path) -> None:
    bring("e012.zarr")
    run_commands(BENCHMARK)
    assert (desk / "bench" / "report.html").is_file()
    (text,) = re.findall(r"```toml\n(.*?)```", read_page(BENCHMARK), re.DOTALL)
    models = choose_models(make_benchmark_config(tomllib.loads(text))).applicable
    assert "pca20:wide" in {model.name for model in models}


def test_neighbors_page(bring: Callable[..., None], desk: Path) -> None:
    bring("e012.zarr", "rpkm.tsv.gz")
    dataset = simplechrome.open_dataset("e012.zarr")
    ids = [str(gene) for gene in dataset["gene_id"].values]
    (desk / "pairs.tsv").write_text(f"{ids[0]}\t{ids[1]}\n")
    (desk / "sets.gmt").write_text("\t".join(["set", "", *ids[:5]]) + "\n")
    run_commands(NEIGHBORS)
    names = run_python(NEIGHBORS)
    assert names["probability"].shape == (1, int(names["test"].sum()), 2)
    assert set(names["why"]["gene_id"]) == {ids[0]}


def test_compatibility_page_commands(bring: Callable[..., None], desk: Path) -> None:
    bring("data.tar.gz", "genes.tsv.gz")
    run_commands(COMPATIBILITY)
    for run in ("runs/mlp", "runs/mlp_encoded"):
        metrics = json.loads((desk / run / "metrics.json").read_text())
        assert {"accuracy", "auprc", "auroc"} <= set(metrics["test"])


def test_compatibility_page_python(bring: Callable[..., None]) -> None:
    bring("data.tar.gz", "genes.tsv.gz")
    names = run_python(COMPATIBILITY)
    assert list(names["scores"]) == ["MLP", "MLP_Encoded"]
    assert all(0 <= scores["auroc"] <= 1 for scores in names["scores"].values())
    assert names["window"].shape == (1, 100, 5)
    assert names["neighbors"].windows.shape == (1, 20, 100, 5)
    # The line that the table gives for the label of one gene.
    dataset, gene_id = names["dataset"], names["gene_id"]
    assert dataset.label[:, (dataset.gene_id == gene_id).values].shape == (1, 1)


def test_tracks_page(desk: Path) -> None:
    """On two simulated tracks; promoters of every second gene hold much of the first mark."""
    sizes = {"chr1": 2_400_000, "chr2": 1_200_000, "chr3": 2_400_000}
    genes = [(chrom, tss) for chrom, size in sizes.items() for tss in range(15_000, size, 20_000)]
    random = np.random.default_rng(0)
    high = random.random(len(genes)) < 0.5
    (desk / "genes.gtf").write_text(
        "".join(
            f'{chrom[3:]}\tx\tgene\t{tss + 1}\t{tss + 4000}\t.\t+\t.\tgene_id "g{k:03}";\n'
            for k, (chrom, tss) in enumerate(genes)
        )
    )
    level = np.where(high, 20, 1) * random.lognormal(0, 0.5, len(genes))
    (desk / "rpkm.tsv").write_text(
        "gene_id\tmine\n" + "".join(f"g{k:03}\t{x:.3f}\n" for k, x in enumerate(level))
    )
    for mark, strength in (("H3K4me3", high), ("H3K27me3", ~high)):
        rows = [
            (chrom, start, start + 500, float(1 + 9 * strong * random.random()))
            for (chrom, tss), strong in zip(genes, strength, strict=True)
            for start in range(tss - 5000, tss + 5000, 500)
        ]
        write_bigwig(desk / f"{mark}.bigWig", sizes, rows)
    run_commands(TRACKS)
    assert (desk / "quality.html").is_file()
    metrics = json.loads((desk / "runs" / "mine" / "metrics.json").read_text())
    assert metrics["test"]["auroc"] > 0.9


def test_latent_page(desk: Path) -> None:
    simulated = simplechrome.simulate(240, 4, seed=1, missing_marks={"SIM002": ["H3K4me3"]})
    atlas = simplechrome.from_arrays(
        simulated.signal,
        marks=simulated.marks,
        mark_present=simulated.mark_present,
        gene_ids=simulated.genes["gene_id"],
        cell_types=simulated.cell_types,
        genes=simulated.genes,
        expression=simulated.expression,
    )
    simplechrome.save_dataset(atlas.isel(cell_type=[0, 1, 2]), desk / "atlas.zarr")
    simplechrome.save_dataset(atlas.isel(cell_type=[3]), desk / "mine.zarr")
    run_commands(LATENT)
    assert (desk / "latents.html").is_file()
    assert set(pd.read_csv(desk / "change.tsv", sep="\t")["cell_type"]) == {"SIM002 - SIM003"}
    names = run_python(LATENT)
    assert names["filled"]["mark_present"].values.all()
    assert names["latents"].shape[:2] == (1, 240)
    assert len(names["table"]) == 240


@pytest.mark.real_data
def test_tutorial_on_real_tracks(desk: Path, shared_data: Path) -> None:
    tracks = (shared_data / "tracks_pilot_hg19").glob("*.bigWig")
    reads = (shared_data / "bam_chr21_hg19").glob("*.bam*")
    tables = (shared_data / "genes_hg19.gtf.gz", shared_data / "rpkm_54cells.tsv.gz")
    for path in (*tracks, *reads, *tables):
        (desk / path.name).symlink_to(path)
    (desk / "E012.tar.gz").symlink_to(shared_data / "deepchrome_layout_E012.tar.gz")
    run_commands(TUTORIAL)
    for page in ("known", "new", "checked", "reads"):
        assert (desk / f"{page}.html").is_file()
    new, checked, from_reads = (
        pd.read_csv(desk / f"{name}_predictions.tsv", sep="\t")
        for name in ("new", "checked", "reads")
    )
    assert new["probability"].tolist() == checked["probability"].tolist()
    scored = checked[(checked["split"] == "test") & (checked["label"] >= 0)]
    assert auroc(scored["label"].to_numpy(), scored["probability"].to_numpy()) > 0.7
    assert set(from_reads["chrom"]) == {"chr21"}
    assert from_reads["signal_changed"].str.contains("H3K9me3 x 0.66").all()
