"""What a score may be computed of: one number per gene, labels 0 and 1, both classes there."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simplechrome.errors import InputFormatError, UndefinedScoreError

Floats = NDArray[np.float64]

_RANGES = {"probability": (0.0, 1.0), "weight": (0.0, float(np.finfo(np.float64).max))}


def require_genes(name: str, values: Floats) -> None:
    """Are there genes to score? `UndefinedScoreError` if not."""
    if values.size == 0:
        raise UndefinedScoreError(
            f"The {name} has no value: there are no genes to score.",
            cause="a split, cell type or filter left no gene with a known label or expression",
        )


def require_both_classes(name: str, label: Floats) -> None:
    """Are there genes of both classes? `UndefinedScoreError` if not."""
    require_genes(name, label)
    if label.min() == label.max():
        raise UndefinedScoreError(
            f"The {name} has no value: all {label.size} genes are "
            + ("high (label 1)." if label[0] else "low (label 0)."),
            expected="genes of both classes",
            cause="too few genes, or labels by a rule that does not divide them",
            remedy="score more genes at once; `simplechrome inspect` shows the class balance",
        )


def require_variation(name: str, **sides: Floats) -> None:
    """Does each side differ between genes? `UndefinedScoreError` if not."""
    for side, values in sides.items():
        require_genes(name, values)
        if values.min() == values.max():
            raise UndefinedScoreError(
                f"The {name} has no value: `{side}` is {values[0]:g} for all {values.size} genes.",
                expected="values that differ between genes",
                cause="too few genes, or a model that learned nothing",
            )


def checked_scores(**arrays: ArrayLike) -> tuple[Floats, ...]:
    """What are these arrays as floats, finite, of one length, labels 0 or 1?"""
    numbers = {name: _finite_numbers(name, values) for name, values in arrays.items()}
    if len({array.size for array in numbers.values()}) > 1:
        raise InputFormatError(
            "Arrays that belong together have different lengths.",
            found=", ".join(f"`{name}` {array.size}" for name, array in numbers.items()),
            expected="one value per gene in each",
        )
    for name, array in numbers.items():
        require_in_range(name, array)
    if "label" in numbers:
        label = numbers["label"]
        strange = label[(label != 0) & (label != 1)]
        if strange.size:
            raise InputFormatError(
                f"`label` holds {strange.size} values that are no label.",
                found=", ".join(f"{value:g}" for value in np.unique(strange)[:5]),
                expected="1 (high) or 0 (low)",
                remedy="drop genes of unknown label (-1) first: keep = label >= 0",
            )
    return tuple(numbers.values())


def require_in_range(name: str, array: Floats) -> None:
    """Are the values finite, and in the range of what the name says? `InputFormatError` if not."""
    low, high = _RANGES.get(name, (-np.inf, np.inf))
    # Two passes and no temporary, for weights may be a large matrix; NaN fails as well.
    if array.size and not (array.min() >= low and array.max() <= high):
        raise InputFormatError(
            f"`{name}` holds values out of range.",
            found=f"{array.min():g} to {array.max():g}",
            expected="finite numbers from 0 up" if name == "weight" else "0 to 1",
            cause="scores on another scale, as logits" if name == "probability" else "",
        )


def _finite_numbers(name: str, values: ArrayLike) -> Floats:
    array = np.asarray(values)
    if array.ndim != 1:
        raise InputFormatError(
            f"`{name}` is not a one-dimensional array.",
            found=f"shape {array.shape}",
            expected="one value per gene",
            remedy="of predict_proba's two columns pass the second: probability[:, 1]"
            if array.shape[1:] == (2,)
            else "",
        )
    try:
        array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputFormatError(
            f"`{name}` does not hold numbers.", found=str(error), expected="one number per gene"
        ) from error
    finite = np.isfinite(array)
    if not finite.all():
        first = int(np.argmin(finite))
        raise InputFormatError(
            f"`{name}` holds {np.count_nonzero(~finite)} values that are not finite.",
            found=f"{array[first]} at position {first}",
            expected="finite numbers",
            remedy="drop genes without a measurement or prediction before scoring",
        )
    return array
