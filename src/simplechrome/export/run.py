"""A run folder in another form: Keras files or ONNX, with a page that says how to use them."""

from __future__ import annotations

import importlib
import json
import zipfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from simplechrome.dataset.building.arrays import from_arrays
from simplechrome.errors import ConfigError, OutputError, OutputExistsError
from simplechrome.export.chain import (
    Port,
    add_chain,
    add_encoder,
    add_predictor,
    chain_outputs,
    features,
    model_inputs,
    predictions,
    predictor_inputs,
)
from simplechrome.export.page import describe, readme
from simplechrome.runs.ensemble import Ensemble
from simplechrome.runs.load import Models, load_run
from simplechrome.runs.predictions import predict_genes
from simplechrome.work.files import check_free, whole_folder, write_json

if TYPE_CHECKING:
    import xarray as xr

    from simplechrome.latent.encoder import Encoder

Format = Literal["keras", "onnx"]
_EXTRA = {"keras": ("tensorflow", "keras"), "onnx": ("onnx", "onnx", "onnxruntime")}
"""The extra that brings a format's packages, and these."""
_DESCRIPTION, _README = "export.json", "README.md"

TOLERANCE = 1e-4
_WINDOWS, _MOST_MISSING = 20, 12
# Windows in which a latent lies within rounding of a tree's threshold, and falls on its other side.
_FRACTION_OFF = {"BoostingPredictor": 0.05}
_COLUMNS = {
    "probability": "probability",
    "uncalibrated_probability": "uncalibrated_probability",
    "log2_expression": "predicted_log2_expression",
}

Arrays = dict[str, np.ndarray]


class Exported(NamedTuple):
    """What was written.

    folder : README.md, export.json and the models
    files : the models
    difference : file → output → largest absolute difference from the run, on random windows
    """

    folder: Path
    files: tuple[Path, ...]
    difference: dict[str, dict[str, float]]


def export_run(
    run: str | Path, folder: str | Path, form: Format = "keras", *, overwrite: bool = False
) -> Exported:
    """Write a run's models in a form that can be used without this package.

    As Keras files of standard layers (the encoder, the predictor, and both one after the other),
    or as one ONNX file with any number of rows. Counts go in, the transform is part of the model.
    Before anything appears under `folder`, the written files are read back and compared with the
    run's own models on random windows.

    Parameters
    ----------
    run
        A run folder.
    folder
        Becomes README.md, export.json and the models.
    form
        `keras` or `onnx`.
    overwrite
        Replace an export that is there.

    Raises
    ------
    ConfigError
        If the form's packages are not installed, or a model has no such form.
    MissingInputError, ModelFormatError
        If there is no such run, or it is not complete.
    OutputExistsError
        If the folder is there and `overwrite` is False, or it holds something else.
    OutputError
        If it cannot be written, or the files do not give the run's numbers.
    """
    path = Path(folder)
    _require_form(form, path)
    check_free(path, overwrite=overwrite)
    _require_export_only(path)
    _import_packages(form)
    models = load_run(run)
    if models.source is not None:
        raise ConfigError(
            f"A run that was fine-tuned from another ({models.config.init_from}) has two "
            "predictors and cannot be exported.",
            "export the pretrained run",
        )
    if models.config.neighbors:
        raise ConfigError(
            f"A run with neighbors ({', '.join(models.config.neighbors)}) cannot be exported.",
            "use the run itself, or fit one without --neighbors",
        )
    write = _write_keras if form == "keras" else _write_onnx
    with whole_folder(path, overwrite=overwrite) as temporary:
        files, difference = write(models, temporary)
        about = _about(models, form, files) | {"largest_difference": difference}
        write_json(about, temporary / _DESCRIPTION)
        (temporary / _README).write_text(readme(models, form, files), encoding="utf-8")
    return Exported(path, tuple(path / name for name in files), difference)


def _require_form(form: str, path: Path) -> None:
    if form not in get_args(Format):
        raise ConfigError(
            f"There is no export format {form!r}.", f"choose {' or '.join(get_args(Format))}"
        )
    if path.suffix in (".keras", ".onnx"):
        raise ConfigError(
            f"{path} is named like a file, and an export is a folder with models and a page.",
            f"--output {path.with_suffix('')}",
        )


def _require_export_only(path: Path) -> None:
    """Raise if something else than an export would be replaced."""
    if path.is_dir() and any(path.iterdir()) and not (path / _DESCRIPTION).is_file():
        raise OutputExistsError(
            f"{path} holds something else than an export, and is not overwritten: there is no "
            f"{_DESCRIPTION}.",
            "choose another output path",
        )


def _import_packages(form: Format) -> list[ModuleType]:
    extra, *packages = _EXTRA[form]
    try:
        return [importlib.import_module(package) for package in packages]
    except ImportError as error:
        raise ConfigError(
            f"The format {form} needs {' and '.join(packages)} ({error}).",
            f"pip install 'simplechrome[{extra}]'",
        ) from error


Files = dict[str, dict[str, list[Port]]]


def _about(models: Models, form: Format, files: Files) -> dict[str, Any]:
    versions = {module.__name__: module.__version__ for module in _import_packages(form)}
    return {"format": form, "versions": versions} | describe(models, files)


def _write_keras(models: Models, folder: Path) -> tuple[Files, dict[str, dict[str, float]]]:
    import keras

    from simplechrome.export.keras_graph import KerasGraph

    parts = {
        "encoder": (add_encoder, model_inputs(models), [features(models)]),
        "predictor": (add_predictor, predictor_inputs(models), predictions(models)),
        "model": (add_chain, model_inputs(models), chain_outputs(models)),
    }
    files: Files = {}
    for name, (add, inputs, outputs) in parts.items():
        graph = KerasGraph()
        add(graph, models)
        graph.model(name).save(folder / f"{name}.keras")
        files[f"{name}.keras"] = {"inputs": inputs, "outputs": outputs}
    about = json.dumps(_about(models, "keras", files), indent=1)
    dataset = random_windows(models.encoder)
    ours, fed = run_outputs(models, dataset), as_inputs(dataset)
    difference = {}
    for file, sides in files.items():
        with zipfile.ZipFile(folder / file, "a") as archive:
            archive.writestr(_DESCRIPTION, about)
        model = keras.saving.load_model(folder / file, compile=False)
        given = {port.name: {**ours, **fed}[port.name] for port in sides["inputs"]}
        theirs = model.predict(given, batch_size=len(fed["present"]), verbose=0)
        difference[file] = require_same_outputs(ours, theirs, models, file)
    return files, difference


def _write_onnx(models: Models, folder: Path) -> tuple[Files, dict[str, dict[str, float]]]:
    import onnx

    from simplechrome.export.onnx_graph import ONNXGraph

    inputs, outputs = model_inputs(models), chain_outputs(models)
    files = {"model.onnx": {"inputs": inputs, "outputs": outputs}}
    graph = ONNXGraph()
    add_chain(graph, models)
    metadata = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in _about(models, "onnx", files).items()
    }
    meanings = {port.name: port.meaning for port in (*inputs, *outputs)}
    path = folder / "model.onnx"
    onnx.save(graph.model("simplechrome", metadata, meanings), path)
    dataset = random_windows(models.encoder)
    theirs = _run_onnx(path, as_inputs(dataset), [port.name for port in outputs])
    difference = require_same_outputs(run_outputs(models, dataset), theirs, models, path.name)
    return files, {path.name: difference}


def _run_onnx(path: Path, fed: Arrays, names: list[str]) -> Arrays:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, fed), strict=True))


def random_windows(encoder: Encoder) -> xr.Dataset:
    """Return a dataset of random windows, with levels like those of the encoder's training.

    In the first cell type all marks are present, in each of the others one is missing.
    """
    marks = len(encoder.marks_)
    cells = 1 + (min(marks, _MOST_MISSING) if marks > 1 else 0)
    rng = np.random.default_rng(0)
    shape = (cells, _WINDOWS, encoder.bin_start_.size, marks)
    levels = rng.normal(size=shape) + rng.normal(size=(*shape[:2], 1, marks))
    signal = np.clip(np.nan_to_num(encoder.transform_.inverse(levels)), 0, 10_000)
    if encoder.units_ == "reads":
        signal = np.rint(signal)
    present = np.ones((cells, marks), bool)
    present[np.arange(1, cells), np.arange(cells - 1)] = False
    return from_arrays(
        signal,
        marks=encoder.marks_,
        gene_ids=[f"window {k}" for k in range(_WINDOWS)],
        cell_types=[f"{k}" for k in range(cells)],
        bin_size=int(np.diff(encoder.bin_start_[:2]).sum()) or 1,
        bin_start=encoder.bin_start_,
        units=encoder.units_,
        mark_present=present,
    )


def as_inputs(dataset: xr.Dataset) -> Arrays:
    """Return the inputs of an exported model for these genes; NaN where a mark is missing."""
    signal = dataset["signal"].values.astype(np.float32)
    there = dataset["mark_present"].values[:, np.newaxis] & (dataset["observed"].values > 0)
    signal = np.where(there[:, :, np.newaxis], signal, np.float32(np.nan))
    marks = dataset.sizes["mark"]
    return {
        "signal": signal.reshape(-1, dataset.sizes["bin"], marks),
        "present": there.reshape(-1, marks).astype(np.float32),
    }


def run_outputs(models: Models, dataset: xr.Dataset) -> Arrays:
    """Return latents and predictions of the run's own models, by the names of the outputs."""
    latents = models.encoder.transform(dataset)
    split = np.full(dataset.sizes["gene"], "new")
    table = predict_genes(dataset, latents, models.predictor, split, models.uncertainty)
    columns = {name: table[c].to_numpy() for name, c in _COLUMNS.items() if c in table}
    between = "window" if latents.dims[2:] == ("bin", "mark") else "latent"
    return {
        between: latents.values.reshape(-1, *latents.shape[2:]),
        **{name: values[:, np.newaxis] for name, values in columns.items()},
    }


def require_same_outputs(
    ours: Arrays, theirs: Arrays, models: Models, file: str
) -> dict[str, float]:
    """Compare the outputs of a file with those of the run.

    Returns
    -------
    Largest absolute difference of each output.

    Raises
    ------
    OutputError
        If one is above `TOLERANCE` (relative where an output is above 1).
    """
    predictor = models.predictor
    member = predictor.members[0] if isinstance(predictor, Ensemble) else predictor
    largest = {}
    for name, values in theirs.items():
        difference = np.abs(values.astype(np.float64) - ours[name])
        largest[name] = float(difference.max())
        relative = difference / np.maximum(1, np.abs(ours[name]))
        row = relative.reshape(len(relative), -1).max(axis=1)
        fraction_off = _FRACTION_OFF.get(type(member).__name__, 0) if name in _COLUMNS else 0
        if not np.quantile(row, 1 - fraction_off) <= TOLERANCE:
            raise OutputError(
                f"{file} does not give the numbers of the run, and is not written: {name} differs "
                f"by up to {difference.max():.1e}, more than {TOLERANCE:g}.",
                "install the versions of keras, onnx and onnxruntime in constraints.txt; please "
                "report it",
            )
    return largest
