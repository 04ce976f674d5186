"""Predictors by name: those of the package, and those that others register."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from simplechrome.work.registry import Registry

if TYPE_CHECKING:
    from simplechrome.predictors.predictor import Predictor

    P = TypeVar("P", bound=type[Predictor])

_HOME = "simplechrome.predictors"
PREDICTORS: Registry[type[Predictor]] = Registry(
    "predictor",
    {
        "linear": f"{_HOME}.linear:LinearPredictor",
        "mlp": f"{_HOME}.mlp:MLPPredictor",
        "boosting": f"{_HOME}.boosting:BoostingPredictor",
        "deepchrome": f"{_HOME}.deepchrome:DeepChrome",
        "attentivechrome": f"{_HOME}.attentivechrome:AttentiveChrome",
        "neighborhood": f"{_HOME}.neighborhood:NeighborhoodPredictor",
    },
    "simplechrome.predictors",
)
DIFFERENCE_PREDICTORS: Registry[type[Predictor]] = Registry(
    "predictor of differences",
    {
        "mlp": f"{_HOME}.mlp:DifferenceMLP",
        "linear": f"{_HOME}.linear:DifferenceLinear",
    },
    "simplechrome.difference_predictors",
)
"""The antisymmetric forms, under the name of the predictor whose options they take."""


def register_predictor(predictor: P) -> P:
    """Add a predictor class under its `name`, to be used by name everywhere; return it.

    A package can add its own without this call by an entry point of the group
    `simplechrome.predictors`.

    Raises
    ------
    ConfigError
        If another predictor has the name.
    """
    PREDICTORS.register(predictor.name, predictor)
    return predictor


def load_predictor(folder: str | Path) -> Predictor:
    """Return the predictor, of whichever class, that was saved in a folder.

    Raises
    ------
    ModelFormatError
        If the folder is not a whole saved model.
    ModelMismatchError
        If the model is not a predictor.
    """
    from simplechrome.training.model_files import load_model

    return load_model(folder, PREDICTORS, DIFFERENCE_PREDICTORS)
