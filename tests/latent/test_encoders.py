"""What all encoders promise, whatever they learn."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import simplechrome
from simplechrome import (
    PCA,
    VAE,
    ConsensusEncoder,
    LinearPredictor,
    LogMeans,
    PaperVAE,
    RawWindow,
    load_encoder,
)
from simplechrome.dataset.transforms.signal import Windows
from simplechrome.errors import ModelFormatError, ModelMismatchError
from simplechrome.latent.encoder import Encoder, align_marks
from simplechrome.latent.registry import ENCODERS

UNFITTED: dict[str, Encoder] = {
    "ConsensusEncoder": ConsensusEncoder(8),
    "LogMeans": LogMeans(),
    "PCA": PCA(2),
    "PaperVAE": PaperVAE(2, channels=(3, 3), epochs=60, learning_rate=1e-2, device="cpu"),
    "RawWindow": RawWindow(),
    "VAE": VAE(2, channels=(3, 3), hidden=4, epochs=2, device="cpu"),
}
every_encoder = pytest.mark.parametrize("name", UNFITTED)


@pytest.fixture(scope="module")
def data(poisson: Callable) -> xr.Dataset:
    """Two cell types, 40 genes, 4 bins, marks m0 to m2; m2 is missing in the second."""
    present = np.array([[True, True, True], [True, True, False]])
    return poisson(genes=40, marks=3, cells=2, mark_present=present)


@pytest.fixture(scope="module")
def fitted(data: xr.Dataset) -> dict[str, Encoder]:
    return {name: clone(encoder).fit(data) for name, encoder in UNFITTED.items()}


@every_encoder
def test_labels_are_not_looked_at(name: str, data: xr.Dataset, fitted: dict) -> None:
    labelled = data.assign(
        label=xr.full_like(data["label"], 1), expression=xr.full_like(data["expression"], 7)
    )
    # Labels that are handed over are for the consensus encoder alone to look at.
    y = None if name == "ConsensusEncoder" else np.arange(40)
    again = clone(UNFITTED[name]).fit(labelled, y=y)
    np.testing.assert_array_equal(again.transform(data), fitted[name].transform(data))


@every_encoder
def test_latents_are_labelled_float32(name: str, data: xr.Dataset, fitted: dict) -> None:
    latents = fitted[name].transform(data)
    assert latents.dims[:2] == ("cell_type", "gene")
    assert latents.dtype == np.float32
    assert latents["cell_type"].values.tolist() == ["c0", "c1"]
    np.testing.assert_array_equal(latents["gene_id"], data["gene_id"])
    assert np.isfinite(latents.values).all()
    assert latents[0, 0].size == fitted[name].n_latent_


@every_encoder
def test_latents_of_a_gene_do_not_depend_on_the_others(
    name: str, data: xr.Dataset, fitted: dict
) -> None:
    expected = fitted[name].transform(data).isel(gene=[7, 3, 30])
    some = data.isel(gene=[7, 3, 30])
    np.testing.assert_allclose(fitted[name].transform(some), expected, atol=1e-5)


@every_encoder
def test_transform_does_not_change_the_dataset(name: str, data: xr.Dataset, fitted: dict) -> None:
    before = data.copy(deep=True)
    fitted[name].transform(data)
    xr.testing.assert_identical(data, before)


@every_encoder
def test_window_comes_back_in_the_units_of_the_signal(
    name: str, data: xr.Dataset, fitted: dict
) -> None:
    back = fitted[name].inverse_transform(fitted[name].transform(data))
    assert back.dims == data["signal"].dims
    assert back.shape == data["signal"].shape
    assert back["mark"].values.tolist() == ["m0", "m1", "m2"]
    assert back.attrs["units"] == "reads"
    # Levels differ a hundredfold between windows, so any encoder must tell them.
    seen, found = data["signal"].values[0].mean(axis=1), back.values[0].mean(axis=1)
    assert np.corrcoef(np.log1p(seen[:, 0]), np.log1p(found[:, 0].clip(0)))[0, 1] > 0.5


@every_encoder
def test_marks_go_by_name(name: str, data: xr.Dataset, fitted: dict) -> None:
    turned = data.isel(mark=[2, 0, 1])
    np.testing.assert_array_equal(fitted[name].transform(turned), fitted[name].transform(data))


@every_encoder
def test_marks_that_the_model_does_not_know_are_ignored(
    name: str, poisson: Callable, fitted: dict, caplog: pytest.LogCaptureFixture
) -> None:
    wide = poisson(genes=40, marks=5, seed=3)
    with caplog.at_level(logging.INFO, "simplechrome"):
        latents = fitted[name].transform(wide)
    assert "does not know m3, m4" in caplog.text
    narrow = wide.isel(mark=[0, 1, 2])
    np.testing.assert_array_equal(latents, fitted[name].transform(narrow))


@every_encoder
def test_mark_that_the_data_lack_is_as_one_not_assayed(
    name: str, data: xr.Dataset, fitted: dict, caplog: pytest.LogCaptureFixture
) -> None:
    latents = fitted[name].transform(data.isel(mark=[0, 2]))
    assert "The data lack m1" in caplog.text
    masked = data.assign(mark_present=data["mark_present"] & np.array([True, False, True]))
    np.testing.assert_array_equal(latents, fitted[name].transform(masked))


@every_encoder
def test_values_of_missing_marks_do_not_matter(name: str, data: xr.Dataset, fitted: dict) -> None:
    signal = data["signal"].values.copy()
    signal[1, :, :, 2] = 60_000
    noisy = data.assign(signal=(data["signal"].dims, signal, data["signal"].attrs))
    np.testing.assert_array_equal(fitted[name].transform(noisy), fitted[name].transform(data))
    refitted = clone(UNFITTED[name]).fit(noisy)
    np.testing.assert_array_equal(refitted.transform(data), fitted[name].transform(data))


@every_encoder
def test_unobserved_windows_get_finite_latents(name: str, data: xr.Dataset, fitted: dict) -> None:
    latents = fitted[name].transform(data.assign(observed=data["observed"] * 0)).values
    assert np.isfinite(latents).all()
    assert (latents == latents[0, 0]).all()


@every_encoder
def test_data_without_any_mark_of_the_model_are_refused(
    name: str, data: xr.Dataset, fitted: dict
) -> None:
    other = data.assign_coords(mark=["H3K4me3", "H3K27ac", "DNase"])
    message = r"none of the model's marks \(m0, m1, m2\), but H3K4me3, H3K27ac, DNase"
    with pytest.raises(ModelMismatchError, match=message):
        fitted[name].transform(other)


@every_encoder
@pytest.mark.parametrize("change", [{"bins": 6}, {"bins": 4, "bin_size": 50}])
def test_other_windows_are_refused(
    name: str, change: dict, poisson: Callable, fitted: dict
) -> None:
    message = rf"have {change['bins']} bins .* the model 4 bins from -200 bp in steps of 100"
    with pytest.raises(ModelMismatchError, match=message):
        fitted[name].transform(poisson(marks=3, **change))


@every_encoder
def test_saved_encoder_gives_identical_latents(
    name: str, data: xr.Dataset, fitted: dict, tmp_path: Path
) -> None:
    fitted[name].save(tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "first")
    loaded = load_encoder(tmp_path / "elsewhere")
    assert type(loaded) is type(fitted[name])
    latents = fitted[name].transform(data)
    xr.testing.assert_identical(loaded.transform(data), latents)
    xr.testing.assert_identical(
        loaded.inverse_transform(latents), fitted[name].inverse_transform(latents)
    )


@every_encoder
def test_loaded_encoder_can_be_saved_and_fitted_again(
    name: str, data: xr.Dataset, fitted: dict, tmp_path: Path
) -> None:
    fitted[name].save(tmp_path / "first")
    load_encoder(tmp_path / "first").save(tmp_path / "second")
    for file in ("model.json", "model.safetensors"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    again = clone(load_encoder(tmp_path / "first")).fit(data)
    np.testing.assert_array_equal(again.transform(data), fitted[name].transform(data))


@every_encoder
def test_unfitted_encoder_says_so(name: str, data: xr.Dataset, tmp_path: Path) -> None:
    encoder = clone(UNFITTED[name])
    with pytest.raises(NotFittedError, match="not fitted yet"):
        encoder.transform(data)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        encoder.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_encoder_of_another_class_is_refused(fitted: dict, tmp_path: Path) -> None:
    fitted["PCA"].save(tmp_path / "model")
    with pytest.raises(ModelMismatchError, match="the class PCA, not LogMeans"):
        LogMeans.load(tmp_path / "model")


def test_predictor_is_no_encoder(tmp_path: Path) -> None:
    head = LinearPredictor(Cs=(1.0,)).fit(np.array([[0.0], [1.0]]), np.array([0, 1]))
    head.save(tmp_path / "model")
    with pytest.raises(ModelMismatchError, match="of the class LinearPredictor"):
        load_encoder(tmp_path / "model")


def test_mixed_files_of_two_models_are_refused(fitted: dict, tmp_path: Path) -> None:
    for name in ("PCA", "VAE", "LogMeans"):
        fitted[name].save(tmp_path / name)
    for one, other in (("PCA", "VAE"), ("VAE", "PCA"), ("LogMeans", "VAE")):
        mixed = tmp_path / f"{one}-{other}"
        shutil.copytree(tmp_path / one, mixed)
        shutil.copy(tmp_path / other / "model.safetensors", mixed)
        with pytest.raises(ModelFormatError, match="do not fit together"):
            load_encoder(mixed)


@pytest.mark.parametrize("key", ["arguments", "marks", "transform", "fitted"])
def test_description_that_lacks_a_part_is_refused(fitted: dict, tmp_path: Path, key: str) -> None:
    fitted["PCA"].save(tmp_path / "model")
    description = json.loads((tmp_path / "model" / "model.json").read_text())
    del description[key]
    (tmp_path / "model" / "model.json").write_text(json.dumps(description))
    with pytest.raises(ModelFormatError, match="do not fit together") as caught:
        load_encoder(tmp_path / "model")
    assert key in caught.value.problem


def test_option_that_this_version_does_not_know_is_refused(fitted: dict, tmp_path: Path) -> None:
    fitted["PCA"].save(tmp_path / "model")
    description = json.loads((tmp_path / "model" / "model.json").read_text())
    description["arguments"]["whiten"] = True
    (tmp_path / "model" / "model.json").write_text(json.dumps(description))
    with pytest.raises(ModelFormatError, match="do not fit together") as caught:
        load_encoder(tmp_path / "model")
    assert "whiten" in caught.value.problem


def test_seed_from_numpy_can_be_saved(data: xr.Dataset, tmp_path: Path) -> None:
    options = {"channels": (3,), "hidden": 4, "epochs": 1, "device": "cpu"}
    encoder = VAE(2, random_state=np.int64(3), **options).fit(data)
    encoder.save(tmp_path / "model")
    assert load_encoder(tmp_path / "model").random_state == 3


def test_aligned_dataset_has_the_marks_of_the_model(data: xr.Dataset) -> None:
    aligned = align_marks(data, ["m1", "new", "m0"])
    assert aligned["mark"].values.tolist() == ["m1", "new", "m0"]
    assert aligned["mark_present"].values.tolist() == [[True, False, True]] * 2
    np.testing.assert_array_equal(aligned["signal"][..., 0], data["signal"][..., 1])
    assert not aligned["signal"][..., 1].any()
    assert not aligned["observed"][..., 1].any()
    assert aligned["signal"].dtype == data["signal"].dtype


def test_bins_are_transformed_and_scaled_per_mark(make_dataset: Callable) -> None:
    # log1p of 0, 3, 3, 0 is 0, 2 log 2, 2 log 2, 0: mean and deviation log 2 over both bins.
    window = RawWindow().fit_transform(make_dataset([[[[0], [3]], [[3], [0]]]]))
    assert window.dims == ("cell_type", "gene", "bin", "mark")
    np.testing.assert_allclose(window[0, ..., 0], [[-1, 1], [1, -1]], atol=1e-6)


@pytest.mark.parametrize("function", ["log1p", "asinh", "sqrt", "none"])
def test_raw_window_loses_nothing(poisson: Callable, function: str) -> None:
    dataset = poisson()
    encoder = RawWindow(function).fit(dataset)
    back = encoder.inverse_transform(encoder.transform(dataset))
    np.testing.assert_allclose(back, dataset["signal"], atol=1e-3)
    assert back.attrs["units"] == "reads"


def test_predictor_names_features_by_bin_and_mark(poisson: Callable) -> None:
    dataset = poisson(bins=2)
    label = (dataset["signal"].sum(("bin", "mark")) > 30).astype(np.int8)
    head = LinearPredictor(Cs=(1.0,)).fit(RawWindow().fit_transform(dataset), label)
    assert head.features_ == ["-100:m0", "-100:m1", "0:m0", "0:m1"]


def test_encoder_registered_from_outside_is_saved_and_loaded(
    data: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(eq=False, repr=False)
    class FirstBins(RawWindow):
        name = "first_bins"
        _arrays = ("weights",)
        n_bins: int = 1

        def _fit(self, windows: Windows, validation: Windows | None) -> None:
            self.weights_ = np.arange(windows.values.shape[2]) < self.n_bins

        def _encode(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
            return values * self.weights_[:, np.newaxis].astype(np.float32)

    for name, kept in vars(ENCODERS).items():  # so that later tests do not see it
        monkeypatch.setattr(ENCODERS, name, copy(kept))
    assert simplechrome.register_encoder(FirstBins) is FirstBins
    encoder = FirstBins(n_bins=2).fit(data)
    encoder.save(tmp_path / "model")
    loaded = load_encoder(tmp_path / "model")
    assert type(loaded) is FirstBins
    assert loaded.n_bins == 2
    xr.testing.assert_identical(loaded.transform(data), encoder.transform(data))
    assert not loaded.transform(data)[:, :, 2:].any()
