"""A short bootstrap for the tests of scores."""

from __future__ import annotations

from functools import partial

import pytest

from simplechrome.evaluation.bootstrap import block_bootstrap


@pytest.fixture(autouse=True)
def _short_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty resamples in place of a thousand: an interval is wanted here, not a good one."""
    short = partial(block_bootstrap, n_resamples=30)
    monkeypatch.setattr("simplechrome.evaluation.scores.block_bootstrap", short)
