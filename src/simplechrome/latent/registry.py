"""Encoders by name: those of the package, and those that others register."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from simplechrome.errors import ModelFormatError
from simplechrome.work.registry import Registry

if TYPE_CHECKING:
    from simplechrome.latent.encoder import Encoder

    E = TypeVar("E", bound=type[Encoder])

_HOME = "simplechrome.latent"
ENCODERS: Registry[type[Encoder]] = Registry(
    "encoder",
    {
        "consensus": f"{_HOME}.consensus.encoder:ConsensusEncoder",
        "vae": f"{_HOME}.vae:VAE",
        "paper_vae": f"{_HOME}.paper_vae:PaperVAE",
        "pca": f"{_HOME}.pca:PCA",
        "log_means": f"{_HOME}.log_means:LogMeans",
        "none": f"{_HOME}.encoder:RawWindow",
    },
    "simplechrome.encoders",
)
_AROUND_ANOTHER: Registry[type[Encoder]] = Registry(
    "encoder around another",
    {"log_means": f"{_HOME}.log_means:WithLogMeans"},
    "simplechrome.encoders_around_another",
)


def register_encoder(encoder: E) -> E:
    """Add an encoder class under its `name`, to be used by name everywhere; return it.

    A package can add its own without this call by an entry point of the group
    `simplechrome.encoders`. Raises ConfigError if another encoder has the name.
    """
    ENCODERS.register(encoder.name, encoder)
    return encoder


def encoder_class(name: str) -> type[Encoder]:
    """Return the encoder class of this class name; KeyError if there is none."""
    return ENCODERS.get(ENCODERS.class_names()[name])


def load_encoder(folder: str | Path) -> Encoder:
    """Return the encoder, of whichever class, that was saved in a folder.

    Raises ModelFormatError if the folder is not a whole saved model, and ModelMismatchError if the
    model is not an encoder.
    """
    from simplechrome.training.model_files import load_model

    path = Path(folder)
    if not (path / "model.json").is_file() and (path / "encoder" / "model.json").is_file():
        raise ModelFormatError(
            f"{path} is a run, not the folder of an encoder.",
            f"load {path / 'encoder'}; `simplechrome.predict_with_run` does all that "
            "`simplechrome predict` does",
        )
    return load_model(folder, ENCODERS, _AROUND_ANOTHER)
