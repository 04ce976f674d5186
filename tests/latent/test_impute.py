"""Marks that were not measured: what is told of them, how surely, and from what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from simplechrome import (
    PCA,
    ConsensusEncoder,
    from_arrays,
    impute,
    load_encoder,
    merge,
    validate,
)
from simplechrome.dataset.splits import split_by_chromosome
from simplechrome.errors import ConfigError, DatasetFormatError, ModelMismatchError
from simplechrome.latent.consensus.imputation import (
    PROBABILITIES,
    ImputationModel,
    MarkImputation,
    assign_folds,
)
from tests.simulated_dataset import simulated_dataset

HIDDEN = "H3K4me3"


def hide(dataset: xr.Dataset, cell_type: str, mark: str) -> xr.Dataset:
    gone = (dataset["cell_type"] == cell_type) & (dataset["mark"] == mark)
    return dataset.assign(
        mark_present=dataset["mark_present"] & ~gone,
        signal=dataset["signal"].where(~gone, 0).astype(dataset["signal"].dtype),
        observed=dataset["observed"].where(~gone, 0).astype(np.float32),
    )


@pytest.fixture(scope="module")
def whole() -> xr.Dataset:
    """Four cell types with all five marks, and 1,200 genes."""
    return simulated_dataset(n_genes=1200, n_cell_types=4)


@pytest.fixture(scope="module")
def hidden(whole: xr.Dataset) -> xr.Dataset:
    return hide(whole, "SIM001", HIDDEN)


@pytest.fixture(scope="module")
def fitted(hidden: xr.Dataset) -> ConsensusEncoder:
    return ConsensusEncoder(12).fit(split_by_chromosome(hidden).train)


def truth_and(told: xr.DataArray, whole: xr.Dataset, variable: str = "") -> list[np.ndarray]:
    """Of the hidden track, on test genes: the smoothed truth, and what is told."""
    test = split_by_chromosome(whole).test["gene_id"].values
    some = np.isin(whole["gene_id"].values, test)
    return [part.sel(mark=HIDDEN).values[0, some] for part in (whole["signal"], told)]


def test_hidden_mark_is_imputed_better_than_by_its_mean_profile(
    whole: xr.Dataset, hidden: xr.Dataset, fitted: ConsensusEncoder
) -> None:
    imputed = impute(fitted, hidden)
    truth, told = truth_and(imputed.dataset["signal"], whole)
    profile = (
        split_by_chromosome(whole).train["signal"].sel(mark=HIDDEN).mean(["cell_type", "gene"])
    )
    of_profile = np.corrcoef(truth.ravel(), np.tile(profile.values, len(truth)))[0, 1]
    assert np.corrcoef(truth.ravel(), told.ravel())[0, 1] > of_profile + 0.2
    (track,) = imputed.tracks
    assert (track.cell_type, track.mark) == ("SIM001", HIDDEN)
    assert track.others == ["SIM002", "SIM003", "SIM004"]
    assert HIDDEN not in track.marks
    assert track.describe().startswith("SIM001 H3K4me3: from 3 cell types and H3K27me3")


def test_interval_holds_most_of_the_signal(
    whole: xr.Dataset, hidden: xr.Dataset, fitted: ConsensusEncoder
) -> None:
    for coverage in (0.5, 0.9):
        filled = impute(fitted, hidden, coverage=coverage).dataset
        truth, low = truth_and(filled["imputed_low"], whole)
        _, high = truth_and(filled["imputed_high"], whole)
        # The interval is of the smoothed signal; single bins stray a little further.
        inside = ((truth >= low - 1) & (truth <= high + 1)).mean()
        assert inside > coverage - 0.1
        assert (low <= high).all()


def test_mark_of_one_cell_type_is_imputed_from_its_other_marks(whole: xr.Dataset) -> None:
    train = split_by_chromosome(whole).train
    encoder = ConsensusEncoder(12).fit(train.isel(cell_type=[0]))
    alone = hide(whole.isel(cell_type=[1]), "SIM002", HIDDEN)
    imputed = impute(encoder, alone)
    assert imputed.tracks[0].others == []
    truth, told = truth_and(imputed.dataset["signal"], whole.isel(cell_type=[1]))
    assert np.corrcoef(truth.sum(axis=1), told.sum(axis=1))[0, 1] > 0.3


def test_what_was_measured_stays(hidden: xr.Dataset, fitted: ConsensusEncoder) -> None:
    filled = validate(impute(fitted, hidden).dataset)
    assert filled["mark_present"].values.all()
    assert np.argwhere(filled["imputed"].values).tolist() == [[0, 3]]
    measured = filled["signal"].where(~filled["imputed"], 0)
    np.testing.assert_array_equal(measured, hidden["signal"].where(hidden["mark_present"], 0))
    assert not filled["imputed_high"].where(~filled["imputed"], 0).any()


def test_marks_that_a_dataset_has_no_column_for_are_added(
    hidden: xr.Dataset, fitted: ConsensusEncoder
) -> None:
    without = hidden.isel(cell_type=[1], mark=[0, 1, 2, 4]).assign_coords(cell_type=["mine"])
    filled = impute(fitted, without).dataset
    assert filled["mark"].values.tolist() == [*without["mark"].values, HIDDEN]
    assert filled["imputed"].values.tolist() == [[False] * 4 + [True]]


def test_saved_encoder_imputes_the_same(
    hidden: xr.Dataset, fitted: ConsensusEncoder, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "encoder")
    again = impute(load_encoder(tmp_path / "encoder"), hidden)
    xr.testing.assert_identical(again.dataset, impute(fitted, hidden).dataset)


def test_imputed_signal_is_not_taken_for_measured(
    hidden: xr.Dataset, fitted: ConsensusEncoder
) -> None:
    filled = impute(fitted, hidden).dataset
    other = hidden.assign_coords(cell_type=["a", "b", "c", "d"])
    with pytest.raises(DatasetFormatError, match="imputed signal cannot be used to merge"):
        merge([filled, other])
    with pytest.raises(DatasetFormatError, match=r"used to impute.*SIM001 H3K4me3"):
        impute(fitted, filled)


@pytest.mark.parametrize("coverage", [0.0, 0.99])
def test_coverage_that_cannot_be_is_refused(
    hidden: xr.Dataset, fitted: ConsensusEncoder, coverage: float
) -> None:
    with pytest.raises(ConfigError, match="The coverage is"):
        impute(fitted, hidden, coverage=coverage)


def test_other_encoders_do_not_impute(hidden: xr.Dataset) -> None:
    with pytest.raises(ConfigError, match="only ConsensusEncoder imputes") as caught:
        impute(PCA(3).fit(hidden), hidden)
    assert "--encoder consensus" in caught.value.remedy


def test_nothing_is_imputed_where_nothing_is_missing(
    whole: xr.Dataset, fitted: ConsensusEncoder
) -> None:
    with pytest.raises(ConfigError, match=r"nothing to impute.*H3K4me3"):
        impute(fitted, whole)


def noise(genes: int, cell_types: int) -> xr.Dataset:
    """Windows that tell nothing of each other: not of other marks, nor of other cell types."""
    reads = np.random.default_rng(0).poisson(4, (cell_types, genes, 20, 3))
    return from_arrays(
        reads.astype(np.uint16),
        marks=["a", "b", "c"],
        gene_ids=[f"g{k}" for k in range(genes)],
        cell_types=[f"c{k}" for k in range(cell_types)],
        bin_size=500,
    )


@pytest.mark.parametrize("cell_types", [2, 4])
def test_held_out_cell_types_show_no_correlation_in_noise(cell_types: int) -> None:
    encoder = ConsensusEncoder(12).fit(noise(300, cell_types))
    for imputation in encoder.imputations_.values():
        assert list(imputation.models_) == ([0, 1] if cell_types == 2 else [0, 1, 3])
        for way in imputation.models_.values():
            assert way.correlation.shape == (cell_types,)
            assert np.abs(way.correlation).max() < 0.05


def test_mark_of_a_single_cell_type_has_no_held_out_correlation(whole: xr.Dataset) -> None:
    two = hide(whole.isel(cell_type=[0, 1]), "SIM001", HIDDEN)
    encoder = ConsensusEncoder(12).fit(split_by_chromosome(two).train)
    imputed = impute(encoder, two)
    (track,) = imputed.tracks
    assert track.correlation.size == 0
    assert track.describe().endswith("not tested: no two cell types of the run have it")
    assert track.others == ["SIM002"]  # The same gene elsewhere is told from all the same.
    truth, told = truth_and(imputed.dataset["signal"], whole)
    assert np.corrcoef(truth.ravel(), told.ravel())[0, 1] > 0.5


def test_intervals_are_wider_where_fewer_cell_types_have_the_mark(
    hidden: xr.Dataset, fitted: ConsensusEncoder
) -> None:
    def width(dataset: xr.Dataset) -> float:
        filled = impute(fitted, dataset).dataset
        return float((filled["imputed_high"] - filled["imputed_low"])[0].sum())

    assert width(hidden.isel(cell_type=[0, 1])) > 1.02 * width(hidden)


def test_cell_types_with_a_rare_mark_are_in_different_folds() -> None:
    has = np.ones((12, 3), bool)
    has[:, 2] = False
    has[[3, 8], 2] = True
    folds = assign_folds(has)
    assert len(folds) == 5
    assert sorted(np.concatenate(folds)) == list(range(12))
    assert not any({3, 8} <= set(fold) for fold in folds)


def test_mark_that_is_observed_in_one_gene_is_not_imputed(whole: xr.Dataset) -> None:
    observed = whole["observed"].copy()
    observed.loc[{"mark": HIDDEN}] = 0
    observed[0, 0, 3] = 1
    there = xr.where(whole["mark"] == HIDDEN, observed > 0, True).transpose(*observed.dims)
    thin = whole.assign(observed=observed, signal=whole["signal"].where(there, 0))
    encoder = ConsensusEncoder(12).fit(thin)
    assert HIDDEN not in encoder.imputations_
    assert np.isfinite(encoder.transform(thin)).all()


def test_signal_of_other_units_is_refused(hidden: xr.Dataset, fitted: ConsensusEncoder) -> None:
    signal = hidden["signal"].assign_attrs(units="fold_change")
    with pytest.raises(ModelMismatchError, match="is in fold_change, and the model"):
        impute(fitted, hidden.assign(signal=signal))


def test_marks_written_otherwise_are_refused(hidden: xr.Dataset, fitted: ConsensusEncoder) -> None:
    renamed = hidden.assign_coords(mark=["h3k27me3", *hidden["mark"].values[1:]])
    with pytest.raises(ModelMismatchError, match="differ only in case"):
        impute(fitted, renamed)


def test_interval_depends_on_the_predicted_level() -> None:
    # Errors from -1 to 1 below a prediction of 0, from -10 to 10 above it.
    errors = np.stack([size * (2 * PROBABILITIES - 1) for size in (1, 10)])
    imputation = MarkImputation(0)
    imputation.axes_ = np.ones((1, 1))
    imputation.models_ = {0: ImputationModel(np.ones((1, 1)), np.zeros(1), errors, np.zeros(0))}
    predicted = np.array([[-5.0], [5.0]])
    found = imputation.impute(predicted, np.zeros((1, 1)), 0, lambda values: values, 0.8)
    np.testing.assert_allclose(found.low, [[-5.8], [-3]], atol=1e-5)
    np.testing.assert_allclose(found.high, [[-4.2], [13]], atol=1e-5)


def test_windows_of_default_size_are_imputed_on_the_first_axes_of_the_mark() -> None:
    data = simulated_dataset(n_genes=400, n_cell_types=3, n_bins=100)
    encoder = ConsensusEncoder().fit(hide(data, "SIM001", HIDDEN))
    axes = encoder.imputations_[HIDDEN].axes_
    assert axes.shape == (100, 20)
    column = data["mark"].values.tolist().index(HIDDEN)
    along = np.square(encoder.transform_windows(data).values[1, :, :, column] @ axes).sum(axis=0)
    assert along[0] == along.max()
    assert along[0] > 5 * along[-1]
