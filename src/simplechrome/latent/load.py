"""A saved encoder of any class."""

from __future__ import annotations

import importlib
from pathlib import Path

from simplechrome.latent.encoder import Encoder
from simplechrome.training.model_files import class_of, read_model

_HOME = {
    "LogMeans": "simplechrome.latent.log_means",
    "PCA": "simplechrome.latent.pca",
    "PaperVAE": "simplechrome.latent.paper_vae",
    "RawWindow": "simplechrome.latent.raw_window",
    "VAE": "simplechrome.latent.vae",
}


def load_encoder(folder: str | Path) -> Encoder:
    """Which encoder is kept in this folder?

    Raises
    ------
    ModelFormatError
        If the folder is not a whole saved model.
    ModelMismatchError
        If the model is not an encoder.
    """
    description, _ = read_model(folder)
    home = class_of(folder, description, _HOME)
    encoder: Encoder = getattr(importlib.import_module(home), description["class"]).load(folder)
    return encoder
