"""Mixed-up, empty and mislabelled tracks are named; sound data pass in silence."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from simulated_dataset import simulated_dataset

from simplechrome import open_dataset
from simplechrome.dataset.building.build import build_arrays_on_disk
from simplechrome.dataset.inspect import (
    Correlations,
    describe,
    level_correlations,
    likely_swaps,
    quality_advice,
)

MARKS = ["H3K27me3", "H3K36me3", "H3K4me1", "H3K4me3", "H3K9me3"]


@pytest.fixture(scope="module")
def three() -> xr.Dataset:
    return simulated_dataset(300, 3)


def advice(dataset: xr.Dataset) -> str:
    return "\n".join(quality_advice(describe(dataset)))


def changed(dataset: xr.Dataset, signal: np.ndarray, units: str = "reads") -> xr.Dataset:
    return dataset.assign(signal=(dataset["signal"].dims, signal, {"units": units}))


def exchanged(dataset: xr.Dataset, cell_type: int, one: int, other: int) -> xr.Dataset:
    signal = dataset["signal"].values.copy()
    signal[cell_type][:, :, [one, other]] = signal[cell_type][:, :, [other, one]]
    return changed(dataset, signal)


def test_sound_data_raise_no_alarm(three: xr.Dataset) -> None:
    assert advice(three) == ""
    assert advice(three.isel(cell_type=[0])) == ""


def test_imputed_tracks_are_not_taken_for_odd_files(three: xr.Dataset) -> None:
    imputed = np.zeros((3, 5), bool)
    imputed[0, 2] = True
    signal = three["signal"].values.astype(np.float32)
    signal[0, :, :, 2] += 0.5
    odd = changed(three, signal)
    assert "values are not whole numbers" in advice(odd)
    assert advice(odd.assign(imputed=(("cell_type", "mark"), imputed))) == ""


@pytest.mark.parametrize(("one", "other"), [*combinations(range(5), 2)])
def test_two_exchanged_marks_are_named_and_no_others(
    three: xr.Dataset, one: int, other: int
) -> None:
    swaps = likely_swaps(level_correlations(exchanged(three, 1, one, other)))
    assert swaps == [("SIM002", MARKS[one], MARKS[other])]


def test_advice_names_the_exchanged_files(three: xr.Dataset) -> None:
    said = advice(exchanged(three, 1, 0, 3))
    assert "SIM002: H3K27me3 and H3K4me3 look exchanged. H3K27me3 is more like H3K4me3" in said


def test_two_exchanges_are_both_found(three: xr.Dataset) -> None:
    twice = exchanged(exchanged(three, 0, 1, 4), 2, 0, 3)
    assert set(likely_swaps(level_correlations(twice))) == {
        ("SIM001", "H3K36me3", "H3K9me3"),
        ("SIM003", "H3K27me3", "H3K4me3"),
    }


def test_of_two_cell_types_either_may_be_the_wrong_one(three: xr.Dataset) -> None:
    said = advice(exchanged(three.isel(cell_type=[0, 1]), 1, 0, 4))
    assert "SIM001 or SIM002: H3K27me3 and H3K9me3 look exchanged" in said


def test_swapped_promoter_and_body_mark_of_a_single_cell_type_are_named(three: xr.Dataset) -> None:
    said = advice(exchanged(three.isel(cell_type=[0]), 0, 1, 3))
    assert "SIM001 H3K4me3: within 1 kb of the TSS it has 0." in said
    assert "(usual: 1.5 or more). It fits H3K36me3, and H3K36me3 of this cell type fits" in said
    assert "(usual: 0.95 or less)" in said


def test_few_genes_or_narrow_windows_accuse_nobody(three: xr.Dataset) -> None:
    wrong = exchanged(three, 0, 1, 3)
    assert advice(wrong.isel(gene=slice(99))) == ""
    narrow = wrong.isel(bin=slice(5, 15))  # ± 2.5 kb
    assert "within 1 kb" not in advice(narrow)


def test_correlation_is_that_of_ranks_over_genes(three: xr.Dataset) -> None:
    data = (
        changed(three, three["signal"].values.astype(np.float32))
        .isel(cell_type=[0, 0])
        .assign_coords(cell_type=["A", "B"])
    )
    data["signal"].values[1] *= 7  # another depth, the same ranks
    found = level_correlations(data)
    assert found.tracks[0] == ("A", "H3K27me3")
    assert found.with_mark("A", "H3K4me3", "H3K4me3") == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(found.values, found.values.T)


def test_constant_track_is_like_no_other(three: xr.Dataset) -> None:
    signal = three["signal"].values.copy()
    signal[0, :, :, 0] = 4
    found = level_correlations(changed(three, signal))
    assert (found.values[0] == 0).all()


def test_mark_of_one_cell_type_has_no_other_to_be_like() -> None:
    alone = Correlations([("A", "H3K4me3"), ("B", "H3K9me3")], np.eye(2), 500)
    assert np.isnan(alone.with_mark("A", "H3K4me3", "H3K4me3"))
    assert likely_swaps(alone) == []


def test_broken_numbers_are_no_reads(three: xr.Dataset) -> None:
    signal = three["signal"].values.astype(np.float32)
    signal[1, :, :, 3] *= 0.37
    said = advice(changed(three, signal))
    assert "SIM002 H3K4me3: the units are reads, but values are not whole numbers" in said
    assert "unlike all other tracks" in advice(changed(three, signal, "mean_signal"))


def test_whole_numbers_in_other_units_may_be_reads(three: xr.Dataset) -> None:
    said = advice(changed(three, three["signal"].values, "fold_change"))
    assert "SIM001 H3K27me3, SIM001 H3K36me3" in said
    assert "and 10 more: the units are fold_change, but all values are whole numbers" in said


def test_values_below_zero_are_log_ratios(three: xr.Dataset) -> None:
    signal = three["signal"].values.astype(np.float32)
    signal[0, :, :, 1] -= 1
    said = advice(changed(three, signal))
    assert "SIM001 H3K36me3: values below 0, as log ratios have" in said
    assert "whole numbers" not in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("empty", "SIM001 H3K27me3: hardly any window holds signal"),
        ("unseen", "SIM001 H3K27me3: windows without any data (down to 50% have some)"),
    ],
)
def test_tracks_with_little_in_them_are_named(three: xr.Dataset, change: str, said: str) -> None:
    data = three.isel(cell_type=[0]).copy(deep=True)
    if change == "empty":
        data["signal"].values[0, 10:, :, 0] = 0
    else:
        data["observed"].values[0, ::2, 0] = 0
    assert said in advice(data)


@pytest.mark.real_data
def test_exchanged_real_marks_are_found_and_others_left_alone(
    shared_data: Path, tmp_path: Path
) -> None:
    """E027, E028 and E066: H3K27me3, H3K36me3 and H3K9me3 of each."""
    files = [shared_data / "roadmap_counts" / f"E{n}.npz" for n in ("027", "028", "066")]
    data = open_dataset(build_arrays_on_disk(files, tmp_path / "three.zarr"))
    marks = [str(mark) for mark in data["mark"].values]
    data = data.isel(mark=[marks.index(mark) for mark in ("H3K27me3", "H3K36me3", "H3K9me3")])
    assert advice(data) == ""
    for one, other in combinations(range(3), 2):
        found = likely_swaps(level_correlations(exchanged(data, 1, one, other)))
        names = [str(data["mark"].values[k]) for k in (one, other)]
        assert found == [("E028", *names)]
