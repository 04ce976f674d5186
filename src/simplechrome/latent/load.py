"""A saved encoder of any class."""

from __future__ import annotations

import importlib
from pathlib import Path

from simplechrome.errors import ModelFormatError
from simplechrome.latent.encoder import Encoder
from simplechrome.training.model_files import class_of, read_model

_HOME = {
    "ConsensusEncoder": "simplechrome.latent.consensus.encoder",
    "LogMeans": "simplechrome.latent.log_means",
    "PCA": "simplechrome.latent.pca",
    "PaperVAE": "simplechrome.latent.paper_vae",
    "RawWindow": "simplechrome.latent.raw_window",
    "VAE": "simplechrome.latent.vae",
    "WithLogMeans": "simplechrome.latent.with_log_means",
}


def encoder_class(name: str) -> type[Encoder]:
    """Which class is called this? KeyError if none is."""
    encoder: type[Encoder] = getattr(importlib.import_module(_HOME[name]), name)
    return encoder


def load_encoder(folder: str | Path) -> Encoder:
    """Which encoder is kept in this folder?

    Raises
    ------
    ModelFormatError
        If the folder is not a whole saved model.
    ModelMismatchError
        If the model is not an encoder.
    """
    path = Path(folder)
    if not (path / "model.json").is_file() and (path / "encoder" / "model.json").is_file():
        raise ModelFormatError(
            f"{path} is a run, and no encoder.",
            expected="the folder of an encoder",
            remedy=f"load {path / 'encoder'}; `simplechrome.predict_with_run` does all that "
            "`simplechrome predict` does",
        )
    description, _ = read_model(folder)
    class_of(folder, description, _HOME)
    return encoder_class(description["class"]).load(folder)
