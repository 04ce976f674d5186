"""Tracks to a dataset: one command, exact, resumed after any end."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from track_files import random_reads, write_bam, write_bigwig

import simplechrome
from simplechrome.dataset.building import tracks
from simplechrome.dataset.building.tracks import build_tracks_on_disk
from simplechrome.errors import (
    ConfigError,
    GenomeMismatchError,
    InputFormatError,
    MissingInputError,
    OutputExistsError,
)

Patch = pytest.MonkeyPatch

SIZES = {"chr1": 20_000, "chr2": 10_000}
GENES = """gene_id\tsymbol\tchrom\ttss\tstrand
A\ta\tchr1\t5000\t+
B\tb\tchr1\t9000\t-
C\tc\tchr2\t300\t+
D\td\tchr3\t5000\t+
"""
WINDOW = {"flank": 1000, "bin_size": 100}


def intervals(seed: int) -> list[tuple[str, int, int, float]]:
    """Steps of 25 bp over both chromosomes."""
    rng = np.random.default_rng(seed)
    return [
        (chrom, start, start + 25, float(rng.integers(1, 9)))
        for chrom, size in SIZES.items()
        for start in range(0, size, 25)
    ]


def per_base(rows: list[tuple[str, int, int, float]], chrom: str) -> np.ndarray:
    values = np.zeros(SIZES[chrom])
    for name, start, end, value in rows:
        if name == chrom:
            values[start:end] = value
    return values


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Two cell types, the second without H3K27me3."""
    (tmp_path / "genes.tsv").write_text(GENES)
    for seed, name in enumerate(("X-H3K4me3", "X-H3K27me3", "Y-H3K4me3")):
        write_bigwig(tmp_path / f"{name}.bw", SIZES, intervals(seed))
    (tmp_path / "sheet.tsv").write_text(
        "cell_type\tmark\tpath\n"
        "X\tH3K4me3\tX-H3K4me3.bw\nX\tH3K27me3\tX-H3K27me3.bw\nY\tH3K4me3\tY-H3K4me3.bw\n"
    )
    return tmp_path


def build(folder: Path, **options: object) -> Path:
    arguments = {"genes": folder / "genes.tsv", **WINDOW, **options}
    return build_tracks_on_disk(folder / "sheet.tsv", folder / "mine.zarr", **arguments)  # type: ignore[arg-type]


def test_bins_are_means_of_the_bases_in_the_direction_of_transcription(inputs: Path) -> None:
    dataset = simplechrome.open_dataset(build(inputs))
    assert dict(dataset.sizes) == {"cell_type": 2, "gene": 4, "bin": 20, "mark": 2}
    bases = per_base(intervals(0), "chr1")
    signal = dataset["signal"].sel(cell_type="X", mark="H3K4me3").values
    np.testing.assert_allclose(signal[0], bases[4000:6000].reshape(20, 100).mean(1), rtol=1e-6)
    backwards = bases[8001:10001][::-1].reshape(20, 100).mean(1)
    np.testing.assert_allclose(signal[1], backwards, rtol=1e-6)
    assert dataset["signal"].attrs["units"] == "mean_signal"


def test_what_is_not_there_is_masked(inputs: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="simplechrome"):
        dataset = simplechrome.open_dataset(build(inputs))
    present = dataset["mark_present"].sel(cell_type="Y")
    assert present.sel(mark="H3K4me3")
    assert not present.sel(mark="H3K27me3")
    observed = dataset["observed"].sel(cell_type="X", mark="H3K4me3").values
    # C begins 700 bases before its chromosome: 1,300 of 2,000 are there. No track has chr3.
    np.testing.assert_allclose(observed, [1, 1, 0.65, 0])
    assert not dataset["signal"].values[:, 3].any()
    assert "1 of 4 genes lie on 1 chromosomes that no track has (chr3: 1)" in caplog.text


def test_genes_without_data_are_dropped_on_request(inputs: Path) -> None:
    dataset = simplechrome.open_dataset(build(inputs, drop_unobserved=0.7))
    assert dataset["gene_id"].values.tolist() == ["A", "B"]
    assert dataset.attrs["build"]["genes_left_out"]["observed too little"] == 2


def test_reads_are_counted_and_stay_whole_numbers(tmp_path: Path) -> None:
    (tmp_path / "genes.tsv").write_text(GENES)
    reads = random_reads(0, SIZES, 500)
    write_bam(tmp_path / "x.bam", SIZES, reads)
    (tmp_path / "sheet.tsv").write_text("cell_type\tmark\tpath\nX\tH3K4me3\tx.bam\n")
    dataset = simplechrome.open_dataset(build(tmp_path))
    assert dataset["signal"].dtype == np.uint16
    assert dataset["signal"].attrs["units"] == "reads"
    assert dataset["depth"].values.tolist() == [[500]]
    wanted = [
        sum(c == "chr1" and s < lo + 100 and s + n > lo for c, s, n, _ in reads)
        for lo in range(4000, 6000, 100)
    ]
    assert dataset["signal"].values[0, 0, :, 0].tolist() == wanted


def test_replicates_are_pooled_and_controls_subtracted(tmp_path: Path) -> None:
    (tmp_path / "genes.tsv").write_text(GENES)
    first, second, control = (
        random_reads(seed, SIZES, n) for seed, n in ((0, 300), (1, 200), (2, 1000))
    )
    for name, reads in (("a", first), ("b", second), ("c", control)):
        write_bam(tmp_path / f"{name}.bam", SIZES, reads)
    (tmp_path / "sheet.tsv").write_text(
        "cell_type\tmark\tpath\tcontrol\nX\tH3K4me3\ta.bam\tc.bam\nX\tH3K4me3\tb.bam\tc.bam\n"
    )
    plain = simplechrome.open_dataset(build(tmp_path))
    assert plain["depth"].values.tolist() == [[500]]
    taken = simplechrome.open_dataset(build(tmp_path, subtract_control=True, overwrite=True))

    def count(reads: list[tuple[str, int, int, str]], lo: int) -> int:
        return sum(c == "chr1" and s < lo + 100 and s + n > lo for c, s, n, _ in reads)

    for column, lo in enumerate(range(4000, 6000, 100)):
        pooled = count(first + second, lo)
        assert plain["signal"].values[0, 0, column, 0] == pooled
        # 500 reads against 1,000 of the control.
        left = max(0.0, pooled - 0.5 * count(control, lo))
        assert taken["signal"].values[0, 0, column, 0] == pytest.approx(left)


def test_normalized_reads_are_per_million(tmp_path: Path) -> None:
    (tmp_path / "genes.tsv").write_text(GENES)
    write_bam(tmp_path / "x.bam", SIZES, random_reads(0, SIZES, 500))
    (tmp_path / "sheet.tsv").write_text("cell_type\tmark\tpath\nX\tH3K4me3\tx.bam\n")
    plain = simplechrome.open_dataset(build(tmp_path))
    scaled = simplechrome.open_dataset(build(tmp_path, normalize="cpm", overwrite=True))
    np.testing.assert_allclose(scaled["signal"], plain["signal"] * 2000.0)
    assert scaled["signal"].attrs["units"] == "CPM"
    assert scaled.attrs["build"]["normalize"] == "cpm"


def test_expression_and_labels_come_along(inputs: Path) -> None:
    (inputs / "rpkm.tsv").write_text("gene_id\tX\tY\nA\t5\t1\nB\t1\t2\nC\t0\t3\n")
    dataset = simplechrome.open_dataset(build(inputs, expression=inputs / "rpkm.tsv"))
    assert dataset["label"].sel(cell_type="X").values.tolist() == [1, 0, 0, -1]
    assert dataset["expression"].sel(cell_type="Y").values[:3].tolist() == [1, 2, 3]


def test_expression_of_other_cell_types_fails_before_tracks_are_read(
    inputs: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(tracks, "bin_track", None)
    (inputs / "rpkm.tsv").write_text("gene_id\tZ\nA\t5\n")
    with pytest.raises(InputFormatError, match="none of the dataset's cell types"):
        build(inputs, expression=inputs / "rpkm.tsv")
    (inputs / "rpkm.tsv").write_text("gene_id\tX\nENSG1\t5\n")
    with pytest.raises(InputFormatError, match="None of the dataset's 4 genes"):
        build(inputs, expression=inputs / "rpkm.tsv")
    assert not (inputs / "mine.zarr").exists()


def test_processes_give_the_same_dataset(inputs: Path) -> None:
    one = simplechrome.open_dataset(build(inputs))
    two = simplechrome.open_dataset(build(inputs, jobs=2, overwrite=True))
    assert one.identical(two)


def test_a_track_that_was_read_is_not_read_again(inputs: Path, monkeypatch: Patch) -> None:
    whole = simplechrome.open_dataset(build(inputs))
    read: list[str] = []
    honest = tracks.bin_track

    def stops_at_the_third(path: str, *arguments: object, **options: object) -> object:
        if len(read) == 2:
            raise KeyboardInterrupt
        read.append(Path(path).name)
        return honest(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(tracks, "bin_track", stops_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        build(inputs, overwrite=True)
    assert simplechrome.open_dataset(inputs / "mine.zarr").identical(whole)
    with pytest.raises(OutputExistsError):
        build(inputs)
    read.clear()
    # The file that was read first has changed since.
    write_bigwig(inputs / "X-H3K4me3.bw", SIZES, intervals(9))
    with pytest.raises(ConfigError, match="flank"):
        build(inputs, resume=True, overwrite=True, flank=500)
    resumed = simplechrome.open_dataset(build(inputs, resume=True, overwrite=True))
    assert read == ["X-H3K4me3.bw", "Y-H3K4me3.bw"]
    assert not resumed.identical(whole)
    monkeypatch.setattr(tracks, "bin_track", honest)
    anew = simplechrome.open_dataset(build(inputs, overwrite=True))
    assert resumed.identical(anew)


def test_ensembl_names_of_genes_are_translated(inputs: Path) -> None:
    expected = simplechrome.open_dataset(build(inputs))
    (inputs / "genes.tsv").write_text(GENES.replace("\tchr", "\t").replace("\tom", "\tchrom"))
    translated = simplechrome.open_dataset(build(inputs, overwrite=True))
    assert translated.identical(expected.assign_attrs(translated.attrs))
    with pytest.raises(GenomeMismatchError):
        build(inputs, overwrite=True, chrom_style="exact")


def test_genes_of_another_genome_fail_before_reading(inputs: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(tracks, "bin_track", None)
    (inputs / "genes.tsv").write_text(
        GENES.replace("\tchr", "\tNC_00000").replace("NC_00000om", "chrom")
    )
    with pytest.raises(GenomeMismatchError, match="NC_00000"):
        build(inputs)
    assert not list(inputs.glob("*.unfinished"))


def test_blacklisted_genes_are_left_out(inputs: Path) -> None:
    (inputs / "blacklist.bed").write_text("chr1\t5990\t5995\n")
    dataset = simplechrome.open_dataset(build(inputs, blacklist=inputs / "blacklist.bed"))
    assert dataset["gene_id"].values.tolist() == ["B", "C", "D"]


def test_missing_files_are_named_before_anything_is_written(inputs: Path) -> None:
    (inputs / "X-H3K4me3.bw").unlink()
    with pytest.raises(MissingInputError, match=r"X-H3K4me3\.bw"):
        build(inputs)
    assert not list(inputs.glob("mine*"))
