"""Values of one distribution replaced by those of another, rank for rank."""

from __future__ import annotations

import numpy as np

from simplechrome.evaluation.depth import BIN_SHARES


def match_values(signal: np.ndarray, sample: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Which values have the same rank in another distribution?

    Equal values have one rank, the middle of theirs, and stay equal. Order stays; how much more
    one bin has than another does not.

    Parameters
    ----------
    signal
        Any shape.
    sample
        Values of the same track, among which ranks are counted.
    quantiles : (104,)
        Of the other distribution, at `BIN_SHARES`.

    Returns
    -------
    float32, in the shape of `signal`.

    References
    ----------
    Bolstad et al., Bioinformatics 2003 (quantile normalization).
    """
    values, where = np.unique(signal, return_inverse=True)
    ordered = np.sort(sample, axis=None)
    below = np.searchsorted(ordered, values, side="left")
    up_to = np.searchsorted(ordered, values, side="right")
    matched = np.interp((below + up_to) / (2 * ordered.size), BIN_SHARES, quantiles)
    return matched.astype(np.float32)[where].reshape(signal.shape)
