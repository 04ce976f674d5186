"""bigWig: per-base values averaged over bins, and clear errors for what is none."""

from __future__ import annotations

import itertools
import logging
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyBigWig
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simplechrome.errors import InputFormatError, SimpleChromeError
from simplechrome.sources.genome.genes import read_genes
from simplechrome.sources.tracks import bigwig
from simplechrome.sources.tracks.bigwig import bigwig_chromosomes, bin_bigwig
from simplechrome.sources.tracks.windows import Windows

SIZES = {"chr1": 1000, "chr2": 300}


def write(
    path: Path, intervals: list[tuple[str, int, int, float]], sizes: dict[str, int] = SIZES
) -> Path:
    file = pyBigWig.open(str(path), "w")
    file.addHeader(list(sizes.items()))
    for chrom, start, end, value in intervals:
        file.addEntries([chrom], [start], ends=[end], values=[float(value)])
    file.close()
    return path


def windows(*places: tuple[str, int], n_bins: int = 2, bin_size: int = 10) -> Windows:
    chrom = np.array([name for name, _ in places], object)
    start = np.array([place for _, place in places], np.int64)
    return Windows(chrom, start, np.zeros(len(places), bool), n_bins, bin_size)


@pytest.fixture
def track(tmp_path: Path) -> Path:
    # chr1: 100-110 is 2, 110-115 is 4, 115-120 has no data; 990-1000 is 1.
    places = [("chr1", 100, 110, 2), ("chr1", 110, 115, 4), ("chr1", 990, 1000, 1)]
    return write(tmp_path / "t.bw", places)


@pytest.mark.parametrize(
    ("starts", "values", "observed"),
    [
        # 10 bases of 2; 5 bases of 4 and 5 without data: 20 / 10.
        ([100], [[2, 2]], [0.75]),
        # 985-995: 5 bases of 1; 995-1005: 5 bases of 1 and 5 behind the end.
        ([985, -5, 5000], [[0.5, 0.5], [0, 0], [0, 0]], [0.5, 0, 0]),
        # 95-105: 5 of 2. 105-115: 5 of 2 and 5 of 4. 115-125: none.
        ([105, 100, 95], [[3, 0], [2, 2], [1, 3]], [0.5, 0.75, 0.75]),
    ],
)
def test_mean_counts_bases_without_data_as_zero(
    track: Path, starts: list[int], values: list[list[float]], observed: list[float]
) -> None:
    found = bin_bigwig(track, windows(*[("chr1", at) for at in starts]), gaps="missing")
    assert found.values.tolist() == values
    assert found.observed.tolist() == observed
    assert found.observed.dtype == np.float32
    assert found.units == "mean_signal"
    assert found.depth == 50.0  # of the whole track: 10 * 2 + 5 * 4 + 10 * 1


def test_gaps_taken_for_zeros_are_observed_inside_of_the_chromosome(
    track: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    places = windows(("chr1", 985), ("chr1", -5), ("chr1", 500), ("chr9", 0), ("", 0))
    found = bin_bigwig(track, places, gaps="zero")
    assert found.observed.tolist() == [0.75, 0.75, 1, 0, 0]
    assert len(caplog.messages) == 1
    assert "t.bw: bases without data are taken for zeros; 1 of the 1 windows" in caplog.text


def test_nan_values_are_no_data(tmp_path: Path) -> None:
    path = write(tmp_path / "n.bw", [("chr1", 0, 10, float("nan")), ("chr1", 10, 15, 2)])
    for approximate in (False, True):
        found = bin_bigwig(path, windows(("chr1", 0)), gaps="missing", approximate=approximate)
        assert found.values.tolist() == [[0, 1]]
        assert found.observed.tolist() == [0.25]
    assert np.isnan(found.depth)


def test_infinite_values_are_an_error_with_their_place(tmp_path: Path) -> None:
    path = write(tmp_path / "i.bw", [("chr1", 112, 115, float("inf"))])
    with pytest.raises(InputFormatError, match=r"(?s)infinite.*chr1:110-120"):
        bin_bigwig(path, windows(("chr1", 100)))


def test_small_values_beside_huge_ones_are_not_lost(tmp_path: Path) -> None:
    path = write(tmp_path / "h.bw", [("chr1", 0, 10, 1e30), ("chr1", 10, 20, 0.5)])
    assert bin_bigwig(path, windows(("chr1", 0), ("chr1", 10))).values[:, 0].tolist() == [
        pytest.approx(1e30),
        0.5,
    ]


def test_progress_reaches_one_and_never_goes_back(track: Path) -> None:
    seen: list[float] = []
    bin_bigwig(track, windows(*[("chr1", 10 * i) for i in range(90)]), progress=seen.append)
    assert seen[-1] == 1.0
    assert seen == sorted(seen)


@given(data=st.data())
@settings(max_examples=40)
def test_equals_the_average_over_bases(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    edges = data.draw(st.lists(st.integers(0, 300), min_size=2, max_size=40, unique=True))
    edges.sort()
    signal = np.full(300, np.nan)
    intervals = []
    for start, end in itertools.pairwise(edges):
        value = data.draw(st.none() | st.floats(-1e6, 1e6, width=32))
        if value is not None:
            intervals.append(("chr2", start, end, value))
            signal[start:end] = value
    if not intervals:
        return
    path = write(tmp_path_factory.mktemp("p") / "p.bw", intervals)
    bin_size = data.draw(st.integers(1, 20))
    n_bins = data.draw(st.integers(1, 6))
    starts = data.draw(st.lists(st.integers(-100, 400), min_size=1, max_size=8))
    wanted = windows(*[("chr2", start) for start in starts], n_bins=n_bins, bin_size=bin_size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bigwig, "_PIECE", data.draw(st.sampled_from([16, 1 << 20])))
        patch.setattr(bigwig, "_JOIN_WITHIN", data.draw(st.sampled_from([0, 50])))
        found = bin_bigwig(path, wanted, gaps="missing")
    padded = np.concatenate([np.full(200, np.nan), signal, np.full(300, np.nan)])
    for row, start in enumerate(starts):
        bases = padded[200 + start : 200 + start + wanted.width]
        expected = np.nan_to_num(bases).reshape(n_bins, bin_size).mean(axis=1)
        np.testing.assert_allclose(found.values[row], expected, rtol=1e-12, atol=1e-9)
        assert found.observed[row] == np.float32(np.isfinite(bases).mean())


def test_zoom_levels_are_used_only_on_request(tmp_path: Path) -> None:
    # 2 and 0 in turn over 100 bases each; bins of 10,000 bases begin in the middle of a zoom bin.
    starts = np.arange(0, 900_000, 100)
    file = pyBigWig.open(str(tmp_path / "z.bw"), "w")
    file.addHeader([("chr1", 1_000_000)])
    file.addEntries(
        ["chr1"] * len(starts), starts, ends=starts + 50, values=np.arange(len(starts)) % 7.0
    )
    file.close()
    wanted = windows(("chr1", 100_030), n_bins=5, bin_size=10_010)
    exact = bin_bigwig(tmp_path / "z.bw", wanted).values
    rough = bin_bigwig(tmp_path / "z.bw", wanted, approximate=True).values
    bases = pyBigWig.open(str(tmp_path / "z.bw")).values("chr1", 100_030, 150_080, numpy=True)
    expected = np.nan_to_num(bases).astype(float).reshape(5, -1).mean(axis=1)
    np.testing.assert_allclose(exact[0], expected, rtol=1e-12)
    np.testing.assert_allclose(rough, exact, rtol=0.05)
    assert (rough != exact).any()


def test_depth_is_unknown_where_the_summary_was_never_written(track: Path) -> None:
    assert bigwig_chromosomes(track) == SIZES
    data = bytearray(track.read_bytes())
    data[44:52] = bytes(8)
    track.write_bytes(data)
    assert np.isnan(bin_bigwig(track, windows(("chr1", 100))).depth)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>404", r"(?s)not a bigWig.*a web page"),
        (b"chr1\t0\t10\t1.5\n", r"(?s)not a bigWig.*text that begins with 'chr1"),
        (b"\x1f\x8b\x08\x04\x00\x00", r"(?s)not a bigWig.*BAM"),
        (b"\xeb\xf2\x89\x87" + bytes(100), r"(?s)not a bigWig.*bigBed"),
        (b"\x00\x01\x02\x03" + bytes(100), r"not a bigWig: it is binary data"),
    ],
)
def test_other_files_are_named_for_what_they_are(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "x.bw"
    path.write_bytes(content)
    with pytest.raises(InputFormatError, match=message):
        bigwig_chromosomes(path)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)
    with pytest.raises(InputFormatError, match="pipe"):
        bigwig_chromosomes(pipe)
    os.close(writer)


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("larger") / "l.bw"
    file = pyBigWig.open(str(path), "w")
    file.addHeader([("chr1", 400_000), ("chr2", 100_000)])
    for chrom, size in (("chr1", 400_000), ("chr2", 100_000)):
        ends = np.arange(50, size + 1, 50)
        values = rng.gamma(1, 1, len(ends))
        file.addEntries([chrom] * len(ends), ends - 50, ends=ends, values=values)
    file.close()
    return path


@pytest.mark.parametrize("twentieth", range(0, 20, 3))
def test_a_file_cut_anywhere_is_one_clear_error(
    larger: Path, tmp_path: Path, twentieth: int
) -> None:
    data = larger.read_bytes()
    path = tmp_path / "cut.bw"
    whole = windows(("chr1", 0), ("chr2", 0), n_bins=10, bin_size=10_000)
    # The last four bytes are a signature that old programs did not write.
    for place in {twentieth * len(data) // 20, len(data) - 5 - 31 * twentieth}:
        path.write_bytes(data[:place])
        with pytest.raises(
            InputFormatError, match=r"cut\.bw is (not a bigWig: it is empty|damaged or cut off)"
        ):
            bin_bigwig(path, whole)


def test_damaged_data_are_an_error_though_the_library_panics(
    larger: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(larger.read_bytes())
    data[2000:2010] = bytes(10)
    path = tmp_path / "flipped.bw"
    path.write_bytes(data)
    with pytest.raises(InputFormatError, match=r"flipped\.bw is damaged"):
        bin_bigwig(path, windows(("chr1", 0), n_bins=10, bin_size=10_000))
    capfd.readouterr()  # what the panic wrote


@pytest.mark.parametrize(
    "place",
    # The length of a block; in the list of chromosomes, the length of names and their number.
    [(0, 55), (8, 11), (8, 22)],
)
def test_absurd_lengths_do_not_end_the_process(
    larger: Path, tmp_path: Path, place: tuple[int, int]
) -> None:
    data = bytearray(larger.read_bytes())
    base, offset = place
    data[(int.from_bytes(data[base : base + 8], "little") if base else 0) + offset] = 0xF7
    path = tmp_path / "absurd.bw"
    path.write_bytes(data)
    with pytest.raises(InputFormatError, match=r"invalid lengths|list of chromosomes"):
        bigwig_chromosomes(path)


def test_a_file_without_the_closing_signature_is_read_if_all_else_is_there(
    larger: Path, tmp_path: Path
) -> None:
    # As programs of 2009 wrote it.
    path = tmp_path / "old.bw"
    path.write_bytes(larger.read_bytes()[:-4])
    assert bigwig_chromosomes(path) == {"chr1": 400_000, "chr2": 100_000}


@pytest.mark.real_data
def test_pilot_tracks_equal_the_average_over_bases(shared_data: Path) -> None:
    folder = shared_data / "tracks_pilot_hg19"
    regions = pd.read_csv(
        folder / "regions.bed", sep="\t", header=None, usecols=[0, 1, 2], names=["c", "s", "e"]
    )
    tracks = sorted(folder.glob("*.bigWig"))
    assert len(tracks) == 15
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        tables = {
            371: read_genes(shared_data / "genes_hg19.tsv.gz"),
            352: read_genes(shared_data / "genes_hg19.gtf.gz"),
        }
        logging.disable(logging.NOTSET)
    for n_inside, genes in tables.items():
        every = Windows.around_tss(genes)
        inside = np.zeros(len(every), bool)
        for chrom, start, end in regions.itertuples(index=False):
            inside |= (
                (every.chrom == chrom) & (every.start >= start) & (every.start + every.width <= end)
            )
        assert inside.sum() == n_inside
        # Those without data cost time, and are looked at in one track only.
        near = genes["chrom"].isin(regions["c"]).to_numpy()
        for number, path in enumerate(tracks):
            chosen = near if number == 0 else inside
            some = Windows.around_tss(genes[chosen])
            found = bin_bigwig(path, some)
            assert ((found.observed >= 0.9999) == inside[chosen]).all()
            rows = np.flatnonzero(inside[chosen])
            means = np.empty((n_inside, 100))
            with pyBigWig.open(str(path)) as oracle:
                for each, row in enumerate(rows):
                    start = int(some.start[row])
                    bases = oracle.values(some.chrom[row], start, start + 10_000, numpy=True)
                    bases = bases[::-1] if some.backwards[row] else bases
                    means[each] = bases.astype(float).reshape(100, 100).mean(axis=1)
            along = some.along_genes(found.values)[rows]
            np.testing.assert_allclose(along, means, rtol=0, atol=1e-5)


def test_every_error_is_one_of_the_house(tmp_path: Path) -> None:
    path = tmp_path / "noise.bw"
    for seed in range(30):
        noise = np.random.default_rng(seed).bytes(400)
        path.write_bytes(bytes.fromhex("26fc8f88") + noise)
        with pytest.raises(SimpleChromeError):
            bigwig_chromosomes(path)
