"""A model is a folder: `model.json` says what it is, `model.safetensors` holds its arrays.

No code runs on loading.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from simplechrome.errors import ModelFormatError, ModelMismatchError, OutputExistsError
from simplechrome.version import __version__
from simplechrome.work.files import whole_folder
from simplechrome.work.registry import Registry

MODEL_VERSION = 1
DESCRIPTION, ARRAYS = "model.json", "model.safetensors"


def _plain(value: Any) -> Any:
    # Seeds and sizes often come from NumPy; JSON has plain numbers only.
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be kept in {DESCRIPTION}: {value!r}")


def write_model(
    folder: str | Path,
    class_name: str,
    description: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    *,
    overwrite: bool = False,
) -> None:
    """Write a model to a folder.

    Parameters
    ----------
    folder, overwrite
        Written whole or not at all; a model that is there is replaced only with `overwrite`.
    class_name
        Looked up among the registered classes when it is loaded.
    description, arrays
        Plain JSON (arguments, marks, bins, statistics), and fitted arrays by name.

    Raises
    ------
    OutputExistsError
        If the folder is there and `overwrite` is False, or it holds something else than a model.
    """
    path = Path(folder)
    if overwrite and path.is_dir() and any(path.iterdir()) and not (path / DESCRIPTION).is_file():
        raise OutputExistsError(
            f"{path} is not a saved model (it has no {DESCRIPTION}), and is not overwritten.",
            "choose another folder, or an empty one",
        )
    python, numpy = platform.python_version(), np.__version__
    versions = {"simplechrome": __version__, "python": python, "numpy": numpy}
    text = {"class": class_name, "model_version": MODEL_VERSION, "versions": versions}
    with whole_folder(folder, overwrite=overwrite) as temporary:
        contiguous = {name: np.require(value, requirements="C") for name, value in arrays.items()}
        save_file(contiguous, temporary / ARRAYS)
        # Python's repr of a float reads back to the same float.
        lines = json.dumps({**text, **description}, indent=1, allow_nan=False, default=_plain)
        (temporary / DESCRIPTION).write_text(lines + "\n")


def read_model(
    folder: str | Path, cls: type[Any] | None = None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the description (with `class` and `arguments`) and the arrays of a saved model.

    Raises
    ------
    ModelFormatError
        If the folder is not a model, is incomplete, or was written by a newer version.
    ModelMismatchError
        If the model is not of the class `cls`, where one is given.
    """
    path = Path(folder)
    try:
        description = json.loads((path / DESCRIPTION).read_text())
        arrays = load_file(path / ARRAYS)
        version, _ = int(description["model_version"]), str(description["class"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelFormatError(
            f"{path} is not a whole saved model, a folder with {DESCRIPTION} and {ARRAYS} "
            f"({type(error).__name__}: {error}).",
            "check the path, or copy the whole folder again",
        ) from error
    if version > MODEL_VERSION:
        raise ModelFormatError(
            f"{path} was written by a newer version of SimpleChrome: model_version {version}, "
            f"this version reads {MODEL_VERSION} or lower.",
            "pip install --upgrade simplechrome",
        )
    if cls is not None and description["class"] != cls.__name__:
        raise ModelMismatchError(
            f"{folder} holds a model of the class {description['class']}, not {cls.__name__}.",
            "name the folder of a model of this class",
        )
    return description, arrays


@contextmanager
def restoring(folder: str | Path) -> Iterator[None]:
    """Rebuild a model from what was read; parts that do not match become one ModelFormatError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelFormatError(
            f"{DESCRIPTION} and {ARRAYS} in {folder} do not fit together "
            f"({f'{type(error).__name__}: {error}'.splitlines()[0]}).",
            "copy the whole folder again, or fit again: files of two models were mixed or edited",
        ) from error


def load_model(folder: str | Path, *registries: Registry[Any]) -> Any:
    """Return the saved model of a folder, of a class that one of the registries has.

    Raises
    ------
    ModelFormatError
        If the folder is not a whole saved model.
    ModelMismatchError
        If it is of another kind, as a predictor where an encoder is wanted.
    """
    saved = read_model(folder)[0]["class"]
    for registry in registries:
        name = registry.class_names().get(saved)
        if name is not None:
            return registry.get(name).load(folder)
    known = ", ".join(name for registry in registries for name in registry.class_names())
    raise ModelMismatchError(
        f"{folder} holds a model of the class {saved}, not one of {known}.",
        "name a folder with a model of this kind, or import the package that defines the class",
    )
