"""A predictor from outside the package is used by name, as those of the package are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from simplechrome import load_predictor, register_predictor
from simplechrome.config.models import make_predictor
from simplechrome.config.run import make_config, read_config, write_config
from simplechrome.errors import ConfigError
from simplechrome.predictors.linear import LinearPredictor
from simplechrome.predictors.registry import PREDICTORS
from simplechrome.work.settings import Count


@dataclass(eq=False, repr=False, kw_only=True)
class Stubborn(LinearPredictor):
    """A linear predictor with an option of its own."""

    name = "stubborn"

    stubbornness: Count = 3


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PREDICTORS, "_loaded", dict(PREDICTORS._loaded))
    register_predictor(Stubborn)


def test_its_section_is_read_written_and_sent_to_other_processes(tmp_path: Path) -> None:
    config = make_config({"predictor": {"name": "stubborn", "stubbornness": 5}, "seed": 4})
    write_config(config, tmp_path / "config.toml")
    assert read_config(tmp_path / "config.toml") == config
    rebuild, arguments = config.predictor.__reduce__()  # as pickle does
    assert rebuild(*arguments) == config.predictor
    made = make_predictor(config).get_params()
    assert (made["stubbornness"], made["random_state"], made["n_folds"]) == (5, 4, 5)


def test_its_options_are_validated() -> None:
    with pytest.raises(ConfigError, match="stubbornness"):
        make_config({"predictor": {"name": "stubborn", "stubbornness": 0}})
    with pytest.raises(ConfigError, match=r"no option .*stubborness`"):
        make_config({"predictor": {"name": "stubborn", "stubborness": 1}})


def test_it_is_saved_and_loaded_by_its_class(tmp_path: Path) -> None:
    x = np.arange(8.0)[:, np.newaxis]
    fitted = Stubborn("regression", Cs=(1.0,), stubbornness=2).fit(x, x[:, 0])
    fitted.save(tmp_path / "model")
    loaded = load_predictor(tmp_path / "model")
    assert isinstance(loaded, Stubborn)
    np.testing.assert_array_equal(loaded.predict(x), fitted.predict(x))


def test_a_name_is_taken_once() -> None:
    assert register_predictor(Stubborn) is Stubborn
    with pytest.raises(ConfigError, match="There is a predictor called 'linear' already"):
        register_predictor(LinearPredictor)
