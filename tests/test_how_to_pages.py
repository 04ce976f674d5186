"""What the how-to pages show must run as it stands."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from page_examples import read_page, run_commands, run_python, write_published_files
from track_files import write_bigwig

import simplechrome
from simplechrome.benchmark.config import make_benchmark_config
from simplechrome.benchmark.models import choose_models
from simplechrome.dataset.building.build import build_deepchrome_on_disk
from simplechrome.metrics import auroc

BENCHMARK = "docs/how-to/benchmark.md"
TRACKS = "docs/how-to/tracks.md"
NEIGHBORS = "docs/how-to/neighbors.md"
LATENT = "docs/how-to/latent.md"
TUTORIAL = "docs/tutorial/own_tracks.md"


def test_commands_of_the_benchmark_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_published_files(tmp_path, "E012", n_genes=400)
    genes, output = tmp_path / "genes.tsv.gz", tmp_path / "e012.zarr"
    build_deepchrome_on_disk(tmp_path / "data.tar.gz", output, genes=genes)
    monkeypatch.chdir(tmp_path)
    run_commands(BENCHMARK)
    assert (tmp_path / "bench" / "report.html").is_file()


def test_commands_of_the_page_on_tracks_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On two simulated tracks; promoters of every second gene hold much of the first mark."""
    sizes = {"chr1": 2_400_000, "chr2": 1_200_000, "chr3": 2_400_000}
    genes = [(chrom, tss) for chrom, size in sizes.items() for tss in range(15_000, size, 20_000)]
    random = np.random.default_rng(0)
    high = random.random(len(genes)) < 0.5
    (tmp_path / "genes.gtf").write_text(
        "".join(
            f'{chrom[3:]}\tx\tgene\t{tss + 1}\t{tss + 4000}\t.\t+\t.\tgene_id "g{k:03}";\n'
            for k, (chrom, tss) in enumerate(genes)
        )
    )
    level = np.where(high, 20, 1) * random.lognormal(0, 0.5, len(genes))
    (tmp_path / "rpkm.tsv").write_text(
        "gene_id\tmine\n" + "".join(f"g{k:03}\t{x:.3f}\n" for k, x in enumerate(level))
    )
    for mark, strength in (("H3K4me3", high), ("H3K27me3", ~high)):
        rows = [
            (chrom, start, start + 500, float(1 + 9 * strong * random.random()))
            for (chrom, tss), strong in zip(genes, strength, strict=True)
            for start in range(tss - 5000, tss + 5000, 500)
        ]
        write_bigwig(tmp_path / f"{mark}.bigWig", sizes, rows)
    (tmp_path / "samples.tsv").write_text(
        "cell_type\tmark\tpath\nmine\tH3K4me3\tH3K4me3.bigWig\nmine\tH3K27me3\tH3K27me3.bigWig\n"
    )
    monkeypatch.chdir(tmp_path)
    run_commands(TRACKS)
    assert (tmp_path / "quality.html").is_file()
    metrics = json.loads((tmp_path / "runs" / "mine" / "metrics.json").read_text())
    assert metrics["test"]["auroc"] > 0.9


@pytest.mark.real_data
def test_the_tutorial_runs_on_real_tracks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_data: Path
) -> None:
    tracks = (shared_data / "tracks_pilot_hg19").glob("*.bigWig")
    reads = (shared_data / "bam_chr21_hg19").glob("*.bam*")
    tables = (shared_data / "genes_hg19.gtf.gz", shared_data / "rpkm_54cells.tsv.gz")
    for path in (*tracks, *reads, *tables):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "E012.tar.gz").symlink_to(shared_data / "deepchrome_layout_E012.tar.gz")
    monkeypatch.chdir(tmp_path)
    run_commands(TUTORIAL)
    for page in ("known", "new", "checked", "reads"):
        assert (tmp_path / f"{page}.html").is_file()
    new, checked, from_reads = (
        pd.read_csv(tmp_path / f"{name}_predictions.tsv", sep="\t")
        for name in ("new", "checked", "reads")
    )
    assert new["probability"].tolist() == checked["probability"].tolist()
    scored = checked[(checked["split"] == "test") & (checked["label"] >= 0)]
    assert auroc(scored["label"].to_numpy(), scored["probability"].to_numpy()) > 0.7
    assert set(from_reads["chrom"]) == {"chr21"}
    assert from_reads["signal_changed"].str.contains("H3K9me3 x 0.66").all()


def test_the_page_on_neighbors_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_published_files(tmp_path, "E012", n_genes=200)
    genes, output = tmp_path / "genes.tsv.gz", tmp_path / "e012.zarr"
    build_deepchrome_on_disk(tmp_path / "data.tar.gz", output, genes=genes)
    dataset = simplechrome.open_dataset(output)
    ids = [str(gene) for gene in dataset["gene_id"].values]
    levels = np.random.default_rng(0).random((len(ids), 6))
    table = pd.DataFrame(levels, index=ids, columns=[f"E{k:03}" for k in range(1, 7)])
    table.rename_axis("gene_id").to_csv(tmp_path / "rpkm.tsv", sep="\t")
    (tmp_path / "pairs.tsv").write_text(f"{ids[0]}\t{ids[1]}\n")
    (tmp_path / "sets.gmt").write_text("\t".join(["set", "", *ids[:5]]) + "\n")
    monkeypatch.chdir(tmp_path)
    run_commands(NEIGHBORS)
    made = run_python(NEIGHBORS)
    assert made["probability"].shape == (1, int(made["test"].sum()), 2)
    assert set(made["why"]["gene_id"]) == {ids[0]}


def test_the_page_on_one_encoder_for_many_cell_types_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = simplechrome.simulate(240, 4, seed=1, missing_marks={"SIM002": ["H3K4me3"]})
    every = simplechrome.from_arrays(
        made.signal,
        marks=made.marks,
        mark_present=made.mark_present,
        gene_ids=made.genes["gene_id"],
        cell_types=made.cell_types,
        genes=made.genes,
        expression=made.expression,
    )
    simplechrome.save_dataset(every.isel(cell_type=[0, 1, 2]), tmp_path / "atlas.zarr")
    simplechrome.save_dataset(every.isel(cell_type=[3]), tmp_path / "mine.zarr")
    monkeypatch.chdir(tmp_path)
    run_commands(LATENT)
    assert (tmp_path / "latents.html").is_file()
    assert set(pd.read_csv(tmp_path / "change.tsv", sep="\t")["cell_type"]) == {"SIM002 - SIM003"}
    names = run_python(LATENT)
    assert names["filled"]["mark_present"].values.all()
    assert names["latents"].shape[:2] == (1, 240)
    assert len(names["table"]) == 240


def test_settings_of_the_benchmark_page_are_understood() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", read_page(BENCHMARK), re.DOTALL)
    models = choose_models(make_benchmark_config(tomllib.loads(text))).applicable
    assert "pca20:wide" in {model.name for model in models}
