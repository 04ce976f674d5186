"""DeepChrome and AttentiveChrome as estimators: what they take, refuse, learn and keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from simplechrome import AttentiveChrome, DeepChrome, RawWindow, from_arrays
from simplechrome.errors import InputFormatError, ModelMismatchError
from simplechrome.metrics import auroc, pearson
from simplechrome.predictors import network
from simplechrome.predictors.window_network import WindowPredictor

SMALL: dict[type[WindowPredictor], dict[str, Any]] = {
    DeepChrome: {"filters": 8, "kernel": 4, "pool": 3, "hidden": (8,), "dropout": 0.0},
    AttentiveChrome: {"bin_hidden": 4, "mark_hidden": 3, "dropout": 0.0},
}
CLASSES = pytest.mark.parametrize("kind", list(SMALL))
TRAINING: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 16,
    "min_batches": 1,
    "n_folds": 2,
    "learning_rate": 0.01,
    "threads": 1,
}


def make(kind: type[WindowPredictor], task: str = "classification", **options: Any) -> Any:
    return kind(task, **{**SMALL[kind], **TRAINING, **options})


def peaks(n: int, bins: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two marks with one peak each; high where the peak of the second is in its first half.

    Which bins are high says nothing by itself: all windows have the same values, in other places.
    """
    rng = np.random.default_rng(seed)
    x = 0.2 * rng.standard_normal((n, bins, 2)).astype(np.float32)
    places = rng.integers(1, bins - 1, (n, 2))
    for mark in (0, 1):
        for offset in (-1, 0, 1):
            x[np.arange(n), places[:, mark] + offset, mark] += 2.0
    return x, (places[:, 1] < bins // 2).astype(int)


def labelled(x: np.ndarray, present: np.ndarray | None = None) -> xr.DataArray:
    """One cell type, named as `RawWindow` names windows."""
    coords: dict[str, Any] = {
        "cell_type": ["c"],
        "gene_id": ("gene", [f"g{k}" for k in range(len(x))]),
        "mark": [f"m{k}" for k in range(x.shape[2])],
        "bin_start": ("bin", 100 * np.arange(x.shape[1])),
    }
    if present is not None:
        coords["present"] = (("cell_type", "gene", "mark"), present[None])
    return xr.DataArray(x[None], dims=("cell_type", "gene", "bin", "mark"), coords=coords)


def target(y: np.ndarray) -> xr.DataArray:
    return xr.DataArray(y[None], dims=("cell_type", "gene"))


@CLASSES
def test_where_a_peak_lies_is_found(kind: type[WindowPredictor]) -> None:
    options: dict[str, Any] = {"epochs": 12, "learning_rate": 0.02, "early_stopping": False}
    fitted = make(kind, **options, batch_size=32).fit(*peaks(300))
    x, y = peaks(200, seed=1)
    assert auroc(y, fitted.decision_function(x)) > 0.95
    # Levels alone know nothing of it.
    assert abs(auroc(y, x.mean(axis=1)[:, 1]) - 0.5) < 0.1


@CLASSES
def test_regression_is_in_the_units_of_the_target(kind: type[WindowPredictor]) -> None:
    options: dict[str, Any] = {"epochs": 12, "learning_rate": 0.02, "early_stopping": False}
    x, y = peaks(300)
    fitted = make(kind, "regression", **options).fit(x, 1000 + 50 * y)
    new, high = peaks(100, seed=1)
    assert pearson(1000.0 + 50 * high, fitted.predict(new)) > 0.8
    assert 970 < fitted.predict(new).min() < fitted.predict(new).max() < 1080
    assert not hasattr(fitted, "predict_proba")


@CLASSES
def test_labelled_and_plain_windows_are_the_same(kind: type[WindowPredictor]) -> None:
    x, y = peaks(40)
    present = np.random.default_rng(0).random((40, 2)) > 0.3
    windows = labelled(x, present)
    plain = np.where(present[:, None], x, np.nan)
    fitted = make(kind).fit(windows, target(y))
    again = make(kind).fit(plain, y)
    # Values of missing marks train nothing.
    other = make(kind).fit(labelled(np.where(present[:, None], x, 1e6), present), target(y))
    xr.testing.assert_identical(other.predict_proba(windows), fitted.predict_proba(windows))
    probability = fitted.predict_proba(windows)
    assert probability.dims == ("cell_type", "gene", "label")
    np.testing.assert_array_equal(probability.values[0], again.predict_proba(plain))
    np.testing.assert_array_equal(probability.values[0], fitted.predict_proba(plain))
    swapped = windows.transpose("cell_type", "gene", "mark", "bin")
    xr.testing.assert_identical(fitted.predict(swapped), fitted.predict(windows))


@CLASSES
def test_windows_of_a_dataset_with_a_mark_that_was_not_assayed(kind: type[WindowPredictor]) -> None:
    x, y = peaks(40)
    dataset: Any = from_arrays(
        np.stack([np.exp(x), np.exp(x)]),
        marks=["a", "b"],
        gene_ids=[f"g{k}" for k in range(40)],
        cell_types=["one", "two"],
    )
    dataset["mark_present"].values[1, 0] = False
    windows = RawWindow().fit(dataset).transform(dataset)
    fitted = make(kind).fit(windows, xr.DataArray(np.stack([y, y]), dims=("cell_type", "gene")))
    first, second = fitted.predict_proba(windows).values
    assert np.isfinite(second).all()
    assert not np.allclose(first, second)


@CLASSES
def test_flat_rows_are_the_bins_of_one_mark(kind: type[WindowPredictor]) -> None:
    x, y = peaks(40)
    flat = make(kind).fit(x[:, :, 1], y)
    assert flat.window_shape_ == (12, 1)
    deep = make(kind).fit(x[:, :, 1:], y)
    np.testing.assert_array_equal(flat.predict_proba(x[:, :, 1]), deep.predict_proba(x[:, :, 1:]))
    # Fitted again on something else, nothing of the first fit is left.
    assert deep.fit(labelled(x), target(y)).window_shape_ == (12, 2)
    assert deep.fit(x[:, :, 1], y).window_shape_ == (12, 1)


@CLASSES
def test_latents_have_no_bins(kind: type[WindowPredictor]) -> None:
    latents = xr.DataArray(np.zeros((1, 30, 4)), dims=("cell_type", "gene", "latent"))
    with pytest.raises(ModelMismatchError, match=r"latent\)\.(.|\n)*--encoder none"):
        make(kind).fit(latents, target(np.arange(30) % 2))
    fitted = make(kind).fit(*peaks(30))
    with pytest.raises(ModelMismatchError, match="needs windows"):
        fitted.predict(latents)


def test_windows_of_another_shape_are_refused() -> None:
    x, y = peaks(30)
    fitted = make(DeepChrome).fit(x, y)
    with pytest.raises(ModelMismatchError, match=r"\(row, 2, 12\)(.|\n)*\(row, 12, 2\)"):
        fitted.predict(x.transpose(0, 2, 1))
    with pytest.raises(ValueError, match="expecting 24 features"):
        fitted.predict(x[:, :, 0])


def test_mark_that_is_nan_in_some_bins_only_is_refused() -> None:
    x, y = peaks(30)
    x[3, 5:8, 1] = np.nan
    with pytest.raises(InputFormatError, match="mark 1 of row 3 in 3 of 12 bins"):
        make(DeepChrome).fit(x, y)


@CLASSES
def test_predictions_take_bounded_memory(
    kind: type[WindowPredictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = make(kind).fit(*peaks(30))
    x, _ = peaks(50, seed=1)
    whole = fitted.decision_function(x)
    sizes: list[int] = []
    monkeypatch.setattr(network, "SCORED_AT_ONCE", 20)
    fitted.module_.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    np.testing.assert_allclose(fitted.decision_function(x), whole, atol=1e-6)
    assert sizes == [20, 20, 10]


@CLASSES
def test_half_precision_trains_to_nearly_the_same(kind: type[WindowPredictor]) -> None:
    x, y = peaks(60)
    exact, half = (
        make(kind, precision=name).fit(x, y).decision_function(x)
        for name in ("float32", "bfloat16")
    )
    assert np.corrcoef(exact, half)[0, 1] > 0.9


@pytest.mark.parametrize(
    ("rows", "size", "rate"),
    # 40 rows in at least 8 batches are 5 in each, a quarter of 20, and sqrt(1/4) of the rate; 100
    # are at most 13; 1,000 make 50 batches of 20 anyway.
    [(40, 5, 0.005), (100, 13, 0.01 * 0.65**0.5), (1000, 20, 0.01), (3, 1, 0.01 * 0.05**0.5)],
)
def test_batches_are_smaller_with_few_labels(rows: int, size: int, rate: float) -> None:
    settings = make(DeepChrome, batch_size=20, min_batches=8)._settings(rows)
    assert (settings.batch_size, settings.learning_rate) == (size, pytest.approx(rate))


def test_attention_is_named_and_sums_to_one_over_what_is_there() -> None:
    x, y = peaks(40)
    present = np.random.default_rng(0).random((40, 2)) > 0.3
    present[0] = False
    windows = labelled(x, present)
    fitted = make(AttentiveChrome).fit(windows, target(y))
    bins, marks = fitted.attention(windows)
    assert (bins.dims, bins.shape) == (("cell_type", "gene", "bin", "mark"), (1, 40, 12, 2))
    assert (marks.dims, marks.shape) == (("cell_type", "gene", "mark"), (1, 40, 2))
    assert (bins.name, marks.name) == ("bin_attention", "mark_attention")
    for name in ("gene_id", "mark", "cell_type"):
        np.testing.assert_array_equal(marks.coords[name], windows.coords[name])
    np.testing.assert_array_equal(bins.coords["bin_start"], windows.coords["bin_start"])
    np.testing.assert_allclose(bins.sum("bin")[0], present, atol=1e-5)
    np.testing.assert_allclose(marks.sum("mark")[0], present.any(axis=1), atol=1e-5)
    assert float(bins.min()) >= 0
    plain = fitted.attention(np.where(present[:, None], x, np.nan))
    assert plain.bins.dims == ("row", "bin", "mark")
    np.testing.assert_array_equal(plain.bins, bins[0])
    np.testing.assert_array_equal(plain.marks, marks[0])
