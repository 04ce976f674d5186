"""What a hostile user found: each ends in one clear error, or in the right numbers."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from track_files import random_reads, write_bam, write_bigwig

import simplechrome
from simplechrome.dataset.building import build as building
from simplechrome.dataset.building import track_plan
from simplechrome.dataset.building.tracks import build_tracks_on_disk
from simplechrome.errors import (
    ConfigError,
    GenomeMismatchError,
    InputFormatError,
    MissingInputError,
    OutputError,
)

Caplog = pytest.LogCaptureFixture
Patch = pytest.MonkeyPatch

SIZES = {"chr1": 20_000, "chr2": 10_000}
GENES = "gene_id\tchrom\ttss\tstrand\nA\tchr1\t5000\t+\nB\tchr2\t4000\t-\n"
READS = [(chrom, start, 36, "+") for chrom in SIZES for start in range(3_000, 6_000, 50)]


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    (tmp_path / "genes.tsv").write_text(GENES)
    write_bigwig(tmp_path / "x.bw", SIZES, steps(SIZES))
    write_sheet(tmp_path, "X\tH3K4me3\tx.bw")
    return tmp_path


def steps(sizes: dict[str, int], value: float = 1.5) -> list[tuple[str, int, int, float]]:
    return [(name, at, at + 50, value) for name, size in sizes.items() for at in range(0, size, 50)]


def write_sheet(folder: Path, *lines: str, columns: str = "cell_type\tmark\tpath") -> None:
    (folder / "sheet.tsv").write_text("\n".join([columns, *lines]) + "\n")


def write_bed(path: Path, names: dict[str, str], first: str = "") -> None:
    rows = (f"{names[c]}\t{start}\t{start + n}\tr\t0\t{s}\n" for c, start, n, s in READS)
    path.write_text(first + "".join(rows))


def build(folder: Path, output: str = "mine.zarr", **options: object) -> np.ndarray:
    arguments = {"genes": folder / "genes.tsv", "flank": 1000, **options}
    path = build_tracks_on_disk(folder / "sheet.tsv", folder / output, **arguments)  # type: ignore[arg-type]
    return np.asarray(simplechrome.open_dataset(path)["signal"].values)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*mine*") if not path.name.endswith(".lock"))


def test_files_of_one_name_and_two_assemblies(inputs: Path) -> None:
    (inputs / "Y").mkdir()
    other = {"chr1": 20_500, "chr2": 10_000}
    write_bigwig(inputs / "Y" / "x.bw", other, steps(other))
    write_sheet(inputs, "X\tH3K4me3\tx.bw", "Y\tH3K4me3\tY/x.bw")
    with pytest.raises(
        GenomeMismatchError, match=r"chr1 has 20,500 bases in .*Y/x\.bw and 20,000 in"
    ):
        build(inputs)


def test_a_stated_assembly_is_compared_though_no_known_one_fits(inputs: Path) -> None:
    with pytest.raises(GenomeMismatchError, match="not of GRCh37") as caught:
        build(inputs, assembly="GRCh37")
    assert "chr1 has 20,000 bases" in caught.value.problem
    assert "not 249,250,621" in caught.value.problem


@pytest.mark.parametrize("first", ["", "NC_007605\t0\t36\tr\t0\t+\n"], ids=["plain", "decoy"])
def test_a_decoy_does_not_hide_the_style_of_text(inputs: Path, first: str) -> None:
    write_bed(inputs / "x.bed", {"chr1": "1", "chr2": "2"}, first)
    write_sheet(inputs, "X\tH3K4me3\tx.bed")
    assert build(inputs).sum() > 0


def test_aliases_hold_for_text_and_blacklists(inputs: Path) -> None:
    write_bed(inputs / "x.bed", {"chr1": "NC_1", "chr2": "NC_2"})
    write_sheet(inputs, "X\tH3K4me3\tx.bed")
    aliases = inputs / "aliases.tsv"
    aliases.write_text("chr1\tNC_1\nchr2\tNC_2\n")
    with pytest.raises(GenomeMismatchError, match="None of the 2 chromosome names"):
        build(inputs)
    assert left(inputs) == []  # known before anything is read
    whole = build(inputs, chrom_aliases=aliases)
    assert whole.shape[1] == 2
    (inputs / "black.bed").write_text("NC_1\t4900\t5100\n")
    cut = build(inputs, "cut.zarr", chrom_aliases=aliases, blacklist=inputs / "black.bed")
    assert cut.shape[1] == 1


def test_exact_names_are_not_translated_in_text(inputs: Path) -> None:
    write_bed(inputs / "x.bed", {"chr1": "1", "chr2": "2"})
    write_sheet(inputs, "X\tH3K4me3\tx.bed")
    with pytest.raises(GenomeMismatchError, match="no data in any of the 2 windows"):
        build(inputs, chrom_style="exact")


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (["X\tH3K4me3\tx.bw"], {"normalize": "cpm"}, "million reads"),
        (["X\tH3K4me3\tx.bw", "X\tH3K4me3\tx.bam"], {}, "names reads and signal"),
        (["X\tH3K4me3\tx.bw", "Y\tH3K4me3\tx.bam"], {}, "names reads and signal"),
        (["X\tH3K4me3\tx.bed"], {"min_mapping_quality": 3}, "no mapping qualities"),
        (
            ["X\tH3K4me3\tx.bw"],
            {"flank": 10**7, "bin_size": 1, "genes": 50},
            "values for each track",
        ),
    ],
    ids=["cpm", "replicates", "cell types", "quality", "memory"],
)
def test_what_cannot_go_together_is_known_before_reading(
    inputs: Path, lines: list[str], options: dict[str, object], message: str
) -> None:
    write_bam(inputs / "x.bam", SIZES, random_reads(0, SIZES, 50))
    write_bed(inputs / "x.bed", {"chr1": "chr1", "chr2": "chr2"})
    write_sheet(inputs, *lines)
    if n_genes := options.pop("genes", 0):
        rows = (f"g{k}\tchr1\t{k}\t+\n" for k in range(int(str(n_genes))))
        (inputs / "genes.tsv").write_text(GENES.splitlines()[0] + "\n" + "".join(rows))
    with pytest.raises((ConfigError, InputFormatError), match=message):
        build(inputs, **options)
    assert left(inputs) == []


def test_damaged_index_and_data_of_a_bigwig(
    inputs: Path, capfd: pytest.CaptureFixture[str], monkeypatch: Patch
) -> None:
    """The length of a data block, far beyond the file, which aborts the library's process; then
    a byte in the block itself.
    """
    good = (inputs / "x.bw").read_bytes()
    index = int.from_bytes(good[24:32], "little")
    data = int.from_bytes(good[16:24], "little")
    length = index + 48 + 4 + 16 + 8  # of the first leaf entry, behind its place and its offset
    assert good[index + 48] == 1  # a leaf
    (inputs / "x.bw").write_bytes(good[: length + 6] + b"\x01" + good[length + 7 :])
    with monkeypatch.context() as patch:
        patch.setattr(track_plan, "ISOLATE", True)
        with pytest.raises(OutputError, match="by a damaged bigWig"):
            build(inputs)
        # The chromosomes' tree: planning must survive it as well.
        tree = int.from_bytes(good[8:16], "little")
        (inputs / "x.bw").write_bytes(good[: tree + 36] + b"\xff" * 8 + good[tree + 44 :])
        with pytest.raises(InputFormatError, match=r"x\.bw"):
            build(inputs)
    capfd.readouterr()
    middle = data + 8 + 40
    (inputs / "x.bw").write_bytes(good[:middle] + b"\xff\xff\xff" + good[middle + 3 :])
    with pytest.raises(InputFormatError, match=r"x\.bw is damaged"):
        build(inputs)
    assert "panicked" not in capfd.readouterr().err


def test_files_that_change_after_all_are_joined(inputs: Path, monkeypatch: Patch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(building, "_move_up", killed)
        with pytest.raises(KeyboardInterrupt):
            build(inputs)
    assert left(inputs) == ["mine.zarr.unfinished"]
    write_bigwig(inputs / "x.bw", SIZES, steps(SIZES, 2.5))
    assert build(inputs, resume=True).max() == 2.5


def test_changed_sheets_are_told_apart(inputs: Path, monkeypatch: Patch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(building, "_move_up", killed)
        with pytest.raises(KeyboardInterrupt):
            build(inputs)
    # How long a server may be silent is no other request; a scale is.
    write_sheet(inputs, "X\tH3K4me3\tx.bw\t2", columns="cell_type\tmark\tpath\tscale")
    changed = r"samples\.1 \(X H3K4me3\)\.scale: begun with 1\.0, now 2\.0"
    with pytest.raises(ConfigError, match=changed):
        build(inputs, resume=True, timeout=3)


def test_the_folder_that_one_stands_in_is_not_replaced(inputs: Path, monkeypatch: Patch) -> None:
    (inputs / "here").mkdir()
    monkeypatch.chdir(inputs / "here")
    for name in (".", str(inputs / "here")):
        with pytest.raises(OutputError, match="the working directory"):
            build_tracks_on_disk(inputs / "sheet.tsv", name, genes=inputs / "genes.tsv")
    assert (inputs / "here").is_dir()


def test_names_that_no_file_may_have(inputs: Path) -> None:
    with pytest.raises(OutputError, match="too long a name"):
        build(inputs, "x" * 245)
    for path, error in (("y" * 300, "do not exist"), ("~nobody/x.bw", "do not exist")):
        write_sheet(inputs, f"X\tH3K4me3\t{path}")
        with pytest.raises(MissingInputError, match=error):
            build(inputs)
    write_sheet(inputs, "X\tH3K4me3\thttp://[::1/x.bw")
    with pytest.raises(MissingInputError, match="is not a valid address"):
        build(inputs)
    (inputs / "black.bed").write_text("chr1\t0\t99999999999999999999\n")
    write_sheet(inputs, "X\tH3K4me3\tx.bw")
    with pytest.raises(InputFormatError, match="line 1 is not a region"):
        build(inputs, blacklist=inputs / "black.bed")


def test_values_that_no_dataset_holds(inputs: Path) -> None:
    (inputs / "x.bedGraph").write_text("chr1\t4000\t6000\t1e39\nchr2\t0\t9000\t1\n")
    write_sheet(inputs, "X\tH3K4me3\tx.bedGraph")
    with pytest.raises(InputFormatError, match=r"x\.bedGraph holds values that are too large"):
        build(inputs)
    write_sheet(inputs, "X\tH3K4me3\tx.bw\t1e39", columns="cell_type\tmark\tpath\tscale")
    with pytest.raises(InputFormatError, match="scale is '1e39'"):
        build(inputs)


def test_a_bedgraph_by_name_is_not_counted_as_reads(inputs: Path) -> None:
    (inputs / "x.bedGraph").write_text("chr1\t4000\t6000\t1.5\t7\n")
    write_sheet(inputs, "X\tH3K4me3\tx.bedGraph")
    with pytest.raises(InputFormatError, match=r"x\.bedGraph, line 1"):
        build(inputs)


def test_a_control_is_of_the_kind_that_its_row_says(inputs: Path) -> None:
    (inputs / "c.txt").write_text("chr1\t4500\t4536\t7\nchr1\t4510\t4546\t8\n")  # four columns
    write_bed(inputs / "x.bed", {"chr1": "chr1", "chr2": "chr2"})
    columns = "cell_type\tmark\tpath\tformat\tcontrol"
    write_sheet(inputs, "X\tH3K4me3\tx.bed\treads\tc.txt", columns=columns)
    assert build(inputs, subtract_control=True).max() > 0


def test_excluded_chromosomes_go_by_either_name(inputs: Path, caplog: Caplog) -> None:
    with caplog.at_level(logging.WARNING, logger="simplechrome"):
        assert build(inputs, exclude_chroms=("2",)).shape[1] == 1
    assert not caplog.records


def test_each_matter_is_said_once(inputs: Path, caplog: Caplog) -> None:
    write_bigwig(inputs / "x.bw", SIZES, [("chr1", 0, 20_000, 0.0), ("chr2", 0, 10_000, 0.0)])
    with caplog.at_level(logging.WARNING, logger="simplechrome"):
        build(inputs)
    assert sum("X H3K4me3 is empty" in line for line in caplog.messages) == 1
