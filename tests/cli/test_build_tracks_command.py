"""`simplechrome build tracks` as its user runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
from track_files import random_reads, write_bam, write_bigwig

import simplechrome
from simplechrome.cli.build import tracks
from simplechrome.dataset.building.options import TrackOptions

SIZES = {"chr1": 20_000}
Call = Callable[..., tuple[int, str, str]]


def test_every_setting_of_the_library_is_an_option() -> None:
    options = {option.name for option in tracks.get_params(click.Context(tracks))}
    assert set(TrackOptions.model_fields) <= options


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = [("chr1", start, start + 50, start / 1000) for start in range(0, 20_000, 50)]
    write_bigwig(tmp_path / "x.bw", SIZES, rows)
    write_bam(tmp_path / "x.bam", SIZES, random_reads(0, SIZES, 200))
    (tmp_path / "genes.gtf").write_text(
        '1\tx\tgene\t10001\t12000\t.\t+\t.\tgene_id "A.2"; gene_type "protein_coding";\n'
        '1\tx\tgene\t7001\t10000\t.\t-\t.\tgene_id "B.1"; gene_type "protein_coding";\n'
    )
    (tmp_path / "sheet.tsv").write_text("cell_type\tmark\tpath\nX\tH3K4me3\tx.bw\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(call: Call) -> Call:
    """Build from the sheet and the genes of the present folder."""
    command = ("build", "tracks", "--sheet", "sheet.tsv", "--genes", "genes.gtf", "-o", "m.zarr")
    return lambda *arguments: call(*command, *arguments)


def test_a_gtf_with_ensembl_names_meets_tracks_with_ucsc_names(inputs: Path, run: Call) -> None:
    code, out, err = run("--flank", "1000")
    assert code == 0, err
    assert "m.zarr: 1 cell types, 2 genes, 20 bins, 1 marks" in out
    assert "translated to UCSC style (1 to chr1)" in err
    dataset = simplechrome.open_dataset("m.zarr")
    # Bin [9000, 9100) holds the steps 9.00 and 9.05; on the minus strand the first bin is
    # [10900, 11000) read backwards.
    assert dataset["signal"].values[0, :, 0, 0] == pytest.approx([9.025, 10.925], abs=1e-4)
    assert dataset.attrs["build"]["count"] == "overlap"


def test_options_for_reads_are_understood(inputs: Path, run: Call) -> None:
    (inputs / "sheet.tsv").write_text("cell_type\tmark\tpath\nX\tH3K4me3\tx.bam\n")
    options = ["--flank", "1000", "--count", "five-prime", "--shift", "75", "--normalize", "cpm"]
    code, _, err = run(*options, "--exclude-chroms", "chrY")
    assert code == 0, err
    dataset = simplechrome.open_dataset("m.zarr")
    assert dataset["signal"].attrs["units"] == "CPM"
    assert np.allclose(dataset["signal"].values % 5000, 0)  # 200 reads: one is 5,000 of a million


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--flank", "150"], "--flank 5000 --bin-size 100"),
        (["--assembly", "hg19", "--drop-unobserved", "3"], "--drop-unobserved"),
        (["--subtract-control"], "names no control"),
        (["--shift", "10"], "only 5' ends are shifted"),
    ],
)
def test_wrong_options_end_in_one_error_and_nothing_is_left(
    inputs: Path, run: Call, options: list[str], said: str
) -> None:
    code, _, err = run(*options)
    assert code != 0
    assert said in err
    assert "Traceback" not in err
    assert not list(inputs.glob("m.zarr*"))
