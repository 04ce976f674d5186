"""Moving a model to other tracks is said aloud."""

from __future__ import annotations

import numpy as np
import pytest

from simplechrome import RawWindow, from_arrays
from simplechrome.evaluation.transfer import warn_of_transfer

MARKS = ["H3K4me3", "H3K27me3"]


def tracks(factor: int = 1, present: tuple[bool, bool] = (True, True)):
    """Six genes of four bins, 1 to 6 reads in all bins of gene 1 to 6, times a depth."""
    signal = np.broadcast_to(np.arange(1, 7)[None, :, None, None], (1, 6, 4, 2)) * factor
    ids = [f"g{k}" for k in range(6)]
    return from_arrays(
        signal, marks=MARKS, gene_ids=ids, cell_types=["A"], mark_present=np.array([present])
    )


def test_training_data_pass_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_transfer(tracks(), RawWindow().fit(tracks()))
    assert caplog.text == ""


def test_missing_mark_of_a_cell_type_is_named(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_transfer(tracks(present=(True, False)), RawWindow().fit(tracks()))
    assert "A lacks H3K27me3" in caplog.text
    assert "differs" not in caplog.text


def test_deeper_tracks_are_named_with_their_shift(caplog: pytest.LogCaptureFixture) -> None:
    # Means of log(1 + reads): log(7!)/6 = 1.4209 in training; with thrice the reads
    # log(4 · 7 · 10 · 13 · 16 · 19)/6 = 2.3195. Deviation in training .4249: shift +2.11.
    warn_of_transfer(tracks(3), RawWindow().fit(tracks()))
    assert "H3K4me3 +2.11, H3K27me3 +2.11" in caplog.text
