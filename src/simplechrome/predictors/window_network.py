"""What networks that look along the bins of a window share."""

from __future__ import annotations

import math
from abc import abstractmethod
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
import xarray as xr
from torch import nn

from simplechrome.errors import ConfigError, InputFormatError, ModelMismatchError
from simplechrome.predictors.network import NetworkPredictor
from simplechrome.predictors.rows import Rows
from simplechrome.training.settings import Device, Precision, TrainingSettings

Schedule = Literal["constant", "cosine"]

WINDOW = ("bin", "mark")
_FLAT = (0, 0)  # bins and marks of flat rows, until they have been counted


class WindowPredictor(NetworkPredictor):
    """A network that is told which number is of which bin and mark, and which marks are missing.

    It takes windows as `RawWindow.transform` gives them: (cell_type, gene, bin, mark) with the
    coordinate `present` (cell_type, gene, mark), False where a mark is missing; without it, all
    are there. Plain arrays are (row, bin, mark), in which a missing mark is NaN in all bins, or
    (row, feature): the bins of one mark, or windows of the fitted shape laid flat. The values of
    missing marks have no influence.

    A subclass stores its arguments, those of `NetworkPredictor` and those named below among them,
    and implements `_make_network`.

    Attributes
    ----------
    window_shape_ : (int, int)
        Bins and marks.
    """

    needs_windows = True

    batch_size: int
    min_batches: int
    learning_rate: float
    weight_decay: float
    schedule: Schedule
    clip_gradients: bool
    precision: Precision
    device: Device

    window_shape_: tuple[int, int]

    @abstractmethod
    def _make_network(self, n_bins: int, n_marks: int) -> nn.Module:
        """A network from (row, bin, mark) and the marks' presence (row, mark) to (row,)."""

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
        ModelMismatchError
            If the features have no bins, as latents.
        InputFormatError
            If only some bins of a mark are NaN.
        ConfigError
            If the network does not fit into the window, or an argument makes no sense.
        """
        self.window_shape_ = _window_shape(x)
        return super().fit(x, y, validation=validation, checkpoints=checkpoints, resume=resume)

    def _see(self, x: Any) -> Any:
        # Rows are flat, as everywhere, and have NaN for missing marks: so they are cut into folds
        # without a second array beside them.
        if isinstance(x, xr.DataArray):
            return _masked(x, type(self).__name__)
        shape = _window_shape(x)
        if shape == _FLAT:
            return x
        if self.window_shape_ not in (_FLAT, shape):
            raise ModelMismatchError(
                "The windows are not of the shape that the predictor was fitted on.",
                found="(row, {}, {})".format(*shape),
                expected="(row, bin, mark) = (row, {}, {})".format(*self.window_shape_),
                cause="bins and marks in another order",
            )
        return _flat(np.asarray(x))

    def _checks(self, x: Any) -> dict[str, Any]:
        # Flat rows have no way to say that a mark is missing.
        return {} if _window_shape(x) == _FLAT else {"ensure_all_finite": "allow-nan"}

    def _fit_rows(self, rows: Rows, validation: Rows | None) -> None:
        self._require_sense()
        if self.window_shape_ == _FLAT:
            self.window_shape_ = (rows.x.shape[1], 1)
        super()._fit_rows(rows, validation)

    def _require_sense(self) -> None:
        for name, choices in (("schedule", get_args(Schedule)), ("precision", get_args(Precision))):
            value = getattr(self, name)
            if value not in choices:
                raise ConfigError(
                    f"There is no such {name}.", found=str(value), expected=" or ".join(choices)
                )
        if self.min_batches < 1:
            raise ConfigError(
                "An epoch cannot have so few batches.",
                found=f"min_batches {self.min_batches}",
                expected="1 or more",
            )

    def _make_module(self) -> nn.Module:
        return self._make_network(*self.window_shape_)

    def _inputs(self, x: np.ndarray) -> tuple[torch.Tensor, ...]:
        flat = np.array(x, dtype=np.float32, order="C")  # PyTorch wants memory it may write to
        windows = flat.reshape(len(x), *self.window_shape_)
        return torch.from_numpy(windows), torch.from_numpy(~np.isnan(windows[:, 0]))

    def _settings(self, epochs: int, patience: int, n_rows: int) -> TrainingSettings:
        batch_size = min(self.batch_size, -(-n_rows // self.min_batches))
        return TrainingSettings(
            epochs=epochs,
            batch_size=batch_size,
            # Adam's rate goes with the root of the batch: Malladi et al., NeurIPS 2022.
            learning_rate=self.learning_rate * math.sqrt(batch_size / self.batch_size),
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            patience=patience,
            max_gradient_norm=1.0 if self.clip_gradients else math.inf,
            seed=self.random_state,
            device=self.device,
            precision=self.precision,
            threads=self.threads,
        )

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        numbers, arrays = super()._state()
        return numbers | {"window_shape": list(self.window_shape_)}, arrays

    def _restore(self, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        n_bins, n_marks = numbers["window_shape"]
        self.window_shape_ = (n_bins, n_marks)
        super()._restore(numbers, arrays)


def _window_shape(x: Any) -> tuple[int, int]:
    """Bins and marks; `_FLAT` where rows are flat, or not what they should be."""
    if isinstance(x, xr.DataArray):
        return (x.sizes["bin"], x.sizes["mark"]) if set(WINDOW) <= set(x.dims) else _FLAT
    shape = x.shape if hasattr(x, "shape") else np.asarray(x).shape
    return (shape[1], shape[2]) if len(shape) == 3 else _FLAT


def _masked(x: xr.DataArray, network: str) -> xr.DataArray:
    """(…, bin, mark) with NaN where the mark is missing."""
    if set(x.dims[2:]) != set(WINDOW):
        raise ModelMismatchError(
            f"{network} looks along the bins of windows, and these features have none.",
            found=f"({', '.join(map(str, x.dims))})",
            expected="(cell_type, gene, bin, mark), as RawWindow().transform returns it",
            cause="the windows went through an encoder, whose latents have no order",
            remedy="use --encoder none, or RawWindow() in Python",
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
                f"{torn.sum()} windows have a mark that is NaN in some bins, not in all.",
                found=f"row {row}, mark {mark}: {unknown[row, :, mark].sum()} of {x.shape[1]} bins",
                expected="numbers in all bins, or NaN in all bins of a missing mark",
            )
    return x.reshape(len(x), x.shape[1] * x.shape[2])
