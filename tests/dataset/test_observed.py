"""Genes that no track has data of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

from simplechrome.dataset.choose import has_data, without_unobserved

MakeDataset = Callable[..., xr.Dataset]


def test_genes_without_data_lose_label_and_expression(
    make_dataset: MakeDataset, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = make_dataset(
        np.ones((2, 3, 2, 2), np.uint16),
        label=np.array([[0, 1, 1], [1, 0, 1]]),
        expression=np.arange(6.0).reshape(2, 3),
    )
    assert without_unobserved(dataset) is dataset
    dataset["observed"][0, 1] = 0  # no mark of g2 in the first cell type
    dataset["observed"][1, 0, 0] = 0  # one of two marks of g1 in the second
    assert has_data(dataset).tolist() == [[True, False, True], [True, True, True]]
    masked = without_unobserved(dataset)
    assert masked["label"].values.tolist() == [[0, -1, 1], [1, 0, 1]]
    assert np.isnan(masked["expression"].values).tolist() == [[False, True, False], [False] * 3]
    assert dataset["label"].values[0, 1] == 1
    assert "1 of 3 genes have no data in one cell type or more" in caplog.text
