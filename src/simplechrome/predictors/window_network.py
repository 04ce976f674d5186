"""What networks that look along the bins of a window share."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import xarray as xr
from torch import nn

from simplechrome.errors import InputFormatError, ModelMismatchError
from simplechrome.predictors.network import NetworkPredictor
from simplechrome.predictors.rows import Rows
from simplechrome.training.settings import Precision, Schedule, TrainingSettings
from simplechrome.work.settings import Count

WINDOW = ("bin", "mark")
_FLAT = (0, 0)  # bins and marks of flat rows, until they have been counted


@dataclass(eq=False, repr=False, kw_only=True)
class WindowPredictor(NetworkPredictor):
    """A network that sees which number is of which bin and mark, and which marks are missing.

    It takes windows as `RawWindow.transform` gives them: (cell_type, gene, bin, mark) with the
    coordinate `present` (cell_type, gene, mark), False where a mark is missing; without it, all
    are there. Plain arrays are (row, bin, mark), in which a missing mark is NaN in all bins, or
    (row, feature): the bins of one mark, or windows of the fitted shape laid flat. The values of
    missing marks have no influence.

    A subclass implements `_make_network`.

    Parameters
    ----------
    min_batches
        In an epoch: with few labels, batches are smaller than `batch_size`, and the learning rate
        falls with the root of their size. 1 changes nothing.
    schedule, precision
        See `TrainingSettings`.
    epochs, early_stopping, patience, batch_size and others
        See `NetworkPredictor`.

    Attributes
    ----------
    window_shape_ : (int, int)
        Bins and marks.
    """

    needs_windows = True

    min_batches: Count = 8
    schedule: Schedule = "cosine"
    precision: Precision = "float32"
    window_shape_: tuple[int, int] = field(init=False)

    @abstractmethod
    def _make_network(self, n_bins: int, n_marks: int) -> nn.Module:
        """Return a network from (row, bin, mark) and present marks (row, mark) to (row,)."""

    def fit(
        self,
        x: xr.DataArray | np.ndarray,
        y: xr.DataArray | np.ndarray,
        *,
        validation: tuple[Any, Any] | None = None,
        checkpoints: str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Learn expression from windows; see `NetworkPredictor.fit`.

        Parameters
        ----------
        x : (cell_type, gene, bin, mark) labelled, (row, bin, mark), or (row, bin) of one mark
        y, validation, checkpoints, resume
            See `NetworkPredictor.fit`.

        Raises
        ------
        ModelMismatchError, InputFormatError
            If the features have no bins, as latents, or only some bins of a mark are NaN.
        ConfigError
            If the network does not fit into the window, or an argument is out of bounds.
        """
        self.window_shape_ = _window_shape(x)
        return super().fit(x, y, validation=validation, checkpoints=checkpoints, resume=resume)

    def _see(self, x: Any) -> Any:
        # Rows are flat, as everywhere, and have NaN for missing marks: so they are cut into folds
        # without a second array.
        if isinstance(x, xr.DataArray):
            return _masked(x, type(self).__name__)
        shape = _window_shape(x)
        if shape == _FLAT:
            return x
        if self.window_shape_ not in (_FLAT, shape):
            raise ModelMismatchError(
                "The windows (row, {}, {}) are not of the shape that the predictor was fitted on, "
                "(row, bin, mark) = (row, {}, {}).".format(*shape, *self.window_shape_),
                "check the order of bins and marks",
            )
        return _flat(np.asarray(x))

    def _checks(self, x: Any) -> dict[str, Any]:
        # In flat rows a mark cannot be missing.
        return {} if _window_shape(x) == _FLAT else {"ensure_all_finite": "allow-nan"}

    def _fit_rows(self, rows: Rows, validation: Rows | None) -> None:
        if self.window_shape_ == _FLAT:
            self.window_shape_ = (rows.x.shape[1], 1)
        super()._fit_rows(rows, validation)

    def _make_module(self) -> nn.Module:
        return self._make_network(*self.window_shape_)

    def _inputs(self, x: np.ndarray) -> tuple[torch.Tensor, ...]:
        flat = np.array(x, dtype=np.float32, order="C")  # PyTorch wants memory it may write to
        windows = flat.reshape(len(x), *self.window_shape_)
        return torch.from_numpy(windows), torch.from_numpy(~np.isnan(windows[:, 0]))

    def _settings(self, n_rows: int, **changed: Any) -> TrainingSettings:
        size = min(self.batch_size, -(-n_rows // self.min_batches))
        # Adam's rate goes with the root of the batch: Malladi et al., NeurIPS 2022.
        rate = self.learning_rate * math.sqrt(size / self.batch_size)
        return super()._settings(n_rows, batch_size=size, learning_rate=rate, **changed)

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        numbers, arrays = super()._state()
        return numbers | {"window_shape": list(self.window_shape_)}, arrays

    def _restore(self, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        n_bins, n_marks = numbers["window_shape"]
        self.window_shape_ = (n_bins, n_marks)
        super()._restore(numbers, arrays)


def _window_shape(x: Any) -> tuple[int, int]:
    """Return bins and marks; `_FLAT` where rows are flat, or have other dimensions."""
    if isinstance(x, xr.DataArray):
        return (x.sizes["bin"], x.sizes["mark"]) if set(WINDOW) <= set(x.dims) else _FLAT
    shape = x.shape if hasattr(x, "shape") else np.asarray(x).shape
    return (shape[1], shape[2]) if len(shape) == 3 else _FLAT


def _masked(x: xr.DataArray, network: str) -> xr.DataArray:
    """(…, bin, mark) with NaN where the mark is missing."""
    if set(x.dims[2:]) != set(WINDOW):
        raise ModelMismatchError(
            f"{network} needs windows (cell_type, gene, bin, mark); these features are "
            f"({', '.join(map(str, x.dims))}).",
            "use --encoder none, or RawWindow() in Python: latents have no bins",
        )
    windows = x.transpose(*x.dims[:2], *WINDOW)
    if "present" not in x.coords or bool(x.coords["present"].all()):
        return windows
    return windows.where(x.coords["present"])


def _flat(x: np.ndarray) -> np.ndarray:
    """(row, bin, mark) → (row, feature)."""
    if np.issubdtype(x.dtype, np.floating):
        unknown = np.isnan(x)
        torn = unknown.any(axis=1) & ~unknown.all(axis=1)
        if torn.any():
            row, mark = np.argwhere(torn)[0]
            raise InputFormatError(
                f"{torn.sum()} windows have a mark that is NaN in some bins only, as mark {mark} "
                f"of row {row} in {unknown[row, :, mark].sum()} of {x.shape[1]} bins.",
                "give numbers in all bins, or NaN in all bins of a missing mark",
            )
    return x.reshape(len(x), x.shape[1] * x.shape[2])
