"""What changes between two cell types: predictors that are antisymmetric by construction."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from torch import nn

from simplechrome.errors import ConfigError
from simplechrome.predictors.linear import LinearPredictor
from simplechrome.predictors.mlp import MLPPredictor
from simplechrome.predictors.rows import Rows


class _Antisymmetric(nn.Module):
    """g(a, b) - g(b, a), for any network g."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, dim=1)
        swapped = torch.cat([second, first], dim=1)
        values: torch.Tensor = self.network(x) - self.network(swapped)
        return values


class DifferenceMLP(MLPPredictor):
    """A perceptron of two cell types' latents, less the same with the two swapped.

    So what it predicts is negated when they are swapped, to rounding; where both windows are the
    same, it is 0. Unlike a linear map of the difference, it knows where a change starts from:
    a promoter that gains a mark it had means less than one that gets it.

    Parameters
    ----------
    task
        `regression`, of log fold change.
    hidden, dropout, epochs, and all others
        See `MLPPredictor`.

    Attributes
    ----------
    epochs_, history_, interrupted_
        See `MLPPredictor`.
    """

    def _make_module(self) -> nn.Module:
        return _Antisymmetric(super()._make_module())

    def _center_of(self, y: np.ndarray) -> float:
        return 0.0  # what is added to both orders would not change its sign


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
