"""Moving a model to other tracks is said aloud."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from simplechrome import PCA, RawWindow, from_arrays, merge
from simplechrome.evaluation.transfer import warn_of_transfer

MARKS = ["H3K4me3", "H3K27me3"]


def tracks(
    factor: int = 1,
    present: tuple[bool, bool] = (True, True),
    cell_type: str = "A",
    units: str = "reads",
) -> xr.Dataset:
    """Six genes of four bins, 1 to 6 reads in all bins of gene 1 to 6, times a depth."""
    signal = np.broadcast_to(np.arange(1, 7)[None, :, None, None], (1, 6, 4, 2)) * factor
    return from_arrays(
        signal,
        marks=MARKS,
        gene_ids=[f"g{k}" for k in range(6)],
        cell_types=[cell_type],
        mark_present=np.array([present]),
        units=units,
    )


def test_training_data_pass_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_transfer(tracks(), RawWindow().fit(tracks()))
    assert caplog.text == ""


def test_missing_mark_of_a_cell_type_is_named(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_transfer(tracks(present=(True, False)), RawWindow().fit(tracks()))
    assert "1 of 1 cell types lack marks of the model" in caplog.text
    assert "A lacks H3K27me3" in caplog.text
    assert "differ in level" not in caplog.text


def test_deeper_tracks_are_named_with_their_shift(caplog: pytest.LogCaptureFixture) -> None:
    # Means of log(1 + reads): log(7!)/6 = 1.4209 in training; with thrice the reads
    # log(4 · 7 · 10 · 13 · 16 · 19)/6 = 2.3195. Deviation in training .4249: shift +2.11.
    warn_of_transfer(tracks(3), RawWindow().fit(tracks()))
    assert "H3K4me3 +2.11, H3K27me3 +2.11" in caplog.text
    assert "Trust their ranks (AUROC) more than their probabilities" in caplog.text
    assert "`simplechrome merge`" in caplog.text


def test_many_cell_types_make_one_line_per_matter(caplog: pytest.LogCaptureFixture) -> None:
    deep = [tracks(3, cell_type=f"deep{k}") for k in range(7)]
    data = merge([tracks(), *deep, tracks(present=(True, False), cell_type="lacking")])
    warn_of_transfer(data, RawWindow().fit(tracks()))
    lacking, far = (record.getMessage() for record in caplog.records)
    assert "1 of 9 cell types lack marks" in lacking
    assert "(lacking lacks H3K27me3)" in lacking
    assert "7 of 9 cell types differ" in far
    assert "deep4: H3K4me3 +2.11, H3K27me3 +2.11; …)" in far
    assert "deep5" not in far


def test_mark_without_data_in_any_window_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    data = tracks()
    data["observed"].values[:, :, 0] = 0
    warn_of_transfer(data, RawWindow().fit(tracks()))
    assert "A lacks H3K4me3" in caplog.text


def test_marks_are_matched_by_name_and_unknown_ones_left_to_the_encoder(
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = tracks(3).isel(mark=[1])
    warn_of_transfer(data, RawWindow().fit(tracks()))
    assert [record.getMessage().count("H3K27me3 +2.11") for record in caplog.records] == [1]
    assert "H3K4me3" not in caplog.text


def test_mark_that_no_training_window_had_is_not_compared(
    caplog: pytest.LogCaptureFixture,
) -> None:
    warn_of_transfer(tracks(), PCA(1).fit(tracks(present=(True, False))))
    assert caplog.text == ""


def test_other_units_are_named(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_transfer(tracks(units="mean_signal"), RawWindow().fit(tracks()))
    assert "The signal is in mean_signal, and the model was fitted on reads" in caplog.text
