"""CPU threads for a while."""

from __future__ import annotations

import pytest
import torch

from simplechrome.training.threads import cpu_threads


def test_threads_are_set_and_set_back() -> None:
    before = torch.get_num_threads()
    with cpu_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        with cpu_threads(None):
            assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(ValueError, match="x"), cpu_threads(before + 1):
        raise ValueError("x")
    assert torch.get_num_threads() == before
