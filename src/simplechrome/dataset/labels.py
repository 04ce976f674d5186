"""High or low: the rules that turn expression into labels."""

from __future__ import annotations

import numpy as np

from simplechrome.errors import ConfigError
from simplechrome.schema import UNKNOWN_LABEL

RULES = "median, mean, tertiles, quantile:Q (0 < Q < 1), threshold:VALUE"


def _number(rule: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(
            f"The label rule {rule!r} has no number after its colon.",
            found=text or "nothing",
            expected=RULES,
        ) from None


def _bounds(values: np.ndarray, rule: str) -> tuple[float, float]:
    """Expression up to the first bound is low, above the second high."""
    name, _, argument = rule.partition(":")
    if name == "median" and not argument:
        bound = float(np.median(values.astype(np.float64)))
    elif name == "mean" and not argument:
        bound = float(values.mean(dtype=np.float64))
    elif name == "tertiles" and not argument:
        lower, upper = np.quantile(values.astype(np.float64), (1 / 3, 2 / 3))
        return float(lower), float(upper)
    elif name == "quantile" and 0 < (share := _number(rule, argument)) < 1:
        bound = float(np.quantile(values.astype(np.float64), share))
    elif name == "threshold" and not np.isnan(number := _number(rule, argument)):
        # In the values' own precision: a stored 0.1 is not above threshold:0.1.
        bound = float(np.asarray(number, np.result_type(values, np.float16)))
    else:
        raise ConfigError("There is no such label rule.", found=rule, expected=RULES)
    return bound, bound


def check_rule(rule: str) -> None:
    """Is this a label rule?

    Raises
    ------
    ConfigError
        If it is not.
    """
    _bounds(np.zeros(1), rule)


def label_expression(expression: np.ndarray, rule: str = "median") -> np.ndarray:
    """Is each gene's expression high or low within its cell type?

    Parameters
    ----------
    expression : (cell_type, gene), RPKM or TPM; NaN where not measured
    rule
        `median`: above the median of the cell type's measured genes is high (the published
        rule); `mean`; `quantile:Q`; `threshold:VALUE`; `tertiles`: the upper third is high, the
        lower third low, the middle unknown.

    Returns
    -------
    (cell_type, gene) int8: 1 high, 0 low, -1 unknown.

    Raises
    ------
    ConfigError
        If the rule is none of these.

    References
    ----------
    Singh et al., Bioinformatics 2016 (DeepChrome): the median rule.
    """
    check_rule(rule)  # even where no cell type has expression
    label = np.full(expression.shape, UNKNOWN_LABEL, np.int8)
    for row, values in enumerate(expression):
        measured = np.isfinite(values)
        if not measured.any():
            continue
        low, high = _bounds(values[measured], rule)
        # NumPy would round the bounds to float32: a median between two neighboring numbers would
        # become the upper one, and that gene low.
        exact = values.astype(np.float64)
        label[row, measured & (exact <= low)] = 0
        label[row, measured & (exact > high)] = 1
    return label
