"""A saved predictor of any class."""

from __future__ import annotations

import importlib
from pathlib import Path

from simplechrome.predictors.predictor import Predictor
from simplechrome.training.model_files import class_of, read_model

_HOME = {
    "LinearPredictor": "simplechrome.predictors.linear",
    "MLPPredictor": "simplechrome.predictors.mlp",
    "BoostingPredictor": "simplechrome.predictors.boosting",
    "DeepChrome": "simplechrome.predictors.deepchrome",
    "AttentiveChrome": "simplechrome.predictors.attentivechrome",
    "DifferenceLinear": "simplechrome.predictors.difference",
    "DifferenceMLP": "simplechrome.predictors.difference",
    "ConstantPredictor": "simplechrome.predictors.linear",
    "NeighborhoodPredictor": "simplechrome.predictors.neighborhood",
}


def load_predictor(folder: str | Path) -> Predictor:
    """Which predictor is kept in this folder?

    Raises
    ------
    ModelFormatError
        If the folder is not a whole saved model.
    ModelMismatchError
        If the model is not a predictor.
    """
    description, _ = read_model(folder)
    home = class_of(folder, description, _HOME)
    predictor: Predictor = getattr(importlib.import_module(home), description["class"]).load(folder)
    return predictor
