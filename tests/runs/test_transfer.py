"""Moving a model to other tracks is said aloud."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from simplechrome import PCA, RawWindow, from_arrays, merge
from simplechrome.errors import ModelFormatError, ModelMismatchError
from simplechrome.runs.adapt import Adapted, adapt_signal, profile_signal, warn_of_transfer
from simplechrome.runs.apply import encode_with_run, fair_rows, predict_with_run
from simplechrome.runs.fit import Run
from simplechrome.runs.load import sides_of

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


def test_mark_that_no_training_window_had_is_not_compared(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_transfer(tracks(), PCA(1).fit(tracks(present=(True, False))))
    assert caplog.text == ""


GENES = [f"g{k}" for k in range(6)]


def adapt(data: xr.Dataset, fitted: xr.Dataset, **options: Any) -> Adapted:
    encoder = RawWindow().fit(fitted)
    return adapt_signal(data, encoder, profile_signal(fitted), GENES, **options)


def test_training_data_stay_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    data = merge([tracks(), tracks(3, cell_type="B")])
    adapted = adapt(data, data)
    assert adapted.dataset is data
    assert adapted.changes == ["", ""]
    assert caplog.text == ""


def test_deeper_tracks_are_brought_to_the_depth_of_training(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    data = tracks(3, cell_type="B")
    adapted = adapt(data, tracks())
    np.testing.assert_allclose(adapted.dataset["signal"], tracks()["signal"], rtol=1e-6)
    assert adapted.changes == ["H3K4me3 x 0.333, H3K27me3 x 0.333"]
    assert "Depth scaling brought 2 tracks to the level of training (B: H3K4me3" in caplog.text
    assert data["signal"].values.max() == 18  # what was given is untouched


def test_only_the_tracks_that_differ_are_scaled() -> None:
    data = merge([tracks(), tracks(2, cell_type="B", present=(True, False))])
    adapted = adapt(data, tracks())
    assert adapted.changes == ["", "H3K4me3 x 0.5"]
    assert (adapted.dataset["signal"].sel(cell_type="A") == tracks()["signal"][0]).all()
    assert (adapted.dataset["signal"].sel(cell_type="B").values[..., 1] == 0).all()


def test_a_difference_of_a_few_percent_is_none() -> None:
    data = tracks(100)
    data["signal"].values[:] += 5  # 100 to 105, 600 to 605: a factor of 1.02 in the middle
    assert adapt(data, tracks(100)).dataset is data


def test_no_depth_scaling_leaves_the_signal(caplog: pytest.LogCaptureFixture) -> None:
    data = tracks(3)
    assert adapt(data, tracks(), depth_scaling=False).dataset is data
    assert caplog.text == ""


def test_levels_are_compared_over_the_training_genes() -> None:
    # Four training genes as they were, and two new ones with a hundred times as much.
    data = tracks(100)
    data["signal"].values[:, :4] = tracks()["signal"].values[:, :4]
    fitted = tracks().isel(gene=slice(4))
    encoder = RawWindow().fit(fitted)
    adapted = adapt_signal(data, encoder, profile_signal(fitted), GENES[:4])
    assert adapted.changes == [""]


def test_library_sizes_are_said_beside_the_factor() -> None:
    data, fitted = tracks(3), tracks()
    data["depth"].values[:], fitted["depth"].values[:] = 40, 10
    assert adapt(data, fitted).changes[0].startswith("H3K4me3 x 0.333 (library sizes: x 0.25)")


def test_very_thin_tracks_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    adapt(tracks(1), tracks(6))
    assert "2 tracks have far fewer reads than in training (A H3K4me3 x 6; A" in caplog.text
    assert "compared over 6 windows only" in caplog.text


def test_other_units_are_refused_with_the_way_out() -> None:
    with pytest.raises(ModelMismatchError, match="in mean_signal, and the model") as caught:
        adapt(tracks(units="mean_signal"), tracks())
    assert "--match-distribution" in str(caught.value)


def test_counts_per_million_are_scaled_to_reads_and_refused_unscaled() -> None:
    data = tracks(2, units="CPM")
    adapted = adapt(data, tracks())
    assert adapted.changes == ["H3K4me3 x 0.5, H3K27me3 x 0.5"]
    assert adapted.dataset["signal"].attrs["units"] == "reads"
    with pytest.raises(ModelMismatchError, match="The signal is in CPM"):
        adapt(data, tracks(), depth_scaling=False)


def test_other_units_can_be_matched_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    data = tracks(units="mean_signal")
    data["signal"] = data["signal"].astype(np.float32) ** 3 / 7
    adapted = adapt(data, tracks(), match_distribution=True)
    # 24 bins of 1 to 6: the middle ranks are 1/12, 3/12, … , where the training's are 1, 2, ….
    np.testing.assert_allclose(adapted.dataset["signal"], tracks()["signal"], atol=0.05)
    assert adapted.dataset["signal"].attrs["units"] == "reads"
    assert adapted.changes == ["H3K4me3 matched, H3K27me3 matched"]
    assert "values of 2 tracks were replaced by those of the same rank" in caplog.text


def test_run_of_an_older_version_scales_nothing_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    data, encoder = tracks(3), RawWindow().fit(tracks())
    assert adapt_signal(data, encoder, None, GENES).dataset is data
    assert "has no signal_profile.json" in caplog.text
    with pytest.raises(ModelFormatError, match="distributions cannot be matched"):
        adapt_signal(data, encoder, None, GENES, match_distribution=True)


def test_mark_without_signal_is_not_scaled() -> None:
    assert adapt(tracks(0), tracks()).changes == [""]


def test_twice_the_reads_are_predicted_as_before(run: Run, one: xr.Dataset) -> None:
    deep = one.assign(signal=one["signal"] * 2)
    deep["signal"].attrs = dict(one["signal"].attrs)
    table = predict_with_run(run.folder, deep)
    assert table.columns[-1] == "signal_changed"
    assert table["signal_changed"].unique().tolist() == [
        "H3K27me3 x 0.5, H3K36me3 x 0.5, H3K4me1 x 0.5, H3K4me3 x 0.5, H3K9me3 x 0.5"
    ]
    np.testing.assert_allclose(table["probability"], run.predictions["probability"], rtol=1e-4)
    unscaled = predict_with_run(run.folder, deep, depth_scaling=False)
    assert "signal_changed" not in unscaled
    assert np.abs(unscaled["probability"] - table["probability"]).max() > 0.01


def test_latents_are_scaled_as_predictions_are(run: Run, one: xr.Dataset) -> None:
    deep = one.assign(signal=one["signal"] * 2)
    deep["signal"].attrs = dict(one["signal"].attrs)
    scaled, before = encode_with_run(run.folder, deep), encode_with_run(run.folder, one)
    np.testing.assert_allclose(scaled["pc_1"], before["pc_1"], atol=1e-4)
    assert scaled["signal_changed"].str.contains("H3K4me3 x 0.5").all()
    assert "signal_changed" not in before


def test_a_selection_is_compared_over_the_genes_that_both_have(
    run: Run, one: xr.Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    """The strongest genes of the same tracks: as deep as they were, though their levels are not."""
    level = one["signal"].values[0].mean(axis=(1, 2))
    strongest = one.isel(gene=np.argsort(level)[-60:]).assign_coords(cell_type=["other"])
    table = predict_with_run(run.folder, strongest)
    assert "signal_changed" not in table
    assert "Depth scaling" not in caplog.text
    (run.folder / "signal_levels.parquet").rename(run.folder / "away")
    try:
        assert "signal_changed" in predict_with_run(run.folder, strongest)  # as of an older run
    finally:
        (run.folder / "away").rename(run.folder / "signal_levels.parquet")


def test_genes_without_data_are_neither_predicted_nor_scored(run: Run, one: xr.Dataset) -> None:
    holes = one.copy(deep=True)
    holes["observed"][:, ::2] = 0
    table = predict_with_run(run.folder, holes, depth_scaling=False)
    assert table["probability"].isna().to_numpy()[::2].all()
    assert (table["label_set"][::2] == "").all()
    assert (table["label"][::2] == -1).all()
    whole = predict_with_run(run.folder, one)
    rest = table["probability"][1::2].to_numpy()
    np.testing.assert_array_equal(rest, whole["probability"][1::2].to_numpy())
    assert set(fair_rows(table)["gene_id"]) <= set(one["gene_id"].values[1::2])


def test_versions_of_ids_do_not_make_known_genes_new() -> None:
    split = pd.Series(["train", "test"], ["ENSG00000000003", "ENSG00000000005.7"])
    asked = np.array(["ENSG00000000003.14", "ENSG00000000005", "ENSG00000000009"], dtype=object)
    assert sides_of(split, asked).tolist() == ["train", "test", "new"]


def test_genes_that_no_id_tells_are_warned_of(
    run: Run, one: xr.Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    renamed = one.assign_coords(gene_id=("gene", [f"t{k}" for k in range(one.sizes["gene"])]))
    table = predict_with_run(run.folder, renamed)
    assert (table["split"] == "new").all()
    assert "The run knows none of the 300 genes by its id" in caplog.text


def test_marks_written_otherwise_are_refused(run: Run, one: xr.Dataset) -> None:
    with pytest.raises(ModelMismatchError, match="differ only in case") as caught:
        predict_with_run(
            run.folder, one.assign_coords(mark=[m.lower() for m in one["mark"].values])
        )
    assert "H3K4me3" in str(caught.value)


def test_other_windows_are_refused_before_depths_are_compared(
    run: Run, one: xr.Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ModelMismatchError, match="those of the model"):
        predict_with_run(run.folder, one.isel(bin=slice(1, None)))
    assert caplog.text == ""


def test_units_that_were_not_named_are_the_likely_cause() -> None:
    encoder = RawWindow().fit(tracks(units="asinh_minus_log10_p"))
    with pytest.raises(ModelMismatchError) as caught:
        adapt_signal(tracks(units="mean_signal"), encoder, None, [])
    assert "--units" in caught.value.problem
