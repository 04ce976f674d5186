"""What a latent stands for: planted shapes and classes are read, signs and orders do not matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from simplechrome import PCA, from_arrays
from simplechrome.errors import ModelMismatchError
from simplechrome.explanation.latents import (
    classify_genes,
    matched_correlation,
    read_latents,
    two_groups,
)
from simplechrome.report.latent_page import reading_table, write_latent_page
from tests.simulated_dataset import simulated_dataset


def latents_of(values: np.ndarray, names: list[str]) -> xr.DataArray:
    return xr.DataArray(
        values[np.newaxis],
        dims=("cell_type", "gene", "latent"),
        coords={"latent": names, "cell_type": ["c"]},
    )


@pytest.fixture
def four() -> xr.Dataset:
    """Four genes, four bins of 500 bp: active, bivalent, Polycomb and silent."""
    k4, k27 = np.array([90, 90, 0, 0]), np.array([0, 60, 60, 0])
    signal = np.repeat(np.stack([k4, k27], axis=1)[np.newaxis, :, np.newaxis], 4, axis=2)
    return from_arrays(
        signal.astype(np.uint16),
        marks=["H3K4me3", "H3K27me3"],
        gene_ids=list("abcd"),
        cell_types=["c"],
        bin_size=500,
    )


def test_classes_of_promoters_are_told_by_two_marks(four: xr.Dataset) -> None:
    assert list(classify_genes(four)) == ["active", "bivalent", "Polycomb", "silent"]
    assert classify_genes(four.isel(mark=[0])) is None
    missing = four.assign(mark_present=four["mark_present"] & (four["mark"] != "H3K27me3"))
    assert classify_genes(missing) is None


def test_threshold_parts_two_groups() -> None:
    # Of 0, 1 and 9, 10, 11: any threshold between 1 and 9 parts them; the middle is taken.
    assert two_groups(np.array([10.0, 0, 11, 1, 9])) == 5


def test_latent_of_a_mark_shows_that_mark_alone(four: xr.Dataset) -> None:
    level = np.array([[1.0], [1.0], [-1.0], [-1.0]])  # as H3K4me3
    reading = read_latents(latents_of(level, ["z"]), four)
    # 90 reads where the mean is 45: log2(1 + 2); half of it is one standard deviation's worth.
    np.testing.assert_allclose(reading.change.sel(mark="H3K4me3"), np.log2(3) / 2)
    np.testing.assert_allclose(reading.change.sel(mark="H3K27me3"), 0, atol=1e-12)
    assert reading.correlation.loc["z", "H3K4me3"] == pytest.approx(1)
    assert reading.correlation.loc["z", "H3K27me3"] == pytest.approx(0)
    assert "expression" not in reading.correlation
    assert reading.classes.loc["z"].tolist() == [1, 1, -1, -1]
    assert reading.class_sizes.tolist() == [0.25] * 4


def test_mark_that_no_cell_type_has_is_not_read(four: xr.Dataset) -> None:
    without = four.assign(mark_present=four["mark_present"] & (four["mark"] != "H3K27me3"))
    reading = read_latents(latents_of(np.arange(4.0)[:, np.newaxis], ["z"]), without)
    assert np.isnan(reading.change.sel(mark="H3K27me3")).all()
    assert reading.classes.empty
    assert "H3K27me3" not in reading.correlation


def test_same_latents_in_another_order_and_sign_match() -> None:
    rng = np.random.default_rng(0)
    z = rng.standard_normal((500, 3))
    other = np.column_stack([-2 * z[:, 2], z[:, 0] + 3, rng.standard_normal(500)])
    found = matched_correlation(latents_of(z, list("abc")), latents_of(other, list("xyz")))
    assert found["a"] == pytest.approx(1)
    assert found["c"] == pytest.approx(1)
    assert found["b"] < 0.2


def test_latents_that_are_left_over_have_no_match() -> None:
    z = np.random.default_rng(1).standard_normal((50, 2))
    found = matched_correlation(latents_of(z, ["a", "b"]), latents_of(z[:, :1], ["x"]))
    assert found["a"] == pytest.approx(1)
    assert np.isnan(found["b"])
    with pytest.raises(ModelMismatchError, match="cannot be matched"):
        matched_correlation(latents_of(z, ["a", "b"]), latents_of(z[:9], ["a", "b"]))


def test_page_tells_all_latents(tmp_path: Path) -> None:
    data = simulated_dataset(120)
    latents = PCA(3).fit(data).transform(data)
    table = write_latent_page(
        latents, data, tmp_path / "latents.html", run="mine", against={"again": latents}
    )
    assert table["latent"].tolist() == ["pc_1", "pc_2", "pc_3"]
    np.testing.assert_allclose(table["as in again"], 1)
    expected = reading_table(read_latents(latents, data))
    np.testing.assert_array_equal(table["expression"], expected["expression"])
    text = (tmp_path / "latents.html").read_text()
    assert "Is each latent found again by other runs?" in text
    assert "one standard deviation of a latent apart" in text
