"""What a run folder holds, which of its files may be replaced, and how far a run has come."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from simplechrome.config.run import RunConfig, read_config
from simplechrome.errors import (
    ConfigError,
    MissingInputError,
    ModelFormatError,
    OutputExistsError,
)
from simplechrome.pretrained import locate_run
from simplechrome.version import __version__
from simplechrome.work.unfinished import unfinished_folder

PROFILE_FILE = "signal_profile.json"
LEVELS_FILE = "signal_levels.parquet"
RUN_CONTENTS = frozenset(
    {"config.toml", "environment.json", "split.parquet", "checkpoints", "encoder", "predictor"}
    | {"history.csv", "predictions.parquet", "metrics.json", "report.html", "figures"}
    | {"calibration.json", "ensemble", "source", PROFILE_FILE, LEVELS_FILE}
    # What the demonstration adds.
    | {"inputs", "demo.zarr", "benchmark", "label_efficiency.csv"}
)
"""Names that a run folder may hold, and may lose when it is overwritten."""
CHECKPOINTS, ENVIRONMENT = "checkpoints", "environment.json"
SOURCE = "source"
"""The predictor of the run that this one was started from."""
HELD_OUT = "held_out"
"""Among the checkpoints: predictions of folds of the labels, for calibration."""
_PACKAGES = ("numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "xarray", "zarr", "torch")


def require_run_only(folder: Path) -> None:
    """Does the folder hold a run and nothing else? Else overwriting would delete what is not ours.

    A `config.toml` alone does not say so: many programs call their configuration that.

    Raises
    ------
    OutputExistsError
        If it holds anything else, or no run.
    """
    held = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    foreign = sorted(name for name in held - RUN_CONTENTS if not name.startswith("."))
    try:
        read_config(folder / "config.toml")
        readable = True
    except (ConfigError, MissingInputError):
        readable = False
    if foreign or not readable:
        raise OutputExistsError(
            f"{folder} is not a run folder, and is not overwritten.",
            found=", ".join(foreign[:8]) if foreign else "no config.toml of a run",
            expected="what `simplechrome fit` writes, or no folder",
            remedy="choose another folder, or move away what you want to keep",
        )


def begun_config(target: str | Path, *, or_finished: bool) -> Path | None:
    """Where are the options of the run that would be resumed? None if there is none.

    Parameters
    ----------
    target
        The run folder.
    or_finished
        Also those of a finished run, which is not to be replaced.
    """
    for folder in (unfinished_folder(target), *([Path(target)] if or_finished else [])):
        if (folder / "config.toml").is_file():
            return folder / "config.toml"
    return None


def require_outside(dataset: str | Path, target: str | Path) -> None:
    """Does the dataset lie outside of what would be replaced?

    Raises
    ------
    OutputExistsError
        If it lies in the folder.
    """
    if Path(dataset).resolve().is_relative_to(Path(target).resolve()):
        raise OutputExistsError(
            f"{target} holds the dataset, and is not overwritten.",
            found=str(dataset),
            expected="a dataset outside of the output",
            remedy="choose another output path, or move the dataset",
        )


def find_run(run: str | Path) -> Path:
    """Where is this run? Pretrained ones are known by name.

    Raises
    ------
    MissingInputError
        If there is no such folder.
    ModelFormatError
        If the run is not finished.
    """
    path = locate_run(run)
    begun = unfinished_folder(path)
    if not path.is_dir() and begun.is_dir():
        raise ModelFormatError(
            f"{path} is not finished.",
            found=f"{begun} with {describe_run(begun)}",
            cause="`simplechrome fit` was stopped or killed, or is still at work",
            remedy="the same command with --resume goes on from there",
        )
    if not path.is_dir():
        raise MissingInputError(
            f"There is no run folder {path}.",
            remedy="make one with `simplechrome fit`, or check the path",
        )
    return path


def require_startable(config: RunConfig, run: str) -> None:
    """Can another run start from this one?

    Raises
    ------
    ConfigError
        If its predictor looks at more than the latents of one gene.
    """
    why = {
        "looks at the windows themselves": config.encoder.name == "none",
        "looks at neighbors": bool(config.neighbors),
        "predicts a difference": config.task == "difference",
        "was started from another itself": config.source is not None,
    }
    reasons = [reason for reason, holds in why.items() if holds]
    if reasons:
        raise ConfigError(
            "No run can be started from this one.",
            found=f"{run}, which {' and '.join(reasons)}",
            expected="a run whose predictor looks at the latents of each gene",
            remedy=f"start from {config.source}" if config.source else "",
        )


def read_metrics(folder: Path) -> dict[str, Any] | None:
    """Which scores has a run? None if it is not finished."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return metrics if isinstance(metrics, dict) else None


def read_environment(folder: str | Path) -> dict[str, Any]:
    """With what was a run made? Nothing where it does not say."""
    try:
        found = json.loads((Path(folder) / ENVIRONMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def describe_run(folder: Path) -> str:
    """How far has a run come, in a few words?"""
    if not folder.is_dir():
        return "a file"
    metrics = read_metrics(folder)
    if metrics is not None:
        try:
            config = read_config(folder / "config.toml")
        except (ConfigError, MissingInputError):
            return "scores of a run"
        models = f"encoder {config.encoder.name}, predictor {config.predictor.name}"
        if metrics.get("interrupted"):
            return f"a run cut short by Ctrl-C ({models}), which --resume trains to its end"
        return f"a finished run ({models})"
    trained = []
    for part in sorted(path for path in (folder / CHECKPOINTS).glob("*") if path.is_dir()):
        from simplechrome.training.checkpoint import epochs_done

        if part.name == HELD_OUT:
            trained.append(f"{len(list(part.glob('fold_*.json')))} folds held out")
            continue
        trained.append(f"{epochs_done(part)} epochs of the {part.name}")
    if trained:
        return "checkpoints of " + " and ".join(trained)
    held = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if set(held) <= {"config.toml", ENVIRONMENT, "split.parquet"}:
        return "nothing trained yet"
    return ", ".join(held[:12])


def dataset_checksum(dataset: xr.Dataset) -> str:
    """Which data are these? SHA-256 of all names, shapes, types and values."""
    digest = hashlib.sha256()
    for name in sorted(map(str, dataset.variables)):
        values = dataset[name].values
        digest.update(f"{name}{dataset[name].dims}{values.shape}".encode())
        if values.dtype.kind in "OUT":
            digest.update("\0".join(map(str, values.ravel())).encode())
        else:
            digest.update(values.dtype.name.encode())
            digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def describe_environment(dataset: xr.Dataset, checksum: str) -> dict[str, Any]:
    """With which program, packages and data is the run made?"""
    return {
        "simplechrome": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": sys.argv,
        "packages": {name: version(name) for name in _PACKAGES},
        "dataset": {
            # xarray's own order changes from process to process.
            "sizes": dict(sorted((str(name), size) for name, size in dataset.sizes.items())),
            "sha256": checksum,
            "assembly": dataset.attrs.get("assembly", ""),
            "note": dataset.attrs.get("note", ""),
            "sources": list(dataset.attrs.get("sources", ())),
        },
    }
