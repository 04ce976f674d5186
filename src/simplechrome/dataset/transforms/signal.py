"""Transforms of the signal: a function of each bin, then one scale per mark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr

from simplechrome.errors import ConfigError, InputFormatError, ModelMismatchError

_FUNCTIONS: dict[str, tuple[Callable, Callable]] = {
    "log1p": (np.log1p, np.expm1),
    "asinh": (np.arcsinh, np.sinh),
    "sqrt": (np.sqrt, np.square),
    "none": (np.array, np.array),
    "maximum": (np.array, np.array),  # what makes it one is the scaling
}
FUNCTIONS = tuple(_FUNCTIONS)
TransformFunction = Literal["log1p", "asinh", "sqrt", "none", "maximum"]


class Windows(NamedTuple):
    """Transformed windows.

    values : (cell_type, gene, bin, mark) float32; where the mark is missing its training mean,
        which is 0 when standardized
    present : (cell_type, gene, mark) bool
    """

    values: np.ndarray
    present: np.ndarray


def present_marks(dataset: xr.Dataset) -> np.ndarray:
    """Return (cell_type, gene, mark) bool: whether the mark was assayed and has data there."""
    return dataset["mark_present"].values[:, np.newaxis, :] & (dataset["observed"].values > 0)


def require_marks(dataset: xr.Dataset, marks: list[str]) -> None:
    """Raise ModelMismatchError if the dataset's marks are not these, in this order."""
    have = [str(mark) for mark in dataset["mark"].values]
    if have != marks:
        raise ModelMismatchError(
            f"The marks are {', '.join(have)}; the transform was fitted on {', '.join(marks)}."
        )


class SignalTransform:
    """A function of each bin and a scale per mark, which give a model's input.

    Parameters
    ----------
    function : `log1p`, `asinh`, `sqrt` or `none`, applied to each bin. `maximum`: the values
        themselves, but scaled so that 0 becomes -1 and each mark's largest value in the windows
        that it is fitted on becomes 1 (the SimpleChrome paper's scaling); other windows may pass 1.
    standardize : subtract each mark's mean and divide by its standard deviation, over all bins of
        the windows that it is fitted on: one number per mark, so that the shape along the bins
        stays. `maximum` has its own scaling and never does.
    """

    def __init__(self, function: str = "log1p", standardize: bool = True) -> None:
        if function not in _FUNCTIONS:
            raise ConfigError(
                f"There is no transform {function!r}.", f"choose one of {', '.join(FUNCTIONS)}"
            )
        self.function = function
        self.standardize = standardize and function != "maximum"

    def _apply(self, signal: np.ndarray) -> np.ndarray:
        forward = _FUNCTIONS[self.function][0]
        if signal.dtype == np.uint16:
            # Counts have few values: a table is exact and ten times faster than a logarithm each.
            table = forward(np.arange(int(signal.max(initial=0)) + 1, dtype=np.float64))
            return table.astype(np.float32)[signal]
        low = float(signal.min(initial=0))
        if low < 0 and self.function in ("log1p", "sqrt", "maximum"):
            raise InputFormatError(
                f"The signal holds negative values, down to {low}, and {self.function} needs "
                "values from 0 up.",
                "use the transform asinh for log ratios and signal minus a control",
            )
        return forward(signal).astype(np.float32)

    def fit(self, dataset: xr.Dataset) -> SignalTransform:
        """Fit each mark's mean and standard deviation, or maximum, to these (training) windows."""
        marks = dataset.sizes["mark"]
        self.marks_: list[str] = [str(mark) for mark in dataset["mark"].values]
        # Transformed values are (function - mean_) / scale_, and fill_ where a mark is missing.
        self.mean_, self.scale_, self.fill_ = np.zeros(marks), np.ones(marks), np.zeros(marks)
        if not self.standardize and self.function != "maximum":
            return self
        present = present_marks(dataset)
        totals, largest = np.zeros((3, marks)), np.zeros(marks)
        # Cell type by cell type: the memory of one, however many there are.
        for signal, mask in zip(dataset["signal"].values, present, strict=True):
            values = self._apply(signal)
            for mark in range(marks):
                seen = values[mask[:, mark], :, mark]
                totals[0, mark] += seen.size
                totals[1, mark] += seen.sum(dtype=np.float64)
                totals[2, mark] += np.square(seen, dtype=np.float64).sum()
                largest[mark] = max(largest[mark], seen.max(initial=0))
        count = np.maximum(totals[0], 1)
        if self.function == "maximum":
            # A mark without any reads stays at -1. 2 x / maximum - 1 is (x - half) / half.
            half = np.where(largest > 0, largest, 1.0) / 2
            self.mean_, self.scale_ = half, half
            self.fill_ = (totals[1] / count - half) / half
            return self
        self.mean_ = totals[1] / count
        deviation = np.sqrt(np.maximum(totals[2] / count - self.mean_**2, 0))
        # A mark that never varies carries nothing; dividing by 1 keeps it at 0. The difference
        # of two sums above leaves about 1e-8 of the mean where the deviation is 0.
        self.scale_ = np.where(deviation > 1e-6 * np.abs(self.mean_), deviation, 1.0)
        return self

    def transform(self, dataset: xr.Dataset) -> Windows:
        """Return these windows, transformed.

        Raises ModelMismatchError if the marks are not those of the fit, in their order;
        InputFormatError if values are negative and the function needs values from 0 up.
        """
        require_marks(dataset, self.marks_)
        present = present_marks(dataset)
        values = self._apply(dataset["signal"].values)
        values -= self.mean_.astype(np.float32)
        values /= self.scale_.astype(np.float32)
        if not present.all():
            values *= present[:, :, np.newaxis, :]
            values += (~present * self.fill_.astype(np.float32))[:, :, np.newaxis, :]
        return Windows(values, present)

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Return (…, mark) signal, in its units, of transformed values (…, mark)."""
        backward = _FUNCTIONS[self.function][1]
        return backward(values * self.scale_ + self.mean_).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted transform as plain JSON."""
        return {
            "function": self.function,
            "standardize": self.standardize,
            "marks": self.marks_,
            "mean": self.mean_.tolist(),
            "scale": self.scale_.tolist(),
            "fill": self.fill_.tolist(),
        }

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> SignalTransform:
        """Return the transform that `to_dict` described."""
        transform = cls(state["function"], state["standardize"])
        transform.marks_ = list(state["marks"])
        transform.mean_ = np.asarray(state["mean"], dtype=np.float64)
        transform.scale_ = np.asarray(state["scale"], dtype=np.float64)
        # Models that were saved before `maximum` came have no fill: it is 0 for all else.
        fill = state.get("fill", [0.0] * len(transform.marks_))
        transform.fill_ = np.asarray(fill, dtype=np.float64)
        return transform
