"""What changes between two cell types: predictors that are antisymmetric by construction."""

from __future__ import annotations

import numpy as np
import xarray as xr

from simplechrome.errors import ConfigError
from simplechrome.predictors.linear import LinearPredictor
from simplechrome.predictors.rows import Rows

_SIDES = ("first", "second")


def pair_features(first: xr.DataArray, second: xr.DataArray, name: str) -> xr.DataArray:
    """The latents of each gene in two cell types, side by side.

    Parameters
    ----------
    first, second : (cell_type, gene, latent)
        Of the same genes, in one cell type each.
    name
        Of the pair, which takes the place of the cell type.

    Returns
    -------
    (cell_type, gene, latent), latents of the first cell type before those of the second.

    Raises
    ------
    ConfigError
        If there are no latents, but windows.
    """
    if first.dims[-1] != "latent" or first.ndim != 3:
        raise ConfigError(
            "Differences are told from latents.",
            found=f"features ({', '.join(map(str, first.dims))})",
            expected="an encoder with latents, as consensus, vae or pca",
        )
    names = [f"{side}:{latent}" for side in _SIDES for latent in first["latent"].values]
    genes = {n: c for n, c in first.coords.items() if c.dims == ("gene",)}
    return xr.DataArray(
        np.concatenate([first.values, second.values], axis=2),
        dims=first.dims,
        coords={
            **genes,
            "cell_type": np.asarray([name], dtype=object),
            "latent": np.asarray(names, dtype=object),
        },
        name="latent",
    )


class DifferenceLinear(LinearPredictor):
    """Ridge regression on the difference of two cell types' latents, through the origin.

    Swapping the cell types negates what it predicts. The penalty is chosen as in
    `LinearPredictor`.

    Parameters
    ----------
    task
        `regression`, of log fold change.
    Cs, n_folds, default_C, random_state
        See `LinearPredictor`.
    """

    _through_origin = True

    def _fit_rows(self, rows: Rows, validation: Rows | None) -> None:
        held_out = validation and Rows(_subtract(validation.x), validation.y)
        super()._fit_rows(Rows(_subtract(rows.x), rows.y), held_out)

    def _predict_rows(self, x: np.ndarray) -> np.ndarray:
        return super()._predict_rows(_subtract(x))


def _subtract(x: np.ndarray) -> np.ndarray:
    """(row, feature of one side) of (row, features of both)."""
    half = x.shape[1] // 2
    return x[:, :half] - x[:, half:]
