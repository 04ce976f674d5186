"""A run's folder: the names of its files, what may be replaced, and how far a run has come."""

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
from simplechrome.errors import ConfigError, MissingInputError, ModelFormatError, OutputExistsError
from simplechrome.pretrained import locate_run
from simplechrome.version import __version__
from simplechrome.work.unfinished import unfinished_folder

ENVIRONMENT = "environment.json"
_DEMO = {"inputs", "demo.zarr", "benchmark", "label_efficiency.csv"}  # what the demonstration adds
_PACKAGES = ("numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "xarray", "zarr", "torch")


class RunFolder:
    """Paths of all files of a run; some are absent until it is finished, or in some kinds of run.

    Attributes
    ----------
    config, environment
        The options, and the program, packages and data that the run was made with.
    encoder, predictor, ensemble, source
        Saved models: of an ensemble the first member is `predictor`, and the others are 2, 3, …
        in `ensemble`. `source` holds the predictor of the run that was fine-tuned.
    split, predictions, history, metrics, calibration
        Tables and scores; see `fit_run`.
    signal_profile, signal_levels
        The signal of the training windows, to which new tracks are normalized.
    report, figures
        The page, and its figures as files.
    checkpoints, held_out_checkpoints
        States of training, of the models and of the folds that are fitted for calibration.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.toml"
        self.environment = self.path / ENVIRONMENT
        self.split = self.path / "split.parquet"
        self.encoder = self.path / "encoder"
        self.predictor = self.path / "predictor"
        self.ensemble = self.path / "ensemble"
        self.source = self.path / "source"
        self.history = self.path / "history.csv"
        self.predictions = self.path / "predictions.parquet"
        self.metrics = self.path / "metrics.json"
        self.calibration = self.path / "calibration.json"
        self.signal_profile = self.path / "signal_profile.json"
        self.signal_levels = self.path / "signal_levels.parquet"
        self.report = self.path / "report.html"
        self.figures = self.path / "figures"
        self.checkpoints = self.path / "checkpoints"
        self.held_out_checkpoints = self.checkpoints / "held_out"

    def read_metrics(self) -> dict[str, Any] | None:
        """Return the scores of a finished run; None if it is not finished."""
        return _read_json(self.metrics)

    def read_environment(self) -> dict[str, Any]:
        """Return what the run was made with; empty where it is not recorded."""
        return _read_json(self.environment) or {}

    def describe(self) -> str:
        """Return how far the run has come, in a few words."""
        if not self.path.is_dir():
            return "a file"
        metrics = self.read_metrics()
        if metrics is not None:
            try:
                config = read_config(self.config)
            except (ConfigError, MissingInputError):
                return "scores of a run"
            models = f"encoder {config.encoder.name}, predictor {config.predictor.name}"
            if metrics.get("interrupted"):
                return f"a run cut short by Ctrl-C ({models}), which --resume trains to its end"
            return f"a finished run ({models})"
        trained = self._describe_checkpoints()
        if trained:
            return "checkpoints of " + " and ".join(trained)
        held = sorted(path.name for path in self.path.iterdir() if not path.name.startswith("."))
        if set(held) <= {self.config.name, ENVIRONMENT}:
            return "nothing trained yet"
        return ", ".join(held[:12])

    def _describe_checkpoints(self) -> list[str]:
        from simplechrome.training.checkpoint import epochs_done  # torch: only where needed

        return [
            "folds for calibration"
            if part == self.held_out_checkpoints
            else f"{epochs_done(part)} epochs of the {part.name}"
            for part in sorted(self.checkpoints.glob("*"))
            if part.is_dir()
        ]

    def require_run_only(self) -> None:
        """Refuse to overwrite a folder that holds anything but a run.

        A `config.toml` alone is no proof: many programs name their configuration so.
        """
        ours = {path.name for path in vars(self).values()} | _DEMO
        held = {path.name for path in self.path.iterdir()} if self.path.is_dir() else set()
        found = sorted(name for name in held - ours if not name.startswith("."))
        try:
            read_config(self.config)
        except (ConfigError, MissingInputError):
            found = found or ["no config.toml of a run"]
        if found:
            raise OutputExistsError(
                f"{self.path} is not a run folder and is not overwritten: found "
                f"{', '.join(found[:8])}.",
                "choose another folder, or move away what you want to keep",
            )


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return held if isinstance(held, dict) else None


def describe_run(folder: Path) -> str:
    """Return how far a run has come, in a few words."""
    return RunFolder(folder).describe()


def begun_config(target: str | Path, *, or_finished: bool) -> Path | None:
    """Return the configuration of the (perhaps finished) run that would be resumed, or None."""
    folders = [unfinished_folder(target), *([target] if or_finished else [])]
    configs = [RunFolder(folder).config for folder in folders]
    return next((config for config in configs if config.is_file()), None)


def require_outside(dataset: str | Path, target: str | Path) -> None:
    """Refuse an output folder that holds the dataset: it would be replaced."""
    if Path(dataset).resolve().is_relative_to(Path(target).resolve()):
        raise OutputExistsError(
            f"{target} holds the dataset {dataset} and is not overwritten.",
            "choose another output path, or move the dataset",
        )


def find_run(run: str | Path) -> Path:
    """Return the folder of a run; pretrained ones are known by name (`pretrained:roadmap`).

    Raises MissingInputError if there is none, ModelFormatError if the run is not finished.
    """
    path = locate_run(run)
    begun = unfinished_folder(path)
    if not path.is_dir() and begun.is_dir():
        raise ModelFormatError(
            f"{path} is not finished: `simplechrome fit` was interrupted or is still running, and "
            f"{begun} holds {describe_run(begun)}.",
            "repeat the same command with --resume",
        )
    if not path.is_dir():
        raise MissingInputError(
            f"There is no run folder {path}.", "make one with `simplechrome fit`, or check the path"
        )
    return path


def require_startable(config: RunConfig, run: str) -> None:
    """Refuse to fine-tune a run whose predictor needs more than the latents of one gene."""
    reasons = {
        "has no latents (encoder none)": config.encoder.name == "none",
        "has neighborhood features": bool(config.neighbors),
        "predicts a difference": config.task == "difference",
        "was itself fine-tuned from another run": config.init_from is not None,
    }
    found = [reason for reason, holds in reasons.items() if holds]
    if found:
        raise ConfigError(
            f"The run {run} cannot be fine-tuned: it {' and '.join(found)}.",
            f"--init-from {config.init_from}"
            if config.init_from
            else "choose a run with latents only",
        )


def dataset_checksum(dataset: xr.Dataset) -> str:
    """Return the SHA-256 of all names, shapes, types and values of a dataset."""
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
    """Return the program, packages, command and data of a run, as `environment.json` holds them."""
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
